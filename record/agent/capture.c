/* SPDX-License-Identifier: Apache-2.0
 *
 * The signal handler: a thread captures itself. It notes its clocks, where it was interrupted and
 * its Python stack, and writes them to the ring, the stack as a difference to this thread's last
 * one. Nothing else in the process is touched.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#include "record/python/opcode_class.h"
#include "record/python/walk.h"

#define FRAMES_FIRST 1024u
#define FRAMES_PER_RECORD \
	((RING_RECORD_MAX - sizeof(struct ring_sample)) / sizeof(struct ring_frame))
#define CHUNKS_MAX 65536
/* CPU time within which a thread that leaves a system call has just been woken. */
#define WAKE_NS 25000u
/* Reads above the interrupted stack pointer and below the stack's end need no check. */
#define STACK_SPAN (64u << 20)

/* One thread's stacks, leaf first: the one being captured and the last one the reader was told. */
struct capture_thread {
	uint32_t generation;
	uint32_t capacity;
	uint32_t told;  /* frames in `last` */
	uint64_t waits; /* voluntary context switches, when last asked for */
	struct ring_frame *current;
	struct ring_frame *last;
};

struct walk {
	struct capture_thread *thread;
	uint32_t count;
	unsigned slot;
	uint64_t now_ns;
	uint64_t thread_state, thread_state_end;
	uint64_t leaf_instr; /* address of the leaf's instruction */
	uint64_t last_code;  /* the code object of the frame taken last, and its entry */
	struct code_entry last_entry;
	bool no_room;
	bool truncated;
	/* guarded versions: memory that is known to be there */
	uint64_t stack_low, stack_high;
	uint64_t chunk, chunk_end;
};

uint64_t agent_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t agent_thread_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int capture_peek(uint64_t address, void *to, size_t size)
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
static bool in_data_stack(struct walk *w, uint64_t address, size_t size)
{
	uint64_t chunk = w->chunk;

	for (int i = 0; chunk && i < CHUNKS_MAX; i++) {
		uint64_t chunk_size = *(const uint64_t *)(uintptr_t)(chunk + 8);

		if (address >= chunk && address + size <= chunk + chunk_size) {
			w->chunk = chunk;
			w->chunk_end = chunk + chunk_size;
			return true;
		}
		chunk = *(const uint64_t *)(uintptr_t)chunk;
	}
	return false;
}

static int read_guarded(void *arg, uint64_t address, void *to, size_t size)
{
	struct walk *w = arg;

	if ((address >= w->chunk && address + size <= w->chunk_end) ||
	    (address >= w->stack_low && address + size <= w->stack_high) ||
	    (address >= w->thread_state && address + size <= w->thread_state_end) ||
	    in_data_stack(w, address, size)) {
		memcpy(to, (const void *)(uintptr_t)address, size);
		return 0;
	}
	return capture_peek(address, to, size);
}

static inline int read_plain(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	__builtin_memcpy(to, (const void *)(uintptr_t)address, size);
	return 0;
}

static bool grow(struct capture_thread *t)
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
		agent_unmap(t->current < t->last ? t->current : t->last,
			    (size_t)t->capacity * 2 * sizeof(*memory));
	}
	t->current = memory;
	t->last = memory + capacity;
	t->capacity = capacity;
	return true;
}

static int take_frame(void *arg, uint64_t frame, uint64_t code, int64_t instr, int32_t tlbc,
		      int check_started)
{
	struct walk *w = arg;
	struct capture_thread *t = w->thread;
	int64_t offset;

	(void)frame;
	if (code != w->last_code) {
		int ret = code_table_find(code, w->now_ns, w->slot, &w->last_entry);

		if (ret) {
			w->last_code = 0;
			w->no_room |= ret == -2;
			return -1;
		}
		w->last_code = code;
	}
	if (agent.layout.ts_frame != PY_NO_OFFSET) {
		offset = instr;
		instr = (int64_t)w->last_entry.bytecode + offset;
	} else {
		uint64_t base = w->last_entry.bytecode;

		if (tlbc > 0) {
			/* struct { size; copies[] }: this thread's copy of the bytecode. */
			uint64_t copies =
				*(const uint64_t *)(uintptr_t)(code + agent.layout.code_tlbc);

			if (copies && tlbc < *(const int64_t *)(uintptr_t)copies)
				base = *(const uint64_t *)(uintptr_t)(copies + 8 +
								      (uint64_t)tlbc * 8);
		}
		offset = instr - (int64_t)base;
		if (check_started && offset < w->last_entry.first_traceable)
			return offset < -4096 ? -1 : 0; /* a frame that has not started yet */
	}
	if (offset < -2 || offset >= (int64_t)w->last_entry.code_bytes)
		return -1;
	if (w->count == t->capacity && !grow(t)) {
		w->truncated = true;
		return -1;
	}
	if (w->count == 0)
		w->leaf_instr = (uint64_t)instr;
	t->current[w->count++] = (struct ring_frame){w->last_entry.id, (int32_t)offset};
	return 0;
}

static void restart_walk(void *arg)
{
	struct walk *w = arg;

	w->count = 0;
	w->chunk =
		*(const uint64_t *)(uintptr_t)(w->thread_state + agent.layout.ts_datastack_chunk);
	w->chunk_end = 0;
}

/* Separate functions: each is the walker compiled for one way of reading memory. */
static __attribute__((noinline)) int walk_plain(struct walk *w)
{
	return walk_thread(&agent.layout, w->thread_state, read_plain, take_frame, restart_walk, w);
}

static __attribute__((noinline)) int walk_guarded(struct walk *w)
{
	restart_walk(w);
	return walk_thread(&agent.layout, w->thread_state, read_guarded, take_frame, restart_walk,
			   w);
}

/* The state of the calling thread in the interpreter it runs in, or 0. */
static uint64_t find_thread_state(void)
{
	const struct py_layout *l = &agent.layout;
	uint64_t own = (uint64_t)(uintptr_t)agent.this_thread_state();
	uint64_t current, thread_id, finalizing;

	/* Up to 3.11 PyGILState knows only the main interpreter's state of a thread; when the
	 * holder of the GIL is another state of this very thread, that is the one that runs. */
	if (l->runtime_tstate_current != PY_NO_OFFSET) {
		current = *(const uint64_t *)(uintptr_t)(agent.runtime + l->runtime_tstate_current);
		if (current && current != own && walk_pointer_ok(current) &&
		    capture_peek(current + l->ts_thread_id, &thread_id, 8) == 0 &&
		    thread_id == (uint64_t)pthread_self())
			own = current;
	}
	if (!own || !walk_pointer_ok(own))
		return 0;
	/* While the interpreter is taken down only the thread that does it owns its state. */
	finalizing = *(const uint64_t *)(uintptr_t)(agent.runtime + l->runtime_finalizing);
	return finalizing && finalizing != own ? 0 : own;
}

static uint32_t interpreter_flags(uint64_t ts)
{
	const struct py_layout *l = &agent.layout;
	uint64_t interp = *(const uint64_t *)(uintptr_t)(ts + l->ts_interp), gil;
	uint32_t flags = 0;

	if (!walk_pointer_ok(interp))
		return 0;
	if (l->ts_state != PY_NO_OFFSET) {
		if (*(const int32_t *)(uintptr_t)(ts + l->ts_state) == 1)
			flags |= RING_SAMPLE_GIL;
	} else {
		gil = l->runtime_gil != PY_NO_OFFSET
			      ? agent.runtime + l->runtime_gil
			      : *(const uint64_t *)(uintptr_t)(interp + l->interp_gil);
		if (walk_pointer_ok(gil) &&
		    *(const int32_t *)(uintptr_t)(gil + l->gil_locked) == 1 &&
		    *(const uint64_t *)(uintptr_t)(gil + l->gil_last_holder) == ts)
			flags |= RING_SAMPLE_GIL;
	}
	if (*(const int32_t *)(uintptr_t)(interp + l->interp_gc_collecting))
		flags |= RING_SAMPLE_GC;
	return flags;
}

static uint32_t leaf_class(const struct walk *w)
{
	if (!agent.opcode_classes || !w->leaf_instr)
		return OPCODE_OTHER;
	/* Inside a code object that was checked a moment ago. */
	return agent.opcode_classes[*(const uint8_t *)(uintptr_t)w->leaf_instr];
}

/* Writes the sample. A stack that does not fit one record goes ahead in parts, each of which moves
 * what the reader knows of this thread's stack; so even when the ring is too small for it in one
 * go, the next samples get there. */
static void write_sample(struct walk *w, struct ring_sample *head)
{
	struct capture_thread *t = w->thread;
	struct ring_frame *swap;
	uint32_t common = 0, fresh;
	struct ring_sample *record;

	while (common < w->count && common < t->told &&
	       t->current[w->count - 1 - common].code == t->last[t->told - 1 - common].code &&
	       t->current[w->count - 1 - common].offset == t->last[t->told - 1 - common].offset)
		common++;
	fresh = w->count - common;
	while (fresh > FRAMES_PER_RECORD) {
		uint32_t part = FRAMES_PER_RECORD - 8;
		struct ring_frames *frames = (struct ring_frames *)ring_reserve(
			sizeof(*frames) + part * sizeof(struct ring_frame));

		if (!frames)
			return;
		frames->generation = t->generation;
		frames->common = common;
		frames->count = part;
		memcpy(frames->frames, t->current + (fresh - part),
		       part * sizeof(struct ring_frame));
		ring_commit(&frames->record, sizeof(*frames) + part * sizeof(struct ring_frame),
			    RING_FRAMES, w->slot);
		common += part;
		fresh -= part;
		memcpy(t->last, t->current + fresh, common * sizeof(struct ring_frame));
		t->told = common;
	}

	record = (struct ring_sample *)ring_reserve(sizeof(*record) +
						    fresh * sizeof(struct ring_frame));
	if (!record)
		return;
	record->generation = t->generation;
	record->common = common;
	record->count = fresh;
	record->flags = head->flags;
	record->time_ns = head->time_ns;
	record->cpu_ns = head->cpu_ns;
	record->pc = head->pc;
	record->request = head->request;
	memcpy(record->frames, t->current, fresh * sizeof(struct ring_frame));
	record->cost_ns = (uint32_t)(agent_now() - head->time_ns);
	ring_commit(&record->record, sizeof(*record) + fresh * sizeof(struct ring_frame),
		    RING_SAMPLE, w->slot);

	swap = t->last;
	t->last = t->current;
	t->current = swap;
	t->told = w->count;
}

static struct capture_thread *thread_of(unsigned slot)
{
	struct capture_thread *t = agent.threads[slot];
	uint32_t generation =
		atomic_load_explicit(&agent.slots[slot].generation, memory_order_relaxed);

	if (!t) {
		t = agent_map(sizeof(*t));
		if (!t)
			return NULL;
		agent.threads[slot] = t;
	}
	if (!t->capacity && !grow(t))
		return NULL;
	if (t->generation != generation) {
		t->generation = generation;
		t->told = 0;
	}
	return t;
}

/* Of a thread that leaves a system call: was it asked when it was ready to go on after a wait, but
 * not yet on a processor? Then it has hardly used any CPU since, and it has waited of its own
 * accord (unlike one that had to make room, perhaps for the sampler itself). */
static bool was_just_woken(unsigned slot, uint64_t cpu_ns)
{
	struct capture_thread *t = agent.threads[slot];
	struct rusage usage;
	bool waited;

	if (!t || cpu_syscall(SYS_getrusage, RUSAGE_THREAD, &usage))
		return false;
	waited = t->waits != (uint64_t)usage.ru_nvcsw;
	t->waits = (uint64_t)usage.ru_nvcsw;
	return waited && cpu_ns - atomic_load_explicit(&agent.slots[slot].asked_cpu_ns,
						       memory_order_relaxed) <
				 WAKE_NS;
}

static void capture(unsigned slot, const ucontext_t *context)
{
	struct ring_slot *shared = &agent.slots[slot];
	struct ring_sample head;
	struct walk w;
	int ret;

	memset(&head, 0, sizeof(head));
	memset(&w, 0, sizeof(w));
	head.time_ns = agent_now();
	head.cpu_ns = agent_thread_cpu();
	head.pc = cpu_pc(context);
	head.request = atomic_load_explicit(&shared->asked, memory_order_relaxed);
	if (cpu_in_syscall(context)) {
		head.flags |= RING_SAMPLE_KERNEL;
		agent_cut_in = 1;
		if (cpu_was_blocked(context) || was_just_woken(slot, head.cpu_ns))
			head.flags |= RING_SAMPLE_BLOCKED;
	}

	w.thread = thread_of(slot);
	w.slot = slot;
	w.now_ns = head.time_ns;
	if (w.thread) {
		w.thread_state = find_thread_state();
		if (w.thread_state) {
			head.flags |= interpreter_flags(w.thread_state);
			if (agent.guarded) {
				uint64_t end = shared->main ? agent.main_stack_end
							    : (uint64_t)pthread_self();

				w.thread_state_end = w.thread_state + agent.layout.ts_root_cframe +
						     agent.layout.cframe_previous + 8;
				w.stack_low = cpu_sp(context);
				if (end > w.stack_low && end - w.stack_low < STACK_SPAN)
					w.stack_high = end;
				ret = walk_guarded(&w);
			} else {
				ret = walk_plain(&w);
			}
			if (ret && w.truncated) {
				head.flags |= RING_SAMPLE_TRUNCATED;
			} else if (ret) {
				w.count = 0;
				if (!w.no_room) {
					head.flags |= RING_SAMPLE_UNWALKED;
					atomic_fetch_add_explicit(&agent.ring->unwalked, 1,
								  memory_order_relaxed);
				}
			} else if (w.count) {
				head.flags |= leaf_class(&w) << RING_SAMPLE_CLASS_SHIFT;
			}
		}
		if (!w.no_room)
			write_sample(&w, &head);
	} else {
		atomic_fetch_add_explicit(&agent.ring->lost, 1, memory_order_relaxed);
	}
	atomic_store_explicit(&shared->cost_ns, (uint32_t)(agent_now() - head.time_ns),
			      memory_order_relaxed);
	/* Paired with sampler.c: from here on the thread may be asked again. */
	atomic_store_explicit(&shared->answered, head.request, memory_order_release);
}

/* A thread that ended and gave its slot away may still get a signal meant for it. */
static bool owns_slot(unsigned slot)
{
	return atomic_load_explicit(&agent.slots[slot].tid, memory_order_relaxed) ==
	       (agent_tid ? agent_tid : (uint32_t)cpu_syscall(SYS_gettid));
}

void capture_handler(int signo, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	unsigned value = (unsigned)info->si_value.sival_int;

	if (info->si_code != SI_QUEUE || value >> 16 != (unsigned)(RING_MAGIC & 0x7fff) ||
	    (value & 0xffff) >= RING_SLOTS)
		signal_forward(signo, info, context);
	else if (atomic_load_explicit(&agent.live, memory_order_acquire) &&
		 owns_slot(value & 0xffff))
		capture(value & 0xffff, context);
	errno = saved_errno;
}
