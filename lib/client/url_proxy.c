/*
 * The query key `proxy`: a URL of its own, socks5://user:password@host:port or http://host:port.
 *
 * Must not know how a proxy is spoken to.
 */
#include "url_query.h"
#include <string.h>

/* "socks5h" is curl's word for the SOCKS5 proxy that looks names up, as lago's do. */
static lago_proxy_type_t take_scheme(const char **url) {
    if (url_skip_scheme(url, "socks5://") || url_skip_scheme(url, "socks5h://")) return LAGO_PROXY_SOCKS5;
    return url_skip_scheme(url, "http://") ? LAGO_PROXY_HTTP : LAGO_PROXY_NONE;
}

static int take_place(struct parameters *p, struct span hosts, lago_proxy_t *proxy, lago_reason_t *reason) {
    lago_endpoint_t place;
    int rc = authority_host(p, hosts, "host", &place, reason);
    if (rc < 0) return rc;
    if (!place.host) return parameters_reject(reason, LAGO_EURL, "host", "empty", NULL);
    if (parameters_is_path(place.host)) return parameters_reject(reason, LAGO_EURL, "host", "a path", NULL);
    proxy->host = place.host;
    proxy->port = place.port;
    return 0;
}

static int take_login(struct parameters *p, const struct authority *from, lago_proxy_t *proxy, lago_reason_t *reason) {
    int rc = authority_login(p, from, &proxy->username, &proxy->password, reason);
    if (rc < 0 || !proxy->username) return rc;
    const char *problem = parameters_name_problem(proxy->password);
    if (problem) return parameters_reject(reason, LAGO_EURL, "password", problem, NULL);
    /* RFC 7617, 2 */
    if (proxy->type == LAGO_PROXY_HTTP && strchr(proxy->username, ':'))
        return parameters_reject(reason, LAGO_EURL, "user", "contains ':', which ends it for HTTP", NULL);
    return 0;
}

int set_proxy(struct setting *s) {
    const char *url = s->value;
    lago_reason_t reason = { 0 };
    lago_proxy_t proxy = { .type = take_scheme(&url) };
    if (proxy.type == LAGO_PROXY_NONE) return setting_bad(s, "neither socks5:// nor http://");
    struct span text = { url, strcspn(url, "/?#") };
    const char *rest = url + text.size;
    if (*rest && strcmp(rest, "/") != 0) return setting_bad(s, "something follows the host");
    struct authority parts = authority_split(text);
    int rc = take_place(s->p, parts.hosts, &proxy, &reason);
    if (rc == 0) rc = take_login(s->p, &parts, &proxy, &reason);
    if (rc < 0) return rc == LAGO_ENOMEM ? rc : setting_bad(s, reason.detail);
    s->p->values.proxy = proxy;
    return 0;
}
