/*
 * Connection parameters: pika's ConnectionParameters under the same names, times with their unit appended, and its defaults.
 *
 * Zero means the default everywhere; where 0 is a value of its own a named sentinel stands for it.
 */
#ifndef LAGO_PARAMETERS_H
#define LAGO_PARAMETERS_H

#include <lago/error.h>
#include <lago/login.h>
#include <lago/table.h>
#include <lago/tls.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAGO_HEARTBEAT_OFF          (-1)       /* heartbeat_s: no heartbeats, whatever the broker proposes */
#define LAGO_BROKER_HEARTBEAT_MAX_S 60         /* without heartbeat_s: so much of what the broker proposes */
#define LAGO_NO_TIMEOUT             UINT32_MAX /* any *_timeout_ms: wait for ever */
#define LAGO_NO_DELAY               UINT32_MAX /* retry_delay_ms: try again at once */

/**
 * Who logs in. Copied by lago_connect; lago wipes its copies when the connection is freed. A password that must not stay in memory
 * comes from on_login, and is kept nowhere.
 */
typedef struct lago_credentials {
    const char *username; /* default "guest" */
    const char *password; /* default "guest" with the default user, else ""; not looked at with on_login */
    /*
     * Which login mechanisms may be used, as names with spaces between them: the first that the broker offers is used. lago's own
     * are PLAIN, AMQPLAIN and EXTERNAL (the client certificate says who it is: tls.certificate_file; no password is sent); those of
     * own_mechanisms may stand there too. Default: "PLAIN AMQPLAIN"; with own_mechanisms only these.
     */
    const char *mechanisms;
    const lago_mechanism_t *own_mechanisms; /* of the caller; those that `mechanisms` does not name come first, in their order */
    size_t own_mechanism_count;             /* at most 16 */
    lago_login_cb on_login;                 /* asked for PLAIN and AMQPLAIN at every attempt, and for new tokens (login.h) */
    void *login_data;
} lago_credentials_t;

/**
 * Socket options, set before connecting; 0 leaves the system's value. Names and meaning as tcp(7). user_timeout_ms ends links
 * whose peer lives but does not read for so long, as RabbitMQ does under an alarm: write_timeout_ms knows the difference.
 */
typedef struct lago_tcp_options {
    uint32_t keepidle_s; /* any of the three turns keepalive on, as in pika */
    uint32_t keepintvl_s;
    uint32_t keepcnt;
    uint32_t user_timeout_ms;
    bool keepalive;  /* on, with the system's times */
    bool no_nodelay; /* leave Nagle's algorithm on: lago writes once per turn of the loop, so it rarely helps */
} lago_tcp_options_t;

/** A place where the broker, or another node of its cluster, can be reached. */
typedef struct lago_endpoint {
    const char *host; /* a name, an IPv4 or IPv6 address, or the path of a Unix domain socket, which begins with '/' */
    uint16_t port;    /* default 5672, with TLS 5671 */
} lago_endpoint_t;

typedef enum lago_proxy_type { LAGO_PROXY_NONE, LAGO_PROXY_SOCKS5, LAGO_PROXY_HTTP } lago_proxy_type_t;

/** A proxy in front of the broker: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110, 9.3.6). It looks the broker's name up. */
typedef struct lago_proxy {
    lago_proxy_type_t type;
    const char *host;
    uint16_t port;        /* default 1080 for SOCKS5, 8080 for HTTP */
    const char *username; /* default: none is given. Both at most 255 bytes */
    const char *password;
} lago_proxy_t;

/**
 * Chooses the heartbeat when the broker's proposal is known.
 *
 * @param server_heartbeat_s  What the broker proposes, 0 for none.
 * @param data                `heartbeat_data`.
 * @return The interval in seconds, 0 for none. Called from the loop, inside the handshake; must not call lago.
 */
typedef uint16_t (*lago_heartbeat_cb)(uint16_t server_heartbeat_s, void *data);

/** How to reach a broker, and how to behave there. Strings are borrowed by a call that takes them, and copied by lago_connect. */
typedef struct lago_parameters {
    const char *host;         /* name, address, or path of a Unix domain socket (see lago_endpoint_t); default "localhost" */
    uint16_t port;            /* default 5672, with TLS 5671 */
    const char *virtual_host; /* default "/" */
    lago_credentials_t credentials;
    uint16_t channel_max; /* highest channel number wanted; default 65535 */
    uint32_t frame_max;   /* largest frame in bytes, 4096 or more; default 131072 */
    /*
     * Default: the broker's, at most LAGO_BROKER_HEARTBEAT_MAX_S; 1 to 65535 wins over the broker's; LAGO_HEARTBEAT_OFF. A broker that
     * sends nothing at all for 1.05 intervals is taken as dead (RabbitMQ beats every half interval): LAGO_EHEARTBEAT, at the latest
     * after 1.1. With heartbeats or without, a frame that has begun must get on: less than 1 KiB of it in 30 s, or in an interval if
     * that is longer, ends the link (501, LAGO_EPROTOCOL). So does a flood of frames that bring nothing: 10000 at once and 100 a
     * second are let pass (506).
     */
    int32_t heartbeat_s;
    lago_heartbeat_cb heartbeat_cb; /* if set, decides instead of heartbeat_s */
    void *heartbeat_data;
    uint32_t connection_attempts; /* rounds over all endpoints; default 1 */
    uint32_t retry_delay_ms;      /* between rounds; default 2000 */
    uint32_t socket_timeout_ms;   /* TCP connect: nobody has answered so long after the last address was tried; default 10000 */
    uint32_t stack_timeout_ms;    /* a lookup; and an address, from TCP to connection.open-ok; default 15000 */
    uint32_t connect_deadline_ms; /* all of it, from lago_connect to connection.open-ok; default none */
    const char *locale;           /* default "en_US" */
    uint32_t blocked_connection_timeout_ms; /* blocked longer than this: the link is dropped, LAGO_EBLOCKED; default none */
    lago_table_t client_properties;         /* merged over lago's own; an entry of the same name replaces lago's */
    const char *connection_name;            /* shown by RabbitMQ's management; default none */
    lago_tcp_options_t tcp_options;
    /* beyond pika */
    const lago_tls_options_t *tls; /* NULL: plain TCP. Never falls back */
    /*
     * Further places, tried behind host and port in each round; everything else holds for them too. A failure of any kind moves
     * on to the next: lookup, refusal, TLS, login, virtual host.
     */
    const lago_endpoint_t *endpoints;
    size_t endpoint_count;     /* at most 64 */
    bool shuffle_endpoints;    /* each round tries all, the first one included, in a random order */
    lago_proxy_t proxy;        /* default: none. Not for Unix domain sockets */
    const char *local_address; /* IPv4 or IPv6 address to connect from; default: the system's choice */
    uint32_t
        retry_delay_max_ms; /* pauses double up to this, and each is a random part of that ("full jitter"); default: constant */
    /*
     * Open in one round trip: log in, open, and say what waits (channels, declares of named queues, binds, consumes; not publishes
     * and gets) in the first write, as RabbitMQ allows. Only to an endpoint that a connection of the same `context` with fast_open
     * has opened ordinarily before, over verified TLS, a Unix socket or the loopback, without a proxy, by user and password or by
     * EXTERNAL. If anything is not as it was then, an ordinary opening on a new link follows, and tells the cause; so heartbeat_cb
     * is called more than once.
     */
    bool fast_open;
    uint32_t resolve_timeout_ms;   /* looking a name up; default 10000 */
    uint32_t write_timeout_ms;     /* bytes that the broker does not take, also in the kernel, and no
                                      progress; found within 1.25 of it. Default 2 x heartbeat, without heartbeats 120 s */
    uint32_t close_timeout_ms;     /* from a close to its end; default 10000 */
    uint32_t operation_timeout_ms; /* for operations that give none of their own; default none */
    uint64_t message_size_max;     /* a larger message ends its channel with 311, but not one for on_body; default 128 MiB */
    /*
     * Memory for messages that are coming in, of all channels together, and for what those that grow have grown from. One that would
     * exceed it ends its channel with 311 (LAGO_EMSGSIZE); alone each one fits. Reading goes on, because only what still comes can
     * finish the others. What was told is not counted; what paused consumers hold has a limit of its own (LAGO_HELD_SIZE_MAX). At
     * least message_size_max; default twice that.
     */
    uint64_t assembly_size_max;
    /*
     * Unsent bytes from which a publish is LAGO_EAGAIN; default 4 MiB. This bounds memory: beside them there are about 250 bytes for
     * each body above 2 KiB or lent, and 100 for each publish without an outcome on a confirming channel.
     */
    size_t high_water;
    size_t low_water; /* on_drain comes at or below this, and below high_water; default high_water / 4 */
    /*
     * While the broker has the connection blocked a publish is LAGO_EAGAIN at once; on_drain then follows on_unblocked. Default: it
     * is queued, up to high_water. What was accepted before waits in any case.
     */
    bool refuse_while_blocked;
    uintptr_t reserved[8]; /* zero */
} lago_parameters_t;

/**
 * Read a URL: amqp://user:password@host:port/virtual_host?key=value&..., or amqps:// for TLS, whose default port is 5671.
 *
 * Everything but the scheme may be left out; user, password, hosts and virtual host are percent-decoded; an IPv6 address
 * stands in brackets. amqp://host, amqp://host/ and amqp://host/%2F all mean the virtual host "/"; what follows the first
 * slash is the whole virtual host, further slashes included. Several hosts stand with commas between them, up to 65, each with a
 * port of its own or the default: amqp://u:p@h1,h2:5673,[::1]/; the second and those behind it become `endpoints`. A host that
 * begins with %2F is the path of a Unix domain socket, without a port: amqp://u:p@%2Frun%2Fbroker.sock/.
 *
 * Query keys, in seconds with or without a fraction where they are times:
 * - pika's: blocked_connection_timeout, channel_max, client_properties, connection_attempts, frame_max, heartbeat, locale,
 *   retry_delay, socket_timeout, stack_timeout, ssl_options, tcp_options; the three tables are dictionaries as Python or JSON
 *   writes them: tcp_options={'TCP_KEEPIDLE': 60}. heartbeat=0 is LAGO_HEARTBEAT_OFF, and a time of 0 what pika makes of it.
 *   ssl_options turns TLS on, with amqp:// too. Of it cafile, capath, cadata, certfile, keyfile, password (of the key), ciphers and
 *   server_hostname are taken, ca_certs, ca_path and ca_data as in pika for the first three; cert_reqs may only be 2, protocol 2, 5
 *   or 16. Unlike pika lago verifies the certificate then too, and the port that is left out is 5671.
 * - Erlang's: cacertfile, certfile (with the key, unless there is a keyfile), keyfile, server_name_indication (a name; never
 *   `disable`) and verify (verify_peer; verify_none is insecure_skip_verification): for amqps:// only. auth_mechanism, which may be
 *   repeated or have commas: plain, amqplain, external ... in the order of preference. connection_timeout, in milliseconds, for
 *   socket_timeout; name, for connection_name.
 * - lago's own: write_timeout, connect_deadline, close_timeout, operation_timeout, resolve_timeout (all of them: or `none`),
 *   retry_delay_max, shuffle_endpoints and fast_open (true or false), local_address, message_size_max, assembly_size_max,
 *   high_water, low_water, and proxy:
 *   socks5://user:password@host:port or http://..., as a URL in a URL encoded twice where it is encoded at all: '@' is %2540.
 *
 * @param url         NUL-terminated, borrowed.
 * @param parameters  The result, which owns its strings, tables and TLS options; host, port and virtual_host are always set (the
 *                    port of a path is 0), what else the URL leaves out is zero. Its members may be changed, also to point
 *                    elsewhere. Free it with lago_parameters_free. NULL on error.
 * @param reason      On error: which part, host or key is wrong, in `detail` and `hint`; never a password. May be NULL.
 * @return 0, or
 *         LAGO_EINVAL  a NULL argument
 *         LAGO_EURL    not a URL, an unknown or repeated key, a value that is out of range, keys that contradict each other
 *         LAGO_ENOMEM
 *         Thread: any.
 */
LAGO_EXPORT int lago_parameters_parse(const char *url, lago_parameters_t **parameters, lago_reason_t *reason);

/**
 * Read the environment: AMQP_URL first, then over it RABBITMQ_HOST (one, in place of all hosts of the URL), RABBITMQ_PORT (for
 * all), RABBITMQ_USER (or RABBITMQ_USERNAME), RABBITMQ_PASSWORD, RABBITMQ_VHOST, RABBITMQ_CONNECTION_NAME, and the query keys of
 * lago_parameters_parse but `name`, in capitals: RABBITMQ_HEARTBEAT, RABBITMQ_CACERTFILE, RABBITMQ_PROXY ... TLS is on by
 * AMQP_URL=amqps://... or RABBITMQ_SSL_OPTIONS={}. Nothing is percent-encoded but the two URLs. lago reads the environment in this
 * call and nowhere else.
 *
 * Arguments and errors as lago_parameters_parse; a bad variable is LAGO_EPARAMETER and named in the reason.
 * Thread: as getenv().
 */
LAGO_EXPORT int lago_parameters_from_environment(lago_parameters_t **parameters, lago_reason_t *reason);

/** Release what the two calls above made; passwords, keys and passphrases are wiped. NULL is allowed. */
LAGO_EXPORT void lago_parameters_free(lago_parameters_t *parameters);

#ifdef __cplusplus
}
#endif
#endif
