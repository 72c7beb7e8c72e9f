/*
 * The command line of the two asynchronous samples. Nothing in here is about AMQP: read async_consumer.c or async_publisher.c
 * first.
 */
#ifndef SAMPLES_OPTIONS_H
#define SAMPLES_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENDLESS UINT64_MAX

typedef struct options {
    const char *url; /* NULL: from the environment */
    const char *exchange;
    const char *queue;
    uint64_t count; /* ENDLESS without --count */
    size_t size;
    uint16_t prefetch;
    bool progress;
    bool delete_at_end;
} options_t;

/*
 * Read the command line over the defaults that `options` holds. `known` are the options of this sample, each with its letter of
 * options.c as `val`. Does not return after --help (exit code 0) or a mistake (2): both print the usage.
 */
void options_read(options_t *options, int argc, char **argv, const struct option *known, const char *usage);

#endif
