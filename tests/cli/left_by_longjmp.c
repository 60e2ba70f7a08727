/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler that leaves for good whatever it interrupts, if that is the agent: see
 * test_left_by_longjmp.py.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile int left;

static void leave(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *at = context;
	Dl_info module;

	(void)signo;
	(void)info;
#if defined(__x86_64__)
	if (dladdr((void *)at->uc_mcontext.gregs[REG_RIP], &module) &&
#else
	if (dladdr((void *)at->uc_mcontext.pc, &module) &&
#endif
	    strstr(module.dli_fname, "libscprof-agent")) {
		left++;
		siglongjmp(back, 1);
	}
}

/* Returns how often the agent was left, at least so often unless it takes too many turns. */
int be_rude(int times)
{
	struct sigaction action = {.sa_sigaction = leave, .sa_flags = SA_SIGINFO};
	struct itimerval often = {{0, 70}, {0, 70}}, never = {{0, 0}, {0, 0}};

	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &action, NULL);
	for (volatile int turn = 0; turn < 2000000 && left < times; turn++) {
		if (sigsetjmp(back, 1) == 0) {
			setitimer(ITIMER_REAL, &often, NULL);
			for (int i = 0; i < 20; i++)
				free(malloc(1000));
		}
		setitimer(ITIMER_REAL, &never, NULL);
	}
	signal(SIGALRM, SIG_IGN);
	return left;
}
