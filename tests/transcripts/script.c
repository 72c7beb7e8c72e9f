/*
 * A script's lines, one after the other:
 *
 *   # words                     a comment
 *   do <act>                    a call of the application (acts.c, acts_channel.c)
 *   on <callback> do <act>      the same inside the next callback whose line begins so; `always`: in each
 *   S> <frame>                  the broker sends (server.h); lines without anything between them come in one read
 *   handshake [<tune>]          start, tune (RabbitMQ's, or these words) and open-ok; the client's answers are not written down
 *   t=<ms>                      time passes, up to then
 *   jump t=<ms>                 the same, but the loop was busy elsewhere: all at once
 *   drop ECONNRESET, eof        the link breaks, or the peer ends it, behind what was sent
 *   write fails EPIPE
 *   peer reads nothing | <n> | all
 *   input waits | flows         bytes stay in the kernel unread
 *   network resolve <n> | never | <error>
 *   network connect <n> ok | never | <error>     of the n-th address, from 1
 *
 * and what must come of it: `C> <frame>` of the client, `!  <callback>`, `=  <result of a call>`, `L> <warning or error logged>`,
 * with t=<ms> in front when it comes while time passes.
 */
#include "play.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- writing down */

static void add_text(struct play *p, const char *text) {
    size_t size = strlen(text);
    if (p->text_size + size + 2 > p->text_capacity) {
        p->text_capacity = (p->text_size + size + 2) * 2;
        p->text = realloc(p->text, p->text_capacity);
        if (!p->text) abort();
    }
    memcpy(p->text + p->text_size, text, size);
    p->text_size += size;
    p->text[p->text_size++] = '\n';
    p->text[p->text_size] = '\0';
}

void play_echo(struct play *p, const char *line) { add_text(p, line); }

void play_emit(struct play *p, const char *mark, const char *format, ...) {
    char line[4096];
    int size = 0;
    va_list args;
    if (p->silent) return;
    if (virtual_time(&p->v) != p->shown) size = snprintf(line, sizeof(line), "t=%llu ", (unsigned long long)virtual_time(&p->v));
    size += snprintf(line + size, sizeof(line) - (size_t)size, "%s", mark);
    va_start(args, format);
    vsnprintf(line + size, sizeof(line) - (size_t)size, format, args);
    va_end(args);
    add_text(p, line);
}

void play_problem(struct play *p, const char *format, ...) {
    char words[1024];
    va_list args;
    if (p->problem) return;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    p->problem = strdup(words);
}

/* ---------------------------------------------------------------- lines that do something */

__attribute__((noreturn)) static void unknown(const char *line) {
    fprintf(stderr, "transcript: what does this line mean: %s\n", line);
    abort();
}

/* What follows `prefix` in the line, or NULL. */
static const char *behind(const char *line, const char *prefix) {
    size_t size = strlen(prefix);
    return strncmp(line, prefix, size) == 0 ? line + size : NULL;
}

static void pass_time(struct play *p, const char *line, const char *number, bool at_once) {
    uint64_t to = strtoull(number, NULL, 10), now = virtual_time(&p->v);
    if (to <= now) unknown(line);
    if (!at_once && to - now > 1) virtual_advance(&p->v, to - now - 1);
    play_echo(p, line);
    p->shown = to;
    if (at_once)
        virtual_oversleep(&p->v, to - now);
    else
        virtual_advance(&p->v, 1);
}

static void add_hook(struct play *p, const char *words, bool always) {
    const char *act = strstr(words, " do ");
    if (!act || p->hook_count == HOOKS_MAX) unknown(words);
    p->hooks[p->hook_count++] =
        (struct hook){ .prefix = strndup(words, (size_t)(act - words)), .act = strdup(act + 4), .always = always };
}

static int network_answer(const char *word) {
    if (strcmp(word, "never") == 0) return VIRTUAL_NEVER;
    return strcmp(word, "ok") == 0 ? 0 : code_by_name(word);
}

static void network(struct play *p, const char *words) {
    const char *resolve = behind(words, "resolve "), *connect = behind(words, "connect ");
    char *end;
    if (resolve) {
        size_t count = strtoul(resolve, &end, 10);
        p->v.resolve_status = *end ? network_answer(resolve) : 0;
        if (!*end) p->v.address_count = count;
    } else if (connect) {
        size_t address = strtoul(connect, &end, 10);
        if (*end != ' ' || address < 1 || address > VIRTUAL_ADDRESSES_MAX) unknown(words);
        p->v.connect_status[address - 1] = network_answer(end + 1);
    } else {
        unknown(words);
    }
}

static void handshake(struct play *p, const char *tune) {
    char line[128];
    snprintf(line, sizeof(line), "0 connection.tune %s", *tune ? tune : " channel_max=2047 frame_max=131072 heartbeat=60");
    p->handshaking = true;
    virtual_run(&p->v);
    server_send(&p->v, SERVER_START);
    server_send(&p->v, line);
    p->handshaking = false;
    server_send(&p->v, "0 connection.open-ok");
}

static size_t peer_room(const char *words) {
    if (strcmp(words, "nothing") == 0) return 0;
    return strcmp(words, "all") == 0 ? SIZE_MAX : strtoul(words, NULL, 10);
}

/* A line of the network or of the application. */
static bool play_simple(struct play *p, const char *line) {
    const char *words;
    if ((words = behind(line, "do ")) != NULL)
        play_act(p, words);
    else if ((words = behind(line, "on ")) != NULL)
        add_hook(p, words, false);
    else if ((words = behind(line, "always ")) != NULL)
        add_hook(p, words, true);
    else if ((words = behind(line, "handshake")) != NULL)
        handshake(p, words);
    else if ((words = behind(line, "drop ")) != NULL)
        virtual_lose(&p->v, code_by_name(words));
    else if (strcmp(line, "eof") == 0)
        virtual_lose(&p->v, code_by_name("EOF"));
    else if ((words = behind(line, "write fails ")) != NULL)
        virtual_fail_write(&p->v, code_by_name(words));
    else if ((words = behind(line, "peer reads ")) != NULL)
        virtual_take(&p->v, peer_room(words));
    else if ((words = behind(line, "input ")) != NULL)
        p->v.hold_input = strcmp(words, "waits") == 0;
    else if ((words = behind(line, "network ")) != NULL)
        network(p, words);
    else
        return false;
    return true;
}

static bool is_output(const char *line) {
    if (strncmp(line, "t=", 2) == 0) line = strchr(line, ' ') ? strchr(line, ' ') + 1 : line;
    return behind(line, "C> ") || behind(line, "!  ") || behind(line, "=  ") || behind(line, "L> ");
}

static void play_line(struct play *p, const char *line) {
    const char *words;
    if ((words = behind(line, "t=")) != NULL) {
        pass_time(p, line, words, false);
    } else if ((words = behind(line, "jump t=")) != NULL) {
        pass_time(p, line, words, true);
    } else {
        play_echo(p, line);
        if (!play_simple(p, line)) unknown(line);
    }
    virtual_run(&p->v);
}

/* ---------------------------------------------------------------- all lines */

/* Frames that were read together wait here for the first line of another kind. */
struct gathered {
    char *text;
    size_t size;
};

static void gather(struct play *p, struct gathered *g, const char *line) {
    size_t size = strlen(line + 3);
    play_echo(p, line);
    g->text = realloc(g->text, g->size + size + 2);
    if (!g->text) abort();
    memcpy(g->text + g->size, line + 3, size);
    g->size += size;
    g->text[g->size++] = '\n';
    g->text[g->size] = '\0';
}

static void send_gathered(struct play *p, struct gathered *g) {
    if (g->text) server_send(&p->v, g->text);
    free(g->text);
    *g = (struct gathered){ NULL, 0 };
}

static char *copy_line(const char *at, size_t size) {
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\r')) size--;
    char *line = strndup(at, size);
    if (!line) abort();
    return line;
}

void play_script(struct play *p, const char *script, bool update) {
    struct gathered gathered = { NULL, 0 };
    while (*script) {
        size_t size = strcspn(script, "\n");
        char *line = copy_line(script, size);
        bool is_note = line[0] == '#' || line[0] == '\0';
        if (behind(line, "S> ")) {
            gather(p, &gathered, line);
        } else {
            send_gathered(p, &gathered);
            if (is_note && update) play_echo(p, line);
            if (!is_note && !is_output(line)) play_line(p, line);
        }
        free(line);
        script += size + (script[size] == '\n');
    }
    send_gathered(p, &gathered);
}

/* ---------------------------------------------------------------- beginning and end */

void play_init(struct play *p) {
    memset(p, 0, sizeof(*p));
    virtual_init(&p->v);
    p->v.on_line = told_line;
    p->v.on_line_data = p;
    legal_init(&p->legal);
    p->legal.scripted = true;
    p->v.tap = told_wire;
    p->v.tap_data = p;
    book_init(&p->book, &mem_default);
}

static void check_connection(struct play *p) {
    unsigned ends = p->open_failed + p->closed;
    if (p->opened > 1 || ends > 1 || (p->open_failed && (p->opened || p->closed)))
        play_problem(p, "on_open %u, on_open_error %u, on_close %u times", p->opened, p->open_failed, p->closed);
    if (p->connected && !p->freed && p->has_on_close && ends != 1) play_problem(p, "the connection's end was not told");
    if (p->closed && !p->opened) play_problem(p, "on_close without on_open");
}

static void check_channel(struct play *p, const struct played_channel *channel) {
    if (!channel->made || channel->freed || !channel->has_on_open) return;
    if (channel->opened > 1 || channel->ended != 1)
        play_problem(p, "c%d was opened %u times and ended %u times", channel->number, channel->opened, channel->ended);
}

static void check_owed(struct play *p) {
    for (struct owed *owed = p->owed; owed; owed = owed->next) {
        if (owed->accepted && !owed->loose && owed->told == 0) play_problem(p, "%s was never told", owed->name);
        if (!owed->accepted && owed->told > 0) play_problem(p, "%s was told, but its call had failed", owed->name);
    }
}

static void check_freed_data(struct play *p) {
    if (p->connected && p->data_freed != 1) play_problem(p, "the connection's data was freed %u times", p->data_freed);
    for (int i = 1; i <= CHANNELS_MAX; i++)
        if (p->channels[i].made && p->channels[i].data_freed != 1) play_problem(p, "the data of c%d was never freed", i);
    for (struct owed *owed = p->owed; owed; owed = owed->next) {
        bool always =
            strcmp(owed->name, "consumer data") == 0 || strcmp(owed->name, "rpc data") == 0 || strcmp(owed->name, "body") == 0;
        if (always && owed->accepted && owed->told != 1) play_problem(p, "%s was never freed", owed->name);
    }
}

void play_end(struct play *p) {
    p->silent = true;
    fail_alloc_at(&p->v.alloc, 0, false);
    p->v.hold_input = false;
    if (p->conn) lago_connection_abort(p->conn);
    virtual_run(&p->v);
    check_connection(p);
    for (int i = 1; i <= CHANNELS_MAX; i++) check_channel(p, &p->channels[i]);
    check_owed(p);
    if (p->conn) play_act(p, "free");
    lago_message_release(p->kept);
    virtual_deinit(&p->v);
    book_clear(&p->book);
    check_freed_data(p);
    legal_check(&p->legal);
    if (legal_problem(&p->legal)) play_problem(p, "%s", legal_problem(&p->legal));
    for (struct owed *next; p->owed; p->owed = next) {
        next = p->owed->next;
        free(p->owed->memory);
        free(p->owed->name);
        free(p->owed);
    }
    for (size_t i = 0; i < p->hook_count; i++) {
        if (!p->hooks[i].used && !p->hooks[i].always && !p->curious)
            play_problem(p, "nothing began with \"%s\"", p->hooks[i].prefix);
        free(p->hooks[i].prefix);
        free(p->hooks[i].act);
    }
}
