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

struct recording_options {
	uint32_t rate_hz;
	bool wall;
	bool source;
	uint64_t max_size; /* bytes, 0: no limit */
	int signal;
};

/* fd is where the trace goes (taken on success). header's times are filled in. */
struct recording *recording_new(int fd, struct trace_header *header,
				const struct recording_options *options, struct err *err);
/* The name agents report to. */
const char *recording_socket(const struct recording *r);

/* The command was started: begins sampling. */
int recording_start(struct recording *r, pid_t command, struct err *err);

/* Waits for up to timeout_ms and then takes in what came: reports, samples, ended processes; writes
 * a block a second. */
void recording_step(struct recording *r, int timeout_ms);

/* The command ended with this status of waitpid. */
void recording_command_ended(struct recording *r, int wait_status);

size_t recording_live(const struct recording *r);      /* processes being recorded now */
size_t recording_processes(const struct recording *r); /* ever */
bool recording_full(const struct recording *r);        /* max_size reached */
/* A sentence about a Python that could not be recorded, or NULL; of the first one. */
const char *recording_refusal(const struct recording *r);
size_t recording_refusals(const struct recording *r);

struct recording_totals {
	struct drain_totals drain;
	uint64_t bytes;
	uint64_t late_ticks;
	uint64_t elapsed_ns;
	bool write_failed;
};
struct recording_totals recording_totals(const struct recording *r);

/* Ends the recording: sampling stops, everything pending is written, then symbols, sources and the
 * index. Returns 0, or -1 when the trace could not be written completely. */
int recording_finish(struct recording *r, enum trace_end_reason reason, int command_status,
		     struct err *err);
void recording_free(struct recording *r);

#endif
