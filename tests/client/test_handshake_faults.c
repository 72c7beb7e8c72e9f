/*
 * Brokers that go wrong in the middle of AMQP's handshake: at every byte, by every value of tune, by what they say too early; and a
 * thousand clients that come back at once. In virtual time. (tests/FAULTS.md F15, F32-F46; over sockets:
 * tests/uv/test_handshake_faults.c.)
 */
#include "client_test.h"
#include "deadline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STACK_MS 15000u /* stack_timeout */

#define TUNE    "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60"
#define OPEN_OK "0 connection.open-ok"

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static void begin(const lago_parameters_t *parameters) {
    client_init(t);
    client_connect_with(t, parameters);
    virtual_run(&t->v);
}

static const lago_reason_t *attempt(size_t index) {
    const lago_reason_t *reason = lago_connection_attempt(t->conn, index, NULL);
    assert_non_null(reason);
    return reason;
}

/* The broker hangs up, if lago has not. */
static void hang_up(void) {
    if (t->v.link != VIRTUAL_CONNECTED) return;
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
}

/* Since virtual_forget_log. */
static unsigned written(const char *line) {
    unsigned count = 0;
    for (const char *at = t->v.log + t->v.log_seen; (at = strstr(at, line)) != NULL; at++) count++;
    return count;
}

/* ---------------------------------------------------------------- F40, F42: at every byte */

static const char *const parts[] = { SERVER_START, TUNE, OPEN_OK };

struct handshake {
    uint8_t *bytes[3];
    size_t sizes[3], size;
};

static void encode(struct handshake *h) {
    h->size = 0;
    for (size_t i = 0; i < 3; i++) {
        h->bytes[i] = server_encode(parts[i], &h->sizes[i]);
        h->size += h->sizes[i];
    }
}

/* Its first `cut` bytes, each part when the client has answered the one before. */
static void say_up_to(const struct handshake *h, size_t cut) {
    for (size_t i = 0; i < 3 && cut > 0; i++) {
        size_t size = cut < h->sizes[i] ? cut : h->sizes[i];
        virtual_input(&t->v, h->bytes[i], size);
        virtual_run(&t->v);
        cut -= size;
    }
}

/* How it fails by what has come; `lost` 0: nothing more comes. */
static void check_failure(const struct handshake *h, size_t cut, int lost) {
    size_t login = h->sizes[0], open = login + h->sizes[1];
    int code = cut < login ? LAGO_ELOST : cut < open ? LAGO_EAUTH : LAGO_EACCESS;
    assert_string_equal(code_name(attempt(0)->code), code_name(lost ? code : LAGO_ETIMEDOUT));
    assert_int_equal(attempt(0)->phase, cut < open ? LAGO_PHASE_HANDSHAKE : LAGO_PHASE_OPEN);
    assert_int_equal(attempt(0)->os_error, lost);
    assert_null(lago_connection_attempt(t->conn, 1, NULL));
}

static void cut_at(const struct handshake *h, size_t cut, int lost) {
    begin(&(lago_parameters_t){ .connection_attempts = 2, .retry_delay_ms = 1000 });
    say_up_to(h, cut);
    if (lost) {
        virtual_lose(&t->v, lost);
        virtual_run(&t->v);
    } else {
        virtual_advance(&t->v, STACK_MS - 1);
        assert_null(lago_connection_attempt(t->conn, 0, NULL));
        virtual_advance(&t->v, 1);
    }
    check_failure(h, cut, lost);
    virtual_advance(&t->v, 1000);
    server_handshake(&t->v); /* nothing of the first one is left */
    assert_journal(t, "open");
    client_end(t);
}

static void every_byte_may_be_the_last(void **state) {
    static const int ends[] = { END_OF_FILE, RESET, 0 };
    struct handshake h;
    (void)state;
    encode(&h);
    for (size_t i = 0; i < 3; i++)
        for (size_t cut = 0; cut < h.size; cut++) cut_at(&h, cut, ends[i]);
    for (size_t i = 0; i < 3; i++) free(h.bytes[i]);
}

/* ---------------------------------------------------------------- F37, F38: what is proposed */

static void tune(const lago_parameters_t *parameters, uint32_t channel_max, uint32_t frame_max, uint32_t heartbeat_s) {
    char line[128];
    begin(parameters);
    server_send(&t->v, SERVER_START);
    (void)snprintf(line, sizeof line, "0 connection.tune channel_max=%u frame_max=%u heartbeat=%u", channel_max, frame_max,
                   heartbeat_s);
    server_send(&t->v, line);
}

/* Nothing is agreed to: no tune-ok, and the next endpoint gets its chance. */
static void a_frame_max_too_small_is_not_agreed_to(void **state) {
    static const uint32_t bad[] = { 1, 8, 4095 };
    const lago_endpoint_t next = { .host = "b" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        tune(&(lago_parameters_t){ .host = "a", .endpoints = &next, .endpoint_count = 1 }, 2047, bad[i], 60);
        assert_int_equal(written("C> 0 connection.tune-ok"), 0);
        assert_int_equal(written("C> 0 connection."), 1); /* start-ok: it hangs up without a word */
        assert_int_equal(attempt(0)->code, LAGO_EFRAMEMAX);
        assert_string_equal(t->v.host, "b");
        server_handshake(&t->v);
        assert_journal(t, "open");
        client_end(t);
    }
}

/* Whatever is proposed, what is agreed to is within it, within ours, and works: channels to the last, heartbeats in time. */
static void every_other_proposal_is_taken(void **state) {
    static const struct {
        uint32_t channel_max, frame_max, agreed_channel_max, agreed_frame_max;
    } proposals[] = {
        { 0, 0, 65535, 131072 },          { 1, 4096, 1, 4096 },      { 65535, UINT32_MAX, 65535, 131072 }, { 2, 4097, 2, 4097 },
        { 65535, 131073, 65535, 131072 }, { 2047, 8192, 2047, 8192 }
    };
    (void)state;
    for (size_t i = 0; i < sizeof proposals / sizeof proposals[0]; i++) {
        lago_channel_t *ch = NULL;
        tune(NULL, proposals[i].channel_max, proposals[i].frame_max, 60);
        server_send(&t->v, OPEN_OK);
        assert_journal(t, "open");
        lago_tune_t agreed = lago_connection_tune(t->conn);
        assert_int_equal(agreed.channel_max, proposals[i].agreed_channel_max);
        assert_int_equal(agreed.frame_max, proposals[i].agreed_frame_max);
        unsigned channels = agreed.channel_max < 4 ? agreed.channel_max : 4;
        for (unsigned n = 0; n < channels; n++) assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
        if (agreed.channel_max < 4) assert_int_equal(lago_channel_open(t->conn, NULL, &ch), LAGO_ENOCHANNEL);
        client_end(t);
    }
}

static void the_largest_frames_of_both_sides(void **state) {
    (void)state;
    tune(&(lago_parameters_t){ .frame_max = UINT32_MAX }, 0, UINT32_MAX, 60);
    server_send(&t->v, OPEN_OK);
    assert_int_equal(lago_connection_tune(t->conn).frame_max, UINT32_MAX);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    static char body[300000];
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof body } };
    assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_output_size(t->conn), 0); /* in one frame */
    client_end(t);
}

/* How long it takes to find the broker dead; and our own beats, each half interval. */
static void heartbeats_from_nothing_to_a_day(void **state) {
    static const struct {
        int32_t ours;
        uint32_t theirs, agreed_s;
    } intervals[] = { { 0, 0, 0 },     { LAGO_HEARTBEAT_OFF, 1, 0 }, { 0, 1, 1 },      { 1, 0, 1 },
                      { 1, 65535, 1 }, { 65535, 1, 65535 },          { 0, 65535, 60 }, { 65535, 65535, 65535 } };
    (void)state;
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        uint32_t agreed_ms = intervals[i].agreed_s * 1000;
        tune(&(lago_parameters_t){ .heartbeat_s = intervals[i].ours }, 0, 0, intervals[i].theirs);
        server_send(&t->v, OPEN_OK);
        assert_journal(t, "open");
        assert_int_equal(lago_connection_tune(t->conn).heartbeat_s, intervals[i].agreed_s);
        if (agreed_ms == 0) {
            virtual_advance(&t->v, 120000); /* somebody has looked whether open was taken */
            assert_int_equal(virtual_next_deadline(&t->v), DEADLINE_NEVER);
        } else {
            virtual_advance(&t->v, agreed_ms);
            assert_int_equal(written("C> 0 heartbeat"), 2);
            assert_journal(t, "");
            virtual_advance(&t->v, agreed_ms / 10);
            assert_journal(t, "close EHEARTBEAT; connection free");
        }
        client_end(t);
    }
}

/* ---------------------------------------------------------------- F33, F34, F36, F41: what is said at the wrong time */

/* Bring it to where it waits for start, tune or open-ok. */
static void reach(unsigned step) {
    begin(NULL);
    if (step >= 1) server_send(&t->v, SERVER_START);
    if (step >= 2) server_send(&t->v, TUNE);
    virtual_forget_log(&t->v);
}

/* Legal methods, that are not due: one goodbye (503 or 504), once somebody is there to say it to; and nothing that follows counts. */
static void nothing_is_taken_before_it_is_due(void **state) {
    static const struct {
        const char *line;
        unsigned due; /* the step at which it is; 3: at none of them */
    } lines[] = { { SERVER_START, 0 },
                  { TUNE, 1 },
                  { OPEN_OK, 2 },
                  { "0 connection.secure challenge=\"x\"", 1 }, /* an end of its own: below */
                  { "0 connection.blocked reason=\"low on memory\"", 3 },
                  { "0 connection.unblocked", 3 },
                  { "0 connection.update-secret-ok", 3 },
                  { "0 connection.close-ok", 3 },
                  { "1 channel.open-ok", 3 },
                  { "1 channel.close reply_code=404", 3 },
                  { "1 queue.declare-ok queue=\"q\"", 3 },
                  { "1 basic.deliver consumer_tag=\"c\" delivery_tag=1", 3 },
                  { "1 basic.ack delivery_tag=1", 3 },
                  { "1 header body_size=5", 3 },
                  { "1 body \"hello\"", 3 } };
    (void)state;
    for (unsigned step = 0; step <= 2; step++) {
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            if (lines[i].due == step) continue;
            reach(step);
            server_send(&t->v, lines[i].line);
            assert_int_equal(written("C> 0 connection.close "), step > 0);
            if (step == 0) assert_int_equal(written("C> "), 0);
            if (t->v.link == VIRTUAL_CONNECTED) server_send(&t->v, OPEN_OK "\n0 connection.close-ok");
            /* whoever begins with something else than connection.start may be no broker at all */
            if (step > 0 || attempt(0)->code != LAGO_ENOTAMQP) assert_int_equal(attempt(0)->code, LAGO_EPROTOCOL);
            journal_clear(t);
            assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
            client_end(t);
        }
    }
}

/* RabbitMQ begins to beat with tune-ok; a slow open-ok (a virtual host that starts) comes behind many of them. */
static void heartbeats_may_come_early(void **state) {
    (void)state;
    reach(2);
    for (int i = 0; i < 5; i++) server_send(&t->v, "0 heartbeat");
    server_send(&t->v, OPEN_OK);
    assert_journal(t, "open");
    client_end(t);
}

static void refused_before_the_login_nothing_is_told(void **state) {
    static const struct {
        const char *start;
        int code;
    } starts[] = {
        { "raw 41 4d 51 50 00 00 09 00", LAGO_EVERSION },
        { "raw 41 4d 51 50 01 01 00 0a", LAGO_EVERSION },
        { "0 connection.start version_major=0 version_minor=10 mechanisms=\"PLAIN\" locales=\"en_US\"", LAGO_EVERSION },
        { "0 connection.start version_major=8 version_minor=0 mechanisms=\"PLAIN\" locales=\"en_US\"", LAGO_EVERSION },
        { "0 connection.start version_minor=9 mechanisms=\"EXTERNAL GSSAPI\" locales=\"en_US\"", LAGO_EMECHANISM },
        { "0 connection.start version_minor=9 mechanisms=\"\" locales=\"en_US\"", LAGO_EMECHANISM },
        { "0 connection.start version_minor=9 mechanisms=\"XPLAIN PLAINX plain\" locales=\"en_US\"", LAGO_EMECHANISM },
    };
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        begin(&(lago_parameters_t){ .credentials = { .username = "somebody", .password = "hunter2" } });
        server_send(&t->v, starts[i].start);
        hang_up();
        assert_int_equal(attempt(0)->code, starts[i].code);
        assert_int_equal(written("C> 0 connection.start-ok"), 0);
        for (size_t n = 0; n + 7 <= t->v.output_size; n++) assert_memory_not_equal(t->v.output + n, "hunter2", 7);
        client_end(t);
    }
}

/* By PLAIN there is nothing to answer; by mechanisms of one's own eight rounds: test_mechanism.c. */
static void secure_has_an_end(void **state) {
    (void)state;
    reach(1);
    server_send(&t->v, "0 connection.secure challenge=\"more\"");
    assert_int_equal(written("C> "), 0);
    assert_journal(t, "open_error EMECHANISM; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- F35, F39, F46: refused, in words */

/* At the login, at the virtual host; by a node that shuts down, is full, or does not let this user in. */
static void every_refusal_is_told_and_tried_again(void **state) {
    static const struct {
        unsigned step, reply_code;
        int code;
    } refusals[] = { { 0, 320, LAGO_ECONNECTION }, { 1, 403, LAGO_EAUTH },       { 1, 320, LAGO_ECONNECTION },
                     { 1, 530, LAGO_ECONNECTION }, { 2, 530, LAGO_EACCESS },     { 2, 403, LAGO_EACCESS },
                     { 2, 320, LAGO_ECONNECTION }, { 2, 541, LAGO_ECONNECTION }, { 2, 506, LAGO_ECONNECTION } };
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char line[128];
        begin(&(lago_parameters_t){ .connection_attempts = 2, .retry_delay_ms = 500 });
        if (refusals[i].step >= 1) server_send(&t->v, SERVER_START);
        if (refusals[i].step >= 2) server_send(&t->v, TUNE);
        (void)snprintf(line, sizeof line, "0 connection.close reply_code=%u reply_text=\"because\"", refusals[i].reply_code);
        server_send(&t->v, line);
        assert_int_equal(written("C> 0 connection.close-ok"), 1);
        hang_up();
        assert_string_equal(code_name(attempt(0)->code), code_name(refusals[i].code));
        assert_int_equal(attempt(0)->reply_code, refusals[i].reply_code);
        assert_string_equal(attempt(0)->reply_text, "because");
        assert_int_equal(attempt(0)->phase, refusals[i].step == 2 ? LAGO_PHASE_OPEN : LAGO_PHASE_HANDSHAKE);
        assert_int_equal(t->v.counts.connect, 1);
        virtual_advance(&t->v, 500);
        server_handshake(&t->v);
        assert_journal(t, "open");
        client_end(t);
    }
}

/* ---------------------------------------------------------------- F15: all at once */

enum { CLIENTS = 1000, SLOT_MS = 100, SLOTS = 100 };

static uint64_t next_random(uint64_t *seed) { /* splitmix64 */
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A broker restarts, and refuses meanwhile: in no tenth of a second of any round more than a tenth of its clients come back. */
static void a_thousand_clients_come_back_one_by_one(void **state) {
    static unsigned came[4][SLOTS];
    uint64_t seed = 1;
    (void)state;
    memset(came, 0, sizeof came);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_init(t);
        client_connect_with(t,
                            &(lago_parameters_t){ .connection_attempts = 4, .retry_delay_ms = 2000, .retry_delay_max_ms = 8000 });
        t->v.connect_status[0] = REFUSED;
        t->v.random = next_random(&seed);
        virtual_run(&t->v);
        for (unsigned round = 1; round < 4; round++) {
            uint64_t delay = virtual_next_deadline(&t->v);
            assert_in_range(delay, 1, 2000u << (round - 1));
            came[round][delay / SLOT_MS]++;
            t->v.random = next_random(&seed);
            virtual_advance(&t->v, delay);
            assert_int_equal(t->v.counts.connect, round + 1);
        }
        client_end(t);
    }
    unsigned most = 0;
    for (unsigned round = 1; round < 4; round++)
        for (unsigned slot = 0; slot < SLOTS; slot++) most = came[round][slot] > most ? came[round][slot] : most;
    print_message("at most %u of %u clients in %u ms\n", most, CLIENTS, SLOT_MS);
    assert_in_range(most, 1, CLIENTS / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_may_be_the_last),
        cmocka_unit_test(a_frame_max_too_small_is_not_agreed_to),
        cmocka_unit_test(every_other_proposal_is_taken),
        cmocka_unit_test(the_largest_frames_of_both_sides),
        cmocka_unit_test(heartbeats_from_nothing_to_a_day),
        cmocka_unit_test(nothing_is_taken_before_it_is_due),
        cmocka_unit_test(heartbeats_may_come_early),
        cmocka_unit_test(refused_before_the_login_nothing_is_told),
        cmocka_unit_test(secure_has_an_end),
        cmocka_unit_test(every_refusal_is_told_and_tried_again),
        cmocka_unit_test(a_thousand_clients_come_back_one_by_one),
    };
    return cmocka_run_group_tests_name("client/handshake_faults", tests, NULL, NULL);
}
