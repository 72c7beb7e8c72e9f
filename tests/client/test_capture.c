/* The capture: a file of pcapng whose packets are the very bytes of the link, without secrets. */
#define _GNU_SOURCE /* memmem */
#include "client_test.h"
#include "frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_MAX   ((size_t)8 << 20)
#define STREAM_MAX ((size_t)2 << 20)

static struct client_test test;
static struct client_test *const t = &test;

/* What was handed over, and what the packets in it say. */
static struct {
    uint8_t bytes[FILE_MAX];
    size_t size;
    uint8_t in[STREAM_MAX], out[STREAM_MAX]; /* payloads of the last conversation, put together by sequence number */
    size_t in_size, out_size;
    unsigned sections, interfaces, packets, connects, ends, fins;
    bool server_ended_first; /* the last conversation */
    uint64_t first_ns, last_ns;
    char comment[200];
} file;

static void append(const void *bytes, size_t size, void *data) {
    assert_ptr_equal(data, &file);
    assert_true(size > 0 && file.size + size <= FILE_MAX);
    memcpy(file.bytes + file.size, bytes, size);
    file.size += size;
}

static void begin(void) {
    memset(&file, 0, sizeof(file));
    client_init(t);
    t->v.capture = (struct pcapng){ .write = append, .data = &file, .wall_us = UINT64_C(1700000000000000) };
    pcapng_begin(&t->v.capture);
}

/* ---------------------------------------------------------------- reading the file back */

static uint32_t host32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static uint32_t net16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t net32(const uint8_t *at) { return net16(at) << 16 | net16(at + 2); }

static void assert_ip_is_sound(const uint8_t *ip, size_t size) {
    uint32_t sum = 0;
    assert_int_equal(ip[0], 0x45);
    assert_int_equal(net16(ip + 2), size);
    assert_int_equal(ip[9], 6);
    for (size_t i = 0; i < 20; i += 2) sum += net16(ip + i);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal(sum, 0xffff);
}

/* Sequence numbers follow each other without holes, in both directions. */
static void read_packet(const uint8_t *block, size_t size) {
    static uint32_t next[2], in_a_row[2];
    size_t packet = host32(block + 20);
    assert_int_equal(packet, host32(block + 24));
    assert_true(28 + packet + 4 <= size);
    const uint8_t *ip = block + 28, *tcp = ip + 20;
    assert_ip_is_sound(ip, packet);
    bool out = net16(tcp + 2) == 5672;
    uint8_t flags = tcp[13];
    size_t head = 20 + (size_t)(tcp[12] >> 4) * 4, payload = packet - head;
    assert_int_equal(head, flags & 2 ? 44 : 40);
    if (flags & 2) next[out] = net32(tcp + 4);
    assert_int_equal(net32(tcp + 4), next[out]);
    if (flags & 16) assert_int_equal(net32(tcp + 8), next[!out]);
    next[out] += (uint32_t)payload + (flags & 3 ? 1 : 0);
    in_a_row[!out] = 0;
    assert_true(++in_a_row[out] <= 1001); /* readers give up when nobody answers */
    if (flags & 2 && out) file.connects++;
    if (flags & 2) file.in_size = file.out_size = 0;
    file.ends += out && flags & 1;
    if (flags & 1 && file.fins++ % 2 == 0) file.server_ended_first = !out;
    memcpy(out ? file.out + file.out_size : file.in + file.in_size, ip + head, payload);
    *(out ? &file.out_size : &file.in_size) += payload;
    uint64_t ns = (uint64_t)host32(block + 12) << 32 | host32(block + 16);
    if (file.packets++ == 0) file.first_ns = ns;
    assert_true(ns >= file.last_ns);
    file.last_ns = ns;
    const uint8_t *option = block + 28 + (packet + 3) / 4 * 4;
    if (host32(option) << 16 >> 16 == 1) (void)snprintf(file.comment, sizeof(file.comment), "%.*s", option[2], option + 4);
}

static void read_file(void) {
    size_t at = 0;
    file.sections = file.interfaces = file.packets = file.connects = file.ends = file.fins = 0;
    file.last_ns = 0;
    while (at < file.size) {
        const uint8_t *block = file.bytes + at;
        uint32_t type = host32(block), size = host32(block + 4);
        assert_true(size % 4 == 0 && size >= 12 && at + size <= file.size);
        assert_int_equal(host32(block + size - 4), size);
        file.sections += type == 0x0A0D0D0Au && host32(block + 8) == 0x1A2B3C4Du;
        file.interfaces += type == 1 && block[8] == 101;
        if (type == 6) read_packet(block, size);
        at += size;
    }
}

static bool contains(const uint8_t *bytes, size_t size, const char *words) {
    return memmem(bytes, size, words, strlen(words)) != NULL;
}

/* ---------------------------------------------------------------- tests */

static void the_packets_are_the_bytes_of_the_link(void **state) {
    (void)state;
    begin();
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { "hello", 5 } }, NULL, NULL);
    virtual_run(&t->v);
    virtual_advance(&t->v, 250);
    server_send(&t->v, "0 heartbeat");
    read_file();
    assert_int_equal(file.sections, 1);
    assert_int_equal(file.interfaces, 1);
    assert_int_equal(file.connects, 1);
    assert_int_equal(file.out_size, t->v.output_size);
    assert_true(contains(file.out, file.out_size, "hello"));
    assert_true(contains(file.in, file.in_size, "RabbitMQ"));
    assert_string_equal(file.comment, "to 192.0.2.1:5672");
    assert_int_equal(file.last_ns - file.first_ns, UINT64_C(250000000));
    assert_int_equal(file.first_ns / 1000000000u, 1700001000u); /* the virtual clock begins at 1000 s */
    /* but for the password they are the same */
    size_t differ = 0;
    for (size_t i = 0; i < file.out_size; i++) differ += file.out[i] != t->v.output[i];
    assert_int_equal(differ, sizeof("\0guest\0guest") - 1);
    client_end(t);
    read_file();
    assert_int_equal(file.ends, 1);
}

static void answer_secret(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)data;
    assert_int_equal(lago_login_respond(conn, challenge->ticket, (lago_bytes_t){ "very-secret", 11 }), 0);
}

/* In pieces of any size, and without memory for the frames that have them. */
static void secrets_are_asterisks(void **state) {
    lago_mechanism_t own = { "CR", answer_secret, NULL };
    lago_parameters_t parameters = { .credentials = { .own_mechanisms = &own, .own_mechanism_count = 1 } };
    (void)state;
    for (size_t piece = 1; piece < 200; piece++) {
        begin();
        t->v.write_max = piece;
        client_connect_with(t, &parameters);
        virtual_run(&t->v);
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"CR\" locales=\"en_US\"");
        server_send(&t->v, "0 connection.secure challenge=\"?\"");
        server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
        server_send(&t->v, "0 connection.open-ok");
        assert_int_equal(lago_update_secret(t->conn, "very-secret", "expired", NULL, NULL), 0);
        virtual_run(&t->v);
        read_file();
        assert_true(contains(t->v.output, t->v.output_size, "very-secret"));
        assert_false(contains(file.bytes, file.size, "very-secret"));
        assert_false(contains(file.bytes, file.size, "secret"));
        assert_true(contains(file.out, file.out_size, "***********"));
        assert_int_equal(file.out_size, t->v.output_size);
        client_end(t);
    }
}

static void without_memory_a_frame_with_a_secret_is_hidden(void **state) {
    (void)state;
    static const size_t pieces[] = { 7, 40, 100, SIZE_MAX };
    for (size_t n = 1; n < 240; n++) {
        begin();
        t->v.write_max = pieces[n % 4];
        client_connect(t, "amqp://user:very-secret-very-long-so-that-it-is-more-than-one-row-of-asterisks@host/");
        virtual_run(&t->v);
        fail_alloc_at(&t->v.alloc, n / 4, false);
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"");
        read_file();
        assert_false(contains(file.bytes, file.size, "very-secret"));
        assert_int_equal(file.out_size, t->v.output_size);
        client_end(t);
    }
}

/* One conversation less in the file, and nothing else. */
static void without_memory_a_conversation_is_left_out(void **state) {
    unsigned left_out = 0;
    (void)state;
    for (size_t n = 1, hit = 1; hit; n++) {
        begin();
        client_connect(t, NULL);
        fail_alloc_at(&t->v.alloc, n, false);
        virtual_run(&t->v);
        hit = t->v.alloc.failures;
        fail_alloc_at(&t->v.alloc, 0, false);
        if (t->v.link == VIRTUAL_CONNECTED) {
            server_handshake(&t->v);
            assert_journal(t, "open");
            read_file();
            assert_in_range(file.connects, hit ? 0 : 1, 1);
            left_out += file.connects == 0;
            if (file.connects) assert_int_equal(file.out_size, t->v.output_size);
        }
        client_end(t);
    }
    assert_int_equal(left_out, 1);
}

static void big_bodies_are_cut_into_packets(void **state) {
    static uint8_t body[300000];
    (void)state;
    begin();
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    lago_channel_t *ch = client_open_channel(t);
    for (size_t i = 0; i < sizeof(body); i++) body[i] = (uint8_t)(i * 7);
    lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { body, sizeof(body) } }, NULL, NULL);
    virtual_run(&t->v);
    read_file();
    assert_int_equal(file.out_size, t->v.output_size);
    assert_memory_equal(file.out + file.out_size - 1000, t->v.output + t->v.output_size - 1000, 1000);
    client_end(t);
}

static void each_attempt_is_a_conversation(void **state) {
    (void)state;
    begin();
    t->v.connect_status[0] = -111;
    t->v.address_count = 2;
    client_connect(t, NULL);
    virtual_run(&t->v);
    read_file();
    assert_int_equal(file.connects, 1); /* what was refused never began */
    assert_string_equal(file.comment, "to 192.0.2.2:5672");
    virtual_lose(&t->v, -4095);
    virtual_run(&t->v);
    read_file();
    assert_int_equal(file.ends, 1);
    assert_true(file.server_ended_first);
    client_end(t);
}

/* Copied and lent bodies, heartbeats, several channels: cut anywhere by the kernel, and the packets are the bytes all the same. */
static void bytes_are_logged_in_any_pieces(void **state) {
    static uint8_t body[20000];
    static uint8_t in[STREAM_MAX];
    size_t in_size = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(body); i++) body[i] = (uint8_t)(i * 13);
    for (unsigned round = 0; round < 60; round++) {
        begin();
        t->v.write_max = round < 20 ? round + 1 : round < 59 ? 1u << (round % 16) : SIZE_MAX;
        t->v.piece_max = round;
        t->v.piece_seed = round;
        client_connect(t, NULL);
        server_handshake(&t->v);
        lago_channel_t *ch[] = { client_channel(t), client_channel(t) };
        server_send(&t->v, "1 channel.open-ok\n2 channel.open-ok");
        for (size_t i = 0; i < 40; i++) {
            const lago_basic_publish_t args = { .routing_key = "q", .body = { body + i, i * i * 2 } };
            assert_int_equal(lago_basic_publish(ch[i % 2], &args, NULL, NULL), 0);
        }
        virtual_run(&t->v);
        virtual_advance(&t->v, 40000);
        server_send(&t->v, "0 heartbeat\n1 channel.flow active=1\n2 channel.close reply_code=404 reply_text=\"none\"");
        read_file();
        assert_int_equal(file.out_size, t->v.output_size);
        for (size_t i = 0; i < file.out_size; i++)
            if (file.out[i] != t->v.output[i]) assert_int_equal(file.out[i], '*');
        assert_true(file.in_size > 100);
        if (round == 0) memcpy(in, file.in, in_size = file.in_size);
        assert_int_equal(file.in_size, in_size);
        assert_memory_equal(file.in, in, in_size);
        client_end(t);
    }
}

/* Readers would take a conversation with the addresses and ports of an old one for that one. */
static void no_two_conversations_have_the_same_addresses(void **state) {
    static uint8_t seen[256][65536 / 8];
    struct pcapng_stream stream;
    (void)state;
    begin();
    for (unsigned i = 0; i < 200000; i++) {
        file.size = 0;
        pcapng_connect(&t->v.capture, &stream, "[::1]:5672", 0);
        const uint8_t *ip = file.bytes + 28;
        uint32_t port = net16(ip + 20), client = ip[15];
        assert_int_equal(net32(ip + 12) >> 8, 0xC00002);
        assert_false(seen[client][port / 8] >> port % 8 & 1);
        seen[client][port / 8] |= (uint8_t)(1u << port % 8);
    }
    file.size = 0;
    virtual_connect(&t->v, NULL, NULL);
    t->conn = t->v.conn;
    client_end(t);
}

/* The application lets go long after the last that happened: the goodbye is of now. */
static void the_end_has_its_own_time(void **state) {
    (void)state;
    begin();
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    virtual_oversleep(&t->v, 5000);
    client_end(t);
    read_file();
    assert_int_equal(file.ends, 1);
    assert_false(file.server_ended_first);
    assert_int_equal(file.last_ns - file.first_ns, UINT64_C(5000000000));
}

/* With a secret half written: what was collected is not told, and nothing of it is left (client_end looks). */
static void off_in_the_middle_of_a_secret(void **state) {
    (void)state;
    begin();
    t->v.room = 40; /* the protocol header and the beginning of start-ok */
    client_connect(t, "amqp://user:very-secret@host/");
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"");
    assert_int_equal(t->v.output_size, 40);
    size_t size = file.size;
    t->v.capture.write = NULL;
    t->v.room = SIZE_MAX;
    virtual_run(&t->v);
    assert_true(contains(t->v.output, t->v.output_size, "very-secret"));
    t->v.capture.write = append;
    file.size = 0; /* another file */
    pcapng_begin(&t->v.capture);
    assert_true(file.size < size);
    size = file.size;
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60\n0 connection.open-ok");
    assert_int_equal(file.size, size);
    assert_journal(t, "open");
    client_end(t);
    assert_int_equal(file.size, size);
}

/* What is no address and port is shown by one of the documentation's (RFC 5737), and in words. */
static void a_place_that_is_no_address(void **state) {
    static const struct {
        const char *words, *address;
    } places[] = { { "10.20.30.40:5672", "\x0a\x14\x1e\x28" },    { "1000.20.30.40:5672", "\xc6\x33\x64\x01" },
                   { "256.20.30.40:5672", "\xc6\x33\x64\x01" },   { "10.20.30.40", "\xc6\x33\x64\x01" },
                   { "10.20.30.40.50:5672", "\xc6\x33\x64\x01" }, { "10.20..40:5672", "\xc6\x33\x64\x01" },
                   { "/run/rabbitmq.sock", "\xc6\x33\x64\x01" } };
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char comment[64];
        begin();
        t->v.endpoint[0] = places[i].words;
        client_connect(t, NULL);
        virtual_run(&t->v);
        read_file();
        (void)snprintf(comment, sizeof(comment), "to %s", places[i].words);
        assert_string_equal(file.comment, comment);
        assert_true(contains(file.bytes, file.size, places[i].address));
        client_end(t);
    }
}

static void off_at_the_end(void **state) {
    (void)state;
    begin();
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    t->v.capture.write = NULL;
    size_t size = file.size;
    client_end(t);
    assert_int_equal(file.size, size);
}

static void off_means_nothing(void **state) {
    (void)state;
    begin();
    t->v.capture.write = NULL;
    size_t size = file.size;
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_int_equal(file.size, size);
    t->v.capture.write = append; /* a connection that is open already is not in it */
    pcapng_begin(&t->v.capture);
    size = file.size;
    client_open_channel(t);
    client_end(t);
    assert_int_equal(file.size, size);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_packets_are_the_bytes_of_the_link),
        cmocka_unit_test(secrets_are_asterisks),
        cmocka_unit_test(without_memory_a_frame_with_a_secret_is_hidden),
        cmocka_unit_test(without_memory_a_conversation_is_left_out),
        cmocka_unit_test(big_bodies_are_cut_into_packets),
        cmocka_unit_test(each_attempt_is_a_conversation),
        cmocka_unit_test(bytes_are_logged_in_any_pieces),
        cmocka_unit_test(no_two_conversations_have_the_same_addresses),
        cmocka_unit_test(the_end_has_its_own_time),
        cmocka_unit_test(off_in_the_middle_of_a_secret),
        cmocka_unit_test(a_place_that_is_no_address),
        cmocka_unit_test(off_at_the_end),
        cmocka_unit_test(off_means_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
