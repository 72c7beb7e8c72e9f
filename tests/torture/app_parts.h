/* What app.c and app_messages.c share: how calls and callbacks are reported. */
#ifndef TORTURE_APP_PARTS_H
#define TORTURE_APP_PARTS_H

#include "app.h"

#define APP_LARGEST ((size_t)400000)

extern char app_filling[APP_LARGEST]; /* of bodies */

const char *app_name_of(int64_t rc);
const char *app_result_of(const lago_reason_t *reason);
int app_code_of(const lago_reason_t *reason);

/* A result is judged and noted: of a call that promises nothing. @return rc */
int64_t app_plain(struct app *app, const char *name, int64_t rc);

/* Around each callback; a whole one that keeps a promise; one that is only news. */
void app_begin(struct app *app, enum legal_kind kind, struct legal_channel *channel);
void app_finish(struct app *app, const char *what);
void app_told(struct legal_promise *p, int code);
void app_news(struct app *app, struct legal_channel *channel, const char *what);

struct app *app_of(const struct legal_promise *p);

/* free_data and releases; a lago_consumer_cb. Their `data` is the promise. */
void app_freed_data(void *data);
void app_consumer_told(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data);

/*
 * A call of the library, with the promise `p` it makes as the data of its callback: result and promise are noted and judged. `name`
 * must be static.
 */
#define ASK(app_, channel_, kind_, name_, call_)                                                                                 \
    do {                                                                                                                         \
        struct app *a_ = (app_);                                                                                                 \
        struct legal_promise *p = legal_ask(&a_->legal, (channel_), (kind_), (name_));                                           \
        legal_call(&a_->legal, false);                                                                                           \
        int64_t rc_ = legal_returned(&a_->legal, (call_));                                                                       \
        legal_answer(p, rc_);                                                                                                    \
        if (rc_ < 0) app_note(a_, "%s = %s", (name_), app_name_of(rc_));                                                         \
    } while (0)

/* One of a channel that may not be there. */
#define OPERATION(ch_, name_, call_)                                                                                             \
    do {                                                                                                                         \
        if ((ch_)->ch) ASK((ch_)->app, (ch_)->legal, LEGAL_OPERATION, name_, call_);                                             \
    } while (0)

#endif
