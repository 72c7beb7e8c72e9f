/* What has hurt others, replayed by its name in cves.txt. Each row there is either replayed here or names a test that exists. */
#include "client_test.h"
#include "hostile.h"

#include <stdio.h>

/* ---------------------------------------------------------------- bytes */

static void say_octets(enum place place, const void *octets, size_t size, const char *letters) {
    struct bytes b = { 0 };
    bytes_add(&b, octets, size);
    attack(place, &b, letters);
}

static void sizes_that_wrap(void) {
    for (unsigned type = 1; type <= 3; type++) {
        for (unsigned low = 0xf8; low <= 0xff; low++) {
            const uint8_t head[] = { (uint8_t)type, 0, 1, 0xff, 0xff, 0xff, (uint8_t)low };
            say_octets(CH_OPEN, head, sizeof(head), "1");
            say_octets(AT_WAIT_TUNE, head, sizeof(head), "1");
            if (type == 1) say_octets(AT_WAIT_START, head, sizeof(head), "q");
        }
    }
}

static void frames_too_small(void) {
    static const uint8_t zeros[16] = { 0 };
    for (size_t size = 0; size < 14; size++) {
        struct bytes b = { 0 };
        if (size < 4) {
            bytes_frame(&b, FRAME_METHOD, 0, zeros, size);
            attack(AT_WAIT_START, &b, "q");
            bytes_frame(&b, FRAME_METHOD, 0, zeros, size);
            attack(AT_WAIT_TUNE, &b, "1");
        }
        bytes_frame(&b, FRAME_HEADER, 1, zeros, size);
        attack(CH_HEADER, &b, "1");
    }
}

static void frames_above_frame_max(void) {
    for (uint32_t size = 4089; size < 5000; size += 13) {
        const uint8_t head[] = { FRAME_METHOD, 0, 1, 0, 0, (uint8_t)(size >> 8), (uint8_t)size };
        say_octets(CH_OPEN, head, sizeof(head), "1");
    }
}

static void long_strings_that_wrap(void) {
    static const uint8_t challenge[] = { 0, 10, 0, 20, 0xff, 0xff, 0xff, 0xff, 'x', 'y' };
    static const uint8_t mechanisms[] = { 0, 10, 0, 10, 0, 9, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'P', 0, 0, 0, 0 };
    struct bytes b = { 0 };
    bytes_frame(&b, FRAME_METHOD, 0, challenge, sizeof(challenge));
    attack(AT_WAIT_TUNE, &b, "2");
    bytes_frame(&b, FRAME_METHOD, 0, mechanisms, sizeof(mechanisms));
    attack(AT_WAIT_START, &b, "q");
}

static void a_first_frame_of_4_gib(void) {
    static const uint8_t head[] = { FRAME_METHOD, 0, 0, 0xff, 0xff, 0xff, 0xff };
    say_octets(AT_WAIT_START, head, sizeof(head), "q");
}

static void bodies_of_any_size(void) {
    for (unsigned bit = 31; bit < 64; bit++) {
        for (unsigned less = 0; less < 2; less++) {
            struct scene s;
            struct bytes b = { 0 };
            scene_begin(&s, CH_HEADER);
            s.peer.memory.peak_bytes = s.peer.memory.live_bytes;
            bytes_header(&b, 1, ((uint64_t)1 << bit) - less + (bit == 63 && less ? (uint64_t)1 << 63 : 0), NULL);
            scene_say(&s, b.data, b.size);
            bytes_free(&b);
            if (scene_seen(&s) != 't') case_failed("it is taken");
            if (s.peer.memory.peak_bytes > s.memory + 8192) case_failed("%zu bytes", s.peer.memory.peak_bytes);
            scene_end(&s);
            sum.cases++;
        }
    }
}

/* ---------------------------------------------------------------- tables, as received */

static void reads_as(const void *raw, size_t size, int expected) {
    uint8_t *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, raw, size);
    lago_table_t table = { NULL, exact, size, 0 };
    int64_t rc = lago_table_check(&table);
    if (rc != expected) case_failed("%lld, not %d", (long long)rc, expected);
    free(exact);
    sum.cases++;
}

static void tables_in_tables(void) {
    enum { DEPTH = 20000, SIZE = DEPTH * 6 };
    static uint8_t raw[SIZE];
    for (unsigned i = 0; i < DEPTH; i++) {
        uint32_t left = SIZE - (i + 1) * 6;
        memcpy(raw + i * 6, (uint8_t[]){ 0, 'F', 0, (uint8_t)(left >> 16), (uint8_t)(left >> 8), (uint8_t)left }, 6);
    }
    reads_as(raw, SIZE, LAGO_EDEPTH);
}

static void sizes_inside_that_wrap(void) {
    static const uint8_t high[] = { 0x7f, 0x80, 0xc0, 0xff };
    static const char letters[] = "xSFA";
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            const uint8_t raw[] = { 1, 'k', (uint8_t)letters[i], high[j], 0xff, 0xff, 0xff, 'a', 'b' };
            reads_as(raw, sizeof(raw), LAGO_ETABLE);
        }
    }
}

static void arrays_that_claim(void) {
    for (unsigned high = 0x40; high < 0x100; high += 0x20) {
        const uint8_t raw[] = { 1, 'k', 'A', (uint8_t)high, 0, 0, 0, 'V', 'V', 'V' };
        reads_as(raw, sizeof(raw), LAGO_ETABLE);
    }
}

static void nothing_for_ever(void) {
    uint8_t raw[4096];
    for (size_t i = 0; i < sizeof(raw); i += 2) memcpy(raw + i, "\0V", 2);
    reads_as(raw, sizeof(raw), sizeof(raw) / 2);
    memcpy(raw, "\1kA\0\0\0\0", 7);
    reads_as(raw, 7, 1);
}

/* ---------------------------------------------------------------- a whole client */

static void frame_max_below_the_minimum(void) {
    static const unsigned sizes[] = { 1, 2, 7, 8, 100, 4095 };
    for (size_t i = 0; i < 6; i++) {
        char line[80];
        struct client_test *t = client_at("wait-tune");
        snprintf(line, sizeof(line), "0 connection.tune channel_max=10 frame_max=%u", sizes[i]);
        server_send(&t->v, line);
        if (strstr(t->v.log, "connection.tune-ok")) case_failed("it is agreed to");
        client_expect('q');
    }
}

static void bodies_above_frame_max(void) {
    static uint8_t body[100000];
    struct frame frame;
    struct client_test *t = client_at("wait-tune");
    lago_channel_t *ch = NULL;
    server_send(&t->v, "0 connection.tune channel_max=10 frame_max=4096\n0 connection.open-ok");
    lago_channel_open(t->conn, NULL, &ch);
    server_send(&t->v, "1 channel.open-ok");
    lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "k", .body = { body, sizeof(body) } }, NULL, NULL);
    virtual_run(&t->v);
    size_t at = PROTOCOL_HEADER_SIZE, need = 0, count = 0;
    while (frame_decode(t->v.output + at, t->v.output_size - at, 4096, &frame, &need) == FRAME_COMPLETE) at += need, count++;
    if (at != t->v.output_size || count < 25) case_failed("%zu frames", count);
    client_expect('e');
}

static void names_that_wrap(void) {
    static const size_t sizes[] = { 256, 257, 511, 512, 65536 };
    for (size_t i = 0; i < 5; i++) {
        char *name = malloc(sizes[i] + 1);
        assert_non_null(name);
        memset(name, 'q', sizes[i]);
        name[sizes[i]] = '\0';
        struct client_test *t = client_at("idle");
        lago_channel_t *ch = client_channel_here();
        lago_field_t field = { { name, sizes[i] }, { LAGO_TYPE_VOID, { 0 } } };
        size_t sent = t->v.output_size;
        int rc[] = { lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = name }, NULL, NULL),
                     lago_queue_declare(ch, &(lago_queue_declare_t){ .arguments = { &field, NULL, 1, 0 } }, NULL, NULL),
                     (int)lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = name }, NULL, NULL) };
        virtual_run(&t->v);
        for (size_t j = 0; j < 3; j++)
            if (rc[j] != LAGO_ETOOLONG) case_failed("%zu octets: %s", sizes[i], lago_error_name(rc[j]));
        if (t->v.output_size != sent) case_failed("%zu octets are sent", t->v.output_size - sent);
        client_expect('.');
        free(name);
    }
}

static void compressed_bodies(void) {
    struct client_test *t = client_at("consuming");
    server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=4 content_encoding=\"gzip\"\n"
                       "1 body \"\\x1f\\x8b\\x08x\"");
    if (strcmp(t->journal, "consumer got \x1f\x8b\x08x") != 0) case_failed("%s", t->journal);
    client_expect('e');
}

static void words_that_are_formats(void) {
    struct client_test *t = client_at("idle");
    server_send(&t->v, "0 connection.blocked reason=\"%s%n%99999d\\x1b[2J\"");
    if (strcmp(t->journal, "blocked %s%n%99999d\x1b[2J") != 0) case_failed("%s", t->journal);
    if (strchr(t->v.log, '\x1b')) case_failed("the log is not escaped");
    client_expect('e');
    t = client_at("idle");
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"%s%n%99999d\\x1b[2J\\r\\n\"");
    if (strchr(t->v.log, '\x1b') || strchr(t->v.log, '\r')) case_failed("the log is not escaped");
    client_expect('k');
}

/* ---------------------------------------------------------------- the table */

static const struct {
    const char *name;
    void (*replay)(void);
} replays[] = {
    { "rabbitmq-c CVE-2019-18609", sizes_that_wrap },
    { "rabbitmq-c 0.14", tables_in_tables },
    { "rabbitmq-c CVE-2026-44235", frames_too_small },
    { "rabbitmq-c CVE-2026-44236", frame_max_below_the_minimum },
    { "rabbitmq-c GHSA-hfjv-vcp3-39wh", bodies_above_frame_max },
    { "rabbitmq-c GHSA-jgjf-7fwf-f3c7", sizes_inside_that_wrap },
    { "amqp091-go CVE-2026-77403", frame_max_below_the_minimum },
    { "amqp091-go CVE-2026-77408", names_that_wrap },
    { "amqp091-go CVE-2026-77410", bodies_of_any_size },
    { "amqp091-go CVE-2026-77412", sizes_inside_that_wrap },
    { "amqp091-go CVE-2026-79921", frames_above_frame_max },
    { "amqp091-go GHSA-c5pq-fr2g-9jpf", long_strings_that_wrap },
    { "amqp091-go GHSA-w6r9-248c-frg8", a_first_frame_of_4_gib },
    { "Java CVE-2023-46120", bodies_of_any_size },
    { "spring-amqp CVE-2026-47860", compressed_bodies },
    { "hiredis CVE-2021-32765", arrays_that_claim },
    { "RabbitMQ CVE-2019-11287", words_that_are_formats },
    { "RabbitMQ CVE-2021-22116", nothing_for_ever },
};

static bool replay(const char *name) {
    for (size_t i = 0; i < sizeof(replays) / sizeof(replays[0]); i++) {
        if (strcmp(replays[i].name, name) != 0) continue;
        case_is("%s", name);
        replays[i].replay();
        return true;
    }
    return false;
}

static bool is_there(const char *tests, const char *file) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/../%s", tests, file);
    FILE *found = fopen(path, "r");
    if (found) fclose(found);
    return found != NULL;
}

void replay_cves(const char *path, const char *tests) {
    char line[1024];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    while (fgets(line, sizeof(line), file)) {
        char *end = strstr(line, " | "), *where = strrchr(line, '|');
        if (line[0] == '#' || !end) continue;
        line[strcspn(line, "\n")] = '\0';
        *end = '\0';
        where += 2;
        case_is("%s", line);
        bool ours = strcmp(where, "replayed") == 0;
        if (ours ? !replay(line) : !is_there(tests, where)) case_failed("%s is not there", where);
        count += ours;
    }
    fclose(file);
    if (count != sizeof(replays) / sizeof(replays[0])) case_failed("not each replay has a row");
}
