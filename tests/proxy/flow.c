/* One direction of a link: see flow.h. Knows neither listeners nor words. */
#include "flow.h"
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

struct proxy_piece {
    struct proxy_piece *next;
    uint64_t due; /* ms */
    size_t begin, size;
    uint8_t bytes[];
};

struct flow_write {
    uv_write_t request;
    struct proxy_flow *flow;
    uint8_t bytes[];
};

static void *need(void *memory) {
    if (!memory) abort(); /* a test without memory proves nothing */
    return memory;
}

/* splitmix64, Vigna: small, and the same everywhere. */
static uint64_t draw(uint64_t *state, uint64_t below) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return below ? (z ^ (z >> 31)) % below : 0;
}

static uv_loop_t *loop_of(const struct proxy_flow *flow) { return flow->link->proxy->loop; }

/* ---------------------------------------------------------------- when */

static void next_flip(struct proxy_flow *flow) {
    uint64_t rate = flow->faults.flip_per_million;
    flow->flip_at = rate ? flow->arrived + draw(&flow->chance, 2000000 / rate + 1) : NEVER;
}

void flow_set(struct proxy_flow *flow, const struct proxy_faults *faults) {
    flow->faults = *faults;
    flow->seen = 0;
    flow->fired = false;
    flow->fire_at = NEVER;
    if (faults->act != PROXY_NOTHING && faults->at == PROXY_AT_BYTE)
        flow->fire_at = flow->passed + faults->offset + draw(&flow->chance, faults->within);
    next_flip(flow);
}

static void on_timer(uv_timer_t *timer) { flow_pump(timer->data); }

void flow_init(struct proxy_flow *flow, struct proxy_link *link, union proxy_stream *from, union proxy_stream *to) {
    *flow = (struct proxy_flow){ .link = link, .from = from, .to = to, .fire_at = NEVER, .flip_at = NEVER };
    uint64_t seed = link->proxy->options.seed + ((uint64_t)link->number << 1 | (to == &link->front));
    flow->chance = draw(&seed, NEVER);
    flow->pace = draw(&seed, NEVER);
    uv_timer_init(loop_of(flow), &flow->timer);
    flow->timer.data = flow;
}

/* What is waited for may have come into sight: then it is known at which byte to act. */
static void on_found(void *data, const struct sighting *found) {
    struct proxy_flow *flow = data;
    const struct proxy_faults *faults = &flow->faults;
    enum proxy_mark at = flow->sight.kind == SIGHT_RECORDS ? PROXY_AT_RECORD : PROXY_AT_FRAME;
    if (faults->act == PROXY_NOTHING || faults->at != at || flow->fired || flow->fire_at != NEVER) return;
    if (faults->type && faults->type != found->type) return;
    if (faults->method && faults->method != found->method) return;
    if (faults->channel != PROXY_ANY_CHANNEL && faults->channel != found->channel) return;
    if (++flow->seen < faults->nth) return;
    flow->fire_at = (faults->behind ? found->end : found->begin) + faults->offset + draw(&flow->chance, faults->within);
    if (flow->fire_at < flow->passed) flow->fire_at = flow->passed; /* words that came too late for these bytes */
}

/* ---------------------------------------------------------------- in */

void flow_take(struct proxy_flow *flow, const void *bytes, size_t size) {
    const struct proxy_faults *faults = &flow->faults;
    sight_look(&flow->sight, bytes, size, on_found, flow);
    struct proxy_piece *piece = need(malloc(sizeof *piece + size));
    *piece = (struct proxy_piece){ .due = uv_now(loop_of(flow)) + faults->latency_ms, .size = size };
    memcpy(piece->bytes, bytes, size);
    if (faults->jitter_ms) piece->due += draw(&flow->pace, faults->jitter_ms + (uint64_t)1);
    if (piece->due < flow->last_due) piece->due = flow->last_due;
    flow->last_due = piece->due;
    while (flow->flip_at < flow->arrived + size) {
        piece->bytes[flow->flip_at - flow->arrived] ^= (uint8_t)(1u << draw(&flow->chance, 8));
        flow->flip_at += 1 + draw(&flow->chance, 2000000 / (uint64_t)faults->flip_per_million + 1);
    }
    flow->arrived += size;
    flow->queued += size;
    *(flow->last ? &flow->last->next : &flow->first) = piece;
    flow->last = piece;
    if (flow->queued > FLOW_HELD_MAX) link_read(flow, false);
    flow_pump(flow);
}

void flow_ended(struct proxy_flow *flow, bool reset) {
    flow->ended = true;
    flow->reset = reset;
    flow_pump(flow);
}

static void forget_held(struct proxy_flow *flow) {
    for (struct proxy_piece *piece = flow->first, *next; piece; piece = next) {
        next = piece->next;
        free(piece);
    }
    flow->first = flow->last = NULL;
    flow->queued = 0;
}

void flow_free(struct proxy_flow *flow) { forget_held(flow); }

/* ---------------------------------------------------------------- out */

static void wait_until(struct proxy_flow *flow, uint64_t ms) {
    uint64_t now = uv_now(loop_of(flow));
    uv_timer_start(&flow->timer, on_timer, ms > now ? ms - now : 1, 0);
    uv_unref((uv_handle_t *)&flow->timer);
}

static uint64_t now_us(const struct proxy_flow *flow) { return uv_now(loop_of(flow)) * 1000; }

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* How many bytes of the first piece may go now; 0: none, and a timer runs if it is a matter of time. */
static size_t sendable(struct proxy_flow *flow) {
    const struct proxy_faults *faults = &flow->faults;
    uint64_t size = flow->first->size - flow->first->begin;
    if (flow->first->due > uv_now(loop_of(flow))) {
        wait_until(flow, flow->first->due);
        return 0;
    }
    if (faults->bytes_per_s && flow->free_at_us > now_us(flow)) {
        wait_until(flow, flow->free_at_us / 1000 + 1);
        return 0;
    }
    size = least(size, flow->fire_at - flow->passed);
    if (faults->act != PROXY_NOTHING && !flow->fired && !flow->ended)
        size = least(size, sight_known(&flow->sight) - flow->passed);
    if (faults->bytes_per_s) size = least(size, faults->bytes_per_s / 50 + 1); /* smooth: 50 pieces a second */
    if (faults->slice_max && size > 0) size = least(size, 1 + draw(&flow->pace, faults->slice_max));
    return (size_t)size;
}

static void on_written(uv_write_t *request, int status) {
    struct flow_write *write = request->data;
    struct proxy_flow *flow = write->flow;
    free(write);
    flow->writing = false;
    if (status < 0) flow->dropping = true; /* its receiver is gone, and reading from it says so */
    flow_pump(flow);
}

static void forget_sent(struct proxy_flow *flow, size_t size) {
    struct proxy_piece *piece = flow->first;
    piece->begin += size;
    flow->queued -= size;
    flow->passed += size;
    if (piece->begin < piece->size) return;
    flow->first = piece->next;
    if (!flow->first) flow->last = NULL;
    free(piece);
}

static void send_some(struct proxy_flow *flow, size_t size) {
    struct flow_write *write = need(malloc(sizeof *write + size));
    write->flow = flow;
    write->request.data = write;
    memcpy(write->bytes, flow->first->bytes + flow->first->begin, size);
    if (flow->flipping) write->bytes[0] ^= (uint8_t)(1u << draw(&flow->chance, 8));
    flow->flipping = false;
    uint64_t rate = flow->faults.bytes_per_s, from = flow->free_at_us > now_us(flow) ? flow->free_at_us : now_us(flow);
    flow->free_at_us = rate ? from + size * 1000000 / rate : 0;
    forget_sent(flow, size);
    flow->segments++;
    if (flow->queued <= FLOW_HELD_MAX / 2) link_read(flow, true);
    uv_buf_t buffer = uv_buf_init((char *)write->bytes, (unsigned)size);
    flow->writing = uv_write(&write->request, &flow->to->stream, &buffer, 1, on_written) == 0;
    if (!flow->writing) free(write);
}

static void fire(struct proxy_flow *flow) {
    flow->fire_at = NEVER;
    flow->fired = true;
    flow->fired_at = flow->passed;
    flow->stalled = flow->faults.act == PROXY_STALL;
    flow->dropping = flow->faults.act == PROXY_DROP;
    flow->flipping = flow->faults.act == PROXY_FLIP;
    link_act(flow, flow->faults.act);
}

static void on_shut(uv_shutdown_t *request, int status) {
    (void)status;
    free(request);
}

void flow_shut(struct proxy_flow *flow) {
    if (flow->shut) return;
    flow->shut = flow->dropping = true;
    forget_held(flow);
    uv_shutdown_t *request = need(malloc(sizeof *request));
    if (uv_shutdown(request, &flow->to->stream, on_shut) < 0) free(request); /* its receiver is gone already */
    link_read(flow, true);
    link_settle(flow->link);
}

/* All of it has been handed on, and its sender is gone: so the receiver is told, perhaps later. */
static void hand_on_end(struct proxy_flow *flow) {
    if (flow->faults.close_ms && !flow->ready_to_shut) {
        flow->ready_to_shut = true;
        wait_until(flow, uv_now(loop_of(flow)) + flow->faults.close_ms);
        return;
    }
    if (uv_is_active((uv_handle_t *)&flow->timer)) return;
    if (flow->reset)
        link_act(flow, PROXY_RESET);
    else
        flow_shut(flow);
}

void flow_pump(struct proxy_flow *flow) {
    size_t size;
    while (!flow->writing && !flow->stalled && flow->link->connected && !flow->link->over) {
        if (flow->passed == flow->fire_at) {
            fire(flow);
            continue;
        }
        if (flow->dropping && flow->first) {
            forget_held(flow);
            link_read(flow, true);
        }
        if (!flow->first || (size = sendable(flow)) == 0) break;
        send_some(flow, size);
    }
    if (flow->link->over || flow->writing || flow->stalled || !flow->ended || flow->shut || flow->first) return;
    if (flow->link->connected) hand_on_end(flow);
}
