/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over a target: take the sampler's looks, read the ring (code objects and stacks are
 * stateful and resolved at once), sort samples and looks by time, and charge each thread the clock
 * time since its last event. Clocks are absolute until here and differences from here on.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/drain_ring.h"
#include "record/drain_state.h"
#include "record/python/opcode_class.h"

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
		if (!drain_thread(d, t, record->slot, end->generation, &birth, true))
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
				drain_name_thread(d, thread, queue->names[i].name,
						  queue->names[i].size);
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
	struct drained_thread *thread =
		drain_thread(d, t, event->slot, event->generation, NULL, false);
	uint64_t cpu, wall, time = event->time_ns;

	if (!thread || thread->ended)
		return;
	drain_define_thread(d, t, thread);
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
		uint64_t repaid = wall - cpu < thread->owed_ns ? wall - cpu : thread->owed_ns;

		thread->owed_ns -= repaid;
		wall -= repaid;
	}

	if (event->type == EVENT_SAMPLE) {
		struct trace_sample sample = {
			.thread = thread->index,
			.node = event->node,
			.pc = event->pc,
			.flags = event->flags,
			.time_ns = drain_since_start(d, time),
			.wall_ns = wall,
			.cpu_ns = cpu,
		};

		trace_writer_sample(d->writer, t->index, &sample);
		d->totals.samples++;
	} else {
		struct trace_wait wait = {
			.thread = thread->index,
			.node = event->node,
			.kind = event->type == EVENT_END ? TRACE_WAIT_END : event->kind,
			.time_ns = drain_since_start(d, time),
			.wall_ns = wall - cpu,
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
			drain_free_thread(thread);
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
		drain_thread(d, t, queue.threads[i].slot, queue.threads[i].generation,
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
	uint64_t end_ns = state == RING_LIVE ? drain_now() : ring->end_ns;

	sampler_threads(d->sampler, t, take_final_clock, final);
	drain_pass(d, t, true);
	sampler_remove(d->sampler, t);

	for (uint32_t slot = 0; slot < RING_SLOTS; slot++) {
		struct drained_thread *thread = dt->threads[slot];
		struct event event = {.type = EVENT_END, .slot = slot, .time_ns = end_ns};

		if (!thread)
			continue;
		event.generation = thread->generation;
		event.cpu_ns =
			final->generation[slot] == thread->generation ? final->cpu_ns[slot] : 0;
		if (!thread->ended && (state != RING_EXEC || dt->defined))
			write_event(d, t, &event);
	}
	free(final);
	if (state != RING_EXEC)
		drain_define_process(d, t);

	memset(&end, 0, sizeof(end));
	end.process = t->index;
	end.time_ns = drain_since_start(d, end_ns);
	if (state == RING_LIVE) {
		end.cpu_ns =
			t->final_cpu_ns > dt->base_cpu_ns ? t->final_cpu_ns - dt->base_cpu_ns : 0;
	} else {
		end.cpu_ns =
			ring->end_cpu_ns > dt->base_cpu_ns ? ring->end_cpu_ns - dt->base_cpu_ns : 0;
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

			drain_free_thread(thread);
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
