/* What RabbitMQ says in the headers of a message and in the words of an end. Peers wrote all of it: anything may be there. */
#include "method.h"
#include "text.h"
#include <lago/rabbitmq.h>
#include <string.h>

/* ---------------------------------------------------------------- values of any type */

static bool find(const lago_message_t *message, const char *key, lago_value_t *value) {
    return message && lago_table_get(&message->properties->headers, key, value) == 1;
}

/* A number of any integer type that is not negative. */
static bool number_of(const lago_value_t *value, uint64_t *number) {
    switch (value->type) {
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_INT64:
        if (value->as.integer < 0) return false;
        *number = (uint64_t)value->as.integer;
        return true;
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_UINT32:
    case LAGO_TYPE_TIMESTAMP: *number = value->as.unsigned_integer; return true;
    default: return false;
    }
}

static bool string_of(const lago_value_t *value, lago_string_t *string) {
    if (value->type != LAGO_TYPE_STRING && value->type != LAGO_TYPE_BYTES) return false;
    *string = value->as.string;
    return true;
}

static bool is_text(lago_string_t string, const char *text) {
    return string.size == strlen(text) && memcmp(string.data, text, string.size) == 0;
}

static bool is_same(lago_string_t a, lago_string_t b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---------------------------------------------------------------- counts */

static uint64_t count_of(const lago_message_t *message, const char *key) {
    lago_value_t value;
    uint64_t count = 0;
    return find(message, key, &value) && number_of(&value, &count) ? count : 0;
}

uint64_t lago_message_delivery_count(const lago_message_t *message) { return count_of(message, "x-delivery-count"); }

uint64_t lago_message_acquired_count(const lago_message_t *message) { return count_of(message, "x-acquired-count"); }

bool lago_message_stream_offset(const lago_message_t *message, uint64_t *offset) {
    lago_value_t value;
    uint64_t number;
    if (!find(message, "x-stream-offset", &value) || !number_of(&value, &number)) return false;
    if (offset) *offset = number;
    return true;
}

/* ---------------------------------------------------------------- deaths */

const char *lago_death_reason_name(lago_death_reason_t reason) {
    switch (reason) {
    case LAGO_DEATH_REJECTED: return "rejected";
    case LAGO_DEATH_EXPIRED: return "expired";
    case LAGO_DEATH_MAXLEN: return "maxlen";
    case LAGO_DEATH_DELIVERY_LIMIT: return "delivery_limit";
    case LAGO_DEATH_OTHER: break;
    }
    return "other";
}

static lago_death_reason_t reason_of(lago_string_t text) {
    for (int reason = LAGO_DEATH_REJECTED; reason <= LAGO_DEATH_DELIVERY_LIMIT; reason++)
        if (is_text(text, lago_death_reason_name((lago_death_reason_t)reason))) return (lago_death_reason_t)reason;
    return LAGO_DEATH_OTHER;
}

/* One entry of a table of x-death; what is unknown or of another type is passed over. */
static void read_member(lago_death_t *death, const lago_field_t *field) {
    const lago_value_t *value = &field->value;
    if (is_text(field->name, "queue"))
        (void)string_of(value, &death->queue);
    else if (is_text(field->name, "reason"))
        (void)string_of(value, &death->reason_text);
    else if (is_text(field->name, "exchange"))
        (void)string_of(value, &death->exchange);
    else if (is_text(field->name, "original-expiration"))
        (void)string_of(value, &death->original_expiration);
    else if (is_text(field->name, "count"))
        (void)number_of(value, &death->count);
    else if (is_text(field->name, "time"))
        (void)number_of(value, &death->time);
    else if (is_text(field->name, "routing-keys") && value->type == LAGO_TYPE_ARRAY)
        death->routing_keys = value->as.array;
}

static lago_death_t death_of(const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_death_t death = { .count = 0 };
    lago_field_t field;
    while (lago_table_next(&it, &field) == 1) read_member(&death, &field);
    death.reason = reason_of(death.reason_text);
    return death;
}

lago_death_iterator_t lago_message_deaths(const lago_message_t *message) {
    lago_value_t value;
    bool found = find(message, "x-death", &value) && value.type == LAGO_TYPE_ARRAY;
    return (lago_death_iterator_t){ lago_array_iterate(found ? &value.as.array : NULL) };
}

bool lago_death_next(lago_death_iterator_t *iterator, lago_death_t *death) {
    lago_value_t value;
    while (lago_array_next(&iterator->entries, &value) == 1) {
        if (value.type != LAGO_TYPE_TABLE) continue;
        *death = death_of(&value.as.table);
        return true;
    }
    return false;
}

/* The entry of that queue and reason: RabbitMQ has one for each pair. */
static void add_details(const lago_message_t *message, lago_death_t *death) {
    lago_death_iterator_t it = lago_message_deaths(message);
    for (lago_death_t entry; lago_death_next(&it, &entry);) {
        if (!is_same(entry.queue, death->queue) || !is_same(entry.reason_text, death->reason_text)) continue;
        lago_string_t exchange = death->exchange;
        *death = entry;
        if (exchange.data) death->exchange = exchange;
        return;
    }
}

static bool named_death(const lago_message_t *message, const char *const *keys, lago_death_t *death) {
    lago_value_t value;
    *death = (lago_death_t){ .count = 0 };
    if (!find(message, keys[0], &value) || !string_of(&value, &death->queue)) return false;
    if (find(message, keys[1], &value)) (void)string_of(&value, &death->reason_text);
    if (find(message, keys[2], &value)) (void)string_of(&value, &death->exchange);
    death->reason = reason_of(death->reason_text);
    add_details(message, death);
    return true;
}

bool lago_message_first_death(const lago_message_t *message, lago_death_t *death) {
    static const char *const keys[] = { "x-first-death-queue", "x-first-death-reason", "x-first-death-exchange" };
    lago_death_t found;
    return named_death(message, keys, death ? death : &found);
}

bool lago_message_last_death(const lago_message_t *message, lago_death_t *death) {
    static const char *const keys[] = { "x-last-death-queue", "x-last-death-reason", "x-last-death-exchange" };
    lago_death_t found;
    if (!death) death = &found;
    if (named_death(message, keys, death)) return true;
    lago_death_iterator_t it = lago_message_deaths(message);
    return lago_death_next(&it, death);
}

/* ---------------------------------------------------------------- time to live, timeouts */

const char *lago_expiration_format(lago_expiration_t *expiration, int64_t ttl_ms) {
    struct text t;
    if (!expiration) return NULL;
    if (ttl_ms < 0) ttl_ms = 0;
    if (ttl_ms > LAGO_EXPIRATION_MAX_MS) ttl_ms = LAGO_EXPIRATION_MAX_MS;
    text_init(&t, expiration->text, sizeof(expiration->text));
    text_addf(&t, "%lld", (long long)ttl_ms);
    return expiration->text;
}

bool lago_reason_is_consumer_timeout(const lago_reason_t *reason) {
    if (!reason || reason->origin != LAGO_BY_BROKER || reason->reply_code != REPLY_PRECONDITION_FAILED) return false;
    const char *words = strstr(reason->reply_text, "delivery acknowledgement on channel ");
    return words && strstr(words, " timed out");
}
