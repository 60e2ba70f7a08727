/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain: empties the rings, puts the sampler's observations between the samples in order of
 * time, and hands events to the trace writer. Runs in scprof-record's main thread only.
 */
#ifndef SCPROF_DRAIN_H
#define SCPROF_DRAIN_H

#include "formats/trace_writer.h"
#include "record/module_files.h"
#include "record/sampler.h"
#include "record/target.h"

struct drain;

struct drain_options {
	uint64_t start_ns;    /* CLOCK_MONOTONIC of the trace's time 0 */
	uint64_t memory_rate; /* as in struct trace_header */
	uint64_t copy_rate;
	bool footprint;
	/* Called, unless NULL, now and then while one call moves a great many events. */
	void (*make_room)(void *arg);
	void *make_room_arg;
};

/* writer and sampler are borrowed. */
struct drain *drain_new(struct trace_writer *writer, struct sampler *sampler,
			const struct drain_options *options);
void drain_free(struct drain *d);

/* Takes note of a new target; launched: it is the command itself. The process enters the trace, and
 * t->index is set, at once or, when it is a fork, with its first event. */
void drain_add(struct drain *d, struct target *t, bool launched);
size_t drain_processes(const struct drain *d); /* in the trace */

/* Moves everything that is there to the writer. Returns the number of CPU samples. */
uint64_t drain_target(struct drain *d, struct target *t);

/* The process has ended without a word, and its parent, if it is recorded, will soon say how. */
bool drain_awaits_parent(const struct drain *d, const struct target *t);

/* The last call for a target: drains, ends its threads, and writes its end. wait_status is that of
 * waitpid, or -1 when not known. The target must still be with the sampler. */
void drain_end(struct drain *d, struct target *t, int wait_status);

/* Puts a mark into the trace at time_ns (CLOCK_MONOTONIC). After TRACE_MARK_START no thread is
 * charged for the time of the pause. */
void drain_mark(struct drain *d, struct target *t, enum trace_mark_kind kind, uint64_t time_ns,
		const char *label, size_t size);

/* For the end of a recording: files that are not to be found any more. */
struct module_files *drain_module_files(struct drain *d);

/* For the end of a recording: the text of the source files that matter, no more than `most` bytes
 * of it. */
void drain_sources(struct drain *d, uint64_t most);

struct drain_totals {
	uint64_t samples;
	uint64_t missed;
	uint64_t lost;
	uint64_t unwalked;
	uint64_t cpu_ns;
	uint64_t threads;
	uint64_t heap_lost;
	double allocated_bytes; /* what the events stand for */
	double copied_bytes;
	uint64_t most_rss_bytes; /* of one process */
};
struct drain_totals drain_totals(const struct drain *d);

#endif
