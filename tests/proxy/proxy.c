/* Who listens, whom it leads where, and how a link ends: see proxy.h. What passes and when is flow.c's. */
#include "proxy.h"
#include "flow.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>

#define LINGER_MS 1000 /* who was told FIN and does not go */
#define BACKLOG   1024

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static void tell(struct proxy_link *link, enum proxy_event event) {
    struct proxy *proxy = link->proxy;
    if (proxy->options.on_event) proxy->options.on_event(proxy, link, event);
}

/* ---------------------------------------------------------------- the end of a link */

static void on_closed(uv_handle_t *handle) {
    struct proxy_link *link = handle->data, **at = &link->proxy->first;
    if (--link->open_handles > 0) return;
    tell(link, PROXY_LINK_GONE);
    while (*at != link) at = &(*at)->next;
    *at = link->next;
    link->proxy->link_count--;
    flow_free(&link->up);
    flow_free(&link->down);
    free(link);
}

static void close_handle(uv_handle_t *handle, struct proxy_link *link) {
    handle->data = link; /* timers have had their flow there */
    uv_close(handle, on_closed);
}

/* The kernel says RST instead of FIN, and forgets what it has not sent. */
static void make_rude(union proxy_stream *end) {
    struct linger now = { .l_onoff = 1 };
    int fd;
    if (uv_fileno(&end->handle, &fd) == 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void drop(struct proxy_link *link, bool reset) {
    if (uv_is_closing(&link->front.handle)) return;
    link->over = true;
    if (reset) make_rude(&link->front);
    if (reset && link->has_back) make_rude(&link->back);
    close_handle(&link->front.handle, link);
    if (link->has_back) close_handle(&link->back.handle, link);
    close_handle((uv_handle_t *)&link->up.timer, link);
    close_handle((uv_handle_t *)&link->down.timer, link);
    close_handle((uv_handle_t *)&link->linger, link);
}

static void on_linger(uv_timer_t *timer) { drop(timer->data, false); }

/* Both sides have heard FIN. What they still say is read, for a close with unread bytes would be an RST; and nobody hears it. */
static void linger(struct proxy_link *link) {
    if (uv_is_active((uv_handle_t *)&link->linger)) return;
    uv_timer_start(&link->linger, on_linger, LINGER_MS, 0);
    uv_unref((uv_handle_t *)&link->linger);
}

void link_settle(struct proxy_link *link) {
    const struct proxy_flow *up = &link->up, *down = &link->down;
    if (uv_is_closing(&link->front.handle)) return;
    if (up->ended && down->ended && (up->shut || up->stalled) && (down->shut || down->stalled))
        drop(link, false);
    else if (up->shut && down->shut)
        linger(link);
}

void link_end(struct proxy_link *link, enum proxy_act act) {
    if (act == PROXY_RESET || !link->connected) {
        drop(link, act == PROXY_RESET);
        return;
    }
    link->over = true;
    flow_shut(&link->up);
    flow_shut(&link->down);
}

void link_act(struct proxy_flow *flow, enum proxy_act act) {
    struct proxy_link *link = flow->link;
    if (flow->fired && flow->faults.act == act) {
        link->proxy->fired++;
        link->told = flow;
        tell(link, PROXY_FIRED);
    }
    if (act == PROXY_CLOSE || act == PROXY_RESET) link_end(link, act);
    if (act == PROXY_HALF_CLOSE) flow_shut(flow);
}

void link_go_on(struct proxy_link *link) {
    link->up.stalled = link->down.stalled = false;
    flow_pump(&link->up);
    flow_pump(&link->down);
}

/* ---------------------------------------------------------------- reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    static char room[65536]; /* used up before anybody else reads: flow_take copies */
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct proxy_link *link = stream->data;
    struct proxy_flow *flow = stream == &link->front.stream ? &link->up : &link->down;
    const struct proxy_options *options = &link->proxy->options;
    if (size > 0 && link->begun && !flow->dropping && !link->over)
        flow_take(flow, buffer->base, (size_t)size);
    else if (size > 0 && !link->begun && link->proxy->welcome == PROXY_CARRIES)
        options->greet(link, (uint8_t *)buffer->base, (size_t)size);
    if (size >= 0) return;
    uv_read_stop(stream);
    if (flow == &link->up && link->has_back) uv_ref(&link->back.handle); /* who waits for the end of this link shall see it */
    if (!link->begun)
        drop(link, false);
    else if (link->over || flow->shut)
        flow->ended = true;
    else
        flow_ended(flow, size != UV_EOF);
    link_settle(link);
}

void link_read(struct proxy_flow *flow, bool on) {
    if (uv_is_closing(&flow->from->handle) || flow->ended || flow->from->handle.type == UV_UNKNOWN_HANDLE) return;
    if (on)
        uv_read_start(&flow->from->stream, on_alloc, on_read);
    else
        uv_read_stop(&flow->from->stream);
}

/* ---------------------------------------------------------------- the beginning of a link */

static int parse_address(const char *ip, uint16_t port, union address *address) {
    int rc = uv_ip4_addr(ip, port, &address->v4);
    return rc < 0 ? uv_ip6_addr(ip, port, &address->v6) : rc;
}

static void init_stream(struct proxy_link *link, union proxy_stream *stream, bool is_path) {
    if (is_path)
        uv_pipe_init(link->proxy->loop, &stream->pipe, 0);
    else
        uv_tcp_init(link->proxy->loop, &stream->tcp);
    uv_unref(&stream->handle);
    stream->handle.data = link;
    link->open_handles++;
}

/* A slice is a segment. */
static void no_delay(union proxy_stream *stream) {
    if (stream->handle.type == UV_TCP) uv_tcp_nodelay(&stream->tcp, 1);
}

static void on_connected(uv_connect_t *request, int status) {
    struct proxy_link *link = request->data;
    if (uv_is_closing(&link->front.handle)) return;
    if (status < 0) {
        drop(link, false);
        return;
    }
    link->connected = true;
    no_delay(&link->back);
    tell(link, PROXY_LINK_UP);
    if (!link->over) link_read(&link->down, true);
    flow_pump(&link->down);
    flow_pump(&link->up);
}

void link_carry(struct proxy_link *link, const void *bytes, size_t size) {
    const struct proxy_options *options = &link->proxy->options;
    union address address;
    int rc = 0;
    link->begun = link->has_back = true;
    init_stream(link, &link->back, options->to_path != NULL);
    link->connecting.data = link;
    if (size > 0) flow_take(&link->up, bytes, size);
    if (options->to_path)
        uv_pipe_connect(&link->connecting, &link->back.pipe, options->to_path, on_connected);
    else if ((rc = parse_address(options->to_ip, options->to_port, &address)) == 0)
        rc = uv_tcp_connect(&link->connecting, &link->back.tcp, &address.any, on_connected);
    if (rc < 0) drop(link, false);
}

void link_say(struct proxy_link *link, const void *bytes, size_t size) {
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
    uv_try_write(&link->front.stream, &buffer, 1); /* a few bytes into an empty socket */
}

static struct proxy_link *new_link(struct proxy *proxy) {
    struct proxy_link *link = calloc(1, sizeof *link);
    if (!link) abort();
    link->proxy = proxy;
    link->number = ++proxy->begun;
    link->next = proxy->first;
    proxy->first = link;
    proxy->link_count++;
    init_stream(link, &link->front, proxy->options.path != NULL);
    flow_init(&link->up, link, &link->front, &link->back);
    flow_init(&link->down, link, &link->back, &link->front);
    uv_timer_init(proxy->loop, &link->linger);
    link->linger.data = link;
    link->open_handles += 3;
    return link;
}

static void on_client(uv_stream_t *listener, int status) {
    struct proxy *proxy = listener->data;
    if (status < 0) return;
    struct proxy_link *link = new_link(proxy);
    if (uv_accept(listener, &link->front.stream) < 0) {
        drop(link, false);
        return;
    }
    no_delay(&link->front);
    flow_set(&link->up, &proxy->up);
    flow_set(&link->down, &proxy->down);
    tell(link, PROXY_LINK_BEGINS);
    if (proxy->welcome == PROXY_HANGS_UP || proxy->welcome == PROXY_RESETS) drop(link, proxy->welcome == PROXY_RESETS);
    if (proxy->welcome != PROXY_CARRIES || link->over) return;
    if (!proxy->options.greet) link_carry(link, NULL, 0);
    link_read(&link->up, true);
}

/* ---------------------------------------------------------------- the proxy */

static int listen_at_ip(struct proxy *proxy) {
    const struct proxy_options *options = &proxy->options;
    union address address;
    int size = sizeof address, rc = parse_address(options->ip, options->port, &address);
    uv_tcp_init(proxy->loop, &proxy->listener.tcp);
    if (rc == 0) rc = uv_tcp_bind(&proxy->listener.tcp, &address.any, 0);
    if (rc == 0) rc = uv_tcp_getsockname(&proxy->listener.tcp, &address.any, &size);
    proxy->port = rc == 0 ? ntohs(address.v4.sin_port) : 0;
    return rc;
}

int proxy_begin(struct proxy *proxy, uv_loop_t *loop, const struct proxy_options *options) {
    int rc = 0;
    signal(SIGPIPE, SIG_IGN); /* libuv 1.44 raises it in uv_write; that lago never does is for other tests to show */
    *proxy = (struct proxy){ .loop = loop, .options = *options, .welcome = options->welcome, .listening = true };
    proxy->up = proxy->down = PROXY_NO_FAULTS;
    if (!options->ip) proxy->options.ip = "127.0.0.1";
    if (!options->to_ip) proxy->options.to_ip = "127.0.0.1";
    if (options->path) {
        uv_pipe_init(loop, &proxy->listener.pipe, 0);
        rc = uv_pipe_bind(&proxy->listener.pipe, options->path);
    } else {
        rc = listen_at_ip(proxy);
    }
    proxy->listener.handle.data = proxy;
    if (rc == 0) rc = uv_listen(&proxy->listener.stream, BACKLOG, on_client);
    if (!options->holds_loop) uv_unref(&proxy->listener.handle);
    if (rc < 0) proxy_end(proxy);
    return rc;
}

static void on_deaf(uv_handle_t *handle) { ((struct proxy *)handle->data)->listening = false; }

void proxy_end(struct proxy *proxy) {
    if (!uv_is_closing(&proxy->listener.handle)) uv_close(&proxy->listener.handle, on_deaf);
    for (struct proxy_link *link = proxy->first; link; link = link->next) drop(link, true);
}

bool proxy_is_gone(const struct proxy *proxy) { return !proxy->listening && proxy->link_count == 0; }

void proxy_leads_to(struct proxy *proxy, uint16_t port) { proxy->options.to_port = port; }

struct proxy_link *proxy_find(struct proxy *proxy, unsigned number) {
    struct proxy_link *link = proxy->first;
    while (link && link->number != number) link = link->next;
    return link && !uv_is_closing(&link->front.handle) ? link : NULL;
}

/* ---------------------------------------------------------------- faults */

/* The direction that the words begin with. @return what is behind it, or NULL. */
static const char *direction(const char *words, bool *is_up) {
    size_t size = strcspn(words, " ");
    *is_up = size == 2 && strncmp(words, "up", 2) == 0;
    if (!*is_up && !(size == 4 && strncmp(words, "down", 4) == 0)) return NULL;
    return words + size;
}

const char *proxy_faults(struct proxy *proxy, const char *words) {
    bool is_up;
    const char *rest = direction(words, &is_up);
    return rest ? faults_read(rest, is_up ? &proxy->up : &proxy->down) : "neither up nor down";
}

const char *link_faults(struct proxy_link *link, const char *words) {
    bool is_up;
    const char *rest = direction(words, &is_up);
    if (!rest) return "neither up nor down";
    struct proxy_flow *flow = is_up ? &link->up : &link->down;
    struct proxy_faults faults = flow->faults;
    if (flow->fired) faults.act = PROXY_NOTHING;
    const char *wrong = faults_read(rest, &faults);
    if (!wrong) flow_set(flow, &faults);
    if (!wrong) flow_pump(flow);
    return wrong;
}
