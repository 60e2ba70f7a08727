/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack ahead of an allocation. Mostly it is the last one's, or differs in a frame or two; so a
 * frame is first read as a key alone, its instruction's address (up to 3.10: the code object's with
 * the offset), and only what is new against the last keys is looked up. An allocation is a call:
 * unlike in a signal handler, the thread's frames are whole here, in every version.
 *
 * A key stands for a place only as long as its code object lives. So the objects that were looked
 * up are remembered, and when one is freed a new epoch begins: every key has to be looked up anew.
 */
#include "record/agent/agent.h"
#include "record/agent/heap_lane.h"
#include "record/agent/stack.h"
#include "record/python/walk.h"

#define FRAMES_FIRST 256u
#define FRAMES_PER_STACK 2000u /* in one entry of a lane */
#define NOT_STARTED UINT32_MAX /* as a frame's code: the reader is not told of it */

#define CODES 16384u /* a power of two */
#define CODE_PROBES 16
#define FREED 1 /* a place in the table whose code object is gone */
#define FILTER_WORDS 1024u

static _Atomic uint32_t epoch = 1;
static _Atomic uint64_t filter[FILTER_WORDS]; /* a bit by a code object's address */
static _Atomic uint64_t codes[CODES];         /* their addresses */

/* --- code objects that keys stand for --- */

static uint32_t hash_of(uint64_t address)
{
	return (uint32_t)((address >> 4) * 0x9e3779b97f4a7c15ull >> 40);
}

static void remember_code(uint64_t code)
{
	uint32_t hash = hash_of(code);

	for (uint32_t i = 0; i < CODE_PROBES; i++) {
		_Atomic uint64_t *place = &codes[(hash + i) & (CODES - 1)];
		uint64_t known = atomic_load_explicit(place, memory_order_relaxed);

		if (known == code)
			return;
		if (known <= FREED && atomic_compare_exchange_strong_explicit(place, &known, code,
									      memory_order_relaxed,
									      memory_order_relaxed))
			break;
		if (known == code)
			return;
		/* No place: what is here goes, and its keys with it. */
		if (i == CODE_PROBES - 1) {
			atomic_store_explicit(place, code, memory_order_relaxed);
			atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
		}
	}
	atomic_fetch_or_explicit(&filter[hash / 64 % FILTER_WORDS], (uint64_t)1 << hash % 64,
				 memory_order_relaxed);
}

void lane_forget_code(const void *block)
{
	uint64_t code = (uint64_t)(uintptr_t)block;
	uint32_t hash = hash_of(code);

	if (__builtin_expect(!(atomic_load_explicit(&filter[hash / 64 % FILTER_WORDS],
						    memory_order_relaxed) >>
				       hash % 64 &
			       1),
			     1))
		return;
	for (uint32_t i = 0; i < CODE_PROBES; i++) {
		_Atomic uint64_t *place = &codes[(hash + i) & (CODES - 1)];
		uint64_t known = atomic_load_explicit(place, memory_order_relaxed);

		if (!known)
			return;
		if (known == code) {
			atomic_store_explicit(place, FREED, memory_order_relaxed);
			code_table_forget(code);
			atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
			return;
		}
	}
}

/* --- reading --- */

#define LOAD(type, address) (*(const type *)(uintptr_t)(address))
#define FRAME_BYTES (2 * sizeof(uint64_t) + sizeof(struct ring_frame))

static bool grow(struct lane *lane)
{
	uint32_t capacity = lane->capacity ? lane->capacity * 4 : FRAMES_FIRST;
	uint64_t *memory;

	if (capacity > WALK_MAX_FRAMES)
		return false;
	memory = agent_map(capacity * FRAME_BYTES);
	if (!memory)
		return false;
	if (lane->capacity) {
		memcpy(memory, lane->keys, lane->capacity * sizeof(*memory));
		memcpy(memory + capacity, lane->told_keys, lane->told * sizeof(*memory));
		memcpy(memory + 2 * (size_t)capacity, lane->told_frames,
		       lane->told * sizeof(*memory));
		agent_unmap(lane->keys, lane->capacity * FRAME_BYTES);
	}
	lane->capacity = capacity;
	lane->keys = memory;
	lane->told_keys = memory + capacity;
	lane->told_frames = (struct ring_frame *)(memory + 2 * (size_t)capacity);
	return true;
}

void lane_stack_release(struct lane *lane)
{
	if (lane->capacity)
		agent_unmap(lane->keys, lane->capacity * FRAME_BYTES);
	lane->capacity = 0;
}

/* The thread's state, or 0. A state that the GIL belongs to but that is another thread's is looked
 * into once only: that takes a system call. */
static uint64_t find_thread_state(struct lane *lane)
{
	const struct py_layout *l = &agent.layout;
	uint64_t own = (uint64_t)(uintptr_t)agent.this_thread_state();

	if (l->runtime_tstate_current != PY_NO_OFFSET) {
		uint64_t current = LOAD(uint64_t, agent.runtime + l->runtime_tstate_current);

		if (current != own && current != lane->other_state) {
			uint64_t found = stack_thread_state();

			if (found == own)
				lane->other_state = current;
			return found;
		}
	}
	return own && (own == LOAD(uint64_t, agent.runtime + l->runtime_finalizing) ||
		       !LOAD(uint64_t, agent.runtime + l->runtime_finalizing))
		       ? own
		       : 0;
}

/* Of the frame objects of 3.9 and 3.10. An offset has far fewer than 24 bits. */
static inline uint64_t object_key(uint64_t code, int64_t offset)
{
	return code ^ (uint64_t)offset << 40;
}

/* Each fills lane->keys and returns how many there are, UINT32_MAX for too many. */
static uint32_t read_objects(struct lane *lane, uint64_t frame)
{
	const struct py_layout *l = &agent.layout;
	int scale = l->version >= 0x30a ? 2 : 1;
	uint32_t n = 0;

	for (; frame; frame = LOAD(uint64_t, frame + l->frame_previous)) {
		if (n == lane->capacity && !grow(lane))
			return UINT32_MAX;
		lane->keys[n++] = object_key(LOAD(uint64_t, frame + l->frame_code),
					     LOAD(int32_t, frame + l->frame_instr) * scale);
	}
	return n;
}

static uint32_t read_frames(struct lane *lane, uint64_t frame)
{
	const uint32_t previous = agent.layout.frame_previous, instr = agent.layout.frame_instr;
	const uint32_t owner = agent.layout.frame_owner;
	const uint8_t shim = agent.layout.owner_shim;
	uint32_t n = 0;

	for (; frame; frame = LOAD(uint64_t, frame + previous)) {
		if (n == lane->capacity && !grow(lane))
			return UINT32_MAX;
		lane->keys[n] = LOAD(uint64_t, frame + instr);
		n += LOAD(uint8_t, frame + owner) < shim;
	}
	return n;
}

static uint32_t read_keys(struct lane *lane, uint64_t thread_state)
{
	const struct py_layout *l = &agent.layout;

	if (!thread_state)
		return 0;
	if (l->ts_current_frame != PY_NO_OFFSET)
		return read_frames(lane, LOAD(uint64_t, thread_state + l->ts_current_frame));
	if (l->ts_cframe != PY_NO_OFFSET) {
		uint64_t cframe = LOAD(uint64_t, thread_state + l->ts_cframe);

		return read_frames(lane, LOAD(uint64_t, cframe + l->cframe_current_frame));
	}
	return read_objects(lane, LOAD(uint64_t, thread_state + l->ts_frame));
}

/* --- looking up --- */

static struct lane_place *place_of(struct lane *lane, uint64_t key)
{
	return &lane->cache[(key >> 1 ^ key >> 12 ^ key >> 40) & (LANE_CACHE - 1)];
}

/* A walk that looks every frame up. */
struct look_up {
	struct lane *lane;
	uint32_t at;     /* frames seen, leaf first */
	uint32_t common; /* known already, at the root */
	uint32_t count;
	uint64_t now_ns;
	bool no_room;
};

static inline int read_plain(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	__builtin_memcpy(to, (const void *)(uintptr_t)address, size);
	return 0;
}

static int look_up_frame(void *arg, uint64_t frame, uint64_t code, int64_t instr, int32_t tlbc,
			 int check_started)
{
	struct look_up *look = arg;
	struct lane *lane = look->lane;
	bool objects = agent.layout.ts_frame != PY_NO_OFFSET;
	uint64_t key = objects ? object_key(code, instr) : (uint64_t)instr;
	struct ring_frame found = {NOT_STARTED, 0};
	int ret;

	(void)frame;
	if (look->at + look->common >= look->count)
		return look->at++ < look->count ? 0 : -1;
	if (key != lane->keys[look->at])
		return -1;
	ret = stack_place(code, instr, tlbc, check_started, lane->slot, look->now_ns, &found);
	if (ret < 0) {
		look->no_room |= ret == -2;
		return -1;
	}
	remember_code(code);
	*place_of(lane, key) = (struct lane_place){key, found};
	lane->told_keys[look->count - 1 - look->at] = key;
	lane->told_frames[look->count - 1 - look->at] = found;
	look->at++;
	return 0;
}

static void no_restart(void *arg)
{
	(void)arg;
}

static __attribute__((noinline)) int look_up_all(struct lane *lane, uint64_t thread_state,
						 uint32_t count, uint32_t common)
{
	struct look_up look = {.lane = lane, .count = count, .common = common};

	look.now_ns = agent_now();
	/* An older walk's failure is final: what it took is not taken back. */
	if (walk_thread(&agent.layout, thread_state, read_plain, look_up_frame, no_restart,
			&look) ||
	    look.at != count)
		return -1;
	return 0;
}

/* Makes told_keys and told_frames the stack in keys, of which `common` frames are there already.
 * Returns 0, or -1: some frame cannot be told. */
static int look_up_keys(struct lane *lane, uint64_t thread_state, uint32_t count, uint32_t common)
{
	for (uint32_t i = common; i < count; i++) {
		uint64_t key = lane->keys[count - 1 - i];
		const struct lane_place *place = place_of(lane, key);

		if (place->key != key)
			return look_up_all(lane, thread_state, count, common);
		lane->told_keys[i] = key;
		lane->told_frames[i] = place->frame;
	}
	return 0;
}

/* --- telling --- */

static uint32_t count_not_started(const struct lane *lane, uint32_t from, uint32_t to)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += lane->told_frames[i].code == NOT_STARTED;
	return n;
}

static uint64_t packed(struct ring_frame frame)
{
	return frame.code | (uint64_t)(uint32_t)frame.offset << 32;
}

/* The next frame at or after *at that has started. */
static uint64_t next_frame(const struct lane *lane, uint32_t *at)
{
	while (lane->told_frames[*at].code == NOT_STARTED)
		++*at;
	return packed(lane->told_frames[(*at)++]);
}

/* Tells the reader the frames [common, told). Returns 0 or -1. */
static int tell(struct lane *lane, uint32_t common)
{
	uint32_t skipped = lane->skipped ? count_not_started(lane, 0, common) : 0;
	uint32_t fresh_skipped = count_not_started(lane, common, lane->told);
	uint32_t keep = common - skipped, left = lane->told - common - fresh_skipped;
	uint32_t at = common;

	lane->skipped = skipped + fresh_skipped;
	do {
		uint32_t part = left < FRAMES_PER_STACK ? left : FRAMES_PER_STACK;
		uint64_t what = (uint64_t)part << 32 | keep << 8 | LANE_STACK;

		if (keep > LANE_COMMON_MAX || lane_room(lane, 1 + part / 2))
			return -1;
		*lane->next++ = (struct lane_entry){what, part ? next_frame(lane, &at) : 0};
		for (uint32_t i = 1; i < part; i += 2) {
			uint64_t first = next_frame(lane, &at);

			*lane->next++ = (struct lane_entry){
				first, i + 1 < part ? next_frame(lane, &at) : 0};
		}
		keep += part;
		left -= part;
	} while (left);
	return 0;
}

int lane_write_stack(struct lane *lane)
{
	uint64_t thread_state = find_thread_state(lane);
	uint32_t now = atomic_load_explicit(&epoch, memory_order_relaxed);
	uint32_t count = read_keys(lane, thread_state), common = 0, told = lane->told;

	if (__builtin_expect(count == UINT32_MAX, 0))
		return LANE_UNWALKED;
	if (__builtin_expect(lane->epoch != now, 0)) {
		memset(lane->cache, 0, sizeof(lane->cache));
		lane->epoch = now;
		told = 0;
	}
	while (common < count && common < told &&
	       lane->keys[count - 1 - common] == lane->told_keys[common])
		common++;
	if (__builtin_expect(common == count && count == lane->told, 1))
		return 0;
	/* Whatever happens, the reader knows the first `common` frames. */
	lane->told = common;
	if (look_up_keys(lane, thread_state, count, common))
		return LANE_UNWALKED;
	lane->told = count;
	if (tell(lane, common)) {
		lane->told = 0;
		return -1;
	}
	return 0;
}
