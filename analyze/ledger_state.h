/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a ledger, for the ledger*.c files only.
 */
#ifndef SCPROF_LEDGER_STATE_H
#define SCPROF_LEDGER_STATE_H

#include "analyze/ledger.h"
#include "analyze/ledger_blocks.h"

#define LEDGER_WEIGHTS 512u /* sizes whose weight is remembered; a power of two */

struct ledger_site_state {
	struct ledger_sum sum;
	uint32_t groups[LEDGER_SITE_GROUPS];
};

/* The last free of a thread: a realloc that fails takes it back. */
struct ledger_last_free {
	bool valid;
	bool temporary;
	bool brief;
	struct ledger_block block;
};

struct ledger_thread_state {
	struct ledger_sum sum;
	uint64_t *ring; /* the numbers of its last k + 1 allocations */
	uint64_t count;
	struct ledger_last_free last;
};

struct ledger_weight_entry {
	uint64_t size;
	double weight;
};

struct ledger {
	struct ledger_options options;
	struct ledger_gap *gaps; /* a copy of the options' */
	struct ledger_blocks blocks;
	struct ledger_sum total;
	struct ledger_group all;
	struct series volume;
	struct ledger_group aparts[LEDGER_APARTS];
	struct ledger_site_state *sites;
	size_t site_count;
	size_t site_capacity;
	struct ledger_thread_state *threads;
	size_t thread_count;
	size_t thread_capacity;
	struct ledger_group *groups;
	size_t group_count;
	size_t group_capacity;
	struct ledger_weight_entry weights[LEDGER_WEIGHTS];
	struct series_clock clock;
	uint32_t step; /* of now_ns */
	uint64_t now_ns;
	uint64_t next_ns; /* what comes later has to pass a border first */
	uint64_t peak_id;
	uint64_t peak_ns;
	uint64_t user_end_ns;
	uint64_t end_ns;
	uint64_t unknown;
	uint32_t user_ends;
	size_t gap;   /* the next one, or the one that we are in */
	bool started; /* in the window */
	bool paused;  /* in a gap of it */
	bool closed;  /* after it */
	bool end_due; /* user code ends at user_end_ns, which was not reached yet */
	bool ended;   /* the sums' end is set */
};

/* What a block stands for. */
struct ledger_worth {
	struct estimate bytes;
	struct estimate count;
};

/* ledger.c */
struct ledger_worth ledger_sampled_worth(struct ledger *l, const struct ledger_block *block);

/* ledger_window.c */
/* Time goes past l->next_ns. */
void ledger_pass_borders(struct ledger *l, uint64_t time_ns);

static inline struct ledger_worth ledger_worth_of(struct ledger *l,
						  const struct ledger_block *block)
{
	if (block->exact || l->options.rate <= 1)
		return (struct ledger_worth){.bytes = {(double)block->size, (double)block->size, 0},
					     .count = {1, 1, 0}};
	return ledger_sampled_worth(l, block);
}

static inline struct ledger_thread_state *ledger_find_thread(struct ledger *l, uint32_t thread)
{
	return thread < l->thread_count ? &l->threads[thread] : NULL;
}

#define LEDGER_BOOKS 3

/* Where the block is in the books: everything, its site and, when known, its thread. */
static inline size_t ledger_find_books(struct ledger *l, const struct ledger_block *block,
				       struct ledger_sum *books[LEDGER_BOOKS])
{
	struct ledger_thread_state *thread = ledger_find_thread(l, block->thread);

	books[0] = &l->total;
	books[1] = &l->sites[block->site].sum;
	if (thread)
		books[2] = &thread->sum;
	return thread ? LEDGER_BOOKS : LEDGER_BOOKS - 1;
}

static inline void ledger_settle_sum(struct ledger *l, struct ledger_sum *sum)
{
	if (sum->peak_id != l->peak_id) {
		sum->peak = sum->live;
		sum->peak_id = l->peak_id;
	}
	if (!l->paused)
		sum->byte_ns += sum->live.value * (double)(l->now_ns - sum->last_ns);
	sum->last_ns = l->now_ns;
}

/* Is what happens now part of what is counted? */
static inline bool ledger_counts(const struct ledger *l)
{
	return l->started && !l->paused;
}

/* The time of an event. Returns false when it is behind the window. */
static inline bool ledger_advance(struct ledger *l, uint64_t time_ns)
{
	if (time_ns > l->next_ns)
		ledger_pass_borders(l, time_ns);
	if (l->closed)
		return false;
	if (time_ns > l->now_ns)
		l->now_ns = time_ns;
	if (l->started)
		l->step = series_clock_step(&l->clock, l->now_ns);
	return true;
}

#endif
