/*
 * lago's side of the interoperation tests, on its public interface only. Messages go in and out as lines of JSON, in which every
 * value has its type letter and every string is hexadecimal, so that nothing is lost or guessed:
 *
 *     {"properties": {"content_type": "746578", "priority": "3", "headers": [["6e", ["I", "42"]]]}, "size": 5, "seed": 7}
 *
 * Floats are the bits of IEEE 754, decimals "scale:value". The body is made from its size and seed; what comes in is told by its
 * size and its CRC-32.
 *
 *     peer publish QUEUE               publish the lines of stdin, confirmed and mandatory
 *     peer consume QUEUE COUNT         print so many messages
 *     peer forward FROM TO COUNT       send so many on with their properties as they came
 *     peer declare QUEUE               declare it, durable, with the arguments of stdin's line
 *     peer delete QUEUE                delete it
 */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <lago.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LINE_MAX_SIZE ((size_t)1 << 20)

struct held {
    struct held *next;
    _Alignas(max_align_t) char bytes[];
};

static struct {
    struct held *held;
    lago_connection_t *conn;
    lago_channel_t *ch;
    const char *to;
    long wanted, done;
    bool all_read; /* of the lines to publish */
} peer;

static _Noreturn void fail(const char *what, const lago_reason_t *reason) {
    char words[512] = "";
    if (reason) lago_reason_format(reason, words, sizeof(words));
    fprintf(stderr, "peer: %s %s\n", what, words);
    exit(1);
}

static void count_down(void) {
    peer.done++;
    if (peer.all_read && peer.done == peer.wanted) lago_connection_close(peer.conn, NULL);
}

/* ---------------------------------------------------------------- JSON to fields */

static const char *string_of(const cJSON *json) {
    if (!cJSON_IsString(json)) fail("a string is missing", NULL);
    return json->valuestring;
}

/* Memory that lives to the end, and is freed then. */
static void *hold(size_t count, size_t size) {
    struct held *held = calloc(1, sizeof(*held) + count * size);
    if (!held) fail("no memory", NULL);
    held->next = peer.held;
    peer.held = held;
    return held->bytes;
}

static void free_held(void) {
    for (struct held *held; (held = peer.held) != NULL;) {
        peer.held = held->next;
        free(held);
    }
}

static char *unhex(const cJSON *json, size_t *size) {
    const char *hex = string_of(json);
    *size = strlen(hex) / 2;
    char *bytes = hold(*size + 1, 1);
    for (size_t i = 0; i < *size; i++) {
        unsigned octet;
        if (sscanf(hex + 2 * i, "%2x", &octet) != 1) fail("bad hexadecimal", NULL);
        bytes[i] = (char)octet;
    }
    return bytes;
}

static lago_value_t value_from(const cJSON *json);

static lago_table_t table_from(const cJSON *json) {
    lago_field_t *fields = hold((size_t)cJSON_GetArraySize(json) + 1, sizeof(*fields));
    lago_table_t table = { .fields = fields };
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        lago_field_t *field = &fields[table.size++];
        field->name.data = unhex(cJSON_GetArrayItem(item, 0), &field->name.size);
        field->value = value_from(cJSON_GetArrayItem(item, 1));
    }
    return table;
}

static lago_array_t array_from(const cJSON *json) {
    lago_value_t *values = hold((size_t)cJSON_GetArraySize(json) + 1, sizeof(*values));
    lago_array_t array = { .values = values };
    const cJSON *item;
    cJSON_ArrayForEach(item, json) values[array.size++] = value_from(item);
    return array;
}

static lago_value_t value_from(const cJSON *json) {
    lago_value_t value = { .type = (lago_type_t)*string_of(cJSON_GetArrayItem(json, 0)) };
    const cJSON *given = cJSON_GetArrayItem(json, 1);
    uint64_t bits64;
    uint32_t bits32;
    switch (value.type) {
    case LAGO_TYPE_BOOLEAN: value.as.boolean = strcmp(string_of(given), "1") == 0; break;
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_INT64: value.as.integer = strtoll(string_of(given), NULL, 10); break;
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_UINT32:
    case LAGO_TYPE_TIMESTAMP: value.as.unsigned_integer = strtoull(string_of(given), NULL, 10); break;
    case LAGO_TYPE_FLOAT:
        bits32 = (uint32_t)strtoul(string_of(given), NULL, 16);
        memcpy(&value.as.single, &bits32, 4);
        break;
    case LAGO_TYPE_DOUBLE:
        bits64 = strtoull(string_of(given), NULL, 16);
        memcpy(&value.as.real, &bits64, 8);
        break;
    case LAGO_TYPE_DECIMAL:
        if (sscanf(string_of(given), "%" SCNu8 ":%" SCNu32, &value.as.decimal.scale, &value.as.decimal.value) != 2)
            fail("bad decimal", NULL);
        break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: value.as.string.data = unhex(given, &value.as.string.size); break;
    case LAGO_TYPE_TABLE: value.as.table = table_from(given); break;
    case LAGO_TYPE_ARRAY: value.as.array = array_from(given); break;
    case LAGO_TYPE_VOID: break;
    }
    return value;
}

static void read_text(const cJSON *json, const char *name, lago_property_t bit, const char **text, uint8_t *size,
                      lago_properties_t *p) {
    const cJSON *item = cJSON_GetObjectItem(json, name);
    size_t length;
    if (!item) return;
    *text = unhex(item, &length);
    *size = (uint8_t)length;
    p->present |= (uint16_t)bit;
}

static uint64_t read_number(const cJSON *json, const char *name, lago_property_t bit, lago_properties_t *p) {
    const cJSON *item = cJSON_GetObjectItem(json, name);
    if (!item) return 0;
    p->present |= (uint16_t)bit;
    return strtoull(string_of(item), NULL, 10);
}

#define TEXTS(XX)                                                                                                                \
    XX(content_type, CONTENT_TYPE)                                                                                               \
    XX(content_encoding, CONTENT_ENCODING)                                                                                       \
    XX(correlation_id, CORRELATION_ID)                                                                                           \
    XX(reply_to, REPLY_TO)                                                                                                       \
    XX(expiration, EXPIRATION)                                                                                                   \
    XX(message_id, MESSAGE_ID)                                                                                                   \
    XX(type, TYPE)                                                                                                               \
    XX(user_id, USER_ID)                                                                                                         \
    XX(app_id, APP_ID)                                                                                                           \
    XX(cluster_id, CLUSTER_ID)

static lago_properties_t properties_from(const cJSON *json) {
    lago_properties_t p = { 0 };
#define READ(name, bit) read_text(json, #name, LAGO_PROPERTY_##bit, &p.name, &p.sizes.name, &p);
    TEXTS(READ)
#undef READ
    p.delivery_mode = (uint8_t)read_number(json, "delivery_mode", LAGO_PROPERTY_DELIVERY_MODE, &p);
    p.priority = (uint8_t)read_number(json, "priority", LAGO_PROPERTY_PRIORITY, &p);
    p.timestamp = read_number(json, "timestamp", LAGO_PROPERTY_TIMESTAMP, &p);
    const cJSON *headers = cJSON_GetObjectItem(json, "headers");
    if (headers) {
        p.headers = table_from(headers);
        p.present |= LAGO_PROPERTY_HEADERS;
    }
    return p;
}

/* ---------------------------------------------------------------- fields to JSON */

static cJSON *hex(const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    char *text = calloc(size * 2 + 1, 1);
    for (size_t i = 0; i < size; i++) sprintf(text + 2 * i, "%02x", at[i]);
    cJSON *json = cJSON_CreateString(text);
    free(text);
    return json;
}

static cJSON *words(const char *format, ...) __attribute__((format(printf, 1, 2)));
static cJSON *words(const char *format, ...) {
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return cJSON_CreateString(text);
}

static cJSON *json_of(const lago_value_t *value);

static cJSON *json_of_table(const lago_table_t *table) {
    cJSON *json = cJSON_CreateArray();
    lago_table_iterator_t iterator = lago_table_iterate(table);
    lago_field_t field;
    int rc;
    while ((rc = lago_table_next(&iterator, &field)) == 1) {
        cJSON *item = cJSON_CreateArray();
        cJSON_AddItemToArray(item, hex(field.name.data, field.name.size));
        cJSON_AddItemToArray(item, json_of(&field.value));
        cJSON_AddItemToArray(json, item);
    }
    if (rc < 0) fail(lago_strerror(rc), NULL);
    return json;
}

static cJSON *json_of_array(const lago_array_t *array) {
    cJSON *json = cJSON_CreateArray();
    lago_array_iterator_t iterator = lago_array_iterate(array);
    lago_value_t value;
    while (lago_array_next(&iterator, &value) == 1) cJSON_AddItemToArray(json, json_of(&value));
    return json;
}

static cJSON *content_of(const lago_value_t *value) {
    uint64_t bits64;
    uint32_t bits32;
    switch (value->type) {
    case LAGO_TYPE_BOOLEAN: return words("%d", value->as.boolean);
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_INT64: return words("%" PRId64, value->as.integer);
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_UINT32:
    case LAGO_TYPE_TIMESTAMP: return words("%" PRIu64, value->as.unsigned_integer);
    case LAGO_TYPE_FLOAT: memcpy(&bits32, &value->as.single, 4); return words("%08" PRIx32, bits32);
    case LAGO_TYPE_DOUBLE: memcpy(&bits64, &value->as.real, 8); return words("%016" PRIx64, bits64);
    case LAGO_TYPE_DECIMAL: return words("%u:%" PRIu32, value->as.decimal.scale, value->as.decimal.value);
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: return hex(value->as.string.data, value->as.string.size);
    case LAGO_TYPE_TABLE: return json_of_table(&value->as.table);
    case LAGO_TYPE_ARRAY: return json_of_array(&value->as.array);
    case LAGO_TYPE_VOID: break;
    }
    return words("void");
}

static cJSON *json_of(const lago_value_t *value) {
    cJSON *json = cJSON_CreateArray();
    cJSON_AddItemToArray(json, words("%c", (char)value->type));
    cJSON_AddItemToArray(json, content_of(value));
    return json;
}

static cJSON *json_of_properties(const lago_properties_t *p) {
    cJSON *json = cJSON_CreateObject();
#define SHOW(name, bit)                                                                                                          \
    if (p->present & LAGO_PROPERTY_##bit) cJSON_AddItemToObject(json, #name, hex(p->name, p->sizes.name));
    TEXTS(SHOW)
#undef SHOW
    if (p->present & LAGO_PROPERTY_DELIVERY_MODE) cJSON_AddItemToObject(json, "delivery_mode", words("%u", p->delivery_mode));
    if (p->present & LAGO_PROPERTY_PRIORITY) cJSON_AddItemToObject(json, "priority", words("%u", p->priority));
    if (p->present & LAGO_PROPERTY_TIMESTAMP) cJSON_AddItemToObject(json, "timestamp", words("%" PRIu64, p->timestamp));
    if (p->present & LAGO_PROPERTY_HEADERS) cJSON_AddItemToObject(json, "headers", json_of_table(&p->headers));
    return json;
}

/* ---------------------------------------------------------------- bodies */

static uint8_t *make_body(size_t size, uint32_t seed) {
    uint8_t *body = malloc(size + 1);
    for (size_t i = 0; i < size; i++) body[i] = (uint8_t)(seed + i * 131 + (i >> 8) * 17);
    return body;
}

/* As zlib's. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    static uint32_t table[256];
    uint32_t crc = 0xffffffffu;
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] & 1 ? 0xedb88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return crc ^ 0xffffffffu;
}

/* ---------------------------------------------------------------- commands */

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)data;
    if (result->outcome != LAGO_PUBLISH_CONFIRMED) fail(lago_publish_outcome_name(result->outcome), result->reason);
    count_down();
}

static void publish_line(const char *line, const char *queue) {
    cJSON *json = cJSON_Parse(line);
    lago_properties_t properties = properties_from(cJSON_GetObjectItem(json, "properties"));
    size_t size = (size_t)cJSON_GetObjectItem(json, "size")->valuedouble;
    uint8_t *body = make_body(size, (uint32_t)cJSON_GetObjectItem(json, "seed")->valuedouble);
    lago_basic_publish_t args = { .routing_key = queue,
                                  .mandatory = true,
                                  .properties = &properties,
                                  .body = { body, size },
                                  .release_body = free,
                                  .release_data = body };
    int64_t rc = lago_basic_publish(peer.ch, &args, on_outcome, NULL);
    if (rc < 0) fail(lago_strerror((int)rc), NULL);
    peer.wanted++;
    cJSON_Delete(json);
}

static void publish_lines(const char *queue) {
    char *line = malloc(LINE_MAX_SIZE);
    lago_confirm_select(peer.ch, NULL, NULL, NULL);
    while (fgets(line, (int)LINE_MAX_SIZE, stdin)) publish_line(line, queue);
    free(line);
    peer.all_read = true;
    if (peer.done == peer.wanted) lago_connection_close(peer.conn, NULL);
}

static void print_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "properties", json_of_properties(message->properties));
    cJSON_AddItemToObject(json, "size", cJSON_CreateNumber((double)message->body.size));
    cJSON_AddItemToObject(json, "crc32", cJSON_CreateNumber(crc32_of(message->body.data, message->body.size)));
    char *line = cJSON_PrintUnformatted(json);
    puts(line);
    free(line);
    cJSON_Delete(json);
    lago_basic_ack(ch, message->delivery_tag, 0);
    count_down();
}

static void forward_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    lago_basic_publish_t args = { .routing_key = peer.to, .properties = message->properties, .body = message->body };
    (void)data;
    int64_t rc = lago_basic_publish(ch, &args, on_outcome, NULL);
    if (rc < 0) fail(lago_strerror((int)rc), NULL);
    lago_basic_ack(ch, message->delivery_tag, 0);
}

static void consume(const char *queue, const char *count, lago_message_cb on_message) {
    peer.wanted = strtol(count, NULL, 10);
    peer.all_read = true;
    lago_basic_qos(peer.ch, &(lago_basic_qos_t){ .prefetch_count = 50 }, NULL, NULL);
    lago_basic_consume(peer.ch, &(lago_basic_consume_t){ .queue = queue, .on_message = on_message }, NULL, NULL);
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    (void)ok;
    (void)data;
    if (reason) fail("declare", reason);
    lago_connection_close(peer.conn, NULL);
}

static void declare(const char *queue) {
    char *line = malloc(LINE_MAX_SIZE);
    if (!fgets(line, (int)LINE_MAX_SIZE, stdin)) fail("no arguments", NULL);
    cJSON *json = cJSON_Parse(line);
    lago_queue_declare_t args = { .queue = queue, .durable = true, .arguments = table_from(json) };
    lago_queue_declare(peer.ch, &args, on_declared, NULL);
    cJSON_Delete(json);
    free(line);
}

static void on_deleted(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    (void)ch;
    (void)message_count;
    (void)data;
    if (reason) fail("delete", reason);
    lago_connection_close(peer.conn, NULL);
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)data;
    if (reason->code != LAGO_ECLOSED) fail("connection", reason);
}

static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    (void)data;
    if (reason->code != LAGO_ECLOSED) fail("channel", reason);
}

/* Only from here on the agreed frame_max holds, which big headers need. */
static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    char **argv = data;
    int argc = 0;
    (void)ch;
    if (reason) fail("channel", reason);
    while (argv[argc]) argc++;
    if (argc == 3 && strcmp(argv[1], "publish") == 0) {
        publish_lines(argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "consume") == 0) {
        consume(argv[2], argv[3], print_message);
    } else if (argc == 5 && strcmp(argv[1], "forward") == 0) {
        peer.to = argv[3];
        lago_confirm_select(peer.ch, NULL, NULL, NULL);
        consume(argv[2], argv[4], forward_message);
    } else if (argc == 3 && strcmp(argv[1], "declare") == 0) {
        declare(argv[2]);
    } else if (argc == 3 && strcmp(argv[1], "delete") == 0) {
        lago_queue_delete(peer.ch, &(lago_queue_delete_t){ .queue = argv[2] }, on_deleted, NULL);
    } else {
        fail("usage: peer publish|consume|forward|declare|delete ...", NULL);
    }
}

int main(int argc, char **argv) {
    lago_connection_options_t options = { .on_open_error = on_end, .on_close = on_end };
    lago_channel_options_t channel = { .on_open = on_channel_open, .on_close = on_channel_close, .data = argv };
    lago_parameters_t *parameters;
    (void)argc;
    if (lago_parameters_parse(getenv("AMQP_URL"), &parameters, NULL) < 0) fail("AMQP_URL", NULL);
    parameters->high_water = SIZE_MAX / 2; /* what is forwarded is not held back */
    options.parameters = parameters;
    int rc = lago_connect(uv_default_loop(), NULL, &options, &peer.conn);
    lago_parameters_free(parameters);
    if (rc == 0) rc = lago_channel_open(peer.conn, &channel, &peer.ch);
    if (rc < 0) fail(lago_strerror(rc), NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    lago_connection_free(peer.conn);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    free_held();
    uv_loop_close(uv_default_loop());
    return 0;
}
