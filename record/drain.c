/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over a target: take the sampler's looks, read the ring (code objects and stacks are stateful
 * and resolved at once), sort samples and looks by time, and charge each thread the clock time since
 * its last event. Clocks are absolute until here and differences from here on.
 */
#include "record/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/io.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "record/drain_ring.h"
#include "record/module_map.h"
#include "record/process_info.h"
#include "record/python/object_read.h"
#include "record/python/opcode_class.h"

#define CODES_MAX (1u << 24)

struct drained_thread {
	struct drained_thread *older; /* earlier threads of the same slot that have not ended yet */
	uint32_t generation;
	uint32_t index; /* in the trace */
	bool ended;
	bool sampled;
	bool named;
	bool defined;
	uint64_t last_ns; /* CLOCK_MONOTONIC */
	uint64_t last_cpu_ns;
	uint32_t *nodes; /* the current stack, root first */
	uint32_t depth;
	size_t node_capacity;
	uint32_t wait_node;
	uint64_t pthread_id;
	struct trace_thread definition;
	char *name;
};

/* A code object whose line table is still coming in. */
struct pending_code {
	uint32_t id;
	struct trace_code code;
	uint8_t *line_table;
	size_t have;
};

struct event {
	uint64_t time_ns;
	uint64_t cpu_ns;
	uint64_t order; /* of arrival: keeps the sort stable */
	uint32_t slot;
	uint32_t generation;
	uint32_t node;
	uint32_t pc;
	uint32_t flags;
	enum { EVENT_SAMPLE, EVENT_LOOK, EVENT_END } type; /* in this order at equal times */
	enum trace_wait_kind kind;
};

#define ANCESTORS_MAX 32

struct drain_target {
	bool defined;
	bool launched;
	struct process_info info;
	pid_t ancestors[ANCESTORS_MAX]; /* nearest first; of a program started by exec, itself first */
	size_t ancestor_count;
	struct drained_thread *threads[RING_SLOTS];
	uint32_t *codes; /* agent's id -> trace's id, TRACE_NONE: unknown */
	size_t code_count, code_capacity;
	uint32_t *look_codes;
	size_t look_code_count, look_code_capacity;
	struct pending_code *pending;
	size_t pending_count, pending_capacity;
	struct module_map *modules;
	uint64_t base_cpu_ns; /* the process's CPU before this program */
	uint64_t lost, unwalked, missed, slotless;
	struct event *events;
	size_t event_count, event_capacity;
	/* Ends of threads wait for one pass: the sampler still has to close the thread's last wait. */
	struct event *ends;
	size_t end_count, end_capacity;
};

struct drain {
	struct trace_writer *writer;
	struct sampler *sampler;
	uint64_t start_ns;
	uint32_t next_process, next_thread;
	struct drain_totals totals;
	struct target *current;
	uint8_t *record; /* a private copy: the target may change the original */
	bool *code_is_leaf;
	size_t leaf_capacity;
	struct {
		pid_t pid;
		uint32_t index;
	} *known; /* every process in the trace, to find parents */
	size_t known_count, known_capacity;
	struct {
		pid_t pid;
		uint64_t cpu_ns;
	} *ended; /* what processes had used when they became another program */
	size_t ended_count, ended_capacity;
};

struct drain *drain_new(struct trace_writer *writer, struct sampler *sampler, uint64_t start_ns)
{
	struct drain *d = xcalloc(1, sizeof(*d));

	d->writer = writer;
	d->sampler = sampler;
	d->start_ns = start_ns;
	d->record = xmalloc(RING_RECORD_MAX);
	return d;
}

void drain_free(struct drain *d)
{
	if (!d)
		return;
	free(d->record);
	free(d->code_is_leaf);
	free(d->ended);
	free(d->known);
	free(d);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t since_start(const struct drain *d, uint64_t ns)
{
	return ns > d->start_ns ? ns - d->start_ns : 0;
}

/* When the program began, as near as can be known: the agent's start less the CPU used until then. */
static uint64_t program_start(const struct target *t)
{
	const struct ring_header *ring = t->ring;
	uint64_t used = ring->start_cpu_ns > t->drained->base_cpu_ns
				? ring->start_cpu_ns - t->drained->base_cpu_ns
				: 0;

	return ring->start_ns > used ? ring->start_ns - used : 0;
}

void drain_add(struct drain *d, struct target *t, bool launched)
{
	struct drain_target *dt = xcalloc(1, sizeof(*dt));
	pid_t pid = t->pid;

	t->index = TRACE_NONE;
	t->drained = dt;
	dt->launched = launched;
	for (size_t i = d->ended_count; i > 0; i--) {
		if (d->ended[i - 1].pid == t->pid) {
			dt->base_cpu_ns = d->ended[i - 1].cpu_ns;
			break;
		}
	}
	dt->modules = module_map_new(d->writer, t->pid, t->ring->runtime);
	/* Now: the process and the shells between it and its parent may be gone soon. */
	process_info_read(&dt->info, t->pid, t->ring->python_hex);
	if (t->ring->forked)
		pid = dt->info.parent_pid;
	while (pid > 1 && dt->ancestor_count < ANCESTORS_MAX) {
		dt->ancestors[dt->ancestor_count++] = pid;
		pid = process_parent(pid);
	}
}

static uint32_t find_parent(const struct drain *d, const struct drain_target *dt)
{
	for (size_t i = 0; i < dt->ancestor_count; i++)
		for (size_t k = d->known_count; k > 0; k--)
			if (d->known[k - 1].pid == dt->ancestors[i])
				return d->known[k - 1].index;
	return TRACE_NONE;
}

/* A process enters the trace with its first event: what is forked only to become another program at
 * once leaves no mark. */
static void define_process(struct drain *d, struct target *t)
{
	struct drain_target *dt = t->drained;
	const struct ring_header *ring = t->ring;
	const struct process_info *info = &dt->info;
	struct trace_process process;
	char build[sizeof(ring->build) + 1];

	if (dt->defined)
		return;
	dt->defined = true;
	t->index = d->next_process++;
	memset(&process, 0, sizeof(process));
	memcpy(build, ring->build, sizeof(ring->build));
	build[sizeof(ring->build)] = '\0';
	process.index = t->index;
	process.pid = t->pid;
	process.parent_pid = info->parent_pid;
	process.parent = find_parent(d, dt);
	process.start_ns = since_start(d, program_start(t));
	process.command = info->command;
	process.command_count = info->command_count;
	process.executable = (struct trace_text){ info->executable, strlen(info->executable) };
	process.python_hex = ring->python_hex;
	process.python_build = (struct trace_text){ build, strlen(build) };
	process.free_threaded = ring->free_threaded != 0;
	process.origin = dt->launched   ? TRACE_ORIGIN_LAUNCH
			 : ring->forked ? TRACE_ORIGIN_FORK
					: TRACE_ORIGIN_EXEC;
	process.prefix = (struct trace_text){ info->prefix, strlen(info->prefix) };
	trace_writer_process(d->writer, &process);
	d->known = xgrow(d->known, &d->known_capacity, d->known_count + 1, sizeof(*d->known));
	d->known[d->known_count].pid = t->pid;
	d->known[d->known_count++].index = t->index;
}

/* The thread in slot, made when it is new: from birth, or when that is NULL from what the slot says.
 * NULL for one that has ended. A thread may be seen for the first time at its end (`ending`), when
 * its slot has a new owner already. */
static struct drained_thread *thread_of(struct drain *d, struct target *t, uint32_t slot,
					uint32_t generation, const struct look_thread *birth,
					bool ending)
{
	struct drained_thread *newest = t->drained->threads[slot], *thread = newest;
	const struct ring_slot *shared = &t->slots[slot];
	const struct look_thread in_slot = {
		.tid = atomic_load(&shared->tid),
		.main = shared->main != 0,
		.pthread_id = shared->pthread_id,
		.start_ns = shared->start_ns,
	};

	while (thread && thread->generation != generation)
		thread = thread->older;
	if (thread)
		return thread;
	if (newest && (int32_t)(generation - newest->generation) < 0 && !ending)
		return NULL;
	if (!birth)
		birth = &in_slot;
	thread = xcalloc(1, sizeof(*thread));
	if (newest && (int32_t)(generation - newest->generation) < 0) {
		thread->older = newest->older;
		newest->older = thread;
	} else {
		thread->older = newest;
		t->drained->threads[slot] = thread;
	}
	thread->generation = generation;
	thread->pthread_id = birth->pthread_id;
	thread->last_ns = birth->start_ns;
	thread->definition.tid = (int32_t)birth->tid;
	thread->definition.main = birth->main;
	if (birth->main) {
		thread->last_ns = program_start(t);
		if (!t->ring->forked)
			thread->last_cpu_ns = t->drained->base_cpu_ns;
		thread->definition.tid = t->ring->pid;
	}
	if (thread->last_ns < d->start_ns)
		thread->last_ns = d->start_ns;
	thread->definition.start_ns = since_start(d, thread->last_ns);
	thread->definition.name = (struct trace_text){ "", 0 };
	return thread;
}

static void free_thread(struct drained_thread *thread)
{
	free(thread->nodes);
	free(thread->name);
	free(thread);
}

/* Threads are defined with their first event, when their tid and perhaps their name are known. */
static void define_thread(struct drain *d, struct target *t, struct drained_thread *thread)
{
	if (thread->defined)
		return;
	define_process(d, t);
	thread->defined = true;
	thread->index = d->next_thread++;
	thread->definition.index = thread->index;
	thread->definition.process = t->index;
	d->totals.threads++;
	trace_writer_thread(d->writer, &thread->definition);
}

static void set_name(struct drain *d, struct drained_thread *thread, const char *name, size_t size)
{
	if (thread->name && strlen(thread->name) == size && memcmp(thread->name, name, size) == 0)
		return;
	free(thread->name);
	thread->name = xmemdup(name, size);
	thread->definition.name = (struct trace_text){ thread->name, size };
	thread->named = true;
	if (thread->defined)
		trace_writer_thread(d->writer, &thread->definition);
}

static void mark_leaf(struct drain *d, uint32_t code)
{
	size_t old = d->leaf_capacity;

	if (code >= d->leaf_capacity) {
		d->code_is_leaf = xgrow(d->code_is_leaf, &d->leaf_capacity, (size_t)code + 1,
					sizeof(*d->code_is_leaf));
		memset(d->code_is_leaf + old, 0, d->leaf_capacity - old);
	}
	d->code_is_leaf[code] = true;
}

static void keep_code(struct drain_target *dt, uint32_t id, uint32_t code)
{
	if (id >= CODES_MAX)
		return;
	dt->codes = xgrow(dt->codes, &dt->code_capacity, (size_t)id + 1, sizeof(*dt->codes));
	while (dt->code_count <= id)
		dt->codes[dt->code_count++] = TRACE_NONE;
	dt->codes[id] = code;
}

/* One of the three texts of a RING_CODE: interned, *at moved behind it. Returns 0 or -1. */
static int take_text(struct drain *d, const struct ring_text *text, const uint8_t **at,
		     const uint8_t *end, uint32_t *id)
{
	size_t bytes = (size_t)text->length * text->kind, used;
	char *utf8;

	if ((text->kind != 1 && text->kind != 2 && text->kind != 4) ||
	    text->length > RING_RECORD_MAX || bytes > (size_t)(end - *at))
		return -1;
	utf8 = xmalloc((size_t)text->length * 4 + 1);
	used = py_text_to_utf8(*at, text->length, text->kind, utf8);
	*id = trace_writer_string(d->writer, utf8, used);
	free(utf8);
	bytes = (bytes + 7) & ~(size_t)7;
	*at += bytes > (size_t)(end - *at) ? (size_t)(end - *at) : bytes;
	return 0;
}

static void take_code(struct drain *d, struct target *t, const struct ring_code *record, size_t size)
{
	struct drain_target *dt = t->drained;
	const uint8_t *at = (const uint8_t *)(record + 1), *end = (const uint8_t *)record + size;
	struct trace_code code;

	memset(&code, 0, sizeof(code));
	if (size < sizeof(*record) || take_text(d, &record->filename, &at, end, &code.filename) ||
	    take_text(d, &record->name, &at, end, &code.name) ||
	    take_text(d, &record->qualname, &at, end, &code.qualname) ||
	    record->line_table_here > (size_t)(end - at) ||
	    record->line_table_here > record->line_table_size ||
	    record->line_table_size > PY_MAX_LINE_TABLE)
		return;
	code.first_line = record->first_line;
	code.flags = record->flags;
	code.python = t->layout.version;
	code.code_bytes = record->code_bytes;
	code.line_table = at;
	code.line_table_size = record->line_table_here;
	if (record->line_table_here == record->line_table_size) {
		keep_code(dt, record->id, trace_writer_code(d->writer, &code));
		return;
	}
	dt->pending = xgrow(dt->pending, &dt->pending_capacity, dt->pending_count + 1,
			    sizeof(*dt->pending));
	dt->pending[dt->pending_count] = (struct pending_code){
		.id = record->id,
		.code = code,
		.line_table = xmalloc(record->line_table_size),
		.have = record->line_table_here,
	};
	memcpy(dt->pending[dt->pending_count].line_table, at, record->line_table_here);
	dt->pending[dt->pending_count++].code.line_table_size = record->line_table_size;
}

static void take_code_more(struct drain *d, struct target *t, const struct ring_code_more *record,
			   size_t size)
{
	struct drain_target *dt = t->drained;

	if (size < sizeof(*record) || record->count > size - sizeof(*record))
		return;
	for (size_t i = 0; i < dt->pending_count; i++) {
		struct pending_code *p = &dt->pending[i];

		if (p->id != record->id || p->have != record->offset ||
		    record->count > p->code.line_table_size - p->have)
			continue;
		memcpy(p->line_table + p->have, record->bytes, record->count);
		p->have += record->count;
		if (p->have == p->code.line_table_size) {
			p->code.line_table = p->line_table;
			keep_code(dt, p->id, trace_writer_code(d->writer, &p->code));
			free(p->line_table);
			*p = dt->pending[--dt->pending_count];
		}
		return;
	}
}

/* Brings the thread's stack up to date. Returns 0, or -1 when the frames make no sense. */
static int take_frames(struct drain *d, struct target *t, struct drained_thread *thread,
		       uint32_t common, uint32_t count, const struct ring_frame *frames)
{
	struct drain_target *dt = t->drained;
	uint32_t node, code = 0;

	if (common > thread->depth) {
		thread->depth = 0;
		return -1;
	}
	thread->depth = common;
	thread->nodes = xgrow(thread->nodes, &thread->node_capacity, (size_t)common + count + 1,
			      sizeof(*thread->nodes));
	node = common ? thread->nodes[common - 1] : 0;
	for (uint32_t i = count; i > 0; i--) {
		const struct ring_frame *frame = &frames[i - 1];

		if (frame->code >= dt->code_count || dt->codes[frame->code] == TRACE_NONE) {
			thread->depth = 0;
			return -1;
		}
		code = dt->codes[frame->code];
		node = trace_writer_node(d->writer, node, code, frame->offset);
		thread->nodes[thread->depth++] = node;
	}
	if (count)
		mark_leaf(d, code);
	return 0;
}

static struct event *new_event(struct drain_target *dt)
{
	struct event *event;

	dt->events = xgrow(dt->events, &dt->event_capacity, dt->event_count + 1, sizeof(*dt->events));
	event = &dt->events[dt->event_count];
	memset(event, 0, sizeof(*event));
	event->order = dt->event_count++;
	return event;
}

static void take_sample(struct drain *d, struct target *t, const struct ring_sample *record,
			size_t size)
{
	static const uint32_t class_flags[] = {
		[OPCODE_OTHER] = 0,
		[OPCODE_CALL] = TRACE_SAMPLE_CALL,
		[OPCODE_CALL_C] = TRACE_SAMPLE_CALL_C,
		[OPCODE_CALL_PYTHON] = TRACE_SAMPLE_CALL_PYTHON,
	};
	struct drain_target *dt = t->drained;
	struct drained_thread *thread;
	struct event *event;
	uint32_t flags = 0;

	if (size < sizeof(*record) ||
	    record->count > (size - sizeof(*record)) / sizeof(struct ring_frame))
		return;
	thread = thread_of(d, t, record->record.slot, record->generation, NULL, false);
	if (!thread)
		return;
	if (take_frames(d, t, thread, record->common, record->count, record->frames)) {
		/* The stack refers to something that was dropped: keep the clocks. */
		flags |= TRACE_SAMPLE_UNWALKED;
		dt->unwalked++;
	}
	if (record->flags & RING_SAMPLE_KERNEL)
		flags |= TRACE_SAMPLE_KERNEL;
	if (record->flags & RING_SAMPLE_GIL)
		flags |= TRACE_SAMPLE_GIL;
	if (record->flags & RING_SAMPLE_GC)
		flags |= TRACE_SAMPLE_GC;
	if (record->flags & RING_SAMPLE_UNWALKED)
		flags |= TRACE_SAMPLE_UNWALKED;
	if (record->flags & RING_SAMPLE_TRUNCATED)
		flags |= TRACE_SAMPLE_TRUNCATED;
	flags |= class_flags[record->flags >> RING_SAMPLE_CLASS_SHIFT & 3];

	event = new_event(dt);
	if (record->flags & RING_SAMPLE_BLOCKED) {
		/* Taking that for a sample would charge the waiting line for what ran before. */
		event->type = EVENT_LOOK;
		event->kind = TRACE_WAIT_OTHER;
	} else {
		event->type = EVENT_SAMPLE;
		if (!thread->sampled)
			flags |= TRACE_SAMPLE_FIRST;
		thread->sampled = true;
	}
	event->time_ns = record->time_ns;
	event->cpu_ns = record->cpu_ns;
	event->slot = record->record.slot;
	event->generation = record->generation;
	event->node = thread->depth ? thread->nodes[thread->depth - 1] : 0;
	event->pc = module_map_pc(dt->modules, record->pc);
	event->flags = flags;
}

static void take_record(void *arg, const struct ring_record *shared, size_t size)
{
	struct drain *d = arg;
	struct target *t = d->current;
	const struct ring_record *record = (const struct ring_record *)d->record;

	if (size > RING_RECORD_MAX || shared->slot >= RING_SLOTS)
		return;
	memcpy(d->record, shared, size);
	switch (record->type) {
	case RING_SAMPLE:
		take_sample(d, t, (const struct ring_sample *)record, size);
		break;
	case RING_FRAMES: {
		const struct ring_frames *part = (const struct ring_frames *)record;
		struct drained_thread *thread;

		if (size < sizeof(*part) ||
		    part->count > (size - sizeof(*part)) / sizeof(struct ring_frame))
			break;
		thread = thread_of(d, t, record->slot, part->generation, NULL, false);
		if (thread)
			take_frames(d, t, thread, part->common, part->count, part->frames);
		break;
	}
	case RING_CODE:
		take_code(d, t, (const struct ring_code *)record, size);
		break;
	case RING_CODE_MORE:
		take_code_more(d, t, (const struct ring_code_more *)record, size);
		break;
	case RING_THREAD_END: {
		const struct ring_thread_end *end = (const struct ring_thread_end *)record;
		struct drain_target *dt = t->drained;
		struct look_thread birth;

		if (size < sizeof(*end))
			break;
		birth = (struct look_thread){
			.tid = end->tid,
			.main = end->tid == (uint32_t)t->ring->pid,
			.pthread_id = end->pthread_id,
			.start_ns = end->start_ns,
		};
		if (!thread_of(d, t, record->slot, end->generation, &birth, true))
			break;
		dt->ends = xgrow(dt->ends, &dt->end_capacity, dt->end_count + 1, sizeof(*dt->ends));
		dt->ends[dt->end_count++] = (struct event){
			.type = EVENT_END,
			.slot = record->slot,
			.generation = end->generation,
			.time_ns = end->time_ns,
			.cpu_ns = end->cpu_ns,
		};
		break;
	}
	default:
		break;
	}
}

static void write_loss(struct drain *d, struct target *t, enum trace_loss_kind kind, uint64_t count)
{
	struct trace_loss loss = {
		.kind = kind,
		.process = t->index,
		.thread = TRACE_NONE,
		.time_ns = since_start(d, now_ns()),
		.count = count,
	};

	if (count && t->drained->defined)
		trace_writer_loss(d->writer, &loss);
}

static void take_look_codes(struct drain *d, struct target *t, const struct look_queue *queue)
{
	struct drain_target *dt = t->drained;

	for (size_t i = 0; i < queue->code_count; i++) {
		const struct look_code *look = &queue->codes[i];
		const struct py_code_text *text = look->text;
		struct trace_code code = {
			.filename = trace_writer_string(d->writer, text->filename,
							text->filename_size),
			.name = trace_writer_string(d->writer, text->name, text->name_size),
			.qualname = trace_writer_string(d->writer, text->qualname,
							text->qualname_size),
			.first_line = text->first_line,
			.flags = text->flags,
			.python = t->layout.version,
			.line_table = text->line_table,
			.line_table_size = text->line_table_size,
			.code_bytes = text->code_bytes,
		};

		dt->look_codes = xgrow(dt->look_codes, &dt->look_code_capacity, (size_t)look->id + 1,
				       sizeof(*dt->look_codes));
		while (dt->look_code_count <= look->id)
			dt->look_codes[dt->look_code_count++] = TRACE_NONE;
		dt->look_codes[look->id] = trace_writer_code(d->writer, &code);
	}
}

static void take_looks(struct drain *d, struct target *t, const struct look_queue *queue)
{
	struct drain_target *dt = t->drained;
	uint64_t unwalked = 0;

	take_look_codes(d, t, queue);
	for (size_t i = 0; i < queue->count; i++) {
		const struct look *look = &queue->looks[i];
		struct drained_thread *thread = thread_of(d, t, look->slot, look->generation, NULL, false);
		struct event *event;
		uint32_t node = 0;

		if (!thread)
			continue;
		if (look->first_frame == UINT32_MAX) {
			node = thread->wait_node;
		} else {
			for (uint32_t k = look->count; k > 0; k--) {
				const struct ring_frame *frame =
					&queue->frames[look->first_frame + k - 1];

				node = trace_writer_node(d->writer, node, dt->look_codes[frame->code],
							 frame->offset);
				if (k == 1)
					mark_leaf(d, dt->look_codes[frame->code]);
			}
			thread->wait_node = node;
			d->totals.unwalked += look->unwalked;
			unwalked += look->unwalked;
		}
		event = new_event(dt);
		event->type = EVENT_LOOK;
		event->slot = look->slot;
		event->generation = look->generation;
		event->time_ns = look->end_ns;
		event->cpu_ns = look->cpu_ns;
		event->node = node;
		event->kind = look->kind;
	}
	for (size_t i = 0; i < queue->name_count; i++) {
		for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
			struct drained_thread *thread = dt->threads[slot];

			if (thread && !thread->ended && thread->pthread_id == queue->names[i].ident)
				set_name(d, thread, queue->names[i].name, queue->names[i].size);
		}
	}
	dt->missed += queue->missed;
	write_loss(d, t, TRACE_LOSS_UNWALKED, unwalked);
}

static int by_time(const void *pa, const void *pb)
{
	const struct event *a = pa, *b = pb;

	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* The thread of `end` waits no longer than it lives. */
static void cap_looks(struct drain_target *dt, const struct event *end)
{
	for (size_t i = 0; i < dt->event_count; i++) {
		struct event *event = &dt->events[i];

		if (event->type == EVENT_LOOK && event->slot == end->slot &&
		    event->generation == end->generation && event->time_ns > end->time_ns)
			event->time_ns = end->time_ns;
	}
}

static void write_event(struct drain *d, struct target *t, const struct event *event)
{
	struct drained_thread *thread = thread_of(d, t, event->slot, event->generation, NULL, false);
	uint64_t cpu, wall, time = event->time_ns;

	if (!thread || thread->ended)
		return;
	define_thread(d, t, thread);
	/* A late record: its clocks were passed already. */
	if (time < thread->last_ns)
		time = thread->last_ns;
	cpu = event->cpu_ns > thread->last_cpu_ns ? event->cpu_ns - thread->last_cpu_ns : 0;
	wall = time - thread->last_ns;
	thread->last_ns = time;
	if (event->cpu_ns > thread->last_cpu_ns)
		thread->last_cpu_ns = event->cpu_ns;
	d->totals.cpu_ns += cpu;

	if (event->type == EVENT_SAMPLE) {
		struct trace_sample sample = {
			.thread = thread->index,
			.node = event->node,
			.pc = event->pc,
			.flags = event->flags,
			.time_ns = since_start(d, time),
			.wall_ns = wall > cpu ? wall : cpu,
			.cpu_ns = cpu,
		};

		trace_writer_sample(d->writer, t->index, &sample);
		d->totals.samples++;
	} else {
		struct trace_wait wait = {
			.thread = thread->index,
			.node = event->node,
			.kind = event->type == EVENT_END ? TRACE_WAIT_END : event->kind,
			.time_ns = since_start(d, time),
			.wall_ns = wall > cpu ? wall - cpu : 0,
			.cpu_ns = cpu,
		};

		trace_writer_wait(d->writer, t->index, &wait);
		if (event->type == EVENT_END)
			thread->ended = true;
	}
}

static void write_losses(struct drain *d, struct target *t)
{
	struct drain_target *dt = t->drained;
	uint64_t lost = atomic_load_explicit(&t->ring->lost, memory_order_relaxed);
	uint64_t unwalked = atomic_load_explicit(&t->ring->unwalked, memory_order_relaxed);
	uint64_t slotless =
		atomic_load_explicit(&t->ring->threads_without_slot, memory_order_relaxed);

	if (lost > dt->lost) {
		write_loss(d, t, TRACE_LOSS_RING_FULL, lost - dt->lost);
		d->totals.lost += lost - dt->lost;
		dt->lost = lost;
	}
	if (unwalked > dt->unwalked) {
		write_loss(d, t, TRACE_LOSS_UNWALKED, unwalked - dt->unwalked);
		d->totals.unwalked += unwalked - dt->unwalked;
		dt->unwalked = unwalked;
	}
	/* More threads at once than the region has slots: they are never asked. */
	if (slotless > dt->slotless) {
		dt->missed += slotless - dt->slotless;
		dt->slotless = slotless;
	}
	write_loss(d, t, TRACE_LOSS_MISSED, dt->missed);
	d->totals.missed += dt->missed;
	dt->missed = 0;
}

static bool end_is_near(const struct drain_target *dt, uint32_t slot, uint32_t generation)
{
	for (size_t i = 0; i < dt->end_count; i++)
		if (dt->ends[i].slot == slot && dt->ends[i].generation == generation)
			return true;
	return false;
}

/* Threads whose slot has a new owner: gone with their end, or without a word when that was lost. */
static void retire_threads(struct drain *d, struct target *t)
{
	struct drain_target *dt = t->drained;

	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *newest = dt->threads[slot], **place;

		if (!newest || !newest->older)
			continue;
		for (place = &newest->older; *place;) {
			struct drained_thread *thread = *place;

			if (!thread->ended && end_is_near(dt, slot, thread->generation)) {
				place = &thread->older;
				continue;
			}
			if (!thread->ended) {
				struct event end = {
					.type = EVENT_END,
					.slot = slot,
					.generation = thread->generation,
					.time_ns = thread->last_ns,
					.cpu_ns = thread->last_cpu_ns,
				};

				write_event(d, t, &end);
			}
			*place = thread->older;
			free_thread(thread);
		}
	}
}

static uint64_t drain_pass(struct drain *d, struct target *t, bool dead)
{
	struct drain_target *dt = t->drained;
	struct look_queue queue;
	uint64_t before = d->totals.samples;
	size_t ends = dt->end_count; /* of the last pass */

	dt->event_count = 0;
	d->current = t;
	sampler_take(d->sampler, t, &queue);
	for (size_t i = 0; i < queue.thread_count; i++)
		thread_of(d, t, queue.threads[i].slot, queue.threads[i].generation,
			  &queue.threads[i], false);
	ring_drain(t, dead, take_record, d);
	take_looks(d, t, &queue);
	look_queue_release(&queue);
	if (dead)
		ends = dt->end_count;
	for (size_t i = 0; i < ends; i++) {
		struct event *event = new_event(dt);
		uint64_t order = event->order;

		*event = dt->ends[i];
		event->order = order;
		cap_looks(dt, event);
	}
	dt->end_count -= ends;
	if (dt->end_count)
		memmove(dt->ends, dt->ends + ends, dt->end_count * sizeof(*dt->ends));
	if (dt->event_count)
		qsort(dt->events, dt->event_count, sizeof(*dt->events), by_time);
	for (size_t i = 0; i < dt->event_count; i++)
		write_event(d, t, &dt->events[i]);
	retire_threads(d, t);
	write_losses(d, t);
	return d->totals.samples - before;
}

uint64_t drain_target(struct drain *d, struct target *t)
{
	return drain_pass(d, t, false);
}

struct final_clock {
	uint64_t cpu_ns[RING_SLOTS];
	uint32_t generation[RING_SLOTS];
};

static void take_final_clock(void *arg, uint32_t slot, uint32_t generation, uint64_t cpu_ns)
{
	struct final_clock *final = arg;

	final->cpu_ns[slot] = cpu_ns;
	final->generation[slot] = generation;
}

void drain_end(struct drain *d, struct target *t, int wait_status)
{
	struct drain_target *dt = t->drained;
	struct ring_header *ring = t->ring;
	uint32_t state = atomic_load_explicit(&ring->state, memory_order_acquire);
	struct final_clock *final = xcalloc(1, sizeof(*final));
	struct trace_process_end end;
	uint64_t end_ns = state == RING_LIVE ? now_ns() : ring->end_ns;

	sampler_threads(d->sampler, t, take_final_clock, final);
	drain_pass(d, t, true);
	sampler_remove(d->sampler, t);

	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *thread = dt->threads[slot];
		struct event event = { .type = EVENT_END, .slot = slot, .time_ns = end_ns };

		if (!thread)
			continue;
		event.generation = thread->generation;
		event.cpu_ns = final->generation[slot] == thread->generation ? final->cpu_ns[slot] : 0;
		if (!thread->ended && (state != RING_EXEC || dt->defined))
			write_event(d, t, &event);
	}
	free(final);
	if (state != RING_EXEC)
		define_process(d, t);

	memset(&end, 0, sizeof(end));
	end.process = t->index;
	end.time_ns = since_start(d, end_ns);
	if (state == RING_LIVE) {
		end.cpu_ns = t->final_cpu_ns > dt->base_cpu_ns ? t->final_cpu_ns - dt->base_cpu_ns : 0;
	} else {
		end.cpu_ns = ring->end_cpu_ns > dt->base_cpu_ns ? ring->end_cpu_ns - dt->base_cpu_ns : 0;
		end.user_ns = ring->end_user_ns;
		end.system_ns = ring->end_system_ns;
		end.peak_rss_bytes = ring->end_peak_rss_bytes;
		if (state == RING_EXEC) {
			end.how = TRACE_END_EXEC;
			d->ended = xgrow(d->ended, &d->ended_capacity, d->ended_count + 1,
					 sizeof(*d->ended));
			d->ended[d->ended_count].pid = t->pid;
			d->ended[d->ended_count++].cpu_ns = ring->end_cpu_ns;
		} else if (ring->end_has_status) {
			end.how = TRACE_END_EXIT;
			end.status = ring->end_status;
		}
	}
	if (wait_status != -1 && WIFSIGNALED(wait_status)) {
		end.how = TRACE_END_SIGNAL;
		end.status = WTERMSIG(wait_status);
	} else if (wait_status != -1 && WIFEXITED(wait_status) && state != RING_EXEC) {
		end.how = TRACE_END_EXIT;
		end.status = WEXITSTATUS(wait_status);
	}
	if (dt->defined)
		trace_writer_process_end(d->writer, &end);

	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *thread = dt->threads[slot];

		while (thread) {
			struct drained_thread *older = thread->older;

			free_thread(thread);
			thread = older;
		}
	}
	for (size_t i = 0; i < dt->pending_count; i++)
		free(dt->pending[i].line_table);
	free(dt->pending);
	free(dt->codes);
	free(dt->look_codes);
	free(dt->events);
	free(dt->ends);
	module_map_free(dt->modules);
	process_info_release(&dt->info);
	free(dt);
	t->drained = NULL;
}

size_t drain_processes(const struct drain *d)
{
	return d->known_count;
}

struct drain_totals drain_totals(const struct drain *d)
{
	return d->totals;
}

/* Sources of the files that somebody will want to see: those with a leaf, and the user's own. */
#define SOURCE_MAX (4u << 20)

void drain_sources(struct drain *d)
{
	size_t codes = trace_writer_code_count(d->writer);
	struct map done = { 0 };

	for (size_t i = 0; i < codes; i++) {
		struct trace_text path = trace_writer_code_filename(d->writer, (uint32_t)i);
		bool leaf = i < d->leaf_capacity && d->code_is_leaf[i];
		struct trace_source source = { .path = path };
		struct buf text = { 0 };
		struct err err;
		uint32_t id;

		if (path.size == 0 || path.data[0] == '<' ||
		    (!leaf && (strstr(path.data, "-packages/") || strstr(path.data, "/lib/python"))))
			continue;
		id = trace_writer_string(d->writer, path.data, path.size);
		if (map_get(&done, id) != MAP_NONE)
			continue;
		map_set(&done, id, 1);
		if (io_read_file(path.data, SOURCE_MAX, &text, &err) == 0) {
			source.text = (struct trace_text){ buf_text(&text), text.size };
			trace_writer_source(d->writer, &source);
		}
		buf_release(&text);
	}
	map_release(&done);
}
