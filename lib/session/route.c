/*
 * Publishes that are ready but for their bodies: the frames of method and header are made once, and copied for each message. What
 * may not leave at once, and large bodies, go output.c's ways.
 */
#include "route.h"

#include "alloc.h"
#include "everyday.h"

/* Where the size of the body stands in a header frame (4.2.6.1): behind class and weight. */
#define BODY_SIZE_OFFSET (FRAME_HEADER_SIZE + 4u)

static size_t frames_size(size_t method_size, size_t header_size) {
    return method_size + FRAME_OVERHEAD + header_size + FRAME_OVERHEAD + FRAME_HEADER_SIZE;
}

static void fill(struct session_route *route, const struct basic_publish *args, size_t method_size,
                 const struct header_plan *header) {
    struct content_header own;
    uint8_t *at = frame_begin(route->frames, FRAME_METHOD, route->channel, method_size);
    at = frame_finish(publish_put(at, args));
    route->body_size_at = (size_t)(at - route->frames) + BODY_SIZE_OFFSET;
    at = frame_begin(at, FRAME_HEADER, route->channel, header->size);
    (void)content_header_put(at, header, 0);
    (void)content_header_read(at, header->size, &own); /* what we have written ourselves */
    route->properties = own.properties;
    at = frame_finish(at + header->size);
    route->head_size = (size_t)(at - route->frames);
    at = frame_begin(at, FRAME_BODY, route->channel, 0);
    route->size = (size_t)(at - route->frames);
}

int session_route_make(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                       struct session_route **result) {
    struct basic_publish method = *args;
    struct header_plan header;
    size_t method_size = 0;
    *result = NULL;
    int rc = publish_measure(&method, &method_size);
    if (rc == 0) rc = content_header_plan(&header, properties);
    if (rc != 0) return rc;
    size_t payload_max = method_size > header.size ? method_size : header.size;
    if (payload_max > output_piece_max(s)) return LAGO_ETOOBIG;
    struct session_route *route = mem_alloc(s->alloc, sizeof(*route) + frames_size(method_size, header.size));
    if (!route) return LAGO_ENOMEM;
    route->channel = channel;
    route->payload_max = payload_max;
    fill(route, &method, method_size, &header);
    *result = route;
    return 0;
}

void session_route_free(struct session *s, struct session_route *route) { mem_free(s->alloc, route); }

const lago_properties_t *session_route_properties(const struct session_route *route) { return &route->properties; }

static bool is_usual(const struct session *s, const struct session_route *route, size_t total) {
    return output_is_usual(s, route->channel, total) && route->payload_max <= s->tune.frame_max - FRAME_OVERHEAD;
}

/* @return whether there was room for a mark. */
static bool mark(struct session *s, const struct session_route *route, size_t total) {
    if (marks_join(s, route->channel, total)) {
        s->newest_mark->end += total;
        return true;
    }
    if (s->mark_count == s->mark_capacity) return false;
    marks_add(s, route->channel, total);
    return true;
}

static void append(struct session *s, const struct session_route *route, lago_bytes_t body, size_t total) {
    uint8_t *room = s->out.room;
    chunks_commit(&s->out, total);
    output_counted(s, total, 3);
    memcpy(room, route->frames, route->size);
    (void)put_u64(room + route->body_size_at, body.size);
    room += route->size;
    (void)put_u32(room - sizeof(uint32_t), (uint32_t)body.size);
    (void)frame_finish(room + body.size);
    memcpy(room, body.data, body.size);
}

__attribute__((noinline)) static int publish_any(struct session *s, const struct session_route *route, lago_bytes_t body,
                                                 struct block *block) {
    struct session_channel *ch = channel_find(s, route->channel);
    if (session_is_over(s) || !ch) return LAGO_ECLOSED;
    if (acks_flush(s, ch) < 0) return LAGO_ENOMEM;
    if (route->payload_max > output_piece_max(s)) return LAGO_ETOOBIG; /* made for a larger frame_max */
    return output_publish_route(s, ch, route, &(struct session_body){ .bytes = body, .block = block });
}

int session_publish_route(struct session *s, const struct session_route *route, lago_bytes_t body, struct block *block) {
    size_t total = route->head_size + body.size + FRAME_OVERHEAD;
    bool small = !block && body.size > 0 && body.size <= COPY_SIZE_MAX;
    if (!small || !is_usual(s, route, total) || !mark(s, route, total)) return publish_any(s, route, body, block);
    append(s, route, body, total);
    return 0;
}
