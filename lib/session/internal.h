/* What the rooms of this layer share and nobody else sees. */
#ifndef LAGO_SESSION_INTERNAL_H
#define LAGO_SESSION_INTERNAL_H

#include "frame.h"
#include "session.h"

/* ---------------------------------------------------------------- channels (channel.c) */

enum channel_state {
    CHANNEL_OPENING,
    CHANNEL_OPEN,
    CHANNEL_LEAVING, /* our channel.close is accepted, but held behind what waits */
    CHANNEL_CLOSING  /* our channel.close is in the queue: close-ok is awaited */
};

/* Where a content is: its method came, its header came, bodies are coming (4.2.6). */
enum content_state { CONTENT_NONE, CONTENT_WAIT_HEADER, CONTENT_WAIT_BODY };

/* The message that is coming in on a channel. */
struct content {
    enum content_state state;
    const struct method_info *info;
    const uint8_t *method; /* payload of the method frame: in the input, or in `saved` */
    size_t method_size;
    const uint8_t *header; /* payload of the header frame, likewise */
    size_t header_size;
    uint8_t *saved; /* our copy of both, once the input that held them is gone */
    struct content_header parsed;
    uint8_t *whole;     /* a body that lies whole in the input */
    struct block *body; /* else: the buffer that grows with what comes */
    size_t capacity, received;
};

struct session_channel {
    void *owner;
    uint16_t number;
    uint8_t state; /* enum channel_state */
    bool known;    /* channel.open is in the queue or further: the peer has heard of it, or will */
    bool flow_stopped;
    bool close_owed; /* there was no memory to say channel.close, and nobody is left to try again */
    bool stuck;      /* output_release_held's own: something of it stays held in this pass */
    uint32_t held_count;
    uint64_t publishes_sent;
    struct list borrowing; /* in session.borrowing while content points into the input */
    struct content content;
};

/* From here on what comes is discarded, but for the goodbyes (1.5.2.5). */
static inline bool channel_is_going(const struct session_channel *ch) { return ch->state >= CHANNEL_LEAVING; }

struct session_channel *channel_find(const struct session *s, uint16_t number);
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

/* Whether nothing will leave any more. */
static inline bool session_is_over(const struct session *s) { return s->opened && s->state > SESSION_OPEN; }

/* ---------------------------------------------------------------- output (output.c) */

/* Past all holding: handshake and goodbyes. */
int output_method(struct session *s, uint16_t channel, uint32_t method, const void *args);
int output_heartbeat(struct session *s);

/* Write what was held, as far as state and blocks allow. */
void output_release_held(struct session *s);

/* There was no memory: output_release_held shall run again soon. */
void output_retry(struct session *s);

/* Drop what a channel (0: every channel) still holds; lent bodies are released. */
void output_drop_held(struct session *s, uint16_t channel);
void output_clear(struct session *s);

/* How many publishes of a channel are in the queue, none of whose bytes was written. */
uint64_t output_marked(const struct session *s, uint16_t channel);

/* A channel is gone: publishes of it that are not written yet must not count for the next channel of that number. */
void output_forget_marks(struct session *s, uint16_t channel);

/* ---------------------------------------------------------------- contents (content.c) */

enum content_step { CONTENT_MORE, CONTENT_DONE, CONTENT_BROKEN };

/* A method with content came; its header; a whole body frame; a piece of a body frame. BROKEN: the session has failed. */
enum content_step content_begin(struct session *s, struct session_channel *ch, const struct frame *frame,
                                const struct method_info *info);
enum content_step content_header(struct session *s, struct session_channel *ch, const struct frame *frame);
enum content_step content_frame(struct session *s, struct session_channel *ch, const struct frame *frame);
bool content_accepts(struct session *s, struct session_channel *ch, size_t size);
enum content_step content_piece(struct session *s, struct session_channel *ch, const uint8_t *data, size_t size);

/* Fill in a CONTENT event, with NULs behind its strings. */
void content_event(struct session *s, struct session_channel *ch, struct session_event *event);

/* Forget the content; the input is about to go: copy what still points into it. */
void content_reset(struct session *s, struct content *content);
int content_save(struct session *s, struct session_channel *ch);

/* ---------------------------------------------------------------- the rest */

/* What a peer that does not speak AMQP 0-9-1 said, in words (greeting.c). */
void greeting_explain(lago_reason_t *reason, const uint8_t *data, size_t size);
bool greeting_is_foreign(const uint8_t *data, size_t size);

/* Trace frames that are complete in `data` (trace.c). */
void trace_frames(const struct session *s, char direction, const uint8_t *data, size_t size);
void trace_frame(const struct session *s, char direction, const struct frame *frame);
void trace_line(const struct session *s, char direction, const char *line);

/* Bytes came, bytes left (liveness.c). */
void liveness_start(struct session *s);
void liveness_received(struct session *s);
void liveness_queued(struct session *s);
void liveness_written(struct session *s);
void liveness_unblocked(struct session *s);
void liveness_linger(struct session *s, uint64_t delay_ms);

#endif
