/*
 * A script's lines, one after the other (how to write one and to run it in memory, over TCP or over TLS: ./run --help):
 *
 *   # words                     a comment
 *   do <act>                    a call of the application (acts.c, acts_channel.c)
 *   on <callback> do <act>      the same inside the next callback whose line begins so; `always`: in each
 *   S> <frame>                  the broker sends (server.h); lines without anything between them come in one read
 *   handshake [<tune>]          start, tune (RabbitMQ's, or these words) and open-ok; the client's answers are not written down
 *   drop ECONNRESET, eof        the link breaks, or the peer ends it, behind what was sent
 *
 * in memory only (a script with one of these is not replayed over sockets; medium_socket.c has the list):
 *
 *   t=<ms>                      time passes, up to then
 *   jump t=<ms>                 the same, but the loop was busy elsewhere: all at once
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
    uint64_t now = p->medium->time(p);
    if (now != p->shown) size = snprintf(line, sizeof(line), "t=%llu ", (unsigned long long)now);
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

const char *word_behind(const char *line, const char *prefix) {
    size_t size = strlen(prefix);
    return strncmp(line, prefix, size) == 0 ? line + size : NULL;
}

static void add_hook(struct play *p, const char *words, bool always) {
    const char *act = strstr(words, " do ");
    if (!act || p->hook_count == HOOKS_MAX) unknown(words);
    p->hooks[p->hook_count++] =
        (struct hook){ .prefix = strndup(words, (size_t)(act - words)), .act = strdup(act + 4), .always = always };
}

static void handshake(struct play *p, const char *tune) {
    char line[128];
    snprintf(line, sizeof(line), "0 connection.tune %s", *tune ? tune : " channel_max=2047 frame_max=131072 heartbeat=60");
    p->handshaking = true;
    p->medium->run(p);
    p->medium->send(p, SERVER_START);
    p->medium->send(p, line);
    p->handshaking = false;
    p->medium->send(p, "0 connection.open-ok");
}

/* A line of the application, or of a link as any broker can make it. */
static bool play_simple(struct play *p, const char *line) {
    const char *words;
    if ((words = word_behind(line, "do ")) != NULL)
        play_act(p, words);
    else if ((words = word_behind(line, "on ")) != NULL)
        add_hook(p, words, false);
    else if ((words = word_behind(line, "always ")) != NULL)
        add_hook(p, words, true);
    else if ((words = word_behind(line, "handshake")) != NULL)
        handshake(p, words);
    else if ((words = word_behind(line, "drop ")) != NULL)
        p->medium->lose(p, code_by_name(words));
    else if (strcmp(line, "eof") == 0)
        p->medium->lose(p, code_by_name("EOF"));
    else
        return false;
    return true;
}

static bool is_output(const char *line) {
    if (strncmp(line, "t=", 2) == 0) line = strchr(line, ' ') ? strchr(line, ' ') + 1 : line;
    return word_behind(line, "C> ") || word_behind(line, "!  ") || word_behind(line, "=  ") || word_behind(line, "L> ");
}

static void play_line(struct play *p, const char *line) {
    if (!p->medium->word(p, line)) {
        play_echo(p, line);
        if (!play_simple(p, line)) unknown(line);
    }
    p->medium->run(p);
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
    if (g->text) p->medium->send(p, g->text);
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
        if (word_behind(line, "S> ")) {
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

void play_init(struct play *p, const struct medium *medium) {
    memset(p, 0, sizeof(*p));
    p->medium = medium;
    legal_init(&p->legal);
    p->legal.scripted = true;
    medium->begin(p);
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
    p->medium->calm(p);
    if (p->conn) lago_connection_abort(p->conn);
    p->medium->run(p);
    check_connection(p);
    for (int i = 1; i <= CHANNELS_MAX; i++) check_channel(p, &p->channels[i]);
    check_owed(p);
    if (p->conn) play_act(p, "free");
    lago_message_release(p->kept);
    p->medium->end(p);
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
