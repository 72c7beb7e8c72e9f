/*
 * What may go wrong with publishes where no network is needed (tests/FAULTS.md F76, F77, F86, F92, F93): buffers that go at once,
 * what does not fit, memory that runs out in the middle, an answer that never comes, a million in flight.
 */
#define _GNU_SOURCE /* memmem */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;
static lago_channel_t *ch;

/* An open channel with confirms, if wanted. Nothing is traced: the short ways are taken as well. */
static void begin(bool confirms) {
    client_init(t);
    t->v.log_level = LAGO_LOG_WARNING;
    client_connect(t, NULL);
    server_handshake(&t->v);
    ch = client_channel(t);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok");
    if (confirms) {
        assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
        virtual_run(&t->v);
        server_send(&t->v, "1 confirm.select-ok");
    }
    journal_clear(t);
    t->v.output_size = 0;
}

/* ---------------------------------------------------------------- what left */

/* The next frame of what the client wrote. @return its type, 0 at the end. */
static unsigned next_frame(size_t *at, const uint8_t **payload, size_t *size) {
    const uint8_t *frame = t->v.output + *at;
    if (*at == t->v.output_size) return 0;
    *size = (size_t)frame[3] << 24 | (size_t)frame[4] << 16 | (size_t)frame[5] << 8 | frame[6];
    *payload = frame + 7;
    *at += *size + 8;
    assert_true(*at <= t->v.output_size);
    assert_int_equal(frame[*size + 7], 0xCE);
    return frame[0];
}

/* How many messages left, all of them whole. */
static uint64_t messages_that_left(void) {
    const uint8_t *payload;
    uint64_t count = 0, body = 0;
    size_t at = 0, size;
    for (unsigned type; (type = next_frame(&at, &payload, &size)) != 0;) {
        if (type == 1 && memcmp(payload, "\0\74\0\50", 4) == 0) count++;
        if (type == 2) {
            assert_int_equal(body, 0);
            for (size_t i = 4; i < 12; i++) body = body << 8 | payload[i];
        }
        if (type == 3) body -= size;
    }
    assert_int_equal(body, 0);
    return count;
}

static uint8_t pattern(size_t i) { return (uint8_t)(i * 7 ^ i >> 8); }

/* ---------------------------------------------------------------- F76 */

static void *filled(size_t size) {
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) bytes[i] = pattern(i);
    return bytes;
}

static void spoil(void *bytes, size_t size) {
    memset(bytes, 0xEE, size);
    free(bytes);
}

/* Every piece of memory that a publish names goes right behind it; what leaves much later is what it said. */
static int64_t publish_and_forget(lago_publisher_t *publisher, size_t size, lago_publish_cb told) {
    uint8_t *body = filled(size);
    char *key = strdup("the.routing.key"), *value = strdup("of.a.header");
    lago_field_t *field = malloc(sizeof *field);
    assert_true(key && value && field);
    *field = (lago_field_t)LAGO_FIELD_STR("name", value);
    lago_properties_t properties = { .headers = { .fields = field, .size = 1 }, .correlation_id = value };
    lago_basic_publish_t args = { .routing_key = key, .properties = &properties, .body = { body, size } };
    int64_t rc = publisher ? lago_publisher_publish(publisher, args.body, NULL) : lago_basic_publish(ch, &args, told, NULL);
    spoil(body, size);
    spoil(key, strlen(key) + 1);
    spoil(value, strlen(value) + 1);
    spoil(field, sizeof *field);
    return rc;
}

static void buffers_may_go_at_once(void **state) {
    static const size_t sizes[] = { 0, 1, 100, 2047, 2048, 2049, 5000, 131064, 131065, 300000 };
    size_t count = sizeof sizes / sizeof sizes[0], at = 0, size;
    const uint8_t *payload;
    (void)state;
    for (int prepared = 0; prepared < 2; prepared++, at = 0) {
        begin(true);
        char *key = strdup("prepared");
        lago_publisher_t *publisher = NULL;
        if (prepared) assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .routing_key = key }, &publisher), 0);
        spoil(key, strlen(key) + 1);
        virtual_take(&t->v, 0);
        for (size_t i = 0; i < count; i++) assert_true(publish_and_forget(publisher, sizes[i], NULL) == (int64_t)i + 1);
        virtual_run(&t->v);
        virtual_take(&t->v, SIZE_MAX);
        virtual_run(&t->v);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(next_frame(&at, &payload, &size), 1);
            assert_non_null(memmem(payload, size, prepared ? "prepared" : "the.routing.key", prepared ? 8 : 15));
            assert_int_equal(next_frame(&at, &payload, &size), 2);
            if (!prepared) assert_non_null(memmem(payload, size, "\4nameS\0\0\0\13of.a.header", 21));
            for (size_t done = 0; done < sizes[i]; done += size) {
                assert_int_equal(next_frame(&at, &payload, &size), 3);
                for (size_t k = 0; k < size; k++) assert_int_equal(payload[k], pattern(done + k));
            }
        }
        assert_int_equal(next_frame(&at, &payload, &size), 0);
        client_end(t);
    }
}

/* A lent body comes back exactly once: when it was written, when its link ends, when it never left; not at all when refused. */
static void lent_bodies_come_back_once(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        size_t size = 300000;
        uint8_t *body = filled(size);
        begin(true);
        struct probe *data = probe(t, "body");
        lago_basic_publish_t args = { .body = { body, size }, .release_body = noted_release, .release_data = data };
        char long_name[257];
        memset(long_name, 'k', 256);
        long_name[256] = '\0';
        args.routing_key = long_name;
        assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), LAGO_ETOOLONG);
        args.routing_key = "q";
        virtual_take(&t->v, way == 1 ? 1000 : 0);
        assert_int_equal(lago_basic_publish(ch, &args, noted_publish, probe(t, "p")), 1);
        assert_int_equal(data->calls, 0); /* never from inside the call */
        virtual_run(&t->v);
        assert_int_equal(data->calls, 0);
        if (way == 0) virtual_take(&t->v, SIZE_MAX);
        if (way > 0) virtual_lose(&t->v, -104);
        virtual_run(&t->v);
        assert_int_equal(data->calls, 1);
        if (way == 0) assert_journal(t, "body released");
        if (way == 1) assert_non_null(strstr(t->journal, "p 1 unknown"));
        if (way == 2) assert_non_null(strstr(t->journal, "p 1 not sent"));
        spoil(body, size);
        client_end(t);
        assert_int_equal(data->calls, 1);
    }
}

/* ---------------------------------------------------------------- F77 */

/* Refused: not a byte, not a number. The next one has the number that follows, at the broker as here. */
static void what_does_not_fit_takes_no_number(void **state) {
    static char name[257], big[200000];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    memset(big, 'b', sizeof big);
    begin(true);
    lago_field_t of_a_long_name = LAGO_FIELD_STR(name, "x"), too_big = LAGO_FIELD_STRING("x", big, sizeof big);
    lago_properties_t long_id = { .correlation_id = name };
    lago_properties_t long_key = { .headers = { .fields = &of_a_long_name, .size = 1 } };
    lago_properties_t large = { .headers = { .fields = &too_big, .size = 1 } };
    const struct {
        lago_basic_publish_t args;
        int code;
    } rows[] = {
        { { .routing_key = name }, LAGO_ETOOLONG },
        { { .exchange = name }, LAGO_ETOOLONG },
        { { .properties = &long_id }, LAGO_ETOOLONG },
        { { .properties = &long_key }, LAGO_ETOOLONG },
        { { .properties = &large }, LAGO_ETOOBIG },
        { { .body = { NULL, 1 } }, LAGO_EINVAL },
        { { .properties = &long_id, .mandatory = true }, LAGO_ETOOLONG },
    };
    int64_t number = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        t->v.output_size = 0;
        assert_int_equal(lago_basic_publish(ch, &rows[i].args, noted_publish, probe(t, "never")), rows[i].code);
        virtual_run(&t->v);
        assert_int_equal(t->v.output_size, 0);
        assert_int_equal(lago_connection_output_size(t->conn), 0);
        lago_basic_publish_t good = { .routing_key = "q" };
        assert_true(lago_basic_publish(ch, &good, NULL, NULL) == ++number);
        virtual_run(&t->v);
        assert_int_equal(messages_that_left(), 1);
    }
    assert_int_equal(lago_channel_unconfirmed_count(ch), (size_t)number);
    server_send(&t->v, "1 basic.ack delivery_tag=7 multiple=1");
    assert_int_equal(lago_channel_unconfirmed_count(ch), 0);
    assert_journal(t, "");
    client_end(t);
}

/* ---------------------------------------------------------------- F86 */

static uint64_t told_up_to;

static void on_in_step(lago_channel_t *channel, const lago_publish_result_t *result, void *data) {
    (void)channel, (void)data;
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    assert_int_equal(result->sequence_number, ++told_up_to);
}

/* @return whether an allocation failed. */
static bool publish_without_memory(size_t k, bool from_then_on) {
    static char large[40000];
    uint64_t accepted = 0;
    char line[80];
    begin(true);
    told_up_to = 0;
    fail_alloc_at(&t->v.alloc, k, from_then_on);
    for (int i = 0; i < 70; i++) {
        lago_basic_publish_t args = { .exchange = "e", .routing_key = "q", .mandatory = i % 3 == 0 };
        args.body = (lago_bytes_t){ large, i % 5 == 0 ? sizeof large : 10 };
        int64_t rc = lago_basic_publish(ch, &args, on_in_step, NULL);
        if (rc != LAGO_ENOMEM) assert_true(rc == (int64_t)++accepted);
    }
    bool failed = t->v.alloc.calls >= k;
    fail_alloc_at(&t->v.alloc, 0, false);
    virtual_run(&t->v);
    assert_int_equal(messages_that_left(), accepted); /* which is what the broker has counted to */
    if (accepted > 0) {
        snprintf(line, sizeof line, "1 basic.ack delivery_tag=%llu multiple=1", (unsigned long long)accepted);
        server_send(&t->v, line);
    }
    assert_int_equal(told_up_to, accepted);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
    return failed;
}

static void without_memory_both_count_alike(void **state) {
    (void)state;
    for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
        size_t k = 1;
        while (publish_without_memory(k, from_then_on)) k++;
        assert_true(k > 5);
    }
}

/* ---------------------------------------------------------------- F93 */

#define MILLION 1000000u

static struct {
    uint64_t told;
    uintptr_t lowest, highest; /* of the stack, where the callback stood */
    bool early;                /* nothing is due yet */
} heap;

static void on_one_of_a_million(lago_channel_t *channel, const lago_publish_result_t *result, void *data) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0); /* a sanitizer keeps variables elsewhere */
    (void)channel, (void)data;
    assert_false(heap.early);
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    assert_int_equal(result->sequence_number, ++heap.told);
    if (here < heap.lowest) heap.lowest = here;
    if (here > heap.highest) heap.highest = here;
    t->v.now += heap.told % 64 == 0; /* it is slow, and others want the loop */
}

/* @return the processor's time for one ack of all of them. */
static double settle_at_once(size_t count) {
    char line[80];
    begin(true);
    memset(&heap, 0, sizeof heap);
    heap.lowest = UINTPTR_MAX;
    for (size_t i = 1; i <= count; i++) {
        lago_basic_publish_t args = { .routing_key = "q" };
        assert_true(lago_basic_publish(ch, &args, on_one_of_a_million, NULL) == (int64_t)i);
        if (i % 1000 == 0 || i == count) {
            heap.early = true;
            virtual_run(&t->v);
            t->v.output_size = 0;
            heap.early = false;
        }
    }
    snprintf(line, sizeof line, "1 basic.ack delivery_tag=%zu multiple=1", count);
    server_queue(&t->v, line);
    size_t calls = t->v.alloc.calls, turns = t->v.counts.turns;
    clock_t before = clock();
    virtual_run(&t->v);
    double took = (double)(clock() - before);
    assert_int_equal(heap.told, count);
    assert_int_equal(lago_channel_unconfirmed_count(ch), 0);
    assert_true(t->v.alloc.calls - calls <= 16);           /* nothing for each */
    assert_true(t->v.counts.turns - turns >= count / 256); /* the loop had its turn in between */
    assert_true(heap.highest - heap.lowest <= 4096);       /* nothing on top of each other */
    client_end(t);
    return took;
}

static void a_million_are_settled_by_one(void **state) {
    (void)state;
    double few = settle_at_once(MILLION / 16);
    double many = settle_at_once(MILLION);
    if (few < CLOCKS_PER_SEC / 500) few = CLOCKS_PER_SEC / 500;
    assert_true(many < 64 * few); /* sixteen times as many; a walk for each would be 256 times as long */
}

/* A confirm of what has been settled before is no fault; ten thousand at once are an attack. */
static void confirms_that_settle_nothing_are_counted(void **state) {
    (void)state;
    begin(true);
    lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, noted_publish, probe(t, "p"));
    virtual_run(&t->v);
    for (unsigned i = 0; i < 10001; i++) server_send(&t->v, "1 basic.ack delivery_tag=1 multiple=1");
    assert_journal(t, "p 1 confirmed");
    server_send(&t->v, "1 basic.ack delivery_tag=0 multiple=1");
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "1 close EPROTOCOL; channel free; close EPROTOCOL; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_EPROTOCOL);
    assert_string_equal(lago_connection_reason(t->conn)->detail,
                        "the broker floods us: more than 10000 confirms of what is settled");
    client_end(t);
}

/* Each is looked for among all that are open. */
static void returns_of_what_is_not_awaited_are_counted(void **state) {
    static const char back[] = "1 basic.return reply_code=312 routing_key=\"q\"\n1 header body_size=0";
    (void)state;
    begin(true);
    lago_basic_publish_t args = { .routing_key = "q", .mandatory = true, .body = { "x", 1 } };
    for (unsigned i = 0; i < 8 * 1024; i++) assert_true(lago_basic_publish(ch, &args, NULL, NULL) > 0);
    virtual_run(&t->v);
    for (unsigned i = 0; i < 10000 / 9; i++) server_send(&t->v, back); /* each is as bad as itself and eight more */
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    journal_clear(t);
    server_send(&t->v, back);
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "1 close EPROTOCOL; channel free; close EPROTOCOL; connection free");
    assert_string_equal(lago_connection_reason(t->conn)->detail,
                        "the broker floods us: more than 10000 returns of what is not awaited");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_may_go_at_once),
        cmocka_unit_test(lent_bodies_come_back_once),
        cmocka_unit_test(what_does_not_fit_takes_no_number),
        cmocka_unit_test(without_memory_both_count_alike),
        cmocka_unit_test(a_million_are_settled_by_one),
        cmocka_unit_test(confirms_that_settle_nothing_are_counted),
        cmocka_unit_test(returns_of_what_is_not_awaited_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
