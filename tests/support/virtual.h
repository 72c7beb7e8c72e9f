/*
 * A transport without sockets and without a clock, for tests of lib/client: the test says what the network answers and what time
 * it is, and sees every verb. It keeps to transport.h as an adapter does: news come from virtual_run, never from inside a verb.
 * A client that breaks the seam's rules (a verb after finish, a connect over a living link ...) aborts the test with a message.
 *
 *     struct virtual v;
 *     virtual_init(&v);
 *     virtual_connect(&v, "amqp://localhost", &(lago_connection_options_t){ .on_open = opened });
 *     server_handshake(&v);
 *     ...
 *     lago_connection_free(v.conn);
 *     virtual_deinit(&v);    runs to link_finished, then nothing may be left in the allocator
 */
#ifndef SUPPORT_VIRTUAL_H
#define SUPPORT_VIRTUAL_H

#include "fail_alloc.h"
#include "pcapng.h"
#include "transport.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTUAL_ADDRESSES_MAX 64
#define VIRTUAL_START_MS      1000000u /* what the clock says at first; times of this interface count from there */
#define VIRTUAL_NEVER         1        /* as a status: no answer ever comes */

/* Where the link is. */
enum virtual_link { VIRTUAL_NO_LINK, VIRTUAL_RESOLVING, VIRTUAL_CONNECTING, VIRTUAL_CONNECTED, VIRTUAL_SECURING };

/* Bytes that wait in "the kernel" for the client. */
struct virtual_piece;

/* What a tap sees: a link begins or ends; bytes that the client wrote, or was given. */
enum virtual_tap { VIRTUAL_LINK_UP, VIRTUAL_LINK_DOWN, VIRTUAL_SENT, VIRTUAL_RECEIVED };

struct virtual_counts {
    unsigned resolve, connect, hang_up, reset, wake, unread, cancel_posts, finish; /* reset: those hang_ups by RST */
    unsigned trust, adopt, secure, taken;
    unsigned turns, inputs, writes, push;
    unsigned filled; /* inputs that went to link_room */
};

struct virtual {
    struct pcapng capture;   /* of the connection; off */
    struct fail_alloc alloc; /* of the connection: fail_alloc_at(&v.alloc, ...) */
    lago_connection_t *conn; /* as connection_new gave it; NULL once link_finished was called */
    uint64_t now;            /* of the client's clock; see virtual_time */

    /* What the network answers. Set before or at any time; 0 is success. */
    int resolve_result; /* of the verb itself */
    int resolve_status;
    size_t address_count;                        /* default 1 */
    int connect_result;                          /* of the verb itself */
    int adopt_result;                            /* of the verb itself */
    int connect_status[VIRTUAL_ADDRESSES_MAX];   /* by address */
    const char *endpoint[VIRTUAL_ADDRESSES_MAX]; /* default "192.0.2.<n+1>:5672" */
    bool unread_always;                          /* unread() says true; else it says whether input waits */
    bool is_private;                             /* nobody can stand between */
    bool swallowed;                              /* the kernel takes what is written, and the peer nothing of it */
    int trust_result;                            /* of the verb; negative: its reason says "refused" */
    int secure_result;                           /* of the verb itself */
    int secure_status;                           /* VIRTUAL_NEVER, or 0 */
    const lago_reason_t *secure_failure;         /* not NULL: TLS fails with it */
    uint64_t random;                             /* what the next one is; each is one more. Default 0 */

    struct book *book;   /* of the context; NULL (the default): none; set before virtual_connect */
    struct alike *alike; /* the same */

    uint32_t callback_limit_ms; /* of the context; default 500; set before virtual_connect */

    /* The peer's reading. */
    size_t room;      /* bytes that the peer still takes; SIZE_MAX (the default): all */
    size_t write_max; /* bytes per write at most; SIZE_MAX (the default): all that there is */
    int write_status; /* the next write fails with this */

    /* The way in. */
    bool hold_input;     /* input stays in the kernel: the loop is late */
    size_t piece_max;    /* bytes per link_input at most; 0 (the default): as they were fed */
    uint32_t piece_seed; /* not 0: pieces of random sizes, 1 to piece_max (or 16), from this seed */

    /* Sees every byte of every link as it passes; NULL: nobody. */
    void (*tap)(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size);
    void *tap_data;

    /* What has happened. */
    enum virtual_link link;
    size_t address;        /* the last one that was connected to */
    uint64_t connecting;   /* those under way, a bit each */
    char server_name[256]; /* what the last `secure` expected */
    size_t trusted;        /* the parameters of the last `secure` */
    char local_address[64];
    uint64_t taken; /* bytes of this link that the peer has taken */
    char host[256]; /* the last one that was looked up */
    uint16_t port;
    uint8_t *output;    /* all that the client wrote over all links */
    bool output_untold; /* not kept there: the tap is enough. Set behind virtual_init */
    size_t output_size, output_capacity;
    struct virtual_counts counts;
    bool finished;       /* link_finished was called */
    uint64_t drained_at; /* the time at which the last write was made */

    /* The log, frames included ("C> 1 channel.open"), one line each, '\n' behind every line. */
    lago_log_level_t log_level;                                            /* default TRACE; set before virtual_connect */
    void (*on_line)(void *data, lago_log_level_t level, const char *line); /* hears each line as well */
    void *on_line_data;
    char *log;
    size_t log_size, log_capacity, log_seen;

    /* internal */
    struct virtual_piece *first_piece, *last_piece;
    uint8_t *lent; /* the input that the client has now */
    bool lost_pending;
    int lost_status;
    bool write_failed;
    bool answer_pending; /* of resolve or connect */
    bool in_client;      /* an up-call is on the stack */
    bool finishing;
    char words[64]; /* an endpoint's */
};

void virtual_init(struct virtual *v);

/* Run to the end, which the test has begun (free, or an end and free), and release all; aborts if anything is left. */
void virtual_deinit(struct virtual *v);

/* connection_new over this transport, with its allocator and log; v->conn is set. Then dialing begins in virtual_run. */
int virtual_connect(struct virtual *v, const char *url, const lago_connection_options_t *options);

/* Do what the client wants, and tell it what the network has to tell, until nothing is left to do at this point in time. */
void virtual_run(struct virtual *v);

/* Milliseconds since the beginning. */
uint64_t virtual_time(const struct virtual *v);

/* Let time pass, from deadline to deadline, running at each; and run at the end. */
void virtual_advance(struct virtual *v, uint64_t ms);

/* The loop was busy elsewhere: time passes at once, and nobody was told meanwhile. virtual_run is the caller's. */
void virtual_oversleep(struct virtual *v, uint64_t ms);

/* When the client wants its next turn, in ms from now; DEADLINE_NEVER for never. */
uint64_t virtual_next_deadline(const struct virtual *v);

/* The peer sends bytes (copied); the client gets them in virtual_run. */
void virtual_input(struct virtual *v, const void *data, size_t size);

/* The peer ended the link (UV_EOF is -4095) or it broke: told behind the input that waits. */
void virtual_lose(struct virtual *v, int status);

/* The next write fails. */
void virtual_fail_write(struct virtual *v, int status);

/* The peer stops reading, or takes `size` bytes more; SIZE_MAX: all. virtual_run is the caller's. */
void virtual_take(struct virtual *v, size_t size);

/*
 * Whether a line of the log, behind the one that was found last, is this text (or begins with it, when `line` ends with '*').
 * So a row of calls checks an order.
 */
bool virtual_saw(struct virtual *v, const char *line);

/* The log from here on only. */
void virtual_forget_log(struct virtual *v);

#endif
