/*
 * Peers that are no AMQP 0-9-1 broker, told by their first bytes: another protocol version, TLS, HTTP, SSH. It knows nothing
 * of the session; the bytes are a stranger's, so they are escaped.
 */
#include "frame.h"
#include "internal.h"
#include "reason.h"
#include "text.h"
#include <string.h>

static bool starts_with(const uint8_t *data, size_t size, const char *prefix, size_t prefix_size) {
    return size >= prefix_size && memcmp(data, prefix, prefix_size) == 0;
}

/* A broker's first frame is a method; anything else is a stranger's greeting. */
bool greeting_is_foreign(uint8_t first) { return first != FRAME_METHOD; }

/* "AMQP" and four octets: the version that the peer would speak (4.2.2; RabbitMQ 4 answers with its AMQP 1.0 SASL header). */
static void explain_version(lago_reason_t *reason, const uint8_t *data, size_t size) {
    reason_init(reason, LAGO_EVERSION, LAGO_BY_BROKER);
    if (size >= PROTOCOL_HEADER_SIZE)
        reason_detail(reason, "the broker does not speak AMQP 0-9-1, it offers %u.%u.%u.%u", data[4], data[5], data[6], data[7]);
    else
        reason_detail(reason, "the broker does not speak AMQP 0-9-1");
    reason_hint(reason, "is AMQP 0-9-1 enabled on this port?");
}

void greeting_explain(lago_reason_t *reason, const uint8_t *data, size_t size) {
    struct text shown;
    char buffer[64];
    if (starts_with(data, size, "AMQP", 4)) {
        explain_version(reason, data, size);
        return;
    }
    reason_init(reason, LAGO_ENOTAMQP, LAGO_BY_NETWORK);
    if (starts_with(data, size, "\x15\x03", 2) || starts_with(data, size, "\x16\x03", 2)) {
        reason_detail(reason, "this port speaks TLS");
        reason_hint(reason, "use amqps://, or the broker's plain port, usually 5672");
    } else if (starts_with(data, size, "HTTP/", 5)) {
        reason_detail(reason, "this is an HTTP server");
        reason_hint(reason, "the management interface? AMQP is usually on port 5672");
    } else if (starts_with(data, size, "SSH-", 4)) {
        reason_detail(reason, "this is an SSH server");
        reason_hint(reason, "AMQP is usually on port 5672");
    } else {
        text_init(&shown, buffer, sizeof(buffer));
        text_add_escaped(&shown, data, size, 16);
        reason_detail(reason, "the peer is not an AMQP broker, it said \"%s\"", buffer);
        reason_hint(reason, "check host and port");
    }
}
