/*
 * rabbitmq-c's decoder without sockets: bench-micro-rabbitmqc decode COUNT
 *
 * Deliveries of 256 bytes from memory, as in micro.c, by the call under all others of rabbitmq-c.
 */
#include "report.h"
#include "wire.h"
#include <amqp.h>
#include <amqp_framing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SIZE    256u
#define BATCH        200u
#define MESSAGE_SIZE 512u

static uint8_t input[BATCH * MESSAGE_SIZE];
static size_t input_size;
static amqp_connection_state_t conn;
static uint64_t received;

static void die(const char *what) {
    fprintf(stderr, "bench-micro-rabbitmqc: %s\n", what);
    exit(1);
}

static uint8_t *put_delivery(uint8_t *at, uint64_t tag) {
    uint8_t text[128], body[BODY_SIZE] = { 0 };
    uint8_t *end = put8(put64(put_shortstr(text, "ctag1.0"), tag), 0);
    end = put_shortstr(put_shortstr(end, "amq.direct"), "bench");
    at = put_method(at, 1, BASIC_DELIVER, text, (size_t)(end - text));
    at = put_header(at, 1, BODY_SIZE, "application/octet-stream");
    return put8(put_octets(put_frame(at, FRAME_BODY, 1, BODY_SIZE), body, BODY_SIZE), FRAME_END);
}

static void prepare(void) {
    static char greeting[] = "AMQP\0\0\x9\x1";
    amqp_frame_t frame;
    uint8_t *at = input;
    conn = amqp_new_connection();
    if (conn == NULL || amqp_handle_input(conn, (amqp_bytes_t){ 8, greeting }, &frame) < 0) die("no connection");
    if (amqp_tune_connection(conn, 2047, 131072, 0) != 0) die("no memory");
    for (uint64_t tag = 1; tag <= BATCH; tag++) at = put_delivery(at, tag);
    input_size = (size_t)(at - input);
}

/* The one function that is measured. */
__attribute__((noinline)) static void work(void) {
    amqp_bytes_t rest = { input_size, input };
    while (rest.len > 0) {
        amqp_frame_t frame;
        int used = amqp_handle_input(conn, rest, &frame);
        if (used <= 0) die("that is no AMQP");
        rest.bytes = (uint8_t *)rest.bytes + used;
        rest.len -= (size_t)used;
        if (frame.frame_type != AMQP_FRAME_BODY) continue;
        received += frame.payload.body_fragment.len == BODY_SIZE;
        amqp_maybe_release_buffers(conn);
    }
}

int main(int argc, char **argv) {
    uint64_t wanted = argc == 3 && strcmp(argv[1], "decode") == 0 ? strtoull(argv[2], NULL, 10) : 0, done = 0;
    double spent = 0;
    if (wanted == 0) {
        fprintf(stderr, "usage: bench-micro-rabbitmqc decode COUNT\n");
        return 2;
    }
    prepare();
    for (; done < wanted; done += BATCH) {
        double begin = bench_now();
        work();
        spent += bench_now() - begin;
    }
    if (received != done) die("messages are missing");
    printf("job=decode count=%llu ns=%.2f\n", (unsigned long long)done, spent * 1e9 / (double)done);
    amqp_destroy_connection(conn);
    return 0;
}
