/* What a script does with channels: `do queue.declare c1 queue="q"`. Names of acts and arguments are the API's. */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One act on one channel, with what every operation has. */
struct doing {
    struct play *p;
    struct played_channel *channel;
    struct args *args;
    lago_channel_t *ch;
    struct owed *owed; /* NULL: `quiet`, no completion */
    uint32_t timeout_ms;
    bool no_wait;
    lago_table_builder_t *table;
    lago_table_t arguments;
};

static struct played_channel *channel_of(struct play *p, struct args *args) {
    const char *name = arg_word(args);
    int number = name && name[0] == 'c' ? atoi(name + 1) : 0;
    if (number < 1 || number > CHANNELS_MAX) {
        fprintf(stderr, "transcript: a channel (c1 to c%d) is missing in: %s\n", CHANNELS_MAX, args->line);
        abort();
    }
    p->channels[number].play = p;
    p->channels[number].number = number;
    return &p->channels[number];
}

static void done(struct doing *d, int64_t rc) {
    if (d->owed) owed_accept(d->owed, rc);
    lago_table_builder_free(d->table);
    play_result(d->p, rc);
}

#define CALLBACK(d, callback) ((d)->owed ? (callback) : NULL)

/* ---------------------------------------------------------------- life */

static void do_open(struct doing *d) {
    struct played_channel *channel = d->channel;
    bool silent = arg_flag(d->args, "silent");
    if (channel->made) {
        fprintf(stderr, "transcript: a name is for one channel only: %s\n", d->args->line);
        abort();
    }
    lago_channel_options_t options = { .on_open = silent ? NULL : told_channel_open,
                                       .on_close = silent ? NULL : told_channel_close,
                                       .on_return = arg_flag(d->args, "no_return") || silent ? NULL : told_return,
                                       .on_flow = told_flow,
                                       .data = channel,
                                       .free_data = told_channel_data_freed,
                                       .timeout_ms = d->timeout_ms };
    call_begin(d->p);
    int rc = lago_channel_open(d->p->conn, &options, &channel->ch);
    call_end(d->p);
    channel->made = rc == 0;
    channel->has_on_open = channel->has_on_close = !silent;
    if (rc == 0) channel->legal = legal_channel_new(&d->p->legal, lago_channel_number(channel->ch));
    if (rc == 0) channel->legal->silent = silent;
    done(d, rc);
}

static void do_close(struct doing *d) {
    lago_close_t how = { .reply_code = (uint16_t)arg_number(d->args, "reply_code"),
                         .reply_text = arg_string(d->args, "reply_text"),
                         .timeout_ms = d->timeout_ms,
                         .no_await_confirms = arg_flag(d->args, "no_await_confirms") };
    call_begin(d->p);
    int rc = lago_channel_close(d->ch, &how);
    call_end(d->p);
    if (rc == 0) legal_channel_closing(d->channel->legal);
    done(d, rc);
}

static void do_free(struct doing *d) {
    d->channel->ch = NULL;
    d->channel->rpc = NULL;
    d->channel->publisher = NULL;
    d->channel->freed = true;
    for (struct owed *owed = d->p->owed; owed; owed = owed->next)
        if (owed->channel == d->channel) owed->loose = true;
    call_begin(d->p);
    d->p->in_free = true;
    if (d->channel->legal) legal_channel_freed(&d->p->legal, d->channel->legal);
    lago_channel_free(d->ch);
    call_end(d->p);
    done(d, 0);
}

static void do_facts(struct doing *d) {
    static const char *const states[] = { "closed", "opening", "open", "closing" };
    play_emit(d->p, "=  ", "number=%u %s unacked=%zu unconfirmed=%zu error=%s", lago_channel_number(d->ch),
              states[lago_channel_state(d->ch)], lago_channel_unacked_count(d->ch), lago_channel_unconfirmed_count(d->ch),
              lago_error_name(lago_channel_error(d->ch)));
    done(d, 0);
}

/* ---------------------------------------------------------------- operations with nothing in their answer */

static int exchange_declare(struct doing *d) {
    lago_exchange_declare_t a = { .exchange = arg_string(d->args, "exchange"),
                                  .exchange_type = arg_string(d->args, "exchange_type"),
                                  .passive = arg_flag(d->args, "passive"),
                                  .durable = arg_flag(d->args, "durable"),
                                  .auto_delete = arg_flag(d->args, "auto_delete"),
                                  .internal = arg_flag(d->args, "internal"),
                                  .no_wait = d->no_wait,
                                  .arguments = d->arguments,
                                  .timeout_ms = d->timeout_ms };
    return lago_exchange_declare(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int exchange_delete(struct doing *d) {
    lago_exchange_delete_t a = { .exchange = arg_string(d->args, "exchange"),
                                 .if_unused = arg_flag(d->args, "if_unused"),
                                 .no_wait = d->no_wait,
                                 .timeout_ms = d->timeout_ms };
    return lago_exchange_delete(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static lago_exchange_bind_t exchange_bind_args(struct doing *d) {
    return (lago_exchange_bind_t){ .destination = arg_string(d->args, "destination"),
                                   .source = arg_string(d->args, "source"),
                                   .routing_key = arg_string(d->args, "routing_key"),
                                   .no_wait = d->no_wait,
                                   .arguments = d->arguments,
                                   .timeout_ms = d->timeout_ms };
}

static int exchange_bind(struct doing *d) {
    lago_exchange_bind_t a = exchange_bind_args(d);
    return lago_exchange_bind(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int exchange_unbind(struct doing *d) {
    lago_exchange_bind_t a = exchange_bind_args(d);
    return lago_exchange_unbind(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static lago_queue_bind_t queue_bind_args(struct doing *d) {
    return (lago_queue_bind_t){ .queue = arg_string(d->args, "queue"),
                                .exchange = arg_string(d->args, "exchange"),
                                .routing_key = arg_string(d->args, "routing_key"),
                                .no_wait = d->no_wait,
                                .arguments = d->arguments,
                                .timeout_ms = d->timeout_ms };
}

static int queue_bind(struct doing *d) {
    lago_queue_bind_t a = queue_bind_args(d);
    return lago_queue_bind(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int queue_unbind(struct doing *d) {
    lago_queue_bind_t a = queue_bind_args(d);
    return lago_queue_unbind(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int basic_qos(struct doing *d) {
    lago_basic_qos_t a = { .prefetch_count = (uint16_t)arg_number(d->args, "prefetch_count"),
                           .global_qos = arg_flag(d->args, "global_qos"),
                           .timeout_ms = d->timeout_ms };
    return lago_basic_qos(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int basic_recover(struct doing *d) {
    lago_basic_recover_t a = { .no_requeue = arg_flag(d->args, "no_requeue"), .timeout_ms = d->timeout_ms };
    return lago_basic_recover(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int confirm_select(struct doing *d) {
    lago_confirm_select_t a = { .no_wait = d->no_wait, .timeout_ms = d->timeout_ms };
    return lago_confirm_select(d->ch, &a, CALLBACK(d, told_done), d->owed);
}

static int tx_select(struct doing *d) {
    return lago_tx_select(d->ch, &(lago_tx_t){ d->timeout_ms }, CALLBACK(d, told_done), d->owed);
}

static int tx_commit(struct doing *d) {
    return lago_tx_commit(d->ch, &(lago_tx_t){ d->timeout_ms }, CALLBACK(d, told_done), d->owed);
}

static int tx_rollback(struct doing *d) {
    return lago_tx_rollback(d->ch, &(lago_tx_t){ d->timeout_ms }, CALLBACK(d, told_done), d->owed);
}

/* ---------------------------------------------------------------- operations with an answer */

static int queue_declare(struct doing *d) {
    lago_queue_declare_t a = { .queue = arg_string(d->args, "queue"),
                               .passive = arg_flag(d->args, "passive"),
                               .durable = arg_flag(d->args, "durable"),
                               .exclusive = arg_flag(d->args, "exclusive"),
                               .auto_delete = arg_flag(d->args, "auto_delete"),
                               .no_wait = d->no_wait,
                               .arguments = d->arguments,
                               .timeout_ms = d->timeout_ms };
    return lago_queue_declare(d->ch, &a, CALLBACK(d, told_declared), d->owed);
}

static int queue_purge(struct doing *d) {
    lago_queue_purge_t a = { .queue = arg_string(d->args, "queue"), .no_wait = d->no_wait, .timeout_ms = d->timeout_ms };
    return lago_queue_purge(d->ch, &a, CALLBACK(d, told_count), d->owed);
}

static int queue_delete(struct doing *d) {
    lago_queue_delete_t a = { .queue = arg_string(d->args, "queue"),
                              .if_unused = arg_flag(d->args, "if_unused"),
                              .if_empty = arg_flag(d->args, "if_empty"),
                              .no_wait = d->no_wait,
                              .timeout_ms = d->timeout_ms };
    return lago_queue_delete(d->ch, &a, CALLBACK(d, told_count), d->owed);
}

static int channel_flow(struct doing *d) {
    lago_channel_flow_t a = { .active = arg_flag(d->args, "active"), .timeout_ms = d->timeout_ms };
    return lago_channel_flow(d->ch, &a, CALLBACK(d, told_flow_ok), d->owed);
}

static int basic_consume(struct doing *d) {
    struct owed *data = owed_new(d->p, d->channel, "consumer data");
    bool pieces = arg_flag(d->args, "on_body");
    lago_basic_consume_t a = { .queue = arg_string(d->args, "queue"),
                               .consumer_tag = arg_string(d->args, "consumer_tag"),
                               .auto_ack = arg_flag(d->args, "auto_ack"),
                               .exclusive = arg_flag(d->args, "exclusive"),
                               .no_wait = d->no_wait,
                               .arguments = d->arguments,
                               .on_message = pieces ? NULL : told_message,
                               .on_body = pieces ? told_body : NULL,
                               .on_cancel = arg_flag(d->args, "no_on_cancel") ? NULL : told_cancel,
                               .data = data,
                               .free_data = told_consumer_data_freed,
                               .timeout_ms = d->timeout_ms };
    int rc = lago_basic_consume(d->ch, &a, CALLBACK(d, told_consumer), d->owed);
    owed_accept(data, rc);
    return rc;
}

static int basic_cancel(struct doing *d) {
    lago_basic_cancel_t a = { .consumer_tag = arg_string(d->args, "consumer_tag"),
                              .no_wait = d->no_wait,
                              .timeout_ms = d->timeout_ms };
    return lago_basic_cancel(d->ch, &a, CALLBACK(d, told_consumer), d->owed);
}

static int consumer_pause(struct doing *d) { return lago_consumer_pause(d->ch, arg_string(d->args, "consumer_tag")); }

static int consumer_resume(struct doing *d) { return lago_consumer_resume(d->ch, arg_string(d->args, "consumer_tag")); }

static int basic_get(struct doing *d) {
    lago_basic_get_t a = { .queue = arg_string(d->args, "queue"),
                           .auto_ack = arg_flag(d->args, "auto_ack"),
                           .timeout_ms = d->timeout_ms };
    return lago_basic_get(d->ch, &a, CALLBACK(d, told_got), d->owed);
}

/* ---------------------------------------------------------------- acknowledgements and publishes */

static uint64_t tag_of(struct doing *d) {
    const char *word = arg_word(d->args);
    return word ? strtoull(word, NULL, 10) : 0;
}

static unsigned flags_of(struct doing *d) {
    unsigned flags = arg_flag(d->args, "multiple") ? LAGO_MULTIPLE : 0;
    return flags | (arg_flag(d->args, "no_requeue") ? LAGO_NO_REQUEUE : 0);
}

static int settle(struct doing *d, int (*how)(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags)) {
    unsigned flags = flags_of(d);
    uint64_t tag = tag_of(d);
    int rc = how(d->ch, tag, flags);
    if (rc == 0 && d->channel->legal) legal_settled(&d->p->legal, d->channel->legal, tag, flags & LAGO_MULTIPLE);
    return rc;
}

static int basic_ack(struct doing *d) { return settle(d, lago_basic_ack); }

static int basic_nack(struct doing *d) { return settle(d, lago_basic_nack); }

static int basic_reject(struct doing *d) { return settle(d, lago_basic_reject); }

/* It counts on its channel, whoever made it. */
static void published(struct doing *d, int64_t rc) {
    if (rc < 0) return;
    uint64_t publish = legal_published(d->channel->legal, rc);
    if (d->owed) d->owed->publish = publish;
}

/* A body of words, or of `size` bytes; a lent one in memory of its own. */
static lago_bytes_t body_of(struct doing *d, struct owed *lent, char **memory) {
    size_t size = (size_t)arg_number(d->args, "size");
    const char *body = arg_string(d->args, "body");
    if (body) size = arg_size(d->args, "body");
    *memory = malloc(size + 1);
    if (!*memory) abort();
    if (body)
        memcpy(*memory, body, size);
    else
        memset(*memory, 'x', size);
    if (lent) lent->memory = *memory;
    return (lago_bytes_t){ *memory, size };
}

static int basic_publish(struct doing *d) {
    char *memory;
    struct owed *lent = arg_flag(d->args, "lend") ? owed_new(d->p, d->channel, "body") : NULL;
    lago_properties_t properties = { .content_type = arg_string(d->args, "content_type"),
                                     .delivery_mode = (uint8_t)arg_number(d->args, "delivery_mode") };
    lago_basic_publish_t a = { .exchange = arg_string(d->args, "exchange"),
                               .routing_key = arg_string(d->args, "routing_key"),
                               .mandatory = arg_flag(d->args, "mandatory"),
                               .properties = &properties,
                               .body = body_of(d, lent, &memory),
                               .release_body = lent ? told_body_released : NULL,
                               .release_data = lent };
    int64_t rc = lago_basic_publish(d->ch, &a, CALLBACK(d, told_published), d->owed);
    published(d, rc);
    if (lent) owed_accept(lent, rc);
    if (!lent || rc < 0) {
        if (lent) lent->memory = NULL;
        free(memory);
    }
    return (int)rc;
}

/* ---------------------------------------------------------------- calls */

static int rpc_new(struct doing *d) {
    struct owed *data = owed_new(d->p, d->channel, "rpc data");
    lago_rpc_options_t o = {
        .reply_to = arg_string(d->args, "reply_to"), .timeout_ms = d->timeout_ms, .data = data, .free_data = told_rpc_data_freed
    };
    lago_rpc_t *rpc;
    int rc = lago_rpc_new(d->ch, &o, &rpc);
    if (rc == 0) d->channel->rpc = rpc;
    owed_accept(data, rc);
    return rc;
}

static int rpc_call(struct doing *d) {
    char *memory;
    struct owed *lent = arg_flag(d->args, "lend") ? owed_new(d->p, d->channel, "body") : NULL;
    d->owed->call = true;
    lago_rpc_call_t a = { .exchange = arg_string(d->args, "exchange"),
                          .routing_key = arg_string(d->args, "routing_key"),
                          .body = body_of(d, lent, &memory),
                          .release_body = lent ? told_body_released : NULL,
                          .release_data = lent,
                          .timeout_ms = d->timeout_ms };
    int64_t rc = lago_rpc_call(d->channel->rpc, &a, told_reply, d->owed);
    published(d, rc < 0 ? rc : 0);
    if (lent) owed_accept(lent, rc);
    if (!lent || rc < 0) {
        if (lent) lent->memory = NULL;
        free(memory);
    }
    return (int)rc;
}

static int rpc_forget(struct doing *d) {
    const char *number = arg_word(d->args), *name = arg_string(d->args, "of");
    int rc = lago_rpc_forget(d->channel->rpc, number ? atoi(number) : 0);
    for (struct owed *owed = d->p->owed; owed && rc == 0; owed = owed->next)
        if (owed->call && name && strcmp(owed->name, name) == 0) owed->loose = true;
    return rc;
}

static int rpc_free(struct doing *d) {
    lago_rpc_t *rpc = d->channel->rpc;
    d->channel->rpc = NULL;
    for (struct owed *owed = d->p->owed; owed; owed = owed->next)
        if (owed->channel == d->channel && owed->call) owed->loose = true;
    d->p->in_free = true;
    lago_rpc_free(rpc);
    return 0;
}

/* ---------------------------------------------------------------- publishers */

static int publisher_new(struct doing *d) {
    struct owed *data = owed_new(d->p, d->channel, "publisher data");
    bool settled = arg_flag(d->args, "settled"), outcome = arg_flag(d->args, "outcome");
    lago_properties_t properties = { .content_type = arg_string(d->args, "content_type") };
    lago_publisher_options_t o = { .exchange = arg_string(d->args, "exchange"),
                                   .routing_key = arg_string(d->args, "routing_key"),
                                   .mandatory = arg_flag(d->args, "mandatory"),
                                   .properties = &properties,
                                   .window_count = (uint32_t)arg_number(d->args, "window_count"),
                                   .on_outcome = outcome ? told_published : NULL,
                                   .on_settled = settled ? told_settled : NULL,
                                   .on_ready = told_ready,
                                   .data = data,
                                   .free_data = told_publisher_data_freed };
    lago_publisher_t *publisher;
    int rc = lago_publisher_new(d->ch, &o, &publisher);
    if (rc == 0) d->channel->publisher = publisher;
    owed_accept(data, rc);
    return rc;
}

static int publisher_publish(struct doing *d) {
    char *memory;
    struct owed *lent = arg_flag(d->args, "lend") ? owed_new(d->p, d->channel, "body") : NULL;
    lago_properties_t properties = { .message_id = arg_string(d->args, "message_id") };
    lago_publisher_message_t m = { .body = body_of(d, lent, &memory),
                                   .release_body = lent ? told_body_released : NULL,
                                   .release_data = lent,
                                   .routing_key = arg_string(d->args, "routing_key"),
                                   .properties = properties.message_id ? &properties : NULL };
    bool usual = !lent && !m.routing_key && !m.properties;
    if (d->owed) d->owed->prepared = true;
    int64_t rc = usual ? lago_publisher_publish(d->channel->publisher, m.body, d->owed)
                       : lago_publisher_publish_message(d->channel->publisher, &m, d->owed);
    published(d, rc);
    if (lent) owed_accept(lent, rc);
    if (!lent || rc < 0) {
        if (lent) lent->memory = NULL;
        free(memory);
    }
    return (int)rc;
}

#define BATCH_MAX 32

static int publisher_batch(struct doing *d) {
    lago_bytes_t bodies[BATCH_MAX];
    size_t count = (size_t)arg_number(d->args, "count");
    for (size_t i = 0; i < count && i < BATCH_MAX; i++) bodies[i] = (lago_bytes_t){ "b", 1 };
    uint64_t first = 0;
    if (count > BATCH_MAX) count = BATCH_MAX;
    int64_t rc = lago_publisher_publish_batch(d->channel->publisher, bodies, count, NULL, &first);
    if (rc >= 0 && (size_t)rc < count) (void)legal_returned(&d->p->legal, LAGO_ENOMEM); /* as if it had been the next one */
    for (int64_t i = 0; i < rc; i++) published(d, first ? (int64_t)first + i : 0);
    return (int)rc;
}

static int publisher_free(struct doing *d) {
    lago_publisher_t *publisher = d->channel->publisher;
    d->channel->publisher = NULL;
    for (struct owed *owed = d->p->owed; owed; owed = owed->next)
        if (owed->channel == d->channel && owed->prepared) owed->loose = true;
    d->p->in_free = true;
    lago_publisher_free(publisher);
    return 0;
}

/* ---------------------------------------------------------------- by name */

static const struct operation_act {
    const char *name;
    int (*act)(struct doing *d);
    bool completes;
} operations[] = {
    { "exchange.declare", exchange_declare, true },
    { "exchange.delete", exchange_delete, true },
    { "exchange.bind", exchange_bind, true },
    { "exchange.unbind", exchange_unbind, true },
    { "queue.declare", queue_declare, true },
    { "queue.bind", queue_bind, true },
    { "queue.unbind", queue_unbind, true },
    { "queue.purge", queue_purge, true },
    { "queue.delete", queue_delete, true },
    { "channel.flow", channel_flow, true },
    { "qos", basic_qos, true },
    { "recover", basic_recover, true },
    { "consume", basic_consume, true },
    { "cancel", basic_cancel, true },
    { "pause", consumer_pause, false },
    { "resume", consumer_resume, false },
    { "get", basic_get, true },
    { "publish", basic_publish, true },
    { "confirm.select", confirm_select, true },
    { "tx.select", tx_select, true },
    { "tx.commit", tx_commit, true },
    { "tx.rollback", tx_rollback, true },
    { "ack", basic_ack, false },
    { "nack", basic_nack, false },
    { "reject", basic_reject, false },
    { "rpc.new", rpc_new, false },
    { "rpc.call", rpc_call, true },
    { "rpc.forget", rpc_forget, false },
    { "rpc.free", rpc_free, false },
    { "publisher.new", publisher_new, false },
    { "publisher.publish", publisher_publish, true },
    { "publisher.batch", publisher_batch, false },
    { "publisher.free", publisher_free, false },
};

static void do_operation(struct doing *d, const struct operation_act *act) {
    const char *name = arg_string(d->args, "as");
    bool quiet = arg_flag(d->args, "quiet");
    const char *arguments = arg_string(d->args, "arguments");
    if (arguments) {
        d->table = server_table(arguments);
        d->arguments = lago_table_builder_table(d->table);
    }
    d->no_wait = arg_flag(d->args, "no_wait");
    if (act->completes && !quiet) d->owed = owed_new(d->p, d->channel, name ? name : act->name);
    call_begin(d->p);
    int rc = act->act(d);
    call_end(d->p);
    done(d, rc);
}

static const struct life_act {
    const char *name;
    void (*act)(struct doing *d);
} lives[] = {
    { "channel.open", do_open },
    { "channel.close", do_close },
    { "channel.free", do_free },
    { "channel.show", do_facts },
};

bool channel_act(struct play *p, const char *verb, struct args *args) {
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        if (strcmp(lives[i].name, verb) != 0) continue;
        struct doing d = { .p = p, .channel = channel_of(p, args), .args = args };
        d.ch = d.channel->ch;
        d.timeout_ms = (uint32_t)arg_number(args, "timeout_ms");
        lives[i].act(&d);
        return true;
    }
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(operations[i].name, verb) != 0) continue;
        struct doing d = { .p = p, .channel = channel_of(p, args), .args = args };
        d.ch = d.channel->ch;
        d.timeout_ms = (uint32_t)arg_number(args, "timeout_ms");
        do_operation(&d, &operations[i]);
        return true;
    }
    return false;
}
