/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place where the agent knows the processor: raw system calls (no errno, no interposed
 * function), the interrupted program counter, whether it stands right behind a system call, and
 * what the loader calls the places that it fills.
 */
#ifndef SCPROF_CPU_H
#define SCPROF_CPU_H

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>

#if defined(__x86_64__)

/* What the loader writes the address of a function to: a jump's slot, a pointer's, a datum. */
#define CPU_RELOC_JUMP R_X86_64_JUMP_SLOT
#define CPU_RELOC_DATA R_X86_64_GLOB_DAT
#define CPU_RELOC_ABSOLUTE R_X86_64_64

static inline long cpu_syscall6(long number, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline uint64_t cpu_pc(const ucontext_t *context)
{
	return (uint64_t)context->uc_mcontext.gregs[REG_RIP];
}

static inline uint64_t cpu_sp(const ucontext_t *context)
{
	return (uint64_t)context->uc_mcontext.gregs[REG_RSP];
}

/* A signal that came while the thread was in the kernel is delivered on the way back to user mode,
 * with the pc behind the `syscall` instruction, or on it when the call is to be restarted. The
 * instruction itself left the address behind it in rcx. */
static inline int cpu_in_syscall(const ucontext_t *context)
{
	uint64_t pc = cpu_pc(context), rcx = (uint64_t)context->uc_mcontext.gregs[REG_RCX];
	const uint8_t *code;

	if (rcx != pc && rcx != pc + 2)
		return 0;
	code = (const uint8_t *)(rcx - 2);
	return code[0] == 0x0f && code[1] == 0x05;
}

/* Of a thread in a system call: it was blocked there, and our signal woke it. The call returns
 * EINTR or will be restarted. */
static inline int cpu_was_blocked(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_RAX] == -EINTR ||
	       (uint64_t)context->uc_mcontext.gregs[REG_RCX] != cpu_pc(context);
}

#elif defined(__aarch64__)

#define CPU_RELOC_JUMP R_AARCH64_JUMP_SLOT
#define CPU_RELOC_DATA R_AARCH64_GLOB_DAT
#define CPU_RELOC_ABSOLUTE R_AARCH64_ABS64

static inline long cpu_syscall6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

static inline uint64_t cpu_pc(const ucontext_t *context)
{
	return context->uc_mcontext.pc;
}

static inline uint64_t cpu_sp(const ucontext_t *context)
{
	return context->uc_mcontext.sp;
}

static inline int cpu_in_syscall(const ucontext_t *context)
{
	const uint32_t *pc = (const uint32_t *)cpu_pc(context);

	return pc[-1] == 0xd4000001u || pc[0] == 0xd4000001u; /* svc #0 */
}

static inline int cpu_was_blocked(const ucontext_t *context)
{
	return (long)context->uc_mcontext.regs[0] == -EINTR ||
	       *(const uint32_t *)cpu_pc(context) == 0xd4000001u;
}

#else
#error "scprof knows x86-64 and aarch64"
#endif

#define cpu_syscall(...) CPU_SYSCALL_N(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CPU_SYSCALL_N(n, a, b, c, d, e, f, ...) \
	cpu_syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
