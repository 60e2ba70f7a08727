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
#include "record/find_python.h"
#include "record/lane.h"
#include "record/process_info.h"
#include "record/python/layout.h"
#include "record/ring.h"

struct drain_target;
struct sampled_target;

/* Space at the tail of a ring that somebody took and has not begun to fill; see ring_drain. */
struct ring_gap {
	uint64_t tail;
	size_t size; /* 0: there is none */
	uint64_t since_ns;
	unsigned passes; /* that found it as it was */
};

struct target {
	uint32_t index; /* of the process in the trace; TRACE_NONE before its first event */
	pid_t pid;      /* as we see it */
	int pid_fd;
	bool exited;           /* pid_fd said so */
	uint64_t exited_ns;    /* then: CLOCK_MONOTONIC */
	uint64_t final_cpu_ns; /* what the process used, 0 when it was too late to ask */
	int final_status;      /* how it ended, as from wait(2); -1: not known */
	bool watched;          /* the sampler has it */
	struct ring_header *ring;
	struct ring_slot *slots;
	char *data;
	struct ring_gap gap;
	bool stuck;              /* the last pass found the ring not empty, but nothing to take */
	struct lane_area *lanes; /* of a full recording; NULL: memory is sampled, or not recorded */
	struct py_layout layout;
	bool same_namespace;              /* the target's own pids and tids are ours */
	uint64_t base_cpu_ns;             /* attached: what the process had used before */
	struct process_identity identity; /* attached: of the program it is */
	bool became;   /* attached: it was another program before, which was recorded */
	bool attached; /* there is no agent: the region is our own */
	bool joined;   /* it ran already, with an agent or without, when it was to be recorded */

	struct sampled_target *sampled; /* the sampler's part */
	struct drain_target *drained;   /* the drain's part */
};

/* Maps the region behind fd (taken on success) that process pid handed over in `hello`. Everything
 * in it is checked. Returns NULL and a sentence on failure. */
struct target *target_new(int fd, pid_t pid, struct err *err);
/* A program without an agent, as find_python knows it. */
struct target *target_new_attached(pid_t pid, const struct found_python *python);
void target_free(struct target *t);

/* The tid by which a thread that we call tid knows itself, or 0. */
uint32_t target_inner_tid(const struct target *t, pid_t tid);
/* The tid by which we know a thread that calls itself inner_tid, or 0. */
pid_t target_outer_tid(const struct target *t, uint32_t inner_tid);

#endif
