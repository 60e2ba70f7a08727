/* SPDX-License-Identifier: Apache-2.0
 *
 * The columns of heap events, see trace_heap.h and scprof-trace(5).
 *
 * Both directions keep the same books while they walk over the rows: which of the newest blocks are
 * live, which block was named last, and how large each place's last block was.
 */
#include "formats/trace_heap.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"
#include "formats/trace_columns.h"

#include "formats/base/banned.h"

#define RECENT_BLOCKS 64
#define RECENT_SITES 64u

/* --- to columns --- */

static void *column(struct arena *arena, size_t count, size_t size)
{
	void *data = arena_alloc(arena, count * size);

	if (!data)
		xalloc_die(count * size);
	return data;
}

static uint64_t zigzag(uint64_t difference)
{
	return difference << 1 ^ (uint64_t) - (difference >> 63);
}

static uint64_t unzigzag(uint64_t value)
{
	return value >> 1 ^ (uint64_t) - (value & 1);
}

static bool all_zero(const uint32_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (values[i])
			return false;
	}
	return true;
}

/* The sites of late, by the lowest bits of their nodes: most events come from a few places. */
struct recent_sites {
	uint64_t keys[RECENT_SITES];
	uint32_t sites[RECENT_SITES];
};

/* The place that an ALLOC comes from; a new one is added to the list. */
static uint32_t site_of(const struct trace_heap *event, struct map *sites,
			struct recent_sites *recent, uint64_t *last_size, struct pack_heap *to)
{
	uint64_t key = (uint64_t)event->node << 32 | event->flags << 3 | event->kind;
	unsigned int at = event->node % RECENT_SITES;
	uint32_t site;

	if (recent->keys[at] == key)
		return recent->sites[at];
	site = map_get_or_set(sites, key, (uint32_t)to->site_count);
	recent->keys[at] = key;
	recent->sites[at] = site;
	if (site == to->site_count) {
		to->site_node[site] = event->node;
		to->site_kind[site] = event->kind;
		to->site_flags[site] = event->flags;
		last_size[site] = 0;
		to->site_count++;
	}
	return site;
}

static uint64_t capped_size(uint64_t size)
{
	return size < TRACE_MAX_SIZE_BYTES ? size : TRACE_MAX_SIZE_BYTES;
}

/* Threads and times as runs. */
static void make_runs(const struct trace_heap *events, size_t count, uint64_t first,
		      uint64_t tick_ns, struct pack_heap *to)
{
	uint64_t now = first;

	for (size_t i = 0; i < count; i++) {
		uint64_t time = events[i].time_ns / tick_ns;

		if (!i || events[i].thread != events[i - 1].thread) {
			to->thread[to->thread_runs] = events[i].thread + 1;
			to->thread_rows[to->thread_runs++] = 0;
		}
		if (!i || time != now) {
			to->time[to->time_runs] = time - now;
			to->time_rows[to->time_runs++] = 0;
			now = time;
		}
		to->thread_rows[to->thread_runs - 1]++;
		to->time_rows[to->time_runs - 1]++;
	}
}

void trace_heap_to_columns(const struct trace_heap *events, size_t count, uint64_t first_block,
			   uint64_t first, uint64_t tick_ns, struct map *sites, struct arena *arena,
			   struct pack_heap *to)
{
	uint64_t *last_size = column(arena, count, sizeof(*last_size));
	uint64_t next = first_block;
	uint64_t named = first_block;
	uint64_t live = 0; /* bit n: block next - 1 - n was made here and is live */
	struct recent_sites recent;

	memset(&recent, 0xff, sizeof(recent));
	*to = (struct pack_heap){
		.first_block = first_block,
		.count = count,
		.op = column(arena, count, sizeof(*to->op)),
		.thread = column(arena, count, sizeof(*to->thread)),
		.thread_rows = column(arena, count, sizeof(*to->thread_rows)),
		.time = column(arena, count, sizeof(*to->time)),
		.time_rows = column(arena, count, sizeof(*to->time_rows)),
		.site_node = column(arena, count, sizeof(*to->site_node)),
		.site_kind = column(arena, count, sizeof(*to->site_kind)),
		.site_flags = column(arena, count, sizeof(*to->site_flags)),
		.site = column(arena, count, sizeof(*to->site)),
		.size = column(arena, count, sizeof(*to->size)),
		.block = column(arena, count, sizeof(*to->block)),
		.left = column(arena, count, sizeof(*to->left)),
	};
	make_runs(events, count, first, tick_ns, to);
	map_clear(sites);
	for (size_t i = 0; i < count; i++) {
		const struct trace_heap *event = &events[i];
		uint64_t size = capped_size(event->size);
		uint64_t age = next - 1 - event->block;

		if (event->op == TRACE_HEAP_ALLOC) {
			uint32_t site = site_of(event, sites, &recent, last_size, to);

			to->op[i] = PACK_HEAP_ALLOC;
			to->site[to->alloc_count] = site;
			to->size[to->alloc_count++] = size == last_size[site] ? 0 : size + 1;
			last_size[site] = size;
			live = live << 1 | 1;
			next++;
			continue;
		}
		if (event->op == TRACE_HEAP_FREE && age < RECENT_BLOCKS && live >> age & 1) {
			uint64_t bit = (uint64_t)1 << age;

			to->op[i] = (uint8_t)(PACK_HEAP_FREE_RECENT +
					      __builtin_popcountll(live & (bit - 1)));
			live &= ~bit;
			continue;
		}
		to->op[i] = event->op == TRACE_HEAP_FREE ? PACK_HEAP_FREE : PACK_HEAP_RESIZE;
		to->block[to->named_count++] = zigzag(event->block - named);
		named = event->block;
		if (event->op == TRACE_HEAP_RESIZE)
			to->left[to->resize_count++] = size;
	}
	if (all_zero(to->site_kind, to->site_count))
		to->site_kind = NULL;
	if (all_zero(to->site_flags, to->site_count))
		to->site_flags = NULL;
}

/* --- and back --- */

void trace_heap_numbers_release(struct trace_heap_numbers *numbers)
{
	free(numbers->gaps);
	*numbers = (struct trace_heap_numbers){0};
}

/* Whether the block was made in a part of the trace that is lost. */
static bool is_lost(const struct trace_heap_numbers *numbers, uint64_t block)
{
	size_t low = 0;
	size_t high = numbers->gap_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (block >= numbers->gaps[middle].to)
			low = middle + 1;
		else
			high = middle;
	}
	return low < numbers->gap_count && block >= numbers->gaps[low].from;
}

/* Whether the runs have rows each and count in all. */
static bool runs_fit(const uint32_t *rows, size_t runs, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < runs; i++) {
		if (!rows[i])
			return false;
		sum += rows[i];
	}
	return sum == count;
}

/* Takes the nth newest of the live recent blocks out of their set; its number, or UINT64_MAX when
 * there are not so many. */
static uint64_t take_recent(uint64_t *live, unsigned int n, uint64_t next)
{
	uint64_t newer = *live;
	uint64_t bit;

	if (n >= RECENT_BLOCKS)
		return UINT64_MAX;
	while (n--)
		newer &= newer - 1;
	if (!newer)
		return UINT64_MAX;
	bit = newer & -newer;
	*live &= ~bit;
	return next - 1 - (uint64_t)__builtin_ctzll(bit);
}

/* Where a walk over the rows is. */
struct heap_walk {
	uint64_t next; /* number of the next ALLOC */
	uint64_t live; /* as above */
	uint64_t named;
	size_t allocs;
	size_t names;
	size_t resizes;
	uint64_t *last_size; /* by site */
};

static int read_alloc(const struct pack_heap *from, struct heap_walk *walk, struct trace_heap *to)
{
	uint32_t site = from->site ? from->site[walk->allocs] : 0;
	uint64_t size = from->size ? from->size[walk->allocs] : 0;
	uint32_t kind;

	if (site >= from->site_count)
		return -1;
	size = size ? capped_size(size - 1) : walk->last_size[site];
	walk->last_size[site] = size;
	kind = from->site_kind ? from->site_kind[site] : 0;
	to->op = TRACE_HEAP_ALLOC;
	to->node = from->site_node[site];
	to->kind = kind < TRACE_HEAP_KINDS ? kind : TRACE_HEAP_FILE;
	to->flags = from->site_flags ? from->site_flags[site] : 0;
	to->size = size;
	to->block = walk->next++;
	walk->live = walk->live << 1 | 1;
	walk->allocs++;
	return 0;
}

/* A row that is about an older block: 1, 0 when the block is lost, -1 when it cannot be. */
static int read_other(const struct pack_heap *from, struct heap_walk *walk,
		      const struct trace_heap_numbers *numbers, unsigned int op,
		      struct trace_heap *to)
{
	to->op = op == PACK_HEAP_RESIZE ? TRACE_HEAP_RESIZE : TRACE_HEAP_FREE;
	to->node = 0;
	to->kind = 0;
	to->flags = 0;
	to->size = 0;
	if (op >= PACK_HEAP_FREE_RECENT) {
		to->block = take_recent(&walk->live, op - PACK_HEAP_FREE_RECENT, walk->next);
		return to->block == UINT64_MAX ? -1 : 1;
	}
	if (op == PACK_HEAP_RESIZE) {
		to->size = from->left ? capped_size(from->left[walk->resizes]) : 0;
		walk->resizes++;
	}
	walk->named += unzigzag(from->block ? from->block[walk->names] : 0);
	walk->names++;
	to->block = walk->named;
	if (to->block >= walk->next)
		return -1;
	return !numbers->gap_count || !is_lost(numbers, to->block);
}

/* The rows between two borders of runs all have the same thread and time. */
static int read_rows(const struct pack_heap *from, uint64_t first_ns, uint64_t tick_ns,
		     const struct trace_heap_numbers *numbers, struct heap_walk *walk,
		     struct trace_heap *to, size_t *count)
{
	uint64_t limit = TRACE_MAX_TIME_NS / tick_ns;
	uint64_t now = first_ns / tick_ns;
	uint32_t thread = 0;
	size_t thread_end = 0;
	size_t thread_run = 0;
	size_t time_end = 0;
	size_t time_run = 0;
	size_t n = 0;

	for (size_t i = 0; i < from->count; i++) {
		unsigned int op = from->op[i];
		int ret;

		if (i == thread_end) {
			thread = from->thread[thread_run] - 1;
			thread_end += from->thread_rows[thread_run++];
		}
		if (i == time_end) {
			if (now > limit || from->time[time_run] > limit - now)
				return -1;
			now += from->time[time_run];
			time_end += from->time_rows[time_run++];
		}
		to[n].thread = thread;
		to[n].time_ns = now * tick_ns;
		if (op == PACK_HEAP_ALLOC)
			ret = read_alloc(from, walk, &to[n]) < 0 ? -1 : 1;
		else
			ret = read_other(from, walk, numbers, op, &to[n]);
		if (ret < 0)
			return -1;
		n += (size_t)ret;
	}
	*count = n;
	return 0;
}

static void add_gap(struct trace_heap_numbers *numbers, uint64_t to)
{
	numbers->gaps = xgrow(numbers->gaps, &numbers->gap_capacity, numbers->gap_count + 1,
			      sizeof(*numbers->gaps));
	numbers->gaps[numbers->gap_count++] = (struct trace_heap_gap){numbers->next, to};
}

int trace_heap_from_columns(const struct pack_heap *from, uint64_t first_ns, uint64_t tick_ns,
			    struct trace_heap_numbers *numbers, struct arena *arena,
			    struct trace_heap *to, size_t *count, struct err *err)
{
	struct heap_walk walk = {.next = from->first_block, .named = from->first_block};
	size_t gaps = numbers->gap_count;

	if (from->first_block < numbers->next ||
	    from->first_block > TRACE_MAX_BLOCK_NUMBER - from->alloc_count)
		return err_set(err, ERR_CORRUPT, "its numbers of blocks are out of order");
	if (!runs_fit(from->thread_rows, from->thread_runs, from->count) ||
	    !runs_fit(from->time_rows, from->time_runs, from->count))
		return err_set(err, ERR_CORRUPT, "its columns do not match");
	walk.last_size = arena_alloc(arena, from->site_count * sizeof(*walk.last_size));
	if (!walk.last_size)
		return err_set(err, ERR_CORRUPT, "it does not fit into memory");
	memset(walk.last_size, 0, from->site_count * sizeof(*walk.last_size));
	if (from->first_block > numbers->next)
		add_gap(numbers, from->first_block);
	if (read_rows(from, first_ns, tick_ns, numbers, &walk, to, count) < 0) {
		numbers->gap_count = gaps;
		return err_set(err, ERR_CORRUPT, "an event of a block of memory cannot be");
	}
	numbers->next = walk.next;
	return 0;
}
