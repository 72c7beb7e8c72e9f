/* What a driver of the benchmark measures of itself, and the line that it prints. */
#ifndef LAGO_TESTS_BENCH_REPORT_H
#define LAGO_TESTS_BENCH_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* A moment: wall clock, and the processor's time of this process, in seconds. */
struct bench_mark {
    double wall, user, system;
};

double bench_now(void);
struct bench_mark bench_mark(void);
const char *bench_environment(const char *name, const char *otherwise);

/* `latencies` (may be NULL): `count` of them in seconds, which are sorted here. */
void bench_report(const char *peer, const char *mode, uint64_t count, size_t size, struct bench_mark begin, double *latencies);

#endif
