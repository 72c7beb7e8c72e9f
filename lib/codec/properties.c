/*
 * Content headers of class basic (AMQP 0-9-1, 4.2.6.1): one table of the fourteen properties, in the order of their flags, of which
 * only those are visited that a message has. Knows nothing of frames or messages.
 */
#include "properties.h"
#include "method_spec.h"
#include "reader.h"
#include "table.h"
#include <lago/error.h>
#include <stddef.h>

#define FLAGS_CONTINUE 0x0001u /* another word of flags follows; no class has that many properties */

/* All but headers, delivery_mode, priority and timestamp. */
#define STRING_FLAGS                                                                                                             \
    (PROPERTY_FLAGS &                                                                                                            \
     ~(unsigned)(LAGO_PROPERTY_HEADERS | LAGO_PROPERTY_DELIVERY_MODE | LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP))

enum property_type { PROPERTY_OCTET, PROPERTY_TIMESTAMP, PROPERTY_SHORTSTR, PROPERTY_TABLE };

struct property {
    const char *name;
    uint16_t flag;
    uint8_t type; /* enum property_type */
    uint8_t offset, size_offset;
};

#define OFFSET_(member) offsetof(lago_properties_t, member)
#define NUMBER_(name, flag, type)                                                                                                \
    { #name, LAGO_PROPERTY_##flag, type, OFFSET_(name), 0 }
#define STRING_(name, flag)                                                                                                      \
    { #name, LAGO_PROPERTY_##flag, PROPERTY_SHORTSTR, OFFSET_(name), OFFSET_(sizes.name) }

_Static_assert(sizeof(lago_properties_t) <= UINT8_MAX, "offsets fit an octet");

/* In the order of their flags, which is the order on the wire. */
static const struct property properties_table[] = {
    STRING_(content_type, CONTENT_TYPE),
    STRING_(content_encoding, CONTENT_ENCODING),
    NUMBER_(headers, HEADERS, PROPERTY_TABLE),
    NUMBER_(delivery_mode, DELIVERY_MODE, PROPERTY_OCTET),
    NUMBER_(priority, PRIORITY, PROPERTY_OCTET),
    STRING_(correlation_id, CORRELATION_ID),
    STRING_(reply_to, REPLY_TO),
    STRING_(expiration, EXPIRATION),
    STRING_(message_id, MESSAGE_ID),
    NUMBER_(timestamp, TIMESTAMP, PROPERTY_TIMESTAMP),
    STRING_(type, TYPE),
    STRING_(user_id, USER_ID),
    STRING_(app_id, APP_ID),
    STRING_(cluster_id, CLUSTER_ID),
};

#define PROPERTY_COUNT (sizeof properties_table / sizeof properties_table[0])

static const void *member(const struct property *p, const lago_properties_t *from) { return (const uint8_t *)from + p->offset; }

static lago_string_t string_of(const struct property *p, const lago_properties_t *from) {
    const char *data = *(const char *const *)member(p, from);
    size_t size = *((const uint8_t *)from + p->size_offset);
    lago_string_t s = { data, size > 0 ? size : LAGO_NUL_TERMINATED };
    return s;
}

/* Straight on, because every publish passes here. */
static uint16_t flags_of(const lago_properties_t *p) {
    unsigned flags = p->present;
    if (p->content_type) flags |= LAGO_PROPERTY_CONTENT_TYPE;
    if (p->content_encoding) flags |= LAGO_PROPERTY_CONTENT_ENCODING;
    if (p->headers.size) flags |= LAGO_PROPERTY_HEADERS;
    if (p->delivery_mode) flags |= LAGO_PROPERTY_DELIVERY_MODE;
    if (p->priority) flags |= LAGO_PROPERTY_PRIORITY;
    if (p->correlation_id) flags |= LAGO_PROPERTY_CORRELATION_ID;
    if (p->reply_to) flags |= LAGO_PROPERTY_REPLY_TO;
    if (p->expiration) flags |= LAGO_PROPERTY_EXPIRATION;
    if (p->message_id) flags |= LAGO_PROPERTY_MESSAGE_ID;
    if (p->timestamp) flags |= LAGO_PROPERTY_TIMESTAMP;
    if (p->type) flags |= LAGO_PROPERTY_TYPE;
    if (p->user_id) flags |= LAGO_PROPERTY_USER_ID;
    if (p->app_id) flags |= LAGO_PROPERTY_APP_ID;
    if (p->cluster_id) flags |= LAGO_PROPERTY_CLUSTER_ID;
    return (uint16_t)flags;
}

/* The highest flag, which is the next property on the wire: taken out of `flags`. @return its place in the table. */
static unsigned next_property(unsigned *flags) {
    unsigned place = (unsigned)__builtin_clz(*flags) - (unsigned)(sizeof(unsigned) * 8u - 16u);
    *flags &= ~(0x8000u >> place);
    return place;
}

/* ---------------------------------------------------------------- writing */

static int plan_string(struct header_plan *plan, unsigned place, lago_string_t s) {
    size_t size = s.data == NULL ? 0 : s.size == LAGO_NUL_TERMINATED ? strlen(s.data) : s.size;
    if (size > UINT8_MAX) return LAGO_ETOOLONG;
    plan->string_sizes[place] = (uint8_t)size;
    plan->size += 1 + size;
    return 0;
}

static int plan_table(struct header_plan *plan, const lago_table_t *table) {
    struct writer measured = writer_measure();
    table_write(&measured, table);
    plan->table_size = measured.size;
    plan->size += measured.size;
    return measured.error;
}

static int plan_property(struct header_plan *plan, unsigned place, const lago_properties_t *from) {
    const struct property *p = &properties_table[place];
    switch (p->type) {
    case PROPERTY_OCTET: plan->size += 1; return 0;
    case PROPERTY_TIMESTAMP: plan->size += 8; return 0;
    case PROPERTY_SHORTSTR: return plan_string(plan, place, string_of(p, from));
    default: return plan_table(plan, member(p, from));
    }
}

int content_header_plan(struct header_plan *plan, const lago_properties_t *properties) {
    plan->properties = properties;
    plan->flags = 0;
    plan->size = CONTENT_HEADER_FIXED_SIZE + 2;
    if (properties == NULL) return 0;
    if (properties->present & ~PROPERTY_FLAGS) return LAGO_EINVAL;
    plan->flags = flags_of(properties);
    for (unsigned left = plan->flags; left;) {
        int rc = plan_property(plan, next_property(&left), properties);
        if (rc < 0) return rc;
    }
    return 0;
}

static uint8_t *put_table(uint8_t *out, const struct header_plan *plan) {
    struct writer w = writer_over(out, plan->table_size);
    table_write(&w, &plan->properties->headers);
    return out + plan->table_size;
}

static uint8_t *put_property(uint8_t *out, const struct header_plan *plan, unsigned place) {
    const struct property *p = &properties_table[place];
    const void *value = member(p, plan->properties);
    switch (p->type) {
    case PROPERTY_OCTET: *out++ = *(const uint8_t *)value; return out;
    case PROPERTY_TIMESTAMP: return put_u64(out, *(const uint64_t *)value);
    case PROPERTY_SHORTSTR:
        *out++ = plan->string_sizes[place];
        return put_short(out, *(const char *const *)value, plan->string_sizes[place]);
    default: return put_table(out, plan);
    }
}

uint8_t *content_header_put(uint8_t *out, const struct header_plan *plan, uint64_t body_size) {
    out = put_u16(out, CLASS_BASIC);
    out = put_u16(out, 0); /* weight: unused, must be zero */
    out = put_u64(out, body_size);
    out = put_u16(out, plan->flags);
    for (unsigned left = plan->flags; left;) out = put_property(out, plan, next_property(&left));
    return out;
}

void content_header_write(struct writer *w, uint64_t body_size, const lago_properties_t *properties) {
    struct header_plan plan;
    int rc = content_header_plan(&plan, properties);
    if (rc < 0) writer_fail(w, rc);
    uint8_t *out = writer_claim(w, plan.size);
    if (out != NULL) content_header_put(out, &plan, body_size);
}

/* ---------------------------------------------------------------- reading */

/* An empty string points to a NUL of ours: a size of 0 says strlen(), and the octet behind it is not yet ours to write. */
static void read_string(struct reader *r, const struct property *p, lago_properties_t *to) {
    lago_string_t s = reader_shortstr(r);
    *(const char **)(void *)((uint8_t *)to + p->offset) = s.size > 0 ? s.data : "";
    *((uint8_t *)to + p->size_offset) = (uint8_t)s.size;
}

static void read_property(struct reader *r, const struct property *p, lago_properties_t *to) {
    void *value = (uint8_t *)to + p->offset;
    switch (p->type) {
    case PROPERTY_OCTET: *(uint8_t *)value = reader_u8(r); break;
    case PROPERTY_TIMESTAMP: *(uint64_t *)value = reader_u64(r); break;
    case PROPERTY_SHORTSTR: read_string(r, p, to); break;
    default: {
        lago_bytes_t raw = reader_longstr(r);
        *(lago_table_t *)value = table_over(raw.data, raw.size);
    }
    }
}

int content_header_read(const void *payload, size_t size, struct content_header *header) {
    struct reader r = reader_over(payload, size);
    *header = (struct content_header){ 0 };
    uint16_t class_id = reader_u16(&r);
    uint16_t weight = reader_u16(&r);
    header->body_size = reader_u64(&r);
    uint16_t flags = reader_u16(&r);
    if (r.failed) return REPLY_FRAME_ERROR;
    if (class_id != CLASS_BASIC) return REPLY_UNEXPECTED_FRAME;
    if (weight != 0 || flags & FLAGS_CONTINUE || flags & ~PROPERTY_FLAGS) return REPLY_FRAME_ERROR;

    header->properties.present = flags;
    for (unsigned left = flags; left;) read_property(&r, &properties_table[next_property(&left)], &header->properties);
    return r.failed || reader_left(&r) > 0 ? REPLY_FRAME_ERROR : 0;
}

void content_header_terminate(struct content_header *header) {
    for (unsigned left = header->properties.present & STRING_FLAGS; left;) {
        const struct property *p = &properties_table[next_property(&left)];
        size_t size = *((const uint8_t *)&header->properties + p->size_offset);
        const char *data = *(const char *const *)member(p, &header->properties);
        if (size > 0) ((char *)(uintptr_t)data)[size] = '\0';
    }
}

/* ---------------------------------------------------------------- merging */

static size_t size_of(const struct property *p) {
    switch (p->type) {
    case PROPERTY_OCTET: return sizeof(uint8_t);
    case PROPERTY_TIMESTAMP: return sizeof(uint64_t);
    case PROPERTY_SHORTSTR: return sizeof(const char *);
    default: return sizeof(lago_table_t);
    }
}

void properties_overlay(lago_properties_t *to, const lago_properties_t *over) {
    uint16_t flags = flags_of(over);
    for (unsigned left = flags & PROPERTY_FLAGS; left;) {
        const struct property *p = &properties_table[next_property(&left)];
        memcpy((uint8_t *)to + p->offset, (const uint8_t *)over + p->offset, size_of(p));
        if (p->size_offset) *((uint8_t *)to + p->size_offset) = *((const uint8_t *)over + p->size_offset);
    }
    to->present |= flags;
}

/* ---------------------------------------------------------------- printing */

static void print_string(struct text *t, lago_string_t s, size_t string_max) {
    if (s.data == NULL) s.size = 0;
    if (s.size == LAGO_NUL_TERMINATED) s.size = strlen(s.data);
    text_add(t, "\"");
    text_add_escaped(t, s.data, s.size, string_max);
    text_add(t, "\"");
}

static void print_property(struct text *t, const struct property *p, const lago_properties_t *from, size_t string_max) {
    switch (p->type) {
    case PROPERTY_OCTET: text_addf(t, "%u", *(const uint8_t *)member(p, from)); break;
    case PROPERTY_TIMESTAMP: text_addf(t, "%llu", (unsigned long long)from->timestamp); break;
    case PROPERTY_SHORTSTR: print_string(t, string_of(p, from), string_max); break;
    default: table_print(t, member(p, from), string_max);
    }
}

void properties_print(struct text *t, const lago_properties_t *properties, size_t string_max) {
    if (properties == NULL) return;
    const char *between = "";
    uint16_t flags = flags_of(properties);
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        const struct property *p = &properties_table[i];
        if (!(flags & p->flag)) continue;
        text_addf(t, "%s%s=", between, p->name);
        print_property(t, p, properties, string_max);
        between = " ";
    }
}

size_t lago_properties_format(const lago_properties_t *properties, char *buffer, size_t size) {
    struct text t;
    text_init(&t, buffer, size);
    properties_print(&t, properties, SIZE_MAX);
    return t.length;
}
