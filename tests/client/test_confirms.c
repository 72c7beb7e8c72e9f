/* Confirms: random lives against a model too simple to be wrong, every tag that a broker must not send, returns, ends, memory. */
#include "confirms.h"
#include "fail_alloc.h"
#include "method.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS      200
#define STEPS      5000
#define LONG_STEPS 30000 /* enough to set stragglers aside, again and again */
#define NUMBERS    (LONG_STEPS + 1)
#define BODY_SIZES 3u

static const char *const keys[] = { "red", "green", "blue" };

struct fixture {
    struct fail_alloc fail;
    struct confirms c;
};

static void setup(struct fixture *f, bool select) {
    fail_alloc_init(&f->fail);
    confirms_init(&f->c, &f->fail.allocator);
    if (select) confirms_select(&f->c, 0);
}

static void teardown(struct fixture *f) {
    confirms_clear(&f->c);
    fail_alloc_check(&f->fail);
}

static lago_string_t text(const char *s) { return (lago_string_t){ s, strlen(s) }; }

static void callback(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)result;
    (void)data;
}

static struct confirm_slot *prepare(struct confirms *c, bool mandatory, lago_string_t exchange, lago_string_t routing_key) {
    struct confirm_slot *slot = confirms_reserve(c);
    return slot && (!mandatory || confirms_note_route(c, slot, exchange, routing_key, (lago_bytes_t){ "", 0 })) ? slot : NULL;
}

static uint64_t publish(struct confirms *c, bool mandatory, const char *key, size_t body_size, lago_publish_cb told) {
    struct confirm_slot *slot = prepare(c, mandatory, text("ex"), text(key));
    assert_non_null(slot);
    slot->callback = told;
    slot->owed = told != NULL;
    slot->body_size = body_size;
    return confirms_commit(c);
}

static size_t passed;

static bool came_back(struct confirms *c, lago_string_t exchange, lago_string_t key, size_t size, uint32_t mark, uint16_t code) {
    return confirms_returned(c, exchange, key, size, mark, code, &passed);
}

static void publish_many(struct confirms *c, size_t count) {
    while (count--) (void)publish(c, false, "", 0, callback);
}

static int settle(struct confirms *c, uint64_t tag, bool multiple, lago_publish_outcome_t outcome) {
    const char *problem = (const char *)1;
    int reply = confirms_settle(c, tag, multiple, outcome, &problem);
    assert_int_equal(reply != 0, problem != NULL);
    return reply;
}

static void expect(struct confirms *c, uint64_t number, lago_publish_outcome_t outcome) {
    lago_publish_result_t result;
    struct confirm_slot slot = { 0 };
    assert_true(confirms_next(c, &result, &slot));
    assert_int_equal(result.sequence_number, number);
    assert_int_equal(result.outcome, outcome);
    assert_null(slot.route);
}

static void expect_nothing(struct confirms *c) {
    lago_publish_result_t result;
    struct confirm_slot slot;
    assert_false(confirms_next(c, &result, &slot));
}

/* ---------------------------------------------------------------- random lives */

/* What is known of one publish. */
struct known {
    bool mandatory, returned, settled;
    unsigned key;
    size_t body_size;
};

struct model {
    struct known numbers[NUMBERS];
    uint64_t next, newest_returned;
    size_t unsettled;
    uint32_t seed;
};

static uint32_t rnd(struct model *m, uint32_t below) {
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % below;
}

static void model_publish(struct model *m, struct confirms *c) {
    struct known *k = &m->numbers[m->next];
    *k = (struct known){ .mandatory = rnd(m, 3) == 0, .key = rnd(m, 3), .body_size = rnd(m, BODY_SIZES) };
    assert_int_equal(publish(c, k->mandatory, keys[k->key], k->body_size, callback), m->next);
    m->next++;
    m->unsettled++;
}

static void model_tell(struct model *m, struct confirms *c, uint64_t number, lago_publish_outcome_t outcome) {
    struct known *k = &m->numbers[number];
    bool returned = k->returned && outcome == LAGO_PUBLISH_CONFIRMED;
    expect(c, number, returned ? LAGO_PUBLISH_RETURNED : outcome);
    k->settled = true;
    m->unsettled--;
}

static void model_settle_one(struct model *m, struct confirms *c, uint64_t tag, bool multiple) {
    lago_publish_outcome_t outcome = rnd(m, 5) == 0 ? LAGO_PUBLISH_NACKED : LAGO_PUBLISH_CONFIRMED;
    bool bad = tag >= m->next || (!multiple && (tag == 0 || m->numbers[tag].settled));
    assert_int_equal(settle(c, tag, multiple, outcome), bad ? REPLY_COMMAND_INVALID : 0);
    if (!bad && !multiple) model_tell(m, c, tag, outcome);
    uint64_t through = tag ? tag : m->next - 1;
    for (uint64_t n = 1; !bad && multiple && n <= through; n++)
        if (!m->numbers[n].settled) model_tell(m, c, n, outcome);
    expect_nothing(c);
}

static void model_settle(struct model *m, struct confirms *c) {
    bool multiple = rnd(m, 4) == 0;
    model_settle_one(m, c, rnd(m, (uint32_t)m->next + 2), multiple);
}

static bool model_may_return(const struct known *k, unsigned key, size_t size) {
    return k->mandatory && !k->returned && !k->settled && k->key == key && k->body_size == size;
}

/* The first behind the newest that came back, else the first at all. */
static void model_return(struct model *m, struct confirms *c) {
    unsigned key = rnd(m, 3);
    size_t size = rnd(m, BODY_SIZES);
    uint64_t n = m->newest_returned + 1;
    while (n < m->next && !model_may_return(&m->numbers[n], key, size)) n++;
    if (n == m->next)
        for (n = 1; n < m->next && !model_may_return(&m->numbers[n], key, size);) n++;
    bool found = n < m->next;
    if (found) m->numbers[n].returned = true;
    if (found && n > m->newest_returned) m->newest_returned = n;
    assert_int_equal(came_back(c, text("ex"), text(keys[key]), size, 0, REPLY_NO_ROUTE), found);
}

static void model_end(struct model *m, struct confirms *c) {
    uint64_t sent = rnd(m, (uint32_t)m->next);
    assert_int_equal(confirms_owed(c), m->unsettled);
    confirms_end(c, sent);
    for (uint64_t n = 1; n < m->next; n++)
        if (!m->numbers[n].settled) model_tell(m, c, n, n <= sent ? LAGO_PUBLISH_UNKNOWN : LAGO_PUBLISH_NOT_SENT);
    expect_nothing(c);
    assert_int_equal(c->unsettled, 0);
}

static void random_lives_agree_with_a_model(void **state) {
    static struct model m;
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        struct fixture f;
        setup(&f, true);
        m = (struct model){ .next = 1, .seed = seed };
        for (unsigned i = 0; i < STEPS; i++) {
            uint32_t what = rnd(&m, 100);
            if (what < 55)
                model_publish(&m, &f.c);
            else if (what < 90)
                model_settle(&m, &f.c);
            else
                model_return(&m, &f.c);
            assert_int_equal(f.c.unsettled, m.unsettled);
        }
        model_end(&m, &f.c);
        teardown(&f);
    }
}

/* ---------------------------------------------------------------- stragglers */

/* Most are settled soon, one by one; a few stay for long, and are settled in any order, or by a `multiple`. */
static void model_step_with_stragglers(struct model *m, struct confirms *c, uint64_t *recent) {
    uint32_t what = rnd(m, 1000);
    model_publish(m, c);
    if (what < 20) model_return(m, c);
    if (what >= 990) model_settle_one(m, c, rnd(m, (uint32_t)m->next), false); /* any of them, or a second time */
    if (what == 500) model_settle_one(m, c, 1 + rnd(m, (uint32_t)*recent), rnd(m, 4) == 0);
    for (; *recent + rnd(m, 40) < m->next; ++*recent)
        if (*recent % 50 && !m->numbers[*recent].settled) model_settle_one(m, c, *recent, false);
}

static void those_that_stay_long_agree_with_the_model(void **state) {
    static struct model m;
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct fixture f;
        uint64_t recent = 1;
        bool aside = false;
        setup(&f, true);
        m = (struct model){ .next = 1, .seed = seed };
        for (unsigned i = 0; i < LONG_STEPS; i++) {
            model_step_with_stragglers(&m, &f.c, &recent);
            aside = aside || f.c.straggler_count > 0;
            assert_int_equal(f.c.unsettled, m.unsettled);
        }
        assert_true(aside);
        assert_true(f.c.capacity <= 4096);
        model_end(&m, &f.c);
        teardown(&f);
    }
}

/* Its queue is stuck, all the others go on for ever. */
static void one_that_stays_costs_no_memory(void **state) {
    lago_publish_result_t result;
    struct confirm_slot slot = { 0 };
    struct fixture f;
    (void)state;
    setup(&f, true);
    assert_int_equal(publish(&f.c, true, "k", 7, callback), 1);
    for (uint64_t n = 2; n <= 100000; n++) {
        assert_int_equal(publish(&f.c, false, "", 0, callback), n);
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    assert_int_equal(f.c.capacity, 1024);
    assert_int_equal(confirms_oldest(&f.c), 1);
    assert_int_equal(confirms_owed(&f.c), 1);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_true(came_back(&f.c, text("ex"), text("k"), 7, 0, REPLY_NO_ROUTE));
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), 0);
    assert_true(confirms_next(&f.c, &result, &slot));
    assert_true(result.sequence_number == 1 && result.outcome == LAGO_PUBLISH_RETURNED && slot.callback == callback);
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_int_equal(confirms_oldest(&f.c), f.c.next);
    assert_int_equal(f.fail.live_count, 2); /* the ring and the route */
    teardown(&f);
}

/* When the last of them is told nothing is left of them; the next one begins anew. */
static void one_after_the_other_may_stay(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (uint64_t stays = 1; stays < 10000; stays += 3000) {
        for (uint64_t n = stays; n < stays + 3000; n++) {
            assert_int_equal(publish(&f.c, false, "", 0, callback), n);
            if (n == stays) continue;
            assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
            expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
        }
        assert_int_equal(f.c.straggler_count, 1);
        assert_int_equal(settle(&f.c, stays, false, LAGO_PUBLISH_NACKED), 0);
        expect(&f.c, stays, LAGO_PUBLISH_NACKED);
        assert_int_equal(f.c.straggler_count, 0);
    }
    assert_int_equal(f.fail.live_count, 1); /* the ring */
    teardown(&f);
}

/* More than half a ring of them: then it grows, or who asks for one of them would walk through all. */
static void those_set_aside_have_a_limit(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (uint64_t n = 1; n <= 20000; n++) {
        (void)publish(&f.c, false, "", 0, callback);
        if (n % 10 == 0) continue;
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    assert_true(f.c.capacity == 4096 && f.c.unsettled == 2000);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0);
    for (uint64_t n = 10; n <= 20000; n += 10) expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    expect_nothing(&f.c);
    teardown(&f);
}

/* What is published while a run is told may set aside what the run has not reached yet. */
static void a_run_goes_on_through_those_set_aside(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 1024);
    for (uint64_t n = 1; n <= 1024; n++) {
        if (n == 3 || n == 5 || n == 900) continue;
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    assert_int_equal(settle(&f.c, 1000, true, LAGO_PUBLISH_NACKED), 0);
    expect(&f.c, 3, LAGO_PUBLISH_NACKED);
    publish_many(&f.c, 200);
    publish_many(&f.c, 2000);
    expect(&f.c, 5, LAGO_PUBLISH_NACKED);
    expect(&f.c, 900, LAGO_PUBLISH_NACKED);
    expect_nothing(&f.c);
    assert_int_equal(f.c.unsettled, 2200);
    teardown(&f);
}

static void nobodys_stay_long_too(void **state) {
    struct fixture f;
    struct lago_publisher *publisher = (struct lago_publisher *)(void *)&f; /* only compared */
    (void)state;
    setup(&f, true);
    for (uint64_t n = 1; n <= 5000; n++) {
        assert_int_equal(publish(&f.c, false, "", 0, callback), n);
        f.c.slots[n & (f.c.capacity - 1)].publisher = n % 2 ? publisher : NULL;
        if (n % 100 < 2) continue;
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    assert_true(f.c.straggler_count > 0);
    assert_int_equal(confirms_owed(&f.c), 100);
    assert_int_equal(confirms_detach(&f.c, publisher), 50);
    assert_int_equal(confirms_detach(&f.c, publisher), 0);
    assert_int_equal(confirms_owed(&f.c), 50);
    confirms_end(&f.c, 200);
    for (uint64_t n = 1; n <= 5000; n++)
        if (n % 100 < 2) expect(&f.c, n, n <= 200 ? LAGO_PUBLISH_UNKNOWN : LAGO_PUBLISH_NOT_SENT);
    expect_nothing(&f.c);
    teardown(&f);
}

/* ---------------------------------------------------------------- tags that a broker must not send */

static void every_bad_tag_has_a_problem(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID); /* before any publish */
    publish_many(&f.c, 3);
    assert_int_equal(settle(&f.c, 0, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_int_equal(settle(&f.c, 4, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_int_equal(settle(&f.c, 4, true, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_NACKED), 0);
    expect(&f.c, 2, LAGO_PUBLISH_NACKED);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID); /* twice, inside the ring */
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID); /* twice, out of the ring */
    expect_nothing(&f.c);
    assert_int_equal(f.c.unsettled, 1);
    teardown(&f);
}

static void confirms_that_nobody_selected_are_a_problem(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, false);
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
    teardown(&f);
}

/* A walk from 1 to 2^64-1 would not end in this test's life. */
static void the_largest_tag_costs_no_walk(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 100);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(settle(&f.c, UINT64_MAX - i, i % 2, LAGO_PUBLISH_CONFIRMED), REPLY_COMMAND_INVALID);
        expect_nothing(&f.c);
    }
    assert_int_equal(f.c.unsettled, 100);
    teardown(&f);
}

static void a_multiple_of_what_is_settled_settles_nothing(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0); /* "all so far" of nothing */
    expect_nothing(&f.c);
    publish_many(&f.c, 2);
    assert_int_equal(settle(&f.c, 1, true, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
    expect_nothing(&f.c);
    assert_int_equal(settle(&f.c, 1, true, LAGO_PUBLISH_CONFIRMED), 0);
    expect_nothing(&f.c);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_NACKED), 0);
    expect(&f.c, 2, LAGO_PUBLISH_NACKED);
    expect_nothing(&f.c);
    teardown(&f);
}

/* And what was settled before its turn leaves with it. */
static void the_oldest_is_never_one_that_was_told(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 4);
    assert_int_equal(settle(&f.c, 3, false, LAGO_PUBLISH_NACKED), 0);
    expect(&f.c, 3, LAGO_PUBLISH_NACKED);
    assert_int_equal(confirms_oldest(&f.c), 1);
    assert_int_equal(settle(&f.c, 2, true, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
    expect(&f.c, 2, LAGO_PUBLISH_CONFIRMED);
    expect_nothing(&f.c);
    assert_int_equal(confirms_oldest(&f.c), 4);
    teardown(&f);
}

/* What is published while a run is told belongs to a later one. */
static void a_run_ends_where_it_was_said_to_end(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 2);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
    publish_many(&f.c, 200); /* the ring grows in the middle of it */
    expect(&f.c, 2, LAGO_PUBLISH_CONFIRMED);
    expect_nothing(&f.c);
    assert_int_equal(f.c.unsettled, 200);
    teardown(&f);
}

/* ---------------------------------------------------------------- returns */

static void a_return_belongs_to_the_oldest_equal_publish(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    (void)publish(&f.c, false, "k", 5, callback); /* 1: not mandatory */
    (void)publish(&f.c, true, "other", 5, callback);
    (void)publish(&f.c, true, "k", 6, callback); /* 3: another size */
    (void)publish(&f.c, true, "k", 5, callback);
    (void)publish(&f.c, true, "k", 5, callback);
    assert_true(came_back(&f.c, text("ex"), text("k"), 5, 0, REPLY_NO_ROUTE));
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0);
    for (uint64_t n = 1; n <= 5; n++) expect(&f.c, n, n == 4 ? LAGO_PUBLISH_RETURNED : LAGO_PUBLISH_CONFIRMED);
    assert_false(came_back(&f.c, text("ex"), text("k"), 5, 0, REPLY_NO_ROUTE)); /* 5 was settled */
    teardown(&f);
}

/* A broker gives back in the order of the publishes, so what one passes no other looks at again. */
static void returns_in_order_pass_nothing(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (unsigned i = 0; i < 3000; i++) (void)publish(&f.c, true, i % 3 == 2 ? "k" : "routed", i, callback);
    for (unsigned i = 2; i < 3000; i += 3) {
        assert_true(came_back(&f.c, text("ex"), text("k"), i, 0, REPLY_NO_ROUTE));
        assert_int_equal(passed, 0);
    }
    teardown(&f);
}

/* Out of order it means the oldest all the same; how many were passed for it is told, and of one that means none as well. */
static void a_return_out_of_order_is_found(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (unsigned i = 0; i < 100; i++) (void)publish(&f.c, true, "k", i, callback);
    assert_true(came_back(&f.c, text("ex"), text("k"), 90, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 0);
    assert_true(came_back(&f.c, text("ex"), text("k"), 10, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 9 + 10); /* behind the newest, and before it */
    assert_true(came_back(&f.c, text("ex"), text("k"), 91, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 0); /* the newest is still the newest */
    assert_false(came_back(&f.c, text("ex"), text("none"), 5, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 100);
    assert_int_equal(settle(&f.c, 100, true, LAGO_PUBLISH_CONFIRMED), 0);
    for (uint64_t n = 1; n <= 100; n++)
        expect(&f.c, n, n == 91 || n == 11 || n == 92 ? LAGO_PUBLISH_RETURNED : LAGO_PUBLISH_CONFIRMED);
    teardown(&f);
}

/* The newest that came back is one of those set aside, and so are some behind it. */
static void returns_among_those_set_aside(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (uint64_t n = 1; n <= 1024; n++) {
        (void)publish(&f.c, true, "k", (size_t)n, callback);
        if (n == 100 || n == 200 || n == 300 || n > 1000) continue;
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    publish_many(&f.c, 200); /* there is no room: the older half goes */
    assert_int_equal(f.c.straggler_count, 3);
    assert_true(came_back(&f.c, text("ex"), text("k"), 200, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 0);
    assert_false(came_back(&f.c, text("ex"), text("none"), 200, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 1 + 224 + 2); /* 300, and from 1001 to 1224; then the other two */
    assert_true(came_back(&f.c, text("ex"), text("k"), 100, 0, REPLY_NO_ROUTE));
    assert_true(came_back(&f.c, text("ex"), text("k"), 300, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 0);
    assert_false(came_back(&f.c, text("ex"), text("k"), 200, 0, REPLY_NO_ROUTE));
    assert_true(came_back(&f.c, text("ex"), text("k"), 1010, 0, REPLY_NO_ROUTE));
    assert_int_equal(passed, 0);
    teardown(&f);
}

/* "ab" + "c" and "a" + "bc" are different routes. */
static void a_route_is_exchange_and_key(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    assert_non_null(prepare(&f.c, true, text("ab"), text("c")));
    (void)confirms_commit(&f.c);
    assert_false(came_back(&f.c, text("a"), text("bc"), 0, 0, REPLY_NO_ROUTE));
    assert_false(came_back(&f.c, text(""), text("abc"), 0, 0, REPLY_NO_ROUTE));
    assert_true(came_back(&f.c, text("ab"), text("c"), 0, 0, REPLY_NO_ROUTE));
    assert_false(came_back(&f.c, text("ab"), text("c"), 0, 0, REPLY_NO_ROUTE));
    teardown(&f);
}

/* The first is in a queue and not confirmed yet, the second comes back: equal but for their bodies. */
static void a_return_is_known_by_its_body(void **state) {
    (void)state;
    static uint8_t first[2000], second[2000];
    for (size_t size = 1; size <= sizeof(first); size += size < 600 ? 1 : 100) {
        memset(second, 0, sizeof(second));
        second[size - 1] = 1;
        struct fixture f;
        setup(&f, true);
        for (int i = 0; i < 2; i++) {
            uint64_t number = publish(&f.c, true, "k", size, callback);
            f.c.slots[number & (f.c.capacity - 1)].body_mark = confirms_mark((lago_bytes_t){ i ? second : first, size });
        }
        uint32_t mark = confirms_mark((lago_bytes_t){ second, size });
        assert_true(came_back(&f.c, text("ex"), text("k"), size, mark, REPLY_NO_ROUTE));
        assert_int_equal(settle(&f.c, 2, true, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
        expect(&f.c, 2, LAGO_PUBLISH_RETURNED);
        teardown(&f);
    }
}

static void a_returned_publish_says_why(void **state) {
    lago_publish_result_t result;
    struct confirm_slot slot;
    struct fixture f;
    (void)state;
    setup(&f, true);
    (void)publish(&f.c, true, "k", 0, callback);
    (void)publish(&f.c, true, "k", 0, callback);
    assert_true(came_back(&f.c, text("ex"), text("k"), 0, 0, 313));
    assert_true(came_back(&f.c, text("ex"), text("k"), 0, 0, 312));
    assert_int_equal(settle(&f.c, 1, false, LAGO_PUBLISH_CONFIRMED), 0);
    assert_true(confirms_next(&f.c, &result, &slot));
    assert_int_equal(result.outcome, LAGO_PUBLISH_RETURNED);
    assert_int_equal(result.reply_code, 313);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_NACKED), 0); /* the nack is the later word */
    assert_true(confirms_next(&f.c, &result, &slot));
    assert_int_equal(result.outcome, LAGO_PUBLISH_NACKED);
    assert_int_equal(result.reply_code, 0);
    teardown(&f);
}

/* ---------------------------------------------------------------- ends */

static void an_end_tells_what_left_from_what_did_not(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, false);
    confirms_select(&f.c, 10); /* ten publishes were unconfirmed */
    confirms_select(&f.c, 99); /* a second one changes nothing */
    publish_many(&f.c, 4);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 2, LAGO_PUBLISH_CONFIRMED);
    confirms_end(&f.c, 13);
    expect(&f.c, 1, LAGO_PUBLISH_UNKNOWN);
    expect(&f.c, 3, LAGO_PUBLISH_UNKNOWN);
    expect(&f.c, 4, LAGO_PUBLISH_NOT_SENT);
    expect_nothing(&f.c);
    teardown(&f);
}

static void an_end_before_anything_left(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, false);
    confirms_select(&f.c, 10);
    publish_many(&f.c, 1);
    confirms_end(&f.c, 7); /* not even all that came before confirm.select */
    expect(&f.c, 1, LAGO_PUBLISH_NOT_SENT);
    expect_nothing(&f.c);
    teardown(&f);
}

/* A confirm came, its callback was not called yet: it is still owed. */
static void what_is_settled_and_not_told_is_owed(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 2);
    (void)publish(&f.c, false, "", 0, NULL);
    assert_int_equal(confirms_owed(&f.c), 2);
    assert_int_equal(settle(&f.c, 2, false, LAGO_PUBLISH_CONFIRMED), 0);
    assert_int_equal(confirms_owed(&f.c), 2);
    expect(&f.c, 2, LAGO_PUBLISH_CONFIRMED);
    assert_int_equal(confirms_owed(&f.c), 1);
    teardown(&f);
}

/* ---------------------------------------------------------------- memory */

static void publishes_of_one_route_share_it(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    for (unsigned i = 0; i < 64; i++) (void)publish(&f.c, true, "k", 0, callback);
    size_t calls = f.fail.calls;
    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(settle(&f.c, i + 1, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, i + 1, LAGO_PUBLISH_CONFIRMED);
        (void)publish(&f.c, true, "k", 0, callback);
    }
    assert_int_equal(f.fail.calls, calls);
    assert_int_equal(f.fail.live_count, 2); /* the ring and the route */
    teardown(&f);
}

static void a_publish_that_was_given_up_leaves_nothing(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    (void)publish(&f.c, true, "k", 0, callback);
    for (unsigned i = 0; i < 200; i++) {
        assert_non_null(prepare(&f.c, true, text("ex"), text(keys[i % 3])));
        confirms_abandon(&f.c);
    }
    assert_int_equal(f.c.next, 2);
    assert_int_equal(f.c.unsettled, 1);
    assert_false(came_back(&f.c, text("ex"), text("red"), 0, 0, REPLY_NO_ROUTE));
    teardown(&f);
}

static void without_memory_no_number_is_taken(void **state) {
    struct fixture f;
    (void)state;
    for (size_t at = 1; at <= 2; at++) { /* the ring, the route */
        setup(&f, true);
        fail_alloc_at(&f.fail, at, false);
        assert_null(prepare(&f.c, true, text("ex"), text("k")));
        assert_int_equal(f.c.next, 1);
        assert_int_equal(publish(&f.c, true, "k", 0, callback), 1);
        publish_many(&f.c, 63);
        fail_alloc_at(&f.fail, 1, true);
        assert_null(prepare(&f.c, false, text(""), text(""))); /* the ring is full */
        fail_alloc_at(&f.fail, 0, false);
        assert_int_equal(publish(&f.c, false, "", 0, callback), 65);
        assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0);
        for (uint64_t n = 1; n <= 65; n++) expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
        teardown(&f);
    }
}

/* Nothing can be set aside: then the ring grows, or the publish is refused; nothing is lost. */
static void without_memory_for_stragglers(void **state) {
    struct fixture f;
    (void)state;
    setup(&f, true);
    publish_many(&f.c, 1024);
    for (uint64_t n = 2; n <= 1024; n++) {
        assert_int_equal(settle(&f.c, n, false, LAGO_PUBLISH_CONFIRMED), 0);
        expect(&f.c, n, LAGO_PUBLISH_CONFIRMED);
    }
    fail_alloc_at(&f.fail, 1, true);
    assert_null(prepare(&f.c, false, text(""), text("")));
    fail_alloc_at(&f.fail, 1, false);
    publish_many(&f.c, 1);
    assert_int_equal(f.c.capacity, 2048);
    fail_alloc_at(&f.fail, 0, false);
    assert_int_equal(settle(&f.c, 0, true, LAGO_PUBLISH_CONFIRMED), 0);
    expect(&f.c, 1, LAGO_PUBLISH_CONFIRMED);
    expect(&f.c, 1025, LAGO_PUBLISH_CONFIRMED);
    expect_nothing(&f.c);
    teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives_agree_with_a_model),
        cmocka_unit_test(those_that_stay_long_agree_with_the_model),
        cmocka_unit_test(one_that_stays_costs_no_memory),
        cmocka_unit_test(one_after_the_other_may_stay),
        cmocka_unit_test(those_set_aside_have_a_limit),
        cmocka_unit_test(a_run_goes_on_through_those_set_aside),
        cmocka_unit_test(nobodys_stay_long_too),
        cmocka_unit_test(every_bad_tag_has_a_problem),
        cmocka_unit_test(confirms_that_nobody_selected_are_a_problem),
        cmocka_unit_test(the_largest_tag_costs_no_walk),
        cmocka_unit_test(a_multiple_of_what_is_settled_settles_nothing),
        cmocka_unit_test(the_oldest_is_never_one_that_was_told),
        cmocka_unit_test(a_run_ends_where_it_was_said_to_end),
        cmocka_unit_test(a_return_belongs_to_the_oldest_equal_publish),
        cmocka_unit_test(returns_in_order_pass_nothing),
        cmocka_unit_test(a_return_out_of_order_is_found),
        cmocka_unit_test(returns_among_those_set_aside),
        cmocka_unit_test(a_route_is_exchange_and_key),
        cmocka_unit_test(a_return_is_known_by_its_body),
        cmocka_unit_test(a_returned_publish_says_why),
        cmocka_unit_test(an_end_tells_what_left_from_what_did_not),
        cmocka_unit_test(an_end_before_anything_left),
        cmocka_unit_test(what_is_settled_and_not_told_is_owed),
        cmocka_unit_test(publishes_of_one_route_share_it),
        cmocka_unit_test(a_publish_that_was_given_up_leaves_nothing),
        cmocka_unit_test(without_memory_no_number_is_taken),
        cmocka_unit_test(without_memory_for_stragglers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
