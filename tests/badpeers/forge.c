/* TLS 1.3 records made by hand: see forge.h. */
#include "forge.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#define TAG_SIZE 16u

#define must(done)                                                                                                               \
    do {                                                                                                                         \
        if (!(done)) abort();                                                                                                    \
    } while (0)

/* HKDF-Expand-Label with an empty context (7.1); one round of HMAC is enough for so few bytes. */
static void expand(const struct peer *peer, const char *label, uint8_t *out, uint8_t size) {
    uint8_t info[64], round[EVP_MAX_MD_SIZE];
    unsigned round_size = 0;
    size_t label_size = strlen(label);
    info[0] = 0;
    info[1] = size;
    info[2] = (uint8_t)(6 + label_size);
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, label_size);
    info[9 + label_size] = 0;  /* context */
    info[10 + label_size] = 1; /* number of the round */
    must(HMAC(EVP_sha256(), peer->secret, (int)peer->secret_size, info, 11 + label_size, round, &round_size));
    must(size <= round_size);
    memcpy(out, round, size);
}

void forge_init(struct forge *forge, struct peer *peer) {
    *forge = (struct forge){ .peer = peer };
    must(peer->secret_size == 32);
    expand(peer, "key", forge->key, sizeof forge->key);
    expand(peer, "iv", forge->iv, sizeof forge->iv);
}

/* TLSCiphertext (5.2): the nonce is the sequence number XORed into the IV (5.3), the header is authenticated. */
void forge_send(struct forge *forge, uint8_t type, const void *content, size_t size, size_t padding) {
    size_t inner = size + (type ? 1 : 0) + padding, total = inner + TAG_SIZE;
    uint8_t *record = calloc(1, 5 + total), nonce[12];
    int done = 0;
    must(record);
    record[0] = RECORD_DATA;
    record[1] = record[2] = 3;
    record[3] = (uint8_t)(total >> 8);
    record[4] = (uint8_t)total;
    if (size) memcpy(record + 5, content, size);
    if (type) record[5 + size] = type;
    memcpy(nonce, forge->iv, sizeof nonce);
    for (size_t i = 0; i < 8; i++) nonce[11 - i] ^= (uint8_t)(forge->sequence_number >> 8 * i);
    forge->sequence_number++;
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    must(cipher && EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, forge->key, nonce));
    must(EVP_EncryptUpdate(cipher, NULL, &done, record, 5));
    must(EVP_EncryptUpdate(cipher, record + 5, &done, record + 5, (int)inner));
    must(EVP_EncryptFinal_ex(cipher, record + 5 + inner, &done));
    must(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, record + 5 + inner));
    EVP_CIPHER_CTX_free(cipher);
    peer_send(forge->peer, record, 5 + total);
    free(record);
}

void forge_send_clear(struct peer *peer, uint8_t type, const void *content, size_t size) {
    uint8_t header[5] = { type, 3, 3, (uint8_t)(size >> 8), (uint8_t)size };
    struct blob record = { 0 };
    blob_add(&record, header, sizeof header);
    blob_add(&record, content, size);
    peer_send(peer, record.data, record.size);
    blob_free(&record);
}
