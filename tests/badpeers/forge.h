/*
 * TLS 1.3 records made by hand, with the keys that a peer's handshake has agreed: what OpenSSL would not send. Knows RFC 8446 and
 * the peer; only for TLS_AES_128_GCM_SHA256, and only instead of what the peer's OpenSSL would say after the handshake.
 */
#ifndef BADPEERS_FORGE_H
#define BADPEERS_FORGE_H

#include "peer.h"

#define RECORD_CHANGE_CIPHER_SPEC 20
#define RECORD_ALERT              21
#define RECORD_HANDSHAKE          22
#define RECORD_DATA               23

struct forge {
    struct peer *peer;
    uint8_t key[16], iv[12];
    uint64_t sequence_number;
};

void forge_init(struct forge *forge, struct peer *peer);

/* Send one record: `content` of that type and `padding` zeros behind it. Type 0 adds none: a record of nothing but zeros. */
void forge_send(struct forge *forge, uint8_t type, const void *content, size_t size, size_t padding);

/* A record in clear. */
void forge_send_clear(struct peer *peer, uint8_t type, const void *content, size_t size);

#endif
