/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts the command with the agent in its environment and everything else as the user left it.
 */
#ifndef SCPROF_LAUNCH_H
#define SCPROF_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/buf.h"
#include "formats/base/err.h"
#include "record/preload.h"

struct launch {
	char **argv;        /* of the command, ends with NULL */
	const char *agent;  /* path of the agent's library */
	const char *socket; /* name the agent reports to */
	int signal;
	uint64_t memory_rate; /* mean bytes between sampled allocations; 1: all; 0: none */
	uint64_t copy_rate;   /* the same for copied bytes */
	bool paused;          /* the program starts unrecorded */
	const char *children; /* see record/child_pattern.h */
	enum preload preload; /* what launch_look says of argv[0] */
	int fds[3];           /* its standard input, output and error, or -1: ours */
};

/* Finds the agent beside the tool: in its own folder (a build tree) or in ../lib/scprof
 * (installed). There is one library for each combination of what it has to see, so that a program
 * does not pay for functions that nobody asked about: memory: malloc, mmap and their families;
 * copies: memcpy and its family. The path is malloc-ed. */
char *launch_find_agent(bool memory, bool copies, struct err *err);

/* Whether the agent will get into the program that this name leads to. */
enum preload launch_look(const char *program);

/* Appends what the agent is told, see RING_ENVIRONMENT; command is its process, as that sees
 * itself. */
void launch_write_setting(const struct launch *launch, pid_t command, struct buf *text);

/* Forks and executes. Returns the pid once the command has really started; -1 when it could not,
 * with *status what a shell would return: 127 not found, 126 not executable. */
pid_t launch_command(const struct launch *launch, int *status, struct err *err);

#endif
