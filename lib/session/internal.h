/* What the rooms of this layer share and nobody else sees. */
#ifndef LAGO_SESSION_INTERNAL_H
#define LAGO_SESSION_INTERNAL_H

#include "frame.h"
#include "probes.h"
#include "session.h"

/* ---------------------------------------------------------------- channels (channel.c) */

enum channel_state {
    CHANNEL_OPENING,
    CHANNEL_OPEN,
    CHANNEL_LEAVING, /* our channel.close is accepted, but held behind what waits */
    CHANNEL_CLOSING, /* our channel.close is in the queue: close-ok is awaited */
    CHANNEL_GONE     /* for the probe: it is released */
};

/* Where a content is: its method came, its header came, bodies are coming (4.2.6). */
enum content_state { CONTENT_NONE, CONTENT_WAIT_HEADER, CONTENT_WAIT_BODY };

/* The message that is coming in on a channel, frame by frame. */
struct content {
    struct list borrowing; /* in session.borrowing while it points into the input */
    struct session_channel *ch;
    const struct method_info *info;
    const uint8_t *method; /* payload of the method frame: in the input, or in `saved` */
    size_t method_size;
    const uint8_t *header; /* payload of the header frame, likewise */
    size_t header_size;
    uint8_t *saved; /* our copy of both, once the input that held them is gone */
    struct content_header parsed;
    union method_args args; /* of a body that is handed out: views into `saved`, terminated */
    bool in_pieces;         /* it is */
    bool told;              /* the last event of it is out */
    uint8_t *whole;         /* a body that lies whole in the input */
    struct block *body;     /* else: the buffer that grows with what comes */
    size_t capacity, received;
    size_t charged;       /* of session.assembled */
    unsigned empty_count; /* body frames without a byte, in a row */
};

struct session_channel {
    void *owner;
    uint16_t number;
    uint8_t state;     /* enum channel_state */
    uint8_t receiving; /* enum content_state: of the content */
    bool known;        /* channel.open is in the queue or further: the peer has heard of it, or will */
    bool flow_stopped;
    bool announces;      /* session_announce_bodies */
    bool close_answered; /* as session.close_answered */
    bool close_owed;     /* there was no memory to say channel.close: output_release_held does */
    bool stuck;          /* output_release_held's own: something of it stays held in this pass */
    uint16_t close_code; /* of it */
    uint32_t held_count;
    uint32_t returns;   /* that came, or more than can be counted */
    uint32_t ack_count; /* acknowledgements that wait for their neighbours; 0: none */
    uint64_t ack_last;  /* the highest of them */
    struct list acking; /* in session.acking while some wait */
    uint64_t publishes_sent;
    struct content *content; /* NULL: CONTENT_NONE */
};

/* From here on what comes is discarded, but for the goodbyes (1.5.2.5). */
static inline bool channel_is_going(const struct session_channel *ch) { return ch->state >= CHANNEL_LEAVING; }

static inline struct session_channel *channel_find(const struct session *s, uint16_t number) {
    return number ? idmap_get(&s->channels, number) : NULL;
}
void channel_set_state(struct session_channel *ch, enum channel_state state);

/* Say the goodbyes that are owed. */
void channel_say_owed(struct session *s);

/* Nothing of it is held any more. */
void channel_caught_up(struct session_channel *ch);

/* Release its number and all it holds. */
void channel_release(struct session *s, struct session_channel *ch);

/* ---------------------------------------------------------------- states (session.c) */

/* The only writer of s->state. */
void session_set_state(struct session *s, enum session_state state);

/* Whether methods may leave at once; before open-ok they are held. */
static inline bool session_is_up(const struct session *s) { return s->state == SESSION_OPEN; }

/* ---------------------------------------------------------------- output (output.c) */

/* Trace frames that are complete in `data` (trace.c). */
void trace_frames(const struct session *s, char direction, const uint8_t *data, size_t size);
void trace_frame(const struct session *s, char direction, const struct frame *frame);
void trace_line(const struct session *s, char direction, const char *line);

/* Frames were put into the output: counted; and traced. */
static inline void output_counted(struct session *s, size_t size, size_t count) {
    s->counters.frames_sent += count;
    PROBE3(frames__out, s, count, size);
    (void)size;
}

static inline void output_sent(struct session *s, const uint8_t *frames, size_t size, size_t count) {
    output_counted(s, size, count);
    if (s->settings.trace) trace_frames(s, 'C', frames, size);
}

/* Bytes are about to be queued. The queue was empty until now: a stall is counted from here. */
static inline void liveness_queued(struct session *s) {
    if (s->out.size == 0 && !s->unsure) s->last_progress = s->now;
}

/* Past all holding: handshake and goodbyes. */
int output_method(struct session *s, uint16_t channel, uint32_t method, const void *args);
int output_heartbeat(struct session *s);

/* Write what was held, as far as state and blocks allow. @return how many were passed over. */
size_t output_release_held(struct session *s);

/* Say what may be said before open-ok, and keep it. The link is no more: nothing of it was said. */
void output_go_ahead(struct session *s);
void output_stay_back(struct session *s);

/* There was no memory: output_release_held shall run again soon. */
void output_retry(struct session *s);

/* Any way but the short one (plain.c): held, referenced, in many frames, with headers; and what is wrong with it. */
int output_publish(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                   const struct session_body *body);

/*
 * Whether a small message may leave by a short way: nothing is in the way, nobody wants to see the frames, and there is room behind
 * what was queued last. Then nothing can fail.
 */
static inline bool output_is_usual(const struct session *s, uint16_t channel, size_t size) {
    const struct session_channel *ch = idmap_get(&s->channels, channel);
    return session_is_up(s) && ch && ch->held_count == 0 && ch->ack_count == 0 && !ch->flow_stopped && !s->blocked &&
           !s->settings.trace && s->out.growing && size <= s->out.room_size;
}

/* Drop what a channel (0: every channel) still holds; lent bodies are released. */
void output_drop_held(struct session *s, uint16_t channel);
void output_clear(struct session *s);

/* Until a link is open, and when it fails before that, the next may be one with a smaller frame_max. */
static inline size_t output_piece_max(const struct session *s) {
    return (s->opened ? s->tune.frame_max : FRAME_MIN_SIZE) - FRAME_OVERHEAD;
}

/* Up to here copying a body beside its frames is cheaper than a slice of its own (measured: writev costs about 17 ns a slice). */
#define COPY_SIZE_MAX 2048u
_Static_assert(COPY_SIZE_MAX <= FRAME_MIN_SIZE - FRAME_OVERHEAD, "what is copied fits into one frame");

/* Whether a method of a channel (NULL: of the connection) must wait. */
static inline bool output_must_hold(const struct session *s, const struct session_channel *ch, bool publish) {
    if (!session_is_up(s)) return true;
    if (!ch) return false;
    return ch->held_count > 0 || (publish && (s->blocked || ch->flow_stopped));
}

/* ---------------------------------------------------------------- where publishes begin in the stream (marks.c) */

int marks_make_room(struct session *s);
static inline int marks_reserve(struct session *s) { return s->mark_count < s->mark_capacity ? 0 : marks_make_room(s); }

static inline void marks_add(struct session *s, uint16_t channel, size_t size) {
    uint64_t at = s->out.appended;
    s->newest_mark = &s->marks[(s->mark_head + s->mark_count++) & (s->mark_capacity - 1)];
    *s->newest_mark = (struct session_mark){ .offset = at, .end = at + size, .size = size, .channel = channel };
}

/* Whether a publish that begins with the next byte has the newest mark's place and size. */
static inline bool marks_join(const struct session *s, uint16_t channel, size_t size) {
    const struct session_mark *newest = s->newest_mark;
    return newest && newest->end == s->out.appended && newest->size == size && newest->channel == channel;
}

/* The next byte begins a publish, which takes `size` bytes of the stream; room was reserved. */
static inline void marks_push(struct session *s, uint16_t channel, size_t size) {
    if (marks_join(s, channel, size))
        s->newest_mark->end += size;
    else
        marks_add(s, channel, size);
}

/* Bytes were written. */
void marks_written(struct session *s);

/* How many publishes of a channel are in the queue, none of whose bytes was written. */
uint64_t marks_count(const struct session *s, uint16_t channel);

/* A channel is gone: publishes of it that are not written yet must not count for the next channel of that number. */
void marks_forget(struct session *s, uint16_t channel);
void marks_clear(struct session *s);

/* ---------------------------------------------------------------- contents (content.c) */

enum content_step { CONTENT_MORE, CONTENT_DONE, CONTENT_BROKEN, CONTENT_OVERFLOWS };

/*
 * A method with content came; its header; a whole body frame; a piece of a body frame. BROKEN: the session has failed. OVERFLOWS: with
 * it the messages under way would exceed assembly_size_max.
 */
enum content_step content_begin(struct session *s, struct session_channel *ch, const struct frame *frame,
                                const struct method_info *info);
enum content_step content_header(struct session *s, struct session_channel *ch, const struct frame *frame);
enum content_step content_frame(struct session *s, struct session_channel *ch, const struct frame *frame);
bool content_accepts(struct session *s, struct session_channel *ch, size_t size);
enum content_step content_piece(struct session *s, struct session_channel *ch, const uint8_t *data, size_t size);

/*
 * A page: what costs a read less to copy than to read by itself. And so much is allocated for bytes that have not come yet, whatever
 * has: room for a read that is worth its call.
 */
#define READ_SMALL ((size_t)4096)

/*
 * Where the next of `left` payload bytes of a body frame belong, READ_SMALL at least; FRAME_OVERHEAD more may be written if another
 * frame follows.
 */
size_t content_room(struct session *s, struct session_channel *ch, size_t left, uint8_t **room);

/* Whether it cannot lie in one piece in the input, so that it is put together. */
bool content_is_gathered(const struct session *s, const struct content *content);

/* Fill in a BODY_BEGIN event; and one for a piece of a body that is handed out, and its end. */
void content_announce(struct session *s, struct session_channel *ch, struct session_event *event);
void content_hand(struct session *s, struct session_channel *ch, lago_bytes_t piece, bool ends, struct session_event *event);

/* Fill in a CONTENT event, with NULs behind its strings. */
void content_event(struct session *s, struct session_channel *ch, struct session_event *event);

/* Forget the content of a channel, if there is one; the input is about to go: copy what still points into it. */
void content_reset(struct session *s, struct session_channel *ch);
int content_save(struct session *s, struct content *content);

/* The input is used up: nothing is kept for its next message. */
void contents_tidy(struct session *s);

/* ---------------------------------------------------------------- acknowledgements that wait (acks.c) */

/* Write what a channel's acknowledgements have become. 0 or LAGO_ENOMEM: they go on waiting. */
int acks_write(struct session *s, struct session_channel *ch);
static inline int acks_flush(struct session *s, struct session_channel *ch) { return ch->ack_count ? acks_write(s, ch) : 0; }
void acks_forget(struct session_channel *ch);

/* ---------------------------------------------------------------- the way in (input.c) and the short way of a delivery (delivery.c) */

/* The next event of whatever there is. */
int input_event(struct session *s, struct session_event *event);
static inline bool input_is_between_frames(const struct session *s) {
    return !s->garbled && !s->streaming && s->partial.size == 0;
}

/* The content of the last event is done with; or it was announced, and is to be put together if it may. @return 1: an event. */
int input_told(struct session *s, struct session_event *event);

/* Between two frames: @return whether it was a delivery, whole; else nothing has happened. */
bool delivery_step(struct session *s, struct session_event *event);

/* The next one is no longer like the last: what was agreed has changed. And no event of theirs is out any more. */
void deliveries_forget(struct session *s);
void deliveries_free(struct session *s);

/* ---------------------------------------------------------------- the rest */

/* What a peer that does not speak AMQP 0-9-1 said, in words (greeting.c). */
void greeting_explain(lago_reason_t *reason, const uint8_t *data, size_t size);
bool greeting_is_foreign(uint8_t first);

/* Whether one more frame that brings nothing is still in order; else the session has failed (floods.c). */
bool flood_allows(struct session *s, const char *what);
bool flood_allows_return(struct session *s, struct session_channel *ch);
bool flood_allows_body(struct session *s, struct content *content, size_t size);
void flood_paused(struct session *s, uint64_t pause_ms);

/* Bytes came, bytes left; a frame began that is not here whole (liveness.c). */
void liveness_start(struct session *s);
void liveness_received(struct session *s);
void liveness_frame_began(struct session *s);
void liveness_written(struct session *s);
void liveness_unblocked(struct session *s);
void liveness_linger(struct session *s, uint64_t delay_ms);

#endif
