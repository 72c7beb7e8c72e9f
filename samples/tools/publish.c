/*
 * lago-publish: publish a message, or with -l each line of stdin, and know that the broker has it.
 *
 *   lago-publish [-e EXCHANGE] [-r KEY] [-p] [-C TYPE] [-E ENCODING] [-t QUEUE] [-H "NAME: VALUE"]... [-b BODY | -l]
 *
 * Every message is published mandatory and with confirms. One that no queue took, that the broker refused, or of which nothing
 * was heard is a failure: nothing more is published, and the exit code is 1.
 */
#include "arguments.h"
#include "lines.h"
#include "options.h"
#include "program.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 200

/*
 * How many messages may be without a confirm. The broker confirms in batches, and this is plenty for one; it is also how much may
 * be there twice when somebody publishes the rest of a file again after a crash.
 */
#define UNCONFIRMED_MAX 4096

static char *exchange, *routing_key, *content_type, *content_encoding, *reply_to, *body, **headers;
static int delivery_mode = LAGO_TRANSIENT, by_line, not_mandatory;

static program_t program;
static lago_properties_t properties;
static lines_t lines;
static uint64_t sent, confirmed, failed; /* each message that was sent ends in one of the two */
static bool is_all_sent;
static bool shows_progress;

/* ---------------------------------------------------------------- what became of it */

static void publish_more(program_t *p);

static void fail_message(program_t *p, uint64_t number, const char *why) {
    if (by_line)
        program_complain(p, "line %" PRIu64 ": %s", number, why);
    else
        program_complain(p, "%s", why);
}

static void on_bad_outcome(program_t *p, const lago_publish_result_t *result) {
    char why[640];
    failed++;
    switch (result->outcome) {
    case LAGO_PUBLISH_RETURNED:
        snprintf(why, sizeof why, "unroutable: no queue is bound under this routing key (%u)", result->reply_code);
        break;
    case LAGO_PUBLISH_NACKED: snprintf(why, sizeof why, "the broker refused the message (nack): is the queue full?"); break;
    default: /* the channel or the connection has ended */
        if (result->reason->code == LAGO_ECLOSED && result->reason->origin == LAGO_BY_CLIENT) return;
        size_t size = (size_t)snprintf(why, sizeof why, "%s: ",
                                       result->outcome == LAGO_PUBLISH_UNKNOWN ? "the message may or may not have arrived"
                                                                               : "the message was not sent");
        lago_reason_format(result->reason, why + size, sizeof why - size);
    }
    fail_message(p, result->sequence_number, why);
}

/* Called exactly once for each message, also if channel or connection die. */
static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    program_t *p = data;
    (void)ch;
    if (result->outcome == LAGO_PUBLISH_CONFIRMED)
        confirmed++;
    else
        on_bad_outcome(p, result);
    publish_more(p);
}

/* ---------------------------------------------------------------- publishing */

/* Whether the message was accepted; its bytes are copied before the call returns. */
static bool publish(program_t *p, lago_bytes_t message) {
    lago_basic_publish_t args = {
        .exchange = exchange,
        .routing_key = routing_key,
        .mandatory = !not_mandatory,
        .properties = &properties,
        .body = message,
    };
    int64_t rc = lago_basic_publish(p->ch, &args, on_outcome, p);
    if (rc == LAGO_EAGAIN) return false; /* too much waits to be written: on_drain will tell when to go on */
    if (!program_took(p, "cannot publish", rc)) return false;
    sent++;
    return true;
}

static void on_read(void *data, int error, size_t count) {
    program_t *p = data;
    if (error) {
        program_complain(p, "cannot read standard input: %s", uv_strerror(error));
        return;
    }
    lines_got(&lines, count);
    publish_more(p);
}

static void publish_lines(program_t *p) {
    lago_bytes_t line;
    while (!program_is_ending(p) && sent - confirmed - failed < UNCONFIRMED_MAX) {
        switch (lines_next(&lines, &line)) {
        case LINES_ONE:
            if (!publish(p, line)) return;
            lines_take(&lines, line);
            break;
        case LINES_MORE: program_took(p, "cannot read standard input", lines_read(&lines, &p->loop, on_read, p)); return;
        case LINES_NONE: is_all_sent = true; return;
        default: fail_message(p, sent + 1, "longer than 128 MiB"); return;
        }
    }
}

/* Keep the window of unconfirmed messages full; go when the last one is settled. */
static void publish_more(program_t *p) {
    if (program_is_ending(p) || lines.io.is_busy) return;
    if (!is_all_sent && !body)
        publish_lines(p);
    else if (!is_all_sent)
        is_all_sent = publish(p, (lago_bytes_t){ body, strlen(body) });
    if (is_all_sent && sent == confirmed + failed) program_close(p);
}

static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn;
    publish_more(data);
}

/* ---------------------------------------------------------------- progress, or none */

static void show_progress(void) {
    if (shows_progress) fprintf(stderr, "\r%s: sent %" PRIu64 ", confirmed %" PRIu64 " ", options_program(), sent, confirmed);
}

static void clear_progress(void) {
    if (shows_progress) fputs("\r\033[K", stderr);
}

/* A broker that takes nothing and confirms nothing, though it lets the connection live; an alarm has a timeout of its own. */
static void check_progress(program_t *p) {
    static uint64_t last_change, last_seen;
    uint64_t now = uv_now(&p->loop), seen = lago_connection_counters(p->conn).bytes_sent + confirmed;
    bool is_waiting = sent > confirmed + failed && !lago_connection_is_blocked(p->conn);
    if (!is_waiting || seen != last_seen || last_change == 0) {
        last_seen = seen;
        last_change = now;
    } else if (options_timeout_ms() > 0 && now - last_change >= options_timeout_ms()) {
        program_complain(p, "the broker has confirmed nothing for %u s", (unsigned)(options_timeout_ms() / 1000));
    }
}

static void on_tick(lago_connection_t *conn, int status, void *data) {
    program_t *p = data;
    if (status < 0 || program_is_ending(p)) return;
    show_progress();
    check_progress(p);
    lago_connection_call_later(conn, TICK_MS, on_tick, p, NULL); /* only a connection that ends refuses this */
}

/* ---------------------------------------------------------------- the program */

static void on_confirm_selected(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    if (reason) program_fail(data, "cannot have publishes confirmed", reason);
}

static void start(program_t *p) {
    if (!program_took(p, "cannot have publishes confirmed", lago_confirm_select(p->ch, NULL, on_confirm_selected, p))) return;
    on_tick(p->conn, 0, p);
    publish_more(p);
}

static void set_properties(const lago_table_builder_t *table) {
    properties = (lago_properties_t){
        .content_type = content_type,
        .content_encoding = content_encoding,
        .reply_to = reply_to,
        .delivery_mode = (uint8_t)delivery_mode,
        .headers = arguments_table(table),
    };
}

int main(int argc, char **argv) {
    struct poptOption known[] = {
        { "exchange", 'e', POPT_ARG_STRING, &exchange, 0, "the exchange to publish to", "exchange" },
        { "routing-key", 'r', POPT_ARG_STRING, &routing_key, 0, "the routing key to publish with", "routing key" },
        { "persistent", 'p', POPT_ARG_VAL, &delivery_mode, LAGO_PERSISTENT, "use the persistent delivery mode", NULL },
        { "content-type", 'C', POPT_ARG_STRING, &content_type, 0, "the content-type for the message", "content type" },
        { "reply-to", 't', POPT_ARG_STRING, &reply_to, 0, "the replyTo to use for the message", "reply to" },
        { "line-buffered", 'l', POPT_ARG_VAL, &by_line, 1, "treat each line from standard in as a separate message", NULL },
        { "content-encoding", 'E', POPT_ARG_STRING, &content_encoding, 0, "the content-encoding for the message",
          "content encoding" },
        { "header", 'H', POPT_ARG_ARGV, &headers, 0, "set a message header (may be specified multiple times)", "\"key: value\"" },
        { "body", 'b', POPT_ARG_STRING, &body, 0, "specify the message body", "body" },
        { "no-mandatory", '\0', POPT_ARG_VAL, &not_mandatory, 1, "it is no failure if no queue takes the message", NULL },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    options_read(argc, argv, known, NULL);
    if (!exchange && !routing_key) options_fail("neither exchange nor routing key specified");
    if (body && by_line) options_fail("--body and --line-buffered options cannot be used at the same time");
    lago_table_builder_t *table = headers_parse(headers);
    set_properties(table);
    lines.whole = !by_line;
    shows_progress = by_line && isatty(STDERR_FILENO) && !isatty(STDIN_FILENO);

    program.on_drain = on_drain;
    program_run(&program, start);
    clear_progress();
    lago_table_builder_free(table);
    lines_free(&lines);

    char more[96] = "";
    if (by_line && program.signum) program_note("interrupted: %" PRIu64 " of %" PRIu64 " lines are confirmed", confirmed, sent);
    if (by_line && sent > 0) snprintf(more, sizeof more, "; %" PRIu64 " of %" PRIu64 " lines are confirmed", confirmed, sent);
    return program_end(&program, more);
}
