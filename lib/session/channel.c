/* Channel numbers and their wire states: opening, open, closing (1.5.2). What a channel is for is the client's. */
#include "alloc.h"
#include "internal.h"
#include "reason.h"

void channel_set_state(struct session_channel *ch, enum channel_state state) {
    PROBE3(channel__state, ch, (int)state, (int)ch->state);
    ch->state = (uint8_t)state;
}

int session_channel_open(struct session *s, void *owner) {
    if (session_is_over(s)) return LAGO_ECLOSED;
    struct session_channel *ch = mem_zero(s->alloc, 1, sizeof(*ch));
    if (!ch) return LAGO_ENOMEM;
    uint16_t max = s->tune.channel_max ? s->tune.channel_max : s->settings.channel_max;
    int number = idmap_add(&s->channels, max, ch);
    if (number < 0) {
        mem_free(s->alloc, ch);
        return number;
    }
    ch->number = (uint16_t)number;
    ch->owner = owner;
    list_init(&ch->acking);
    channel_set_state(ch, CHANNEL_OPENING);
    struct channel_open args = { 0 };
    int rc = session_send(s, ch->number, METHOD_CHANNEL_OPEN, &args);
    ch->known = ch->held_count == 0;
    if (rc == 0) return number;
    channel_release(s, ch);
    return rc;
}

/* It is said later, without its words, behind what was accepted; what comes until then is discarded. */
static void owe_close(struct session *s, struct session_channel *ch, uint16_t reply_code) {
    ch->close_owed = true;
    ch->close_code = reply_code;
    channel_set_state(ch, CHANNEL_LEAVING);
    output_retry(s);
}

int session_channel_close(struct session *s, uint16_t channel, uint16_t reply_code, const char *reply_text) {
    struct session_channel *ch = channel_find(s, channel);
    if (!ch || channel_is_going(ch)) return LAGO_ECLOSED;
    struct channel_close args = { .reply_code = reply_code, .reply_text = { reply_text, LAGO_NUL_TERMINATED } };
    int rc = session_send(s, channel, METHOD_CHANNEL_CLOSE, &args);
    if (rc == LAGO_ENOMEM) {
        owe_close(s, ch, reply_code);
        return 0;
    }
    if (rc == 0) channel_set_state(ch, ch->held_count > 0 ? CHANNEL_LEAVING : CHANNEL_CLOSING);
    return rc;
}

void channel_caught_up(struct session_channel *ch) {
    ch->known = true;
    if (ch->state == CHANNEL_LEAVING && !ch->close_owed) channel_set_state(ch, CHANNEL_CLOSING);
}

/* Past all holding; without memory it stays owed. */
static void say_close(struct session *s, struct session_channel *ch, uint16_t reply_code, const char *reply_text) {
    (void)acks_flush(s, ch); /* without memory they go back to the queue: the channel ends */
    struct channel_close args = { .reply_code = reply_code, .reply_text = { reply_text, LAGO_NUL_TERMINATED } };
    ch->close_owed = false;
    if (output_method(s, ch->number, METHOD_CHANNEL_CLOSE, &args) < 0)
        owe_close(s, ch, reply_code);
    else
        channel_set_state(ch, CHANNEL_CLOSING);
}

void channel_say_owed(struct session *s) {
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) {
        struct session_channel *ch = channel_find(s, n);
        if (ch->close_owed && ch->held_count == 0) say_close(s, ch, ch->close_code, "");
    }
}

uint64_t session_channel_give_up(struct session *s, uint16_t channel, uint16_t reply_code, const char *reply_text) {
    struct session_channel *ch = channel_find(s, channel);
    if (!ch) return 0;
    if (!s->opened && !ch->known) { /* no peer has heard of it */
        channel_release(s, ch);
        return 0;
    }
    if (!s->opened) { /* one will, if this link opens: and then of its end */
        output_drop_held(s, channel);
        ch->close_owed = true;
        ch->close_code = reply_code;
        return 0;
    }
    bool said = ch->state == CHANNEL_CLOSING;
    output_drop_held(s, channel);
    uint64_t sent = ch->publishes_sent + marks_count(s, channel);
    if (!ch->known)
        channel_release(s, ch);
    else if (!said && s->state == SESSION_OPEN)
        say_close(s, ch, reply_code, reply_text);
    return sent;
}

void *session_channel_owner(const struct session *s, uint16_t channel) {
    const struct session_channel *ch = channel_find(s, channel);
    return ch ? ch->owner : NULL;
}

void session_channel_own(struct session *s, uint16_t channel, void *owner) {
    struct session_channel *ch = channel_find(s, channel);
    if (ch) ch->owner = owner;
}

bool session_channel_is_stopped(const struct session *s, uint16_t channel) {
    const struct session_channel *ch = channel_find(s, channel);
    return ch && ch->flow_stopped;
}

uint16_t session_channel_next(const struct session *s, uint16_t channel) { return idmap_next(&s->channels, channel); }

void channel_release(struct session *s, struct session_channel *ch) {
    PROBE3(channel__state, ch, (int)CHANNEL_GONE, (int)ch->state);
    output_drop_held(s, ch->number);
    marks_forget(s, ch->number);
    if (s->delivered == ch) s->delivered = NULL;
    if (s->streaming_channel == ch->number) s->streaming_skip = true; /* the rest of the frame belongs to nobody */
    content_reset(s, ch);
    acks_forget(ch);
    idmap_remove(&s->channels, ch->number);
    mem_free(s->alloc, ch);
}

void session_channel_drop(struct session *s, uint16_t channel) {
    struct session_channel *ch = channel_find(s, channel);
    if (ch) channel_release(s, ch);
}
