/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call inside of another process needs to know of the processor: a thread's registers, the
 * little code that makes the call, and the signal frame that undoes everything afterwards.
 *
 * The frame is what the kernel would have written for a signal handler, so the thread gets back to
 * where it was by itself (rt_sigreturn), with or without us.
 */
#ifndef SCPROF_REMOTE_CPU_H
#define SCPROF_REMOTE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#define REMOTE_CPU_RED_ZONE 128u
#define REMOTE_CPU_VECTOR_MAX 16384u /* of AVX-512 with AMX: 11008 */

/* All of a stopped thread that a program can see. */
struct remote_cpu {
	struct user_regs_struct regs;
	uint64_t signal_mask;
	size_t vector_size;
	_Alignas(64) uint8_t vector[REMOTE_CPU_VECTOR_MAX];
};

/* Where a thread stands. */
struct remote_point {
	uint64_t pc, sp;
	long call; /* number of the system call that it is in, -1: none */
	unsigned long arguments[2];
};

/* What the code finds in memory, by address: functions of the target's libc, and what to do with
 * them. The results are left in registers, see remote_cpu_result. */
struct remote_block {
	uint64_t errno_location, dlopen, dlsym, dlerror;
	uint64_t path;     /* of the library */
	uint64_t name;     /* of the function in it */
	uint64_t argument; /* of the function */
	uint64_t done;     /* set by the code when the results are there */
};
_Static_assert(sizeof(struct remote_block) == 64, "the code knows these offsets");

struct remote_result {
	bool loaded;
	int value;      /* of the function, when loaded */
	uint64_t error; /* else where dlerror's text lies, or 0 */
};

/* Of a thread that is stopped. Returns 0, or -1: something is in use that no frame can hold. */
int remote_cpu_read(pid_t tid, struct remote_cpu *cpu);
void remote_cpu_point(pid_t tid, const struct remote_cpu *cpu, struct remote_point *point);

/* The code: opens the library, calls the function, sets `done`, lets others run for a moment in
 * which it can be stopped for its results, and returns through the frame. It runs at any address.
 */
const void *remote_cpu_code(size_t *size);

/* Bytes that remote_cpu_frame writes: the frame, and room behind it for the block and `extra` bytes
 * of the caller's. *block and *vector are offsets into them. */
struct remote_frame {
	size_t size;
	size_t block; /* where the block lies, and behind it what is the caller's */
	size_t vector;
};
struct remote_frame remote_cpu_frame_layout(const struct remote_cpu *cpu, size_t extra);

/* Writes the frame that belongs at address in the target; a multiple of 64. */
void remote_cpu_frame(const struct remote_cpu *cpu, const struct remote_frame *frame,
		      uint64_t address, uint8_t *to);

/* Sends the stopped thread into the code. Returns 0 or -1; the thread is as before then. */
int remote_cpu_enter(pid_t tid, const struct remote_cpu *cpu, uint64_t code, uint64_t frame,
		     uint64_t block);

/* Of a stopped thread that has set `done`: false when it is out of the code already. */
bool remote_cpu_result(pid_t tid, uint64_t code, struct remote_result *result);

/* Gives a stopped thread its registers back, as if nothing had been: a system call that the kernel
 * alone knows how to go on with goes on, which the frame cannot do. */
void remote_cpu_restore(pid_t tid, const struct remote_cpu *cpu);

#endif
