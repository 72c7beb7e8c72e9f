/* Addresses in and out of libuv's structs. Must not know what they are for. */
#include "address.h"
#include "alloc.h"
#include <lago/error.h>
#include <stdio.h>
#include <string.h>

int address_numeric(const char *host, uint16_t port, union address *address) {
    memset(address, 0, sizeof *address);
    if (uv_ip4_addr(host, port, &address->v4) == 0) return 0;
    return uv_ip6_addr(host, port, &address->v6);
}

int address_path(const char *path, union address *address) {
    size_t size = strlen(path);
    memset(address, 0, sizeof *address);
    if (size >= sizeof address->local.sun_path) return UV_ENAMETOOLONG;
    address->local.sun_family = AF_UNIX;
    memcpy(address->local.sun_path, path, size);
    return 0;
}

static size_t address_size(const struct addrinfo *info) {
    if (info->ai_family == AF_INET) return sizeof(struct sockaddr_in);
    if (info->ai_family == AF_INET6) return sizeof(struct sockaddr_in6);
    return 0;
}

int address_list_copy(struct address_list *list, const lago_allocator_t *alloc, const struct addrinfo *found) {
    size_t count = 0;
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next) count += address_size(info) != 0;
    *list = (struct address_list){ .items = NULL };
    if (count == 0) return UV_EAI_NONAME;
    list->items = mem_zero(alloc, count, sizeof *list->items);
    if (list->items == NULL) return LAGO_ENOMEM;
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        if (address_size(info) == 0) continue;
        memcpy(&list->items[list->count++], info->ai_addr, address_size(info));
    }
    return 0;
}

void address_list_alternate(struct address_list *list) {
    for (size_t at = 1; at < list->count; at++) {
        size_t next = at;
        while (next < list->count && list->items[next].any.sa_family == list->items[at - 1].any.sa_family) next++;
        if (next == list->count) return;
        union ip moved = list->items[next];
        memmove(&list->items[at + 1], &list->items[at], (next - at) * sizeof moved);
        list->items[at] = moved;
    }
}

void address_list_keep(struct address_list *list, int family) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].any.sa_family == family) list->items[kept++] = list->items[i];
    list->count = kept;
}

bool address_is_local(const union address *address) {
    static const uint8_t mapped_loopback[13] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127 }; /* ::ffff:127.0.0.0/104 */
    const uint8_t *v6 = address->v6.sin6_addr.s6_addr;
    switch (address->any.sa_family) {
    case AF_UNIX: return true;
    case AF_INET: return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr) || memcmp(v6, mapped_loopback, sizeof mapped_loopback) == 0;
    default: return false;
    }
}

void address_format(const union address *address, char *endpoint, size_t size) {
    if (address->any.sa_family == AF_UNIX) {
        snprintf(endpoint, size, "%.*s", (int)sizeof address->local.sun_path, address->local.sun_path); /* it may fill it */
        return;
    }
    char name[ENDPOINT_SIZE - 16] = "?"; /* of an address and a port */
    bool v6 = address->any.sa_family == AF_INET6;
    (void)uv_ip_name(&address->any, name, sizeof name); /* "?" says it all if the system cannot print its own address */
    unsigned port = ntohs(v6 ? address->v6.sin6_port : address->v4.sin_port);
    snprintf(endpoint, size, v6 ? "[%s]:%u" : "%s:%u", name, port);
}
