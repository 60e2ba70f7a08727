/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/heap_lane.h"

#include <sys/mman.h>

#include "record/agent/agent.h"

/* The clock is looked at when the recorder says so, and after so many events. */
#define EVENTS_PER_TIME 256u

struct lane_area *lane_area;
/* The same, but once there are lanes it is never taken back: a thread may have been in here since
 * before the last recording ended, and the memory of that stays mapped. */
static struct lane_area *area;
const volatile uint32_t *lane_gate;

static _Thread_local struct lane *own;
static _Thread_local struct lane_chunk *pending_in; /* while a release is pending */
static _Thread_local bool ended;                    /* the thread has no lane any more */

static struct lane_chunk *chunk_at(struct lane_area *in, uint32_t index)
{
	return (struct lane_chunk *)((char *)in + LANE_HEADER_SIZE +
				     (size_t)index * LANE_CHUNK_SIZE);
}

/* The kernel empties the gate in every process that gets a copy of this one's memory: the lanes in
 * the copy point into this process's chunks. */
static int make_gate(void)
{
	uint32_t *gate = (uint32_t *)(uintptr_t)lane_gate;

	if (!gate) {
		gate = agent_map(4096);
		if (!gate)
			return -1;
		if (cpu_syscall(SYS_madvise, gate, 4096, MADV_WIPEONFORK)) {
			agent_unmap(gate, 4096);
			return -1;
		}
		lane_gate = gate;
	}
	*gate = agent.session;
	return 0;
}

int lane_start(struct lane_area *fresh)
{
	ended = false;
	if (make_gate())
		return -1;
	/* Number 0 is "none" to lane_chunk.pending. */
	atomic_store_explicit(&fresh->next_number, 1, memory_order_relaxed);
	for (size_t i = 0; i < LANE_CHUNKS / 64; i++)
		atomic_store_explicit(&fresh->free[i], UINT64_MAX, memory_order_relaxed);
	lane_area = area = fresh;
	return 0;
}

void lane_close(void)
{
	if (lane_gate)
		*(volatile uint32_t *)(uintptr_t)lane_gate = 0;
}

static uint64_t ticks_now(void)
{
	return atomic_load_explicit(&area->ticks, memory_order_relaxed);
}

/* Low indices first, so that few chunks are ever touched. */
static struct lane_chunk *take_chunk(void)
{
	struct lane_area *from = area; /* there may be a new one the next moment */

	for (uint32_t i = 0; i < LANE_CHUNKS / 64; i++) {
		uint64_t bits = atomic_load_explicit(&from->free[i], memory_order_relaxed);

		while (bits) {
			uint64_t bit = bits & -bits;

			/* Paired with give_back in lane_read.c: the chunk is zero again. */
			bits = atomic_fetch_and_explicit(&from->free[i], ~bit,
							 memory_order_acquire);
			if (bits & bit)
				return chunk_at(from, i * 64 + (uint32_t)__builtin_ctzll(bit));
		}
	}
	return NULL;
}

static void close_chunk(struct lane *lane, enum lane_closed how)
{
	if (lane->chunk)
		atomic_store_explicit(&lane->chunk->closed, how, memory_order_release);
	lane->chunk = NULL;
	lane->next = lane->end = NULL;
}

static void publish(struct lane *lane)
{
	/* Paired with lane_read.c's look at `used`. */
	atomic_store_explicit(&lane->chunk->used, (uint32_t)(lane->next - lane->chunk->entries),
			      memory_order_release);
}

int lane_room(struct lane *lane, size_t count)
{
	struct lane_chunk *chunk;

	if (__builtin_expect((size_t)(lane->end - lane->next) >= count, 1))
		return 0;
	/* The reader is far behind: there will be none for a while. */
	if (lane->starved && lane->starved == 1 + ticks_now())
		return -1;
	chunk = take_chunk();
	lane->starved = chunk ? 0 : 1 + ticks_now();
	if (!chunk)
		return -1;
	if (lane->chunk)
		publish(lane); /* perhaps half of a stack */
	close_chunk(lane, LANE_FULL);
	chunk->lane = lane->index;
	chunk->slot = lane->slot;
	chunk->generation = lane->generation;
	chunk->number = lane->number;
	chunk->time_ns = agent_now();
	lane->chunk = chunk;
	lane->next = chunk->entries;
	lane->end = chunk->entries + LANE_ENTRIES;
	return 0;
}

static void put(struct lane *lane, uint64_t what, uint64_t value)
{
	*lane->next++ = (struct lane_entry){what, value};
}

static void count_lost(void)
{
	atomic_fetch_add_explicit(&agent.ring->heap_lost, 1, memory_order_relaxed);
}

/* It was of another recording, or of the parent of this fork. Only the memory is kept. */
static void forget(struct lane *lane)
{
	uint32_t capacity = lane->capacity;
	uint64_t *keys = lane->keys, *told_keys = lane->told_keys;
	struct ring_frame *told_frames = lane->told_frames;

	memset(lane, 0, sizeof(*lane));
	lane->capacity = capacity;
	lane->keys = keys;
	lane->told_keys = told_keys;
	lane->told_frames = told_frames;
}

static __attribute__((noinline, cold)) struct lane *open_lane(void)
{
	struct lane *lane;

	if (ended || !atomic_load_explicit(&agent.live, memory_order_acquire) || !agent_is_home())
		return NULL;
	lane = own ? own : agent_map(sizeof(*lane));
	if (!lane) {
		count_lost();
		return NULL;
	}
	if (own)
		forget(lane);
	lane->session = agent.session;
	lane->index = atomic_fetch_add_explicit(&area->next_lane, 1, memory_order_relaxed);
	lane->slot = agent_slot() ? agent_self.slot - 1 : RING_NO_SLOT;
	if (agent_self.slot)
		lane->generation = atomic_load_explicit(&agent.slots[lane->slot].generation,
							memory_order_relaxed);
	own = lane;
	return lane;
}

/* The calling thread's lane; NULL: nothing is to be recorded, or not here. */
static inline struct lane *get_lane(void)
{
	uint32_t session = *lane_gate;

	if (__builtin_expect(!session, 0))
		return NULL;
	return __builtin_expect(own && own->session == session, 1) ? own : open_lane();
}

void lane_end_thread(void)
{
	struct lane *lane = own;

	ended = true;
	own = NULL;
	if (!lane)
		return;
	/* The memory of an older recording, or of a fork's parent, may be gone. */
	if (lane->session == *lane_gate)
		close_chunk(lane, LANE_ENDED);
	lane_stack_release(lane);
	agent_unmap(lane, sizeof(*lane));
}

static inline uint64_t take_number(void)
{
	/* The release half carries what was published before, the acquire half what others did
	 * before they gave the memory back. */
	return atomic_fetch_add_explicit(&area->next_number, 1, memory_order_acq_rel);
}

/* The difference to write; far numbers go ahead in an entry of their own. */
static inline uint64_t step_to(struct lane *lane, uint64_t number)
{
	uint64_t step = number - lane->number;

	if (__builtin_expect(step > UINT32_MAX, 0)) {
		put(lane, LANE_JUMP, number);
		step = 0;
	}
	lane->number = number;
	return step << 32;
}

static inline void look_at_clock(struct lane *lane)
{
	uint64_t ticks = ticks_now();

	if (__builtin_expect(lane->ticks == ticks && ++lane->events < EVENTS_PER_TIME, 1))
		return;
	lane->ticks = ticks;
	lane->events = 0;
	put(lane, LANE_TIME, agent_now());
}

uint64_t lane_take_number(void)
{
	return lane_area ? take_number() : 0;
}

void lane_look_at_clocks(void)
{
	if (lane_area)
		atomic_fetch_add_explicit(&area->ticks, 1, memory_order_relaxed);
}

/* The end of user code is a moment that the events are to be told apart by: what looks for it takes
 * its own number afterwards. */
static inline void watch_end(void)
{
	if (__builtin_expect(*(const uint64_t *)(uintptr_t)(agent.runtime +
							    agent.layout.runtime_finalizing) != 0,
			     0))
		agent_watch_end();
}

/* The thread has given its lane up, but there is one more thing that it allocates or frees. */
static __attribute__((noinline, cold)) void write_late_alloc(const void *block, size_t size,
							     enum trace_heap_kind kind)
{
	uint64_t number = take_number();
	struct ring_heap *record = (struct ring_heap *)ring_reserve(sizeof(*record));

	if (!record) {
		count_lost();
		return;
	}
	record->flags = RING_HEAP_UNWALKED | (kind == TRACE_HEAP_PYTHON ? RING_HEAP_PYTHON : 0);
	record->time_ns = agent_now();
	record->address = (uint64_t)(uintptr_t)block;
	record->size = size;
	record->number = number;
	ring_commit(&record->record, sizeof(*record), RING_ALLOC, RING_NO_SLOT);
}

static __attribute__((noinline, cold)) void write_late_free(const void *block)
{
	uint64_t number = take_number();
	struct ring_release *record = (struct ring_release *)ring_reserve(sizeof(*record));

	if (!record) {
		count_lost();
		return;
	}
	record->time_ns = agent_now();
	record->address = (uint64_t)(uintptr_t)block;
	record->number = number;
	ring_commit(&record->record, sizeof(*record), RING_FREE, RING_NO_SLOT);
}

static bool is_late(void)
{
	return ended && *lane_gate && atomic_load_explicit(&agent.live, memory_order_relaxed);
}

/* At most this many entries go with an event: LARGE, TIME, JUMP, itself. */
#define EVENT_ENTRIES 4

void lane_alloc(const void *block, size_t size, enum trace_heap_kind kind)
{
	struct lane *lane = get_lane();
	uint64_t what = (uint64_t)(uintptr_t)block << 8 | (unsigned)kind << 4 | LANE_ALLOC;
	uint64_t step;
	int walked;

	if (__builtin_expect(!lane, 0)) {
		if (is_late())
			write_late_alloc(block, size, kind);
		return;
	}
	watch_end();
	walked = lane_write_stack(lane);
	if (__builtin_expect(walked < 0 || lane_room(lane, EVENT_ENTRIES), 0)) {
		count_lost();
		return;
	}
	look_at_clock(lane);
	if (__builtin_expect(size > UINT32_MAX, 0))
		put(lane, LANE_LARGE, (uint64_t)size & ~(uint64_t)UINT32_MAX);
	step = step_to(lane, take_number());
	put(lane, what | (unsigned)walked, step | (uint32_t)size);
	publish(lane);
}

static void write_free(struct lane *lane, const void *block, uint64_t number)
{
	uint64_t step;

	look_at_clock(lane);
	step = step_to(lane, number);
	put(lane, (uint64_t)(uintptr_t)block << 8 | LANE_FREE, step);
	publish(lane);
}

void lane_free(const void *block)
{
	struct lane *lane = get_lane();

	if (__builtin_expect(!lane, 0)) {
		if (is_late())
			write_late_free(block);
		return;
	}
	watch_end();
	if (__builtin_expect(lane_room(lane, EVENT_ENTRIES), 0)) {
		count_lost();
		return;
	}
	write_free(lane, block, take_number());
}

uint64_t lane_before_move(void)
{
	struct lane *lane = get_lane();
	uint64_t number;

	if (!lane)
		return 0;
	watch_end();
	if (lane_room(lane, EVENT_ENTRIES))
		return 0;
	/* Less than the number that it will get: taken first, published first. */
	number = atomic_load_explicit(&area->next_number, memory_order_relaxed);
	pending_in = lane->chunk;
	atomic_store_explicit(&pending_in->pending, number, memory_order_release);
	return take_number();
}

void lane_after_move(uint64_t number, const void *block)
{
	struct lane *lane = own;

	if (!number) {
		/* It had no room then. */
		if (block)
			lane_free(block);
		return;
	}
	if (block)
		write_free(lane, block, number);
	atomic_store_explicit(&pending_in->pending, 0, memory_order_release);
}
