/* Names of peers: as the certificate must have them, and as SNI. Must not know where they come from. */
#include "tls_name.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>

bool tls_name_is_address(const char *name) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return address != NULL;
}

static size_t size_of(const char *host) {
    size_t size = strlen(host), zone = strcspn(host, "%");
    if (memchr(host, ':', zone)) size = zone; /* "fe80::1%eth0"; in a name "%" means nothing */
    if (size > 0 && host[size - 1] == '.') size--;
    return size;
}

bool tls_name(const char *host, char name[TLS_NAME_SIZE]) {
    size_t size = size_of(host);
    if (size == 0 || size >= TLS_NAME_SIZE || host[0] == '.') return false;
    memcpy(name, host, size);
    name[size] = '\0';
    return true;
}

bool tls_name_expect(SSL *ssl, const char *name, bool verifies) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (tls_name_is_address(name)) return !verifies || X509_VERIFY_PARAM_set1_ip_asc(param, name);
    /* addresses are never sent as SNI (RFC 6066, 3), nor are paths of sockets */
    if (name[0] != '/' && !SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name)) return false;
    return !verifies || X509_VERIFY_PARAM_set1_host(param, name, 0);
}

bool tls_name_matches(X509 *certificate, const char *name) {
    bool is_address = tls_name_is_address(name);
    int rc = is_address ? X509_check_ip_asc(certificate, name, 0) : X509_check_host(certificate, name, 0, TLS_NAME_FLAGS, NULL);
    ERR_clear_error();
    return rc == 1;
}
