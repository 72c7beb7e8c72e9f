/* A TLS peer on the test's own loop: see peer.h. */
#include "peer.h"
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>

#define PROTOCOL_HEADER_SIZE 8u

#define must(done)                                                                                                               \
    do {                                                                                                                         \
        if (!(done)) die(#done);                                                                                                 \
    } while (0)

static void die(const char *what) {
    fprintf(stderr, "the peer fails by itself: %s\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

static void peer_write(struct peer *peer);

/* ---------------------------------------------------------------- the end */

static void on_client_closed(uv_handle_t *handle) {
    struct peer *peer = handle->data;
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    peer->has_client = false;
}

static void drop(struct peer *peer) {
    peer->ended = true;
    if (peer->has_client && !uv_is_closing((uv_handle_t *)&peer->client))
        uv_close((uv_handle_t *)&peer->client, on_client_closed);
}

void peer_reset(struct peer *peer) {
    if (!peer->has_client || uv_is_closing((uv_handle_t *)&peer->client)) return;
    peer->ended = true;
    if (uv_tcp_close_reset(&peer->client, on_client_closed) != 0) drop(peer);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status) {
    (void)status;
    free(shutdown);
}

/* A half: what the client still says is to be seen. */
void peer_hang_up(struct peer *peer) {
    if (peer->ended) return;
    peer->ended = true;
    if (peer->pending.size > 0 || peer->writing.len > 0) return; /* behind it */
    uv_shutdown_t *shutdown = malloc(sizeof *shutdown);
    must(shutdown);
    if (uv_shutdown(shutdown, (uv_stream_t *)&peer->client, on_shutdown) != 0) free(shutdown);
}

/* ---------------------------------------------------------------- out */

static void on_written(uv_write_t *write, int status) {
    struct peer *peer = write->data;
    free(peer->writing.base);
    peer->writing.len = 0;
    if (status < 0 || uv_is_closing((uv_handle_t *)&peer->client)) return;
    if (peer->pending.size == 0 && peer->flooding && !peer->ended) {
        peer->flooding = peer->script->flood(peer);
        peer_collect(peer);
    }
    if (peer->pending.size > 0) {
        peer_write(peer);
    } else if (peer->ended) {
        peer->ended = false;
        peer_hang_up(peer);
    }
}

static void peer_write(struct peer *peer) {
    size_t size = peer->script->one_by_one ? 1 : peer->pending.size;
    if (peer->writing.len > 0 || peer->pending.size == 0 || uv_is_closing((uv_handle_t *)&peer->client)) return;
    peer->writing = uv_buf_init(malloc(size), (unsigned)size);
    must(peer->writing.base);
    memcpy(peer->writing.base, peer->pending.data, size);
    blob_drop(&peer->pending, size);
    peer->write.data = peer;
    must(uv_write(&peer->write, (uv_stream_t *)&peer->client, &peer->writing, 1, on_written) == 0);
}

void peer_send(struct peer *peer, const void *data, size_t size) {
    enum peer_fate fate = peer->script->fate;
    size_t before = peer->sent_size, at = peer->script->at;
    if (peer->ended || size == 0) return;
    peer->sent_size += size;
    bool strikes = fate != PEER_GOES_ON && before <= at && at < peer->sent_size;
    if (fate == PEER_STALLS && before > at) return;
    blob_add(&peer->pending, data, strikes && fate != PEER_FLIPS ? at - before : size);
    if (strikes && fate == PEER_FLIPS) peer->pending.data[peer->pending.size - size + at - before] ^= (uint8_t)(1u << at % 8);
    peer_write(peer);
    if (strikes && fate == PEER_CUTS) peer_hang_up(peer);
    if (strikes && fate == PEER_RESETS) peer_reset(peer);
}

void peer_collect(struct peer *peer) {
    struct blob flight = { 0 };
    int size;
    uint8_t *room;
    while ((size = (int)BIO_ctrl_pending(peer->out)) > 0) {
        room = blob_grow(&flight, (size_t)size);
        must(BIO_read(peer->out, room, size) == size);
    }
    if (flight.size > 0 && peer->sent_size == 0 && peer->script->edit) peer->script->edit(peer, &flight);
    peer_send(peer, flight.data, flight.size);
    blob_free(&flight);
}

void peer_say(struct peer *peer, const void *data, size_t size) {
    size_t step = peer->script->one_byte_records ? 1 : size;
    for (size_t i = 0; i < size && !peer->ended; i += step) must(SSL_write(peer->ssl, (const char *)data + i, (int)step) > 0);
    peer_collect(peer);
}

/* ---------------------------------------------------------------- AMQP */

const uint8_t peer_start[PEER_START_SIZE] = { 1, 0, 0, 0,   0,   0,   28,  0,   10, 0, 10, 0, 9,   0,   0,   0,   0,   0,
                                              0, 0, 5, 'P', 'L', 'A', 'I', 'N', 0,  0, 0,  5, 'e', 'n', '_', 'U', 'S', 0xCE };
static const uint8_t tune[] = { 1, 0, 0, 0, 0, 0, 12, 0, 10, 0, 30, 0x07, 0xFF, 0, 2, 0, 0, 0, 60, 0xCE };
static const uint8_t open_ok[] = { 1, 0, 0, 0, 0, 0, 5, 0, 10, 0, 41, 0, 0xCE };
static const uint8_t close_ok[] = { 1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 0xCE };

static void answer(struct peer *peer, unsigned method) {
    switch (method) {
    case 11: /* start-ok */
        if (peer->script->hangs_up_once && peer->client_count == 1) {
            SSL_shutdown(peer->ssl);
            peer_collect(peer);
            peer_hang_up(peer);
        } else {
            peer_say(peer, tune, sizeof tune);
        }
        break;
    case 40: peer_say(peer, open_ok, sizeof open_ok); break;
    case 50: peer_say(peer, close_ok, sizeof close_ok); break;
    default: break;
    }
}

static void greet(struct peer *peer) {
    if (peer->script->greeted)
        peer->script->greeted(peer);
    else
        peer_say(peer, peer_start, sizeof peer_start);
}

static void converse(struct peer *peer) {
    const struct blob *in = &peer->plain;
    if (peer->parsed == 0 && in->size >= PROTOCOL_HEADER_SIZE) {
        peer->parsed = PROTOCOL_HEADER_SIZE;
        greet(peer);
    }
    while (peer->parsed > 0 && peer->parsed + 7 <= in->size && !peer->ended) {
        const uint8_t *frame = in->data + peer->parsed;
        size_t size = (size_t)frame[4] << 16 | (size_t)frame[5] << 8 | frame[6];
        if (peer->parsed + 8 + size > in->size) return;
        peer->parsed += 8 + size;
        if (frame[0] == 1 && frame[8] == 10) answer(peer, frame[10]);
    }
}

/* ---------------------------------------------------------------- TLS */

static void fail(struct peer *peer) {
    ERR_clear_error();
    peer_collect(peer); /* the alert */
    if (!peer->script->stays) peer_hang_up(peer);
}

static void begin(struct peer *peer) {
    const struct peer_script *script = peer->script;
    bool is_old = SSL_version(peer->ssl) < TLS1_3_VERSION; /* there the server has the last word of the handshake */
    peer->secure = true;
    peer->resumed = SSL_session_reused(peer->ssl);
    if (!is_old) peer->flight_size = peer->sent_size;
    peer_collect(peer);
    if (is_old) peer->flight_size = peer->sent_size;
    peer->mute = script->secured && script->secured(peer);
    peer->flooding = script->flood && !peer->ended && script->flood(peer);
    peer_collect(peer);
}

static void shake(struct peer *peer) {
    ERR_clear_error();
    int rc = SSL_accept(peer->ssl);
    if (rc == 1)
        begin(peer);
    else if (SSL_get_error(peer->ssl, rc) == SSL_ERROR_WANT_READ)
        peer_collect(peer);
    else
        fail(peer);
}

static void decrypt(struct peer *peer) {
    char data[4096];
    int got, error;
    ERR_clear_error();
    while ((got = SSL_read(peer->ssl, data, sizeof data)) > 0) blob_add(&peer->plain, data, (size_t)got);
    error = SSL_get_error(peer->ssl, got);
    if (!peer->mute && !peer->flooding) converse(peer);
    if (error == SSL_ERROR_WANT_READ)
        peer_collect(peer);
    else if (error != SSL_ERROR_ZERO_RETURN) /* close_notify: the client hangs up by itself */
        fail(peer);
}

/* ---------------------------------------------------------------- in */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
    static char room[65536];
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(room, sizeof room);
}

static void say_greeting(struct peer *peer) {
    peer_send(peer, peer->script->greeting.data, peer->script->greeting.size);
    peer->flooding = peer->script->flood && peer->script->flood(peer);
    if (peer->script->greeting.closes) peer_hang_up(peer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct peer *peer = stream->data;
    if (size < 0) {
        if (peer->secure && peer->script->is_deaf) decrypt(peer);
        drop(peer);
        return;
    }
    bool first = peer->raw.size == 0;
    blob_add(&peer->raw, buffer->base, (size_t)size);
    if (peer->script->greeting.answers && first) say_greeting(peer);
    if (!peer->ssl || peer->script->greeting.data) return;
    must(BIO_write(peer->in, buffer->base, (int)size) == size);
    if (!peer->secure) shake(peer);
    if (peer->secure && !(peer->flooding && peer->script->is_deaf)) decrypt(peer);
}

static void begin_tls(struct peer *peer) {
    peer->ssl = SSL_new(peer->script->ctx);
    peer->in = BIO_new(BIO_s_mem());
    peer->out = BIO_new(BIO_s_mem());
    must(peer->ssl && peer->in && peer->out);
    BIO_set_mem_eof_return(peer->in, -1);
    SSL_set_bio(peer->ssl, peer->in, peer->out);
    SSL_set_accept_state(peer->ssl);
    SSL_set_app_data(peer->ssl, peer);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct peer *peer = listener->data;
    must(status == 0 && !peer->has_client);
    must(uv_tcp_init(listener->loop, &peer->client) == 0);
    must(uv_accept(listener, (uv_stream_t *)&peer->client) == 0);
    uv_tcp_nodelay(&peer->client, 1);
    peer->client.data = peer;
    peer->has_client = true;
    peer->client_count++;
    peer->secure = peer->mute = peer->ended = peer->flooding = false;
    peer->parsed = peer->plain.size = peer->sent_size = 0;
    peer->pending.size = 0;
    if (peer->script->ctx) begin_tls(peer);
    must(uv_read_start((uv_stream_t *)&peer->client, on_alloc, on_read) == 0);
    if (peer->script->greeting.data && !peer->script->greeting.answers) say_greeting(peer);
}

/* ---------------------------------------------------------------- life */

void peer_listen(struct peer *peer, uv_loop_t *loop, const struct peer_script *script) {
    struct sockaddr_in address;
    int size = sizeof address;
    *peer = (struct peer){ .script = script };
    must(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    must(uv_tcp_init(loop, &peer->listener) == 0);
    must(uv_tcp_bind(&peer->listener, (struct sockaddr *)&address, 0) == 0);
    must(uv_listen((uv_stream_t *)&peer->listener, 8, on_connection) == 0);
    must(uv_tcp_getsockname(&peer->listener, (struct sockaddr *)&address, &size) == 0);
    peer->listener.data = peer;
    peer->port = ntohs(address.sin_port);
}

void peer_close(struct peer *peer) {
    drop(peer);
    uv_close((uv_handle_t *)&peer->listener, NULL);
}

void peer_free(struct peer *peer) {
    SSL_free(peer->ssl);
    blob_free(&peer->raw);
    blob_free(&peer->plain);
    blob_free(&peer->pending);
}

/* ---------------------------------------------------------------- its context */

static unsigned nibble(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10); }

static void on_key(const SSL *ssl, const char *line) {
    static const char label[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct peer *peer = SSL_get_app_data(ssl);
    const char *hex = strrchr(line, ' ');
    if (strncmp(line, label, sizeof label - 1) != 0 || !hex) return;
    hex++;
    peer->secret_size = strlen(hex) / 2;
    must(peer->secret_size <= sizeof peer->secret);
    for (size_t i = 0; i < peer->secret_size; i++) peer->secret[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
}

SSL_CTX *peer_context(X509 *certificate, EVP_PKEY *key) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    must(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* sessions live in tickets, not in the memory that is measured */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"badpeers", 8);
    SSL_CTX_set_keylog_callback(ctx, on_key);
    must(SSL_CTX_set_min_proto_version(ctx, SSL3_VERSION));
    if (!certificate) return ctx;
    must(SSL_CTX_use_certificate(ctx, certificate));
    must(SSL_CTX_use_PrivateKey(ctx, key));
    return ctx;
}
