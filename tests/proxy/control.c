/* The lines of fault-proxy: see control.h. Must not know where they come from. */
#include "control.h"
#include "number.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    char *at;
    size_t left;
};

static void add_link(struct answer *answer, const struct proxy_link *link) {
    int size = snprintf(answer->at, answer->left, "link %u up %" PRIu64 " down %" PRIu64 "\n", link->number, link->up.passed,
                        link->down.passed);
    if (size < 0 || (size_t)size >= answer->left) return; /* more than anybody will read */
    answer->at += size;
    answer->left -= (size_t)size;
}

static void list_links(struct proxy *proxy, char *words, size_t words_size) {
    struct answer answer = { words, words_size };
    words[0] = '\0';
    for (struct proxy_link *link = proxy->first; link; link = link->next)
        if (link->connected && !link->over) add_link(&answer, link);
    snprintf(answer.at, answer.left, "ok\n");
}

/* The first word of `line`, cut off. @return what is behind it. */
static char *next_word(char *line) {
    size_t size = strcspn(line, " ");
    char *rest = line + size + strspn(line + size, " ");
    line[size] = '\0';
    return rest;
}

static const char *set_welcome(struct proxy *proxy, const char *word) {
    static const char *const words[] = { "carry", "hang_up", "reset", "silent" };
    for (size_t i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0) {
            proxy->welcome = (enum proxy_welcome)i;
            return NULL;
        }
    return "there is no such welcome";
}

/* What is done to a link, or to each. */
static const char *do_to(struct proxy_link *link, const char *what, const char *words) {
    if (strcmp(what, "link") == 0) return link_faults(link, words);
    if (strcmp(what, "go_on") == 0)
        link_go_on(link);
    else if (strcmp(words, "close") == 0)
        link_end(link, PROXY_CLOSE);
    else if (strcmp(words, "reset") == 0)
        link_end(link, PROXY_RESET);
    else
        return "neither close nor reset";
    return NULL;
}

static const char *do_to_links(struct proxy *proxy, const char *what, char *whose) {
    char *words = next_word(whose);
    const char *wrong = NULL;
    if (strcmp(whose, "all") != 0) {
        uint64_t number;
        struct proxy_link *link = number_read(whose, 1, UINT32_MAX, &number) ? proxy_find(proxy, (unsigned)number) : NULL;
        return link ? do_to(link, what, words) : "there is no such link";
    }
    for (struct proxy_link *link = proxy->first; link && !wrong; link = link->next)
        if (proxy_find(proxy, link->number)) wrong = do_to(link, what, words);
    return wrong;
}

static const char *lead(struct proxy *proxy, const char *word) {
    uint64_t port;
    if (!number_read(word, 1, UINT16_MAX, &port)) return "not a port";
    proxy_leads_to(proxy, (uint16_t)port);
    return NULL;
}

bool control_line(struct proxy *proxy, const char *line, char *answer, size_t answer_size) {
    char what[512];
    const char *wrong = NULL;
    snprintf(what, sizeof what, "%.*s", (int)strcspn(line, "\r\n"), line);
    char *rest = next_word(what);
    if (strcmp(what, "links") == 0) {
        list_links(proxy, answer, answer_size);
        return true;
    }
    if (strcmp(what, "new") == 0)
        wrong = proxy_faults(proxy, rest);
    else if (strcmp(what, "welcome") == 0)
        wrong = set_welcome(proxy, rest);
    else if (strcmp(what, "lead") == 0)
        wrong = lead(proxy, rest);
    else if (strcmp(what, "link") == 0 || strcmp(what, "end") == 0 || strcmp(what, "go_on") == 0)
        wrong = do_to_links(proxy, what, rest);
    else if (strcmp(what, "quit") != 0)
        wrong = "there is no such command";
    snprintf(answer, answer_size, wrong ? "wrong: %s\n" : "ok\n", wrong);
    return strcmp(what, "quit") != 0;
}

void control_words(const struct proxy_link *link, enum proxy_event event, char *words, size_t words_size) {
    static const char *const names[] = { "begins", "up", "fired", "gone" };
    const struct proxy_flow *told = link->told;
    if (event == PROXY_FIRED)
        snprintf(words, words_size, "link %u fired %s %" PRIu64 "\n", link->number, told == &link->up ? "up" : "down",
                 told->passed);
    else
        snprintf(words, words_size, "link %u %s %" PRIu64 " %" PRIu64 "\n", link->number, names[event], link->up.passed,
                 link->down.passed);
}
