/* Socket addresses: where a host may be reached, and how that is written. Knows no connections. */
#ifndef LAGO_UV_ADDRESS_H
#define LAGO_UV_ADDRESS_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>
#include <uv.h>

/* Those that a list holds. */
union ip {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

union address {
    union ip ip;
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* "[" 45 bytes of IPv6 "%" an interface "]:" 5 digits NUL; or a path of 107 bytes. Rounded up */
#define ENDPOINT_SIZE 112

struct address_list {
    union ip *items;
    size_t count;
};

/* Read a numeric host. @return 0, or libuv's error when it is a name. */
int address_numeric(const char *host, uint16_t port, union address *address);

/* The path of a Unix domain socket. @return 0 or UV_ENAMETOOLONG. */
int address_path(const char *path, union address *address);

/* Copy what a lookup found, in its order; other families than IPv4 and IPv6 are left out. 0, UV_EAI_NONAME, LAGO_ENOMEM. */
int address_list_copy(struct address_list *list, const lago_allocator_t *alloc, const struct addrinfo *found);

/* Families take turns, beginning with the first address's, each in its order (RFC 8305, section 4). */
void address_list_alternate(struct address_list *list);

/* Leave out other families than this. */
void address_list_keep(struct address_list *list, int family);

/* Of the loopback, or a path. */
bool address_is_local(const union address *address);

/* "127.0.0.1:5672", "[::1]:5672", "/run/broker.sock". */
void address_format(const union address *address, char *endpoint, size_t size);

#endif
