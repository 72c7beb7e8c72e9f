/*
 * Bring your own stream: lago speaks AMQP over a connection that somebody else has made. Here a command leads to the broker:
 *
 *   existing_stream amqp://user:password@broker/ ssh -W broker:5672 gateway
 *
 * The command's standard input and output become the link. Of the URL all but the way to the host counts; with amqps:// there is
 * TLS inside the tunnel, and the broker's certificate must be for that host.
 */
#include <lago.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

static void on_command_exit(uv_process_t *process, int64_t status, int signum) {
    (void)status, (void)signum;
    uv_close((uv_handle_t *)process, NULL);
}

/* Start the command on one end of a pair of sockets, and give the other end to a pipe of our loop. */
static int open_tunnel(uv_loop_t *loop, char **command, uv_process_t *process, uv_pipe_t *pipe) {
    uv_os_sock_t ends[2];
    int rc = uv_socketpair(SOCK_STREAM, 0, ends, UV_NONBLOCK_PIPE, 0);
    if (rc < 0) return rc;
    uv_stdio_container_t stdio[] = {
        { .flags = UV_INHERIT_FD, .data.fd = ends[1] },
        { .flags = UV_INHERIT_FD, .data.fd = ends[1] },
        { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
    };
    uv_process_options_t options = {
        .file = command[0], .args = command, .stdio = stdio, .stdio_count = 3, .exit_cb = on_command_exit
    };
    rc = uv_spawn(loop, process, &options);
    close(ends[1]); /* the command's alone: when it ends we must see the end of the stream */
    uv_pipe_init(loop, pipe, 0);
    if (rc == 0) rc = uv_pipe_open(pipe, ends[0]);
    return rc;
}

static void on_open(lago_connection_t *conn, void *data) {
    *(int *)data = 0;
    printf("connected by %s\n", lago_connection_endpoint(conn));
    lago_connection_close(conn, NULL);
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char why[1024];
    (void)conn, (void)data;
    lago_reason_format(reason, why, sizeof why);
    fprintf(stderr, "%s\n", why);
}

/* lago has closed the stream, and is done with its memory. */
static void free_stream(uv_stream_t *stream, void *data) {
    (void)data;
    free(stream);
}

int main(int argc, char **argv) {
    uv_loop_t *loop = uv_default_loop();
    uv_process_t process;
    lago_connection_t *conn;
    int exit_code = 1;
    if (argc < 3) return fprintf(stderr, "usage: %s amqp://user:password@host/ COMMAND [ARGUMENT]...\n", argv[0]), 2;
    uv_pipe_t *pipe = malloc(sizeof *pipe);
    int rc = pipe ? open_tunnel(loop, argv + 2, &process, pipe) : UV_ENOMEM;
    if (rc < 0) return fprintf(stderr, "%s: %s\n", argv[2], uv_strerror(rc)), 1;

    /* from a successful lago_connect on the stream is lago's: its data, reading, writing, and closing */
    lago_connection_options_t options = {
        .stream = (uv_stream_t *)pipe,
        .free_stream = free_stream,
        .on_open = on_open,
        .on_open_error = on_open_error,
        .data = &exit_code,
    };
    rc = lago_connect(loop, argv[1], &options, &conn);
    if (rc < 0) return 1; /* the log says why, and the stream is still ours */
    uv_run(loop, UV_RUN_DEFAULT);
    lago_connection_free(conn);
    return exit_code;
}
