/* SPDX-License-Identifier: Apache-2.0
 *
 * Stops one thread of another process for a moment. A hold is asked for, arrives some microseconds
 * later, and is ended by hold_release, which also lets go of the thread altogether: between two
 * holds it is not traced, so its signals, its children, an exec and other debuggers are none of our
 * business. When the asking thread dies in between, the kernel lets go by itself.
 *
 * All functions are for one thread of ours: the kernel ties a hold to the thread that asked for it.
 */
#ifndef SCPROF_HOLD_H
#define SCPROF_HOLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct hold_stop {
	pid_t tid;
	bool ended; /* the thread is gone, nothing to release */
	int signal; /* one that was about to be delivered, for hold_release */
};

/* Once, before any other thread is started: keeps the signal that announces arrivals for
 * hold_wait. */
void hold_init(void);

/* Returns 0, or -1 with errno: ESRCH when the thread is gone, EPERM when it may not be traced or
 * somebody else does. */
int hold_ask(pid_t tid);

/* The next thread that has stopped: 1, or 0 when there is none right now. */
int hold_next(struct hold_stop *stop);

/* Waits until a thread may have stopped, at most until deadline_ns (CLOCK_MONOTONIC). */
void hold_wait(uint64_t deadline_ns);

void hold_release(const struct hold_stop *stop);

struct hold_registers {
	uint64_t pc, sp;
	uint64_t thread_pointer; /* pthread_self() of glibc and musl; 0: not known */
	bool in_syscall;
	bool was_blocked; /* it slept in the system call, we woke it; the call will go on */
	long number;      /* of the system call */
	unsigned long arguments[2];
};

/* Of a thread that has stopped. Returns 0 or -1. */
int hold_read_registers(pid_t tid, struct hold_registers *registers);

#endif
