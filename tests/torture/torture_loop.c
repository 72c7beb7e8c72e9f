/*
 * Whole lives on libuv and OpenSSL in which something fails:
 *
 *     torture_loop --allocations   every allocation of lago, of libuv and of OpenSSL in turn, in three modes
 *     torture_loop --calls         every call of the shim's table, each time that it is made, with each of its errors
 *     torture_loop --compound      a call, and an allocation behind it: sampled
 *     torture_loop --pairs N       two calls, or a call and an allocation far behind it: N of each scenario, drawn by the seed
 *         [--step N] [--seed N]    every N-th point, the first by the seed
 *         [--only SCENARIO] [--call NAME] [--at N] [--source NAME]  (tcp-well ...) less than all
 *     torture_loop --control       expects more than is told, and must see that
 *         [--no-golden]            what is told is not compared with a life in which nothing fails, which takes three lives more
 *         [--verbose]
 *
 * Each life is a process of its own. A crash is a failure, wherever it happens, but for the places that crash.c excuses.
 */
#define _GNU_SOURCE
#include "crash.h"
#include "loop_life.h"
#include "number.h"
#include "shim.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define CALLS_PER_POINT ((size_t)60) /* of one call in one life: the first ones; then they are all alike */
#define HANGS_S         60u
#define CLEAN_LIVES     3  /* that must tell the same for it to be expected of others */
#define GOLDEN_TRIES    3  /* of a life that tells something else: on a slow machine an answer comes after the application left */
#define CLEAN_TRIES     20 /* and then of lives in which nothing fails: one of them may tell the same */

/* What a child tells. */
struct report {
    size_t allocations[SOURCES];
    size_t calls[SHIM_CALLS_MAX];
    bool struck, ended;
    int second;
    unsigned ms;
    char problem[500];
    struct crash crash;
    char text[20000];
};

static struct report *report;
static struct loop_scenario scenario;
static size_t points, failures, excused, twice, golden_scenarios, scenarios, step = 1, seed;
static char *golden; /* what the scenario tells when nothing fails; NULL: not always the same */
static bool verbose, no_golden, misuses;
static const char *only, *only_call, *only_source;
static size_t only_at;

/* ---------------------------------------------------------------- one life, in a process */

/* What libuv does not bear. */
static void close_twice(void) {
    uv_loop_t loop;
    uv_idle_t idle;
    if (uv_loop_init(&loop) != 0 || uv_idle_init(&loop, &idle) != 0) return;
    uv_close((uv_handle_t *)&idle, NULL);
    uv_close((uv_handle_t *)&idle, NULL);
}

static void live(const struct plan *plan, const char *expected) {
    char *text = NULL;
    crash_watch(&report->crash);
    (void)alarm(HANGS_S);
    if (misuses) close_twice();
    const char *problem = loop_live(scenario, plan, expected, &text);
    (void)snprintf(report->problem, sizeof report->problem, "%s", problem ? problem : "");
    (void)snprintf(report->text, sizeof report->text, "%s", text ? text : "");
    free(text);
    report->allocations[SOURCE_LAGO] = faults.lago.calls;
    for (enum source s = SOURCE_UV; s < SOURCES; s++) report->allocations[s] = faults.others[s].calls;
    memcpy(report->calls, faults.calls, sizeof report->calls);
    report->struck = faults.struck;
    report->second = faults.second;
    report->ended = true;
}

static void live_once(const struct plan *plan, const char *expected) {
    memset(report, 0, sizeof *report);
    fflush(stdout);
    uint64_t began = uv_hrtime();
    pid_t pid = fork();
    if (pid < 0) abort();
    if (pid == 0) {
        live(plan, expected);
        _exit(0);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) abort();
    report->ms = (unsigned)((uv_hrtime() - began) / 1000000);
    if (report->ended || report->crash.excused) return;
    (void)snprintf(report->problem, sizeof report->problem, "%s (status %d)",
                   report->crash.words[0]                               ? report->crash.words
                   : WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it hangs"
                                                                        : "it ended early",
                   status);
}

static bool is_untold(void) { return strstr(report->problem, "nobody was told") != NULL; }

static const struct plan nothing = { .call = -1 };

/* Or one of those has the same, which was not among the first. */
static void forgive_what_clean_lives_tell(void) {
    static struct report odd;
    odd = *report;
    for (int i = 0; i < CLEAN_TRIES && odd.problem[0]; i++) {
        live_once(&nothing, NULL);
        if (loop_same(scenario, odd.text, report->text)) odd.problem[0] = '\0';
    }
    *report = odd;
}

static void in_a_child(const struct plan *plan) {
    for (int i = 0; i < GOLDEN_TRIES; i++) {
        live_once(plan, golden);
        if (!report->ended || !is_untold()) return;
    }
    forgive_what_clean_lives_tell();
}

static void judge(const char *what) {
    points++;
    if (report->crash.excused) {
        excused++;
        if (verbose) printf("excused: %s, %s: %s\n", loop_name(scenario), what, report->crash.words);
        return;
    }
    if (verbose && report->ms > 100) printf("slow: %s, %s: %u ms\n", loop_name(scenario), what, report->ms);
    if (!report->problem[0]) return;
    failures++;
    printf("not ok: %s, %s: %s\n", loop_name(scenario), what, report->problem);
    if (verbose) printf("%s", report->text);
}

/* ---------------------------------------------------------------- points */

static bool is_chosen(void) { return !only || strcmp(only, loop_name(scenario)) == 0; }

static void fail_allocations(enum source source, size_t count) {
    char what[120];
    for (enum fail_mode mode = FAIL_ONCE; mode < FAIL_MODES; mode++)
        for (size_t n = 1 + seed % step; n <= count; n += step) {
            if (only_at && n != only_at) continue;
            struct plan plan = { .source = source, .alloc_at = n, .mode = mode, .call = -1 };
            in_a_child(&plan);
            (void)snprintf(what, sizeof what, "allocation %zu of %s fails, %s", n, source_name(source), fail_mode_name(mode));
            judge(what);
        }
}

static void fail_call(int call, size_t at, unsigned error, size_t behind) {
    char what[160];
    struct plan plan = { .call = call, .call_at = at, .error = error, .alloc_behind = behind, .mode = FAIL_ONCE };
    in_a_child(&plan);
    if (!report->struck && report->ended && !report->problem[0]) return; /* it did not come to that */
    int size = snprintf(what, sizeof what, "call %zu of %s fails with %s", at, shim_calls[call].name, shim_error(call, error));
    if (behind) (void)snprintf(what + size, sizeof what - (size_t)size, ", and allocation %zu behind it", behind);
    judge(what);
}

/* splitmix64, so that a seed means the same everywhere. */
static size_t drawn(uint64_t *state, size_t below) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((z ^ (z >> 31)) % below);
}

static int draw_call(uint64_t *state, const size_t *made) {
    int call;
    do call = (int)drawn(state, (size_t)shim_call_count);
    while (made[call] == 0 || shim_calls[call].errors == 0);
    return call;
}

/* Two of what can fail, the second behind the first. */
static struct plan draw_pair(uint64_t *state, const size_t *made) {
    struct plan plan = { .call = draw_call(state, made), .mode = FAIL_ONCE };
    plan.call_at = 1 + drawn(state, made[plan.call] < CALLS_PER_POINT ? made[plan.call] : CALLS_PER_POINT);
    plan.error = (unsigned)drawn(state, shim_calls[plan.call].errors);
    plan.then_error = (unsigned)drawn(state, SHIM_CALLS_MAX);
    size_t behind = 1 + drawn(state, drawn(state, 2) ? 6 : 60);
    if (drawn(state, 3) == 0)
        plan.alloc_behind = behind;
    else
        plan.then_at = behind;
    return plan;
}

static void name_pair(char *what, size_t size, size_t number, const struct plan *plan) {
    int used = snprintf(what, size, "pair %zu (seed %zu): call %zu of %s fails with %s, and behind it ", number, seed,
                        plan->call_at, shim_calls[plan->call].name, shim_error(plan->call, plan->error));
    if (plan->alloc_behind)
        (void)snprintf(what + used, size - (size_t)used, "allocation %zu", plan->alloc_behind);
    else if (report->second < 0)
        (void)snprintf(what + used, size - (size_t)used, "none of %zu calls", plan->then_at);
    else
        (void)snprintf(what + used, size - (size_t)used, "call %zu, %s with error %u", plan->then_at,
                       shim_calls[report->second].name, plan->then_error % shim_calls[report->second].errors);
}

static void fail_pairs(const size_t *made, size_t count) {
    char what[240];
    uint64_t state = ((uint64_t)seed << 16) + (uint64_t)scenario.way * 16 + (uint64_t)scenario.fate;
    for (size_t i = 0; i < count; i++) {
        struct plan plan = draw_pair(&state, made);
        if (only_at && only_at != i + 1) continue;
        in_a_child(&plan);
        twice += report->second >= 0 || (report->struck && plan.alloc_behind);
        name_pair(what, sizeof what, i + 1, &plan);
        judge(what);
    }
}

static size_t skipped; /* towards the next point of a sample */

static bool is_sampled(void) { return (seed + skipped++) % step == 0; }

static void fail_calls(const size_t *made, size_t behind) {
    for (int call = 0; call < shim_call_count; call++) {
        if (only_call && strcmp(only_call, shim_calls[call].name) != 0) continue;
        for (size_t at = 1; at <= made[call] && at <= CALLS_PER_POINT; at++)
            for (unsigned error = 0; error < shim_calls[call].errors; error++)
                for (size_t n = behind ? 1 : 0; n <= behind; n++)
                    if ((!only_at || at == only_at) && is_sampled()) fail_call(call, at, error, n);
    }
}

/* What is told when nothing fails: expected from here on, if it is always the same. */
static void live_clean(struct report *clean) {
    free(golden);
    golden = NULL;
    live_once(&nothing, NULL);
    *clean = *report;
    bool same = !no_golden && strlen(clean->text) + 1 < sizeof clean->text; /* all of it */
    for (int i = 1; i < CLEAN_LIVES && same; i++) {
        live_once(&nothing, NULL);
        same = loop_same(scenario, clean->text, report->text);
    }
    scenarios++;
    golden_scenarios += same;
    if (same) golden = strdup(clean->text);
    if (verbose && !same && !no_golden) printf("%s: does not tell the same each time\n", loop_name(scenario));
}

/* A line that nobody told must be missed. */
static void miss_a_line(const char *text) {
    static char more[sizeof report->text + 40];
    if (!golden) return;
    (void)snprintf(more, sizeof more, "%s! a message\n", text);
    free(golden);
    golden = strdup(more);
    live_once(&nothing, golden);
    points++;
    failures += !is_untold();
}

/* An assertion inside libuv must count as a failure. */
static void misuse_libuv(void) {
    misuses = true;
    live_once(&nothing, golden);
    misuses = false;
    points++;
    failures += report->crash.excused || !strstr(report->problem, "uv__is_closing");
    if (verbose) printf("%s\n", report->problem);
}

static void torture(const char *mode, size_t pairs) {
    struct report *clean = malloc(sizeof *clean);
    size_t before = points;
    if (!clean) abort();
    live_clean(clean);
    if (clean->problem[0]) {
        failures++;
        printf("not ok: %s, and nothing fails: %s\n", loop_name(scenario), clean->problem);
        if (verbose) printf("%s", clean->text);
    }
    if (strcmp(mode, "--allocations") == 0) {
        for (enum source s = 0; s < SOURCES; s++)
            if (!only_source || strcmp(only_source, source_name(s)) == 0) fail_allocations(s, clean->allocations[s]);
    } else if (strcmp(mode, "--control") == 0) {
        miss_a_line(clean->text);
        misuse_libuv();
    } else if (strcmp(mode, "--pairs") == 0) {
        fail_pairs(clean->calls, pairs);
    } else {
        fail_calls(clean->calls, strcmp(mode, "--compound") == 0 ? 6 : 0);
    }
    if (verbose)
        printf("%s: %zu points (%zu, %zu, %zu allocations, %u ms)\n", loop_name(scenario), points - before, clean->allocations[0],
               clean->allocations[1], clean->allocations[2], clean->ms);
    free(clean);
}

static const char usage[] =
    "torture_loop --allocations | --calls | --compound | --pairs N | --control\n"
    "             [--source lago|libuv|OpenSSL] [--only SCENARIO] [--call NAME] [--at N] [--step N] [--seed N]\n"
    "             [--no-golden] [--verbose]\n";

/* @return whether it is an option; *takes: with a value. */
static bool option(const char *name, const char *value, bool *takes) {
    *takes = true;
    if (strcmp(name, "--step") == 0) return number_read_size(value, 1, &step);
    if (strcmp(name, "--seed") == 0) return number_read_size(value, 0, &seed);
    if (strcmp(name, "--at") == 0) return number_read_size(value, 1, &only_at);
    if (strcmp(name, "--only") == 0)
        only = value;
    else if (strcmp(name, "--call") == 0)
        only_call = value;
    else if (strcmp(name, "--source") == 0)
        only_source = value;
    else
        *takes = false;
    if (strcmp(name, "--verbose") == 0) return verbose = true;
    if (strcmp(name, "--no-golden") == 0) return no_golden = true;
    return *takes && *value;
}

static bool is_mode(const char *name) {
    static const char *const modes[] = { "--allocations", "--calls", "--compound", "--pairs", "--control" };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(name, modes[i]) == 0) return true;
    return false;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    size_t pairs = 0;
    bool by_pairs = strcmp(mode, "--pairs") == 0, takes;
    bool understood = is_mode(mode) && (!by_pairs || (argc > 2 && number_read_size(argv[2], 1, &pairs)));
    for (int i = by_pairs ? 3 : 2; i < argc && understood; i += takes ? 2 : 1)
        understood = option(argv[i], i + 1 < argc ? argv[i + 1] : "", &takes);
    if (!understood) return fputs(usage, stderr), 2;
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) abort();
    faults_install();
    loop_prepare();
    for (scenario.way = 0; scenario.way < LOOP_WAYS; scenario.way++)
        for (scenario.fate = 0; scenario.fate < LOOP_FATES; scenario.fate++)
            if (is_chosen()) torture(mode, pairs);
    loop_clean();
    free(golden);
    if (by_pairs) printf("in %zu of them both failed\n", twice);
    if (points == 0) printf("nothing was made to fail: no such scenario, call, source or point, or none in the sample\n");
    printf("loop: %zu points, %zu of them excused crashes of libuv or OpenSSL, %zu of %zu scenarios with a golden text, %zu "
           "failures\n",
           points, excused, golden_scenarios, scenarios, failures);
    return failures || points == 0 ? 1 : 0;
}
