/* SPDX-License-Identifier: Apache-2.0 */
#include "record/remote_cpu.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <ucontext.h>

#include "formats/base/banned.h"

#define ALIGNED(n) (((n) + 63) & ~(size_t)63)
/* Not valid, so the kernel leaves the thread's own alternate stack as it is. */
#define NO_ALTERNATE_STACK 0x7fffffff

/* What the kernel returns inside of itself for a call that it will restart. */
enum {
	KERNEL_ERESTARTSYS = 512,
	KERNEL_ERESTARTNOINTR = 513,
	KERNEL_ERESTARTNOHAND = 514,
	KERNEL_ERESTART_RESTARTBLOCK = 516,
};

static int get_registers(pid_t tid, struct user_regs_struct *regs)
{
	struct iovec iov = {regs, sizeof(*regs)};

	return ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) ? -1 : 0;
}

static int set_registers(pid_t tid, const struct user_regs_struct *regs)
{
	struct iovec iov = {(void *)(uintptr_t)regs, sizeof(*regs)};

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov) ? -1 : 0;
}

static void set_mask(pid_t tid, uint64_t mask)
{
	ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask);
}

const void *remote_cpu_code(size_t *size)
{
	extern const char remote_code_begin[], remote_code_end[];

	*size = (size_t)(remote_code_end - remote_code_begin);
	return remote_code_begin;
}

static bool in_code(uint64_t pc, uint64_t code)
{
	size_t size;

	remote_cpu_code(&size);
	return pc >= code && pc < code + size;
}

#if defined(__x86_64__)

#include <cpuid.h>

#define VECTOR_SET NT_X86_XSTATE
#define SHADOW_STACK_SET 0x204 /* NT_X86_SHSTK */

/* Of an XSAVE area: where the kernel keeps what it has to say about it, and the header. */
#define SOFTWARE_OFFSET 464
#define HEADER_OFFSET 512
#define SMALLEST_AREA 576
#define FEATURES_LEGACY 3u
#define FEATURE_PKRU 9u

#define FRAME_MAGIC1 0x46505853u
#define FRAME_MAGIC2 0x46505845u
#define FRAME_HAS_XSTATE 1u
#define FRAME_HAS_SS 2u
#define FRAME_STRICT_SS 4u

/* What the kernel wants to find at SOFTWARE_OFFSET. */
struct frame_software {
	uint32_t magic1;
	uint32_t extended_size;
	uint64_t features;
	uint32_t size;
	uint32_t padding[7];
};
_Static_assert(sizeof(struct frame_software) == 48, "it fills the area's legacy part");

__asm__(".pushsection .rodata\n"
	"remote_code_begin:\n"
	"	call	*0(%rbx)\n" /* errno, which is the program's */
	"	mov	%rax, %r12\n"
	"	mov	(%rax), %r13d\n"
	"	mov	32(%rbx), %rdi\n"
	"	mov	$2, %esi\n" /* RTLD_NOW */
	"	call	*8(%rbx)\n"
	"	test	%rax, %rax\n"
	"	jz	2f\n"
	"	mov	%rax, %rdi\n"
	"	mov	40(%rbx), %rsi\n"
	"	call	*16(%rbx)\n"
	"	test	%rax, %rax\n"
	"	jz	2f\n"
	"	mov	48(%rbx), %rdi\n"
	"	call	*%rax\n"
	"	mov	%eax, %r14d\n"
	"	mov	$1, %ebp\n"
	"	jmp	3f\n"
	"2:	call	*24(%rbx)\n"
	"	mov	%rax, %r15\n"
	"	xor	%ebp, %ebp\n"
	"3:	mov	%r13d, (%r12)\n"
	"	movq	$1, 56(%rbx)\n"
	"	mov	$100000, %r12d\n"
	"5:	mov	$24, %eax\n" /* sched_yield */
	"	syscall\n"
	"	dec	%r12d\n"
	"	jnz	5b\n"
	"4:	mov	$15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"	jmp	4b\n"
	"remote_code_end:\n"
	".popsection\n");

static uint64_t word_at(const uint8_t *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	return word;
}

int remote_cpu_read(pid_t tid, struct remote_cpu *cpu)
{
	struct iovec vector = {cpu->vector, sizeof(cpu->vector)};

	uint64_t shadow_stack;
	struct iovec shadow = {&shadow_stack, sizeof(shadow_stack)};

	/* With a shadow stack there is no way back that the kernel did not prepare. */
	if (ptrace(PTRACE_GETREGSET, tid, SHADOW_STACK_SET, &shadow) == 0)
		return -1;
	if (get_registers(tid, &cpu->regs) || ptrace(PTRACE_GETREGSET, tid, VECTOR_SET, &vector) ||
	    vector.iov_len < SMALLEST_AREA || vector.iov_len == sizeof(cpu->vector) ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(cpu->signal_mask), &cpu->signal_mask))
		return -1;
	cpu->vector_size = vector.iov_len;
	return 0;
}

void remote_cpu_point(pid_t tid, const struct remote_cpu *cpu, struct remote_point *point)
{
	(void)tid;
	*point = (struct remote_point){
		.pc = cpu->regs.rip,
		.sp = cpu->regs.rsp,
		.call = (long)cpu->regs.orig_rax >= 0 ? (long)cpu->regs.orig_rax : -1,
		.arguments = {cpu->regs.rdi, cpu->regs.rsi},
	};
}

struct remote_frame remote_cpu_frame_layout(const struct remote_cpu *cpu, size_t extra)
{
	struct remote_frame frame;

	frame.block = ALIGNED(sizeof(ucontext_t) + sizeof(siginfo_t));
	frame.vector = ALIGNED(frame.block + sizeof(struct remote_block) + extra);
	frame.size = frame.vector + ALIGNED(cpu->vector_size + sizeof(uint32_t));
	return frame;
}

/* The kernel takes no more of the area than what this thread may use, so it gets no more than what
 * it does use. */
static void write_vector(const struct remote_cpu *cpu, uint8_t *to)
{
	uint64_t supported = word_at(cpu->vector + SOFTWARE_OFFSET);
	uint64_t used = word_at(cpu->vector + HEADER_OFFSET);
	const uint32_t magic2 = FRAME_MAGIC2;
	struct frame_software software;
	uint32_t size = SMALLEST_AREA;

	memcpy(to, cpu->vector, cpu->vector_size);
	/* The keys to memory are kept elsewhere, so the header may not speak of them. */
	if (supported >> FEATURE_PKRU & 1)
		used |= UINT64_C(1) << FEATURE_PKRU;
	used &= supported;
	for (uint32_t i = 2; i < 63; i++) {
		unsigned bytes = 0, offset = 0, c, d;

		if (!(used >> i & 1) || !__get_cpuid_count(0xd, i, &bytes, &offset, &c, &d))
			continue;
		if (offset + bytes > size && offset + bytes <= cpu->vector_size)
			size = offset + bytes;
	}
	memset(to + HEADER_OFFSET, 0, SMALLEST_AREA - HEADER_OFFSET);
	memcpy(to + HEADER_OFFSET, &used, sizeof(used));
	software = (struct frame_software){
		.magic1 = FRAME_MAGIC1,
		.extended_size = size + (uint32_t)sizeof(magic2),
		.features = used | FEATURES_LEGACY,
		.size = size,
	};
	memcpy(to + SOFTWARE_OFFSET, &software, sizeof(software));
	memcpy(to + size, &magic2, sizeof(magic2));
}

void remote_cpu_frame(const struct remote_cpu *cpu, const struct remote_frame *frame,
		      uint64_t address, uint8_t *to)
{
	const struct user_regs_struct *regs = &cpu->regs;
	long result = (long)regs->rax;
	uint64_t vector = address + frame->vector;
	ucontext_t context;
	greg_t *g = context.uc_mcontext.gregs;

	memset(to, 0, frame->size);
	memset(&context, 0, sizeof(context));
	context.uc_flags = FRAME_HAS_XSTATE | FRAME_HAS_SS | FRAME_STRICT_SS;
	context.uc_stack.ss_flags = NO_ALTERNATE_STACK;
	g[REG_R8] = (greg_t)regs->r8;
	g[REG_R9] = (greg_t)regs->r9;
	g[REG_R10] = (greg_t)regs->r10;
	g[REG_R11] = (greg_t)regs->r11;
	g[REG_R12] = (greg_t)regs->r12;
	g[REG_R13] = (greg_t)regs->r13;
	g[REG_R14] = (greg_t)regs->r14;
	g[REG_R15] = (greg_t)regs->r15;
	g[REG_RDI] = (greg_t)regs->rdi;
	g[REG_RSI] = (greg_t)regs->rsi;
	g[REG_RBP] = (greg_t)regs->rbp;
	g[REG_RBX] = (greg_t)regs->rbx;
	g[REG_RDX] = (greg_t)regs->rdx;
	g[REG_RAX] = (greg_t)regs->rax;
	g[REG_RCX] = (greg_t)regs->rcx;
	g[REG_RSP] = (greg_t)regs->rsp;
	g[REG_RIP] = (greg_t)regs->rip;
	g[REG_EFL] = (greg_t)regs->eflags;
	g[REG_CSGSFS] = (greg_t)((regs->cs & 0xffff) | (regs->ss & 0xffff) << 48);
	/* A system call that was interrupted is made again. Where the kernel alone knows how long
	 * it would still have waited, the program is told of a signal. */
	if ((long)regs->orig_rax >= 0 &&
	    (result == -KERNEL_ERESTARTSYS || result == -KERNEL_ERESTARTNOINTR ||
	     result == -KERNEL_ERESTARTNOHAND)) {
		g[REG_RIP] -= 2;
		g[REG_RAX] = (greg_t)regs->orig_rax;
	} else if ((long)regs->orig_rax >= 0 && result == -KERNEL_ERESTART_RESTARTBLOCK) {
		g[REG_RAX] = -EINTR;
	}
	memcpy(&context.uc_mcontext.fpregs, &vector, sizeof(vector));
	memcpy(&context.uc_sigmask, &cpu->signal_mask, sizeof(cpu->signal_mask));
	memcpy(to, &context, sizeof(context));
	write_vector(cpu, to + frame->vector);
}

int remote_cpu_enter(pid_t tid, const struct remote_cpu *cpu, uint64_t code, uint64_t frame,
		     uint64_t block)
{
	struct user_regs_struct regs = cpu->regs;

	regs.rip = code;
	regs.rsp = frame;
	regs.rbx = block;
	regs.rbp = 0;
	regs.eflags = 0x202;
	regs.orig_rax = (unsigned long long)-1; /* no system call to restart */
	if (set_registers(tid, &regs))
		return -1;
	set_mask(tid, ~UINT64_C(0));
	return 0;
}

bool remote_cpu_result(pid_t tid, uint64_t code, struct remote_result *result)
{
	struct user_regs_struct regs;

	if (get_registers(tid, &regs) || !in_code(regs.rip, code))
		return false;
	*result = (struct remote_result){
		.loaded = regs.rbp == 1,
		.value = (int)regs.r14,
		.error = regs.r15,
	};
	return true;
}

#elif defined(__aarch64__)

#include <asm/ptrace.h>

#define VECTOR_SET NT_FPREGSET
#define SVC 0xd4000001u

__asm__(".pushsection .rodata\n"
	".balign 4\n"
	"remote_code_begin:\n"
	"	ldr	x8, [x19]\n" /* errno, which is the program's */
	"	blr	x8\n"
	"	mov	x20, x0\n"
	"	ldr	w21, [x0]\n"
	"	ldr	x0, [x19, #32]\n"
	"	mov	w1, #2\n" /* RTLD_NOW */
	"	ldr	x8, [x19, #8]\n"
	"	blr	x8\n"
	"	cbz	x0, 2f\n"
	"	ldr	x1, [x19, #40]\n"
	"	ldr	x8, [x19, #16]\n"
	"	blr	x8\n"
	"	cbz	x0, 2f\n"
	"	mov	x8, x0\n"
	"	ldr	x0, [x19, #48]\n"
	"	blr	x8\n"
	"	mov	w22, w0\n"
	"	mov	x24, #1\n"
	"	b	3f\n"
	"2:	ldr	x8, [x19, #24]\n"
	"	blr	x8\n"
	"	mov	x23, x0\n"
	"	mov	x24, #0\n"
	"3:	str	w21, [x20]\n"
	"	mov	x25, #1\n"
	"	str	x25, [x19, #56]\n"
	"	movz	x25, #1, lsl #16\n"
	"5:	mov	x8, #124\n" /* sched_yield */
	"	svc	#0\n"
	"	sub	x25, x25, #1\n"
	"	cbnz	x25, 5b\n"
	"4:	mov	x8, #139\n" /* rt_sigreturn */
	"	svc	#0\n"
	"	b	4b\n"
	"remote_code_end:\n"
	".popsection\n");

int remote_cpu_read(pid_t tid, struct remote_cpu *cpu)
{
	struct iovec vector = {cpu->vector, sizeof(cpu->vector)};

	struct user_sve_header sve = {0};
	struct iovec scalable = {&sve, sizeof(sve)};

	/* Wider registers than our frame has are dead while a thread is in the kernel. */
	if (ptrace(PTRACE_GETREGSET, tid, NT_ARM_SVE, &scalable) == 0 &&
	    (sve.flags & SVE_PT_REGS_MASK) == SVE_PT_REGS_SVE)
		return -1;
	if (get_registers(tid, &cpu->regs) || ptrace(PTRACE_GETREGSET, tid, VECTOR_SET, &vector) ||
	    vector.iov_len < sizeof(struct user_fpsimd_struct) ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(cpu->signal_mask), &cpu->signal_mask))
		return -1;
	cpu->vector_size = vector.iov_len;
	return 0;
}

/* The kernel hides that a thread is in a system call which it will restart: the pc stands on the
 * instruction again. */
void remote_cpu_point(pid_t tid, const struct remote_cpu *cpu, struct remote_point *point)
{
	*point = (struct remote_point){
		.pc = cpu->regs.pc,
		.sp = cpu->regs.sp,
		.call = -1,
		.arguments = {cpu->regs.regs[0], cpu->regs.regs[1]},
	};
	errno = 0;
	if ((uint32_t)ptrace(PTRACE_PEEKTEXT, tid, (void *)(uintptr_t)cpu->regs.pc, NULL) == SVC &&
	    errno == 0)
		point->call = (long)cpu->regs.regs[8];
}

struct remote_frame remote_cpu_frame_layout(const struct remote_cpu *cpu, size_t extra)
{
	struct remote_frame frame;

	(void)cpu;
	frame.vector = 0;
	frame.block = ALIGNED(sizeof(siginfo_t) + sizeof(ucontext_t));
	frame.size = ALIGNED(frame.block + sizeof(struct remote_block) + extra);
	return frame;
}

void remote_cpu_frame(const struct remote_cpu *cpu, const struct remote_frame *frame,
		      uint64_t address, uint8_t *to)
{
	struct user_fpsimd_struct vector;
	struct fpsimd_context fpsimd;
	ucontext_t context;

	(void)address;
	memset(to, 0, frame->size);
	memset(&context, 0, sizeof(context));
	memcpy(&vector, cpu->vector, sizeof(vector));
	fpsimd = (struct fpsimd_context){
		.head = {.magic = FPSIMD_MAGIC, .size = sizeof(fpsimd)},
		.fpsr = vector.fpsr,
		.fpcr = vector.fpcr,
	};
	memcpy(fpsimd.vregs, vector.vregs, sizeof(fpsimd.vregs));
	context.uc_stack.ss_flags = NO_ALTERNATE_STACK;
	memcpy(&context.uc_sigmask, &cpu->signal_mask, sizeof(cpu->signal_mask));
	memcpy(context.uc_mcontext.regs, cpu->regs.regs, sizeof(context.uc_mcontext.regs));
	context.uc_mcontext.sp = cpu->regs.sp;
	context.uc_mcontext.pc = cpu->regs.pc;
	context.uc_mcontext.pstate = cpu->regs.pstate;
	memcpy(context.uc_mcontext.__reserved, &fpsimd, sizeof(fpsimd));
	memcpy(to + sizeof(siginfo_t), &context, sizeof(context));
}

int remote_cpu_enter(pid_t tid, const struct remote_cpu *cpu, uint64_t code, uint64_t frame,
		     uint64_t block)
{
	struct user_regs_struct regs = cpu->regs;

	regs.pc = code;
	regs.sp = frame;
	regs.regs[19] = block;
	regs.regs[29] = 0;
	regs.pstate &= ~(uint64_t)0xc00; /* the kind of branch that brought us here: none */
	if (set_registers(tid, &regs))
		return -1;
	set_mask(tid, ~UINT64_C(0));
	return 0;
}

bool remote_cpu_result(pid_t tid, uint64_t code, struct remote_result *result)
{
	struct user_regs_struct regs;

	if (get_registers(tid, &regs) || !in_code(regs.pc, code))
		return false;
	*result = (struct remote_result){
		.loaded = regs.regs[24] == 1,
		.value = (int)regs.regs[22],
		.error = regs.regs[23],
	};
	return true;
}

#else
#error "scprof knows x86-64 and aarch64"
#endif

void remote_cpu_restore(pid_t tid, const struct remote_cpu *cpu)
{
	struct iovec vector = {(void *)(uintptr_t)cpu->vector, cpu->vector_size};

	/* In this order: until the last step the thread still gets back by itself. */
	set_mask(tid, cpu->signal_mask);
	ptrace(PTRACE_SETREGSET, tid, VECTOR_SET, &vector);
	set_registers(tid, &cpu->regs);
}
