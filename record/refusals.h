/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that are left unrecorded for what they are: each is told of once, in the trace and at
 * the end in words.
 */
#ifndef SCPROF_REFUSALS_H
#define SCPROF_REFUSALS_H

#include <sys/types.h>

#include "formats/base/buf.h"
#include "formats/trace_writer.h"

struct refusals {
	struct refusal {
		char *program;
		char *why;
	} * programs;
	size_t count, capacity;
	uint64_t not_told; /* of programs beyond the most that are kept */
	/* Of the Python processes among them; the first one's sentence. */
	uint64_t pythons;
	char first[256];
};

void refusals_release(struct refusals *r);

/* A Python that cannot be recorded. Its command and parent are those that it gave; while it is
 * there, /proc knows better. */
void refusals_add_python(struct refusals *r, struct trace_writer *writer,
			 const struct trace_refusal *refusal);
/* A program that no agent gets into. */
void refusals_add_program(struct refusals *r, struct trace_writer *writer,
			  const struct trace_refusal *refusal);

/* Adds to text what to say of the programs. False: nothing. */
bool refusals_say(const struct refusals *r, struct buf *text);

#endif
