/* A publisher under test: its callbacks in the journal, a confirming channel. */
#ifndef CLIENT_PUBLISHER_CASE_H
#define CLIENT_PUBLISHER_CASE_H

#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;
static lago_channel_t *ch;
static lago_publisher_t *publisher;

static inline void noted_ready(lago_publisher_t *p, void *data) {
    struct probe *self = data;
    assert_ptr_equal(lago_publisher_data(p), data);
    note(t, "%s ready %zu", self->name, lago_publisher_unconfirmed_count(p));
}

static inline void noted_settled(lago_publisher_t *p, const lago_publisher_settled_t *settled, void *data) {
    struct probe *self = data;
    const char *why = settled->reason ? code_name(settled->reason->code) : "";
    (void)p;
    note(t, "%s %llu-%llu %s%s%s", self->name, (unsigned long long)settled->first, (unsigned long long)settled->last,
         lago_publish_outcome_name(settled->outcome), *why ? " " : "", why);
}

static inline lago_publisher_options_t options_of(const char *name) {
    return (lago_publisher_options_t){
        .routing_key = name, .data = probe(t, name), .free_data = noted_free, .on_ready = noted_ready
    };
}

/* Frames are in the log, and take another way for it; set this when nobody reads it. */
static bool untraced;

static inline void open_connection(const lago_parameters_t *parameters) {
    client_init(t);
    if (untraced) t->v.log_level = LAGO_LOG_ERROR;
    client_connect_with(t, parameters);
    server_handshake(&t->v);
    journal_clear(t);
}

/* A confirming channel. */
static inline void open_channel_with(const lago_parameters_t *parameters) {
    open_connection(parameters);
    ch = client_confirming_channel(t);
    virtual_forget_log(&t->v);
}

static inline void open_channel(void) { open_channel_with(NULL); }

static inline lago_publisher_t *make(const lago_publisher_options_t *options) {
    lago_publisher_t *p = NULL;
    assert_int_equal(lago_publisher_new(ch, options, &p), 0);
    assert_non_null(p);
    return p;
}

static inline int64_t publish(lago_publisher_t *p, const char *body, void *data) {
    return lago_publisher_publish(p, (lago_bytes_t){ body, strlen(body) }, data);
}

static inline lago_publisher_t *make_settled(const char *name) {
    return make(&(lago_publisher_options_t){ .routing_key = name, .on_settled = noted_settled, .data = probe(t, name) });
}

#define assert_saw(line)  assert_true(virtual_saw(&t->v, line))
#define assert_none(line) assert_false(virtual_saw(&t->v, line))

#endif
