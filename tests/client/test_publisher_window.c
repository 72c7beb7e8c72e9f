/* Publishers: the window, the output, and the promise of on_ready. */
#include "publisher_case.h"
#include <stdio.h>

static void it_opens_again_at_half(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 4;
    publisher = make(&options);
    for (int i = 1; i <= 4; i++) assert_int_equal(publish(publisher, "x", NULL), i);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN); /* two refusals are one promise */
    assert_int_equal(lago_channel_error(ch), 0);
    server_send(&t->v, "1 basic.ack delivery_tag=2");
    assert_int_equal(lago_publisher_room(publisher), 1);
    assert_journal(t, "");
    server_send(&t->v, "1 basic.nack delivery_tag=1");
    assert_journal(t, "p ready 2");
    server_send(&t->v, "1 basic.ack delivery_tag=4 multiple=1");
    assert_journal(t, ""); /* nobody was refused since */
    assert_int_equal(lago_publisher_unconfirmed_count(publisher), 0);
    client_end(t);
}

static void without_a_promise_nobody_is_called(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 1;
    options.on_ready = NULL;
    publisher = make(&options);
    assert_int_equal(publish(publisher, "x", NULL), 1);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_journal(t, "");
    assert_int_equal(publish(publisher, "x", NULL), 2);
    client_end(t);
}

static void refill(lago_publisher_t *p, void *data) {
    (void)data;
    note(t, "refill");
    while (publish(p, "x", NULL) > 0) continue;
}

static void on_ready_may_go_on(void **state) {
    (void)state;
    open_channel();
    publisher = make(&(lago_publisher_options_t){ .routing_key = "p", .window_count = 10, .on_ready = refill });
    refill(publisher, NULL);
    assert_int_equal(lago_channel_unconfirmed_count(ch), 10);
    for (int round = 1; round <= 5; round++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "1 basic.ack delivery_tag=%d multiple=1", round * 10);
        journal_clear(t);
        server_send(&t->v, line);
        assert_journal(t, "refill");
        assert_int_equal(lago_publisher_unconfirmed_count(publisher), 10);
    }
    client_end(t);
}

static void open_with_marks(size_t high_water, size_t low_water) {
    open_channel_with(
        &(lago_parameters_t){ .high_water = high_water, .low_water = low_water, .heartbeat_s = LAGO_HEARTBEAT_OFF });
}

static void above_high_water_it_waits_for_low_water(void **state) {
    (void)state;
    static char body[2000];
    open_with_marks(10000, 1000);
    publisher = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "p") });
    virtual_take(&t->v, 0);
    int64_t n = 0;
    while ((n = lago_publisher_publish(publisher, (lago_bytes_t){ body, sizeof(body) }, NULL)) > 0) continue;
    assert_int_equal(n, LAGO_EAGAIN);
    assert_int_equal(lago_publisher_room(publisher), 0);
    virtual_take(&t->v, 5000);
    virtual_run(&t->v);
    assert_journal(t, "");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain; p ready 5");
    client_end(t);
}

static void both_the_window_and_the_output_must_open(void **state) {
    (void)state;
    static char body[2000];
    open_with_marks(10000, 1000);
    publisher = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "p"), .window_count = 2 });
    assert_int_equal(publish(publisher, "x", NULL), 1);
    assert_int_equal(publish(publisher, "x", NULL), 2);
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    lago_basic_publish_t other = { .body = { body, sizeof(body) } };
    while (lago_basic_publish(ch, &other, NULL, NULL) > 0) continue;
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN); /* for both reasons */
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain; p ready 0");
    /* the other way round */
    assert_int_equal(publish(publisher, "x", NULL), 8);
    assert_int_equal(publish(publisher, "x", NULL), 9);
    virtual_take(&t->v, 0);
    while (lago_basic_publish(ch, &other, NULL, NULL) > 0) continue;
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    server_send(&t->v, "1 basic.ack delivery_tag=8 multiple=1");
    assert_journal(t, "p ready 1");
    client_end(t);
}

/* It was refused for both reasons: once low_water was reached, others may keep the output above it. */
static void low_water_need_be_reached_once_only(void **state) {
    (void)state;
    static char body[2000];
    open_with_marks(10000, 1000);
    publisher = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "p"), .window_count = 1 });
    lago_basic_publish_t other = { .body = { body, sizeof(body) } };
    assert_int_equal(publish(publisher, "x", NULL), 1);
    virtual_take(&t->v, 0);
    while (lago_basic_publish(ch, &other, NULL, NULL) > 0) continue;
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    virtual_take(&t->v, 0);
    assert_true(lago_basic_publish(ch, &other, NULL, NULL) > 0);
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_journal(t, "p ready 0");
    client_end(t);
}

/* The output stands at both marks: nobody may be told to go on who would be refused at once. */
static void both_marks_may_be_one(void **state) {
    (void)state;
    static char body[965];
    open_with_marks(1000, 1000);
    publisher = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "p") });
    virtual_take(&t->v, 0);
    assert_int_equal(lago_publisher_publish(publisher, (lago_bytes_t){ body, sizeof(body) - 20 }, NULL), 1);
    size_t size = lago_connection_output_size(t->conn);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    lago_bytes_t fits = { body, sizeof(body) - 20 + 1000 - size };
    assert_int_equal(lago_publisher_publish(publisher, fits, NULL), 2);
    assert_int_equal(lago_connection_output_size(t->conn), 1000);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    virtual_run(&t->v);
    assert_journal(t, "");
    virtual_take(&t->v, 1);
    virtual_run(&t->v);
    assert_journal(t, "drain; p ready 2");
    client_end(t);
}

/* Outcomes wait in the kernel meanwhile, and the window with them. */
static void while_paused_the_window_stays_as_it_is(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 2;
    options.on_settled = noted_settled;
    publisher = make(&options);
    assert_int_equal(lago_connection_pause(t->conn), 0);
    assert_int_equal(publish(publisher, "1", NULL), 1);
    assert_int_equal(publish(publisher, "2", NULL), 2);
    assert_int_equal(publish(publisher, "3", NULL), LAGO_EAGAIN);
    virtual_run(&t->v);
    assert_saw("C> 1 basic.publish routing_key=\"p\""); /* what goes out goes on */
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    virtual_advance(&t->v, 100);
    assert_journal(t, "");
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_run(&t->v);
    assert_journal(t, "p 1-2 confirmed; p ready 0");
    client_end(t);
}

static void pauses(lago_publisher_t *p, const lago_publisher_settled_t *settled, void *data) {
    noted_settled(p, settled, data);
    assert_int_equal(lago_connection_pause(t->conn), 0);
}

/* What one frame has settled is told, on_ready too; the next frame waits. */
static void an_outcome_may_pause(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 2;
    options.on_settled = pauses;
    publisher = make(&options);
    for (int i = 1; i <= 2; i++) assert_int_equal(publish(publisher, "x", NULL), i);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    server_send(&t->v, "1 basic.ack delivery_tag=1\n1 basic.ack delivery_tag=2");
    assert_journal(t, "p 1-1 confirmed; p ready 1");
    virtual_advance(&t->v, 100);
    assert_journal(t, "");
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_run(&t->v);
    assert_journal(t, "p 2-2 confirmed");
    client_end(t);
}

/* Its window is open, but others have filled the output meanwhile. */
static void a_window_that_opens_onto_a_full_output(void **state) {
    (void)state;
    static char body[2000];
    open_with_marks(10000, 1000);
    publisher = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "p"), .window_count = 1 });
    assert_int_equal(publish(publisher, "x", NULL), 1);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN); /* for its window only */
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    lago_basic_publish_t other = { .body = { body, sizeof(body) } };
    while (lago_connection_output_size(t->conn) < 10000) assert_true(lago_basic_publish(ch, &other, NULL, NULL) > 0);
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_journal(t, "");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain; p ready 0");
    client_end(t);
}

static void fills(lago_publisher_t *p, void *data) {
    static char body[9000];
    noted_ready(p, data);
    assert_true(lago_publisher_publish(p, (lago_bytes_t){ body, sizeof(body) }, NULL) > 0);
    assert_true(lago_publisher_publish(p, (lago_bytes_t){ body, sizeof(body) }, NULL) > 0);
}

static void the_first_one_fills_it_again(void **state) {
    (void)state;
    open_with_marks(10000, 1000);
    lago_publisher_t *a = make(&(lago_publisher_options_t){ .on_ready = fills, .data = probe(t, "a") });
    lago_publisher_t *b = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "b") });
    virtual_take(&t->v, 0);
    fills(a, lago_publisher_data(a));
    journal_clear(t);
    assert_int_equal(publish(a, "x", NULL), LAGO_EAGAIN);
    assert_int_equal(publish(b, "x", NULL), LAGO_EAGAIN);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain; a ready 2; b ready 0; drain");
    client_end(t);
}

/* Each fills the output whenever it may; so does who publishes plainly. */
static void fills_all(lago_publisher_t *p, void *data) {
    static char body[3000];
    noted_ready(p, data);
    while (lago_publisher_publish(p, (lago_bytes_t){ body, sizeof(body) }, NULL) > 0) continue;
}

static void fills_all_plainly(lago_connection_t *conn, void *data) {
    static char body[3000];
    (void)conn, (void)data;
    note(t, "drain");
    while (lago_basic_publish(ch, &(lago_basic_publish_t){ .body = { body, sizeof(body) } }, NULL, NULL) > 0) continue;
}

static void nobody_is_passed_over_for_ever(void **state) {
    (void)state;
    client_init(t);
    lago_connection_options_t options = client_options(t);
    lago_parameters_t parameters = { .high_water = 10000, .low_water = 1000, .heartbeat_s = LAGO_HEARTBEAT_OFF };
    options.parameters = &parameters;
    options.on_drain = fills_all_plainly;
    client_open_options(t, &options);
    ch = client_open_channel(t);
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    lago_publisher_t *three[3];
    for (int i = 0; i < 3; i++) {
        three[i] = make(&(lago_publisher_options_t){ .on_ready = fills_all,
                                                     .data = probe(t, i == 0   ? "a"
                                                                      : i == 1 ? "b"
                                                                               : "c") });
    }
    virtual_run(&t->v);
    journal_clear(t);
    virtual_take(&t->v, 0);
    for (int i = 0; i < 3; i++) fills_all(three[i], lago_publisher_data(three[i]));
    journal_clear(t);
    for (int round = 0; round < 9; round++) {
        virtual_take(&t->v, lago_connection_output_size(t->conn));
        virtual_run(&t->v);
    }
    assert_journal(t, "drain; a ready 4; drain; b ready 0; drain; c ready 0; drain; a ready 8; drain");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_again_at_half),
        cmocka_unit_test(without_a_promise_nobody_is_called),
        cmocka_unit_test(on_ready_may_go_on),
        cmocka_unit_test(above_high_water_it_waits_for_low_water),
        cmocka_unit_test(both_the_window_and_the_output_must_open),
        cmocka_unit_test(low_water_need_be_reached_once_only),
        cmocka_unit_test(both_marks_may_be_one),
        cmocka_unit_test(while_paused_the_window_stays_as_it_is),
        cmocka_unit_test(an_outcome_may_pause),
        cmocka_unit_test(a_window_that_opens_onto_a_full_output),
        cmocka_unit_test(the_first_one_fills_it_again),
        cmocka_unit_test(nobody_is_passed_over_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
