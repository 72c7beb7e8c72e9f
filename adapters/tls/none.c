/* A build without TLS: no context can be made, so that no filter is ever asked for. Must not fall back to anything. */
#include "reason.h"
#include "tls_filter.h"

int tls_context_new(const lago_allocator_t *alloc, const lago_tls_options_t *options, struct tls_context **context,
                    lago_reason_t *reason) {
    (void)alloc;
    (void)options;
    *context = NULL;
    reason_init(reason, LAGO_ENOTLS, LAGO_BY_CLIENT);
    reason->phase = LAGO_PHASE_TLS;
    reason_detail(reason, "amqps, in a build of lago without TLS");
    reason_hint(reason, "build it with -Dtls=enabled, and OpenSSL 3");
    return LAGO_ENOTLS;
}

struct tls_context *tls_context_ref(struct tls_context *context) {
    return context;
}

void tls_context_unref(struct tls_context *context) { (void)context; }

int tls_context_refresh(struct tls_context *context, lago_reason_t *reason) {
    struct tls_context *none;
    (void)context;
    return tls_context_new(NULL, NULL, &none, reason);
}

int tls_filter_new(struct tls_context *context, const char *host, struct tls_filter **filter, lago_reason_t *reason) {
    (void)host;
    *filter = NULL;
    return tls_context_refresh(context, reason);
}

/* ---------------------------------------------------------------- what there never is */

void tls_filter_free(struct tls_filter *filter) { (void)filter; }

void tls_filter_input(struct tls_filter *filter, const uint8_t *data, size_t size) {
    (void)filter;
    (void)data;
    (void)size;
}

bool tls_filter_is_starved(const struct tls_filter *filter) {
    (void)filter;
    return true;
}

int tls_filter_handshake(struct tls_filter *filter) {
    (void)filter;
    return TLS_FAILED;
}

int64_t tls_filter_read(struct tls_filter *filter, uint8_t *buffer, size_t size) {
    (void)filter;
    (void)buffer;
    (void)size;
    return TLS_FAILED;
}

int64_t tls_filter_write(struct tls_filter *filter, const struct slice *slices, size_t count) {
    (void)filter;
    (void)slices;
    (void)count;
    return TLS_FAILED;
}

bool tls_filter_has_room(const struct tls_filter *filter) {
    (void)filter;
    return false;
}

void tls_filter_close(struct tls_filter *filter) { (void)filter; }

size_t tls_filter_output(const struct tls_filter *filter, struct slice *slices, size_t max) {
    (void)filter;
    (void)slices;
    (void)max;
    return 0;
}

size_t tls_filter_output_size(const struct tls_filter *filter) {
    (void)filter;
    return 0;
}

void tls_filter_written(struct tls_filter *filter, size_t size) {
    (void)filter;
    (void)size;
}

const lago_reason_t *tls_filter_reason(const struct tls_filter *filter) {
    (void)filter;
    return NULL;
}

bool tls_filter_is_verified(const struct tls_filter *filter) {
    (void)filter;
    return false;
}

bool tls_filter_is_resumed(const struct tls_filter *filter) {
    (void)filter;
    return false;
}

const char *tls_filter_version(const struct tls_filter *filter) {
    (void)filter;
    return "";
}

const char *tls_filter_cipher(const struct tls_filter *filter) {
    (void)filter;
    return "";
}
