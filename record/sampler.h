/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler: a thread of scprof-record that decides, at jittered absolute times, which threads of
 * the targets are running, and asks those to capture themselves. Threads that are blocked are not
 * disturbed: their stack is read from outside once, when they are first seen blocked, and the read
 * counts only when the scheduler says that the thread did not run meanwhile.
 *
 * What it costs: 0.3 us of scprof-record's own time per thread and tick, less for threads that have
 * been idle for a while; nothing in the target but the handler.
 */
#ifndef SCPROF_SAMPLER_H
#define SCPROF_SAMPLER_H

#include "record/target.h"

struct sampler;

/* A code object that a stack read from outside refers to. id belongs to the target. */
struct look_code {
	uint32_t id;
	struct py_code_text *text; /* owned by the queue */
};

/* A thread was blocked from start_ns to end_ns, at the stack given by count frames (leaf first;
 * code is a look_code id), having used cpu_ns of CPU in its whole life. Or, of a program without an
 * agent, it was seen running there at end_ns; or it had ended by end_ns (TRACE_WAIT_END). */
struct look {
	uint32_t slot;
	uint32_t generation;
	enum trace_wait_kind kind;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	uint64_t end_ns;
	uint64_t cpu_ns;
	uint64_t ready_ns; /* the same for time ready to run without a processor, by end_ns */
	bool unwalked;
	bool sample;          /* running, at pc */
	uint32_t flags;       /* of a sample: enum trace_sample_flag */
	uint64_t pc;          /* of a sample, 0 when not known */
	uint32_t first_frame; /* in look_queue.frames */
	uint32_t count;
};

/* A thread that the sampler found. */
struct look_thread {
	uint32_t slot;
	uint32_t generation;
	uint32_t tid; /* as the target sees it */
	bool main;
	uint64_t pthread_id; /* 0 when not known: it may be told of again */
	uint64_t start_ns;
	uint64_t cpu_ns; /* what it had used by then */
};

struct look_name {
	uint64_t ident;
	char *name; /* owned by the queue */
	size_t size;
};

/* What the sampler saw in one target since the queue was last taken. */
struct look_queue {
	struct look *looks;
	size_t count, capacity;
	struct ring_frame *frames;
	size_t frame_count, frame_capacity;
	struct look_code *codes;
	size_t code_count, code_capacity;
	struct look_thread *threads; /* new since the last time */
	size_t thread_count, thread_capacity;
	struct look_name *names; /* all threads of the target, as just read */
	size_t name_count, name_capacity;
	uint64_t missed; /* ticks at which a running thread had not answered the last request */
};
void look_queue_release(struct look_queue *queue);

struct sampler_options {
	uint32_t rate_hz;
	bool wall;
	int signal;
	bool nonblocking; /* programs without an agent: never stop a thread */
};

/* Starts the thread. Returns NULL when that fails. */
struct sampler *sampler_new(const struct sampler_options *options, struct err *err);
/* Stops the thread: after that no signal is sent any more. May be called twice. */
void sampler_stop(struct sampler *s);
void sampler_free(struct sampler *s);

/* Before this program is itself stopped: returns when no thread of a target is, and stops none
 * until sampler_resume. */
void sampler_suspend(struct sampler *s);
void sampler_resume(struct sampler *s);

/* How long threads of targets stood still, from when that was noticed. */
struct sampler_holds {
	uint64_t count, total_ns, longest_ns;
};
struct sampler_holds sampler_holds(struct sampler *s);

void sampler_add(struct sampler *s, struct target *t);
/* Ends open waits of t (their looks are in the queue) and forgets t. */
void sampler_remove(struct sampler *s, struct target *t);
/* Moves what was seen in t into *queue, which must be empty. Waits of threads that have ended by
 * now are in it, with an end that may lie after the thread's. */
void sampler_take(struct sampler *s, struct target *t, struct look_queue *queue);
/* The thread that has this slot and generation says that it has ended: if it is seen to wait still,
 * that is over with the next sampler_take. */
void sampler_end_wait(struct sampler *s, struct target *t, uint32_t slot, uint32_t generation);
/* Ticks that came too late and were left out, since the start. */
uint64_t sampler_late_ticks(struct sampler *s);
/* CPU time of each thread that is still there, for the end of a recording: calls found for each. */
void sampler_threads(struct sampler *s, struct target *t,
		     void (*found)(void *arg, uint32_t slot, uint32_t generation, uint64_t cpu_ns),
		     void *arg);

#endif
