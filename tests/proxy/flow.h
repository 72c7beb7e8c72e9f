/* One direction of a proxy's link: what has arrived, when and how it is handed on. For proxy.c only. */
#ifndef PROXY_FLOW_H
#define PROXY_FLOW_H

#include "proxy.h"

/* Who holds more than this does not read: the sender's window closes soon. */
#define FLOW_HELD_MAX (64u * 1024)

void flow_init(struct proxy_flow *flow, struct proxy_link *link, union proxy_stream *from, union proxy_stream *to);
void flow_set(struct proxy_flow *flow, const struct proxy_faults *faults);

void flow_take(struct proxy_flow *flow, const void *bytes, size_t size);
void flow_ended(struct proxy_flow *flow, bool reset); /* nothing more will come */

/* Hand on what may be handed on now. */
void flow_pump(struct proxy_flow *flow);

/* Say FIN to the receiver, behind what is on its way; what is held is forgotten. */
void flow_shut(struct proxy_flow *flow);

void flow_free(struct proxy_flow *flow);

/* What a flow asks of its link, in proxy.c: it shall end; a direction is shut or ended; reading begins or stops. */
void link_act(struct proxy_flow *flow, enum proxy_act act);
void link_settle(struct proxy_link *link);
void link_read(struct proxy_flow *flow, bool on);

#endif
