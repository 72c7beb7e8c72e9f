/* The tap on a connection's bytes: what was read and written goes to the capture of its context, without secrets. */
#ifndef LAGO_CLIENT_CAPTURE_H
#define LAGO_CLIENT_CAPTURE_H

#include "pcapng.h"
#include <stddef.h>

/* Where in the stream of frames that we write we are: secrets are found by the frames that have them. */
struct capture {
    struct pcapng_stream stream;
    size_t preamble_left; /* of the protocol header */
    size_t passing;       /* bytes of a frame that go by as they are */
    uint8_t head[11];     /* a frame's header, and the ids of its method */
    size_t head_size;
    uint8_t *secret; /* a frame with a secret, as far as it came; NULL: none, or no memory */
    size_t secret_size, secret_capacity;
    bool hiding; /* no memory: its payload becomes asterisks */
    bool lost;   /* the peer has ended the link, or the network */
};

/* Whether anybody listens: to be asked first. */
static inline bool capture_is_on(const struct pcapng *file) { return file->write != NULL; }

/* A link begins; bytes came; the first `size` bytes of the output were written and are still there; the link ends, by itself or
 * because we hang up. */
void capture_connected(lago_connection_t *conn);
void capture_read(lago_connection_t *conn, const uint8_t *data, size_t size);
void capture_written(lago_connection_t *conn, size_t size);
void capture_lost(lago_connection_t *conn);
void capture_ended(lago_connection_t *conn);

#endif
