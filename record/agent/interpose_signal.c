/* SPDX-License-Identifier: Apache-2.0
 *
 * One real-time signal is ours. A program that sets an action for it must not lose its own signals
 * nor ours: its action is kept here and gets every signal that scprof-record did not send.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

typedef int (*sigaction_fn)(int, const struct sigaction *, struct sigaction *);
typedef void (*handler_fn)(int);
typedef handler_fn (*signal_fn)(int, handler_fn);

static sigaction_fn real_sigaction;
static signal_fn real_signal;
static struct sigaction program_action; /* SIG_DFL until the program sets one */
static _Atomic bool installed;

static void look_up(void)
{
	*(void **)&real_sigaction = agent_real("sigaction");
	*(void **)&real_signal = agent_real("signal");
}

int signal_install(int signo)
{
	struct sigaction action;

	if (!real_sigaction)
		look_up();
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = capture_handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
	memset(&action.sa_mask, 0xff, sizeof(action.sa_mask));
	if (real_sigaction(signo, &action, &program_action))
		return -1;
	atomic_store_explicit(&installed, true, memory_order_release);
	return 0;
}

void signal_uninstall(void)
{
	struct sigaction ignore;

	if (!atomic_exchange_explicit(&installed, false, memory_order_acq_rel))
		return;
	/* The kernel drops what is pending for a signal that is ignored, also where it is blocked:
	 * by default it would end the process. */
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	real_sigaction(agent.signal, &ignore, NULL);
	real_sigaction(agent.signal, &program_action, NULL);
}

AGENT_EXPORT int sigaction(int signo, const struct sigaction *action, struct sigaction *old)
{
	if (!real_sigaction)
		look_up();
	/* The first thing that an interpreter does when it takes itself down. */
	agent_watch_end();
	if (signo != agent.signal || !atomic_load_explicit(&installed, memory_order_acquire))
		return real_sigaction(signo, action, old);
	if (old)
		*old = program_action;
	if (action)
		program_action = *action;
	return 0;
}

AGENT_EXPORT handler_fn signal(int signo, handler_fn handler)
{
	handler_fn old;

	if (!real_signal)
		look_up();
	if (signo != agent.signal || !atomic_load_explicit(&installed, memory_order_acquire))
		return real_signal(signo, handler);
	old = program_action.sa_handler;
	memset(&program_action, 0, sizeof(program_action));
	program_action.sa_handler = handler;
	program_action.sa_flags = SA_RESTART;
	return old;
}

void signal_forward(int signo, siginfo_t *info, void *context)
{
	struct sigaction action = program_action;

	if (action.sa_flags & SA_SIGINFO) {
		action.sa_sigaction(signo, info, context);
	} else if (action.sa_handler == SIG_DFL) {
		/* What the signal would have done without us: end the process. */
		struct sigaction none;

		memset(&none, 0, sizeof(none));
		none.sa_handler = SIG_DFL;
		agent_end(false, false, 0);
		real_sigaction(signo, &none, NULL);
		cpu_syscall(SYS_tgkill, agent.pid, cpu_syscall(SYS_gettid), signo);
	} else if (action.sa_handler != SIG_IGN) {
		action.sa_handler(signo);
	}
}
