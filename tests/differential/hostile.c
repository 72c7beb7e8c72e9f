/*
 * Damaged encodings: both accept them with the same values, or both refuse them, or the difference is one of those in `enum
 * reason`, which librabbitmq's own reading must bear out.
 */
#include "mutate.h"
#include "reader.h"
#include "table.h"
#include "verdict.h"
#include <string.h>

/* ---------------------------------------------------------------- methods */

/* A valid method, damaged, in own_out. @return its size. */
static size_t damaged_method(struct run *run, uint64_t number) {
    const struct method_info *info = method_at(number % METHOD_COUNT);
    union method_args args;
    own_args(&run->random, info, &args);
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    method_write(&w, info, &args);
    size_t kept = random_chance(&run->random, 32) ? 0 : METHOD_ID_SIZE;
    return kept + mutate(&run->random, run->own_out + kept, w.size - kept, BUFFER_SIZE - kept);
}

static void read_as_peer(struct run *run, size_t size, struct verdict *v, void **decoded) {
    const uint8_t *p = run->own_out;
    v->peer = AMQP_STATUS_BAD_AMQP_DATA;
    if (size < METHOD_ID_SIZE) return;
    uint32_t id = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    amqp_bytes_t encoded = { size - METHOD_ID_SIZE, run->own_out + METHOD_ID_SIZE };
    v->peer = amqp_decode_method(id, &run->pool, encoded, decoded);
    if (v->peer == 0) verdict_peer_method(run, v, run->own_out, size, *decoded);
}

bool case_hostile_method(struct run *run, uint64_t number) {
    size_t size = damaged_method(run, number);
    struct verdict v = { 0 };
    union method_args args;
    const struct method_info *info = verdict_own_method(run, &v, exact_copy(run, run->own_out, size), size, &args);
    if (info != NULL && peer_find(info->id) == NULL) return excuse(run, REASON_ONLY_LAGO);
    show_octets(run, "the octets", run->own_out, size);
    void *decoded = NULL;
    read_as_peer(run, size, &v, &decoded);
    if (!judge(run, &v)) return false;
    return !both_accept(&v) || same_args(info, &args, decoded, &run->why);
}

/* ---------------------------------------------------------------- properties */

static size_t damaged_properties(struct run *run, uint64_t number) {
    lago_properties_t properties;
    own_make_properties(&run->random, (uint16_t)(number << (16 - OWN_PROPERTY_COUNT)), &properties);
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    content_header_write(&w, random_u64(&run->random), &properties);
    if (random_chance(&run->random, 8))
        run->own_out[CONTENT_HEADER_FIXED_SIZE + 1] ^= (uint8_t)(1 + random_below(&run->random, 3));
    return CONTENT_HEADER_FIXED_SIZE + mutate(&run->random, run->own_out + CONTENT_HEADER_FIXED_SIZE,
                                              w.size - CONTENT_HEADER_FIXED_SIZE, BUFFER_SIZE - CONTENT_HEADER_FIXED_SIZE);
}

bool case_hostile_properties(struct run *run, uint64_t number) {
    size_t size = damaged_properties(run, number);
    struct verdict v = { 0 };
    struct content_header header;
    verdict_own_header(run, &v, exact_copy(run, run->own_out, size), size, &header);
    show_octets(run, "the octets", run->own_out, size);
    amqp_bytes_t encoded = { size - CONTENT_HEADER_FIXED_SIZE, run->own_out + CONTENT_HEADER_FIXED_SIZE };
    void *decoded = NULL;
    v.peer = amqp_decode_properties(CLASS_BASIC, &run->pool, encoded, &decoded);
    if (v.peer == 0) verdict_peer_properties(run, &v, encoded.bytes, encoded.len, decoded);
    if (!judge(run, &v)) return false;
    return !both_accept(&v) || same_properties(&header.properties, decoded, &run->why);
}

/* ---------------------------------------------------------------- tables */

/* Give one value another letter, of the same width more often than not: no chance finds the letters among long strings. */
static void relabel(struct random *r, uint8_t *raw, size_t size) {
    static const char *const kin[] = { "tbB", "suU", "Iif", "lLdT", "SxAF", "VD?" };
    lago_table_t table = table_over(raw, size);
    int64_t count = lago_table_check(&table);
    lago_table_iterator_t it = lago_table_iterate(&table);
    lago_field_t field;
    for (size_t i = count > 0 ? random_below(r, (size_t)count) : 0; i > 0; i--) lago_table_next(&it, &field);
    size_t at = it.at;
    if (lago_table_next(&it, &field) != 1) return;
    const char *letters = kin[random_below(r, sizeof kin / sizeof kin[0])];
    for (size_t i = 0; i < sizeof kin / sizeof kin[0]; i++) {
        if (!random_chance(r, 4) && strchr(kin[i], (char)field.value.type) != NULL) letters = kin[i];
    }
    raw[at + 1 + field.name.size] = (uint8_t)letters[random_below(r, strlen(letters))];
}

static size_t damaged_table(struct run *run, uint64_t number) {
    struct random *r = &run->random;
    lago_table_t table = number % 4 == 0 ? own_chain(r, 1 + (unsigned)random_below(r, 40)) : own_table(r, LAGO_TABLE_DEPTH_MAX);
    amqp_table_t converted = convert_table(r, &table, LICENSE_FREE); /* the deep ones too, which lago does not write */
    size_t size = 0;
    amqp_encode_table((amqp_bytes_t){ BUFFER_SIZE, run->own_out }, &converted, &size);
    if (random_chance(r, 2)) {
        relabel(r, run->own_out + 4, size - 4);
        if (random_chance(r, 2)) return size;
    }
    return mutate(r, run->own_out, size, BUFFER_SIZE);
}

/* With 's' in their place librabbitmq must read what lago reads. */
static bool same_without_old_letters(struct run *run, const lago_table_t *table) {
    lago_table_t mutable_table = table_over(run->own_out + 4, table->size);
    const uint8_t *found;
    while ((found = explain_letter(&mutable_table, 'U')) != NULL) run->own_out[found - run->own_out] = 's';
    amqp_table_t decoded;
    size_t offset = 0;
    int rc = amqp_decode_table((amqp_bytes_t){ table->size + 4, run->own_out }, &run->pool, &decoded, &offset);
    if (rc != 0) return differ(run, "librabbitmq refuses it with 's' for 'U', too (%s)", amqp_error_string2(rc));
    return same_table(table, &decoded, &run->why);
}

bool case_hostile_table(struct run *run, uint64_t number) {
    size_t size = damaged_table(run, number), offset = 0;
    struct verdict v = { 0 };
    struct reader r = reader_over(exact_copy(run, run->own_out, size), size);
    lago_bytes_t raw = reader_longstr(&r);
    lago_table_t table = table_over(raw.data, raw.size);
    int64_t count = r.failed ? LAGO_ETABLE : lago_table_check(&table);
    v.own = count < 0 ? (int)count : 0;
    if (v.own == 0) {
        v.old_letter = explain_letter(&table, 'U') != NULL;
        if (run->verbose) table_print(&run->own, &table, 64);
    }
    show_octets(run, "the octets", run->own_out, size);
    amqp_table_t decoded;
    v.peer = amqp_decode_table((amqp_bytes_t){ size, run->own_out }, &run->pool, &decoded, &offset);
    if (v.peer == 0) {
        v.reading = explain_table(run->own_out, &decoded);
        if (v.reading.at != run->own_out + offset) return differ(run, "librabbitmq's end");
        if (run->verbose) peer_print_table(&run->peer, &decoded);
    }
    if (!judge(run, &v)) return false;
    if (v.own == 0 && v.old_letter) return same_without_old_letters(run, &table);
    if (!both_accept(&v)) return true;
    if (raw.size + 4 != offset) return differ(run, "the table's end");
    return same_table(&table, &decoded, &run->why);
}
