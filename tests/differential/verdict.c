/*
 * The judgement on octets that may be damaged: both codecs accept them with the same values, or both refuse them, or the difference
 * is one of those in `enum reason`, which librabbitmq's own reading must bear out.
 */
#include "verdict.h"
#include "table.h"
#include <string.h>

bool excuse(struct run *run, enum reason reason) {
    run->reasons[reason]++;
    return true;
}

static bool only_peer_accepts(struct run *run, const struct verdict *v) {
    bool deep = v->reading.levels > LAGO_TABLE_DEPTH_MAX;
    if (v->weight) return excuse(run, REASON_WEIGHT);
    if (v->flags) return excuse(run, REASON_PROPERTY_FLAGS);
    if (v->trailing) return excuse(run, REASON_TRAILING);
    if (v->reading.overrun) return excuse(run, REASON_OVERRUN);
    if (deep && v->own == LAGO_EDEPTH) return excuse(run, REASON_DEPTH);
    return differ(run, "librabbitmq accepts, lago refuses (%d)", v->own);
}

bool judge(struct run *run, const struct verdict *v) {
    if (v->own != 0 && v->peer != 0) {
        run->both_refuse++;
        return true;
    }
    if (v->own != 0) return only_peer_accepts(run, v);
    if (v->peer != 0) {
        if (v->old_letter) return excuse(run, REASON_OLD_LETTER);
        return differ(run, "lago accepts, librabbitmq refuses (%s)", amqp_error_string2(v->peer));
    }
    run->both_accept++;
    if (v->weight || v->flags || v->trailing || v->reading.overrun || v->reading.levels > LAGO_TABLE_DEPTH_MAX) {
        return differ(run, "lago accepts what it should not");
    }
    return true;
}

/* ---------------------------------------------------------------- methods */

const struct method_info *verdict_own_method(struct run *run, struct verdict *v, void *payload, size_t size,
                                             union method_args *args) {
    const struct method_info *info;
    memset(args, 0, sizeof *args);
    v->own = method_read(payload, size, &info, args);
    if (v->own == 0) v->own = check_args(info, args);
    if (v->own != 0) return info;
    v->old_letter = explain_args_have_letter(info, args, 'U');
    if (run->verbose) method_print(&run->own, info, args);
    return info;
}

void verdict_peer_method(struct run *run, struct verdict *v, const uint8_t *payload, size_t size, const void *decoded) {
    uint32_t id = (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 | (uint32_t)payload[2] << 8 | payload[3];
    v->reading = explain_args(payload + METHOD_ID_SIZE, method_find(id), decoded); /* main: lago has all of its methods */
    v->trailing = v->reading.at != payload + size;
    if (run->verbose) peer_print_args(&run->peer, peer_find(id), decoded);
}

/* ---------------------------------------------------------------- properties */

void verdict_own_header(struct run *run, struct verdict *v, void *payload, size_t size, struct content_header *header) {
    v->own = content_header_read(payload, size, header);
    if (v->own != 0) return;
    int64_t count = lago_table_check(&header->properties.headers);
    v->own = count < 0 ? (int)count : 0;
    v->old_letter = explain_letter(&header->properties.headers, 'U') != NULL;
    if (run->verbose) properties_print(&run->own, &header->properties, 64);
}

void verdict_peer_properties(struct run *run, struct verdict *v, const uint8_t *flags, size_t size, const void *decoded) {
    v->reading = explain_properties(flags, decoded);
    v->trailing = v->reading.at != flags + size;
    v->flags = (flags[1] & FLAGS_NOT_OURS) != 0;
    if (run->verbose) peer_print_properties(&run->peer, decoded);
}
