/* SPDX-License-Identifier: Apache-2.0 */
#include "record/attach.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "formats/base/banned.h"
#include "record/find_python.h"

/* An interpreter that is not there yet is looked for again. */
#define TRIES 30
#define PAUSE_NS 50000000

/* Who traces the process already: 0 when nobody does. */
static pid_t tracer_of(pid_t pid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	fclose(f);
	return tracer;
}

/* *starting: there is a Python, but it has nothing to show yet. */
static struct target *try_target(pid_t pid, bool holds, bool *starting, struct err *err)
{
	struct process_identity before, after;
	struct found_python python;
	struct target *target;
	pid_t tracer;

	*starting = false;
	if (process_identity_read(pid, &before)) {
		err_set(err, ERR_FAILED, "process %d has just ended", (int)pid);
		return NULL;
	}
	if (find_python(pid, &python, err))
		return NULL;
	/* What was found may be of the program that it was before. */
	if (!python.running || process_identity_read(pid, &after) ||
	    memcmp(&before, &after, sizeof(before)) != 0) {
		*starting = true;
		err_set(err, ERR_FAILED,
			python.hex ? "the Python in process %d does not start, or has finished"
				   : "the version of the Python in process %d cannot be found out",
			(int)pid);
		return NULL;
	}
	tracer = holds ? tracer_of(pid) : 0;
	if (tracer) {
		err_set(err, ERR_FAILED,
			"process %d is being traced by process %d (a debugger?); end that, or use "
			"--nonblocking",
			(int)pid, (int)tracer);
		return NULL;
	}
	target = target_new_attached(pid, &python);
	target->identity = before;
	return target;
}

struct target *attach_target_now(pid_t pid, bool holds, struct err *err)
{
	bool starting;

	return try_target(pid, holds, &starting, err);
}

struct target *attach_target(pid_t pid, bool holds, struct err *err)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	if (kill(pid, 0) && errno == ESRCH) {
		err_set(err, ERR_FAILED, "there is no process %d", (int)pid);
		return NULL;
	}
	for (int i = 0;; i++) {
		bool starting;
		struct target *target = try_target(pid, holds, &starting, err);

		if (target)
			return target;
		/* It may be on its way to become a Python: longer, when it is one already. */
		if (i >= (starting ? TRIES : TRIES / 10))
			return NULL;
		nanosleep(&pause, NULL);
		if (kill(pid, 0) && errno == ESRCH) {
			err_set(err, ERR_FAILED, "process %d has just ended", (int)pid);
			return NULL;
		}
	}
}
