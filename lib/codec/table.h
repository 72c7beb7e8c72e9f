/* Field tables, private side: what the method engine and the properties need beyond <lago/table.h>. */
#ifndef LAGO_CODEC_TABLE_H
#define LAGO_CODEC_TABLE_H

#include "text.h"
#include "writer.h"
#include <lago/context.h>
#include <lago/table.h>

/* Write a table with its four octets of size. Raw tables are checked and copied as they are. Errors stick in the writer. */
void table_write(struct writer *w, const lago_table_t *table);

/*
 * Whether an encoded table or array, with its depth set, may be sent: RabbitMQ 3.10 crashes (541, the whole connection) on one
 * that is malformed or has the letters of older clients. 0, LAGO_ETABLE, LAGO_ETYPE or LAGO_EDEPTH.
 */
int table_sendable(const lago_table_t *table);
int array_sendable(const lago_array_t *array);

/* A received table: `size` raw bytes, its four octets of size taken off. */
lago_table_t table_over(const void *raw, size_t size);

/* Print as lago_table_format does, with strings cut at `string_max` bytes. */
void table_print(struct text *t, const lago_table_t *table, size_t string_max);

/*
 * The builder with an allocator of one's own; lago_table_builder_new uses mem_default. lago_table_builder_free releases both.
 */
lago_table_builder_t *table_builder_new(const lago_allocator_t *alloc);

#endif
