/* Peers with nothing wrong, or nothing that matters: these must open, or the refusals of the others mean nothing. */
#include "hello.h"
#include "rows.h"

#define HOUR_S 3600L

static void nothing(struct scene *s) { (void)s; }

static void show(struct scene *s, const char *expected, const char *names) {
    s->tls.server_name = expected;
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = scene_ca, .names = names }));
}

static void ipv4(struct scene *s) { show(s, NULL, "IP:127.0.0.1"); }
static void ipv6(struct scene *s) { show(s, "2001:db8::1", "IP:2001:db8:0:0:0:0:0:1"); }
static void wildcard(struct scene *s) { show(s, "node.broker.example", "DNS:*.broker.example"); }
static void other_case(struct scene *s) { show(s, "Broker.Example", "DNS:bROKER.eXAMPLE"); }
static void root_dot(struct scene *s) { show(s, "broker.example.", "DNS:broker.example"); }
static void many_names(struct scene *s) { show(s, SCENE_NAME, "DNS:a.example,IP:10.0.0.1,DNS:" SCENE_NAME ",DNS:z.example"); }

static void show_key(struct scene *s, enum cert_key key) {
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .key = key }));
}

static void rsa(struct scene *s) { show_key(s, CERT_RSA_2048); }
static void ed25519(struct scene *s) { show_key(s, CERT_ED25519); }
static void p384(struct scene *s) { show_key(s, CERT_EC_P384); }

static void tls_1_2(struct scene *s) { SSL_CTX_set_max_proto_version(s->script.ctx, TLS1_2_VERSION); }
static void tls_1_2_by_client(struct scene *s) { s->tls.max_version = LAGO_TLS_1_2; }
static void tls_1_3(struct scene *s) { s->tls.min_version = LAGO_TLS_1_3; }

static void intermediate(struct scene *s) {
    const struct cert *between = scene_cert(
        s, &(struct cert_options){
               .subject = "intermediate", .issuer = scene_ca, .is_ca = true, .constraints = "critical,CA:TRUE,pathlen:0" });
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = between, .names = "DNS:" SCENE_NAME }), between);
}

static void constrained(struct scene *s) {
    const struct cert *between = scene_cert(s, &(struct cert_options){ .subject = "intermediate",
                                                                       .issuer = scene_ca,
                                                                       .is_ca = true,
                                                                       .name_constraints = "critical,permitted;DNS:example" });
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = between, .names = "DNS:" SCENE_NAME }), between);
}

static void not_revoked(struct scene *s) { s->tls.crl_file = scene_file(s, cert_crl_pem(scene_ca, scene_stranger_ca, HOUR_S)); }

static void client_certificate(struct scene *s) {
    struct cert *client = scene_cert(s, &(struct cert_options){ .subject = "client", .issuer = scene_ca, .usage = "clientAuth" });
    const struct cert *chain[] = { client };
    char *pem = scene_text(s, cert_pem(chain, 1)), *key = scene_text(s, cert_key_pem(client, NULL));
    SSL_CTX_set_verify(s->script.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(s->script.ctx), scene_ca->x509);
    s->tls.certificate_pem = (lago_bytes_t){ (const uint8_t *)pem, strlen(pem) };
    s->tls.key_pem = (lago_bytes_t){ (const uint8_t *)key, strlen(key) };
}

static int pick_amqp(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned in_size,
                     void *data) {
    (void)ssl;
    (void)data;
    if (in_size != 5 || memcmp(in, "\4amqp", 5) != 0) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = in + 1;
    *size = 4;
    return SSL_TLSEXT_ERR_OK;
}

static void alpn(struct scene *s) {
    s->tls.alpn = "amqp";
    SSL_CTX_set_alpn_select_cb(s->script.ctx, pick_amqp, NULL);
}

/* The client has guessed another group: a HelloRetryRequest. */
static void retry_request(struct scene *s) {
    static char groups[] = "P-384"; /* the macro wants it writable */
    if (!SSL_CTX_set1_groups_list(s->script.ctx, groups)) abort();
}

/* ---------------------------------------------------------------- small pieces */

static void split(struct peer *peer, struct blob *flight) {
    (void)peer;
    hello_fragment(flight, 1);
}

static void one_byte_records(struct scene *s) {
    s->script.edit = split;
    s->script.one_byte_records = true;
}

static void one_byte_records_1_2(struct scene *s) {
    tls_1_2(s);
    one_byte_records(s);
}

static void one_byte_segments(struct scene *s) { s->script.one_by_one = true; }

static void one_byte_segments_1_2(struct scene *s) {
    tls_1_2(s);
    one_byte_segments(s);
}

/* ---------------------------------------------------------------- behind the handshake */

static bool say_tickets(struct peer *peer) {
    for (unsigned i = 0; i < 5; i++)
        if (!SSL_new_session_ticket(peer->ssl) || SSL_do_handshake(peer->ssl) != 1) abort();
    return false;
}

static void tickets(struct scene *s) {
    SSL_CTX_clear_options(s->script.ctx, SSL_OP_NO_TICKET);
    s->script.secured = say_tickets;
}

static bool say_key_updates(struct peer *peer) {
    for (unsigned i = 0; i < 3; i++)
        if (!SSL_key_update(peer->ssl, SSL_KEY_UPDATE_REQUESTED) || SSL_do_handshake(peer->ssl) != 1) abort();
    return false;
}

static void key_updates(struct scene *s) { s->script.secured = say_key_updates; }

/* The first client is sent away after its login; the second attempt goes on with its session. */
static void resume(struct scene *s) {
    SSL_CTX_set_num_tickets(s->script.ctx, 1);
    SSL_CTX_clear_options(s->script.ctx, SSL_OP_NO_TICKET);
    s->script.hangs_up_once = true;
    s->parameters.connection_attempts = 2;
}

static void resume_1_2(struct scene *s) {
    tls_1_2(s);
    resume(s);
}

static const struct row rows[] = {
    { .name = "the right name, TLS 1.3", .set = nothing },
    { .name = "TLS 1.3 demanded", .set = tls_1_3 },
    { .name = "TLS 1.2", .set = tls_1_2 },
    { .name = "TLS 1.2 by max_version", .set = tls_1_2_by_client },
    { .name = "one name of many", .set = many_names },
    { .name = "the right IPv4 address", .set = ipv4 },
    { .name = "the right IPv6 address, written another way", .set = ipv6 },
    { .name = "wildcard for one label", .set = wildcard },
    { .name = "names in other letters", .set = other_case },
    { .name = "a name with the root's dot", .set = root_dot },
    { .name = "RSA of 2048 bits", .set = rsa },
    { .name = "Ed25519", .set = ed25519 },
    { .name = "EC of 384 bits", .set = p384 },
    { .name = "intermediate, path length 0", .set = intermediate },
    { .name = "name constraints that permit", .set = constrained },
    { .name = "not in the revocation list", .set = not_revoked },
    { .name = "client certificate demanded and given", .set = client_certificate },
    { .name = "ALPN in common", .set = alpn },
    { .name = "HelloRetryRequest", .set = retry_request },
    { .name = "records of one byte, TLS 1.3", .set = one_byte_records },
    { .name = "records of one byte, TLS 1.2", .set = one_byte_records_1_2 },
    { .name = "segments of one byte, TLS 1.3", .set = one_byte_segments },
    { .name = "segments of one byte, TLS 1.2", .set = one_byte_segments_1_2 },
    { .name = "five session tickets", .set = tickets },
    { .name = "three key updates", .set = key_updates },
    { .name = "resumption, TLS 1.3", .set = resume },
    { .name = "resumption, TLS 1.2", .set = resume_1_2 },
};

const struct rows good_rows = { "nothing wrong: must open", rows, sizeof rows / sizeof rows[0] };
