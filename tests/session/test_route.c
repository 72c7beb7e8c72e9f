/* Publishes that are ready but for their bodies: byte for byte what session_publish says, whatever stands in the way. */
#include "internal.h"
#include "peer.h"

static const lago_properties_t rich = { .content_type = "text/plain",
                                        .delivery_mode = 2,
                                        .app_id = "",
                                        .present = LAGO_PROPERTY_APP_ID,
                                        .headers = { NULL, "\1nI\0\0\0\5", 7, 0 },
                                        .message_id = "m",
                                        .timestamp = 5 };

static const struct basic_publish args = { .exchange = { "x", LAGO_NUL_TERMINATED },
                                           .routing_key = { "a\0b", 3 },
                                           .mandatory = true };

static struct session_route *make(struct peer *p, uint16_t channel, const lago_properties_t *properties) {
    struct session_route *route;
    assert_int_equal(session_route_make(&p->session, channel, &args, properties, &route), 0);
    return route;
}

static int publish(struct peer *p, const struct session_route *route, const void *data, size_t size) {
    return session_publish_route(&p->session, route, (lago_bytes_t){ data, size }, NULL);
}

/* ---------------------------------------------------------------- the oracle */

#define CHANNELS 2u
#define BODY_MAX 9000u

/* Two sessions with the same life: one has prepared routes. */
struct pair {
    struct peer plain, prepared;
    struct session_route *routes[CHANNELS + 1];
    const lago_properties_t *properties;
    uint8_t body[BODY_MAX];
    struct dice dice;
    bool blocked, stopped;
    uint64_t tag;
};

static void pair_open(struct pair *t, uint64_t seed) {
    t->dice.state = seed;
    t->properties = dice_below(&t->dice, 2) ? &rich : NULL;
    pattern_fill(t->body, 0, sizeof(t->body));
    bool traced = dice_below(&t->dice, 4) == 0, early = dice_below(&t->dice, 2);
    uint32_t frame_max = dice_below(&t->dice, 2) ? 4096 : 131072;
    struct peer *both[] = { &t->plain, &t->prepared };
    for (int i = 0; i < 2; i++) {
        peer_init(both[i]);
        both[i]->tune.frame_max = frame_max;
        peer_bring(both[i], early ? SESSION_WAIT_OPEN : SESSION_OPEN);
        if (!traced) both[i]->session.settings.trace = NULL;
    }
    for (uint16_t n = 1; n <= CHANNELS; n++) t->routes[n] = make(&t->prepared, n, t->properties);
    if (!early) return;
    for (int i = 0; i < 2; i++) both[i]->stop = SESSION_ENDED;
}

static void pair_publish(struct pair *t) {
    static const size_t sizes[] = { 0, 1, 256, 256, 256, 2047, 2048, 2049, 4088, 4089, BODY_MAX };
    uint16_t channel = (uint16_t)(1 + dice_below(&t->dice, CHANNELS));
    size_t size =
        dice_below(&t->dice, 4) ? sizes[dice_below(&t->dice, sizeof(sizes) / sizeof(sizes[0]))] : dice_below(&t->dice, BODY_MAX);
    bool lent = dice_below(&t->dice, 8) == 0;
    struct block *blocks[2] = { NULL, NULL };
    for (int i = 0; lent && i < 2; i++)
        blocks[i] = block_lend(NULL, i ? t->prepared.session.alloc : t->plain.session.alloc, t->body, size, NULL, NULL);
    struct session_body body = { { t->body, size }, blocks[0] };
    assert_int_equal(session_publish(&t->plain.session, channel, &args, t->properties, &body), 0);
    assert_int_equal(session_publish_route(&t->prepared.session, t->routes[channel], body.bytes, blocks[1]), 0);
    block_unref(blocks[0]);
    block_unref(blocks[1]);
}

static void pair_say(struct pair *t, uint16_t channel, uint32_t method, const void *method_args) {
    peer_say_method(&t->plain, channel, method, method_args);
    peer_say_method(&t->prepared, channel, method, method_args);
}

static void pair_step(struct pair *t) {
    bool up = t->plain.session.state == SESSION_OPEN;
    size_t size = dice_below(&t->dice, 3000);
    switch (dice_below(&t->dice, 12)) {
    case 0:
        t->tag++;
        assert_true(session_ack(&t->plain.session, 1, t->tag, 0) >= 0);
        assert_true(session_ack(&t->prepared.session, 1, t->tag, 0) >= 0);
        break;
    case 1:
        if (up) pair_say(t, 0, t->blocked ? METHOD_CONNECTION_UNBLOCKED : METHOD_CONNECTION_BLOCKED, NULL);
        t->blocked ^= up;
        break;
    case 2:
        if (up) pair_say(t, 2, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = t->stopped });
        t->stopped ^= up;
        break;
    case 3:
        if (up) break;
        pair_say(t, 0, METHOD_CONNECTION_OPEN_OK, NULL);
        for (uint16_t n = 1; n <= CHANNELS; n++) pair_say(t, n, METHOD_CHANNEL_OPEN_OK, NULL);
        break;
    case 4:
    case 5:
        peer_write(&t->plain, size);
        peer_write(&t->prepared, size);
        break;
    default: pair_publish(t); break;
    }
    for (uint16_t n = 1; n <= CHANNELS; n++)
        assert_int_equal(session_publishes_sent(&t->plain.session, n), session_publishes_sent(&t->prepared.session, n));
    assert_int_equal(session_output_size(&t->plain.session), session_output_size(&t->prepared.session));
}

static void pair_close(struct pair *t) {
    peer_write_all(&t->plain);
    peer_write_all(&t->prepared);
    assert_int_equal(t->plain.wire.size, t->prepared.wire.size);
    assert_memory_equal(t->plain.wire.data, t->prepared.wire.data, t->plain.wire.size);
    assert_int_equal(t->plain.session.counters.frames_sent, t->prepared.session.counters.frames_sent);
    assert_int_equal(t->plain.trace.size, t->prepared.trace.size);
    for (uint16_t n = 1; n <= CHANNELS; n++) session_route_free(&t->prepared.session, t->routes[n]);
    peer_deinit(&t->plain);
    peer_deinit(&t->prepared);
}

static void the_same_bytes_as_a_plain_publish(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct pair *t = calloc(1, sizeof(*t));
        assert_non_null(t);
        pair_open(t, seed * 0x9e3779b97f4a7c15u);
        for (int i = 0; i < 120; i++) pair_step(t);
        pair_close(t);
        free(t);
    }
}

/* ---------------------------------------------------------------- how many have left */

#define PUBLISHES 400

/* Marks are shared by neighbours of one size: counted against the beginnings of all. */
static void every_publish_counts_when_its_first_byte_is_written(void **state) {
    (void)state;
    static const uint8_t data[3000];
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct peer p = { 0 };
        struct dice dice = { seed * 0x9e3779b97f4a7c15u };
        struct session_route *routes[3];
        uint64_t begins[PUBLISHES];
        uint16_t channels[PUBLISHES];
        peer_open(&p);
        p.session.settings.trace = NULL;
        for (uint16_t n = 1; n <= 2; n++) routes[n] = make(&p, n, NULL);
        for (size_t i = 0; i < PUBLISHES; i++) {
            uint16_t n = channels[i] = (uint16_t)(1 + (dice_below(&dice, 8) == 0));
            begins[i] = p.session.out.appended;
            assert_int_equal(publish(&p, routes[n], data, dice_below(&dice, 8) ? 16 : dice_below(&dice, sizeof(data))), 0);
            if (dice_below(&dice, 4) == 0) peer_write(&p, dice_below(&dice, 1000));
            if (dice_below(&dice, 16) == 0)
                assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_ACK, &(struct basic_ack){ 0 }), 0);
            uint64_t sent[3] = { 0 }, waiting[3] = { 0 };
            for (size_t k = 0; k <= i; k++) begins[k] < p.session.out.consumed ? sent[channels[k]]++ : waiting[channels[k]]++;
            for (n = 1; n <= 2; n++) {
                assert_int_equal(session_publishes_sent(&p.session, n), sent[n]);
                assert_int_equal(marks_count(&p.session, n), waiting[n]);
            }
        }
        for (uint16_t n = 1; n <= 2; n++) session_route_free(&p.session, routes[n]);
        peer_deinit(&p);
    }
}

/* What an earlier channel of that number has left in the queue is not the next one's, even if it is of the same size. */
static void a_number_that_is_used_again_counts_anew(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    p.session.settings.trace = NULL;
    struct session_route *route = make(&p, 1, NULL);
    for (int i = 0; i < 5; i++) assert_int_equal(publish(&p, route, "x", 1), 0);
    size_t size = p.session.out.size / 5;
    peer_write(&p, size + 1);
    assert_int_equal(session_publishes_sent(&p.session, 1), 2);
    session_channel_drop(&p.session, 1);
    assert_int_equal(session_publishes_sent(&p.session, 1), 0);
    assert_int_equal(session_channel_open(&p.session, NULL), 1);
    assert_int_equal(publish(&p, route, "x", 1), 0);
    assert_int_equal(marks_count(&p.session, 1), 1);
    peer_write(&p, 4 * size - 1);
    assert_int_equal(session_publishes_sent(&p.session, 1), 0);
    peer_write_all(&p);
    assert_int_equal(session_publishes_sent(&p.session, 1), 1);
    session_route_free(&p.session, route);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- limits and ends */

static void a_header_that_fits_this_link_but_not_the_next(void **state) {
    (void)state;
    struct peer p = { 0 };
    static char large[6000];
    lago_field_t field = LAGO_FIELD_STR("k", large);
    lago_properties_t properties = { .headers = { .fields = &field, .size = 1 } };
    struct session_route *route;
    memset(large, 'v', sizeof(large) - 1);
    peer_init(&p);
    p.tune.frame_max = 131072;
    peer_bring(&p, SESSION_WAIT_OPEN);
    assert_int_equal(session_route_make(&p.session, 1, &args, &properties, &route), LAGO_ETOOBIG);
    assert_null(route);
    peer_deinit(&p);
    peer_init(&p);
    p.tune.frame_max = 131072;
    peer_bring(&p, SESSION_OPEN);
    p.session.settings.trace = NULL;
    route = make(&p, 1, &properties);
    for (int i = 0; i < 2; i++) assert_int_equal(publish(&p, route, "x", 1), 0); /* the second finds room behind the first */
    size_t size = session_output_size(&p.session);
    p.session.tune.frame_max = 4096;
    assert_int_equal(publish(&p, route, "x", 1), LAGO_ETOOBIG);
    assert_int_equal(publish(&p, route, "x", 0), LAGO_ETOOBIG);
    assert_int_equal(session_output_size(&p.session), size);
    session_route_free(&p.session, route);
    peer_deinit(&p);
}

static void bad_arguments_make_no_route(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct session_route *route;
    static char name[257];
    memset(name, 'n', 256);
    struct basic_publish long_key = { .routing_key = { name, LAGO_NUL_TERMINATED } };
    lago_properties_t long_id = { .message_id = name }, foreign = { .present = 1 };
    lago_properties_t cut = { .headers = { NULL, "\1n", 2, 0 } };
    peer_open(&p);
    assert_int_equal(session_route_make(&p.session, 1, &long_key, NULL, &route), LAGO_ETOOLONG);
    assert_int_equal(session_route_make(&p.session, 1, &args, &long_id, &route), LAGO_ETOOLONG);
    assert_int_equal(session_route_make(&p.session, 1, &args, &foreign, &route), LAGO_EINVAL);
    assert_int_equal(session_route_make(&p.session, 1, &args, &cut, &route), LAGO_ETABLE);
    assert_null(route);
    peer_deinit(&p);
}

static void a_channel_that_is_gone(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    p.session.settings.trace = NULL;
    struct session_route *route = make(&p, 1, &rich);
    assert_int_equal(publish(&p, route, "x", 1), 0);
    session_channel_drop(&p.session, 1);
    assert_int_equal(publish(&p, route, "x", 1), LAGO_ECLOSED);
    session_abandon(&p.session, &(lago_reason_t){ .code = LAGO_ELOST });
    assert_int_equal(publish(&p, route, "x", 1), LAGO_ECLOSED);
    session_route_free(&p.session, route);
    session_route_free(&p.session, NULL);
    peer_deinit(&p);
}

/* What it was made with is at hand again, for messages that differ a little. */
static void the_properties_are_kept_in_the_frames(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    struct session_route *route = make(&p, 1, &rich);
    struct session_body body = { .bytes = { "x", 1 } };
    assert_int_equal(publish(&p, route, "x", 1), 0);
    assert_int_equal(session_publish(&p.session, 1, &args, session_route_properties(route), &body), 0);
    size_t half = p.session.out.size / 2;
    peer_write_all(&p);
    assert_memory_equal(p.wire.data + p.wire.size - 2 * half, p.wire.data + p.wire.size - half, half);
    session_route_free(&p.session, route);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- no memory */

/* The n-th allocation fails, or all from there on: what was accepted leaves, what was refused does not. */
static bool live_without(size_t n, bool from_then_on) {
    static const size_t sizes[] = { 10, 0, 3000, 256, 2048 };
    static const uint8_t data[3000];
    struct peer p = { 0 };
    size_t accepted = 0;
    struct session_route *route;
    peer_open(&p);
    p.session.settings.trace = NULL;
    fail_alloc_at(&p.memory, n, from_then_on);
    int made = session_route_make(&p.session, 1, &args, &rich, &route);
    for (size_t i = 0; made == 0 && i < 200; i++) accepted += publish(&p, route, data, sizes[i % 5]) == 0;
    bool hit = p.memory.calls >= n;
    if (made == 0 && !(hit && from_then_on)) assert_int_equal(accepted, hit ? 199 : 200);
    fail_alloc_at(&p.memory, 0, false);
    peer_write_all(&p);
    assert_int_equal(session_publishes_sent(&p.session, 1), accepted);
    session_route_free(&p.session, route);
    peer_deinit(&p);
    return hit;
}

/* An ack that cannot leave is not overtaken: the publish is refused, and both leave in their order when there is memory again. */
static void what_waits_before_it_stays_before_it(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    p.session.settings.trace = NULL;
    struct session_route *route = make(&p, 1, NULL);
    assert_int_equal(session_ack(&p.session, 1, 1, 2), 1);
    fail_alloc_at(&p.memory, 1, true);
    assert_int_equal(publish(&p, route, "x", 1), LAGO_ENOMEM);
    fail_alloc_at(&p.memory, 0, false);
    assert_int_equal(publish(&p, route, "x", 1), 0);
    const char *frames = peer_frames(&p);
    assert_true(strncmp(frames, "1 basic.ack delivery_tag=1\n1 basic.publish ", 42) == 0);
    assert_null(strstr(frames + 42, "basic."));
    session_route_free(&p.session, route);
    peer_deinit(&p);
}

static void each_failing_allocation_loses_nothing_else(void **state) {
    (void)state;
    for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
        size_t n = 1;
        while (live_without(n, from_then_on)) n++;
        assert_true(n > 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_as_a_plain_publish),
        cmocka_unit_test(every_publish_counts_when_its_first_byte_is_written),
        cmocka_unit_test(a_number_that_is_used_again_counts_anew),
        cmocka_unit_test(a_header_that_fits_this_link_but_not_the_next),
        cmocka_unit_test(bad_arguments_make_no_route),
        cmocka_unit_test(a_channel_that_is_gone),
        cmocka_unit_test(the_properties_are_kept_in_the_frames),
        cmocka_unit_test(what_waits_before_it_stays_before_it),
        cmocka_unit_test(each_failing_allocation_loses_nothing_else),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
