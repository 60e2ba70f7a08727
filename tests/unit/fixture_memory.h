/* SPDX-License-Identifier: Apache-2.0
 *
 * A small trace with every kind of memory event, beside the one of fixture.h, and the check that a
 * reader gives them all back. It is a golden trace too: never change it, add another beside it.
 */
#ifndef SCPROF_FIXTURE_MEMORY_H
#define SCPROF_FIXTURE_MEMORY_H

#include "formats/trace_reader.h"
#include "formats/trace_writer.h"

#define FIXTURE_MEMORY_BLOCKS 4u /* of the trace: two of each process */

/* Writes the trace to fd, which is taken. */
void fixture_memory_write(int fd);
/* Reads the trace to its end and checks everything in it; closes r. */
void fixture_memory_check(struct trace_reader *r);
/* How many events of all kinds are in it. */
size_t fixture_memory_events(void);

#endif
