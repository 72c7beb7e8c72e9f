/*
 * The life that all tools share: one loop, one connection, one channel, the signals, and an exit code.
 *
 *   program_run -> connect, open a channel -> start() asks for the tool's work -> ... -> program_close -> the exit code
 *
 * Exit codes: 0 done, 1 failed (and one line on stderr says why); a tool may have others. SIGINT, SIGTERM and SIGHUP close in
 * good order, then the program dies by that signal, as it would without us: a shell sees 130, 143, 129. A second one ends at once.
 */
#ifndef TOOLS_PROGRAM_H
#define TOOLS_PROGRAM_H

#include <lago.h>
#include <uv.h>

#define PROGRAM_SIGNALS 3

/* A further connection, for a tool that needs several. The memory is the tool's, until program_end has returned. */
typedef struct program_link {
    void (*on_open)(struct program_link *link);
    lago_connection_t *conn;

    /* program.c's own */
    struct program *program;
    struct program_link *next;
} program_link_t;

typedef struct program {
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_channel_t *ch;
    void (*on_stop)(struct program *p); /* stop in good order, then program_close; default: program_close at once */
    lago_connection_event_cb on_drain;  /* `data` is the program */
    bool will_connect;                  /* more than once: until program_connected, what is known of passwords is kept */
    int exit_code;

    /* program.c's own */
    void (*start)(struct program *p);
    uv_signal_t signals[PROGRAM_SIGNALS];
    uv_timer_t patience; /* after a signal: how long on_stop may take */
    lago_context_t *context;
    lago_parameters_t *parameters; /* while there are connections to be made */
    program_link_t *links;
    unsigned living; /* connections that have not ended */
    int signum;      /* that ends us, 0 for none */
    bool ended;      /* all connections have */
    bool will_note_blocked;
    char complaint[768]; /* the first failure; what follows from it is no news */
    char refusal[768];   /* why lago_connect said no, from the log */
} program_t;

/*
 * Live: connect by the options, call `start` once, when operations can be asked for, until the connection has ended.
 * Returns with exit_code and complaint set; program_end makes them the program's end.
 */
void program_run(program_t *p, void (*start)(program_t *p));

/*
 * From `start` on, if will_connect is set: one more connection, by the same options. It has the program's end, as the program has
 * the end of each: who loses one, or closes, closes all. Returns whether the call was taken, as program_took.
 */
bool program_connect(program_t *p, program_link_t *link);

/* There will be no more. */
void program_connected(program_t *p);

/* Print the complaint, if any, and `more` behind it (or NULL); end with the exit code, or by the signal that stopped us. */
int program_end(program_t *p, const char *more);

/* Say goodbye to the broker, on all connections; program_run returns when it has answered, or after a while. */
void program_close(program_t *p);

/* Something was refused, or cut off by the end of channel or connection: the first one is told, and the program closes. */
void program_fail(program_t *p, const char *what, const lago_reason_t *reason);
void program_complain(program_t *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether a call was taken; if not, the program fails. LAGO_ECLOSED is not told: the callback that says why is about to come. */
bool program_took(program_t *p, const char *what, int64_t rc);

/* stdout could not be written. A closed pipe is no failure: then the program ends as by SIGPIPE, without a word. */
void program_output_failed(program_t *p, int error);

/* A line on stderr that is no failure. Text of a peer: escape it. */
void program_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A peer's text, for people: control characters as \ooo. Returns `buffer`. */
const char *program_escape(lago_string_t text, char *buffer, size_t size);

/* Whether a signal, a failure or the end has come: nothing new should be begun. */
bool program_is_ending(const program_t *p);

#endif
