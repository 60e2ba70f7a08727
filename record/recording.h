/* SPDX-License-Identifier: Apache-2.0
 *
 * A recording in progress: the targets that reported, the sampler that looks at them, the drain and
 * the writer. scprof_record.c drives it from its poll loop.
 */
#ifndef SCPROF_RECORDING_H
#define SCPROF_RECORDING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "formats/trace_event.h"
#include "record/drain.h"

struct recording;
struct refusals;

struct recording_options {
	uint32_t rate_hz;
	bool wall;
	bool source;
	uint64_t memory_rate; /* as in struct trace_header */
	uint64_t copy_rate;
	bool footprint;    /* what the kernel says of the processes' memory is recorded */
	uint64_t max_size; /* bytes, 0: no limit */
	bool paused;       /* the command starts unrecorded */
	int signal;
	bool nonblocking; /* see sampler.h */
	pid_t near;       /* see listener.h */
};

/* fd is where the trace goes (taken on success). header's times are filled in. */
struct recording *recording_new(int fd, struct trace_header *header,
				const struct recording_options *options, struct err *err);
/* The name agents report to. */
const char *recording_socket(const struct recording *r);

/* The command was started: begins sampling. Without one (0), targets come by recording_attach. */
int recording_start(struct recording *r, pid_t command, struct err *err);

/* Records a running program, too. Takes t. */
void recording_attach(struct recording *r, struct target *t);

/* The process is another program now: ends the old one. Nothing is done when it is not recorded. */
void recording_became_other(struct recording *r, pid_t pid);

/* A Python that cannot be recorded, and why: it is counted in the trace. */
void recording_refuse(struct recording *r, pid_t pid, const char *why);
/* A program that no agent gets into, process pid, 0 when not known, started by process parent. */
void recording_refuse_program(struct recording *r, pid_t pid, pid_t parent, const char *program,
			      const char *why);
/* Stops this program, as a stop signal would, with no thread of a target held; returns when it goes
 * on. */
void recording_suspend(struct recording *r);

/* Waits for up to timeout_ms and then takes in what came: reports, samples, ended processes; writes
 * a block a second. */
void recording_step(struct recording *r, int timeout_ms);

/* The command has ended and is about to be waited for: the last moment to ask for its clock. */
void recording_command_dead(struct recording *r);
/* It ended with this status of waitpid. */
void recording_command_ended(struct recording *r, int wait_status);

size_t recording_live(const struct recording *r);      /* processes being recorded now */
size_t recording_processes(const struct recording *r); /* ever */
bool recording_full(const struct recording *r);        /* max_size reached */
/* What was left unrecorded for what it is; the recording's own. */
struct refusals *recording_refusals(struct recording *r);

struct recording_totals {
	struct drain_totals drain;
	uint64_t bytes;
	uint64_t late_ticks;
	uint64_t elapsed_ns;
	bool write_failed;
};
struct sampler_holds recording_holds(struct recording *r);
struct recording_totals recording_totals(const struct recording *r);

/* Ends the recording: sampling stops, everything pending is written, then symbols, sources and the
 * index. Returns 0, or -1 when the trace could not be written completely. */
int recording_finish(struct recording *r, enum trace_end_reason reason, int command_status,
		     struct err *err);
void recording_free(struct recording *r);

#endif
