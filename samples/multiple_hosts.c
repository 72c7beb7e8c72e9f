/*
 * pika's example of several hosts, with lago: connect to whichever node of a cluster lets us in.
 *
 *   multiple_hosts amqp://user:password@host1,host2:5673,host3/ [URL]...
 *
 * Hosts of one URL share everything but their names and ports; further URLs may have users, virtual hosts and TLS of their own.
 * lago tries them in a random order, three rounds of all at most. Any failure moves on to the next one: no such name, nobody
 * listening, silence, a bad certificate, a refused login, no such virtual host.
 */
#include <lago.h>
#include <stdio.h>
#include <uv.h>

#define URLS_MAX 64

/* Optional: to watch what is going on. */
static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t attempt, void *data) {
    (void)conn, (void)data;
    printf("attempt %u: %s\n", (unsigned)attempt, lago_phase_name(phase));
}

static void on_open(lago_connection_t *conn, void *data) {
    *(int *)data = 0;
    printf("connected to %s\n", lago_connection_endpoint(conn));
    lago_connection_close(conn, NULL);
}

/* All of them have failed. The reason is that of the last attempt; the others have been kept. */
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char why[1024];
    uint32_t number;
    (void)reason, (void)data;
    for (size_t i = 0; lago_connection_attempt(conn, i, &number); i++) {
        const lago_reason_t *attempt = lago_connection_attempt(conn, i, NULL);
        lago_reason_format(attempt, why, sizeof why);
        fprintf(stderr, "attempt %u failed (%s): %s\n", (unsigned)number, lago_phase_name(attempt->phase), why);
    }
}

int main(int argc, char **argv) {
    lago_parameters_t list[URLS_MAX], *parsed[URLS_MAX];
    lago_reason_t reason;
    lago_connection_t *conn;
    size_t count = 0;
    int exit_code = 1;
    if (argc < 2 || argc > URLS_MAX) return fprintf(stderr, "usage: %s amqp://user:password@host1,host2/ [URL]...\n", argv[0]), 2;
    for (; argv[1 + count]; count++) {
        if (lago_parameters_parse(argv[1 + count], &parsed[count], &reason) < 0)
            return fprintf(stderr, "%s (%s)\n", reason.detail, reason.hint), 2;
        list[count] = *parsed[count]; /* a struct of values and pointers: what they point to is still `parsed`'s */
    }
    /* how to go through the list is said by its first entry, also in the URL: ?shuffle_endpoints=true&connection_attempts=3 ... */
    list[0].shuffle_endpoints = true;
    list[0].connection_attempts = 3;
    list[0].retry_delay_ms = 500;
    list[0].retry_delay_max_ms =
        10000; /* between rounds: up to 0.5 s, 1 s, 2 s ... at random, so that not all clients come at once */
    list[0].connect_deadline_ms = 60000;

    uv_loop_t *loop = uv_default_loop();
    lago_connection_options_t options = {
        .parameters = list,
        .parameters_count = count,
        .on_phase = on_phase,
        .on_open = on_open,
        .on_open_error = on_open_error,
        .data = &exit_code,
    };
    int rc = lago_connect(loop, NULL, &options, &conn); /* copies all that it is given */
    for (size_t i = 0; i < count; i++) lago_parameters_free(parsed[i]);
    if (rc < 0) return 1;
    uv_run(loop, UV_RUN_DEFAULT);
    lago_connection_free(conn);
    return exit_code;
}
