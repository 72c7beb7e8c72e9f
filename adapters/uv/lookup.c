/* Lookups. Must not know connections: a late answer may find none. */
#include "lookup.h"
#include "alloc.h"
#include <lago/error.h>
#include <netdb.h>
#include <stdio.h>

struct lookup {
    uv_getaddrinfo_t request;
    lago_allocator_t alloc; /* a copy: the context may be gone before the lookup ends */
    lookup_cb callback;     /* NULL: dropped */
    void *owner;
};

static void on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct lookup *lookup = request->data;
    lago_allocator_t alloc = lookup->alloc;
    lookup_cb callback = lookup->callback;
    void *owner = lookup->owner;
    struct address_list list = { .items = NULL };
    mem_free(&alloc, lookup);
    if (callback != NULL && status == 0) status = address_list_copy(&list, &alloc, found);
    uv_freeaddrinfo(found);
    if (callback != NULL) callback(owner, status, list);
}

int lookup_start(uv_loop_t *loop, const lago_allocator_t *alloc, const char *host, uint16_t port, struct lookup **lookup) {
    struct lookup *made = mem_zero(alloc, 1, sizeof *made);
    if (made == NULL) return LAGO_ENOMEM;
    made->alloc = *alloc;
    made->request.data = made;

    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    /* Without AI_ADDRCONFIG: it ignores the loopback interface, and a machine without a network has a localhost all the same. */
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    int rc = uv_getaddrinfo(loop, &made->request, on_lookup, host, service, &hints);
    if (rc < 0) {
        mem_free(alloc, made);
        return rc;
    }
    *lookup = made;
    return 0;
}

void lookup_expect(struct lookup *lookup, lookup_cb callback, void *owner) {
    lookup->callback = callback;
    lookup->owner = owner;
}

void lookup_drop(struct lookup *lookup) {
    lookup->callback = NULL;
    (void)uv_cancel((uv_req_t *)&lookup->request); /* only works while it waits for a thread; its callback comes in any case */
}
