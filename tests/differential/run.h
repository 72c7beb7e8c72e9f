/* One run: its seed, the two codecs' buffers, what was found. The kinds of cases are in valid.c, hostile.c, frames.c and stream.c. */
#ifndef DIFFERENTIAL_RUN_H
#define DIFFERENTIAL_RUN_H

#include "convert.h"
#include "same.h"

#define BUFFER_SIZE (4u << 20) /* the arena, and the octets around what is in it */
#define TEXT_SIZE   4096u

#define STREAM_FRAME_MAX 16384 /* librabbitmq takes so much memory for output anew behind each refusal; larger ones: frames.c */

/* Where the two differ on purpose. */
enum reason {
    REASON_TRAILING,
    REASON_OVERRUN,
    REASON_DEPTH,
    REASON_OLD_LETTER,
    REASON_PROPERTY_FLAGS,
    REASON_ONLY_LAGO,
    REASON_CLONE,
    REASON_FRAME_TYPE,
    REASON_SHORT,
    REASON_WEIGHT,
    REASON_COUNT
};

struct run {
    struct random random;
    uint64_t seed, index;
    amqp_pool_t pool;
    uint8_t *own_out, *peer_out; /* BUFFER_SIZE each */
    uint8_t *exact;              /* what lago reads: in a block of just its size, so that a sanitizer sees one octet too many */
    char why_data[TEXT_SIZE], own_data[TEXT_SIZE], peer_data[TEXT_SIZE];
    struct text why, own, peer; /* the difference, and the two readings */
    bool verbose;               /* print readings: a case that failed runs once more with it */
    struct {
        const char *whose;
        const uint8_t *data;
        size_t size;
    } shown[2];                     /* the last octets written or read */
    amqp_connection_state_t stream; /* what frames are fed to; NULL: the next one makes it */
    bool plant, planted;            /* control: an octet is spoilt for lago now and then; in this case */
    uint64_t frames;                /* read by both */
    uint64_t failures, both_accept, both_refuse, reasons[REASON_COUNT];
};

/* The kinds of cases; `number` counts within the kind. @return false when the two differ: `why`, `own` and `peer` say how. */
bool case_method(struct run *run, uint64_t number);
bool case_properties(struct run *run, uint64_t number);
bool case_table(struct run *run, uint64_t number);
bool case_hostile_method(struct run *run, uint64_t number);
bool case_hostile_properties(struct run *run, uint64_t number);
bool case_hostile_table(struct run *run, uint64_t number);
bool case_frames(struct run *run, uint64_t number);
bool case_stream(struct run *run, uint64_t number);

/* The end of librabbitmq's connection. */
void stream_close(struct run *run);

/* A copy for lago to read; lives until the next one. */
uint8_t *exact_copy(struct run *run, const void *data, size_t size);

/* Write what differs to `why`. @return false. */
bool differ(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Remember octets, to be printed if the case fails. `whose` and `data` live as long as the case. */
void show_octets(struct run *run, const char *whose, const void *data, size_t size);

/* 0, or how lago refuses one of the tables in what it has read. */
int check_args(const struct method_info *info, const void *args);

#endif
