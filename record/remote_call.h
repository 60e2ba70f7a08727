/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads a library into a running process and calls a function of it, in a thread that stands at a
 * safe point. The thread is stopped (ptrace), gets a signal frame of ours on its stack and goes on
 * in a little code behind the end of some library's own; the frame brings it back. Once it is on
 * its way it needs nobody: when scprof-record is killed, even in the middle, it finishes the call
 * and is where it was. With scprof-record alive its system call goes on as if it had never been
 * interrupted, and what the linker said is known.
 */
#ifndef SCPROF_REMOTE_CALL_H
#define SCPROF_REMOTE_CALL_H

#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"

struct remote_call {
	pid_t pid;
	const char *path;     /* of the library, as the target sees it */
	const char *function; /* int (const char *) */
	const char *argument;
};

/* Tries until deadline_ns (CLOCK_MONOTONIC). *value is what the function returned. Returns 0, or
 * -1 with a sentence; the target is as before then, or finishes the call by itself. */
int remote_call(const struct remote_call *call, uint64_t deadline_ns, int *value, struct err *err);

#endif
