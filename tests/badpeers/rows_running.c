/* Peers that are trusted, and break TLS as soon as it is up: the client may have said its protocol header, and no more. */
#include "rows.h"

#define SHORT_MS 400u

static struct forge forged;

static bool tls_1_3_ready(struct scene *s, bool (*secured)(struct peer *peer)) {
    s->script.secured = secured;
    s->script.stays = true;
    return SSL_CTX_set_min_proto_version(s->script.ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_ciphersuites(s->script.ctx, "TLS_AES_128_GCM_SHA256");
}

/* ---------------------------------------------------------------- the end of the link */

static bool truncate(struct peer *peer) {
    peer_hang_up(peer);
    return true;
}
static void truncated(struct scene *s) { s->script.secured = truncate; }

static bool reset(struct peer *peer) {
    peer_reset(peer);
    return true;
}
static void was_reset(struct scene *s) { s->script.secured = reset; }

static bool say_goodbye(struct peer *peer) {
    SSL_shutdown(peer->ssl);
    peer_collect(peer);
    peer_hang_up(peer);
    return true;
}
static void goodbye(struct scene *s) { s->script.secured = say_goodbye; }

static void say_half(struct peer *peer) {
    peer_say(peer, peer_start, PEER_START_SIZE / 2);
    peer_hang_up(peer);
}
static void half_a_frame(struct scene *s) { s->script.greeted = say_half; }

static void say_half_and_goodbye(struct peer *peer) {
    peer_say(peer, peer_start, PEER_START_SIZE / 2);
    SSL_shutdown(peer->ssl);
    peer_collect(peer);
    peer_hang_up(peer);
}
static void half_a_frame_and_goodbye(struct scene *s) { s->script.greeted = say_half_and_goodbye; }

static void say_half_and_wait(struct peer *peer) { peer_say(peer, peer_start, PEER_START_SIZE / 2); }
static void half_a_frame_and_silence(struct scene *s) {
    s->script.greeted = say_half_and_wait;
    s->parameters.stack_timeout_ms = SHORT_MS;
}

static void say_http(struct peer *peer) { peer_say(peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28); }
static void https(struct scene *s) { s->script.greeted = say_http; }

/* ---------------------------------------------------------------- clients' certificates, TLS 1.3: told behind the handshake */

static void demand(struct scene *s) {
    SSL_CTX_set_verify(s->script.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(s->script.ctx), scene_ca->x509);
}

static void refuse(struct scene *s) {
    struct cert *stranger =
        scene_cert(s, &(struct cert_options){ .subject = "client", .issuer = scene_stranger_ca, .usage = "clientAuth" });
    const struct cert *chain[] = { stranger };
    char *pem = scene_text(s, cert_pem(chain, 1)), *key = scene_text(s, cert_key_pem(stranger, NULL));
    demand(s);
    s->tls.certificate_pem = (lago_bytes_t){ (const uint8_t *)pem, strlen(pem) };
    s->tls.key_pem = (lago_bytes_t){ (const uint8_t *)key, strlen(key) };
}

/* ---------------------------------------------------------------- records that must not be */

#define FORGES(name, type, content, size, padding)                                                                               \
    static bool forge_##name(struct peer *peer) {                                                                                \
        forge_init(&forged, peer);                                                                                               \
        forge_send(&forged, type, content, size, padding);                                                                       \
        return true;                                                                                                             \
    }                                                                                                                            \
    static void name(struct scene *s) {                                                                                          \
        if (!tls_1_3_ready(s, forge_##name)) abort();                                                                            \
    }

static uint8_t many[20000];

FORGES(unknown_type, 99, "x", 1, 0)
FORGES(heartbeat, 24, "\x02\x40\x00", 3, 0)
FORGES(no_type, 0, NULL, 0, 64)
FORGES(oversize, RECORD_DATA, many, 16385, 0)
FORGES(overpadded, RECORD_DATA, "x", 1, 16640)
FORGES(cipher_change, RECORD_CHANGE_CIPHER_SPEC, "\x01", 1, 0)
FORGES(hello_request, RECORD_HANDSHAKE, "\x00\x00\x00\x00", 4, 0)
FORGES(client_hello, RECORD_HANDSHAKE, "\x01\x00\x00\x00", 4, 0)
FORGES(server_hello, RECORD_HANDSHAKE, "\x02\x00\x00\x00", 4, 0)
FORGES(finished_again, RECORD_HANDSHAKE, "\x14\x00\x00\x20                                ", 36, 0)
FORGES(asks_certificate, RECORD_HANDSHAKE, "\x0d\x00\x00\x0b\x00\x00\x08\x00\x0d\x00\x04\x00\x02\x04\x03", 15, 0)
FORGES(unknown_message, RECORD_HANDSHAKE, "\x63\x00\x00\x00", 4, 0)
FORGES(empty_message, RECORD_HANDSHAKE, "", 0, 0)
FORGES(bad_key_update, RECORD_HANDSHAKE, "\x18\x00\x00\x01\x02", 5, 0)
FORGES(bad_ticket, RECORD_HANDSHAKE, "\x04\x00\x00\x02\x00\x00", 6, 0)
FORGES(fatal_alert, RECORD_ALERT, "\x02\x50", 2, 0)
FORGES(half_an_alert, RECORD_ALERT, "\x02", 1, 0)
FORGES(unknown_alert, RECORD_ALERT, "\x02\xee", 2, 0)

/* The same record twice: the number in the second is wrong. */
static bool forge_replay(struct peer *peer) {
    forge_init(&forged, peer);
    for (unsigned i = 0; i < 2; i++) {
        forged.sequence_number = 0;
        forge_send(&forged, RECORD_DATA, peer_start, PEER_START_SIZE / 2, 0);
    }
    return true;
}
static void replay(struct scene *s) {
    if (!tls_1_3_ready(s, forge_replay)) abort();
}

static bool send_in_clear(struct peer *peer) {
    forge_send_clear(peer, RECORD_DATA, peer_start, PEER_START_SIZE);
    return true;
}
static void in_clear(struct scene *s) {
    if (!tls_1_3_ready(s, send_in_clear)) abort();
}

static bool send_alert_in_clear(struct peer *peer) {
    forge_send_clear(peer, RECORD_ALERT, "\x01\x00", 2);
    return true;
}
static void goodbye_in_clear(struct scene *s) {
    if (!tls_1_3_ready(s, send_alert_in_clear)) abort();
}

static bool send_amqp(struct peer *peer) {
    peer_send(peer, peer_start, PEER_START_SIZE);
    return true;
}
static void amqp_without_tls(struct scene *s) { s->script.secured = send_amqp; }

/* ---------------------------------------------------------------- without end */

#define FLOODS(name, type, content, size, padding)                                                                               \
    static bool more_##name(struct peer *peer) {                                                                                 \
        if (forged.peer != peer) forge_init(&forged, peer);                                                                      \
        for (unsigned i = 0; i < 200; i++) forge_send(&forged, type, content, size, padding);                                    \
        return true;                                                                                                             \
    }                                                                                                                            \
    static void name(struct scene *s) {                                                                                          \
        forged.peer = NULL;                                                                                                      \
        s->script.flood = more_##name;                                                                                           \
        if (!tls_1_3_ready(s, NULL)) abort();                                                                                    \
    }

FLOODS(empty_records, RECORD_DATA, NULL, 0, 0)
FLOODS(padding_only, RECORD_DATA, NULL, 0, 16000)
FLOODS(warnings, RECORD_ALERT, "\x01\x5a", 2, 0)

static bool more_tickets(struct peer *peer) {
    for (unsigned i = 0; i < 50; i++)
        if (!SSL_new_session_ticket(peer->ssl) || SSL_do_handshake(peer->ssl) != 1) abort();
    return true;
}
static void tickets(struct scene *s) {
    s->script.flood = more_tickets;
    SSL_CTX_clear_options(s->script.ctx, SSL_OP_NO_TICKET);
    if (!tls_1_3_ready(s, NULL)) abort();
}

static bool more_key_updates(struct peer *peer) {
    for (unsigned i = 0; i < 200; i++)
        if (!SSL_key_update(peer->ssl, SSL_KEY_UPDATE_REQUESTED) || SSL_do_handshake(peer->ssl) != 1) abort();
    return true;
}
static void key_updates(struct scene *s) {
    s->script.flood = more_key_updates;
    if (!tls_1_3_ready(s, NULL)) abort();
}

static bool more_renegotiation(struct peer *peer) {
    for (unsigned i = 0; i < 50; i++)
        if (!SSL_renegotiate(peer->ssl) || SSL_do_handshake(peer->ssl) != 1) return false;
    return true;
}
static void renegotiation(struct scene *s) {
    SSL_CTX_set_max_proto_version(s->script.ctx, TLS1_2_VERSION);
    s->script.flood = more_renegotiation;
    s->script.is_deaf = true;
}

#define ENDS(name, set, ...)                                                                                                     \
    { name, set, ROW_BROKEN, { __VA_ARGS__ }, 0, PEER_GOES_ON, false }
#define ETLS(name, set) ENDS(name, set, LAGO_ETLS)

static const struct row rows[] = {
    ETLS("client certificate demanded, TLS 1.3", demand),
    ETLS("client certificate refused, TLS 1.3", refuse),
    ENDS("cut without close_notify", truncated, LAGO_ETRUNCATED),
    ENDS("reset", was_reset, LAGO_ELOST),
    ENDS("close_notify", goodbye, LAGO_ELOST),
    ENDS("cut in the middle of a frame", half_a_frame, LAGO_ETRUNCATED),
    ENDS("close_notify in the middle of a frame", half_a_frame_and_goodbye, LAGO_ELOST),
    ENDS("silence in the middle of a frame", half_a_frame_and_silence, LAGO_ETIMEDOUT),
    ENDS("an HTTPS server", https, LAGO_ENOTAMQP),
    ETLS("AMQP without TLS", amqp_without_tls),
    ETLS("a record in clear", in_clear),
    ETLS("close_notify in clear", goodbye_in_clear),
    ETLS("a record twice", replay),
    ETLS("a record of an unknown type", unknown_type),
    ETLS("a heartbeat response", heartbeat),
    ETLS("a record without a type", no_type),
    ETLS("a record of 16385 bytes", oversize),
    ETLS("a record with too much padding", overpadded),
    ETLS("ChangeCipherSpec", cipher_change),
    ETLS("HelloRequest in TLS 1.3", hello_request),
    ETLS("ClientHello", client_hello),
    ETLS("ServerHello", server_hello),
    ETLS("Finished again", finished_again),
    ETLS("CertificateRequest", asks_certificate),
    ETLS("an unknown message", unknown_message),
    ETLS("an empty message", empty_message),
    ETLS("KeyUpdate of an unknown kind", bad_key_update),
    ETLS("NewSessionTicket cut short", bad_ticket),
    ETLS("alert: internal_error", fatal_alert),
    ETLS("alert: of an unknown number", unknown_alert),
    ETLS("half an alert", half_an_alert),
    ETLS("empty records without end", empty_records),
    ETLS("padding without end", padding_only),
    ETLS("warnings without end", warnings),
    ETLS("session tickets without end", tickets),
    ETLS("KeyUpdates without end", key_updates),
    ETLS("renegotiation without end", renegotiation),
};

const struct rows running_rows = { "trusted, goes wrong behind the handshake", rows, sizeof rows / sizeof rows[0] };
