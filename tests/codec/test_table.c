/* Field tables (4.2.5.5): every letter read and written, limits, order, hostile bytes. */
#include "codec_test.h"
#include "table.h"
#include <math.h>

#define ROOM 65536u

/* One value, as the first entry of a table of these bytes. */
static int first_value(const void *raw, size_t size, lago_value_t *value) {
    lago_table_t table = table_over(raw, size);
    lago_table_iterator_t it = lago_table_iterate(&table);
    lago_field_t field;
    int rc = lago_table_next(&it, &field);
    if (rc != 1) return rc;
    assert_string_is(field.name, BYTES("k"));
    assert_int_equal(lago_table_next(&it, &field), 0);
    *value = field.value;
    return rc;
}

static lago_value_t read_one(const void *raw, size_t size, lago_type_t type) {
    lago_value_t value;
    assert_int_equal(first_value(raw, size, &value), 1);
    assert_int_equal(value.type, type);
    return value;
}

/* The table's bytes without its size; `room` is ROOM bytes. */
static size_t write_fields(const lago_field_t *fields, size_t count, uint8_t *room) {
    lago_table_t table = { fields, NULL, count, 0 };
    struct writer measured = writer_measure();
    table_write(&measured, &table);
    struct writer w = writer_over(room, ROOM);
    table_write(&w, &table);
    assert_int_equal(w.error, 0);
    assert_int_equal(measured.error, 0);
    assert_int_equal(measured.size, w.size);
    uint32_t size = (uint32_t)room[0] << 24 | (uint32_t)room[1] << 16 | (uint32_t)room[2] << 8 | room[3];
    assert_int_equal(size, w.size - 4);
    memmove(room, room + 4, size);
    return size;
}

static void assert_writes(lago_field_t field, const void *expected, size_t size) {
    static uint8_t room[ROOM];
    assert_int_equal(write_fields(&field, 1, room), size);
    assert_memory_equal(room, expected, size);
}

static int write_error(lago_field_t field) {
    lago_table_t table = { &field, NULL, 1, 0 };
    struct writer w = writer_measure();
    table_write(&w, &table);
    return w.error;
}

/* ---------------------------------------------------------------- letters read */

static void whole_numbers_are_read(void **state) {
    (void)state;
    assert_true(read_one(BYTES("\1kt\0"), LAGO_TYPE_BOOLEAN).as.boolean == false);
    assert_true(read_one(BYTES("\1kt\1"), LAGO_TYPE_BOOLEAN).as.boolean == true);
    assert_true(read_one(BYTES("\1kt\x80"), LAGO_TYPE_BOOLEAN).as.boolean == true);
    assert_true(read_one(BYTES("\1kb\x80"), LAGO_TYPE_INT8).as.integer == INT8_MIN);
    assert_true(read_one(BYTES("\1kB\xff"), LAGO_TYPE_UINT8).as.unsigned_integer == UINT8_MAX);
    assert_true(read_one(BYTES("\1ks\x80\0"), LAGO_TYPE_INT16).as.integer == INT16_MIN);
    assert_true(read_one(BYTES("\1kU\xff\xfe"), LAGO_TYPE_INT16).as.integer == -2);
    assert_true(read_one(BYTES("\1ku\xff\xff"), LAGO_TYPE_UINT16).as.unsigned_integer == UINT16_MAX);
    assert_true(read_one(BYTES("\1kI\x80\0\0\0"), LAGO_TYPE_INT32).as.integer == INT32_MIN);
    assert_true(read_one(BYTES("\1ki\xff\xff\xff\xff"), LAGO_TYPE_UINT32).as.unsigned_integer == UINT32_MAX);
    assert_true(read_one(BYTES("\1kl\x80\0\0\0\0\0\0\0"), LAGO_TYPE_INT64).as.integer == INT64_MIN);
    assert_true(read_one(BYTES("\1kL\xff\xff\xff\xff\xff\xff\xff\xfd"), LAGO_TYPE_INT64).as.integer == -3);
    assert_true(read_one(BYTES("\1kT\0\0\0\0\x65\x53\xf1\0"), LAGO_TYPE_TIMESTAMP).as.unsigned_integer == 1700000000);
}

static void other_values_are_read(void **state) {
    (void)state;
    assert_true(read_one(BYTES("\1kf\x3f\xc0\0\0"), LAGO_TYPE_FLOAT).as.single == 1.5f);
    assert_true(read_one(BYTES("\1kd\xc0\x04\0\0\0\0\0\0"), LAGO_TYPE_DOUBLE).as.real == -2.5);
    lago_value_t v = read_one(BYTES("\1kD\2\0\0\x30\x39"), LAGO_TYPE_DECIMAL);
    assert_int_equal(v.as.decimal.scale, 2);
    assert_int_equal(v.as.decimal.value, 12345);
    assert_string_is(read_one(BYTES("\1kS\0\0\0\3a\0b"), LAGO_TYPE_STRING).as.string, BYTES("a\0b"));
    assert_string_is(read_one(BYTES("\1kx\0\0\0\2\xff\0"), LAGO_TYPE_BYTES).as.string, BYTES("\xff\0"));
    assert_int_equal(read_one(BYTES("\1kS\0\0\0\0"), LAGO_TYPE_STRING).as.string.size, 0);
    (void)read_one(BYTES("\1kV"), LAGO_TYPE_VOID);
    v = read_one(BYTES("\1kF\0\0\0\4\1at\1"), LAGO_TYPE_TABLE);
    assert_int_equal(v.as.table.size, 4);
    assert_int_equal(v.as.table.depth, 1);
    assert_int_equal(lago_table_get(&v.as.table, "a", NULL), 1);
    v = read_one(BYTES("\1kA\0\0\0\3t\1V"), LAGO_TYPE_ARRAY);
    assert_int_equal(v.as.array.size, 3);
    assert_int_equal(v.as.array.depth, 1);
}

static void no_other_letter_is_read(void **state) {
    (void)state;
    static const char letters[] = "tbBsuUIilLfdDSATFVx";
    for (int letter = 0; letter <= UINT8_MAX; letter++) {
        char raw[64] = { 1, 'k', (char)letter };
        lago_table_t table = table_over(raw, sizeof raw);
        lago_table_iterator_t it = lago_table_iterate(&table);
        lago_field_t field;
        bool known = letter != 0 && strchr(letters, letter) != NULL;
        assert_int_equal(lago_table_next(&it, &field), known ? 1 : LAGO_ETYPE);
        if (!known) assert_int_equal(lago_table_next(&it, &field), LAGO_ETYPE);
    }
}

/* ---------------------------------------------------------------- letters written */

static void values_are_written(void **state) {
    (void)state;
    assert_writes((lago_field_t)LAGO_FIELD_BOOL("k", true), BYTES("\1kt\1"));
    assert_writes((lago_field_t)LAGO_FIELD_BOOL("k", false), BYTES("\1kt\0"));
    assert_writes((lago_field_t)LAGO_FIELD_I8("k", -1), BYTES("\1kb\xff"));
    assert_writes((lago_field_t)LAGO_FIELD_U8("k", 255), BYTES("\1kB\xff"));
    assert_writes((lago_field_t)LAGO_FIELD_I16("k", -2), BYTES("\1ks\xff\xfe"));
    assert_writes((lago_field_t)LAGO_FIELD_U16("k", 65535), BYTES("\1ku\xff\xff"));
    assert_writes((lago_field_t)LAGO_FIELD_I32("k", 5), BYTES("\1kI\0\0\0\5"));
    assert_writes((lago_field_t)LAGO_FIELD_U32("k", UINT32_MAX), BYTES("\1ki\xff\xff\xff\xff"));
    assert_writes((lago_field_t)LAGO_FIELD_I64("k", INT64_MIN), BYTES("\1kl\x80\0\0\0\0\0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_FLOAT("k", 1.5f), BYTES("\1kf\x3f\xc0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_DOUBLE("k", -2.5), BYTES("\1kd\xc0\x04\0\0\0\0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_DECIMAL("k", 2, 12345), BYTES("\1kD\2\0\0\x30\x39"));
    assert_writes((lago_field_t)LAGO_FIELD_STR("k", "abc"), BYTES("\1kS\0\0\0\3abc"));
    assert_writes((lago_field_t)LAGO_FIELD_STR("k", NULL), BYTES("\1kS\0\0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_STRING("k", "a\0b", 3), BYTES("\1kS\0\0\0\3a\0b"));
    assert_writes((lago_field_t)LAGO_FIELD_BYTES("k", "\0\1", 2), BYTES("\1kx\0\0\0\2\0\1"));
    assert_writes((lago_field_t)LAGO_FIELD_TIMESTAMP("k", 1700000000), BYTES("\1kT\0\0\0\0\x65\x53\xf1\0"));
    assert_writes((lago_field_t)LAGO_FIELD_VOID("k"), BYTES("\1kV"));
    assert_writes((lago_field_t)LAGO_FIELD_TABLE("k", LAGO_TABLE(LAGO_FIELD_BOOL("a", true))), BYTES("\1kF\0\0\0\4\1at\1"));
    assert_writes((lago_field_t)LAGO_FIELD_ARRAY("k", LAGO_ARRAY(LAGO_VALUE_BOOL(true), LAGO_VALUE_STR("b"))),
                  BYTES("\1kA\0\0\0\10t\1S\0\0\0\1b"));
    assert_writes((lago_field_t)LAGO_FIELD_TABLE("k", (lago_table_t){ 0 }), BYTES("\1kF\0\0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_ARRAY("k", (lago_array_t){ 0 }), BYTES("\1kA\0\0\0\0"));
}

static void a_number_must_fit_its_type(void **state) {
    (void)state;
    static const struct {
        lago_type_t type;
        int64_t min, max;
    } with_sign[] = { { LAGO_TYPE_INT8, INT8_MIN, INT8_MAX },
                      { LAGO_TYPE_INT16, INT16_MIN, INT16_MAX },
                      { LAGO_TYPE_INT32, INT32_MIN, INT32_MAX } };
    for (size_t i = 0; i < 3; i++) {
        lago_field_t field = lago_field_of("k", with_sign[i].type);
        for (int past = 0; past <= 1; past++) {
            field.value.as.integer = with_sign[i].max + past;
            assert_int_equal(write_error(field), past ? LAGO_EINVAL : 0);
            field.value.as.integer = with_sign[i].min - past;
            assert_int_equal(write_error(field), past ? LAGO_EINVAL : 0);
        }
    }
    static const struct {
        lago_type_t type;
        uint64_t max;
    } without[] = { { LAGO_TYPE_UINT8, UINT8_MAX }, { LAGO_TYPE_UINT16, UINT16_MAX }, { LAGO_TYPE_UINT32, UINT32_MAX } };
    for (size_t i = 0; i < 3; i++) {
        lago_field_t field = lago_field_of("k", without[i].type);
        field.value.as.unsigned_integer = without[i].max;
        assert_int_equal(write_error(field), 0);
        field.value.as.unsigned_integer++;
        assert_int_equal(write_error(field), LAGO_EINVAL);
    }
}

static void only_known_types_are_written(void **state) {
    (void)state;
    static const char letters[] = "tbBsuIilfdDSATFVx"; /* not U and L: they are read only */
    for (int letter = 0; letter <= UINT8_MAX; letter++) {
        lago_field_t field = { STRING("k"), { (lago_type_t)letter, { 0 } } };
        bool known = letter != 0 && strchr(letters, letter) != NULL;
        assert_int_equal(write_error(field), known ? 0 : LAGO_EINVAL);
    }
    assert_int_equal(write_error((lago_field_t){ STRING("k"), { (lago_type_t)('t' + 256), { 0 } } }), LAGO_EINVAL);
}

static void a_name_has_at_most_255_bytes(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', sizeof name);
    lago_field_t field = { { name, 255 }, { LAGO_TYPE_VOID, { 0 } } };
    assert_int_equal(write_error(field), 0);
    field.name.size = 256;
    assert_int_equal(write_error(field), LAGO_ETOOLONG);
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_TABLE("k", ((lago_table_t){ &field, NULL, 1, 0 }))), LAGO_ETOOLONG);
}

static void sizes_have_four_octets(void **state) {
    (void)state;
#if SIZE_MAX > UINT32_MAX
    lago_field_t half = LAGO_FIELD_STRING("k", "x", UINT32_MAX / 2 + 1u);
    lago_field_t both[2] = { half, half };
    lago_table_t table = LAGO_TABLE_OF(both);
    struct writer w = writer_measure();
    table_write(&w, &table);
    assert_int_equal(w.error, LAGO_ETOOBIG);
    assert_int_equal(write_error(half), 0);
    table = table_over("x", (size_t)UINT32_MAX + 1);
    w = writer_measure();
    table_write(&w, &table);
    assert_int_equal(w.error, LAGO_ETOOBIG);
#endif
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_TABLE("k", table_over(NULL, 1))), LAGO_EINVAL);
}

/* ---------------------------------------------------------------- walking */

static void order_and_duplicates_are_kept(void **state) {
    (void)state;
    uint8_t raw[ROOM];
    lago_field_t fields[] = { LAGO_FIELD_I32("b", 1), LAGO_FIELD_I32("a", 2), LAGO_FIELD_I32("b", 3), LAGO_FIELD_I32("", 4) };
    lago_table_t tables[2] = { table_over(raw, write_fields(fields, 4, raw)), LAGO_TABLE_OF(fields) };
    for (size_t t = 0; t < 2; t++) {
        lago_table_iterator_t it = lago_table_iterate(&tables[t]);
        lago_field_t field;
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(lago_table_next(&it, &field), 1);
            assert_string_is(field.name, fields[i].name.data, strlen(fields[i].name.data));
            assert_int_equal(field.value.as.integer, i + 1);
        }
        assert_int_equal(lago_table_next(&it, &field), 0);
        assert_int_equal(lago_table_next(&it, &field), 0);
        lago_value_t value;
        assert_int_equal(lago_table_get(&tables[t], "b", &value), 1);
        assert_int_equal(value.as.integer, 1);
        assert_int_equal(lago_table_get(&tables[t], "", &value), 1);
        assert_int_equal(lago_table_get(&tables[t], "c", &value), 0);
        assert_int_equal(lago_table_check(&tables[t]), 4);
    }
}

static void an_empty_table_has_no_entries(void **state) {
    (void)state;
    lago_table_t table = { 0 };
    lago_field_t field;
    lago_table_iterator_t it = lago_table_iterate(&table);
    assert_int_equal(lago_table_next(&it, &field), 0);
    it = lago_table_iterate(NULL);
    assert_int_equal(lago_table_next(&it, &field), 0);
    lago_array_iterator_t in_array = lago_array_iterate(NULL);
    lago_value_t value;
    assert_int_equal(lago_array_next(&in_array, &value), 0);
    assert_int_equal(lago_table_check(NULL), 0);
    assert_int_equal(lago_table_get(NULL, "a", NULL), 0);
    assert_int_equal(lago_table_get(&table, NULL, NULL), LAGO_EINVAL);
    table = table_over(NULL, 3);
    assert_int_equal(lago_table_check(&table), LAGO_ETABLE);
}

static void a_literal_reads_as_if_received(void **state) {
    (void)state;
    lago_table_t table =
        LAGO_TABLE(LAGO_FIELD_STR("s", "text"), LAGO_FIELD_STR("none", NULL),
                   LAGO_FIELD_ARRAY("a", LAGO_ARRAY(LAGO_VALUE_STR("in"), LAGO_VALUE_TABLE(LAGO_TABLE(LAGO_FIELD_VOID("v"))))));
    lago_value_t value;
    assert_int_equal(lago_table_get(&table, "s", &value), 1);
    assert_string_is(value.as.string, BYTES("text"));
    assert_int_equal(lago_table_get(&table, "none", &value), 1);
    assert_int_equal(value.as.string.size, 0);
    assert_int_equal(lago_table_get(&table, "a", &value), 1);
    assert_int_equal(value.as.array.depth, 1);
    lago_array_iterator_t it = lago_array_iterate(&value.as.array);
    assert_int_equal(lago_array_next(&it, &value), 1);
    assert_string_is(value.as.string, BYTES("in"));
    assert_int_equal(lago_array_next(&it, &value), 1);
    assert_int_equal(value.as.table.depth, 2);
    assert_int_equal(lago_table_check(&table), 3);
    table = LAGO_TABLE({ STRING("bad"), { (lago_type_t)'?', { 0 } } });
    assert_int_equal(lago_table_check(&table), LAGO_ETYPE);
}

static void lookup_reports_what_it_meets_before_the_name(void **state) {
    (void)state;
    lago_table_t table = table_over(BYTES("\1at\1\1b?"));
    assert_int_equal(lago_table_get(&table, "a", NULL), 1);
    assert_int_equal(lago_table_get(&table, "b", NULL), LAGO_ETYPE);
    table = table_over(BYTES("\1at\1\1bS\0\0\0\2x"));
    assert_int_equal(lago_table_get(&table, "c", NULL), LAGO_ETABLE);
}

/* ---------------------------------------------------------------- hostile bytes */

static void every_cut_is_malformed(void **state) {
    (void)state;
    static const char raw[] = "\1tt\1\1ss\0\1\1ii\0\0\0\1\1ll\0\0\0\0\0\0\0\1\1DD\1\0\0\0\1\1SS\0\0\0\3abc"
                              "\1FF\0\0\0\4\1xt\1\1AA\0\0\0\5I\0\0\0\1\1VV\1ff\0\0\0\0\1dd\0\0\0\0\0\0\0\0";
    lago_table_t table = table_over(raw, sizeof raw - 1);
    assert_int_equal(lago_table_check(&table), 11);
    size_t good = 0;
    for (size_t cut = 0; cut < sizeof raw - 1; cut++) {
        uint8_t *part = exact_copy(raw, cut);
        table = table_over(part, cut);
        int64_t rc = lago_table_check(&table);
        assert_true(rc == LAGO_ETABLE || rc >= 0);
        if (rc >= 0) assert_int_equal(rc, good++); /* between two entries */
        free(part);
    }
    assert_int_equal(good, 11);
}

static void nothing_reaches_beyond_its_parent(void **state) {
    (void)state;
    static const struct {
        const char *raw;
        size_t size;
    } bad[] = {
        { BYTES("\1kF\0\0\0\3\1at\1") },             /* the inner table ends inside its entry */
        { BYTES("\1kF\0\0\0\2\1aV") },               /* and here before its letter */
        { BYTES("\1kF\0\0\0\x09\1aS\0\0\0\4xxxx") }, /* an inner string longer than its table, but not than the outer one */
        { BYTES("\1kA\0\0\0\6S\0\0\0\4xxxx") },
        { BYTES("\1kF\xff\xff\xff\xff\1at\1") },
        { BYTES("\1kA\xff\xff\xff\xfft\1") },
        { BYTES("\1kS\xff\xff\xff\xff") },
        { BYTES("\1kx\x80\0\0\0") },
        { BYTES("\xffk") },
        { BYTES("\1k") },
        { BYTES("\1") },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t *raw = exact_copy(bad[i].raw, bad[i].size);
        lago_table_t table = table_over(raw, bad[i].size);
        assert_int_equal(lago_table_check(&table), LAGO_ETABLE);
        free(raw);
    }
}

static void an_error_stays(void **state) {
    (void)state;
    lago_table_t table = table_over(BYTES("\1at\1\1bI\0"));
    lago_table_iterator_t it = lago_table_iterate(&table);
    lago_field_t field;
    assert_int_equal(lago_table_next(&it, &field), 1);
    for (int i = 0; i < 3; i++) assert_int_equal(lago_table_next(&it, &field), LAGO_ETABLE);
    lago_array_t array = { NULL, "t\1?", 3, 0 };
    lago_array_iterator_t in_array = lago_array_iterate(&array);
    lago_value_t value;
    assert_int_equal(lago_array_next(&in_array, &value), 1);
    for (int i = 0; i < 3; i++) assert_int_equal(lago_array_next(&in_array, &value), LAGO_ETYPE);
}

static void random_bytes_do_no_harm(void **state) {
    (void)state;
    static const char letters[] = "tbBsuUIilLfdDSATFVx";
    struct dice d = { 0x7ab1e };
    for (size_t i = 0; i < 200000; i++) {
        uint8_t bytes[64];
        size_t size = dice_below(&d, sizeof bytes);
        for (size_t b = 0; b < size; b++) {
            size_t kind = dice_below(&d, 4);
            bytes[b] = kind == 0 ? (uint8_t)letters[dice_below(&d, 19)] : (uint8_t)dice_below(&d, kind == 1 ? 256 : 8);
        }
        uint8_t *raw = exact_copy(bytes, size);
        lago_table_t table = table_over(raw, size);
        char text[256];
        int64_t rc = lago_table_check(&table);
        assert_true(rc >= 0 || rc == LAGO_ETABLE || rc == LAGO_ETYPE);
        lago_table_format(&table, text, sizeof text);
        free(raw);
    }
}

/* ---------------------------------------------------------------- depth: LAGO_TABLE_DEPTH_MAX tables in each other, no more */

/* `levels` tables in each other, written inside out. @return where they begin in `room`, a buffer of ROOM bytes. */
static lago_table_t nested_raw(size_t levels, char letter, uint8_t *room) {
    uint8_t *p = room + ROOM;
    for (size_t i = 1; i < levels; i++) {
        uint32_t size = (uint32_t)(room + ROOM - p);
        bool named = letter == 'F' || i == levels - 1; /* what lies in an array has no name; the outermost is a table */
        p -= named ? 7 : 5;
        struct writer w = writer_over(p, 7);
        if (named) writer_shortstr(&w, STRING("k"));
        writer_u8(&w, (uint8_t)letter);
        writer_u32(&w, size);
    }
    return table_over(p, (size_t)(room + ROOM - p));
}

static void reading_stops_at_the_depth_limit(void **state) {
    (void)state;
    static uint8_t room[ROOM];
    static const char letters[] = "FA";
    for (const char *letter = letters; *letter != '\0'; letter++) {
        for (size_t levels = 1; levels <= 5000; levels += levels < 40 ? 1 : 1240) {
            lago_table_t table = nested_raw(levels, *letter, room);
            int64_t expected = levels > LAGO_TABLE_DEPTH_MAX ? LAGO_EDEPTH : levels == 1 ? 0 : 1;
            assert_int_equal(lago_table_check(&table), expected);
        }
    }
}

static void iterating_stops_at_the_depth_limit(void **state) {
    (void)state;
    static uint8_t room[ROOM];
    lago_table_t table = nested_raw(33, 'F', room);
    lago_field_t field;
    for (unsigned depth = 0; depth < LAGO_TABLE_DEPTH_MAX; depth++) {
        assert_int_equal(table.depth, depth);
        lago_table_iterator_t it = lago_table_iterate(&table);
        assert_int_equal(lago_table_next(&it, &field), 1);
        table = field.value.as.table;
    }
    lago_table_iterator_t it = lago_table_iterate(&table);
    assert_int_equal(lago_table_next(&it, &field), LAGO_EDEPTH); /* though it is empty */
}

static void writing_stops_at_the_depth_limit(void **state) {
    (void)state;
    for (size_t levels = 31; levels <= 33; levels++) {
        lago_field_t fields[33];
        lago_value_t values[33];
        lago_table_t table = { 0 };
        lago_array_t array = { 0 };
        for (size_t i = 1; i < levels; i++) {
            fields[i] = lago_field_table("k", table);
            table = (lago_table_t){ &fields[i], NULL, 1, 0 };
            values[i] = (lago_value_t)LAGO_VALUE_ARRAY(array);
            if (i < levels - 1) array = (lago_array_t){ &values[i], NULL, 1, 0 };
        }
        int expected = levels > LAGO_TABLE_DEPTH_MAX ? LAGO_EDEPTH : 0;
        struct writer w = writer_measure();
        table_write(&w, &table);
        assert_int_equal(w.error, expected);
        assert_int_equal(write_error((lago_field_t)LAGO_FIELD_ARRAY("k", array)), expected);
        assert_int_equal(lago_table_check(&table), expected == 0 ? 1 : LAGO_EDEPTH);
    }
}

static void a_table_in_itself_is_too_deep(void **state) {
    (void)state;
    lago_field_t fields[2];
    lago_table_t table = LAGO_TABLE_OF(fields);
    fields[0] = fields[1] = lago_field_table("me", table);
    struct writer w = writer_measure();
    table_write(&w, &table);
    assert_int_equal(w.error, LAGO_EDEPTH);
    assert_int_equal(lago_table_check(&table), LAGO_EDEPTH);
}

/* ---------------------------------------------------------------- passing on */

static void a_received_table_leaves_byte_for_byte(void **state) {
    (void)state;
    static const char raw[] = "\1ks\0\1\1kl\0\0\0\0\0\0\0\1\1kt\x07\1kV"; /* one name four times, an odd true */
    lago_table_t table = table_over(raw, sizeof raw - 1);
    uint8_t room[64];
    struct writer w = writer_over(room, sizeof room);
    table_write(&w, &table);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.size, sizeof raw - 1 + 4);
    assert_memory_equal(room + 4, raw, sizeof raw - 1);
    assert_writes((lago_field_t)LAGO_FIELD_TABLE("t", table_over(BYTES("\1ks\0\1"))), BYTES("\1tF\0\0\0\5\1ks\0\1"));
    lago_array_t array = { NULL, "s\0\1", 3, 7 };
    assert_writes((lago_field_t)LAGO_FIELD_ARRAY("a", array), BYTES("\1aA\0\0\0\3s\0\1"));
}

static int error_of_raw(const void *raw, size_t size) {
    uint8_t *exact = exact_copy(raw, size);
    lago_table_t table = table_over(exact, size);
    struct writer w = writer_measure();
    table_write(&w, &table);
    free(exact);
    return w.error;
}

/* RabbitMQ 3.10 crashes on these, and takes the connection along (541): so they cost only the call that gives them. */
static void what_would_hurt_the_broker_does_not_leave(void **state) {
    (void)state;
    assert_int_equal(error_of_raw(BYTES("\5ab")), LAGO_ETABLE);
    assert_int_equal(error_of_raw(BYTES("\1kt\1?")), LAGO_ETABLE);
    assert_int_equal(error_of_raw(BYTES("\1kQxx")), LAGO_ETYPE);
    assert_int_equal(error_of_raw(BYTES("\1kU\0\1")), LAGO_ETYPE);
    assert_int_equal(error_of_raw(BYTES("\1kL\0\0\0\0\0\0\0\1")), LAGO_ETYPE);
    assert_int_equal(error_of_raw(BYTES("\1tF\0\0\0\5\1kU\0\1")), LAGO_ETYPE);
    assert_int_equal(error_of_raw(BYTES("\1aA\0\0\0\3U\0\1")), LAGO_ETYPE);
    assert_int_equal(error_of_raw(BYTES("\1tF\0\0\0\x09\1ks\0\1")), LAGO_ETABLE);
    lago_array_t array = { NULL, "U\0\1", 3, 0 };
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_ARRAY("a", array)), LAGO_ETYPE);
    array = (lago_array_t){ NULL, "I\0\0\0\1F\0\0\0\5\1kU\0\1", 15, 0 }; /* deeper */
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_ARRAY("a", array)), LAGO_ETYPE);
    array = (lago_array_t){ NULL, NULL, 3, 0 };
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_ARRAY("a", array)), LAGO_EINVAL);
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_TABLE("t", table_over(BYTES("\5ab")))), LAGO_ETABLE);
}

/* What somebody has put together by hand: found where it is read, not where it hurts. */
static void an_array_of_nothing_is_malformed(void **state) {
    (void)state;
    lago_array_t array = { NULL, NULL, 3, 0 };
    lago_value_t value, bad[] = { LAGO_VALUE_I32(1), { (lago_type_t)'?', { 0 } } };
    lago_array_iterator_t it = lago_array_iterate(&array);
    assert_int_equal(lago_array_next(&it, &value), LAGO_ETABLE);
    array = (lago_array_t){ bad, NULL, 2, 0 };
    it = lago_array_iterate(&array);
    assert_int_equal(lago_array_next(&it, &value), 1);
    assert_int_equal(lago_array_next(&it, &value), LAGO_ETYPE);
}

/* An array that contains itself twice would otherwise be walked 2^16 times. */
static void an_array_in_itself_is_too_deep(void **state) {
    (void)state;
    lago_value_t values[2] = { { LAGO_TYPE_ARRAY, { 0 } }, { LAGO_TYPE_ARRAY, { 0 } } };
    values[0].as.array = values[1].as.array = (lago_array_t){ values, NULL, 2, 0 };
    assert_int_equal(write_error((lago_field_t)LAGO_FIELD_ARRAY("a", values[0].as.array)), LAGO_EDEPTH);
}

static lago_value_t roll_value(struct dice *d) {
    static const char letters[] = "tbBsuIilfdDSTVx";
    lago_value_t v = { (lago_type_t)letters[dice_below(d, sizeof letters - 1)], { 0 } };
    switch (v.type) {
    case LAGO_TYPE_BOOLEAN: v.as.boolean = dice_below(d, 2); break;
    case LAGO_TYPE_INT8: v.as.integer = (int8_t)dice_roll(d); break;
    case LAGO_TYPE_INT16: v.as.integer = (int16_t)dice_roll(d); break;
    case LAGO_TYPE_INT32: v.as.integer = (int32_t)dice_roll(d); break;
    case LAGO_TYPE_UINT8: v.as.unsigned_integer = (uint8_t)dice_roll(d); break;
    case LAGO_TYPE_UINT16: v.as.unsigned_integer = (uint16_t)dice_roll(d); break;
    case LAGO_TYPE_UINT32: v.as.unsigned_integer = (uint32_t)dice_roll(d); break;
    case LAGO_TYPE_FLOAT: v.as.single = (float)dice_below(d, 1000) / 7; break;
    case LAGO_TYPE_DOUBLE: v.as.real = (double)dice_below(d, 1000) / 7; break;
    case LAGO_TYPE_DECIMAL: v.as.decimal = (lago_decimal_t){ (uint8_t)dice_roll(d), (uint32_t)dice_roll(d) }; break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: v.as.string = (lago_string_t){ "some text of some length", dice_below(d, 25) }; break;
    case LAGO_TYPE_VOID: break;
    default: v.as.unsigned_integer = dice_roll(d); break;
    }
    return v;
}

/* literal -> bytes -> decoded fields -> the same bytes */
static void random_tables_come_back(void **state) {
    (void)state;
    static uint8_t first[ROOM], second[ROOM];
    struct dice d = { 0xf1e1d };
    for (size_t round = 0; round < 2000; round++) {
        lago_field_t fields[20], back[20];
        lago_value_t values[20];
        size_t count = dice_below(&d, 20);
        for (size_t i = 0; i < count; i++) {
            values[i] = roll_value(&d);
            fields[i] = (lago_field_t){ { "a name of some length", dice_below(&d, 22) }, roll_value(&d) };
            if (dice_below(&d, 4) == 0) fields[i].value = (lago_value_t)LAGO_VALUE_ARRAY(((lago_array_t){ values, NULL, i, 0 }));
            if (dice_below(&d, 8) == 0)
                fields[i].value = (lago_value_t)LAGO_VALUE_TABLE(((lago_table_t){ fields, NULL, i / 2, 0 }));
        }
        size_t size = write_fields(fields, count, first);
        lago_table_t table = table_over(first, size);
        assert_int_equal(lago_table_check(&table), count);
        lago_table_iterator_t it = lago_table_iterate(&table);
        for (size_t i = 0; i < count; i++) assert_int_equal(lago_table_next(&it, &back[i]), 1);
        assert_int_equal(write_fields(back, count, second), size);
        assert_memory_equal(first, second, size);
    }
}

static void odd_floats_keep_their_bits(void **state) {
    (void)state;
    assert_writes((lago_field_t)LAGO_FIELD_DOUBLE("k", INFINITY), BYTES("\1kd\x7f\xf0\0\0\0\0\0\0"));
    assert_writes((lago_field_t)LAGO_FIELD_DOUBLE("k", -0.0), BYTES("\1kd\x80\0\0\0\0\0\0\0"));
    assert_true(isnan(read_one(BYTES("\1kd\x7f\xf8\0\0\0\0\0\1"), LAGO_TYPE_DOUBLE).as.real));
    assert_true(isinf(read_one(BYTES("\1kf\xff\x80\0\0"), LAGO_TYPE_FLOAT).as.single));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read),
        cmocka_unit_test(other_values_are_read),
        cmocka_unit_test(no_other_letter_is_read),
        cmocka_unit_test(values_are_written),
        cmocka_unit_test(a_number_must_fit_its_type),
        cmocka_unit_test(only_known_types_are_written),
        cmocka_unit_test(a_name_has_at_most_255_bytes),
        cmocka_unit_test(sizes_have_four_octets),
        cmocka_unit_test(order_and_duplicates_are_kept),
        cmocka_unit_test(an_empty_table_has_no_entries),
        cmocka_unit_test(a_literal_reads_as_if_received),
        cmocka_unit_test(lookup_reports_what_it_meets_before_the_name),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(nothing_reaches_beyond_its_parent),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(reading_stops_at_the_depth_limit),
        cmocka_unit_test(iterating_stops_at_the_depth_limit),
        cmocka_unit_test(writing_stops_at_the_depth_limit),
        cmocka_unit_test(a_table_in_itself_is_too_deep),
        cmocka_unit_test(a_received_table_leaves_byte_for_byte),
        cmocka_unit_test(what_would_hurt_the_broker_does_not_leave),
        cmocka_unit_test(an_array_of_nothing_is_malformed),
        cmocka_unit_test(an_array_in_itself_is_too_deep),
        cmocka_unit_test(random_tables_come_back),
        cmocka_unit_test(odd_floats_keep_their_bits),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
