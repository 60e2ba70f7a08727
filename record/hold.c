/* SPDX-License-Identifier: Apache-2.0 */
#include "record/hold.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include "formats/base/banned.h"

/* What the kernel returns inside of itself for a call that it will restart. */
enum {
	KERNEL_ERESTARTSYS = 512,
	KERNEL_ERESTARTNOINTR = 513,
	KERNEL_ERESTARTNOHAND = 514,
	KERNEL_ERESTART_RESTARTBLOCK = 516,
};

void hold_init(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int hold_ask(pid_t tid)
{
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL))
		return -1;
	/* That fails for a thread that has just ended. hold_next will tell, and has to be asked:
	 * nobody else is told of the end before. */
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 0;
}

int hold_next(struct hold_stop *stop)
{
	int status;
	pid_t tid;

	do
		tid = waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);
	while (tid < 0 && errno == EINTR);
	if (tid <= 0)
		return 0;
	memset(stop, 0, sizeof(*stop));
	stop->tid = tid;
	stop->ended = !WIFSTOPPED(status);
	/* Our own request and a stop of the whole process come as events; without one, a signal was
	 * on its way. */
	if (WIFSTOPPED(status) && status >> 16 == 0)
		stop->signal = WSTOPSIG(status);
	return 1;
}

void hold_wait(uint64_t deadline_ns)
{
	struct timespec now, left;
	sigset_t set;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (ns >= deadline_ns)
		return;
	ns = deadline_ns - ns;
	left.tv_sec = (time_t)(ns / 1000000000u);
	left.tv_nsec = (long)(ns % 1000000000u);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &left);
}

void hold_release(const struct hold_stop *stop)
{
	if (!stop->ended)
		ptrace(PTRACE_DETACH, stop->tid, NULL, (void *)(uintptr_t)stop->signal);
}

static bool is_interrupted(long result)
{
	return result == -EINTR || result == -KERNEL_ERESTARTSYS ||
	       result == -KERNEL_ERESTARTNOINTR || result == -KERNEL_ERESTARTNOHAND ||
	       result == -KERNEL_ERESTART_RESTARTBLOCK;
}

#if defined(__x86_64__)

int hold_read_registers(pid_t tid, struct hold_registers *registers)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof(regs)};

	memset(registers, 0, sizeof(*registers));
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov))
		return -1;
	registers->pc = regs.rip;
	registers->sp = regs.rsp;
	registers->thread_pointer = regs.fs_base;
	registers->number = (long)regs.orig_rax;
	registers->in_syscall = registers->number >= 0;
	registers->was_blocked = registers->in_syscall && is_interrupted((long)regs.rax);
	registers->arguments[0] = regs.rdi;
	registers->arguments[1] = regs.rsi;
	return 0;
}

#elif defined(__aarch64__)

int hold_read_registers(pid_t tid, struct hold_registers *registers)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof(regs)};
	int number = -1;
	struct iovec call = {&number, sizeof(number)};

	memset(registers, 0, sizeof(*registers));
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov))
		return -1;
	if (ptrace(PTRACE_GETREGSET, tid, NT_ARM_SYSTEM_CALL, &call))
		number = -1;
	/* The thread pointer is not pthread_self() here. */
	registers->pc = regs.pc;
	registers->sp = regs.sp;
	registers->number = number;
	registers->in_syscall = number >= 0;
	registers->was_blocked = registers->in_syscall && is_interrupted((long)regs.regs[0]);
	registers->arguments[0] = regs.regs[0];
	registers->arguments[1] = regs.regs[1];
	return 0;
}

#else
#error "scprof knows x86-64 and aarch64"
#endif
