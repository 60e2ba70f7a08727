/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over a target: take the sampler's looks, read the ring (code objects and stacks are
 * stateful and resolved at once), sort samples and looks by time, and charge each thread the clock
 * time since its last event. Clocks are absolute until here and differences from here on.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/drain_ring.h"
#include "record/drain_state.h"
#include "record/python/opcode_class.h"

struct drain *drain_new(struct trace_writer *writer, struct sampler *sampler,
			const struct drain_options *options)
{
	struct drain *d = xcalloc(1, sizeof(*d));

	d->writer = writer;
	d->sampler = sampler;
	d->root_fd = -1;
	d->options = *options;
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
	free(d->live);
	module_files_release(&d->files);
	if (d->root_fd >= 0)
		close(d->root_fd);
	free(d);
}

/* A process may be gone already, or be another program: it has left a note of what it was. */
static void complete_info(const struct target *t, struct process_info *info)
{
	const char *base = (const char *)t->ring;
	uint32_t command_size = t->ring->command_size, program_size = t->ring->program_size;
	char program[RING_HEADER_SIZE - RING_PROGRAM_OFFSET];

	if (t->attached || command_size >= RING_PROGRAM_OFFSET - RING_COMMAND_OFFSET ||
	    program_size >= sizeof(program))
		return;
	/* A long command is cut there. */
	if (command_size == RING_PROGRAM_OFFSET - RING_COMMAND_OFFSET - 1 && info->command_count)
		command_size = 0;
	memcpy(program, base + RING_PROGRAM_OFFSET, program_size);
	program[program_size] = '\0';
	process_info_complete(info, base + RING_COMMAND_OFFSET, command_size, program,
			      t->ring->python_hex);
}

void drain_add(struct drain *d, struct target *t, bool launched)
{
	struct drain_target *dt = xcalloc(1, sizeof(*dt));

	t->index = TRACE_NONE;
	t->drained = dt;
	dt->launched = launched;
	dt->base_cpu_ns = t->base_cpu_ns;
	if ((t->attached || t->joined) && d->root_fd < 0)
		d->root_fd = process_other_root(t->pid);
	for (size_t i = d->ended_count; i > 0; i--) {
		if (d->ended[i - 1].pid == t->pid) {
			dt->base_cpu_ns = d->ended[i - 1].cpu_ns;
			dt->children_cpu_ns = d->ended[i - 1].children_cpu_ns;
			break;
		}
	}
	dt->modules = module_map_new(d->writer, &d->files, t->pid, t->ring->runtime);
	dt->heap = drain_heap_new(d, t);
	dt->lanes = drain_lanes_new(t);
	/* Now: the process and the shells between it and its parent may be gone soon. */
	process_info_read(&dt->info, t->pid, t->ring->python_hex);
	complete_info(t, &dt->info);
	drain_find_ancestors(t);
	d->live = xgrow(d->live, &d->live_capacity, d->live_count + 1, sizeof(*d->live));
	d->live[d->live_count++] = t;
	/* Only a fork may turn out to be nothing but the way to another program. */
	if (!t->ring->forked)
		drain_define_process(d, t);
}

static struct event *new_event(struct drain_target *dt)
{
	struct event *event;

	dt->events =
		xgrow(dt->events, &dt->event_capacity, dt->event_count + 1, sizeof(*dt->events));
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
	thread = drain_thread(d, t, record->record.slot, record->generation, NULL, false);
	if (!thread)
		return;
	if (drain_take_frames(d, t, thread, record->common, record->count, record->frames)) {
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
	event->time_ns = drain_not_after_now(d, record->time_ns);
	event->cpu_ns = drain_not_after_now(d, record->cpu_ns);
	event->ready_ns = drain_not_after_now(d, record->ready_ns);
	event->slot = record->record.slot;
	event->generation = record->generation;
	event->node = thread->depth ? thread->stack[thread->depth - 1].node : 0;
	event->pc = module_map_pc(dt->modules, record->pc);
	event->flags = flags;
}

static void take_record(void *arg, const struct ring_record *shared, size_t size)
{
	struct drain *d = arg;
	struct target *t = d->current;
	const struct ring_record *record = (const struct ring_record *)d->record;

	if (size > RING_RECORD_MAX)
		return;
	memcpy(d->record, shared, size);
	if (record->slot >= RING_SLOTS &&
	    (record->slot != RING_NO_SLOT || record->type < RING_ALLOC))
		return;
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
		thread = drain_thread(d, t, record->slot, part->generation, NULL, false);
		if (thread)
			drain_take_frames(d, t, thread, part->common, part->count, part->frames);
		break;
	}
	case RING_CODE:
		drain_take_code(d, t, (const struct ring_code *)record, size);
		break;
	case RING_CODE_MORE:
		drain_take_code_more(d, t, (const struct ring_code_more *)record, size);
		break;
	case RING_REAPED:
		drain_take_reaped(d, t, (const struct ring_reaped *)record, size);
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
			.start_ns = drain_not_after_now(d, end->start_ns),
		};
		if (!drain_thread(d, t, record->slot, end->generation, &birth, true))
			break;
		dt->ends = xgrow(dt->ends, &dt->end_capacity, dt->end_count + 1, sizeof(*dt->ends));
		dt->ends[dt->end_count++] = (struct event){
			.type = EVENT_END,
			.slot = record->slot,
			.generation = end->generation,
			.time_ns = drain_not_after_now(d, end->time_ns),
			.cpu_ns = drain_not_after_now(d, end->cpu_ns),
		};
		break;
	}
	default:
		drain_take_heap(d, t, record, size);
		break;
	}
}

void drain_write_loss(struct drain *d, struct target *t, enum trace_loss_kind kind, uint64_t count)
{
	struct trace_loss loss = {
		.kind = kind,
		.process = t->index,
		.thread = TRACE_NONE,
		.time_ns = drain_since_start(d, drain_now()),
		.count = count,
	};

	if (count && t->drained->defined)
		trace_writer_loss(d->writer, &loss);
}

static void take_looks(struct drain *d, struct target *t, const struct look_queue *queue)
{
	struct drain_target *dt = t->drained;
	uint64_t unwalked = 0;

	drain_take_look_codes(d, t, queue);
	for (size_t i = 0; i < queue->count; i++) {
		const struct look *look = &queue->looks[i];
		struct drained_thread *thread =
			drain_thread(d, t, look->slot, look->generation, NULL, false);
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

				node = trace_writer_node(d->writer, node,
							 dt->look_codes[frame->code],
							 frame->offset);
				if (k == 1)
					drain_mark_leaf(d, dt->look_codes[frame->code]);
			}
			if (!look->sample)
				thread->wait_node = node;
			d->totals.unwalked += look->unwalked;
			unwalked += look->unwalked;
		}
		event = new_event(dt);
		event->type = look->sample                   ? EVENT_SAMPLE
			      : look->kind == TRACE_WAIT_END ? EVENT_END
							     : EVENT_LOOK;
		if (look->sample) {
			event->flags = look->flags | (thread->sampled ? 0 : TRACE_SAMPLE_FIRST);
			event->pc = look->pc ? module_map_pc(dt->modules, look->pc) : 0;
			thread->sampled = true;
		}
		event->slot = look->slot;
		event->generation = look->generation;
		event->time_ns = look->end_ns;
		event->cpu_ns = look->cpu_ns;
		event->ready_ns = look->ready_ns;
		event->node = node;
		event->kind = look->kind;
	}
	for (size_t i = 0; i < queue->name_count; i++) {
		for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
			struct drained_thread *thread = dt->threads[slot];

			if (thread && !thread->ended && thread->pthread_id == queue->names[i].ident)
				drain_name_thread(d, thread, queue->names[i].name,
						  queue->names[i].size);
		}
	}
	dt->missed += queue->missed;
	drain_write_loss(d, t, TRACE_LOSS_UNWALKED, unwalked);
}

/* A program may pause and go on many times within a pass: each event has to find the state that it
 * happened in. */
static void note_turn(struct drain_target *dt, bool stop, uint64_t time_ns)
{
	dt->turns = xgrow(dt->turns, &dt->turn_capacity, dt->turn_count + 1, sizeof(*dt->turns));
	dt->turns[dt->turn_count++] = (struct drained_turn){stop, time_ns};
	dt->paused_once = true;
}

void drain_mark(struct drain *d, struct target *t, enum trace_mark_kind kind, uint64_t time_ns,
		const char *label, size_t size)
{
	struct trace_mark mark = {
		.kind = kind,
		.label = {label, size},
	};

	if (!t->drained->defined)
		drain_define_process(d, t);
	/* One from the program may be older than one from us that came first. */
	if (time_ns < t->drained->marked_ns)
		time_ns = t->drained->marked_ns;
	t->drained->marked_ns = time_ns;
	mark.time_ns = drain_since_start(d, time_ns);
	mark.process = t->index;
	if (kind == TRACE_MARK_START || kind == TRACE_MARK_STOP)
		note_turn(t->drained, kind == TRACE_MARK_STOP, time_ns);
	trace_writer_mark(d->writer, &mark);
}

/* Brings the pauses up to the time of an event that is about to be written. */
static void take_turns(struct drain_target *dt, uint64_t time_ns)
{
	while (dt->turn_at < dt->turn_count && dt->turns[dt->turn_at].time_ns < time_ns) {
		const struct drained_turn *turn = &dt->turns[dt->turn_at++];

		if (!turn->stop)
			dt->resumed_ns = turn->time_ns;
		dt->stopped_ns = turn->stop ? turn->time_ns : 0;
	}
}

/* After a pass: no event comes from before the pass ahead of it. */
static void forget_turns(struct drain_target *dt, uint64_t pass_ns)
{
	take_turns(dt, dt->turned_ns);
	dt->turned_ns = pass_ns;
	dt->turn_count -= dt->turn_at;
	if (dt->turn_at && dt->turn_count)
		memmove(dt->turns, dt->turns + dt->turn_at, dt->turn_count * sizeof(*dt->turns));
	dt->turn_at = 0;
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

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The thread of `end` waits no longer than it lives, and what it ran after that has its time, too.
 * A wait that was seen when it had used more than it says itself began after its last words. */
static void cap_looks(struct drain_target *dt, const struct event *end)
{
	size_t kept = 0;

	for (size_t i = 0; i < dt->event_count; i++) {
		struct event event = dt->events[i];

		if (event.type == EVENT_LOOK && event.slot == end->slot &&
		    event.generation == end->generation) {
			uint64_t ran;

			if (event.cpu_ns > end->cpu_ns)
				continue;
			ran = least(end->cpu_ns - event.cpu_ns, end->time_ns);
			event.time_ns = least(event.time_ns, end->time_ns - ran);
		}
		dt->events[kept++] = event;
	}
	dt->event_count = kept;
}

/* For how long the thread was ready without a processor since its last event that knew it. */
static uint64_t take_ready(const struct target *t, struct drained_thread *thread,
			   const struct event *event)
{
	uint64_t before = thread->last_ready_ns;

	if (!event->ready_ns)
		return 0;
	/* A thread that was there before its recording began brings along what it has waited. */
	if (!thread->ready_known &&
	    (t->attached || t->ring->injected || (thread->definition.main && !t->ring->forked)))
		before = event->ready_ns;
	thread->ready_known = true;
	if (event->ready_ns > thread->last_ready_ns)
		thread->last_ready_ns = event->ready_ns;
	return event->ready_ns > before ? event->ready_ns - before : 0;
}

/* Writes the sample that a thread holds back, if any. */
static void write_held(struct drain *d, const struct target *t, struct drained_thread *thread)
{
	if (thread->holds)
		trace_writer_sample(d->writer, t->index, &thread->held);
	thread->holds = false;
}

/* A sample was asked for before its thread got the processor to take it: it comes with the time
 * until it was asked for only. So what became known since then explains its wall time first.
 * Returns what is left. */
static uint64_t explain_held(struct drained_thread *thread, uint64_t ready_ns)
{
	struct trace_sample *held = &thread->held;
	uint64_t more;

	if (!thread->holds)
		return ready_ns;
	more = least(ready_ns, held->wall_ns - held->cpu_ns - held->ready_ns);
	held->ready_ns += more;
	return ready_ns - more;
}

static void write_event(struct drain *d, struct target *t, const struct event *event)
{
	struct drained_thread *thread =
		drain_thread(d, t, event->slot, event->generation, NULL, false);
	uint64_t cpu, wall, ready, time = event->time_ns;

	if (!thread || thread->ended)
		return;
	take_turns(t->drained, event->time_ns);
	drain_define_thread(d, t, thread);
	if (t->drained->stopped_ns && event->time_ns > t->drained->stopped_ns) {
		thread->ended = event->type == EVENT_END;
		return;
	}
	if (thread->last_ns < t->drained->resumed_ns) {
		/* The first event after a pause only sets the clocks. */
		if (event->time_ns < t->drained->resumed_ns)
			return;
		thread->last_ns = event->time_ns;
		thread->last_cpu_ns = event->cpu_ns;
		take_ready(t, thread, event);
		thread->unplaced_ns = thread->owed_ns = 0;
		thread->ended = event->type == EVENT_END;
		return;
	}
	/* A late record: its clocks were passed already. */
	if (time < thread->last_ns)
		time = thread->last_ns;
	cpu = event->cpu_ns > thread->last_cpu_ns ? event->cpu_ns - thread->last_cpu_ns : 0;
	wall = time - thread->last_ns;
	thread->last_ns = time;
	if (event->cpu_ns > thread->last_cpu_ns)
		thread->last_cpu_ns = event->cpu_ns;
	d->totals.cpu_ns += cpu;
	/* A wait is seen to end up to a tick late; then the thread has run for longer than there is
	 * time since. What is too much here was too much in the wait: the next one makes up for it.
	 */
	if (cpu > wall) {
		thread->owed_ns += cpu - wall;
		wall = cpu;
	} else {
		uint64_t repaid = least(wall - cpu, thread->owed_ns);

		thread->owed_ns -= repaid;
		wall -= repaid;
	}

	thread->unplaced_ns += take_ready(t, thread, event);
	thread->unplaced_ns = explain_held(thread, thread->unplaced_ns);
	ready = least(thread->unplaced_ns, wall - cpu);
	thread->unplaced_ns -= ready;
	write_held(d, t, thread);
	if (event->type == EVENT_SAMPLE) {
		thread->held = (struct trace_sample){
			.thread = thread->index,
			.node = event->node,
			.pc = event->pc,
			.flags = event->flags,
			.time_ns = drain_since_start(d, time),
			.wall_ns = wall,
			.cpu_ns = cpu,
			.ready_ns = ready,
		};
		thread->holds = true;
		d->totals.samples++;
	} else {
		struct trace_wait wait = {
			.thread = thread->index,
			.node = event->node,
			.kind = event->type == EVENT_END ? TRACE_WAIT_END : event->kind,
			.time_ns = drain_since_start(d, time),
			.wall_ns = wall - cpu,
			.cpu_ns = cpu,
			.ready_ns = ready,
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
		drain_write_loss(d, t, TRACE_LOSS_RING_FULL, lost - dt->lost);
		d->totals.lost += lost - dt->lost;
		dt->lost = lost;
	}
	if (unwalked > dt->unwalked) {
		drain_write_loss(d, t, TRACE_LOSS_UNWALKED, unwalked - dt->unwalked);
		d->totals.unwalked += unwalked - dt->unwalked;
		dt->unwalked = unwalked;
	}
	/* More threads at once than the region has slots: they are never asked. */
	if (slotless > dt->slotless) {
		dt->missed += slotless - dt->slotless;
		dt->slotless = slotless;
	}
	drain_write_loss(d, t, TRACE_LOSS_MISSED, dt->missed);
	d->totals.missed += dt->missed;
	dt->missed = 0;
	drain_heap_losses(d, t);
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
			drain_free_thread(thread);
		}
	}
}

static uint64_t drain_pass(struct drain *d, struct target *t, bool dead)
{
	struct drain_target *dt = t->drained;
	struct look_queue queue;
	uint64_t before = d->totals.samples, cut;
	size_t ends = dt->end_count; /* of the last pass */

	dt->event_count = 0;
	d->current = t;
	d->pass_ns = drain_now();
	/* What a thread waited for has to come before its end, not with its last look. */
	for (size_t i = 0; i < ends; i++)
		sampler_end_wait(d->sampler, t, dt->ends[i].slot, dt->ends[i].generation);
	sampler_take(d->sampler, t, &queue);
	for (size_t i = 0; i < queue.thread_count; i++) {
		const struct look_thread *birth = &queue.threads[i];
		struct drained_thread *thread =
			drain_thread(d, t, birth->slot, birth->generation, birth, false);

		if (thread && !thread->pthread_id)
			thread->pthread_id = birth->pthread_id;
	}
	/* In this order: what the lanes' events need is in the ring before them. */
	cut = dead ? DRAIN_ALL : drain_lanes_cut(t);
	ring_drain(t, dead, d->pass_ns, take_record, d);
	drain_lanes(d, t, cut);
	take_looks(d, t, &queue);
	look_queue_release(&queue);
	if (dead)
		ends = dt->end_count;
	for (size_t i = 0; i < ends; i++) {
		struct event *event;
		uint64_t order;

		cap_looks(dt, &dt->ends[i]);
		event = new_event(dt);
		order = event->order;
		*event = dt->ends[i];
		event->order = order;
	}
	dt->end_count -= ends;
	if (dt->end_count)
		memmove(dt->ends, dt->ends + ends, dt->end_count * sizeof(*dt->ends));
	if (dt->event_count)
		qsort(dt->events, dt->event_count, sizeof(*dt->events), by_time);
	for (size_t i = 0; i < dt->event_count; i++)
		write_event(d, t, &dt->events[i]);
	for (size_t i = 0; i < dt->event_count; i++) {
		const struct event *event = &dt->events[i];
		struct drained_thread *thread =
			drain_thread(d, t, event->slot, event->generation, NULL, false);

		if (thread)
			write_held(d, t, thread);
	}
	retire_threads(d, t);
	forget_turns(dt, d->pass_ns);
	write_losses(d, t);
	return d->totals.samples - before;
}

uint64_t drain_target(struct drain *d, struct target *t)
{
	uint64_t samples = drain_pass(d, t, false);

	drain_footprint(d, t, false);
	return samples;
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
	uint32_t exec_slot = ring->exec_slot;
	struct trace_process_end end;
	uint64_t end_ns;

	sampler_threads(d->sampler, t, take_final_clock, final);
	drain_pass(d, t, true);
	end_ns = drain_process_end(d, t, state, wait_status, &end);
	sampler_remove(d->sampler, t);

	if (exec_slot > RING_SLOTS)
		exec_slot = 0;
	if (state == RING_EXEC && dt->defined && exec_slot)
		drain_thread(d, t, exec_slot - 1, atomic_load(&t->slots[exec_slot - 1].generation),
			     NULL, false);
	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *thread = dt->threads[slot];
		struct event event = {.type = EVENT_END, .slot = slot, .time_ns = end_ns};

		if (!thread)
			continue;
		event.generation = thread->generation;
		event.cpu_ns =
			final->generation[slot] == thread->generation ? final->cpu_ns[slot] : 0;
		/* The sampler may have seen what the next program used, or nothing yet. */
		if (state == RING_EXEC && slot + 1 == exec_slot)
			event.cpu_ns = drain_not_after_now(d, ring->exec_thread_cpu_ns);
		else if (state == RING_EXEC && event.cpu_ns > ring->end_cpu_ns)
			event.cpu_ns = ring->end_cpu_ns;
		if (!thread->ended && (state != RING_EXEC || dt->defined))
			write_event(d, t, &event);
	}
	free(final);
	if (state != RING_EXEC)
		drain_define_process(d, t);
	drain_footprint(d, t, true);

	end.process = t->index;
	end.time_ns = drain_since_start(d, end_ns);
	if (dt->defined)
		trace_writer_process_end(d->writer, &end);

	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *thread = dt->threads[slot];

		while (thread) {
			struct drained_thread *older = thread->older;

			drain_free_thread(thread);
			thread = older;
		}
	}
	for (size_t i = 0; i < d->live_count; i++) {
		if (d->live[i] == t) {
			d->live[i] = d->live[--d->live_count];
			break;
		}
	}
	for (size_t i = 0; i < dt->pending_count; i++)
		free(dt->pending[i].line_table);
	free(dt->pending);
	free(dt->codes);
	free(dt->look_codes);
	free(dt->events);
	free(dt->ends);
	free(dt->turns);
	module_map_free(dt->modules);
	drain_heap_free(dt->heap);
	drain_lanes_free(dt->lanes);
	process_info_release(&dt->info);
	free(dt);
	t->drained = NULL;
}

struct module_files *drain_module_files(struct drain *d)
{
	return &d->files;
}

size_t drain_processes(const struct drain *d)
{
	return d->known_count;
}

struct drain_totals drain_totals(const struct drain *d)
{
	return d->totals;
}
