/*
 * The way out: methods and messages become frames in the output queue, in program order per channel. What may not leave yet
 * (before open-ok, or a publish while the broker has the connection blocked, and all that follows it on its channel) is held:
 * methods encoded, bodies unsplit, because frame_max is not known before tuning.
 */
#include "alloc.h"
#include "deadline.h"
#include "everyday.h"
#include "internal.h"
#include "probes.h"
#include "reason.h"
#include "route.h"
#include <string.h>

/* Memory was short when held output was to leave. */
#define HELD_RETRY_MS 50u

/* Memory that each takes beside its bytes, about: it counts, or many tiny messages would take seven times what their bytes say. */
#define HELD_COST 224u

/* An accepted method or message that waits. */
struct held {
    struct list node;
    uint16_t channel;
    bool publish;
    bool secret;        /* overwritten when it was written, or dropped */
    bool harmless;      /* may be said twice, and so before open-ok */
    bool ahead;         /* and was: it is kept in case that it has to be said again */
    struct block *head; /* whole frames: the method, for a publish the header too */
    size_t head_size;
    struct block *body; /* NULL: none */
    size_t body_size;
};

/* ---------------------------------------------------------------- measuring and writing frames */

struct head {
    const struct session_route *route; /* a publish that is ready; of the other members only body_size counts */
    const struct method_info *info;    /* NULL: basic.publish, which comes too often for the engine */
    const void *args;
    struct basic_publish publish;
    struct header_plan header;
    uint64_t body_size;
    size_t method_size; /* of its payload */
};

static bool has_content(const struct head *head) { return head->info == NULL; }

static size_t head_size(const struct head *head) {
    if (head->route) return head->route->head_size;
    return head->method_size + FRAME_OVERHEAD + (has_content(head) ? head->header.size + FRAME_OVERHEAD : 0);
}

static int method_measure(const struct session *s, struct head *head, uint32_t method, const void *args) {
    struct writer w = writer_measure();
    head->route = NULL;
    head->info = method_find(method);
    head->args = args;
    method_write(&w, head->info, args);
    head->method_size = w.size;
    if (w.error) return w.error;
    return w.size <= output_piece_max(s) ? 0 : LAGO_ETOOBIG;
}

static int publish_head_measure(const struct session *s, struct head *head, const struct basic_publish *args,
                                const lago_properties_t *properties, uint64_t body_size) {
    head->route = NULL;
    head->info = NULL;
    head->publish = *args;
    head->body_size = body_size;
    int rc = publish_measure(&head->publish, &head->method_size);
    if (rc == 0) rc = content_header_plan(&head->header, properties);
    if (rc < 0) return rc;
    return head->header.size <= output_piece_max(s) ? 0 : LAGO_ETOOBIG; /* two short names always fit */
}

static void head_write(const struct head *head, uint16_t channel, uint8_t *room) {
    if (head->route) {
        memcpy(room, head->route->frames, head->route->head_size);
        (void)put_u64(room + head->route->body_size_at, head->body_size);
        return;
    }
    uint8_t *at = frame_begin(room, FRAME_METHOD, channel, head->method_size);
    if (!has_content(head)) {
        struct writer w = writer_over(at, head->method_size);
        method_write(&w, head->info, head->args);
        frame_finish(at + head->method_size);
        return;
    }
    at = frame_finish(publish_put(at, &head->publish));
    at = frame_begin(at, FRAME_HEADER, channel, head->header.size);
    frame_finish(content_header_put(at, &head->header, head->body_size));
}

int output_method(struct session *s, uint16_t channel, uint32_t method, const void *args) {
    struct head head;
    int rc = method_measure(s, &head, method, args);
    if (rc < 0) return rc;
    uint8_t *room = chunks_reserve(&s->out, head_size(&head));
    if (!room) return LAGO_ENOMEM;
    head_write(&head, channel, room);
    liveness_queued(s);
    output_sent(s, room, head_size(&head), 1);
    chunks_commit(&s->out, head_size(&head));
    return 0;
}

int output_heartbeat(struct session *s) {
    uint8_t *room = chunks_reserve(&s->out, FRAME_OVERHEAD);
    if (!room) return LAGO_ENOMEM;
    frame_finish(frame_begin(room, FRAME_HEARTBEAT, 0, 0));
    liveness_queued(s);
    output_sent(s, room, FRAME_OVERHEAD, 1);
    chunks_commit(&s->out, FRAME_OVERHEAD);
    s->counters.heartbeats_sent++;
    return 0;
}

/* ---------------------------------------------------------------- bodies */

static size_t piece_count(const struct session *s, size_t body_size) {
    return body_size / output_piece_max(s) + (body_size % output_piece_max(s) != 0);
}

static size_t frames_size(const struct session *s, size_t body_size) {
    return body_size + piece_count(s, body_size) * FRAME_OVERHEAD;
}

/* All that a referenced message needs, so that appending it cannot fail half way. */
static uint8_t *reserve_message(struct session *s, size_t small_size, size_t pieces) {
    if (chunks_reserve_slices(&s->out, 2 * pieces + 2) < 0) return NULL;
    return chunks_reserve(&s->out, small_size + pieces * FRAME_OVERHEAD);
}

/* Body frames around slices of a block; everything was reserved. */
static void append_body(struct session *s, uint16_t channel, struct block *block, size_t size) {
    const uint8_t *data = block_data(block);
    while (size > 0) {
        size_t piece = size < output_piece_max(s) ? size : output_piece_max(s);
        uint8_t *room = chunks_reserve(&s->out, FRAME_OVERHEAD);
        frame_begin(room, FRAME_BODY, channel, piece);
        PROBE3(frames__out, s, 1, piece + FRAME_OVERHEAD);
        if (s->settings.trace) trace_frame(s, 'C', &(struct frame){ .type = FRAME_BODY, .channel = channel, .size = piece });
        chunks_commit(&s->out, FRAME_HEADER_SIZE);
        chunks_append(&s->out, block, data, piece);
        frame_finish(chunks_reserve(&s->out, FRAME_END_SIZE));
        chunks_commit(&s->out, FRAME_END_SIZE);
        s->counters.frames_sent++;
        data += piece;
        size -= piece;
    }
}

/* A small body: everything in one piece of the queue. */
static int publish_copied(struct session *s, uint16_t channel, const struct head *head, lago_bytes_t body) {
    size_t size = head_size(head);
    size_t total = size + (body.size ? body.size + FRAME_OVERHEAD : 0);
    if (marks_reserve(s) < 0) return LAGO_ENOMEM;
    uint8_t *room = chunks_reserve(&s->out, total);
    if (!room) return LAGO_ENOMEM;
    head_write(head, channel, room);
    if (body.size) {
        uint8_t *at = frame_begin(room + size, FRAME_BODY, channel, body.size);
        memcpy(at, body.data, body.size);
        frame_finish(at + body.size);
    }
    liveness_queued(s);
    marks_push(s, channel, total);
    output_sent(s, room, total, body.size ? 3 : 2);
    chunks_commit(&s->out, total);
    return 0;
}

/* A large or lent body: frames around slices of its block. */
static int publish_referenced(struct session *s, uint16_t channel, const struct head *head, struct block *block, size_t size) {
    uint8_t *room = marks_reserve(s) < 0 ? NULL : reserve_message(s, head_size(head), piece_count(s, size));
    if (!room) return LAGO_ENOMEM;
    head_write(head, channel, room);
    liveness_queued(s);
    marks_push(s, channel, head_size(head) + frames_size(s, size));
    output_sent(s, room, head_size(head), 2);
    chunks_commit(&s->out, head_size(head));
    append_body(s, channel, block, size);
    return 0;
}

/* ---------------------------------------------------------------- holding */

/* Later than the handshake, whose whole output is wiped anyway. */
static bool is_secret(uint32_t method) { return method == METHOD_CONNECTION_UPDATE_SECRET; }

/* Said again on another link, should open-ok not come: names are the application's own, and nothing is taken or lost. */
static bool is_harmless(const struct head *head) {
    const struct queue_declare *declare = head->args;
    switch (head->info->id) {
    case METHOD_CHANNEL_OPEN:
    case METHOD_CONFIRM_SELECT:
    case METHOD_EXCHANGE_DECLARE:
    case METHOD_EXCHANGE_BIND:
    case METHOD_QUEUE_BIND:
    case METHOD_BASIC_QOS:
    case METHOD_BASIC_CONSUME: return true;
    case METHOD_QUEUE_DECLARE: return declare->queue.size > 0 && *declare->queue.data != '\0';
    default: return false;
    }
}

static size_t held_cost(const struct held *held) { return held->head_size + held->body_size + HELD_COST; }

static int hold(struct session *s, struct session_channel *ch, const struct head *head, struct block *body, size_t body_size) {
    struct held *held = mem_zero(s->alloc, 1, sizeof(*held));
    struct block *block = held ? block_grow(s->alloc, NULL, head_size(head)) : NULL;
    if (!block) {
        mem_free(s->alloc, held);
        return LAGO_ENOMEM;
    }
    head_write(head, ch ? ch->number : 0, block_bytes(block));
    held->channel = ch ? ch->number : 0;
    held->publish = has_content(head);
    held->secret = !held->publish && is_secret(head->info->id);
    held->harmless = !held->publish && is_harmless(head);
    held->head = block;
    held->head_size = head_size(head);
    held->body = body_size ? block_ref(body) : NULL;
    held->body_size = body_size;
    list_append(&s->held, &held->node);
    s->held_size += held_cost(held);
    if (ch) ch->held_count++;
    return 0;
}

static void held_free(struct session *s, struct held *held) {
    struct session_channel *ch = channel_find(s, held->channel);
    if (ch) ch->held_count--;
    s->held_size -= held_cost(held);
    list_remove(&held->node);
    block_unref(held->head);
    block_unref(held->body);
    mem_free(s->alloc, held);
}

/* Its head is copied beside its neighbours', so that a row of them is one slice; but a secret stays in one place. */
static int release(struct session *s, struct held *held) {
    if (held->ahead) return 0;
    size_t pieces = held->body ? piece_count(s, held->body_size) : 0;
    if (held->publish && marks_reserve(s) < 0) return LAGO_ENOMEM;
    uint8_t *room = reserve_message(s, held->secret ? 1 : held->head_size, pieces); /* of no octets there is no room */
    if (!room) return LAGO_ENOMEM;
    struct session_channel *ch = channel_find(s, held->channel);
    if (ch) ch->known = true;
    liveness_queued(s);
    if (held->secret) s->out.wipe = true; /* until the queue is empty */
    if (held->publish) marks_push(s, held->channel, held->head_size + frames_size(s, held->body_size));
    output_sent(s, block_data(held->head), held->head_size, held->publish ? 2 : 1);
    if (held->secret) {
        chunks_append(&s->out, held->head, block_data(held->head), held->head_size);
    } else {
        memcpy(room, block_data(held->head), held->head_size);
        chunks_commit(&s->out, held->head_size);
    }
    if (held->body) append_body(s, held->channel, held->body, held->body_size);
    return 0;
}

void output_retry(struct session *s) { s->held_retry = deadline_after(s->now, HELD_RETRY_MS); }

void session_retry(struct session *s) { output_retry(s); }

static void forget_stuck(struct session *s) {
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) channel_find(s, n)->stuck = false;
}

/* One pass in the order of the calls; a channel whose publish must go on waiting keeps what follows it. */
size_t output_release_held(struct session *s) {
    struct list *next;
    size_t passed = 0;
    s->held_retry = DEADLINE_NEVER;
    if (!session_is_up(s)) return 0;
    session_flush_acks(s);
    if (session_has_acks(s)) return 0; /* without memory: what is held must not overtake them */
    forget_stuck(s);
    for (struct list *node = s->held.next; node != &s->held; node = next) {
        struct held *held = LIST_ENTRY(node, struct held, node);
        struct session_channel *ch = channel_find(s, held->channel);
        next = node->next;
        if (ch && (ch->stuck || (held->publish && (s->blocked || ch->flow_stopped)))) {
            ch->stuck = true;
            passed++;
            continue;
        }
        if (release(s, held) < 0) {
            /* without memory now: it stays accepted, and leaves a little later */
            output_retry(s);
            return passed;
        }
        held_free(s, held);
        if (ch && ch->held_count == 0) channel_caught_up(ch);
    }
    channel_say_owed(s);
    return passed;
}

void session_release_held(struct session *s) { (void)output_release_held(s); }

/* A channel that may not be agreed on waits as a whole. */
static bool may_go_ahead(const struct session *s, const struct session_channel *ch, const struct held *held) {
    return ch && !ch->stuck && held->harmless && ch->number <= s->assumed.channel_max;
}

void output_go_ahead(struct session *s) {
    forget_stuck(s);
    for (struct list *node = s->held.next; node != &s->held; node = node->next) {
        struct held *held = LIST_ENTRY(node, struct held, node);
        struct session_channel *ch = channel_find(s, held->channel);
        uint8_t *room = may_go_ahead(s, ch, held) ? chunks_reserve(&s->out, held->head_size) : NULL;
        if (!room) {
            if (ch) ch->stuck = true;
            continue;
        }
        memcpy(room, block_data(held->head), held->head_size);
        output_sent(s, room, held->head_size, 1);
        chunks_commit(&s->out, held->head_size);
        held->ahead = ch->known = true;
    }
}

void output_stay_back(struct session *s) {
    for (struct list *node = s->held.next; node != &s->held; node = node->next)
        LIST_ENTRY(node, struct held, node)->ahead = false;
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) {
        struct session_channel *ch = channel_find(s, n);
        ch->known = false;
        if (ch->close_owed && ch->held_count == 0)
            channel_release(s, ch); /* nobody has heard of it, and nobody has it any more */
    }
}

void output_drop_held(struct session *s, uint16_t channel) {
    const struct session_channel *ch = channel_find(s, channel);
    struct list *next;
    for (struct list *node = s->held.next; node != &s->held && (!ch || ch->held_count > 0); node = next) {
        struct held *held = LIST_ENTRY(node, struct held, node);
        next = node->next;
        if (channel != 0 && held->channel != channel) continue;
        if (held->secret) mem_wipe(block_bytes(held->head), held->head_size);
        held_free(s, held);
    }
}

void output_clear(struct session *s) {
    output_drop_held(s, 0);
    marks_clear(s);
}

void session_forget_output(struct session *s) {
    output_clear(s);
    chunks_clear(&s->out);
}

/* ---------------------------------------------------------------- doors */

int session_send(struct session *s, uint16_t channel, uint32_t method, const void *args) {
    struct session_channel *ch = channel_find(s, channel);
    if (session_is_over(s) || (channel && !ch)) return LAGO_ECLOSED;
    if (ch && acks_flush(s, ch) < 0) return LAGO_ENOMEM;
    if (!output_must_hold(s, ch, false)) {
        if (is_secret(method)) s->out.wipe = true; /* until the queue is empty */
        return output_method(s, channel, method, args);
    }
    struct head head;
    int rc = method_measure(s, &head, method, args);
    return rc < 0 ? rc : hold(s, ch, &head, NULL, 0);
}

static int publish(struct session *s, struct session_channel *ch, const struct head *head, const struct session_body *body) {
    bool holding = output_must_hold(s, ch, true);
    if (!holding && !body->block && body->bytes.size <= COPY_SIZE_MAX) return publish_copied(s, ch->number, head, body->bytes);
    struct block *block = NULL;
    if (body->block)
        block = block_ref(body->block);
    else if (body->bytes.size && !(block = block_copy(s->alloc, body->bytes.data, body->bytes.size)))
        return LAGO_ENOMEM;
    int rc =
        holding ? hold(s, ch, head, block, body->bytes.size) : publish_referenced(s, ch->number, head, block, body->bytes.size);
    block_unref(block);
    return rc;
}

int output_publish(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                   const struct session_body *body) {
    struct session_channel *ch = channel_find(s, channel);
    if (session_is_over(s) || !ch) return LAGO_ECLOSED;
    if (acks_flush(s, ch) < 0) return LAGO_ENOMEM;
    struct head head;
    int rc = publish_head_measure(s, &head, args, properties, body->bytes.size);
    return rc < 0 ? rc : publish(s, ch, &head, body);
}

int output_publish_route(struct session *s, struct session_channel *ch, const struct session_route *route,
                         const struct session_body *body) {
    struct head head = { .route = route, .body_size = body->bytes.size };
    return publish(s, ch, &head, body);
}
