/*
 * In place of lib/base/probes.h, for the simulator's own build of the library: the probes of state changes call the simulator, the
 * others do nothing. So what is released carries no trace of it.
 */
#ifndef LAGO_BASE_PROBES_H
#define LAGO_BASE_PROBES_H

void hook_session_state(int from, int to);
void hook_channel_state(int from, int to);
void hook_stage(int from, int to);

#define PROBE2(name, a, b)          ((void)0)
#define PROBE3(name, a, b, c)       PROBE3_##name(a, b, c)
#define PROBE4(name, a, b, c, d)    ((void)0)
#define PROBE5(name, a, b, c, d, e) ((void)0)

#define PROBE3_session__state(s, to, from)    hook_session_state(from, to)
#define PROBE3_channel__state(ch, to, from)   hook_channel_state(from, to)
#define PROBE3_connection__stage(c, to, from) hook_stage(from, to)
#define PROBE3_event(a, b, c)                 ((void)0)
#define PROBE3_frames__out(a, b, c)           ((void)0)

#endif
