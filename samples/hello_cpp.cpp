/*
 * lago from C++17: a message goes to a queue of our own and comes back.
 *
 *   hello_cpp    the broker is that of AMQP_URL, default amqp://guest:guest@localhost/
 *
 * C++ has no compound literals, so arguments are structs that are filled member by member; `{}` makes all the rest its default.
 * A callback is a plain function: a lambda that captures nothing is one, and `data` carries what it needs. No exception may leave
 * a callback.
 */
#include <cstdio>
#include <lago.h>
#include <memory>
#include <string>
#include <string_view>
#include <uv.h>

namespace {

/* unique_ptr takes care of C's handles, given the function that frees them. */
template <auto release> struct Release {
    template <typename T> void operator()(T *handle) const { release(handle); }
};
using Parameters = std::unique_ptr<lago_parameters_t, Release<lago_parameters_free>>;
using Connection = std::unique_ptr<lago_connection_t, Release<lago_connection_free>>;

struct Hello {
    bool confirmed = false;
    bool received = false;
    bool failed = false;

    void fail(const std::string &why) {
        if (!failed) std::fprintf(stderr, "hello_cpp: %s\n", why.c_str());
        failed = true;
    }

    /* A reason says by itself what was going on. An end that we asked for is no failure. */
    void fail(const lago_reason_t *reason) {
        if (reason->code == LAGO_ECLOSED) return;
        std::string why(lago_reason_format(reason, nullptr, 0), '\0');
        lago_reason_format(reason, why.data(), why.size() + 1); /* its NUL goes where std::string has one */
        fail(why);
    }

    void close_when_done(lago_channel_t *ch) const {
        if (confirmed && received) lago_connection_close(lago_channel_connection(ch), nullptr);
    }
};

void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    auto *hello = static_cast<Hello *>(data);
    std::printf("%s\n", lago_publish_outcome_name(result->outcome));
    hello->confirmed = result->outcome == LAGO_PUBLISH_CONFIRMED;
    hello->close_when_done(ch);
}

void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    auto *hello = static_cast<Hello *>(data);
    std::string_view body(static_cast<const char *>(message->body.data), message->body.size);
    lago_value_t lucky_number{};
    lago_table_get(&message->properties->headers, "lucky number", &lucky_number);
    std::printf("received %.*s, lucky number %d\n", static_cast<int>(body.size()), body.data(),
                static_cast<int>(lucky_number.as.integer));
    lago_basic_ack(ch, message->delivery_tag, 0);
    hello->received = true;
    hello->close_when_done(ch);
}

/* The broker has made a name for the queue; the default exchange takes a message to the queue that the routing key names. */
void on_queue_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    auto *hello = static_cast<Hello *>(data);
    if (reason) return hello->fail(reason);

    const lago_field_t headers[] = { lago_field_i32("lucky number", 7), lago_field_str("language", "C++17") };
    const std::string_view body = "Hello World!";
    lago_properties_t properties{};
    properties.content_type = "text/plain";
    properties.headers = LAGO_TABLE_OF(headers);
    lago_basic_publish_t publish{};
    publish.routing_key = ok->queue.data;
    publish.mandatory = true;
    publish.properties = &properties;
    publish.body = { body.data(), body.size() };
    int64_t rc = lago_basic_publish(ch, &publish, on_outcome, hello);
    if (rc < 0) hello->fail(lago_strerror(static_cast<int>(rc)));
}

/* All is issued at once, before the connection is open; lago sends it in this order as soon as it can. */
void start(lago_connection_t *conn, Hello *hello) {
    lago_channel_options_t options{};
    options.data = hello;
    options.on_close = [](lago_channel_t *ch, const lago_reason_t *reason, void *data) {
        static_cast<Hello *>(data)->fail(reason);
        lago_connection_close(lago_channel_connection(ch), nullptr);
    };
    lago_channel_t *ch = nullptr;
    lago_channel_open(conn, &options, &ch);
    lago_confirm_select(ch, nullptr, nullptr, nullptr);

    /* a table is an array of fields, built by lago_field_str() and its sisters */
    const lago_field_t arguments[] = { lago_field_str("x-overflow", "reject-publish"), lago_field_i32("x-max-length", 10) };
    lago_queue_declare_t queue{};
    queue.exclusive = true;
    queue.arguments = LAGO_TABLE_OF(arguments);
    lago_queue_declare(ch, &queue, on_queue_declared, hello);

    lago_basic_consume_t consume{};
    consume.on_message = on_message;
    consume.data = hello;
    lago_basic_consume(ch, &consume, nullptr, nullptr); /* names no queue: the one declared last */

    /* one check for the whole row: the channel remembers its first call that failed; there is none if even open failed */
    int rc = ch ? lago_channel_error(ch) : LAGO_ENOMEM;
    if (rc == 0) return;
    hello->fail(lago_strerror(rc));
    lago_connection_close(conn, nullptr);
}

int run(uv_loop_t *loop) {
    Hello hello;
    lago_parameters_t *read = nullptr;
    lago_reason_t reason{};
    if (lago_parameters_from_environment(&read, &reason) < 0) return hello.fail(&reason), 1;
    Parameters parameters(read);

    lago_connection_options_t options{};
    options.parameters = parameters.get();
    options.data = &hello;
    options.on_open_error = [](lago_connection_t *, const lago_reason_t *why, void *data) {
        static_cast<Hello *>(data)->fail(why);
    };
    options.on_close = [](lago_connection_t *, const lago_reason_t *why, void *data) { static_cast<Hello *>(data)->fail(why); };
    lago_connection_t *conn = nullptr;
    int rc = lago_connect(loop, nullptr, &options, &conn);
    if (rc < 0) return hello.fail(lago_strerror(rc)), 1;
    Connection connection(conn);

    start(conn, &hello);
    uv_run(loop, UV_RUN_DEFAULT);
    return hello.confirmed && hello.received && !hello.failed ? 0 : 1;
}

} // namespace

int main() {
    uv_loop_t loop;
    if (uv_loop_init(&loop) < 0) return 1;
    int code = run(&loop);
    return uv_loop_close(&loop) == 0 ? code : 1;
}
