/* Methods: the generated tables and the engine that walks them. */
#include "codec_test.h"
#include "frame.h"
#include "method.h"

#define ROOM 4096u

/* ---------------------------------------------------------------- arguments by the tables, so that no method is forgotten */

static void *member(const struct method_info *info, size_t field, void *args) {
    return (uint8_t *)args + info->fields[field].offset;
}

/* No entry, or one of random bytes: a malformed table would not be written. */
static lago_table_t roll_table(struct dice *d) {
    static uint8_t raw[607];
    size_t size = dice_below(d, 600);
    if (size % 7 == 0) return (lago_table_t){ NULL, raw, 0, 0 };
    dice_fill(d, raw, sizeof raw);
    memcpy(raw, "\1kx\0\0", 5);
    raw[5] = (uint8_t)(size >> 8);
    raw[6] = (uint8_t)size;
    return (lago_table_t){ NULL, raw, 7 + size, 0 };
}

static void roll_field(struct dice *d, uint8_t type, void *value, const uint8_t *pool) {
    switch (type) {
    case FIELD_BIT: *(bool *)value = dice_below(d, 2) == 1; break;
    case FIELD_OCTET: *(uint8_t *)value = (uint8_t)dice_roll(d); break;
    case FIELD_SHORT: *(uint16_t *)value = (uint16_t)dice_roll(d); break;
    case FIELD_LONG: *(uint32_t *)value = (uint32_t)dice_roll(d); break;
    case FIELD_LONGLONG: *(uint64_t *)value = dice_roll(d); break;
    case FIELD_SHORTSTR: *(lago_string_t *)value = (lago_string_t){ (const char *)pool, dice_below(d, 256) }; break;
    case FIELD_LONGSTR: *(lago_bytes_t *)value = (lago_bytes_t){ pool, dice_below(d, 600) }; break;
    case FIELD_TABLE: *(lago_table_t *)value = roll_table(d); break;
    default: fail();
    }
}

static void roll_args(struct dice *d, const struct method_info *info, union method_args *args) {
    static uint8_t pool[600];
    dice_fill(d, pool, sizeof pool);
    memset(args, 0, sizeof *args);
    for (size_t i = 0; i < info->field_count; i++) {
        if (!info->fields[i].reserved) roll_field(d, info->fields[i].type, member(info, i, args), pool);
    }
}

static void assert_bytes_same(const void *a, size_t a_size, const void *b, size_t b_size) {
    assert_int_equal(a_size, b_size);
    if (a_size > 0) assert_memory_equal(a, b, a_size);
}

static void assert_field_same(uint8_t type, const void *a, const void *b) {
    const lago_string_t *s = a, *t = b;
    const lago_bytes_t *x = a, *y = b;
    const lago_table_t *m = a, *n = b;
    switch (type) {
    case FIELD_BIT: assert_int_equal(*(const bool *)a, *(const bool *)b); break;
    case FIELD_OCTET: assert_memory_equal(a, b, 1); break;
    case FIELD_SHORT: assert_memory_equal(a, b, 2); break;
    case FIELD_LONG: assert_memory_equal(a, b, 4); break;
    case FIELD_LONGLONG: assert_memory_equal(a, b, 8); break;
    case FIELD_SHORTSTR: assert_bytes_same(s->data, s->size, t->data, t->size); break;
    case FIELD_LONGSTR: assert_bytes_same(x->data, x->size, y->data, y->size); break;
    default:
        assert_null(n->fields);
        assert_int_equal(n->depth, 0);
        assert_bytes_same(m->raw, m->size, n->raw, n->size);
    }
}

static void assert_args_same(const struct method_info *info, union method_args *a, union method_args *b) {
    for (size_t i = 0; i < info->field_count; i++) {
        if (!info->fields[i].reserved) assert_field_same(info->fields[i].type, member(info, i, a), member(info, i, b));
    }
}

static size_t encode(const struct method_info *info, const void *args, uint8_t *room) {
    struct writer measured = writer_measure();
    method_write(&measured, info, args);
    struct writer w = writer_over(room, ROOM);
    method_write(&w, info, args);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.size, measured.size);
    return w.size;
}

/* ---------------------------------------------------------------- the tables */

static void methods_rise_and_are_found(void **state) {
    (void)state;
    uint32_t last = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method_info *info = method_at(i);
        assert_true(info->id > last);
        last = info->id;
        assert_ptr_equal(method_find(info->id), info);
        assert_ptr_equal(method_find_name(info->name, strlen(info->name)), info);
        assert_null(method_find_name(info->name, strlen(info->name) - 1));
        assert_true(info->from_server || info->from_client);
    }
    assert_null(method_at(METHOD_COUNT));
    assert_null(method_at(SIZE_MAX));
    assert_null(method_find_name("", 0));
    assert_null(method_find_name("queue.declare-okay", 18));
}

static void nothing_else_is_found(void **state) {
    (void)state;
    size_t found = 0;
    for (uint32_t class_id = 0; class_id < 300; class_id++) {
        for (uint32_t number = 0; number < 300; number++) found += method_find(class_id << 16 | number) != NULL;
    }
    assert_int_equal(found, METHOD_COUNT);
    assert_null(method_find(UINT32_MAX));
    assert_null(method_find((uint32_t)60 << 16 | 0xffff));
    assert_null(method_find(0xffff000a));
}

static void every_answer_is_a_method_of_the_same_class(void **state) {
    (void)state;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method_info *info = method_at(i);
        for (size_t r = 0; r < 2; r++) {
            if (info->replies[r] == 0) continue;
            const struct method_info *reply = method_find(info->replies[r]);
            assert_non_null(reply);
            assert_int_equal(reply->id >> 16, info->id >> 16);
            assert_true(!info->from_client || reply->from_server);
            assert_true(!info->from_server || reply->from_client);
        }
    }
    assert_int_equal(method_find(METHOD_BASIC_GET)->replies[0], METHOD_BASIC_GET_OK);
    assert_int_equal(method_find(METHOD_BASIC_GET)->replies[1], METHOD_BASIC_GET_EMPTY);
    assert_int_equal(method_find(METHOD_EXCHANGE_UNBIND)->replies[0], METHOD_EXCHANGE_UNBIND_OK);
    assert_int_equal(METHOD_EXCHANGE_UNBIND_OK, 40 << 16 | 51);
}

static void who_sends_what(void **state) {
    (void)state;
    static const uint32_t both[] = { METHOD_CONNECTION_CLOSE, METHOD_CHANNEL_CLOSE, METHOD_CHANNEL_FLOW, METHOD_BASIC_CANCEL,
                                     METHOD_BASIC_CANCEL_OK,  METHOD_BASIC_ACK,     METHOD_BASIC_NACK };
    static const uint32_t server[] = { METHOD_CONNECTION_START, METHOD_CONNECTION_BLOCKED, METHOD_CONNECTION_UNBLOCKED,
                                       METHOD_BASIC_DELIVER,    METHOD_BASIC_RETURN,       METHOD_QUEUE_DECLARE_OK };
    static const uint32_t client[] = { METHOD_CONNECTION_START_OK, METHOD_BASIC_PUBLISH, METHOD_BASIC_REJECT,
                                       METHOD_CONFIRM_SELECT, METHOD_CONNECTION_UPDATE_SECRET };
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        assert_true(method_find(both[i])->from_server && method_find(both[i])->from_client);
    }
    for (size_t i = 0; i < sizeof server / sizeof server[0]; i++) {
        assert_true(method_find(server[i])->from_server && !method_find(server[i])->from_client);
    }
    for (size_t i = 0; i < sizeof client / sizeof client[0]; i++) {
        assert_true(!method_find(client[i])->from_server && method_find(client[i])->from_client);
    }
}

static void four_methods_carry_content(void **state) {
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++) count += method_at(i)->content;
    assert_int_equal(count, 4);
    assert_true(method_find(METHOD_BASIC_PUBLISH)->content);
    assert_true(method_find(METHOD_BASIC_RETURN)->content);
    assert_true(method_find(METHOD_BASIC_DELIVER)->content);
    assert_true(method_find(METHOD_BASIC_GET_OK)->content);
}

/* ---------------------------------------------------------------- known bytes */

static void queue_declare_on_the_wire(void **state) {
    (void)state;
    struct queue_declare args = { .queue = STRING("q"), .durable = true, .no_wait = true };
    uint8_t room[ROOM];
    struct writer w = writer_over(room, sizeof room);
    method_write(&w, method_find(METHOD_QUEUE_DECLARE), &args);
    assert_written(&w, BYTES("\0\x32\0\x0a\0\0\1q\x12\0\0\0\0"));
}

static void reserved_fields_are_zero_or_empty(void **state) {
    (void)state;
    struct connection_open open = { .virtual_host = STRING("/") };
    uint8_t room[ROOM];
    struct writer w = writer_over(room, sizeof room);
    method_write(&w, method_find(METHOD_CONNECTION_OPEN), &open);
    assert_written(&w, BYTES("\0\x0a\0\x28\1/\0\0"));
    w = writer_over(room, sizeof room);
    method_write(&w, method_find(METHOD_CHANNEL_OPEN_OK), NULL);
    assert_written(&w, BYTES("\0\x14\0\x0b\0\0\0\0"));
}

static void basic_deliver_is_read(void **state) {
    (void)state;
    static const char bytes[] = "\0\x3c\0\x3c\2ct\1\2\3\4\5\6\7\10\1\2ex\3key";
    const struct method_info *info;
    union method_args args;
    assert_int_equal(method_read(BYTES(bytes), &info, &args), 0);
    assert_int_equal(info->id, METHOD_BASIC_DELIVER);
    assert_string_is(args.basic_deliver.consumer_tag, BYTES("ct"));
    assert_true(args.basic_deliver.delivery_tag == 0x0102030405060708);
    assert_true(args.basic_deliver.redelivered);
    assert_string_is(args.basic_deliver.exchange, BYTES("ex"));
    assert_string_is(args.basic_deliver.routing_key, BYTES("key"));
}

static void bits_fill_octets_from_the_lowest(void **state) {
    (void)state;
    bool bits[10] = { true, false, false, false, false, false, false, true, false, true };
    struct method_field fields[11];
    for (uint16_t i = 0; i < 10; i++) fields[i] = (struct method_field){ "bit", FIELD_BIT, false, false, i };
    fields[10] = (struct method_field){ "octet", FIELD_OCTET, true, false, 0 };
    const struct method_info info = { 0x00010002, "x.y", fields, 11, false, true, true, { 0, 0 } };
    uint8_t room[ROOM];
    struct writer w = writer_over(room, sizeof room);
    method_write(&w, &info, bits);
    assert_written(&w, BYTES("\0\1\0\2\x81\x02\0"));
}

static void bits_that_nobody_defined_are_ignored(void **state) {
    (void)state;
    const struct method_info *info;
    union method_args args;
    assert_int_equal(method_read(BYTES("\0\x14\0\x14\xfe"), &info, &args), 0);
    assert_false(args.channel_flow.active);
    assert_int_equal(method_read(BYTES("\0\x14\0\x14\x01"), &info, &args), 0);
    assert_true(args.channel_flow.active);
}

/* ---------------------------------------------------------------- every method */

static void every_method_comes_back(void **state) {
    (void)state;
    struct dice d = { 0x5eed };
    for (size_t i = 0; i < METHOD_COUNT * 50; i++) {
        const struct method_info *info = method_at(i % METHOD_COUNT), *seen;
        union method_args args, back;
        uint8_t room[ROOM], again[ROOM];
        roll_args(&d, info, &args);
        size_t size = encode(info, &args, room);
        assert_int_equal(method_read(room, size, &seen, &back), 0);
        assert_ptr_equal(seen, info);
        assert_args_same(info, &args, &back);
        assert_int_equal(encode(info, &back, again), size);
        assert_memory_equal(room, again, size);
    }
}

static void every_cut_and_every_surplus_is_refused(void **state) {
    (void)state;
    struct dice d = { 0xc07 };
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method_info *info = method_at(i), *seen;
        union method_args args, back;
        uint8_t room[ROOM];
        roll_args(&d, info, &args);
        size_t size = encode(info, &args, room);
        room[size] = 0;
        assert_int_equal(method_read(room, size + 1, &seen, &back), REPLY_SYNTAX_ERROR);
        assert_ptr_equal(seen, info);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *part = exact_copy(room, cut);
            assert_int_equal(method_read(part, cut, &seen, &back), cut < 4 ? REPLY_FRAME_ERROR : REPLY_SYNTAX_ERROR);
            assert_ptr_equal(seen, cut < 4 ? NULL : info);
            free(part);
        }
    }
}

static void unknown_methods_are_540(void **state) {
    (void)state;
    const struct method_info *info;
    union method_args args;
    assert_int_equal(method_read(BYTES("\0\x3c\0\x0c"), &info, &args), REPLY_NOT_IMPLEMENTED);
    assert_null(info);
    assert_int_equal(method_read(BYTES("\0\0\0\0"), &info, &args), REPLY_NOT_IMPLEMENTED);
    assert_int_equal(method_read(BYTES("\xff\xff\xff\xff"), &info, &args), REPLY_NOT_IMPLEMENTED);
}

static void hostile_sizes_are_502(void **state) {
    (void)state;
    const struct method_info *info;
    union method_args args;
    assert_int_equal(method_read(BYTES("\0\x0a\0\x14\xff\xff\xff\xff!"), &info, &args), REPLY_SYNTAX_ERROR);
    assert_int_equal(method_read(BYTES("\0\x0a\0\x0a\0\x09\xff\xff\xff\xff!"), &info, &args), REPLY_SYNTAX_ERROR);
    assert_int_equal(method_read(BYTES("\0\x0a\0\x3c\xff!"), &info, &args), REPLY_SYNTAX_ERROR);
}

static void random_bytes_do_no_harm(void **state) {
    (void)state;
    struct dice d = { 0xbad };
    for (size_t i = 0; i < 100000; i++) {
        const struct method_info *info = method_at(i % METHOD_COUNT), *seen;
        union method_args args;
        uint8_t bytes[64];
        size_t size = 4 + dice_below(&d, sizeof bytes - 4);
        dice_fill(&d, bytes, sizeof bytes);
        struct writer w = writer_over(bytes, 4);
        writer_u32(&w, info->id);
        uint8_t *payload = exact_copy(bytes, size);
        int rc = method_read(payload, size, &seen, &args);
        assert_true(rc == 0 || rc == REPLY_SYNTAX_ERROR);
        free(payload);
    }
}

static void a_long_name_is_an_error(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', sizeof name);
    struct queue_declare args = { .queue = { name, 256 } };
    uint8_t room[ROOM];
    struct writer w = writer_over(room, sizeof room);
    method_write(&w, method_find(METHOD_QUEUE_DECLARE), &args);
    assert_int_equal(w.error, LAGO_ETOOLONG);
}

/* ---------------------------------------------------------------- termination */

static void every_short_string_gets_its_nul(void **state) {
    (void)state;
    struct dice d = { 0x7e12 };
    for (size_t i = 0; i < METHOD_COUNT * 10; i++) {
        const struct method_info *info = method_at(i % METHOD_COUNT), *seen;
        union method_args args, back;
        uint8_t room[ROOM];
        roll_args(&d, info, &args);
        size_t size = encode(info, &args, room);
        room[size] = FRAME_END;
        room[size + 1] = 0xaa;
        assert_int_equal(method_read(room, size, &seen, &back), 0);
        method_terminate(info, &back);
        assert_args_same(info, &args, &back);
        assert_int_equal(room[size + 1], 0xaa);
        for (size_t f = 0; f < info->field_count; f++) {
            if (info->fields[f].type != FIELD_SHORTSTR || info->fields[f].reserved) continue;
            const lago_string_t *s = member(info, f, &back);
            assert_int_equal(s->data[s->size], 0);
        }
    }
}

/* ---------------------------------------------------------------- printing */

static void assert_prints(uint32_t id, const void *args, const char *expected) {
    char buffer[2048];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    method_print(&t, method_find(id), args);
    assert_string_equal(buffer, expected);
    assert_int_equal(t.length, strlen(expected));
}

static void methods_are_printed_without_what_is_empty(void **state) {
    (void)state;
    struct queue_declare declare = { .queue = STRING("a\"b\n"),
                                     .durable = true,
                                     .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max", 5)) };
    assert_prints(METHOD_QUEUE_DECLARE, &declare, "queue.declare queue=\"a\\\"b\\n\" durable=1 arguments={x-max=5}");
    assert_prints(METHOD_QUEUE_DECLARE, &(struct queue_declare){ 0 }, "queue.declare");
    assert_prints(METHOD_CHANNEL_OPEN, NULL, "channel.open");
    struct connection_tune tune = { 2047, 131072, 60 };
    assert_prints(METHOD_CONNECTION_TUNE, &tune, "connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    struct connection_start start = { .version_minor = 9, .mechanisms = { BYTES("PLAIN") } };
    assert_prints(METHOD_CONNECTION_START, &start, "connection.start version_minor=9 mechanisms=\"PLAIN\"");
    struct basic_ack ack = { UINT64_MAX, true };
    assert_prints(METHOD_BASIC_ACK, &ack, "basic.ack delivery_tag=18446744073709551615 multiple=1");
    struct queue_delete empty = { .queue = { "nul-terminated", LAGO_NUL_TERMINATED } };
    assert_prints(METHOD_QUEUE_DELETE, &empty, "queue.delete queue=\"nul-terminated\"");
}

static void secrets_are_not_printed(void **state) {
    (void)state;
    struct connection_start_ok start_ok = { .mechanism = STRING("PLAIN"), .response = { BYTES("\0guest\0hunter2") } };
    assert_prints(METHOD_CONNECTION_START_OK, &start_ok, "connection.start-ok mechanism=\"PLAIN\" response=<secret>");
    struct connection_secure secure = { .challenge = { BYTES("hunter2") } };
    assert_prints(METHOD_CONNECTION_SECURE, &secure, "connection.secure challenge=<secret>");
    struct connection_secure_ok secure_ok = { .response = { BYTES("hunter2") } };
    assert_prints(METHOD_CONNECTION_SECURE_OK, &secure_ok, "connection.secure-ok response=<secret>");
    struct connection_update_secret update = { .new_secret = { BYTES("hunter2") }, .reason = STRING("expired") };
    assert_prints(METHOD_CONNECTION_UPDATE_SECRET, &update, "connection.update-secret new_secret=<secret> reason=\"expired\"");
}

static void no_method_prints_its_secret(void **state) {
    (void)state;
    size_t secrets = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        for (size_t f = 0; f < method_at(i)->field_count; f++) secrets += method_at(i)->fields[f].secret;
    }
    assert_int_equal(secrets, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_rise_and_are_found),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(every_answer_is_a_method_of_the_same_class),
        cmocka_unit_test(who_sends_what),
        cmocka_unit_test(four_methods_carry_content),
        cmocka_unit_test(queue_declare_on_the_wire),
        cmocka_unit_test(reserved_fields_are_zero_or_empty),
        cmocka_unit_test(basic_deliver_is_read),
        cmocka_unit_test(bits_fill_octets_from_the_lowest),
        cmocka_unit_test(bits_that_nobody_defined_are_ignored),
        cmocka_unit_test(every_method_comes_back),
        cmocka_unit_test(every_cut_and_every_surplus_is_refused),
        cmocka_unit_test(unknown_methods_are_540),
        cmocka_unit_test(hostile_sizes_are_502),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(a_long_name_is_an_error),
        cmocka_unit_test(every_short_string_gets_its_nul),
        cmocka_unit_test(methods_are_printed_without_what_is_empty),
        cmocka_unit_test(secrets_are_not_printed),
        cmocka_unit_test(no_method_prints_its_secret),
    };
    return cmocka_run_group_tests_name("method", tests, NULL, NULL);
}
