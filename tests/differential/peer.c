/* librabbitmq's methods and properties as tables, each member named as its header names it. */
#include "peer.h"

#define TYPE(type_, member)                                                                                                      \
    _Generic(((type_ *)NULL)->member, amqp_boolean_t                                                                             \
             : PEER_BIT, uint8_t                                                                                                 \
             : PEER_OCTET, uint16_t                                                                                              \
             : PEER_SHORT, uint32_t                                                                                              \
             : PEER_LONG, uint64_t                                                                                               \
             : PEER_LONGLONG, amqp_bytes_t                                                                                       \
             : PEER_BYTES, amqp_table_t                                                                                          \
             : PEER_TABLE)
#define MEMBER(type_, member)                                                                                                    \
    { #member, TYPE(type_, member), offsetof(type_, member) }
#define P(member) MEMBER(amqp_basic_properties_t, member)

/* The members of a method's struct, one after the other. */
#define F0(l, none)                                                                                                              \
    { NULL, PEER_BIT, 0 }
#define F1(l, a)      MEMBER(amqp_##l##_t, a)
#define F2(l, a, ...) F1(l, a), F1(l, __VA_ARGS__)
#define F3(l, a, ...) F1(l, a), F2(l, __VA_ARGS__)
#define F4(l, a, ...) F1(l, a), F3(l, __VA_ARGS__)
#define F5(l, a, ...) F1(l, a), F4(l, __VA_ARGS__)
#define F6(l, a, ...) F1(l, a), F5(l, __VA_ARGS__)
#define F7(l, a, ...) F1(l, a), F6(l, __VA_ARGS__)
#define F8(l, a, ...) F1(l, a), F7(l, __VA_ARGS__)
#define F9(l, a, ...) F1(l, a), F8(l, __VA_ARGS__)

/* Its name in capitals, its name, how many members, the members. */
#define M(U, l, n, ...)                                                                                                          \
    {                                                                                                                            \
        AMQP_##U##_METHOD, #l, { F##n(l, __VA_ARGS__) }                                                                          \
    }

/* clang-format off */
static const struct peer_method methods[] = {
    M(CONNECTION_START, connection_start, 5, version_major, version_minor, server_properties, mechanisms, locales),
    M(CONNECTION_START_OK, connection_start_ok, 4, client_properties, mechanism, response, locale),
    M(CONNECTION_SECURE, connection_secure, 1, challenge),
    M(CONNECTION_SECURE_OK, connection_secure_ok, 1, response),
    M(CONNECTION_TUNE, connection_tune, 3, channel_max, frame_max, heartbeat),
    M(CONNECTION_TUNE_OK, connection_tune_ok, 3, channel_max, frame_max, heartbeat),
    M(CONNECTION_OPEN, connection_open, 3, virtual_host, capabilities, insist),
    M(CONNECTION_OPEN_OK, connection_open_ok, 1, known_hosts),
    M(CONNECTION_CLOSE, connection_close, 4, reply_code, reply_text, class_id, method_id),
    M(CONNECTION_CLOSE_OK, connection_close_ok, 0, ),
    M(CONNECTION_BLOCKED, connection_blocked, 1, reason),
    M(CONNECTION_UNBLOCKED, connection_unblocked, 0, ),
    M(CHANNEL_OPEN, channel_open, 1, out_of_band),
    M(CHANNEL_OPEN_OK, channel_open_ok, 1, channel_id),
    M(CHANNEL_FLOW, channel_flow, 1, active),
    M(CHANNEL_FLOW_OK, channel_flow_ok, 1, active),
    M(CHANNEL_CLOSE, channel_close, 4, reply_code, reply_text, class_id, method_id),
    M(CHANNEL_CLOSE_OK, channel_close_ok, 0, ),
    M(ACCESS_REQUEST, access_request, 6, realm, exclusive, passive, active, write, read),
    M(ACCESS_REQUEST_OK, access_request_ok, 1, ticket),
    M(EXCHANGE_DECLARE, exchange_declare, 9, ticket, exchange, type, passive, durable, auto_delete, internal, nowait, arguments),
    M(EXCHANGE_DECLARE_OK, exchange_declare_ok, 0, ),
    M(EXCHANGE_DELETE, exchange_delete, 4, ticket, exchange, if_unused, nowait),
    M(EXCHANGE_DELETE_OK, exchange_delete_ok, 0, ),
    M(EXCHANGE_BIND, exchange_bind, 6, ticket, destination, source, routing_key, nowait, arguments),
    M(EXCHANGE_BIND_OK, exchange_bind_ok, 0, ),
    M(EXCHANGE_UNBIND, exchange_unbind, 6, ticket, destination, source, routing_key, nowait, arguments),
    M(EXCHANGE_UNBIND_OK, exchange_unbind_ok, 0, ),
    M(QUEUE_DECLARE, queue_declare, 8, ticket, queue, passive, durable, exclusive, auto_delete, nowait, arguments),
    M(QUEUE_DECLARE_OK, queue_declare_ok, 3, queue, message_count, consumer_count),
    M(QUEUE_BIND, queue_bind, 6, ticket, queue, exchange, routing_key, nowait, arguments),
    M(QUEUE_BIND_OK, queue_bind_ok, 0, ),
    M(QUEUE_PURGE, queue_purge, 3, ticket, queue, nowait),
    M(QUEUE_PURGE_OK, queue_purge_ok, 1, message_count),
    M(QUEUE_DELETE, queue_delete, 5, ticket, queue, if_unused, if_empty, nowait),
    M(QUEUE_DELETE_OK, queue_delete_ok, 1, message_count),
    M(QUEUE_UNBIND, queue_unbind, 5, ticket, queue, exchange, routing_key, arguments),
    M(QUEUE_UNBIND_OK, queue_unbind_ok, 0, ),
    M(BASIC_QOS, basic_qos, 3, prefetch_size, prefetch_count, global),
    M(BASIC_QOS_OK, basic_qos_ok, 0, ),
    M(BASIC_CONSUME, basic_consume, 8, ticket, queue, consumer_tag, no_local, no_ack, exclusive, nowait, arguments),
    M(BASIC_CONSUME_OK, basic_consume_ok, 1, consumer_tag),
    M(BASIC_CANCEL, basic_cancel, 2, consumer_tag, nowait),
    M(BASIC_CANCEL_OK, basic_cancel_ok, 1, consumer_tag),
    M(BASIC_PUBLISH, basic_publish, 5, ticket, exchange, routing_key, mandatory, immediate),
    M(BASIC_RETURN, basic_return, 4, reply_code, reply_text, exchange, routing_key),
    M(BASIC_DELIVER, basic_deliver, 5, consumer_tag, delivery_tag, redelivered, exchange, routing_key),
    M(BASIC_GET, basic_get, 3, ticket, queue, no_ack),
    M(BASIC_GET_OK, basic_get_ok, 5, delivery_tag, redelivered, exchange, routing_key, message_count),
    M(BASIC_GET_EMPTY, basic_get_empty, 1, cluster_id),
    M(BASIC_ACK, basic_ack, 2, delivery_tag, multiple),
    M(BASIC_REJECT, basic_reject, 2, delivery_tag, requeue),
    M(BASIC_RECOVER_ASYNC, basic_recover_async, 1, requeue),
    M(BASIC_RECOVER, basic_recover, 1, requeue),
    M(BASIC_RECOVER_OK, basic_recover_ok, 0, ),
    M(BASIC_NACK, basic_nack, 3, delivery_tag, multiple, requeue),
    M(CONFIRM_SELECT, confirm_select, 1, nowait),
    M(CONFIRM_SELECT_OK, confirm_select_ok, 0, ),
    M(TX_SELECT, tx_select, 0, ),
    M(TX_SELECT_OK, tx_select_ok, 0, ),
    M(TX_COMMIT, tx_commit, 0, ),
    M(TX_COMMIT_OK, tx_commit_ok, 0, ),
    M(TX_ROLLBACK, tx_rollback, 0, ),
    M(TX_ROLLBACK_OK, tx_rollback_ok, 0, ),
};
/* clang-format on */

const struct peer_field peer_properties[14] = {
    P(content_type), P(content_encoding), P(headers),   P(delivery_mode), P(priority), P(correlation_id), P(reply_to),
    P(expiration),   P(message_id),       P(timestamp), P(type),          P(user_id),  P(app_id),         P(cluster_id),
};

#define COUNT (sizeof methods / sizeof methods[0])

const struct peer_method *peer_at(size_t index) { return index < COUNT ? &methods[index] : NULL; }

const struct peer_method *peer_find(uint32_t id) {
    for (size_t i = 0; i < COUNT; i++) {
        if (methods[i].id == id) return &methods[i];
    }
    return NULL;
}

size_t peer_field_count(const struct peer_method *method) {
    size_t count = 0;
    while (count < PEER_FIELDS_MAX && method->fields[count].name != NULL) count++;
    return count;
}
