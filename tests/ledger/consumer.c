/*
 * ledger-consumer: takes what comes from a queue, writes it down, and acknowledges it a little later, one by one or many at once.
 *
 *     ledger-consumer URL LEDGER QUEUE [prefetch=N] [seed=N]
 */
#include "life.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX 64

struct delivery {
    struct message message;
    uint64_t tag;
};

static struct {
    struct life life;
    uint16_t prefetch;
    uint64_t random;
    struct delivery held[HELD_MAX];
    size_t held_count;
} c;

/* xorshift64, Marsaglia. */
static uint64_t draw(uint64_t below) {
    c.random ^= c.random << 13;
    c.random ^= c.random >> 7;
    c.random ^= c.random << 17;
    return c.random % below;
}

/* ---------------------------------------------------------------- acks */

static void note_ack(const struct delivery *d) {
    const struct message *m = &d->message;
    book_write(&c.life.book, "K %u %" PRIu64 " %u %u %" PRIu64, m->producer, m->number, m->attempt, c.life.epoch, d->tag);
}

static void hand_over(const struct delivery *d, unsigned flags) {
    int rc = lago_basic_ack(c.life.ch, d->tag, flags);
    if (rc < 0) book_write(&c.life.book, "E %u %" PRIu64 " %s", c.life.epoch, d->tag, lago_error_name(rc));
}

static void ack_held(void) {
    bool together = draw(2) == 0;
    if (!c.life.ch || c.held_count == 0) return;
    for (size_t i = 0; i < c.held_count; i++) note_ack(&c.held[i]);
    for (size_t i = 0; i < c.held_count; i++)
        if (!together) hand_over(&c.held[i], 0);
    if (together) hand_over(&c.held[c.held_count - 1], LAGO_MULTIPLE);
    c.held_count = 0;
}

/* ---------------------------------------------------------------- the link */

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct delivery *d = &c.held[c.held_count++];
    (void)ch;
    (void)data;
    bool intact = message_read(message->body.data, message->body.size, &d->message);
    d->tag = message->delivery_tag;
    book_write(&c.life.book, "D %u %" PRIu64 " %u %d %u %" PRIu64 " %d", d->message.producer, d->message.number,
               d->message.attempt, message->redelivered, c.life.epoch, d->tag, intact);
    if (c.held_count == HELD_MAX || draw(20) == 0) ack_held();
}

static void on_link(struct life *life) {
    lago_basic_consume_t consume = { .queue = life->queue, .consumer_tag = "ledger", .on_message = on_message };
    c.held_count = 0;
    lago_basic_qos(life->ch, &(lago_basic_qos_t){ .prefetch_count = c.prefetch }, NULL, NULL);
    lago_basic_consume(life->ch, &consume, NULL, NULL);
}

static void on_open(struct life *life) { (void)life; }

static void on_lost(struct life *life) {
    (void)life;
    c.held_count = 0;
    if (life->stopping) life_leave(life);
}

static void on_tick(struct life *life) {
    if (life->open && draw(4) == 0) ack_held();
}

static void on_cancelled(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch;
    (void)tag;
    (void)data;
    if (reason) return; /* the link is lost: on_lost comes */
    ack_held();
    life_leave(&c.life);
}

static void on_stop(struct life *life) {
    lago_basic_cancel_t cancel = { .consumer_tag = "ledger" };
    if (!life->open || lago_basic_cancel(life->ch, &cancel, on_cancelled, NULL) < 0) life_leave(life);
}

int main(int argc, char **argv) {
    if (argc < 4) return fputs("usage: ledger-consumer URL LEDGER QUEUE [prefetch=N] [seed=N]\n", stderr), 2;
    c.life = (struct life){ .url = argv[1],
                            .path = argv[2],
                            .queue = argv[3],
                            .on_link = on_link,
                            .on_open = on_open,
                            .on_lost = on_lost,
                            .on_tick = on_tick,
                            .on_stop = on_stop };
    c.prefetch = 200;
    c.random = 88172645463325252u;
    for (int i = 4; i < argc; i++) {
        if (strncmp(argv[i], "prefetch=", 9) == 0) c.prefetch = (uint16_t)strtoul(argv[i] + 9, NULL, 10);
        if (strncmp(argv[i], "seed=", 5) == 0) c.random += strtoull(argv[i] + 5, NULL, 10) * 2654435761u;
    }
    return life_run(&c.life);
}
