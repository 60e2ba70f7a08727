/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the sampler share: sampler.c (ticks and requests), sampler_threads.c (which
 * threads there are), sampler_hold.c (running threads of programs without an agent). Nobody else
 * includes this.
 */
#ifndef SCPROF_SAMPLER_STATE_H
#define SCPROF_SAMPLER_STATE_H

#include <pthread.h>

#include "record/hold.h"
#include "record/sampler.h"
#include "record/thread_probe.h"
#include "record/wait_stack.h"

struct sampled_thread {
	uint32_t slot;
	uint32_t generation;
	struct thread_probe probe;
	struct wait_thread where;

	struct thread_clocks clocks; /* at the last look */
	uint64_t next_look_ns;
	uint64_t next_ask_ns;
	uint64_t asked_runtime_ns;
	uint32_t unanswered; /* times that a request was found to be missed, one after the other */

	/* of a program without an agent */
	uint64_t base_cpu_ns;  /* what it had used when it was found */
	uint64_t next_find_ns; /* when to look for its state again */
	bool held;             /* on its way to a stop */
	uint64_t voluntary;    /* times it gave up the processor, when last asked for */

	bool waiting;
	uint64_t idle_since_ns;
	struct look wait; /* the open one */
	bool gone;
};

struct sampled_target {
	struct target *target;
	struct sampled_thread *threads[RING_SLOTS];
	uint32_t *used; /* slots with a thread, dense */
	size_t used_count, used_capacity;
	struct look_queue queue;
	struct wait_stack *stacks;
	uint64_t names_ns, strangers_ns;
	uint32_t *strangers; /* tids without a slot at the last look for them */
	size_t stranger_count;
	bool names_wanted;
	unsigned ticks;
	uint64_t scanned_ns; /* when /proc/PID/task was last read */
	uint64_t task_links; /* the folder's link count then */
};

/* A thread that was asked to stop. */
struct sampler_held {
	pid_t tid;
	struct sampled_target *target;
	struct sampled_thread *thread; /* NULL: not wanted any more */
};

struct sampler {
	struct sampler_options options;
	pthread_t thread;
	pthread_mutex_t lock;
	bool running;
	_Atomic bool stop;
	_Atomic uint64_t late;
	struct sampled_target **targets;
	size_t count, capacity;
	uint64_t random;
	struct sampler_holds holds;
	bool suspended; /* nobody is asked to stop */
	struct sampler_held *held;
	size_t held_count, held_capacity;
};

/* sampler.c */
uint64_t sampler_now(void);
/* Ends the open wait of a thread, if any: its look goes to the queue. */
void sampler_close_wait(struct sampled_target *st, struct sampled_thread *t, uint64_t now);

/* sampler_threads.c */
/* Brings the threads up to date. May be called at every tick. */
void sampler_scan_threads(struct sampler *s, struct sampled_target *st, uint64_t now);
/* Of a program without an agent: a thread is known to Python somewhat later than to the kernel. */
void sampler_identify_threads(struct sampled_target *st);
/* Drops the threads that are known to have ended. */
void sampler_scan_ended(struct sampler *s, struct sampled_target *st, uint64_t now);
void sampler_drop_thread(struct sampler *s, struct sampled_target *st, size_t at, uint64_t now);

/* sampler_hold.c */
/* Samples a running thread from outside: at once, or when it has stopped. */
void sampler_hold(struct sampler *s, struct sampled_target *st, struct sampled_thread *t);
/* Takes the samples of the threads that have stopped by now and lets these run on. */
void sampler_take_held(struct sampler *s);
/* Forgets a thread that is on its way to a stop: it is let go when it gets there. */
void sampler_forget_held(struct sampler *s, const struct sampled_thread *t);

#endif
