/*
 * The picture of a run: rates above, latencies below, over time. Plain SVG without fonts or scripts of others; its colours follow
 * the reader's choice of light or dark.
 */
#include "perf.h"
#include <math.h>
#include <string.h>

#define WIDTH   900
#define LEFT    80
#define RIGHT   20
#define PANEL   180 /* height of each of the two */
#define RATES   60  /* where they begin */
#define DELAYS  330
#define HEIGHT  550
#define TICKS_X 6

typedef struct curve {
    const char *name, *style;
    double (*value)(const perf_sample_t *sample);
} curve_t;

typedef struct axis {
    double top, least, most;
    bool is_logarithmic;
} axis_t;

static double sent(const perf_sample_t *s) { return s->sent; }
static double confirmed(const perf_sample_t *s) { return s->confirmed; }
static double received(const perf_sample_t *s) { return s->received; }
static double consumer_median(const perf_sample_t *s) { return (double)s->consumer_latency[1] / 1e3; }
static double consumer_99th(const perf_sample_t *s) { return (double)s->consumer_latency[4] / 1e3; }
static double confirm_median(const perf_sample_t *s) { return (double)s->confirm_latency[1] / 1e3; }
static double confirm_99th(const perf_sample_t *s) { return (double)s->confirm_latency[4] / 1e3; }

static const char head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n"
    "<style>\n"
    "svg { --ink: #1f2328; --faint: #d0d7de; --a: #0969da; --b: #bc4c00; --c: #8250df; font: 13px sans-serif }\n"
    "@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d; --a: #58a6ff; --b: #ffa657; --c: #d2a8ff } }\n"
    "text { fill: var(--ink) } .grid { stroke: var(--faint) } .title { font-size: 15px; font-weight: bold }\n"
    "polyline { fill: none; stroke-width: 2; stroke-linejoin: round }\n"
    ".a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) } .dashed { stroke-dasharray: 5 4 }\n"
    "</style>\n";

/* ---------------------------------------------------------------- text */

static void write_text(FILE *file, double x, double y, const char *attributes, const char *text) {
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '<' || byte == '>' || byte == '&' || byte < 32)
            fprintf(file, "&#%u;", byte < 32 ? 63u : byte);
        else
            fputc(byte, file);
    }
    fputs("</text>\n", file);
}

/* 1500000: 1.5 M */
static const char *short_number(double number, char *buffer, size_t size) {
    static const char *const units[] = { "", " k", " M", " G" };
    unsigned unit = 0;
    while (number >= 1000 && unit < 3) {
        number /= 1000;
        unit++;
    }
    snprintf(buffer, size, "%.4g%s", number, units[unit]);
    return buffer;
}

/* 1, 2 or 5 times a power of ten, not below. */
static double round_up(double number) {
    double power = pow(10, floor(log10(number > 0 ? number : 1))), digit = number / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

/* ---------------------------------------------------------------- axes */

static double x_of(double time_s, double end_s) { return LEFT + (WIDTH - LEFT - RIGHT) * (end_s > 0 ? time_s / end_s : 0); }

static double y_of(const axis_t *axis, double value) {
    double part = value / axis->most;
    if (axis->is_logarithmic) part = value <= axis->least ? 0 : log10(value / axis->least) / log10(axis->most / axis->least);
    return axis->top + PANEL * (1 - (part < 1 ? part : 1));
}

static void write_line_at(FILE *file, const axis_t *axis, double value) {
    char label[32];
    double y = y_of(axis, value);
    fprintf(file, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", LEFT, y, WIDTH - RIGHT, y);
    write_text(file, LEFT - 8, y + 4, "text-anchor=\"end\"", short_number(value, label, sizeof label));
}

static void write_grid(FILE *file, const axis_t *axis, double end_s) {
    char label[32];
    double step = round_up(end_s / TICKS_X);
    if (axis->is_logarithmic) {
        for (double value = axis->least; value <= axis->most * 1.001; value *= 10) write_line_at(file, axis, value);
    } else {
        for (int i = 0; i <= 4; i++) write_line_at(file, axis, axis->most * i / 4);
    }
    for (double time_s = 0; time_s <= end_s * 1.001; time_s += step) {
        snprintf(label, sizeof label, "%.4g s", time_s);
        write_text(file, x_of(time_s, end_s), axis->top + PANEL + 18, "text-anchor=\"middle\"", label);
    }
}

/* ---------------------------------------------------------------- curves */

static void write_curve(FILE *file, const curve_t *curve, const axis_t *axis, const perf_sample_t *samples, size_t count) {
    double end_s = samples[count - 1].time_s;
    fprintf(file, "<polyline class=\"%s\" points=\"", curve->style);
    for (size_t i = 0; i < count; i++) {
        double y = y_of(axis, curve->value(&samples[i])), begin_s = samples[i].time_s - samples[i].span_s;
        fprintf(file, "%.1f,%.1f %.1f,%.1f ", x_of(begin_s, end_s), y, x_of(samples[i].time_s, end_s), y);
    }
    fputs("\"/>\n", file);
}

static void write_key(FILE *file, const curve_t *curve, double x, double y) {
    fprintf(file, "<polyline class=\"%s\" points=\"%.0f,%.0f %.0f,%.0f\"/>\n", curve->style, x, y - 4, x + 24, y - 4);
    write_text(file, x + 30, y, "", curve->name);
}

static void write_panel(FILE *file, const curve_t *curves, axis_t axis, const perf_sample_t *samples, size_t count) {
    double least = INFINITY, most = 0, x = LEFT;
    for (const curve_t *curve = curves; curve->name; curve++) {
        for (size_t i = 0; i < count; i++) {
            double value = curve->value(&samples[i]);
            if (value > most) most = value;
            if (value > 0 && value < least) least = value;
        }
    }
    axis.most = most > 0 ? round_up(most) : 1;
    if (axis.is_logarithmic) {
        axis.least = isfinite(least) ? pow(10, floor(log10(least))) : 1;
        axis.most = pow(10, ceil(log10(most > axis.least ? most : axis.least * 10)));
    }
    write_grid(file, &axis, samples[count - 1].time_s);
    for (const curve_t *curve = curves; curve->name; curve++, x += 180) {
        write_curve(file, curve, &axis, samples, count);
        write_key(file, curve, x, axis.top - 10);
    }
}

static void write_rates(FILE *file, const perf_settings_t *settings, const perf_sample_t *samples, size_t count) {
    curve_t curves[4] = { { 0 } };
    unsigned n = 0;
    if (settings->producers > 0) curves[n++] = (curve_t){ "sent", "a", sent };
    if (settings->producers > 0 && settings->window >= 0) curves[n++] = (curve_t){ "confirmed", "c dashed", confirmed };
    if (settings->consumers > 0) curves[n++] = (curve_t){ "received", "b", received };
    write_text(file, LEFT, RATES - 34, "class=\"title\"", "messages per second");
    write_panel(file, curves, (axis_t){ .top = RATES }, samples, count);
}

static void write_delays(FILE *file, const perf_settings_t *settings, const perf_sample_t *samples, size_t count) {
    curve_t curves[5] = { { 0 } };
    unsigned n = 0;
    if (settings->consumers > 0) {
        curves[n++] = (curve_t){ "consumer, median", "b", consumer_median };
        curves[n++] = (curve_t){ "consumer, 99th", "b dashed", consumer_99th };
    }
    if (settings->producers > 0 && settings->window >= 0) {
        curves[n++] = (curve_t){ "confirm, median", "c", confirm_median };
        curves[n++] = (curve_t){ "confirm, 99th", "c dashed", confirm_99th };
    }
    if (n == 0) return;
    write_text(file, LEFT, DELAYS - 34, "class=\"title\"", "latency in microseconds");
    write_panel(file, curves, (axis_t){ .top = DELAYS, .is_logarithmic = true }, samples, count);
}

void chart_write(FILE *file, const perf_settings_t *settings, const perf_sample_t *samples, size_t count) {
    fprintf(file, head, WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_text(file, WIDTH - RIGHT, RATES - 34, "text-anchor=\"end\"", settings->id);
    if (count > 0) {
        write_rates(file, settings, samples, count);
        write_delays(file, settings, samples, count);
    }
    fputs("</svg>\n", file);
}
