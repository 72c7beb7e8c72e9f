/* A link of the model broker: bytes, frames, the class connection. Must not know queues. */
#include "model_broker.h"

#include "text.h"
#include <lago/table.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHOD_ROOM 2048u /* of what a broker says no method is larger */

/* ---------------------------------------------------------------- way out */

void model_trace(struct model_link *link, char direction, const struct frame *frame) {
    const struct model_hooks *hooks = &link->broker->hooks;
    if (!hooks->frame) return;
    char words[512];
    struct text t;
    text_init(&t, words, sizeof(words));
    text_addf(&t, "%u ", frame->channel);
    const struct method_info *info = NULL;
    union method_args args;
    if (frame->type == FRAME_METHOD && method_read(frame->payload, frame->size, &info, &args) == 0)
        method_print(&t, info, &args);
    else if (frame->type == FRAME_HEADER && frame->size >= CONTENT_HEADER_FIXED_SIZE)
        text_addf(&t, "header body_size=%llu", (unsigned long long)get_u64(frame->payload + 4));
    else
        text_addf(&t, "frame type %u of %zu bytes", frame->type, frame->size);
    hooks->frame(hooks->data, link, direction, words);
}

static void trace_out(struct model_link *link, uint8_t *bytes, size_t size) {
    if (!link->broker->hooks.frame) return;
    struct frame frame;
    size_t need;
    if (frame_decode(bytes, size, SIZE_MAX, &frame, &need) == FRAME_COMPLETE) model_trace(link, 'S', &frame);
}

static void put_frame(struct model_link *link, struct model_bytes *to, uint8_t *frame, size_t size) {
    trace_out(link, frame, size);
    model_append(link->broker, to, frame, size);
}

void model_say(struct model_link *link, struct model_channel *ch, uint32_t method, const void *args) {
    uint8_t frame[METHOD_ROOM];
    struct writer w = writer_over(frame + FRAME_HEADER_SIZE, sizeof(frame) - FRAME_OVERHEAD);
    method_write(&w, method_find(method), args);
    if (w.error) abort();
    (void)frame_begin(frame, FRAME_METHOD, ch ? ch->number : 0, w.size);
    (void)frame_finish(frame + FRAME_HEADER_SIZE + w.size);
    put_frame(link, ch ? &ch->out : &link->out, frame, w.size + FRAME_OVERHEAD);
}

static void say_payload(struct model_channel *ch, enum frame_type type, const uint8_t *payload, size_t size) {
    uint8_t head[FRAME_HEADER_SIZE], end = FRAME_END;
    (void)frame_begin(head, type, ch->number, size);
    struct model_broker *b = ch->link->broker;
    model_append(b, &ch->out, head, sizeof(head));
    model_append(b, &ch->out, payload, size);
    model_append(b, &ch->out, &end, 1);
    trace_out(ch->link, ch->out.data + ch->out.size - size - FRAME_OVERHEAD, size + FRAME_OVERHEAD);
}

void model_say_content(struct model_channel *ch, uint32_t method, const void *args, const struct model_message *message) {
    struct model_broker *b = ch->link->broker;
    model_say(ch->link, ch, method, args);
    say_payload(ch, FRAME_HEADER, message->header.data, message->header.size);
    size_t max = ch->link->tune.frame_max - FRAME_OVERHEAD;
    if (b->piece_max && b->piece_max < max) max = b->piece_max;
    for (size_t at = 0; at < message->body.size;) {
        size_t size = message->body.size - at < max ? message->body.size - at : max;
        say_payload(ch, FRAME_BODY, (const uint8_t *)message->body.data + at, size);
        at += size;
    }
}

static bool pump_one(struct model_link *link) {
    struct model_channel *chosen = NULL;
    uint64_t seen = 0;
    for (struct model_channel *ch = link->channels; ch; ch = ch->next)
        if (!ch->slow && ch->out.done < ch->out.size && model_random(link->broker, ++seen) == 0) chosen = ch;
    if (!chosen) return false;
    const uint8_t *frame = chosen->out.data + chosen->out.done;
    size_t size = get_u32(frame + 3) + FRAME_OVERHEAD;
    model_append(link->broker, &link->out, frame, size);
    chosen->out.done += size;
    chosen->out.passed += size;
    return true;
}

size_t model_link_pump(struct model_link *link, size_t max) {
    size_t count = 0;
    if (link->mute || (link->state != MODEL_RUNNING)) return 0;
    while (count < max && pump_one(link)) count++;
    return count;
}

void model_link_sent(struct model_link *link, size_t size) {
    link->out.done += size;
    link->out.passed += size;
}

bool model_link_is_quiet(const struct model_link *link) {
    if (link->mute) return true;
    if (link->out.done < link->out.size) return false;
    for (const struct model_channel *ch = link->channels; ch; ch = ch->next)
        if (ch->out.done < ch->out.size && link->state == MODEL_RUNNING) return false;
    return true;
}

void model_link_heartbeat(struct model_link *link) {
    uint8_t frame[FRAME_OVERHEAD];
    if (link->state != MODEL_RUNNING || link->mute) return;
    (void)frame_finish(frame_begin(frame, FRAME_HEARTBEAT, 0, 0));
    put_frame(link, &link->out, frame, sizeof(frame));
}

bool model_link_block(struct model_link *link, bool blocked) {
    if (link->state != MODEL_RUNNING || link->mute || link->blocked == blocked) return false;
    struct connection_blocked args = { .reason = { "low on memory", 13 } };
    model_say(link, NULL, blocked ? METHOD_CONNECTION_BLOCKED : METHOD_CONNECTION_UNBLOCKED, &args);
    link->blocked = blocked;
    link->blocked_count++;
    return true;
}

bool model_link_close(struct model_link *link, uint16_t code, const char *text, uint32_t method) {
    if (link->state == MODEL_CLOSING || link->state == MODEL_CLOSED || link->state == MODEL_WAIT_HEADER || link->mute)
        return false;
    struct connection_close args = { .reply_code = code,
                                     .reply_text = { text, LAGO_NUL_TERMINATED },
                                     .class_id = (uint16_t)(method >> 16),
                                     .method_id = (uint16_t)method };
    model_say(link, NULL, METHOD_CONNECTION_CLOSE, &args);
    link->state = MODEL_CLOSING;
    return true;
}

/* ---------------------------------------------------------------- life */

struct model_link *model_link_new(struct model_broker *b, void *owner) {
    struct model_link *link = model_new(b, sizeof(*link));
    link->broker = b;
    link->owner = owner;
    link->next = b->links;
    b->links = link;
    return link;
}

void model_link_lost(struct model_link *link) {
    for (struct model_channel *ch = link->channels; ch; ch = ch->next) model_channel_end(ch);
    for (struct model_link **at = &link->broker->links; *at; at = &(*at)->next) {
        if (*at != link) continue;
        *at = link->next;
        break;
    }
    link->state = MODEL_CLOSED;
    for (struct model_queue *q = link->broker->queues; q; q = q->next)
        if (q->owner == link) model_queue_delete(link->broker, q);
}

/* ---------------------------------------------------------------- the handshake */

static void say_start(struct model_link *link) {
    static const lago_field_t capabilities[] = { LAGO_FIELD_BOOL("publisher_confirms", true), LAGO_FIELD_BOOL("basic.nack", true),
                                                 LAGO_FIELD_BOOL("consumer_cancel_notify", true),
                                                 LAGO_FIELD_BOOL("connection.blocked", true),
                                                 LAGO_FIELD_BOOL("authentication_failure_close", true) };
    const lago_table_t table = { .fields = capabilities, .size = sizeof(capabilities) / sizeof(capabilities[0]) };
    const lago_field_t properties[] = { LAGO_FIELD_STR("product", "RabbitMQ"), LAGO_FIELD_STR("version", "4.1.0"),
                                        LAGO_FIELD_TABLE("capabilities", table) };
    struct connection_start args = { .version_minor = 9,
                                     .server_properties = { .fields = properties, .size = 3 },
                                     .mechanisms = { "PLAIN AMQPLAIN " MODEL_MECHANISM, LAGO_NUL_TERMINATED },
                                     .locales = { "en_US", 5 } };
    model_say(link, NULL, METHOD_CONNECTION_START, &args);
    link->state = MODEL_WAIT_START_OK;
}

static bool is_plain(const struct model_link *link, lago_bytes_t response) {
    size_t user = strlen(link->user), password = strlen(link->password);
    const char *at = response.data;
    return response.size == user + password + 2 && at[0] == 0 && memcmp(at + 1, link->user, user) == 0 && at[user + 1] == 0 &&
           memcmp(at + user + 2, link->password, password) == 0;
}

void model_challenge_words(char *words, size_t size, char sign, unsigned round) {
    (void)snprintf(words, size, "%c %u", sign, round);
}

static void say_challenge(struct model_link *link) {
    char words[24];
    model_challenge_words(words, sizeof(words), '?', ++link->round);
    struct connection_secure args = { .challenge = { words, strlen(words) } };
    model_say(link, NULL, METHOD_CONNECTION_SECURE, &args);
    link->state = MODEL_WAIT_SECURE_OK;
}

static void response_check(const struct model_link *link, lago_bytes_t response) {
    char words[24];
    model_challenge_words(words, sizeof(words), '!', link->round);
    if (response.size != strlen(words) || memcmp(response.data, words, response.size) != 0)
        model_broken(link->broker, "another response to challenge %u than was given", link->round);
}

static void judge_login(struct model_link *link);

static void on_start_ok(struct model_link *link, const struct connection_start_ok *args) {
    bool plain = model_same(args->mechanism, (lago_string_t){ "PLAIN", 5 });
    if (plain && link->user && !is_plain(link, args->response)) model_broken(link->broker, "start-ok with other credentials");
    bool rounds = model_same(args->mechanism, (lago_string_t){ MODEL_MECHANISM, sizeof(MODEL_MECHANISM) - 1 });
    if (rounds) response_check(link, args->response);
    if (rounds && link->challenges > 0)
        say_challenge(link);
    else
        judge_login(link);
}

static void on_secure_ok(struct model_link *link, const struct connection_secure_ok *args) {
    response_check(link, args->response);
    if (link->round < link->challenges)
        say_challenge(link);
    else
        judge_login(link);
}

static void judge_login(struct model_link *link) {
    if (link->refusal == MODEL_REFUSES_LOGIN) {
        model_link_close(link, REPLY_ACCESS_REFUSED, "ACCESS_REFUSED - Login was refused", 0);
        return;
    }
    if (link->refusal == MODEL_HANGS_UP_ON_LOGIN) {
        link->state = MODEL_CLOSED;
        link->hang_up = true;
        return;
    }
    struct connection_tune tune = { .channel_max = link->offered.channel_max,
                                    .frame_max = link->offered.frame_max,
                                    .heartbeat = link->offered.heartbeat_s };
    model_say(link, NULL, METHOD_CONNECTION_TUNE, &tune);
    link->tune_at = link->out.added;
    link->state = MODEL_WAIT_TUNE_OK;
}

static bool fits(const lago_tune_t *offered, const struct connection_tune_ok *args) {
    bool channels = offered->channel_max == 0 || (args->channel_max && args->channel_max <= offered->channel_max);
    return channels && args->frame_max >= FRAME_MIN_SIZE && (offered->frame_max == 0 || args->frame_max <= offered->frame_max);
}

static void on_tune_ok(struct model_link *link, const struct connection_tune_ok *args) {
    link->went_ahead = link->out.passed < link->tune_at;
    if (!fits(&link->offered, args)) {
        if (!link->went_ahead && !link->may_go_ahead)
            model_broken(link->broker, "tune-ok with channel_max %u, frame_max %u: more than was offered", args->channel_max,
                         args->frame_max);
        model_link_close(link, REPLY_NOT_ALLOWED, "NOT_ALLOWED - negotiated values", METHOD_CONNECTION_TUNE_OK);
        return;
    }
    link->tune = (lago_tune_t){ .channel_max = args->channel_max, .frame_max = args->frame_max, .heartbeat_s = args->heartbeat };
    link->state = MODEL_WAIT_OPEN;
}

static void on_open(struct model_link *link) {
    if (link->refusal == MODEL_REFUSES_VHOST) {
        model_link_close(link, REPLY_NOT_ALLOWED, "NOT_ALLOWED - vhost not found", METHOD_CONNECTION_OPEN);
        return;
    }
    if (link->refusal == MODEL_HANGS_UP_ON_VHOST) {
        link->state = MODEL_CLOSED;
        link->hang_up = true;
        return;
    }
    struct connection_open_ok ok = { 0 };
    model_say(link, NULL, METHOD_CONNECTION_OPEN_OK, &ok);
    link->state = MODEL_RUNNING;
}

/* ---------------------------------------------------------------- the class connection */

static void on_close(struct model_link *link) {
    struct connection_close_ok ok = { 0 };
    if (link->client_closed) model_broken(link->broker, "a second connection.close");
    link->client_closed = true;
    model_say(link, NULL, METHOD_CONNECTION_CLOSE_OK, &ok);
    if (link->state == MODEL_CLOSING) return; /* both at once: its close-ok is still to come (or never) */
    link->state = MODEL_CLOSED;
    link->hang_up = true;
}

static void on_close_ok(struct model_link *link) {
    if (link->state != MODEL_CLOSING && !link->forged) model_broken(link->broker, "close-ok that nobody asked for");
    if (link->answered_close) model_broken(link->broker, "a second close-ok");
    link->answered_close = true;
    link->state = MODEL_CLOSED;
    link->hang_up = true;
}

static void on_update_secret(struct model_link *link, const struct connection_update_secret *args) {
    if (args->reason.size == 3 && memcmp(args->reason.data, "bad", 3) == 0) {
        model_link_close(link, REPLY_NOT_ALLOWED, "NOT_ALLOWED - New secret was refused", METHOD_CONNECTION_UPDATE_SECRET);
        return;
    }
    struct connection_update_secret_ok ok = { 0 };
    model_say(link, NULL, METHOD_CONNECTION_UPDATE_SECRET_OK, &ok);
}

static const struct {
    uint32_t method;
    enum model_link_state state;
} expected[] = {
    { METHOD_CONNECTION_START_OK, MODEL_WAIT_START_OK }, { METHOD_CONNECTION_SECURE_OK, MODEL_WAIT_SECURE_OK },
    { METHOD_CONNECTION_TUNE_OK, MODEL_WAIT_TUNE_OK },   { METHOD_CONNECTION_OPEN, MODEL_WAIT_OPEN },
    { METHOD_CONNECTION_UPDATE_SECRET, MODEL_RUNNING },
};

static bool is_expected(const struct model_link *link, uint32_t method) {
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        if (expected[i].method == method) return expected[i].state == link->state;
    return false;
}

static void connection_method(struct model_link *link, const struct method_info *info, const union method_args *args) {
    if (info->id == METHOD_CONNECTION_CLOSE) {
        on_close(link);
        return;
    }
    if (info->id == METHOD_CONNECTION_CLOSE_OK) {
        on_close_ok(link);
        return;
    }
    if (link->state == MODEL_CLOSING) return; /* it had not heard our goodbye */
    if (!is_expected(link, info->id)) {
        model_broken(link->broker, "%s in state %d of the connection", info->name, link->state);
        return;
    }
    switch (info->id) {
    case METHOD_CONNECTION_START_OK: on_start_ok(link, &args->connection_start_ok); break;
    case METHOD_CONNECTION_SECURE_OK: on_secure_ok(link, &args->connection_secure_ok); break;
    case METHOD_CONNECTION_TUNE_OK: on_tune_ok(link, &args->connection_tune_ok); break;
    case METHOD_CONNECTION_OPEN: on_open(link); break;
    default: on_update_secret(link, &args->connection_update_secret); break;
    }
}

/* ---------------------------------------------------------------- way in */

static void on_frame(struct model_link *link, const struct frame *frame) {
    struct model_broker *b = link->broker;
    const struct method_info *info = NULL;
    union method_args args;
    link->frames++;
    model_trace(link, 'C', frame);
    bool method = frame->type == FRAME_METHOD;
    if (method && method_read(frame->payload, frame->size, &info, &args) != 0) {
        model_broken(b, "a method that cannot be read");
        return;
    }
    if (link->client_closed && !(info && info->id == METHOD_CONNECTION_CLOSE_OK)) {
        model_broken(b, "%s behind connection.close", info ? info->name : "a frame");
        return;
    }
    if (link->answered_close || (link->state == MODEL_CLOSED && !link->hang_up)) {
        model_broken(b, "%s behind connection.close-ok", info ? info->name : "a frame");
        return;
    }
    if (link->state == MODEL_CLOSED && !link->client_closed) return; /* it does not know yet that we have hung up */
    if (frame->type == FRAME_HEARTBEAT) {
        if (frame->channel || frame->size || link->state < MODEL_WAIT_OPEN) model_broken(b, "a heartbeat that is none");
        return;
    }
    if (frame->channel == 0) {
        if (info)
            connection_method(link, info, &args);
        else
            model_broken(b, "content on channel 0");
        return;
    }
    if (link->state == MODEL_CLOSING) return;
    if (link->state != MODEL_RUNNING) {
        model_broken(b, "a frame on channel %u before connection.open", frame->channel);
        return;
    }
    struct model_channel *ch = model_channel_find(link, frame->channel);
    if (info && info->id == METHOD_CHANNEL_OPEN) {
        if (ch) model_broken(b, "channel.open on channel %u, which is open", frame->channel);
        if (frame->channel > link->tune.channel_max && link->tune.channel_max) model_broken(b, "a channel beyond channel_max");
        if (!ch) model_channel_open(link, frame->channel);
        return;
    }
    if (ch)
        model_channel_frame(ch, frame);
    else
        model_broken(b, "%s on channel %u, which is not open", info ? info->name : "content", frame->channel);
}

static bool header_step(struct model_link *link) {
    struct model_bytes *in = &link->in;
    if (in->size - in->done < PROTOCOL_HEADER_SIZE) return false;
    if (memcmp(in->data + in->done, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE) != 0)
        model_broken(link->broker, "it does not begin with the protocol header");
    in->done += PROTOCOL_HEADER_SIZE;
    say_start(link);
    return true;
}

static bool frame_step(struct model_link *link) {
    struct model_bytes *in = &link->in;
    struct frame frame;
    size_t need = 0;
    size_t max = link->tune.frame_max ? link->tune.frame_max : FRAME_MIN_SIZE;
    switch (frame_decode(in->data + in->done, in->size - in->done, max, &frame, &need)) {
    case FRAME_INCOMPLETE: return false;
    case FRAME_COMPLETE: break;
    case FRAME_BAD_TYPE:
    case FRAME_TOO_LARGE:
    case FRAME_BAD_END:
        model_broken(link->broker, "a frame that is none, or too large");
        link->mute = true;
        return false;
    }
    in->done += need;
    on_frame(link, &frame);
    return true;
}

void model_link_input(struct model_link *link, const uint8_t *data, size_t size) {
    if (link->mute) return;
    model_append(link->broker, &link->in, data, size);
    while (link->in.done < link->in.size && !link->mute)
        if (!(link->state == MODEL_WAIT_HEADER ? header_step(link) : frame_step(link))) break;
}
