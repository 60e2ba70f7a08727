/* SPDX-License-Identifier: Apache-2.0 */
#include "record/thread_probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "formats/base/banned.h"

void thread_probe_init(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int thread_probe_open(struct thread_probe *probe, pid_t pid, pid_t tid)
{
	char path[64];

	*probe = (struct thread_probe){.pid = pid, .tid = tid, .syscall_fd = -1};
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)tid);
	probe->schedstat_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (probe->schedstat_fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
		probe->schedstat_fd = open(path, O_RDONLY | O_CLOEXEC);
		probe->coarse = true;
	}
	return probe->schedstat_fd < 0 ? -1 : 0;
}

void thread_probe_close(struct thread_probe *probe)
{
	if (probe->schedstat_fd >= 0)
		close(probe->schedstat_fd);
	if (probe->syscall_fd >= 0)
		close(probe->syscall_fd);
	probe->schedstat_fd = probe->syscall_fd = -1;
}

/* Where the kernel keeps no schedstat (built without it, or not quite Linux): the state letter and
 * the CPU ticks of /proc/PID/task/TID/stat. A thread that runs now has run. */
static int read_coarse(struct thread_probe *probe, struct thread_clocks *clocks)
{
	char text[512], state = 0, *at;
	unsigned long long user = 0, system = 0;
	ssize_t n = pread(probe->schedstat_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state,
			  &user, &system) != 3)
		return -1;
	probe->coarse_runs += state == 'R';
	*clocks = (struct thread_clocks){
		.runtime_ns = (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)),
		.runs = probe->coarse_runs,
	};
	return 0;
}

int thread_probe_clocks(struct thread_probe *probe, struct thread_clocks *clocks)
{
	char text[96], *end;
	ssize_t n;

	if (probe->coarse)
		return read_coarse(probe, clocks);
	n = pread(probe->schedstat_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	clocks->runtime_ns = strtoull(text, &end, 10);
	clocks->ready_ns = strtoull(end, &end, 10);
	clocks->runs = strtoull(end, NULL, 10);
	return 0;
}

static bool wait_is_open_ended_select(long number, const unsigned long *arg)
{
#ifdef SYS_select
	if (number == SYS_select)
		return arg[0] == 0;
#endif
#ifdef SYS_poll
	if (number == SYS_poll)
		return arg[1] == 0;
#endif
	return (number == SYS_pselect6 && arg[0] == 0) || (number == SYS_ppoll && arg[1] == 0);
}

enum trace_wait_kind thread_probe_kind(long number, const unsigned long *arguments)
{
	if (number == SYS_futex)
		return TRACE_WAIT_LOCK;
	if (number == SYS_nanosleep || number == SYS_clock_nanosleep ||
	    wait_is_open_ended_select(number, arguments))
		return TRACE_WAIT_SLEEP;
	/* Without a number: a page fault that waits for a disk. */
	return TRACE_WAIT_IO;
}

/* Not allowed to look that close: the state letter must do. */
static bool state_is_running(const struct thread_probe *probe)
{
	char path[64], text[256], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)probe->pid, (int)probe->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strrchr(text, ')');
	return at && at[1] == ' ' && at[2] == 'R';
}

bool thread_probe_running(struct thread_probe *probe, enum trace_wait_kind *kind, uint64_t *futex)
{
	char path[64], text[256], *at;
	unsigned long arg[2];
	long number;
	ssize_t n = -1;

	*futex = 0;
	*kind = TRACE_WAIT_OTHER;
	if (probe->syscall_fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)probe->pid,
			 (int)probe->tid);
		probe->syscall_fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (probe->syscall_fd >= 0)
		n = pread(probe->syscall_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return state_is_running(probe);
	text[n] = '\0';
	if (text[0] == 'r')
		return true;
	number = strtol(text, &at, 10);
	arg[0] = strtoul(at, &at, 16);
	arg[1] = strtoul(at, &at, 16);
	*kind = thread_probe_kind(number, arg);
	if (number == SYS_futex)
		*futex = arg[0];
	return false;
}
