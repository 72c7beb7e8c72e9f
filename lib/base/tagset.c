/*
 * A sparse bit set as a ring of words. It does not know what the tags stand for.
 *
 * Invariants: bases rise; the first and the last word have bits; at most half of the words have none. Adding works at the end,
 * removing in order at the front, both in O(1); any other tag is found by bisection. A compaction drops more words than it
 * keeps, so it costs O(1) for each word that was emptied.
 */
#include "tagset.h"

#include "alloc.h"
#include <lago/error.h>

#define TAGS_PER_WORD 64

/* The first ring: a prefetch count of some 200 in 64 bytes. */
#define RING_MIN ((size_t)4)

/* A ring up to this size (1 KiB) is kept: giving it back and getting it anew at each burst would cost more than it saves. */
#define RING_KEPT ((size_t)64)

void tagset_init(struct tagset *set, const lago_allocator_t *alloc) { *set = (struct tagset){ .alloc = alloc }; }

void tagset_clear(struct tagset *set) {
    mem_free(set->alloc, set->words);
    tagset_init(set, set->alloc);
}

static struct tagset_word *word_at(const struct tagset *set, size_t i) {
    return &set->words[(set->head + i) & (set->capacity - 1)];
}

static size_t bit_count(uint64_t bits) { return (size_t)__builtin_popcountll(bits); }
static uint64_t bit_of(uint64_t tag) { return (uint64_t)1 << (tag % TAGS_PER_WORD); }

static int resize(struct tagset *set, size_t capacity) {
    struct tagset_word *words = mem_resize(set->alloc, NULL, capacity, sizeof(*words));
    if (words == NULL) return LAGO_ENOMEM;
    for (size_t i = 0; i < set->length; i++) words[i] = *word_at(set, i);
    mem_free(set->alloc, set->words);
    set->words = words;
    set->capacity = capacity;
    set->head = 0;
    return 0;
}

static void pop_front(struct tagset *set) {
    set->head = (set->head + 1) & (set->capacity - 1);
    set->length--;
}

static void compact(struct tagset *set) {
    size_t kept = 0;
    for (size_t i = 0; i < set->length; i++) {
        struct tagset_word word = *word_at(set, i);
        if (word.bits != 0) *word_at(set, kept++) = word;
    }
    set->length = kept;
    set->empty = 0;
}

/* Restore the invariants after bits were removed. */
static void tidy(struct tagset *set) {
    for (; set->length > 0 && word_at(set, 0)->bits == 0; set->empty--) pop_front(set);
    for (; set->length > 0 && word_at(set, set->length - 1)->bits == 0; set->empty--) set->length--;
    if (set->empty > set->length / 2) compact(set);
    /* From an eighth full to a quarter: the next resize is far away. Without memory the large ring just stays. */
    size_t capacity = set->capacity;
    while (capacity > RING_KEPT && set->length <= capacity / 8) capacity /= 2;
    if (capacity < set->capacity) (void)resize(set, capacity);
}

int tagset_add(struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    if (set->length == 0 || word_at(set, set->length - 1)->base != base) {
        if (set->length == set->capacity && resize(set, set->capacity == 0 ? RING_MIN : set->capacity * 2) < 0) {
            return LAGO_ENOMEM;
        }
        *word_at(set, set->length++) = (struct tagset_word){ .base = base };
    }
    word_at(set, set->length - 1)->bits |= bit_of(tag);
    set->count++;
    return 0;
}

/* The word that holds `tag` if it is in the set, or NULL. */
static struct tagset_word *find(const struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    size_t low = 0, high = set->length;
    if (high > 0 && word_at(set, 0)->base == base) high = 1; /* in order: the common case */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct tagset_word *word = word_at(set, middle);
        if (word->base == base) return (word->bits & bit_of(tag)) != 0 ? word : NULL;
        if (word->base < base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

bool tagset_has(const struct tagset *set, uint64_t tag) { return find(set, tag) != NULL; }

bool tagset_remove(struct tagset *set, uint64_t tag) {
    struct tagset_word *word = find(set, tag);
    if (word == NULL) return false;
    word->bits &= ~bit_of(tag);
    set->count--;
    if (word->bits == 0) {
        set->empty++;
        tidy(set);
    }
    return true;
}

size_t tagset_remove_through(struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    uint64_t through = UINT64_MAX >> (TAGS_PER_WORD - 1 - tag % TAGS_PER_WORD);
    size_t removed = 0;
    while (set->length > 0 && word_at(set, 0)->base <= base) {
        struct tagset_word *word = word_at(set, 0);
        uint64_t bits = word->base < base ? word->bits : word->bits & through;
        removed += bit_count(bits);
        bool was_empty = word->bits == 0;
        word->bits &= ~bits;
        if (word->bits != 0) break;
        if (was_empty) set->empty--;
        pop_front(set);
    }
    set->count -= removed;
    tidy(set);
    return removed;
}

uint64_t tagset_lowest(const struct tagset *set) {
    if (set->count == 0) return 0;
    const struct tagset_word *word = word_at(set, 0);
    return word->base * TAGS_PER_WORD + (uint64_t)__builtin_ctzll(word->bits);
}

uint64_t tagset_floor(const struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    size_t low = 0, high = set->length;
    while (low < high) { /* the first word above `base` */
        size_t middle = low + (high - low) / 2;
        if (word_at(set, middle)->base <= base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low-- > 0) {
        const struct tagset_word *word = word_at(set, low);
        uint64_t bits = word->bits;
        if (word->base == base) bits &= UINT64_MAX >> (TAGS_PER_WORD - 1 - tag % TAGS_PER_WORD);
        if (bits) return word->base * TAGS_PER_WORD + (uint64_t)(TAGS_PER_WORD - 1 - __builtin_clzll(bits));
    }
    return 0;
}
