/* SPDX-License-Identifier: Apache-2.0
 *
 * All threads of a running program at one moment: running threads are stopped, all of them at once,
 * while every stack is read, and let go. Waiting threads are read where they stand.
 */
#ifndef SCPROF_SNAPSHOT_H
#define SCPROF_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "record/sampler.h"
#include "record/target.h"

/* A local variable of a frame. */
struct snapshot_local {
	uint32_t frame; /* index in queue.frames */
	char *name, *value;
};

struct snapshot_options {
	bool nonblocking;
	bool locals;
};

struct snapshot_thread {
	pid_t tid;          /* as we see it */
	uint32_t inner_tid; /* as it sees itself */
	char *name;         /* owned, "" when it has none */
	bool python;        /* the interpreter knows it */
	bool running;
	bool in_syscall;           /* running, inside the kernel */
	enum trace_wait_kind kind; /* not running: what it waits for */
	uint32_t flags;            /* enum trace_sample_flag */
	bool unread;               /* its stack could not be read */
	uint32_t first_frame;      /* in queue.frames, leaf first */
	uint32_t count;
};

struct snapshot {
	struct snapshot_thread *threads; /* by tid, the main thread first */
	size_t count, capacity;
	struct look_queue queue;       /* frames and codes; a frame's code is an index of codes */
	struct snapshot_local *locals; /* by frame */
	size_t local_count, local_capacity;
	uint64_t held_ns; /* for how long running threads stood still */
};

/* Takes one of an attached target. hold_init must have been called. Returns 0 or -1; release in any
 * case. */
int snapshot_take(struct snapshot *snapshot, const struct target *target,
		  const struct snapshot_options *options, struct err *err);
void snapshot_release(struct snapshot *snapshot);

#endif
