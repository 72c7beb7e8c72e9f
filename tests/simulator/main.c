/*
 * Seeds and workers. Lives run in a child, so that one that breaks does not end the others; the shrinker takes steps away from a life
 * that breaks, as long as it still breaks in the same way.
 */
#include "sim.h"

#include "number.h"
#include "probe_hook.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_BROKEN 3
#define BROKEN_MAX  10 /* seeds that are told before it gives up */
#define CHUNK       50000u

struct sim_shared *sim_shared;
enum sim_plant sim_plant;

static const char *const count_names[] = {
#define SIM_COUNT_NAME_(name) #name,
    SIM_COUNTS(SIM_COUNT_NAME_)
};
static const char *const plant_names[] = {
#define SIM_PLANT_NAME_(name) #name,
    SIM_PLANTS(SIM_PLANT_NAME_)
};

/* ---------------------------------------------------------------- what the lives call */

void sim_broken(struct life *life, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sim_shared->words, sizeof(sim_shared->words), format, args);
    va_end(args);
    if (life->options->trace) printf("BROKEN: %s\n", sim_shared->words);
    fflush(stdout);
    _exit(EXIT_BROKEN);
}

void sim_trace_line(struct life *life, const char *format, ...) {
    va_list args;
    (void)life;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

size_t sim_code_index(int code) {
    int at = -code - 10000;
    return at > 0 && at < 30      ? (size_t)at
           : at > 100 && at < 110 ? (size_t)(at - 70)
           : at > 200 && at < 223 ? (size_t)(at - 160)
                                  : CODES_MAX - 1;
}

static int code_at(size_t index) {
    return index < 30 ? -10000 - (int)index : index < 40 ? -10000 - (int)index - 70 : -10000 - (int)index - 160;
}

void hook_session_state(int from, int to) { sim_shared->session_edges[from][to]++; }
void hook_channel_state(int from, int to) { sim_shared->channel_edges[from][to]++; }
void hook_stage(int from, int to) { sim_shared->stage_edges[from][to]++; }

/* ---------------------------------------------------------------- workers */

/* Live seeds from..to in a child. @return its seed if one broke, else `to`. */
static bool live_many(struct sim_options *options, uint64_t from, uint64_t to, uint64_t *broken) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) exit(2);
    if (pid == 0) {
        for (uint64_t seed = from; seed < to; seed++) {
            options->seed = sim_shared->seed = seed;
            sim_live(options);
        }
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) < 0) exit(2);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    *broken = sim_shared->seed;
    if (WIFSIGNALED(status))
        (void)snprintf(sim_shared->words, sizeof(sim_shared->words), "signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != EXIT_BROKEN)
        (void)snprintf(sim_shared->words, sizeof(sim_shared->words), "exit %d", WEXITSTATUS(status));
    return false;
}

/* ---------------------------------------------------------------- shrinking */

/* The kind of a breach: its words without numbers. */
static void kind_of(char *kind, size_t size, const char *words) {
    size_t at = 0;
    for (; *words && at + 1 < size; words++)
        if (*words < '0' || *words > '9') kind[at++] = *words;
    kind[at] = '\0';
}

static bool breaks_alike(struct sim_options *options, const char *kind) {
    char found[400];
    uint64_t seed, broken;
    seed = options->seed;
    bool fine = live_many(options, seed, seed + 1, &broken);
    options->seed = seed;
    kind_of(found, sizeof(found), sim_shared->words);
    return !fine && strcmp(found, kind) == 0;
}

static void say_command(const struct sim_options *options) {
    printf("tests/simulator/run --seed %llu --trace", (unsigned long long)options->seed);
    if (options->steps) printf(" --steps %u", options->steps);
    if (options->without) printf(" --without %u", options->without);
    if (options->no_callback_acts) printf(" --no-callback-acts");
    if (options->plant) printf(" --plant %s", plant_names[options->plant]);
    bool first = true;
    for (unsigned i = 0; i < STEPS_MAX_OF_LIFE; i++) {
        if (!options->skip[i]) continue;
        unsigned end = i;
        while (end + 1 < STEPS_MAX_OF_LIFE && options->skip[end + 1]) end++;
        printf(end > i ? "%s%u-%u" : "%s%u", first ? " --skip " : ",", i, end);
        first = false;
        i = end;
    }
    printf("\n");
}

static int shrink(struct sim_options *options) {
    char kind[400];
    uint64_t seed = options->seed, broken;
    if (live_many(options, seed, seed + 1, &broken)) {
        printf("seed %llu breaks nothing\n", (unsigned long long)seed);
        return 1;
    }
    options->seed = seed;
    kind_of(kind, sizeof(kind), sim_shared->words);
    unsigned steps = sim_shared->steps + 1;
    options->steps = steps;
    if (!breaks_alike(options, kind)) options->steps = 0;
    options->no_callback_acts = true;
    if (!breaks_alike(options, kind)) options->no_callback_acts = false;
    for (unsigned bit = 1; bit <= FAULT_BLOCK; bit *= 2) {
        options->without |= bit;
        if (!breaks_alike(options, kind)) options->without &= ~bit;
    }
    for (unsigned size = steps / 2; size > 0; size /= 2)
        for (unsigned at = 0; at < steps; at += size) {
            bool before[STEPS_MAX_OF_LIFE];
            memcpy(before, options->skip, sizeof(before));
            for (unsigned i = at; i < at + size && i < STEPS_MAX_OF_LIFE; i++) options->skip[i] = true;
            if (!breaks_alike(options, kind)) memcpy(options->skip, before, sizeof(before));
        }
    unsigned left = 0;
    for (unsigned i = 0; i < steps; i++) left += !options->skip[i];
    printf("%u of %u steps are left: ", left, steps);
    say_command(options);
    return 0;
}

/* ---------------------------------------------------------------- what was reached */

static void print_counts(void) {
    for (size_t i = 0; i < COUNT_COUNT; i++)
        printf("%s%s %llu", i ? ", " : "", count_names[i], (unsigned long long)sim_shared->counts[i]);
    printf("\nends:");
    for (size_t i = 0; i < CODES_MAX; i++)
        if (sim_shared->ends[i]) printf(" %s %llu", lago_error_name(code_at(i)), (unsigned long long)sim_shared->ends[i]);
    printf("\nfailures:");
    for (size_t i = 0; i < CODES_MAX; i++)
        if (sim_shared->fails[i]) printf(" %s %llu", lago_error_name(code_at(i)), (unsigned long long)sim_shared->fails[i]);
    printf("\n");
}

/* Ends of connections and failures of operations and channels that lives must reach, so that nothing is blind. */
static const int wanted_ends[] = { LAGO_ECLOSED,   LAGO_ENOMEM,     LAGO_ETIMEDOUT, LAGO_ERESOLVE,   LAGO_ECONNECT,
                                   LAGO_ELOST,     LAGO_EHEARTBEAT, LAGO_ESTALLED,  LAGO_EBLOCKED,   LAGO_EPROTOCOL,
                                   LAGO_EFRAMEMAX, LAGO_EAUTH,      LAGO_EACCESS,   LAGO_ECONNECTION };
static const int wanted_fails[] = { LAGO_ECLOSED,  LAGO_ETIMEDOUT, LAGO_ENOCHANNEL, LAGO_ECHANNEL,
                                    LAGO_EMSGSIZE, LAGO_ELOST,     LAGO_EHEARTBEAT, LAGO_ECONNECTION };

static int check_reached(void) {
    int missing = 0;
    for (size_t i = 0; i < COUNT_COUNT; i++)
        if (!sim_shared->counts[i]) missing += printf("never reached: %s\n", count_names[i]) > 0;
    for (size_t i = 0; i < sizeof(wanted_ends) / sizeof(wanted_ends[0]); i++)
        if (!sim_shared->ends[sim_code_index(wanted_ends[i])])
            missing += printf("no connection ended with %s\n", lago_error_name(wanted_ends[i])) > 0;
    for (size_t i = 0; i < sizeof(wanted_fails) / sizeof(wanted_fails[0]); i++)
        if (!sim_shared->fails[sim_code_index(wanted_fails[i])])
            missing += printf("nothing failed with %s\n", lago_error_name(wanted_fails[i])) > 0;
    return missing;
}

static void write_edges(FILE *file, const char *name, uint64_t edges[STATES_MAX][STATES_MAX]) {
    for (unsigned from = 0; from < STATES_MAX; from++)
        for (unsigned to = 0; to < STATES_MAX; to++)
            if (edges[from][to]) fprintf(file, "%s %u %u %llu\n", name, from, to, (unsigned long long)edges[from][to]);
}

static void write_all_edges(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) exit(2);
    write_edges(file, "session", sim_shared->session_edges);
    write_edges(file, "channel", sim_shared->channel_edges);
    write_edges(file, "stage", sim_shared->stage_edges);
    (void)fclose(file);
}

/* ---------------------------------------------------------------- the command */

struct command {
    struct sim_options options;
    uint64_t from, to;
    double seconds;
    bool shrinks, counts, reached, all_plants, progress;
    const char *edges;
};

static const char usage[] = "simulator [--seeds FROM-TO | --count N] [--seconds S] [--counts] [--reached] [--edges FILE]\n"
                            "          [--progress]\n"
                            "          [--seed N [--trace] [--steps N] [--skip A-B,C] [--without FAULTS] [--no-callback-acts]]\n"
                            "          [--shrink N] [--plant NAME | --plants]\n";

/* "A-B", or "A" alone: *to as well. */
static bool read_range(const char *word, size_t size, uint64_t *from, uint64_t *to) {
    const char *dash = memchr(word, '-', size);
    size_t head = dash ? (size_t)(dash - word) : size;
    if (!number_read_part(word, head, 0, UINT64_MAX, from)) return false;
    *to = *from;
    return !dash || number_read_part(dash + 1, size - head - 1, *from, UINT64_MAX, to);
}

static bool read_skip(struct sim_options *options, const char *words) {
    for (;;) {
        size_t size = strcspn(words, ",");
        uint64_t from, to;
        if (!read_range(words, size, &from, &to)) return false;
        for (uint64_t i = from; i <= to && i < STEPS_MAX_OF_LIFE; i++) options->skip[i] = true;
        if (!words[size]) return true;
        words += size + 1;
    }
}

/* FROM-TO, or one. */
static bool read_seeds(struct command *c, const char *value) {
    if (!read_range(value, strlen(value), &c->from, &c->to)) return false;
    if (!strchr(value, '-')) c->to++;
    return c->to > c->from;
}

static bool read_seconds(struct command *c, const char *value) {
    char *end;
    c->seconds = strtod(value, &end);
    return *end == '\0' && c->seconds > 0;
}

static bool read_unsigned(const char *value, unsigned *number) {
    uint64_t read;
    if (!number_read(value, 0, UINT32_MAX, &read)) return false;
    *number = (unsigned)read;
    return true;
}

static bool read_plant(struct sim_options *options, const char *name) {
    for (unsigned i = 0; i < PLANT_COUNT; i++)
        if (strcmp(plant_names[i], name) == 0) {
            options->plant = sim_plant = (enum sim_plant)i;
            return true;
        }
    return false;
}

/* @return whether it is an option with a value, and this one will do. */
static bool read_value(struct command *c, const char *name, const char *value) {
    if (strcmp(name, "--count") == 0) return c->from = 0, number_read(value, 1, UINT64_MAX, &c->to);
    if (strcmp(name, "--seeds") == 0) return read_seeds(c, value);
    if (strcmp(name, "--seed") == 0) return !strchr(value, '-') && read_seeds(c, value);
    if (strcmp(name, "--shrink") == 0) return c->shrinks = number_read(value, 0, UINT64_MAX, &c->options.seed);
    if (strcmp(name, "--seconds") == 0) return read_seconds(c, value);
    if (strcmp(name, "--steps") == 0) return read_unsigned(value, &c->options.steps);
    if (strcmp(name, "--without") == 0) return read_unsigned(value, &c->options.without);
    if (strcmp(name, "--skip") == 0) return read_skip(&c->options, value);
    if (strcmp(name, "--plant") == 0) return read_plant(&c->options, value);
    if (strcmp(name, "--edges") == 0) return (c->edges = value) != NULL;
    return false;
}

static bool read_flag(struct command *c, const char *name) {
    bool *flag = strcmp(name, "--trace") == 0              ? &c->options.trace
                 : strcmp(name, "--counts") == 0           ? &c->counts
                 : strcmp(name, "--reached") == 0          ? &c->reached
                 : strcmp(name, "--progress") == 0         ? &c->progress
                 : strcmp(name, "--plants") == 0           ? &c->all_plants
                 : strcmp(name, "--no-callback-acts") == 0 ? &c->options.no_callback_acts
                                                           : NULL;
    if (flag) *flag = true;
    return flag != NULL;
}

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Each planted bug must be found. */
static int try_plants(struct command *c) {
    enum { SEEDS_MAX = 10000 };
    unsigned found = 0;
    for (unsigned i = PLANT_none + 1; i < PLANT_COUNT; i++) {
        uint64_t broken = 0;
        c->options.plant = sim_plant = (enum sim_plant)i;
        bool blind = live_many(&c->options, c->from, c->from + SEEDS_MAX, &broken);
        found += !blind;
        printf("%-22s %s %llu: %s\n", plant_names[i], blind ? "NOT FOUND" : "found by seed", (unsigned long long)broken,
               blind ? "" : sim_shared->words);
    }
    printf("simulator: %u of %u planted bugs found\n", found, PLANT_COUNT - 1u);
    return found == PLANT_COUNT - 1u ? 0 : 1;
}

static int live_all(struct command *c) {
    double start = now_s();
    uint64_t seed = c->from, lives = 0, breaches = 0, broken;
    while (seed < c->to && breaches < BROKEN_MAX && (c->seconds <= 0 || now_s() - start < c->seconds)) {
        uint64_t to = seed + CHUNK < c->to ? seed + CHUNK : c->to;
        if (c->seconds > 0 && to > seed + 1000) to = seed + 1000;
        if (live_many(&c->options, seed, to, &broken)) {
            lives += to - seed;
            seed = to;
            if (c->progress && seed % CHUNK == 0)
                printf("%llu lives, %llu violations, %.0f s\n", (unsigned long long)lives, (unsigned long long)breaches,
                       now_s() - start);
            continue;
        }
        breaches++;
        printf("seed %llu: %s\n", (unsigned long long)broken, sim_shared->words);
        lives += broken - seed + 1;
        seed = broken + 1;
    }
    if (c->counts) print_counts();
    int missing = c->reached ? check_reached() : 0;
    if (c->edges) write_all_edges(c->edges);
    double took = now_s() - start;
    printf("simulator: %llu lives, %llu violations (%.1f s, %.0f us each)\n", (unsigned long long)lives,
           (unsigned long long)breaches, took, lives ? took * 1e6 / (double)lives : 0);
    return breaches || missing || !lives ? 1 : 0;
}

int main(int argc, char **argv) {
    static struct command c = { .to = 10000 };
    for (int i = 1; i < argc; i++) {
        if (read_flag(&c, argv[i])) continue;
        if (i + 1 >= argc || !read_value(&c, argv[i], argv[i + 1])) {
            fputs(usage, stderr);
            return 2;
        }
        i++;
    }
    sim_shared = mmap(NULL, sizeof(*sim_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sim_shared == MAP_FAILED) return 2;
    book_prepare();
    if (c.options.trace) setvbuf(stdout, NULL, _IOLBF, 0); /* whoever lives is a child, and may crash: each line is out */
    if (c.shrinks) return shrink(&c.options);
    if (c.all_plants) return try_plants(&c);
    return live_all(&c);
}
