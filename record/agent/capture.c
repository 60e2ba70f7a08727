/* SPDX-License-Identifier: Apache-2.0
 *
 * The signal handler: a thread captures itself. It notes its clocks, where it was interrupted and
 * its Python stack, and writes them to the ring. Nothing else in the process is touched. A signal
 * that finds its thread inside the agent's own code is answered when that is left.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#include "record/agent/stack.h"
#include "record/python/opcode_class.h"
#include "record/python/walk.h"

/* CPU time within which a thread that leaves a system call has just been woken. */
#define WAKE_NS 25000u

_Thread_local struct agent_thread agent_self;

uint64_t agent_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t agent_thread_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t interpreter_flags(uint64_t ts)
{
	const struct py_layout *l = &agent.layout;
	uint64_t interp = *(const uint64_t *)(uintptr_t)(ts + l->ts_interp), gil;
	uint32_t flags = 0;

	if (!walk_pointer_ok(interp))
		return 0;
	if (l->ts_state != PY_NO_OFFSET && !l->free_threaded) {
		if (*(const int32_t *)(uintptr_t)(ts + l->ts_state) == 1)
			flags |= RING_SAMPLE_GIL;
	} else {
		gil = l->runtime_gil != PY_NO_OFFSET
			      ? agent.runtime + l->runtime_gil
			      : *(const uint64_t *)(uintptr_t)(interp + l->interp_gil);
		if (walk_pointer_ok(gil) &&
		    *(const int32_t *)(uintptr_t)(gil + l->gil_locked) == 1 &&
		    *(const uint64_t *)(uintptr_t)(gil + l->gil_last_holder) == ts)
			flags |= RING_SAMPLE_GIL;
	}
	if (*(const int32_t *)(uintptr_t)(interp + l->interp_gc_collecting))
		flags |= RING_SAMPLE_GC;
	return flags;
}

static uint32_t leaf_class(const struct stack *stack)
{
	if (!agent.opcode_classes || !stack->leaf_instr)
		return OPCODE_OTHER;
	/* Inside a code object that was checked a moment ago. */
	return agent.opcode_classes[*(const uint8_t *)(uintptr_t)stack->leaf_instr];
}

/* Of a thread that leaves a system call: was it asked when it was ready to go on after a wait, but
 * not yet on a processor? Then it has hardly used any CPU since, and it has waited of its own
 * accord (unlike one that had to make room, perhaps for the sampler itself). */
static bool was_just_woken(unsigned slot, uint64_t cpu_ns)
{
	struct rusage usage;
	bool waited;

	if (cpu_syscall(SYS_getrusage, RUSAGE_THREAD, &usage))
		return false;
	waited = agent_self.waits != (uint64_t)usage.ru_nvcsw;
	agent_self.waits = (uint64_t)usage.ru_nvcsw;
	return waited && cpu_ns - atomic_load_explicit(&agent.slots[slot].asked_cpu_ns,
						       memory_order_relaxed) <
				 WAKE_NS;
}

/* Writes the sample that `head` begins. Returns whether the ring had room for it. */
static bool write_sample(struct stack *stack, const struct ring_sample *head)
{
	struct ring_sample *record;

	if (stack->no_room)
		return false;
	record = (struct ring_sample *)stack_reserve(stack, sizeof(*record));
	if (!record)
		return false;
	record->flags = head->flags;
	record->time_ns = head->time_ns;
	record->cpu_ns = head->cpu_ns;
	record->ready_ns = head->ready_ns;
	record->pc = head->pc;
	record->request = head->request;
	record->cost_ns = (uint32_t)(agent_now() - head->time_ns);
	stack_commit(stack, &record->record, sizeof(*record), RING_SAMPLE);
	return true;
}

/* Answers the sampler. context: what the signal interrupted; NULL: the thread was in the agent's
 * code, which `pc` had called. */
static void capture(unsigned slot, const ucontext_t *context, uint64_t pc)
{
	struct ring_slot *shared = &agent.slots[slot];
	struct ring_sample head;
	struct stack stack;

	memset(&head, 0, sizeof(head));
	head.time_ns = agent_now();
	head.cpu_ns = agent_thread_cpu();
	head.ready_ns = atomic_load_explicit(&shared->asked_ready_ns, memory_order_relaxed);
	head.pc = context ? cpu_pc(context) : pc;
	head.request = atomic_load_explicit(&shared->asked, memory_order_relaxed);
	if (context && cpu_in_syscall(context)) {
		head.flags |= RING_SAMPLE_KERNEL;
		agent_cut_in = 1;
		if (cpu_was_blocked(context) || was_just_woken(slot, head.cpu_ns))
			head.flags |= RING_SAMPLE_BLOCKED;
	}

	agent_watch_end();
	if (stack_open(&stack, slot, head.time_ns) == 0) {
		stack_read(&stack, context ? cpu_sp(context)
					   : (uint64_t)(uintptr_t)__builtin_frame_address(0));
		if (stack.thread_state)
			head.flags |= interpreter_flags(stack.thread_state);
		if (stack.truncated)
			head.flags |= RING_SAMPLE_TRUNCATED;
		if (stack.unwalked) {
			head.flags |= RING_SAMPLE_UNWALKED;
			atomic_fetch_add_explicit(&agent.ring->unwalked, 1, memory_order_relaxed);
		}
		if (stack.count && !stack.truncated)
			head.flags |= leaf_class(&stack) << RING_SAMPLE_CLASS_SHIFT;
	}
	if (!stack.thread || !write_sample(&stack, &head))
		atomic_fetch_add_explicit(&agent.ring->lost, 1, memory_order_relaxed);
	/* By the CPU clock: on a busy machine others run meanwhile. */
	atomic_store_explicit(&shared->cost_ns, (uint32_t)(agent_thread_cpu() - head.cpu_ns),
			      memory_order_relaxed);
	/* Paired with sampler.c: from here on the thread may be asked again. */
	atomic_store_explicit(&shared->answered, head.request, memory_order_release);
}

/* A thread that ended and gave its slot away may still get a signal meant for it. And one may have
 * been given a slot by somebody else. */
static bool owns_slot(unsigned slot)
{
	uint32_t tid = agent_self.tid ? agent_self.tid : (uint32_t)cpu_syscall(SYS_gettid);

	if (atomic_load_explicit(&agent.slots[slot].tid, memory_order_relaxed) != tid)
		return false;
	agent_self.tid = tid;
	agent_self.slot = slot + 1;
	agent_self.session = agent.session;
	return true;
}

static bool is_to_detach(void)
{
	return atomic_load_explicit(&agent.ring->detach, memory_order_relaxed) != 0;
}

void capture_handler(int signo, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	unsigned value = (unsigned)info->si_value.sival_int, slot = value & 0xffff;

	if (info->si_code != SI_QUEUE || value >> 16 != (unsigned)(RING_MAGIC & 0x7fff) ||
	    (slot >= RING_SLOTS && slot != RING_NO_SLOT)) {
		signal_forward(signo, info, context);
	} else if (atomic_load_explicit(&agent.live, memory_order_acquire)) {
		const ucontext_t *at = context;

		if (agent_self.busy && !agent_was_left(cpu_sp(at), &at->uc_stack))
			agent_self.asked = 1;
		else if (is_to_detach())
			inject_detach();
		else if (slot != RING_NO_SLOT && owns_slot(slot))
			capture(slot, context, 0);
	}
	errno = saved_errno;
}

bool agent_was_left(uintptr_t frame, const stack_t *stack)
{
	uintptr_t entered = agent_self.entered;
	stack_t now;

	if (!stack) {
		if (frame < entered || cpu_syscall(SYS_sigaltstack, NULL, &now))
			return false;
		stack = &now;
	}
	/* A handler's stack may be higher than the one that it interrupted. */
	if (frame < entered || stack->ss_flags & SS_ONSTACK)
		return false;
	ring_give_up();
	if (agent_self.slot)
		stack_forget(agent_self.slot - 1);
	agent_self.busy = 0;
	return true;
}

/* What came while the thread was in the agent's code. */
static void answer(const void *pc)
{
	uint32_t slot;

	if (!atomic_load_explicit(&agent.live, memory_order_acquire))
		return;
	slot = agent_slot();
	if (is_to_detach())
		inject_detach();
	else if (slot)
		capture(slot - 1, NULL, (uint64_t)(uintptr_t)pc);
}

void agent_leave(const void *pc)
{
	for (;;) {
		atomic_signal_fence(memory_order_seq_cst);
		agent_self.busy = 0;
		atomic_signal_fence(memory_order_seq_cst);
		if (__builtin_expect(!agent_self.asked, 1))
			return;
		/* A signal in between may have been answered, so look again. */
		agent_self.busy = 1;
		atomic_signal_fence(memory_order_seq_cst);
		if (agent_self.asked) {
			agent_self.asked = 0;
			answer(pc);
		}
	}
}
