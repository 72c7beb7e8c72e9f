/* See seat.h. */
#include "seat.h"
#include "conversation.h"
#include "deadline.h"
#include "frame.h"
#include "fuzz.h"
#include <string.h>

#define UV_EOF_CODE (-4095)
#define START_MS    1000000u
#define SLACK       64u /* poisoned, behind what is lent */

/* ---------------------------------------------------------------- the digest */

uint64_t seat_mix(uint64_t digest, const void *data, size_t size) {
    const uint8_t *at = data;
    uint64_t word;
    digest ^= size;
    for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        digest ^= digest >> 29;
    }
    word = 0;
    if (size) memcpy(&word, at, size);
    digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return digest ^ digest >> 32;
}

static void mix(struct seat *seat, const void *data, size_t size) { seat->digest = seat_mix(seat->digest, data, size); }

static void mix_number(struct seat *seat, uint64_t number) { mix(seat, &number, sizeof(number)); }

static void mix_string(struct seat *seat, lago_string_t s) {
    REQUIRE(s.data[s.size] == '\0');
    mix(seat, s.data, s.size);
}

static void mix_field(struct seat *seat, const struct method_field *field, const void *value) {
    const lago_bytes_t *bytes = value;
    const lago_table_t *table = value;
    switch (field->type) {
    case FIELD_BIT: mix_number(seat, *(const bool *)value); break;
    case FIELD_OCTET: mix_number(seat, *(const uint8_t *)value); break;
    case FIELD_SHORT: mix_number(seat, *(const uint16_t *)value); break;
    case FIELD_LONG: mix_number(seat, *(const uint32_t *)value); break;
    case FIELD_LONGLONG: mix_number(seat, *(const uint64_t *)value); break;
    case FIELD_SHORTSTR: mix_string(seat, *(const lago_string_t *)value); break;
    case FIELD_LONGSTR: mix(seat, bytes->data, bytes->size); break;
    default: mix(seat, table->raw, table->size); break;
    }
}

static void mix_args(struct seat *seat, const struct session_event *event) {
    const struct method_info *info = event->info;
    REQUIRE(info->from_server);
    mix_number(seat, info->id);
    for (size_t i = 0; i < info->field_count; i++)
        if (!info->fields[i].reserved) mix_field(seat, &info->fields[i], (const uint8_t *)event->args + info->fields[i].offset);
}

static void mix_property(struct seat *seat, const char *string, uint8_t size) {
    if (!string) return;
    REQUIRE(string[size] == '\0');
    mix(seat, string, size);
}

static void mix_properties(struct seat *seat, const lago_properties_t *p) {
    mix_number(seat, p->present);
    mix_number(seat, (uint64_t)p->delivery_mode << 8 | p->priority);
    mix_number(seat, p->timestamp);
    mix(seat, p->headers.raw, p->headers.size);
    mix_property(seat, p->content_type, p->sizes.content_type);
    mix_property(seat, p->content_encoding, p->sizes.content_encoding);
    mix_property(seat, p->correlation_id, p->sizes.correlation_id);
    mix_property(seat, p->reply_to, p->sizes.reply_to);
    mix_property(seat, p->expiration, p->sizes.expiration);
    mix_property(seat, p->message_id, p->sizes.message_id);
    mix_property(seat, p->type, p->sizes.type);
    mix_property(seat, p->user_id, p->sizes.user_id);
    mix_property(seat, p->app_id, p->sizes.app_id);
    mix_property(seat, p->cluster_id, p->sizes.cluster_id);
}

/* ---------------------------------------------------------------- bodies: whole or in pieces, the digest is the same */

__attribute__((no_sanitize("address", "undefined"))) static uint64_t mix_bytes(uint64_t digest, lago_bytes_t bytes) {
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) digest = (digest ^ at[i]) * UINT64_C(0x100000001b3);
    return digest;
}

static void give_up(struct seat *seat, int code) {
    lago_reason_t reason = { .code = code, .origin = LAGO_BY_CLIENT };
    session_abandon(&seat->s, &reason);
}

static void content_is_done(struct seat *seat, const struct session_event *event, uint64_t digest, uint64_t size) {
    mix_number(seat, SESSION_EVENT_CONTENT);
    mix_number(seat, event->channel);
    mix_args(seat, event);
    mix_properties(seat, event->properties);
    mix_number(seat, digest);
    mix_number(seat, size);
    seat->contents++;
    if (size > seat->largest_body) seat->largest_body = size;
}

static void content_came(struct seat *seat, const struct session_event *event) {
    const uint8_t *body = event->body.data;
    REQUIRE(event->info->content && event->info->from_server);
    REQUIRE(event->body.size <= seat->settings.message_size_max);
    REQUIRE(body[event->body.size] == '\0');
    content_is_done(seat, event, mix_bytes(1, event->body), event->body.size);
}

static void body_begins(struct seat *seat, const struct session_event *event) {
    unsigned at = event->channel % SEAT_CHANNELS;
    union method_args *args = NULL;
    REQUIRE(event->info->id == METHOD_BASIC_DELIVER);
    if (!seat->hands_out) return;
    if (session_hand_out(&seat->s, event->channel, &args) < 0) {
        give_up(seat, LAGO_ENOMEM);
        return;
    }
    seat->bodies[at].under_way = true;
    seat->bodies[at].at = 0;
    seat->bodies[at].digest = 1;
}

/* @return whether it was the last one */
static bool body_came(struct seat *seat, const struct session_event *event) {
    unsigned at = event->channel % SEAT_CHANNELS;
    REQUIRE(seat->bodies[at].under_way && event->body_offset == seat->bodies[at].at);
    REQUIRE(event->body.size > 0 || event->body_ends);
    REQUIRE(event->body.size <= event->body_size - event->body_offset);
    seat->bodies[at].at += event->body.size;
    seat->bodies[at].digest = mix_bytes(seat->bodies[at].digest, event->body);
    seat->pieces++;
    if (!event->body_ends) return false;
    REQUIRE(seat->bodies[at].at == event->body_size);
    seat->bodies[at].under_way = false;
    content_is_done(seat, event, seat->bodies[at].digest, event->body_size);
    return true;
}

/* ---------------------------------------------------------------- the handshake, as lib/client/login.c answers it */

static void answer_start(struct seat *seat, const struct connection_start *start) {
    static const struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 },
                                                   .response = { "\0guest\0guest", 12 },
                                                   .locale = { "en_US", 5 } };
    if (start->version_major != 0 || start->version_minor != 9)
        give_up(seat, LAGO_EVERSION);
    else if (session_start_ok(&seat->s, &ok) < 0)
        give_up(seat, LAGO_ENOMEM);
}

static uint32_t smaller(uint32_t ours, uint32_t theirs) { return theirs && theirs < ours ? theirs : ours; }

static void answer_tune(struct seat *seat, const struct connection_tune *offered) {
    lago_tune_t tune = { .channel_max = (uint16_t)smaller(seat->tune.channel_max, offered->channel_max),
                         .frame_max = smaller(seat->tune.frame_max, offered->frame_max),
                         .heartbeat_s = offered->heartbeat };
    if (tune.frame_max < FRAME_MIN_SIZE)
        give_up(seat, LAGO_EFRAMEMAX);
    else if (session_tune_ok(&seat->s, &tune, "/") < 0)
        give_up(seat, LAGO_ENOMEM);
}

static void answer_open(struct seat *seat) {
    uint16_t next = 0;
    while ((next = session_channel_next(&seat->s, next)) != 0)
        if (next > seat->s.tune.channel_max) session_channel_drop(&seat->s, next);
    session_release_held(&seat->s);
}

static void answer(struct seat *seat, const struct session_event *event) {
    switch (event->type) {
    case SESSION_EVENT_START: answer_start(seat, &event->args->connection_start); break;
    case SESSION_EVENT_SECURE:
        if (session_secure_ok(&seat->s, (lago_bytes_t){ "answer", 6 }) < 0) give_up(seat, LAGO_ENOMEM);
        break;
    case SESSION_EVENT_TUNE: answer_tune(seat, &event->args->connection_tune); break;
    case SESSION_EVENT_OPEN: answer_open(seat); break;
    default: break;
    }
}

/* ---------------------------------------------------------------- events */

/* A body frame in parts is judged by its channel before its end octet is there: what is wrong twice is refused for either. */
static uint64_t refused_for(unsigned reply_code) {
    bool is_of_a_frame = reply_code == REPLY_CHANNEL_ERROR || reply_code == REPLY_UNEXPECTED_FRAME;
    return is_of_a_frame ? REPLY_FRAME_ERROR : reply_code;
}

static void reason_came(struct seat *seat, const struct kept_reason *kept) {
    lago_reason_t reason, *r = &reason;
    REQUIRE(kept);
    const lago_reason_t *said = reason_kept(kept, r);
    REQUIRE(said && said->code < 0);
    mix_number(seat, (uint64_t)said->code);
    mix_number(seat, refused_for(said->reply_code));
}

static void event_came(struct seat *seat, const struct session_event *event) {
    seat->events++;
    mix_number(seat, event->type);
    mix_number(seat, event->channel);
    switch (event->type) {
    case SESSION_EVENT_ENDED:
        seat->ended++;
        REQUIRE(seat->ended == 1 && seat->s.state == SESSION_ENDED);
        reason_came(seat, event->reason);
        return;
    case SESSION_EVENT_CHANNEL_CLOSE:
        if (event->channel) seat->bodies[event->channel % SEAT_CHANNELS].under_way = false;
        if (event->reason) {
            reason_came(seat, event->reason);
            return;
        }
        break;
    default: break;
    }
    REQUIRE(event->info && event->args);
    mix_args(seat, event);
}

/* The wire hears what the session has looked at by now: so what it was answered by comes behind. */
static void hear(struct seat *seat) {
    size_t used = seat->said_size - (session_has_input(&seat->s) ? seat->s.input_size : 0);
    if (!seat->wire || used <= seat->heard) return;
    conversation_received(seat->wire, seat->said + seat->heard, used - seat->heard);
    seat->heard = used;
}

static void one_event(struct seat *seat, const struct session_event *event) {
    REQUIRE(seat->ended == 0);
    hear(seat);
    switch (event->type) {
    case SESSION_EVENT_BODY_BEGIN: body_begins(seat, event); return;
    case SESSION_EVENT_BODY:
        if (!body_came(seat, event)) return;
        break;
    case SESSION_EVENT_CONTENT: content_came(seat, event); break;
    default: event_came(seat, event); break;
    }
    if (seat->answers) answer(seat, event);
    if (seat->on_event) seat->on_event(seat, event);
    if (seat->wire) (void)seat_write(seat, SIZE_MAX);
}

void seat_pull(struct seat *seat, size_t events_max) {
    struct session_event event;
    size_t count = 0;
    while (session_next_event(&seat->s, &event) == 1) {
        REQUIRE(++count <= events_max); /* time is bounded by what came */
        one_event(seat, &event);
    }
    REQUIRE(!session_has_input(&seat->s));
}

/* ---------------------------------------------------------------- bytes */

static uint8_t lent[SEAT_INPUT_MAX + SLACK];

/* A frame has eight octets at least; what happened before may have left a few events, and a body's last piece is one more. */
static size_t events_of(size_t size) { return size / FRAME_OVERHEAD + 8; }

static size_t fill_room(struct seat *seat, const uint8_t *data, size_t size) {
    uint8_t *room = NULL;
    size_t max = session_room(&seat->s, &room);
    if (max == 0) return 0;
    if (size > max) size = max;
    memcpy(room, data, size);
    if (seat->wire) conversation_received(seat->wire, data, size);
    session_filled(&seat->s, size, seat->now);
    seat_pull(seat, events_of(size));
    return size;
}

static void lend(struct seat *seat, const uint8_t *data, size_t size) {
    memcpy(lent, data, size);
    fuzz_poison(lent + size, SLACK);
    seat->said = data;
    seat->said_size = size;
    seat->heard = 0;
    session_input(&seat->s, lent, size, seat->now);
    seat_pull(seat, events_of(size));
    hear(seat);
    seat->said_size = 0;
    fuzz_unpoison(lent + size, SLACK);
    memset(lent, 0x5a, size < 256 ? size : 256); /* whoever kept a pointer reads this */
}

void seat_feed(struct seat *seat, const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t done = seat->straight ? fill_room(seat, data, size) : 0;
        if (done == 0) {
            size_t max = seat->straight ? session_read_max(&seat->s) : SEAT_INPUT_MAX;
            done = size < max ? size : max;
            lend(seat, data, done);
        }
        data += done;
        size -= done;
    }
}

size_t seat_write(struct seat *seat, size_t max) {
    struct slice slices[8];
    size_t total = 0;
    while (total < max && seat->s.out.size > 0) {
        size_t count = chunks_peek(&seat->s.out, slices, 8), size = 0;
        REQUIRE(count > 0);
        for (size_t i = 0; i < count && size < max - total; i++) {
            size_t piece = slices[i].size < max - total - size ? slices[i].size : max - total - size;
            if (seat->wire) conversation_sent(seat->wire, slices[i].data, piece);
            size += piece;
        }
        REQUIRE(size > 0);
        session_written(&seat->s, size, seat->now);
        total += size;
    }
    return total;
}

/* ---------------------------------------------------------------- life and time */

void seat_init(struct seat *seat, struct arena *arena, const struct session_settings *settings, const lago_tune_t *tune) {
    *seat = (struct seat){ .arena = arena, .settings = *settings, .tune = *tune, .now = START_MS, .answers = true, .digest = 1 };
    session_init(&seat->s, &arena->allocator, &seat->settings, seat->now);
}

void seat_pass(struct seat *seat, uint64_t ms) {
    uint64_t until = seat->now + ms;
    for (unsigned ticks = 0; ticks < 100 && seat->s.state != SESSION_ENDED; ticks++) {
        uint64_t deadline = session_deadline(&seat->s);
        if (deadline > until) break;
        if (deadline > seat->now) seat->now = deadline;
        session_tick(&seat->s, seat->now, false);
        seat_pull(seat, 8);
    }
    if (seat->now < until) seat->now = until;
    session_tick(&seat->s, seat->now, false);
    seat_pull(seat, 8);
}

void seat_end(struct seat *seat) {
    (void)seat_write(seat, SIZE_MAX);
    seat_pull(seat, 8);
    if (seat->s.state != SESSION_ENDED && seat->s.state != SESSION_IDLE) {
        session_lost(&seat->s, UV_EOF_CODE, seat->now);
        seat_pull(seat, 8);
        REQUIRE(seat->s.state == SESSION_ENDED);
    }
    REQUIRE(seat->ended == (seat->s.state == SESSION_ENDED));
    session_deinit(&seat->s);
}
