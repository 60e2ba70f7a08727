/* SPDX-License-Identifier: Apache-2.0
 *
 * What the ring says about memory, turned into events of the trace as it comes: the ring's order is
 * the order in which things happened to an address, whatever the clocks of two processors say. Here
 * addresses become numbers of blocks, and calls that map and unmap become blocks that come, shrink
 * and go.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/drain_state.h"
#include "record/footprint.h"
#include "record/heap_blocks.h"
#include "record/heap_maps.h"

_Static_assert((int)RING_MARK_LABEL == TRACE_MARK_LABEL &&
		       (int)RING_MARK_START == TRACE_MARK_START &&
		       (int)RING_MARK_STOP == TRACE_MARK_STOP &&
		       (int)RING_MARK_FINALIZE == TRACE_MARK_FINALIZE &&
		       (int)RING_MARK_FORK == TRACE_MARK_FORK,
	       "marks of the ring and of the trace differ");

struct drained_heap {
	struct heap_blocks blocks;
	struct heap_maps maps;
	struct drained_thread nobody; /* has the stack of a record without a slot */
	uint64_t page;
	uint64_t last_ns;   /* of events, in the trace's time */
	uint64_t lost;      /* of the ring's counts, what is in the trace */
	uint64_t lost_here; /* and what came here but is not in the books */
	uint64_t unmatched; /* frees of unknown blocks */
	struct footprint *footprint;
	struct trace_footprint first; /* seen before the process entered the trace */
};

struct drained_heap *drain_heap_new(const struct drain *d, const struct target *t)
{
	struct drained_heap *heap = xcalloc(1, sizeof(*heap));

	heap->page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (d->options.footprint)
		heap->footprint = footprint_open(t->pid);
	return heap;
}

void drain_heap_free(struct drained_heap *heap)
{
	if (!heap)
		return;
	heap_blocks_release(&heap->blocks);
	heap_maps_release(&heap->maps);
	free(heap->nobody.stack);
	footprint_close(heap->footprint);
	free(heap);
}

uint64_t drain_heap_time(const struct drain *d, struct target *t, uint64_t monotonic_ns)
{
	struct drained_heap *heap = t->drained->heap;
	uint64_t time_ns = drain_since_start(d, drain_not_after_now(d, monotonic_ns));

	if (time_ns > heap->last_ns)
		heap->last_ns = time_ns;
	return heap->last_ns;
}

static struct drained_thread *find_thread(struct drain *d, struct target *t,
					  const struct ring_record *record, uint32_t generation)
{
	struct drained_thread *thread = NULL;

	if (record->slot != RING_NO_SLOT)
		thread = drain_thread(d, t, record->slot, generation, NULL, false);
	if (thread)
		drain_define_thread(d, t, thread);
	else
		drain_define_process(d, t);
	return thread;
}

static struct drain_place find_place(struct drain *d, struct target *t,
				     const struct ring_heap *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct drained_thread *thread = find_thread(d, t, &record->record, record->generation);
	struct drained_thread *stack = thread;
	struct drain_place place = {.thread = thread ? thread->index : TRACE_NONE};

	if (!stack) {
		stack = &heap->nobody;
		stack->depth = 0;
	}
	if (drain_take_frames(d, t, stack, record->common, record->count, record->frames) ||
	    record->flags & RING_HEAP_UNWALKED)
		place.flags |= TRACE_HEAP_UNWALKED;
	else if (stack->depth)
		place.node = stack->stack[stack->depth - 1].node;
	place.time_ns = drain_heap_time(d, t, record->time_ns);
	return place;
}

static struct drain_place place_of_release(struct drain *d, struct target *t,
					   const struct ring_release *record)
{
	struct drained_thread *thread = find_thread(d, t, &record->record, record->generation);

	return (struct drain_place){
		.thread = thread ? thread->index : TRACE_NONE,
		.time_ns = drain_heap_time(d, t, record->time_ns),
	};
}

/* --- blocks --- */

/* The bytes that an event stands for. */
static double unbiased(uint64_t size, uint64_t rate, bool exact)
{
	double z = (double)size;

	return exact || rate <= 1 || !size ? z : z / -expm1(-z / (double)rate);
}

uint64_t drain_write_alloc(struct drain *d, struct target *t, const struct drain_place *place,
			   enum trace_heap_kind kind, uint64_t size)
{
	struct trace_heap event = {
		.op = TRACE_HEAP_ALLOC,
		.thread = place->thread,
		.node = place->node,
		.kind = kind,
		.flags = place->flags,
		.time_ns = place->time_ns,
		.size = size,
	};

	if (TRACE_HEAP_COUNTS(kind) && !(place->flags & TRACE_HEAP_RESTORED))
		d->totals.allocated_bytes +=
			unbiased(size, d->options.memory_rate, place->flags & TRACE_HEAP_EXACT);
	return trace_writer_heap(d->writer, t->index, &event);
}

static void write_alloc(struct drain *d, struct target *t, const struct drain_place *place,
			struct heap_block *block)
{
	struct drain_place full = *place;

	full.node = block->node;
	full.flags = block->flags;
	block->number = drain_write_alloc(d, t, &full, block->kind, block->size);
	/* Should it be taken back once more, it is one that counts. */
	block->flags &= (uint16_t)~TRACE_HEAP_RESTORED;
}

void drain_write_release(struct drain *d, struct target *t, const struct drain_place *place,
			 uint64_t number, uint64_t left)
{
	struct trace_heap event = {
		.op = left ? TRACE_HEAP_RESIZE : TRACE_HEAP_FREE,
		.thread = place->thread,
		.time_ns = place->time_ns,
		.block = number,
		.size = left,
	};

	trace_writer_heap(d->writer, t->index, &event);
}

static void take_alloc(struct drain *d, struct target *t, const struct ring_heap *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct drain_place place = find_place(d, t, record);
	struct heap_block block =
				  {
					  .size = record->size,
					  .node = place.node,
					  .kind = record->flags & RING_HEAP_PYTHON
							  ? TRACE_HEAP_PYTHON
							  : TRACE_HEAP_NATIVE,
					  .flags = (uint16_t)place.flags,
				  },
			  old;

	if (t->drained->lanes) {
		drain_lanes_alloc(d, t, &place, record->address, block.kind, block.size);
		return;
	}
	if (!record->address || heap->blocks.count >= HEAP_BLOCKS_MAX) {
		heap->lost_here++;
		return;
	}
	/* It lives there already: its end was lost. */
	if (heap_blocks_remove(&heap->blocks, record->address, &old)) {
		drain_write_release(d, t, &place, old.number, 0);
		heap->lost_here++;
	}
	write_alloc(d, t, &place, &block);
	heap_blocks_add(&heap->blocks, record->address, &block);
}

static void take_free(struct drain *d, struct target *t, const struct ring_release *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct heap_block block;
	struct drain_place place;

	if (t->drained->lanes) {
		place = place_of_release(d, t, record);
		drain_lanes_free_block(d, t, &place, record->address);
	} else if (heap_blocks_remove(&heap->blocks, record->address, &block)) {
		place = place_of_release(d, t, record);
		drain_write_release(d, t, &place, block.number, 0);
	} else if (d->options.memory_rate == 1) {
		/* A sampled one may be lost with its ALLOC. */
		drain_count_unmatched(t);
	}
}

void drain_count_unmatched(struct target *t)
{
	const struct drain_target *dt = t->drained;

	/* A fork frees what it has inherited, a program that was joined what it had before, and
	 * anybody what was new in a pause. */
	if (!t->ring->forked && !t->joined && !dt->paused_once &&
	    !atomic_load_explicit(&t->ring->paused, memory_order_relaxed))
		t->drained->heap->unmatched++;
}

void drain_count_heap_lost(struct target *t)
{
	t->drained->heap->lost_here++;
}

static void take_back_range(struct drain *d, struct target *t, const struct ring_release *record);

static void take_unfree(struct drain *d, struct target *t, const struct ring_release *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct heap_block block;
	struct drain_place place;

	if (record->size) {
		take_back_range(d, t, record);
		return;
	}
	if (!heap_blocks_restore(&heap->blocks, record->address, &block))
		return;
	place = place_of_release(d, t, record);
	block.flags |= TRACE_HEAP_RESTORED;
	write_alloc(d, t, &place, &block);
	heap_blocks_add(&heap->blocks, record->address, &block);
}

/* --- mappings --- */

struct releasing {
	struct drain *d;
	struct target *t;
	const struct drain_place *place;
};

static void write_released(void *arg, const struct heap_block *block, uint64_t left)
{
	const struct releasing *r = arg;

	drain_write_release(r->d, r->t, r->place, block->number, left);
}

/* Where a range ends that is given to the kernel, which takes whole pages. False when there is no
 * such range. */
static bool range_end(const struct drained_heap *heap, uint64_t start, uint64_t size, uint64_t *end)
{
	if (!size || start + size < start || start + size + heap->page < heap->page)
		return false;
	*end = (start + size + heap->page - 1) / heap->page * heap->page;
	return true;
}

static uint64_t take_range(struct drain *d, struct target *t, const struct drain_place *place,
			   uint64_t start, uint64_t size, uint32_t kinds)
{
	struct releasing releasing = {d, t, place};
	struct drained_heap *heap = t->drained->heap;
	uint64_t end;

	if (!range_end(heap, start, size, &end))
		end = start;
	return heap_maps_take(&heap->maps, start, end, kinds, write_released, &releasing);
}

static void add_mapping(struct drain *d, struct target *t, const struct drain_place *place,
			uint64_t start, uint64_t size, uint16_t kind)
{
	struct drained_heap *heap = t->drained->heap;
	struct heap_block block = {
		.size = size,
		.node = place->node,
		.kind = kind,
		.flags = (uint16_t)(place->flags | TRACE_HEAP_EXACT),
	};
	uint64_t end;

	if (!range_end(heap, start, size, &end))
		return;
	take_range(d, t, place, start, size, HEAP_MAPS_ALL);
	if (heap->maps.range_count >= HEAP_RANGES_MAX) {
		heap->lost_here++;
		return;
	}
	write_alloc(d, t, place, &block);
	/* As large as was asked for: what the last page has more is nobody's. */
	heap_maps_add(&heap->maps, start, start + size, &block);
}

static void take_map(struct drain *d, struct target *t, const struct ring_heap *record)
{
	struct drain_place place = find_place(d, t, record);
	uint16_t kind = TRACE_HEAP_ANONYMOUS;

	if (record->flags & RING_HEAP_ARENA)
		kind = TRACE_HEAP_ARENA;
	else if (record->flags & RING_HEAP_FILE)
		kind = TRACE_HEAP_FILE;
	else if (record->flags & RING_HEAP_RESERVED)
		kind = TRACE_HEAP_RESERVED;
	add_mapping(d, t, &place, record->address, record->size, kind);
}

static struct drained_gone *gone_of(struct drain *d, struct target *t,
				    const struct ring_record *record, uint32_t generation)
{
	struct drained_thread *thread = find_thread(d, t, record, generation);

	return thread ? &thread->gone : &t->drained->heap->nobody.gone;
}

static void take_remap(struct drain *d, struct target *t, const struct ring_heap *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct drain_place place = find_place(d, t, record);
	struct drained_gone *gone = gone_of(d, t, &record->record, record->generation);
	struct heap_block old;

	if (gone->size && gone->start == record->old_address && gone->size == record->old_size) {
		/* Somebody else may have got the old place by now. */
		gone->size = 0;
		add_mapping(d, t, &place, record->address, record->size, gone->block.kind);
		return;
	}
	/* Nobody saw it being mapped: then it is not in the books after this either. */
	if (!heap_maps_find(&heap->maps, record->old_address, &old)) {
		take_range(d, t, &place, record->address, record->size, HEAP_MAPS_ALL);
		return;
	}
	take_range(d, t, &place, record->old_address, record->old_size, HEAP_MAPS_ALL);
	add_mapping(d, t, &place, record->address, record->size, old.kind);
}

static void take_protect(struct drain *d, struct target *t, const struct ring_heap *record)
{
	struct drained_heap *heap = t->drained->heap;
	struct drain_place place = find_place(d, t, record);
	bool reserved = record->flags & RING_HEAP_RESERVED;
	struct heap_block block = {
		.node = place.node,
		.kind = reserved ? TRACE_HEAP_RESERVED : TRACE_HEAP_ANONYMOUS,
		.flags = (uint16_t)(place.flags | TRACE_HEAP_EXACT),
	};

	/* Files and arenas stay what they are. */
	block.size = take_range(d, t, &place, record->address, record->size,
				1u << (reserved ? TRACE_HEAP_ANONYMOUS : TRACE_HEAP_RESERVED));
	if (!block.size)
		return;
	if (heap->maps.range_count + heap->maps.taken_count > HEAP_RANGES_MAX) {
		heap->lost_here++;
		return;
	}
	write_alloc(d, t, &place, &block);
	heap_maps_add_taken(&heap->maps, &block);
}

static void take_unmap(struct drain *d, struct target *t, const struct ring_release *record)
{
	struct drain_place place = place_of_release(d, t, record);
	struct drained_gone *gone = gone_of(d, t, &record->record, record->generation);
	bool known = heap_maps_find(&t->drained->heap->maps, record->address, &gone->block);

	gone->start = record->address;
	gone->size = known ? record->size : 0;
	gone->bytes = take_range(d, t, &place, record->address, record->size, HEAP_MAPS_ALL);
}

/* The kernel would not take it. What it was of is in two blocks now, but no byte is missing. */
static void take_back_range(struct drain *d, struct target *t, const struct ring_release *record)
{
	struct drain_place place = place_of_release(d, t, record);
	struct drained_gone *gone = gone_of(d, t, &record->record, record->generation);
	struct heap_block block = gone->block;

	if (gone->start != record->address || gone->size != record->size || !gone->bytes ||
	    t->drained->heap->maps.range_count >= HEAP_RANGES_MAX)
		return;
	take_range(d, t, &place, gone->start, gone->bytes, HEAP_MAPS_ALL);
	block.size = gone->bytes;
	block.flags |= TRACE_HEAP_RESTORED;
	write_alloc(d, t, &place, &block);
	heap_maps_add(&t->drained->heap->maps, gone->start, gone->start + gone->bytes, &block);
	gone->size = 0;
}

/* --- copies and marks --- */

static void take_copy(struct drain *d, struct target *t, const struct ring_heap *record)
{
	struct drain_place place = find_place(d, t, record);
	uint32_t kind = record->flags >> RING_HEAP_KIND_SHIFT;
	struct trace_copy copy = {
		.thread = place.thread,
		.node = place.node,
		.kind = kind,
		.flags = place.flags,
		.time_ns = place.time_ns,
		.size = record->size,
	};

	if (kind >= TRACE_COPY_KINDS)
		return;
	trace_writer_copy(d->writer, t->index, &copy);
	d->totals.copied_bytes += unbiased(record->size, d->options.copy_rate, false);
}

/* What is written from now on is in a later tick. */
static void go_past(const struct drain *d, struct drained_heap *heap, uint64_t monotonic_ns)
{
	uint64_t tick_ns = trace_writer_tick_ns(d->writer);
	uint64_t next_ns = (drain_since_start(d, monotonic_ns) / tick_ns + 1) * tick_ns;

	if (heap->last_ns < next_ns)
		heap->last_ns = next_ns;
}

static void take_mark(struct drain *d, struct target *t, const struct ring_mark *record,
		      size_t size)
{
	uint32_t length = record->kind == TRACE_MARK_LABEL ? record->length : 0;
	struct drained_heap *heap = t->drained->heap;
	uint64_t written_ns = drain_not_after_now(d, record->time_ns);
	uint64_t time_ns = written_ns;
	char *label;

	if (record->kind >= TRACE_MARK_KINDS || length > size - sizeof(*record))
		return;
	/* Readers tell what was before it from what was after it by the time, which is in ticks for
	 * events: so what came before it is written with one that is not later, and what comes
	 * after it with the next tick at least. Of marks within a tick only the end of user code
	 * and forks are that exact, lest the time runs ahead. */
	drain_lanes(d, t, record->number);
	if (time_ns < d->options.start_ns + heap->last_ns)
		time_ns = d->options.start_ns + heap->last_ns;
	label = xmemdup(record->label, length);
	drain_mark(d, t, record->kind, time_ns, label, length);
	free(label);
	if (record->kind == TRACE_MARK_FINALIZE || record->kind == TRACE_MARK_FORK)
		written_ns = time_ns;
	go_past(d, heap, written_ns);
}

void drain_take_heap(struct drain *d, struct target *t, const struct ring_record *record,
		     size_t size)
{
	const struct ring_heap *heap = (const struct ring_heap *)record;
	const struct ring_release *release = (const struct ring_release *)record;
	static void (*const take[])(struct drain *, struct target *, const struct ring_heap *) = {
		[RING_ALLOC] = take_alloc,     [RING_MAP] = take_map,   [RING_REMAP] = take_remap,
		[RING_PROTECT] = take_protect, [RING_COPY] = take_copy,
	};
	static void (*const take_release[])(struct drain *, struct target *,
					    const struct ring_release *) = {
		[RING_FREE] = take_free,
		[RING_UNFREE] = take_unfree,
		[RING_UNMAP] = take_unmap,
	};

	switch (record->type) {
	case RING_ALLOC:
	case RING_MAP:
	case RING_REMAP:
	case RING_PROTECT:
	case RING_COPY:
		if (size < sizeof(*heap) ||
		    heap->count > (size - sizeof(*heap)) / sizeof(struct ring_frame))
			break;
		drain_lanes(d, t, heap->number);
		take[record->type](d, t, heap);
		break;
	case RING_FREE:
	case RING_UNFREE:
	case RING_UNMAP:
		if (size < sizeof(*release))
			break;
		drain_lanes(d, t, release->number);
		take_release[record->type](d, t, release);
		break;
	case RING_MARK:
		if (size >= sizeof(struct ring_mark))
			take_mark(d, t, (const struct ring_mark *)record, size);
		break;
	default:
		break;
	}
}

/* --- once a pass --- */

void drain_heap_losses(struct drain *d, struct target *t)
{
	struct drained_heap *heap = t->drained->heap;
	uint64_t lost = atomic_load_explicit(&t->ring->heap_lost, memory_order_relaxed) +
			atomic_load_explicit(&t->ring->heap_given_up, memory_order_relaxed);
	uint64_t new = (lost > heap->lost ? lost - heap->lost : 0) + heap->lost_here;

	if (!t->drained->defined)
		return;
	drain_write_loss(d, t, TRACE_LOSS_HEAP, new);
	drain_write_loss(d, t, TRACE_LOSS_UNMATCHED, heap->unmatched);
	d->totals.heap_lost += new + heap->unmatched;
	heap->lost = lost;
	heap->lost_here = heap->unmatched = 0;
}

static void write_footprint(struct drain *d, struct target *t, const struct trace_footprint *row)
{
	struct trace_footprint event = *row;

	event.time_ns = drain_since_start(d, row->time_ns);
	trace_writer_footprint(d->writer, t->index, &event);
	if (row->rss_bytes > d->totals.most_rss_bytes)
		d->totals.most_rss_bytes = row->rss_bytes;
}

void drain_footprint(struct drain *d, struct target *t, bool last)
{
	struct drained_heap *heap = t->drained->heap;
	struct trace_footprint rows[FOOTPRINT_ROWS];
	size_t count;

	if (!heap->footprint ||
	    (!last && atomic_load_explicit(&t->ring->paused, memory_order_relaxed)))
		return;
	/* After an exec the numbers are those of the next program. */
	if (last || atomic_load_explicit(&t->ring->state, memory_order_relaxed) == RING_EXEC)
		count = footprint_last(heap->footprint, rows);
	else
		count = footprint_look(heap->footprint, drain_now(), rows);
	if (!t->drained->defined) {
		/* It may yet leave no mark. */
		if (count && !heap->first.time_ns)
			heap->first = rows[0];
		return;
	}
	if (heap->first.time_ns && (!count || rows[0].time_ns > heap->first.time_ns))
		write_footprint(d, t, &heap->first);
	heap->first.time_ns = 0;
	for (size_t i = 0; i < count; i++)
		write_footprint(d, t, &rows[i]);
}
