/* SPDX-License-Identifier: Apache-2.0
 *
 * New threads get a slot and a stack for signals; a thread's last words are its clocks. Also the
 * place where an interpreter that was not there at start shows itself.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define START_SIZE 256 /* room for struct thread_start */

typedef int (*pthread_create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
typedef int (*condattr_setclock_fn)(pthread_condattr_t *, clockid_t);
typedef void (*exit_fn)(int) __attribute__((noreturn));

static pthread_create_fn real_pthread_create;
static condattr_setclock_fn real_condattr_setclock;
static exit_fn real_exit_now;
static exit_fn real_exit_now_c;

void interpose_start(void)
{
	*(void **)&real_pthread_create = agent_real("pthread_create");
	*(void **)&real_condattr_setclock = agent_real("pthread_condattr_setclock");
	*(void **)&real_exit_now = agent_real("_exit");
	*(void **)&real_exit_now_c = agent_real("_Exit");
	interpose_exec_start();
	interpose_io_start();
	interpose_wait_start();
}

/* What a new thread needs to know; lives at the start of its signal stack. */
struct thread_start {
	void *(*function)(void *);
	void *arg;
};
_Static_assert(sizeof(struct thread_start) <= START_SIZE, "thread_start is too large");

static void thread_over(void *arg)
{
	struct thread_start *start = arg;
	stack_t none = {.ss_flags = SS_DISABLE}, stack;
	int saved_errno = errno;

	if (atomic_load_explicit(&agent.live, memory_order_acquire) && agent_is_home()) {
		if (agent.heap)
			agent.heap->thread_end();
		agent_release_slot();
	}
	if (sigaltstack(NULL, &stack) == 0 && stack.ss_sp == (char *)arg + START_SIZE)
		sigaltstack(&none, NULL);
	agent_unmap(start, AGENT_SIGNAL_STACK);
	errno = saved_errno;
}

static void *thread_main(void *arg)
{
	struct thread_start *start = arg;
	stack_t stack = {.ss_sp = (char *)arg + START_SIZE,
			 .ss_size = AGENT_SIGNAL_STACK - START_SIZE};
	void *ret;

	sigaltstack(&stack, NULL);
	if (atomic_load_explicit(&agent.live, memory_order_acquire))
		agent_claim_slot(false);
	pthread_cleanup_push(thread_over, start);
	ret = start->function(start->arg);
	pthread_cleanup_pop(1);
	return ret;
}

AGENT_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
				void *(*function)(void *), void *arg)
{
	struct thread_start *start;
	int ret;

	if (!real_pthread_create)
		interpose_start();
	if (!atomic_load_explicit(&agent.live, memory_order_acquire) || !agent_is_home())
		return real_pthread_create(thread, attributes, function, arg);
	start = agent_map(AGENT_SIGNAL_STACK);
	if (!start)
		return real_pthread_create(thread, attributes, function, arg);
	start->function = function;
	start->arg = arg;
	ret = real_pthread_create(thread, attributes, thread_main, start);
	if (ret)
		agent_unmap(start, AGENT_SIGNAL_STACK);
	return ret;
}

/* Every CPython calls this while it initialises its threads: the sign of life of an interpreter in
 * a library that was loaded after we were. */
AGENT_EXPORT int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t clock)
{
	if (!real_condattr_setclock)
		interpose_start();
	if (agent.dormant && !agent.ring && !agent.unfit && agent_is_home())
		agent_start(__builtin_return_address(0));
	return real_condattr_setclock(attributes, clock);
}

AGENT_EXPORT void _exit(int status)
{
	if (!real_exit_now)
		interpose_start();
	agent_end(false, true, status & 0xff);
	real_exit_now(status);
}

AGENT_EXPORT void _Exit(int status)
{
	if (!real_exit_now_c)
		interpose_start();
	agent_end(false, true, status & 0xff);
	real_exit_now_c(status);
}
