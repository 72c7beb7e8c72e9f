/*
 * The handshake's answers: which mechanism, who we say we are, and what is negotiated (1.4.2.1 to 1.4.2.6, and RabbitMQ's
 * capabilities). Secrets live in one buffer, wiped when it has been encoded; the output queue wipes its own copy. What the
 * application provides is encoded from where it lies. Tokens that expire later are refresh.c's.
 */
#include "alloc.h"
#include "connection.h"
#include "credentials.h"
#include "frame.h"
#include "operation.h"
#include "reason.h"
#include "table.h"
#include "text.h"
#include <lago/login.h>
#include <lago/version.h>
#include <string.h>

static void refuse(lago_connection_t *conn, int code, const char *detail, const char *hint) {
    lago_reason_t reason;
    reason_init(&reason, code, LAGO_BY_CLIENT);
    if (detail) reason_detail(&reason, "%s", detail);
    if (hint) reason_hint(&reason, "%s", hint);
    session_abandon(&conn->session, &reason);
}

/* ---------------------------------------------------------------- client properties */

static bool add(lago_table_builder_t *builder, const lago_connection_t *conn, lago_field_t field) {
    if (lago_table_get(&conn->p->client_properties, field.name.data, NULL) == 1) return true; /* the caller's own wins */
    return lago_table_builder_add(builder, &field) == 0;
}

static lago_table_builder_t *client_properties(const lago_connection_t *conn) {
    static const lago_field_t capabilities[] = {
        LAGO_FIELD_BOOL("publisher_confirms", true), LAGO_FIELD_BOOL("exchange_exchange_bindings", true),
        LAGO_FIELD_BOOL("basic.nack", true),         LAGO_FIELD_BOOL("consumer_cancel_notify", true),
        LAGO_FIELD_BOOL("connection.blocked", true), LAGO_FIELD_BOOL("authentication_failure_close", true),
    };
    static const lago_table_t table = LAGO_TABLE_OF(capabilities);
    const char *name = conn->p->connection_name;
    const lago_field_t ours[] = { lago_field_str("product", "lago"), lago_field_str("version", LAGO_VERSION),
                                  lago_field_str("platform", "C"), lago_field_table("capabilities", table),
                                  lago_field_str("connection_name", name ? name : "") };
    size_t count = sizeof(ours) / sizeof(ours[0]) - (name == NULL);
    lago_table_builder_t *builder = table_builder_new(conn->alloc);
    bool good = builder != NULL;
    for (size_t i = 0; good && i < count; i++) good = add(builder, conn, ours[i]);
    lago_table_iterator_t iterator = lago_table_iterate(&conn->p->client_properties);
    lago_field_t field;
    while (good && lago_table_next(&iterator, &field) == 1) good = lago_table_builder_add(builder, &field) == 0;
    if (good) return builder;
    lago_table_builder_free(builder);
    return NULL;
}

/* ---------------------------------------------------------------- start */

static struct block *shared_properties(const lago_connection_t *conn, const lago_table_t *table) {
    const struct alike *alike = conn->env.alike;
    bool same = alike && alike->server_properties && alike->server_properties_size == table->size &&
                memcmp(block_data(alike->server_properties), table->raw, table->size) == 0;
    return same ? block_ref(alike->server_properties) : NULL;
}

/* The next connection of the context probably talks to the same broker. */
static void share_properties(lago_connection_t *conn) {
    struct alike *alike = conn->env.alike;
    if (!alike) return;
    block_unref(alike->server_properties);
    alike->server_properties = block_ref(conn->server_properties);
    alike->server_properties_size = conn->server_properties_size;
}

static bool keep_server_properties(lago_connection_t *conn, const lago_table_t *table) {
    struct block *kept = shared_properties(conn, table);
    bool shared = kept != NULL;
    if (!shared) kept = block_copy(conn->alloc, table->raw, table->size);
    if (!kept) return false;
    block_unref(conn->server_properties);
    conn->server_properties = kept;
    conn->server_properties_size = table->size;
    if (!shared) share_properties(conn);
    return true;
}

/* As far as is known: what `configure` has done nobody sees. */
static bool has_certificate(const lago_connection_t *conn) {
    const lago_tls_options_t *tls = conn->p->tls;
    return tls && (tls->certificate_file || tls->certificate_pem.data || tls->configure);
}

static void no_mechanism(lago_connection_t *conn, lago_string_t offered) {
    char words[96], detail[140], hint[160];
    struct text t;
    text_init(&t, words, sizeof(words));
    text_add_escaped(&t, offered.data, offered.size, 64);
    text_init(&t, detail, sizeof(detail));
    text_addf(&t, "no login mechanism in common; the broker offers \"%s\"", words);
    text_init(&t, hint, sizeof(hint));
    text_add(&t, "this login may use ");
    credentials_list(&t, &conn->p->credentials);
    if (strstr(hint, "EXTERNAL"))
        text_add(&t, has_certificate(conn) ? "; has the broker rabbitmq_auth_mechanism_ssl?"
                                           : "; EXTERNAL needs TLS with a client certificate");
    refuse(conn, LAGO_EMECHANISM, detail, hint);
}

/* connection.start-ok; the properties are made anew for each attempt. */
static int answer_start(lago_connection_t *conn, const char *mechanism, lago_bytes_t response) {
    lago_table_builder_t *properties = client_properties(conn);
    if (!properties) return LAGO_ENOMEM;
    struct connection_start_ok ok = { .client_properties = lago_table_builder_table(properties),
                                      .mechanism = { mechanism, LAGO_NUL_TERMINATED },
                                      .response = response,
                                      .locale = { conn->p->locale, LAGO_NUL_TERMINATED } };
    int rc = conn->login.assumed ? session_go_ahead(&conn->session, &ok, conn->login.assumed, conn->p->virtual_host)
                                 : session_start_ok(&conn->session, &ok);
    lago_table_builder_free(properties);
    return rc;
}

/* Nobody on the way can read along; of a stream that the caller brought without an address he knows better. */
static bool is_local(const char *endpoint) {
    static const char *const beginnings[] = { "/", "a Unix domain socket", "127.", "[::1]", "[::ffff:127." };
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
        if (strncmp(endpoint, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return *endpoint == '\0';
}

static void warn_of_clear_text(lago_connection_t *conn) {
    bool proxied = conn->p->proxy.type != LAGO_PROXY_NONE && !conn->options.stream_is_given;
    if (conn->p->tls || conn->login.warned || (!proxied && is_local(conn->endpoint))) return;
    conn->login.warned = true;
    log_line(&conn->env, LAGO_LOG_WARNING, "password sent in clear text %s %s (use TLS: amqps://)",
             proxied ? "through the proxy" : "to", conn->endpoint);
}

/* By one of lago's own mechanisms: its response is made here and wiped at once. */
static int answer_by_ours(lago_connection_t *conn, const char *username, const char *password) {
    const struct mechanism *ours = conn->login.mechanism.ours;
    size_t size = 0;
    if (!ours->response) return answer_start(conn, ours->name, (lago_bytes_t){ "", 0 });
    uint8_t *response = ours->response(conn->alloc, username, password, &size);
    if (!response) return LAGO_ENOMEM;
    int rc = answer_start(conn, ours->name, (lago_bytes_t){ response, size });
    mem_wipe(response, size);
    mem_free(conn->alloc, response);
    if (rc == 0) warn_of_clear_text(conn);
    return rc;
}

static void answer_at_once(lago_connection_t *conn) {
    int rc = answer_by_ours(conn, conn->p->credentials.username, conn->p->credentials.password);
    if (rc == LAGO_ETOOBIG)
        refuse(conn, LAGO_EPARAMETER, "password and client_properties do not fit into a frame of 4096 bytes", NULL);
    else if (rc < 0)
        refuse(conn, rc, NULL, NULL);
}

int login_go_ahead(lago_connection_t *conn, const struct chosen_mechanism *mechanism, const lago_tune_t *tune) {
    conn->login.mechanism = *mechanism;
    conn->login.assumed = tune;
    int rc = answer_by_ours(conn, conn->p->credentials.username, conn->p->credentials.password);
    conn->login.assumed = NULL;
    return rc;
}

/* Ask the caller's mechanism. Nothing may be touched afterwards: it may have done anything. */
static void ask(lago_connection_t *conn, lago_bytes_t asked) {
    struct login *login = &conn->login;
    const lago_mechanism_t *own = login->mechanism.own;
    lago_challenge_t challenge = { .ticket = ++login->tickets, .round = login->round, .asked = asked };
    login->awaited = challenge.ticket;
    own->on_challenge(conn, &challenge, own->data);
}

/* Ask for credentials, the same. */
static void ask_for_login(lago_connection_t *conn) {
    const lago_credentials_t *who = &conn->p->credentials;
    lago_login_request_t request = { .ticket = ++conn->login.tickets, .mechanism = conn->login.mechanism.ours->name };
    conn->login.awaited = request.ticket;
    who->on_login(conn, &request, who->login_data);
}

static void choose(lago_connection_t *conn, lago_string_t offered) {
    struct login *login = &conn->login;
    login_stop(conn);
    login->round = 0;
    if (!credentials_choose(&conn->p->credentials, offered, &login->mechanism))
        no_mechanism(conn, offered);
    else if (login->mechanism.own)
        ask(conn, (lago_bytes_t){ "", 0 });
    else if (login->mechanism.ours->response && conn->p->credentials.on_login)
        ask_for_login(conn);
    else
        answer_at_once(conn);
}

void login_start(lago_connection_t *conn, const struct connection_start *args) {
    if (args->version_major != 0 || args->version_minor != 9) {
        char detail[96];
        struct text t;
        text_init(&t, detail, sizeof(detail));
        text_addf(&t, "the broker speaks AMQP %u-%u, not 0-9-1", args->version_major, args->version_minor);
        refuse(conn, LAGO_EVERSION, detail, NULL);
    } else if (!keep_server_properties(conn, &args->server_properties)) {
        refuse(conn, LAGO_ENOMEM, NULL, NULL);
    } else {
        lago_string_t offered = { args->mechanisms.data, args->mechanisms.size };
        if (!fast_started(conn, offered)) choose(conn, offered);
    }
}

/* ---------------------------------------------------------------- further rounds */

void login_secure(lago_connection_t *conn, const struct connection_secure *args) {
    struct login *login = &conn->login;
    if (!login->mechanism.own)
        refuse(conn, LAGO_EMECHANISM, "the broker asks for a second login round, which this mechanism does not have", NULL);
    else if (++login->round > LAGO_LOGIN_ROUNDS_MAX)
        refuse(conn, LAGO_EMECHANISM, "the broker asks for more than 8 login rounds", NULL);
    else
        ask(conn, args->challenge);
}

/* ---------------------------------------------------------------- the application's answers */

/* What an answer with this ticket would be. */
enum answer { ANSWER_LATE, ANSWER_CHALLENGE, ANSWER_LOGIN, ANSWER_REFRESH };

static enum answer answer_of(const lago_connection_t *conn, uint64_t ticket) {
    const struct login *login = &conn->login;
    bool asking = conn->session.state == SESSION_STARTING || conn->session.state == SESSION_SECURING;
    if (ticket == 0 || login->awaited != ticket) return ANSWER_LATE;
    bool open = conn->stage == STAGE_OPEN && conn->session.state == SESSION_OPEN;
    if (login->refreshing) return open ? ANSWER_REFRESH : ANSWER_LATE;
    if (!asking) return ANSWER_LATE;
    return login->mechanism.own ? ANSWER_CHALLENGE : ANSWER_LOGIN;
}

/* It was taken: nobody waits any more. */
static int taken(lago_connection_t *conn) {
    conn->login.awaited = 0;
    conn->login.refreshing = false;
    connection_wake(conn, false);
    return 0;
}

int lago_login_respond(lago_connection_t *conn, uint64_t ticket, lago_bytes_t response) {
    if (!conn || (response.size && !response.data)) return LAGO_EINVAL;
    if (answer_of(conn, ticket) != ANSWER_CHALLENGE) return LAGO_ESTALE;
    connection_touch(conn);
    int rc = conn->login.round == 0 ? answer_start(conn, conn->login.mechanism.own->name, response)
                                    : session_secure_ok(&conn->session, response);
    return rc < 0 ? rc : taken(conn);
}

static int provide_first(lago_connection_t *conn, const lago_login_t *login) {
    const char *username = login->username ? login->username : conn->p->credentials.username;
    if (parameters_name_problem(username)) return LAGO_ETOOLONG;
    if (login->expires_in_s && timers_reserve(&conn->timers) < 0) return LAGO_ENOMEM;
    int rc = answer_by_ours(conn, username, login->password);
    return rc < 0 ? rc : refresh_schedule(conn, login->expires_in_s);
}

int lago_login_provide(lago_connection_t *conn, uint64_t ticket, const lago_login_t *login) {
    if (!conn || !login || !login->password || !RESERVED_IS_ZERO(login)) return LAGO_EINVAL;
    enum answer answer = answer_of(conn, ticket);
    if (answer != ANSWER_LOGIN && answer != ANSWER_REFRESH) return LAGO_ESTALE;
    connection_touch(conn);
    int rc = answer == ANSWER_LOGIN ? provide_first(conn, login) : refresh_provided(conn, login);
    return rc < 0 ? rc : taken(conn);
}

int lago_login_refuse(lago_connection_t *conn, uint64_t ticket, const char *why) {
    if (!conn) return LAGO_EINVAL;
    enum answer answer = answer_of(conn, ticket);
    if (answer == ANSWER_LATE) return LAGO_ESTALE;
    connection_touch(conn);
    (void)taken(conn);
    if (answer == ANSWER_REFRESH) {
        refresh_refused(conn, why);
        return 0;
    }
    refuse(conn, LAGO_EAUTH, why ? why : "the application gave the login up", NULL);
    connection_wake(conn, true);
    return 0;
}

/* ---------------------------------------------------------------- ends */

void login_stop(lago_connection_t *conn) {
    conn->login.awaited = 0;
    refresh_stop(conn);
}

const char *login_silence(const lago_connection_t *conn) {
    if (!conn->login.awaited) return NULL;
    return conn->login.mechanism.own ? "the application has not answered on_challenge"
                                     : "the application has not answered on_login";
}

void login_describe(const lago_connection_t *conn, lago_reason_t *reason) {
    const struct chosen_mechanism *mechanism = &conn->login.mechanism;
    const lago_credentials_t *who = &conn->p->credentials;
    char user[80];
    struct text t;
    if (reason->code == LAGO_ELOST && login_silence(conn)) /* RabbitMQ waits 10 s for start-ok (handshake_timeout) */
        reason_hint(reason, "%s", login_silence(conn));
    if (reason->code != LAGO_EAUTH || reason->origin == LAGO_BY_CLIENT) return;
    bool told = reason->detail[0] != '\0';
    if (mechanism->own) {
        if (!told) reason_detail(reason, "login by %.64s refused", mechanism->own->name);
        reason_hint(reason, "check what the mechanism answers");
    } else if (!mechanism->ours->response) { /* who is refused has said by what he logs in */
        if (!told) reason_detail(reason, "login by %s refused", mechanism->ours->name);
        reason_hint(reason, has_certificate(conn)
                                ? "check that the client certificate names a user of the broker (ssl_cert_login_from)"
                                : "EXTERNAL takes the user from a TLS client certificate, and here is none");
    } else if (who->on_login) {
        if (!told) reason_detail(reason, "login refused for what on_login provided");
        reason_hint(reason, "check user name and password, or the token");
    } else {
        text_init(&t, user, sizeof(user));
        text_add_escaped(&t, who->username, strlen(who->username), 64);
        if (!told) reason_detail(reason, "login refused for user '%.70s'", user);
        reason_hint(reason, "check user name and password");
    }
}

/* ---------------------------------------------------------------- tune */

/* The smaller (pika, and 1.4.2.6); 0 is "no opinion", which we never have. */
static uint32_t smaller(uint32_t ours, uint32_t theirs) { return theirs == 0 || ours < theirs ? ours : theirs; }

static uint16_t heartbeat(const lago_connection_t *conn, uint16_t theirs) {
    const lago_parameters_t *p = conn->p;
    if (p->heartbeat_cb) return p->heartbeat_cb(theirs, p->heartbeat_data);
    if (p->heartbeat_s == LAGO_HEARTBEAT_OFF) return 0;
    if (p->heartbeat_s) return (uint16_t)p->heartbeat_s;
    return theirs < LAGO_BROKER_HEARTBEAT_MAX_S ? theirs : LAGO_BROKER_HEARTBEAT_MAX_S;
}

lago_tune_t login_negotiate(const lago_connection_t *conn, const lago_tune_t *offered) {
    return (lago_tune_t){ .channel_max = (uint16_t)smaller(conn->p->channel_max, offered->channel_max),
                          .frame_max = smaller(conn->p->frame_max, offered->frame_max),
                          .heartbeat_s = heartbeat(conn, offered->heartbeat_s) };
}

void login_tune(lago_connection_t *conn, const struct connection_tune *args) {
    lago_tune_t offered = { args->channel_max, args->frame_max, args->heartbeat };
    lago_tune_t tune = login_negotiate(conn, &offered);
    if (tune.frame_max < FRAME_MIN_SIZE) {
        char detail[96];
        struct text t;
        text_init(&t, detail, sizeof(detail));
        text_addf(&t, "the broker offers frame_max %lu, the protocol's minimum is 4096", (unsigned long)tune.frame_max);
        refuse(conn, LAGO_EFRAMEMAX, detail, NULL);
        return;
    }
    dial_phase_done(conn, LAGO_METRIC_HANDSHAKE);
    if (fast_tuned(conn, &offered, &tune)) return;
    int rc = session_tune_ok(&conn->session, &tune, conn->p->virtual_host);
    if (rc < 0) refuse(conn, rc, NULL, NULL);
}
