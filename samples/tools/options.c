/* What all tools read from the command line, the environment and an --authfile. Knows no loop and no connection. */
#include "options.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_S 30     /* long for a broker that works, short for a script that waits */
#define TIMEOUT_MAX_S     864000 /* ten days; in milliseconds this still fits into 32 bits */
#define AUTH_LINE_MAX     1024   /* AMQP has no limit for passwords; tokens of OAuth are that long */

static struct {
    char *url, *server, *vhost, *username, *password, *authfile;
    char *cacert, *key, *cert;
    int port, heartbeat, timeout_s;
    int ssl;
} given = { .port = -1, .heartbeat = -1, .timeout_s = TIMEOUT_DEFAULT_S };

enum { OPTION_URL, OPTION_SERVER }; /* where they are in the table */

struct poptOption connection_options[] = {
    { "url", 'u', POPT_ARG_STRING, &given.url, 0, "the AMQP URL to connect to; default: AMQP_URL of the environment",
      "amqp://..." },
    { "server", 's', POPT_ARG_STRING, &given.server, 0, "the AMQP server to connect to", "hostname" },
    { "port", '\0', POPT_ARG_INT, &given.port, 0, "the port to connect on", "port" },
    { "vhost", '\0', POPT_ARG_STRING, &given.vhost, 0, "the vhost to use when connecting", "vhost" },
    { "username", '\0', POPT_ARG_STRING, &given.username, 0, "the username to login with", "username" },
    { "password", '\0', POPT_ARG_STRING, &given.password, 0, "the password to login with; better in AMQP_URL or --authfile",
      "password" },
    { "authfile", '\0', POPT_ARG_STRING, &given.authfile, 0, "path to file containing username/password for authentication",
      "file" },
    { "heartbeat", '\0', POPT_ARG_INT, &given.heartbeat, 0, "heartbeat interval in seconds, 0 to disable; default: the broker's",
      "heartbeat" },
    { "timeout", '\0', POPT_ARG_INT, &given.timeout_s, 0,
      "how many seconds the broker may take to answer, 0 for any time; default 30", "seconds" },
    { "ssl", '\0', POPT_ARG_VAL, &given.ssl, 1, "connect over SSL/TLS, as amqps:// does", NULL },
    { "cacert", '\0', POPT_ARG_STRING, &given.cacert, 0, "path to the CA certificate file; default: the system's store",
      "cacert.pem" },
    { "key", '\0', POPT_ARG_STRING, &given.key, 0, "path to the client private key file", "key.pem" },
    { "cert", '\0', POPT_ARG_STRING, &given.cert, 0, "path to the client certificate file", "cert.pem" },
    POPT_TABLEEND,
};

static const char *program = "lago";
static char auth_username[AUTH_LINE_MAX], auth_password[AUTH_LINE_MAX];
static char **copies;          /* popt reads a copy of argv: argv itself is about to be overwritten */
static const char **arguments; /* the same, as popt wants it */
static poptContext context;

void options_letters(char url, char server) {
    connection_options[OPTION_URL].shortName = url;
    connection_options[OPTION_SERVER].shortName = server;
}

const char *options_program(void) { return program; }

uint32_t options_timeout_ms(void) { return (uint32_t)given.timeout_s * 1000; }

void options_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---------------------------------------------------------------- passwords in argv */

static void overwrite(char *from, const char *to) {
    for (volatile char *at = from; at < to; at++) *at = 'x';
}

/*
 * The password of a URL is between the colon of its user and the last @; more may be in its query, of a key or of a proxy. What is
 * no URL may still be meant as one.
 */
static void hide_in_url(char *url) {
    char *scheme = strstr(url, "://");
    char *user = scheme ? scheme + 3 : url;
    char *colon = strchr(user, ':'), *at = strrchr(user, '@'), *query = strchr(user, '?');
    if (colon && at && at > colon) overwrite(colon + 1, at);
    if (scheme && query) overwrite(query + 1, query + strlen(query));
}

/* Whether this is a cluster of short options that ends with -u, or has its argument in it. */
static char *argument_of_u(char *text) {
    char letter = connection_options[OPTION_URL].shortName;
    char *u = text[0] == '-' && text[1] != '-' && letter ? strchr(text, letter) : NULL;
    return u ? u + 1 : NULL;
}

/* More than necessary may be hidden, in a body that looks like this: by now popt has copied it. */
static void hide(char **argv, int at, int end) {
    char *text = argv[at], *next = at + 1 < end ? argv[at + 1] : NULL;
    char *attached = argument_of_u(text);
    if (strncmp(text, "--password=", 11) == 0) overwrite(text + 11, text + strlen(text));
    if (strcmp(text, "--password") == 0 && next) overwrite(next, next + strlen(next));
    if (strncmp(text, "--url=", 6) == 0) hide_in_url(text + 6);
    if (attached && *attached) hide_in_url(attached);
    if ((strcmp(text, "--url") == 0 || (attached && !*attached)) && next) hide_in_url(next);
    if (strstr(text, "://")) hide_in_url(text);
}

static void copy_arguments(int argc, char **argv) {
    copies = calloc((size_t)argc + 1, sizeof *copies);
    arguments = calloc((size_t)argc + 1, sizeof *arguments);
    if (!copies || !arguments) options_fail("out of memory");
    for (int i = 0; i < argc; i++) {
        arguments[i] = copies[i] = strdup(argv[i]);
        if (!copies[i]) options_fail("out of memory");
    }
}

/* ---------------------------------------------------------------- the command line */

static void check_numbers(void) {
    if (given.port != -1 && (given.port < 1 || given.port > 65535)) options_fail("--port must be a number from 1 to 65535");
    if (given.heartbeat < -1 || given.heartbeat > 65535) options_fail("--heartbeat must be a number from 0 to 65535");
    if (given.timeout_s < 0 || given.timeout_s > TIMEOUT_MAX_S)
        options_fail("--timeout must be a number from 0 to %d", TIMEOUT_MAX_S);
}

/* What was mistyped may stand beside a password: --pasword=..., or a URL without -u. */
static void fail_about(const char *text, const char *why) {
    static char shown[128];
    snprintf(shown, sizeof shown, "%s", text);
    if (strncmp(shown, "--", 2) == 0) shown[strcspn(shown, "=")] = '\0';
    hide_in_url(shown);
    options_fail("%s: %s (--help tells more)", shown, why);
}

const char *const *options_read(int argc, char **argv, struct poptOption *table, const char *operands) {
    if (argc > 0) program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    copy_arguments(argc, argv);
    context = poptGetContext(program, argc, arguments, table, POPT_CONTEXT_POSIXMEHARDER);
    if (!context) options_fail("out of memory");
    poptSetOtherOptionHelp(context, operands ? operands : "[OPTIONS]...");
    int rc = poptGetNextOpt(context);

    const char **rest = poptGetArgs(context);
    int rest_count = 0;
    while (rest && rest[rest_count]) rest_count++;
    int option_count = operands ? argc - rest_count : argc; /* a command is not ours to change */
    for (int i = 1; i < option_count; i++) {
        hide(argv, i, option_count);
        hide(copies, i, option_count);
    }
    if (rc < -1) fail_about(poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(rc));
    if (rest_count > 0 && !operands) fail_about(rest[0], "unexpected operand");
    check_numbers();
    return rest_count > 0 ? rest : NULL;
}

/* ---------------------------------------------------------------- who logs in */

static void read_auth_line(FILE *file, const char *prefix, char *value, const char *what) {
    size_t skip = strlen(prefix);
    char line[AUTH_LINE_MAX];
    if (!fgets(line, sizeof line, file) || strncmp(line, prefix, skip) != 0)
        options_fail("%s: malformed auth file (missing %s)", given.authfile, what);
    size_t length = strcspn(line, "\n");
    if (line[length] != '\n' && !feof(file)) options_fail("%s: malformed auth file (%s too long)", given.authfile, what);
    line[length] = '\0';
    memcpy(value, line + skip, length - skip + 1);
    overwrite(line, line + sizeof line);
}

/* Two lines, "username:..." and "password:...". */
static void read_authfile(void) {
    FILE *file = fopen(given.authfile, "r");
    if (!file) options_fail("cannot read the auth file %s: %s", given.authfile, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* its buffer could not be wiped */
    read_auth_line(file, "username:", auth_username, "username");
    read_auth_line(file, "password:", auth_password, "password");
    if (fgetc(file) != EOF) options_fail("%s: malformed auth file (trailing data)", given.authfile);
    fclose(file);
}

static void check_conflicts(void) {
    static const char both[] = "--%s and --%s options cannot be used at the same time";
    const struct {
        const char *name;
        bool is_given;
    } parts[] = {
        { "server", given.server },     { "port", given.port >= 0 },    { "vhost", given.vhost },
        { "username", given.username }, { "password", given.password }, { "authfile", given.authfile },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (given.url && parts[i].is_given) options_fail(both, parts[i].name, "url");
    }
    if (given.authfile && given.username) options_fail(both, "username", "authfile");
    if (given.authfile && given.password) options_fail(both, "password", "authfile");
}

/* The port may stand behind the host, as amqp-tools allow it; what has more than one colon is an IPv6 address. */
static void set_server(lago_parameters_t *parameters) {
    char *colon = strchr(given.server, ':');
    parameters->host = given.server;
    if (given.server[0] == '/') return; /* the path of a Unix domain socket */
    if (!colon || colon != strrchr(given.server, ':')) return;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (given.port >= 0) options_fail("both --server and --port options specify server port");
    if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > 65535)
        options_fail("bad server port number in '%s'", given.server);
    *colon = '\0';
    parameters->port = (uint16_t)port;
}

/* A user given here does not go with a password from elsewhere. */
static void set_login(lago_credentials_t *credentials) {
    if (given.authfile) {
        read_authfile();
        credentials->username = auth_username;
        credentials->password = auth_password;
    }
    if (given.username) {
        credentials->username = given.username;
        credentials->password = "guest";
    }
    if (given.password) credentials->password = given.password;
}

static void set_times(lago_parameters_t *parameters) {
    uint32_t timeout_ms = options_timeout_ms();
    if (given.heartbeat >= 0) parameters->heartbeat_s = given.heartbeat == 0 ? LAGO_HEARTBEAT_OFF : given.heartbeat;
    if (timeout_ms == 0) return;
    parameters->connect_deadline_ms = timeout_ms;
    parameters->operation_timeout_ms = timeout_ms;
    parameters->close_timeout_ms = timeout_ms;
    if (parameters->blocked_connection_timeout_ms == 0) parameters->blocked_connection_timeout_ms = timeout_ms;
}

/* ---------------------------------------------------------------- TLS */

static bool is_set(const char *variable) {
    const char *value = getenv(variable);
    return value && *value;
}

/* Who names a certificate wants TLS; without it the password would be readable on its way. */
static bool wants_tls(void) { return given.ssl || given.cacert || given.key || given.cert; }

/* A URL that says amqp:// is not overruled: one of the two must be a mistake, and we do not know which. */
static void turn_tls_on(lago_parameters_t *parameters) {
    static const char contradiction[] = "the --ssl option specifies an SSL connection but %s does not";
    if (given.url) options_fail(contradiction, "the --url option");
    if (is_set("AMQP_URL")) options_fail(contradiction, "AMQP_URL");
    if (!is_set("RABBITMQ_PORT")) parameters->port = 0; /* the default, which is another one now */
}

static void set_tls(lago_parameters_t *parameters) {
    static lago_tls_options_t tls; /* the parameters point to it */
    if (!wants_tls()) return;
    if (parameters->tls)
        tls = *parameters->tls;
    else
        turn_tls_on(parameters);
    if (given.cacert) tls.ca_file = given.cacert;
    if (given.cert) tls.certificate_file = tls.key_file = given.cert; /* a file may hold both */
    if (given.key) tls.key_file = given.key;
    if (given.key && !tls.certificate_file) options_fail("the --key option needs --cert, the certificate that it is for");
    parameters->tls = &tls;
}

/* ---------------------------------------------------------------- all of it */

static int read_base(lago_parameters_t **parameters, lago_reason_t *reason) {
    if (given.url) return lago_parameters_parse(given.url, parameters, reason);
    if (!given.server) return lago_parameters_from_environment(parameters, reason);
    return lago_parameters_parse(wants_tls() ? "amqps://localhost/" : "amqp://localhost/", parameters, reason);
}

static void set_port(lago_parameters_t *parameters) {
    if (parameters->endpoint_count) options_fail("--port does not say of which of AMQP_URL's hosts it is the port");
    parameters->port = (uint16_t)given.port;
}

int options_parameters(lago_parameters_t **parameters, lago_reason_t *reason) {
    check_conflicts();
    int rc = read_base(parameters, reason);
    if (rc < 0) return rc;
    if (given.server) set_server(*parameters);
    set_tls(*parameters);
    if (given.port >= 0) set_port(*parameters);
    if (given.vhost) (*parameters)->virtual_host = given.vhost;
    set_login(&(*parameters)->credentials);
    set_times(*parameters);
    (*parameters)->connection_name = program;
    return 0;
}

void options_forget(void) {
    if (given.password) overwrite(given.password, given.password + strlen(given.password));
    if (given.url) overwrite(given.url, given.url + strlen(given.url));
    overwrite(auth_password, auth_password + sizeof auth_password);
}
