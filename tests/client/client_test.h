/*
 * A connection under test that keeps a journal: every callback writes a few words, so a test says what must have happened, and
 * in which order, in one line. Ends are written by the name of their code without LAGO_, successes as "ok".
 */
#ifndef CLIENT_TEST_H
#define CLIENT_TEST_H

#include "server.h"
#include "virtual.h"
#include <lago.h>

#define PROBES_MAX 256

/* What the network of struct virtual says: libuv's codes, as they are on Linux. */
#define BROKEN_PIPE (-32)   /* UV_EPIPE */
#define RESET       (-104)  /* UV_ECONNRESET */
#define REFUSED     (-111)  /* UV_ECONNREFUSED */
#define UNREACHABLE (-113)  /* UV_EHOSTUNREACH */
#define NO_NAME     (-3008) /* UV_EAI_NONAME */
#define END_OF_FILE (-4095) /* UV_EOF */

/* `data` of a callback: what to call it in the journal. */
struct probe {
    struct client_test *t;
    const char *name;
    unsigned calls;
};

struct client_test {
    struct virtual v;
    lago_connection_t *conn;
    struct probe probes[PROBES_MAX];
    size_t probe_count;
    struct probe *self; /* of the connection */
    char journal[32768];
    size_t journal_size;
};

void client_init(struct client_test *t);

/* Connect with every callback noted: "open", "open_error ECONNECT", "close ECLOSED", "blocked", "drain", "free" ... */
void client_connect(struct client_test *t, const char *url);
void client_connect_with(struct client_test *t, const lago_parameters_t *parameters);

/* Connected, shaken hands, "open" noted and forgotten. */
void client_open(struct client_test *t);

/* After client_init, connected and shaken hands with other options than those; what was noted is forgotten. */
void client_open_options(struct client_test *t, const lago_connection_options_t *options);

/* A channel with every callback noted ("1 open", "1 close ECHANNEL" ...); and the same, answered and forgotten. */
lago_channel_t *client_channel(struct client_test *t);
lago_channel_t *client_open_channel(struct client_test *t);

/* The first channel, open and in confirm mode. */
lago_channel_t *client_confirming_channel(struct client_test *t);

/* Free the handle, run to the end: nothing may be left in the allocator. */
void client_end(struct client_test *t);

/* Options as the functions above use them, for tests that change some. */
lago_connection_options_t client_options(struct client_test *t);
lago_channel_options_t client_channel_options(struct client_test *t);

void note(struct client_test *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A name for what is called back. */
struct probe *probe(struct client_test *t, const char *name);

const char *code_name(int code);

/* How many attempts lago_connection_attempt tells of. */
size_t client_attempt_count(const struct client_test *t);

/* The journal since the last look is exactly this, entries separated by "; ". For files that include cmocka. */
#define assert_journal(t, expected)                                                                                              \
    do {                                                                                                                         \
        assert_string_equal((t)->journal, expected);                                                                             \
        journal_clear(t);                                                                                                        \
    } while (0)
void journal_clear(struct client_test *t);

/* Callbacks of every type; `data` is a probe. */
void noted_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void noted_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void noted_return(lago_channel_t *ch, const lago_return_t *returned, void *data);
void noted_flow(lago_channel_t *ch, bool active, void *data);
void noted_done(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void noted_declare(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data);
void noted_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data);
void noted_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data);
void noted_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data);
void noted_get(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data);
void noted_publish(lago_channel_t *ch, const lago_publish_result_t *result, void *data);
void noted_message(lago_channel_t *ch, const lago_message_t *message, void *data);
void noted_body(lago_channel_t *ch, const lago_body_t *body,
                void *data); /* "<name> <tag> begins 0+3/5", "<name> <tag> 3+2/5 ends" */
void noted_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data);
void noted_timer(lago_connection_t *conn, int status, void *data);
void noted_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void noted_free(void *data);    /* "<name> free" */
void noted_release(void *data); /* "<name> released" */

#endif
