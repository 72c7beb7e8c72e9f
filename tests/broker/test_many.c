/*
 * Churn: connections and channels come and go on one loop, and nothing stays behind. How many: LAGO_CHURN_CONNECTIONS and
 * LAGO_CHURN_CHANNELS; tests/broker/churn runs very many.
 */
#include "fixture.h"
#include <dirent.h>

#define TENTHS 10u
#define WINDOW 50u   /* channels that are open at a time */
#define LEG    1000u /* channels to wait for in one go */

static size_t configured(const char *name, size_t otherwise) {
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, 10) : otherwise;
}

static size_t open_descriptors(void) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

/* What the context keeps for its connections' next work comes and goes; a leak is one of each connection or channel, hundreds. */
#define SPARE_SIZE  (8u * 1024)
#define SPARE_COUNT 8u

/* After each tenth as much must live as after the first. */
struct balance {
    size_t bytes, blocks, descriptors;
};

static void balanced(struct fixture *f, struct balance *balance, size_t tenth) {
    struct balance now = { f->alloc.live_bytes, f->alloc.live_count, open_descriptors() };
    if (tenth == 0) *balance = now;
    assert_in_range(now.bytes, 0, balance->bytes + SPARE_SIZE);
    assert_in_range(now.blocks, 0, balance->blocks + SPARE_COUNT);
    assert_int_equal(now.descriptors, balance->descriptors);
}

static void connections_come_and_go(void **state) {
    struct fixture *f = *state;
    size_t per_tenth = configured("LAGO_CHURN_CONNECTIONS", 2000) / TENTHS;
    struct balance balance;
    for (size_t tenth = 0; tenth < TENTHS; tenth++) {
        for (size_t i = 0; i < per_tenth; i++) {
            connect_and_wait(f);
            assert_int_equal(lago_connection_close(f->conn, NULL), 0);
            run_until(f, f->closed);
            forget_events(f);
            lago_connection_free(f->conn);
            f->conn = NULL;
        }
        balanced(f, &balance, tenth);
    }
}

struct churn {
    size_t opened, closed, wanted;
};

static void open_next(lago_connection_t *conn, struct churn *churn);

static void on_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)data;
    assert_null(reason);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
}

static void on_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct churn *churn = data;
    lago_connection_t *conn = lago_channel_connection(ch);
    assert_int_equal(reason->code, LAGO_ECLOSED);
    assert_int_equal(reason->origin, LAGO_BY_CLIENT);
    churn->closed++;
    lago_channel_free(ch);
    open_next(conn, churn);
}

static void open_next(lago_connection_t *conn, struct churn *churn) {
    lago_channel_options_t options = { .on_open = on_open, .on_close = on_close, .data = churn };
    lago_channel_t *ch;
    if (churn->opened == churn->wanted) return;
    churn->opened++;
    assert_int_equal(lago_channel_open(conn, &options, &ch), 0);
    assert_in_range(lago_channel_number(ch), 1, WINDOW + 1); /* numbers are used again */
}

static void channels_come_and_go(void **state) {
    struct fixture *f = *state;
    size_t per_tenth = configured("LAGO_CHURN_CHANNELS", 20000) / TENTHS;
    struct balance balance;
    lago_channel_free(f->ch);
    for (size_t tenth = 0; tenth < TENTHS; tenth++) {
        struct churn churn = { .wanted = per_tenth };
        for (size_t i = 0; i < WINDOW; i++) open_next(f->conn, &churn);
        for (size_t until = 0; until < churn.wanted;) { /* the fixture's patience is for each leg, not for a million channels */
            until = until + LEG < churn.wanted ? until + LEG : churn.wanted;
            run_until(f, churn.closed >= until);
        }
        while (lago_connection_output_size(f->conn) > 0) run_once(f, __FILE__, __LINE__);
        run_until(f, uv_run(&f->loop, UV_RUN_NOWAIT) >= 0);
        balanced(f, &balance, tenth);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connections_come_and_go, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(channels_come_and_go, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
