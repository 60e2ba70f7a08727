/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory is read in pages, which are kept for the length of one stack: frames lie close together,
 * so a stack of thirty frames takes a handful of system calls. Code objects are remembered by
 * address and fingerprint, like in the agent.
 */
#include "record/wait_stack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "formats/base/banned.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "record/python/opcode_class.h"
#include "record/python/walk.h"

#define PAGE 4096u
#define PAGES 64u
#define THREADS_MAX 100000
#define NOTES_AT_ONCE 256
#define LIST_NS 5000000u

struct page {
	uint64_t address;
	uint64_t generation; /* of the read that filled it */
	uint64_t used;       /* of the last read that looked at it */
	bool good;
	uint8_t bytes[PAGE];
};

struct known_code {
	uint64_t print;
	uint64_t bytecode;
	uint32_t id;
	uint32_t code_bytes;
	int32_t first_traceable;
};

/* What the walk of a running thread's stack has read. */
struct noted_read {
	uint64_t address;
	uint64_t value;
	uint32_t size;
};

/* A thread state that a walk of the interpreter's list has met. */
struct listed_state {
	uint64_t state;
	uint64_t thread_id;
	uint64_t native_id; /* 0 where the state does not have it */
};

struct wait_stack {
	const struct target *target;
	uint64_t generation; /* of the pages: grows with each stack */
	struct page pages[PAGES];
	struct map codes; /* address -> index into known */
	struct known_code *known;
	size_t known_count, known_capacity;
	uint32_t next_id;
	struct listed_state *listed; /* in order */
	size_t listed_count, listed_capacity;
	uint64_t listed_ns; /* when that was */

	/* during one read */
	uint64_t needed[WAIT_STACK_PAGES]; /* pages, in order of need */
	unsigned needed_count;
	struct look_queue *queue;
	size_t first_frame;
	uint64_t last_code;
	uint32_t last_known;
	uint64_t leaf_frame;
	uint8_t last_owner; /* of the frame noted last */
	uint64_t trap;      /* a frame met some time ago: who meets it again walks in circles */
	size_t steps, next_trap;
	uint64_t leaf_instr; /* address of the leaf's instruction */
	struct noted_read *notes;
	size_t note_count, note_capacity;
	struct wait_stack_frame *frames; /* parallel to the queue's, from first_frame on */
	size_t frame_capacity;

	bool many_interpreters;
	uint64_t code_type;  /* 0 until a code object was seen */
	uint32_t tid_offset; /* of a thread's tid behind its pthread_t, 0: not known */
	const uint8_t *opcode_classes;
};

struct wait_stack *wait_stack_new(const struct target *t)
{
	struct wait_stack *w;

	if (!t->layout.frame_size)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->target = t;
	w->code_type = t->ring->code_type;
	w->opcode_classes = opcode_class_table(t->layout.version);
	return w;
}

void wait_stack_free(struct wait_stack *w)
{
	if (!w)
		return;
	map_release(&w->codes);
	free(w->known);
	free(w->listed);
	free(w->notes);
	free(w->frames);
	free(w);
}

static int read_remote(const struct wait_stack *w, uint64_t address, void *to, size_t size)
{
	struct iovec local = {to, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};

	return process_vm_readv(w->target->pid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -1;
}

static int read_paged(void *arg, uint64_t address, void *to, size_t size)
{
	struct wait_stack *w = arg;
	uint8_t *out = to;

	if (size > 16 * PAGE)
		return read_remote(w, address, to, size);
	while (size) {
		uint64_t base = address & ~(uint64_t)(PAGE - 1);
		size_t at = (size_t)(address - base), n = PAGE - at;
		struct page *page = &w->pages[(base / PAGE) % PAGES];

		if (page->generation != w->generation || page->address != base) {
			page->generation = w->generation;
			page->address = base;
			page->good = read_remote(w, base, page->bytes, PAGE) == 0;
		}
		if (page->used != w->generation) {
			page->used = w->generation;
			if (w->needed_count < WAIT_STACK_PAGES)
				w->needed[w->needed_count++] = base;
		}
		if (!page->good)
			return -1;
		if (n > size)
			n = size;
		memcpy(out, page->bytes + at, n);
		out += n;
		address += n;
		size -= n;
	}
	return 0;
}

/* One system call for the pages that the thread's last stack lay in: mostly it still does, and the
 * thread is kept waiting. */
static void prefetch(struct wait_stack *w, const struct wait_thread *thread)
{
	struct iovec local[WAIT_STACK_PAGES], remote[WAIT_STACK_PAGES];
	struct page *pages[WAIT_STACK_PAGES];
	unsigned count = 0;
	ssize_t got;

	for (unsigned i = 0; i < thread->page_count; i++) {
		struct page *page = &w->pages[(thread->pages[i] / PAGE) % PAGES];

		if (page->generation == w->generation)
			continue; /* another one is to be in its place */
		page->generation = w->generation;
		page->address = thread->pages[i];
		page->good = false;
		local[count] = (struct iovec){page->bytes, PAGE};
		remote[count] = (struct iovec){(void *)(uintptr_t)page->address, PAGE};
		pages[count++] = page;
	}
	got = count ? process_vm_readv(w->target->pid, local, count, remote, count, 0) : 0;
	for (unsigned i = 0; i < count; i++) {
		if (got >= (ssize_t)((i + 1) * PAGE))
			pages[i]->good = true;
		else
			pages[i]->generation = 0; /* read by itself when it is needed */
	}
}

static void keep_needed(const struct wait_stack *w, struct wait_thread *thread)
{
	memcpy(thread->pages, w->needed, w->needed_count * sizeof(w->needed[0]));
	thread->page_count = w->needed_count;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
	return map_hash(h ^ value) + value;
}

/* In a stripped interpreter the first code object tells where the type of all of them is. */
static bool is_code_type(struct wait_stack *w, uint64_t type)
{
	uint64_t name;
	char text[5];

	if (w->code_type)
		return type == w->code_type;
	if (!walk_pointer_ok(type) ||
	    read_paged(w, type + w->target->layout.type_name, &name, sizeof(name)) ||
	    read_paged(w, name, text, sizeof(text)) || memcmp(text, "code", sizeof(text)) != 0)
		return false;
	w->code_type = type;
	return true;
}

/* Of a string that a code object points to: the pointer may be the same and the text another. */
static int add_hash(struct wait_stack *w, const uint8_t *code, uint32_t field, uint64_t *print)
{
	uint64_t string, hash;

	memcpy(&string, code + field, sizeof(string));
	if (read_paged(w, string + w->target->layout.str_hash, &hash, sizeof(hash)))
		return -1;
	*print = mix(*print, hash);
	return 0;
}

/* Finds or learns the code object at `code`: index into known, or -1. */
static int find_code(struct wait_stack *w, uint64_t code)
{
	const struct py_layout *l = &w->target->layout;
	struct py_memory memory = {read_paged, w};
	struct look_queue *queue = w->queue;
	uint8_t bytes[512];
	struct py_code_text *text;
	struct known_code known;
	uint64_t type, value;
	uint32_t index;

	if (l->code_size > sizeof(bytes) || read_paged(w, code, bytes, l->code_size))
		return -1;
	memcpy(&type, bytes + l->object_type, 8);
	if (!is_code_type(w, type))
		return -1;
	memset(&known, 0, sizeof(known));
	/* The reference count changes all the time; these do not. */
	for (unsigned i = 0; i < 3; i++) {
		const uint32_t fields[] = {l->code_filename, l->code_name, l->code_line_table};

		memcpy(&value, bytes + fields[i], 8);
		known.print = mix(known.print, value);
	}
	value = 0;
	memcpy(&value, bytes + l->code_first_line, 4);
	known.print = mix(known.print, value);
	if (l->code_version != PY_NO_OFFSET) {
		memcpy(&value, bytes + l->code_version, 4);
		known.print = mix(known.print, value);
	} else if (add_hash(w, bytes, l->code_name, &known.print) ||
		   (l->code_qualname != PY_NO_OFFSET &&
		    add_hash(w, bytes, l->code_qualname, &known.print))) {
		return -1;
	}
	index = map_get(&w->codes, code);
	if (index != MAP_NONE && w->known[index].print == known.print)
		return (int)index;

	text = xcalloc(1, sizeof(*text));
	if (py_read_code(l, &memory, code, text)) {
		free(text);
		return -1;
	}
	known.code_bytes = text->code_bytes;
	if (l->code_unit_count != PY_NO_OFFSET) {
		known.bytecode = code + l->code_bytes;
	} else {
		memcpy(&value, bytes + l->code_bytes, 8);
		known.bytecode = value + l->bytes_data;
	}
	if (l->code_first_traceable != PY_NO_OFFSET) {
		int32_t units;

		memcpy(&units, bytes + l->code_first_traceable, 4);
		known.first_traceable = units * 2;
	}
	known.id = w->next_id++;
	queue->codes = xgrow(queue->codes, &queue->code_capacity, queue->code_count + 1,
			     sizeof(*queue->codes));
	queue->codes[queue->code_count++] = (struct look_code){known.id, text};
	if (index == MAP_NONE) {
		w->known =
			xgrow(w->known, &w->known_capacity, w->known_count + 1, sizeof(*w->known));
		index = (uint32_t)w->known_count++;
		map_set(&w->codes, code, index);
	}
	w->known[index] = known;
	return (int)index;
}

static int take_frame(void *arg, uint64_t frame, uint64_t code, int64_t instr, int32_t tlbc,
		      int check_started)
{
	struct wait_stack *w = arg;
	const struct py_layout *l = &w->target->layout;
	struct look_queue *queue = w->queue;
	const struct known_code *known;
	int64_t offset = instr;
	size_t at;

	if (!w->leaf_frame)
		w->leaf_frame = frame;
	/* The frames of a running thread may be anything: also freed ones, chained into a ring. */
	if (frame == w->trap)
		return -1;
	if (w->steps++ == w->next_trap) {
		w->trap = frame;
		w->next_trap = 2 * w->next_trap + 1;
	}
	if (code != w->last_code) {
		int index = find_code(w, code);

		if (index < 0)
			return -1;
		w->last_code = code;
		w->last_known = (uint32_t)index;
	}
	known = &w->known[w->last_known];
	if (l->ts_frame == PY_NO_OFFSET) {
		uint64_t base = known->bytecode, copies;

		if (tlbc > 0 && read_paged(w, code + l->code_tlbc, &copies, 8) == 0 && copies &&
		    read_paged(w, copies + 8 + (uint64_t)tlbc * 8, &base, 8))
			return -1;
		offset = instr - (int64_t)base;
		if (check_started && offset < known->first_traceable)
			return 0;
	}
	if (offset < -2 || offset >= (int64_t)known->code_bytes)
		return -1;
	if (queue->frame_count == w->first_frame)
		w->leaf_instr = l->ts_frame == PY_NO_OFFSET ? (uint64_t)instr
							    : known->bytecode + (uint64_t)offset;
	queue->frames = xgrow(queue->frames, &queue->frame_capacity, queue->frame_count + 1,
			      sizeof(*queue->frames));
	at = queue->frame_count - w->first_frame;
	w->frames = xgrow(w->frames, &w->frame_capacity, at + 1, sizeof(*w->frames));
	w->frames[at] = (struct wait_stack_frame){frame, code};
	queue->frames[queue->frame_count++] = (struct ring_frame){known->id, (int32_t)offset};
	return 0;
}

static void begin_walk(struct wait_stack *w)
{
	w->leaf_frame = w->leaf_instr = w->trap = 0;
	w->steps = w->next_trap = 0;
	w->note_count = 0;
}

static void restart_walk(void *arg)
{
	struct wait_stack *w = arg;

	w->queue->frame_count = w->first_frame;
	begin_walk(w);
}

/* Up to 3.10 a state has no tid; the C library's thread descriptor, which thread_id points to,
 * does, and the main thread's, whose tid is the pid, tells where. */
static bool learn_tid_offset(struct wait_stack *w, uint64_t descriptor)
{
	uint32_t words[512];

	if (read_paged(w, descriptor, words, sizeof(words)))
		return false;
	for (uint32_t i = 4; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i] == (uint32_t)w->target->ring->pid) {
			w->tid_offset = i * 4;
			return true;
		}
	}
	return false;
}

static bool is_descriptor_of(struct wait_stack *w, uint64_t descriptor, uint32_t tid)
{
	uint32_t value;

	if (!descriptor || descriptor % 8 || (!w->tid_offset && !learn_tid_offset(w, descriptor)))
		return false;
	return read_paged(w, descriptor + w->tid_offset, &value, 4) == 0 && value == tid;
}

static bool is_state_of(struct wait_stack *w, uint64_t state, const struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t known = thread->pthread_id ? thread->pthread_id : thread->thread_pointer, id;

	if (known)
		return read_paged(w, state + l->ts_thread_id, &id, 8) == 0 && id == known;
	if (l->ts_native_thread_id != PY_NO_OFFSET)
		return read_paged(w, state + l->ts_native_thread_id, &id, 8) == 0 &&
		       id == thread->inner_tid;
	return w->target->attached && read_paged(w, state + l->ts_thread_id, &id, 8) == 0 &&
	       is_descriptor_of(w, id, thread->inner_tid);
}

/* Address of the GIL's struct, 0 when there is none. */
static uint64_t find_gil(struct wait_stack *w, uint64_t state)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t interp, gil;

	if (l->runtime_gil != PY_NO_OFFSET)
		return w->target->ring->runtime + l->runtime_gil;
	if (!state || read_paged(w, state + l->ts_interp, &interp, 8) ||
	    read_paged(w, interp + l->interp_gil, &gil, 8))
		return 0;
	return gil;
}

static bool holds_gil(struct wait_stack *w, uint64_t state)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t gil = find_gil(w, state), holder;
	int32_t locked;

	return gil && read_paged(w, gil + l->gil_locked, &locked, 4) == 0 && locked == 1 &&
	       read_paged(w, gil + l->gil_last_holder, &holder, 8) == 0 && holder == state;
}

/* May it run bytecode? Where there is a GIL that takes holding it. */
static bool is_attached(struct wait_stack *w, uint64_t state)
{
	const struct py_layout *l = &w->target->layout;
	int32_t attached;

	if (l->ts_state != PY_NO_OFFSET)
		return read_paged(w, state + l->ts_state, &attached, 4) == 0 && attached == 1;
	return holds_gil(w, state);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void list_state(struct wait_stack *w, uint64_t state)
{
	const struct py_layout *l = &w->target->layout;
	struct listed_state *listed;

	w->listed = xgrow(w->listed, &w->listed_capacity, w->listed_count + 1, sizeof(*w->listed));
	listed = &w->listed[w->listed_count++];
	*listed = (struct listed_state){.state = state};
	if (read_paged(w, state + l->ts_thread_id, &listed->thread_id, 8))
		listed->thread_id = 0;
	if (l->ts_native_thread_id != PY_NO_OFFSET &&
	    read_paged(w, state + l->ts_native_thread_id, &listed->native_id, 8))
		listed->native_id = 0;
}

/* When a program with many threads is met, all of them are looked for at once: who was in the list
 * a moment ago will do. */
static uint64_t find_listed(struct wait_stack *w, const struct wait_thread *thread)
{
	uint64_t known = thread->pthread_id ? thread->pthread_id : thread->thread_pointer;

	if (w->many_interpreters || !w->listed_count || now_ns() - w->listed_ns > LIST_NS)
		return 0;
	for (size_t i = w->listed_count; i-- > 0;) {
		const struct listed_state *listed = &w->listed[i];

		if ((known ? listed->thread_id == known
			   : listed->native_id && listed->native_id == thread->inner_tid) &&
		    is_state_of(w, listed->state, thread))
			return listed->state;
	}
	return 0;
}

/* A state is made by the thread that starts another one and bears its id until the new thread runs.
 * The list has the newest first, so of several the last is the thread's own. It may have one in
 * each of several interpreters: the one that holds a GIL is in use. */
static uint64_t find_state(struct wait_stack *w, const struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t interp, state, found = find_listed(w, thread);
	unsigned interpreters = 0;
	int n = 0;

	if (found)
		return found;
	w->listed_count = 0;
	if (read_paged(w, w->target->ring->runtime + l->runtime_interpreters_head, &interp, 8))
		return 0;
	for (; interp && walk_pointer_ok(interp) && n < THREADS_MAX; n++) {
		uint64_t here = 0;

		if (read_paged(w, interp + l->interp_threads_head, &state, 8))
			break;
		for (; state && walk_pointer_ok(state) && n < THREADS_MAX; n++) {
			if (is_state_of(w, state, thread))
				here = state;
			list_state(w, state);
			if (read_paged(w, state + l->ts_next, &state, 8))
				break;
		}
		if (here && (!found || (!is_attached(w, found) && is_attached(w, here))))
			found = here;
		interpreters++;
		if (read_paged(w, interp + l->interp_next, &interp, 8))
			break;
	}
	w->many_interpreters = interpreters > 1;
	w->listed_ns = now_ns();
	return found;
}

/* Up to 3.11 a thread inside another interpreter is best known as the holder of the GIL. */
static void prefer_current_state(struct wait_stack *w, struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t current;

	if (read_paged(w, w->target->ring->runtime + l->runtime_tstate_current, &current, 8) == 0 &&
	    current && current != thread->state && walk_pointer_ok(current) &&
	    is_state_of(w, current, thread))
		thread->state = current;
}

static void begin_read(struct wait_stack *w, struct look_queue *queue)
{
	w->generation++;
	w->queue = queue;
	w->first_frame = queue->frame_count;
	w->last_code = 0;
	w->needed_count = 0;
	begin_walk(w);
}

/* One that goes, like that of another interpreter, may leave the thread another one. That it has
 * got its first one, others find out. */
static void check_state(struct wait_stack *w, struct wait_thread *thread)
{
	if (thread->state && !is_state_of(w, thread->state, thread))
		thread->state = find_state(w, thread);
	if (w->target->layout.runtime_tstate_current != PY_NO_OFFSET)
		prefer_current_state(w, thread);
	else if (thread->state && w->many_interpreters && !is_attached(w, thread->state))
		thread->state = find_state(w, thread);
}

static int read_stack(struct wait_stack *w, const struct wait_thread *thread)
{
	if (!thread->state)
		return 0;
	if (walk_thread(&w->target->layout, thread->state, read_paged, take_frame, restart_walk,
			w)) {
		w->queue->frame_count = w->first_frame;
		return -1;
	}
	return (int)(w->queue->frame_count - w->first_frame);
}

int wait_stack_read(struct wait_stack *w, struct wait_thread *thread, struct look_queue *queue)
{
	begin_read(w, queue);
	if (!thread->state || !is_state_of(w, thread->state, thread))
		thread->state = find_state(w, thread);
	return read_stack(w, thread);
}

/* What the leaf's instruction is. */
static uint32_t leaf_flags(struct wait_stack *w)
{
	static const uint32_t class_flags[] = {
		[OPCODE_OTHER] = 0,
		[OPCODE_CALL] = TRACE_SAMPLE_CALL,
		[OPCODE_CALL_C] = TRACE_SAMPLE_CALL_C,
		[OPCODE_CALL_PYTHON] = TRACE_SAMPLE_CALL_PYTHON,
	};
	uint8_t opcode;

	if (!w->opcode_classes || !w->leaf_instr || read_paged(w, w->leaf_instr, &opcode, 1))
		return 0;
	return class_flags[w->opcode_classes[opcode]];
}

static uint32_t sample_flags(struct wait_stack *w, const struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint32_t flags = 0;
	uint64_t interp;
	int32_t collecting;

	if (!thread->state)
		return 0;
	if (l->free_threaded ? holds_gil(w, thread->state) : is_attached(w, thread->state))
		flags |= TRACE_SAMPLE_GIL;
	if (read_paged(w, thread->state + l->ts_interp, &interp, 8) == 0 &&
	    read_paged(w, interp + l->interp_gc_collecting, &collecting, 4) == 0 && collecting)
		flags |= TRACE_SAMPLE_GC;
	return flags;
}

int wait_stack_read_running(struct wait_stack *w, struct wait_thread *thread,
			    struct look_queue *queue, uint32_t *flags)
{
	int n;

	begin_read(w, queue);
	prefetch(w, thread);
	check_state(w, thread);
	n = read_stack(w, thread);
	*flags = sample_flags(w, thread) | leaf_flags(w);
	keep_needed(w, thread);
	return n;
}

static int read_noted(void *arg, uint64_t address, void *to, size_t size)
{
	struct wait_stack *w = arg;
	struct noted_read *note;

	if (read_paged(w, address, to, size))
		return -1;
	w->notes = xgrow(w->notes, &w->note_capacity, w->note_count + 1, sizeof(*w->notes));
	note = &w->notes[w->note_count];
	*note = (struct noted_read){.address = address, .size = (uint32_t)size};
	if (size > sizeof(note->value))
		return -1;
	memcpy(&note->value, to, size);
	if (size == sizeof(w->last_owner))
		memcpy(&w->last_owner, to, size);
	w->note_count++;
	return 0;
}

/* Whether what the walk has read is still the same: then, between the last read of the first pass
 * and the first of this one, it was there all at the same time, unless a word changed and changed
 * back; that makes a second look worth while. Only the leaf may have moved on to its next
 * instruction. */
static bool notes_hold(const struct wait_stack *w)
{
	const uint64_t moving = w->leaf_frame + w->target->layout.frame_instr;
	uint64_t values[NOTES_AT_ONCE];
	struct iovec remote[NOTES_AT_ONCE], local[NOTES_AT_ONCE];

	for (size_t at = 0; at < w->note_count;) {
		size_t n = w->note_count - at < NOTES_AT_ONCE ? w->note_count - at : NOTES_AT_ONCE;
		size_t bytes = 0;

		for (size_t i = 0; i < n; i++) {
			const struct noted_read *note = &w->notes[at + i];

			values[i] = 0;
			local[i] = (struct iovec){&values[i], note->size};
			remote[i] = (struct iovec){(void *)(uintptr_t)note->address, note->size};
			bytes += note->size;
		}
		if (process_vm_readv(w->target->pid, local, n, remote, n, 0) != (ssize_t)bytes)
			return false;
		for (size_t i = 0; i < n; i++)
			if (values[i] != w->notes[at + i].value &&
			    w->notes[at + i].address != moving)
				return false;
		at += n;
	}
	return true;
}

/* A frame that is being left has lost its caller already, and would pass for the outermost one.
 * From 3.12 on the outermost is one of the interpreter's own; before, it is the one that it was the
 * last time, or twice in a row. */
static bool ends_at_root(const struct wait_stack *w, struct wait_thread *thread, size_t count)
{
	uint64_t root = count ? w->frames[count - 1].frame : 0;

	if (w->target->layout.version >= 0x30c)
		return !w->leaf_frame || w->last_owner >= w->target->layout.owner_shim;
	if (root != thread->root && root != thread->other_root) {
		thread->other_root = root;
		return false;
	}
	thread->root = thread->other_root = root;
	return true;
}

int wait_stack_read_racing(struct wait_stack *w, struct wait_thread *thread,
			   struct look_queue *queue, uint32_t *flags)
{
	begin_read(w, queue);
	check_state(w, thread);
	*flags = sample_flags(w, thread);
	if (!thread->state)
		return 0;
	if (walk_thread(&w->target->layout, thread->state, read_noted, take_frame, restart_walk,
			w) ||
	    !notes_hold(w) || !notes_hold(w) ||
	    !ends_at_root(w, thread, queue->frame_count - w->first_frame)) {
		queue->frame_count = w->first_frame;
		return -1;
	}
	*flags |= leaf_flags(w);
	return (int)(queue->frame_count - w->first_frame);
}

struct wait_stack_frame wait_stack_frame(const struct wait_stack *w, size_t at)
{
	return w->frames[at];
}

struct py_memory wait_stack_memory(struct wait_stack *w)
{
	return (struct py_memory){read_paged, w};
}

bool wait_stack_identify(struct wait_stack *w, struct wait_thread *thread)
{
	w->generation++;
	if (!thread->state || !is_state_of(w, thread->state, thread))
		thread->state = find_state(w, thread);
	if (!thread->state ||
	    read_paged(w, thread->state + w->target->layout.ts_thread_id, &thread->pthread_id, 8))
		thread->pthread_id = 0;
	return thread->pthread_id != 0;
}

bool wait_stack_is_gil(struct wait_stack *w, const struct wait_thread *thread, uint64_t address)
{
	uint64_t gil = find_gil(w, thread->state);

	return gil && address >= gil && address < gil + w->target->layout.gil_size;
}

static void add_name(void *arg, uint64_t ident, const char *name, size_t size)
{
	struct look_queue *queue = arg;

	queue->names = xgrow(queue->names, &queue->name_capacity, queue->name_count + 1,
			     sizeof(*queue->names));
	queue->names[queue->name_count++] = (struct look_name){ident, xmemdup(name, size), size};
}

void wait_stack_names(struct wait_stack *w, struct look_queue *queue)
{
	struct py_memory memory = {read_paged, w};

	w->generation++;
	py_read_thread_names(&w->target->layout, &memory, w->target->ring->runtime, add_name,
			     queue);
}
