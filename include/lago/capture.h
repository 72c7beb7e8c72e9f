/*
 * A log of all that goes over the wire, in the file format pcapng: Wireshark and tshark open it and show every method, property
 * and body. Also of links that are encrypted: what is logged is what AMQP says.
 *
 * lago writes no file. It hands over bytes, which belong at the end of one:
 *
 *     static void append(const void *bytes, size_t size, void *data) { fwrite(bytes, 1, size, data); }
 *     ...
 *     FILE *file = fopen("broker.pcapng", "wb");
 *     lago_context_capture(context, append, file);
 *
 * Each connection of the context is a TCP conversation of its own in that file. Packets are made up around the bytes as they were
 * read and written; the server's port is always 5672, so that it is decoded as AMQP without further ado, and its first packet
 * has a comment that says where it really went. What logs in is overwritten: the responses of connection.start-ok and secure-ok,
 * and the secret of update-secret, are asterisks. Bodies and headers are there as they are: whoever has the file can read them.
 */
#ifndef LAGO_CAPTURE_H
#define LAGO_CAPTURE_H

#include <lago/context.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The next bytes of the file, borrowed. From the loop's thread, also inside calls; must not call lago.
 *
 * @param data  As given; it must live until the capture was ended, or until all connections of the context have ended.
 */
typedef void (*lago_capture_cb)(const void *bytes, size_t size, void *data);

/**
 * Begin to log, or log elsewhere from here on: a new file begins, with the connections (and attempts) that begin from here on.
 * One that is open already is not in it.
 *
 * @param capture  Called at once, with the beginning of the file. NULL: end; what was handed over is a whole file at any time.
 * @return 0, or LAGO_EINVAL (NULL context). Thread: the loop's.
 */
LAGO_EXPORT int lago_context_capture(lago_context_t *context, lago_capture_cb capture, void *data);

#ifdef __cplusplus
}
#endif
#endif
