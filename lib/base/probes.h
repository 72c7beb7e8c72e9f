/*
 * USDT probes: places where a tracer (bpftrace, perf, SystemTap) can look in without a rebuild. A probe that nobody looks at is one
 * instruction that does nothing. Built in where <sys/sdt.h> is found (Debian: systemtap-sdt-dev; meson option `probes`).
 *
 *     bpftrace -e 'usdt:/usr/lib/x86_64-linux-gnu/liblago.so:lago:deliver { @size = hist(arg3); }'
 *
 * Provider lago; `conn` and `session` are addresses, to tell one from another.
 *
 *   connection__stage  conn, stage, stage before                0 dialing 1 open 2 closing 3 ending 4 finishing 5 ended
 *   connection__end    conn, code                               LAGO_E*
 *   session__state     session, state, state before             as in session.h: 0 idle ... 11 ended
 *   channel__state     its struct, state, state before          0 opening 1 open 2 leaving 3 closing 4 gone
 *   event              conn, channel, method                    class << 16 | method; 0: no method. Not of messages
 *   frame__in          session, type, channel, size             size of the payload
 *   frames__out        session, count, size                     put into the output queue
 *   written            conn, size                               taken by the system
 *   publish            conn, channel, sequence number or 0, body size
 *   outcome            conn, channel, sequence number, outcome  lago_publish_outcome_t
 *   deliver            conn, channel, delivery tag, body size
 *   settle             conn, channel, delivery tag, method, multiple
 *   callback__slow     conn, milliseconds
 */
#ifndef LAGO_BASE_PROBES_H
#define LAGO_BASE_PROBES_H

#ifdef LAGO_PROBES
#include <sys/sdt.h>
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* sdt.h's macros are variadic with nothing behind */
#endif
#define PROBE2(name, a, b)          DTRACE_PROBE2(lago, name, a, b)
#define PROBE3(name, a, b, c)       DTRACE_PROBE3(lago, name, a, b, c)
#define PROBE4(name, a, b, c, d)    DTRACE_PROBE4(lago, name, a, b, c, d)
#define PROBE5(name, a, b, c, d, e) DTRACE_PROBE5(lago, name, a, b, c, d, e)
#else
#define PROBE2(name, a, b)          ((void)0)
#define PROBE3(name, a, b, c)       ((void)0)
#define PROBE4(name, a, b, c, d)    ((void)0)
#define PROBE5(name, a, b, c, d, e) ((void)0)
#endif

#endif
