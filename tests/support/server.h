/*
 * The broker's side of a conversation, in memory: frames in the words of lib/codec's method_print and the session's trace, so that
 * a test reads as the log does.
 *
 *     server_send(v, "1 queue.declare-ok queue=\"q\" message_count=3");
 *     server_send(v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"q\"\n"
 *                    "1 header body_size=5 content_type=\"text/plain\" headers={n=1}\n"
 *                    "1 body \"hello\"");
 *     server_send(v, "0 heartbeat");
 *     server_send(v, "raw 41 4d 51 50 00 00 09 01");
 *
 * Fields are those of the codec's tables; what is not named is zero or empty. Strings stand in quotes with the escapes \" \\ \n
 * \r \t \xNN. Tables: {a="x", n=1, t=true, d=1.5, v=void, in={}, list=[1, "a"]}; whole numbers are 32-bit signed, or 64-bit where
 * they must be. `body size=N` is N bytes of 'x'. `frame TYPE "payload"` is any frame, also one that no broker would send.
 */
#ifndef SUPPORT_SERVER_H
#define SUPPORT_SERVER_H

#include "virtual.h"
#include <lago/table.h>

/* The bytes of some lines: malloc'ed, *size of them. Words that it does not understand abort the test. */
uint8_t *server_encode(const char *lines, size_t *size);

/* A table in words, `{a="x", n=1}`; free it with lago_table_builder_free. */
lago_table_builder_t *server_table(const char *words);

/* Send lines, in one piece, and run. */
void server_send(struct virtual *v, const char *lines);

/* The same without running: it waits in the kernel. */
void server_queue(struct virtual *v, const char *lines);

/* From a connection that was just made to open-ok, with RabbitMQ's usual proposals: start, tune (2047, 131072, 60), open-ok. */
void server_handshake(struct virtual *v);

/* The same with a tune of one's own, as "channel_max=10 frame_max=4096 heartbeat=10". */
void server_handshake_with(struct virtual *v, const char *tune);

/* What RabbitMQ says first. */
#define SERVER_START                                                                                                             \
    "0 connection.start version_minor=9 server_properties={product=\"RabbitMQ\", version=\"4.1.0\", "                            \
    "capabilities={publisher_confirms=true, basic.nack=true, consumer_cancel_notify=true, connection.blocked=true, "             \
    "authentication_failure_close=true}} mechanisms=\"PLAIN AMQPLAIN\" locales=\"en_US\""

#endif
