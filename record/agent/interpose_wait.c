/* SPDX-License-Identifier: Apache-2.0
 *
 * Whoever waits for a child is the only one to learn how it ended and what it used; when it was
 * killed it could not say so itself. So that is noted here, for scprof-record, which is not the
 * parent of what a program starts.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

typedef pid_t (*wait4_fn)(pid_t, int *, int, struct rusage *);
typedef int (*waitid_fn)(idtype_t, id_t, siginfo_t *, int);

static wait4_fn real_wait4;
static waitid_fn real_waitid;

void interpose_wait_start(void)
{
	*(void **)&real_wait4 = agent_real("wait4");
	*(void **)&real_waitid = agent_real("waitid");
}

static uint64_t nanoseconds(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

/* usage: NULL when it is not known. */
static void note_end(pid_t pid, int status, const struct rusage *usage)
{
	int saved_errno = errno;
	struct ring_reaped *record;

	if ((!WIFEXITED(status) && !WIFSIGNALED(status)) ||
	    !atomic_load_explicit(&agent.live, memory_order_acquire) || !agent_is_home())
		return;
	record = (struct ring_reaped *)ring_reserve(sizeof(*record));
	if (!record) {
		atomic_fetch_add_explicit(&agent.ring->lost, 1, memory_order_relaxed);
	} else {
		record->pid = pid;
		record->status = status;
		record->time_ns = agent_now();
		record->user_ns = usage ? nanoseconds(&usage->ru_utime) : 0;
		record->system_ns = usage ? nanoseconds(&usage->ru_stime) : 0;
		ring_commit(&record->record, sizeof(*record), RING_REAPED, RING_NO_SLOT);
	}
	errno = saved_errno;
}

AGENT_EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	struct rusage own_usage;
	int own_status = 0;
	pid_t found;

	if (!real_wait4)
		interpose_wait_start();
	if (!status)
		status = &own_status;
	if (!usage)
		usage = &own_usage;
	found = real_wait4(pid, status, options, usage);
	if (found > 0)
		note_end(found, *status, usage);
	return found;
}

AGENT_EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
	return wait4(pid, status, options, NULL);
}

AGENT_EXPORT pid_t wait(int *status)
{
	return wait4(-1, status, 0, NULL);
}

AGENT_EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
	return wait4(-1, status, options, usage);
}

AGENT_EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	siginfo_t own_info;
	int ret;

	if (!real_waitid)
		interpose_wait_start();
	if (!info)
		info = &own_info;
	ret = real_waitid(type, id, info, options);
	if (ret == 0 && info->si_pid && !(options & WNOWAIT)) {
		if (info->si_code == CLD_EXITED)
			note_end(info->si_pid, (info->si_status & 0xff) << 8, NULL);
		else if (info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED)
			note_end(info->si_pid, info->si_status & 0x7f, NULL);
	}
	return ret;
}
