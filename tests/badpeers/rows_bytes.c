/* Good peers whose bytes suffer on their way: cut, reset or changed, once for each byte of the handshake. */
#include "rows.h"

#define SHORT_MS 300u /* a length that was changed makes the client wait for bytes that never come */

/* Ed25519: signatures of one size, so that the flight is as long each time. */
static void tls_1_3(struct scene *s) {
    scene_serve(s, scene_cert(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .key = CERT_ED25519 }));
}

static void tls_1_2(struct scene *s) {
    tls_1_3(s);
    SSL_CTX_set_max_proto_version(s->script.ctx, TLS1_2_VERSION);
}

static void hurried(struct scene *s) {
    tls_1_3(s);
    s->parameters.stack_timeout_ms = SHORT_MS;
}

static void hurried_1_2(struct scene *s) {
    tls_1_2(s);
    s->parameters.stack_timeout_ms = SHORT_MS;
}

#define CUT                                                                                                                      \
    { LAGO_ELOST, LAGO_ETRUNCATED }
#define CHANGED                                                                                                                  \
    { LAGO_ETLS, LAGO_ECERTIFICATE, LAGO_ETIMEDOUT }

static const struct row rows[] = {
    { "cut, TLS 1.3", tls_1_3, ROW_REFUSED, CUT, 0, PEER_CUTS, false },
    { "cut, TLS 1.2", tls_1_2, ROW_REFUSED, CUT, 0, PEER_CUTS, false },
    { "reset, TLS 1.3", tls_1_3, ROW_REFUSED, CUT, 0, PEER_RESETS, false },
    { "a wrong bit, TLS 1.3", hurried, ROW_REFUSED, CHANGED, 0, PEER_FLIPS, false },
    { "a wrong bit, TLS 1.2", hurried_1_2, ROW_REFUSED, CHANGED, 0, PEER_FLIPS, false },
    { "cut in connection.start, TLS 1.3", tls_1_3, ROW_BROKEN, { LAGO_ETRUNCATED }, 0, PEER_CUTS, true },
    { "cut in connection.start, TLS 1.2", tls_1_2, ROW_BROKEN, { LAGO_ETRUNCATED }, 0, PEER_CUTS, true },
    { "a wrong bit in connection.start, TLS 1.3", hurried, ROW_BROKEN, CHANGED, 0, PEER_FLIPS, true },
    { "a wrong bit in connection.start, TLS 1.2", hurried_1_2, ROW_BROKEN, CHANGED, 0, PEER_FLIPS, true },
};

const struct rows byte_rows = { "each byte of the handshake", rows, sizeof rows / sizeof rows[0] };
