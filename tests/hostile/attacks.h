/*
 * Attackers that say what is allowed, or nearly, as much of it as they can: each is an application that lives by the rules, a prologue
 * that gives it what it asked for, and a block of bytes that is said again and again. Nothing of what the client says is listened to,
 * so the same bytes do in memory and through a socket.
 */
#ifndef TESTS_HOSTILE_ATTACKS_H
#define TESTS_HOSTILE_ATTACKS_H

#include <lago.h>
#include <stddef.h>
#include <stdint.h>

/* The configured cap of all attacks: messages up to 1 MiB, 4 MiB of them under way. */
#define ATTACK_PARAMETERS "message_size_max=1048576&assembly_size_max=4194304&heartbeat=0"
#define ATTACK_CAP        ((size_t)4 << 20)
#define ATTACK_ALLOWANCE  ((size_t)1 << 20)

enum attack_app {
    APP_LOGIN,    /* nothing but a connection */
    APP_CONSUMES, /* one channel, a consumer with auto_ack */
    APP_HOLDS,    /* the same without, and it acknowledges nothing */
    APP_ACKS,     /* it acknowledges each */
    APP_PAUSED,   /* its consumer is paused */
    APP_PIECES,   /* it takes bodies in pieces */
    APP_CONFIRMS, /* 2000 mandatory publishes wait for their confirms */
    APP_ASKS,     /* as APP_CONSUMES, and 2000 declares wait for their answers */
    APP_MANY,     /* 500 channels, a consumer with auto_ack on each */
    APP_MANY_HOLD /* the same without, and nothing is acknowledged */
};

struct attack {
    const char *name;
    enum attack_app app;
    void (*block)(unsigned turn); /* one more block; see attack_put */
    bool deaf;                    /* the attacker reads nothing */
};

extern const struct attack attacks[];
extern const size_t attack_count;

/* What the application does with a connection that was just made. */
void attack_begin(const struct attack *attack, lago_connection_t *conn);

/* The prologue, and the block of a turn (0, 1 ...): valid until the next call. */
const uint8_t *attack_prologue(const struct attack *attack, size_t *size);
const uint8_t *attack_block(const struct attack *attack, unsigned turn, size_t *size);

#endif
