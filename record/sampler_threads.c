/* SPDX-License-Identifier: Apache-2.0
 *
 * Which threads a target has. With an agent they register themselves in the slots of its region;
 * those that it missed, and all threads of a program without an agent, are found in
 * /proc/PID/task.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/sampler_state.h"

#define SLOT_SCAN_TICKS 4
#define STRANGERS_NS 250000000u /* look for threads that have no slot */
#define TASKS_NS 50000000u      /* the same for a program without an agent, where all are */

void sampler_drop_thread(struct sampler *s, struct sampled_target *st, size_t at, uint64_t now)
{
	uint32_t slot = st->used[at];
	struct sampled_thread *t = st->threads[slot];

	sampler_close_wait(st, t, now);
	if (st->target->attached)
		sampler_forget_held(s, t);
	thread_probe_close(&t->probe);
	free(t);
	st->threads[slot] = NULL;
	st->used[at] = st->used[--st->used_count];
}

/* Returns the new thread, or NULL when it is gone already. */
static struct sampled_thread *add_thread(struct sampled_target *st, uint32_t slot,
					 uint32_t inner_tid, pid_t tid)
{
	const struct ring_slot *shared = &st->target->slots[slot];
	struct thread_probe probe;
	struct sampled_thread *t;

	if (thread_probe_open(&probe, st->target->pid, tid))
		return NULL;
	t = xcalloc(1, sizeof(*t));
	t->slot = slot;
	t->generation = atomic_load_explicit(&shared->generation, memory_order_relaxed);
	t->probe = probe;
	t->where.pthread_id = shared->pthread_id;
	t->where.inner_tid = inner_tid;
	st->threads[slot] = t;
	st->used = xgrow(st->used, &st->used_capacity, st->used_count + 1, sizeof(*st->used));
	st->used[st->used_count++] = slot;
	st->names_wanted = true;
	return t;
}

static void tell_thread(struct sampled_target *st, const struct sampled_thread *t)
{
	const struct ring_slot *shared = &st->target->slots[t->slot];
	struct look_queue *queue = &st->queue;

	queue->threads = xgrow(queue->threads, &queue->thread_capacity, queue->thread_count + 1,
			       sizeof(*queue->threads));
	queue->threads[queue->thread_count++] = (struct look_thread){
		.slot = t->slot,
		.generation = t->generation,
		.tid = t->where.inner_tid,
		.main = shared->main != 0,
		.pthread_id = t->where.pthread_id,
		.start_ns = shared->start_ns,
		.cpu_ns = st->target->attached ? t->base_cpu_ns : shared->start_cpu_ns,
	};
}

/* Nothing in the program says that one of its threads has ended. */
static void tell_end(struct sampled_target *st, struct sampled_thread *t, uint64_t now)
{
	struct look_queue *queue = &st->queue;

	sampler_close_wait(st, t, now);
	queue->looks =
		xgrow(queue->looks, &queue->capacity, queue->count + 1, sizeof(*queue->looks));
	queue->looks[queue->count++] = (struct look){
		.slot = t->slot,
		.generation = t->generation,
		.kind = TRACE_WAIT_END,
		.end_ns = now,
		.cpu_ns = t->clocks.runtime_ns,
		.first_frame = (uint32_t)queue->frame_count,
	};
}

/* Threads come and go in the slots. */
void sampler_scan_ended(struct sampler *s, struct sampled_target *st, uint64_t now)
{
	for (size_t i = 0; i < st->used_count;) {
		struct sampled_thread *t = st->threads[st->used[i]];
		struct ring_slot *slot = &st->target->slots[t->slot];

		if (t->gone &&
		    atomic_load_explicit(&slot->tid, memory_order_acquire) == t->where.inner_tid)
			/* It ended without a word (no agent function at its end): free its place.
			 */
			atomic_store_explicit(&slot->tid, 0, memory_order_release);
		if (t->gone && st->target->attached)
			tell_end(st, t, now);
		if (t->gone || !atomic_load_explicit(&slot->tid, memory_order_acquire) ||
		    atomic_load_explicit(&slot->generation, memory_order_relaxed) != t->generation)
			sampler_drop_thread(s, st, i, now);
		else
			i++;
	}
}

static void scan_started(struct sampled_target *st)
{
	uint32_t used = atomic_load_explicit(&st->target->ring->slots_used, memory_order_relaxed);

	if (used > RING_SLOTS)
		used = RING_SLOTS;
	for (uint32_t i = 0; i < used; i++) {
		uint32_t tid =
			atomic_load_explicit(&st->target->slots[i].tid, memory_order_acquire);

		if (tid && tid != UINT32_MAX && !st->threads[i]) {
			struct sampled_thread *t =
				add_thread(st, i, tid, target_outer_tid(st->target, tid));

			if (t)
				tell_thread(st, t);
		}
	}
}

static bool has_slot(const struct target *t, uint32_t tid, uint32_t *free_slot)
{
	*free_slot = RING_SLOTS;
	for (uint32_t i = 0; i < RING_SLOTS; i++) {
		uint32_t have = atomic_load_explicit(&t->slots[i].tid, memory_order_acquire);

		if (have == tid || have == UINT32_MAX) /* or one is being claimed right now */
			return true;
		if (!have && *free_slot == RING_SLOTS)
			*free_slot = i;
	}
	return false;
}

static void adopt(struct target *t, uint32_t tid, uint32_t at, uint64_t now)
{
	struct ring_slot *slot = &t->slots[at];
	uint32_t nobody = 0;

	if (!atomic_compare_exchange_strong(&slot->tid, &nobody, UINT32_MAX))
		return;
	slot->pthread_id = 0;
	slot->start_ns = now;
	slot->main = 0;
	atomic_fetch_add(&slot->generation, 1);
	if (atomic_load(&t->ring->slots_used) <= at)
		atomic_store(&t->ring->slots_used, at + 1);
	atomic_store_explicit(&slot->tid, tid, memory_order_release);
}

/* Threads that did not come through pthread_create, or that were there before the agent woke up,
 * have no slot yet. One that gave its slot back is about to end; so only who is there at two looks
 * is adopted. Only where tids need no translation. */
static void adopt_strangers(struct sampled_target *st, uint64_t now)
{
	struct dirent *entry;
	uint32_t *found = NULL;
	size_t count = 0, capacity = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)st->target->pid);
	dir = st->target->same_namespace ? opendir(path) : NULL;
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(entry->d_name, NULL, 10), at;
		bool again = false;

		if (!tid || has_slot(st->target, tid, &at))
			continue;
		for (size_t i = 0; i < st->stranger_count; i++)
			again |= st->strangers[i] == tid;
		if (again && at < RING_SLOTS) {
			adopt(st->target, tid, at, now);
			continue;
		}
		found = xgrow(found, &capacity, count + 1, sizeof(*found));
		found[count++] = tid;
	}
	closedir(dir);
	free(st->strangers);
	st->strangers = found;
	st->stranger_count = count;
}

/* The number of links of the folder is that of the threads and 2: 0 when it is gone. */
static uint64_t count_task_links(const struct sampled_target *st)
{
	struct stat status;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)st->target->pid);
	return stat(path, &status) ? 0 : (uint64_t)status.st_nlink;
}

static bool is_known(const struct sampled_target *st, pid_t tid)
{
	for (size_t i = 0; i < st->used_count; i++)
		if (st->threads[st->used[i]]->probe.tid == tid)
			return true;
	return false;
}

/* A thread that nobody announced, of a program without an agent. */
static void add_found(struct sampled_target *st, pid_t tid, uint64_t now)
{
	struct target *target = st->target;
	uint32_t inner = target_inner_tid(target, tid), at;
	struct sampled_thread *t;

	if (!inner || has_slot(target, inner, &at))
		return;
	if (at == RING_SLOTS) {
		atomic_fetch_add(&target->ring->threads_without_slot, 1);
		return;
	}
	/* Of one that is there at the first look nobody knows what it did before. */
	adopt(target, inner, at, st->scanned_ns ? st->scanned_ns : now);
	target->slots[at].main = tid == target->pid;
	t = add_thread(st, at, inner, tid);
	if (!t) {
		atomic_store_explicit(&target->slots[at].tid, 0, memory_order_release);
		return;
	}
	if (!st->scanned_ns && thread_probe_clocks(&t->probe, &t->clocks) == 0)
		t->base_cpu_ns = t->clocks.runtime_ns;
	if (st->stacks)
		wait_stack_identify(st->stacks, &t->where);
	tell_thread(st, t);
}

static void scan_tasks(struct sampled_target *st, uint64_t now)
{
	uint64_t links = count_task_links(st);
	struct dirent *entry;
	char path[64];
	DIR *dir;

	if (links == st->task_links && now - st->scanned_ns < TASKS_NS)
		return;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)st->target->pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && !is_known(st, tid))
			add_found(st, tid, now);
	}
	closedir(dir);
	st->scanned_ns = now;
	st->task_links = links;
}

void sampler_scan_threads(struct sampler *s, struct sampled_target *st, uint64_t now)
{
	if (st->ticks++ % SLOT_SCAN_TICKS == 0) {
		sampler_scan_ended(s, st, now);
		if (!st->target->attached)
			scan_started(st);
	}
	if (st->target->attached) {
		scan_tasks(st, now);
	} else if (now - st->strangers_ns > STRANGERS_NS) {
		st->strangers_ns = now;
		adopt_strangers(st, now);
	}
}

void sampler_identify_threads(struct sampled_target *st)
{
	for (size_t i = 0; i < st->used_count; i++) {
		struct sampled_thread *t = st->threads[st->used[i]];

		if (!t->where.pthread_id && wait_stack_identify(st->stacks, &t->where))
			tell_thread(st, t);
	}
}
