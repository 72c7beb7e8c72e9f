/* Damage what was valid: bits, letters, sizes, ends. */
#ifndef DIFFERENTIAL_MUTATE_H
#define DIFFERENTIAL_MUTATE_H

#include "random.h"

/* One to four changes of `data`, which has room for `capacity` bytes. @return the new size. */
size_t mutate(struct random *r, uint8_t *data, size_t size, size_t capacity);

#endif
