/*
 * Reasons: filling them in, and one as a line for people: what happened, where, in whose words, and what to do. Knows the fields
 * of lago_reason_t and nothing of AMQP or TLS, whose numbers it prints as numbers. Nothing is said twice: what the detail
 * mentions is left out.
 */
#include "reason.h"

#include "alloc.h"
#include "text.h"
#include <errno.h>
#include <lago/error.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

/* A reply text is a short string, so this cuts nothing but lies about its size. */
#define PEER_TEXT_MAX 256

void reason_init(lago_reason_t *reason, int code, lago_origin_t origin) {
    *reason = (lago_reason_t){ .code = code, .origin = origin };
}

void reason_detail(lago_reason_t *reason, const char *format, ...) {
    struct text t;
    va_list args;
    text_init(&t, reason->detail, sizeof(reason->detail));
    va_start(args, format);
    text_addv(&t, format, args);
    va_end(args);
}

void reason_hint(lago_reason_t *reason, const char *format, ...) {
    struct text t;
    va_list args;
    text_init(&t, reason->hint, sizeof(reason->hint));
    va_start(args, format);
    text_addv(&t, format, args);
    va_end(args);
}

void reason_reply(lago_reason_t *reason, uint16_t reply_code, const char *text, size_t size, uint16_t class_id,
                  uint16_t method_id) {
    size_t kept = size < sizeof(reason->reply_text) ? size : sizeof(reason->reply_text) - 1;
    if (kept > 0) memcpy(reason->reply_text, text, kept);
    reason->reply_text[kept] = '\0';
    reason->reply_text_size = kept;
    reason->reply_code = reply_code;
    reason->class_id = class_id;
    reason->method_id = method_id;
}

void reason_keep(struct kept_reason *kept, const lago_allocator_t *alloc, const lago_reason_t *reason) {
    lago_reason_t *whole = kept->whole ? kept->whole : mem_alloc(alloc, sizeof(*whole));
    if (whole && whole != reason) *whole = *reason;
    *kept = (struct kept_reason){ .code = reason->code,
                                  .origin = reason->origin,
                                  .phase = reason->phase,
                                  .reply_code = reason->reply_code,
                                  .class_id = reason->class_id,
                                  .method_id = reason->method_id,
                                  .os_error = reason->os_error,
                                  .tls_error = reason->tls_error,
                                  .tls_verify_result = reason->tls_verify_result,
                                  .whole = whole };
}

void reason_forget(struct kept_reason *kept, const lago_allocator_t *alloc) {
    mem_free(alloc, kept->whole);
    *kept = (struct kept_reason){ 0 };
}

const lago_reason_t *reason_kept(const struct kept_reason *kept, lago_reason_t *room) {
    if (kept->whole) return kept->whole;
    reason_init(room, kept->code, kept->origin);
    room->phase = kept->phase;
    room->reply_code = kept->reply_code;
    room->class_id = kept->class_id;
    room->method_id = kept->method_id;
    room->os_error = kept->os_error;
    room->tls_error = kept->tls_error;
    room->tls_verify_result = kept->tls_verify_result;
    return room;
}

static bool mentions(const char *text, const char *what) { return what[0] != '\0' && strstr(text, what) != NULL; }

/* lago's words. Peer text in them is escaped already, so a second time only what no terminal may see. */
static void add_own_part(struct text *t, const char *s, size_t size) {
    for (const char *end = s + size; s < end; s++) {
        if (*s >= ' ' && *s <= '~') {
            text_add(t, (char[]){ *s, '\0' });
        } else {
            text_add_escaped(t, s, 1, 1);
        }
    }
}

static void add_own(struct text *t, const char *s) { add_own_part(t, s, strlen(s)); }

/* " at 127.0.0.1:5672", or nothing before an address was known. */
static void add_endpoint(struct text *t, const char *preposition, const lago_reason_t *r) {
    if (r->endpoint[0] == '\0') return;
    text_addf(t, " %s ", preposition);
    add_own(t, r->endpoint);
}

static bool was_refused(const lago_reason_t *r) { return r->code == -ECONNREFUSED || r->os_error == -ECONNREFUSED; }

static bool is_login(const lago_reason_t *r) { return r->code == LAGO_EAUTH || r->code == LAGO_EACCESS; }

/* Of a call or a channel the address is no part of the story, unless the call was to connect. */
static void add_place(struct text *t, const lago_reason_t *r) {
    bool is_opening = r->phase != LAGO_PHASE_NONE && r->phase < LAGO_PHASE_RUNNING;
    if (lago_error_scope(r->code) != LAGO_SCOPE_CONNECTION && !(r->code == LAGO_ETIMEDOUT && is_opening)) return;
    add_endpoint(t, is_login(r) || was_refused(r) ? "by" : "at", r);
}

/* A sentence with the place behind the party that it names: "the broker at 127.0.0.1:5672 went silent". */
static void add_with_place(struct text *t, const char *sentence, const lago_reason_t *r) {
    static const char *const parties[] = { "the broker", "the peer" };
    bool is_placed = lago_error_scope(r->code) == LAGO_SCOPE_CONNECTION && !mentions(sentence, r->endpoint);
    for (size_t i = 0; is_placed && i < sizeof(parties) / sizeof(parties[0]); i++) {
        const char *party = strstr(sentence, parties[i]);
        if (party == NULL) continue;
        const char *rest = party + strlen(parties[i]);
        add_own_part(t, sentence, (size_t)(rest - sentence));
        add_endpoint(t, "at", r);
        add_own(t, rest);
        return;
    }
    add_own(t, sentence);
    if (!mentions(sentence, r->endpoint)) add_place(t, r);
}

static void add_timeout(struct text *t, const lago_reason_t *r) {
    switch (r->phase) {
    case LAGO_PHASE_RESOLVE: text_add(t, "host name lookup"); break;
    case LAGO_PHASE_CONNECT:
        text_add(t, "connecting");
        add_endpoint(t, "to", r);
        break;
    case LAGO_PHASE_PROXY:
    case LAGO_PHASE_TLS:
    case LAGO_PHASE_HANDSHAKE:
        text_add(t, lago_phase_name(r->phase));
        add_endpoint(t, r->phase == LAGO_PHASE_PROXY ? "at" : "with", r);
        break;
    case LAGO_PHASE_OPEN:
        text_add(t, lago_phase_name(r->phase));
        add_endpoint(t, "at", r);
        break;
    case LAGO_PHASE_CLOSING:
        text_add(t, "closing the connection");
        add_endpoint(t, "to", r);
        break;
    default: text_add(t, lago_strerror(r->code)); return;
    }
    text_add(t, " timed out");
}

static void add_lost(struct text *t, const lago_reason_t *r) {
    text_add(t, "lost the link");
    add_endpoint(t, "to", r);
    if (r->endpoint[0] == '\0') text_add(t, " to the broker");
    if (r->phase == LAGO_PHASE_TLS || r->phase == LAGO_PHASE_HANDSHAKE) {
        text_addf(t, " during the %s", lago_phase_name(r->phase));
    } else if (r->phase == LAGO_PHASE_PROXY || r->phase == LAGO_PHASE_OPEN || r->phase == LAGO_PHASE_CLOSING) {
        text_addf(t, " while %s", lago_phase_name(r->phase));
    }
}

static void add_not_connected(struct text *t, const lago_reason_t *r) {
    if (was_refused(r)) {
        text_add(t, "connection refused");
        add_endpoint(t, "by", r);
        return;
    }
    text_add(t, "connecting");
    add_endpoint(t, "to", r);
    text_add(t, " failed");
}

static void add_sentence(struct text *t, const lago_reason_t *r) {
    if (r->detail[0] != '\0') {
        add_with_place(t, r->detail, r);
        return;
    }
    switch (r->code) {
    case LAGO_ECONNECT: add_not_connected(t, r); break;
    case LAGO_ETIMEDOUT: add_timeout(t, r); break;
    case LAGO_ELOST: add_lost(t, r); break;
    case LAGO_ECLOSED: text_add(t, r->origin == LAGO_BY_CLIENT ? "closed by the application" : lago_strerror(r->code)); break;
    default: add_with_place(t, lago_strerror(r->code), r); break;
    }
}

static bool has_peer_words(const lago_reason_t *r) {
    return (r->reply_code != 0 || r->reply_text_size > 0) && !mentions(r->detail, r->reply_text);
}

/* ": 404 NOT_FOUND - no queue 'x' in vhost '/'"; behind a login's sentence in parentheses, as an explanation. */
static void add_peer_words(struct text *t, const lago_reason_t *r) {
    size_t size = r->reply_text_size < sizeof(r->reply_text) ? r->reply_text_size : sizeof(r->reply_text);
    text_add(t, is_login(r) ? " (" : ": ");
    if (r->reply_code != 0) text_addf(t, "%u", r->reply_code);
    if (r->reply_code != 0 && size > 0) text_add(t, " ");
    text_add_escaped(t, r->reply_text, size, PEER_TEXT_MAX);
    if (is_login(r)) text_add(t, ")");
}

/* The system's words, unless the sentence is made of them. */
static void add_system_words(struct text *t, const lago_reason_t *r) {
    if (r->os_error == 0 || r->os_error == r->code) return;
    if (r->code == LAGO_ECONNECT && r->detail[0] == '\0' && was_refused(r)) return;
    const char *words = lago_strerror(r->os_error);
    if (mentions(r->detail, words)) return;
    bool explains = r->code == LAGO_ELOST || has_peer_words(r);
    text_add(t, explains ? " (" : ": ");
    if (strcmp(words, "unknown error") == 0) {
        text_addf(t, "system error %d", r->os_error);
    } else {
        text_add(t, words);
    }
    if (explains) text_add(t, ")");
}

/* The words for these numbers are the TLS adapter's, in the detail. */
static void add_tls_numbers(struct text *t, const lago_reason_t *r) {
    if (r->detail[0] != '\0') return;
    if (r->tls_error != 0) text_addf(t, " (TLS error 0x%lx)", r->tls_error);
    if (r->tls_verify_result != 0) text_addf(t, " (certificate verification %ld)", r->tls_verify_result);
}

static void add_hint(struct text *t, const lago_reason_t *r) {
    if (r->hint[0] == '\0' || mentions(r->detail, r->hint)) return;
    text_add(t, " (");
    add_own(t, r->hint);
    text_add(t, ")");
}

size_t lago_reason_format(const lago_reason_t *reason, char *buffer, size_t size) {
    struct text t;
    text_init(&t, buffer, size);
    if (reason == NULL || reason->code == LAGO_OK) {
        text_add(&t, lago_strerror(LAGO_OK));
        return t.length;
    }
    add_sentence(&t, reason);
    if (has_peer_words(reason)) add_peer_words(&t, reason);
    add_system_words(&t, reason);
    add_tls_numbers(&t, reason);
    bool is_blamed = reason->class_id != 0 || reason->method_id != 0;
    if (is_blamed && reason->detail[0] == '\0') /* else the detail names it */
        text_addf(&t, " (method %u,%u)", reason->class_id, reason->method_id);
    add_hint(&t, reason);
    return t.length;
}
