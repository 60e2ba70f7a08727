/* SPDX-License-Identifier: Apache-2.0
 *
 * Events on their way into the file, see trace_pending.h.
 */
#include "formats/trace_pending.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"
#include "formats/trace_heap.h"

#include "formats/base/banned.h"

#define MAX_BLOCK_ROWS ((size_t)65536)
#define MAX_HEAP_ROWS ((size_t)262144)

static void release_marks(struct trace_pending *p)
{
	for (size_t i = 0; i < p->mark_count; i++)
		free((char *)p->marks[i].label.data);
	p->mark_count = 0;
}

void trace_pending_release(struct trace_pending *p)
{
	for (size_t i = 0; i < TRACE_PENDING_ROWS; i++)
		free(p->rows[i].rows);
	release_marks(p);
	free(p->heap);
	free(p->footprints);
	free(p->marks);
	free(p->losses);
	memset(p, 0, sizeof(*p));
}

/* --- coming in --- */

void trace_pending_row(struct trace_pending *p, enum trace_pending_kind kind,
		       const struct trace_row *row, uint64_t time_ns)
{
	struct trace_rows *to = &p->rows[kind];

	to->rows = xgrow(to->rows, &to->capacity, to->count + 1, sizeof(*to->rows));
	to->rows[to->count++] = *row;
	p->last_time_ns = time_ns;
}

/* The time of an event whose order is known: never before the last one's. */
static uint64_t in_order(uint64_t *last_ns, uint64_t time_ns)
{
	if (time_ns > *last_ns)
		*last_ns = time_ns;
	return *last_ns;
}

uint64_t trace_pending_heap(struct trace_pending *p, const struct trace_heap *event)
{
	uint64_t block = event->op == TRACE_HEAP_ALLOC ? p->next_block : event->block;
	struct trace_heap *to;

	if (event->op != TRACE_HEAP_ALLOC && block >= p->next_block)
		return block;
	if (p->heap_count == p->heap_capacity)
		p->heap = xgrow(p->heap, &p->heap_capacity, p->heap_count + 1, sizeof(*p->heap));
	to = &p->heap[p->heap_count++];
	*to = *event;
	to->block = block;
	to->time_ns = in_order(&p->heap_time_ns, event->time_ns);
	p->last_time_ns = to->time_ns;
	if (event->op == TRACE_HEAP_ALLOC)
		p->next_block++;
	return block;
}

void trace_pending_footprint(struct trace_pending *p, const struct trace_footprint *footprint)
{
	struct trace_footprint *to;

	p->footprints = xgrow(p->footprints, &p->footprint_capacity, p->footprint_count + 1,
			      sizeof(*p->footprints));
	to = &p->footprints[p->footprint_count++];
	*to = *footprint;
	to->time_ns = in_order(&p->footprint_time_ns, footprint->time_ns);
	p->last_time_ns = to->time_ns;
}

void trace_pending_mark(struct trace_pending *p, const struct trace_mark *mark)
{
	size_t at = p->mark_count++;

	p->marks = xgrow(p->marks, &p->mark_capacity, p->mark_count, sizeof(*p->marks));
	for (; at && p->marks[at - 1].time_ns > mark->time_ns; at--)
		p->marks[at] = p->marks[at - 1];
	p->marks[at] = *mark;
	p->marks[at].label.data =
		xmemdup(mark->label.data ? mark->label.data : "", mark->label.size);
	p->last_time_ns = mark->time_ns;
}

void trace_pending_loss(struct trace_pending *p, const struct trace_loss *loss)
{
	p->losses = xgrow(p->losses, &p->loss_capacity, p->loss_count + 1, sizeof(*p->losses));
	p->losses[p->loss_count++] = *loss;
	p->last_time_ns = loss->time_ns;
}

/* --- going out --- */

static size_t count_of(const struct trace_pending *p, size_t kind)
{
	if (kind == TRACE_PENDING_HEAP)
		return p->heap_count;
	if (kind == TRACE_PENDING_FOOTPRINTS)
		return p->footprint_count;
	return p->rows[kind].count;
}

static uint64_t tick_of(const struct trace_pending *p, size_t kind, size_t row, uint64_t tick_ns)
{
	if (kind == TRACE_PENDING_HEAP)
		return p->heap[row].time_ns / tick_ns;
	if (kind == TRACE_PENDING_FOOTPRINTS)
		return p->footprints[row].time_ns / tick_ns;
	return p->rows[kind].rows[row].time;
}

size_t trace_pending_count(const struct trace_pending *p)
{
	size_t count = 0;

	for (size_t kind = 0; kind < TRACE_PENDING_KINDS; kind++)
		count += count_of(p, kind);
	return count;
}

void trace_pending_sort(struct trace_pending *p, struct trace_rows *scratch)
{
	for (size_t i = 0; i < TRACE_PENDING_ROWS; i++) {
		struct trace_rows *rows = &p->rows[i];

		scratch->rows = xgrow(scratch->rows, &scratch->capacity, rows->count,
				      sizeof(*scratch->rows));
		trace_rows_sort(rows->rows, rows->count, scratch->rows);
	}
}

/* The first row from which on all are later than the tick. */
static size_t rows_until(const struct trace_pending *p, size_t kind, uint64_t tick,
			 uint64_t tick_ns)
{
	size_t low = p->at[kind];
	size_t high = count_of(p, kind);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tick_of(p, kind, middle, tick_ns) <= tick)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Decides how many rows of each kind the block gets, and its times in ticks; false: none. */
static bool cut(struct trace_pending *p, uint64_t tick_ns, uint64_t *first, uint64_t *last)
{
	uint64_t until = UINT64_MAX;
	bool any = false;

	for (size_t kind = 0; kind < TRACE_PENDING_KINDS; kind++) {
		size_t most = kind == TRACE_PENDING_HEAP ? MAX_HEAP_ROWS : MAX_BLOCK_ROWS;

		if (count_of(p, kind) - p->at[kind] > most) {
			uint64_t tick = tick_of(p, kind, p->at[kind] + most - 1, tick_ns);

			until = tick < until ? tick : until;
		}
	}
	*first = UINT64_MAX;
	*last = 0;
	for (size_t kind = 0; kind < TRACE_PENDING_KINDS; kind++) {
		size_t most = kind == TRACE_PENDING_HEAP ? MAX_HEAP_ROWS : MAX_BLOCK_ROWS;
		size_t n = rows_until(p, kind, until, tick_ns) - p->at[kind];
		uint64_t tick;

		n = n < most ? n : most;
		p->taken[kind] = n;
		if (!n)
			continue;
		any = true;
		tick = tick_of(p, kind, p->at[kind], tick_ns);
		*first = tick < *first ? tick : *first;
		tick = tick_of(p, kind, p->at[kind] + n - 1, tick_ns);
		*last = tick > *last ? tick : *last;
	}
	return any;
}

/* Losses and marks go with the first block. */
static void take_facts(struct trace_pending *p, struct pack_block *block)
{
	p->facts_taken = true;
	p->losses = xgrow(p->losses, &p->loss_capacity, p->loss_count + 1, sizeof(*p->losses));
	block->losses = p->losses;
	block->loss_count = p->loss_count;
	block->marks = p->marks;
	block->mark_count = p->mark_count;
	if (p->write_lost)
		p->losses[block->loss_count++] = (struct trace_loss){
			.kind = TRACE_LOSS_WRITE,
			.process = p->process,
			.thread = TRACE_NONE,
			.time_ns = p->last_time_ns,
			.count = p->write_lost,
		};
}

static void make_columns(const struct trace_pending *p, struct trace_columns *c, uint64_t first,
			 uint64_t tick_ns, struct pack_block *block)
{
	const struct trace_row *rows[TRACE_PENDING_ROWS];
	const size_t *at = p->at;
	const size_t *n = p->taken;

	for (size_t i = 0; i < TRACE_PENDING_ROWS; i++)
		rows[i] = n[i] ? p->rows[i].rows + at[i] : NULL;
	trace_columns_reset(c);
	if (n[TRACE_PENDING_SAMPLES])
		trace_columns_samples(c, rows[TRACE_PENDING_SAMPLES], n[TRACE_PENDING_SAMPLES],
				      first, &block->samples);
	if (n[TRACE_PENDING_WAITS])
		trace_columns_waits(c, rows[TRACE_PENDING_WAITS], n[TRACE_PENDING_WAITS], first,
				    &block->waits);
	if (n[TRACE_PENDING_COPIES])
		trace_columns_copies(c, rows[TRACE_PENDING_COPIES], n[TRACE_PENDING_COPIES], first,
				     &block->copies);
	if (n[TRACE_PENDING_HEAP])
		trace_heap_to_columns(p->heap + at[TRACE_PENDING_HEAP], n[TRACE_PENDING_HEAP],
				      p->first_block, first, tick_ns, &c->last, &c->arena,
				      &block->heap);
	if (n[TRACE_PENDING_FOOTPRINTS])
		trace_columns_footprints(c, p->footprints + at[TRACE_PENDING_FOOTPRINTS],
					 n[TRACE_PENDING_FOOTPRINTS], first, tick_ns,
					 &block->footprints);
}

bool trace_pending_take(struct trace_pending *p, struct trace_columns *columns, uint64_t tick_ns,
			struct pack_block *block)
{
	uint64_t first;
	uint64_t last;
	bool any = cut(p, tick_ns, &first, &last);

	*block = (struct pack_block){.process = p->process};
	if (!any && !p->loss_count && !p->mark_count && !p->write_lost)
		return false;
	if (!any)
		first = last = p->last_time_ns / tick_ns;
	if (p->loss_count || p->mark_count || p->write_lost)
		take_facts(p, block);
	block->first_time_ns = first * tick_ns;
	block->last_time_ns = last * tick_ns;
	make_columns(p, columns, first, tick_ns, block);
	p->taken_blocks = block->heap.alloc_count;
	return true;
}

void trace_pending_written(struct trace_pending *p)
{
	p->first_block += p->taken_blocks;
	p->taken_blocks = 0;
	for (size_t kind = 0; kind < TRACE_PENDING_KINDS; kind++)
		p->at[kind] += p->taken[kind];
	if (p->facts_taken) {
		p->loss_count = 0;
		p->write_lost = 0;
		release_marks(p);
		p->facts_taken = false;
	}
}

void trace_pending_end(struct trace_pending *p)
{
	for (size_t kind = 0; kind < TRACE_PENDING_KINDS; kind++) {
		p->write_lost += count_of(p, kind) - p->at[kind];
		p->at[kind] = 0;
		p->taken[kind] = 0;
	}
	for (size_t i = 0; i < TRACE_PENDING_ROWS; i++)
		p->rows[i].count = 0;
	p->heap_count = 0;
	p->footprint_count = 0;
	p->first_block = p->next_block;
	p->facts_taken = false;
}
