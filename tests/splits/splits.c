/*
 * Recorded conversations, once more: what the broker said comes in pieces, cut at each place in turn, octet by octet, and in many at
 * random; what the client says is said again when it was said. Events, trace and output must be the same to the octet however it was
 * cut. Files are pack.py's.
 *
 *     splits [--brief] [--plant] [--sessions N] DIRECTORY...
 */
#include "recording.h"

#include <stdio.h>

enum { K_WAY_CUTS = 1000, K_WAY_CUTS_BRIEF = 8, BRIEF_STEP = 37 };

/* ---------------------------------------------------------------- cut and compared */

static void compare(struct replay *r, const struct outcome *whole, const char *how, size_t where) {
    struct outcome o;
    const char *path = r->file->path;
    replay_end(r, &o);
    splits.cuts++;
    if (!outcome_same(&o, whole)) {
        if (splits.different++ < 20) fprintf(stderr, "splits: %s, %s %zu: not the same\n", path, how, where);
        bytes_add(&o.events, "", 1);
        if (splits.different == 1) fprintf(stderr, "%s", (const char *)o.events.data);
    }
    outcome_free(&o);
}

/* --plant: so that it is seen that it sees, an octet is lost at one cut in a hundred. */
static bool planted(size_t cut) { return splits.plant && cut % 100 == 50; }

static void cut_in_two(const struct recording *file, const struct outcome *whole, size_t cut, enum taking taking) {
    struct replay r;
    replay_begin(&r, file, taking, 0);
    replay_feed(&r, cut);
    if (planted(cut)) r.fed++;
    if (r.fed <= file->server.size) replay_feed(&r, file->server.size - r.fed);
    compare(&r, whole, "cut at", cut);
}

static void octet_by_octet(const struct recording *file, const struct outcome *whole, enum taking taking, uint64_t seed) {
    struct replay r;
    replay_begin(&r, file, taking, seed);
    while (r.fed < file->server.size) replay_feed(&r, 1);
    compare(&r, whole, "octet by octet, taken", taking);
}

static void cut_at_random(const struct recording *file, const struct outcome *whole, uint64_t seed) {
    struct dice dice = { seed * 0x9e3779b97f4a7c15u + 1 };
    struct replay r;
    size_t scale = (size_t)1 << (2 + dice_below(&dice, 11));
    replay_begin(&r, file, (enum taking)(seed % TAKINGS), seed % 2 ? dice_roll(&dice) | 1 : 0);
    while (r.fed < file->server.size) {
        size_t size = 1 + dice_below(&dice, scale);
        replay_feed(&r, size < file->server.size - r.fed ? size : file->server.size - r.fed);
    }
    compare(&r, whole, "in pieces of seed", (size_t)seed);
}

static void cut_session(const struct recording *file) {
    struct outcome whole;
    if (splits.sessions >= splits.limit) return;
    replay_whole(file, &whole);
    size_t step = splits.brief ? BRIEF_STEP : 1;
    for (size_t cut = splits.brief ? 1 + splits.sessions % BRIEF_STEP : 1; cut < file->server.size; cut += step)
        cut_in_two(file, &whole, cut, splits.brief ? (enum taking)(cut % TAKINGS) : TAKE_INPUT);
    for (size_t cut = 1; cut < file->server.size && !splits.brief; cut += 7) {
        cut_in_two(file, &whole, cut, TAKE_STRAIGHT);
        cut_in_two(file, &whole, cut, TAKE_PIECES);
    }
    for (enum taking taking = TAKE_INPUT; taking < TAKINGS; taking++) octet_by_octet(file, &whole, taking, taking);
    for (uint64_t seed = 1; seed <= (splits.brief ? K_WAY_CUTS_BRIEF : K_WAY_CUTS); seed++) cut_at_random(file, &whole, seed);
    outcome_free(&whole);
    splits.sessions++;
}

/* ---------------------------------------------------------------- all of them */

int main(int argc, char **argv) { return splits_main(argc, argv, "splits", cut_session); }
