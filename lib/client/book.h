/*
 * What brokers said when they were opened, by endpoint: for who opens the next connection there without asking (fast.c). Shared by
 * the connections of a context. Knows no connection.
 */
#ifndef LAGO_CLIENT_BOOK_H
#define LAGO_CLIENT_BOOK_H

#include "alloc.h"
#include "list.h"
#include <lago/connection.h>
#include <stdbool.h>

#define BOOK_NAME_SIZE 128u /* of an endpoint; and the names of mechanisms: RabbitMQ's own have 39 letters in all */

/* A broker's connection.start and tune. */
struct book_entry {
    struct list node;
    char endpoint[BOOK_NAME_SIZE];
    bool tls;
    char mechanisms[BOOK_NAME_SIZE];
    lago_tune_t offered;
};

struct book {
    const lago_allocator_t *alloc;
    struct list entries; /* the one that was used last comes first */
    size_t count;
};

/* In place: whose context it is need not have the rest of this layer. */
static inline void book_init(struct book *book, const lago_allocator_t *alloc) {
    book->alloc = alloc;
    book->count = 0;
    list_init(&book->entries);
}

static inline void book_drop(struct book *book, struct book_entry *entry) {
    list_remove(&entry->node);
    mem_free(book->alloc, entry);
    book->count--;
}

static inline void book_clear(struct book *book) {
    while (!list_empty(&book->entries)) book_drop(book, LIST_ENTRY(list_first(&book->entries), struct book_entry, node));
}

/* What is known, borrowed until the book changes; NULL: nothing. */
const struct book_entry *book_find(struct book *book, const char *endpoint, bool tls);

/* Copied, in place of what was known. Without memory nothing is known. */
void book_learn(struct book *book, const struct book_entry *said);
void book_forget(struct book *book, const char *endpoint, bool tls);

#endif
