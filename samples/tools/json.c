/*
 * A message as JSON. What JSON cannot hold becomes an object with one name that begins with "!", so that nothing is lost:
 * {"!bytes": BASE64} {"!timestamp": SECONDS} {"!decimal": [SCALE, VALUE]} {"!double": "NaN"} {"!table": [[NAME, VALUE], ...]}.
 */
#include "json.h"
#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *table_to_json(const lago_table_t *table);
static cJSON *array_to_json(const lago_array_t *array);

/* ---------------------------------------------------------------- text or bytes */

/* How many bytes the UTF-8 character at `at` has, 0 if it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t character_size(const unsigned char *at, size_t rest) {
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t size;
    } forms[] = {
        { 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (at[0] < forms[i].first_low || at[0] > forms[i].first_high) continue;
        if (forms[i].size > rest) return 0;
        if (forms[i].size > 1 && (at[1] < forms[i].second_low || at[1] > forms[i].second_high)) return 0;
        for (size_t k = 2; k < forms[i].size; k++) {
            if (at[k] < 0x80 || at[k] > 0xbf) return 0;
        }
        return forms[i].size;
    }
    return 0;
}

/* Text is UTF-8 without NUL: with one it would end early in too many programs, cJSON included. */
static bool is_text(const char *data, size_t size) {
    const unsigned char *bytes = (const unsigned char *)data;
    for (size_t at = 0; at < size;) {
        size_t step = character_size(bytes + at, size - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

static cJSON *text_to_json(const char *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return NULL;
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    cJSON *json = cJSON_CreateString(text);
    free(text);
    return json;
}

static cJSON *base64_to_json(const char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)data;
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;
    if (!text) return NULL;
    for (size_t at = 0; at < size; at += 3) {
        size_t rest = size - at;
        unsigned group = (unsigned)bytes[at] << 16;
        if (rest > 1) group |= (unsigned)bytes[at + 1] << 8;
        if (rest > 2) group |= bytes[at + 2];
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = rest > 1 ? digits[group >> 6 & 63] : '=';
        *to++ = rest > 2 ? digits[group & 63] : '=';
    }
    *to = '\0';
    cJSON *json = cJSON_CreateString(text);
    free(text);
    return json;
}

/* ---------------------------------------------------------------- values */

static cJSON *marked(const char *mark, cJSON *value) {
    cJSON *object = cJSON_CreateObject();
    if (object && value && cJSON_AddItemToObject(object, mark, value)) return object;
    cJSON_Delete(value);
    cJSON_Delete(object);
    return NULL;
}

static cJSON *string_to_json(lago_string_t string) {
    return is_text(string.data, string.size) ? text_to_json(string.data, string.size)
                                             : marked("!bytes", base64_to_json(string.data, string.size));
}

/* cJSON has doubles, which lose the last digits of 64 bits. */
static cJSON *integer_to_json(int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return cJSON_CreateRaw(text);
}

static cJSON *unsigned_to_json(uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return cJSON_CreateRaw(text);
}

static cJSON *double_to_json(double number) {
    if (isfinite(number)) return cJSON_CreateNumber(number);
    return marked("!double", cJSON_CreateString(isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity"));
}

/* Append, or delete both: NULL stands for "no memory" all the way up. */
static cJSON *append(cJSON *array, cJSON *item) {
    if (array && item && cJSON_AddItemToArray(array, item)) return array;
    cJSON_Delete(item);
    cJSON_Delete(array);
    return NULL;
}

static cJSON *decimal_to_json(lago_decimal_t decimal) {
    cJSON *pair = append(cJSON_CreateArray(), unsigned_to_json(decimal.scale));
    return marked("!decimal", append(pair, unsigned_to_json(decimal.value)));
}

static cJSON *value_to_json(const lago_value_t *value) {
    switch (value->type) {
    case LAGO_TYPE_BOOLEAN: return cJSON_CreateBool(value->as.boolean);
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_INT64: return integer_to_json(value->as.integer);
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_UINT32: return unsigned_to_json(value->as.unsigned_integer);
    case LAGO_TYPE_FLOAT: return double_to_json((double)value->as.single);
    case LAGO_TYPE_DOUBLE: return double_to_json(value->as.real);
    case LAGO_TYPE_DECIMAL: return decimal_to_json(value->as.decimal);
    case LAGO_TYPE_STRING: return string_to_json(value->as.string);
    case LAGO_TYPE_ARRAY: return array_to_json(&value->as.array);
    case LAGO_TYPE_TIMESTAMP: return marked("!timestamp", unsigned_to_json(value->as.unsigned_integer));
    case LAGO_TYPE_TABLE: return table_to_json(&value->as.table);
    case LAGO_TYPE_VOID: return cJSON_CreateNull();
    case LAGO_TYPE_BYTES: return marked("!bytes", base64_to_json(value->as.string.data, value->as.string.size));
    }
    return cJSON_CreateNull();
}

static cJSON *array_to_json(const lago_array_t *array) {
    cJSON *json = cJSON_CreateArray();
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    while (json && lago_array_next(&it, &value) > 0) json = append(json, value_to_json(&value));
    return json;
}

/* Whether its names can be names of an object, and none could be taken for a mark. */
static bool is_plain(const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    while (lago_table_next(&it, &field) > 0) {
        if (!is_text(field.name.data, field.name.size) || (field.name.size > 0 && field.name.data[0] == '!')) return false;
    }
    return true;
}

static cJSON *add_field(cJSON *object, const lago_field_t *field) {
    char name[256]; /* a name has at most 255 bytes */
    cJSON *value = value_to_json(&field->value);
    memcpy(name, field->name.data, field->name.size);
    name[field->name.size] = '\0';
    if (value && cJSON_AddItemToObject(object, name, value)) return object;
    cJSON_Delete(value);
    cJSON_Delete(object);
    return NULL;
}

static cJSON *add_pair(cJSON *pairs, const lago_field_t *field) {
    cJSON *pair = append(cJSON_CreateArray(), string_to_json(field->name));
    return append(pairs, append(pair, value_to_json(&field->value)));
}

/* What cannot be read to its end is left out from there. */
static cJSON *table_to_json(const lago_table_t *table) {
    bool plain = is_plain(table);
    cJSON *json = plain ? cJSON_CreateObject() : cJSON_CreateArray();
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    while (json && lago_table_next(&it, &field) > 0) json = plain ? add_field(json, &field) : add_pair(json, &field);
    return plain ? json : marked("!table", json);
}

/* ---------------------------------------------------------------- the message */

/* Each returns whether there was memory. `item` is taken. */
static bool put(cJSON *object, const char *name, cJSON *item) {
    if (item && cJSON_AddItemToObject(object, name, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool put_property(cJSON *object, const char *name, const char *text, uint8_t size) {
    return !text || put(object, name, string_to_json((lago_string_t){ text, size }));
}

static bool put_properties(cJSON *object, const lago_properties_t *p) {
    bool good = put_property(object, "content_type", p->content_type, p->sizes.content_type) &&
                put_property(object, "content_encoding", p->content_encoding, p->sizes.content_encoding);
    if (good && p->present & LAGO_PROPERTY_HEADERS) good = put(object, "headers", table_to_json(&p->headers));
    if (good && p->present & LAGO_PROPERTY_DELIVERY_MODE) good = put(object, "delivery_mode", unsigned_to_json(p->delivery_mode));
    if (good && p->present & LAGO_PROPERTY_PRIORITY) good = put(object, "priority", unsigned_to_json(p->priority));
    good = good && put_property(object, "correlation_id", p->correlation_id, p->sizes.correlation_id) &&
           put_property(object, "reply_to", p->reply_to, p->sizes.reply_to) &&
           put_property(object, "expiration", p->expiration, p->sizes.expiration) &&
           put_property(object, "message_id", p->message_id, p->sizes.message_id);
    if (good && p->present & LAGO_PROPERTY_TIMESTAMP) good = put(object, "timestamp", unsigned_to_json(p->timestamp));
    return good && put_property(object, "type", p->type, p->sizes.type) &&
           put_property(object, "user_id", p->user_id, p->sizes.user_id) &&
           put_property(object, "app_id", p->app_id, p->sizes.app_id) &&
           put_property(object, "cluster_id", p->cluster_id, p->sizes.cluster_id);
}

static bool put_body(cJSON *object, lago_bytes_t body) {
    bool is_utf8 = is_text(body.data, body.size);
    return put(object, "body_encoding", cJSON_CreateString(is_utf8 ? "utf-8" : "base64")) &&
           put(object, "body", is_utf8 ? text_to_json(body.data, body.size) : base64_to_json(body.data, body.size));
}

static bool put_message(cJSON *object, const lago_message_t *m, bool with_message_count) {
    cJSON *properties = cJSON_CreateObject();
    return put(object, "delivery_tag", unsigned_to_json(m->delivery_tag)) &&
           put(object, "redelivered", cJSON_CreateBool(m->redelivered)) && put(object, "exchange", string_to_json(m->exchange)) &&
           put(object, "routing_key", string_to_json(m->routing_key)) &&
           (with_message_count ? put(object, "message_count", unsigned_to_json(m->message_count))
                               : put(object, "consumer_tag", string_to_json(m->consumer_tag))) &&
           put(object, "properties", properties) && put_properties(properties, m->properties) && put_body(object, m->body);
}

char *json_message(const lago_message_t *message, bool with_message_count) {
    cJSON *object = cJSON_CreateObject();
    char *text = object && put_message(object, message, with_message_count) ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (!text) return NULL;
    size_t size = strlen(text);
    char *line = realloc(text, size + 2);
    if (!line) {
        free(text);
        return NULL;
    }
    memcpy(line + size, "\n", 2);
    return line;
}
