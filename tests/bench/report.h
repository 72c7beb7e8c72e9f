/* What a driver of the benchmark is asked for, what it measures of itself, and the line that it prints. */
#ifndef LAGO_TESTS_BENCH_REPORT_H
#define LAGO_TESTS_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A moment: wall clock, and the processor's time of this process, in seconds. */
struct bench_mark {
    double wall, user, system;
};

double bench_now(void);
struct bench_mark bench_mark(void);
const char *bench_environment(const char *name, const char *otherwise);

/* What the words behind a driver's name ask for: MODE HOST PORT COUNT SIZE, and the environment (BENCH_QUEUE ...). */
struct bench_job {
    unsigned mode; /* a place in the driver's names */
    uint64_t count;
    size_t size;
    char *body; /* `size` octets, to be freed */
    const char *queue, *exchange, *routing_key;
    double *latencies; /* of "pingpong", `count` of them, to be freed; else NULL */
};

/* The names end with NULL. False: no such mode, or no number. */
bool bench_job_read(struct bench_job *job, int argc, char **argv, const char *const mode_names[]);

/* `latencies` (may be NULL): `count` of them in seconds, which are sorted here. */
void bench_report(const char *peer, const char *mode, uint64_t count, size_t size, struct bench_mark begin, double *latencies);

#endif
