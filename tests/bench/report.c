/* What is asked for, clocks, and one line of figures. Knows no AMQP. */
#include "report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double bench_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

struct bench_mark bench_mark(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct bench_mark){ bench_now(), seconds(usage.ru_utime), seconds(usage.ru_stime) };
}

const char *bench_environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

/* The fake broker does what the queue's name says. */
static const char *queue_name(const struct bench_job *job, bool is_echo) {
    static char name[64];
    if (is_echo)
        snprintf(name, sizeof name, "echo.%d", (int)getpid());
    else
        snprintf(name, sizeof name, "src.%llu.%zu", (unsigned long long)job->count, job->size);
    return name;
}

bool bench_job_read(struct bench_job *job, int argc, char **argv, const char *const mode_names[]) {
    *job = (struct bench_job){ 0 };
    if (argc != 6) return false;
    while (mode_names[job->mode] != NULL && strcmp(mode_names[job->mode], argv[1]) != 0) job->mode++;
    if (mode_names[job->mode] == NULL) return false;
    bool is_echo = strcmp(argv[1], "pingpong") == 0;
    job->count = strtoull(argv[4], NULL, 10);
    job->size = strtoull(argv[5], NULL, 10);
    job->queue = bench_environment("BENCH_QUEUE", queue_name(job, is_echo));
    job->exchange = bench_environment("BENCH_EXCHANGE", "amq.direct");
    job->routing_key = bench_environment("BENCH_RKEY", "bench");
    job->body = malloc(job->size + 1);
    if (is_echo) job->latencies = calloc(job->count, sizeof *job->latencies);
    return job->count > 0 && job->body != NULL && memset(job->body, 'x', job->size) != NULL;
}

/* The peak of this program: ru_maxrss survives exec. */
static long peak_kb(void) {
    char line[256];
    long peak = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL) return 0;
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) peak = strtol(line + 6, NULL, 10);
    fclose(status);
    return peak;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_latencies(uint64_t count, double *latencies) {
    qsort(latencies, (size_t)count, sizeof *latencies, by_size);
    printf(" p50_us=%.1f p99_us=%.1f min_us=%.1f", latencies[count / 2] * 1e6, latencies[(size_t)((double)count * 0.99)] * 1e6,
           latencies[0] * 1e6);
}

void bench_report(const char *peer, const char *mode, uint64_t count, size_t size, struct bench_mark begin, double *latencies) {
    struct bench_mark end = bench_mark();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double wall = end.wall - begin.wall, user = end.user - begin.user, system = end.system - begin.system, n = (double)count;
    printf("peer=%s mode=%s size=%zu count=%llu wall_s=%.4f msgs_s=%.0f user_s=%.4f sys_s=%.4f cpu_ns=%.1f user_ns=%.1f", peer,
           mode, size, (unsigned long long)count, wall, n / wall, user, system, (user + system) * 1e9 / n, user * 1e9 / n);
    printf(" maxrss_kb=%ld nivcsw=%ld nvcsw=%ld", peak_kb(), usage.ru_nivcsw, usage.ru_nvcsw);
    if (latencies != NULL && count > 0) print_latencies(count, latencies);
    printf("\n");
}
