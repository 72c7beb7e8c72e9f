/*
 * The handshake's answers: which mechanism, who we say we are, and what is negotiated (1.4.2.1 to 1.4.2.6, and RabbitMQ's
 * capabilities). Secrets live in one buffer, wiped when it has been encoded; the output queue wipes its own copy.
 */
#include "alloc.h"
#include "connection.h"
#include "frame.h"
#include "reason.h"
#include "table.h"
#include "text.h"
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

/* ---------------------------------------------------------------- mechanisms */

/* Exact tokens, separated by spaces. */
static bool offers(lago_bytes_t mechanisms, const char *name) {
    const char *at = mechanisms.data, *end = at + mechanisms.size;
    size_t size = strlen(name);
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t token = (size_t)((space ? space : end) - at);
        if (token == size && memcmp(at, name, size) == 0) return true;
        at += token + 1;
        if (!space) break;
    }
    return false;
}

/* RFC 4616: authorization id (none), NUL, user, NUL, password. */
static uint8_t *plain_response(const lago_connection_t *conn, size_t *size) {
    const lago_credentials_t *who = &conn->p->credentials;
    size_t user = strlen(who->username), password = strlen(who->password);
    *size = 1 + user + 1 + password;
    uint8_t *response = mem_zero(conn->alloc, *size, 1);
    if (!response) return NULL;
    memcpy(response + 1, who->username, user);
    memcpy(response + 1 + user + 1, who->password, password);
    return response;
}

/* RabbitMQ: a table without its size. */
static uint8_t *amqplain_response(const lago_connection_t *conn, size_t *size) {
    const lago_credentials_t *who = &conn->p->credentials;
    lago_field_t fields[] = { lago_field_str("LOGIN", who->username), lago_field_str("PASSWORD", who->password) };
    lago_table_t table = LAGO_TABLE_OF(fields);
    struct writer w = writer_measure();
    table_write(&w, &table);
    size_t whole = w.size;
    uint8_t *response = mem_alloc(conn->alloc, whole);
    if (!response) return NULL;
    w = writer_over(response, whole);
    table_write(&w, &table);
    *size = whole - 4;
    memmove(response, response + 4, *size);
    return response;
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

static void no_mechanism(lago_connection_t *conn, lago_bytes_t offered) {
    char words[96], detail[140];
    struct text t;
    text_init(&t, words, sizeof(words));
    text_add_escaped(&t, offered.data, offered.size, 64);
    text_init(&t, detail, sizeof(detail));
    text_addf(&t, "no login mechanism in common; the broker offers \"%s\"", words);
    refuse(conn, LAGO_EMECHANISM, detail, "lago has PLAIN and AMQPLAIN");
}

static void answer_start(lago_connection_t *conn, const char *mechanism, uint8_t *response, size_t size) {
    lago_table_builder_t *properties = response ? client_properties(conn) : NULL;
    int rc = LAGO_ENOMEM;
    if (properties) {
        struct connection_start_ok ok = { .client_properties = lago_table_builder_table(properties),
                                          .mechanism = { mechanism, LAGO_NUL_TERMINATED },
                                          .response = { response, size },
                                          .locale = { conn->p->locale, LAGO_NUL_TERMINATED } };
        rc = session_start_ok(&conn->session, &ok);
    }
    lago_table_builder_free(properties);
    if (response) mem_wipe(response, size);
    mem_free(conn->alloc, response);
    if (rc == LAGO_ETOOBIG)
        refuse(conn, LAGO_EPARAMETER, "password and client_properties do not fit into a frame of 4096 bytes", NULL);
    else if (rc < 0)
        refuse(conn, rc, NULL, NULL);
}

void login_start(lago_connection_t *conn, const struct connection_start *args) {
    size_t size = 0;
    if (args->version_major != 0 || args->version_minor != 9) {
        char detail[96];
        struct text t;
        text_init(&t, detail, sizeof(detail));
        text_addf(&t, "the broker speaks AMQP %u-%u, not 0-9-1", args->version_major, args->version_minor);
        refuse(conn, LAGO_EVERSION, detail, NULL);
        return;
    }
    if (!keep_server_properties(conn, &args->server_properties)) {
        refuse(conn, LAGO_ENOMEM, NULL, NULL);
        return;
    }
    unsigned allowed = conn->p->credentials.mechanisms;
    if ((allowed & LAGO_MECHANISM_PLAIN) && offers(args->mechanisms, "PLAIN")) {
        uint8_t *response = plain_response(conn, &size);
        answer_start(conn, "PLAIN", response, size);
    } else if ((allowed & LAGO_MECHANISM_AMQPLAIN) && offers(args->mechanisms, "AMQPLAIN")) {
        uint8_t *response = amqplain_response(conn, &size);
        answer_start(conn, "AMQPLAIN", response, size);
    } else {
        no_mechanism(conn, args->mechanisms);
    }
}

/* Neither PLAIN nor AMQPLAIN has a second round. */
void login_secure(lago_connection_t *conn) {
    refuse(conn, LAGO_EMECHANISM, "the broker asks for a second login round, which this mechanism does not have", NULL);
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
    int rc = session_tune_ok(&conn->session, &tune, conn->p->virtual_host);
    if (rc < 0) refuse(conn, rc, NULL, NULL);
}
