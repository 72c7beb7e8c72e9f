/*
 * ledger-producer: hands messages to lago and writes down what becomes of each; what is not confirmed it sends again, as another
 * attempt, until it is. Killed and started again it goes on where its ledger ends.
 *
 *     ledger-producer URL LEDGER NUMBER QUEUE [publisher] [rate=N] [window=N] [big] [no-confirms] [off-by-one]
 *
 * `publisher`: by lago_publisher_t instead of lago_basic_publish. `big`: some messages of many frames. The last two are controls:
 * one who takes for confirmed what it has handed over, and one who takes the confirm of a message for that of the next.
 */
#include "life.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING      65536u /* more than any window */
#define BODY_SIZE 400000u

struct sending {
    uint64_t number;
    uint32_t attempt;
    bool settled; /* off_by_one only */
};

static struct {
    struct life life;
    uint32_t me;
    bool by_publisher, big, no_confirms, off_by_one;
    uint64_t rate, window;
    uint64_t next; /* the number of the next new message */
    uint64_t budget;
    uint64_t in_flight;
    struct sending *again; /* those to be sent again: first in, first out */
    size_t again_at, again_count, again_capacity;
    lago_publisher_t *publisher;
    struct sending ring[RING]; /* by sequence number: for off_by_one */
    uint64_t last_sequence;
    uint8_t body[BODY_SIZE];
} p;

/* ---------------------------------------------------------------- what is to be sent again */

static void send_again(uint64_t number, uint32_t attempt) {
    if (p.again_at > 0 && p.again_at == p.again_count) p.again_at = p.again_count = 0;
    if (p.again_count == p.again_capacity) {
        p.again_capacity = p.again_capacity ? p.again_capacity * 2 : 1024;
        p.again = realloc(p.again, p.again_capacity * sizeof *p.again);
        if (!p.again) abort();
    }
    p.again[p.again_count++] = (struct sending){ .number = number, .attempt = attempt + 1 };
}

static void on_left_open(void *data, uint64_t number, uint32_t attempt) {
    (void)data;
    send_again(number, attempt);
}

/* ---------------------------------------------------------------- outcomes */

static char letter(lago_publish_outcome_t outcome) {
    switch (outcome) {
    case LAGO_PUBLISH_CONFIRMED: return 'A';
    case LAGO_PUBLISH_NACKED: return 'N';
    case LAGO_PUBLISH_RETURNED: return 'R';
    case LAGO_PUBLISH_NOT_SENT: return 'X';
    default: return 'U';
    }
}

static void settle(struct sending sending, char what) {
    book_write(&p.life.book, "%c %" PRIu64 " %u", what, sending.number, sending.attempt);
    if (what != 'A' && what != 'R') send_again(sending.number, sending.attempt);
}

/* The control that cannot count: what it hears of a message it takes for news of the next one. */
static void settle_next(uint64_t sequence, lago_publish_outcome_t outcome) {
    struct sending *next = &p.ring[(sequence + 1) % RING];
    if (outcome != LAGO_PUBLISH_CONFIRMED || sequence >= p.last_sequence || next->settled) return;
    next->settled = true;
    settle(*next, 'A');
}

static void settle_rest(void) {
    uint64_t from = p.last_sequence >= RING ? p.last_sequence - RING + 1 : 1;
    for (uint64_t sequence = from; sequence <= p.last_sequence; sequence++)
        if (!p.ring[sequence % RING].settled) settle(p.ring[sequence % RING], 'U');
    p.last_sequence = 0;
}

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    uintptr_t packed = (uintptr_t)data;
    struct sending sending = { .number = packed >> 12, .attempt = packed & 0xFFF };
    (void)ch;
    p.in_flight--;
    if (p.off_by_one)
        settle_next(result->sequence_number, result->outcome);
    else
        settle(sending, letter(result->outcome));
}

/* ---------------------------------------------------------------- sending */

/* Mostly small ones; some of several frames. */
static size_t size_of(uint64_t number) {
    if (p.big && number % 997 == 0) return BODY_SIZE - number % 1000;
    return MESSAGE_MIN_SIZE + (number % 101 == 0 ? 3000 + number % 5000 : number * 7 % 200);
}

static int64_t hand_over(struct sending sending) {
    struct message message = { p.me, sending.attempt, sending.number };
    lago_bytes_t body = { p.body, size_of(sending.number) };
    lago_properties_t persistent = { .delivery_mode = 2 };
    void *data = (void *)(uintptr_t)(sending.number << 12 | (sending.attempt & 0xFFF));
    message_fill(&message, p.body, body.size);
    if (p.publisher) return lago_publisher_publish(p.publisher, body, data);
    lago_basic_publish_t args = {
        .routing_key = p.life.queue, .mandatory = !p.no_confirms, .properties = &persistent, .body = body
    };
    return lago_basic_publish(p.life.ch, &args, p.no_confirms ? NULL : on_outcome, p.no_confirms ? NULL : data);
}

/* @return false: not now. */
static bool send_one(struct sending sending) {
    book_write(&p.life.book, "S %" PRIu64 " %u %u", sending.number, sending.attempt, p.life.epoch);
    int64_t rc = hand_over(sending);
    if (rc < 0) {
        settle(sending, 'X'); /* it was not taken: not a byte of it may arrive */
        return false;
    }
    if (p.no_confirms) {
        settle(sending, 'A');
        return true;
    }
    p.in_flight++;
    p.last_sequence = (uint64_t)rc;
    p.ring[p.last_sequence % RING] = sending;
    return true;
}

static bool has_room(void) {
    return p.life.ch && p.in_flight < p.window && p.budget > 0 && lago_connection_writable(p.life.conn) && !p.life.leaving;
}

static void pump(void) {
    while (has_room()) {
        struct sending sending;
        if (p.again_at < p.again_count)
            sending = p.again[p.again_at++];
        else if (!p.life.stopping)
            sending = (struct sending){ .number = p.next++, .attempt = 1 };
        else
            break;
        p.budget--;
        if (!send_one(sending)) break;
    }
    if (p.life.stopping && p.in_flight == 0 && p.again_at == p.again_count) life_leave(&p.life);
}

/* ---------------------------------------------------------------- the link */

static void on_link(struct life *life) {
    lago_properties_t persistent = { .delivery_mode = 2 };
    lago_publisher_options_t options = {
        .routing_key = life->queue, .mandatory = true, .properties = &persistent, .on_outcome = on_outcome
    };
    if (p.no_confirms) return;
    lago_confirm_select(life->ch, NULL, NULL, NULL);
    if (p.by_publisher) lago_publisher_new(life->ch, &options, &p.publisher);
    if (life->epoch % 8 == 0) pump(); /* ahead of everything: it waits until all is open, or is not sent */
}

static void on_open(struct life *life) {
    (void)life;
    pump();
}

static void on_lost(struct life *life) {
    (void)life;
    p.publisher = NULL; /* it went with its channel */
    if (p.off_by_one) settle_rest();
    if (p.in_flight != 0) fprintf(stderr, "%" PRIu64 " without an outcome\n", p.in_flight), abort();
}

static void on_tick(struct life *life) {
    uint64_t most = p.rate * TICK_MS * 4 / 1000 + 1;
    p.budget += p.rate * TICK_MS / 1000 + 1;
    if (p.budget > most) p.budget = most;
    if (p.rate == 0) p.budget = p.window;
    if (life->open) pump();
}

static void on_stop(struct life *life) { (void)life; }

static void read_word(const char *word) {
    if (strcmp(word, "publisher") == 0) p.by_publisher = true;
    if (strcmp(word, "big") == 0) p.big = true;
    if (strcmp(word, "no-confirms") == 0) p.no_confirms = true;
    if (strcmp(word, "off-by-one") == 0) p.off_by_one = true;
    if (strncmp(word, "rate=", 5) == 0) p.rate = strtoull(word + 5, NULL, 10);
    if (strncmp(word, "window=", 7) == 0) p.window = strtoull(word + 7, NULL, 10);
}

int main(int argc, char **argv) {
    if (argc < 5) return fputs("usage: ledger-producer URL LEDGER NUMBER QUEUE [WORD]...\n", stderr), 2;
    p.life = (struct life){ .url = argv[1],
                            .path = argv[2],
                            .queue = argv[4],
                            .on_link = on_link,
                            .on_open = on_open,
                            .on_lost = on_lost,
                            .on_tick = on_tick,
                            .on_stop = on_stop };
    p.me = (uint32_t)strtoul(argv[3], NULL, 10);
    p.window = 500;
    for (int i = 5; i < argc; i++) read_word(argv[i]);
    p.next = book_replay(p.life.path, on_left_open, NULL) + 1;
    return life_run(&p.life);
}
