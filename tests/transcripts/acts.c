/* What a script does with the connection, the network and the test itself; channels are acts_channel.c's. */
#include "play.h"

#include <lago/observe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) static void no_such(const char *what, const char *words) {
    fprintf(stderr, "transcript: no such %s: %s\n", what, words ? words : "(nothing)");
    abort();
}

void call_begin(struct play *p) { p->in_call = p->legal.in_call = true; }

void call_end(struct play *p) { p->in_call = p->in_free = p->legal.in_call = p->legal.in_free = false; }

void play_result(struct play *p, int64_t result) {
    (void)legal_returned(&p->legal, result);
    if (result < 0)
        play_emit(p, "=  ", "%s", lago_error_name((int)result));
    else if (result > 0)
        play_emit(p, "=  ", "%lld", (long long)result);
}

struct owed *owed_new(struct play *p, struct played_channel *channel, const char *name) {
    struct owed *owed = calloc(1, sizeof(*owed));
    if (!owed) abort();
    owed->play = p;
    owed->channel = channel;
    owed->name = strdup(name);
    owed->order = ++p->legal.asked;
    owed->next = p->owed;
    p->owed = owed;
    return owed;
}

void owed_accept(struct owed *owed, int64_t result) { owed->accepted = owed->accepted || result >= 0; }

/* ---------------------------------------------------------------- connect */

static void read_parameters(struct play *p, struct args *args, lago_parameters_t *to) {
    to->host = arg_string(args, "host");
    to->virtual_host = arg_string(args, "virtual_host");
    to->credentials.username = arg_string(args, "username");
    to->credentials.password = arg_string(args, "password");
    to->credentials.mechanisms = arg_string(args, "mechanisms");
    if (arg_flag(args, "on_login")) to->credentials.on_login = told_login;
    to->credentials.login_data = p;
    to->channel_max = (uint16_t)arg_number(args, "channel_max");
    to->frame_max = (uint32_t)arg_number(args, "frame_max");
    to->heartbeat_s = arg_flag(args, "heartbeat_off") ? LAGO_HEARTBEAT_OFF : (int32_t)arg_number(args, "heartbeat_s");
    to->connection_attempts = (uint32_t)arg_number(args, "connection_attempts");
    to->retry_delay_ms = (uint32_t)arg_number(args, "retry_delay_ms");
    to->socket_timeout_ms = (uint32_t)arg_number(args, "socket_timeout_ms");
    to->stack_timeout_ms = (uint32_t)arg_number(args, "stack_timeout_ms");
    to->connect_deadline_ms = (uint32_t)arg_number(args, "connect_deadline_ms");
    to->blocked_connection_timeout_ms = (uint32_t)arg_number(args, "blocked_connection_timeout_ms");
    to->write_timeout_ms = (uint32_t)arg_number(args, "write_timeout_ms");
    to->close_timeout_ms = (uint32_t)arg_number(args, "close_timeout_ms");
    to->operation_timeout_ms = (uint32_t)arg_number(args, "operation_timeout_ms");
    to->message_size_max = arg_number(args, "message_size_max");
    to->high_water = (size_t)arg_number(args, "high_water");
    to->low_water = (size_t)arg_number(args, "low_water");
    to->refuse_while_blocked = arg_flag(args, "refuse_while_blocked");
    to->fast_open = arg_flag(args, "fast_open");
    to->connection_name = arg_string(args, "connection_name");
}

static void set_callbacks(struct play *p, struct args *args, lago_connection_options_t *options) {
    options->data = p;
    options->free_data = told_data_freed;
    if (arg_flag(args, "silent")) return;
    p->has_on_open = p->has_on_open_error = p->has_on_close = true;
    options->on_open = told_open;
    options->on_open_error = told_open_error;
    options->on_close = told_close;
    options->on_blocked = told_blocked;
    options->on_unblocked = told_unblocked;
    options->on_drain = told_drain;
}

static void act_connect(struct play *p, struct args *args) {
    const char *url = arg_string(args, "url");
    lago_parameters_t parameters = { 0 };
    lago_connection_options_t options = { .parameters = url ? NULL : &parameters };
    read_parameters(p, args, &parameters);
    if (arg_flag(args, "known")) p->medium->know(p);
    set_callbacks(p, args, &options);
    call_begin(p);
    int rc = p->medium->connect(p, url, &options);
    call_end(p);
    p->connected = rc == 0;
    p->legal.connected = p->connected && p->has_on_close;
    play_result(p, rc);
}

/* ---------------------------------------------------------------- ends */

static void act_close(struct play *p, struct args *args) {
    lago_close_t how = { .reply_code = (uint16_t)arg_number(args, "reply_code"),
                         .reply_text = arg_string(args, "reply_text"),
                         .timeout_ms = (uint32_t)arg_number(args, "timeout_ms"),
                         .no_await_confirms = arg_flag(args, "no_await_confirms") };
    call_begin(p);
    int rc = lago_connection_close(p->conn, &how);
    call_end(p);
    play_result(p, rc);
}

static void act_abort(struct play *p, struct args *args) {
    (void)args;
    call_begin(p);
    int rc = lago_connection_abort(p->conn);
    call_end(p);
    play_result(p, rc);
}

static void act_free(struct play *p, struct args *args) {
    (void)args;
    lago_connection_t *conn = p->conn;
    p->conn = NULL;
    p->freed = true;
    for (int i = 0; i <= CHANNELS_MAX; i++) {
        p->channels[i].ch = NULL;
        p->channels[i].rpc = NULL;
        p->channels[i].freed = true;
    }
    for (struct owed *owed = p->owed; owed; owed = owed->next) owed->loose = true;
    call_begin(p);
    p->in_free = true;
    legal_freed(&p->legal);
    lago_connection_free(conn);
    call_end(p);
}

/* ---------------------------------------------------------------- timers and secrets */

static void act_call_later(struct play *p, struct args *args) {
    unsigned index = (unsigned)strtoul(arg_word(args), NULL, 10) % TIMERS_MAX;
    char name[32];
    snprintf(name, sizeof(name), "timer %u", index);
    struct owed *owed = owed_new(p, NULL, name);
    call_begin(p);
    int rc = lago_connection_call_later(p->conn, (uint32_t)arg_number(args, "delay_ms"), told_timer, owed, &p->timers[index]);
    call_end(p);
    owed_accept(owed, rc);
    play_result(p, rc);
}

static void act_remove_timeout(struct play *p, struct args *args) {
    unsigned index = (unsigned)strtoul(arg_word(args), NULL, 10) % TIMERS_MAX;
    char name[32];
    call_begin(p);
    int rc = lago_connection_remove_timeout(p->conn, p->timers[index]);
    call_end(p);
    play_result(p, rc);
    snprintf(name, sizeof(name), "timer %u", index);
    for (struct owed *owed = p->owed; owed && rc == 0; owed = owed->next)
        if (strcmp(owed->name, name) == 0) owed->loose = true;
}

static void act_update_secret(struct play *p, struct args *args) {
    struct owed *owed = owed_new(p, NULL, "update_secret");
    call_begin(p);
    int rc = lago_update_secret(p->conn, arg_word(args), arg_string(args, "reason"), told_secret, owed);
    call_end(p);
    owed_accept(owed, rc);
    play_result(p, rc);
}

static void act_login_provide(struct play *p, struct args *args) {
    lago_login_t login = { .username = arg_string(args, "username"),
                           .password = arg_string(args, "password"),
                           .expires_in_s = (uint32_t)arg_number(args, "expires_in_s") };
    call_begin(p);
    int rc = lago_login_provide(p->conn, p->ticket, &login);
    call_end(p);
    play_result(p, rc);
}

static void act_login_refuse(struct play *p, struct args *args) {
    call_begin(p);
    int rc = lago_login_refuse(p->conn, p->ticket, arg_word(args));
    call_end(p);
    play_result(p, rc);
}

/* ---------------------------------------------------------------- asking */

static void show_tune(struct play *p) {
    lago_tune_t tune = lago_connection_tune(p->conn);
    play_emit(p, "=  ", "channel_max=%u frame_max=%u heartbeat=%u", tune.channel_max, tune.frame_max, tune.heartbeat_s);
}

static void show_counters(struct play *p) {
    lago_counters_t c = lago_connection_counters(p->conn);
    play_emit(p, "=  ", "messages sent=%llu received=%llu dropped=%llu, frames sent=%llu received=%llu",
              (unsigned long long)c.messages_sent, (unsigned long long)c.messages_received,
              (unsigned long long)c.messages_dropped, (unsigned long long)c.frames_sent, (unsigned long long)c.frames_received);
}

static void act_show(struct play *p, struct args *args) {
    static const char *const states[] = { "closed", "init", "protocol", "start", "tune", "open", "closing" };
    const char *what = arg_word(args);
    if (strcmp(what, "state") == 0)
        play_emit(p, "=  ", "%s", states[lago_connection_state(p->conn)]);
    else if (strcmp(what, "blocked") == 0)
        play_emit(p, "=  ", "%s", lago_connection_is_blocked(p->conn) ? "blocked" : "not blocked");
    else if (strcmp(what, "output") == 0)
        play_emit(p, "=  ", "%zu bytes", lago_connection_output_size(p->conn));
    else if (strcmp(what, "tune") == 0)
        show_tune(p);
    else if (strcmp(what, "counters") == 0)
        show_counters(p);
    else if (!p->medium->show(p, what))
        no_such("fact to show", what);
}

static void act_reference(struct play *p, struct args *args) {
    const char *way = arg_word(args);
    (strcmp(way, "on") == 0 ? lago_connection_ref : lago_connection_unref)(p->conn);
}

/* ---------------------------------------------------------------- kept messages */

static void act_keep(struct play *p, struct args *args) {
    (void)args;
    lago_message_release(p->kept);
    p->kept = NULL;
    if (!p->message && !p->curious) no_such("message to keep", "outside a callback");
    play_result(p, lago_message_keep(p->message, &p->kept));
}

static void act_kept(struct play *p, struct args *args) {
    (void)args;
    if (p->kept)
        play_emit(p, "=  ", "kept %llu content_type=\"%s\" body=\"%s\"", (unsigned long long)p->kept->delivery_tag,
                  p->kept->properties->content_type ? p->kept->properties->content_type : "", (const char *)p->kept->body.data);
    lago_message_release(p->kept);
    p->kept = NULL;
}

/* ---------------------------------------------------------------- by name */

static const struct act {
    const char *name;
    void (*act)(struct play *p, struct args *args);
} acts[] = {
    { "connect", act_connect },
    { "close", act_close },
    { "abort", act_abort },
    { "free", act_free },
    { "call_later", act_call_later },
    { "remove_timeout", act_remove_timeout },
    { "update_secret", act_update_secret },
    { "login.provide", act_login_provide },
    { "login.refuse", act_login_refuse },
    { "show", act_show },
    { "reference", act_reference },
    { "keep", act_keep },
    { "kept", act_kept },
};

static bool own_act(struct play *p, const char *verb, struct args *args) {
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (strcmp(acts[i].name, verb) != 0) continue;
        acts[i].act(p, args);
        return true;
    }
    return false;
}

void play_act(struct play *p, const char *words) {
    struct args args;
    args_read(&args, words);
    args.ms_scale = p->medium->ms_scale;
    const char *verb = arg_word(&args);
    if (!verb || (!own_act(p, verb, &args) && !channel_act(p, verb, &args))) no_such("act", words);
    args_release(&args);
}
