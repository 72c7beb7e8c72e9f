/*
 * Acknowledgements that wait for their neighbours (1.8.3.13): single ones that follow each other on a channel leave as one
 * `multiple`. They wait for nothing but the end of the turn; whatever else is sent on the channel goes behind them. Who wants
 * them to leave earlier says so by session_flush_acks.
 */
#include "everyday.h"
#include "internal.h"

int acks_write(struct session *s, struct session_channel *ch) {
    uint8_t *room = chunks_reserve(&s->out, ACK_FRAME_SIZE);
    if (!room) return LAGO_ENOMEM;
    ack_frame_put(room, ch->number, ch->ack_last, ch->ack_count > 1);
    liveness_queued(s);
    output_sent(s, room, ACK_FRAME_SIZE, 1);
    chunks_commit(&s->out, ACK_FRAME_SIZE);
    acks_forget(ch);
    return 0;
}

void acks_forget(struct session_channel *ch) {
    ch->ack_count = 0;
    ch->ack_last = 0;
    list_remove(&ch->acking);
}

void session_flush_acks(struct session *s) {
    if (!session_is_up(s)) return;
    for (struct list *node; (node = list_first(&s->acking)) != NULL;) {
        if (acks_flush(s, LIST_ENTRY(node, struct session_channel, acking)) == 0) continue;
        output_retry(s); /* without memory now: they stay accepted, and leave a little later */
        return;
    }
}

/* Naming the highest says the same as naming each: no tag at or below it is open that was not acknowledged. */
static bool joins(const struct session_channel *ch, uint64_t tag, uint64_t lowest_open) {
    uint64_t last = tag > ch->ack_last ? tag : ch->ack_last;
    return lowest_open == 0 || lowest_open > last;
}

/* Behind what is held, each by itself. */
__attribute__((noinline)) static int ack_behind_held(struct session *s, uint16_t channel, uint64_t tag) {
    struct basic_ack args = { .delivery_tag = tag };
    return session_send(s, channel, METHOD_BASIC_ACK, &args);
}

int session_ack(struct session *s, uint16_t channel, uint64_t tag, uint64_t lowest_open) {
    struct session_channel *ch = channel_find(s, channel);
    if (!ch || !session_is_up(s) || ch->held_count > 0) return ack_behind_held(s, channel, tag);
    if (ch->ack_count == 0)
        list_append(&s->acking, &ch->acking);
    else if (!joins(ch, tag, lowest_open)) {
        if (acks_flush(s, ch) < 0) return LAGO_ENOMEM;
        list_append(&s->acking, &ch->acking);
    }
    if (tag > ch->ack_last) ch->ack_last = tag;
    return (int)++ch->ack_count;
}
