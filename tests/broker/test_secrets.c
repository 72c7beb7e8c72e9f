/*
 * Where a password is in this process while a real broker has us logged in, over TCP and over TLS: nowhere. The broker learns of
 * its new user backwards, so that not even the command line of rabbitmqctl holds the password. What is freed by lago is kept as
 * it was left; the log (TRACE), the capture and the dump are in memory, so the scan reads them too.
 */
#include "fixture.h"
#include "scan.h"
#include <unistd.h>

enum { PASSWORD, PASSWORD_64, PLAIN, PLAIN_64, NEEDLES };

static struct needle needles[NEEDLES];
static char username[32];

/* ---------------------------------------------------------------- memory that is never used again */

struct hoarded {
    struct hoarded *next;
    size_t size;
};
static struct hoarded *hoard;

static void *hoard_malloc(size_t size, void *data) {
    struct hoarded *block = malloc(sizeof *block + size);
    (void)data;
    assert_non_null(block);
    *block = (struct hoarded){ hoard, size };
    hoard = block;
    return block + 1;
}

static void *hoard_realloc(void *pointer, size_t size, void *data) {
    size_t old = pointer ? ((struct hoarded *)pointer - 1)->size : 0;
    void *moved = hoard_malloc(size, data);
    if (old > 0) memcpy(moved, pointer, old < size ? old : size);
    return moved;
}

static void hoard_free(void *pointer, void *data) { (void)pointer, (void)data; }

/* ---------------------------------------------------------------- what lago says */

static char *story;
static size_t story_size;

static void tell(const void *bytes, size_t size) {
    story = realloc(story, story_size + size);
    assert_non_null(story);
    memcpy(story + story_size, bytes, size);
    story_size += size;
}

static void on_line(lago_log_level_t level, const char *line, void *data) {
    (void)level, (void)data;
    tell(line, strlen(line));
}

static void on_capture(const void *bytes, size_t size, void *data) {
    (void)data;
    tell(bytes, size);
}

/* ---------------------------------------------------------------- a user with a password that nobody knows */

static void make_needles(void) {
    needle_random(&needles[PASSWORD], "the password", 40);
    needle_base64(&needles[PASSWORD_64], "the password in base64", &needles[PASSWORD]);
    needle_begin(&needles[PLAIN], "PLAIN's response");
    needle_add(&needles[PLAIN], "", 1);
    needle_add(&needles[PLAIN], username, strlen(username) + 1);
    needle_add_needle(&needles[PLAIN], &needles[PASSWORD]);
    needle_base64(&needles[PLAIN_64], "PLAIN's response in base64", &needles[PLAIN]);
}

static void add_user(struct fixture *f) {
    char backwards[NEEDLE_MAX + 1], expression[640];
    snprintf(username, sizeof username, "scanned-%d", (int)getpid());
    make_needles();
    needle_copy(&needles[PASSWORD], backwards, true);
    snprintf(
        expression, sizeof expression,
        "ok = rabbit_auth_backend_internal:add_user(<<\"%s\">>, list_to_binary(lists:reverse(\"%s\")), <<\"test\">>), "
        "rabbit_auth_backend_internal:set_permissions(<<\"%s\">>, <<\"/\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>).",
        username, backwards, username);
    broker_eval(f, expression);
}

static void delete_user(struct fixture *f) {
    char expression[160];
    snprintf(expression, sizeof expression, "rabbit_auth_backend_internal:delete_user(<<\"%s\">>, <<\"test\">>).", username);
    broker_eval(f, expression);
}

static void provide(lago_connection_t *conn, uint64_t ticket, uint32_t expires_in_s) {
    char password[NEEDLE_MAX + 1];
    needle_copy(&needles[PASSWORD], password, false);
    lago_login_t login = { .username = username, .password = password, .expires_in_s = expires_in_s };
    assert_int_equal(lago_login_provide(conn, ticket, &login), 0);
    explicit_bzero(password, sizeof password);
}

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    if (request->refresh) record(data, "refresh");
    provide(conn, request->ticket, request->refresh ? 0 : 1);
}

static void assert_nowhere(void) { assert_int_equal(scan_memory(needles, NEEDLES, true), 0); }

static void log_in(struct fixture *f, const char *url, const char *mechanism) {
    char page[4096];
    lago_context_options_t how = { .allocator = { hoard_malloc, hoard_realloc, hoard_free, NULL },
                                   .log = on_line,
                                   .log_level = LAGO_LOG_TRACE };
    lago_parameters_t *parameters;
    lago_context_t *context;
    lago_connection_options_t options = connection_options(f);
    assert_int_equal(lago_context_new(&f->loop, &how, &context), 0);
    assert_int_equal(lago_context_capture(context, on_capture, NULL), 0);
    assert_int_equal(lago_parameters_parse(url, &parameters, NULL), 0);
    parameters->credentials =
        (lago_credentials_t){ .username = "nobody", .mechanisms = mechanism, .on_login = on_login, .login_data = f };
    options.parameters = parameters;
    options.context = context;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    lago_parameters_free(parameters);
    lago_context_free(context);
    expect_events(f, "open");
    assert_nowhere();
    expect_events(f, "refresh");
    f->ch = open_channel(f);
    sync_channel(f);
    (void)lago_connection_dump(f->conn, page, sizeof page);
    assert_nowhere();
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    assert_int_equal(f->reason.code, LAGO_ECLOSED);
    forget_events(f);
    lago_connection_free(f->conn);
    f->conn = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT); /* until its handles are closed */
    assert_nowhere();
    assert_true(story_size > 2000);
}

/* ---------------------------------------------------------------- the tests */

static void over(struct fixture *f, const char *url) {
    need_control();
    if (!url) skip();
    add_user(f);
    log_in(f, url, "PLAIN");
    f->closed = f->opened = false;
    log_in(f, url, "AMQPLAIN");
    delete_user(f);
    for (struct hoarded *block; (block = hoard) != NULL; free(block)) hoard = block->next;
    free(story);
    story = NULL;
    story_size = 0;
}

static void over_tcp(void **state) { over(*state, getenv("AMQP_URL")); }

static void over_tls(void **state) { over(*state, getenv("AMQPS_URL")); }

/* The bad example: what an application keeps is found. */
static void a_copy_is_found(void **state) {
    char *copy = malloc(NEEDLE_MAX + 1);
    (void)state;
    assert_non_null(copy);
    needle_random(&needles[PASSWORD], "the password", 40);
    needle_copy(&needles[PASSWORD], copy, false);
    assert_int_equal(scan_memory(&needles[PASSWORD], 1, false), 1);
    explicit_bzero(copy, NEEDLE_MAX + 1);
    assert_int_equal(scan_memory(&needles[PASSWORD], 1, false), 0);
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_found),
        cmocka_unit_test_setup_teardown(over_tcp, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(over_tls, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
