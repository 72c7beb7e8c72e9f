/*
 * Parameters from variables: AMQP_URL, and over it RABBITMQ_*. The variables come through a lookup function, so that nothing
 * below the adapters reads the environment.
 */
#include "text.h"
#include "url_query.h"
#include <string.h>

#define PREFIX "RABBITMQ_"

struct variables {
    parameters_lookup lookup;
    void *data;
    lago_reason_t *reason;
};

/* A variable that is there and not empty. */
static const char *find(const struct variables *from, const char *name) {
    const char *value = from->lookup(name, from->data);
    return value && *value ? value : NULL;
}

static int reject(const struct variables *from, const char *name, const char *problem, const char *hint) {
    return parameters_reject(from->reason, LAGO_EPARAMETER, name, problem, hint);
}

/* A string as it is: variables are not percent-encoded. */
static int take_string(struct parameters *p, const struct variables *from, const char *name,
                       const char *(*problem)(const char *value), const char **out) {
    const char *value = find(from, name);
    if (!value) return 0;
    const char *found = problem ? problem(value) : NULL;
    if (found) return reject(from, name, found, NULL);
    *out = parameters_hold(p, value);
    return *out ? 0 : parameters_reject(from->reason, LAGO_ENOMEM, NULL, NULL, NULL);
}

/* In place of all hosts of the URL. */
static int take_host(struct parameters *p, const struct variables *from) {
    const char *before = p->values.host;
    int rc = take_string(p, from, PREFIX "HOST", parameters_place_problem, &p->values.host);
    if (rc == 0 && p->values.host != before) p->values.endpoint_count = 0;
    return rc;
}

/* For all of them. */
static int take_port(struct parameters *p, const struct variables *from) {
    const char *value = find(from, PREFIX "PORT");
    uint64_t port = 0;
    if (!value) return 0;
    const char *problem = number_read(value, strlen(value), 1, UINT16_MAX, &port);
    if (problem)
        return reject(
            from, PREFIX "PORT", problem,
            "1 to 65535; Kubernetes sets it to tcp://... for a service named rabbitmq, unless enableServiceLinks is off");
    p->values.port = (uint16_t)port;
    for (size_t i = 0; i < p->values.endpoint_count; i++) p->endpoints[i].port = (uint16_t)port;
    return 0;
}

static int take_names(struct parameters *p, const struct variables *from) {
    lago_parameters_t *v = &p->values;
    const char *user = find(from, PREFIX "USER") ? PREFIX "USER" : PREFIX "USERNAME";
    int rc = take_host(p, from);
    if (rc == 0) rc = take_port(p, from);
    if (rc == 0) rc = take_string(p, from, user, parameters_user_problem, &v->credentials.username);
    if (rc == 0) rc = take_string(p, from, PREFIX "PASSWORD", NULL, &v->credentials.password);
    if (rc == 0) rc = take_string(p, from, PREFIX "VHOST", parameters_name_problem, &v->virtual_host);
    if (rc == 0) rc = take_string(p, from, PREFIX "CONNECTION_NAME", parameters_name_problem, &v->connection_name);
    return rc;
}

/* RABBITMQ_HEARTBEAT for heartbeat */
static void variable_name(char *out, size_t size, const char *key) {
    struct text t;
    text_init(&t, out, size);
    text_add(&t, PREFIX);
    text_add(&t, key);
    for (; *out; out++)
        if (*out >= 'a') *out = (char)(*out - 'a' + 'A'); /* keys are of small letters and '_' */
}

static int take_keys(struct parameters *p, const struct variables *from) {
    char name[64]; /* the longest key has 26 letters */
    uint64_t seen = 0;
    for (size_t i = 0; i < QUERY_KEY_COUNT; i++) {
        if (strcmp(query_key_name(i), "name") == 0) continue; /* RABBITMQ_CONNECTION_NAME, which says more */
        variable_name(name, sizeof name, query_key_name(i));
        const char *value = find(from, name);
        if (!value) continue;
        seen |= QUERY_BIT(i);
        int rc = query_key_set(p, i, name, value, LAGO_EPARAMETER, from->reason);
        if (rc < 0) return rc;
    }
    struct query_conflict conflict;
    if (!query_conflicts(seen, p, &conflict)) return 0;
    variable_name(name, sizeof name, query_key_name(conflict.index));
    return reject(from, name, conflict.problem, conflict.hint);
}

/* The URL's own reason, with the variable in front. */
static int blame_url(lago_reason_t *reason, int rc) {
    int code = rc == LAGO_EURL ? LAGO_EPARAMETER : rc;
    if (!reason || rc == LAGO_ENOMEM) return code;
    lago_reason_t inner = *reason;
    return parameters_reject(reason, code, "AMQP_URL", inner.detail, inner.hint);
}

int parameters_from_variables(const lago_allocator_t *alloc, parameters_lookup lookup, void *data, struct parameters **out,
                              lago_reason_t *reason) {
    struct variables from = { lookup, data, reason };
    const char *url = find(&from, "AMQP_URL");
    struct parameters *p = NULL;
    *out = NULL;
    int rc = url_read(alloc, url ? url : "amqp://", &p, reason);
    if (rc < 0) return blame_url(reason, rc);
    rc = take_names(p, &from);
    if (rc == 0) rc = take_keys(p, &from);
    if (rc < 0) {
        parameters_free(p);
        return rc;
    }
    url_finish(p);
    *out = p;
    return 0;
}
