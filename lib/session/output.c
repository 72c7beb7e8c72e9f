/*
 * The way out: methods and messages become frames in the output queue, in program order per channel. What may not leave yet
 * (before open-ok, or a publish while the broker has the connection blocked, and all that follows it on its channel) is held:
 * methods encoded, bodies unsplit, because frame_max is not known before tuning.
 */
#include "alloc.h"
#include "deadline.h"
#include "internal.h"
#include "probes.h"
#include "reason.h"
#include <string.h>

/* Up to here copying a body beside its frames is cheaper than a slice of its own (measured: writev costs about 17 ns a slice). */
#define COPY_SIZE_MAX 2048u

/* Memory was short when held output was to leave. */
#define HELD_RETRY_MS 50u

/* An accepted method or message that waits. */
struct held {
    struct list node;
    uint16_t channel;
    bool publish;
    bool secret;        /* overwritten when it was written, or dropped */
    struct block *head; /* whole frames: the method, for a publish the header too */
    size_t head_size;
    struct block *body; /* NULL: none */
    size_t body_size;
};

/* Until a link is open, and when it fails before that, the next may be one with a smaller frame_max. */
static size_t frame_limit(const struct session *s) { return s->opened ? s->tune.frame_max : FRAME_MIN_SIZE; }

static size_t piece_max(const struct session *s) { return frame_limit(s) - FRAME_OVERHEAD; }

/* ---------------------------------------------------------------- measuring and writing frames */

struct head {
    const struct method_info *info;
    const void *args;
    const lago_properties_t *properties;
    uint64_t body_size;
    size_t method_size; /* payloads */
    size_t header_size; /* 0: a method without content */
};

static size_t head_size(const struct head *head) {
    return head->method_size + FRAME_OVERHEAD + (head->header_size ? head->header_size + FRAME_OVERHEAD : 0);
}

static int head_measure(const struct session *s, struct head *head) {
    struct writer w = writer_measure();
    method_write(&w, head->info, head->args);
    if (w.error) return w.error;
    head->method_size = w.size;
    if (w.size > piece_max(s)) return LAGO_ETOOBIG;
    if (!head->info->content) return 0;
    w = writer_measure();
    content_header_write(&w, head->body_size, head->properties);
    if (w.error) return w.error;
    head->header_size = w.size;
    return w.size > piece_max(s) ? LAGO_ETOOBIG : 0;
}

static void head_write(const struct head *head, uint16_t channel, uint8_t *room) {
    uint8_t *at = frame_begin(room, FRAME_METHOD, channel, head->method_size);
    struct writer w = writer_over(at, head->method_size);
    method_write(&w, head->info, head->args);
    at = frame_finish(at + head->method_size);
    if (!head->header_size) return;
    at = frame_begin(at, FRAME_HEADER, channel, head->header_size);
    w = writer_over(at, head->header_size);
    content_header_write(&w, head->body_size, head->properties);
    frame_finish(at + head->header_size);
}

static void sent(struct session *s, const uint8_t *frames, size_t size, size_t count) {
    s->counters.frames_sent += count;
    PROBE3(frames__out, s, count, size);
    if (s->settings.trace) trace_frames(s, 'C', frames, size);
}

int output_method(struct session *s, uint16_t channel, uint32_t method, const void *args) {
    struct head head = { .info = method_find(method), .args = args };
    int rc = head_measure(s, &head);
    if (rc < 0) return rc;
    uint8_t *room = chunks_reserve(&s->out, head_size(&head));
    if (!room) return LAGO_ENOMEM;
    head_write(&head, channel, room);
    liveness_queued(s);
    sent(s, room, head_size(&head), 1);
    chunks_commit(&s->out, head_size(&head));
    return 0;
}

int output_heartbeat(struct session *s) {
    uint8_t *room = chunks_reserve(&s->out, FRAME_OVERHEAD);
    if (!room) return LAGO_ENOMEM;
    frame_finish(frame_begin(room, FRAME_HEARTBEAT, 0, 0));
    liveness_queued(s);
    sent(s, room, FRAME_OVERHEAD, 1);
    chunks_commit(&s->out, FRAME_OVERHEAD);
    s->counters.heartbeats_sent++;
    return 0;
}

/* ---------------------------------------------------------------- where publishes begin in the stream */

static int marks_reserve(struct session *s) {
    if (s->mark_count < s->mark_capacity) return 0;
    size_t capacity = s->mark_capacity ? s->mark_capacity * 2 : 64;
    struct session_mark *marks = mem_zero(s->alloc, capacity, sizeof(*marks));
    if (!marks) return LAGO_ENOMEM;
    for (size_t i = 0; i < s->mark_count; i++) marks[i] = s->marks[(s->mark_head + i) & (s->mark_capacity - 1)];
    mem_free(s->alloc, s->marks);
    s->marks = marks;
    s->mark_capacity = capacity;
    s->mark_head = 0;
    return 0;
}

/* The next byte begins a publish; room was reserved. */
static void marks_push(struct session *s, uint16_t channel) {
    struct session_mark *mark = &s->marks[(s->mark_head + s->mark_count++) & (s->mark_capacity - 1)];
    mark->offset = s->out.appended;
    mark->channel = channel;
}

void output_forget_marks(struct session *s, uint16_t channel) {
    for (size_t i = 0; i < s->mark_count; i++) {
        struct session_mark *mark = &s->marks[(s->mark_head + i) & (s->mark_capacity - 1)];
        if (mark->channel == channel) mark->channel = 0;
    }
}

uint64_t output_marked(const struct session *s, uint16_t channel) {
    uint64_t count = 0;
    for (size_t i = 0; i < s->mark_count; i++) count += s->marks[(s->mark_head + i) & (s->mark_capacity - 1)].channel == channel;
    return count;
}

uint64_t session_publishes_sent(const struct session *s, uint16_t channel) {
    const struct session_channel *ch = channel_find(s, channel);
    return ch ? ch->publishes_sent : 0;
}

/* ---------------------------------------------------------------- bodies */

static size_t piece_count(const struct session *s, size_t body_size) {
    return body_size / piece_max(s) + (body_size % piece_max(s) != 0);
}

/* All that a referenced message needs, so that appending it cannot fail half way. */
static uint8_t *reserve_message(struct session *s, size_t small_size, size_t pieces) {
    if (marks_reserve(s) < 0 || chunks_reserve_slices(&s->out, 2 * pieces + 2) < 0) return NULL;
    return chunks_reserve(&s->out, small_size + pieces * FRAME_OVERHEAD);
}

/* Body frames around slices of a block; everything was reserved. */
static void append_body(struct session *s, uint16_t channel, struct block *block, size_t size) {
    const uint8_t *data = block_data(block);
    while (size > 0) {
        size_t piece = size < piece_max(s) ? size : piece_max(s);
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
    marks_push(s, channel);
    sent(s, room, total, body.size ? 3 : 2);
    chunks_commit(&s->out, total);
    return 0;
}

/* A large or lent body: frames around slices of its block. */
static int publish_referenced(struct session *s, uint16_t channel, const struct head *head, struct block *block, size_t size) {
    uint8_t *room = reserve_message(s, head_size(head), piece_count(s, size));
    if (!room) return LAGO_ENOMEM;
    head_write(head, channel, room);
    liveness_queued(s);
    marks_push(s, channel);
    sent(s, room, head_size(head), 2);
    chunks_commit(&s->out, head_size(head));
    append_body(s, channel, block, size);
    return 0;
}

/* ---------------------------------------------------------------- holding */

static bool must_hold(const struct session *s, const struct session_channel *ch, bool publish) {
    if (!session_is_up(s)) return true;
    if (!ch) return false;
    return ch->held_count > 0 || (publish && (s->blocked || ch->flow_stopped));
}

/* Later than the handshake, whose whole output is wiped anyway. */
static bool is_secret(uint32_t method) { return method == METHOD_CONNECTION_UPDATE_SECRET; }

static int hold(struct session *s, struct session_channel *ch, const struct head *head, struct block *body, size_t body_size) {
    struct held *held = mem_zero(s->alloc, 1, sizeof(*held));
    struct block *block = held ? block_grow(s->alloc, NULL, head_size(head)) : NULL;
    if (!block) {
        mem_free(s->alloc, held);
        return LAGO_ENOMEM;
    }
    head_write(head, ch ? ch->number : 0, block_bytes(block));
    held->channel = ch ? ch->number : 0;
    held->publish = head->info->content;
    held->secret = is_secret(head->info->id);
    held->head = block;
    held->head_size = head_size(head);
    held->body = body_size ? block_ref(body) : NULL;
    held->body_size = body_size;
    list_append(&s->held, &held->node);
    s->held_size += held->head_size + held->body_size;
    if (ch) ch->held_count++;
    return 0;
}

static void held_free(struct session *s, struct held *held) {
    struct session_channel *ch = channel_find(s, held->channel);
    if (ch && ch->held_count) ch->held_count--;
    s->held_size -= held->head_size + held->body_size;
    list_remove(&held->node);
    block_unref(held->head);
    block_unref(held->body);
    mem_free(s->alloc, held);
}

static int release(struct session *s, struct held *held) {
    if (!reserve_message(s, 0, held->body ? piece_count(s, held->body_size) : 0)) {
        if (held->body || marks_reserve(s) < 0 || chunks_reserve_slices(&s->out, 1) < 0) return LAGO_ENOMEM;
    }
    struct session_channel *ch = channel_find(s, held->channel);
    if (ch) ch->known = true;
    liveness_queued(s);
    if (held->secret) s->out.wipe = true; /* until the queue is empty */
    if (held->publish) marks_push(s, held->channel);
    sent(s, block_data(held->head), held->head_size, held->publish ? 2 : 1);
    chunks_append(&s->out, held->head, block_data(held->head), held->head_size);
    if (held->body) append_body(s, held->channel, held->body, held->body_size);
    return 0;
}

void output_retry(struct session *s) { s->held_retry = deadline_after(s->now, HELD_RETRY_MS); }

/* One pass in the order of the calls; a channel whose publish must go on waiting keeps what follows it. */
void output_release_held(struct session *s) {
    struct list *next;
    s->held_retry = DEADLINE_NEVER;
    if (!session_is_up(s)) return;
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) channel_find(s, n)->stuck = false;
    for (struct list *node = s->held.next; node != &s->held; node = next) {
        struct held *held = LIST_ENTRY(node, struct held, node);
        struct session_channel *ch = channel_find(s, held->channel);
        next = node->next;
        if (ch && (ch->stuck || (held->publish && (s->blocked || ch->flow_stopped)))) {
            ch->stuck = true;
            continue;
        }
        if (release(s, held) < 0) {
            /* without memory now: it stays accepted, and leaves a little later */
            output_retry(s);
            return;
        }
        held_free(s, held);
        if (ch && ch->held_count == 0) channel_caught_up(ch);
    }
    channel_say_owed(s);
}

void session_release_held(struct session *s) { output_release_held(s); }

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
    mem_free(s->alloc, s->marks);
    s->marks = NULL;
    s->mark_capacity = s->mark_head = s->mark_count = 0;
}

void session_forget_output(struct session *s) {
    output_clear(s);
    chunks_clear(&s->out);
}

/* ---------------------------------------------------------------- doors */

int session_send(struct session *s, uint16_t channel, uint32_t method, const void *args) {
    struct session_channel *ch = channel_find(s, channel);
    if (session_is_over(s) || (channel && !ch)) return LAGO_ECLOSED;
    if (!must_hold(s, ch, false)) {
        if (is_secret(method)) s->out.wipe = true; /* until the queue is empty */
        return output_method(s, channel, method, args);
    }
    struct head head = { .info = method_find(method), .args = args };
    int rc = head_measure(s, &head);
    return rc < 0 ? rc : hold(s, ch, &head, NULL, 0);
}

int session_publish(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                    const struct session_body *body) {
    struct session_channel *ch = channel_find(s, channel);
    if (session_is_over(s) || !ch) return LAGO_ECLOSED;
    struct head head = {
        .info = method_find(METHOD_BASIC_PUBLISH), .args = args, .properties = properties, .body_size = body->bytes.size
    };
    int rc = head_measure(s, &head);
    if (rc < 0) return rc;
    bool holding = must_hold(s, ch, true);
    size_t copied_max = COPY_SIZE_MAX < piece_max(s) ? COPY_SIZE_MAX : piece_max(s);
    if (!holding && !body->block && body->bytes.size <= copied_max) return publish_copied(s, channel, &head, body->bytes);
    struct block *block = NULL;
    if (body->block)
        block = block_ref(body->block);
    else if (body->bytes.size && !(block = block_copy(s->alloc, body->bytes.data, body->bytes.size)))
        return LAGO_ENOMEM;
    rc = holding ? hold(s, ch, &head, block, body->bytes.size) : publish_referenced(s, channel, &head, block, body->bytes.size);
    block_unref(block);
    return rc;
}
