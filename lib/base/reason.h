/* Filling in reasons. Knows nothing of AMQP: what happened is the caller's to say. */
#ifndef LAGO_BASE_REASON_H
#define LAGO_BASE_REASON_H

#include <lago/error.h>

/* Zero a reason and set who and what. */
void reason_init(lago_reason_t *reason, int code, lago_origin_t origin);

/* What exactly happened; what to do about it. Text from peers must be escaped by the caller (text_add_escaped). */
void reason_detail(lago_reason_t *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reason_hint(lago_reason_t *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The broker's verdict, as it came; cut at what a short string holds. */
void reason_reply(lago_reason_t *reason, uint16_t reply_code, const char *text, size_t size, uint16_t class_id,
                  uint16_t method_id);

#endif
