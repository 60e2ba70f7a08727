/* SPDX-License-Identifier: Apache-2.0
 *
 * The events of one process that the writer has taken and the file does not hold yet. They are cut
 * into blocks of bounded size at the same time in all kinds, so that blocks are in order of time.
 */
#ifndef SCPROF_TRACE_PENDING_H
#define SCPROF_TRACE_PENDING_H

#include "formats/trace_columns.h"

/* Kinds that are columns in the file. */
enum trace_pending_kind {
	TRACE_PENDING_SAMPLES, /* these three are rows */
	TRACE_PENDING_WAITS,
	TRACE_PENDING_COPIES,
	TRACE_PENDING_HEAP,
	TRACE_PENDING_FOOTPRINTS,
	TRACE_PENDING_KINDS,
};
#define TRACE_PENDING_ROWS TRACE_PENDING_HEAP

struct trace_rows {
	struct trace_row *rows;
	size_t count;
	size_t capacity;
};

/* A zeroed struct with process set is empty. */
struct trace_pending {
	uint32_t process;
	struct trace_rows rows[TRACE_PENDING_ROWS];
	struct trace_heap *heap;
	size_t heap_count;
	size_t heap_capacity;
	struct trace_footprint *footprints;
	size_t footprint_count;
	size_t footprint_capacity;
	struct trace_mark *marks; /* their labels are ours */
	size_t mark_count;
	size_t mark_capacity;
	struct trace_loss *losses; /* one place is kept free for write_lost */
	size_t loss_count;
	size_t loss_capacity;
	uint64_t write_lost; /* events dropped by failed flushes */
	uint64_t last_time_ns;
	uint64_t heap_time_ns; /* of the last heap event */
	uint64_t footprint_time_ns;
	uint64_t next_block;               /* number of the next ALLOC that comes */
	uint64_t first_block;              /* and of the first that waits here */
	size_t at[TRACE_PENDING_KINDS];    /* rows that are written */
	size_t taken[TRACE_PENDING_KINDS]; /* rows in the block that is being written */
	uint64_t taken_blocks;             /* ALLOCs among them */
	bool facts_taken;                  /* so are losses and marks */
};

void trace_pending_release(struct trace_pending *p);

/* Rows of a thread must come in order of time, all others in order of time in the process. */
void trace_pending_row(struct trace_pending *p, enum trace_pending_kind kind,
		       const struct trace_row *row, uint64_t time_ns);
/* Returns the block's number. */
uint64_t trace_pending_heap(struct trace_pending *p, const struct trace_heap *event);
void trace_pending_footprint(struct trace_pending *p, const struct trace_footprint *footprint);
void trace_pending_mark(struct trace_pending *p, const struct trace_mark *mark);
void trace_pending_loss(struct trace_pending *p, const struct trace_loss *loss);

/* How many rows wait. */
size_t trace_pending_count(const struct trace_pending *p);

/* Prepares for trace_pending_take. */
void trace_pending_sort(struct trace_pending *p, struct trace_rows *scratch);
/* Makes the next block's events; false when there are none. They live until the next call with
 * these columns. */
bool trace_pending_take(struct trace_pending *p, struct trace_columns *columns, uint64_t tick_ns,
			struct pack_block *block);
/* What was taken is in the file. */
void trace_pending_written(struct trace_pending *p);
/* Ends a flush: what is not written is dropped and counted; losses and marks stay. */
void trace_pending_end(struct trace_pending *p);

#endif
