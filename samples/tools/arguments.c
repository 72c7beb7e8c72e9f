/* Reads tables from the command line. Knows no broker. */
#include "arguments.h"
#include "options.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_whole_number(const char *text, int64_t *number) {
    char *end;
    const char *digits = text + (text[0] == '-');
    errno = 0;
    *number = strtoll(text, &end, 10);
    return digits[0] >= '0' && digits[0] <= '9' && *end == '\0' && errno == 0;
}

static bool is_boolean(const char *text, bool *boolean) {
    *boolean = strcmp(text, "true") == 0;
    return *boolean || strcmp(text, "false") == 0;
}

static bool is_double(const char *text, double *real) {
    char *end;
    errno = 0;
    *real = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0;
}

/* RabbitMQ compares integers by value whatever their size; pika, too, sends small ones in 32 bits. */
static lago_field_t integer(const char *name, int64_t number) {
    bool is_small = number >= INT32_MIN && number <= INT32_MAX;
    return is_small ? lago_field_i32(name, (int32_t)number) : lago_field_i64(name, number);
}

static bool read_as(const char *type, const char *name, const char *text, lago_field_t *field) {
    int64_t number;
    bool boolean;
    double real;
    if (strcmp(type, "string") == 0)
        *field = lago_field_str(name, text);
    else if (strcmp(type, "int") == 0 && is_whole_number(text, &number))
        *field = integer(name, number);
    else if (strcmp(type, "timestamp") == 0 && is_whole_number(text, &number) && number >= 0)
        *field = lago_field_timestamp(name, (uint64_t)number);
    else if (strcmp(type, "bool") == 0 && is_boolean(text, &boolean))
        *field = lago_field_bool(name, boolean);
    else if (strcmp(type, "double") == 0 && is_double(text, &real))
        *field = lago_field_double(name, real);
    else
        return false;
    return true;
}

static void add(lago_table_builder_t *builder, const char *text, const lago_field_t *field) {
    int rc = builder ? lago_table_builder_add(builder, field) : LAGO_ENOMEM;
    if (rc < 0) options_fail("'%s': %s", text, lago_strerror(rc));
}

static void add_argument(lago_table_builder_t *builder, const char *text) {
    char *name = strdup(text), *value = name ? strchr(name, '=') : NULL;
    if (!value || value == name) options_fail("'%s' is no argument like name=value", text);
    *value++ = '\0';

    lago_field_t field;
    int64_t number;
    bool boolean;
    char *type = strrchr(name, ':');
    if (type) {
        *type++ = '\0';
        if (!read_as(type, name, value, &field))
            options_fail("'%s': no such value of type '%s' (types: string int bool double timestamp)", text, type);
    } else if (is_whole_number(value, &number)) {
        field = integer(name, number);
    } else if (is_boolean(value, &boolean)) {
        field = lago_field_bool(name, boolean);
    } else {
        field = lago_field_str(name, value);
    }
    add(builder, text, &field);
    free(name);
}

static void add_header(lago_table_builder_t *builder, const char *text) {
    char *name = strdup(text), *value = name ? strchr(name, ':') : NULL;
    if (!value || value == name) options_fail("'%s' is no header like 'name: value'", text);
    *value++ = '\0';
    lago_field_t field = lago_field_str(name, value + strspn(value, " "));
    add(builder, text, &field);
    free(name);
}

static lago_table_builder_t *parse(char *const *texts, void (*add_one)(lago_table_builder_t *builder, const char *text)) {
    lago_table_builder_t *builder = lago_table_builder_new();
    for (; texts && *texts; texts++) add_one(builder, *texts);
    return builder;
}

lago_table_builder_t *arguments_parse(char *const *texts) { return parse(texts, add_argument); }

lago_table_builder_t *headers_parse(char *const *texts) { return parse(texts, add_header); }

lago_table_t arguments_table(const lago_table_builder_t *builder) {
    return builder ? lago_table_builder_table(builder) : (lago_table_t){ 0 };
}
