/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/stack.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "record/python/walk.h"

#define FRAMES_FIRST 1024u
#define HEAD_MAX 128u /* bytes: the largest record that frames follow */
#define FRAMES_PER_RECORD ((RING_RECORD_MAX - HEAD_MAX) / sizeof(struct ring_frame))
#define CHUNKS_MAX 65536
/* Reads above the stack pointer and below the stack's end need no check. */
#define STACK_SPAN (64u << 20)

/* One thread's stacks, leaf first: the one being read and the last one the reader was told. */
struct stack_thread {
	uint32_t generation;
	uint32_t capacity;
	uint32_t told; /* frames in `last` */
	struct ring_frame *current;
	struct ring_frame *last;
};

int agent_peek(uint64_t address, void *to, size_t size)
{
	struct iovec local = {to, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};
	long n = cpu_syscall(SYS_process_vm_readv, agent.pid, &local, 1, &remote, 1, 0);
	unsigned char mapped;

	if (n == (long)size)
		return 0;
	if (n != -EPERM && n != -ENOSYS)
		return -1;
	/* Not allowed in this sandbox: at least ask whether the pages are mapped. */
	for (uint64_t page = address & ~4095ull; page < address + size; page += 4096)
		if (cpu_syscall(SYS_mincore, page, 1, &mapped) != 0)
			return -1;
	memcpy(to, (const void *)(uintptr_t)address, size);
	return 0;
}

/* The thread's data stack is a list of chunks that only the thread itself changes. Frames get older
 * as the walk goes on, and so do their chunks. */
static bool in_data_stack(struct stack *s, uint64_t address, size_t size)
{
	uint64_t chunk = s->chunk;

	for (int i = 0; chunk && i < CHUNKS_MAX; i++) {
		uint64_t chunk_size = *(const uint64_t *)(uintptr_t)(chunk + 8);

		if (address >= chunk && address + size <= chunk + chunk_size) {
			s->chunk = chunk;
			s->chunk_end = chunk + chunk_size;
			return true;
		}
		chunk = *(const uint64_t *)(uintptr_t)chunk;
	}
	return false;
}

static int read_guarded(void *arg, uint64_t address, void *to, size_t size)
{
	struct stack *s = arg;

	if ((address >= s->chunk && address + size <= s->chunk_end) ||
	    (address >= s->stack_low && address + size <= s->stack_high) ||
	    (address >= s->thread_state && address + size <= s->thread_state_end) ||
	    in_data_stack(s, address, size)) {
		memcpy(to, (const void *)(uintptr_t)address, size);
		return 0;
	}
	return agent_peek(address, to, size);
}

static inline int read_plain(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	__builtin_memcpy(to, (const void *)(uintptr_t)address, size);
	return 0;
}

static bool grow(struct stack_thread *t)
{
	uint32_t capacity = t->capacity ? t->capacity * 4 : FRAMES_FIRST;
	struct ring_frame *memory;

	if (capacity > WALK_MAX_FRAMES)
		return false;
	memory = agent_map((size_t)capacity * 2 * sizeof(*memory));
	if (!memory)
		return false;
	if (t->capacity) {
		memcpy(memory, t->current, t->capacity * sizeof(*memory));
		memcpy(memory + capacity, t->last, t->told * sizeof(*memory));
	}
	/* The old memory stays: it is a quarter of the new, and a thread that had this slot in
	 * an earlier recording may still have to write there. */
	t->current = memory;
	t->last = memory + capacity;
	t->capacity = capacity;
	return true;
}

/* What frame this is, given its code object. */
static int place_in_code(const struct code_entry *entry, uint64_t code, int64_t instr, int32_t tlbc,
			 int check_started, int64_t *offset)
{
	if (agent.layout.ts_frame != PY_NO_OFFSET) {
		*offset = instr;
	} else {
		uint64_t base = entry->bytecode;

		if (tlbc > 0) {
			/* struct { size; copies[] }: this thread's copy of the bytecode. */
			uint64_t copies =
				*(const uint64_t *)(uintptr_t)(code + agent.layout.code_tlbc);

			if (copies && tlbc < *(const int64_t *)(uintptr_t)copies)
				base = *(const uint64_t *)(uintptr_t)(copies + 8 +
								      (uint64_t)tlbc * 8);
		}
		*offset = instr - (int64_t)base;
		if (check_started && *offset < entry->first_traceable)
			return *offset < -4096 ? -1 : 1; /* a frame that has not started yet */
	}
	return *offset < -2 || *offset >= (int64_t)entry->code_bytes ? -1 : 0;
}

int stack_place(uint64_t code, int64_t instr, int32_t tlbc, int check_started, unsigned slot,
		uint64_t now_ns, struct ring_frame *frame)
{
	struct code_entry entry;
	int64_t offset;
	int ret = code_table_find(code, now_ns, slot, &entry);

	if (ret == 0)
		ret = place_in_code(&entry, code, instr, tlbc, check_started, &offset);
	if (ret == 0)
		*frame = (struct ring_frame){entry.id, (int32_t)offset};
	return ret;
}

static int take_frame(void *arg, uint64_t frame, uint64_t code, int64_t instr, int32_t tlbc,
		      int check_started)
{
	struct stack *s = arg;
	struct stack_thread *t = s->thread;
	int64_t offset;
	int ret;

	(void)frame;
	if (code != s->last_code) {
		ret = code_table_find(code, s->now_ns, s->slot, &s->last_entry);
		if (ret) {
			s->last_code = 0;
			s->no_room |= ret == -2;
			return -1;
		}
		s->last_code = code;
	}
	ret = place_in_code(&s->last_entry, code, instr, tlbc, check_started, &offset);
	if (ret)
		return ret < 0 ? -1 : 0;
	if (s->count == t->capacity && !grow(t)) {
		s->truncated = true;
		return -1;
	}
	if (s->count == 0)
		s->leaf_instr = agent.layout.ts_frame != PY_NO_OFFSET
					? s->last_entry.bytecode + (uint64_t)offset
					: (uint64_t)instr;
	t->current[s->count++] = (struct ring_frame){s->last_entry.id, (int32_t)offset};
	return 0;
}

static void restart_walk(void *arg)
{
	struct stack *s = arg;

	s->count = 0;
	s->chunk =
		*(const uint64_t *)(uintptr_t)(s->thread_state + agent.layout.ts_datastack_chunk);
	s->chunk_end = 0;
}

/* Separate functions: each is the walker compiled for one way of reading memory. */
static __attribute__((noinline)) int walk_plain(struct stack *s)
{
	return walk_thread(&agent.layout, s->thread_state, read_plain, take_frame, restart_walk, s);
}

static __attribute__((noinline)) int walk_guarded(struct stack *s)
{
	restart_walk(s);
	return walk_thread(&agent.layout, s->thread_state, read_guarded, take_frame, restart_walk,
			   s);
}

uint64_t stack_thread_state(void)
{
	const struct py_layout *l = &agent.layout;
	uint64_t own = (uint64_t)(uintptr_t)agent.this_thread_state();
	uint64_t current, thread_id, finalizing;

	/* Up to 3.11 PyGILState knows only the main interpreter's state of a thread; when the
	 * holder of the GIL is another state of this very thread, that is the one that runs. */
	if (l->runtime_tstate_current != PY_NO_OFFSET) {
		current = *(const uint64_t *)(uintptr_t)(agent.runtime + l->runtime_tstate_current);
		if (current && current != own && walk_pointer_ok(current) &&
		    agent_peek(current + l->ts_thread_id, &thread_id, 8) == 0 &&
		    thread_id == (uint64_t)pthread_self())
			own = current;
	}
	if (!own || !walk_pointer_ok(own))
		return 0;
	/* While the interpreter is taken down only the thread that does it owns its state. */
	finalizing = *(const uint64_t *)(uintptr_t)(agent.runtime + l->runtime_finalizing);
	return finalizing && finalizing != own ? 0 : own;
}

void stack_forget(unsigned slot)
{
	if (slot < RING_SLOTS && agent.threads[slot])
		agent.threads[slot]->told = 0;
}

void stack_forget_all(void)
{
	for (unsigned i = 0; i < RING_SLOTS; i++)
		if (agent.threads[i])
			agent.threads[i]->told = 0;
}

static struct stack_thread *thread_of(unsigned slot)
{
	struct stack_thread *t = agent.threads[slot];

	if (!t) {
		t = agent_map(sizeof(*t));
		if (!t)
			return NULL;
		agent.threads[slot] = t;
	}
	return t->capacity || grow(t) ? t : NULL;
}

int stack_open(struct stack *s, unsigned slot, uint64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	s->slot = slot;
	s->now_ns = now_ns;
	s->generation = atomic_load_explicit(&agent.slots[slot].generation, memory_order_relaxed);
	s->thread = thread_of(slot);
	if (!s->thread)
		return -1;
	if (s->thread->generation != s->generation) {
		s->thread->generation = s->generation;
		s->thread->told = 0;
	}
	return 0;
}

void stack_read(struct stack *s, uint64_t sp)
{
	uint64_t end;
	int ret;

	s->thread_state = stack_thread_state();
	if (!s->thread_state)
		return;
	if (agent.guarded) {
		end = agent.slots[s->slot].main ? agent.main_stack_end : (uint64_t)pthread_self();
		s->thread_state_end = s->thread_state + agent.layout.ts_root_cframe +
				      agent.layout.cframe_previous + 8;
		s->stack_low = sp;
		if (end > sp && end - sp < STACK_SPAN)
			s->stack_high = end;
		ret = walk_guarded(s);
	} else {
		ret = walk_plain(s);
	}
	if (ret && !s->truncated) {
		s->count = 0;
		s->unwalked = !s->no_room;
	}
}

/* A stack that does not fit one record goes ahead in parts, each of which moves what the reader
 * knows of this thread's stack; so even when the ring is too small for it in one go, the next
 * records get there. */
struct ring_record *stack_reserve(struct stack *s, size_t head_size)
{
	struct stack_thread *t = s->thread;
	uint32_t common = 0, fresh;
	struct ring_frames *record;

	while (common < s->count && common < t->told &&
	       t->current[s->count - 1 - common].code == t->last[t->told - 1 - common].code &&
	       t->current[s->count - 1 - common].offset == t->last[t->told - 1 - common].offset)
		common++;
	fresh = s->count - common;
	while (fresh > FRAMES_PER_RECORD) {
		uint32_t part = FRAMES_PER_RECORD - 8;

		record = (struct ring_frames *)ring_reserve(sizeof(*record) +
							    part * sizeof(struct ring_frame));
		if (!record)
			return NULL;
		record->generation = s->generation;
		record->common = common;
		record->count = part;
		memcpy(record->frames, t->current + (fresh - part),
		       part * sizeof(struct ring_frame));
		ring_commit(&record->record, sizeof(*record) + part * sizeof(struct ring_frame),
			    RING_FRAMES, s->slot);
		common += part;
		fresh -= part;
		memcpy(t->last, t->current + fresh, common * sizeof(struct ring_frame));
		t->told = common;
	}
	record = (struct ring_frames *)ring_reserve(head_size + fresh * sizeof(struct ring_frame));
	if (!record)
		return NULL;
	record->generation = s->generation;
	record->common = s->common = common;
	record->count = s->fresh = fresh;
	return &record->record;
}

void stack_commit(struct stack *s, struct ring_record *record, size_t head_size, unsigned type)
{
	struct stack_thread *t = s->thread;
	struct ring_frame *swap;

	memcpy((char *)record + head_size, t->current, s->fresh * sizeof(struct ring_frame));
	ring_commit(record, head_size + s->fresh * sizeof(struct ring_frame), type, s->slot);
	swap = t->last;
	t->last = t->current;
	t->current = swap;
	t->told = s->count;
}
