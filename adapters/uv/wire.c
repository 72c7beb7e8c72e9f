/* Bytes between a client and its stream, as they are or through TLS. Must not know addresses, deadlines or AMQP. */
#include "wire.h"
#include "alloc.h"
#include <lago/error.h>

/* Bytes written in one go before others get their turn: a millisecond at 8 Gbit/s. */
#define FLUSH_SIZE ((size_t)1024 * 1024)

/* Plaintext that is handed over at once: the cache keeps it until it is read, and no call of the system is saved by more. */
#define PLAINTEXT_SIZE ((size_t)128 * 1024)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void give(struct wire *wire, struct slab **slab) {
    if (*slab != NULL) slab_give(&wire->context->slabs, *slab);
    *slab = NULL;
}

void wire_give_slab(struct wire *wire) {
    if (!link_has_input(wire->conn)) give(wire, &wire->slab);
}

void wire_clear(struct wire *wire) { give(wire, &wire->slab); }

/* ---------------------------------------------------------------- TLS */

int wire_secure(struct wire *wire, struct tls_context *context, const char *host) {
    lago_reason_t reason;
    int rc = tls_context_refresh(context, &reason);
    if (rc == 0) rc = tls_filter_new(context, host, &wire->filter, &reason);
    if (rc == LAGO_ENOMEM) return rc;
    if (rc < 0) {
        wire->refusal = mem_alloc(&wire->context->environment.alloc, sizeof reason);
        if (wire->refusal == NULL) return LAGO_ENOMEM;
        *wire->refusal = reason;
    }
    wire->securing = wire->unpumped = true; /* it is us who speak first */
    return 0;
}

static void forget_refusal(struct wire *wire) {
    mem_free(&wire->context->environment.alloc, wire->refusal);
    wire->refusal = NULL;
}

/* No more comes, and the client is about to hear it. It may stay for a while all the same: what it wrote has to leave. */
static void end_input(struct wire *wire) {
    wire->over = true;
    wire->unpumped = false;
}

static void tell_refusal(struct wire *wire) {
    lago_reason_t reason = *wire->refusal;
    forget_refusal(wire);
    end_input(wire);
    link_secured(wire->conn, &reason);
}

static bool has_ciphertext(const struct wire *wire) { return wire->filter != NULL && tls_filter_output_size(wire->filter) > 0; }

/* As much as the kernel takes, without calling anybody: last words, which may be lost. */
static void send_last_words(struct wire *wire) {
    struct slice slices[STREAM_SLICES_MAX];
    while (has_ciphertext(wire) && stream_can_write(wire->stream)) {
        size_t count = tls_filter_output(wire->filter, slices, STREAM_SLICES_MAX);
        ssize_t sent = stream_write(wire->stream, slices, count);
        if (sent <= 0) return;
        tls_filter_written(wire->filter, (size_t)sent);
    }
}

/* The alert says to the peer what was wrong; then the client hears it. */
static void fail(struct wire *wire) {
    lago_reason_t reason = *tls_filter_reason(wire->filter); /* a copy: hanging up frees the filter */
    send_last_words(wire);
    end_input(wire);
    if (wire->securing)
        link_secured(wire->conn, &reason);
    else
        link_failed(wire->conn, &reason);
}

static void lose(struct wire *wire, int status) {
    end_input(wire);
    link_lost(wire->conn, status);
}

/* @return whether the handshake is done. */
static bool shake_hands(struct wire *wire) {
    int rc = tls_filter_handshake(wire->filter);
    if (rc < 0) fail(wire);
    if (rc == 0) wire->unpumped = false;
    if (rc != 1) return false;
    wire->securing = false;
    link_secured(wire->conn, NULL);
    return true;
}

/* Plaintext for the client: into a message, or into the slab. @return bytes, or as tls_filter_read; LAGO_ENOMEM. */
static int64_t decrypt_some(struct wire *wire) {
    uint8_t *room;
    size_t max = link_room(wire->conn, &room);
    if (max > 0) {
        int64_t size = tls_filter_read(wire->filter, room, max);
        if (size > 0) link_filled(wire->conn, room, (size_t)size);
        return size;
    }
    if (wire->slab == NULL) wire->slab = slab_take(&wire->context->slabs);
    if (wire->slab == NULL) return LAGO_ENOMEM;
    max = least(least(wire->slab->size, link_read_max(wire->conn)), PLAINTEXT_SIZE);
    int64_t size = tls_filter_read(wire->filter, wire->slab->data, max);
    if (size > 0) link_input(wire->conn, wire->slab->data, (size_t)size);
    return size;
}

/* One piece of plaintext. @return whether there may be more. */
static bool decrypt(struct wire *wire) {
    struct tls_filter *filter = wire->filter;
    int64_t size = decrypt_some(wire);
    if (size > 0) {
        if (wire->filter == filter) link_turn(wire->conn);
        return wire->filter == filter;
    }
    wire->unpumped = false;
    if (size == LAGO_ENOMEM)
        lose(wire, LAGO_ENOMEM);
    else if (size == TLS_CLOSED)
        lose(wire, UV_EOF);
    else if (size < 0)
        fail(wire);
    return false;
}

/* A handshake needs no room in the client, nor does a refusal. */
bool wire_wants_pump(const struct wire *wire, const struct link_wants *wants) {
    return wire->unpumped && (wire->securing || (wants->read && !link_has_input(wire->conn)));
}

static bool may_pump(const struct wire *wire) {
    struct link_wants wants;
    if (!wire->unpumped) return false;
    wants = link_wants(wire->conn);
    return wire_wants_pump(wire, &wants);
}

void wire_pump(struct wire *wire) {
    if (!may_pump(wire)) return;
    if (wire->refusal != NULL) {
        tell_refusal(wire);
        return;
    }
    struct tls_filter *filter = wire->filter;
    bool more = !wire->securing || shake_hands(wire);
    while (more && wire->filter == filter && may_pump(wire)) more = decrypt(wire);
    wire_give_slab(wire);
    if (wire->filter == NULL || tls_filter_is_starved(wire->filter)) give(wire, &wire->ciphertext);
}

/* ---------------------------------------------------------------- in */

static struct slab **slot(struct wire *wire) { return wire->filter != NULL ? &wire->ciphertext : &wire->slab; }

/* Bytes of a message go where they belong; all else into a slab. */
bool wire_offer(struct wire *wire, struct stream_offer *offer) {
    struct slab **place = slot(wire);
    if (*place != NULL) return false;
    if (wire->filter == NULL) offer->size = link_room(wire->conn, &offer->data);
    if (offer->size == 0) {
        *place = slab_take(&wire->context->slabs);
        if (*place == NULL) return true;
        offer->data = (*place)->data;
        offer->size = wire->filter == NULL ? least((*place)->size, link_read_max(wire->conn)) : (*place)->size;
    }
    offer->again = *place == NULL || offer->size < (*place)->size;
    return true;
}

void wire_declined(struct wire *wire) { give(wire, slot(wire)); }

/* Only into what is empty; and while the filter has input, an end of the stream would overtake it. */
bool wire_wants_read(const struct wire *wire, const struct link_wants *wants) {
    bool full = wire->ciphertext != NULL || (wire->slab != NULL && !wire->securing);
    return wants->read && !full && !wire->unpumped && !wire->over;
}

/* Stopping and starting are calls of the system (epoll_ctl), and what is offered meanwhile is nothing. */
bool wire_keeps_reading(const struct wire *wire, const struct link_wants *wants) {
    return wants->read && wants->turn && !wire->over;
}

void wire_received(struct wire *wire, const struct stream_offer *offer, size_t size) {
    struct stream *stream = wire->stream;
    const struct slab *slab = *slot(wire);
    if (slab != NULL && offer->size == slab->size) slab_filled(&wire->context->slabs, slab, size);
    if (wire->filter != NULL) {
        tls_filter_input(wire->filter, offer->data, size);
        wire->unpumped = true;
        wire_pump(wire);
        return;
    }
    if (slab != NULL)
        link_input(wire->conn, offer->data, size);
    else
        link_filled(wire->conn, offer->data, size);
    if (wire->stream == stream) link_turn(wire->conn);
}

/* TLS says goodbye by close_notify: without it somebody may have cut what was still to come. */
void wire_lost(struct wire *wire, int status) {
    bool cut = status == UV_EOF && wire->filter != NULL && !wire->securing;
    lose(wire, cut ? LAGO_ETRUNCATED : status);
}

bool wire_unread(const struct wire *wire) {
    if (wire->stream == NULL) return false;
    return (wire->filter != NULL && wire->unpumped) || stream_unread(wire->stream);
}

/* ---------------------------------------------------------------- out */

static bool takes_output(const struct wire *wire) {
    return !wire->securing && (wire->filter == NULL || tls_filter_has_room(wire->filter));
}

bool wire_wants_flush(const struct wire *wire, const struct link_wants *wants) {
    if (wire->stream == NULL) return false;
    if (wire->trouble < 0) return true;
    return stream_can_write(wire->stream) && (has_ciphertext(wire) || (wants->write && takes_output(wire)));
}

/* @return bytes that left; 0: none did. */
static size_t put(struct wire *wire, const struct slice *slices, size_t count) {
    ssize_t sent = stream_write(wire->stream, slices, count);
    if (sent < 0) wire->trouble = (int)sent;
    return sent > 0 ? (size_t)sent : 0;
}

/* As much as the kernel takes. Nobody is told: what the client gave has been reported when it was encrypted. */
static void write_ciphertext(struct wire *wire) {
    struct slice slices[STREAM_SLICES_MAX];
    while (has_ciphertext(wire) && stream_can_write(wire->stream)) {
        size_t count = tls_filter_output(wire->filter, slices, STREAM_SLICES_MAX);
        size_t size = put(wire, slices, count);
        if (size == 0) return;
        tls_filter_written(wire->filter, size);
    }
}

/* What fills records. @return how many slices are left; if none, they are as they were. */
static size_t cut_to_records(struct slice *slices, size_t count) {
    size_t size = 0, kept = 0;
    for (size_t i = 0; i < count; i++) size += slices[i].size;
    for (size -= size % TLS_RECORD_SIZE_MAX; size > 0; size -= slices[kept++].size)
        if (slices[kept].size > size) slices[kept].size = size;
    return kept;
}

/* `whole`: no record that more would still fit into. @return plaintext bytes taken. */
static size_t encrypt(struct wire *wire, bool whole) {
    struct slice slices[STREAM_SLICES_MAX];
    if (!takes_output(wire)) return 0;
    size_t count = link_output(wire->conn, slices, STREAM_SLICES_MAX);
    size_t cut = whole || count == STREAM_SLICES_MAX ? cut_to_records(slices, count) : 0;
    if (whole || cut > 0) count = cut;
    int64_t size = count > 0 ? tls_filter_write(wire->filter, slices, count) : 0;
    if (size < 0) wire->trouble = LAGO_ETLS;
    if (size <= 0) return 0;
    link_written(wire->conn, (size_t)size);
    return (size_t)size;
}

static void write_secure(struct wire *wire, bool output, bool whole) {
    struct tls_filter *filter = wire->filter;
    for (size_t sent = 0; sent < FLUSH_SIZE && wire->trouble == 0;) {
        size_t size = output ? encrypt(wire, whole) : 0;
        if (wire->filter != filter) return; /* it has hung up */
        write_ciphertext(wire);
        if (size == 0 || !stream_can_write(wire->stream)) return;
        sent += size;
    }
}

static void write_plain(struct wire *wire) {
    struct slice slices[STREAM_SLICES_MAX];
    struct stream *stream = wire->stream;
    if (!takes_output(wire)) return;
    for (size_t sent = 0; sent < FLUSH_SIZE && wire->stream == stream && stream_can_write(stream);) {
        size_t count = link_output(wire->conn, slices, STREAM_SLICES_MAX);
        size_t size = count > 0 ? put(wire, slices, count) : 0;
        if (size == 0) return;
        link_written(wire->conn, size);
        sent += size;
    }
}

/* `output`: the client's as well. Calls the client, but only to take what it has. */
static void write_out(struct wire *wire, bool output, bool whole) {
    if (wire->trouble < 0 || !stream_can_write(wire->stream)) return;
    if (wire->filter != NULL)
        write_secure(wire, output, whole);
    else if (output)
        write_plain(wire);
}

static void tell_trouble(struct wire *wire) {
    int trouble = wire->trouble;
    wire->trouble = 0;
    if (trouble != LAGO_ETLS)
        link_write_failed(wire->conn, trouble);
    else if (!wire->over)
        fail(wire);
}

void wire_flush(struct wire *wire) {
    if (wire->stream == NULL) return;
    if (stream_can_write(wire->stream)) write_out(wire, link_wants(wire->conn).write, false);
    if (wire->trouble < 0) tell_trouble(wire);
}

void wire_push(struct wire *wire) {
    if (wire->stream != NULL) write_out(wire, true, true);
}

bool wire_is_private(const struct wire *wire) {
    if (wire->stream == NULL || wire->securing) return false;
    return wire->filter != NULL ? tls_filter_is_verified(wire->filter) : stream_is_local(wire->stream);
}

uint64_t wire_taken(const struct wire *wire, bool *waiting) {
    *waiting = false;
    if (wire->stream == NULL) return 0;
    uint64_t taken = stream_taken(wire->stream, waiting);
    *waiting = *waiting || has_ciphertext(wire);
    return taken;
}

/* ---------------------------------------------------------------- the end */

void wire_hang_up(struct wire *wire, bool reset) {
    struct stream *stream = wire->stream;
    if (stream != NULL && wire->filter != NULL && !reset) {
        tls_filter_close(wire->filter);
        send_last_words(wire);
    }
    tls_filter_free(wire->filter);
    forget_refusal(wire);
    give(wire, &wire->ciphertext);
    wire->filter = NULL;
    wire->securing = wire->unpumped = wire->over = false;
    wire->trouble = 0;
    wire->stream = NULL;
    if (stream != NULL) stream_close(stream, reset);
}
