/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints what every thread of a running program does right now.
 */
#ifndef SCPROF_DUMP_H
#define SCPROF_DUMP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "formats/base/err.h"

struct dump_options {
	bool json;
	bool nonblocking;
	bool locals;
};

/* Returns 0, or -1 with a sentence; nothing is printed then. */
int dump_process(pid_t pid, const struct dump_options *options, FILE *to, struct err *err);

#endif
