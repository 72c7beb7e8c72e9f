/*
 * Words to frames: the codec's tables say which fields a method has and of which type. Must not know the client; it speaks
 * through virtual_input alone.
 */
#include "server.h"

#include "frame.h"
#include "method.h"
#include "properties.h"
#include "table.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_SIZE    65536u
#define TABLE_FIELDS_MAX 64u
#define STRINGS_MAX      64u /* per line */

/* One line that is being read. */
struct words {
    const char *line; /* for messages */
    const char *at;
    void *owned[STRINGS_MAX];
    size_t owned_count;
    lago_table_builder_t *builders[STRINGS_MAX];
    size_t builder_count;
};

__attribute__((noreturn)) static void unreadable(const struct words *w, const char *what) {
    fprintf(stderr, "server: %s at \"%.60s\" in: %s\n", what, w->at, w->line);
    abort();
}

static void *own(struct words *w, size_t size) {
    void *data = w->owned_count < STRINGS_MAX ? calloc(1, size ? size : 1) : NULL;
    if (!data) unreadable(w, "too many strings");
    return w->owned[w->owned_count++] = data;
}

static void release(struct words *w) {
    for (size_t i = 0; i < w->owned_count; i++) free(w->owned[i]);
    for (size_t i = 0; i < w->builder_count; i++) lago_table_builder_free(w->builders[i]);
    w->owned_count = w->builder_count = 0;
}

static void skip_spaces(struct words *w) {
    while (*w->at == ' ') w->at++;
}

static bool take(struct words *w, char c) {
    skip_spaces(w);
    if (*w->at != c) return false;
    w->at++;
    return true;
}

/* A name: letters, digits, and what stands in method and header names. */
static lago_string_t take_name(struct words *w) {
    skip_spaces(w);
    const char *start = w->at;
    while (isalnum((unsigned char)*w->at) || (*w->at && strchr("_-.", *w->at))) w->at++;
    if (w->at == start) unreadable(w, "a name is missing");
    return (lago_string_t){ start, (size_t)(w->at - start) };
}

static bool is(lago_string_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static uint64_t take_number(struct words *w) {
    char *end;
    skip_spaces(w);
    unsigned long long n = strtoull(w->at, &end, 10);
    if (end == w->at) unreadable(w, "a number is missing");
    w->at = end;
    return n;
}

static unsigned hex_digit(struct words *w) {
    if (!isxdigit((unsigned char)*w->at)) unreadable(w, "two hex digits are missing");
    char digit[2] = { *w->at++, '\0' };
    return (unsigned)strtoul(digit, NULL, 16);
}

static unsigned hex_octet(struct words *w) {
    unsigned high = hex_digit(w);
    return high << 4 | hex_digit(w);
}

static char take_escape(struct words *w) {
    switch (*w->at++) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'x': return (char)hex_octet(w);
    case '\\': return '\\';
    case '"': return '"';
    default: unreadable(w, "unknown escape");
    }
}

static lago_string_t take_string(struct words *w) {
    if (!take(w, '"')) unreadable(w, "a string in quotes is missing");
    char *data = own(w, strlen(w->at) + 1);
    size_t size = 0;
    while (*w->at != '"') {
        if (!*w->at) unreadable(w, "a string does not end");
        char c = *w->at++;
        data[size++] = c == '\\' ? take_escape(w) : c;
    }
    w->at++;
    return (lago_string_t){ data, size };
}

/* ---------------------------------------------------------------- tables */

static lago_value_t take_value(struct words *w);

static lago_table_t take_table(struct words *w) {
    lago_table_builder_t *builder = w->builder_count < STRINGS_MAX ? lago_table_builder_new() : NULL;
    if (!builder || !take(w, '{')) unreadable(w, "a table is missing");
    w->builders[w->builder_count++] = builder;
    while (!take(w, '}')) {
        lago_field_t field = { .name = take_name(w) };
        if (!take(w, '=')) unreadable(w, "'=' is missing");
        field.value = take_value(w);
        if (lago_table_builder_add(builder, &field) < 0) unreadable(w, "the table does not take this");
        take(w, ',');
    }
    return lago_table_builder_table(builder);
}

static lago_array_t take_array(struct words *w) {
    lago_value_t *values = own(w, TABLE_FIELDS_MAX * sizeof(*values));
    size_t count = 0;
    take(w, '[');
    while (!take(w, ']')) {
        if (count == TABLE_FIELDS_MAX) unreadable(w, "the array is too long");
        values[count++] = take_value(w);
        take(w, ',');
    }
    return (lago_array_t){ .values = values, .size = count };
}

static lago_value_t take_plain_value(struct words *w) {
    char *end;
    const char *start = w->at;
    long long n = strtoll(w->at, &end, 10);
    if (end != start && *end != '.' && *end != 'e') {
        w->at = end;
        bool small = n >= INT32_MIN && n <= INT32_MAX;
        return (lago_value_t){ .type = small ? LAGO_TYPE_INT32 : LAGO_TYPE_INT64, .as.integer = n };
    }
    double real = strtod(start, &end);
    if (end != start) {
        w->at = end;
        return (lago_value_t){ .type = LAGO_TYPE_DOUBLE, .as.real = real };
    }
    lago_string_t word = take_name(w);
    if (is(word, "void")) return (lago_value_t){ .type = LAGO_TYPE_VOID };
    if (!is(word, "true") && !is(word, "false")) unreadable(w, "what value is that");
    return (lago_value_t){ .type = LAGO_TYPE_BOOLEAN, .as.boolean = is(word, "true") };
}

static lago_value_t take_value(struct words *w) {
    skip_spaces(w);
    if (*w->at == '"') return (lago_value_t){ .type = LAGO_TYPE_STRING, .as.string = take_string(w) };
    if (*w->at == '{') return (lago_value_t){ .type = LAGO_TYPE_TABLE, .as.table = take_table(w) };
    if (*w->at == '[') return (lago_value_t){ .type = LAGO_TYPE_ARRAY, .as.array = take_array(w) };
    return take_plain_value(w);
}

/* ---------------------------------------------------------------- methods */

static const struct method_field *find_field(const struct method_info *info, lago_string_t name) {
    for (size_t i = 0; i < info->field_count; i++)
        if (!info->fields[i].reserved && is(name, info->fields[i].name)) return &info->fields[i];
    return NULL;
}

static void take_field(struct words *w, const struct method_field *field, void *value) {
    lago_string_t s;
    switch (field->type) {
    case FIELD_BIT: *(bool *)value = take_number(w) != 0; break;
    case FIELD_OCTET: *(uint8_t *)value = (uint8_t)take_number(w); break;
    case FIELD_SHORT: *(uint16_t *)value = (uint16_t)take_number(w); break;
    case FIELD_LONG: *(uint32_t *)value = (uint32_t)take_number(w); break;
    case FIELD_LONGLONG: *(uint64_t *)value = take_number(w); break;
    case FIELD_SHORTSTR: *(lago_string_t *)value = take_string(w); break;
    case FIELD_LONGSTR:
        s = take_string(w);
        *(lago_bytes_t *)value = (lago_bytes_t){ s.data, s.size };
        break;
    case FIELD_TABLE: *(lago_table_t *)value = take_table(w); break;
    default: unreadable(w, "unknown type of a field");
    }
}

static void write_method(struct words *w, lago_string_t name, struct writer *out) {
    union method_args args;
    const struct method_info *info = method_find_name(name.data, name.size);
    if (!info) unreadable(w, "no such method");
    memset(&args, 0, sizeof(args));
    for (skip_spaces(w); *w->at; skip_spaces(w)) {
        const struct method_field *field = find_field(info, take_name(w));
        if (!field || !take(w, '=')) unreadable(w, "the method has no such field");
        take_field(w, field, (uint8_t *)&args + field->offset);
    }
    method_write(out, info, &args);
}

/* ---------------------------------------------------------------- contents */

/* A property by its name; false if there is none of that name. */
static bool take_property(struct words *w, lago_string_t name, lago_properties_t *p) {
    const char **strings[] = { &p->content_type, &p->content_encoding, &p->correlation_id, &p->reply_to,
                               &p->expiration,   &p->message_id,       &p->type,           &p->user_id,
                               &p->app_id,       &p->cluster_id };
    uint8_t *sizes[] = { &p->sizes.content_type, &p->sizes.content_encoding, &p->sizes.correlation_id, &p->sizes.reply_to,
                         &p->sizes.expiration,   &p->sizes.message_id,       &p->sizes.type,           &p->sizes.user_id,
                         &p->sizes.app_id,       &p->sizes.cluster_id };
    static const char *const names[] = { "content_type", "content_encoding", "correlation_id", "reply_to",
                                         "expiration",   "message_id",       "type",           "user_id",
                                         "app_id",       "cluster_id" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!is(name, names[i])) continue;
        lago_string_t s = take_string(w);
        *strings[i] = s.data;
        *sizes[i] = (uint8_t)s.size;
        return true;
    }
    if (is(name, "headers")) {
        p->headers = take_table(w);
        p->present |= LAGO_PROPERTY_HEADERS;
    } else if (is(name, "delivery_mode")) {
        p->delivery_mode = (uint8_t)take_number(w);
    } else if (is(name, "priority")) {
        p->priority = (uint8_t)take_number(w);
        p->present |= LAGO_PROPERTY_PRIORITY;
    } else if (is(name, "timestamp")) {
        p->timestamp = take_number(w);
        p->present |= LAGO_PROPERTY_TIMESTAMP;
    } else {
        return false;
    }
    return true;
}

static void write_header(struct words *w, struct writer *out) {
    lago_properties_t properties;
    uint64_t body_size = 0;
    memset(&properties, 0, sizeof(properties));
    for (skip_spaces(w); *w->at; skip_spaces(w)) {
        lago_string_t name = take_name(w);
        if (!take(w, '=')) unreadable(w, "'=' is missing");
        if (is(name, "body_size"))
            body_size = take_number(w);
        else if (!take_property(w, name, &properties))
            unreadable(w, "no such property");
    }
    content_header_write(out, body_size, &properties);
}

static void write_body(struct words *w, struct writer *out) {
    skip_spaces(w);
    if (*w->at == '"') {
        lago_string_t s = take_string(w);
        writer_bytes(out, s.data, s.size);
        return;
    }
    if (!is(take_name(w), "size") || !take(w, '=')) unreadable(w, "a body is \"text\" or size=N");
    for (uint64_t n = take_number(w); n > 0; n--) writer_u8(out, 'x');
}

/* ---------------------------------------------------------------- frames */

static size_t write_raw(struct words *w, uint8_t *out) {
    size_t size = 0;
    for (skip_spaces(w); *w->at; skip_spaces(w)) out[size++] = (uint8_t)hex_octet(w);
    return size;
}

/* One line into `out`, which has LINE_MAX_SIZE bytes. */
static size_t write_line(struct words *w, uint8_t *out) {
    skip_spaces(w);
    if (strncmp(w->at, "raw ", 4) == 0) {
        w->at += 4;
        return write_raw(w, out);
    }
    uint16_t channel = (uint16_t)take_number(w);
    lago_string_t name = take_name(w);
    struct writer payload = writer_over(out + FRAME_HEADER_SIZE, LINE_MAX_SIZE - FRAME_OVERHEAD);
    unsigned type = FRAME_METHOD;
    if (is(name, "header")) {
        type = FRAME_HEADER;
        write_header(w, &payload);
    } else if (is(name, "body")) {
        type = FRAME_BODY;
        write_body(w, &payload);
    } else if (is(name, "heartbeat")) {
        type = FRAME_HEARTBEAT;
    } else if (is(name, "frame")) {
        type = (unsigned)take_number(w);
        lago_string_t s = take_string(w);
        writer_bytes(&payload, s.data, s.size);
    } else {
        write_method(w, name, &payload);
    }
    skip_spaces(w);
    if (payload.error || *w->at) unreadable(w, "too large, or more than the frame can have");
    frame_begin(out, (enum frame_type)type, channel, payload.size);
    frame_finish(out + FRAME_HEADER_SIZE + payload.size);
    return payload.size + FRAME_OVERHEAD;
}

uint8_t *server_encode(const char *lines, size_t *size) {
    uint8_t *bytes = NULL;
    *size = 0;
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        char *line = malloc(length + 1);
        bytes = realloc(bytes, *size + LINE_MAX_SIZE);
        if (!line || !bytes) abort();
        memcpy(line, lines, length);
        line[length] = '\0';
        struct words w = { .line = line, .at = line };
        skip_spaces(&w);
        if (*w.at) *size += write_line(&w, bytes + *size);
        release(&w);
        free(line);
        lines += length + (lines[length] == '\n');
    }
    return bytes;
}

lago_table_builder_t *server_table(const char *words) {
    struct words w = { .line = words, .at = words };
    take_table(&w);
    if (*w.at) unreadable(&w, "more than a table");
    lago_table_builder_t *whole = w.builders[0]; /* tables inside it were copied */
    w.builders[0] = NULL;
    release(&w);
    return whole;
}

/* ---------------------------------------------------------------- sending */

void server_queue(struct virtual *v, const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    virtual_input(v, bytes, size);
    free(bytes);
}

void server_send(struct virtual *v, const char *lines) {
    server_queue(v, lines);
    virtual_run(v);
}

void server_handshake_with(struct virtual *v, const char *tune) {
    char line[128];
    snprintf(line, sizeof(line), "0 connection.tune %s", tune);
    virtual_run(v);
    server_send(v, SERVER_START);
    server_send(v, line);
    server_send(v, "0 connection.open-ok");
}

void server_handshake(struct virtual *v) { server_handshake_with(v, "channel_max=2047 frame_max=131072 heartbeat=60"); }
