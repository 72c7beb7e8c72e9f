/*
 * lago's filter and a server by OpenSSL, with nothing but memory between them. The test decides in what pieces the bytes go over,
 * which of them are changed, and when no more come. What either side hears is collected.
 */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include "certs.h"
#include "fail_alloc.h"
#include "tls_filter.h"
#include <openssl/ssl.h>

#define PAIR_NAME "broker.example"

/* Bytes that came together. */
struct heap {
    uint8_t *data;
    size_t size, capacity;
};

enum pair_split { SPLIT_NONE, SPLIT_BYTES, SPLIT_RANDOM };

struct pair {
    /* What the test may set before pair_begin. */
    lago_tls_options_t options; /* without any ca, the authority of the pair is trusted */
    const char *host;           /* default PAIR_NAME */
    SSL_CTX *server_ctx;        /* with the certificate of pair_leaf */
    enum pair_split split;      /* both ways */
    size_t cut_at;              /* of what the server sends, no more comes than so many bytes */
    size_t flip_at;             /* in what the server sends, this byte is changed */
    size_t read_size;           /* the filter is asked for so much at once; 0: much */

    struct fail_alloc memory;
    lago_reason_t reason; /* why pair_begin failed */
    struct tls_context *context;
    struct tls_filter *filter;
    SSL *server;
    bool server_ended;               /* it takes no more: an error, or close_notify */
    int done;                        /* what tls_filter_handshake said last */
    int end;                         /* what tls_filter_read said last, if it was no size: 0, TLS_CLOSED, TLS_FAILED */
    struct heap heard, server_heard; /* plaintext: by the client, by the server */
    struct heap sent;                /* ciphertext of the client, all there was */
    size_t server_sent;              /* bytes of the server, all there were */
    struct heap input;               /* what the filter reads from */
    char server_name[64], alpn[64];  /* that the client asked for */
    unsigned random;                 /* state of SPLIT_RANDOM */
};

/* Certificates that all tests share: group fixtures. */
int pair_make_certs(void **state);
int pair_free_certs(void **state);
extern struct cert *pair_ca, *pair_leaf, *pair_stranger_ca; /* pair_leaf: DNS:broker.example,IP:127.0.0.1,IP:::1 */
extern char *pair_ca_pem, *pair_stranger_pem;

/* Fixtures of a test: *state becomes a struct pair. The teardown frees what is left, and then nothing may live. */
int pair_setup(void **state);
int pair_teardown(void **state);

/* The server shows another certificate (to clients that know no ECDSA, only one by Ed25519). `between` may be NULL. */
void pair_show(struct pair *p, const struct cert *leaf, const struct cert *between);

/* Make the context if there is none, and the filter, and a fresh server. 0, or what tls_context_new or tls_filter_new says. */
int pair_begin(struct pair *p);

/* Free the filter and the server; the context stays, with its session, for the next pair_begin. */
void pair_end(struct pair *p);
void pair_forget_context(struct pair *p);

/* Move bytes until none move any more; shake hands; read what comes. */
void pair_run(struct pair *p);

/* pair_begin and pair_run: the handshake is done. Or it must fail: the reason of that. */
void pair_open(struct pair *p);
const lago_reason_t *pair_refused(struct pair *p);

/* Both of these must take all of it. */
void pair_say(struct pair *p, const void *data, size_t size);
void pair_server_says(struct pair *p, const void *data, size_t size);

/* Give the filter ciphertext from nowhere. */
void pair_feed(struct pair *p, const void *data, size_t size);

/* The texts of a reason: its code, and its detail and hint together contain these. */
void pair_expect(const lago_reason_t *reason, int code, const char *words, const char *hint);

void heap_add(struct heap *heap, const void *data, size_t size);
void heap_free(struct heap *heap);

#endif
