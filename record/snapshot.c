/* SPDX-License-Identifier: Apache-2.0 */
#include "record/snapshot.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/hold.h"
#include "record/python/value_text.h"
#include "record/thread_probe.h"
#include "record/wait_stack.h"

#define ROUNDS 5
/* Longer than that nobody is kept waiting for one that does not stop. */
#define STOP_NS 500000000u
#define RACING_TRIES 100
#define LOCALS_FRAMES 1000 /* of a stack; the rest is shown without variables */

struct subject {
	struct thread_probe probe;
	struct wait_thread where;
	struct thread_clocks clocks;
	struct hold_stop stop;
	bool asked, held, done, gone;
	struct snapshot_thread seen;
};

struct camera {
	const struct target *target;
	struct wait_stack *stacks;
	struct look_queue *queue;
	struct subject *subjects;
	size_t count, capacity;
	const struct snapshot_options *options;
	struct snapshot *snapshot;
	uint32_t frame; /* whose variables are being read */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int find_threads(struct camera *c, struct err *err)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)c->target->pid);
	dir = opendir(path);
	if (!dir)
		return err_set(err, ERR_FAILED, "process %d has just ended", (int)c->target->pid);
	while ((entry = readdir(dir))) {
		struct subject *s;
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		c->subjects = xgrow(c->subjects, &c->capacity, c->count + 1, sizeof(*c->subjects));
		s = &c->subjects[c->count];
		memset(s, 0, sizeof(*s));
		if (thread_probe_open(&s->probe, c->target->pid, tid))
			continue;
		s->where.inner_tid = target_inner_tid(c->target, tid);
		s->seen.tid = tid;
		s->seen.inner_tid = s->where.inner_tid;
		wait_stack_identify(c->stacks, &s->where);
		c->count++;
	}
	closedir(dir);
	return 0;
}

/* Asks every running thread that was not read yet to stop. Returns how many will. */
static size_t ask_to_stop(struct camera *c)
{
	size_t asked = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct subject *s = &c->subjects[i];
		uint64_t futex;

		if (s->done || s->gone || s->held)
			continue;
		s->seen.running = false;
		if (thread_probe_clocks(&s->probe, &s->clocks)) {
			s->gone = true;
			continue;
		}
		s->seen.running = thread_probe_running(&s->probe, &s->seen.kind, &futex);
		if (futex && wait_stack_is_gil(c->stacks, &s->where, futex))
			s->seen.kind = TRACE_WAIT_GIL;
		if (s->seen.running && !c->options->nonblocking && !s->asked &&
		    !hold_ask(s->probe.tid))
			s->asked = true;
		asked += s->asked;
	}
	return asked;
}

static void await_stops(struct camera *c, size_t asked)
{
	uint64_t deadline = now_ns() + STOP_NS;
	struct hold_stop stop;

	while (asked) {
		if (!hold_next(&stop)) {
			if (now_ns() >= deadline)
				return;
			hold_wait(deadline);
			continue;
		}
		for (size_t i = 0; i < c->count; i++) {
			struct subject *s = &c->subjects[i];

			if (!s->asked || s->probe.tid != stop.tid)
				continue;
			s->asked = false;
			s->gone = stop.ended;
			s->held = !stop.ended;
			s->stop = stop;
			asked--;
		}
	}
}

static void keep_local(void *arg, const char *name, const char *value)
{
	struct camera *c = arg;
	struct snapshot *snapshot = c->snapshot;

	snapshot->locals = xgrow(snapshot->locals, &snapshot->local_capacity,
				 snapshot->local_count + 1, sizeof(*snapshot->locals));
	snapshot->locals[snapshot->local_count++] =
		(struct snapshot_local){c->frame, xstrdup(name), xstrdup(value)};
}

/* The variables of the stack that was read last. */
static void read_locals(struct camera *c, const struct snapshot_thread *seen)
{
	struct py_memory memory = wait_stack_memory(c->stacks);
	struct object_reader reader;

	object_reader_init(&reader, &c->target->layout, &memory);
	for (uint32_t i = 0; i < seen->count && i < LOCALS_FRAMES; i++) {
		struct wait_stack_frame frame = wait_stack_frame(c->stacks, i);

		c->frame = seen->first_frame + i;
		frame_locals(&reader, frame.frame, frame.code, keep_local, c);
	}
}

static void read_subject(struct camera *c, struct subject *s)
{
	struct snapshot_thread *seen = &s->seen;
	struct hold_registers registers;
	struct thread_clocks after;
	int n;

	if (s->held && hold_read_registers(s->stop.tid, &registers) == 0) {
		if (!s->where.pthread_id)
			s->where.thread_pointer = registers.thread_pointer;
		seen->in_syscall = registers.in_syscall;
		if (registers.was_blocked) {
			seen->running = false;
			seen->kind = thread_probe_kind(registers.number, registers.arguments);
		}
	}
	seen->first_frame = (uint32_t)c->queue->frame_count;
	n = wait_stack_read_running(c->stacks, &s->where, c->queue, &seen->flags);
	if (!s->held) {
		if (seen->running) {
			for (int i = 0; i < RACING_TRIES; i++) {
				c->queue->frame_count = seen->first_frame;
				n = wait_stack_read_racing(c->stacks, &s->where, c->queue,
							   &seen->flags);
				if (n >= 0)
					break;
			}
		} else if (thread_probe_clocks(&s->probe, &after) ||
			   thread_clocks_moved(&after, &s->clocks)) {
			/* It ran while it was read: another round. */
			c->queue->frame_count = seen->first_frame;
			return;
		}
	}
	seen->python = s->where.state != 0;
	seen->unread = n < 0;
	seen->count = n > 0 ? (uint32_t)n : 0;
	s->done = true;
	if (c->options->locals)
		read_locals(c, seen);
}

/* Code objects are long to read and do not change: those of every stack are best known before
 * anybody is stopped. */
static void warm_up(struct camera *c)
{
	for (size_t i = 0; i < c->count; i++) {
		uint32_t flags;

		wait_stack_read_running(c->stacks, &c->subjects[i].where, c->queue, &flags);
		c->queue->frame_count = 0;
	}
}

static uint64_t take_rounds(struct camera *c)
{
	uint64_t start = 0;

	for (int round = 0; round < ROUNDS; round++) {
		bool all = true;
		size_t asked = ask_to_stop(c);

		if (asked && !start)
			start = now_ns();
		await_stops(c, asked);
		for (size_t i = 0; i < c->count; i++) {
			struct subject *s = &c->subjects[i];

			if (!s->done && !s->gone && (s->held || !s->asked))
				read_subject(c, s);
			all = all && (s->done || s->gone);
		}
		if (all)
			break;
	}
	for (size_t i = 0; i < c->count; i++)
		if (c->subjects[i].held)
			hold_release(&c->subjects[i].stop);
	return start ? now_ns() - start : 0;
}

static int by_tid(const void *a, const void *b)
{
	const struct snapshot_thread *left = a, *right = b;

	return left->tid < right->tid ? -1 : left->tid > right->tid;
}

static void keep(struct snapshot *snapshot, struct camera *c, struct subject *s)
{
	s->seen.unread |= !s->done;
	s->seen.name = xstrdup("");
	for (size_t i = 0; i < c->queue->name_count && s->where.pthread_id; i++) {
		if (c->queue->names[i].ident == s->where.pthread_id) {
			free(s->seen.name);
			s->seen.name = xmemdup(c->queue->names[i].name, c->queue->names[i].size);
			break;
		}
	}
	snapshot->threads = xgrow(snapshot->threads, &snapshot->capacity, snapshot->count + 1,
				  sizeof(*snapshot->threads));
	snapshot->threads[snapshot->count++] = s->seen;
}

int snapshot_take(struct snapshot *snapshot, const struct target *target,
		  const struct snapshot_options *options, struct err *err)
{
	struct camera c = {
		.target = target,
		.queue = &snapshot->queue,
		.options = options,
		.snapshot = snapshot,
	};
	int ret = -1;

	memset(snapshot, 0, sizeof(*snapshot));
	thread_probe_init();
	c.stacks = wait_stack_new(target);
	if (find_threads(&c, err))
		goto out;
	wait_stack_names(c.stacks, c.queue);
	warm_up(&c);
	snapshot->held_ns = take_rounds(&c);
	for (size_t i = 0; i < c.count; i++)
		if (!c.subjects[i].gone)
			keep(snapshot, &c, &c.subjects[i]);
	if (!snapshot->count) {
		err_set(err, ERR_FAILED, "process %d has just ended", (int)target->pid);
		goto out;
	}
	qsort(snapshot->threads, snapshot->count, sizeof(*snapshot->threads), by_tid);
	ret = 0;
out:
	for (size_t i = 0; i < c.count; i++)
		thread_probe_close(&c.subjects[i].probe);
	free(c.subjects);
	wait_stack_free(c.stacks);
	return ret;
}

void snapshot_release(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->threads[i].name);
	for (size_t i = 0; i < snapshot->local_count; i++) {
		free(snapshot->locals[i].name);
		free(snapshot->locals[i].value);
	}
	free(snapshot->locals);
	free(snapshot->threads);
	look_queue_release(&snapshot->queue);
	memset(snapshot, 0, sizeof(*snapshot));
}
