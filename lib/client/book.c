/* A short list: a program has a few brokers. */
#include "book.h"
#include "alloc.h"
#include <string.h>

/* More than a cluster has nodes; who has more brokers than that opens the others ordinarily. */
#define ENTRIES_MAX 32u

static void drop(struct book *book, struct list *node) { book_drop(book, LIST_ENTRY(node, struct book_entry, node)); }

static struct list *find(const struct book *book, const char *endpoint, bool tls) {
    for (struct list *node = book->entries.next; node != &book->entries; node = node->next) {
        const struct book_entry *entry = LIST_ENTRY(node, struct book_entry, node);
        if (entry->tls == tls && strcmp(entry->endpoint, endpoint) == 0) return node;
    }
    return NULL;
}

static void put_first(struct book *book, struct list *node) {
    list_remove(node);
    list_append(book->entries.next, node); /* before the first one */
}

const struct book_entry *book_find(struct book *book, const char *endpoint, bool tls) {
    struct list *node = find(book, endpoint, tls);
    if (!node) return NULL;
    put_first(book, node);
    return LIST_ENTRY(node, struct book_entry, node);
}

void book_forget(struct book *book, const char *endpoint, bool tls) {
    struct list *node = find(book, endpoint, tls);
    if (node) drop(book, node);
}

void book_learn(struct book *book, const struct book_entry *said) {
    book_forget(book, said->endpoint, said->tls);
    struct book_entry *entry = mem_alloc(book->alloc, sizeof(*entry));
    if (!entry) return;
    *entry = *said;
    list_init(&entry->node);
    if (book->count == ENTRIES_MAX) drop(book, book->entries.prev);
    put_first(book, &entry->node);
    book->count++;
}
