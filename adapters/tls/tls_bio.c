/* A BIO over a filter's bytes. Must not know what they mean. */
#include "tls_bio.h"
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <string.h>

static int bio_read(BIO *bio, char *data, size_t size, size_t *got) {
    struct tls_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = size < pipe->input_size ? size : pipe->input_size;
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(data, pipe->input, *got);
    pipe->input += *got;
    pipe->input_size -= *got;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *written) {
    struct tls_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    uint8_t *room = pipe->out_of_memory ? NULL : chunks_reserve(&pipe->output, size);
    if (!room) {
        pipe->out_of_memory = true;
        return 0;
    }
    memcpy(room, data, size);
    chunks_commit(&pipe->output, size);
    *written = size;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* everything else does not apply */
}

BIO_METHOD *tls_bio_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lago");
    if (method && BIO_meth_set_read_ex(method, bio_read) && BIO_meth_set_write_ex(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

bool tls_bio_attach(SSL *ssl, const BIO_METHOD *method, struct tls_pipe *pipe) {
    BIO *bio = BIO_new(method);
    if (!bio) return false;
    BIO_set_data(bio, pipe);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* takes the one reference for both directions */
    return true;
}
