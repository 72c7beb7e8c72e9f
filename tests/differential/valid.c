/* Valid values: what one encodes the other must decode to the same values, both ways, and the octets must be the same. */
#include "explain.h"
#include "run.h"
#include "table.h"
#include <string.h>

#define METHOD_ID_SIZE 4u

static amqp_bytes_t room(struct run *run) { return (amqp_bytes_t){ BUFFER_SIZE, run->peer_out }; }

/* Both have encoded the same. */
static bool same_octets(struct run *run, const uint8_t *own, size_t own_size, const uint8_t *peer, size_t peer_size) {
    if (own_size == peer_size && memcmp(own, peer, own_size) == 0) return true;
    show_octets(run, "lago wrote", own, own_size);
    show_octets(run, "librabbitmq wrote", peer, peer_size);
    return differ(run, "octets");
}

/* ---------------------------------------------------------------- methods */

static bool own_to_peer_method(struct run *run, const struct method_info *info, const void *args, size_t *size) {
    struct writer measured = writer_measure(), w = writer_over(run->own_out, BUFFER_SIZE);
    method_write(&measured, info, args);
    method_write(&w, info, args);
    *size = w.size;
    if (w.error != 0) return differ(run, "lago cannot write: %d", w.error);
    if (measured.size != w.size || measured.error != 0) return differ(run, "lago measured %zu of %zu", measured.size, w.size);
    void *decoded;
    amqp_bytes_t encoded = { w.size - METHOD_ID_SIZE, run->own_out + METHOD_ID_SIZE };
    int rc = amqp_decode_method(info->id, &run->pool, encoded, &decoded);
    if (run->verbose) method_print(&run->own, info, args);
    show_octets(run, "lago wrote", run->own_out, w.size);
    if (rc < 0) return differ(run, "librabbitmq cannot read it: %s", amqp_error_string2(rc));
    if (run->verbose) peer_print_args(&run->peer, peer_find(info->id), decoded);
    return same_args(info, args, decoded, &run->why);
}

static bool peer_to_own_method(struct run *run, const struct method_info *info, const void *args, size_t *size) {
    int rc = amqp_encode_method(info->id, (void *)(uintptr_t)args, room(run));
    if (rc < 0) return differ(run, "librabbitmq cannot write: %s", amqp_error_string2(rc));
    *size = (size_t)rc;
    uint8_t *payload = exact_copy(run, NULL, *size + METHOD_ID_SIZE);
    struct writer w = writer_over(payload, METHOD_ID_SIZE);
    writer_u32(&w, info->id);
    memcpy(payload + METHOD_ID_SIZE, run->peer_out, *size);
    const struct method_info *found;
    union method_args decoded;
    memset(&decoded, 0, sizeof decoded);
    rc = method_read(payload, *size + METHOD_ID_SIZE, &found, &decoded);
    if (rc == 0) rc = check_args(info, &decoded);
    show_octets(run, "librabbitmq wrote", run->peer_out, *size);
    if (rc != 0) return differ(run, "lago cannot read it: %d", rc);
    if (found != info) return differ(run, "lago took it for %s", found->name);
    if (run->verbose) method_print(&run->own, info, &decoded);
    return same_args(info, &decoded, args, &run->why);
}

bool case_method(struct run *run, uint64_t number) {
    const struct method_info *info = method_at(number % METHOD_COUNT);
    if (peer_find(info->id) == NULL) {
        run->reasons[REASON_ONLY_LAGO]++;
        return true;
    }
    union method_args args;
    own_args(&run->random, info, &args);
    _Alignas(max_align_t) uint8_t converted[PEER_STRUCT_SIZE];
    enum license license = random_chance(&run->random, 3) ? LICENSE_FREE : LICENSE_NONE;
    convert_args(&run->random, info, &args, converted, license);
    size_t own_size, peer_size = 0;
    if (!own_to_peer_method(run, info, &args, &own_size) || !peer_to_own_method(run, info, converted, &peer_size)) return false;
    if (license == LICENSE_FREE) return true;
    return same_octets(run, run->own_out + METHOD_ID_SIZE, own_size - METHOD_ID_SIZE, run->peer_out, peer_size);
}

/* ---------------------------------------------------------------- properties */

static bool own_to_peer_properties(struct run *run, const lago_properties_t *properties, uint64_t body_size, size_t *size) {
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    content_header_write(&w, body_size, properties);
    *size = w.size;
    if (run->verbose) properties_print(&run->own, properties, 64);
    if (w.error != 0) return differ(run, "lago cannot write: %d", w.error);
    show_octets(run, "lago wrote", run->own_out, w.size);
    void *decoded;
    amqp_bytes_t encoded = { w.size - CONTENT_HEADER_FIXED_SIZE, run->own_out + CONTENT_HEADER_FIXED_SIZE };
    int rc = amqp_decode_properties(CLASS_BASIC, &run->pool, encoded, &decoded);
    if (rc < 0) return differ(run, "librabbitmq cannot read it: %s", amqp_error_string2(rc));
    if (run->verbose) peer_print_properties(&run->peer, decoded);
    return same_properties(properties, decoded, &run->why);
}

static bool peer_to_own_properties(struct run *run, amqp_basic_properties_t *properties, uint64_t body_size, size_t *size) {
    int rc = amqp_encode_properties(CLASS_BASIC, properties, room(run));
    if (rc < 0) return differ(run, "librabbitmq cannot write: %s", amqp_error_string2(rc));
    *size = (size_t)rc;
    uint8_t *payload = exact_copy(run, NULL, *size + CONTENT_HEADER_FIXED_SIZE);
    struct writer w = writer_over(payload, CONTENT_HEADER_FIXED_SIZE);
    writer_u32(&w, (uint32_t)CLASS_BASIC << 16);
    writer_u64(&w, body_size);
    memcpy(payload + CONTENT_HEADER_FIXED_SIZE, run->peer_out, *size);
    struct content_header header;
    rc = content_header_read(payload, *size + CONTENT_HEADER_FIXED_SIZE, &header);
    if (rc == 0 && lago_table_check(&header.properties.headers) < 0) rc = -1;
    show_octets(run, "librabbitmq wrote", run->peer_out, *size);
    if (rc != 0) return differ(run, "lago cannot read it: %d", rc);
    if (header.body_size != body_size) return differ(run, "body size");
    return same_properties(&header.properties, properties, &run->why);
}

/* Every combination of the fourteen, one after the other. */
bool case_properties(struct run *run, uint64_t number) {
    lago_properties_t properties;
    amqp_basic_properties_t converted;
    uint64_t body_size = random_number(&run->random, 64);
    enum license license = random_chance(&run->random, 3) ? LICENSE_FREE : LICENSE_NONE;
    own_make_properties(&run->random, (uint16_t)(number << (16 - OWN_PROPERTY_COUNT)), &properties);
    convert_properties(&run->random, &properties, &converted, license);
    size_t own_size, peer_size = 0;
    if (!own_to_peer_properties(run, &properties, body_size, &own_size)) return false;
    if (!peer_to_own_properties(run, &converted, body_size, &peer_size)) return false;
    if (license == LICENSE_FREE) return true;
    return same_octets(run, run->own_out + CONTENT_HEADER_FIXED_SIZE, own_size - CONTENT_HEADER_FIXED_SIZE, run->peer_out,
                       peer_size);
}

/* ---------------------------------------------------------------- tables */

static bool builder_agrees(struct run *run, const lago_table_t *table, size_t size) {
    lago_table_builder_t *builder = lago_table_builder_new();
    int rc = builder == NULL ? LAGO_ENOMEM : 0;
    for (size_t i = 0; i < table->size && rc == 0; i++) rc = lago_table_builder_add(builder, &table->fields[i]);
    lago_table_t built = lago_table_builder_table(builder);
    bool same = rc == 0 && built.size == size - 4 && (built.size == 0 || memcmp(built.raw, run->own_out + 4, built.size) == 0);
    lago_table_builder_free(builder);
    return same || differ(run, "the builder's table (%d)", rc);
}

static bool own_to_peer_table(struct run *run, const lago_table_t *table, size_t *size) {
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    table_write(&w, table);
    *size = w.size;
    if (run->verbose) table_print(&run->own, table, 64);
    if (w.error != 0) return differ(run, "lago cannot write: %d", w.error);
    show_octets(run, "lago wrote", run->own_out, w.size);
    amqp_table_t decoded, clone;
    size_t offset = 0;
    int rc = amqp_decode_table((amqp_bytes_t){ w.size, run->own_out }, &run->pool, &decoded, &offset);
    if (rc < 0 || offset != w.size) return differ(run, "librabbitmq cannot read it: %s", amqp_error_string2(rc));
    if (run->verbose) peer_print_table(&run->peer, &decoded);
    if (!same_table(table, &decoded, &run->why) || !builder_agrees(run, table, w.size)) return false;
    rc = amqp_table_clone(&decoded, &clone, &run->pool);
    if (rc == AMQP_STATUS_INVALID_PARAMETER && explain_has_empty_name(&decoded)) {
        run->reasons[REASON_CLONE]++;
        return true;
    }
    return rc == 0 ? same_table(table, &clone, &run->why) : differ(run, "librabbitmq's clone: %s", amqp_error_string2(rc));
}

/* A received table leaves as it came, but for letters that RabbitMQ takes from nobody. */
static bool passes_through(struct run *run, const lago_table_t *table) {
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    table_write(&w, table);
    if (explain_letter(table, 'L') != NULL) return w.error == LAGO_ETYPE || differ(run, "lago passes on an 'L'");
    return w.error == 0 && same_octets(run, run->own_out, w.size, run->peer_out, table->size + 4);
}

static bool peer_to_own_table(struct run *run, amqp_table_t *table, unsigned levels) {
    size_t size = 0;
    int rc = amqp_encode_table(room(run), table, &size);
    if (rc < 0) return differ(run, "librabbitmq cannot write: %s", amqp_error_string2(rc));
    lago_table_t decoded = table_over(exact_copy(run, run->peer_out + 4, size - 4), size - 4);
    int64_t count = lago_table_check(&decoded);
    show_octets(run, "librabbitmq wrote", run->peer_out, size);
    if (levels > LAGO_TABLE_DEPTH_MAX) {
        run->reasons[REASON_DEPTH]++;
        return count == LAGO_EDEPTH || differ(run, "lago reads %u levels", levels);
    }
    if (count != table->num_entries) return differ(run, "lago cannot read it: %lld", (long long)count);
    if (!same_table(&decoded, table, &run->why)) return false;
    return passes_through(run, &decoded);
}

static bool too_deep_to_write(struct run *run, const lago_table_t *table) {
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    table_write(&w, table);
    return w.error == LAGO_EDEPTH || differ(run, "lago writes too many levels: %d", w.error);
}

bool case_table(struct run *run, uint64_t number) {
    bool chain = number % 8 == 0;
    unsigned levels = (unsigned)(number / 8 % 40) + 1; /* both sides of the limit */
    lago_table_t table = chain ? own_chain(&run->random, levels) : own_table(&run->random, LAGO_TABLE_DEPTH_MAX);
    if (!chain) levels = 0;
    amqp_table_t converted = convert_table(&run->random, &table, LICENSE_NONE);
    amqp_table_t free_converted = convert_table(&run->random, &table, LICENSE_FREE);
    if (levels > LAGO_TABLE_DEPTH_MAX) return too_deep_to_write(run, &table) && peer_to_own_table(run, &converted, levels);
    size_t size;
    if (!own_to_peer_table(run, &table, &size) || !peer_to_own_table(run, &free_converted, levels)) return false;
    if (!peer_to_own_table(run, &converted, levels)) return false;
    struct writer w = writer_over(run->own_out, BUFFER_SIZE);
    table_write(&w, &table);
    return same_octets(run, run->own_out, size, run->peer_out, size);
}
