/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain: empties the rings, puts the sampler's observations between the samples in order of
 * time, and hands events to the trace writer. Runs in scprof-record's main thread only.
 */
#ifndef SCPROF_DRAIN_H
#define SCPROF_DRAIN_H

#include "formats/trace_writer.h"
#include "record/sampler.h"
#include "record/target.h"

struct drain;

/* writer and sampler are borrowed; start_ns is CLOCK_MONOTONIC of the trace's time 0. */
struct drain *drain_new(struct trace_writer *writer, struct sampler *sampler, uint64_t start_ns);
void drain_free(struct drain *d);

/* Takes note of a new target; launched: it is the command itself. The process enters the trace, and
 * t->index is set, at once or, when it is a fork, with its first event. */
void drain_add(struct drain *d, struct target *t, bool launched);
size_t drain_processes(const struct drain *d); /* in the trace */

/* Moves everything that is there to the writer. Returns the number of CPU samples. */
uint64_t drain_target(struct drain *d, struct target *t);

/* The last call for a target: drains, ends its threads, and writes its end. wait_status is that of
 * waitpid, or -1 when not known. The target must still be with the sampler. */
void drain_end(struct drain *d, struct target *t, int wait_status);

/* For the end of a recording: the text of the source files that matter. */
void drain_sources(struct drain *d);

struct drain_totals {
	uint64_t samples;
	uint64_t missed;
	uint64_t lost;
	uint64_t unwalked;
	uint64_t cpu_ns;
	uint64_t threads;
};
struct drain_totals drain_totals(const struct drain *d);

#endif
