/*
 * Replays transcripts over real sockets: client and broker say and hear what is written down, in that order, and octet for octet what
 * they say in memory. Those that cannot leave the memory are counted, with the reason.
 *
 *     sockets [--over tcp|unix|tls]... [--left] [--plant] FILE...
 *         --over   this medium only
 *         --left   name what stayed in memory
 *         --plant  control: some of what the peers send is lost, which must be seen
 */
#include "compare.h"
#include "peer.h"
#include "play.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASONS_MAX = 16, SLOW_TRIES = 3 };
#define SLOW_NS                                                                                                                  \
    UINT64_C(500000000) /* the shortest time that lago itself waits for is 1 s: for close-ok behind an error in opening */

static const struct medium *const media[] = { &medium_tcp, &medium_unix, &medium_tls };
enum { MEDIA = sizeof(media) / sizeof(media[0]) };

static struct {
    bool chosen[MEDIA], any_chosen, show_left;
    size_t files, replayed[MEDIA], different;
    struct {
        const char *why;
        size_t count;
    } left[REASONS_MAX]; /* in memory, by all media or by some */
} all;

static void count_left(const char *why) {
    size_t i = 0;
    while (i < REASONS_MAX - 1 && all.left[i].why && strcmp(all.left[i].why, why) != 0) i++;
    all.left[i].why = why;
    all.left[i].count++;
}

/* ---------------------------------------------------------------- one replay */

struct replay {
    char *text, *problem;
    uint8_t *written; /* as many octets as a peer remembers */
    size_t written_size;
};

static void replay(struct replay *r, const struct medium *medium, const char *script) {
    struct play *p = malloc(sizeof(*p));
    if (!p) abort();
    play_init(p, medium);
    play_script(p, script, false);
    const uint8_t *written = medium->written(p, &r->written_size);
    if (r->written_size > PEER_KEPT) r->written_size = PEER_KEPT;
    r->written = malloc(r->written_size + 1);
    if (!r->written) abort();
    if (r->written_size > 0) memcpy(r->written, written, r->written_size);
    play_end(p);
    r->text = p->text;
    r->problem = p->problem;
    legal_clear(&p->legal);
    free(p);
}

static void release(struct replay *r) {
    free(r->text);
    free(r->problem);
    free(r->written);
}

static bool judge(const struct replay *r, const struct replay *memory, const char *script) {
    bool wire_good = r->written_size == memory->written_size && memcmp(r->written, memory->written, r->written_size) == 0;
    bool text_good = script_matches(script, r->text ? r->text : "");
    if (!wire_good)
        printf("  the peer has received %zu octets, and in memory %zu%s\n", r->written_size, memory->written_size,
               r->written_size == memory->written_size ? ", which are others" : "");
    if (r->problem) printf("  broken promise: %s\n", r->problem);
    if (!text_good) script_print_sides(script, r->text ? r->text : "");
    return wire_good && text_good && !r->problem;
}

/* What takes long on sockets has waited for a machine that was busy elsewhere: a broker that is silent for so long is another one. */
static void replay_over(size_t medium, const char *path, const char *script, const struct replay *memory) {
    bool good = false, slow = true;
    for (int i = 0; i < SLOW_TRIES && slow && !good; i++) {
        struct replay r;
        uint64_t begun = uv_hrtime();
        replay(&r, media[medium], script);
        slow = uv_hrtime() - begun > SLOW_NS;
        good = judge(&r, memory, script);
        if (!good) printf("%s: %s over %s\n", slow ? "slow" : "not ok", path, media[medium]->name);
        release(&r);
    }
    all.different += !good;
    all.replayed[medium]++;
}

/* ---------------------------------------------------------------- all of them */

static void replay_file(const char *path) {
    struct replay memory = { 0 };
    char *script = script_read(path);
    const char *counted = NULL;
    all.files++;
    for (size_t i = 0; i < MEDIA; i++) {
        if (all.any_chosen && !all.chosen[i]) continue;
        const char *why = medium_refuses(media[i], script);
        if (why && why != counted) {
            count_left(why);
            if (all.show_left) printf("%s: not over %s: %s\n", path, media[i]->name, why);
        }
        if (why) counted = why;
        if (why) continue;
        if (!memory.written) replay(&memory, &medium_memory, script);
        replay_over(i, path, script, &memory);
    }
    release(&memory);
    free(script);
}

static void summary(void) {
    for (size_t i = 0; i < REASONS_MAX && all.left[i].why; i++)
        printf("%6zu stay in memory: %s\n", all.left[i].count, all.left[i].why);
    printf("transcripts: of %zu", all.files);
    for (size_t i = 0; i < MEDIA; i++)
        if (!all.any_chosen || all.chosen[i]) printf(" %zu over %s,", all.replayed[i], media[i]->name);
    printf(" %zu different\n", all.different);
}

static bool choose(const char *name) {
    for (size_t i = 0; i < MEDIA; i++) {
        if (strcmp(media[i]->name, name) != 0) continue;
        return all.chosen[i] = all.any_chosen = true;
    }
    fprintf(stderr, "sockets: there is no way over %s; tcp, unix, tls\n", name);
    return false;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);            /* the peer's writes raise it */
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* the peer's checks are not within a test: else they would end us without a word */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--left") == 0)
            all.show_left = true;
        else if (strcmp(argv[i], "--plant") == 0)
            medium_plant = true;
        else if (strcmp(argv[i], "--over") != 0)
            replay_file(argv[i]);
        else if (++i == argc || !choose(argv[i]))
            return 2;
    }
    summary();
    return all.different || all.files == 0 ? 1 : 0;
}
