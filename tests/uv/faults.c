/* The connection and its loop: see faults.h. Must not know which fault is tested. */
#include "faults.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 10000u
#define PULSE_MS    10u
#define LATE_MS     3u /* a pulse that is later was held up; timers of whole milliseconds are not that precise */

struct rig rig;

static struct rig *const r = &rig;

/* ---------------------------------------------------------------- the loop, and how late it is */

static uint64_t held_up_ms(uint64_t now) {
    uint64_t late_ms = now > r->pulse_due ? (now - r->pulse_due) / 1000000 : 0;
    return late_ms >= LATE_MS ? late_ms : 0;
}

static void on_pulse(uv_timer_t *timer) {
    uint64_t now = uv_hrtime();
    (void)timer;
    r->late_ms += held_up_ms(now);
    r->pulse_due = now + PULSE_MS * 1000000u;
}

void rig_on_time(void) {
    r->late_ms = 0;
    r->pulse_due = uv_hrtime() + PULSE_MS * 1000000u;
    uv_timer_again(&r->pulse);
}

/* ---------------------------------------------------------------- what is told */

/* What held it up just now counts as well: the pulse that would tell is behind it. */
static void end_now(void) {
    r->ended = uv_hrtime();
    r->late_ms += held_up_ms(r->ended);
}

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    r->opened++;
    end_now();
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    r->failed++;
    r->reason = *reason;
    end_now();
}

static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    r->closed++;
    r->reason = *reason;
    end_now();
}

static void on_log(lago_log_level_t level, const char *line, void *data) {
    (void)data;
    if (level > LAGO_LOG_WARNING) return;
    r->warnings++;
    snprintf(r->warning, sizeof r->warning, "%s", line);
}

/* ---------------------------------------------------------------- patience */

static void on_impatience(uv_timer_t *timer) {
    (void)timer;
    r->time_is_up = true;
}

void rig_patience(bool on) {
    r->time_is_up = false;
    if (on)
        uv_timer_start(&r->patience, on_impatience, PATIENCE_MS, 0);
    else
        uv_timer_stop(&r->patience);
}

void rig_turn(void) {
    r->turns++;
    uv_run(&r->loop, UV_RUN_ONCE);
}

uint64_t rig_ms_since(uint64_t ns) { return (uv_hrtime() - ns) / 1000000; }

void rig_run_ms(uint64_t ms) {
    uint64_t since = uv_hrtime();
    RIG_UNTIL(rig_ms_since(since) >= ms);
}

/* ---------------------------------------------------------------- life */

void rig_start(void) {
    memset(r, 0, sizeof *r);
    fail_alloc_init(&r->alloc);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    uv_timer_init(&r->loop, &r->patience);
    uv_timer_init(&r->loop, &r->pulse);
    uv_timer_start(&r->pulse, on_pulse, PULSE_MS, PULSE_MS);
    uv_unref((uv_handle_t *)&r->pulse);
    rig_on_time();
    lago_context_options_t options = { .allocator = r->alloc.allocator, .log = on_log, .log_level = LAGO_LOG_WARNING };
    assert_int_equal(lago_context_new(&r->loop, &options, &r->context), 0);
}

void rig_connect_many(const lago_parameters_t *parameters, size_t count) {
    lago_connection_options_t options = { .parameters = parameters,
                                          .parameters_count = count,
                                          .context = r->context,
                                          .on_open = on_open,
                                          .on_open_error = on_open_error,
                                          .on_close = on_close };
    r->opened = r->failed = r->closed = 0;
    memset(&r->reason, 0, sizeof r->reason);
    uv_update_time(&r->loop);
    rig_on_time();
    r->began = uv_hrtime();
    assert_int_equal(lago_connect(&r->loop, NULL, &options, &r->conn), 0);
}

void rig_connect(const lago_parameters_t *parameters) { rig_connect_many(parameters, 1); }

void rig_until_told(void) {
    unsigned before = r->opened;
    RIG_UNTIL(r->failed + r->closed + r->opened > before);
    assert_int_equal(r->failed + r->closed + r->opened, before + 1);
}

void rig_until_open(void) {
    rig_until_told();
    assert_int_equal(r->opened, 1);
    assert_int_equal(lago_channel_open(r->conn, NULL, &r->ch), 0);
    RIG_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
}

size_t rig_attempts(void) {
    size_t count = 0;
    while (lago_connection_attempt(r->conn, count, NULL)) count++;
    return count;
}

const lago_reason_t *rig_attempt(size_t index, lago_phase_t phase, int code, const char *endpoint) {
    uint32_t number = 0;
    const lago_reason_t *reason = lago_connection_attempt(r->conn, index, &number);
    assert_non_null(reason);
    assert_int_equal(number, index + 1);
    assert_string_equal(lago_error_name(reason->code), lago_error_name(code));
    assert_string_equal(lago_phase_name(reason->phase), lago_phase_name(phase));
    assert_string_equal(reason->endpoint, endpoint ? endpoint : "");
    return reason;
}

/* The watchers of the rig alone do not keep the loop. */
void rig_free(void) {
    lago_connection_free(r->conn);
    r->conn = NULL;
    r->ch = NULL;
}

void rig_stop(void) {
    rig_free();
    lago_context_free(r->context);
    uv_close((uv_handle_t *)&r->patience, NULL);
    uv_close((uv_handle_t *)&r->pulse, NULL);
    assert_int_equal(uv_run(&r->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    fail_alloc_check(&r->alloc);
}

size_t rig_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}
