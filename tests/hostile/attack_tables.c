/*
 * Tables that are wrong inside (S12 to S16, S19, S23): a session hands them on undecoded, so it is the iterator that has to refuse
 * them, without going on for ever, deeper than it may, or beyond the end of what encloses it.
 */
#include "hostile.h"

#include <lago/table.h>
#include <stdio.h>

#define STEPS_MAX 300000u

/* All of it, and all inside it. @return how many entries; negative: the first error. `depth` guards this walk, not lago's. */
static long walk_table(const lago_table_t *table, unsigned depth);

static long walk_value(const lago_value_t *value, unsigned depth) {
    long count = 1, inner = 0;
    if (depth > LAGO_TABLE_DEPTH_MAX + 1) fail_msg("deeper than it may be");
    if (value->type == LAGO_TYPE_TABLE) inner = walk_table(&value->as.table, depth + 1);
    if (value->type == LAGO_TYPE_ARRAY) {
        lago_array_iterator_t it = lago_array_iterate(&value->as.array);
        lago_value_t item;
        int rc;
        while ((rc = lago_array_next(&it, &item)) == 1) {
            long n = walk_value(&item, depth + 1);
            if (n < 0) return n;
            inner += n;
        }
        if (rc < 0) return rc;
    }
    return inner < 0 ? inner : count + inner;
}

static long walk_table(const lago_table_t *table, unsigned depth) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    long count = 0;
    int rc;
    while ((rc = lago_table_next(&it, &field)) == 1) {
        long n = walk_value(&field.value, depth);
        if (n < 0) return n;
        count += n;
        if (count > (long)STEPS_MAX) fail_msg("it goes on for ever");
    }
    return rc < 0 ? rc : count;
}

/* The bytes are in a block of their own, so that the sanitizer sees who reads one more. */
static long walk(const struct bytes *raw) {
    uint8_t *own = malloc(raw->size + 1);
    assert_non_null(own);
    if (raw->size > 0) memcpy(own, raw->data, raw->size);
    uint8_t *exact = realloc(own, raw->size ? raw->size : 1);
    lago_table_t table = { NULL, exact, raw->size, 0 };
    long n = walk_table(&table, 0);
    free(exact);
    sum.cases++;
    return n;
}

static void add_u32(struct bytes *b, uint32_t v) {
    bytes_add(b, (const uint8_t[]){ (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v }, 4);
}

/* Tables or arrays in each other, `depth` of them in all. */
static void nest(struct bytes *b, size_t depth, char letter) {
    struct bytes inner = { 0 };
    for (size_t i = 1; i < depth; i++) {
        struct bytes outer = { 0 };
        if (letter == 'F' || i + 1 == depth) bytes_add(&outer, "\1k", 2);
        bytes_add(&outer, &letter, 1);
        add_u32(&outer, (uint32_t)inner.size);
        bytes_add(&outer, inner.data, inner.size);
        bytes_free(&inner);
        inner = outer;
    }
    bytes_free(b);
    *b = inner;
}

static void depths(void) {
    for (size_t depth = 1; depth <= 2000; depth += depth < 100 ? 1 : 379) {
        for (unsigned kind = 0; kind < 2; kind++) {
            struct bytes b = { 0 };
            case_is("%zu %s in each other", depth, kind ? "arrays" : "tables");
            nest(&b, depth, kind ? 'A' : 'F');
            long n = walk(&b);
            if (depth <= LAGO_TABLE_DEPTH_MAX ? n != (long)depth - 1 : n != LAGO_EDEPTH) case_failed("%ld", n);
            bytes_free(&b);
        }
    }
}

/* Each letter that a value may have, each way that it is too short. */
static void letters(void) {
    static const char known[] = "tbBsUuIilLfdDSATFVx";
    static const uint8_t sizes[] = { 1, 1, 1, 2, 2, 2, 4, 4, 8, 8, 4, 8, 5, 4, 4, 8, 4, 0, 4 };
    for (unsigned letter = 1; letter < 256; letter++) {
        const char *found = strchr(known, (int)letter);
        size_t needed = found ? sizes[found - known] : 0;
        for (size_t size = 0; size <= 12; size++) {
            struct bytes b = { 0 };
            uint8_t zeros[16] = { 0 };
            case_is("a value of type '%c' of %zu octets", letter >= 32 && letter < 127 ? (int)letter : '?', size);
            bytes_add(&b, "\1k", 2);
            bytes_add(&b, &(const uint8_t){ (uint8_t)letter }, 1);
            bytes_add(&b, zeros, size);
            long n = walk(&b);
            /* what is left over is read as further entries of no name and type 0 */
            long expected = !found ? LAGO_ETYPE : size < needed ? LAGO_ETABLE : size == needed ? 1 : 0;
            if (expected ? n != expected : n != LAGO_ETYPE && n != LAGO_ETABLE) case_failed("%ld, not %ld", n, expected);
            bytes_free(&b);
        }
    }
}

/* Sizes of strings, tables and arrays that go beyond the end of their parent, by one or by 2^31 and more (S13, S15, S16). */
static void lengths(void) {
    static const uint32_t beyond[] = {
        1, 2, 3, 255, 65535, 0x7ffffff0, 0x7fffffff - 5, 0x80000000 - 5, 0xffffffff - 5, 0xfffffff0 - 5
    };
    static const char holders[] = "SxFA";
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof(beyond) / sizeof(beyond[0]); j++) {
            for (unsigned nested = 0; nested < 3; nested++) {
                struct bytes b = { 0 };
                case_is("a '%c' that is %u longer than its parent, %u deep", holders[i], beyond[j], nested);
                bytes_add(&b, "\1k", 2);
                bytes_add(&b, &holders[i], 1);
                add_u32(&b, 5 + beyond[j]);
                bytes_add(&b, "\1aV\1b", 5);
                for (unsigned k = 0; k < nested; k++) {
                    struct bytes outer = { 0 };
                    bytes_add(&outer, "\1oF", 3);
                    add_u32(&outer, (uint32_t)b.size);
                    bytes_add(&outer, b.data, b.size);
                    bytes_add(&outer, "\1pV\1qV\1rV", nested % 2 ? 9 : 0); /* bytes of the parent's parent, to reach for */
                    bytes_free(&b);
                    b = outer;
                }
                long n = walk(&b);
                if (n != LAGO_ETABLE && n != LAGO_ETYPE) case_failed("%ld", n);
                bytes_free(&b);
            }
        }
    }
}

/* Names: cut short, of 255 octets, with NULs. And as many entries as fit into a frame (S14). */
static void names_and_counts(void) {
    for (unsigned size = 0; size < 256; size++) {
        struct bytes b = { 0 };
        uint8_t name[256] = { 0 };
        case_is("a name of %u octets", size);
        bytes_add(&b, &(const uint8_t){ (uint8_t)size }, 1);
        bytes_add(&b, name, size);
        bytes_add(&b, "V", 1);
        if (walk(&b) != 1) case_failed("it is not read");
        b.size -= size > 0 ? 2 : 1;
        if (walk(&b) != LAGO_ETABLE) case_failed("it is read");
        bytes_free(&b);
    }
    for (size_t count = 1; count <= 65536; count *= 2) {
        struct bytes b = { 0 };
        case_is("%zu entries of nothing", count);
        for (size_t i = 0; i < count; i++) bytes_add(&b, "\0V", 2);
        long n = walk(&b);
        if (n != (count > LAGO_TABLE_ENTRIES_MAX ? LAGO_ETABLE : (long)count)) case_failed("%ld of them", n);
        bytes_free(&b);
    }
}

void attack_tables(void) {
    depths();
    letters();
    lengths();
    names_and_counts();
}
