/* The one place that reads the environment, in the one call that says so. */
#include "alloc.h"
#include "parameters.h"
#include <stdlib.h>

static const char *lookup(const char *name, void *data) {
    (void)data;
    return getenv(name);
}

int lago_parameters_from_environment(lago_parameters_t **parameters, lago_reason_t *reason) {
    if (!parameters) return parameters_reject(reason, LAGO_EINVAL, "parameters", "NULL", NULL);
    *parameters = NULL;
    struct parameters *p = NULL;
    int rc = parameters_from_variables(&mem_default, lookup, NULL, &p, reason);
    if (rc == 0) *parameters = &p->values;
    return rc;
}
