/* Filling in reasons. Knows nothing of AMQP: what happened is the caller's to say. */
#ifndef LAGO_BASE_REASON_H
#define LAGO_BASE_REASON_H

#include <lago/context.h>
#include <lago/error.h>

/* Zero a reason and set who and what. */
void reason_init(lago_reason_t *reason, int code, lago_origin_t origin);

/* What exactly happened; what to do about it. Text from peers must be escaped by the caller (text_add_escaped). */
void reason_detail(lago_reason_t *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reason_hint(lago_reason_t *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The broker's verdict, as it came; cut at what a short string holds. */
void reason_reply(lago_reason_t *reason, uint16_t reply_code, const char *text, size_t size, uint16_t class_id,
                  uint16_t method_id);

/*
 * A reason as its owner keeps it: the facts in place, the words on the heap from when there are some, because most connections
 * live for long without one. Zero: none. Without memory the words are lost, the facts are not.
 */
struct kept_reason {
    int code;
    lago_origin_t origin;
    lago_phase_t phase;
    uint16_t reply_code, class_id, method_id;
    int os_error;
    unsigned long tls_error;
    long tls_verify_result;
    lago_reason_t *whole; /* NULL: there is none, or there was no memory for it */
};

/* Keep a reason in place of the last one; it may be that one itself. */
void reason_keep(struct kept_reason *kept, const lago_allocator_t *alloc, const lago_reason_t *reason);
void reason_forget(struct kept_reason *kept, const lago_allocator_t *alloc);

/* What is kept: borrowed, or, when there are only facts, written to `room`. */
const lago_reason_t *reason_kept(const struct kept_reason *kept, lago_reason_t *room);

#endif
