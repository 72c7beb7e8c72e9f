/*
 * What the parts of lago-perf have in common: what is wanted, what has been counted, and what a part does for the others.
 *
 *   perf.c           the command line, and the run: set up, consumers, producers, the time, the end
 *   perf_producer.c  publishes          perf_report.c  lines, JSON, the summary
 *   perf_consumer.c  consumes           perf_chart.c   the SVG
 */
#ifndef TOOLS_PERF_H
#define TOOLS_PERF_H

#include "latency.h"
#include "program.h"
#include <stdio.h>

/* What every body begins with: whose it is, then when it was published. As PerfTest's: no body is smaller. */
#define PERF_STAMP_SIZE 12

typedef struct perf_settings {
    int producers, consumers;                 /* connections */
    int producer_channels, consumer_channels; /* on each of them */
    const char *exchange, *exchange_type, *routing_key;
    const char *queue; /* NULL: one for each consumer */
    const char *id;
    int size;
    int window; /* publishes without a confirm; -1: no confirms */
    int prefetch, ack_every;
    int auto_ack, auto_delete, predeclared;
    bool persistent, mandatory;
    double rate;                   /* of each producer; 0: as fast as it goes */
    long long publishes, consumes; /* of each producer and consumer; 0: any number */
    int time_s, interval_s;
    int json;
} perf_settings_t;

/* Since the last report, or in all. */
typedef struct perf_counts {
    uint64_t sent, confirmed, nacked, returned, received;
    latency_t consumer_latency, confirm_latency; /* nanoseconds */
} perf_counts_t;

/* What a report says of an interval. */
#define PERF_QUANTILES 5 /* min, median, 75th, 95th, 99th */
typedef struct perf_sample {
    double time_s, span_s;                              /* the end since the beginning, and how long it was */
    double sent, confirmed, nacked, returned, received; /* messages per second */
    uint64_t consumer_latency[PERF_QUANTILES], confirm_latency[PERF_QUANTILES];
} perf_sample_t;

typedef struct perf {
    perf_settings_t settings;
    program_t program;
    perf_counts_t now, total; /* what was counted since the last report; before it */
    uint32_t run;             /* a number by which we know our own messages */
    uint64_t began;           /* when measuring did, by uv_hrtime; 0: it has not */
    bool is_over;             /* nothing is counted any more */
} perf_t;

/* ---------------------------------------------------------------- perf.c */

/* Something that was waited for before the run can begin has come. */
void perf_one_is_ready(perf_t *perf);

/* A producer or consumer has done its number. */
void perf_producer_is_done(perf_t *perf);
void perf_consumer_is_done(perf_t *perf);

/* For the options of channels: their end, or that they never open, ends the program. `data` is not read. */
void perf_on_channel_end(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void perf_on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data);

/* Declare the queue of the settings and bind it, unless all is there already. */
bool perf_declare_queue(perf_t *perf, lago_channel_t *ch);

/* ---------------------------------------------------------------- producers and consumers */

/* Connect all of them; each channel says perf_one_is_ready. Returns whether the calls were taken. */
bool producers_connect(perf_t *perf);
bool consumers_connect(perf_t *perf);

/* Publish, from now on; no longer. */
void producers_begin(uint64_t now);
void producers_stop(void);

/* After program_end. */
void producers_free(void);
void consumers_free(void);

/* ---------------------------------------------------------------- reports */

/* From perf->began on. Lines are written by libuv's threads; live ones that nobody reads are dropped. */
void report_begin(perf_t *perf, bool keeps_samples);
void report_interval(uint64_t now);

/* The last interval and the summary; `why` the run is over. */
void report_end(uint64_t now, const char *why);

/* When program_run has returned: live until all is written. */
void report_flush(void);

/* The intervals of the run, neighbours put together when there are many. */
const perf_sample_t *report_samples(size_t *count);
void report_free(void);

/* A picture of the run. */
void chart_write(FILE *file, const perf_settings_t *settings, const perf_sample_t *samples, size_t count);

#endif
