/* SPDX-License-Identifier: Apache-2.0
 *
 * One program that is being recorded: a process between two execs. Owns the mapped region and the
 * descriptors; the sampler and the drain each keep their own part, so that neither waits for the
 * other. What passes between them are observations (struct look), handed over under the lock.
 */
#ifndef SCPROF_TARGET_H
#define SCPROF_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "formats/trace_event.h"
#include "record/python/layout.h"
#include "record/ring.h"

struct drain_target;
struct sampled_target;

struct target {
	uint32_t index; /* of the process in the trace; TRACE_NONE before its first event */
	pid_t pid;      /* as we see it */
	int pid_fd;
	bool exited;           /* pid_fd said so */
	uint64_t final_cpu_ns; /* then: what the process used, 0 when it was too late to ask */
	bool watched;          /* the sampler has it */
	struct ring_header *ring;
	struct ring_slot *slots;
	char *data;
	struct py_layout layout;
	bool same_namespace; /* the target's own pids and tids are ours */

	struct sampled_target *sampled; /* the sampler's part */
	struct drain_target *drained;   /* the drain's part */
};

/* Maps the region behind fd (taken on success) that process pid handed over in `hello`. Everything
 * in it is checked. Returns NULL and a sentence on failure. */
struct target *target_new(int fd, pid_t pid, struct err *err);
void target_free(struct target *t);

/* The tid by which we know a thread that calls itself inner_tid, or 0. */
pid_t target_outer_tid(const struct target *t, uint32_t inner_tid);

#endif
