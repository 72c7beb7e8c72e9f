/*
 * What the tests of faults on real sockets share: a connection that counts what it is told, a loop whose lateness is known, and a
 * network that fails as it is told: names, sockets, segments that are lost. Peers are in dial_peer.h.
 */
#ifndef LAGO_TESTS_FAULTS_H
#define LAGO_TESTS_FAULTS_H

#include "fail_alloc.h"
#include <lago.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* ---------------------------------------------------------------- a connection on a loop */

struct rig {
    uv_loop_t loop;
    uv_timer_t patience, pulse;
    uint64_t pulse_due; /* ns */
    uint64_t late_ms;   /* how long the loop was held up since rig_connect or rig_on_time, all in all */
    unsigned turns;     /* of the loop, the pulse's 100 a second among them */
    bool time_is_up;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_channel_t *ch;
    unsigned opened, failed, closed; /* how often on_open, on_open_error and on_close came */
    lago_reason_t reason;            /* of the last two */
    uint64_t began, ended;           /* ns: rig_connect; on_open, on_open_error or on_close */
    unsigned warnings;               /* lines of the log */
    char warning[512];               /* the last one */
};

extern struct rig rig;

void rig_start(void);
void rig_connect(const lago_parameters_t *parameters);
void rig_connect_many(const lago_parameters_t *parameters, size_t count);

/* Run the loop until it holds; the test fails after ten seconds. */
#define RIG_UNTIL(condition)                                                                                                     \
    do {                                                                                                                         \
        rig_patience(true);                                                                                                      \
        while (!(condition) && !rig.time_is_up) rig_turn();                                                                      \
        rig_patience(false);                                                                                                     \
        assert_true(condition);                                                                                                  \
    } while (0)
void rig_patience(bool on);
void rig_turn(void);
void rig_run_ms(uint64_t ms);

/* Until the connection's end is told (or, with `open`, its opening): exactly one of the three has come. */
void rig_until_told(void);
void rig_until_open(void); /* with a channel, rig.ch */

/* From `since` (uv_hrtime) to the last thing told: so many ms, and as much more as the loop was held up, and a little for that. */
#define ASSERT_TOLD_IN(since, from_ms, to_ms)                                                                                    \
    do {                                                                                                                         \
        uint64_t took_ms = (rig.ended - (since)) / 1000000;                                                                      \
        assert_in_range(took_ms, (from_ms), (to_ms) + 1 + rig.late_ms * 5 / 4);                                                  \
    } while (0)
void rig_on_time(void); /* forget how late it was */

uint64_t rig_ms_since(uint64_t ns);

size_t rig_attempts(void);

/* The attempt of this number, from 0, failed in this phase by this code; NULL endpoint: it has none. @return its reason. */
const lago_reason_t *rig_attempt(size_t index, lago_phase_t phase, int code, const char *endpoint);

/* Free what there is; the loop ends by itself, and nothing is left. */
void rig_free(void); /* only the connection, and the loop has closed it */
void rig_stop(void);

size_t rig_descriptors(void); /* how many this process has open */

/* ---------------------------------------------------------------- names */

#define NAME_HANGS   "hangs"   /* no answer before names_go_on */
#define NAME_MISSING "missing" /* EAI_NONAME */

/* What the resolver says to a name from here on: addresses with spaces between them, or one of the above; NULL: forget all. */
void name_is(const char *name, const char *addresses);
void names_go_on(void);       /* who hangs gets EAI_NONAME; forgets all names */
unsigned names_hanging(void); /* lookups that run now */
unsigned names_asked(void);   /* lookups that have begun since name_is(NULL, NULL) */

/* ---------------------------------------------------------------- sockets */

/* The next `count` TCP sockets cannot be made, because of `error` (EMFILE ...). */
void sockets_fail(unsigned count, int error);
unsigned sockets_made(void); /* or failed, since the last call */

/* The last one that was made: of the connection that has just opened. */
int socket_of_client(void);

/* From here on every segment that comes to this socket is lost on the way, as on a dead link; on a listener: every SYN. */
void segments_lost(int fd, bool lost);

/* A port of 127.0.0.1 at which nobody listens (a bound socket keeps others away from it until it is closed). */
struct dead_port {
    int fd;
    uint16_t port;
};
struct dead_port dead_port_open(void);

/* A port where SYNs vanish. */
struct dead_port black_hole_open(const char *ip, uint16_t port);
void dead_port_close(struct dead_port *port);

/* ---------------------------------------------------------------- clocks and networks */

/* The wall clock is so many seconds ahead. How often it was asked since the last call. */
void wall_clock_jumps(int64_t seconds);
unsigned wall_clock_asked(void);

/* A network of its own for this thread, with a loopback and without a route anywhere. @return false: not allowed here. */
bool network_apart(void);
void network_back(void);

#endif
