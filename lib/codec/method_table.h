/* The generated tables, for method.c alone. */
#ifndef LAGO_CODEC_METHOD_TABLE_H
#define LAGO_CODEC_METHOD_TABLE_H

#include "method.h"

/* Rising by id. */
extern const struct method_info method_table[METHOD_COUNT];

/* Class id to its row in method_places + 1; 0: no such class. */
extern const uint8_t method_class_slots[METHOD_CLASS_LIMIT];

/* Method id to its place in method_table + 1; 0: no such method. */
extern const uint8_t method_places[METHOD_CLASS_COUNT][METHOD_NUMBER_LIMIT];

#endif
