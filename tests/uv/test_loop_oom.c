/*
 * Memory that runs out under the whole library on a real loop: a life in which the k-th allocation fails, once or from then on,
 * for every k: of parameters, context, transport, lookup, link, read buffers, and all of the client's. What was accepted
 * completes exactly once, what was refused never, posts of another thread run all the same, and nothing is left.
 */
#include "fail_alloc.h"
#include "loop_broker.h"
#include "peer.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALLOCATIONS_MAX 1000 /* the life needs far less */
#define LARGE           3000000u
#define POSTS           64
#define DEADLINE_MS     100u /* of what fails silently: an answer that could not be read */
#define PATIENCE_MS     10000

struct asked {
    const char *name;
    bool accepted;
    int calls;
};

static struct life {
    uv_loop_t loop;
    uv_timer_t timer;
    struct loop_broker broker;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_poster_t *poster;
    struct asked asked[32];
    size_t asked_count;
    int opened, open_failed, closed;
    int posts_accepted, posts_run;
    atomic_bool posted; /* the other thread is done */
    bool time_is_up;
} life;

static struct life *const l = &life;
static char *large;

static struct asked *ask(const char *name) {
    struct asked *a = &l->asked[l->asked_count++];
    a->name = name;
    return a;
}

static void answered(struct asked *a, int64_t rc) {
    static const int good[] = { LAGO_ENOMEM, LAGO_ECLOSED, LAGO_ENOCONFIRM };
    bool expected = rc >= 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) expected = expected || rc == good[i];
    if (!expected) fail_msg("%s: %s", a->name, lago_error_name((int)rc));
    a->accepted = rc >= 0;
}

/* ---------------------------------------------------------------- callbacks */

static void kept(void *data) { ((struct asked *)data)->calls++; }

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    l->opened++;
}
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    l->open_failed++;
}
static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    l->closed++;
}
static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    (void)lago_basic_ack(ch, message->delivery_tag, 0);
}
static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason;
    kept(data);
}
static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)reason, (void)ok;
    kept(data);
}
static void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)reason, (void)consumer_tag;
    kept(data);
}
static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)ch, (void)reason, (void)message;
    kept(data);
}
static void on_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch, (void)result;
    kept(data);
}
static void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason;
    kept(data);
}
static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)status;
    kept(data);
}
static void on_post(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)data;
    assert_true(status == 0 || status == LAGO_ECANCELED);
    l->posts_run++;
}

/* ---------------------------------------------------------------- the life */

/* Another thread, whose posts need malloc only. */
static void post_many(void *data) {
    (void)data;
    for (int i = 0; i < POSTS; i++) l->posts_accepted += lago_post(l->poster, on_post, NULL) == 0;
    atomic_store(&l->posted, true);
}

static void use_channel(lago_channel_t *ch) {
    struct asked *a = ask("confirm"), *body;
    answered(a, lago_confirm_select(ch, NULL, on_done, a));
    a = ask("declare");
    answered(a, lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, on_declared, a));
    a = ask("small");
    answered(a, lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { "x", 1 } }, on_published, a));
    a = ask("large");
    body = ask("body");
    lago_basic_publish_t lent = { .routing_key = "q", .body = { large, LARGE }, .release_body = kept, .release_data = body };
    answered(a, lago_basic_publish(ch, &lent, on_published, a));
    body->accepted = a->accepted;
    a = ask("consume");
    struct asked *data = ask("consumer");
    lago_basic_consume_t consume = { .queue = "q", .on_message = on_message, .data = data, .free_data = kept };
    answered(a, lago_basic_consume(ch, &consume, on_consumer, a));
    data->accepted = a->accepted;
    a = ask("get");
    answered(a, lago_basic_get(ch, NULL, on_got, a));
}

static void use_connection(void) {
    lago_channel_t *ch;
    struct asked *a = ask("channel");
    lago_channel_options_t options = { .data = a, .free_data = kept };
    answered(a, lago_channel_open(l->conn, &options, &ch));
    if (ch) use_channel(ch);
    a = ask("secret");
    answered(a, lago_update_secret(l->conn, "s", NULL, on_connection_done, a));
    a = ask("timer");
    answered(a, lago_connection_call_later(l->conn, 2, on_timer, a, NULL));
}

/* By URL, environment-like text and all: what it is made of is copied with the context's allocator. */
static bool connect_it(const char *host) {
    char url[160];
    struct asked *a = ask("connection");
    lago_connection_options_t options = { .on_open = on_open, .on_open_error = on_open_error, .on_close = on_close };
    lago_context_options_t context = {
        .allocator = l->alloc.allocator, .log = loop_broker_log, .log_data = &l->broker, .log_level = LAGO_LOG_TRACE
    };
    snprintf(url, sizeof url, "amqp://u:p@%s%s/v?socket_timeout=0.1&stack_timeout=0.1&client_properties={'a': 'b'}", host,
             strrchr(l->broker.url, ':'));
    for (char *space; (space = strchr(url, ' ')) != NULL;) *space = '+';
    int rc = lago_context_new(&l->loop, &context, &l->context);
    options.context = l->context;
    options.data = a;
    options.free_data = kept;
    if (rc == 0) rc = lago_connect(&l->loop, url, &options, &l->conn);
    answered(a, rc);
    return rc == 0;
}

static bool is_quiet(void) {
    if (!atomic_load(&l->posted)) return false;
    for (size_t i = 0; i < l->asked_count; i++)
        if (l->asked[i].accepted && l->asked[i].calls == 0 && strcmp(l->asked[i].name, "channel") != 0 &&
            strcmp(l->asked[i].name, "consumer") != 0 && strcmp(l->asked[i].name, "connection") != 0)
            return false;
    return l->opened + l->open_failed == 1;
}

static void on_time(uv_timer_t *timer) {
    (void)timer;
    l->time_is_up = true;
}

static void run_for(uint64_t ms, bool (*goal)(void)) {
    l->time_is_up = false;
    uv_timer_start(&l->timer, on_time, ms, 0);
    while (!l->time_is_up && !goal()) uv_run(&l->loop, UV_RUN_ONCE);
    uv_timer_stop(&l->timer);
}

static bool has_ended(void) { return l->closed + l->open_failed == 1; }

static void live(const char *host) {
    uv_thread_t thread;
    if (!connect_it(host)) return;
    assert_int_equal(lago_connection_poster(l->conn, &l->poster), 0);
    assert_int_equal(uv_thread_create(&thread, post_many, NULL), 0);
    use_connection();
    run_for(DEADLINE_MS, is_quiet);
    lago_close_t soon = { .timeout_ms = DEADLINE_MS };
    int rc = lago_connection_close(l->conn, &soon);
    if (rc == LAGO_ENOMEM) rc = lago_connection_abort(l->conn); /* what needs no memory must still end it */
    assert_true(rc == 0 || (rc == LAGO_ECLOSED && has_ended()) || lago_connection_reason(l->conn));
    run_for(PATIENCE_MS, has_ended);
    assert_true(has_ended());
    uv_thread_join(&thread);
    lago_poster_unref(l->poster);
    lago_connection_free(l->conn);
}

/* The life with its k-th allocation failing; whether there were so many. */
static bool run(const char *host, size_t k, bool from_then_on) {
    memset(l, 0, sizeof *l);
    fail_alloc_init(&l->alloc);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    uv_timer_init(&l->loop, &l->timer);
    loop_broker_start(&l->broker, &l->loop);
    l->broker.script.deliver = 2;
    fail_alloc_at(&l->alloc, k, from_then_on);
    live(host);
    bool failed = l->alloc.calls >= k;
    lago_context_free(l->context);
    loop_broker_stop(&l->broker);
    uv_close((uv_handle_t *)&l->timer, NULL);
    run_to_end(&l->loop);
    fail_alloc_check(&l->alloc);
    assert_int_equal(l->posts_run, l->posts_accepted);
    for (size_t i = 0; i < l->asked_count; i++)
        if (l->asked[i].calls != l->asked[i].accepted)
            fail_msg("k=%zu%s: %s was %s and came %d times", k, from_then_on ? " and on" : "", l->asked[i].name,
                     l->asked[i].accepted ? "accepted" : "refused", l->asked[i].calls);
    return failed;
}

static void fail_each(bool from_then_on) {
    const char *const hosts[] = { "127.0.0.1", "localhost" };
    large = calloc(1, LARGE);
    assert_non_null(large);
    for (int i = 0; i < (peer_has_localhost() ? 2 : 1); i++) {
        size_t k = 1;
        while (run(hosts[i], k, from_then_on) && k < ALLOCATIONS_MAX) k++;
        assert_in_range(k, 60, ALLOCATIONS_MAX - 1);
        assert_int_equal(l->opened, 1); /* the last one lacked nothing */
        assert_int_equal(l->posts_accepted, POSTS);
        print_message("%s: %zu allocations\n", hosts[i], k - 1);
    }
    free(large);
}

static void one_failure(void **state) {
    (void)state;
    fail_each(false);
}

static void no_memory_any_more(void **state) {
    (void)state;
    fail_each(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_failure),
        cmocka_unit_test(no_memory_any_more),
    };
    return cmocka_run_group_tests_name("uv/loop_oom", tests, NULL, NULL);
}
