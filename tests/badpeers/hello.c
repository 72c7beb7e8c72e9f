/* A ServerHello, changed on its way: see hello.h. */
#include "hello.h"

#define RECORD_HEADER_SIZE 5u
#define RECORD_HANDSHAKE   22u

static size_t get_u16(const struct blob *flight, size_t at) { return (size_t)flight->data[at] << 8 | flight->data[at + 1]; }

void hello_set_u16(struct blob *flight, size_t at, unsigned value) {
    flight->data[at] = (uint8_t)(value >> 8);
    flight->data[at + 1] = (uint8_t)value;
}

size_t hello_cipher(const struct blob *flight) { return HELLO_RANDOM + 32 + 1 + flight->data[HELLO_RANDOM + 32]; }

size_t hello_compression(const struct blob *flight) { return hello_cipher(flight) + 2; }

static void lengthen(struct blob *flight, size_t at, size_t size) {
    hello_set_u16(flight, at, (unsigned)(get_u16(flight, at) + size));
}

void hello_add_extension(struct blob *flight, unsigned type, const void *data, size_t size) {
    size_t at = hello_compression(flight) + 1; /* of the length of all extensions */
    blob_grow(flight, size + 4);
    memmove(flight->data + at + 2 + 4 + size, flight->data + at + 2, flight->size - (at + 2) - 4 - size);
    hello_set_u16(flight, at + 2, type);
    hello_set_u16(flight, at + 4, (unsigned)size);
    if (size) memcpy(flight->data + at + 6, data, size);
    lengthen(flight, 3, size + 4); /* the record */
    lengthen(flight, 7, size + 4); /* the lower bytes of the message's 24 bits */
    lengthen(flight, at, size + 4);
}

size_t hello_extension(const struct blob *flight, unsigned type) {
    size_t at = hello_compression(flight) + 1, end = at + 2 + get_u16(flight, at);
    for (at += 2; at < end; at += 4 + get_u16(flight, at + 2))
        if (get_u16(flight, at) == type) return at + 4;
    return 0;
}

void hello_fragment(struct blob *flight, size_t size) {
    struct blob whole = *flight;
    *flight = (struct blob){ 0 };
    for (size_t at = 0; at < whole.size;) {
        size_t length = get_u16(&whole, at + 3), step = whole.data[at] == RECORD_HANDSHAKE ? size : length;
        for (size_t done = 0; done < length; done += step) {
            size_t piece = length - done < step ? length - done : step;
            uint8_t header[RECORD_HEADER_SIZE] = { whole.data[at], whole.data[at + 1], whole.data[at + 2], (uint8_t)(piece >> 8),
                                                   (uint8_t)piece };
            blob_add(flight, header, sizeof header);
            blob_add(flight, whole.data + at + RECORD_HEADER_SIZE + done, piece);
        }
        at += RECORD_HEADER_SIZE + length;
    }
    blob_free(&whole);
}
