/* What lago-perf says: a line for each interval and a summary, in PerfTest's words or as JSON. Knows no producer or consumer. */
#include "io.h"
#include "options.h"
#include "perf.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITING_MAX 65536 /* of lines that nobody reads */
#define LINE_SIZE   1024
#define SAMPLES_MAX 1024 /* more than a picture has pixels for; even */

static const double shares[PERF_QUANTILES] = { 0, 0.5, 0.75, 0.95, 0.99 };
static const char *const share_names[PERF_QUANTILES] = { "min", "median", "p75", "p95", "p99" };

static perf_t *perf;
static uint64_t last_ns; /* the end of the last interval */
static struct {
    char *text;
    size_t size, capacity;
} waiting, writing;
static io_t out;
static perf_sample_t *samples;
static size_t sample_count;
static bool keeps_samples;

/* ---------------------------------------------------------------- standard output */

static void write_waiting(void);

static void on_written(void *data, int error, size_t count) {
    (void)data, (void)count;
    if (error) {
        waiting.size = 0;
        program_output_failed(&perf->program, error);
    }
    write_waiting();
}

static void write_waiting(void) {
    if (out.is_busy || waiting.size == 0) return;
    char *text = writing.text;
    size_t capacity = writing.capacity;
    writing = waiting;
    waiting.text = text;
    waiting.capacity = capacity;
    waiting.size = 0;
    program_took(&perf->program, "cannot print",
                 io_write(&perf->program.loop, &out, STDOUT_FILENO, writing.text, writing.size, on_written, NULL));
}

static void say(const char *text) {
    size_t size = strlen(text), wanted = waiting.size + size + 1;
    if (waiting.size > WAITING_MAX && !perf->is_over) return;
    if (wanted > waiting.capacity) {
        char *room = realloc(waiting.text, wanted * 2);
        if (!room) {
            program_complain(&perf->program, "out of memory");
            return;
        }
        waiting.text = room;
        waiting.capacity = wanted * 2;
    }
    memcpy(waiting.text + waiting.size, text, size);
    waiting.text[waiting.size + size] = '\n';
    waiting.size = wanted;
    write_waiting();
}

/* ---------------------------------------------------------------- lines for people */

static void append(char *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char *line, const char *format, ...) {
    size_t size = strlen(line);
    va_list args;
    va_start(args, format);
    vsnprintf(line + size, LINE_SIZE - size, format, args);
    va_end(args);
}

static unsigned long long in_us(uint64_t ns) { return (ns + 500) / 1000; }

static void append_latency(char *line, const uint64_t *latency) {
    for (int i = 0; i < PERF_QUANTILES; i++) append(line, "%s%llu", i ? "/" : "", in_us(latency[i]));
    append(line, " µs");
}

static void say_sample(const perf_sample_t *sample) {
    const perf_settings_t *settings = &perf->settings;
    char line[LINE_SIZE];
    bool confirms = settings->producers > 0 && settings->window >= 0;
    snprintf(line, sizeof line, "id: %s, time %.3f s", settings->id, sample->time_s);
    if (settings->producers > 0) append(line, ", sent: %.0f msg/s", sample->sent);
    if (settings->mandatory) append(line, ", returned: %.0f msg/s", sample->returned);
    if (confirms) append(line, ", confirmed: %.0f msg/s, nacked: %.0f msg/s", sample->confirmed, sample->nacked);
    if (settings->consumers > 0) append(line, ", received: %.0f msg/s", sample->received);
    if (settings->consumers > 0 || confirms) append(line, ", min/median/75th/95th/99th ");
    if (settings->consumers > 0) {
        append(line, "consumer latency: ");
        append_latency(line, sample->consumer_latency);
    }
    if (confirms) {
        append(line, "%sconfirm latency: ", settings->consumers > 0 ? ", " : "");
        append_latency(line, sample->confirm_latency);
    }
    say(line);
}

static void say_latency(const char *what, const uint64_t *latency) {
    char line[LINE_SIZE];
    snprintf(line, sizeof line, "id: %s, %s latency min/median/75th/95th/99th ", perf->settings.id, what);
    append_latency(line, latency);
    say(line);
}

static void say_summary(const perf_sample_t *all, const char *why) {
    const perf_settings_t *settings = &perf->settings;
    char line[LINE_SIZE];
    snprintf(line, sizeof line, "test stopped (%s)", why);
    say(line);
    snprintf(line, sizeof line, "id: %s, sending rate avg: %.0f msg/s", settings->id, all->sent);
    say(line);
    snprintf(line, sizeof line, "id: %s, receiving rate avg: %.0f msg/s", settings->id, all->received);
    say(line);
    if (settings->consumers > 0) say_latency("consumer", all->consumer_latency);
    if (settings->producers > 0 && settings->window >= 0) say_latency("confirm", all->confirm_latency);
}

/* ---------------------------------------------------------------- lines for programs */

static bool add_number(cJSON *object, const char *name, double number) { return cJSON_AddNumberToObject(object, name, number); }

static bool add_latency(cJSON *object, const char *name, const uint64_t *latency) {
    cJSON *inner = cJSON_AddObjectToObject(object, name);
    bool good = inner != NULL;
    for (int i = 0; i < PERF_QUANTILES; i++) good = good && add_number(inner, share_names[i], (double)latency[i] / 1000);
    return good;
}

static bool add_sample(cJSON *object, const perf_sample_t *sample) {
    const perf_settings_t *settings = &perf->settings;
    bool good =
        cJSON_AddStringToObject(object, "id", settings->id) && add_number(object, "time_s", round(sample->time_s * 1e3) / 1e3);
    if (settings->producers > 0) good = good && add_number(object, "sent_rate", round(sample->sent));
    if (settings->mandatory) good = good && add_number(object, "returned_rate", round(sample->returned));
    if (settings->producers > 0 && settings->window >= 0)
        good = good && add_number(object, "confirmed_rate", round(sample->confirmed)) &&
               add_number(object, "nacked_rate", round(sample->nacked)) &&
               add_latency(object, "confirm_latency_us", sample->confirm_latency);
    if (settings->consumers > 0)
        good = good && add_number(object, "received_rate", round(sample->received)) &&
               add_latency(object, "consumer_latency_us", sample->consumer_latency);
    return good;
}

static bool add_summary(cJSON *object, const char *why) {
    const perf_counts_t *total = &perf->total;
    return cJSON_AddStringToObject(object, "stopped", why) && add_number(object, "sent", (double)total->sent) &&
           add_number(object, "confirmed", (double)total->confirmed) && add_number(object, "nacked", (double)total->nacked) &&
           add_number(object, "returned", (double)total->returned) && add_number(object, "received", (double)total->received);
}

/* `why` is NULL for an interval. */
static void say_json(const perf_sample_t *sample, const char *why) {
    cJSON *object = cJSON_CreateObject();
    bool good = object && add_sample(object, sample) && (!why || add_summary(object, why));
    char *line = good ? cJSON_PrintUnformatted(object) : NULL;
    if (line)
        say(line);
    else
        program_complain(&perf->program, "out of memory");
    free(line);
    cJSON_Delete(object);
}

/* ---------------------------------------------------------------- samples */

static void fill_latency(uint64_t *to, const latency_t *latency) {
    to[0] = latency->min;
    for (int i = 1; i < PERF_QUANTILES; i++) to[i] = latency_quantile(latency, shares[i]);
}

static perf_sample_t make_sample(const perf_counts_t *counts, uint64_t begin, uint64_t end) {
    double span_s = end > begin ? (double)(end - begin) / 1e9 : 1e-9;
    perf_sample_t sample = {
        .time_s = (double)(end - perf->began) / 1e9,
        .span_s = span_s,
        .sent = (double)counts->sent / span_s,
        .confirmed = (double)counts->confirmed / span_s,
        .nacked = (double)counts->nacked / span_s,
        .returned = (double)counts->returned / span_s,
        .received = (double)counts->received / span_s,
    };
    fill_latency(sample.consumer_latency, &counts->consumer_latency);
    fill_latency(sample.confirm_latency, &counts->confirm_latency);
    return sample;
}

/* Rates as one longer interval has them; of latencies the larger one, which no picture should lose. */
static perf_sample_t joined(const perf_sample_t *a, const perf_sample_t *b) {
    perf_sample_t both = *b;
    both.span_s = a->span_s + b->span_s;
    both.sent = (a->sent * a->span_s + b->sent * b->span_s) / both.span_s;
    both.confirmed = (a->confirmed * a->span_s + b->confirmed * b->span_s) / both.span_s;
    both.received = (a->received * a->span_s + b->received * b->span_s) / both.span_s;
    for (int i = 0; i < PERF_QUANTILES; i++) {
        if (a->consumer_latency[i] > both.consumer_latency[i]) both.consumer_latency[i] = a->consumer_latency[i];
        if (a->confirm_latency[i] > both.confirm_latency[i]) both.confirm_latency[i] = a->confirm_latency[i];
    }
    return both;
}

static void keep(const perf_sample_t *sample) {
    if (!keeps_samples) return;
    if (!samples) samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (!samples) {
        program_complain(&perf->program, "out of memory");
        return;
    }
    if (sample_count == SAMPLES_MAX) {
        sample_count /= 2;
        for (size_t i = 0; i < sample_count; i++) samples[i] = joined(&samples[2 * i], &samples[2 * i + 1]);
    }
    samples[sample_count++] = *sample;
}

const perf_sample_t *report_samples(size_t *count) {
    *count = sample_count;
    return samples;
}

/* ---------------------------------------------------------------- when */

void report_begin(perf_t *ours, bool keeps) {
    perf = ours;
    keeps_samples = keeps;
    last_ns = perf->began;
}

static void add_up(void) {
    perf_counts_t *now = &perf->now, *total = &perf->total;
    total->sent += now->sent;
    total->confirmed += now->confirmed;
    total->nacked += now->nacked;
    total->returned += now->returned;
    total->received += now->received;
    latency_merge(&total->consumer_latency, &now->consumer_latency);
    latency_merge(&total->confirm_latency, &now->confirm_latency);
    memset(now, 0, sizeof *now);
}

void report_interval(uint64_t now) {
    perf_sample_t sample = make_sample(&perf->now, last_ns, now);
    if (perf->settings.json)
        say_json(&sample, NULL);
    else
        say_sample(&sample);
    keep(&sample);
    add_up();
    last_ns = now;
}

static void keep_rest(uint64_t now) {
    perf_sample_t rest = make_sample(&perf->now, last_ns, now);
    keep(&rest);
}

/* A rest of less than half an interval has no line: its rates are of a moment. */
void report_end(uint64_t now, const char *why) {
    if (now - last_ns >= (uint64_t)perf->settings.interval_s * 500000000)
        report_interval(now);
    else if (sample_count == 0)
        keep_rest(now);
    add_up();
    perf_sample_t all = make_sample(&perf->total, perf->began, now);
    if (perf->settings.json)
        say_json(&all, why);
    else
        say_summary(&all, why);
}

/* Nobody may be reading. Then a signal gives up after --timeout, a second one at once. */
static bool is_given_up(void) {
    program_t *p = &perf->program;
    return p->signum != 0 && options_timeout_ms() > 0 && !uv_is_active((uv_handle_t *)&p->patience);
}

void report_flush(void) {
    while (out.is_busy && !is_given_up()) uv_run(&perf->program.loop, UV_RUN_ONCE);
}

void report_free(void) {
    free(waiting.text);
    free(writing.text);
    free(samples);
}
