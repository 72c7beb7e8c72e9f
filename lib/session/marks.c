/*
 * Where publishes begin in the stream: at the end each one must know whether a byte of it has left. Neighbours of one channel and
 * size share a mark, which is the common case (profile: a mark for each cost 45 instructions of the 900 of a publish).
 */
#include "alloc.h"
#include "internal.h"

/* Most need one. */
#define FIRST_CAPACITY 4u

static struct session_mark *mark_at(const struct session *s, size_t i) {
    return &s->marks[(s->mark_head + i) & (s->mark_capacity - 1)];
}

int marks_make_room(struct session *s) {
    size_t capacity = s->mark_capacity ? s->mark_capacity * 2 : FIRST_CAPACITY;
    struct session_mark *marks = mem_zero(s->alloc, capacity, sizeof(*marks));
    if (!marks) return LAGO_ENOMEM;
    for (size_t i = 0; i < s->mark_count; i++) marks[i] = *mark_at(s, i);
    mem_free(s->alloc, s->marks);
    s->marks = marks;
    s->mark_capacity = capacity;
    s->mark_head = 0;
    if (s->mark_count) s->newest_mark = mark_at(s, s->mark_count - 1);
    return 0;
}

static uint64_t count_of(const struct session_mark *mark) { return (mark->end - mark->offset) / mark->size; }

/* How many of its publishes have a byte below `offset`, of which there is one. */
static uint64_t begun(const struct session_mark *mark, uint64_t offset) {
    return offset >= mark->end ? count_of(mark) : (offset - mark->offset - 1) / mark->size + 1;
}

void marks_written(struct session *s) {
    while (s->mark_count && mark_at(s, 0)->offset < s->out.consumed) {
        struct session_mark *mark = mark_at(s, 0);
        struct session_channel *ch = channel_find(s, mark->channel);
        uint64_t count = begun(mark, s->out.consumed);
        if (ch) ch->publishes_sent += count;
        mark->offset += count * mark->size;
        if (mark->offset < mark->end) return;
        s->mark_head = (s->mark_head + 1) & (s->mark_capacity - 1);
        if (--s->mark_count == 0) s->newest_mark = NULL;
    }
}

void marks_forget(struct session *s, uint16_t channel) {
    for (size_t i = 0; i < s->mark_count; i++)
        if (mark_at(s, i)->channel == channel) mark_at(s, i)->channel = 0;
}

uint64_t marks_count(const struct session *s, uint16_t channel) {
    uint64_t count = 0;
    for (size_t i = 0; i < s->mark_count; i++)
        if (mark_at(s, i)->channel == channel) count += count_of(mark_at(s, i));
    return count;
}

void marks_clear(struct session *s) {
    mem_free(s->alloc, s->marks);
    s->marks = s->newest_mark = NULL;
    s->mark_capacity = s->mark_head = s->mark_count = 0;
}

uint64_t session_publishes_sent(const struct session *s, uint16_t channel) {
    const struct session_channel *ch = channel_find(s, channel);
    return ch ? ch->publishes_sent : 0;
}
