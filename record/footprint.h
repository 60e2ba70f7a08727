/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel says about a process's memory, looked at up to 100 times a second from outside: a
 * few microseconds of our own time a look, nothing of the process's. Looks that show nothing new
 * become rare, and are not reported.
 */
#ifndef SCPROF_FOOTPRINT_H
#define SCPROF_FOOTPRINT_H

#include <sys/types.h>

#include "formats/trace_event.h"

#define FOOTPRINT_ROWS 2

struct footprint;

struct footprint *footprint_open(pid_t pid);
void footprint_close(struct footprint *f);

/* Looks, when it is time again. Returns how many rows are worth keeping, in order of time: what was
 * there before a sudden change, and what is there now. Their times are in the clock of now_ns. */
size_t footprint_look(struct footprint *f, uint64_t now_ns,
		      struct trace_footprint rows[FOOTPRINT_ROWS]);

/* The last that was seen, when it was not reported: for the end of the process. */
size_t footprint_last(struct footprint *f, struct trace_footprint rows[FOOTPRINT_ROWS]);

#endif
