/* The channel handle: open, close, free, ask. Its operations are in methods.c, consume.c and publish.c. */
#include "channel.h"

#include "alloc.h"
#include "operation.h"
#include "publisher.h"
#include "reason.h"
#include "rpc.h"
#include <limits.h>
#include <string.h>

#define GOODBYE "Normal shutdown" /* pika's words */

/* For channels that end when there is no memory left to say why. */
static const lago_reason_t reason_without_memory = { .code = LAGO_ENOMEM, .origin = LAGO_BY_CLIENT };

int channel_result(lago_channel_t *ch, int rc) {
    if (ch && rc < 0 && rc != LAGO_EAGAIN && rc != LAGO_ESTALE && ch->error == 0) ch->error = rc;
    return rc;
}

static bool is_owed(lago_channel_state_t state) { return state == LAGO_CHANNEL_OPENING || state == LAGO_CHANNEL_CLOSING; }

void channel_enter(lago_channel_t *ch, lago_channel_state_t state) {
    ch->conn->owed_channels += is_owed(state);
    ch->conn->owed_channels -= is_owed((lago_channel_state_t)ch->state);
    ch->state = (uint8_t)state;
}

/* Its number tells it nothing more. The number of a channel that has ended may be another's by now. */
static void disown(const lago_channel_t *ch) {
    struct session *s = &ch->conn->session;
    if (session_channel_owner(s, ch->number) == ch) session_channel_own(s, ch->number, NULL);
}

/* ---------------------------------------------------------------- opening */

static int options_check(const lago_channel_options_t *options) {
    for (size_t i = 0; options && i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
        if (options->reserved[i]) return LAGO_EINVAL;
    return 0;
}

static struct channel_callbacks callbacks_of(const lago_channel_options_t *options) {
    return (struct channel_callbacks){ .on_open = options->on_open,
                                       .on_close = options->on_close,
                                       .on_return = options->on_return,
                                       .on_flow = options->on_flow,
                                       .data = options->data,
                                       .free_data = options->free_data };
}

static lago_channel_t *channel_new(lago_connection_t *conn, const lago_channel_options_t *options) {
    lago_channel_t *ch = mem_zero(conn->alloc, 1, sizeof(*ch));
    if (!ch) return NULL;
    ch->conn = conn;
    if (options) {
        ch->options = callbacks_of(options);
        ch->single_acks = options->single_acks;
    }
    list_init(&ch->in_connection);
    list_init(&ch->operations);
    return ch;
}

int channel_begin_consuming(lago_channel_t *ch) {
    const lago_allocator_t *alloc = ch->conn->alloc;
    if (ch->consuming) return 0;
    ch->consuming = mem_zero(alloc, 1, sizeof(*ch->consuming));
    if (!ch->consuming) return LAGO_ENOMEM;
    ch->consuming->recent_alike = ALIKE_NONE;
    ch->consuming->ack_run_max = ch->single_acks ? 1 : UINT_MAX;
    strmap_init(&ch->consuming->consumers, alloc);
    tagset_init(&ch->consuming->unacked, alloc);
    timeline_init(&ch->consuming->delivered, alloc, METRICS_RESOLUTION_US);
    return 0;
}

int channel_begin_confirming(lago_channel_t *ch) {
    const lago_allocator_t *alloc = ch->conn->alloc;
    if (ch->confirming) return 0;
    ch->confirming = mem_zero(alloc, 1, sizeof(*ch->confirming));
    if (!ch->confirming) return LAGO_ENOMEM;
    confirms_init(&ch->confirming->confirms, alloc);
    timeline_init(&ch->confirming->published_at, alloc, METRICS_RESOLUTION_US);
    return 0;
}

void channel_end_consuming(lago_channel_t *ch) {
    if (!ch->consuming) return;
    strmap_clear(&ch->consuming->consumers);
    ch->conn->tag_gaps -= ch->consuming->tag_gaps;
    tagset_clear(&ch->consuming->unacked);
    timeline_clear(&ch->consuming->delivered);
    mem_free(ch->conn->alloc, ch->consuming);
    ch->consuming = NULL;
}

void channel_end_confirming(lago_channel_t *ch) {
    if (!ch->confirming) return;
    ch->conn->owed_publishes -= confirms_owed(&ch->confirming->confirms);
    confirms_clear(&ch->confirming->confirms);
    timeline_clear(&ch->confirming->published_at);
    mem_free(ch->conn->alloc, ch->confirming);
    ch->confirming = NULL;
}

/* It is not open, and now it never will be; the broker may still answer, so its number stays taken. */
static void opening_timed_out(lago_connection_t *conn, struct deadline *self) {
    lago_channel_t *ch = DEADLINE_OWNER(self, lago_channel_t, deadline);
    lago_reason_t reason;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, "channel.open was not answered in time");
    channel_end(ch, &reason, session_channel_give_up(&conn->session, ch->number, REPLY_SUCCESS, GOODBYE));
}

int lago_channel_open(lago_connection_t *conn, const lago_channel_options_t *options, lago_channel_t **result) {
    if (result) *result = NULL;
    if (!conn || !result || options_check(options) < 0) return LAGO_EINVAL;
    if (conn->stage > STAGE_OPEN) return LAGO_ECLOSED;
    uint32_t timeout_ms = options && options->timeout_ms ? options->timeout_ms : conn->p->operation_timeout_ms;
    lago_channel_t *ch = channel_new(conn, options);
    if (!ch || deadline_reserve(conn, timeout_ms) < 0) {
        mem_free(conn->alloc, ch);
        return LAGO_ENOMEM;
    }
    connection_touch(conn);
    int number = session_channel_open(&conn->session, ch);
    if (number < 0) {
        mem_free(conn->alloc, ch);
        return number;
    }
    ch->number = (uint16_t)number;
    channel_enter(ch, LAGO_CHANNEL_OPENING);
    list_append(&conn->channels, &ch->in_connection);
    conn->abandoned = false;
    (void)deadline_set(conn, &ch->deadline, timeout_ms, opening_timed_out); /* room was reserved */
    connection_wake(conn, false);
    *result = ch;
    return 0;
}

void channel_opened(lago_channel_t *ch) {
    if (ch->state != LAGO_CHANNEL_OPENING) return;
    deadline_cancel(ch->conn, &ch->deadline);
    channel_enter(ch, LAGO_CHANNEL_OPEN);
    ch->opened = true;
    ch->conn->counters.channels_opened++;
    if (ch->options.on_open) ch->options.on_open(ch, NULL, ch->options.data);
}

void channels_beyond(lago_connection_t *conn, uint16_t channel_max) {
    struct list *next;
    lago_reason_t reason;
    reason_init(&reason, LAGO_ENOCHANNEL, LAGO_BY_CLIENT);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, "the broker allows only %u channels", channel_max);
    for (struct list *node = conn->channels.next; node != &conn->channels; node = next) {
        lago_channel_t *ch = LIST_ENTRY(node, lago_channel_t, in_connection);
        next = node->next;
        if (ch->state == LAGO_CHANNEL_CLOSED || ch->number <= channel_max) continue;
        channel_end(ch, &reason, 0);
    }
    /* those too whose handle was freed meanwhile */
    for (uint16_t n = channel_max; (n = session_channel_next(&conn->session, n)) != 0;) session_channel_drop(&conn->session, n);
}

/* ---------------------------------------------------------------- closing */

static void closing_timed_out(lago_connection_t *conn, struct deadline *self) {
    lago_channel_t *ch = DEADLINE_OWNER(self, lago_channel_t, deadline);
    lago_reason_t reason;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, ch->goodbye_sent ? "channel.close was not answered in time" : "confirms did not come in time");
    channel_end(ch, &reason, session_channel_give_up(&conn->session, ch->number, REPLY_SUCCESS, GOODBYE));
}

/* Its own last words, or those of the connection that closes it. */
static const char *goodbye_of(const lago_channel_t *ch) {
    if (ch->reply_text) return ch->reply_text;
    return ch->conn->closing.reply_text ? ch->conn->closing.reply_text : GOODBYE;
}

/*
 * channel.close leaves behind everything accepted, once every operation has been answered and the confirms that are awaited have
 * come: what the broker answers after it would have to be discarded (1.5.2.5), and completions would say less than is known.
 */
void channel_advance(lago_channel_t *ch) {
    if (ch->state != LAGO_CHANNEL_CLOSING || ch->goodbye_sent) return;
    if (operation_is_owed(ch) || (ch->await_confirms && lago_channel_unconfirmed_count(ch) > 0)) return;
    int rc = session_channel_close(&ch->conn->session, ch->number, ch->reply_code, goodbye_of(ch));
    if (rc < 0) return; /* the deadline ends it */
    ch->goodbye_sent = true;
    connection_wake(ch->conn, false);
}

int lago_channel_close(lago_channel_t *ch, const lago_close_t *options) {
    static const lago_close_t defaults = { 0 };
    const lago_close_t *how = options ? options : &defaults;
    if (!ch) return LAGO_EINVAL;
    if (ch->state == LAGO_CHANNEL_CLOSED) return LAGO_ECLOSED;
    if (ch->state == LAGO_CHANNEL_CLOSING) return 0;
    size_t size = how->reply_text ? strlen(how->reply_text) : 0;
    if (size > UINT8_MAX) return channel_result(ch, LAGO_ETOOLONG);
    char *text = how->reply_text ? mem_copy(ch->conn->alloc, how->reply_text, size) : NULL;
    if ((how->reply_text && !text) || timers_reserve(&ch->conn->timers) < 0) {
        mem_free(ch->conn->alloc, text);
        return channel_result(ch, LAGO_ENOMEM);
    }
    connection_touch(ch->conn);
    ch->reply_text = text;
    ch->reply_code = how->reply_code ? how->reply_code : REPLY_SUCCESS;
    ch->await_confirms = !how->no_await_confirms;
    hold_drop_all(ch, true); /* while they are still given back: an ack during the goodbye must not cover what nobody was told */
    channel_enter(ch, LAGO_CHANNEL_CLOSING);
    deadline_cancel(ch->conn, &ch->deadline);
    uint32_t timeout_ms = how->timeout_ms ? how->timeout_ms : ch->conn->p->close_timeout_ms;
    (void)deadline_set(ch->conn, &ch->deadline, timeout_ms, closing_timed_out); /* room was reserved */
    channel_advance(ch);
    return 0;
}

void channel_closed(lago_channel_t *ch, uint64_t publishes_sent) {
    lago_reason_t reason;
    const char *text = goodbye_of(ch);
    reason_init(&reason, LAGO_ECLOSED, LAGO_BY_CLIENT);
    reason_reply(&reason, ch->reply_code, text, strlen(text), 0, 0);
    reason.phase = connection_phase(ch->conn);
    channel_end(ch, &reason, publishes_sent);
}

void channel_end(lago_channel_t *ch, const lago_reason_t *reason, uint64_t publishes_sent) {
    channel_enter(ch, LAGO_CHANNEL_CLOSED);
    ch->publishes_sent = publishes_sent;
    deadline_cancel(ch->conn, &ch->deadline);
    disown(ch);
    ch->reason = mem_alloc(ch->conn->alloc, sizeof(*reason));
    if (ch->reason) *ch->reason = *reason;
    list_remove(&ch->in_connection);
    list_append(&ch->conn->ended_channels, &ch->in_connection);
    ch->conn->errands = true;
    connection_wake(ch->conn, true);
}

/* ---------------------------------------------------------------- freeing */

void channel_destroy(lago_channel_t *ch) {
    lago_connection_t *conn = ch->conn;
    ch->freed = true; /* a free_data may free it once more */
    for (struct operation *op; (op = operation_first(ch)) != NULL;) operation_free(op);
    while (consumers_end_step(ch)) {
    }
    rpc_destroy(ch);
    publishers_destroy(ch);
    channel_end_confirming(ch);
    channel_end_consuming(ch);
    deadline_cancel(conn, &ch->deadline);
    channel_enter(ch, LAGO_CHANNEL_CLOSED);
    list_remove(&ch->in_connection);
    disown(ch);
    if (ch->options.free_data) ch->options.free_data(ch->options.data);
    mem_free(conn->alloc, ch->reply_text);
    mem_free(conn->alloc, ch->reason);
    mem_free(conn->alloc, ch);
}

/* Inside a callback its memory must stay until the turn is over; outside it goes at once. */
void lago_channel_free(lago_channel_t *ch) {
    if (!ch || ch->freed) return;
    lago_connection_t *conn = ch->conn;
    connection_touch(conn);
    bool silent = ch->state == LAGO_CHANNEL_CLOSED || ch->goodbye_sent || conn->stage > STAGE_CLOSING;
    if (!silent && session_channel_close(&conn->session, ch->number, REPLY_SUCCESS, GOODBYE) < 0)
        (void)session_channel_give_up(&conn->session, ch->number, REPLY_SUCCESS, GOODBYE);
    for (struct operation *op; (op = operation_first(ch)) != NULL;) operation_free(op);
    rpc_forget_calls(ch);
    publishers_forget(ch);
    ch->freed = true;
    channel_enter(ch, LAGO_CHANNEL_CLOSED);
    if (conn->settling == ch) conn->settling = NULL;
    bool halted = conn->halted != 0;
    hold_drop_all(ch, false);
    disown(ch);
    deadline_cancel(conn, &ch->deadline);
    list_remove(&ch->in_connection);
    list_append(&conn->garbage, &ch->in_connection);
    connection_wake(conn, conn->stage == STAGE_CLOSING || conn->drain_owed || halted); /* what it held may be gone */
    connection_reap(conn);
}

/* ---------------------------------------------------------------- asking */

int lago_channel_error(const lago_channel_t *ch) { return ch ? ch->error : LAGO_EINVAL; }

lago_channel_state_t lago_channel_state(const lago_channel_t *ch) {
    return ch ? (lago_channel_state_t)ch->state : LAGO_CHANNEL_CLOSED;
}

uint16_t lago_channel_number(const lago_channel_t *ch) { return ch ? ch->number : 0; }

lago_connection_t *lago_channel_connection(const lago_channel_t *ch) { return ch ? ch->conn : NULL; }

void *lago_channel_data(const lago_channel_t *ch) { return ch ? ch->options.data : NULL; }

const lago_reason_t *lago_channel_reason(const lago_channel_t *ch) {
    if (!ch || ch->state != LAGO_CHANNEL_CLOSED) return NULL;
    return ch->reason ? ch->reason : &reason_without_memory;
}

size_t lago_channel_unacked_count(const lago_channel_t *ch) {
    return ch && ch->consuming ? tagset_count(&ch->consuming->unacked) : 0;
}

size_t lago_channel_unconfirmed_count(const lago_channel_t *ch) {
    return ch && ch->confirming ? ch->confirming->confirms.unsettled : 0;
}

bool lago_channel_is_flow_active(const lago_channel_t *ch) {
    return ch && ch->state != LAGO_CHANNEL_CLOSED && !session_channel_is_stopped(&ch->conn->session, ch->number);
}
