/* Lives of an application over the virtual transport, against a broker that answers by itself: what is done, not what fails. */
#ifndef TORTURE_LIVES_H
#define TORTURE_LIVES_H

#include "app.h"
#include "book.h"
#include "broker.h"
#include "virtual.h"

struct life {
    struct virtual v;
    struct broker broker;
    struct book book;
    struct app app; /* app.data is the life */
    bool cut;       /* the network or the broker ends it: promises are kept by errors */
};

struct scenario {
    const char *name;
    void (*live)(struct life *life);
};

extern const struct scenario lives[];
extern const size_t lives_count;

/* What drives them: everybody until nobody has anything to say; and so while time passes. */
void life_run(struct life *life);
void life_wait(struct life *life, uint64_t ms);

#endif
