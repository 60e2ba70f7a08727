/* SPDX-License-Identifier: Apache-2.0
 *
 * Running threads of programs without an agent. A thread that runs is stopped by itself for as long
 * as it takes to read its registers, clock and stack, and runs on; or, where that is not wanted, it
 * is read while it runs, and the read counts only when a second one agrees.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/sampler_state.h"

/* CPU time within which a thread that leaves a system call has just been woken. */
#define WAKE_NS 25000u
#define RACING_TRIES 4
/* A thread stands still for at most 1/50 of its time, however deep its stack is. */
#define HOLD_SHARE 50
#define FIND_NS 10000000u

static struct look *new_look(struct sampled_target *st, struct sampled_thread *t)
{
	struct look_queue *queue = &st->queue;
	struct look *look;

	queue->looks =
		xgrow(queue->looks, &queue->capacity, queue->count + 1, sizeof(*queue->looks));
	look = &queue->looks[queue->count++];
	*look = (struct look){
		.slot = t->slot,
		.generation = t->generation,
		.start_ns = sampler_now(),
		.cpu_ns = t->clocks.runtime_ns,
		.ready_ns = t->clocks.ready_ns,
		.first_frame = (uint32_t)queue->frame_count,
	};
	look->end_ns = look->start_ns;
	return look;
}

/* How often the thread gave up the processor of its own accord. */
static uint64_t voluntary_switches(const struct sampled_thread *t)
{
	static const char name[] = "voluntary_ctxt_switches:";
	unsigned long long count = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)t->probe.pid,
		 (int)t->probe.tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, sizeof(name) - 1) == 0) {
			count = strtoull(line + sizeof(name) - 1, NULL, 10);
			break;
		}
	}
	fclose(f);
	return count;
}

/* Of a thread that leaves a system call: was it ready to go on after a wait, but not yet on a
 * processor, when it was asked to stop? Then it has hardly used any CPU since. */
static bool was_just_woken(struct sampled_thread *t, uint64_t cpu_before_ns)
{
	uint64_t before = t->voluntary;

	if (t->clocks.runtime_ns - cpu_before_ns >= WAKE_NS)
		return false;
	t->voluntary = voluntary_switches(t);
	return t->voluntary != before;
}

/* The thread stands still. */
static void take_sample(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
			const struct hold_stop *stop)
{
	uint64_t cpu_before_ns = t->clocks.runtime_ns;
	struct hold_registers registers;
	struct thread_clocks clocks;
	uint64_t start_ns = sampler_now(), held_ns;
	struct look *look;
	int n = -1;

	if (hold_read_registers(stop->tid, &registers)) {
		hold_release(stop);
		return;
	}
	if (thread_probe_clocks(&t->probe, &clocks) == 0)
		t->clocks = clocks;
	look = new_look(st, t);
	look->sample = true;
	look->pc = registers.pc;
	if (!t->where.pthread_id && registers.thread_pointer)
		t->where.thread_pointer = registers.thread_pointer;
	if (st->stacks)
		n = wait_stack_read_running(st->stacks, &t->where, &st->queue, &look->flags);
	hold_release(stop);
	held_ns = sampler_now() - start_ns;
	t->next_ask_ns = start_ns + HOLD_SHARE * held_ns;
	s->holds.count++;
	s->holds.total_ns += held_ns;
	if (held_ns > s->holds.longest_ns)
		s->holds.longest_ns = held_ns;

	look->unwalked = n < 0;
	look->count = n > 0 ? (uint32_t)n : 0;
	if (n < 0)
		look->flags |= TRACE_SAMPLE_UNWALKED;
	if (!registers.in_syscall)
		return;
	look->flags |= TRACE_SAMPLE_KERNEL;
	if (registers.was_blocked || was_just_woken(t, cpu_before_ns)) {
		/* As a sample it would charge the waiting line for what ran before. */
		look->sample = false;
		look->kind = thread_probe_kind(registers.number, registers.arguments);
	}
}

static void take_racing(struct sampled_target *st, struct sampled_thread *t)
{
	struct look *look = new_look(st, t);
	int n = -1;

	look->sample = true;
	for (int i = 0; st->stacks && n < 0 && i < RACING_TRIES; i++)
		n = wait_stack_read_racing(st->stacks, &t->where, &st->queue, &look->flags);
	look->unwalked = n < 0;
	look->count = n > 0 ? (uint32_t)n : 0;
	if (n < 0)
		look->flags = TRACE_SAMPLE_UNWALKED;
}

void sampler_hold(struct sampler *s, struct sampled_target *st, struct sampled_thread *t)
{
	uint64_t now = sampler_now();

	if (now < t->next_ask_ns || s->suspended)
		return;
	if (!t->where.state && st->stacks && now >= t->next_find_ns) {
		wait_stack_identify(st->stacks, &t->where);
		t->next_find_ns = now + FIND_NS;
	}
	if (s->options.nonblocking) {
		take_racing(st, t);
		return;
	}
	if (hold_ask(t->probe.tid)) {
		/* It is about to end, or somebody else traces it. */
		if (errno == ESRCH)
			t->gone = true;
		else
			st->queue.missed++;
		return;
	}
	s->held = xgrow(s->held, &s->held_capacity, s->held_count + 1, sizeof(*s->held));
	s->held[s->held_count++] = (struct sampler_held){t->probe.tid, st, t};
	t->held = true;
	/* While others are still to be asked, those that stand are not kept waiting. */
	if (s->held_count > 1)
		sampler_take_held(s);
}

void sampler_take_held(struct sampler *s)
{
	struct hold_stop stop;

	while (s->held_count && hold_next(&stop)) {
		struct sampler_held held = {.tid = 0};

		for (size_t i = 0; i < s->held_count; i++) {
			if (s->held[i].tid == stop.tid) {
				held = s->held[i];
				s->held[i] = s->held[--s->held_count];
				break;
			}
		}
		if (!held.thread) {
			hold_release(&stop);
			continue;
		}
		held.thread->held = false;
		if (stop.ended)
			held.thread->gone = true;
		else
			take_sample(s, held.target, held.thread, &stop);
	}
}

void sampler_forget_held(struct sampler *s, const struct sampled_thread *t)
{
	for (size_t i = 0; i < s->held_count; i++)
		if (s->held[i].thread == t)
			s->held[i].thread = NULL;
}
