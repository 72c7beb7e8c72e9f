/* Data through the filter: whole records, no more ahead than agreed, in any pieces; and its ends, the good one and the bad ones. */
#include "pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG_SIZE    ((size_t)1000 * 1000)
#define RECORD_SIZE ((size_t)16 * 1024)

static uint8_t *big_data(void) {
    static uint8_t data[BIG_SIZE];
    for (size_t i = 0; i < BIG_SIZE; i++) data[i] = (uint8_t)(i * 31 + i / 251);
    return data;
}

static void carries(struct pair *p, size_t size) {
    const uint8_t *data = big_data();
    p->heard.size = p->server_heard.size = 0;
    pair_say(p, data, size);
    pair_server_says(p, data, size);
    pair_run(p);
    assert_int_equal(p->server_heard.size, size);
    assert_int_equal(p->heard.size, size);
    if (size == 0) return;
    assert_memory_equal(p->server_heard.data, data, size);
    assert_memory_equal(p->heard.data, data, size);
}

static void carries_all_sizes_both_ways(void **state) {
    struct pair *p = *state;
    static const size_t sizes[] = { 1, 7, 4096, RECORD_SIZE - 1, RECORD_SIZE, RECORD_SIZE + 1, 5 * RECORD_SIZE, BIG_SIZE };
    pair_open(p);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) carries(p, sizes[i]);
    p->split = SPLIT_RANDOM;
    carries(p, BIG_SIZE);
    p->split = SPLIT_BYTES;
    carries(p, 2 * RECORD_SIZE + 1);
    p->split = SPLIT_NONE;
    p->read_size = 1;
    carries(p, 2 * RECORD_SIZE + 1);
    p->read_size = 1000;
    carries(p, BIG_SIZE);
}

/* The lengths of the records of application data in a stream. @return how many; TLS 1.3 adds 17 bytes to a record. */
static size_t read_records(const struct heap *stream, size_t from, size_t *sizes, size_t max) {
    size_t count = 0;
    for (size_t at = from; at < stream->size;) {
        const uint8_t *header = stream->data + at;
        size_t size = (size_t)header[3] << 8 | header[4];
        assert_int_equal(header[0], SSL3_RT_APPLICATION_DATA);
        assert_true(count < max);
        sizes[count++] = size;
        at += 5 + size;
    }
    return count;
}

/* Many small slices are gathered: a record costs 22 bytes and a call of the cipher. */
static void fills_records(void **state) {
    struct pair *p = *state;
    const uint8_t *data = big_data();
    struct slice slices[100];
    size_t sizes[8], total = 0;
    pair_open(p);
    size_t from = p->sent.size;
    for (size_t i = 0; i < 100; i++) {
        slices[i] = (struct slice){ data + total, 1 + i * 7 };
        total += slices[i].size;
    }
    assert_int_equal(tls_filter_write(p->filter, slices, 100), total);
    pair_run(p);
    assert_int_equal(p->server_heard.size, total);
    assert_memory_equal(p->server_heard.data, data, total);
    assert_int_equal(read_records(&p->sent, from, sizes, 8), 3);
    assert_int_equal(sizes[0], RECORD_SIZE + 17);
    assert_int_equal(sizes[1], RECORD_SIZE + 17);
    assert_int_equal(sizes[2], total - 2 * RECORD_SIZE + 17);
    /* big and small ones in turn */
    from = p->sent.size;
    struct slice mixed[] = { { data, 20000 }, { data + 20000, 10 }, { data + 20010, 0 }, { data + 20010, 20000 } };
    assert_int_equal(tls_filter_write(p->filter, mixed, 4), 40010);
    pair_run(p);
    assert_memory_equal(p->server_heard.data + total, data, 40010);
    assert_int_equal(read_records(&p->sent, from, sizes, 8), 3);
}

/* What is encrypted can be neither taken back nor overtaken. */
static void stays_at_most_64_kib_ahead(void **state) {
    struct pair *p = *state;
    struct slice all = { big_data(), BIG_SIZE };
    pair_open(p);
    int64_t taken = tls_filter_write(p->filter, &all, 1);
    assert_in_range(taken, 4 * RECORD_SIZE - 1000, 4 * RECORD_SIZE + 1000);
    assert_false(tls_filter_has_room(p->filter));
    assert_true(tls_filter_output_size(p->filter) < TLS_AHEAD_MAX + RECORD_SIZE + 100);
    assert_int_equal(tls_filter_write(p->filter, &all, 1), 0);
    tls_filter_written(p->filter, 0);
    assert_false(tls_filter_has_room(p->filter));
    pair_run(p);
    assert_true(tls_filter_has_room(p->filter));
    assert_int_equal(p->server_heard.size, taken);
}

/* An idle link needs no buffers of OpenSSL's, and none of lago's. */
static void keeps_nothing_when_idle(void **state) {
    struct pair *p = *state;
    pair_open(p);
    size_t before = p->memory.live_bytes;
    carries(p, BIG_SIZE);
    assert_int_equal(p->memory.live_bytes, before);
    assert_true(before < 4096);
}

/* ---------------------------------------------------------------- ends */

static void tells_the_peers_goodbye(void **state) {
    struct pair *p = *state;
    pair_open(p);
    pair_server_says(p, "last words", 10);
    SSL_shutdown(p->server);
    pair_run(p);
    assert_int_equal(p->heard.size, 10);
    assert_int_equal(p->end, TLS_CLOSED);
    assert_null(tls_filter_reason(p->filter));
    assert_int_equal(tls_filter_read(p->filter, (uint8_t[8]){ 0 }, 8), TLS_CLOSED);
    pair_say(p, "mine", 4); /* its direction ended, not ours */
    assert_true(tls_filter_has_room(p->filter));
    tls_filter_close(p->filter);
    pair_run(p);
    assert_int_equal(SSL_get_shutdown(p->server), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

static void says_goodbye(void **state) {
    struct pair *p = *state;
    pair_open(p);
    pair_say(p, "all", 3);
    tls_filter_close(p->filter);
    tls_filter_close(p->filter);
    size_t size = tls_filter_output_size(p->filter);
    assert_false(tls_filter_has_room(p->filter));
    assert_int_equal(tls_filter_write(p->filter, &(struct slice){ (const uint8_t *)"x", 1 }, 1), 0);
    assert_int_equal(tls_filter_output_size(p->filter), size);
    pair_server_says(p, "yours", 5); /* what comes is still read */
    pair_run(p);
    assert_int_equal(p->server_heard.size, 3);
    assert_int_equal(SSL_get_shutdown(p->server) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    assert_int_equal(p->heard.size, 5);
    assert_null(tls_filter_reason(p->filter));
}

/* Without a handshake there is nobody to say goodbye to. */
static void closes_in_the_handshake(void **state) {
    struct pair *p = *state;
    assert_int_equal(pair_begin(p), 0);
    tls_filter_close(p->filter);
    assert_int_equal(tls_filter_output_size(p->filter), 0);
    pair_run(p);
    assert_int_equal(p->done, 1);
}

static void cut_anywhere_is_no_goodbye(void **state) {
    struct pair *p = *state;
    p->options.no_session_resumption = true;
    SSL_CTX_set_num_tickets(p->server_ctx, 0);
    pair_open(p);
    size_t from = p->server_sent;
    pair_server_says(p, "connection.close", 16);
    SSL_shutdown(p->server);
    pair_run(p);
    size_t to = p->server_sent;
    assert_int_equal(p->end, TLS_CLOSED);
    pair_end(p);
    for (size_t at = from; at < to; at++) {
        p->cut_at = SIZE_MAX;
        pair_open(p);
        p->cut_at = at;
        pair_server_says(p, "connection.close", 16);
        SSL_shutdown(p->server);
        pair_run(p);
        assert_int_equal(p->end, 0);
        assert_in_set(p->heard.size, ((LargestIntegralType[]){ 0, 16 }), 2);
        pair_end(p);
    }
}

/* ---------------------------------------------------------------- records that are wrong */

/* All plaintext before the bad record is handed out, nothing of it or behind it, and the peer gets an alert. */
static void a_wrong_bit_is_final(void **state) {
    struct pair *p = *state;
    p->options.no_session_resumption = true;
    SSL_CTX_set_num_tickets(p->server_ctx, 0);
    pair_open(p);
    size_t from = p->server_sent;
    pair_server_says(p, "good", 4);
    pair_run(p);
    size_t record = p->server_sent - from;
    pair_end(p);
    for (size_t at = 0; at < record; at++) {
        p->flip_at = SIZE_MAX;
        pair_open(p);
        pair_server_says(p, "good", 4);
        p->flip_at = p->server_sent + record + at;
        pair_server_says(p, "evil", 4);
        pair_server_says(p, "good", 4);
        pair_run(p);
        assert_int_equal(p->heard.size, 4);
        assert_memory_equal(p->heard.data, "good", 4);
        if (p->end == 0) { /* the length: more is awaited */
            assert_in_range(at, 3, 4);
        } else {
            assert_int_equal(p->end, TLS_FAILED);
            const lago_reason_t *reason = tls_filter_reason(p->filter);
            pair_expect(reason, LAGO_ETLS, "", "a broken peer, or somebody on the way");
            assert_int_equal(reason->phase, LAGO_PHASE_NONE);
            assert_true(p->server_ended);
            assert_false(tls_filter_has_room(p->filter));
            assert_true(tls_filter_is_starved(p->filter));
        }
        pair_end(p);
    }
}

static void a_late_alert_is_a_failure(void **state) {
    struct pair *p = *state;
    pair_open(p);
    pair_say(p, "x", 1);
    pair_feed(p, "\x15\x03\x03\x00\x02\x02\x28", 7); /* in clear, which nobody may say any more */
    assert_int_equal(p->end, TLS_FAILED);
    pair_expect(tls_filter_reason(p->filter), LAGO_ETLS, "", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(carries_all_sizes_both_ways), TEST(fills_records),
        TEST(stays_at_most_64_kib_ahead),  TEST(keeps_nothing_when_idle),
        TEST(tells_the_peers_goodbye),     TEST(says_goodbye),
        TEST(closes_in_the_handshake),     TEST(cut_anywhere_is_no_goodbye),
        TEST(a_wrong_bit_is_final),        TEST(a_late_alert_is_a_failure),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
