/*
 * The parameters that say where the broker is and how to get there: host, endpoints, proxy, the address to come from. Their
 * defaults, checks and copies.
 *
 * Must not know URLs or connections. No message ever holds a value.
 */
#include "alloc.h"
#include "parameters.h"
#include "text.h"
#include <string.h>

#define PORT       5672u
#define PORT_TLS   5671u
#define PORT_SOCKS 1080u
#define PORT_HTTP  8080u

static const char host_hint[] = "a name, an IPv4 or an IPv6 address without brackets, or a path; the port goes into `port`";

/* ---------------------------------------------------------------- defaults */

uint16_t parameters_default_port(const lago_parameters_t *v) { return v->tls ? PORT_TLS : PORT; }

void parameters_fill_ports(lago_parameters_t *v) {
    if (v->port == 0) v->port = parameters_default_port(v);
    if (v->proxy.type == LAGO_PROXY_NONE || v->proxy.port) return;
    v->proxy.port = v->proxy.type == LAGO_PROXY_HTTP ? PORT_HTTP : PORT_SOCKS;
}

/* ---------------------------------------------------------------- checks */

/* host, then the endpoints */
static const char *place(const lago_parameters_t *v, size_t index) { return index ? v->endpoints[index - 1].host : v->host; }

/* A place's host is wrong: "host" or "endpoints[2].host". */
static int reject_place(lago_reason_t *reason, size_t index, const char *problem, const char *hint) {
    char name[40];
    struct text t;
    text_init(&t, name, sizeof name);
    if (index) text_addf(&t, "endpoints[%zu].", index - 1);
    text_add(&t, "host");
    return parameters_reject(reason, LAGO_EPARAMETER, name, problem, hint);
}

/* The name that a certificate is checked for cannot come from a path, and a proxy cannot reach one. */
static int check_path(const lago_parameters_t *v, size_t index, lago_reason_t *reason) {
    if (v->proxy.type != LAGO_PROXY_NONE)
        return reject_place(reason, index, "the path of a Unix domain socket, beside a proxy", "a proxy leads to TCP ports only");
    if (v->tls && !v->tls->server_name)
        return parameters_reject(reason, LAGO_EPARAMETER, "tls.server_name", "missing, and the host is a path",
                                 "the name that the broker's certificate is made for");
    return 0;
}

static int check_places(const lago_parameters_t *v, lago_reason_t *reason) {
    if (v->endpoint_count > PARAMETERS_ENDPOINTS_MAX)
        return parameters_reject(reason, LAGO_EPARAMETER, "endpoint_count", "above 64",
                                 "how many endpoints the pointer leads to");
    if (v->endpoint_count && !v->endpoints)
        return parameters_reject(reason, LAGO_EPARAMETER, "endpoints", "NULL with a count", NULL);
    for (size_t i = 0; i <= v->endpoint_count; i++) {
        const char *host = place(v, i);
        const char *problem = host ? parameters_place_problem(host) : "NULL";
        if (problem) return reject_place(reason, i, problem, host_hint);
        int rc = parameters_is_path(host) ? check_path(v, i, reason) : 0;
        if (rc < 0) return rc;
    }
    return 0;
}

static int check_proxy_login(const lago_proxy_t *proxy, lago_reason_t *reason) {
    const char *problem = proxy->username ? parameters_user_problem(proxy->username) : NULL;
    /* RFC 7617, 2: the first ':' ends the user */
    if (!problem && proxy->type == LAGO_PROXY_HTTP && proxy->username && strchr(proxy->username, ':')) problem = "contains ':'";
    if (problem)
        return parameters_reject(reason, LAGO_EPARAMETER, "proxy.username", problem, "NULL to give none; up to 255 bytes");
    if (!proxy->password) return 0;
    problem = proxy->username ? parameters_name_problem(proxy->password) : "without a username";
    return problem ? parameters_reject(reason, LAGO_EPARAMETER, "proxy.password", problem, "up to 255 bytes") : 0;
}

static int check_proxy(const lago_proxy_t *proxy, lago_reason_t *reason) {
    static const char type_hint[] = "LAGO_PROXY_SOCKS5 or LAGO_PROXY_HTTP, or all of it zero";
    if (proxy->type == LAGO_PROXY_NONE) {
        bool given = proxy->host || proxy->port || proxy->username || proxy->password;
        return given ? parameters_reject(reason, LAGO_EPARAMETER, "proxy.type", "none, but the rest is given", type_hint) : 0;
    }
    if (proxy->type != LAGO_PROXY_SOCKS5 && proxy->type != LAGO_PROXY_HTTP)
        return parameters_reject(reason, LAGO_EPARAMETER, "proxy.type", "unknown", type_hint);
    const char *problem = proxy->host ? parameters_host_problem(proxy->host) : "NULL";
    if (problem)
        return parameters_reject(reason, LAGO_EPARAMETER, "proxy.host", problem,
                                 "a name, an IPv4 or an IPv6 address without brackets; the port goes into `proxy.port`");
    return check_proxy_login(proxy, reason);
}

int parameters_check_reach(const lago_parameters_t *v, lago_reason_t *reason) {
    int rc = check_proxy(&v->proxy, reason);
    if (rc == 0) rc = check_places(v, reason);
    if (rc < 0) return rc;
    const char *problem = v->local_address ? parameters_address_problem(v->local_address) : NULL;
    if (!problem) return 0;
    return parameters_reject(reason, LAGO_EPARAMETER, "local_address", problem,
                             "an address of this machine, as 192.0.2.1 or 2001:db8::1; NULL for the system's choice");
}

/* ---------------------------------------------------------------- copies */

int parameters_new_endpoints(struct parameters *p, size_t count) {
    /* a piece's data lies as malloc's memory does: two words behind it */
    p->endpoints = (void *)parameters_room(p, count * sizeof(lago_endpoint_t));
    if (!p->endpoints) return LAGO_ENOMEM;
    p->values.endpoints = p->endpoints;
    p->values.endpoint_count = count;
    return 0;
}

static int hold_endpoints(struct parameters *p) {
    const lago_endpoint_t *from = p->values.endpoints;
    size_t count = p->values.endpoint_count;
    if (count == 0) return 0;
    if (parameters_new_endpoints(p, count) < 0) return LAGO_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        p->endpoints[i].port = from[i].port ? from[i].port : parameters_default_port(&p->values);
        p->endpoints[i].host = parameters_hold(p, from[i].host);
        if (!p->endpoints[i].host) return LAGO_ENOMEM;
    }
    return 0;
}

int parameters_hold_reach(struct parameters *p) {
    lago_parameters_t *v = &p->values;
    const char **strings[] = { &v->host, &v->local_address, &v->proxy.host, &v->proxy.username, &v->proxy.password };
    int rc = parameters_hold_all(p, strings, sizeof strings / sizeof strings[0]);
    return rc == 0 ? hold_endpoints(p) : rc;
}
