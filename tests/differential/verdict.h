/* What either codec made of the same octets, and whether both are right. */
#ifndef DIFFERENTIAL_VERDICT_H
#define DIFFERENTIAL_VERDICT_H

#include "explain.h"
#include "run.h"

#define METHOD_ID_SIZE 4u
#define FLAGS_NOT_OURS 3u /* property flags that basic does not have, the continuation among them */

struct verdict {
    int own;                /* 0, or how lago refuses */
    int peer;               /* 0, or how librabbitmq refuses */
    struct reading reading; /* when librabbitmq has accepted */
    bool trailing;          /* it has left octets unread */
    bool flags;             /* it has skipped property flags */
    bool weight;            /* a content header with a weight, or of a class that has no contents */
    bool old_letter;        /* lago has accepted a 'U' */
};

/* One more difference that has this reason. @return true. */
bool excuse(struct run *run, enum reason reason);

/* Both must have accepted, or there is a reason; values are compared by the caller. */
bool judge(struct run *run, const struct verdict *v);

static inline bool both_accept(const struct verdict *v) { return v->own == 0 && v->peer == 0; }

/* lago's reading of a payload; tables are walked to their ends. */
const struct method_info *verdict_own_method(struct run *run, struct verdict *v, void *payload, size_t size,
                                             union method_args *args);
void verdict_own_header(struct run *run, struct verdict *v, void *payload, size_t size, struct content_header *header);

/* What librabbitmq has accepted, beside the octets that it came from: a method's with its number, a header's from its flags on. */
void verdict_peer_method(struct run *run, struct verdict *v, const uint8_t *payload, size_t size, const void *decoded);
void verdict_peer_properties(struct run *run, struct verdict *v, const uint8_t *flags, size_t size, const void *decoded);

#endif
