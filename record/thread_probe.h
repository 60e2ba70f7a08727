/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc tells about one thread of another process, without touching it: the scheduler's
 * counters, whether it runs, and what it waits for.
 *
 * Per thread the scheduler keeps three numbers in /proc/PID/task/TID/schedstat: time on a
 * processor, time spent ready for one, and how often it was put on one. A thread that was blocked
 * at the last look and shows the same numbers now is still blocked: that is the one cheap read an
 * idle thread costs. Otherwise /proc/PID/task/TID/syscall tells a running thread ("running") from a
 * blocked one, and of the blocked one the system call and its arguments, hence what it waits for.
 */
#ifndef SCPROF_THREAD_PROBE_H
#define SCPROF_THREAD_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/trace_event.h"

struct thread_probe {
	pid_t pid, tid; /* as we see them */
	int schedstat_fd;
	bool coarse;    /* it is the stat file instead */
	int syscall_fd; /* -1 until it was needed */
	uint64_t coarse_runs;
};

/* Once, before many are opened: each takes two descriptors. */
void thread_probe_init(void);

/* Returns 0, or -1 when the thread is gone. Close with thread_probe_close. */
int thread_probe_open(struct thread_probe *probe, pid_t pid, pid_t tid);
void thread_probe_close(struct thread_probe *probe);

/* What the scheduler has booked for a thread in its whole life. */
struct thread_clocks {
	uint64_t runtime_ns; /* on a processor */
	uint64_t ready_ns;   /* ready to run, without one; 0 where the kernel does not say */
	uint64_t runs;       /* times it was put on a processor */
};

/* Returns 0, or -1 when the thread is gone. */
int thread_probe_clocks(struct thread_probe *probe, struct thread_clocks *clocks);

/* Has the thread run between two readings? */
static inline bool thread_clocks_moved(const struct thread_clocks *one,
				       const struct thread_clocks *other)
{
	return one->runs != other->runs || one->runtime_ns != other->runtime_ns;
}

/* True when the thread runs or is about to. Otherwise *kind is what it waits for, and of a futex
 * *futex is the address, else 0. */
bool thread_probe_running(struct thread_probe *probe, enum trace_wait_kind *kind, uint64_t *futex);

/* What a thread inside this system call waits for. */
enum trace_wait_kind thread_probe_kind(long number, const unsigned long *arguments);

#endif
