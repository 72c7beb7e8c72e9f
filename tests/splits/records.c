/*
 * Recorded conversations over TLS, once more: what the broker said comes in records, cut at each place in turn, an octet a record, and in
 * many at random; their octets come through adapters/tls's filter in pieces of any size. What the client says goes back through the
 * filter as well. Events, trace and output must be those of the conversation in the clear. Files are pack.py's.
 *
 *     records [--brief] [--plant] [--sessions N] DIRECTORY...
 */
#include "pair.h"
#include "recording.h"

#include <stdio.h>

enum { RANDOM_CUTS = 60, RANDOM_CUTS_BRIEF = 3, BRIEF_STEP = 61, BRIEF_OCTETS = 7, READ_MAX = 64 * 1024 };

static struct pair *pair; /* one link for all: a conversation more is nothing to TLS */

/* ---------------------------------------------------------------- through the filter */

/* What the filter has of plaintext goes to the client, as in an adapter: piece by piece as it is read. */
static void read_all(struct replay *r, size_t read_max) {
    static uint8_t plain[READ_MAX];
    int64_t got;
    while ((got = tls_filter_read(pair->filter, plain, read_max)) > 0) replay_feed_bytes(r, plain, (size_t)got);
    assert_int_equal(got, 0);
}

/* What the server has written, to the filter in pieces of at most `piece_max`, each in a block of its own. */
static void pass_on(struct replay *r, struct dice *dice, size_t piece_max, size_t read_max) {
    BIO *bio = SSL_get_wbio(pair->server);
    for (size_t left; (left = BIO_ctrl_pending(bio)) > 0;) {
        size_t size = piece_max < left ? 1 + dice_below(dice, piece_max) : left;
        uint8_t *piece = malloc(size);
        assert_non_null(piece);
        assert_int_equal(BIO_read(bio, piece, (int)size), size);
        tls_filter_input(pair->filter, piece, size);
        read_all(r, read_max);
        assert_true(tls_filter_is_starved(pair->filter));
        free(piece);
    }
}

/* A record: SSL_write makes one of up to 16 KiB. */
static void say_record(const struct recording *file, size_t from, size_t to) {
    if (to > from) pair_server_says(pair, file->server.data + from, to - from);
}

/* What the client wrote must come to the server through the filter, whatever slices it was given in. */
static bool comes_back(const struct outcome *o, struct dice *dice) {
    pair->server_heard.size = pair->sent.size = 0;
    for (size_t at = 0, size; at < o->wire.size; at += size) {
        size = 1 + dice_below(dice, 3000);
        if (size > o->wire.size - at) size = o->wire.size - at;
        pair_say(pair, o->wire.data + at, size);
    }
    return pair->server_heard.size == o->wire.size && memcmp(pair->server_heard.data, o->wire.data, o->wire.size) == 0;
}

/* ---------------------------------------------------------------- cut and compared */

static void compare(struct replay *r, const struct outcome *whole, const char *how, size_t where) {
    struct outcome o;
    const char *path = r->file->path;
    replay_end(r, &o);
    splits.cuts++;
    if (!outcome_same(&o, whole) && splits.different++ < 20)
        fprintf(stderr, "records: %s, %s %zu: not the same\n", path, how, where);
    outcome_free(&o);
}

/* --plant: so that it is seen that it sees, an octet is lost at one cut in a hundred. */
static size_t planted(size_t cut) { return splits.plant && cut % 100 == 50 ? 1 : 0; }

static void cut_in_two(const struct recording *file, const struct outcome *whole, size_t cut) {
    struct dice dice = { cut };
    struct replay r;
    replay_begin(&r, file, (enum taking)(cut % TAKINGS), 0);
    say_record(file, 0, cut);
    say_record(file, cut + planted(cut), file->server.size);
    pass_on(&r, &dice, SIZE_MAX, READ_MAX);
    compare(&r, whole, "a record cut at", cut);
}

static void octet_by_octet(const struct recording *file, const struct outcome *whole, size_t piece_max) {
    struct dice dice = { 1 };
    struct replay r;
    replay_begin(&r, file, (enum taking)(splits.sessions % TAKINGS), 1);
    for (size_t at = 0; at < file->server.size; at++) say_record(file, at, at + 1);
    pass_on(&r, &dice, piece_max, READ_MAX);
    compare(&r, whole, "an octet a record, in pieces of", piece_max);
}

static void cut_at_random(const struct recording *file, const struct outcome *whole, uint64_t seed) {
    struct dice dice = { seed * 0x9e3779b97f4a7c15u + 1 };
    struct replay r;
    size_t record_max = (size_t)1 << (2 + dice_below(&dice, 11)), piece_max = (size_t)1 << (2 + dice_below(&dice, 11));
    replay_begin(&r, file, (enum taking)(seed % TAKINGS), seed % 2 ? dice_roll(&dice) | 1 : 0);
    for (size_t at = 0, to; at < file->server.size; at = to) {
        to = at + 1 + dice_below(&dice, record_max);
        if (to > file->server.size) to = file->server.size;
        say_record(file, at, to);
        if (seed % 3 == 0) pass_on(&r, &dice, piece_max, 1 + dice_below(&dice, 5000)); /* else all of it waits in the kernel */
    }
    pass_on(&r, &dice, piece_max, 1 + dice_below(&dice, 5000));
    compare(&r, whole, "in records of seed", (size_t)seed);
}

static void cut_session(const struct recording *file) {
    struct outcome whole;
    struct dice dice = { splits.sessions + 1 };
    if (splits.sessions >= splits.limit) return;
    replay_whole(file, &whole);
    size_t step = splits.brief ? BRIEF_STEP : 1;
    for (size_t cut = splits.brief ? 1 + splits.sessions % BRIEF_STEP : 1; cut < file->server.size; cut += step)
        cut_in_two(file, &whole, cut);
    if (!splits.brief || splits.sessions % BRIEF_OCTETS == 0) octet_by_octet(file, &whole, SIZE_MAX);
    if (!splits.brief) octet_by_octet(file, &whole, 40);
    for (uint64_t seed = 1; seed <= (splits.brief ? RANDOM_CUTS_BRIEF : RANDOM_CUTS); seed++) cut_at_random(file, &whole, seed);
    if (!comes_back(&whole, &dice) && splits.different++ < 20)
        fprintf(stderr, "records: %s: the server heard others\n", file->path);
    outcome_free(&whole);
    splits.sessions++;
}

int main(int argc, char **argv) {
    void *state = NULL;
    pair_make_certs(&state);
    pair_setup(&state);
    pair = state;
    pair_open(pair);
    int status = splits_main(argc, argv, "splits over TLS", cut_session);
    pair_teardown(&state);
    pair_free_certs(&state);
    return status;
}
