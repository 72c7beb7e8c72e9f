/*
 * Somebody between a client and its server who breaks what passes, as told: on the test's own loop, or as the program fault-proxy.
 * It carries bytes in order and never twice; with the same seed and the same bytes the same ones are spoilt. Works below TLS, and
 * in front of any server; what kind of frame or record passes it knows (sight.h), what is in it it does not.
 *
 *     proxy_begin(&proxy, loop, &(struct proxy_options){ .to_port = 5672 });
 *     proxy_faults(&proxy, "down slice_max=3");                                  of each link that begins from here on
 *     ... lago connects to proxy.port ...
 *     link_faults(proxy.first, "down act=reset frame=basic.deliver offset=5");   of this one, from here on
 *     ... run until proxy.first->down.fired ...
 *     proxy_end(&proxy);                                                         run until proxy_is_gone(&proxy)
 *
 * The words, `up` (client to server) or `down` first:
 *     latency_ms=N jitter_ms=N   each piece comes so much later, plus 0 to jitter_ms; order stays
 *     bytes_per_s=N              so fast at most
 *     slice_max=N                segments of 1 to N bytes
 *     flip_per_million=N         so many of a million bytes have a wrong bit
 *     close_ms=N                 the end of this direction is handed on so much later
 * and what shall happen, once, and when:
 *     act=close                  FIN to both, behind what has passed
 *     act=reset                  RST to both; the kernel forgets what it has not sent yet, so that fewer bytes may arrive than have passed
 *     act=half_close             FIN in this direction, its rest vanishes; the other direction goes on
 *     act=stall                  nothing more passes this way, and soon nothing more is read, until link_go_on
 *     act=drop                   what follows vanishes
 *     act=flip                   the next byte has a wrong bit
 *     act=tell                   nothing, but on_event
 *     byte=N                     when N bytes more have passed
 *     frame=KIND                 at the first byte of the next frame of this kind: a method's name ("basic.deliver"), "method", "header",
 *                                "body", "heartbeat" or "any"; with channel=N only of this channel
 *     record=KIND                the same with TLS records: "change_cipher_spec", "alert", "handshake", "application_data" or "any"
 *     nth=N                      not the next one, but the nth, from 1
 *     offset=N                   so many bytes later
 *     behind=1                   counted from its end
 *     within=N                   and 0 to N-1 bytes later, at random
 * "up", "down" or "up clear" alone: no faults any more. Words that name an act take the place of the act before; others only
 * change what they name.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "sight.h"
#include <uv.h>

enum proxy_act { PROXY_NOTHING, PROXY_CLOSE, PROXY_RESET, PROXY_HALF_CLOSE, PROXY_STALL, PROXY_DROP, PROXY_FLIP, PROXY_TELL };

enum proxy_mark { PROXY_AT_BYTE, PROXY_AT_FRAME, PROXY_AT_RECORD };

#define PROXY_ANY_CHANNEL -1

/* The words above as a struct; zero is no fault, but for `channel`: see faults_none. */
struct proxy_faults {
    uint32_t latency_ms, jitter_ms, bytes_per_s, slice_max, flip_per_million, close_ms;
    enum proxy_act act;
    enum proxy_mark at;
    uint8_t type; /* of the frame or record; 0: any */
    uint32_t method;
    int32_t channel;
    uint32_t nth;
    uint64_t offset;
    uint32_t within;
    bool behind;
};

/* What to do with who comes. */
enum proxy_welcome { PROXY_CARRIES, PROXY_HANGS_UP, PROXY_RESETS, PROXY_IS_SILENT };

enum proxy_event {
    PROXY_LINK_BEGINS, /* accepted; its faults may be set */
    PROXY_LINK_UP,     /* and carried to the server */
    PROXY_FIRED,       /* the act of a direction, link->told */
    PROXY_LINK_GONE    /* freed after this */
};

union proxy_stream {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct proxy_link;
struct proxy_piece;

/* One direction of a link. */
struct proxy_flow {
    struct proxy_link *link;
    union proxy_stream *from, *to;
    struct proxy_faults faults;
    struct sight sight;
    uint64_t arrived, passed; /* bytes */
    uint64_t segments;        /* in which they were handed on */
    uint64_t fired_at;        /* bytes that had passed then */
    bool fired;               /* the act has happened; cleared when another one is set */
    bool stalled;
    bool ended; /* the sender has said FIN, or is gone */
    bool shut;  /* and the receiver was told */
    /* internal */
    struct proxy_piece *first, *last;
    size_t queued;
    uint64_t fire_at, flip_at;
    uint64_t last_due, free_at_us; /* of the loop's clock */
    uint64_t pace, chance;         /* random: of pieces, whose number nobody knows; of bytes, the same ones each time */
    uint32_t seen;                 /* frames or records of the kind that is waited for */
    bool dropping, flipping, writing, reset, ready_to_shut;
    uv_timer_t timer;
};

struct proxy_link {
    struct proxy *proxy;
    unsigned number; /* from 1 */
    struct proxy_flow up, down;
    struct proxy_flow *told; /* PROXY_FIRED: of which direction */
    struct proxy_link *next;
    union proxy_stream front, back;
    uv_timer_t linger;
    uv_connect_t connecting;
    unsigned open_handles;
    bool begun, connected, over, has_back;
    void *data; /* of who set `greet` */
};

struct proxy_options {
    const char *ip;   /* to listen at; default 127.0.0.1 */
    uint16_t port;    /* default: a free one */
    const char *path; /* a Unix socket instead */
    const char *to_ip;
    uint16_t to_port;
    const char *to_path;
    uint64_t seed;
    enum proxy_welcome welcome;
    bool holds_loop; /* its listener keeps the loop; else nothing of it does */
    void (*on_event)(struct proxy *proxy, struct proxy_link *link, enum proxy_event event);
    /* The client's first bytes are for this, until it has called link_carry. Then the link may have a faulty life. */
    void (*greet)(struct proxy_link *link, const uint8_t *bytes, size_t size);
    void *data;
};

struct proxy {
    uv_loop_t *loop;
    struct proxy_options options;
    struct proxy_faults up, down; /* of links that begin */
    enum proxy_welcome welcome;
    uint16_t port;            /* where it listens; 0 at a path */
    struct proxy_link *first; /* the newest */
    unsigned link_count;      /* now */
    unsigned begun;           /* ever */
    unsigned fired;           /* acts, ever */
    union proxy_stream listener;
    bool listening;
};

/* The process ignores SIGPIPE from here on. @return 0, or libuv's error: the address is taken ... */
int proxy_begin(struct proxy *proxy, uv_loop_t *loop, const struct proxy_options *options);

/* Nobody new, and all links end by RST; the loop must run until it is gone. */
void proxy_end(struct proxy *proxy);
bool proxy_is_gone(const struct proxy *proxy);

/* From here on links lead there. */
void proxy_leads_to(struct proxy *proxy, uint16_t port);

/* Say faults in words. @return NULL, or what is wrong with them. */
const char *proxy_faults(struct proxy *proxy, const char *words);
const char *link_faults(struct proxy_link *link, const char *words);
struct proxy_link *proxy_find(struct proxy *proxy, unsigned number); /* NULL: it is gone */

/* What was stalled goes on. */
void link_go_on(struct proxy_link *link);

/* Now, in whatever state it is: by FIN or RST. */
void link_end(struct proxy_link *link, enum proxy_act act);

/* For `greet`: something for the client; and from here on carry, these bytes first. */
void link_say(struct proxy_link *link, const void *bytes, size_t size);
void link_carry(struct proxy_link *link, const void *bytes, size_t size);

/* Words to faults of one direction, those behind "up" or "down". @return NULL, or what is wrong; then nothing has changed. */
#define PROXY_NO_FAULTS ((struct proxy_faults){ .channel = PROXY_ANY_CHANNEL, .nth = 1 })
const char *faults_read(const char *words, struct proxy_faults *faults);

#endif
