/*
 * Where a password is when the connection is up: nowhere. The broker is another process, so that what it received does not count;
 * the application keeps its password masked, and wipes what it unmasks. The log (TRACE), the capture and the dump of each
 * connection are kept in memory, so that the scan reads them too.
 */
#include "frame.h"
#include "method.h"
#include "scan.h"
#include "server.h"
#include <lago.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define USERNAME   "nobody-special"
#define FRAME_ROOM 8192u
#define TUNE       "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=0"

enum manner { TAKES_LOGINS, CHALLENGES_THEM, REFUSES_THEM, HANGS_UP };

/* What both processes see. */
struct shared {
    enum manner manner;
    char mechanism[16]; /* the only one it offers */
    uint64_t heard;     /* a hash of the last secret */
};
static struct shared *shared;

/* ---------------------------------------------------------------- the broker, in a process of its own */

struct frame_buffer {
    uint8_t bytes[FRAME_ROOM];
    union method_args args;
};

static bool read_bytes(int fd, void *to, size_t size) {
    uint8_t *at = to;
    for (ssize_t got; size > 0; at += got, size -= (size_t)got)
        if ((got = read(fd, at, size)) <= 0) return false;
    return true;
}

/* The next method's number; 0: the client has gone. */
static uint32_t hear(int fd, struct frame_buffer *b) {
    const struct method_info *info = NULL;
    if (!read_bytes(fd, b->bytes, FRAME_HEADER_SIZE)) return 0;
    size_t size = (size_t)b->bytes[5] << 8 | b->bytes[6];
    if (size + FRAME_END_SIZE > sizeof(b->bytes) || !read_bytes(fd, b->bytes, size + FRAME_END_SIZE)) return 0;
    return method_read(b->bytes, size, &info, &b->args) == 0 ? info->id : 0;
}

static void say(int fd, const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    (void)send(fd, bytes, size, MSG_NOSIGNAL);
    free(bytes);
}

static void heard(lago_bytes_t secret) { shared->heard = bytes_hash(secret.data, secret.size); }

/* False: hang up. */
static bool answer(int fd, uint32_t method, const union method_args *args) {
    switch (method) {
    case METHOD_CONNECTION_START_OK:
        heard(args->connection_start_ok.response);
        if (shared->manner == HANGS_UP) return false;
        if (shared->manner == REFUSES_THEM)
            say(fd, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"");
        else
            say(fd, shared->manner == CHALLENGES_THEM ? "0 connection.secure challenge=\"who?\"" : TUNE);
        return true;
    case METHOD_CONNECTION_SECURE_OK:
        heard(args->connection_secure_ok.response);
        say(fd, TUNE);
        return true;
    case METHOD_CONNECTION_OPEN: say(fd, "0 connection.open-ok"); return true;
    case METHOD_CONNECTION_UPDATE_SECRET:
        heard(args->connection_update_secret.new_secret);
        say(fd, "0 connection.update-secret-ok");
        return true;
    case METHOD_CONNECTION_CLOSE: say(fd, "0 connection.close-ok"); return true;
    default: return method != 0;
    }
}

static void serve(int fd) {
    static struct frame_buffer b;
    char start[128];
    if (!read_bytes(fd, b.bytes, PROTOCOL_HEADER_SIZE)) return;
    (void)snprintf(start, sizeof(start), "0 connection.start version_minor=9 mechanisms=\"%s\" locales=\"en_US\"",
                   shared->mechanism);
    say(fd, start);
    while (answer(fd, hear(fd, &b), &b.args)) {
    }
}

/* Each in a process of its own: one that a failed test has left must not keep the next ones waiting. */
static void accept_clients(int listener) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
        if (fork() != 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(fd);
        _exit(0);
    }
}

static pid_t broker;
static char url[64];

static int start_broker(void **state) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (listener < 0 || shared == MAP_FAILED || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, 8) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return -1;
    (void)snprintf(url, sizeof(url), "amqp://127.0.0.1:%u", ntohs(address.sin_port));
    broker = fork();
    if (broker == 0) {
        accept_clients(listener);
        _exit(0);
    }
    close(listener);
    return broker > 0 ? 0 : -1;
}

static int stop_broker(void **state) {
    (void)state;
    kill(broker, SIGKILL);
    waitpid(broker, NULL, 0);
    return munmap(shared, sizeof(*shared));
}

/* ---------------------------------------------------------------- memory that is never used again */

/* Else the next owner of what was freed would overwrite what was left in it. */
struct hoarded {
    struct hoarded *next;
    size_t size;
};
static struct hoarded *hoard;

static void *hoard_malloc(size_t size, void *data) {
    struct hoarded *block = malloc(sizeof(*block) + size);
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

static void hoard_release(void) {
    for (struct hoarded *block; (block = hoard) != NULL; free(block)) hoard = block->next;
}

/* ---------------------------------------------------------------- the application */

/* The password, what PLAIN makes of it, and both in base64. */
enum { PASSWORD, PASSWORD_64, PLAIN, PLAIN_64, NEEDLES };

static struct application {
    struct needle needles[NEEDLES];
    struct needle next[NEEDLES]; /* the secret of the refresh */
    uint32_t expires_in_s;
    bool later, aborts;
    char *story; /* the log and the capture */
    size_t story_size, story_capacity;
    lago_connection_t *conn;
    bool opened, ended, refreshed;
} app;

static void tell(const void *bytes, size_t size) {
    if (app.story_size + size > app.story_capacity) {
        app.story_capacity = (app.story_size + size) * 2;
        app.story = realloc(app.story, app.story_capacity);
        assert_non_null(app.story);
    }
    memcpy(app.story + app.story_size, bytes, size);
    app.story_size += size;
}

static void on_line(lago_log_level_t level, const char *line, void *data) {
    (void)level, (void)data;
    tell(line, strlen(line));
}

static void on_capture(const void *bytes, size_t size, void *data) {
    (void)data;
    tell(bytes, size);
}

static void provide(lago_connection_t *conn, uint64_t ticket, const struct needle *needles, uint32_t expires_in_s) {
    char password[NEEDLE_MAX + 1];
    needle_copy(&needles[PASSWORD], password, false);
    lago_login_t login = { .username = USERNAME, .password = password, .expires_in_s = expires_in_s };
    assert_int_equal(lago_login_provide(conn, ticket, &login), 0);
    explicit_bzero(password, sizeof(password));
}

static uint64_t asked;

static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)status, (void)data;
    provide(conn, asked, app.needles, app.expires_in_s);
}

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)data;
    asked = request->ticket;
    if (request->refresh) {
        provide(conn, asked, app.next, 0);
        app.refreshed = true;
    } else if (app.later) {
        assert_int_equal(lago_connection_call_later(conn, 1, on_timer, NULL, NULL), 0);
    } else {
        provide(conn, asked, app.needles, app.expires_in_s);
    }
    if (app.aborts) assert_int_equal(lago_connection_abort(conn), 0);
}

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    app.opened = true;
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char words[512];
    (void)conn, (void)data;
    tell(words, lago_reason_format(reason, words, sizeof(words)) % sizeof(words));
    tell(reason, sizeof(*reason));
    app.ended = true;
}

static void make_needles(struct needle *needles) {
    needle_random(&needles[PASSWORD], "the password", 40);
    needle_base64(&needles[PASSWORD_64], "the password in base64", &needles[PASSWORD]);
    needle_begin(&needles[PLAIN], "PLAIN's response");
    needle_add(&needles[PLAIN], "\0" USERNAME "\0", sizeof(USERNAME) + 1);
    needle_add_needle(&needles[PLAIN], &needles[PASSWORD]);
    needle_base64(&needles[PLAIN_64], "PLAIN's response in base64", &needles[PLAIN]);
}

static void begin(enum manner manner, const char *mechanism) {
    free(app.story);
    app = (struct application){ .later = false };
    make_needles(app.needles);
    make_needles(app.next);
    *shared = (struct shared){ .manner = manner };
    (void)snprintf(shared->mechanism, sizeof(shared->mechanism), "%s", mechanism);
}

static uv_loop_t loop;
static lago_context_t *context;

static void connect_to(const char *to, const lago_parameters_t *parameters) {
    lago_context_options_t how = { .allocator = { hoard_malloc, hoard_realloc, hoard_free, NULL },
                                   .log = on_line,
                                   .log_level = LAGO_LOG_TRACE };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_context_new(&loop, &how, &context), 0);
    assert_int_equal(lago_context_capture(context, on_capture, NULL), 0);
    lago_connection_options_t options = {
        .parameters = parameters, .context = context, .on_open = on_open, .on_open_error = on_end, .on_close = on_end
    };
    assert_int_equal(lago_connect(&loop, to, &options, &app.conn), 0);
}

static void connect_by(lago_credentials_t credentials) {
    lago_parameters_t *parameters = NULL;
    assert_int_equal(lago_parameters_parse(url, &parameters, NULL), 0);
    parameters->credentials = credentials;
    connect_to(NULL, parameters);
    lago_parameters_free(parameters);
}

/* Until the connection is up, or has ended. */
static void run_until_up(void) {
    while (!app.opened && !app.ended) uv_run(&loop, UV_RUN_ONCE);
}

#define assert_nowhere() assert_int_equal(scan_memory(app.needles, (size_t)2 * NEEDLES, true), 0)

static void end(void) {
    char page[4096];
    size_t size = lago_connection_dump(app.conn, page, sizeof(page));
    tell(page, size < sizeof(page) ? size : sizeof(page) - 1);
    if (!app.ended) assert_int_equal(lago_connection_close(app.conn, NULL), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    lago_connection_free(app.conn);
    lago_context_free(context);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_nowhere();
    hoard_release();
}

static void assert_heard(const struct needle *needle) { assert_true(shared->heard == needle_hash(needle)); }

/* ---------------------------------------------------------------- the tests */

/* Else the others would prove nothing. */
static void the_scan_finds_what_is_there(void **state) {
    (void)state;
    begin(TAKES_LOGINS, "PLAIN");
    for (size_t i = 0; i < NEEDLES; i++) {
        char on_stack[NEEDLE_MAX + 1], *in_heap = malloc(NEEDLE_MAX + 1);
        static char in_data[NEEDLE_MAX + 1];
        assert_non_null(in_heap);
        needle_copy(&app.needles[i], in_heap, false);
        assert_true(scan_memory(&app.needles[i], 1, false) >= 1);
        explicit_bzero(in_heap, NEEDLE_MAX + 1);
        needle_copy(&app.needles[i], on_stack, false);
        assert_true(scan_memory(&app.needles[i], 1, false) >= 1);
        explicit_bzero(on_stack, sizeof(on_stack));
        needle_copy(&app.needles[i], in_data, false);
        assert_true(scan_memory(&app.needles[i], 1, false) >= 1);
        explicit_bzero(in_data, sizeof(in_data));
        assert_int_equal(scan_memory(&app.needles[i], 1, true), 0);
        free(in_heap);
    }
}

static void leaves_it(void *needle) {
    char on_stack[NEEDLE_MAX + 1];
    needle_copy(needle, on_stack, false);
    __asm__ volatile("" : : "r"(on_stack) : "memory");
}

static void the_scan_finds_what_was_left_on_a_stack(void **state) {
    (void)state;
    begin(TAKES_LOGINS, "PLAIN");
    scan_on_own_stack(leaves_it, &app.needles[PASSWORD]);
    assert_true(scan_memory(&app.needles[PASSWORD], 1, false) >= 1);
}

static void by_callback(const char *mechanism, bool later) {
    begin(TAKES_LOGINS, mechanism);
    app.later = later;
    connect_by((lago_credentials_t){ .on_login = on_login });
    run_until_up();
    assert_true(app.opened);
    assert_nowhere();
    end();
    assert_true(app.story_size > 1000);
}

static void by_callback_it_is_nowhere(void **state) {
    (void)state;
    by_callback("PLAIN", false);
    assert_heard(&app.needles[PLAIN]);
    by_callback("PLAIN", true);
    assert_heard(&app.needles[PLAIN]);
    by_callback("AMQPLAIN", false);
    assert_true(shared->heard != 0);
}

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    char password[NEEDLE_MAX + 1];
    (void)data;
    needle_copy(&app.needles[PASSWORD], password, false);
    lago_bytes_t response = { password, challenge->round ? app.needles[PASSWORD].size : 0 };
    assert_int_equal(lago_login_respond(conn, challenge->ticket, response), 0);
    explicit_bzero(password, sizeof(password));
}

static void an_answered_challenge_is_nowhere(void **state) {
    lago_mechanism_t own = { "CR", on_challenge, NULL };
    (void)state;
    begin(CHALLENGES_THEM, "CR");
    connect_by((lago_credentials_t){ .own_mechanisms = &own, .own_mechanism_count = 1 });
    run_until_up();
    assert_true(app.opened);
    assert_heard(&app.needles[PASSWORD]);
    assert_nowhere();
    end();
}

static void a_refused_one_is_nowhere(void **state) {
    (void)state;
    for (enum manner manner = REFUSES_THEM; manner <= HANGS_UP; manner++) {
        begin(manner, "PLAIN");
        connect_by((lago_credentials_t){ .on_login = on_login });
        run_until_up();
        assert_true(app.ended);
        assert_heard(&app.needles[PLAIN]);
        assert_nowhere();
        end();
    }
}

/* Dropped between the application's answer and the write. */
static void an_unsent_one_is_nowhere(void **state) {
    (void)state;
    begin(TAKES_LOGINS, "PLAIN");
    app.aborts = true;
    connect_by((lago_credentials_t){ .on_login = on_login });
    run_until_up();
    assert_true(app.ended);
    assert_true(shared->heard == 0);
    assert_nowhere();
    end();
}

static void its_successor_is_nowhere(void **state) {
    (void)state;
    begin(TAKES_LOGINS, "PLAIN");
    app.expires_in_s = 1;
    connect_by((lago_credentials_t){ .on_login = on_login });
    run_until_up();
    assert_int_equal(lago_update_secret(app.conn, "in between", NULL, NULL, NULL), 0); /* the handshake's care is over with it */
    while (shared->heard != needle_hash(&app.next[PASSWORD])) uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(app.refreshed);
    assert_nowhere();
    end();
}

/* By value: in lago's copy of the parameters, which lasts as long as the handle. */
static void there_is_one_copy(void) {
    run_until_up();
    assert_true(app.opened);
    assert_int_equal(scan_memory(&app.needles[PASSWORD], 1, false), 1);
    assert_int_equal(scan_memory(&app.needles[PASSWORD_64], 3, true), 0);
    end();
}

static void by_value_there_is_one_copy(void **state) {
    char password[NEEDLE_MAX + 1];
    (void)state;
    for (int amqplain = 0; amqplain < 2; amqplain++) {
        begin(TAKES_LOGINS, amqplain ? "AMQPLAIN" : "PLAIN");
        needle_copy(&app.needles[PASSWORD], password, false);
        connect_by((lago_credentials_t){ .username = USERNAME, .password = password });
        explicit_bzero(password, sizeof(password));
        there_is_one_copy();
    }
}

static void by_url_there_is_one_copy(void **state) {
    char whole[sizeof(url) + NEEDLE_MAX + 64];
    (void)state;
    begin(TAKES_LOGINS, "PLAIN");
    size_t size = (size_t)snprintf(whole, sizeof(whole), "amqp://%s:", USERNAME);
    needle_copy(&app.needles[PASSWORD], whole + size, false);
    strcat(strcat(whole, "@"), url + strlen("amqp://"));
    connect_to(whole, NULL);
    explicit_bzero(whole, sizeof(whole));
    there_is_one_copy();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scan_finds_what_is_there), cmocka_unit_test(the_scan_finds_what_was_left_on_a_stack),
        cmocka_unit_test(by_callback_it_is_nowhere),    cmocka_unit_test(an_answered_challenge_is_nowhere),
        cmocka_unit_test(a_refused_one_is_nowhere),     cmocka_unit_test(an_unsent_one_is_nowhere),
        cmocka_unit_test(its_successor_is_nowhere),     cmocka_unit_test(by_value_there_is_one_copy),
        cmocka_unit_test(by_url_there_is_one_copy),
    };
    return cmocka_run_group_tests(tests, start_broker, stop_broker);
}
