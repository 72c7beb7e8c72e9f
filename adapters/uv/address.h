/* Socket addresses: where a host may be reached, and how that is written. Knows no connections. */
#ifndef LAGO_UV_ADDRESS_H
#define LAGO_UV_ADDRESS_H

#include <lago/context.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* "[" 45 bytes of IPv6 "%" an interface "]:" 5 digits NUL, rounded up */
#define ENDPOINT_SIZE 96

struct address_list {
    union address *items;
    size_t count;
};

/* Read a numeric host. @return 0, or libuv's error when it is a name. */
int address_numeric(const char *host, uint16_t port, union address *address);

/* Copy what a lookup found, in its order; other families than IPv4 and IPv6 are left out. 0, UV_EAI_NONAME, LAGO_ENOMEM. */
int address_list_copy(struct address_list *list, const lago_allocator_t *alloc, const struct addrinfo *found);

/* "127.0.0.1:5672", "[::1]:5672". */
void address_format(const union address *address, char *endpoint, size_t size);

#endif
