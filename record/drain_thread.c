/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain's threads: when they begin, what they are called, and where their clocks stand.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/drain_state.h"

uint64_t drain_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t drain_not_after_now(const struct drain *d, uint64_t ns)
{
	uint64_t now;

	if (ns <= d->pass_ns)
		return ns;
	now = drain_now();
	return ns < now ? ns : now;
}

uint64_t drain_since_start(const struct drain *d, uint64_t ns)
{
	return ns > d->options.start_ns ? ns - d->options.start_ns : 0;
}

/* What is known of a thread now that was not when it was first heard of. */
static void learn_birth(const struct drain *d, struct drained_thread *thread,
			const struct look_thread *birth)
{
	thread->guessed = false;
	thread->pthread_id = birth->pthread_id;
	thread->definition.tid = (int32_t)birth->tid;
	if (birth->start_ns < thread->last_ns && birth->start_ns > d->options.start_ns) {
		thread->last_ns = birth->start_ns;
		thread->definition.start_ns = drain_since_start(d, birth->start_ns);
	}
	if (thread->defined)
		trace_writer_thread(d->writer, &thread->definition);
}

struct drained_thread *drain_thread(struct drain *d, struct target *t, uint32_t slot,
				    uint32_t generation, const struct look_thread *birth,
				    bool ending)
{
	struct drained_thread *newest = t->drained->threads[slot], *thread = newest;
	const struct ring_slot *shared = &t->slots[slot];
	const struct look_thread in_slot = {
		.tid = atomic_load(&shared->tid),
		.main = shared->main != 0,
		.pthread_id = shared->pthread_id,
		.start_ns = drain_not_after_now(d, shared->start_ns),
		.cpu_ns = drain_not_after_now(d, shared->start_cpu_ns),
	};
	const struct look_thread unknown = {.start_ns = d->pass_ns};

	while (thread && thread->generation != generation)
		thread = thread->older;
	if (thread && thread->guessed && birth)
		learn_birth(d, thread, birth);
	if (thread)
		return thread;
	if (newest && (int32_t)(generation - newest->generation) < 0 && !ending)
		return NULL;
	thread = xcalloc(1, sizeof(*thread));
	if (!birth && atomic_load(&shared->generation) != generation) {
		/* Short-lived, and the slot has a new owner: what it was comes with its end. The
		 * same is true of one that has given the slot back. */
		thread->guessed = true;
		birth = &unknown;
	} else if (!birth) {
		birth = &in_slot;
		thread->guessed = !in_slot.tid;
	}
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
	thread->last_cpu_ns = birth->cpu_ns;
	thread->definition.tid = (int32_t)birth->tid;
	thread->definition.main = birth->main;
	if (birth->main && !t->attached) {
		thread->last_ns = drain_program_start(d, t);
		if (!t->ring->forked && !t->joined)
			thread->last_cpu_ns = t->drained->base_cpu_ns;
		thread->definition.tid = t->ring->pid;
	}
	if (thread->last_ns < d->options.start_ns)
		thread->last_ns = d->options.start_ns;
	thread->definition.start_ns = drain_since_start(d, thread->last_ns);
	thread->definition.name = (struct trace_text){"", 0};
	return thread;
}

void drain_free_thread(struct drained_thread *thread)
{
	free(thread->stack);
	free(thread->name);
	free(thread);
}

void drain_define_thread(struct drain *d, struct target *t, struct drained_thread *thread)
{
	if (thread->defined)
		return;
	drain_define_process(d, t);
	thread->defined = true;
	thread->index = d->next_thread++;
	thread->definition.index = thread->index;
	thread->definition.process = t->index;
	d->totals.threads++;
	trace_writer_thread(d->writer, &thread->definition);
}

void drain_name_thread(struct drain *d, struct drained_thread *thread, const char *name,
		       size_t size)
{
	if (thread->name && strlen(thread->name) == size && memcmp(thread->name, name, size) == 0)
		return;
	free(thread->name);
	thread->name = xmemdup(name, size);
	thread->definition.name = (struct trace_text){thread->name, size};
	if (thread->defined)
		trace_writer_thread(d->writer, &thread->definition);
}
