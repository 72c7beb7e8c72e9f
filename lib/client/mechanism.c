/* The login mechanisms that lago has itself: their first and only response (1.4.2.2). Knows no connection. */
#include "mechanism.h"
#include "alloc.h"
#include "table.h"
#include "writer.h"
#include <string.h>

#define TABLE_SIZE_OCTETS 4u

static bool same(lago_string_t a, lago_string_t b) { return a.size == b.size && memcmp(a.data, b.data, a.size) == 0; }

bool mechanism_next(lago_string_t *list, lago_string_t *word) {
    while (list->size > 0 && *list->data == ' ') *list = (lago_string_t){ list->data + 1, list->size - 1 };
    if (list->size == 0) return false;
    const char *space = memchr(list->data, ' ', list->size);
    *word = (lago_string_t){ list->data, space ? (size_t)(space - list->data) : list->size };
    *list = (lago_string_t){ list->data + word->size, list->size - word->size };
    return true;
}

bool mechanism_is_in(lago_string_t list, lago_string_t name) {
    lago_string_t word;
    while (mechanism_next(&list, &word))
        if (same(word, name)) return true;
    return false;
}

/* RFC 4616: authorization id (none), NUL, user, NUL, password. */
static uint8_t *plain_response(const lago_allocator_t *alloc, const char *username, const char *password, size_t *size) {
    size_t user_size = strlen(username), password_size = strlen(password);
    *size = 1 + user_size + 1 + password_size;
    uint8_t *response = mem_zero(alloc, *size, 1);
    if (!response) return NULL;
    memcpy(response + 1, username, user_size);
    memcpy(response + 1 + user_size + 1, password, password_size);
    return response;
}

/* RabbitMQ: a table without its size. */
static uint8_t *amqplain_response(const lago_allocator_t *alloc, const char *username, const char *password, size_t *size) {
    lago_field_t fields[] = { lago_field_str("LOGIN", username), lago_field_str("PASSWORD", password) };
    lago_table_t table = LAGO_TABLE_OF(fields);
    struct writer w = writer_measure();
    table_write(&w, &table);
    size_t whole = w.size;
    uint8_t *response = mem_alloc(alloc, whole);
    if (!response) return NULL;
    w = writer_over(response, whole);
    table_write(&w, &table);
    *size = whole - TABLE_SIZE_OCTETS;
    memmove(response, response + TABLE_SIZE_OCTETS, *size);
    mem_wipe(response + *size, TABLE_SIZE_OCTETS); /* the password's end */
    return response;
}

const struct mechanism *mechanism_find(lago_string_t name) {
    static const struct mechanism ours[] = {
        { "PLAIN", plain_response },
        { "AMQPLAIN", amqplain_response },
        { "EXTERNAL", NULL }, /* RFC 4422, appendix A: no authorization id of one's own; RabbitMQ reads the certificate */
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (same(name, (lago_string_t){ ours[i].name, strlen(ours[i].name) })) return &ours[i];
    return NULL;
}
