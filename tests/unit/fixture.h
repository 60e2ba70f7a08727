/* SPDX-License-Identifier: Apache-2.0
 *
 * A small trace that holds at least one of everything, and the check that a reader gives it all
 * back. The golden trace is this one too: never change it, add another beside it.
 */
#ifndef SCPROF_FIXTURE_H
#define SCPROF_FIXTURE_H

#include "formats/trace_reader.h"
#include "formats/trace_writer.h"

#define FIXTURE_SAMPLES 200u /* of thread 0; thread 2 has 3 */
#define FIXTURE_TICK_NS 1000u

/* Writes the trace to fd, which is taken. */
void fixture_write(int fd);
/* Reads the trace to its end and checks everything in it; closes r. */
void fixture_check(struct trace_reader *r);

#endif
