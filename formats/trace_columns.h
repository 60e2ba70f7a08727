/* SPDX-License-Identifier: Apache-2.0
 *
 * Events as rows of ticks, and the columns of the file. Times are rounded down to ticks; wall and
 * CPU time are rounded so that each thread's running totals stay exact to within one tick.
 */
#ifndef SCPROF_TRACE_COLUMNS_H
#define SCPROF_TRACE_COLUMNS_H

#include <stdint.h>

#include "formats/base/map.h"
#include "formats/pack.h"

#define TRACE_DEFAULT_TICK_NS 4000u
#define TRACE_MAX_TICK_NS 1000000000u
/* Times from 36 years on are damage; sums of them stay far from overflow. */
#define TRACE_MAX_TIME_NS ((uint64_t)1 << 60)
/* Sizes beyond any address space are cut down to this, so that sums stay sums. */
#define TRACE_MAX_SIZE_BYTES ((uint64_t)1 << 57)

/* A sample, a wait or a copy; all times in ticks. */
struct trace_row {
	uint64_t time;
	union {
		uint64_t wall;
		uint64_t size; /* of a copy */
	};
	uint64_t cpu;
	uint64_t ready;
	uint32_t thread;
	uint32_t node;
	union {
		uint32_t pc;   /* of a sample */
		uint32_t kind; /* of a copy */
	};
	uint32_t what; /* flags of a sample or a copy, kind of a wait */
};

/* One thread's clocks: what was measured and what of it went out in ticks. */
struct trace_clock {
	bool started;
	uint64_t time; /* tick of the last event */
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t wall; /* ticks given out */
	uint64_t cpu;
	uint64_t ready_ns; /* less than a tick: not given out yet */
};

/* Turns the next event of a thread into ticks: sets time, wall, cpu and ready of row. */
void trace_clock_add(struct trace_clock *clock, uint64_t tick_ns, uint64_t time_ns,
		     uint64_t wall_ns, uint64_t cpu_ns, uint64_t ready_ns, struct trace_row *row);

/* Orders rows by time; rows of equal time keep their order. scratch has room for count rows. */
void trace_rows_sort(struct trace_row *rows, size_t count, struct trace_row *scratch);

/* What both directions need to know while they walk over a block's rows; zeroed struct = empty. */
struct trace_columns {
	struct map last;    /* thread -> row number of its last row */
	struct arena arena; /* the columns made by trace_columns_samples and so on */
};

/* Rows in order of time to columns; first is the block's first time in ticks. The columns live
 * until trace_columns_reset. Columns of zeros only are left out. */
void trace_columns_samples(struct trace_columns *c, const struct trace_row *rows, size_t count,
			   uint64_t first, struct pack_samples *to);
void trace_columns_waits(struct trace_columns *c, const struct trace_row *rows, size_t count,
			 uint64_t first, struct pack_waits *to);
void trace_columns_copies(struct trace_columns *c, const struct trace_row *rows, size_t count,
			  uint64_t first, struct pack_copies *to);
void trace_columns_footprints(struct trace_columns *c, const struct trace_footprint *rows,
			      size_t count, uint64_t first, uint64_t tick_ns,
			      struct pack_footprints *to);
void trace_columns_reset(struct trace_columns *c);
void trace_columns_release(struct trace_columns *c);

/* Columns to events; first_ns is the block's first time. to has room for the rows. Ids are taken as
 * they are. Returns 0, or -1 when a time or a size cannot be. */
int trace_columns_to_samples(struct trace_columns *c, const struct pack_samples *from,
			     uint64_t first_ns, uint64_t tick_ns, struct trace_sample *to);
int trace_columns_to_waits(struct trace_columns *c, const struct pack_waits *from,
			   uint64_t first_ns, uint64_t tick_ns, struct trace_wait *to);
int trace_columns_to_copies(const struct pack_copies *from, uint64_t first_ns, uint64_t tick_ns,
			    struct trace_copy *to);
int trace_columns_to_footprints(const struct pack_footprints *from, uint64_t first_ns,
				uint64_t tick_ns, struct trace_footprint *to);

#endif
