/* One case on a session: bring it to a place, say something, see what comes of it, end it. */
#include "hostile.h"

#include "internal.h"
#include <stdio.h>

struct sum sum;

const char *const place_names[PLACES] = { "wait-start", "starting",   "wait-tune",  "securing",   "tuning",
                                          "wait-open",  "open",       "ch-opening", "ch-open",    "ch-header",
                                          "ch-body",    "ch-leaving", "ch-closing", "ch-crossed", "ch-closed",
                                          "closing",    "failed",     "leaving",    "ended" };

static char name[256];

void case_is(const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name, sizeof(name), format, args);
    va_end(args);
}

void case_failed(const char *format, ...) {
    va_list args;
    if (sum.failures++ > 40) return;
    fprintf(stderr, "hostile: %s: ", name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---------------------------------------------------------------- getting there */

static enum session_state state_of(enum place place) {
    static const enum session_state states[] = { SESSION_WAIT_START, SESSION_STARTING, SESSION_WAIT_TUNE,
                                                 SESSION_SECURING,   SESSION_TUNING,   SESSION_WAIT_OPEN };
    switch (place) {
    case AT_CLOSING: return SESSION_CLOSING;
    case AT_FAILED: return SESSION_FAILED;
    case AT_LEAVING: return SESSION_LEAVING;
    case AT_ENDED: return SESSION_ENDED;
    default: return place < AT_OPEN ? states[place] : SESSION_OPEN;
    }
}

static void begin_content(struct peer *p) {
    struct basic_deliver deliver = { .consumer_tag = { "c", 1 }, .delivery_tag = 1 };
    peer_say_method(p, 1, METHOD_BASIC_DELIVER, &deliver);
}

static void begin_body(struct peer *p) {
    struct bytes b = { 0 };
    begin_content(p);
    bytes_header(&b, 1, 10, NULL);
    bytes_body(&b, 1, 0, 4);
    peer_say(p, &b);
}

static void hold_a_close(struct peer *p) {
    peer_say_method(p, 1, METHOD_CHANNEL_FLOW, NULL);
    assert_int_equal(peer_publish(p, 1, 10), 0);
    assert_int_equal(session_channel_close(&p->session, 1, REPLY_SUCCESS, "bye"), 0);
}

static void bring_channel(struct scene *s) {
    static char three[] = "three";
    struct peer *p = &s->peer;
    if (s->place == CH_OPENING) s->channel = (uint16_t)session_channel_open(&p->session, three);
    if (s->place == CH_HEADER) begin_content(p);
    if (s->place == CH_BODY) begin_body(p);
    if (s->place == CH_LEAVING) hold_a_close(p);
    if (s->place >= CH_CLOSING && s->place <= CH_CLOSED)
        assert_int_equal(session_channel_close(&p->session, 1, REPLY_SUCCESS, "bye"), 0);
    if (s->place == CH_CROSSED) peer_say_method(p, 1, METHOD_CHANNEL_CLOSE, NULL);
    if (s->place == CH_CLOSED) peer_say_method(p, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
    peer_write_all(p);
    (void)peer_frames(p);
    (void)peer_events(p);
}

void scene_begin(struct scene *s, enum place place) {
    *s = (struct scene){ .place = place, .channel = place == AT_OPEN ? 7 : 1, .state = state_of(place) };
    peer_init(&s->peer);
    s->peer.session.settings.trace = NULL; /* a third of the time */
    peer_bring(&s->peer, s->state);
    if (s->state == SESSION_OPEN) bring_channel(s);
    s->peer.mute = true;
    s->peer.any_body = true;
    s->ends = place == AT_ENDED; /* told on the way there */
    s->memory = s->peer.memory.live_bytes;
}

void scene_say(struct scene *s, const void *data, size_t size) { peer_feed(&s->peer, data, size); }

/* ---------------------------------------------------------------- what came of it */

static bool starts(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

static bool is_line(const char *text, uint16_t channel, const char *line) {
    char words[64];
    snprintf(words, sizeof(words), "%u %s\n", channel, line);
    return strcmp(text, words) == 0;
}

static char failed_with(const char *frames) {
    unsigned code = 0;
    if (sscanf(frames, "0 connection.close reply_code=%u ", &code) != 1 || strchr(frames, '\n')[1]) return '?';
    return code == 540 ? '0' : code >= 501 && code <= 505 ? (char)('0' + code - 500) : '?';
}

static char event_seen(const struct scene *s, const char *events, const char *frames) {
    const struct session_channel *ch = channel_find(&s->peer.session, s->channel);
    bool silent = frames[0] == '\0';
    if (strchr(events, '\n')[1]) return '?'; /* more than one */
    if (starts(events, "channel-open")) return silent && ch ? 'o' : '?';
    if (starts(events, "channel-close") && strstr(events, "LAGO_EMSGSIZE"))
        return strstr(frames, "channel.close reply_code=311 ") ? 't' : '?';
    if (starts(events, "channel-close")) return !is_line(frames, s->channel, "channel.close-ok") ? '?' : ch ? 'X' : 'x';
    if (starts(events, "closed")) return silent && !ch ? 'f' : '?';
    if (starts(events, "content")) return silent ? 'm' : '?';
    if (starts(events, "method") && strstr(frames, "channel.flow-ok")) return starts(frames + 2, "channel.flow-ok") ? 'a' : '?';
    return silent ? 'e' : '?';
}

static unsigned receiving(const struct scene *s) {
    const struct session_channel *ch = channel_find(&s->peer.session, s->channel);
    return ch && ch->content ? 1u + ch->receiving + 8u * (unsigned)ch->content->received : 0;
}

static unsigned receiving_at(enum place place) {
    return place == CH_HEADER ? 1u + CONTENT_WAIT_HEADER : place == CH_BODY ? 1u + CONTENT_WAIT_BODY + 8u * 4u : 0;
}

static unsigned count_ends(const char *events) {
    unsigned count = 0;
    for (const char *at = events; (at = strstr(at, "ended ")) != NULL; at++) count += at == events || at[-1] == '\n';
    return count;
}

char scene_seen(struct scene *s) {
    struct peer *p = &s->peer;
    enum session_state is = p->session.state;
    char events[4096];
    bool streaming = p->session.streaming;
    snprintf(events, sizeof(events), "%s", peer_events(p));
    s->ends += count_ends(events);
    const char *frames = peer_frames(p);
    if (is == SESSION_FAILED && s->state != is) return events[0] ? '?' : failed_with(frames);
    if (is == SESSION_ENDED && s->state != is) {
        bool told = starts(events, "ended ") && frames[0] == '\0';
        return !told ? '?' : s->state >= SESSION_CLOSING ? 'd' : 'q';
    }
    if (is == SESSION_LEAVING && s->state != is) return is_line(frames, 0, "connection.close-ok") && !events[0] ? 'k' : '?';
    if (is_line(frames, 0, "connection.close-ok") && s->state != SESSION_LEAVING) return is == s->state && !events[0] ? 'K' : '?';
    if (events[0]) return s->state == SESSION_LEAVING && starts(events, "ended ") ? '.' : event_seen(s, events, frames);
    if (is != s->state || (frames[0] && s->state != SESSION_LEAVING)) return '?';
    return receiving(s) != receiving_at(s->place) || streaming ? 'c' : '.';
}

/* ---------------------------------------------------------------- the end */

static void check_memory(struct scene *s) {
    if (s->peer.memory.live_bytes > s->memory + 64 * (size_t)1024) case_failed("%zu bytes live", s->peer.memory.live_bytes);
}

/* What a peer says that was told goodbye changes nothing any more; the link goes; the end comes once, last, and memory is back. */
void scene_end(struct scene *s) {
    struct peer *p = &s->peer;
    check_memory(s);
    peer_pass(p, 2000);
    if (p->session.state == SESSION_FAILED || p->session.state == SESSION_LEAVING) case_failed("it lingers for ever");
    session_lost(&p->session, 0, p->now);
    peer_pull(p);
    peer_write_all(p);
    const char *events = peer_events(p);
    s->ends += count_ends(events);
    if (s->ends != 1) case_failed("it has ended %u times: %s", s->ends, events);
    if (events[0] && s->ends == 1 && !starts(events, "ended ") && !strstr(events, "\nended "))
        case_failed("behind its end: %s", events);
    if (p->close_count > 1 + (s->state == SESSION_FAILED)) case_failed("%zu connection.close", p->close_count);
    peer_deinit(p);
}

void attack(enum place place, struct bytes *b, const char *letters) {
    struct scene s;
    scene_begin(&s, place);
    scene_say(&s, b->data, b->size);
    bytes_free(b);
    char seen = scene_seen(&s);
    if (!strchr(letters, seen)) case_failed("at %s came '%c', not '%s'", place_names[place], seen, letters);
    scene_end(&s);
    sum.cases++;
}

/* ---------------------------------------------------------------- arguments */

static void fill_field(const struct method_field *field, void *value) {
    static const uint8_t entry[] = "\3keyS\0\0\0\5value";
    switch (field->type) {
    case FIELD_BIT: *(bool *)value = true; break;
    case FIELD_OCTET: *(uint8_t *)value = 1; break;
    case FIELD_SHORT: *(uint16_t *)value = 2; break;
    case FIELD_LONG: *(uint32_t *)value = 8192; break;
    case FIELD_LONGLONG: *(uint64_t *)value = 1; break;
    case FIELD_SHORTSTR: *(lago_string_t *)value = (lago_string_t){ "c", 1 }; break;
    case FIELD_LONGSTR: *(lago_bytes_t *)value = (lago_bytes_t){ "PLAIN", 5 }; break;
    default: *(lago_table_t *)value = (lago_table_t){ NULL, entry, sizeof(entry) - 1, 0 }; break;
    }
}

void fill_args(const struct method_info *info, union method_args *args) {
    memset(args, 0, sizeof(*args));
    for (size_t i = 0; i < info->field_count; i++)
        if (!info->fields[i].reserved) fill_field(&info->fields[i], (uint8_t *)args + info->fields[i].offset);
}

void payload_of(const struct method_info *info, struct bytes *payload) {
    union method_args args;
    struct bytes frame = { 0 };
    fill_args(info, &args);
    bytes_method(&frame, 0, info->id, &args);
    bytes_add(payload, frame.data + FRAME_HEADER_SIZE, frame.size - FRAME_OVERHEAD);
    bytes_free(&frame);
}
