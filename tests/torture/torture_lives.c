/*
 * Every scenario of lives.c with every allocation failing in turn, in three modes. Each life is judged by legal.h; one in which
 * memory was short only once must also keep all promises by itself, as long as the broker answers.
 *
 *     torture_lives [--step N] [--seed N] [--verbose] [SCENARIO...]
 *     torture_lives --control          a completion that gets lost, and a block that is never freed: are they found?
 */
#include "facts.h"
#include "lives.h"
#include "number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOCATIONS_MAX ((size_t)20000) /* no life has so many: it would not end */
#define RETRY_MS        500u            /* what could not be written for want of memory leaves meanwhile */

/* What is planted, to see whether it is found. */
static enum { NO_CONTROL, FORGETS, LEAKS } control;

static void listen_to(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    struct life *l = data;
    switch (what) {
    case VIRTUAL_LINK_UP: legal_link(&l->app.legal, true); break;
    case VIRTUAL_LINK_DOWN: legal_link(&l->app.legal, false); break;
    case VIRTUAL_SENT: conversation_sent(&l->app.legal.wire, bytes, size); break;
    case VIRTUAL_RECEIVED: conversation_received(&l->app.legal.wire, bytes, size); break;
    }
}

/* Lines of the log tell as well, when nobody else can. */
static void hear(void *data, lago_log_level_t level, const char *line) {
    struct life *l = data;
    if (strstr(line, "out of memory")) l->app.legal.explained = true;
    broker_hear(&l->broker, level, line);
}

void life_run(struct life *l) { broker_run(&l->broker); }

void life_wait(struct life *l, uint64_t ms) {
    for (uint64_t i = 0; i < 20; i++) {
        virtual_advance(&l->v, ms / 20);
        broker_run(&l->broker);
    }
}

/* ---------------------------------------------------------------- one life */

struct point {
    const struct scenario *scenario;
    size_t fail_at; /* 0: nothing fails */
    enum fail_mode mode;
};

static void end_it(struct life *l, const struct point *point) {
    life_run(l);
    if (point->mode == FAIL_ONCE && !l->cut) {
        life_wait(l, RETRY_MS);
        const char *pending = app_pending(&l->app);
        bool over = l->app.legal.closed || l->app.legal.open_failed;
        if (pending && !over) legal_break(&l->app.legal, "%s was accepted, and is not told while all goes well", pending);
    }
    app_close(&l->app, 0);
    life_run(l);
    if (l->v.conn) life_wait(l, 60000);
    if (l->v.conn) app_abort(&l->app);
    virtual_run(&l->v);
    app_free(&l->app);
    virtual_run(&l->v);
}

static void attempts_explain(struct life *l) {
    const lago_reason_t *reason;
    for (size_t i = 0; l->app.conn && (reason = lago_connection_attempt(l->app.conn, i, NULL)) != NULL; i++)
        (void)legal_returned(&l->app.legal, reason->code);
}

/* @return the allocations that there were. */
static size_t live(struct life *l, const struct point *point) {
    memset(l, 0, sizeof *l);
    app_init(&l->app);
    l->app.data = l;
    l->app.forgets = control == FORGETS ? "declare" : NULL;
    virtual_init(&l->v);
    broker_init(&l->broker, &l->v);
    l->v.on_line = hear;
    l->v.on_line_data = l;
    l->v.tap = listen_to;
    l->v.tap_data = l;
    book_init(&l->book, &l->v.alloc.allocator);
    fail_alloc_mode(&l->v.alloc, point->fail_at, point->mode);
    point->scenario->live(l);
    attempts_explain(l);
    end_it(l, point);
    size_t calls = l->v.alloc.calls;
    fail_alloc_mode(&l->v.alloc, 0, FAIL_ONCE);
    lago_message_release(l->app.kept);
    l->app.kept = NULL;
    book_clear(&l->book);
    void *leak = control == LEAKS ? l->v.alloc.allocator.malloc(1, &l->v.alloc) : NULL;
    virtual_run(&l->v);
    if (l->v.alloc.live_count) legal_break(&l->app.legal, "%zu blocks are left", l->v.alloc.live_count);
    if (leak) l->v.alloc.allocator.free(leak, &l->v.alloc);
    virtual_deinit(&l->v); /* which ends the program for another one */
    legal_check(&l->app.legal);
    return calls;
}

/* ---------------------------------------------------------------- all points */

static struct life life;
static bool verbose;
static size_t points, golden_count, failures;

static void report(const struct point *point, const char *golden) {
    failures++;
    if (control != NO_CONTROL) return;
    printf("not ok: %s, allocation %zu fails, %s: %s\n", point->scenario->name, point->fail_at, fail_mode_name(point->mode),
           legal_problem(&life.app.legal));
    if (verbose) printf("--- golden\n%s--- now\n%s", golden, life.app.text ? life.app.text : "");
}

/* @return false: there are not so many allocations. */
static bool try_point(const struct point *point, const char *golden) {
    bool there = live(&life, point) >= point->fail_at;
    bool same = same_facts(golden, life.app.text ? life.app.text : "");
    legal_check_explained(&life.app.legal, !same);
    if (there) {
        points++;
        golden_count += same;
    }
    if (legal_problem(&life.app.legal)) report(point, golden);
    app_clear(&life.app);
    return there;
}

static void torture(const struct scenario *scenario, size_t step, size_t seed) {
    struct point point = { .scenario = scenario };
    size_t before = points, calls = live(&life, &point);
    char *golden = strdup(life.app.text ? life.app.text : "");
    if (legal_problem(&life.app.legal)) report(&point, golden);
    app_clear(&life.app);
    for (point.mode = FAIL_ONCE; point.mode < FAIL_MODES; point.mode++)
        for (point.fail_at = 1 + seed % step; point.fail_at < ALLOCATIONS_MAX; point.fail_at += step)
            if (!try_point(&point, golden)) break;
    if (verbose) printf("%s: %zu allocations, %zu points\n", scenario->name, calls, points - before);
    free(golden);
}

struct command {
    size_t step, seed;
    char **names; /* none: all */
    int name_count;
};

static const char usage[] = "torture_lives [--step N] [--seed N] [--verbose] [SCENARIO...] | --control\n";

static bool is_named(const struct command *command, const char *name) {
    for (int i = 0; i < command->name_count; i++)
        if (strcmp(command->names[i], name) == 0) return true;
    return command->name_count == 0;
}

static bool is_scenario(const char *name) {
    for (size_t i = 0; i < lives_count; i++)
        if (strcmp(lives[i].name, name) == 0) return true;
    return false;
}

/* Options first. @return whether all of it is understood. */
static bool read_command(struct command *command, int argc, char **argv) {
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--step") == 0 && number_read_size(value, 1, &command->step))
            i++;
        else if (strcmp(argv[i], "--seed") == 0 && number_read_size(value, 0, &command->seed))
            i++;
        else
            return false;
    }
    command->names = argv + i;
    command->name_count = argc - i;
    while (i < argc && is_scenario(argv[i])) i++;
    return i == argc;
}

/* The instrument sees: what is planted is found wherever it is. */
static int controls(void) {
    size_t found[2], all = 0;
    for (control = FORGETS; control <= LEAKS; control++) {
        struct point point = { .scenario = &lives[0] };
        failures = points = 0;
        for (point.fail_at = 1; try_point(&point, ""); point.fail_at++) continue;
        found[control - FORGETS] = failures;
        all = points;
    }
    printf("control: of %zu lives each, a forgotten completion is found in %zu, a leak in %zu\n", all, found[0], found[1]);
    return found[0] > 0 && found[1] >= all ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--control") == 0) return controls();
    struct command command = { .step = 1 };
    if (!read_command(&command, argc, argv)) return fputs(usage, stderr), 2;
    for (size_t i = 0; i < lives_count; i++)
        if (is_named(&command, lives[i].name)) torture(&lives[i], command.step, command.seed);
    if (points == 0) printf("nothing was made to fail: no point is in the sample\n");
    printf("lives: %zu points, %zu of them unharmed, %zu failures\n", points, golden_count, failures);
    return failures || points == 0 ? 1 : 0;
}
