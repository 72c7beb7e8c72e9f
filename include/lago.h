/* lago: an event-driven AMQP 0-9-1 client for libuv. Umbrella header: includes the manual's pages, in reading order. */
#ifndef LAGO_H
#define LAGO_H

/* In reading order. */
/* clang-format off */
#include <lago/version.h>
#include <lago/types.h>
#include <lago/error.h>
#include <lago/table.h>
#include <lago/properties.h>
#include <lago/login.h>
#include <lago/tls.h>
#include <lago/parameters.h>
#include <lago/context.h>
#include <lago/connection.h>
#include <lago/channel.h>
#include <lago/exchange.h>
#include <lago/queue.h>
#include <lago/basic.h>
#include <lago/publisher.h>
#include <lago/rabbitmq.h>
#include <lago/rpc.h>
#include <lago/poster.h>
#include <lago/observe.h>
#include <lago/capture.h>
/* clang-format on */

#endif
