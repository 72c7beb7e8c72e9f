/* The list of places to dial, flat: what belongs to which parameters is said by each. */
#include "targets.h"
#include "alloc.h"
#include "url.h"

#define PARAMETERS_MAX 64u /* more is a mistake: a count that was never set */

static int reject_count(lago_reason_t *reason) {
    return parameters_reject(reason, LAGO_EPARAMETER, "parameters_count", "above 64", "how many parameters the pointer leads to");
}

/* The copies, checked: one of a URL, or each of those that were given. */
static int read_url(const lago_allocator_t *alloc, const char *url, struct targets *targets, lago_reason_t *reason) {
    struct parameters *parsed = NULL;
    int rc = url_parse(alloc, url, &parsed, reason);
    if (rc < 0) return rc;
    rc = parameters_copy(alloc, &parsed->values, &targets->parameters[0], reason);
    parameters_free(parsed);
    if (rc == 0) targets->parameters_count = 1;
    return rc;
}

static int read_parameters(const lago_allocator_t *alloc, const lago_parameters_t *from, size_t count, struct targets *targets,
                           lago_reason_t *reason) {
    for (size_t i = 0; i < count; i++) {
        int rc = parameters_copy(alloc, from ? &from[i] : NULL, &targets->parameters[i], reason);
        if (rc < 0) return rc;
        targets->parameters_count++;
    }
    return 0;
}

/* All places of all parameters. */
static int flatten(const lago_allocator_t *alloc, struct targets *targets) {
    size_t count = 0;
    for (size_t i = 0; i < targets->parameters_count; i++) count += 1 + targets->parameters[i]->values.endpoint_count;
    targets->items = mem_zero(alloc, count, sizeof(*targets->items));
    if (!targets->items) return LAGO_ENOMEM;
    for (size_t i = 0; i < targets->parameters_count; i++) {
        const lago_parameters_t *p = &targets->parameters[i]->values;
        targets->items[targets->count++] = (struct target){ i, p, p->host, p->port };
        for (size_t k = 0; k < p->endpoint_count; k++)
            targets->items[targets->count++] = (struct target){ i, p, p->endpoints[k].host, p->endpoints[k].port };
    }
    return 0;
}

int targets_make(const lago_allocator_t *alloc, const char *url, const lago_connection_options_t *options,
                 struct targets *targets, lago_reason_t *reason) {
    const lago_parameters_t *from = options ? options->parameters : NULL;
    size_t count = options && options->parameters_count ? options->parameters_count : 1;
    *targets = (struct targets){ 0 };
    if (count > PARAMETERS_MAX) return reject_count(reason);
    targets->parameters = mem_zero(alloc, count, sizeof(*targets->parameters));
    if (!targets->parameters) return LAGO_ENOMEM;
    int rc = url ? read_url(alloc, url, targets, reason) : read_parameters(alloc, from, count, targets, reason);
    if (rc == 0) rc = flatten(alloc, targets);
    if (rc == 0 && targets->count > 1 && options && (options->stream || options->socket_fd))
        rc = parameters_reject(reason, LAGO_EPARAMETER, "stream", "given with several hosts", "it leads to one broker only");
    if (rc < 0) targets_free(alloc, targets);
    return rc;
}

void targets_free(const lago_allocator_t *alloc, struct targets *targets) {
    for (size_t i = 0; i < targets->parameters_count; i++) parameters_free(targets->parameters[i]);
    mem_free(alloc, targets->parameters);
    mem_free(alloc, targets->items);
    *targets = (struct targets){ 0 };
}

/* Fisher and Yates; the remainder's bias is one in 2^58 here. */
void targets_shuffle(struct targets *targets, uint64_t (*random)(void *self), void *self) {
    for (size_t i = targets->count; i > 1; i--) {
        size_t other = (size_t)(random(self) % i);
        struct target moved = targets->items[i - 1];
        targets->items[i - 1] = targets->items[other];
        targets->items[other] = moved;
    }
}

void targets_share(struct targets *targets, struct alike *alike) {
    struct parameters *own = targets->parameters[0];
    if (!alike || targets->parameters_count > 1) return;
    if (!alike->parameters || !parameters_same(alike->parameters, own)) {
        alike->parameters = own;
        return;
    }
    targets->parameters[0] = parameters_ref(alike->parameters);
    const lago_parameters_t *p = &targets->parameters[0]->values;
    targets->items[0] = (struct target){ 0, p, p->host, p->port }; /* the only one: those with endpoints are never the same */
    parameters_free(own);
}

void targets_unshare(const struct targets *targets, struct alike *alike) {
    if (alike && targets->parameters_count > 0 && alike->parameters == targets->parameters[0]) alike->parameters = NULL;
}
