/*
 * Methods (AMQP 0-9-1, 1.4 to 1.9, and RabbitMQ's extensions): one engine walks the tables that spec/generate.py made of the
 * specification's XML. Pure functions.
 *
 * method_spec.h (generated) has: enum method_id (METHOD_QUEUE_DECLARE = class << 16 | method), one struct per method
 * (struct queue_declare { ... }, members named as in the specification with '_' for '-'; "reserved" fields are left out),
 * union method_args over all of them, and the reply codes (REPLY_NOT_FOUND = 404 ...).
 * Types in the structs: bit -> bool, octet/short/long/longlong -> uintN_t, shortstr -> lago_string_t, longstr -> lago_bytes_t,
 * table -> lago_table_t (raw views after decoding).
 */
#ifndef LAGO_CODEC_METHOD_H
#define LAGO_CODEC_METHOD_H

#include "method_spec.h"
#include "text.h"
#include "writer.h"
#include <stdbool.h>
#include <stdint.h>

enum field_type { FIELD_BIT, FIELD_OCTET, FIELD_SHORT, FIELD_LONG, FIELD_LONGLONG, FIELD_SHORTSTR, FIELD_LONGSTR, FIELD_TABLE };

struct method_field {
    const char *name; /* as in the specification: "if-unused" is "if_unused" here */
    uint8_t type;     /* enum field_type */
    bool reserved;    /* on the wire, always zero or empty; not in the struct */
    bool secret; /* never printed: connection.start-ok response, secure-ok response, secure challenge, update-secret new_secret */
    uint16_t offset; /* in the method's struct */
};

struct method_info {
    uint32_t id;
    const char *name; /* "queue.declare-ok" */
    const struct method_field *fields;
    uint8_t field_count;
    bool content;        /* followed by a header and bodies */
    bool from_server;    /* a client may receive it */
    bool from_client;    /* a server may receive it */
    uint32_t replies[2]; /* the methods that answer it, 0: none */
};

/* NULL for a method that does not exist. */
const struct method_info *method_find(uint32_t id);
const struct method_info *method_find_name(const char *name, size_t size);

/* All methods in order, for tests and tables. NULL beyond the last. */
const struct method_info *method_at(size_t index);

/* Write class, method and arguments. `args` is the method's struct. Errors stick in the writer. */
void method_write(struct writer *w, const struct method_info *info, const void *args);

/*
 * Read a method frame's payload, whole. Strings and tables in `args` are views.
 * @return 0, or the reply code to close the connection with: 501 (no room for class and method), 502 (cut short or trailing
 * bytes), 540 (no such method). *info is set when the method is known, also on 502.
 */
int method_read(const void *payload, size_t size, const struct method_info **info, union method_args *args);

/* Put a NUL behind every short string, on octets that have been read already: payload and end octet must be writable. */
void method_terminate(const struct method_info *info, union method_args *args);

/* "queue.declare queue="q" durable=1 arguments={...}": zero, false and empty arguments are left out, secrets are "<secret>". */
void method_print(struct text *t, const struct method_info *info, const void *args);

#endif
