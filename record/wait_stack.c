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

#include "formats/base/banned.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "record/python/walk.h"

#define PAGE 4096u
#define PAGES 64u
#define THREADS_MAX 100000

struct page {
	uint64_t address;
	uint64_t generation;
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

struct wait_stack {
	const struct target *target;
	uint64_t generation; /* of the pages: grows with each stack */
	struct page pages[PAGES];
	struct map codes; /* address -> index into known */
	struct known_code *known;
	size_t known_count, known_capacity;
	uint32_t next_id;

	/* during one read */
	struct look_queue *queue;
	size_t first_frame;
	uint64_t last_code;
	uint32_t last_known;
};

struct wait_stack *wait_stack_new(const struct target *t)
{
	struct wait_stack *w;

	if (!t->layout.frame_size)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->target = t;
	return w;
}

void wait_stack_free(struct wait_stack *w)
{
	if (!w)
		return;
	map_release(&w->codes);
	free(w->known);
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

static uint64_t mix(uint64_t h, uint64_t value)
{
	return map_hash(h ^ value) + value;
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
	if (type != w->target->ring->code_type)
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

	(void)frame;
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
	queue->frames = xgrow(queue->frames, &queue->frame_capacity, queue->frame_count + 1,
			      sizeof(*queue->frames));
	queue->frames[queue->frame_count++] = (struct ring_frame){known->id, (int32_t)offset};
	return 0;
}

static void restart_walk(void *arg)
{
	struct wait_stack *w = arg;

	w->queue->frame_count = w->first_frame;
}

static bool is_state_of(struct wait_stack *w, uint64_t state, const struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t id;

	if (thread->pthread_id)
		return read_paged(w, state + l->ts_thread_id, &id, 8) == 0 &&
		       id == thread->pthread_id;
	if (l->ts_native_thread_id == PY_NO_OFFSET)
		return false;
	return read_paged(w, state + l->ts_native_thread_id, &id, 8) == 0 &&
	       id == thread->inner_tid;
}

/* A state is made by the thread that starts another one and bears its id until the new thread runs.
 * The list has the newest first, so of several the last is the thread's own. */
static uint64_t find_state(struct wait_stack *w, const struct wait_thread *thread)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t interp, state, found = 0;
	int n = 0;

	if (read_paged(w, w->target->ring->runtime + l->runtime_interpreters_head, &interp, 8))
		return 0;
	for (; interp && walk_pointer_ok(interp) && n < THREADS_MAX; n++) {
		if (read_paged(w, interp + l->interp_threads_head, &state, 8))
			return 0;
		for (; state && walk_pointer_ok(state) && n < THREADS_MAX; n++) {
			if (is_state_of(w, state, thread))
				found = state;
			if (read_paged(w, state + l->ts_next, &state, 8))
				return found;
		}
		if (found)
			return found;
		if (read_paged(w, interp + l->interp_next, &interp, 8))
			return 0;
	}
	return 0;
}

int wait_stack_read(struct wait_stack *w, struct wait_thread *thread, struct look_queue *queue)
{
	w->generation++;
	w->queue = queue;
	w->first_frame = queue->frame_count;
	w->last_code = 0;
	if (!thread->state || !is_state_of(w, thread->state, thread))
		thread->state = find_state(w, thread);
	if (!thread->state)
		return 0;
	if (walk_thread(&w->target->layout, thread->state, read_paged, take_frame, restart_walk,
			w)) {
		queue->frame_count = w->first_frame;
		return -1;
	}
	return (int)(queue->frame_count - w->first_frame);
}

bool wait_stack_is_gil(struct wait_stack *w, const struct wait_thread *thread, uint64_t address)
{
	const struct py_layout *l = &w->target->layout;
	uint64_t interp, gil;

	if (l->free_threaded)
		return false;
	if (l->runtime_gil != PY_NO_OFFSET) {
		gil = w->target->ring->runtime + l->runtime_gil;
	} else if (!thread->state || read_paged(w, thread->state + l->ts_interp, &interp, 8) ||
		   read_paged(w, interp + l->interp_gil, &gil, 8)) {
		return false;
	}
	return address >= gil && address < gil + l->gil_size;
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
