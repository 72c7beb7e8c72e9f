/* Keeping a message beyond its callback: one piece of memory for everything, a big body shared instead of copied. */
#include "message.h"

#include "alloc.h"
#include <string.h>

/* The strings of properties with their sizes, in the order of the specification. */
#define PROPERTY_STRINGS(XX)                                                                                                     \
    XX(content_type)                                                                                                             \
    XX(content_encoding)                                                                                                         \
    XX(correlation_id)                                                                                                           \
    XX(reply_to)                                                                                                                 \
    XX(expiration)                                                                                                               \
    XX(message_id)                                                                                                               \
    XX(type)                                                                                                                     \
    XX(user_id)                                                                                                                  \
    XX(app_id)                                                                                                                   \
    XX(cluster_id)

/* Where the next copy goes; with a NULL `at` it only counts. */
struct packer {
    char *at;
    size_t size;
};

static const char *pack(struct packer *p, const void *data, size_t size) {
    char *copy = p->at ? p->at + p->size : NULL;
    p->size += size + 1;
    if (!copy) return data;
    if (size) memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

/* Point everything of `m` to copies. Called twice: to count, and to copy. */
static void pack_message(struct packer *p, struct message *m) {
    lago_message_t *f = &m->fields;
    lago_properties_t *properties = &m->properties;
    f->consumer_tag.data = pack(p, f->consumer_tag.data, f->consumer_tag.size);
    f->exchange.data = pack(p, f->exchange.data, f->exchange.size);
    f->routing_key.data = pack(p, f->routing_key.data, f->routing_key.size);
#define PACK_(name)                                                                                                              \
    if (properties->name) properties->name = pack(p, properties->name, properties->sizes.name);
    PROPERTY_STRINGS(PACK_)
#undef PACK_
    properties->headers.raw = properties->headers.size ? pack(p, properties->headers.raw, properties->headers.size) : NULL;
    if (!m->body_block) f->body.data = pack(p, f->body.data, f->body.size);
}

/* What it takes to keep, but for a body that is shared. */
static size_t kept_size(const struct message *message) {
    struct message copy = *message;
    struct packer packer = { NULL, 0 };
    copy.properties = *message->fields.properties;
    pack_message(&packer, &copy);
    return sizeof(copy) + packer.size;
}

size_t message_cost(const struct message *m) { return kept_size(m) + (m->body_block ? m->fields.body.size : 0); }

int lago_message_keep(const lago_message_t *message, lago_message_t **kept) {
    if (kept) *kept = NULL;
    if (!message || !kept) return LAGO_EINVAL;
    struct message copy = *(const struct message *)(const void *)message;
    struct message *whole = mem_alloc(&copy.alloc, kept_size(&copy));
    if (!whole) return LAGO_ENOMEM;
    struct packer packer = { (char *)(whole + 1), 0 };
    copy.properties = *message->properties;
    pack_message(&packer, &copy);
    *whole = copy;
    whole->fields.properties = &whole->properties;
    if (whole->body_block) block_ref(whole->body_block);
    *kept = &whole->fields;
    return 0;
}

void lago_message_release(lago_message_t *kept) {
    if (!kept) return;
    struct message *whole = (struct message *)(void *)kept;
    lago_allocator_t alloc = whole->alloc;
    block_unref(whole->body_block);
    mem_free(&alloc, whole);
}
