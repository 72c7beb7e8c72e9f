/* What has failed on the way, and the phases, as they are told. */
#include "attempts.h"
#include "alloc.h"
#include "connection.h"
#include <string.h>

void attempts_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    struct attempts *a = &conn->attempts;
    if (!a->failed) a->failed = mem_zero(conn->alloc, LAGO_ATTEMPTS_MAX, sizeof(*a->failed));
    if (a->failed) a->failed[a->failed_count % LAGO_ATTEMPTS_MAX] = *reason;
    a->failed_count++;
}

void attempts_clear(lago_connection_t *conn) {
    mem_free(conn->alloc, conn->attempts.failed);
    conn->attempts = (struct attempts){ 0 };
}

const lago_reason_t *lago_connection_attempt(const lago_connection_t *conn, size_t index, uint32_t *number) {
    if (!conn || !conn->attempts.failed) return NULL;
    uint32_t count = conn->attempts.failed_count;
    uint32_t forgotten = count > LAGO_ATTEMPTS_MAX ? count - LAGO_ATTEMPTS_MAX : 0;
    if (index >= count - forgotten) return NULL;
    if (number) *number = forgotten + (uint32_t)index + 1;
    return &conn->attempts.failed[(forgotten + index) % LAGO_ATTEMPTS_MAX];
}

void phase_begun(lago_connection_t *conn, lago_phase_t phase) {
    struct attempts *a = &conn->attempts;
    if (!conn->options.on_phase) return;
    if (a->phase_count == PHASES_WAITING_MAX) /* nobody has turned for long: the oldest news is the least interesting */
        memmove(a->phases, a->phases + 1, --a->phase_count * sizeof(a->phases[0]));
    a->phases[a->phase_count].phase = phase;
    a->phases[a->phase_count++].attempt = a->failed_count + 1;
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
