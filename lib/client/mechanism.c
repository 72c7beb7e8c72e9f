/* The login mechanisms that lago has itself: their first and only response (1.4.2.2). Knows no connection. */
#include "mechanism.h"
#include "alloc.h"
#include "table.h"
#include "writer.h"
#include <string.h>

bool mechanism_is_offered(lago_bytes_t offered, const char *name) {
    const char *at = offered.data, *end = at + offered.size;
    size_t size = strlen(name);
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t token = (size_t)((space ? space : end) - at);
        if (token == size && memcmp(at, name, size) == 0) return true;
        at += token + 1;
        if (!space) break;
    }
    return false;
}

/* RFC 4616: authorization id (none), NUL, user, NUL, password. */
static uint8_t *plain_response(const lago_allocator_t *alloc, const lago_credentials_t *who, size_t *size) {
    size_t user = strlen(who->username), password = strlen(who->password);
    *size = 1 + user + 1 + password;
    uint8_t *response = mem_zero(alloc, *size, 1);
    if (!response) return NULL;
    memcpy(response + 1, who->username, user);
    memcpy(response + 1 + user + 1, who->password, password);
    return response;
}

/* RabbitMQ: a table without its size. */
static uint8_t *amqplain_response(const lago_allocator_t *alloc, const lago_credentials_t *who, size_t *size) {
    lago_field_t fields[] = { lago_field_str("LOGIN", who->username), lago_field_str("PASSWORD", who->password) };
    lago_table_t table = LAGO_TABLE_OF(fields);
    struct writer w = writer_measure();
    table_write(&w, &table);
    size_t whole = w.size;
    uint8_t *response = mem_alloc(alloc, whole);
    if (!response) return NULL;
    w = writer_over(response, whole);
    table_write(&w, &table);
    *size = whole - 4;
    memmove(response, response + 4, *size);
    return response;
}

const struct mechanism *mechanism_choose(lago_bytes_t offered, unsigned allowed) {
    static const struct mechanism ours[] = {
        { LAGO_MECHANISM_PLAIN, "PLAIN", plain_response },
        { LAGO_MECHANISM_AMQPLAIN, "AMQPLAIN", amqplain_response },
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if ((allowed & ours[i].bit) && mechanism_is_offered(offered, ours[i].name)) return &ours[i];
    return NULL;
}
