/* SPDX-License-Identifier: Apache-2.0
 *
 * Full recordings: the lanes of record/lane.h, merged into one sequence by their events' numbers.
 *
 * The cut. Events are taken up to a limit: the counter of numbers as it was before the first `used`
 * was read, or less where a writer has a release pending. An event below the limit that is not
 * published by then is late, and comes with the next pass; that does no harm. Its ALLOC has not
 * returned or its FREE has not happened, so no other event of that address that came after it can
 * have a number yet; and what came before it at that address was published first.
 *
 * Nothing here is trusted. A lane that makes no sense is skipped from there on.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/block_map.h"
#include "record/drain_state.h"
#include "record/lane.h"

#define NEVER UINT64_MAX
#define DEPTH_MAX (1u << 22)
#define NODE_CACHE 4096u   /* a power of two */
#define ROOM_EVENTS 65536u /* between two calls of make_room */

/* A node that was made: the writer's own table is larger and slower. */
struct cached_node {
	uint64_t frame; /* 0 with node 0: empty */
	uint32_t parent;
	uint32_t node;
};

struct drained_lane {
	uint32_t id, slot, generation;
	bool broken;
	bool ended;
	/* Its chunks, oldest first; the first one is being read. */
	uint32_t *chunks;
	size_t chunk_count, chunk_capacity;
	uint32_t entry; /* in the first chunk: the next to be read */
	uint32_t used;  /* there: how many can be */

	uint64_t number;  /* of the last event */
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint64_t large;
	/* The next event, which is read but not taken. */
	uint64_t next; /* its number; NEVER: none so far */
	uint64_t what, size;

	/* The stack, root first: frames as they came, and the nodes of the first `resolved`. An
	 * event ahead of the limit may name code objects that the ring has not told of yet. */
	uint64_t *frames;
	uint32_t *nodes;
	uint32_t depth, resolved;
	size_t frame_capacity, node_capacity;

	uint32_t thread; /* in the trace */
	bool thread_known;
};

struct drained_lanes {
	struct lane_area *area;
	struct drained_lane **lanes; /* with unread chunks or a chance of more */
	size_t count, capacity;
	struct drained_lane *owner[LANE_CHUNKS];
	struct block_map blocks;
	struct cached_node nodes[NODE_CACHE];
	uint32_t events; /* since make_room */
};

static struct lane_chunk *chunk_at(const struct drained_lanes *lanes, uint32_t index)
{
	return (struct lane_chunk *)((char *)lanes->area + LANE_HEADER_SIZE +
				     (size_t)index * LANE_CHUNK_SIZE);
}

struct drained_lanes *drain_lanes_new(const struct target *t)
{
	struct drained_lanes *lanes;

	if (!t->lanes)
		return NULL;
	lanes = xcalloc(1, sizeof(*lanes));
	lanes->area = t->lanes;
	return lanes;
}

static void free_lane(struct drained_lane *lane)
{
	free(lane->chunks);
	free(lane->frames);
	free(lane->nodes);
	free(lane);
}

void drain_lanes_free(struct drained_lanes *lanes)
{
	if (!lanes)
		return;
	for (size_t i = 0; i < lanes->count; i++)
		free_lane(lanes->lanes[i]);
	free(lanes->lanes);
	block_map_release(&lanes->blocks);
	free(lanes);
}

uint64_t drain_lanes_cut(const struct target *t)
{
	/* Paired with take_number in agent/heap_lane.c. */
	return t->lanes ? atomic_load_explicit(&t->lanes->next_number, memory_order_acquire) : 0;
}

/* --- chunks --- */

/* Paired with take_chunk in agent/heap_lane.c. Only the header: entries are read up to `used`. */
static void give_back(struct drained_lanes *lanes, uint32_t index)
{
	struct lane_chunk *chunk = chunk_at(lanes, index);

	lanes->owner[index] = NULL;
	memset(chunk, 0, sizeof(*chunk));
	atomic_fetch_or_explicit(&lanes->area->free[index / 64], (uint64_t)1 << index % 64,
				 memory_order_release);
}

static struct drained_lane *find_lane(struct drained_lanes *lanes, const struct lane_chunk *chunk)
{
	struct drained_lane *lane;

	for (size_t i = 0; i < lanes->count; i++)
		if (lanes->lanes[i]->id == chunk->lane)
			return lanes->lanes[i];
	lane = xcalloc(1, sizeof(*lane));
	lane->id = chunk->lane;
	lane->slot = chunk->slot;
	lane->generation = chunk->generation;
	lane->next = NEVER;
	lanes->lanes = xgrow(lanes->lanes, &lanes->capacity, lanes->count + 1,
			     sizeof(struct drained_lane *));
	lanes->lanes[lanes->count++] = lane;
	return lane;
}

static void attach(struct drained_lanes *lanes, uint32_t index)
{
	const struct lane_chunk *chunk = chunk_at(lanes, index);
	struct drained_lane *lane = find_lane(lanes, chunk);
	size_t at;

	lane->chunks = xgrow(lane->chunks, &lane->chunk_capacity, lane->chunk_count + 1,
			     sizeof(*lane->chunks));
	at = lane->chunk_count++;
	/* By the numbers they begin with, but behind the one that is being read. */
	for (; at > (lane->entry != 0) &&
	       chunk_at(lanes, lane->chunks[at - 1])->number > chunk->number;
	     at--)
		lane->chunks[at] = lane->chunks[at - 1];
	lane->chunks[at] = index;
	if (at == 0) {
		lane->entry = lane->used = 0;
		lane->number = chunk->number;
		lane->time_ns = chunk->time_ns;
	}
	lanes->owner[index] = lane;
}

/* Finds new chunks; returns the limit, or less where a release is pending. */
static uint64_t look_at_chunks(struct drained_lanes *lanes, uint64_t limit)
{
	bool dead = limit == DRAIN_ALL;

	for (uint32_t word = 0; word < LANE_CHUNKS / 64; word++) {
		uint64_t taken =
			~atomic_load_explicit(&lanes->area->free[word], memory_order_acquire);

		for (; taken; taken &= taken - 1) {
			uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(taken);
			struct lane_chunk *chunk = chunk_at(lanes, index);
			uint64_t pending;

			/* Paired with publish in agent/heap_lane.c. */
			if (!lanes->owner[index] &&
			    atomic_load_explicit(&chunk->used, memory_order_acquire))
				attach(lanes, index);
			pending = atomic_load_explicit(&chunk->pending, memory_order_acquire);
			if (pending && pending < limit && !dead)
				limit = pending;
		}
	}
	return limit;
}

/* Makes lane->entry the next unread one. False when there is none. */
static bool next_entry(struct drained_lanes *lanes, struct drained_lane *lane)
{
	while (lane->entry >= lane->used) {
		struct lane_chunk *chunk;
		uint32_t closed, used;

		if (!lane->chunk_count)
			return false;
		chunk = chunk_at(lanes, lane->chunks[0]);
		/* In this order: nothing follows what a closed chunk holds. */
		closed = atomic_load_explicit(&chunk->closed, memory_order_acquire);
		used = atomic_load_explicit(&chunk->used, memory_order_acquire);
		if (used > LANE_ENTRIES)
			used = LANE_ENTRIES;
		if (used > lane->entry) {
			lane->used = used;
			return true;
		}
		if (!closed)
			return false;
		lane->ended |= closed == LANE_ENDED;
		give_back(lanes, lane->chunks[0]);
		memmove(lane->chunks, lane->chunks + 1,
			--lane->chunk_count * sizeof(*lane->chunks));
		lane->entry = lane->used = 0;
		if (lane->chunk_count) {
			chunk = chunk_at(lanes, lane->chunks[0]);
			lane->number = chunk->number;
			lane->time_ns = chunk->time_ns;
		}
	}
	return true;
}

/* --- entries --- */

/* Writers see to it that what belongs to one entry is in one chunk. */
static int take_stack(struct drained_lane *lane, const struct lane_entry *entries, uint64_t what,
		      uint64_t value)
{
	uint32_t common = (uint32_t)(what >> 8) & LANE_COMMON_MAX, count = (uint32_t)(what >> 32);
	uint32_t further = count / 2;

	if (further > lane->used - lane->entry || common > lane->depth ||
	    count > DEPTH_MAX - common)
		return -1;
	lane->frames = xgrow(lane->frames, &lane->frame_capacity, (size_t)common + count + 1,
			     sizeof(*lane->frames));
	lane->depth = common;
	if (lane->resolved > common)
		lane->resolved = common;
	if (count)
		lane->frames[lane->depth++] = value;
	for (uint32_t i = 1; i < count; i++) {
		const struct lane_entry *entry = &entries[lane->entry + (i - 1) / 2];

		lane->frames[lane->depth++] = i % 2 ? entry->what : entry->value;
	}
	lane->entry += further;
	return 0;
}

static uint32_t find_node(struct drain *d, struct drained_lanes *lanes, uint32_t parent,
			  uint64_t frame, uint32_t code)
{
	uint64_t hash = (frame ^ (uint64_t)parent << 40 ^ parent) * 0x9e3779b97f4a7c15u;
	struct cached_node *cached = &lanes->nodes[hash >> 32 & (NODE_CACHE - 1)];

	if (cached->node && cached->frame == frame && cached->parent == parent)
		return cached->node;
	cached->frame = frame;
	cached->parent = parent;
	cached->node = trace_writer_node(d->writer, parent, code, (int32_t)(uint32_t)(frame >> 32));
	return cached->node;
}

/* The node of the whole stack in *node. Returns 0, or -1 when a frame cannot be. */
static int resolve_stack(struct drain *d, struct target *t, struct drained_lane *lane,
			 uint32_t *node)
{
	const struct drain_target *dt = t->drained;
	uint32_t code = TRACE_NONE;

	if (lane->resolved == lane->depth) {
		*node = lane->depth ? lane->nodes[lane->depth - 1] : 0;
		return 0;
	}
	lane->nodes = xgrow(lane->nodes, &lane->node_capacity, (size_t)lane->depth + 1,
			    sizeof(*lane->nodes));
	*node = lane->resolved ? lane->nodes[lane->resolved - 1] : 0;
	for (; lane->resolved < lane->depth; lane->resolved++) {
		uint64_t frame = lane->frames[lane->resolved];
		uint32_t id = (uint32_t)frame;

		if (id >= dt->code_count || dt->codes[id] == TRACE_NONE)
			return -1;
		code = dt->codes[id];
		*node = find_node(d, t->drained->lanes, *node, frame, code);
		lane->nodes[lane->resolved] = *node;
	}
	drain_mark_leaf(d, code);
	return 0;
}

/* Reads up to and with the next event, unless one is waiting. False: nothing more, for now. */
static bool read_event(struct target *t, struct drained_lane *lane)
{
	struct drained_lanes *lanes = t->drained->lanes;

	while (lane->next == NEVER && next_entry(lanes, lane)) {
		const struct lane_entry *entries = chunk_at(lanes, lane->chunks[0])->entries;
		struct lane_entry entry = entries[lane->entry++];

		/* Its chunks are still to be given back. */
		if (lane->broken) {
			drain_count_heap_lost(t);
			continue;
		}
		switch (LANE_OP(entry.what)) {
		case LANE_ALLOC:
		case LANE_FREE:
			lane->number += entry.value >> 32;
			lane->next = lane->number;
			lane->what = entry.what;
			lane->size = (entry.value & UINT32_MAX) | lane->large;
			lane->large = 0;
			break;
		case LANE_STACK:
			if (take_stack(lane, entries, entry.what, entry.value))
				lane->broken = true;
			break;
		case LANE_LARGE:
			lane->large = entry.value & ~(uint64_t)UINT32_MAX;
			break;
		case LANE_JUMP:
			lane->number = entry.value;
			break;
		case LANE_TIME:
			lane->time_ns = entry.value;
			break;
		case LANE_PAD:
			break;
		default:
			lane->broken = true;
		}
	}
	return lane->next != NEVER;
}

static uint32_t thread_of(struct drain *d, struct target *t, struct drained_lane *lane)
{
	struct drained_thread *thread = NULL;

	if (lane->thread_known)
		return lane->thread;
	if (lane->slot < RING_SLOTS)
		thread = drain_thread(d, t, lane->slot, lane->generation, NULL, false);
	if (thread)
		drain_define_thread(d, t, thread);
	else
		drain_define_process(d, t);
	lane->thread = thread ? thread->index : TRACE_NONE;
	lane->thread_known = true;
	return lane->thread;
}

void drain_lanes_alloc(struct drain *d, struct target *t, const struct drain_place *place,
		       uint64_t address, enum trace_heap_kind kind, uint64_t size)
{
	struct block_map *blocks = &t->drained->lanes->blocks;

	/* One lives there already: its end was lost. */
	if (block_map_has(blocks, address)) {
		drain_write_release(d, t, place, block_map_take(blocks, address), 0);
		drain_count_heap_lost(t);
	}
	block_map_set(blocks, address, drain_write_alloc(d, t, place, kind, size));
}

void drain_lanes_free_block(struct drain *d, struct target *t, const struct drain_place *place,
			    uint64_t address)
{
	uint64_t number = block_map_take(&t->drained->lanes->blocks, address);

	if (number != BLOCK_MAP_NONE)
		drain_write_release(d, t, place, number, 0);
	else
		drain_count_unmatched(t);
}

static void take_event(struct drain *d, struct target *t, struct drained_lane *lane)
{
	uint64_t address = LANE_ADDRESS(lane->what);
	struct drain_place place = {.thread = thread_of(d, t, lane)};
	bool python = LANE_KIND(lane->what) == TRACE_HEAP_PYTHON;

	place.time_ns = drain_heap_time(d, t, lane->time_ns);
	lane->next = NEVER;
	if (LANE_OP(lane->what) == LANE_FREE) {
		drain_lanes_free_block(d, t, &place, address);
		return;
	}
	if (lane->what & LANE_UNWALKED || resolve_stack(d, t, lane, &place.node)) {
		place.flags = TRACE_HEAP_UNWALKED;
		place.node = 0;
	}
	drain_lanes_alloc(d, t, &place, address, python ? TRACE_HEAP_PYTHON : TRACE_HEAP_NATIVE,
			  lane->size);
}

/* --- merging --- */

/* The lane with the lowest next number, and in *bound the lowest of the others. */
static struct drained_lane *first_lane(struct drained_lanes *lanes, uint64_t limit, uint64_t *bound)
{
	struct drained_lane *first = NULL;

	*bound = limit;
	for (size_t i = 0; i < lanes->count; i++) {
		struct drained_lane *lane = lanes->lanes[i];

		if (lane->next >= limit)
			continue;
		if (!first || lane->next < first->next) {
			if (first)
				*bound = first->next;
			first = lane;
		} else if (lane->next < *bound) {
			*bound = lane->next;
		}
	}
	return first;
}

static void retire_lanes(struct drained_lanes *lanes)
{
	size_t kept = 0;

	for (size_t i = 0; i < lanes->count; i++) {
		struct drained_lane *lane = lanes->lanes[i];

		if (lane->ended && lane->next == NEVER && !lane->chunk_count)
			free_lane(lane);
		else
			lanes->lanes[kept++] = lane;
	}
	lanes->count = kept;
}

void drain_lanes(struct drain *d, struct target *t, uint64_t limit)
{
	struct drained_lanes *lanes = t->drained->lanes;
	struct drained_lane *lane;
	uint64_t bound;

	if (!lanes || !limit)
		return;
	limit = look_at_chunks(lanes, limit);
	for (size_t i = 0; i < lanes->count; i++)
		read_event(t, lanes->lanes[i]);
	while ((lane = first_lane(lanes, limit, &bound))) {
		do {
			take_event(d, t, lane);
			if (++lanes->events >= ROOM_EVENTS && d->options.make_room) {
				lanes->events = 0;
				d->options.make_room(d->options.make_room_arg);
			}
		} while (read_event(t, lane) && lane->next < bound);
	}
	retire_lanes(lanes);
}
