/* Links come and go: see life.h. */
#include "life.h"
#include <signal.h>
#include <stdio.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define AGAIN_MS 20 /* a broker that is starting is asked often: what counts is how many links are lost */

static void on_again(uv_timer_t *timer);

static void on_ended(struct life *life, bool was_open) {
    if (was_open) book_write(&life->book, "L %u %d", life->epoch, life->leaving && life->ch == NULL);
    lago_connection_free(life->conn);
    life->conn = NULL;
    life->ch = NULL;
    life->open = false;
    life->on_lost(life);
    if (!life->leaving) uv_timer_start(&life->again, on_again, AGAIN_MS, 0);
}

static void on_open(lago_connection_t *conn, void *data) {
    struct life *life = data;
    (void)conn;
    life->open = true;
    book_write(&life->book, "O %u", life->epoch);
    life->on_open(life);
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)reason;
    on_ended(data, false);
}

/* In order only if close-ok has come: LAGO_ECLOSED. */
static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct life *life = data;
    (void)conn;
    if (reason->code == LAGO_ECLOSED) life->ch = NULL;
    on_ended(life, true);
}

/* A channel that ends alone takes its connection along. */
static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct life *life = data;
    char words[512];
    if (life->leaving) return;
    if (lago_error_scope(reason->code) == LAGO_SCOPE_CHANNEL) {
        lago_reason_format(reason, words, sizeof words);
        fprintf(stderr, "%s\n", words);
    }
    lago_connection_abort(lago_channel_connection(ch));
}

static void connect_now(struct life *life) {
    lago_connection_options_t options = {
        .on_open = on_open, .on_open_error = on_open_error, .on_close = on_close, .data = life
    };
    lago_channel_options_t channel = { .on_close = on_channel_close, .data = life };
    life->epoch++;
    int rc = lago_connect(life->loop, life->url, &options, &life->conn);
    if (rc == 0) rc = lago_channel_open(life->conn, &channel, &life->ch);
    if (rc < 0) {
        fprintf(stderr, "%s\n", lago_strerror(rc));
        uv_stop(life->loop);
        return;
    }
    life->on_link(life);
}

static void on_again(uv_timer_t *timer) { connect_now(timer->data); }

static void on_tick(uv_timer_t *timer) {
    struct life *life = timer->data;
    life->on_tick(life);
}

static void on_signal(uv_signal_t *signal, int number) {
    struct life *life = signal->data;
    (void)number;
    if (life->stopping) return;
    life->stopping = true;
    life->on_stop(life);
}

void life_leave(struct life *life) {
    if (life->leaving) return;
    life->leaving = true;
    uv_close((uv_handle_t *)&life->tick, NULL);
    uv_close((uv_handle_t *)&life->signal, NULL);
    uv_close((uv_handle_t *)&life->again, NULL);
    if (!life->conn) return;
    book_write(&life->book, "C %u", life->epoch);
    lago_connection_close(life->conn, NULL);
}

int life_run(struct life *life) {
    life->loop = uv_default_loop();
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who has started us may be killed, too */
#endif
    if (!book_open(&life->book, life->path)) return perror(life->path), 2;
    uv_signal_init(life->loop, &life->signal);
    uv_timer_init(life->loop, &life->again);
    uv_timer_init(life->loop, &life->tick);
    life->signal.data = life->again.data = life->tick.data = life;
    uv_signal_start(&life->signal, on_signal, SIGTERM);
    uv_timer_start(&life->tick, on_tick, TICK_MS, TICK_MS);
    connect_now(life);
    uv_run(life->loop, UV_RUN_DEFAULT);
    if (!life->leaving) return 1;
    book_write(&life->book, "Z");
    return 0;
}
