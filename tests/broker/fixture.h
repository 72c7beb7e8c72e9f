/*
 * What the tests against a real broker share: a loop of the user's own, a connection and a channel on it, a record of what was
 * called back in which order, and the broker's control. Nothing sleeps: the loop runs until a condition holds, or a watchdog ends
 * the test. Knows public headers only.
 */
#ifndef BROKER_FIXTURE_H
#define BROKER_FIXTURE_H

#include "fail_alloc.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#define EVENTS_MAX   256u
#define EVENT_SIZE   160u
#define NAMES_MAX    64u
#define NAME_SIZE    96u
#define MESSAGES_MAX 256u

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    const char *waiting_for; /* what the watchdog says when it bites */
    bool running;            /* inside uv_run: an assertion that fails in a callback leaves it set */
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_parameters_t *parameters; /* AMQP_URL; a test may change its members before connect_now */
    lago_connection_t *conn;
    lago_channel_t *ch;
    char connection_name[64];
    /* what was called back */
    char events[EVENTS_MAX][EVENT_SIZE];
    size_t event_count;
    size_t channel_closes;
    lago_reason_t reason; /* the last one */
    uint64_t tags[MESSAGES_MAX];
    size_t tag_count;
    lago_queue_declare_ok_t declared; /* of the last declare; its name is in declared_name */
    char declared_name[256];
    uint32_t count; /* of the last purge or delete */
    bool opened, closed, finished;
    /* the log */
    char log[4][512];
    size_t log_count;
    /* what must be deleted in the end */
    char names[NAMES_MAX][NAME_SIZE];
    bool name_is_exchange[NAMES_MAX];
    size_t name_count;
};

/* cmocka's setup and teardown: a fixture without a connection; one with an open connection and an open channel. */
int setup_loop(void **state);
int setup_channel(void **state);
int teardown(void **state);

/* 77 with a line when there is no broker: `return run_broker_tests(tests)` is a whole main. */
#define run_broker_tests(tests) (broker_is_given() ? cmocka_run_group_tests(tests, NULL, NULL) : 77)
bool broker_is_given(void);

/* A connection by f->parameters that records everything; and one that has opened, its events forgotten. */
lago_connection_options_t connection_options(struct fixture *f);
void connect_now(struct fixture *f);
void connect_and_wait(struct fixture *f);

/* A channel that records everything, open, its events forgotten. */
lago_channel_options_t channel_options(void);
lago_channel_t *open_channel(struct fixture *f);

/* ---------------------------------------------------------------- running the loop */

/* Run until the condition holds. */
#define run_until(f, condition)                                                                                                  \
    do {                                                                                                                         \
        watchdog_start((f), #condition);                                                                                         \
        while (!(condition)) run_once(f, __FILE__, __LINE__);                                                                    \
        watchdog_stop(f);                                                                                                        \
    } while (0)
void watchdog_start(struct fixture *f, const char *waiting_for);
void watchdog_stop(struct fixture *f);
void run_once(struct fixture *f, const char *file, int line);

/* A round trip on f->ch: what was sent before it has been dealt with, and what the broker said before it has been told. */
void sync_channel(struct fixture *f);

/* ---------------------------------------------------------------- the record */

void record(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Run until so many events are recorded, compare them in order, forget them. */
#define expect_events(f, ...) expect_these((f), (const char *const[]){ __VA_ARGS__, NULL }, __FILE__, __LINE__)
void expect_these(struct fixture *f, const char *const *expected, const char *file, int line);
void forget_events(struct fixture *f);
bool has_event(const struct fixture *f, const char *event);

/* "ok", "404" with the broker's code, or the name of the error without LAGO_. */
const char *reason_word(const lago_reason_t *reason);

/* Callbacks that record "LABEL ok" or "LABEL 404"; `data` is label("LABEL"). */
void *label(const char *text);
void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data);
void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data);
void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data);
void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data);
void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data);
void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data);

/* "got BODY", "got BODY again" when redelivered; the tag goes to f->tags. `data` is not used. */
void on_message(lago_channel_t *ch, const lago_message_t *message, void *data);
void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data);

struct fixture *fixture_of(const lago_channel_t *ch);

/* ---------------------------------------------------------------- topology */

/* A name nobody else has, deleted by the teardown. */
const char *queue_name(struct fixture *f);
const char *exchange_name(struct fixture *f);

/* An exclusive queue of that kind of name, declared. */
const char *new_queue(struct fixture *f);
const char *new_queue_with(struct fixture *f, lago_table_t arguments);

void publish_text(struct fixture *f, const char *queue, const char *text);

/* So many messages are ready: asked until there are as many, for a publish reaches its queue a little later than its channel. */
void expect_length(struct fixture *f, const char *queue, uint32_t length);

/* ---------------------------------------------------------------- the broker's control */

/* RabbitMQ's version: 310 is 3.10, 403 is 4.3. What differs between them stands in the test that meets it. */
unsigned broker_version(const struct fixture *f);

/* Skips the test when LAGO_TEST_BROKER or BROKER_DIR is missing. */
void need_control(void);

/* Run tests/broker/broker COMMAND DIR ARGS..., the loop running meanwhile; must succeed. */
#define broker(f, ...) broker_run((f), (const char *const[]){ __VA_ARGS__, NULL })
void broker_run(struct fixture *f, const char *const *words);

/* Erlang in the node: close this fixture's connections with a reason, or kill their processes (the peer sees a reset). */
void broker_eval(struct fixture *f, const char *expression);
void broker_close_connections(struct fixture *f);
void broker_kill_connections(struct fixture *f);
void broker_kill_connections_unseen(const struct fixture *f); /* the loop stands still meanwhile */
void broker_alarm(struct fixture *f, bool on);

#endif
