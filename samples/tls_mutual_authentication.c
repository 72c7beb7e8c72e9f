/*
 * pika's example of this name, with lago: TLS where both sides show a certificate, and the client's is its login.
 *
 *   tls_mutual_authentication amqps://host/ ca.pem client.pem client.key
 *
 * EXTERNAL means: no password, the broker takes the user from the certificate. RabbitMQ needs the plugin
 * rabbitmq_auth_mechanism_ssl for that, and `auth_mechanisms.1 = EXTERNAL` and `ssl_options.verify = verify_peer` in its
 * configuration. With another order, "PLAIN EXTERNAL", the password of the URL would be preferred.
 *
 * The passphrase of an encrypted key is taken from KEY_PASSPHRASE.
 */
#include <lago.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* lago never asks on a terminal. Called by lago_connect, if the key is encrypted; what is put into the buffer is wiped. */
static int on_passphrase(char *buffer, size_t size, void *data) {
    const char *passphrase = getenv("KEY_PASSPHRASE");
    (void)data;
    if (!passphrase || strlen(passphrase) > size) return -1;
    memcpy(buffer, passphrase, strlen(passphrase));
    return (int)strlen(passphrase);
}

static void on_open(lago_connection_t *conn, void *data) {
    lago_tls_info_t tls = lago_connection_tls(conn);
    *(int *)data = 0;
    printf("logged in by certificate at %s, %s, %s\n", lago_connection_endpoint(conn), tls.version, tls.cipher);
    lago_connection_close(conn, NULL);
}

/* The broker tells little of what it dislikes: "no certificate" is an alert, "no such user" a refused login. */
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char why[1024];
    (void)conn, (void)data;
    lago_reason_format(reason, why, sizeof why);
    fprintf(stderr, "%s\n", why);
}

int main(int argc, char **argv) {
    lago_parameters_t *parameters;
    lago_connection_t *conn;
    lago_reason_t reason;
    int exit_code = 1;
    if (argc != 5) return fprintf(stderr, "usage: %s amqps://host/ ca.pem client.pem client.key\n", argv[0]), 2;
    if (lago_parameters_parse(argv[1], &parameters, &reason) < 0)
        return fprintf(stderr, "%s (%s)\n", reason.detail, reason.hint), 2;
    lago_tls_options_t tls = {
        .ca_file = argv[2],          /* whom we trust */
        .certificate_file = argv[3], /* who we are, with the certificates between us and the broker's CA, if there are some */
        .key_file = argv[4],
        .passphrase_cb = on_passphrase,
    };
    parameters->tls = &tls;
    parameters->credentials.mechanisms = "EXTERNAL";

    uv_loop_t *loop = uv_default_loop();
    lago_connection_options_t options = {
        .parameters = parameters,
        .on_open = on_open,
        .on_open_error = on_open_error,
        .data = &exit_code,
    };
    int rc = lago_connect(loop, NULL, &options, &conn); /* a key that does not fit its certificate is found here, and logged */
    lago_parameters_free(parameters);
    if (rc < 0) return 1;
    uv_run(loop, UV_RUN_DEFAULT);
    lago_connection_free(conn);
    return exit_code;
}
