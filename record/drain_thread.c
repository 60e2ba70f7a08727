/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain's processes and threads: when they begin, what they are called, and where their clocks
 * stand.
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

uint64_t drain_since_start(const struct drain *d, uint64_t ns)
{
	return ns > d->start_ns ? ns - d->start_ns : 0;
}

/* When the program began, as near as can be known: the agent's start less the CPU used until then.
 */
static uint64_t program_start(const struct target *t)
{
	const struct ring_header *ring = t->ring;
	uint64_t used = ring->start_cpu_ns > t->drained->base_cpu_ns
				? ring->start_cpu_ns - t->drained->base_cpu_ns
				: 0;

	return ring->start_ns > used ? ring->start_ns - used : 0;
}

static uint32_t find_parent(const struct drain *d, const struct drain_target *dt)
{
	for (size_t i = 0; i < dt->ancestor_count; i++)
		for (size_t k = d->known_count; k > 0; k--)
			if (d->known[k - 1].pid == dt->ancestors[i])
				return d->known[k - 1].index;
	return TRACE_NONE;
}

/* A fork enters the trace with its first event: what is forked only to become another program at
 * once leaves no mark. */
void drain_define_process(struct drain *d, struct target *t)
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
	process.start_ns = drain_since_start(d, program_start(t));
	process.command = info->command;
	process.command_count = info->command_count;
	process.executable = (struct trace_text){info->executable, strlen(info->executable)};
	process.python_hex = ring->python_hex;
	process.python_build = (struct trace_text){build, strlen(build)};
	process.free_threaded = ring->free_threaded != 0;
	process.origin = dt->launched   ? TRACE_ORIGIN_LAUNCH
			 : ring->forked ? TRACE_ORIGIN_FORK
					: TRACE_ORIGIN_EXEC;
	process.prefix = (struct trace_text){info->prefix, strlen(info->prefix)};
	trace_writer_process(d->writer, &process);
	d->known = xgrow(d->known, &d->known_capacity, d->known_count + 1, sizeof(*d->known));
	d->known[d->known_count].pid = t->pid;
	d->known[d->known_count++].index = t->index;
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
	thread->definition.start_ns = drain_since_start(d, thread->last_ns);
	thread->definition.name = (struct trace_text){"", 0};
	return thread;
}

void drain_free_thread(struct drained_thread *thread)
{
	free(thread->nodes);
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
