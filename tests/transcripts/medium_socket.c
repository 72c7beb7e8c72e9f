/*
 * Transcripts over real sockets: lago's adapter and the peer of tests/uv on one loop. The broker's frames come from the same words as
 * in memory (server.h); what differs is the kernel, the loop and TLS between, and that time is real: so nothing waits for it here, and
 * scripts that need it stay in memory. A line is done when client and peer have come to rest: each has all that the other has
 * sent, and nothing is left to do but to wait.
 */
#include "medium.h"
#include "play.h"

#include "conversation.h"
#include "peer.h"
#include "peer_tls.h"
#include <lago/context.h>
#include <lago/observe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINT    "192.0.2.1:5672" /* what scripts call it */
#define TICK_MS     5                /* how long the loop sleeps at most before somebody looks again */
#define PATIENCE_MS 20000u           /* then it hangs: meson's is 30 s and says less */
#define MS_SCALE    1000             /* no timer of a script fires: in memory none does without a line that says so */
#define PLANT_EVERY 3
#define CALM_TURNS  3 /* of the loop at rest, until it is believed */

struct sockets {
    uv_loop_t loop;
    uv_timer_t tick; /* keeps it going */
    struct fail_alloc alloc;
    lago_context_t *context;
    struct peer peer;
    struct play *play;
    unsigned sendings; /* of the peer */
    uint64_t fed;      /* bytes of them */
    size_t judged;     /* of those that it has received */
    bool stuck;
};

bool medium_plant;

static const uint8_t *received(const struct sockets *s, size_t *size) {
    *size = s->peer.received_size < PEER_KEPT ? s->peer.received_size : PEER_KEPT;
    return s->peer.received;
}

/* ---------------------------------------------------------------- names of the broker */

static const char *endpoint(const struct sockets *s) { return s->peer.is_unix ? s->peer.host : s->peer.url; }

/* With the name that scripts have for it. */
static void as_in_scripts(const struct sockets *s, const char *words, char *out, size_t size) {
    const char *real = endpoint(s), *found = strstr(words, real);
    if (found)
        snprintf(out, size, "%.*s%s%s", (int)(found - words), words, ENDPOINT, found + strlen(real));
    else
        snprintf(out, size, "%s", words);
}

static void on_log(lago_log_level_t level, const char *line, void *data) {
    struct sockets *s = data;
    char words[2048];
    if (strstr(line, "held the loop for")) return; /* a slow machine: time is not what these replays are about */
    as_in_scripts(s, line, words, sizeof(words));
    told_line(s->play, level, words);
}

/* ---------------------------------------------------------------- the loop */

static void on_tick(uv_timer_t *timer) { (void)timer; }

/* Of a connection that has ended or was freed: nothing of it keeps the loop running, and the peer has seen it go. */
static bool is_over(struct sockets *s) {
    uv_unref((uv_handle_t *)&s->tick);
    bool alive = uv_loop_alive(&s->loop);
    uv_ref((uv_handle_t *)&s->tick);
    int count = s->peer.client_count;
    return !alive && (count == 0 || peer_is_gone(&s->peer, count - 1));
}

static bool is_at_rest(struct play *p) {
    struct sockets *s = p->sockets;
    if (!p->connected) return true;
    if (p->freed || lago_connection_state(p->conn) == LAGO_CONNECTION_CLOSED) return is_over(s);
    lago_counters_t counters = lago_connection_counters(p->conn);
    if (counters.bytes_sent == 0) return false; /* on its way; the protocol header comes first */
    struct link_wants wants = link_wants(p->conn);
    bool heard = counters.bytes_received == s->fed || !wants.read;
    return heard && !wants.turn && !wants.write && counters.bytes_sent == s->peer.received_size;
}

/* What has come to the peer meanwhile, for the judge of the conversation. */
static void judge_received(struct sockets *s) {
    size_t size;
    const uint8_t *bytes = received(s, &size);
    if (size > s->judged) conversation_sent(&s->play->legal.wire, bytes + s->judged, size - s->judged);
    s->judged = size;
}

static void run(struct play *p) {
    struct sockets *s = p->sockets;
    uint64_t last = uv_hrtime() / 1000000u + PATIENCE_MS;
    for (int calm = 0; calm < CALM_TURNS && !s->stuck;) {
        calm = is_at_rest(p) ? calm + 1 : 0;
        uv_run(&s->loop, calm ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        judge_received(s);
        s->stuck = uv_hrtime() / 1000000u > last;
    }
    if (s->stuck) play_problem(p, "client and peer do not come to rest");
    if (p->connected && !p->closed && !p->open_failed) p->legal.event_count = 0; /* the end comes later: this was not of it */
}

/* ---------------------------------------------------------------- the broker */

static void on_client(struct peer *peer) {
    struct sockets *s = peer->data;
    uv_unref(&peer->clients[peer->client_count - 1].uv.handle);
    conversation_link(&s->play->legal.wire, true);
}

static void send_lines(struct play *p, const char *lines) {
    struct sockets *s = p->sockets;
    int count = s->peer.client_count;
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    bool lost = medium_plant && ++s->sendings % PLANT_EVERY == 0;
    if (count > 0 && !peer_is_gone(&s->peer, count - 1) && !lost) {
        conversation_received(&p->legal.wire, bytes, size);
        peer_write(&s->peer, count - 1, bytes, size);
        s->fed += size;
    }
    free(bytes);
    run(p);
}

static void lose(struct play *p, int status) {
    struct peer *peer = &p->sockets->peer;
    if (peer->client_count == 0 || peer_is_gone(peer, peer->client_count - 1)) return;
    (status == UV_EOF ? peer_leave : peer_abort)(peer, peer->client_count - 1);
}

/* ---------------------------------------------------------------- the client */

static int connect_with(struct play *p, lago_parameters_t parameters, lago_connection_options_t *options) {
    struct sockets *s = p->sockets;
    parameters.host = s->peer.host;
    parameters.port = s->peer.port;
    parameters.tls = s->peer.is_tls ? peer_tls_trust() : NULL;
    options->parameters = &parameters;
    return lago_connect(&s->loop, NULL, options, &p->conn);
}

/* What a URL says, but for the host. */
static int connect_to(struct play *p, const char *url, lago_connection_options_t *options) {
    lago_parameters_t *parsed = NULL;
    options->context = p->sockets->context;
    if (!url) return connect_with(p, *options->parameters, options);
    if (lago_parameters_parse(url, &parsed, NULL) < 0) return lago_connect(&p->sockets->loop, url, options, &p->conn);
    int rc = connect_with(p, *parsed, options);
    lago_parameters_free(parsed);
    return rc;
}

/* ---------------------------------------------------------------- words and facts */

static uint64_t time_of(const struct play *p) { return p->shown; }

static bool word(struct play *p, const char *line) {
    (void)p;
    (void)line;
    return false;
}

static bool show(struct play *p, const char *what) {
    struct sockets *s = p->sockets;
    char words[256];
    if (strcmp(what, "endpoint") == 0) {
        as_in_scripts(s, lago_connection_endpoint(p->conn), words, sizeof(words));
        play_emit(p, "=  ", "\"%s\"", words);
    } else if (strcmp(what, "alive") == 0) {
        uv_unref((uv_handle_t *)&s->tick);
        play_emit(p, "=  ", "%s", uv_loop_alive(&s->loop) ? "alive" : "idle");
        uv_ref((uv_handle_t *)&s->tick);
    } else if (strcmp(what, "reset") == 0) {
        play_emit(p, "=  ", "%s", s->peer.last_status == UV_ECONNRESET ? "by reset" : "in order");
    } else {
        return false;
    }
    return true;
}

static const uint8_t *written(const struct play *p, size_t *size) { return received(p->sockets, size); }

/* ---------------------------------------------------------------- life */

static void begin(struct play *p) {
    struct sockets *s = calloc(1, sizeof(*s));
    if (!s) abort();
    p->sockets = s;
    s->play = p;
    fail_alloc_init(&s->alloc);
    if (uv_loop_init(&s->loop) != 0) abort();
    uv_timer_init(&s->loop, &s->tick);
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    lago_context_options_t options = { .allocator = s->alloc.allocator,
                                       .log = on_log,
                                       .log_data = s,
                                       .log_level = LAGO_LOG_TRACE,
                                       .callback_limit_ms = LAGO_NO_TIMEOUT };
    if (lago_context_new(&s->loop, &options, &s->context) != 0) abort();
    s->peer.is_unix = p->medium == &medium_unix;
    s->peer.is_tls = p->medium == &medium_tls;
    s->peer.on_client = on_client;
    s->peer.data = s;
    peer_listen(&s->peer, &s->loop, s->peer.is_unix ? NULL : "127.0.0.1");
    p->legal.vague_bytes = true;
}

static void calm(struct play *p) { (void)p; }

static void end(struct play *p) {
    struct sockets *s = p->sockets;
    run(p);
    peer_close(&s->peer);
    lago_context_free(s->context);
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    if (s->alloc.live_count > 0) play_problem(p, "%zu blocks of memory leaked", s->alloc.live_count);
    if (s->stuck) return; /* what it was about would only be hidden by what follows */
    if (uv_loop_close(&s->loop) != 0) play_problem(p, "the loop has handles left");
    free(s);
    p->sockets = NULL;
}

#define MEDIUM(name_)                                                                                                            \
    {                                                                                                                            \
        .name = name_, .ms_scale = MS_SCALE, .begin = begin, .connect = connect_to, .run = run, .send = send_lines,              \
        .lose = lose, .time = time_of, .word = word, .show = show, .written = written, .calm = calm, .end = end                  \
    }
const struct medium medium_tcp = MEDIUM("tcp"), medium_unix = MEDIUM("unix"), medium_tls = MEDIUM("tls");

/* ---------------------------------------------------------------- what stays in memory */

static const struct {
    const char *begins, *has; /* a line */
    bool on_unix_only;
    const char *why;
} refusals[] = {
    { "t=", "", false, "time passes" },
    { "jump t=", "", false, "time passes" },
    { "network ", "", false, "the network is imagined: lookups, connects" },
    { "peer reads ", "", false, "how much the kernel takes is the kernel's affair" },
    { "write fails ", "", false, "a write fails" },
    { "input ", "", false, "the loop is late" },
    { "do connect ", " known", false, "the broker was met before" },
    { "do show attempts", "", false, "lookups are counted" },
    { "drop ", "", true, "a Unix socket has no RST" },
    { "do show reset", "", true, "a Unix socket has no RST" },
};

const char *medium_refuses(const struct medium *medium, const char *script) {
    char line[4096];
    if (medium == &medium_memory) return NULL;
    for (size_t size; *script; script += size + (script[size] == '\n')) {
        size = strcspn(script, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)size, script);
        for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
            if (refusals[i].on_unix_only && medium != &medium_unix) continue;
            if (word_behind(line, refusals[i].begins) && strstr(line, refusals[i].has)) return refusals[i].why;
        }
    }
    return NULL;
}
