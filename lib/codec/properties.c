/*
 * Content headers of class basic (AMQP 0-9-1, 4.2.6.1): one table of the fourteen properties, walked to write, read, terminate
 * and print them. Knows nothing of frames or messages.
 */
#include "properties.h"
#include "method_spec.h"
#include "reader.h"
#include "table.h"
#include <lago/error.h>
#include <stddef.h>

#define FLAGS_CONTINUE 0x0001u /* another word of flags follows; no class has that many properties */
#define FLAGS_KNOWN    0xfffcu /* fourteen properties, from the highest bit down */

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

static bool is_given(const struct property *p, const lago_properties_t *from) {
    if (from->present & p->flag) return true;
    const void *value = member(p, from);
    switch (p->type) {
    case PROPERTY_OCTET: return *(const uint8_t *)value != 0;
    case PROPERTY_TIMESTAMP: return *(const uint64_t *)value != 0;
    case PROPERTY_SHORTSTR: return *(const char *const *)value != NULL;
    default: return ((const lago_table_t *)value)->size != 0;
    }
}

static uint16_t flags_of(const lago_properties_t *properties) {
    unsigned flags = 0;
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        if (is_given(&properties_table[i], properties)) flags |= properties_table[i].flag;
    }
    return (uint16_t)flags;
}

/* ---------------------------------------------------------------- writing */

static void write_property(struct writer *w, const struct property *p, const lago_properties_t *from) {
    switch (p->type) {
    case PROPERTY_OCTET: writer_u8(w, *(const uint8_t *)member(p, from)); break;
    case PROPERTY_TIMESTAMP: writer_u64(w, *(const uint64_t *)member(p, from)); break;
    case PROPERTY_SHORTSTR: writer_shortstr(w, string_of(p, from)); break;
    case PROPERTY_TABLE: table_write(w, member(p, from)); break;
    }
}

void content_header_write(struct writer *w, uint64_t body_size, const lago_properties_t *properties) {
    writer_u16(w, CLASS_BASIC);
    writer_u16(w, 0); /* weight: unused, must be zero */
    writer_u64(w, body_size);
    if (properties == NULL) {
        writer_u16(w, 0);
        return;
    }
    if (properties->present & ~FLAGS_KNOWN) writer_fail(w, LAGO_EINVAL);
    uint16_t flags = flags_of(properties);
    writer_u16(w, flags);
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        const struct property *p = &properties_table[i];
        if (flags & p->flag) write_property(w, p, properties);
    }
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
    if (weight != 0 || flags & FLAGS_CONTINUE || flags & ~FLAGS_KNOWN) return REPLY_FRAME_ERROR;

    header->properties.present = flags;
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        const struct property *p = &properties_table[i];
        if (flags & p->flag) read_property(&r, p, &header->properties);
    }
    return r.failed || reader_left(&r) > 0 ? REPLY_FRAME_ERROR : 0;
}

void content_header_terminate(struct content_header *header) {
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        const struct property *p = &properties_table[i];
        if (p->type != PROPERTY_SHORTSTR || !(header->properties.present & p->flag)) continue;
        size_t size = *((const uint8_t *)&header->properties + p->size_offset);
        const char *data = *(const char *const *)member(p, &header->properties);
        if (size > 0) ((char *)(uintptr_t)data)[size] = '\0';
    }
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
    case PROPERTY_TABLE: table_print(t, member(p, from), string_max); break;
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
