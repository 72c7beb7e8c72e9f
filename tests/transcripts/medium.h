/*
 * What lies between the application of a transcript and its broker. In memory (medium_memory.c) time is virtual and the network
 * imagined; over a socket (medium_socket.c) a real loop, lago's adapter and a peer of the same process say the same words. The
 * interpreter (script.c, acts.c) knows neither.
 */
#ifndef TRANSCRIPTS_MEDIUM_H
#define TRANSCRIPTS_MEDIUM_H

#include <lago/connection.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct play;

struct medium {
    const char *name;
    unsigned ms_scale; /* times of the script are longer by this; 0: they are as they are */

    void (*begin)(struct play *p);

    /* lago_connect to the broker of the script; sets p->conn. */
    int (*connect)(struct play *p, const char *url, lago_connection_options_t *options);

    /* Until client and broker have nothing left to do at this point of time. */
    void (*run)(struct play *p);

    /* The broker sends frames, in one piece. */
    void (*send)(struct play *p, const char *lines);

    /* The broker hangs up (UV_EOF), or the link breaks; behind what was sent. */
    void (*lose)(struct play *p, int status);

    uint64_t (*time)(const struct play *p);

    /* Do what a line says that not every medium knows, and echo it; show a fact. False: this one does not know it. */
    bool (*word)(struct play *p, const char *line);
    bool (*show)(struct play *p, const char *what);

    /* What the client has written, over all links. */
    const uint8_t *(*written)(const struct play *p, size_t *size);

    /* The broker has said all this before, to another connection. NULL: it cannot have. */
    void (*know)(struct play *p);

    /* The script is over: nothing fails or waits any more. Later, behind the free: the end of everything. */
    void (*calm)(struct play *p);
    void (*end)(struct play *p);
};

extern const struct medium medium_memory, medium_tcp, medium_unix, medium_tls;

/* Control: of what the peers on sockets send some is lost. */
extern bool medium_plant;

/* Why this script has to stay in memory; NULL: it does not. */
const char *medium_refuses(const struct medium *medium, const char *script);

#endif
