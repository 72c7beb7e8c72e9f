/*
 * The table of bad peers: lago connects to each, with a user and a password, and must refuse it for the right reason, in words,
 * within its time and memory, before the peer has got one byte of AMQP. Good peers come first: they must open.
 *
 *     test_badpeers [WORDS]      only rows whose name contains the words
 *     BADPEERS_WORDS=1           print each reason as people read it
 *     BADPEERS_LOG=1             and lago's log
 */
#include "rows.h"
#include <signal.h>
#include <stdio.h>

#define MEMORY_MAX        ((size_t)2 * 1024 * 1024) /* of lago and of OpenSSL on both sides; floods are of many times that */
#define LATE_MS           10000.0                   /* behind a deadline: the machine may be busy, or valgrind at work */
#define START_RECORD_SIZE 58u /* connection.start in TLS 1.3: header, type and tag included; in TLS 1.2 65 */
#define HEADER_SIZE       8u  /* the protocol header (4.2.2): it says nothing of whoever sends it */
#define IGNORED_BYTE      2u  /* of the first record's version, before one is agreed (RFC 8446, 5.1) */
#define COMPLAINTS_MAX    5u

/* What a row, or all runs of it, came to. */
struct result {
    const struct row *row;
    struct outcome outcome; /* of the last run */
    size_t run_count, bad_count;
    size_t plain_size; /* the most that a run let out */
    bool password_out;
    size_t memory_peak;
    double ms; /* all runs */
    bool codes_seen[ROW_CODES_MAX];
};

struct total {
    size_t row_count, bad_count, run_count;
    size_t amqp_size; /* received by peers that must not be trusted */
    bool password_out;
};

static bool has_code(const struct row *row, int code) {
    for (size_t i = 0; i < ROW_CODES_MAX && row->codes[i]; i++)
        if (row->codes[i] == code) return true;
    return false;
}

/* ---------------------------------------------------------------- what must be */

static const char *wrong_end(const struct row *row, const struct outcome *o) {
    if (o->hung) return "it hangs";
    if (!o->ended) return "no end";
    if (row->kind == ROW_GOOD) return o->opened && o->reason.code == 0 ? NULL : "does not open, or not in order";
    if (o->opened) return "it opens";
    if (!has_code(row, o->reason.code)) return "another code";
    if (row->verify_result != o->reason.tls_verify_result && row->sweep == PEER_GOES_ON) return "another verify result";
    if (o->reason.phase != (row->kind == ROW_REFUSED ? LAGO_PHASE_TLS : LAGO_PHASE_HANDSHAKE)) return "another phase";
    return NULL;
}

static const char *wrong_words(const struct outcome *o) {
    bool is_tls = o->reason.code == LAGO_ETLS || o->reason.code == LAGO_ECERTIFICATE;
    if (is_tls && !o->reason.detail[0]) return "no words";
    if (is_tls && !o->reason.hint[0]) return "no hint";
    if (o->reason.code && !o->reason.endpoint[0]) return "no endpoint";
    return NULL;
}

static const char *wrong_secret(const struct row *row, const struct outcome *o) {
    if (o->password_told) return "the password is told";
    if (row->kind == ROW_GOOD) return o->password_received ? NULL : "the password does not arrive: what is looked for?";
    if (o->password_received) return "the peer has the password";
    if (o->header_in_clear) return "AMQP in clear";
    return o->plain_size > (row->kind == ROW_REFUSED ? 0 : HEADER_SIZE) ? "the peer has AMQP" : NULL;
}

static const char *wrong_cost(const struct scene *scene, const struct outcome *o) {
    if (o->leaked) return "memory leaked";
    if (o->memory_peak > MEMORY_MAX) return "too much memory";
    return o->ms > scene->parameters.stack_timeout_ms + LATE_MS ? "too late" : NULL;
}

static const char *wrong_resumption(const struct scene *scene, const struct outcome *o) {
    return scene->script.hangs_up_once && (o->client_count != 2 || !o->resumed) ? "the session did not go on" : NULL;
}

static const char *judge(const struct row *row, const struct scene *scene, const struct outcome *o) {
    const char *wrong = wrong_end(row, o);
    if (!wrong) wrong = wrong_words(o);
    if (!wrong) wrong = wrong_secret(row, o);
    if (!wrong) wrong = wrong_cost(scene, o);
    return wrong ? wrong : wrong_resumption(scene, o);
}

/* ---------------------------------------------------------------- running */

static void complain(const struct result *r, const struct scene *scene, const char *wrong) {
    char words[1024];
    const struct outcome *o = &r->outcome;
    if (r->bad_count > COMPLAINTS_MAX) return;
    lago_reason_format(&o->reason, words, sizeof words);
    printf("    WRONG: %s (byte %zu): %s, verify result %ld, phase %s, %zu bytes, peak %zu, %.0f ms\n", wrong, scene->script.at,
           o->reason.code ? words : "no error", o->reason.tls_verify_result, lago_phase_name(o->reason.phase), o->plain_size,
           o->memory_peak, o->ms);
}

static void run(struct result *r, struct scene *scene) {
    const struct outcome *o = &r->outcome;
    scene_run(scene, &r->outcome);
    const char *wrong = judge(r->row, scene, o);
    r->run_count++;
    r->ms += o->ms;
    if (o->plain_size > r->plain_size) r->plain_size = o->plain_size;
    if (o->memory_peak > r->memory_peak) r->memory_peak = o->memory_peak;
    for (size_t i = 0; i < ROW_CODES_MAX && r->row->codes[i]; i++)
        if (r->row->codes[i] == o->reason.code) r->codes_seen[i] = true;
    if (r->row->kind != ROW_GOOD && (o->password_received || o->password_told)) r->password_out = true;
    if (wrong) {
        r->bad_count++;
        complain(r, scene, wrong);
    }
}

/* First unhurt, to learn how many bytes there are. */
static void sweep(struct result *r, struct scene *scene) {
    struct outcome whole;
    scene_run(scene, &whole);
    size_t from = r->row->sweeps_start ? whole.flight_size : 0;
    size_t to = r->row->sweeps_start ? whole.flight_size + START_RECORD_SIZE : whole.flight_size;
    if (!whole.opened || whole.reason.code) {
        r->bad_count++;
        r->outcome = whole;
        complain(r, scene, "does not open before it is hurt");
    }
    scene->script.fate = r->row->sweep;
    for (size_t at = from; at < to; at++) {
        scene->script.at = at;
        if (r->row->sweep != PEER_FLIPS || at != IGNORED_BYTE) run(r, scene);
    }
}

/* ---------------------------------------------------------------- the table */

static void print_codes(char *text, size_t size, const struct result *r, bool seen_only) {
    size_t used = 0;
    text[0] = '\0';
    if (r->row->kind == ROW_GOOD) snprintf(text, size, "opens");
    for (size_t i = 0; i < ROW_CODES_MAX && r->row->codes[i]; i++)
        if (!seen_only || r->codes_seen[i])
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "|" : "",
                                     lago_error_name(r->row->codes[i]) + strlen("LAGO_E"));
}

static void print_row(const struct result *r) {
    char name[80], expected[64], got[64];
    const struct outcome *o = &r->outcome;
    bool is_sweep = r->row->sweep != PEER_GOES_ON;
    print_codes(expected, sizeof expected, r, false);
    print_codes(got, sizeof got, r, true);
    snprintf(name, sizeof name, is_sweep ? "%s, %zu times" : "%s", r->row->name, r->run_count);
    if (r->bad_count > 0 && !is_sweep)
        snprintf(got, sizeof got, "%s", o->reason.code ? lago_error_name(o->reason.code) : o->opened ? "opens" : "?");
    printf("%-2s %-52s %-26s %-26s %4ld %5zu %5zu %8.1f\n", r->bad_count ? "!!" : "", name, expected, got,
           is_sweep ? 0 : o->reason.tls_verify_result, r->plain_size, r->memory_peak / 1024, r->ms);
    fflush(stdout);
}

static void print_words(const struct outcome *o) {
    char words[1024];
    lago_reason_format(&o->reason, words, sizeof words);
    if (o->reason.code) printf("       %s\n", words);
}

static void run_row(const struct row *row, struct total *total) {
    struct result r = { .row = row };
    struct scene scene;
    scene_init(&scene);
    row->set(&scene);
    if (row->sweep == PEER_GOES_ON)
        run(&r, &scene);
    else
        sweep(&r, &scene);
    print_row(&r);
    if (getenv("BADPEERS_WORDS")) print_words(&r.outcome);
    scene_free(&scene);
    total->row_count++;
    total->run_count += r.run_count;
    if (r.bad_count) total->bad_count++;
    if (row->kind == ROW_REFUSED) total->amqp_size += r.plain_size;
    if (r.password_out) total->password_out = true;
}

static void run_rows(const struct rows *rows, const char *words, struct total *totals) {
    printf("\n%-55s %-26s %-26s %4s %5s %5s %8s\n", rows->title, "expected", "got", "X509", "AMQP", "KiB", "ms");
    for (size_t i = 0; i < rows->count; i++)
        if (!words || strstr(rows->rows[i].name, words)) run_row(&rows->rows[i], &totals[rows->rows[i].kind]);
}

static size_t right(const struct total *total) { return total->row_count - total->bad_count; }

int main(int argc, char **argv) {
    static const struct rows *const all[] = { &good_rows, &certificate_rows, &handshake_rows, &byte_rows, &running_rows };
    struct total totals[3] = { { 0 }, { 0 }, { 0 } };
    const struct total *good = &totals[ROW_GOOD], *refused = &totals[ROW_REFUSED], *broken = &totals[ROW_BROKEN];
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) return fputs("usage: test_badpeers [WORDS]\n", stderr), 2;
    signal(SIGPIPE, SIG_IGN); /* the peer's writes are libuv's, and its client hangs up on it */
    scene_begin();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) run_rows(all[i], argc > 1 ? argv[1] : NULL, totals);
    scene_end();
    if (good->row_count + refused->row_count + broken->row_count == 0) {
        printf("\nno row has \"%s\" in its name\n", argc > 1 ? argv[1] : "");
        return 1;
    }
    printf("\nAMQP: the most bytes that the peer could decrypt; KiB: of lago and of OpenSSL, at the most; %zu connections\n",
           good->run_count + refused->run_count + broken->run_count);
    printf("%zu of %zu good peers open\n", right(good), good->row_count);
    printf("%zu of %zu peers that break TLS behind the handshake end, none with more than the protocol header\n", right(broken),
           broken->row_count);
    printf("the password: %s\n",
           refused->password_out || broken->password_out ? "OUT" : "with none of them, in no log, in no reason");
    printf("%zu of %zu refused, %zu AMQP bytes\n", right(refused), refused->row_count, refused->amqp_size);
    return right(good) == good->row_count && right(refused) == refused->row_count && right(broken) == broken->row_count ? 0 : 1;
}
