#include "peer.h"

#include "deadline.h"
#include "text.h"

/* ---------------------------------------------------------------- bytes */

void bytes_add(struct bytes *b, const void *data, size_t size) {
    if (size == 0) return;
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void bytes_free(struct bytes *b) {
    free(b->data);
    *b = (struct bytes){ 0 };
}

void bytes_frame(struct bytes *b, unsigned type, uint16_t channel, const void *payload, size_t size) {
    uint8_t octets[FRAME_HEADER_SIZE];
    frame_begin(octets, (enum frame_type)type, channel, size);
    bytes_add(b, octets, sizeof(octets));
    bytes_add(b, payload, size);
    frame_finish(octets);
    bytes_add(b, octets, FRAME_END_SIZE);
}

void bytes_method(struct bytes *b, uint16_t channel, uint32_t method, const void *args) {
    static const union method_args zero;
    uint8_t payload[8192];
    struct writer w = writer_over(payload, sizeof(payload));
    method_write(&w, method_find(method), args ? args : &zero);
    assert_int_equal(w.error, 0);
    bytes_frame(b, FRAME_METHOD, channel, payload, w.size);
}

void bytes_header(struct bytes *b, uint16_t channel, uint64_t body_size, const lago_properties_t *properties) {
    uint8_t payload[8192];
    struct writer w = writer_over(payload, sizeof(payload));
    content_header_write(&w, body_size, properties);
    assert_int_equal(w.error, 0);
    bytes_frame(b, FRAME_HEADER, channel, payload, w.size);
}

static uint8_t pattern_at(size_t i) { return (uint8_t)(i * 7 + i / 256 * 13 + i / 65536 * 31); }

void pattern_fill(uint8_t *data, size_t offset, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = pattern_at(offset + i);
}

bool pattern_is(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != pattern_at(i)) return false;
    return true;
}

void bytes_body(struct bytes *b, uint16_t channel, size_t offset, size_t size) {
    uint8_t *body = malloc(size + 1);
    assert_non_null(body);
    pattern_fill(body, offset, size);
    bytes_frame(b, FRAME_BODY, channel, body, size);
    free(body);
}

void bytes_deliver(struct bytes *b, uint16_t channel, uint64_t tag, size_t size, size_t frame_max) {
    struct basic_deliver deliver = { .consumer_tag = { "c", 1 }, .delivery_tag = tag, .routing_key = { "k", 1 } };
    lago_properties_t properties = { .content_type = "text/plain", .delivery_mode = 2 };
    bytes_method(b, channel, METHOD_BASIC_DELIVER, &deliver);
    bytes_header(b, channel, size, &properties);
    for (size_t offset = 0; offset < size; offset += frame_max - FRAME_OVERHEAD) {
        size_t left = size - offset;
        bytes_body(b, channel, offset, left < frame_max - FRAME_OVERHEAD ? left : frame_max - FRAME_OVERHEAD);
    }
}

void bytes_handshake(struct bytes *b) {
    struct connection_start start = { .version_minor = 9, .mechanisms = { "PLAIN", 5 }, .locales = { "en_US", 5 } };
    struct connection_tune tune = { .channel_max = 2047, .frame_max = 131072, .heartbeat = 60 };
    bytes_method(b, 0, METHOD_CONNECTION_START, &start);
    bytes_method(b, 0, METHOD_CONNECTION_TUNE, &tune);
    bytes_method(b, 0, METHOD_CONNECTION_OPEN_OK, NULL);
}

/* ---------------------------------------------------------------- words */

static const char *const event_names[] = { "start",         "secure", "tune",   "open",    "blocked", "unblocked", "channel-open",
                                           "channel-close", "closed", "method", "content", "begin",   "content",   "ended" };

static void add_line(struct bytes *log, const struct text *t) {
    assert_true(t->length < t->size);
    bytes_add(log, t->data, t->length);
    bytes_add(log, "\n", 1);
}

/* Strings of methods and properties have a NUL behind them (contract 11). */
static void check_strings(const struct session_event *event) {
    for (size_t i = 0; event->info && i < event->info->field_count; i++) {
        const struct method_field *field = &event->info->fields[i];
        if (field->type != FIELD_SHORTSTR || field->reserved) continue;
        const lago_string_t *s = (const void *)((const uint8_t *)event->args + field->offset);
        assert_int_equal(s->data[s->size], '\0');
    }
    const lago_properties_t *p = event->properties;
    if (!p) return;
    const char *strings[] = { p->content_type, p->content_encoding, p->correlation_id, p->reply_to,  p->expiration, p->message_id,
                              p->type,         p->user_id,          p->app_id,         p->cluster_id };
    const uint8_t sizes[] = { p->sizes.content_type, p->sizes.content_encoding, p->sizes.correlation_id, p->sizes.reply_to,
                              p->sizes.expiration,   p->sizes.message_id,       p->sizes.type,           p->sizes.user_id,
                              p->sizes.app_id,       p->sizes.cluster_id };
    for (size_t i = 0; i < sizeof(sizes); i++)
        if (strings[i]) assert_int_equal(strings[i][sizes[i]], '\0');
}

static void add_body(struct text *t, lago_bytes_t body) {
    const uint8_t *data = body.data;
    assert_non_null(data);
    assert_int_equal(data[body.size], '\0');
    text_addf(t, " body=%zu", body.size);
    if (!pattern_is(data, body.size)) text_add_escaped(t, data, body.size, 32);
}

static void note_event(struct peer *p, const struct session_event *event) {
    char line[4096];
    struct text t;
    text_init(&t, line, sizeof(line));
    check_strings(event);
    text_add(&t, event_names[event->type]);
    if (event->channel) text_addf(&t, " %u", event->channel);
    if (event->owner) text_addf(&t, " %s", (const char *)event->owner);
    bool spoken = event->type == SESSION_EVENT_METHOD || event->type == SESSION_EVENT_CONTENT ||
                  event->type == SESSION_EVENT_BODY || event->type == SESSION_EVENT_BLOCKED ||
                  (event->type == SESSION_EVENT_CHANNEL_CLOSE && event->info);
    if (spoken) {
        text_add(&t, " ");
        method_print(&t, event->info, event->args);
    }
    if (event->reason) text_addf(&t, " %s", lago_error_name(event->reason->code));
    if (event->reason && event->reason->reply_code) text_addf(&t, " %u", event->reason->reply_code);
    bool ends = event->type == SESSION_EVENT_CHANNEL_CLOSE || event->type == SESSION_EVENT_CHANNEL_CLOSE_OK;
    if (ends && event->publishes_sent) text_addf(&t, " sent=%llu", (unsigned long long)event->publishes_sent);
    if (event->properties && event->properties->present) text_add(&t, " ");
    properties_print(&t, event->properties, 256);
    if (event->type == SESSION_EVENT_CONTENT) add_body(&t, event->body);
    if (event->type == SESSION_EVENT_BODY) text_addf(&t, " body=%llu", (unsigned long long)event->body_size);
    add_line(&p->events, &t);
}

static void hand_out(struct peer *p, struct session_event *event) {
    lago_reason_t reason = { .code = LAGO_ENOMEM };
    int rc = session_hand_out(&p->session, event->channel, &event->args);
    if (rc == 0) {
        check_strings(event);
        return;
    }
    assert_int_equal(rc, LAGO_ENOMEM);
    session_abandon(&p->session, &reason);
}

/* Its pieces follow each other, and are all of it. @return whether it is to be noted. */
static bool body_came(struct peer *p, struct session_event *event) {
    if (event->type == SESSION_EVENT_BODY_BEGIN) {
        p->handed[event->channel & 3] = 0;
        if (p->hands_out) hand_out(p, event);
        return false;
    }
    if (event->type != SESSION_EVENT_BODY) return true;
    uint64_t *handed = &p->handed[event->channel & 3];
    assert_int_equal(event->body_offset, *handed);
    const uint8_t *data = event->body.data;
    for (size_t i = 0; i < event->body.size && !p->any_body; i++)
        if (data[i] != pattern_at((size_t)*handed + i)) fail_msg("octet %zu of a piece", i);
    *handed += event->body.size;
    p->pieces++;
    assert_true(event->body.size > 0 || event->body_ends);
    assert_true(*handed <= event->body_size);
    if (event->body_ends) assert_int_equal(*handed, event->body_size);
    return event->body_ends;
}

static void note_frame(struct peer *p, const struct frame *frame) {
    char line[4096];
    struct text t;
    struct content_header header;
    union method_args args;
    const struct method_info *info = NULL;
    text_init(&t, line, sizeof(line));
    text_addf(&t, "%u ", frame->channel);
    switch (frame->type) {
    case FRAME_METHOD:
        assert_int_equal(method_read(frame->payload, frame->size, &info, &args), 0);
        assert_true(info->from_client);
        method_print(&t, info, &args);
        if (info->id == METHOD_CONNECTION_CLOSE) p->close_count++;
        break;
    case FRAME_HEADER:
        assert_int_equal(content_header_read(frame->payload, frame->size, &header), 0);
        text_addf(&t, "header %llu ", (unsigned long long)header.body_size);
        properties_print(&t, &header.properties, 256);
        while (t.data[t.length - 1] == ' ') t.length--;
        break;
    case FRAME_BODY:
        text_addf(&t, "body %zu", frame->size);
        bytes_add(&p->bodies, frame->payload, frame->size);
        break;
    default: text_add(&t, "heartbeat"); break;
    }
    add_line(&p->frames, &t);
}

/* Whole frames of the wire, none above frame_max. */
static void note_wire(struct peer *p) {
    struct frame frame;
    size_t need = 0;
    size_t left = p->wire.size - p->wire_read;
    if (left >= PROTOCOL_HEADER_SIZE && memcmp(p->wire.data + p->wire_read, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE) == 0) {
        bytes_add(&p->frames, "protocol-header\n", 16);
        p->wire_read += PROTOCOL_HEADER_SIZE;
    }
    size_t max = p->session.tune.frame_max ? p->session.tune.frame_max : FRAME_MIN_SIZE;
    while (p->wire_read < p->wire.size) {
        enum frame_result result = frame_decode(p->wire.data + p->wire_read, p->wire.size - p->wire_read, max, &frame, &need);
        if (result == FRAME_INCOMPLETE) return;
        assert_int_equal(result, FRAME_COMPLETE);
        note_frame(p, &frame);
        p->wire_read += need;
    }
}

static void note_trace(void *data, char direction, const char *line) {
    struct peer *p = data;
    bytes_add(&p->trace, (char[]){ direction, ' ' }, 2);
    bytes_add(&p->trace, line, strlen(line));
    bytes_add(&p->trace, "\n", 1);
}

/* ---------------------------------------------------------------- life */

void peer_init(struct peer *p) {
    const lago_allocator_t *allocator = p->allocator;
    *p = (struct peer){
        .allocator = allocator, .tune = { .channel_max = 8, .frame_max = FRAME_MIN_SIZE }, .stop = SESSION_ENDED, .now = 1000000
    };
    fail_alloc_init(&p->memory);
    p->settings =
        (struct session_settings){ .channel_max = 8, .message_size_max = 1 << 20, .trace = note_trace, .trace_data = p };
    session_init(&p->session, allocator ? allocator : &p->memory.allocator, &p->settings, p->now);
}

void peer_deinit(struct peer *p) {
    session_deinit(&p->session);
    fail_alloc_check(&p->memory);
    bytes_free(&p->events);
    bytes_free(&p->frames);
    bytes_free(&p->trace);
    bytes_free(&p->wire);
    bytes_free(&p->bodies);
}

static void forget_logs(struct peer *p) {
    note_wire(p);
    p->events.size = p->frames.size = p->trace.size = p->bodies.size = 0;
}

static void answer(struct peer *p, const struct session_event *event) {
    static const struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 },
                                                   .response = { "\0guest\0" PASSWORD, 7 + sizeof(PASSWORD) - 1 },
                                                   .locale = { "en_US", 5 } };
    if (p->mute || p->session.state == p->stop) return;
    switch (event->type) {
    case SESSION_EVENT_START: assert_int_equal(session_start_ok(&p->session, &ok), 0); break;
    case SESSION_EVENT_SECURE: assert_int_equal(session_secure_ok(&p->session, (lago_bytes_t){ "answer", 6 }), 0); break;
    case SESSION_EVENT_TUNE: assert_int_equal(session_tune_ok(&p->session, &p->tune, "/"), 0); break;
    case SESSION_EVENT_OPEN: session_release_held(&p->session); break;
    default: break;
    }
}

static void bring_up(struct peer *p, enum session_state state) {
    struct bytes b = { 0 };
    p->stop = state;
    assert_int_equal(session_start(&p->session, p->now), 0);
    peer_write_all(p);
    if (state >= SESSION_STARTING) bytes_method(&b, 0, METHOD_CONNECTION_START, NULL);
    if (state == SESSION_SECURING) bytes_method(&b, 0, METHOD_CONNECTION_SECURE, NULL);
    if (state >= SESSION_TUNING) bytes_method(&b, 0, METHOD_CONNECTION_TUNE, NULL);
    if (state >= SESSION_OPEN) bytes_method(&b, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    if (state >= SESSION_OPEN) p->stop = SESSION_ENDED;
    peer_say(p, &b);
    peer_write_all(p);
}

void peer_bring(struct peer *p, enum session_state state) {
    static char one[] = "one", two[] = "two";
    struct bytes b = { 0 };
    assert_int_equal(session_channel_open(&p->session, one), 1);
    assert_int_equal(session_channel_open(&p->session, two), 2);
    if (state == SESSION_IDLE) return;
    bring_up(p, state);
    if (state >= SESSION_OPEN) {
        bytes_method(&b, 1, METHOD_CHANNEL_OPEN_OK, NULL);
        bytes_method(&b, 2, METHOD_CHANNEL_OPEN_OK, NULL);
        peer_say(p, &b);
    }
    if (state == SESSION_CLOSING) assert_int_equal(session_close(&p->session, REPLY_SUCCESS, "bye"), 0);
    if (state == SESSION_FAILED) peer_say_method(p, 0, METHOD_CONNECTION_TUNE, NULL);
    if (state != SESSION_LEAVING) peer_write_all(p);
    if (state == SESSION_LEAVING || state == SESSION_ENDED) peer_say_method(p, 0, METHOD_CONNECTION_CLOSE, NULL);
    if (state == SESSION_ENDED) peer_write_all(p);
    assert_int_equal(p->session.state, state);
    session_looked(&p->session, p->taken, false, p->now);
    forget_logs(p);
}

void peer_open(struct peer *p) {
    peer_init(p);
    peer_bring(p, SESSION_OPEN);
}

/* ---------------------------------------------------------------- talking */

void peer_pull(struct peer *p) {
    struct session_event event;
    while (session_next_event(&p->session, &event) == 1) {
        if (body_came(p, &event)) note_event(p, &event);
        answer(p, &event);
        if (p->on_event) p->on_event(p, &event);
    }
}

/* @return how much of it had its place already; 0: none. */
static size_t fill_room(struct peer *p, const uint8_t *data, size_t size) {
    uint8_t *room;
    size_t max = session_room(&p->session, &room);
    if (max == 0) return 0;
    if (size > max) size = max;
    memcpy(room, data, size);
    session_filled(&p->session, size, p->now);
    assert_false(session_has_input(&p->session));
    p->filled += size;
    peer_pull(p);
    return size;
}

static void give_input(struct peer *p, const uint8_t *data, size_t size) {
    uint8_t *input = malloc(size > 0 ? size : 1);
    assert_non_null(input);
    if (size > 0) memcpy(input, data, size);
    session_input(&p->session, input, size, p->now);
    peer_pull(p);
    assert_false(session_has_input(&p->session));
    memset(input, 0x5a, size);
    free(input);
}

void peer_feed(struct peer *p, const void *data, size_t size) {
    const uint8_t *at = data;
    for (size_t left = size, done; p->straight && left > 0; at += done, left -= done) {
        done = fill_room(p, at, left);
        if (done > 0) continue;
        size_t max = session_read_max(&p->session);
        done = left < max ? left : max;
        give_input(p, at, done);
    }
    if (!p->straight) give_input(p, at, size);
}

void peer_say(struct peer *p, struct bytes *b) {
    peer_feed(p, b->data, b->size);
    bytes_free(b);
}

void peer_say_method(struct peer *p, uint16_t channel, uint32_t method, const void *args) {
    struct bytes b = { 0 };
    bytes_method(&b, channel, method, args);
    peer_say(p, &b);
}

void peer_write(struct peer *p, size_t max) {
    struct slice slices[8];
    while (max > 0 && p->session.out.size > 0) {
        size_t count = chunks_peek(&p->session.out, slices, 8);
        size_t size = 0;
        for (size_t i = 0; i < count && size < max; i++) {
            size_t piece = slices[i].size < max - size ? slices[i].size : max - size;
            bytes_add(&p->wire, slices[i].data, piece);
            size += piece;
        }
        max -= size;
        if (!p->swallowed) p->taken += size;
        session_written(&p->session, size, p->now);
    }
}

void peer_write_all(struct peer *p) {
    peer_write(p, SIZE_MAX);
    peer_pull(p);
}

static const char *take(struct bytes *log) {
    bytes_add(log, "", 1);
    log->size = 0;
    return (const char *)log->data;
}

const char *peer_events(struct peer *p) { return take(&p->events); }

const char *peer_frames(struct peer *p) {
    peer_write_all(p);
    note_wire(p);
    return take(&p->frames);
}

int peer_publish(struct peer *p, uint16_t channel, size_t size) {
    struct basic_publish args = { .routing_key = { "q", 1 } };
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    pattern_fill(data, 0, size);
    struct session_body body = { .bytes = { data, size } };
    int rc = session_publish(&p->session, channel, &args, NULL, &body);
    free(data);
    return rc;
}

/* As the client does. */
static void tick(struct peer *p) {
    if (session_wants_look(&p->session, p->now)) session_looked(&p->session, p->taken, p->swallowed, p->now);
    session_tick(&p->session, p->now, false);
    peer_pull(p);
}

void peer_pass(struct peer *p, uint64_t ms) {
    uint64_t end = p->now + ms;
    for (uint64_t due; (due = session_deadline(&p->session)) < end;) {
        if (due > p->now) p->now = due;
        tick(p);
        assert_true(session_deadline(&p->session) > p->now || p->session.out.size > 0);
    }
    p->now = end;
    tick(p);
}
