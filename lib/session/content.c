/*
 * Contents: method, header, bodies (4.2.6). A message whose frames lie in one piece of input is handed out where it lies. One
 * that spans several reads is put together in a buffer that grows with what really came, because the announced size is only a
 * claim.
 */
#include "alloc.h"
#include "internal.h"
#include "reason.h"
#include <string.h>

/*
 * The buffer's sizes are body_size / 8^k: what has come so far is at least an eighth of what is allocated, so a peer pays for
 * the memory it claims, and old and new buffer together stay under 1.2 times the body while the last step copies.
 */
#define GROWTH 8u

/* Inputs that are kept small behind such a message: the next one is probably of the same kind, and begins in one of them. */
#define SMALL_READS 2u

static void borrow(struct session *s, struct content *content) {
    if (list_empty(&content->borrowing)) list_append(&s->borrowing, &content->borrowing);
}

static enum content_step no_memory(struct session *s, const char *what, uint64_t size) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    reason_detail(&reason, "no memory for %s of %llu bytes", what, (unsigned long long)size);
    session_abandon(s, &reason);
    return CONTENT_BROKEN;
}

/*
 * All that messages under way take is counted, and what they have grown from as well: an allocator seldom finds a use for such holes
 * while the others grow. @return whether this one may take that much more. Alone each one may: message_size_max has judged it.
 */
static bool fits(const struct session *s, const struct content *content, size_t more) {
    uint64_t max = s->settings.assembly_size_max;
    return max == 0 || s->assembled == content->charged || (s->assembled <= max && more <= max - s->assembled);
}

static void charge(struct session *s, struct content *content, size_t more) {
    content->charged += more;
    s->assembled += more;
}

enum content_step content_begin(struct session *s, struct session_channel *ch, const struct frame *frame,
                                const struct method_info *info) {
    struct content *content = s->spare_content ? s->spare_content : mem_alloc(s->alloc, sizeof(*content));
    if (!content) return no_memory(s, info->name, frame->size);
    s->spare_content = NULL;
    memset(content, 0, sizeof(*content));
    list_init(&content->borrowing);
    content->ch = ch;
    content->info = info;
    content->method = frame->payload;
    content->method_size = frame->size;
    borrow(s, content);
    ch->content = content;
    ch->receiving = CONTENT_WAIT_HEADER;
    return CONTENT_MORE;
}

enum content_step content_header(struct session *s, struct session_channel *ch, const struct frame *frame) {
    struct content *content = ch->content;
    if (ch->receiving != CONTENT_WAIT_HEADER) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_UNEXPECTED_FRAME, 0, "content header that belongs to no method on channel %u",
                     ch->number);
        return CONTENT_BROKEN;
    }
    int reply = content_header_read(frame->payload, frame->size, &content->parsed);
    if (reply) {
        session_fail(s, LAGO_EPROTOCOL, (uint16_t)reply, content->info->id, "malformed content header on channel %u", ch->number);
        return CONTENT_BROKEN;
    }
    content->header = frame->payload;
    content->header_size = frame->size;
    ch->receiving = CONTENT_WAIT_BODY;
    borrow(s, content);
    if (content->parsed.body_size == 0) return CONTENT_DONE;
    size_t kept = sizeof(*content) + content->method_size + content->header_size;
    if (!fits(s, content, kept)) return CONTENT_OVERFLOWS;
    charge(s, content, kept);
    return CONTENT_MORE;
}

/* Whether a body frame of this size may come now; else the session has failed. */
bool content_accepts(struct session *s, struct session_channel *ch, size_t size) {
    if (ch->receiving != CONTENT_WAIT_BODY) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_UNEXPECTED_FRAME, 0, "body frame that belongs to no message on channel %u",
                     ch->number);
        return false;
    }
    if (size > ch->content->parsed.body_size - ch->content->received) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, ch->content->info->id, "body longer than announced on channel %u",
                     ch->number);
        return false;
    }
    return flood_allows_body(s, ch->content, size);
}

/* BROKEN: there is no memory; nothing has happened. */
static enum content_step body_reserve(struct session *s, struct content *content, size_t size) {
    size_t needed = content->received + size; /* within body_size, which is within message_size_max */
    if (needed <= content->capacity) return CONTENT_MORE;
    size_t capacity = (size_t)content->parsed.body_size;
    while (capacity / GROWTH >= needed) capacity = capacity / GROWTH + 1;
    if (!fits(s, content, capacity)) return CONTENT_OVERFLOWS;
    struct block *body = block_grow(s->alloc, content->body, capacity + FRAME_OVERHEAD); /* and a NUL; see content_room */
    if (!body) return CONTENT_BROKEN;
    charge(s, content, capacity);
    content->body = body;
    content->capacity = capacity;
    return CONTENT_MORE;
}

/*
 * Behind a frame that is not the last come its end octet and the header of the next one: read along, they spare a read of their
 * own, and what is read next overwrites them.
 */
size_t content_room(struct session *s, struct session_channel *ch, size_t left, uint8_t **room) {
    struct content *content = ch->content;
    if (body_reserve(s, content, READ_SMALL) != CONTENT_MORE) return 0;
    size_t space = content->capacity - content->received;
    *room = block_bytes(content->body) + content->received;
    if (space < left) return space;
    return content->received + left < content->parsed.body_size ? left + FRAME_OVERHEAD : left;
}

bool content_is_gathered(const struct session *s, const struct content *content) {
    return content->parsed.body_size > s->tune.frame_max - FRAME_OVERHEAD;
}

enum content_step content_piece(struct session *s, struct session_channel *ch, const uint8_t *data, size_t size) {
    struct content *content = ch->content;
    enum content_step reserved = body_reserve(s, content, size);
    if (reserved == CONTENT_BROKEN) return no_memory(s, "a message", content->parsed.body_size);
    if (reserved != CONTENT_MORE) return reserved;
    if (size) memcpy(block_bytes(content->body) + content->received, data, size);
    content->received += size;
    return content->received == content->parsed.body_size ? CONTENT_DONE : CONTENT_MORE;
}

enum content_step content_frame(struct session *s, struct session_channel *ch, const struct frame *frame) {
    if (!content_accepts(s, ch, frame->size)) return CONTENT_BROKEN;
    if (!ch->content->body && frame->size == ch->content->parsed.body_size) {
        ch->content->whole = frame->payload;
        return CONTENT_DONE;
    }
    return content_piece(s, ch, frame->payload, frame->size);
}

void content_event(struct session *s, struct session_channel *ch, struct session_event *event) {
    struct content *content = ch->content;
    const struct method_info *info = NULL;
    (void)method_read(content->method, content->method_size, &info, &s->args); /* was read before: cannot fail */
    method_terminate(info, &s->args);
    content_header_terminate(&content->parsed);
    *event = (struct session_event){ .type = SESSION_EVENT_CONTENT,
                                     .channel = ch->number,
                                     .owner = ch->owner,
                                     .info = info,
                                     .args = &s->args,
                                     .properties = &content->parsed.properties };
    if (content->whole) {
        event->body = (lago_bytes_t){ content->whole, (size_t)content->parsed.body_size };
        content->whole[content->parsed.body_size] = '\0'; /* the frame's end octet, checked and done with */
    } else if (content->body) {
        uint8_t *bytes = block_bytes(content->body);
        bytes[content->received] = '\0';
        event->body = (lago_bytes_t){ bytes, content->received };
        event->body_block = content->body;
        if (content_is_gathered(s, content)) s->small_reads = SMALL_READS;
    } else {
        event->body = (lago_bytes_t){ "", 0 };
    }
    content->told = true;
    s->delivered = ch;
}

/* ---------------------------------------------------------------- bodies that are handed out as they come */

void session_announce_bodies(struct session *s, uint16_t channel) {
    struct session_channel *ch = channel_find(s, channel);
    if (ch) ch->announces = true;
}

void content_announce(struct session *s, struct session_channel *ch, struct session_event *event) {
    const struct content *content = ch->content;
    const struct method_info *info = NULL;
    (void)method_read(content->method, content->method_size, &info, &s->args); /* was read before: cannot fail */
    *event = (struct session_event){ .type = SESSION_EVENT_BODY_BEGIN,
                                     .channel = ch->number,
                                     .owner = ch->owner,
                                     .info = info,
                                     .args = &s->args,
                                     .properties = &content->parsed.properties,
                                     .body_size = content->parsed.body_size };
    s->delivered = ch;
}

int session_hand_out(struct session *s, uint16_t channel, union method_args **args) {
    struct content *content = channel_find(s, channel)->content;
    const struct method_info *info = NULL;
    if (content_save(s, content) < 0) return LAGO_ENOMEM;
    (void)method_read(content->method, content->method_size, &info, &content->args); /* was read before: cannot fail */
    method_terminate(info, &content->args);
    content_header_terminate(&content->parsed);
    content->in_pieces = true;
    *args = &content->args;
    return 0;
}

void content_hand(struct session *s, struct session_channel *ch, lago_bytes_t piece, bool ends, struct session_event *event) {
    struct content *content = ch->content;
    *event = (struct session_event){ .type = SESSION_EVENT_BODY,
                                     .channel = ch->number,
                                     .owner = ch->owner,
                                     .info = content->info,
                                     .args = &content->args,
                                     .properties = &content->parsed.properties,
                                     .body = piece,
                                     .body_size = content->parsed.body_size,
                                     .body_offset = content->received,
                                     .body_ends = ends };
    content->received += piece.size;
    content->told = ends;
    if (ends) s->delivered = ch;
}

/* ---------------------------------------------------------------- the end of a content */

void content_reset(struct session *s, struct session_channel *ch) {
    struct content *content = ch->content;
    if (!content) return;
    ch->content = NULL;
    ch->receiving = CONTENT_NONE;
    list_remove(&content->borrowing);
    s->assembled -= content->charged;
    block_unref(content->body);
    mem_free(s->alloc, content->saved);
    mem_free(s->alloc, s->spare_content);
    s->spare_content = content;
}

void contents_tidy(struct session *s) {
    mem_free(s->alloc, s->spare_content);
    s->spare_content = NULL;
}

/* The input goes away in the middle of a message: keep its method and header. */
int content_save(struct session *s, struct content *content) {
    list_remove(&content->borrowing);
    /* one octet more behind each, for the NUL behind a last string */
    uint8_t *saved = mem_alloc(s->alloc, content->method_size + 1 + content->header_size + 1);
    if (!saved) return LAGO_ENOMEM;
    memcpy(saved, content->method, content->method_size);
    content->method = saved;
    if (content->header) {
        uint8_t *header = saved + content->method_size + 1;
        memcpy(header, content->header, content->header_size);
        content->header = header;
        (void)content_header_read(header, content->header_size, &content->parsed); /* was read before: cannot fail */
    }
    mem_free(s->alloc, content->saved);
    content->saved = saved;
    return 0;
}
