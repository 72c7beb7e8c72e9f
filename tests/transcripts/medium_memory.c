/* Transcripts in memory: virtual time, and a network that does what the lines say. */
#include "medium.h"
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void begin(struct play *p) {
    virtual_init(&p->v);
    p->v.on_line = told_line;
    p->v.on_line_data = p;
    p->v.tap = told_wire;
    p->v.tap_data = p;
}

static int connect_to(struct play *p, const char *url, lago_connection_options_t *options) {
    int rc = virtual_connect(&p->v, url, options);
    p->conn = p->v.conn;
    return rc;
}

static void run(struct play *p) { virtual_run(&p->v); }

static void send_lines(struct play *p, const char *lines) { server_send(&p->v, lines); }

static void lose(struct play *p, int status) { virtual_lose(&p->v, status); }

static uint64_t time_of(const struct play *p) { return virtual_time(&p->v); }

/* ---------------------------------------------------------------- words of time and of the network */

static bool pass_time(struct play *p, const char *line, const char *number, bool at_once) {
    uint64_t to = strtoull(number, NULL, 10), now = virtual_time(&p->v);
    if (to <= now) return false;
    if (!at_once && to - now > 1) virtual_advance(&p->v, to - now - 1);
    play_echo(p, line);
    p->shown = to;
    if (at_once)
        virtual_oversleep(&p->v, to - now);
    else
        virtual_advance(&p->v, 1);
    return true;
}

static int network_answer(const char *word) {
    if (strcmp(word, "never") == 0) return VIRTUAL_NEVER;
    return strcmp(word, "ok") == 0 ? 0 : code_by_name(word);
}

static bool resolve(struct play *p, const char *words) {
    char *end;
    size_t count = strtoul(words, &end, 10);
    play_echo(p, words - strlen("network resolve "));
    p->v.resolve_status = *end ? network_answer(words) : 0;
    if (!*end) p->v.address_count = count;
    return true;
}

static bool connects(struct play *p, const char *words) {
    char *end;
    size_t address = strtoul(words, &end, 10);
    if (*end != ' ' || address < 1 || address > VIRTUAL_ADDRESSES_MAX) return false;
    play_echo(p, words - strlen("network connect "));
    p->v.connect_status[address - 1] = network_answer(end + 1);
    return true;
}

static size_t peer_room(const char *words) {
    if (strcmp(words, "nothing") == 0) return 0;
    return strcmp(words, "all") == 0 ? SIZE_MAX : strtoul(words, NULL, 10);
}

/* A broker of the loopback that was opened before, and said what RabbitMQ says. */
static void know(struct play *p) {
    struct book_entry said = { .mechanisms = "PLAIN AMQPLAIN",
                               .offered = { .channel_max = 2047, .frame_max = 131072, .heartbeat_s = 60 } };
    (void)snprintf(said.endpoint, sizeof(said.endpoint), "127.0.0.1:5672");
    book_learn(&p->book, &said);
    p->v.book = &p->book;
    p->v.endpoint[0] = "127.0.0.1:5672";
    p->v.is_private = true;
}

static bool word(struct play *p, const char *line) {
    const char *words;
    if ((words = word_behind(line, "t=")) != NULL) return pass_time(p, line, words, false);
    if ((words = word_behind(line, "jump t=")) != NULL) return pass_time(p, line, words, true);
    if ((words = word_behind(line, "network resolve ")) != NULL) return resolve(p, words);
    if ((words = word_behind(line, "network connect ")) != NULL) return connects(p, words);
    if ((words = word_behind(line, "write fails ")) != NULL)
        virtual_fail_write(&p->v, code_by_name(words));
    else if ((words = word_behind(line, "peer reads ")) != NULL)
        virtual_take(&p->v, peer_room(words));
    else if ((words = word_behind(line, "input ")) != NULL)
        p->v.hold_input = strcmp(words, "waits") == 0;
    else
        return false;
    play_echo(p, line);
    return true;
}

/* ---------------------------------------------------------------- facts */

static void show_attempts(struct play *p) {
    const lago_reason_t *reason;
    for (size_t i = 0; (reason = lago_connection_attempt(p->conn, i, NULL)) != NULL; i++)
        (void)legal_returned(&p->legal, reason->code);
    play_emit(p, "=  ", "%u lookups, %u connects", p->v.counts.resolve, p->v.counts.connect);
}

static bool show(struct play *p, const char *what) {
    if (strcmp(what, "endpoint") == 0)
        play_emit(p, "=  ", "\"%s\"", lago_connection_endpoint(p->conn));
    else if (strcmp(what, "alive") == 0)
        play_emit(p, "=  ", "%s", p->v.conn && link_wants(p->v.conn).alive ? "alive" : "idle");
    else if (strcmp(what, "reset") == 0)
        play_emit(p, "=  ", "%s", p->v.counts.reset ? "by reset" : "in order");
    else if (strcmp(what, "attempts") == 0)
        show_attempts(p);
    else
        return false;
    return true;
}

static const uint8_t *written(const struct play *p, size_t *size) {
    *size = p->v.output_size;
    return p->v.output;
}

/* ---------------------------------------------------------------- the end */

static void calm(struct play *p) {
    fail_alloc_at(&p->v.alloc, 0, false);
    p->v.hold_input = false;
}

static void end(struct play *p) { virtual_deinit(&p->v); }

const struct medium medium_memory = {
    .name = "memory",
    .begin = begin,
    .connect = connect_to,
    .run = run,
    .send = send_lines,
    .lose = lose,
    .time = time_of,
    .word = word,
    .show = show,
    .written = written,
    .know = know,
    .calm = calm,
    .end = end,
};
