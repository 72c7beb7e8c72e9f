/* Timers of the user (pika's call_later). */
#include "alloc.h"
#include "connection.h"

struct later {
    struct list node;
    struct deadline deadline;
    uint64_t id;
    lago_timer_cb callback;
    void *data;
};

static void later_free(lago_connection_t *conn, struct later *later) {
    deadline_cancel(conn, &later->deadline);
    list_remove(&later->node);
    mem_free(conn->alloc, later);
}

static void tell(lago_connection_t *conn, struct later *later, int status) {
    struct later told = *later;
    later_free(conn, later);
    told.callback(conn, status, told.data);
}

static void fire(lago_connection_t *conn, struct deadline *self) { tell(conn, DEADLINE_OWNER(self, struct later, deadline), 0); }

int lago_connection_call_later(lago_connection_t *conn, uint32_t delay_ms, lago_timer_cb callback, void *data,
                               uint64_t *timer_id) {
    if (!conn || !callback) return LAGO_EINVAL;
    if (conn->stage >= STAGE_ENDING) return LAGO_ECLOSED;
    struct later *later = mem_zero(conn->alloc, 1, sizeof(*later));
    if (!later) return LAGO_ENOMEM;
    connection_touch(conn);
    if (deadline_set(conn, &later->deadline, delay_ms, fire) < 0) {
        mem_free(conn->alloc, later);
        return LAGO_ENOMEM;
    }
    later->id = ++conn->later_ids;
    later->callback = callback;
    later->data = data;
    list_append(&conn->later, &later->node);
    if (timer_id) *timer_id = later->id;
    connection_wake(conn, false);
    return 0;
}

int lago_connection_remove_timeout(lago_connection_t *conn, uint64_t timer_id) {
    if (!conn) return LAGO_EINVAL;
    for (struct list *node = conn->later.next; node != &conn->later; node = node->next) {
        struct later *later = LIST_ENTRY(node, struct later, node);
        if (later->id != timer_id) continue;
        later_free(conn, later);
        connection_wake(conn, false);
        return 0;
    }
    return LAGO_ESTALE;
}

bool later_cancel_step(lago_connection_t *conn) {
    struct list *node = list_first(&conn->later);
    if (node) tell(conn, LIST_ENTRY(node, struct later, node), LAGO_ECANCELED);
    return node != NULL;
}

void later_clear(lago_connection_t *conn) {
    for (struct list *node; (node = list_first(&conn->later)) != NULL;) later_free(conn, LIST_ENTRY(node, struct later, node));
}
