/* The scenarios. Each begins with nothing, and may end anywhere: who drives it ends what is left. */
#include "lives.h"

#include <stdio.h>
#include <string.h>

#define MANY 30 /* channels */

/* ---------------------------------------------------------------- parts */

static void connect_with(struct life *l, const lago_parameters_t *parameters) {
    lago_connection_options_t options = app_options(&l->app);
    options.parameters = parameters;
    legal_call(&l->app.legal, false);
    int rc = virtual_connect(&l->v, NULL, &options);
    app_connected(&l->app, rc, l->v.conn);
}

static void connect_by(struct life *l, const char *url) {
    lago_connection_options_t options = app_options(&l->app);
    legal_call(&l->app.legal, false);
    int rc = virtual_connect(&l->v, url, &options);
    app_connected(&l->app, rc, l->v.conn);
}

static void open_it(struct life *l) {
    static const lago_parameters_t parameters = { .connection_name = "torture", .heartbeat_s = 20 };
    connect_with(l, &parameters);
    life_run(l);
}

static void say(struct life *l, unsigned channel, const char *lines) { broker_say(&l->broker, channel, lines); }

static struct app_channel *confirming(struct life *l) {
    struct app_channel *ch = app_channel(&l->app);
    app_confirm(ch);
    return ch;
}

/* ---------------------------------------------------------------- everyday */

static void everything(struct life *l, struct app_channel *ch) {
    app_qos(ch);
    app_declare(ch, "q");
    app_publish(ch, "q", 1);
    app_publish(ch, "q", 3000);
    app_lend(ch, "q", 200000);
    app_consume(ch, "c", false);
    app_get(ch);
    app_secret(&l->app);
    app_later(&l->app, 5);
}

static void on_an_open_connection(struct life *l) {
    l->broker.deliver = 4;
    open_it(l);
    struct app_channel *ch = confirming(l);
    everything(l, ch);
    life_wait(l, 100);
    app_cancel(ch, "c");
    life_run(l);
    app_channel_close(ch);
}

static void before_it_is_open(struct life *l) {
    l->broker.deliver = 2;
    connect_by(l, "amqp://u:p@host/v?heartbeat=20&client_properties={'a':'b'}");
    everything(l, confirming(l));
    struct app_channel *other = app_channel(&l->app);
    app_declare(other, "r");
    app_consume(other, "d", true);
    life_wait(l, 100);
}

static void topology(struct life *l) {
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    app_topology(ch);
    app_flow(ch);
    app_recover(ch);
    life_run(l);
    app_channel_close(ch);
    app_channel_free(app_channel(&l->app));
    life_run(l);
}

static void transactions(struct life *l) {
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    app_tx(ch, true);
    app_tx(ch, false);
    life_run(l);
    app_tx(ch, true);
    life_run(l);
}

static void many_channels(struct life *l) {
    struct app_channel *some[MANY];
    open_it(l);
    for (int i = 0; i < MANY; i++) {
        some[i] = app_channel(&l->app);
        app_publish(some[i], "q", 10);
        if (i % 3 == 0) app_declare(some[i], "q");
    }
    life_run(l);
    for (int i = 0; i < MANY; i += 2) app_channel_close(some[i]);
    for (int i = 1; i < MANY; i += 4) app_channel_free(some[i]);
    life_run(l);
    for (int i = 0; i < 4; i++) app_declare(app_channel(&l->app), "r");
    life_run(l);
}

/* ---------------------------------------------------------------- publishing */

static void confirms(struct life *l) {
    open_it(l);
    struct app_channel *ch = confirming(l);
    life_run(l);
    l->broker.silent = true; /* the script of this one is here */
    for (int i = 0; i < 8; i++) app_publish(ch, "q", 40);
    for (int i = 0; i < 4; i++) app_lend(ch, "q", 9000);
    say(l, 1, "1 basic.ack delivery_tag=3 multiple=1");
    say(l, 1, "1 basic.nack delivery_tag=5");
    say(l, 1,
        "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"q\"\n1 header body_size=40\n1 body size=40\n"
        "1 basic.ack delivery_tag=4");
    app_publish(ch, "q", 40);
    say(l, 1, "1 basic.ack delivery_tag=12 multiple=1");
    app_channel_close(ch);
    say(l, 1, "1 basic.ack delivery_tag=13");
    l->broker.silent = false;
    life_run(l);
}

static void a_publisher(struct life *l) {
    open_it(l);
    struct app_channel *ch = confirming(l);
    app_publisher(ch, 4, false);
    for (int i = 0; i < 6; i++) app_prepared(ch, 50);
    life_run(l);
    app_prepared_lend(ch, 70000);
    app_prepared(ch, 5000);
    life_run(l);
    app_publisher_free(ch);
    app_publish(ch, "q", 10);
    life_run(l);
}

static void a_publisher_in_runs(struct life *l) {
    open_it(l);
    struct app_channel *ch = confirming(l);
    app_publisher(ch, 100, true);
    app_batch(ch, 20);
    life_run(l);
    app_batch(ch, 30);
    app_publish(ch, "q", 10);
    app_batch(ch, 5);
    life_run(l);
    app_channel_close(ch);
    life_run(l);
}

static void more_than_the_peer_takes(struct life *l) {
    static const lago_parameters_t parameters = { .high_water = 60000, .low_water = 20000, .heartbeat_s = 20 };
    connect_with(l, &parameters);
    life_run(l);
    struct app_channel *ch = confirming(l);
    life_run(l);
    l->app.legal.scripted = true; /* this broker answers what it hears, and it hears by the log */
    virtual_take(&l->v, 5000);
    for (int i = 0; i < 40; i++) app_publish(ch, "q", 3000);
    life_run(l);
    virtual_take(&l->v, SIZE_MAX);
    life_run(l);
    for (int i = 0; i < 3; i++) app_lend(ch, "q", 100000);
    life_wait(l, 20);
}

static void blocked(struct life *l) {
    open_it(l);
    struct app_channel *ch = confirming(l), *other = app_channel(&l->app);
    life_run(l);
    say(l, 0, "0 connection.blocked reason=\"low\"");
    app_publish(ch, "q", 20);
    app_lend(ch, "q", 20000);
    app_declare(ch, "q");
    app_declare(other, "r");
    app_publish(other, "q", 10);
    app_channel_free(other);
    life_wait(l, 50);
    say(l, 0, "0 connection.unblocked");
    life_wait(l, 100);
    say(l, 1, "1 channel.flow active=0");
    app_publish(ch, "q", 20);
    say(l, 1, "1 channel.flow active=1");
    life_wait(l, 100);
}

/* ---------------------------------------------------------------- consuming */

static void bodies_in_pieces(struct life *l) {
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    app_consume(ch, "c", true);
    life_run(l);
    say(l, 1,
        "1 basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"q\"\n1 header body_size=180000\n1 body size=60000");
    say(l, 1, "1 body size=60000");
    app_declare(ch, "q");
    say(l, 1, "1 body size=60000");
    say(l, 1, "1 basic.deliver consumer_tag=\"c\" delivery_tag=2 routing_key=\"q\"\n1 header body_size=3\n1 body \"abc\"");
    app_pause(ch, "c", true);
    say(l, 1, "1 basic.deliver consumer_tag=\"c\" delivery_tag=3 routing_key=\"q\"\n1 header body_size=5\n1 body \"ab\"");
    app_pause(ch, "c", false);
    say(l, 1, "1 body \"cde\"");
    say(l, 1, "1 basic.deliver consumer_tag=\"c\" delivery_tag=4 routing_key=\"q\"\n1 header body_size=5\n1 body \"ab\"");
}

static void large_messages(struct life *l) {
    open_it(l);
    struct app_channel *ch = app_channel(&l->app), *other = app_channel(&l->app);
    app_consume(ch, "c", false);
    app_consume(other, "d", false);
    life_run(l);
    for (int i = 1; i <= 3; i++) {
        char lines[300];
        (void)snprintf(lines, sizeof lines,
                       "1 basic.deliver consumer_tag=\"c\" delivery_tag=%d routing_key=\"q\"\n1 header body_size=120000 "
                       "content_type=\"a\" headers={n=1}\n1 body size=60000\n2 basic.deliver consumer_tag=\"d\" delivery_tag=%d\n"
                       "2 header body_size=0",
                       i, i);
        say(l, 1, lines);
        say(l, 1, "1 body size=60000");
    }
    life_run(l);
}

static void held_messages(struct life *l) {
    l->broker.deliver = 6;
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    app_qos(ch);
    app_consume(ch, "c", false);
    app_pause(ch, "c", true);
    app_consume(ch, "d", false);
    life_run(l);
    app_pause(ch, "c", false);
    life_run(l);
    app_pause(ch, "d", true);
    say(l, 1, "1 basic.deliver consumer_tag=\"d\" delivery_tag=13\n1 header body_size=2\n1 body \"ab\"");
    app_cancel(ch, "d");
    life_run(l);
    app_cancel(ch, "c");
    say(l, 1, "1 basic.deliver consumer_tag=\"c\" delivery_tag=14\n1 header body_size=2\n1 body \"ab\"");
}

static void cancelled_at_once(struct life *l) {
    l->broker.deliver = 3;
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    for (int i = 0; i < 3; i++) {
        app_consume(ch, "c", i == 1);
        app_cancel(ch, "c"); /* before consume-ok: it waits for it */
        life_run(l);
    }
    app_consume(ch, "c", false);
    life_run(l);
    say(l, 1, "1 basic.cancel consumer_tag=\"c\"");
}

static void answers_in_callbacks(struct life *l) {
    l->broker.deliver = 6;
    open_it(l);
    struct app_channel *ch = confirming(l);
    ch->answer_with = "reply";
    app_consume(ch, "c", false);
    for (int i = 0; i < 3; i++) app_get(ch);
    life_wait(l, 50);
}

/* ---------------------------------------------------------------- calls */

static void calls(struct life *l) {
    open_it(l);
    struct app_channel *ch = app_channel(&l->app);
    app_rpc(ch);
    for (int i = 0; i < 5; i++) app_call(ch, "usual", 0);
    life_run(l);
    app_call(ch, "no reply", 40);
    app_call(ch, "no reply", 1000);
    life_wait(l, 60);
    app_call(ch, "usual", 0);
    life_run(l);
    app_rpc_free(ch);
    life_run(l);
    app_rpc(ch);
    app_call(ch, "usual", 0);
    life_run(l);
}

/* ---------------------------------------------------------------- how it begins */

static void fast(struct life *l) {
    static const lago_parameters_t parameters = { .fast_open = true, .heartbeat_s = 20 };
    struct book_entry said = { .mechanisms = "PLAIN AMQPLAIN",
                               .offered = { .channel_max = 2047, .frame_max = 131072, .heartbeat_s = 60 } };
    (void)snprintf(said.endpoint, sizeof said.endpoint, "127.0.0.1:5672");
    book_learn(&l->book, &said);
    l->v.book = &l->book;
    l->v.endpoint[0] = "127.0.0.1:5672";
    l->v.is_private = true;
    l->broker.deliver = 2;
    connect_with(l, &parameters);
    everything(l, confirming(l));
    struct app_channel *other = app_channel(&l->app);
    app_declare(other, "r");
    app_channel_free(app_channel(&l->app));
    life_wait(l, 100);
}

static void several_attempts(struct life *l) {
    static const lago_parameters_t parameters = { .connection_attempts = 3, .retry_delay_ms = 50, .heartbeat_s = 20 };
    l->v.address_count = 3;
    l->v.connect_status[0] = -111;
    l->v.connect_status[1] = VIRTUAL_NEVER;
    connect_with(l, &parameters);
    struct app_channel *ch = confirming(l);
    app_publish(ch, "q", 10);
    app_lend(ch, "q", 50000);
    life_wait(l, 40000); /* the second address may get all its time, if no timer could be set for the third */
    app_declare(ch, "q");
    life_run(l);
}

static void no_way(struct life *l) {
    static const lago_parameters_t parameters = { .connection_attempts = 2, .retry_delay_ms = 50 };
    l->cut = true;
    l->v.address_count = 2;
    l->v.connect_status[0] = l->v.connect_status[1] = -111;
    connect_with(l, &parameters);
    everything(l, confirming(l));
    life_wait(l, 1000);
}

static void login_by_callback(struct life *l) {
    lago_parameters_t parameters = { .credentials = { .on_login = app_login, .login_data = &l->app } };
    connect_with(l, &parameters);
    app_declare(app_channel(&l->app), "q");
    life_run(l);
    app_secret(&l->app);
    life_run(l);
}

/* ---------------------------------------------------------------- how it ends */

/* Much is under way: operations, publishes, messages, a body, a call, timers. */
static void get_busy(struct life *l) {
    open_it(l);
    struct app_channel *ch = confirming(l), *second = app_channel(&l->app), *third = app_channel(&l->app);
    app_consume(ch, "c", true);
    app_consume(second, "d", false);
    app_rpc(third);
    life_run(l);
    say(l, 1,
        "1 basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"q\"\n1 header body_size=180000\n1 body size=60000");
    say(l, 2, "2 basic.deliver consumer_tag=\"d\" delivery_tag=1 routing_key=\"q\"\n2 header body_size=3\n2 body \"abc\"");
    l->broker.silent = true;
    app_declare(second, "q");
    app_declare(ch, "q");
    app_secret(&l->app);
    app_publish(ch, "q", 10);
    app_lend(ch, "q", 100000);
    app_call(third, "no reply", 5000);
    app_call(third, "no reply", 0);
    app_get(second);
    app_later(&l->app, 60000);
    app_later(&l->app, 30000);
    life_run(l);
    l->app.legal.scripted = true;
    virtual_take(&l->v, 10);
    app_publish(ch, "q", 10);
    app_lend(ch, "q", 100000);
    life_run(l);
    l->cut = true;
}

static void the_link_is_lost(struct life *l) {
    get_busy(l);
    virtual_lose(&l->v, -104);
    life_run(l);
}

static void closed_while_busy(struct life *l) {
    get_busy(l);
    virtual_take(&l->v, SIZE_MAX);
    app_close(&l->app, 500);
    life_wait(l, 1000);
}

static void aborted_while_busy(struct life *l) {
    get_busy(l);
    app_abort(&l->app);
    life_run(l);
}

static void freed_while_busy(struct life *l) {
    get_busy(l);
    app_free(&l->app);
    life_run(l);
}

static void closed_by_the_broker(struct life *l) {
    get_busy(l);
    virtual_take(&l->v, SIZE_MAX);
    say(l, 0, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED - bye\"");
}

static void a_channel_closed_by_the_broker(struct life *l) {
    get_busy(l);
    virtual_take(&l->v, SIZE_MAX);
    say(l, 1, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\" class_id=50 method_id=10");
    app_channel_close(&l->app.channels[1]);
    app_channel_free(&l->app.channels[2]);
    life_wait(l, 100);
}

static void a_broken_protocol(struct life *l) {
    get_busy(l);
    virtual_take(&l->v, SIZE_MAX);
    say(l, 1, "1 header body_size=1");
    life_wait(l, 2000);
}

static void a_silent_peer(struct life *l) {
    get_busy(l);
    life_wait(l, 60000);
}

static void a_write_error(struct life *l) {
    get_busy(l);
    virtual_take(&l->v, SIZE_MAX);
    virtual_fail_write(&l->v, -32);
    app_publish(&l->app.channels[0], "q", 10);
    life_wait(l, 3000);
}

static void free_in_a_callback(struct app *app, const char *what) {
    if (strcmp(what, "publish") == 0) app_free(app);
}

static void freed_inside_an_outcome(struct life *l) {
    l->app.on_told = free_in_a_callback;
    open_it(l);
    struct app_channel *ch = confirming(l);
    everything(l, ch);
    life_wait(l, 100);
}

static void close_in_a_callback(struct app *app, const char *what) {
    if (strcmp(what, "message") == 0 || strcmp(what, "channel close") == 0) app_channel_close(&app->channels[0]);
    if (strcmp(what, "declare") == 0) app_channel_free(&app->channels[1]);
    if (strcmp(what, "timer") == 0) app_close(app, 1000);
}

static void closed_inside_callbacks(struct life *l) {
    l->broker.deliver = 2;
    l->app.on_told = close_in_a_callback;
    open_it(l);
    struct app_channel *ch = confirming(l), *other = app_channel(&l->app);
    app_publish(other, "q", 10);
    everything(l, ch);
    life_wait(l, 200);
    l->cut = true;
}

#define LIFE(function)                                                                                                           \
    { #function, function }

const struct scenario lives[] = {
    LIFE(on_an_open_connection),
    LIFE(before_it_is_open),
    LIFE(topology),
    LIFE(transactions),
    LIFE(many_channels),
    LIFE(confirms),
    LIFE(a_publisher),
    LIFE(a_publisher_in_runs),
    LIFE(more_than_the_peer_takes),
    LIFE(blocked),
    LIFE(bodies_in_pieces),
    LIFE(large_messages),
    LIFE(held_messages),
    LIFE(cancelled_at_once),
    LIFE(answers_in_callbacks),
    LIFE(calls),
    LIFE(fast),
    LIFE(several_attempts),
    LIFE(no_way),
    LIFE(login_by_callback),
    LIFE(the_link_is_lost),
    LIFE(closed_while_busy),
    LIFE(aborted_while_busy),
    LIFE(freed_while_busy),
    LIFE(closed_by_the_broker),
    LIFE(a_channel_closed_by_the_broker),
    LIFE(a_broken_protocol),
    LIFE(a_silent_peer),
    LIFE(a_write_error),
    LIFE(freed_inside_an_outcome),
    LIFE(closed_inside_callbacks),
};
const size_t lives_count = sizeof lives / sizeof lives[0];
