/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap events to the columns of Heap and back. A place that allocates is listed once in a message;
 * what it allocates is mostly as large as the last time. A FREE mostly names one of the newest
 * blocks, or the neighbour of the block that was freed before.
 */
#ifndef SCPROF_TRACE_HEAP_H
#define SCPROF_TRACE_HEAP_H

#include "formats/base/arena.h"
#include "formats/base/err.h"
#include "formats/base/map.h"
#include "formats/pack.h"

/* More blocks than a process can make in years. */
#define TRACE_MAX_BLOCK_NUMBER ((uint64_t)1 << 48)

/* Events in their order to columns, which live in the arena. first_block is the number of the first
 * ALLOC, first the block's first time in ticks; sites is memory from call to call. */
void trace_heap_to_columns(const struct trace_heap *events, size_t count, uint64_t first_block,
			   uint64_t first, uint64_t tick_ns, struct map *sites, struct arena *arena,
			   struct pack_heap *to);

/* Numbers [from, to) that blocks got in a part of the trace that is lost. */
struct trace_heap_gap {
	uint64_t from;
	uint64_t to;
};

/* What the reader knows of one process's block numbers; a zeroed struct is a new process. */
struct trace_heap_numbers {
	uint64_t next;
	struct trace_heap_gap *gaps; /* in rising order */
	size_t gap_count;
	size_t gap_capacity;
};

void trace_heap_numbers_release(struct trace_heap_numbers *numbers);

/* Columns to events. to has room for from->count events and *count is how many there are: those
 * that name a lost block are left out. Ids of threads and nodes are taken as they are. The arena
 * is for the time being. Returns 0, or -1 with ERR_CORRUPT; numbers are then unchanged. */
int trace_heap_from_columns(const struct pack_heap *from, uint64_t first_ns, uint64_t tick_ns,
			    struct trace_heap_numbers *numbers, struct arena *arena,
			    struct trace_heap *to, size_t *count, struct err *err);

#endif
