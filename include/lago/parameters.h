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
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAGO_HEARTBEAT_OFF (-1)       /* heartbeat_s: no heartbeats, whatever the broker proposes */
#define LAGO_NO_TIMEOUT    UINT32_MAX /* any *_timeout_ms: wait for ever */
#define LAGO_NO_DELAY      UINT32_MAX /* retry_delay_ms: try again at once */

/* Login mechanisms (a mask). */
#define LAGO_MECHANISM_PLAIN    1u
#define LAGO_MECHANISM_AMQPLAIN 2u

/** Who logs in. Copied by lago_connect; lago wipes its copies when the connection ends. */
typedef struct lago_credentials {
    const char *username; /* default "guest" */
    const char *password; /* default "guest" with the default user, else "" */
    unsigned mechanisms;  /* LAGO_MECHANISM_*, what may be used; PLAIN is preferred. Default: both; none with own_mechanisms */
    const lago_mechanism_t *own_mechanisms; /* of the caller: the first one that the broker offers is used, before lago's */
    size_t own_mechanism_count;             /* at most 16 */
} lago_credentials_t;

/** Socket options, set before the handshake; 0 leaves the system's value. Names and meaning as tcp(7). */
typedef struct lago_tcp_options {
    uint32_t keepidle_s;
    uint32_t keepintvl_s;
    uint32_t keepcnt;
    uint32_t user_timeout_ms;
} lago_tcp_options_t;

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
    const char *host;         /* name, IPv4 or IPv6 address; default "localhost" */
    uint16_t port;            /* default 5672 */
    const char *virtual_host; /* default "/" */
    lago_credentials_t credentials;
    uint16_t channel_max; /* highest channel number wanted; default 65535 */
    uint32_t frame_max;   /* largest frame in bytes, 4096 or more; default 131072 */
    /*
     * Default: the broker's; 1 to 65535 wins over the broker's; LAGO_HEARTBEAT_OFF. A broker that sends nothing at all for 1.05
     * intervals is taken as dead (RabbitMQ beats every half interval): LAGO_EHEARTBEAT, at the latest after 1.1.
     */
    int32_t heartbeat_s;
    lago_heartbeat_cb heartbeat_cb; /* if set, decides instead of heartbeat_s */
    void *heartbeat_data;
    uint32_t connection_attempts;           /* rounds over all addresses of the host; default 1 */
    uint32_t retry_delay_ms;                /* between rounds; default 2000 */
    uint32_t socket_timeout_ms;             /* TCP connect, per address; default 10000 */
    uint32_t stack_timeout_ms;              /* an address attempt, from lookup or TCP to connection.open-ok; default 15000 */
    uint32_t connect_deadline_ms;           /* all of it, from lago_connect to connection.open-ok; default none */
    const char *locale;                     /* default "en_US" */
    uint32_t blocked_connection_timeout_ms; /* blocked longer than this: the link is dropped, LAGO_EBLOCKED; default none */
    lago_table_t client_properties;         /* merged over lago's own; an entry of the same name replaces lago's */
    const char *connection_name;            /* shown by RabbitMQ's management; default none */
    lago_tcp_options_t tcp_options;
    /* beyond pika */
    uint32_t write_timeout_ms;     /* unsent bytes and no progress; default 2 x heartbeat, none without heartbeats */
    uint32_t close_timeout_ms;     /* from a close to its end; default 10000 */
    uint32_t operation_timeout_ms; /* for operations that give none of their own; default none */
    uint64_t message_size_max;     /* a larger message ends its channel with 311; default 128 MiB */
    size_t high_water;             /* unsent bytes from which a publish is LAGO_EAGAIN; default 4 MiB */
    size_t low_water;              /* on_drain comes at or below this; default high_water / 4 */
    uintptr_t reserved[8];         /* zero */
} lago_parameters_t;

/**
 * Read a URL: amqp://user:password@host:port/virtual_host?key=value&...
 *
 * Everything but the scheme may be left out; user, password, host and virtual host are percent-decoded; an IPv6 address
 * stands in brackets. amqp://host, amqp://host/ and amqp://host/%2F all mean the virtual host "/"; what follows the first
 * slash is the whole virtual host, further slashes included. Query keys are pika's, times in seconds with or without a
 * fraction: blocked_connection_timeout, channel_max, client_properties, connection_attempts, frame_max, heartbeat, locale,
 * retry_delay, socket_timeout, stack_timeout, ssl_options, tcp_options; the three tables are dictionaries as Python or JSON
 * writes them: tcp_options={'TCP_KEEPIDLE': 60}. heartbeat=0 is LAGO_HEARTBEAT_OFF, and a time of 0 what pika makes of it.
 *
 * @param url         NUL-terminated, borrowed.
 * @param parameters  The result, which owns its strings and tables; host, port and virtual_host are always set, what else the
 *                    URL leaves out is zero. Its members may be changed, also to point elsewhere. Free it with
 *                    lago_parameters_free. NULL on error.
 * @param reason      On error: which part or key is wrong, in `detail` and `hint`; never the password. May be NULL.
 * @return 0, or
 *         LAGO_EINVAL  a NULL argument
 *         LAGO_EURL    not a URL, an unknown or repeated key, a value that is out of range
 *         LAGO_ENOTLS  amqps, or ssl_options, in a build without TLS
 *         LAGO_ENOMEM
 *         Thread: any.
 */
LAGO_EXPORT int lago_parameters_parse(const char *url, lago_parameters_t **parameters, lago_reason_t *reason);

/**
 * Read the environment: AMQP_URL first, then over it RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER (or RABBITMQ_USERNAME),
 * RABBITMQ_PASSWORD, RABBITMQ_VHOST, RABBITMQ_CONNECTION_NAME, and the query keys of lago_parameters_parse in capitals:
 * RABBITMQ_HEARTBEAT, RABBITMQ_FRAME_MAX, RABBITMQ_SOCKET_TIMEOUT ... lago reads the environment in this call and nowhere else.
 *
 * Arguments and errors as lago_parameters_parse; a bad variable is LAGO_EPARAMETER and named in the reason.
 * Thread: as getenv().
 */
LAGO_EXPORT int lago_parameters_from_environment(lago_parameters_t **parameters, lago_reason_t *reason);

/** Release what the two calls above made; the password is wiped. NULL is allowed. */
LAGO_EXPORT void lago_parameters_free(lago_parameters_t *parameters);

#ifdef __cplusplus
}
#endif
#endif
