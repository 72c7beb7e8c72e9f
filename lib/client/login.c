/*
 * The handshake's answers: which mechanism, who we say we are, and what is negotiated (1.4.2.1 to 1.4.2.6, and RabbitMQ's
 * capabilities). Secrets live in one buffer, wiped when it has been encoded; the output queue wipes its own copy.
 */
#include "alloc.h"
#include "connection.h"
#include "frame.h"
#include "mechanism.h"
#include "reason.h"
#include "table.h"
#include "text.h"
#include <lago/login.h>
#include <lago/version.h>
#include <string.h>

/* pika's, when neither side has an opinion. */
#define CHANNEL_MAX_DEFAULT UINT16_MAX
#define FRAME_MAX_DEFAULT   131072u

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
    lago_table_builder_t *builder = table_builder_new(conn->alloc);
    bool good = builder && add(builder, conn, lago_field_str("product", "lago")) &&
                add(builder, conn, lago_field_str("version", LAGO_VERSION)) &&
                add(builder, conn, lago_field_str("platform", "C")) &&
                add(builder, conn, lago_field_table("capabilities", table)) &&
                (!conn->p->connection_name || add(builder, conn, lago_field_str("connection_name", conn->p->connection_name)));
    lago_table_iterator_t iterator = lago_table_iterate(&conn->p->client_properties);
    lago_field_t field;
    while (good && lago_table_next(&iterator, &field) == 1) good = lago_table_builder_add(builder, &field) == 0;
    if (good) return builder;
    lago_table_builder_free(builder);
    return NULL;
}

/* ---------------------------------------------------------------- start */

static bool keep_server_properties(lago_connection_t *conn, const lago_table_t *table) {
    uint8_t *copy = table->size ? mem_alloc(conn->alloc, table->size) : NULL;
    if (table->size && !copy) return false;
    if (copy) memcpy(copy, table->raw, table->size);
    mem_free(conn->alloc, conn->server_properties);
    conn->server_properties = copy;
    conn->server_properties_size = table->size;
    return true;
}

/* "PLAIN, AMQPLAIN": what this login may use. */
static void list_allowed(struct text *t, const lago_credentials_t *who) {
    for (size_t i = 0; i < who->own_mechanism_count; i++) text_addf(t, "%s%.64s", i ? ", " : "", who->own_mechanisms[i].name);
    const char *separator = who->own_mechanism_count ? ", " : "";
    if (who->mechanisms & LAGO_MECHANISM_PLAIN) {
        text_addf(t, "%sPLAIN", separator);
        separator = ", ";
    }
    if (who->mechanisms & LAGO_MECHANISM_AMQPLAIN) text_addf(t, "%sAMQPLAIN", separator);
}

static void no_mechanism(lago_connection_t *conn, lago_bytes_t offered) {
    char words[96], detail[140], hint[140];
    struct text t;
    text_init(&t, words, sizeof(words));
    text_add_escaped(&t, offered.data, offered.size, 64);
    text_init(&t, detail, sizeof(detail));
    text_addf(&t, "no login mechanism in common; the broker offers \"%s\"", words);
    text_init(&t, hint, sizeof(hint));
    text_add(&t, "this login may use ");
    list_allowed(&t, &conn->p->credentials);
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
    int rc = session_start_ok(&conn->session, &ok);
    lago_table_builder_free(properties);
    return rc;
}

/* One of lago's own mechanisms: its response is made here and wiped at once. */
static void answer_at_once(lago_connection_t *conn, const struct mechanism *mechanism) {
    size_t size = 0;
    uint8_t *response = mechanism->response(conn->alloc, &conn->p->credentials, &size);
    int rc = response ? answer_start(conn, mechanism->name, (lago_bytes_t){ response, size }) : LAGO_ENOMEM;
    if (response) mem_wipe(response, size);
    mem_free(conn->alloc, response);
    if (rc == LAGO_ETOOBIG)
        refuse(conn, LAGO_EPARAMETER, "password and client_properties do not fit into a frame of 4096 bytes", NULL);
    else if (rc < 0)
        refuse(conn, rc, NULL, NULL);
}

/* Ask the caller's mechanism. Nothing may be touched afterwards: it may have done anything. */
static void ask(lago_connection_t *conn, lago_bytes_t asked) {
    struct login *login = &conn->login;
    lago_challenge_t challenge = { .ticket = ++login->tickets, .round = login->round, .asked = asked };
    login->awaited = challenge.ticket;
    login->own->on_challenge(conn, &challenge, login->own->data);
}

/* The caller's mechanisms in his order, then lago's own. */
static void choose(lago_connection_t *conn, lago_bytes_t offered) {
    const lago_credentials_t *who = &conn->p->credentials;
    conn->login.own = NULL;
    conn->login.round = 0;
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        if (!mechanism_is_offered(offered, who->own_mechanisms[i].name)) continue;
        conn->login.own = &who->own_mechanisms[i];
        ask(conn, (lago_bytes_t){ "", 0 });
        return;
    }
    const struct mechanism *mechanism = mechanism_choose(offered, who->mechanisms);
    if (mechanism)
        answer_at_once(conn, mechanism);
    else
        no_mechanism(conn, offered);
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
        choose(conn, args->mechanisms);
    }
}

/* ---------------------------------------------------------------- further rounds */

void login_secure(lago_connection_t *conn, const struct connection_secure *args) {
    struct login *login = &conn->login;
    if (!login->own)
        refuse(conn, LAGO_EMECHANISM, "the broker asks for a second login round, which this mechanism does not have", NULL);
    else if (++login->round > LAGO_LOGIN_ROUNDS_MAX)
        refuse(conn, LAGO_EMECHANISM, "the broker asks for more than 8 login rounds", NULL);
    else
        ask(conn, args->challenge);
}

/* Whether the broker still waits for this answer. */
static bool is_awaited(const lago_connection_t *conn, uint64_t ticket) {
    bool asking = conn->session.state == SESSION_STARTING || conn->session.state == SESSION_SECURING;
    return asking && conn->stage == STAGE_DIALING && ticket != 0 && conn->login.awaited == ticket;
}

int lago_login_respond(lago_connection_t *conn, uint64_t ticket, lago_bytes_t response) {
    if (!conn || (response.size && !response.data)) return LAGO_EINVAL;
    if (!is_awaited(conn, ticket)) return LAGO_ESTALE;
    connection_touch(conn);
    int rc = conn->login.round == 0 ? answer_start(conn, conn->login.own->name, response)
                                    : session_secure_ok(&conn->session, response);
    if (rc < 0) return rc;
    conn->login.awaited = 0;
    connection_wake(conn, false);
    return 0;
}

int lago_login_refuse(lago_connection_t *conn, uint64_t ticket, const char *why) {
    if (!conn) return LAGO_EINVAL;
    if (!is_awaited(conn, ticket)) return LAGO_ESTALE;
    connection_touch(conn);
    conn->login.awaited = 0;
    refuse(conn, LAGO_EAUTH, why ? why : "the application gave the login up", NULL);
    connection_wake(conn, true);
    return 0;
}

/* ---------------------------------------------------------------- tune */

/* 0 is "no opinion"; else the smaller (pika, and 1.4.2.6). */
static uint32_t smaller(uint32_t ours, uint32_t theirs) {
    if (ours == 0 || theirs == 0) return ours ? ours : theirs;
    return ours < theirs ? ours : theirs;
}

static uint16_t heartbeat(const lago_connection_t *conn, uint16_t theirs) {
    const lago_parameters_t *p = conn->p;
    if (p->heartbeat_cb) return p->heartbeat_cb(theirs, p->heartbeat_data);
    if (p->heartbeat_s == LAGO_HEARTBEAT_OFF) return 0;
    return p->heartbeat_s ? (uint16_t)p->heartbeat_s : theirs;
}

void login_tune(lago_connection_t *conn, const struct connection_tune *args) {
    uint32_t channel_max = smaller(conn->p->channel_max, args->channel_max);
    uint32_t frame_max = smaller(conn->p->frame_max, args->frame_max);
    lago_tune_t tune = { .channel_max = (uint16_t)(channel_max ? channel_max : CHANNEL_MAX_DEFAULT),
                         .frame_max = frame_max ? frame_max : FRAME_MAX_DEFAULT,
                         .heartbeat_s = heartbeat(conn, args->heartbeat) };
    if (tune.frame_max < FRAME_MIN_SIZE) {
        char detail[96];
        struct text t;
        text_init(&t, detail, sizeof(detail));
        text_addf(&t, "the broker offers frame_max %lu, the protocol's minimum is 4096", (unsigned long)tune.frame_max);
        refuse(conn, LAGO_EFRAMEMAX, detail, NULL);
        return;
    }
    dial_phase_done(conn, LAGO_METRIC_HANDSHAKE);
    int rc = session_tune_ok(&conn->session, &tune, conn->p->virtual_host);
    if (rc < 0) refuse(conn, rc, NULL, NULL);
}
