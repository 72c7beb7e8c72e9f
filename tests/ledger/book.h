/*
 * What a producer and a consumer write down, and what their messages look like, so that check.py can say afterwards whether one
 * was lost. A line is one write(2): it is in the kernel when the call returns, and survives whatever happens to the process.
 * Must not know lago.
 */
#ifndef LEDGER_BOOK_H
#define LEDGER_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MIN_SIZE 32u

/* One sending of a message: of which producer, its number from 1, and the how manyth time it is sent, from 1. */
struct message {
    uint32_t producer, attempt;
    uint64_t number;
};

/*
 * A book is opened for what is new; a half line of one who was killed is closed first. Each line ends with the time in us and " ."
 * and begins with what it is:
 *     B pid                                        somebody begins
 *     O epoch, L epoch clean                       its link is up, and lost (or, clean, closed by us in order)
 *     C epoch                                      we begin to close it
 *     S number attempt epoch                       a message is about to be handed to lago
 *     A N R U X number attempt                     its outcome: confirmed, nacked, returned, unknown, not sent
 *     D producer number attempt redelivered epoch tag intact     a delivery
 *     K producer number attempt epoch tag          its ack is about to be handed to lago
 *     E epoch tag error                            and lago did not take it
 *     Z                                            all is settled
 */
struct book {
    int fd;
};

bool book_open(struct book *book, const char *path);
void book_write(const struct book *book, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a producer before us has left without a good end: told in order, the last attempt of each. @return the highest number. */
typedef void (*book_open_cb)(void *data, uint64_t number, uint32_t attempt);
uint64_t book_replay(const char *path, book_open_cb open, void *data);

/* Bytes that nobody else would write: `size` of them, at least MESSAGE_MIN_SIZE. */
void message_fill(const struct message *message, uint8_t *bytes, size_t size);

/* @return whether all of it is as it was made. */
bool message_read(const uint8_t *bytes, size_t size, struct message *message);

#endif
