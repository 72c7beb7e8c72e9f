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

static void borrow(struct session *s, struct session_channel *ch) {
    if (list_empty(&ch->borrowing)) list_append(&s->borrowing, &ch->borrowing);
}

enum content_step content_begin(struct session *s, struct session_channel *ch, const struct frame *frame,
                                const struct method_info *info) {
    ch->content =
        (struct content){ .state = CONTENT_WAIT_HEADER, .info = info, .method = frame->payload, .method_size = frame->size };
    borrow(s, ch);
    return CONTENT_MORE;
}

enum content_step content_header(struct session *s, struct session_channel *ch, const struct frame *frame) {
    struct content *content = &ch->content;
    if (content->state != CONTENT_WAIT_HEADER) {
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
    content->state = CONTENT_WAIT_BODY;
    borrow(s, ch);
    return content->parsed.body_size == 0 ? CONTENT_DONE : CONTENT_MORE;
}

/* Whether a body frame of this size may come now; else the session has failed. */
bool content_accepts(struct session *s, struct session_channel *ch, size_t size) {
    if (ch->content.state != CONTENT_WAIT_BODY) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_UNEXPECTED_FRAME, 0, "body frame that belongs to no message on channel %u",
                     ch->number);
        return false;
    }
    if (size > ch->content.parsed.body_size - ch->content.received) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, ch->content.info->id, "body longer than announced on channel %u",
                     ch->number);
        return false;
    }
    return true;
}

static bool body_reserve(struct session *s, struct content *content, size_t size) {
    size_t needed = content->received + size; /* within body_size, which is within message_size_max */
    if (needed <= content->capacity) return true;
    size_t capacity = (size_t)content->parsed.body_size;
    while (capacity / GROWTH >= needed) capacity = capacity / GROWTH + 1;
    struct block *body = block_grow(s->alloc, content->body, capacity + 1); /* and a NUL */
    if (!body) return false;
    content->body = body;
    content->capacity = capacity;
    return true;
}

enum content_step content_piece(struct session *s, struct session_channel *ch, const uint8_t *data, size_t size) {
    struct content *content = &ch->content;
    if (!body_reserve(s, content, size)) {
        lago_reason_t reason;
        reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
        reason_detail(&reason, "no memory for a message of %llu bytes", (unsigned long long)content->parsed.body_size);
        session_abandon(s, &reason);
        return CONTENT_BROKEN;
    }
    if (size) memcpy(block_bytes(content->body) + content->received, data, size);
    content->received += size;
    return content->received == content->parsed.body_size ? CONTENT_DONE : CONTENT_MORE;
}

enum content_step content_frame(struct session *s, struct session_channel *ch, const struct frame *frame) {
    if (!content_accepts(s, ch, frame->size)) return CONTENT_BROKEN;
    if (!ch->content.body && frame->size == ch->content.parsed.body_size) {
        ch->content.whole = frame->payload;
        return CONTENT_DONE;
    }
    return content_piece(s, ch, frame->payload, frame->size);
}

void content_event(struct session *s, struct session_channel *ch, struct session_event *event) {
    struct content *content = &ch->content;
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
    } else {
        event->body = (lago_bytes_t){ "", 0 };
    }
    s->delivered = ch;
}

void content_reset(struct session *s, struct content *content) {
    block_unref(content->body);
    mem_free(s->alloc, content->saved);
    memset(content, 0, sizeof(*content));
}

/* The input goes away in the middle of a message: keep its method and header. */
int content_save(struct session *s, struct session_channel *ch) {
    struct content *content = &ch->content;
    list_remove(&ch->borrowing);
    if (content->state == CONTENT_NONE) return 0;
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
