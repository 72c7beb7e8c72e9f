/* Peers that do not speak TLS, speak it too weakly, or break its rules before it is up. Their certificate is good. */
#include "hello.h"
#include "rows.h"

#define SHORT_MS 400u /* for peers that fall silent */

/* ---------------------------------------------------------------- no TLS */

static void greet(struct scene *s, const void *data, size_t size, bool answers, bool closes) {
    s->script.ctx = NULL;
    s->script.greeting.data = data;
    s->script.greeting.size = size;
    s->script.greeting.answers = answers;
    s->script.greeting.closes = closes;
}

#define answer_with(s, text, closes) greet((s), (text), sizeof(text) - 1, true, (closes))

/* RabbitMQ answers what is no AMQP with its own header, and hangs up. */
static void plain_amqp(struct scene *s) { answer_with(s, "AMQP\0\0\x09\x01", true); }

static void plain_amqp_start(struct scene *s) { greet(s, peer_start, PEER_START_SIZE, true, false); }

static void http(struct scene *s) { answer_with(s, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", true); }

static void ssh(struct scene *s) { greet(s, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32, false, false); }

static void smtp(struct scene *s) { greet(s, "220 mail.example ESMTP Postfix\r\n", 32, false, false); }

static void zeros(struct scene *s) {
    static const uint8_t many[512];
    greet(s, many, sizeof many, true, false);
}

static void silence(struct scene *s) {
    greet(s, "", 0, false, false);
    s->parameters.stack_timeout_ms = SHORT_MS;
}

static void stall_in_flight(struct scene *s) {
    s->script.fate = PEER_STALLS;
    s->script.at = 200; /* behind the ServerHello */
    s->parameters.stack_timeout_ms = SHORT_MS;
}

static void reset_in_flight(struct scene *s) {
    s->script.fate = PEER_RESETS;
    s->script.at = 200;
}

static void fin_at_once(struct scene *s) { greet(s, "", 0, false, true); }

static void fin_after_hello(struct scene *s) { greet(s, "", 0, true, true); }

/* The server's hello of SSL 2.0: a record of two bytes of length, then its type 4. */
static void ssl2(struct scene *s) { answer_with(s, "\x80\x0e\x04\x00\x01\x00\x02\x00\x00\x00\x03\x00\x00\x01\x00\x80", true); }

/* ---------------------------------------------------------------- alerts and stray records */

static void fatal_alert(struct scene *s) { answer_with(s, "\x15\x03\x03\x00\x02\x02\x28", true); }        /* handshake_failure */
static void unknown_name_alert(struct scene *s) { answer_with(s, "\x15\x03\x03\x00\x02\x02\x70", true); } /* unrecognized_name */
static void internal_alert(struct scene *s) { answer_with(s, "\x15\x03\x03\x00\x02\x02\x50", true); }     /* internal_error */
static void unknown_alert(struct scene *s) { answer_with(s, "\x15\x03\x03\x00\x02\x02\xee", false); }
static void close_notify(struct scene *s) { answer_with(s, "\x15\x03\x03\x00\x02\x01\x00", true); }
static void strange_type(struct scene *s) { answer_with(s, "\x63\x03\x03\x00\x02\x01\x00", false); }
static void heartbeat_record(struct scene *s) { answer_with(s, "\x18\x03\x03\x00\x03\x02\x40\x00", false); }
static void early_data(struct scene *s) { answer_with(s, "\x17\x03\x03\x00\x05hello", false); }
static void huge_record(struct scene *s) { answer_with(s, "\x16\x03\x03\xff\xff\x02\x00\x00\x00", false); }
static void huge_message(struct scene *s) { answer_with(s, "\x16\x03\x03\x00\x04\x02\xff\xff\xff", false); }
static void client_hello(struct scene *s) { answer_with(s, "\x16\x03\x03\x00\x04\x01\x00\x00\x00", false); }
static void finished_first(struct scene *s) { answer_with(s, "\x16\x03\x03\x00\x10\x14\x00\x00\x0c            ", false); }

/* A thousand records, again and again. */
static bool repeat(struct peer *peer) {
    for (unsigned i = 0; i < 1000; i++) peer_send(peer, peer->script->greeting.data, peer->script->greeting.size);
    return true;
}

#define flood_with(s, text)                                                                                                      \
    do {                                                                                                                         \
        answer_with((s), text, false);                                                                                           \
        (s)->script.flood = repeat;                                                                                              \
        (s)->parameters.stack_timeout_ms = SHORT_MS;                                                                             \
    } while (0)

static void warnings(struct scene *s) { flood_with(s, "\x15\x03\x03\x00\x02\x01\x5a"); } /* user_canceled */
static void empty_records(struct scene *s) { flood_with(s, "\x16\x03\x03\x00\x00"); }
static void cipher_changes(struct scene *s) { flood_with(s, "\x14\x03\x03\x00\x01\x01"); }
static void hello_requests(struct scene *s) { flood_with(s, "\x16\x03\x03\x00\x04\x00\x00\x00\x00"); }

/*
 * HelloRetryRequest: a ServerHello with this random (RFC 8446, 4.1.3), which asks for P-256; it returns the session id of the
 * ClientHello, whose 32 bytes stand behind headers, version, random and size.
 */
static bool retry(struct peer *peer) {
    static const char head[] = "\x16\x03\x03\x00\x58\x02\x00\x00\x54\x03\x03"
                               "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
                               "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c\x20";
    static const char tail[] = "\x13\x01\x00\x00\x0c\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x02\x00\x17";
    struct blob request = { 0 };
    if (peer->raw.size < 76 || peer->raw.data[43] != 32) abort();
    blob_add(&request, head, sizeof head - 1);
    blob_add(&request, peer->raw.data + 44, 32);
    blob_add(&request, tail, sizeof tail - 1);
    peer_send(peer, request.data, request.size);
    blob_free(&request);
    return true;
}

static void retry_requests(struct scene *s) {
    answer_with(s, "", false);
    s->script.flood = retry;
}

/* ---------------------------------------------------------------- old versions, weak ciphers */

static void only_version(struct scene *s, int version) {
    SSL_CTX_set_min_proto_version(s->script.ctx, version);
    SSL_CTX_set_max_proto_version(s->script.ctx, version);
    if (!SSL_CTX_set_cipher_list(s->script.ctx, "ALL:eNULL:@SECLEVEL=0")) abort();
}

static void tls_1_0(struct scene *s) { only_version(s, TLS1_VERSION); }
static void tls_1_1(struct scene *s) { only_version(s, TLS1_1_VERSION); }

static void only_cipher(struct scene *s, const char *cipher) {
    only_version(s, TLS1_2_VERSION);
    if (!SSL_CTX_set_cipher_list(s->script.ctx, cipher)) abort();
    SSL_CTX_set_dh_auto(s->script.ctx, 1);
}

static void anonymous(struct scene *s) { only_cipher(s, "aNULL:@SECLEVEL=0"); }
static void no_encryption(struct scene *s) { only_cipher(s, "eNULL:@SECLEVEL=0"); }

static void tls_1_2_to_1_3(struct scene *s) {
    only_version(s, TLS1_2_VERSION);
    s->tls.min_version = LAGO_TLS_1_3;
}

static void dh_1024(struct scene *s) {
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .key = CERT_RSA_2048 }));
    only_cipher(s, "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0");
    SSL_CTX_set_dh_auto(s->script.ctx, 2); /* whatever the certificate's strength: the smallest group, of 1024 bits */
}

/* ---------------------------------------------------------------- ServerHello with a lie in it */

static void edit(struct scene *s, int version, void (*change)(struct peer *peer, struct blob *flight)) {
    only_version(s, version);
    s->script.edit = change;
    s->script.stays = true;
}

#define PICKS(name, number)                                                                                                      \
    static void put_##name(struct peer *peer, struct blob *flight) {                                                             \
        (void)peer;                                                                                                              \
        hello_set_u16(flight, hello_cipher(flight), number);                                                                     \
    }                                                                                                                            \
    static void picks_##name(struct scene *s) { edit(s, TLS1_2_VERSION, put_##name); }

PICKS(anonymous, 0x00a7) /* TLS_DH_anon_WITH_AES_256_GCM_SHA384 */
PICKS(null, 0xc006)      /* TLS_ECDHE_ECDSA_WITH_NULL_SHA */
PICKS(rc4, 0xc007)       /* TLS_ECDHE_ECDSA_WITH_RC4_128_SHA */
PICKS(3des, 0xc008)      /* TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA */
PICKS(export, 0x0003)    /* TLS_RSA_EXPORT_WITH_RC4_40_MD5 */
PICKS(unheard_of, 0xfefe)
PICKS(1_3_cipher, 0x1301) /* TLS_AES_128_GCM_SHA256, in TLS 1.2 */

static void put_unoffered_1_3(struct peer *peer, struct blob *flight) {
    (void)peer;
    hello_set_u16(flight, hello_cipher(flight), 0x1305); /* TLS_AES_128_CCM_8_SHA256 */
}
static void picks_unoffered_1_3(struct scene *s) { edit(s, TLS1_3_VERSION, put_unoffered_1_3); }

#define SAYS_VERSION(name, number)                                                                                               \
    static void put_version_##name(struct peer *peer, struct blob *flight) {                                                     \
        (void)peer;                                                                                                              \
        hello_set_u16(flight, HELLO_VERSION, number);                                                                            \
    }                                                                                                                            \
    static void says_##name(struct scene *s) { edit(s, TLS1_2_VERSION, put_version_##name); }

SAYS_VERSION(tls_1_1, 0x0302)
SAYS_VERSION(tls_1_0, 0x0301)
SAYS_VERSION(ssl_3, 0x0300)

static void put_tls_1_4(struct peer *peer, struct blob *flight) {
    (void)peer;
    hello_set_u16(flight, hello_extension(flight, 43), 0x0305); /* supported_versions */
}
static void says_tls_1_4(struct scene *s) { edit(s, TLS1_3_VERSION, put_tls_1_4); }

/* What a server that knows TLS 1.3 says when somebody has made it believe that the client does not (4.1.3). */
static void put_downgrade(struct peer *peer, struct blob *flight) {
    (void)peer;
    memcpy(flight->data + HELLO_RANDOM + 24, "DOWNGRD\x01", 8);
}
static void downgrade(struct scene *s) { edit(s, TLS1_2_VERSION, put_downgrade); }

static void put_compression(struct peer *peer, struct blob *flight) {
    (void)peer;
    flight->data[hello_compression(flight)] = 1; /* DEFLATE */
}
static void compression(struct scene *s) { edit(s, TLS1_2_VERSION, put_compression); }

static void put_heartbeat(struct peer *peer, struct blob *flight) {
    (void)peer;
    hello_add_extension(flight, 15, "\x01", 1);
}
static void heartbeat_extension(struct scene *s) { edit(s, TLS1_2_VERSION, put_heartbeat); }

static void put_alpn(struct peer *peer, struct blob *flight) {
    (void)peer;
    hello_add_extension(flight, 16, "\0\x03\x02h2", 5);
}
static void alpn_not_asked_for(struct scene *s) { edit(s, TLS1_2_VERSION, put_alpn); }

static void put_extension_twice(struct peer *peer, struct blob *flight) {
    (void)peer;
    for (unsigned i = 0; i < 2; i++) hello_add_extension(flight, 23, "", 0); /* extended_master_secret */
}
static void extension_twice(struct scene *s) { edit(s, TLS1_2_VERSION, put_extension_twice); }

static void put_session_id(struct peer *peer, struct blob *flight) {
    (void)peer;
    flight->data[HELLO_RANDOM + 33] ^= 1; /* must be the client's own (4.1.3) */
}
static void other_session_id(struct scene *s) { edit(s, TLS1_3_VERSION, put_session_id); }

/* The last byte of the flight but ServerHelloDone (9 bytes) belongs to the signature over the key exchange. */
static void put_signature(struct peer *peer, struct blob *flight) {
    (void)peer;
    flight->data[flight->size - 10] ^= 1;
}
static void forged_key_exchange(struct scene *s) { edit(s, TLS1_2_VERSION, put_signature); }

/* ---------------------------------------------------------------- ALPN */

static int pick_h2(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned in_size,
                   void *data) {
    (void)ssl;
    (void)in;
    (void)in_size;
    (void)data;
    *out = (const unsigned char *)"h2";
    *size = 2;
    return SSL_TLSEXT_ERR_OK;
}

static int pick_none(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned in_size,
                     void *data) {
    (void)ssl;
    (void)out;
    (void)size;
    (void)in;
    (void)in_size;
    (void)data;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void other_alpn(struct scene *s) {
    s->tls.alpn = "amqp";
    SSL_CTX_set_alpn_select_cb(s->script.ctx, pick_h2, NULL);
}

static void no_common_alpn(struct scene *s) {
    s->tls.alpn = "amqp";
    SSL_CTX_set_alpn_select_cb(s->script.ctx, pick_none, NULL);
}

/* ---------------------------------------------------------------- clients' certificates, TLS 1.2 */

static void demand(struct scene *s) {
    only_version(s, TLS1_2_VERSION);
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

/* ---------------------------------------------------------------- too much of it */

/* OpenSSL takes up to 100 KiB of certificates. */
static void endless_chain(struct scene *s) {
    only_version(s, TLS1_2_VERSION);
    for (unsigned i = 0; i < 400; i++)
        if (!SSL_CTX_add1_chain_cert(s->script.ctx, scene_ca->x509)) abort();
}

#define ENDS(name, set, ...)                                                                                                     \
    { name, set, ROW_REFUSED, { __VA_ARGS__ }, 0, PEER_GOES_ON, false }
#define ETLS(name, set) ENDS(name, set, LAGO_ETLS)

static const struct row rows[] = {
    ETLS("a plain AMQP broker", plain_amqp),
    ETLS("a plain broker that says connection.start", plain_amqp_start),
    ETLS("an HTTP server", http),
    ETLS("an SSH server", ssh),
    ETLS("an SMTP server", smtp),
    ETLS("zeros", zeros),
    ETLS("SSL 2.0", ssl2),
    ENDS("silence", silence, LAGO_ETIMEDOUT),
    ENDS("silence behind the ServerHello", stall_in_flight, LAGO_ETIMEDOUT),
    ENDS("reset behind the ServerHello", reset_in_flight, LAGO_ELOST),
    ENDS("hangs up at once", fin_at_once, LAGO_ELOST, LAGO_ETRUNCATED),
    ENDS("hangs up behind the ClientHello", fin_after_hello, LAGO_ELOST, LAGO_ETRUNCATED),
    ETLS("alert: handshake_failure", fatal_alert),
    ETLS("alert: unrecognized_name", unknown_name_alert),
    ETLS("alert: internal_error", internal_alert),
    ETLS("alert: of an unknown number", unknown_alert),
    ENDS("close_notify at once", close_notify, LAGO_ELOST, LAGO_ETLS),
    ETLS("record of an unknown type", strange_type),
    ETLS("heartbeat response unasked for", heartbeat_record),
    ETLS("data before the handshake", early_data),
    ETLS("record of 64 KiB", huge_record),
    ETLS("message of 16 MiB", huge_message),
    ETLS("a ClientHello for an answer", client_hello),
    ETLS("Finished first", finished_first),
    ETLS("warnings without end", warnings),
    ETLS("empty records without end", empty_records),
    ETLS("ChangeCipherSpecs without end", cipher_changes),
    ENDS("HelloRequests without end", hello_requests, LAGO_ETLS, LAGO_ETIMEDOUT),
    ETLS("HelloRetryRequests without end", retry_requests),
    ETLS("TLS 1.0", tls_1_0),
    ETLS("TLS 1.1", tls_1_1),
    ETLS("TLS 1.2 where 1.3 is demanded", tls_1_2_to_1_3),
    ETLS("a ServerHello of SSL 3.0", says_ssl_3),
    ETLS("a ServerHello of TLS 1.0", says_tls_1_0),
    ETLS("a ServerHello of TLS 1.1", says_tls_1_1),
    ETLS("a ServerHello of TLS 1.4", says_tls_1_4),
    ETLS("downgraded by somebody on the way", downgrade),
    ETLS("anonymous ciphers only", anonymous),
    ETLS("ciphers without encryption only", no_encryption),
    ETLS("picks an anonymous cipher", picks_anonymous),
    ETLS("picks a cipher without encryption", picks_null),
    ETLS("picks RC4", picks_rc4),
    ETLS("picks 3DES", picks_3des),
    ETLS("picks an export cipher", picks_export),
    ETLS("picks a cipher that does not exist", picks_unheard_of),
    ETLS("picks a cipher of TLS 1.3 in 1.2", picks_1_3_cipher),
    ETLS("picks a cipher that was not offered", picks_unoffered_1_3),
    ETLS("Diffie-Hellman of 1024 bits", dh_1024),
    ETLS("key exchange signed by another key", forged_key_exchange),
    ETLS("compression", compression),
    ETLS("heartbeat extension, put in on the way", heartbeat_extension),
    ETLS("ALPN that was not asked for", alpn_not_asked_for),
    ETLS("ALPN that was not offered", other_alpn),
    ETLS("no ALPN in common", no_common_alpn),
    ETLS("an extension twice", extension_twice),
    ETLS("another session id", other_session_id),
    ETLS("400 certificates", endless_chain),
    ETLS("client certificate demanded, TLS 1.2", demand),
    ETLS("client certificate refused, TLS 1.2", refuse),
};

const struct rows handshake_rows = { "handshake", rows, sizeof rows / sizeof rows[0] };
