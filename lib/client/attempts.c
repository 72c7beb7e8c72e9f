/* What has failed on the way, and the phases, as they are told. */
#include "attempts.h"
#include "alloc.h"
#include "connection.h"
#include <string.h>

int attempts_init(lago_connection_t *conn, bool watched) {
    if (!watched) return 0;
    conn->attempts.phases = mem_zero(conn->alloc, PHASES_WAITING_MAX, sizeof(*conn->attempts.phases));
    return conn->attempts.phases ? 0 : LAGO_ENOMEM;
}

/* Most need room for one: a name's first address that nobody listens at. Only as long as the oldest one is where it was put. */
static void make_room(lago_connection_t *conn) {
    struct attempts *a = &conn->attempts;
    if (a->kept_count != a->capacity || a->capacity == LAGO_ATTEMPTS_MAX) return;
    uint32_t capacity = a->capacity ? a->capacity * 2 : 1;
    lago_reason_t *failed = mem_resize(conn->alloc, a->failed, capacity, sizeof(*failed));
    if (!failed) return;
    a->failed = failed;
    a->capacity = capacity;
}

void attempts_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    struct attempts *a = &conn->attempts;
    make_room(conn);
    if (a->capacity) a->failed[a->kept_count++ % a->capacity] = *reason;
    a->failed_count++;
}

void attempts_clear(lago_connection_t *conn) {
    mem_free(conn->alloc, conn->attempts.failed);
    mem_free(conn->alloc, conn->attempts.phases);
    conn->attempts = (struct attempts){ 0 };
}

const lago_reason_t *lago_connection_attempt(const lago_connection_t *conn, size_t index, uint32_t *number) {
    if (!conn) return NULL;
    const struct attempts *a = &conn->attempts;
    uint32_t remembered = a->kept_count < a->capacity ? a->kept_count : a->capacity;
    if (index >= remembered) return NULL;
    uint32_t behind = remembered - (uint32_t)index; /* from the end */
    if (number) *number = a->failed_count - behind + 1;
    return &a->failed[(a->kept_count - behind) % a->capacity];
}

void phase_begun(lago_connection_t *conn, lago_phase_t phase) {
    struct attempts *a = &conn->attempts;
    if (!a->phases) return;
    if (a->phase_count == PHASES_WAITING_MAX) /* nobody has turned for long: the oldest news is the least interesting */
        memmove(a->phases, a->phases + 1, --a->phase_count * sizeof(a->phases[0]));
    a->phases[a->phase_count].phase = phase;
    a->phases[a->phase_count++].attempt = a->failed_count + 1;
    conn->errands = true;
    connection_wake(conn, true);
}

bool phase_step(lago_connection_t *conn) {
    struct attempts *a = &conn->attempts;
    if (a->phase_count == 0) return false;
    lago_phase_t phase = a->phases[0].phase;
    uint32_t attempt = a->phases[0].attempt;
    memmove(a->phases, a->phases + 1, --a->phase_count * sizeof(a->phases[0]));
    watch_calling(conn, "on_phase", 0);
    conn->options.on_phase(conn, phase, attempt, conn->options.data);
    return true;
}
