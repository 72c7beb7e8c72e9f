/* Peers whose certificate must not be believed. All are TLS 1.3 but for that perfectly good. */
#include "rows.h"
#include <openssl/x509_vfy.h>

#define HOUR_S 3600L

static void show(struct scene *s, const struct cert_options *options) { scene_serve(s, scene_cert(s, options)); }

static void show_names(struct scene *s, const char *names) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = names });
}

static const struct cert *intermediate(struct scene *s, struct cert_options options) {
    options.is_ca = true;
    options.subject = "intermediate";
    if (!options.issuer) options.issuer = scene_ca;
    return scene_cert(s, &options);
}

static const struct cert *leaf_of(struct scene *s, const struct cert *issuer) {
    return scene_cert(s, &(struct cert_options){ .issuer = issuer, .names = "DNS:" SCENE_NAME });
}

/* A leaf behind an intermediate authority of that kind. */
static void show_chain(struct scene *s, struct cert_options options) {
    const struct cert *between = intermediate(s, options);
    scene_serve(s, leaf_of(s, between), between);
}

/* ---------------------------------------------------------------- names */

static void wrong_name(struct scene *s) { show_names(s, "DNS:other.example"); }
static void subdomain(struct scene *s) { show_names(s, "DNS:node.broker.example,DNS:example"); }
static void longer_name(struct scene *s) { show_names(s, "DNS:broker.example.evil.example,DNS:evilbroker.example"); }
static void partial_wildcard(struct scene *s) { show_names(s, "DNS:bro*.example,DNS:*ker.example"); }
static void top_wildcard(struct scene *s) { show_names(s, "DNS:*.example,DNS:*"); }

static void deep_wildcard(struct scene *s) {
    s->tls.server_name = "a.node.broker.example";
    show_names(s, "DNS:*.broker.example");
}

static void inner_wildcard(struct scene *s) {
    s->tls.server_name = "a.node.broker.example";
    show_names(s, "DNS:a.*.broker.example");
}

static void common_name_only(struct scene *s) { show(s, &(struct cert_options){ .subject = SCENE_NAME, .issuer = scene_ca }); }

static void nul_in_name(struct scene *s) {
    static const char name[] = SCENE_NAME "\0.evil.example";
    show(s, &(struct cert_options){ .issuer = scene_ca, .raw_name = name, .raw_name_size = sizeof name - 1 });
}

static void no_name(struct scene *s) { show(s, &(struct cert_options){ .issuer = scene_ca }); }

static void wrong_ipv4(struct scene *s) {
    s->tls.server_name = NULL; /* the host's: 127.0.0.1 */
    show_names(s, "IP:127.0.0.2,DNS:" SCENE_NAME);
}

static void wrong_ipv6(struct scene *s) {
    s->tls.server_name = "2001:db8::1";
    show_names(s, "IP:2001:db8::2,IP:::1");
}

static void ip_as_name(struct scene *s) {
    s->tls.server_name = NULL;
    show(s, &(struct cert_options){ .subject = "127.0.0.1", .issuer = scene_ca, .names = "DNS:127.0.0.1" });
}

static void name_as_mail(struct scene *s) { show_names(s, "email:broker@" SCENE_NAME ",URI:amqps://" SCENE_NAME); }

/* ---------------------------------------------------------------- times */

static void expired(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .to_s = -HOUR_S });
}

static void not_yet_valid(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .from_s = HOUR_S });
}

static void expired_intermediate(struct scene *s) { show_chain(s, (struct cert_options){ .to_s = -HOUR_S }); }

static void expired_ca(struct scene *s) {
    const struct cert *old = scene_cert(s, &(struct cert_options){ .subject = "old", .is_ca = true, .to_s = -HOUR_S });
    scene_trust(s, old);
    scene_serve(s, leaf_of(s, old));
}

/* ---------------------------------------------------------------- authorities */

static void unknown_ca(struct scene *s) { scene_serve(s, leaf_of(s, scene_stranger_ca)); }

static void unknown_ca_shown(struct scene *s) { scene_serve(s, leaf_of(s, scene_stranger_ca), scene_stranger_ca); }

static void self_signed(struct scene *s) { show(s, &(struct cert_options){ .names = "DNS:" SCENE_NAME }); }

static void self_signed_other_name(struct scene *s) { show(s, &(struct cert_options){ .subject = SCENE_NAME }); }

static void same_name_other_key(struct scene *s) {
    const struct cert *impostor = scene_cert(s, &(struct cert_options){ .subject = "good authority", .is_ca = true });
    scene_serve(s, leaf_of(s, impostor), impostor);
}

static void missing_intermediate(struct scene *s) { scene_serve(s, leaf_of(s, intermediate(s, (struct cert_options){ 0 }))); }

static void leaf_as_ca(struct scene *s) { scene_serve(s, leaf_of(s, scene_server), scene_server); }

static void without_ca_bit(struct scene *s) { show_chain(s, (struct cert_options){ .constraints = "critical,CA:FALSE" }); }

static void path_too_long(struct scene *s) {
    const struct cert *first = intermediate(s, (struct cert_options){ .constraints = "critical,CA:TRUE,pathlen:0" });
    const struct cert *second = scene_cert(s, &(struct cert_options){ .subject = "second", .issuer = first, .is_ca = true });
    scene_serve(s, leaf_of(s, second), second, first);
}

static void name_not_permitted(struct scene *s) {
    show_chain(s, (struct cert_options){ .name_constraints = "critical,permitted;DNS:other.example" });
}

static void name_excluded(struct scene *s) {
    show_chain(s, (struct cert_options){ .name_constraints = "critical,excluded;DNS:example" });
}

static void for_clients_only(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .usage = "clientAuth" });
}

static void ca_for_clients_only(struct scene *s) { show_chain(s, (struct cert_options){ .usage = "clientAuth" }); }

static void unknown_critical(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .unknown = "critical,DER:0500" });
}

/* ---------------------------------------------------------------- strength */

static void rsa_1024(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .key = CERT_RSA_1024 });
}

static void ca_rsa_1024(struct scene *s) {
    const struct cert *weak = scene_cert(s, &(struct cert_options){ .subject = "weak", .is_ca = true, .key = CERT_RSA_1024 });
    scene_trust(s, weak);
    scene_serve(s, leaf_of(s, weak));
}

static void ec_192(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .key = CERT_EC_P192 });
}

static void signed_by_sha1(struct scene *s) {
    show(s, &(struct cert_options){ .issuer = scene_ca, .names = "DNS:" SCENE_NAME, .digest = "SHA1" });
}

static void intermediate_by_sha1(struct scene *s) { show_chain(s, (struct cert_options){ .digest = "SHA1" }); }

static void signed_by_md5(struct scene *s) {
    const struct cert *ca = scene_cert(s, &(struct cert_options){ .subject = "rsa", .is_ca = true, .key = CERT_RSA_2048 });
    scene_trust(s, ca);
    show(s, &(struct cert_options){ .issuer = ca, .names = "DNS:" SCENE_NAME, .digest = "MD5" });
}

/* ---------------------------------------------------------------- revocation */

static char *lists(const struct cert *first, const struct cert *revoked, const struct cert *second) {
    char *one = cert_crl_pem(first, revoked, HOUR_S), *two = second ? cert_crl_pem(second, NULL, HOUR_S) : NULL;
    if (!two) return one;
    size_t size = strlen(one), more = strlen(two) + 1;
    one = realloc(one, size + more);
    if (!one) abort();
    memcpy(one + size, two, more);
    free(two);
    return one;
}

static void revoked(struct scene *s) { s->tls.crl_file = scene_file(s, lists(scene_ca, scene_server, NULL)); }

static void revoked_intermediate(struct scene *s) {
    const struct cert *between = intermediate(s, (struct cert_options){ 0 });
    scene_serve(s, leaf_of(s, between), between);
    s->tls.crl_file = scene_file(s, lists(scene_ca, between, between));
}

static void no_list_for_it(struct scene *s) { s->tls.crl_file = scene_file(s, lists(scene_stranger_ca, NULL, NULL)); }

static void no_list_of_intermediate(struct scene *s) {
    show_chain(s, (struct cert_options){ 0 });
    s->tls.crl_file = scene_file(s, lists(scene_ca, NULL, NULL));
}

static void old_list(struct scene *s) { s->tls.crl_file = scene_file(s, cert_crl_pem(scene_ca, NULL, -HOUR_S)); }

static void forged_list(struct scene *s) {
    const struct cert *impostor = scene_cert(s, &(struct cert_options){ .subject = "good authority", .is_ca = true });
    s->tls.crl_file = scene_file(s, lists(impostor, NULL, NULL));
}

#define REFUSED(name, set, verify)                                                                                               \
    { name, set, ROW_REFUSED, { LAGO_ECERTIFICATE }, X509_V_ERR_##verify, PEER_GOES_ON, false }

static const struct row rows[] = {
    REFUSED("another name", wrong_name, HOSTNAME_MISMATCH),
    REFUSED("a subdomain and the parent domain", subdomain, HOSTNAME_MISMATCH),
    REFUSED("names that contain ours", longer_name, HOSTNAME_MISMATCH),
    REFUSED("wildcard for a part of a label", partial_wildcard, HOSTNAME_MISMATCH),
    REFUSED("wildcard for a top level domain", top_wildcard, HOSTNAME_MISMATCH),
    REFUSED("wildcard of another level", deep_wildcard, HOSTNAME_MISMATCH),
    REFUSED("wildcard in the middle", inner_wildcard, HOSTNAME_MISMATCH),
    REFUSED("the name in the subject only", common_name_only, HOSTNAME_MISMATCH),
    REFUSED("NUL in the name", nul_in_name, HOSTNAME_MISMATCH),
    REFUSED("no name at all", no_name, HOSTNAME_MISMATCH),
    REFUSED("the name as mail and URI only", name_as_mail, HOSTNAME_MISMATCH),
    REFUSED("another IPv4 address", wrong_ipv4, IP_ADDRESS_MISMATCH),
    REFUSED("another IPv6 address", wrong_ipv6, IP_ADDRESS_MISMATCH),
    REFUSED("the address as a DNS name", ip_as_name, IP_ADDRESS_MISMATCH),
    REFUSED("expired", expired, CERT_HAS_EXPIRED),
    REFUSED("not yet valid", not_yet_valid, CERT_NOT_YET_VALID),
    REFUSED("expired intermediate", expired_intermediate, CERT_HAS_EXPIRED),
    REFUSED("expired CA", expired_ca, CERT_HAS_EXPIRED),
    REFUSED("unknown CA", unknown_ca, UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
    REFUSED("unknown CA, shown", unknown_ca_shown, SELF_SIGNED_CERT_IN_CHAIN),
    REFUSED("self-signed, right name", self_signed, DEPTH_ZERO_SELF_SIGNED_CERT),
    REFUSED("self-signed, no name", self_signed_other_name, DEPTH_ZERO_SELF_SIGNED_CERT),
    REFUSED("CA of the right name, another key", same_name_other_key, CERT_SIGNATURE_FAILURE),
    REFUSED("intermediate missing", missing_intermediate, UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
    REFUSED("signed by a leaf", leaf_as_ca, INVALID_CA),
    REFUSED("intermediate without the CA bit", without_ca_bit, INVALID_CA),
    REFUSED("path length exceeded", path_too_long, PATH_LENGTH_EXCEEDED),
    REFUSED("name constraints: not permitted", name_not_permitted, PERMITTED_VIOLATION),
    REFUSED("name constraints: excluded", name_excluded, EXCLUDED_VIOLATION),
    REFUSED("for clients only", for_clients_only, INVALID_PURPOSE),
    REFUSED("intermediate for clients only", ca_for_clients_only, INVALID_PURPOSE),
    REFUSED("unknown critical extension", unknown_critical, UNHANDLED_CRITICAL_EXTENSION),
    REFUSED("RSA of 1024 bits", rsa_1024, EE_KEY_TOO_SMALL),
    REFUSED("CA with RSA of 1024 bits", ca_rsa_1024, CA_KEY_TOO_SMALL),
    { "EC of 192 bits", ec_192, ROW_REFUSED, { LAGO_ETLS }, 0, PEER_GOES_ON, false }, /* no such curve was offered */
    REFUSED("signed by SHA-1", signed_by_sha1, CA_MD_TOO_WEAK),
    REFUSED("intermediate signed by SHA-1", intermediate_by_sha1, CA_MD_TOO_WEAK),
    REFUSED("signed by MD5", signed_by_md5, CA_MD_TOO_WEAK),
    REFUSED("revoked", revoked, CERT_REVOKED),
    REFUSED("intermediate revoked", revoked_intermediate, CERT_REVOKED),
    REFUSED("no revocation list of its CA", no_list_for_it, UNABLE_TO_GET_CRL),
    REFUSED("no revocation list of the intermediate", no_list_of_intermediate, UNABLE_TO_GET_CRL),
    REFUSED("revocation list out of date", old_list, CRL_HAS_EXPIRED),
    REFUSED("revocation list forged", forged_list, CRL_SIGNATURE_FAILURE),
};

const struct rows certificate_rows = { "certificates", rows, sizeof rows / sizeof rows[0] };
