/*
 * Replays a transcript: whole; with the broker's bytes one at a time; in random pieces, and small writes; and with every
 * allocation failing in turn. The first three must do exactly what is written down, byte for byte on the wire; in the last one
 * nothing may crash or leak, and every promise is still kept exactly once.
 *
 *     runner FILE            test
 *     runner --exactly FILE...
 *                            only the first three, of many
 *     runner --print FILE    print what really happens, with the comments of the file
 *     runner --torture STEP SEED FILE...
 *                            only without memory, in three modes: every STEP-th allocation in turn (1: each), the first by SEED;
 *                            prints a count (tests/torture/run)
 */
#include "compare.h"
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_REPLAYS = 8 };

/* How a replay differs from the plain one. */
struct way {
    const char *name;
    size_t piece_max, write_max;
    uint32_t seed;
    size_t fail_at; /* 0: no allocation fails */
    enum fail_mode fail_mode;
};

/* ---------------------------------------------------------------- comparing facts */

static bool begins(const char *line, const char *with) { return strncmp(line, with, strlen(with)) == 0; }

static const char *without_time(const char *line, size_t *size) {
    size_t skip = begins(line, "t=") ? strcspn(line, " \n") + 1 : 0;
    if (skip == 0 || skip > *size) return line;
    *size -= skip;
    return line + skip;
}

/*
 * The next line that counts, without its time: a frame, a callback, the result of a call. Not the log, whose lines may be lost, and
 * not what was only asked to be shown.
 */
static const char *next_fact(const char **at, size_t *size) {
    const char *line;
    bool shown = false;
    while ((line = script_next_line(at, size)) != NULL) {
        line = without_time(line, size);
        if (begins(line, "C> ") || begins(line, "!  ") || (begins(line, "=  ") && !shown)) return line;
        shown = begins(line, "do show") || begins(line, "do channel.show");
    }
    return NULL;
}

/* A line without the broker's words, in quotes behind a code: there may be no memory to keep them. */
static bool same_facts(const char *a, size_t a_size, const char *b, size_t b_size) {
    char facts[2][512];
    if (!a || !b) return a == b;
    const char *lines[2] = { a, b };
    size_t sizes[2] = { a_size, b_size };
    for (int i = 0; i < 2; i++) {
        size_t out = 0;
        bool quoted = false, failed = false;
        for (size_t k = 0; k < sizes[i] && out + 1 < sizeof facts[i]; k++) {
            failed = failed || begins(lines[i] + k, "LAGO_");
            if (failed && lines[i][k] == '"') quoted = !quoted;
            if (!failed || (!quoted && lines[i][k] != '"' && lines[i][k] != ' ')) facts[i][out++] = lines[i][k];
        }
        facts[i][out] = '\0';
    }
    return strcmp(facts[0], facts[1]) == 0;
}

/*
 * Whether what differs need not be explained: the first difference is a frame that does not leave then. It may leave later (what was
 * accepted without memory to write it), or be left out (a heartbeat, a goodbye); that is for the judge of the conversation. What comes
 * behind it tells nothing: the broker of a script does not notice. Nor if a life ends that the script leaves waiting.
 */
static bool is_plain(const char *expected, const char *actual) {
    const char *e, *a;
    size_t expected_size, actual_size;
    do {
        e = next_fact(&expected, &expected_size);
        a = next_fact(&actual, &actual_size);
        if (!same_facts(e, expected_size, a, actual_size)) return !e || begins(e, "C> ");
    } while (e && a);
    return true;
}

/* ---------------------------------------------------------------- one replay */

static void begin(struct play *p, const struct way *way) {
    play_init(p, &medium_memory);
    p->v.piece_max = way->piece_max;
    p->v.piece_seed = way->seed;
    if (way->write_max) p->v.write_max = way->write_max;
    p->curious = way->fail_at > 0;
    fail_alloc_mode(&p->v.alloc, way->fail_at, way->fail_mode);
}

/* The bytes on the wire of the first replay: all others must write the same. */
struct wire {
    uint8_t *bytes;
    size_t size;
};

static bool wire_matches(struct wire *wire, const struct play *p) {
    if (!wire->bytes) {
        wire->size = p->v.output_size;
        wire->bytes = malloc(wire->size + 1);
        if (!wire->bytes) abort();
        if (wire->size) memcpy(wire->bytes, p->v.output, wire->size);
        return true;
    }
    return wire->size == p->v.output_size && (wire->size == 0 || memcmp(wire->bytes, p->v.output, wire->size) == 0);
}

static bool judge(const struct play *p, const struct way *way, const char *script, bool wire_good) {
    bool text_good = way->fail_at > 0 || script_matches(script, p->text ? p->text : "");
    if (text_good && wire_good && !p->problem) return true;
    printf("not ok: replayed %s", way->name);
    if (way->fail_at) printf(", allocation %zu fails, %s", way->fail_at, fail_mode_name(way->fail_mode));
    printf("\n");
    if (p->problem) printf("  broken promise: %s\n", p->problem);
    if (!wire_good) printf("  other bytes were written than in the first replay\n");
    script_print_sides(script, p->text ? p->text : "");
    return false;
}

/* @return whether it went well; *allocations: how many there were, or 0 when fewer than way->fail_at. */
static bool replay(const char *script, const struct way *way, struct wire *wire, size_t *allocations) {
    struct play *p = malloc(sizeof(*p));
    if (!p) abort();
    begin(p, way);
    play_script(p, script, false);
    size_t calls = p->v.alloc.calls;
    *allocations = calls >= way->fail_at ? calls : 0;
    bool wire_good = way->fail_at > 0 || wire_matches(wire, p);
    if (calls >= way->fail_at) legal_check_explained(&p->legal, way->fail_at > 0 && !is_plain(script, p->text ? p->text : ""));
    play_end(p);
    bool good = judge(p, way, script, wire_good);
    free(p->problem);
    free(p->text);
    legal_clear(&p->legal);
    free(p);
    return good;
}

/* ---------------------------------------------------------------- all replays */

static bool replay_exactly(const char *script) {
    static const struct way ways[] = {
        { .name = "whole" },
        { .name = "one byte at a time", .piece_max = 1 },
        { .name = "with writes of one byte", .write_max = 1 },
    };
    struct wire wire = { NULL, 0 };
    size_t allocations;
    bool good = true;
    for (size_t i = 0; good && i < sizeof(ways) / sizeof(ways[0]); i++) good = replay(script, &ways[i], &wire, &allocations);
    for (uint32_t seed = 1; good && seed <= RANDOM_REPLAYS; seed++) {
        struct way way = {
            .name = "in random pieces", .seed = seed * 2654435761u, .piece_max = 4u << seed, .write_max = 7 * seed
        };
        good = replay(script, &way, &wire, &allocations);
    }
    free(wire.bytes);
    return good;
}

static bool replay_without_memory(const char *script, enum fail_mode mode, size_t piece_max) {
    size_t allocations = 1, n = 1;
    for (; allocations > 0; n++) {
        struct way way = { .name = "without memory", .fail_at = n, .fail_mode = mode, .piece_max = piece_max };
        if (!replay(script, &way, NULL, &allocations)) return false;
    }
    printf("ok: replayed %zu times without memory, %s\n", n - 1, fail_mode_name(mode));
    return true;
}

/* ---------------------------------------------------------------- torture */

struct torture {
    size_t step, first; /* of the allocations */
    size_t points, failures;
};

static void torture_file(struct torture *t, const char *path) {
    char *script = script_read(path);
    for (enum fail_mode mode = FAIL_ONCE; mode < FAIL_MODES; mode++)
        for (size_t n = 1 + t->first % t->step, allocations = 1; allocations > 0; n += t->step) {
            struct way way = { .name = path, .fail_at = n, .fail_mode = mode };
            bool good = replay(script, &way, NULL, &allocations);
            if (!good) t->failures++;
            if (allocations > 0) t->points++;
        }
    free(script);
}

static int torture(int argc, char **argv) {
    struct torture t = { .step = strtoul(argv[2], NULL, 10), .first = strtoul(argv[3], NULL, 10) };
    if (t.step == 0) t.step = 1;
    for (int i = 4; i < argc; i++) torture_file(&t, argv[i]);
    printf("transcripts: %zu points, %zu failures\n", t.points, t.failures);
    return t.failures ? 1 : 0;
}

static int exactly(int count, char **paths) {
    int different = 0;
    for (int i = 0; i < count; i++) {
        char *script = script_read(paths[i]);
        different += !replay_exactly(script);
        free(script);
    }
    printf("transcripts: %d exactly, %d different\n", count, different);
    return different ? 1 : 0;
}

static int print(const char *path) {
    char *script = script_read(path);
    struct play p;
    begin(&p, &(struct way){ .name = "whole" });
    play_script(&p, script, true);
    fputs(p.text ? p.text : "", stdout);
    fflush(stdout);
    play_end(&p);
    if (p.problem) fprintf(stderr, "%s: broken promise: %s\n", path, p.problem);
    int status = p.problem != NULL;
    free(p.problem);
    free(p.text);
    legal_clear(&p.legal);
    free(script);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--print") == 0) return print(argv[2]);
    if (argc > 4 && strcmp(argv[1], "--torture") == 0) return torture(argc, argv);
    if (argc > 2 && strcmp(argv[1], "--exactly") == 0) return exactly(argc - 2, argv + 2);
    if (argc != 2) {
        fprintf(stderr, "usage: %s [--print] FILE | --exactly FILE...\n", argv[0]);
        return 2;
    }
    char *script = script_read(argv[1]);
    bool good = replay_exactly(script) && replay_without_memory(script, FAIL_ONCE, 0) &&
                replay_without_memory(script, FAIL_FROM_THEN_ON, 0) && replay_without_memory(script, FAIL_ONCE, 1);
    free(script);
    return good ? 0 : 1;
}
