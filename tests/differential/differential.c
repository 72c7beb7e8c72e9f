/*
 * lago's codec against librabbitmq's: what one writes the other reads, and what is damaged both refuse. Any difference without a
 * written reason is taken for a bug of lago's. Each case can be had again from its seed and index.
 *
 *   differential [--count FRAMES | --cases N] [--seconds S] [--seed S] [--first INDEX] [--plant]
 *       --count    until so many frames were read by both
 *       --cases    so many cases; of each eleven one is a stream of some sixty frames
 *       --seconds  stop after so long
 *       --plant    control: lago gets an octet of a frame wrong now and then, which must be found
 *
 * Ends with the line "differential: N frames, D different without a reason".
 */
#include "run.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_CASES   100000u /* all 2^14 property masks, each method some hundred times; a few seconds */
#define DEFAULT_SEED    1u      /* the same in CI each time: a change that breaks it is known at once */
#define FAILURES_SHOWN  10u
#define SHOWN_OCTETS    2048u
#define PEER_PAGE_SIZE  65536u
#define CHECKED_METHODS 64u        /* of librabbitmq 0.11 */
#define KEPT_SIZE       (64 << 20) /* given back and taken again in every case: the allocator need not trouble the kernel with it */
#define PROGRESS_FRAMES 10000000u
#define CLOCK_CASES     4096u /* between two looks at the clock */

static const struct {
    const char *name;
    bool (*run)(struct run *, uint64_t);
} kinds[] = {
    { "method", case_method },
    { "properties", case_properties },
    { "method", case_method },
    { "properties", case_properties },
    { "table", case_table },
    { "table", case_table },
    { "damaged method", case_hostile_method },
    { "damaged properties", case_hostile_properties },
    { "damaged table", case_hostile_table },
    { "frames", case_frames },
    { "stream", case_stream },
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static const char *const reason_texts[REASON_COUNT] = {
    [REASON_TRAILING] =
        "octets behind the last argument: librabbitmq ignores them; for lago the peer means something else (4.2.6)",
    [REASON_OVERRUN] = "an entry that reaches beyond the end of its table: librabbitmq reads on; for lago it is no table",
    [REASON_DEPTH] = "more than 32 tables in each other: librabbitmq has no limit, lago's stack has",
    [REASON_OLD_LETTER] = "the letter 'U': RabbitMQ and lago read it as 's', librabbitmq does not know it",
    [REASON_PROPERTY_FLAGS] = "property flags that basic does not have: librabbitmq skips them; lago cannot know their sizes",
    [REASON_ONLY_LAGO] = "connection.update-secret and -ok: younger than librabbitmq 0.11",
    [REASON_CLONE] = "amqp_table_clone takes no empty names (amqp_decode_table does); lago clones nothing",
    [REASON_FRAME_TYPE] = "a frame of an unknown type: librabbitmq skips it; for lago the stream is lost (4.2.3)",
    [REASON_SHORT] = "a payload without its number or fixed part: librabbitmq reads behind it, so it is not asked; lago refuses",
    [REASON_WEIGHT] = "a content header with a weight, or of a class without contents: librabbitmq takes it (4.2.6.1)",
};

/* ---------------------------------------------------------------- what the cases share */

uint8_t *exact_copy(struct run *run, const void *data, size_t size) {
    free(run->exact);
    run->exact = malloc(size > 0 ? size : 1);
    if (run->exact == NULL) {
        fputs("no memory\n", stderr);
        exit(2);
    }
    if (data != NULL && size > 0) memcpy(run->exact, data, size);
    return run->exact;
}

bool differ(struct run *run, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_addv(&run->why, format, args);
    va_end(args);
    text_add(&run->why, "; ");
    return false;
}

void show_octets(struct run *run, const char *whose, const void *data, size_t size) {
    if (run->shown[0].data != data) run->shown[1] = run->shown[0];
    run->shown[0].whose = whose;
    run->shown[0].data = data;
    run->shown[0].size = size;
}

int check_args(const struct method_info *info, const void *args) {
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->type != FIELD_TABLE || field->reserved) continue;
        int64_t count = lago_table_check((const void *)((const uint8_t *)args + field->offset));
        if (count < 0) return (int)count;
    }
    return 0;
}

/* ---------------------------------------------------------------- the lists of methods */

static bool same_type(const struct method_field *own, enum peer_type peer) {
    static const enum peer_type types[] = {
        [FIELD_BIT] = PEER_BIT,           [FIELD_OCTET] = PEER_OCTET,    [FIELD_SHORT] = PEER_SHORT,   [FIELD_LONG] = PEER_LONG,
        [FIELD_LONGLONG] = PEER_LONGLONG, [FIELD_SHORTSTR] = PEER_BYTES, [FIELD_LONGSTR] = PEER_BYTES, [FIELD_TABLE] = PEER_TABLE,
    };
    return types[own->type] == peer;
}

/* Reserved members have old names in librabbitmq, and it writes "nowait". */
static bool same_name(const struct method_field *own, const char *peer) {
    return own->reserved || strcmp(own->name, peer) == 0 || (strcmp(own->name, "no_wait") == 0 && strcmp(peer, "nowait") == 0);
}

static bool same_list(const struct method_info *info, const struct peer_method *peer) {
    if (info == NULL || info->field_count != peer_field_count(peer)) return false;
    if (info->content != (amqp_method_has_content(peer->id) != 0)) return false;
    for (size_t i = 0; i < info->field_count; i++) {
        if (!same_type(&info->fields[i], peer->fields[i].type) || !same_name(&info->fields[i], peer->fields[i].name))
            return false;
    }
    return true;
}

static bool same_methods(void) {
    bool same = true;
    size_t count = 0;
    for (const struct peer_method *peer; (peer = peer_at(count)) != NULL; count++) {
        if (same_list(method_find(peer->id), peer)) continue;
        printf("%s: not the same arguments in lago\n", peer->name);
        same = false;
    }
    printf("%zu methods in librabbitmq, %u in lago; only in lago:", count, METHOD_COUNT);
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method_info *info = method_at(i);
        if (peer_find(info->id) == NULL) printf(" %s", info->name);
        if ((peer_find(info->id) != NULL) != (amqp_method_name(info->id) != NULL)) same = false; /* peer.c has not all of them */
    }
    printf("\n");
    return same && count >= CHECKED_METHODS;
}

/* ---------------------------------------------------------------- running */

/* Where to begin, and when it is enough. */
struct limits {
    uint64_t first, cases, frames, seconds; /* seconds: 0 for no limit */
};

static bool run_case(struct run *run, uint64_t index, bool verbose) {
    run->index = index;
    run->verbose = verbose;
    memset(run->shown, 0, sizeof run->shown);
    text_init(&run->why, run->why_data, TEXT_SIZE);
    text_init(&run->own, run->own_data, TEXT_SIZE);
    text_init(&run->peer, run->peer_data, TEXT_SIZE);
    random_begin(&run->random, run->seed, index);
    recycle_amqp_pool(&run->pool);
    /* kinds that stand twice in the list count on */
    uint64_t slot = index % KIND_COUNT, turn = index / KIND_COUNT, number = turn;
    if (slot < 4) number = turn * 2 + slot / 2;
    if (slot == 4 || slot == 5) number = turn * 2 + slot - 4;
    return kinds[slot].run(run, number);
}

static void print_octets(const char *whose, const uint8_t *data, size_t size) {
    printf("  %s, %zu octets:\n    ", whose, size);
    for (size_t i = 0; i < size && i < SHOWN_OCTETS; i++) printf("%02x%s", data[i], i % 64 == 63 ? "\n    " : "");
    printf("\n");
}

static void report(struct run *run, uint64_t index) {
    if (run->failures++ >= FAILURES_SHOWN) return;
    run_case(run, index, true);
    printf("DIFFERENT: seed %" PRIu64 ", index %" PRIu64 " (%s): %s\n", run->seed, index, kinds[index % KIND_COUNT].name,
           run->why_data);
    printf("  lago        %s\n  librabbitmq %s\n", run->own_data, run->peer_data);
    for (size_t i = 0; i < 2; i++) {
        if (run->shown[i].data != NULL) print_octets(run->shown[i].whose, run->shown[i].data, run->shown[i].size);
    }
}

static void summary(const struct run *run, uint64_t cases) {
    printf("%" PRIu64 " cases: of the damaged %" PRIu64 " accepted and %" PRIu64 " refused by both; different with a reason:\n",
           cases, run->both_accept, run->both_refuse);
    for (size_t i = 0; i < REASON_COUNT; i++) printf("  %10" PRIu64 "  %s\n", run->reasons[i], reason_texts[i]);
    printf("differential: %" PRIu64 " frames, %" PRIu64 " different without a reason\n", run->frames, run->failures);
}

static bool begin(struct run *run) {
    mallopt(M_MMAP_THRESHOLD, KEPT_SIZE);
    mallopt(M_TRIM_THRESHOLD, KEPT_SIZE);
    random_init(&run->random);
    run->own_out = malloc(BUFFER_SIZE);
    run->peer_out = malloc(BUFFER_SIZE);
    init_amqp_pool(&run->pool, PEER_PAGE_SIZE);
    return run->own_out != NULL && run->peer_out != NULL;
}

static void end(struct run *run) {
    stream_close(run);
    empty_amqp_pool(&run->pool);
    random_free(&run->random);
    free(run->own_out);
    free(run->peer_out);
    free(run->exact);
}

/* @return how many cases there were. */
static uint64_t run_all(struct run *run, const struct limits *limits) {
    uint64_t done = 0, shown = PROGRESS_FRAMES;
    time_t last = time(NULL) + (time_t)limits->seconds;
    while (done < limits->cases && run->frames < limits->frames) {
        uint64_t index = limits->first + done++;
        if (!run_case(run, index, false)) report(run, index);
        if (run->frames >= shown) {
            printf("%" PRIu64 " frames, %" PRIu64 " different without a reason ...\n", run->frames, run->failures);
            shown += PROGRESS_FRAMES;
        }
        if (limits->seconds > 0 && done % CLOCK_CASES == 0 && time(NULL) >= last) break;
    }
    return done;
}

static uint64_t number_of(const char *text) {
    char *end;
    uint64_t v = strtoull(text, &end, 10);
    if (*text != '\0' && *end == '\0') return v;
    fprintf(stderr, "not a number: %s\n", text);
    exit(2);
}

static void read_options(int argc, char **argv, struct run *run, struct limits *limits) {
    for (int i = 1; i < argc; i++) {
        uint64_t *option = strcmp(argv[i], "--cases") == 0     ? &limits->cases
                           : strcmp(argv[i], "--count") == 0   ? &limits->frames
                           : strcmp(argv[i], "--seconds") == 0 ? &limits->seconds
                           : strcmp(argv[i], "--seed") == 0    ? &run->seed
                           : strcmp(argv[i], "--first") == 0   ? &limits->first
                                                               : NULL;
        run->plant = run->plant || strcmp(argv[i], "--plant") == 0;
        if (strcmp(argv[i], "--plant") == 0) continue;
        if (option == NULL || i + 1 == argc) {
            fprintf(stderr, "differential: what is %s? its options are at the top of differential.c\n", argv[i]);
            exit(2);
        }
        *option = number_of(argv[++i]);
    }
    if (limits->cases == 0) limits->cases = limits->frames ? UINT64_MAX : DEFAULT_CASES;
    if (limits->frames == 0) limits->frames = UINT64_MAX;
}

int main(int argc, char **argv) {
    static struct run run = { .seed = DEFAULT_SEED };
    struct limits limits = { 0 };
    read_options(argc, argv, &run, &limits);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("librabbitmq %s, seed %" PRIu64 "\n", amqp_version(), run.seed);
    bool same = same_methods();
    if (!begin(&run)) return 2;
    summary(&run, run_all(&run, &limits));
    end(&run);
    return same && run.failures == 0 ? 0 : 1;
}
