/*
 * Dictionaries as Python or JSON writes them, {'TCP_KEEPIDLE': 60}, as tables: what pika's URL keys client_properties,
 * ssl_options and tcp_options hold. Strict: no expressions, no prefixes, no repeated names.
 */
#ifndef LAGO_CLIENT_LITERAL_H
#define LAGO_CLIENT_LITERAL_H

#include <lago/context.h>
#include <lago/table.h>

/* Dictionaries and lists inside each other. Half of what tables may have, and more than anybody writes into a URL. */
#define LITERAL_DEPTH_MAX 16u

/*
 * What may be read at all. connection.start-ok carries the properties and goes out before frames above 4096 bytes are agreed
 * (AMQP 0-9-1, 4.2.3); in its longest spelling, \xNN, a byte takes four.
 */
#define LITERAL_SIZE_MAX 16384u

struct literal_block;

struct literal {
    lago_table_t table;  /* fields; None and null are an empty table */
    bool none;           /* and it was None or null */
    const char *problem; /* on error: what is wrong, in words without the text */
    size_t at;           /* on error: where */
    const lago_allocator_t *alloc;
    struct literal_block *blocks;
};

/*
 * Read a dictionary, whole. 0; LAGO_ETABLE: `problem` says what is wrong; LAGO_ENOMEM. Always free it with literal_free.
 *
 * Integers become INT32 or, if too large, INT64; numbers with fraction or exponent DOUBLE; True, true BOOLEAN; None, null
 * VOID; lists and tuples ARRAY; strings STRING in UTF-8.
 */
int literal_parse(struct literal *literal, const lago_allocator_t *alloc, const char *text, size_t size);

/* Wiped first: it may have held a password. */
void literal_free(struct literal *literal);

#endif
