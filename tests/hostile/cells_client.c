/*
 * The same table once more for a whole client: places are what the application waits for, and the letters are what it is told.
 *   .  nothing              e  something, and channel and connection live     x  its channel's end
 *   k  the connection's end, by the broker's close        d  by its close-ok, as the application wanted        q  that it never opened
 *   0 to 5  a connection.close with that reply code, of ours: what was waited for fails, and the connection has ended by LAGO_EPROTOCOL
 */
#include "client_test.h"
#include "hostile.h"

#include <stdio.h>

#define COLUMNS 20

static struct client_test test;
static struct client_test *const t = &test;
static lago_channel_t *ch;
static bool over; /* the connection had ended before anything was said */

/* ---------------------------------------------------------------- places */

static void at_wait_start(void) {
    client_init(t);
    client_connect(t, NULL);
    virtual_run(&t->v);
}

static void at_wait_tune(void) {
    at_wait_start();
    server_send(&t->v, SERVER_START);
}

static void at_wait_open(void) {
    at_wait_tune();
    server_send(&t->v, "0 connection.tune channel_max=10 frame_max=8192 heartbeat=60");
}

static void at_idle(void) {
    client_open(t);
    ch = client_open_channel(t);
}

static void at_opening(void) {
    client_open(t);
    ch = client_channel(t);
}

static void at_declaring(void) {
    at_idle();
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "c" }, noted_declare, probe(t, "op"));
}

static void at_binding(void) {
    at_idle();
    lago_queue_bind(ch, &(lago_queue_bind_t){ .queue = "c", .exchange = "e" }, noted_done, probe(t, "op"));
}

static void at_subscribing(void) {
    at_idle();
    lago_basic_consume_t args = {
        .queue = "c", .consumer_tag = "c", .on_message = noted_message, .on_cancel = noted_cancel, .data = probe(t, "consumer")
    };
    lago_basic_consume(ch, &args, noted_consumer, probe(t, "op"));
}

static void at_consuming(void) {
    at_subscribing();
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
}

static void at_cancelling(void) {
    at_consuming();
    lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, noted_consumer, probe(t, "op"));
}

static void at_getting(void) {
    at_idle();
    lago_basic_get(ch, &(lago_basic_get_t){ .queue = "c" }, noted_get, probe(t, "op"));
}

static void at_selecting(void) {
    at_idle();
    lago_confirm_select(ch, NULL, noted_done, probe(t, "op"));
}

static void at_confirming(void) {
    at_selecting();
    server_send(&t->v, "1 confirm.select-ok");
    for (int i = 0; i < 2; i++)
        lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "k", .mandatory = true }, noted_publish,
                           probe(t, "publish"));
}

static void at_selecting_tx(void) {
    at_idle();
    lago_tx_select(ch, NULL, noted_done, probe(t, "op"));
}

static void at_flowing(void) {
    at_idle();
    lago_channel_flow(ch, &(lago_channel_flow_t){ .active = true }, noted_flow_ok, probe(t, "op"));
}

static void at_closing_channel(void) {
    at_consuming();
    lago_channel_close(ch, NULL);
}

static void at_freed(void) {
    at_idle();
    lago_channel_free(ch);
}

static void at_renewing(void) {
    at_idle();
    lago_update_secret(t->conn, "new", "because", noted_connection_done, probe(t, "op"));
}

static void at_closing(void) {
    at_consuming();
    lago_connection_close(t->conn, NULL);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.close-ok");
}

static void at_ended(void) {
    at_closing();
    server_send(&t->v, "0 connection.close-ok");
}

static const struct {
    const char *name;
    void (*bring)(void);
} columns[COLUMNS] = {
    { "wait-start", at_wait_start },
    { "wait-tune", at_wait_tune },
    { "wait-open", at_wait_open },
    { "opening", at_opening },
    { "idle", at_idle },
    { "declaring", at_declaring },
    { "binding", at_binding },
    { "subscribing", at_subscribing },
    { "consuming", at_consuming },
    { "cancelling", at_cancelling },
    { "getting", at_getting },
    { "selecting", at_selecting },
    { "confirming", at_confirming },
    { "selecting-tx", at_selecting_tx },
    { "flowing", at_flowing },
    { "closing-channel", at_closing_channel },
    { "freed", at_freed },
    { "renewing", at_renewing },
    { "closing", at_closing },
    { "ended", at_ended },
};

/* ---------------------------------------------------------------- what is said, and what was told */

static void say_method(const struct method_info *info) {
    struct bytes b = { 0 };
    union method_args args;
    uint16_t channel = info->id >> 16 == 10 ? 0 : 1;
    fill_args(info, &args);
    if (info->id == METHOD_CONNECTION_START) args.connection_start.version_major = 0, args.connection_start.version_minor = 9;
    bytes_method(&b, channel, info->id, &args);
    if (info->content) bytes_header(&b, channel, 0, NULL);
    virtual_input(&t->v, b.data, b.size);
    bytes_free(&b);
    virtual_run(&t->v);
}

static unsigned count_of(const char *text, const char *words) {
    unsigned count = 0;
    for (; (text = strstr(text, words)) != NULL; text++) count++;
    return count;
}

/* An entry of the journal begins with these words. */
static unsigned entries(const char *words) {
    char later[64];
    snprintf(later, sizeof(later), "; %s", words);
    return (strncmp(t->journal, words, strlen(words)) == 0) + count_of(t->journal, later);
}

static bool is_success(void) {
    return strstr(t->journal, " ok") || strstr(t->journal, " got ") || strstr(t->journal, " empty") ||
           strstr(t->journal, "confirmed");
}

static char told_of(void) {
    if (entries("open_error")) return is_success() ? '?' : 'q';
    if (entries("close ECLOSED")) return 'd';
    if (entries("close ")) return is_success() ? '?' : 'k';
    if (entries("1 close ") || entries("1 open E")) return is_success() ? '?' : 'x';
    return t->journal[0] ? 'e' : '.';
}

/* By the code of our connection.close; '\0': there is none. */
static char code_seen(void) {
    unsigned code;
    const char *close = t->v.log_size ? strstr(t->v.log, "C> 0 connection.close reply_code=5") : NULL;
    if (!close || sscanf(close, "C> 0 connection.close reply_code=%u", &code) != 1) return '\0';
    if (is_success()) return '?';
    return code == 540 ? '0' : (char)('0' + code - 500);
}

static char seen(void) {
    char code = code_seen();
    return code ? code : told_of();
}

/* Bring the client to a place, and forget how it got there. */
static void begin(void (*bring)(void)) {
    bring();
    virtual_run(&t->v);
    over = entries("connection free") > 0;
    journal_clear(t);
    virtual_forget_log(&t->v);
}

static void end(void) {
    if (code_seen()) {
        server_send(&t->v, "0 connection.close-ok");
        if (entries("close EPROTOCOL") + entries("open_error EPROTOCOL") != 1) case_failed("its end: %s", t->journal);
    }
    if (t->v.log_size && count_of(t->v.log, "C> 0 connection.close ") > 1) case_failed("more than one connection.close");
    client_end(t);
    if (entries("open_error") + entries("close ") > 1) case_failed("more than one end: %s", t->journal);
    if (entries("1 close") + entries("1 open E") > 1) case_failed("more than one end of a channel: %s", t->journal);
    if (count_of(t->journal, "connection free") != !over) case_failed("its data: %s", t->journal);
    if (entries("op ") > 1) case_failed("an operation is completed more than once: %s", t->journal);
}

struct client_test *client_at(const char *place) {
    size_t i = 0;
    while (strcmp(columns[i].name, place) != 0) i++;
    begin(columns[i].bring);
    return t;
}

lago_channel_t *client_channel_here(void) { return ch; }

void client_expect(char expected) {
    char is = seen();
    if (is != expected) case_failed("'%c', not '%c': %s", is, expected, t->journal);
    end();
    sum.cases++;
}

static void cell(const struct method_info *info, size_t column, char expected) {
    case_is("%s when %s", info->name, columns[column].name);
    begin(columns[column].bring);
    say_method(info);
    char is = seen();
    if (is != expected) case_failed("'%c', not '%c': %s", is, expected, t->journal);
    end();
    sum.cells++;
}

void cells_of_client(const char *path) {
    char line[512], word[64], letters[COLUMNS + 1];
    unsigned methods = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    while (fgets(line, sizeof(line), file)) {
        size_t count = 0;
        if (sscanf(line, "%63s", word) != 1 || word[0] == '#') continue;
        for (const char *at = line + strlen(word); *at && count < COLUMNS; at++)
            if (*at != ' ' && *at != '\n') letters[count++] = *at;
        const struct method_info *info = method_find_name(word, strlen(word));
        if (!info || count != COLUMNS) fail_msg("%s: %zu cells", word, count);
        for (size_t i = 0; i < COLUMNS; i++) cell(info, i, letters[i]);
        methods++;
    }
    fclose(file);
    if (methods != METHOD_COUNT) fail_msg("%s has %u methods", path, methods);
}

/* ---------------------------------------------------------------- tags and answers, at a place of the table */

/* `lines` are said, and this letter must come of it. */
static void told(void (*bring)(void), const char *lines, char expected) {
    case_is("%s", lines);
    begin(bring);
    server_send(&t->v, lines);
    char is = seen();
    if (is != expected) case_failed("'%c', not '%c': %s", is, expected, t->journal);
    end();
    sum.cases++;
}

/* Tags of confirms (S33): only what was published and is not settled yet; 0 for all, with `multiple` only. */
static void confirm_tags(void) {
    char line[160];
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            for (int more = -2; more <= 2; more++) {
                uint64_t tag = ((uint64_t)1 << bit) + (uint64_t)(int64_t)more;
                bool multiple = kind & 1, fine = tag <= 2 && (tag > 0 || multiple);
                snprintf(line, sizeof(line), "1 basic.%s delivery_tag=%llu multiple=%u", kind & 2 ? "nack" : "ack",
                         (unsigned long long)tag, multiple);
                told(at_confirming, line, fine ? 'e' : '3');
                if (more == 0) told(at_idle, line, '3');
            }
        }
    }
    told(at_confirming, "1 basic.ack delivery_tag=1\n1 basic.ack delivery_tag=1",
         '?'); /* the first is told, the second ends it */
}

/* Tags of deliveries: none is 0, none comes twice or goes back. */
static void delivery_tags(void) {
    char lines[512];
    static const uint64_t tags[] = { 0, 1, 2, 3, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff };
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            snprintf(lines, sizeof(lines),
                     "1 basic.deliver consumer_tag=\"c\" delivery_tag=%llu\n1 header\n1 basic.deliver consumer_tag=\"c\" "
                     "delivery_tag=%llu\n1 header",
                     (unsigned long long)tags[i], (unsigned long long)tags[j]);
            told(at_consuming, lines, i == 0 ? '3' : j <= i ? '?' : 'e');
            if (i == 0) told(at_getting, "1 basic.get-ok delivery_tag=0\n1 header", '3');
        }
    }
}

void attack_client(void) {
    confirm_tags();
    delivery_tags();
    told(at_idle, "1 basic.deliver consumer_tag=\"none\" delivery_tag=1\n1 header", '3');
    told(at_consuming, "1 basic.deliver consumer_tag=\"C\" delivery_tag=1\n1 header", '3');
    told(at_consuming, "1 basic.deliver consumer_tag=\"c\\x00\" delivery_tag=1\n1 header", '3');
    told(at_consuming, "1 basic.cancel consumer_tag=\"other\" no_wait=1", '.');
    told(at_declaring, "1 queue.declare-ok queue=\"c\"\n1 queue.declare-ok queue=\"c\"", '?');
    told(at_getting, "1 basic.get-empty\n1 basic.get-empty", '?');
    told(at_subscribing, "1 basic.consume-ok consumer_tag=\"other\"", '3');
    /* what the broker says in words is escaped and bounded (S44, S66, S67) */
    told(at_idle, "0 connection.close reply_code=65535 reply_text=\"%s%n\\x1b[2J\\r\\n\\x00\" class_id=65535 method_id=65535",
         'k');
    told(at_idle, "1 channel.close reply_code=0 reply_text=\"%s%n%p\\x00\\xff\" class_id=65535 method_id=1", 'x');
    /* tuning (S36 to S39) */
    for (unsigned size = 1; size < 4096; size += 13) {
        char line[80];
        snprintf(line, sizeof(line), "0 connection.tune channel_max=10 frame_max=%u", size);
        told(at_wait_tune, line, 'q');
    }
    told(at_wait_tune, "0 connection.tune channel_max=0 frame_max=0 heartbeat=0", '.');
    told(at_wait_tune, "0 connection.tune channel_max=65535 frame_max=4294967295 heartbeat=65535", '.');
    told(at_wait_tune, "0 connection.tune channel_max=1 frame_max=4096 heartbeat=1", '.');
    told(at_wait_tune, "0 connection.secure challenge=\"more\"", 'q');
    told(at_wait_start, "0 connection.start version_major=1 version_minor=0 mechanisms=\"PLAIN\" locales=\"en_US\"", 'q');
    told(at_wait_start, "0 connection.start version_minor=9 mechanisms=\"PLAINER XPLAIN plain\" locales=\"en_US\"", 'q');
    told(at_wait_start, "raw 41 4d 51 50 00 00 09 01", 'q');
}
