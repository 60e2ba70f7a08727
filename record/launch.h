/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts the command with the agent in its environment and everything else as the user left it.
 */
#ifndef SCPROF_LAUNCH_H
#define SCPROF_LAUNCH_H

#include <sys/types.h>

#include "formats/base/err.h"

struct launch {
	char **argv;        /* of the command, ends with NULL */
	const char *agent;  /* path of libscprof-agent.so */
	const char *socket; /* name the agent reports to */
	int signal;
	int stdout_fd; /* what the command gets as stdout, or -1: ours */
};

/* Finds the agent beside the tool: in its own folder (a build tree) or in ../lib/scprof
 * (installed). The path is malloc-ed. */
char *launch_find_agent(struct err *err);

/* Forks and executes. Returns the pid once the command has really started; -1 when it could not,
 * with *status what a shell would return: 127 not found, 126 not executable. */
pid_t launch_command(const struct launch *launch, int *status, struct err *err);

#endif
