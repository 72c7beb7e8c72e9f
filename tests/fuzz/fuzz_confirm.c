/*
 * Publisher confirms (lib/client/confirms.c) beside a model that is too simple to be wrong: an array of what each publish became.
 *
 * Input: decisions: publish one or many, acks and nacks, single and multiple, returns, a publisher that goes, the end.
 */
#include "arena.h"
#include "confirms.h"
#include "fuzz.h"
#include <string.h>

enum {
    SINGLE,
    MULTIPLE,
    NACK_MULTIPLE,
    RETURNED,
    REFUSED_TWICE,
    REFUSED_FUTURE,
    REFUSED_ZERO,
    STRAGGLERS,
    GROWN,
    UNKNOWN,
    NOT_SENT,
    DETACHED,
    NO_MEMORY,
    EARLIER
};
const char *const fuzz_milestones[] = { "a single ack",
                                        "a multiple ack of ten",
                                        "a multiple nack",
                                        "a return of a mandatory publish, then its ack",
                                        "a second confirm refused",
                                        "a confirm of what was never published refused",
                                        "a single confirm for 0 refused",
                                        "stragglers set aside",
                                        "a ring that has grown",
                                        "an end with outcomes unknown",
                                        "an end with publishes not sent",
                                        "a publisher detached",
                                        "no memory",
                                        "publishes before confirm.select",
                                        NULL };

#define NUMBERS_MAX 2600u /* twice a ring that is large enough for stragglers */
#define OPS_MAX     200u

static struct arena arena;
static struct confirms c;
static struct model {
    bool settled, owed, mandatory, returned;
    unsigned char key, size, publisher;
} model[NUMBERS_MAX + 1]; /* by sequence number */
static uint64_t next_number, newest_returned;
static size_t unsettled;
static const char *const keys[] = { "red", "green", "" };
static char publishers[3];

static lago_string_t text(const char *s) { return (lago_string_t){ s, strlen(s) }; }

static struct lago_publisher *publisher_of(unsigned which) {
    return which ? (struct lago_publisher *)(void *)&publishers[which % 3] : NULL;
}

static void callback(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)result;
    (void)data;
}

static void publish(unsigned how) {
    struct model m = { .owed = how & 1,
                       .mandatory = how & 2,
                       .key = (unsigned char)(how >> 2 & 3) % 3,
                       .size = (unsigned char)(how >> 4 & 1),
                       .publisher = (unsigned char)(how >> 5 & 3) % 3 };
    if (next_number > NUMBERS_MAX) return;
    struct confirm_slot *slot = confirms_reserve(&c);
    if (!slot || (m.mandatory && !confirms_note_route(&c, slot, text("ex"), text(keys[m.key]), (lago_bytes_t){ "", 0 }))) {
        REQUIRE(arena.fail_at);
        REACH(NO_MEMORY);
        if (slot) confirms_abandon(&c);
        return;
    }
    slot->callback = m.owed ? callback : NULL;
    slot->data = &model[next_number];
    slot->publisher = publisher_of(m.publisher);
    slot->body_size = m.size;
    slot->owed = m.owed;
    REQUIRE(confirms_commit(&c) == next_number);
    model[next_number++] = m;
    unsettled++;
    REACH_IF(c.capacity > 512, GROWN);
    REACH_IF(c.straggler_count, STRAGGLERS);
}

/* All of a run must come, rising, nothing else. */
static unsigned expect(uint64_t from, uint64_t through, lago_publish_outcome_t outcome, uint64_t sent) {
    lago_publish_result_t result;
    struct confirm_slot slot;
    unsigned count = 0;
    for (uint64_t n = from; n <= through; n++) {
        struct model *m = &model[n];
        if (m->settled) continue;
        lago_publish_outcome_t wanted = outcome;
        if (outcome == LAGO_PUBLISH_UNKNOWN && n > sent) wanted = LAGO_PUBLISH_NOT_SENT;
        if (outcome == LAGO_PUBLISH_CONFIRMED && m->returned) wanted = LAGO_PUBLISH_RETURNED;
        REQUIRE(confirms_next(&c, &result, &slot));
        REQUIRE(result.sequence_number == n && result.outcome == wanted);
        REQUIRE(slot.owed == m->owed && slot.data == m && slot.publisher == publisher_of(m->publisher));
        REQUIRE(wanted != LAGO_PUBLISH_RETURNED || result.reply_code == 312);
        m->settled = true;
        unsettled--;
        count++;
        REACH_IF(wanted == LAGO_PUBLISH_RETURNED, RETURNED);
        REACH_IF(wanted == LAGO_PUBLISH_NOT_SENT, NOT_SENT);
        REACH_IF(wanted == LAGO_PUBLISH_UNKNOWN, UNKNOWN);
    }
    REQUIRE(!confirms_next(&c, &result, &slot));
    REQUIRE(c.unsettled == unsettled);
    return count;
}

static void settle(uint64_t tag, bool multiple, bool ack) {
    const char *problem = NULL;
    lago_publish_outcome_t outcome = ack ? LAGO_PUBLISH_CONFIRMED : LAGO_PUBLISH_NACKED;
    bool is_bad = tag >= next_number || (!multiple && (tag == 0 || model[tag].settled));
    int reply = confirms_settle(&c, tag, multiple, outcome, &problem);
    REQUIRE((reply != 0) == is_bad && (problem != NULL) == is_bad);
    REACH_IF(is_bad && tag >= next_number, REFUSED_FUTURE);
    REACH_IF(is_bad && tag == 0 && !multiple, REFUSED_ZERO);
    REACH_IF(is_bad && tag > 0 && tag < next_number, REFUSED_TWICE);
    if (is_bad) return;
    unsigned count = expect(multiple ? 1 : tag, multiple && tag == 0 ? next_number - 1 : tag, outcome, 0);
    REACH_IF(!multiple && ack, SINGLE);
    REACH_IF(multiple && ack && count >= 10, MULTIPLE);
    REACH_IF(multiple && !ack && count > 1, NACK_MULTIPLE);
}

/* From a number on; next_number if it is none of them. */
static uint64_t meant(uint64_t n, unsigned key, unsigned size) {
    while (n < next_number &&
           (model[n].settled || !model[n].mandatory || model[n].returned || model[n].key != key || model[n].size != size))
        n++;
    return n;
}

/* The oldest that it may be behind the newest that came back, else the oldest. */
static void give_back(unsigned how) {
    unsigned key = (how & 3) % 3, size = how >> 2 & 1;
    uint64_t n = meant(newest_returned + 1, key, size);
    size_t passed;
    if (n == next_number) n = meant(1, key, size);
    REQUIRE(confirms_returned(&c, text("ex"), text(keys[key]), size, 0, 312, &passed) == (n < next_number));
    if (n == next_number) return;
    model[n].returned = true;
    if (n > newest_returned) newest_returned = n;
}

static void detach(unsigned which) {
    size_t owed = 0;
    which = 1 + which % 2;
    for (uint64_t n = 1; n < next_number; n++) {
        if (model[n].settled || model[n].publisher != which) continue;
        owed += model[n].owed;
        model[n].owed = false;
        model[n].publisher = 0;
    }
    REQUIRE(confirms_detach(&c, publisher_of(which)) == owed);
    REACH_IF(owed, DETACHED);
}

static void count_owed(void) {
    size_t owed = 0;
    uint64_t oldest = 1;
    for (uint64_t n = 1; n < next_number; n++) owed += !model[n].settled && model[n].owed;
    while (oldest < next_number && model[oldest].settled) oldest++;
    REQUIRE(confirms_owed(&c) == owed && confirms_oldest(&c) == oldest);
}

static void step(struct decisions *d) {
    unsigned op = decide(d);
    uint64_t tag = decide(d);
    switch (op & 15) {
    case 0:
    case 1:
    case 2: publish((unsigned)tag); break;
    case 3:
        for (unsigned i = 0; i < 4 * tag; i++) publish(op >> 4);
        break;
    case 4:
    case 5: settle(confirms_oldest(&c) + tag % 8, false, op & 16); break;
    case 6: settle(confirms_oldest(&c) + tag, true, op & 16); break;
    case 7: settle(tag, false, op & 16); break;
    case 8: settle(next_number - 1 - tag, op & 32, op & 16); break;
    case 9: settle(0, op & 32, op & 16); break;
    case 10: give_back((unsigned)tag); break;
    case 11: detach((unsigned)tag); break;
    case 12: count_owed(); break;
    case 13: /* every one of a crowd, but a few */
        for (uint64_t n = confirms_oldest(&c), end = n + 8 * tag; n < end && n < next_number; n++)
            if (n % 64 && !model[n].settled) settle(n, false, true);
        break;
    case 14: settle(UINT64_MAX - tag, op & 32, op & 16); break;
    default: publish(op >> 4 | 2); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size < 3) return 0;
    struct decisions d = { data + 2, size - 2 };
    uint64_t earlier = data[0] & 1 ? data[1] : 0;
    next_number = 1;
    newest_returned = 0;
    unsettled = 0;
    confirms_init(&c, &arena.allocator);
    REQUIRE(confirms_settle(&c, 1, false, LAGO_PUBLISH_CONFIRMED, &(const char *){ NULL }) != 0);
    confirms_select(&c, earlier);
    REACH_IF(earlier, EARLIER);
    if (data[0] & 2) arena.fail_at = 1 + (data[0] >> 2);
    if (data[0] & 2) arena.fail_every = 3;
    for (unsigned ops = 0; d.left > 0 && ops < OPS_MAX; ops++) step(&d);
    count_owed();
    uint64_t sent = next_number / 2;
    confirms_end(&c, earlier + sent);
    (void)expect(1, next_number - 1, LAGO_PUBLISH_UNKNOWN, sent);
    confirms_clear(&c);
    arena_reset(&arena);
    return 0;
}
