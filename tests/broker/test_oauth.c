/*
 * Tokens that really expire: a broker of its own with rabbitmq_auth_backend_oauth2, and tokens (JWT, RS256) signed here with a key
 * made here. Without refreshes the broker refuses what is asked after the end; with them it never comes to that.
 */
#include "fixture.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIFE_S 2

static EVP_PKEY *key;
static char directory[] = "/tmp/lago-oauth.XXXXXX", key_path[64], broker_dir[512];

/* ---------------------------------------------------------------- tokens */

/* RFC 7515: base64 with '-' and '_', and no padding. */
static size_t base64url(char *to, const void *bytes, size_t size) {
    size_t length = (size_t)EVP_EncodeBlock((unsigned char *)to, bytes, (int)size);
    while (length > 0 && to[length - 1] == '=') length--;
    for (size_t i = 0; i < length; i++) to[i] = (char)(to[i] == '+' ? '-' : to[i] == '/' ? '_' : to[i]);
    to[length] = '\0';
    return length;
}

static void sign(char *token, size_t length) {
    unsigned char signature[512];
    size_t size = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &size, (unsigned char *)token, length), 1);
    EVP_MD_CTX_free(context);
    token[length++] = '.';
    base64url(token + length, signature, size);
}

/* Good for so many seconds from now. */
static const char *token(int seconds) {
    static const char header[] = "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}";
    static char words[2048];
    char claims[512];
    snprintf(claims, sizeof claims,
             "{\"aud\":[\"rabbitmq\"],\"sub\":\"tester\",\"exp\":%lld,"
             "\"scope\":[\"rabbitmq.configure:*/*\",\"rabbitmq.read:*/*\",\"rabbitmq.write:*/*\"]}",
             (long long)time(NULL) + seconds);
    size_t length = base64url(words, header, strlen(header));
    words[length++] = '.';
    length += base64url(words + length, claims, strlen(claims));
    sign(words, length);
    return words;
}

/* ---------------------------------------------------------------- the broker */

static bool make_key(void) {
    snprintf(key_path, sizeof key_path, "%s/key.pem", mkdtemp(directory));
    key = EVP_RSA_gen(2048);
    FILE *file = fopen(key_path, "w");
    bool good = key && file && PEM_write_PUBKEY(file, key) == 1;
    return file && fclose(file) == 0 && good;
}

/* Its lines are KEY=VALUE, for the environment. */
static int start_broker(void **state) {
    char command[1024], line[512];
    (void)state;
    if (!make_key()) return -1;
    snprintf(command, sizeof command,
             "'%s' start -w %d -p rabbitmq_auth_backend_oauth2 -c 'auth_backends.1 = rabbit_auth_backend_oauth2' "
             "-c 'auth_oauth2.resource_server_id = rabbitmq' -c 'auth_oauth2.default_key = k1' "
             "-c 'auth_oauth2.signing_keys.k1 = %s' </dev/null",
             getenv("LAGO_TEST_BROKER"), (int)getpid(), key_path);
    FILE *lines = popen(command, "r");
    if (!lines) return -1;
    while (fgets(line, sizeof line, lines)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "AMQP_URL=", 9) == 0) setenv("AMQP_URL", line + 9, 1);
        if (strncmp(line, "BROKER_DIR=", 11) == 0) snprintf(broker_dir, sizeof broker_dir, "%s", line + 11);
    }
    return pclose(lines) == 0 && broker_dir[0] ? 0 : -1;
}

static int stop_broker(void **state) {
    char command[1100];
    (void)state;
    snprintf(command, sizeof command, "'%s' stop '%s'", getenv("LAGO_TEST_BROKER"), broker_dir);
    if (broker_dir[0] && system(command) != 0) return -1;
    unlink(key_path);
    rmdir(directory);
    EVP_PKEY_free(key);
    return 0;
}

/* ---------------------------------------------------------------- the application */

struct issuer {
    struct fixture *f;
    int life_s, next_s; /* of the first token, and of those in refreshes; 0: there is none */
    const char *forged; /* instead of the next one */
    int refreshes;
};

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    struct issuer *issuer = data;
    int life_s = request->refresh ? issuer->next_s : issuer->life_s;
    issuer->refreshes += request->refresh;
    if (life_s == 0 && !issuer->forged) {
        assert_int_equal(lago_login_refuse(conn, request->ticket, "the issuer is down"), 0);
        return;
    }
    const char *forged = request->refresh ? issuer->forged : NULL;
    lago_login_t login = { .username = "", .password = forged ? forged : token(life_s), .expires_in_s = (uint32_t)life_s };
    assert_int_equal(lago_login_provide(conn, request->ticket, &login), 0);
}

static void connect_by(struct fixture *f, struct issuer *issuer) {
    issuer->f = f;
    f->parameters->credentials = (lago_credentials_t){ .on_login = on_login, .login_data = issuer };
    connect_now(f);
}

static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)status;
    *(bool *)data = true;
}

static void wait_ms(struct fixture *f, uint32_t ms) {
    bool passed = false;
    assert_int_equal(lago_connection_call_later(f->conn, ms, on_timer, &passed, NULL), 0);
    run_until(f, passed);
}

/* ---------------------------------------------------------------- the tests */

static void a_token_logs_in_and_its_successors_keep_the_login(void **state) {
    struct issuer issuer = { .life_s = LIFE_S, .next_s = LIFE_S };
    connect_by(*state, &issuer);
    expect_events(issuer.f, "open");
    issuer.f->ch = open_channel(issuer.f);
    wait_ms(issuer.f, 2 * LIFE_S * 1000 + 1500); /* the first two tokens have expired */
    assert_in_range(issuer.refreshes, 2, 4);
    (void)new_queue(issuer.f);
    assert_false(issuer.f->closed);
    assert_int_equal(issuer.f->log_count, 0);
}

/* The control: the broker does look at the time. 3.x and 4.0 refuse what is asked next, 4.3 closes at once. */
static void without_a_successor_the_login_ends(void **state) {
    struct issuer issuer = { .life_s = LIFE_S };
    lago_queue_declare_t declare = { .queue = "too-late", .exclusive = true };
    connect_by(*state, &issuer);
    struct fixture *f = issuer.f;
    expect_events(f, "open");
    f->ch = open_channel(f);
    bool passed = false;
    assert_int_equal(lago_connection_call_later(f->conn, LIFE_S * 1000 + 1500, on_timer, &passed, NULL), 0);
    run_until(f, passed);
    assert_int_equal(issuer.refreshes, 2); /* at 80 %, and at the end */
    assert_true(f->log_count >= 3);
    assert_string_equal(f->log[0], "no new credentials: the issuer is down; those of the login expire in 0 s");
    if (!f->closed) {
        assert_int_equal(lago_queue_declare(f->ch, &declare, on_declared, label("declare")), 0);
        run_until(f, f->event_count > 0);
        assert_false(has_event(f, "declare ok"));
    }
    assert_string_equal(f->log[1], "the login's credentials have expired");
}

static void a_forged_successor_ends_the_connection(void **state) {
    struct issuer issuer = { .life_s = LIFE_S, .forged = "not.a.token" };
    connect_by(*state, &issuer);
    expect_events(issuer.f, "open", "close 530");
    assert_int_equal(issuer.f->reason.method_id, 70);
    assert_int_equal(issuer.refreshes, 1);
}

static void an_expired_token_is_refused(void **state) {
    struct fixture *f = *state;
    f->parameters->credentials = (lago_credentials_t){ .username = "x", .password = token(-10) };
    connect_now(f);
    expect_events(f, "open error 403");
    assert_int_equal(f->reason.code, LAGO_EAUTH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_logs_in_and_its_successors_keep_the_login, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(without_a_successor_the_login_ends, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_forged_successor_ends_the_connection, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(an_expired_token_is_refused, setup_loop, teardown),
    };
    if (!broker_is_given()) return 77;
    if (!getenv("LAGO_TEST_BROKER")) {
        puts("LAGO_TEST_BROKER is not set: no broker of its own");
        return 77;
    }
    return cmocka_run_group_tests(tests, start_broker, stop_broker);
}
