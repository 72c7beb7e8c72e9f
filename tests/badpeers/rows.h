/* The rows of the table: what is wrong with each peer, and what lago must make of it. */
#ifndef BADPEERS_ROWS_H
#define BADPEERS_ROWS_H

#include "scene.h"

enum row_kind {
    ROW_GOOD,    /* nothing: must open, or refusals mean nothing */
    ROW_REFUSED, /* must end in the handshake, before one byte of AMQP */
    ROW_BROKEN   /* trusted, goes wrong behind the handshake: no more than the protocol header */
};

#define ROW_CODES_MAX 4

struct row {
    const char *name;
    void (*set)(struct scene *scene);
    enum row_kind kind;
    int codes[ROW_CODES_MAX]; /* one of these; none when it must open */
    long verify_result;       /* X509_V_* with LAGO_ECERTIFICATE */
    enum peer_fate sweep;     /* if it is one: once for each byte of the peer's handshake, or */
    bool sweeps_start;        /* of the record with connection.start behind it */
};

struct rows {
    const char *title;
    const struct row *rows;
    size_t count;
};

extern const struct rows good_rows, certificate_rows, handshake_rows, byte_rows, running_rows;

#endif
