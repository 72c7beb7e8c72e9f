/*
 * A range and, below it, a sparse bit set as a ring of words. It does not know what the tags stand for.
 *
 * Invariants: every tag of the range is above every word's; bases rise; the first and the last word have bits, unless there is only
 * one; at most half of the words have none. A tag enters the words at most once, when a gap is made above it; there removing in order
 * works at the front, in O(1), and any other tag is found by bisection. A compaction drops more words than it keeps, so it costs O(1)
 * for each word that was emptied.
 */
#include "tagset.h"

#include "alloc.h"
#include <lago/error.h>

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

/* ---------------------------------------------------------------- from the range into words */

static int reserve(struct tagset *set, size_t count) {
    size_t capacity = set->capacity == 0 ? RING_MIN : set->capacity;
    while (capacity < set->length + count) capacity *= 2;
    return capacity == set->capacity ? 0 : resize(set, capacity);
}

static bool is_in_range(const struct tagset *set, uint64_t tag) { return tag - set->first < set->size; }

/* The first `count` tags of the range leave it. 0 or LAGO_ENOMEM. */
static int spill(struct tagset *set, uint64_t count) {
    if (count == 0) return 0;
    if (set->in_words == 0) set->length = set->empty = 0; /* a word that has become empty and is alone */
    uint64_t tag = set->first, last = tag + count - 1;
    if (reserve(set, (size_t)(last / TAGS_PER_WORD - tag / TAGS_PER_WORD + 1)) < 0) return LAGO_ENOMEM;
    for (uint64_t base = tag / TAGS_PER_WORD; base <= last / TAGS_PER_WORD; base++) {
        uint64_t bits = UINT64_MAX;
        if (base == tag / TAGS_PER_WORD) bits &= UINT64_MAX << (tag % TAGS_PER_WORD);
        if (base == last / TAGS_PER_WORD) bits &= UINT64_MAX >> (TAGS_PER_WORD - 1 - last % TAGS_PER_WORD);
        bool shared = set->length > 0 && word_at(set, set->length - 1)->base == base;
        if (!shared) *word_at(set, set->length++) = (struct tagset_word){ .base = base };
        word_at(set, set->length - 1)->bits |= bits;
    }
    set->in_words += (size_t)count;
    set->first += count;
    set->size -= count;
    return 0;
}

int tagset_begin(struct tagset *set, uint64_t tag) {
    if (spill(set, set->size) < 0) return LAGO_ENOMEM;
    set->first = tag;
    set->size = 1;
    return 0;
}

/* ---------------------------------------------------------------- finding and removing */

/* The word that holds a tag, or NULL. In order, which is usual, it is the first. */
static struct tagset_word *find_word(const struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    size_t low = 0, high = set->length;
    if (high > 0 && word_at(set, 0)->base == base) high = 1;
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

bool tagset_has(const struct tagset *set, uint64_t tag) { return is_in_range(set, tag) || find_word(set, tag) != NULL; }

int tagset_isolate(struct tagset *set, uint64_t tag) {
    if (!is_in_range(set, tag)) return find_word(set, tag) != NULL ? 0 : LAGO_ESTALE;
    return tag - set->first == set->size - 1 ? 0 : spill(set, tag - set->first);
}

static void remove_from(struct tagset *set, struct tagset_word *word, uint64_t tag) {
    word->bits &= ~bit_of(tag);
    set->in_words--;
    if (word->bits != 0 || set->length == 1) return;
    set->empty++;
    tidy(set);
}

bool tagset_remove(struct tagset *set, uint64_t tag) {
    if (tagset_isolate(set, tag) < 0) return false;
    if (!is_in_range(set, tag)) {
        remove_from(set, find_word(set, tag), tag);
    } else if (tag == set->first) {
        tagset_remove_first(set);
    } else {
        set->size--; /* the newest */
    }
    return true;
}

static size_t remove_words_through(struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    uint64_t through = UINT64_MAX >> (TAGS_PER_WORD - 1 - tag % TAGS_PER_WORD);
    size_t removed = 0;
    if (set->in_words == 0) return 0;
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
    set->in_words -= removed;
    tidy(set);
    return removed;
}

size_t tagset_remove_through(struct tagset *set, uint64_t tag) {
    size_t removed = remove_words_through(set, tag);
    if (set->size == 0 || tag < set->first) return removed;
    uint64_t count = is_in_range(set, tag) ? tag - set->first + 1 : set->size;
    set->first += count;
    set->size -= count;
    return removed + (size_t)count;
}

/* ---------------------------------------------------------------- the lowest, the highest */

uint64_t tagset_lowest(const struct tagset *set) {
    if (set->in_words == 0) return set->size > 0 ? set->first : 0;
    const struct tagset_word *word = word_at(set, 0);
    return word->base * TAGS_PER_WORD + (uint64_t)__builtin_ctzll(word->bits);
}

uint64_t tagset_lowest_but(const struct tagset *set, uint64_t tag) {
    uint64_t base = tag / TAGS_PER_WORD;
    for (size_t i = 0; i < set->length && set->in_words > 0; i++) {
        const struct tagset_word *word = word_at(set, i);
        uint64_t bits = word->base == base ? word->bits & ~bit_of(tag) : word->bits;
        if (bits != 0) return word->base * TAGS_PER_WORD + (uint64_t)__builtin_ctzll(bits);
    }
    uint64_t skipped = set->size > 0 && tag == set->first ? 1 : 0;
    return set->size > skipped ? set->first + skipped : 0;
}

static uint64_t floor_in_words(const struct tagset *set, uint64_t tag) {
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
        if (bits) return word->base * TAGS_PER_WORD + TAGS_PER_WORD - 1 - (uint64_t)__builtin_clzll(bits);
    }
    return 0;
}

uint64_t tagset_floor(const struct tagset *set, uint64_t tag) {
    if (set->size == 0 || tag < set->first) return floor_in_words(set, tag);
    return is_in_range(set, tag) ? tag : set->first + set->size - 1;
}
