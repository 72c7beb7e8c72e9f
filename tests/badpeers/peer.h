/*
 * A TLS peer on the test's own loop: listens on the loopback, is OpenSSL's server side between memory BIOs, speaks as much AMQP as
 * it takes to open a connection, and does wrong what its script says. It keeps all that the client sent, encrypted and in clear.
 * Knows nothing of lago.
 */
#ifndef BADPEERS_PEER_H
#define BADPEERS_PEER_H

#include "blob.h"
#include <openssl/ssl.h>
#include <uv.h>

struct peer;

/* What becomes of the peer's stream at byte `at`. */
enum peer_fate {
    PEER_GOES_ON,
    PEER_CUTS,   /* FIN before this byte */
    PEER_RESETS, /* RST before it */
    PEER_STALLS, /* nothing more comes */
    PEER_FLIPS   /* one bit of it is wrong */
};

/* All zero: a good broker. */
struct peer_script {
    SSL_CTX *ctx; /* NULL: it knows no TLS, and says only `greeting` */
    struct {      /* said when a client comes (or, `answers`, when it has said something), instead of all else */
        const void *data;
        size_t size;
        bool answers;
        bool closes; /* then hang up */
    } greeting;
    enum peer_fate fate;
    size_t at;
    bool one_by_one; /* each byte of the stream in a segment of its own */
    /* Change the first flight (ServerHello ...) before it leaves. */
    void (*edit)(struct peer *peer, struct blob *flight);
    /* TLS is up; said by the peer before anything else. True: this is all, no AMQP. */
    bool (*secured)(struct peer *peer);
    /* Instead of connection.start, when the protocol header came. */
    void (*greeted)(struct peer *peer);
    /* Called again and again from now on, whenever the kernel has taken all. False: enough. */
    bool (*flood)(struct peer *peer);
    bool is_deaf;          /* while it floods, OpenSSL does not hear the client: it would give up */
    bool one_byte_records; /* AMQP goes out in records of one byte */
    bool hangs_up_once;    /* the first client is left alone behind its start-ok */
    bool stays;            /* TLS failed: say nothing more, but do not hang up */
};

struct peer {
    uv_tcp_t listener, client;
    const struct peer_script *script;
    void *data; /* the script's */
    unsigned port;
    SSL *ssl;
    BIO *in, *out;
    /* what the clients sent */
    struct blob raw;   /* as it came */
    struct blob plain; /* decrypted */
    size_t parsed;     /* of `plain`, as AMQP */
    /* what is said */
    struct blob pending; /* not handed to the kernel yet */
    size_t sent_size;    /* all, by number: where the fate strikes */
    size_t flight_size;  /* of these, before the client's last word in the handshake */
    uv_write_t write;
    uv_buf_t writing;
    unsigned client_count;
    bool has_client, secure, mute, resumed, ended, flooding;
    uint8_t secret[64]; /* SERVER_TRAFFIC_SECRET_0 (RFC 8446, 7.1) */
    size_t secret_size;
};

void peer_listen(struct peer *peer, uv_loop_t *loop, const struct peer_script *script);
void peer_close(struct peer *peer); /* its handles; the loop must run */
void peer_free(struct peer *peer);  /* behind that */

/* Say bytes inside of TLS, or as they are; hang up, behind what was said. */
void peer_say(struct peer *peer, const void *data, size_t size);
void peer_send(struct peer *peer, const void *data, size_t size);
void peer_collect(struct peer *peer); /* send what OpenSSL has put out */
void peer_hang_up(struct peer *peer);
void peer_reset(struct peer *peer);

/* connection.start, a whole frame (1.4.2.1). */
#define PEER_START_SIZE 36u
extern const uint8_t peer_start[PEER_START_SIZE];

/* A server's context that takes anything: the script's own ideas of safety are the client's business. */
SSL_CTX *peer_context(X509 *certificate, EVP_PKEY *key);

#endif
