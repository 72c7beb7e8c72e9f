/*
 * RabbitMQ's features on their way into the arguments of a method: a row of entries on the stack, checked as they come. (A file of
 * the name features.h would hide the C library's own.)
 */
#ifndef LAGO_CLIENT_FEATURE_H
#define LAGO_CLIENT_FEATURE_H

#include "channel.h"
#include <lago/rabbitmq.h>

#define FEATURES_MAX 26u /* as many as lago_queue_features_t has members, and one */

struct features {
    lago_channel_t *ch;
    const char *what, *name; /* for the log: "queue.declare" of the queue "q" */
    lago_field_t fields[FEATURES_MAX];
    size_t count;
    char age[16];                  /* the text of an age: "7D" */
    lago_table_builder_t *builder; /* entries joined with the caller's; NULL: there was nothing to join */
    int error;                     /* the first one: nothing counts after it */
};

/* What a queue.declare or basic.consume will say, in *arguments until feature_free. 0, LAGO_EINVAL (logged), LAGO_ENOMEM ... */
int feature_of_queue(struct features *f, lago_channel_t *ch, const lago_queue_declare_t *args, lago_table_t *arguments);
int feature_of_consumer(struct features *f, lago_channel_t *ch, const lago_basic_consume_t *args, lago_table_t *arguments);
void feature_free(struct features *f);

/* ---------------------------------------------------------------- feature.c, for the two above */

void feature_init(struct features *f, lago_channel_t *ch, const char *what, const char *name);

/* LAGO_EINVAL from here on, and the first time a line for the log: what is wrong, and what to do. */
void feature_refuse(struct features *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Append an entry; what is not given is left out. A number may be LAGO_ZERO where `min` is not above 0. */
void feature_number(struct features *f, const char *key, int64_t value, int64_t min, int64_t max);
void feature_word(struct features *f, const char *key, unsigned value, const char *const *words, size_t count);
void feature_text(struct features *f, const char *key, const char *text);
void feature_flag(struct features *f, const char *key, bool flag);
void feature_age(struct features *f, const char *key, uint64_t count, lago_time_unit_t unit);
void feature_value(struct features *f, const char *key, const lago_value_t *value);

/* The entries and those of the caller. */
int feature_join(struct features *f, const lago_table_t *own, lago_table_t *arguments);

#endif
