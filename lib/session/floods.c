/*
 * Frames that cost a peer next to nothing and bring us nothing: heartbeats, blocks, flows, cancels of what is no more, returns of what
 * was never published. A few are everyday life; without end they are an attack (as CVE-2023-44487 was on HTTP/2). It knows how many
 * there were and when, not what they are.
 */
#include "internal.h"
#include "reason.h"

/*
 * So many at once, and one more each 10 ms: heartbeats come at most twice a second (4.2.7: the interval is in seconds), and a broker
 * that stops and starts the flow of 2047 channels at once, as old ones did, says 4094 things.
 */
#define IDLE_BURST 10000u
#define IDLE_MS    10u

/* Looking through what is open for one of them; so many steps, a few microseconds, are as bad as one more. */
#define STEPS_PER_FRAME 1024u

/* Of one message: RabbitMQ sends none at all. */
#define EMPTY_FRAMES_MAX 64u

/*
 * Of answers that the peer makes us give and does not take. An honest one has sent no more than links and kernels hold; that is 50000
 * messages that cross a cancel, and what is not said of more of them their end says.
 */
#define ANSWERS_MAX ((size_t)1 << 20)

static bool refused(struct session *s, const char *what, unsigned count) {
    session_fail(s, LAGO_EPROTOCOL, REPLY_RESOURCE_ERROR, 0, "the broker floods us: more than %u %s", count, what);
    if (s->reason.whole) reason_hint(s->reason.whole, "no broker does this by itself: is it one, or is somebody in between?");
    return false;
}

static bool count(struct session *s, const char *what, size_t frames) {
    uint64_t cost = (uint64_t)frames * IDLE_MS;
    if (s->idle_credit >= cost) {
        s->idle_credit -= cost;
        return true;
    }
    s->idle_until = (s->idle_until > s->now ? s->idle_until : s->now) + cost;
    if (s->idle_until - s->now <= (uint64_t)IDLE_BURST * IDLE_MS) return true;
    return refused(s, what, IDLE_BURST);
}

bool flood_allows(struct session *s, const char *what) { return count(s, what, 1); }

bool session_brought_nothing(struct session *s, const char *what) { return flood_allows(s, what); }

bool session_made_to_work(struct session *s, const char *what, size_t steps) {
    return steps == 0 || count(s, what, 1 + steps / STEPS_PER_FRAME);
}

/* Counted from a place in the stream that the peer has not come to: so nothing of it has been taken. */
void session_made_to_answer(struct session *s, size_t size) {
    if (s->out.consumed >= s->answers_from) {
        s->answers_from = s->out.appended;
        s->answers_size = 0;
    }
    s->answers_size += size;
    if (s->answers_size <= ANSWERS_MAX) return;
    lago_reason_t reason;
    reason_init(&reason, LAGO_ESTALLED, LAGO_BY_NETWORK);
    reason_detail(&reason, "the broker sends, and does not take the answers: more than %zu bytes wait", ANSWERS_MAX);
    session_abandon(s, &reason);
}

/* What came while nobody read comes now. */
void flood_paused(struct session *s, uint64_t pause_ms) { s->idle_credit += pause_ms; }

bool flood_allows_return(struct session *s, struct session_channel *ch) {
    bool expected = ch->returns < ch->publishes_sent;
    if (ch->returns < UINT32_MAX) ch->returns++;
    return expected || flood_allows(s, "returns of what was not published");
}

bool flood_allows_body(struct session *s, struct content *content, size_t size) {
    if (size > 0)
        content->empty_count = 0;
    else if (++content->empty_count > EMPTY_FRAMES_MAX)
        return refused(s, "empty body frames in a row", EMPTY_FRAMES_MAX);
    return true;
}
