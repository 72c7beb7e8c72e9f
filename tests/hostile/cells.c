/* The table of cells: each method, and each kind of frame, at each place. It reads cells.txt, says so, and compares. */
#include "hostile.h"

#include <stdio.h>

#define LINE_SIZE 512

/* ---------------------------------------------------------------- what is no method */

static void one_frame(struct bytes *b, unsigned type, uint16_t channel, const char *payload) {
    bytes_frame(b, type, channel, payload, strlen(payload));
}

/* A frame by its name in the table. @return false: there is no such name. */
static bool frame_by_name(struct bytes *b, const char *name, uint16_t channel) {
    static const uint8_t protocol_header[] = "AMQP\0\0\11\1", web[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    if (strcmp(name, "header") == 0)
        bytes_header(b, channel, 10, NULL);
    else if (strcmp(name, "header-of-nothing") == 0)
        bytes_header(b, channel, 0, NULL);
    else if (strcmp(name, "header-on-0") == 0)
        bytes_header(b, 0, 10, NULL);
    else if (strcmp(name, "body-part") == 0)
        bytes_body(b, channel, 4, 3);
    else if (strcmp(name, "body-rest") == 0)
        bytes_body(b, channel, 4, 6);
    else if (strcmp(name, "body-too-long") == 0)
        bytes_body(b, channel, 4, 7);
    else if (strcmp(name, "body-empty") == 0)
        bytes_body(b, channel, 0, 0);
    else if (strcmp(name, "body-on-0") == 0)
        bytes_body(b, 0, 0, 6);
    else if (strcmp(name, "heartbeat") == 0)
        one_frame(b, FRAME_HEARTBEAT, 0, "");
    else if (strcmp(name, "heartbeat-on-channel") == 0)
        one_frame(b, FRAME_HEARTBEAT, channel, "");
    else if (strcmp(name, "heartbeat-that-says") == 0)
        one_frame(b, FRAME_HEARTBEAT, 0, "x");
    else if (strcmp(name, "unknown-type") == 0)
        one_frame(b, 4, channel, "payload");
    else if (strcmp(name, "protocol-header") == 0)
        bytes_add(b, protocol_header, 8);
    else if (strcmp(name, "web-page") == 0)
        bytes_add(b, web, sizeof(web) - 1);
    else if (strcmp(name, "method-of-nothing") == 0)
        one_frame(b, FRAME_METHOD, channel, "");
    else if (strcmp(name, "unknown-method") == 0)
        bytes_frame(b, FRAME_METHOD, channel, "\0\144\0\12", 4);
    else if (strcmp(name, "too-large") == 0)
        bytes_add(b, (const uint8_t[]){ 1, 0, (uint8_t)channel, 0, 0, 0x20, 0 }, 7);
    else if (strcmp(name, "without-its-end") == 0) {
        one_frame(b, FRAME_HEARTBEAT, 0, "");
        b->data[b->size - 1] = 0xcd;
    } else
        return false;
    return true;
}

static bool method_by_name(struct bytes *b, const char *name, uint16_t channel) {
    bool wrong = strncmp(name, "elsewhere:", 10) == 0;
    const char *word = wrong ? name + 10 : name;
    const struct method_info *info = method_find_name(word, strlen(word));
    union method_args args;
    if (!info) return false;
    bool on_connection = info->id >> 16 == 10;
    fill_args(info, &args);
    bytes_method(b, on_connection == wrong ? channel : 0, info->id, &args);
    return true;
}

/* ---------------------------------------------------------------- the table */

static void cell(const char *name, enum place place, char expected) {
    struct scene s;
    struct bytes b = { 0 };
    case_is("%s at %s", name, place_names[place]);
    scene_begin(&s, place);
    if (!frame_by_name(&b, name, s.channel) && !method_by_name(&b, name, s.channel)) fail_msg("what is '%s'?", name);
    scene_say(&s, b.data, b.size);
    bytes_free(&b);
    char seen = scene_seen(&s);
    if (seen != expected) case_failed("'%c', not '%c'", seen, expected);
    scene_end(&s);
    sum.cells++;
}

static void row(char *line, unsigned *methods, unsigned *elsewhere) {
    char name[64], letters[PLACES + 1];
    if (sscanf(line, "%63s", name) != 1 || name[0] == '#') return;
    size_t count = 0;
    for (const char *at = line + strlen(name); *at && count < PLACES; at++)
        if (*at != ' ' && *at != '\n') letters[count++] = *at;
    if (count != PLACES) fail_msg("%s has %zu cells, not %d", name, count, PLACES);
    *methods += method_find_name(name, strlen(name)) != NULL;
    *elsewhere += strncmp(name, "elsewhere:", 10) == 0;
    for (enum place place = 0; place < PLACES; place++) cell(name, place, letters[place]);
}

void cells_of_session(const char *path) {
    char line[LINE_SIZE];
    unsigned methods = 0, elsewhere = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    while (fgets(line, sizeof(line), file)) row(line, &methods, &elsewhere);
    fclose(file);
    if (methods != METHOD_COUNT || elsewhere != METHOD_COUNT)
        fail_msg("%s has %u and %u methods, not all %u of them", path, methods, elsewhere, METHOD_COUNT);
}
