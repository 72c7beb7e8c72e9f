/* Entries of features: typed members to table entries, and two tables to one. Must not know which members exist. */
#include "feature.h"
#include "operation.h"
#include "table.h"
#include "text.h"
#include <string.h>

void feature_init(struct features *f, lago_channel_t *ch, const char *what, const char *name) {
    f->ch = ch;
    f->what = what;
    f->name = name ? name : "";
    f->count = 0;
    f->builder = NULL;
    f->error = 0;
}

void feature_free(struct features *f) { lago_table_builder_free(f->builder); }

void feature_refuse(struct features *f, const char *format, ...) {
    char why[256];
    struct text t;
    va_list args;
    if (f->error) return;
    f->error = LAGO_EINVAL;
    text_init(&t, why, sizeof(why));
    va_start(args, format);
    text_addv(&t, format, args);
    va_end(args);
    log_line(&f->ch->conn->env, LAGO_LOG_WARNING, "channel %u: %s of \"%s\" refused: %s", f->ch->number, f->what, f->name, why);
}

/* ---------------------------------------------------------------- entries */

void feature_value(struct features *f, const char *key, const lago_value_t *value) {
    f->fields[f->count++] = (lago_field_t){ { key, LAGO_NUL_TERMINATED }, *value };
}

/* RabbitMQ takes any type of integer for any number, and compares them by value. */
void feature_number(struct features *f, const char *key, int64_t value, int64_t min, int64_t max) {
    if (value == 0) return;
    int64_t sent = value == LAGO_ZERO ? 0 : value;
    if (sent < min && max == INT64_MAX)
        feature_refuse(f, "%s is %lld; it must be at least %lld", key, (long long)sent, (long long)min);
    else if (sent < min || sent > max)
        feature_refuse(f, "%s is %lld; it must be from %lld to %lld", key, (long long)sent, (long long)min, (long long)max);
    feature_value(f, key, &(lago_value_t)LAGO_VALUE_I64(sent));
}

void feature_word(struct features *f, const char *key, unsigned value, const char *const *words, size_t count) {
    if (value == 0) return;
    if (value >= count)
        feature_refuse(f, "%s is %u, which is none of its enumerators", key, value);
    else
        feature_text(f, key, words[value]);
}

void feature_text(struct features *f, const char *key, const char *text) {
    if (text) feature_value(f, key, &(lago_value_t)LAGO_VALUE_STR(text));
}

void feature_flag(struct features *f, const char *key, bool flag) {
    if (flag) feature_value(f, key, &(lago_value_t)LAGO_VALUE_BOOL(true));
}

static bool is_unit(lago_time_unit_t unit) {
    switch (unit) {
    case LAGO_SECONDS:
    case LAGO_MINUTES:
    case LAGO_HOURS:
    case LAGO_DAYS:
    case LAGO_MONTHS:
    case LAGO_YEARS: return true;
    }
    return false;
}

void feature_age(struct features *f, const char *key, uint64_t count, lago_time_unit_t unit) {
    struct text t;
    if (count == 0 || count > UINT32_MAX)
        feature_refuse(f, "%s is of %llu units; it must be from 1 to %u", key, (unsigned long long)count, UINT32_MAX);
    else if (!is_unit(unit))
        feature_refuse(f, "%s has no unit; give LAGO_SECONDS, LAGO_DAYS ...", key);
    text_init(&t, f->age, sizeof(f->age));
    text_addf(&t, "%u%c", (unsigned)count, (char)unit);
    feature_text(f, key, f->age);
}

/* ---------------------------------------------------------------- joining */

static int check_names(struct features *f, const lago_table_t *own) {
    for (size_t i = 0; i < f->count; i++) {
        const char *key = f->fields[i].name.data;
        int rc = lago_table_get(own, key, NULL);
        if (rc < 0) return rc;
        if (rc == 1) feature_refuse(f, "%s is in features and in arguments; give it once", key);
    }
    return f->error;
}

static int append_all(lago_table_builder_t *builder, const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    int rc;
    while ((rc = lago_table_next(&it, &field)) == 1)
        if ((rc = lago_table_builder_add(builder, &field)) < 0) return rc;
    return rc;
}

int feature_join(struct features *f, const lago_table_t *own, lago_table_t *arguments) {
    lago_table_t table = { f->fields, NULL, f->count, 0 }, rest = *own;
    rest.depth = 0;
    *arguments = f->count ? table : *own;
    if (f->error || f->count == 0 || rest.size == 0) return f->error;
    int rc = rest.fields ? 0 : table_sendable(&rest);
    if (rc == 0) rc = check_names(f, &rest);
    if (rc < 0) return rc;
    f->builder = table_builder_new(f->ch->conn->alloc);
    if (!f->builder) return LAGO_ENOMEM;
    rc = append_all(f->builder, &table);
    if (rc == 0) rc = append_all(f->builder, &rest);
    *arguments = lago_table_builder_table(f->builder);
    return rc;
}
