/*
 * lago's codec against librabbitmq's: what one writes the other reads, and what is damaged both refuse. Any difference without a
 * written reason is taken for a bug of lago's. Each case can be had again from its seed and index.
 *
 *   differential [--cases N] [--seed S] [--first INDEX]
 */
#include "run.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CASES   100000u /* all 2^14 property masks, each method some hundred times; a few seconds */
#define DEFAULT_SEED    1u      /* the same in CI each time: a change that breaks it is known at once */
#define FAILURES_SHOWN  10u
#define SHOWN_OCTETS    2048u
#define PEER_PAGE_SIZE  65536u
#define CHECKED_METHODS 64u /* of librabbitmq 0.11 */

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
    printf("%" PRIu64 " cases: %" PRIu64 " different; of the damaged %" PRIu64 " accepted and %" PRIu64 " refused by both\n",
           cases, run->failures, run->both_accept, run->both_refuse);
    for (size_t i = 0; i < REASON_COUNT; i++) printf("  %8" PRIu64 "  %s\n", run->reasons[i], reason_texts[i]);
}

static bool run_all(struct run *run, uint64_t first, uint64_t cases) {
    random_init(&run->random);
    run->own_out = malloc(BUFFER_SIZE);
    run->peer_out = malloc(BUFFER_SIZE);
    init_amqp_pool(&run->pool, PEER_PAGE_SIZE);
    bool ready = run->own_out != NULL && run->peer_out != NULL;
    for (uint64_t i = first; ready && i < first + cases; i++) {
        if (!run_case(run, i, false)) report(run, i);
    }
    empty_amqp_pool(&run->pool);
    random_free(&run->random);
    free(run->own_out);
    free(run->peer_out);
    free(run->exact);
    return ready && run->failures == 0;
}

static uint64_t number_of(const char *text) {
    char *end;
    uint64_t v = strtoull(text, &end, 10);
    if (*text != '\0' && *end == '\0') return v;
    fprintf(stderr, "not a number: %s\n", text);
    exit(2);
}

int main(int argc, char **argv) {
    static struct run run = { .seed = DEFAULT_SEED };
    uint64_t cases = DEFAULT_CASES, first = 0;
    for (int i = 1; i < argc; i += 2) {
        uint64_t *option = strcmp(argv[i], "--cases") == 0   ? &cases
                           : strcmp(argv[i], "--seed") == 0  ? &run.seed
                           : strcmp(argv[i], "--first") == 0 ? &first
                                                             : NULL;
        if (option == NULL || i + 1 == argc) {
            fprintf(stderr, "usage: %s [--cases N] [--seed S] [--first INDEX]\n", argv[0]);
            return 2;
        }
        *option = number_of(argv[i + 1]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("librabbitmq %s, seed %" PRIu64 "\n", amqp_version(), run.seed);
    bool same = same_methods();
    bool passed = run_all(&run, first, cases);
    summary(&run, cases);
    return same && passed ? 0 : 1;
}
