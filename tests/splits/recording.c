/* A recorded conversation, read and said again. Must not know how it is cut. */
#include "recording.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

/* ---------------------------------------------------------------- a recording */

static uint32_t get_size(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void client_frame(struct recording *file, const struct frame *frame) {
    union method_args args;
    const struct method_info *info = NULL;
    if (file->said_count == FRAMES_MAX) fail_msg("%s: too many frames", file->path);
    file->said[file->said_count++] = (struct said){ file->server.size, frame->type, frame->channel, frame->payload, frame->size };
    if (frame->type != FRAME_METHOD) return;
    assert_int_equal(method_read(frame->payload, frame->size, &info, &args), 0);
    if (info->id == METHOD_CONNECTION_TUNE_OK)
        file->tune = (lago_tune_t){ .channel_max = args.connection_tune_ok.channel_max,
                                    .frame_max = args.connection_tune_ok.frame_max,
                                    .heartbeat_s = args.connection_tune_ok.heartbeat };
}

/* Whole frames of the client, as far as they have come; the protocol header is skipped. @return how much was taken. */
static size_t client_frames(struct recording *file, uint8_t *data, size_t size) {
    size_t at = size >= 8 && memcmp(data, "AMQP", 4) == 0 ? 8 : 0, need = 0;
    struct frame frame;
    while (at < size && frame_decode(data + at, size - at, 1 << 20, &frame, &need) == FRAME_COMPLETE) {
        client_frame(file, &frame);
        at += need;
    }
    return at;
}

bool recording_load(struct recording *file, const char *path) {
    static uint8_t raw[1 << 17];
    memset(file, 0, sizeof(*file));
    snprintf(file->path, sizeof(file->path), "%s", path);
    FILE *in = fopen(path, "rb");
    if (!in) return false;
    size_t size = fread(raw, 1, sizeof(raw), in), seen = 0;
    fclose(in);
    bytes_add(&file->client, raw, size);
    file->client.size = 0;
    for (size_t at = 0; at + 5 <= size; at += 5 + get_size(raw + at + 1)) {
        size_t part = get_size(raw + at + 1);
        if (at + 5 + part > size) fail_msg("%s is cut short", path);
        bytes_add(raw[at] == 'C' ? &file->client : &file->server, raw + at + 5, part);
        if (raw[at] == 'C') seen += client_frames(file, file->client.data + seen, file->client.size - seen);
    }
    return true;
}

void recording_free(struct recording *file) {
    bytes_free(&file->server);
    bytes_free(&file->client);
}

/* ---------------------------------------------------------------- all of a directory */

static int is_session(const struct dirent *entry) { return strstr(entry->d_name, ".session") != NULL; }

void recordings_of(const char *directory, void (*with)(const struct recording *file)) {
    struct dirent **entries;
    int count = scandir(directory, &entries, is_session, alphasort);
    if (count < 0) fail_msg("%s cannot be read", directory);
    for (int i = 0; i < count; i++) {
        char path[1024];
        static struct recording file;
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        free(entries[i]);
        if (!recording_load(&file, path)) fail_msg("%s cannot be read", path);
        with(&file);
        recording_free(&file);
    }
    free(entries);
}

/* ---------------------------------------------------------------- the client, once more */

static char owner[] = "channel";

static void publish_when_whole(struct replay *r) {
    if (r->body_left > 0) return;
    struct session_body body = { .bytes = { r->body.size ? r->body.data : (const uint8_t *)"", r->body.size } };
    (void)session_publish(&r->peer.session, r->publish_channel, &r->publish.basic_publish, &r->header.properties, &body);
    r->body.size = 0;
}

static void say_method(struct replay *r, const struct said *said) {
    struct session *s = &r->peer.session;
    const struct method_info *info = NULL;
    union method_args args;
    assert_int_equal(method_read(said->payload, said->size, &info, &args), 0);
    switch (info->id) {
    case METHOD_CONNECTION_START_OK: /* the peer answers these by itself, and the session those below */
    case METHOD_CONNECTION_TUNE_OK:
    case METHOD_CONNECTION_OPEN:
    case METHOD_CONNECTION_CLOSE_OK:
    case METHOD_CHANNEL_CLOSE_OK:
    case METHOD_CHANNEL_FLOW_OK: return;
    case METHOD_CONNECTION_CLOSE: (void)session_close(s, args.connection_close.reply_code, "bye"); return;
    case METHOD_CHANNEL_OPEN:
        (void)session_channel_open(s,
                                   owner); /* the lowest free number, then as now; where it is another one, the traces differ */
        if (r->peer.hands_out) session_announce_bodies(s, said->channel);
        return;
    case METHOD_CHANNEL_CLOSE: (void)session_channel_close(s, said->channel, args.channel_close.reply_code, "bye"); return;
    case METHOD_BASIC_PUBLISH:
        r->publish = args;
        r->publish_channel = said->channel;
        return;
    default: (void)session_send(s, said->channel, info->id, &args); return;
    }
}

static void say(struct replay *r, const struct said *said) {
    if (said->type == FRAME_METHOD) {
        say_method(r, said);
    } else if (said->type == FRAME_HEADER) {
        assert_int_equal(content_header_read(said->payload, said->size, &r->header), 0);
        r->body_left = r->header.body_size;
        publish_when_whole(r);
    } else if (said->type == FRAME_BODY) {
        bytes_add(&r->body, said->payload, said->size);
        r->body_left -= said->size;
        publish_when_whole(r);
    }
}

static void say_what_is_due(struct replay *r) {
    while (r->done < r->file->said_count && r->file->said[r->done].gate <= r->fed) say(r, &r->file->said[r->done++]);
}

void replay_begin(struct replay *r, const struct recording *file, enum taking taking, uint64_t seed) {
    memset(r, 0, sizeof(*r));
    r->file = file;
    r->dice.state = seed;
    peer_init(&r->peer);
    r->peer.straight = taking == TAKE_STRAIGHT;
    r->peer.hands_out = taking == TAKE_PIECES;
    r->peer.any_body = true;
    r->peer.tune = file->tune;
    r->peer.session.settings.channel_max = r->peer.settings.channel_max = 2047;
    assert_int_equal(session_start(&r->peer.session, r->peer.now), 0);
    say_what_is_due(r);
}

void replay_feed_bytes(struct replay *r, const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t gate = r->done < r->file->said_count ? r->file->said[r->done].gate : r->file->server.size;
        size_t now = gate > r->fed && gate - r->fed < size ? gate - r->fed : size;
        peer_feed(&r->peer, data, now);
        data += now;
        r->fed += now;
        size -= now;
        say_what_is_due(r);
        /* what was written meanwhile is the network's business; but close-ok must not leave before all was read */
        if (r->dice.state && r->peer.session.state < SESSION_CLOSING) peer_write(&r->peer, 1 + dice_below(&r->dice, 40));
    }
}

void replay_feed(struct replay *r, size_t size) { replay_feed_bytes(r, r->file->server.data + r->fed, size); }

void outcome_free(struct outcome *o) {
    bytes_free(&o->events);
    bytes_free(&o->trace);
    bytes_free(&o->wire);
}

/* How many publishes have left by the time a channel closes is decided by the network, not by the cuts: "closed 1 channel sent=2". */
static void forget_what_left(struct bytes *events) {
    size_t to = 0;
    for (size_t at = 0; at < events->size; at++) {
        if (events->size - at > 6 && memcmp(events->data + at, " sent=", 6) == 0)
            for (at += 6; events->data[at] >= '0' && events->data[at] <= '9';) at++;
        events->data[to++] = events->data[at];
    }
    events->size = to;
}

void replay_end(struct replay *r, struct outcome *o) {
    while (r->dice.state && r->peer.session.out.size > 1) peer_write(&r->peer, 1); /* the network takes one octet at a time */
    peer_write_all(&r->peer);
    forget_what_left(&r->peer.events);
    *o = (struct outcome){ r->peer.events, r->peer.trace, r->peer.wire };
    r->peer.events = r->peer.trace = r->peer.wire = (struct bytes){ 0 };
    r->peer.wire_read = 0;
    bytes_free(&r->body);
    peer_deinit(&r->peer);
}

/* ---------------------------------------------------------------- what came of it */

static bool same_bytes(const struct bytes *a, const struct bytes *b) {
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

bool outcome_same(const struct outcome *a, const struct outcome *b) {
    return same_bytes(&a->events, &b->events) && same_bytes(&a->trace, &b->trace) && same_bytes(&a->wire, &b->wire);
}

/* That it is the conversation that was recorded, and not the first complaint about it. */
static void check_whole(const struct recording *file, struct outcome *whole) {
    bytes_add(&whole->events, "", 1);
    if (strstr((const char *)whole->events.data, "LAGO_EPROTOCOL") || !strstr((const char *)whole->events.data, "start\n"))
        fail_msg("%s is not replayed: %s", file->path, (const char *)whole->events.data);
    whole->events.size--;
}

void replay_whole(const struct recording *file, struct outcome *whole) {
    struct replay r;
    replay_begin(&r, file, TAKE_INPUT, 0);
    replay_feed(&r, file->server.size);
    replay_end(&r, whole);
    check_whole(file, whole);
}

/* ---------------------------------------------------------------- the program */

struct splits splits = { .limit = ULONG_MAX };

int splits_main(int argc, char **argv, const char *title, void (*cut)(const struct recording *file)) {
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* checks outside of a test end the program without a word else */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--brief") == 0)
            splits.brief = true;
        else if (strcmp(argv[i], "--plant") == 0)
            splits.plant = true;
        else if (strcmp(argv[i], "--sessions") == 0 && i + 1 < argc)
            splits.limit = strtoul(argv[++i], NULL, 10);
        else
            recordings_of(argv[i], cut);
    }
    printf("%s: %lu sessions, %lu cuts, %lu different\n", title, splits.sessions, splits.cuts, splits.different);
    return splits.different || splits.sessions == 0 ? 1 : 0;
}
