/* SPDX-License-Identifier: Apache-2.0
 *
 * Before the process becomes another program the sampler must have stopped signalling it: a signal
 * that is pending across exec would kill the new program. And the new program is given what it
 * takes to be recorded too, even when it gets a fresh environment. Runs in vfork children and
 * between fork and exec as well, so everything here lives on the stack.
 */
#include "record/agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define GATE_SPINS 20000
#define ENVIRONMENT_MAX (1u << 16) /* entries; larger ones pass unchanged */

extern char **environ;

typedef int (*execve_fn)(const char *, char *const[], char *const[]);
typedef int (*execveat_fn)(int, const char *, char *const[], char *const[], int);
typedef int (*fexecve_fn)(int, char *const[], char *const[]);
typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
			const posix_spawnattr_t *, char *const[], char *const[]);

/* Looked up at start: a vfork child must not run the dynamic linker. */
static struct {
	execve_fn execve;
	execve_fn execvpe;
	fexecve_fn fexecve;
	execveat_fn execveat; /* NULL before glibc 2.34 */
	spawn_fn posix_spawn;
	spawn_fn posix_spawnp;
} real;

void interpose_exec_start(void)
{
	*(void **)&real.execve = dlsym(RTLD_NEXT, "execve");
	*(void **)&real.execvpe = dlsym(RTLD_NEXT, "execvpe");
	*(void **)&real.fexecve = dlsym(RTLD_NEXT, "fexecve");
	*(void **)&real.execveat = dlsym(RTLD_NEXT, "execveat");
	*(void **)&real.posix_spawn = dlsym(RTLD_NEXT, "posix_spawn");
	*(void **)&real.posix_spawnp = dlsym(RTLD_NEXT, "posix_spawnp");
}

static void make_sure(void)
{
	if (!real.execve)
		interpose_exec_start(); /* called before our constructor */
}

/* Closes the gate for good or until gate_open. Paired with target_signal in sampler.c; bounded,
 * because a recorder that was killed in the middle of a send never clears `sending`. */
static void gate_close(void)
{
	struct ring_header *ring = agent.ring;

	if (!ring || !agent_is_home())
		return;
	atomic_store_explicit(&ring->closing, 1, memory_order_seq_cst);
	for (int i = 0; i < GATE_SPINS; i++) {
		if (!atomic_load_explicit(&ring->sending, memory_order_seq_cst))
			break;
		cpu_syscall(SYS_sched_yield);
	}
	/* What was sent before is delivered on the way back from this call. */
	cpu_syscall(SYS_getpid);
}

static void gate_open(void)
{
	if (!agent.ring || !agent_is_home())
		return;
	atomic_store_explicit(&agent.ring->state, RING_LIVE, memory_order_release);
	atomic_store_explicit(&agent.ring->closing, 0, memory_order_seq_cst);
}

static bool starts_with(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return false;
	return true;
}

static bool contains(const char *text, const char *part)
{
	for (; *text; text++)
		if (starts_with(text, part))
			return true;
	return false;
}

/* The new program's environment: what envp holds, with our two entries. `to` has room for all of
 * envp and three more, `preload` for the longest LD_PRELOAD entry (see environment_size). */
static void fill_environment(char *const envp[], char **to, char *preload)
{
	const char *others = NULL;
	size_t n = 0;

	for (; envp && *envp; envp++) {
		if (starts_with(*envp, RING_ENVIRONMENT "="))
			continue;
		if (starts_with(*envp, "LD_PRELOAD=")) {
			others = *envp + 11;
			continue;
		}
		to[n++] = *envp;
	}
	if (others && *others) {
		size_t own = strlen(agent.preload);

		if (contains(others, agent.agent_path)) {
			memcpy(preload, "LD_PRELOAD=", 11);
			memcpy(preload + 11, others, strlen(others) + 1);
		} else {
			memcpy(preload, agent.preload, own);
			preload[own] = ':';
			memcpy(preload + own + 1, others, strlen(others) + 1);
		}
		to[n++] = preload;
	} else {
		to[n++] = agent.preload;
	}
	to[n++] = agent.environment;
	to[n] = NULL;
}

static size_t environment_size(char *const envp[], size_t *preload_size)
{
	size_t n = 0;

	*preload_size = 1;
	for (; envp && envp[n]; n++)
		if (starts_with(envp[n], "LD_PRELOAD="))
			*preload_size = strlen(envp[n]) + sizeof(agent.preload) + 2;
	return n;
}

/* Declares `envp_out`, the environment to pass on, on the caller's stack. */
#define NEW_ENVIRONMENT(envp_in, envp_out)                                               \
	size_t preload_size_, count_ = environment_size(envp_in, &preload_size_);        \
	bool recorded_ = agent.socket[0] && count_ < ENVIRONMENT_MAX;                    \
	char **space_ = __builtin_alloca(recorded_ ? (count_ + 3) * sizeof(char *) : 1); \
	char *preload_ = __builtin_alloca(recorded_ ? preload_size_ : 1);                \
	char *const *envp_out = (envp_in);                                               \
	if (recorded_) {                                                                 \
		fill_environment(envp_in, space_, preload_);                             \
		envp_out = space_;                                                       \
	}

static void before_exec(void)
{
	int saved_errno = errno;

	gate_close();
	agent_end(true, false, 0);
	errno = saved_errno;
}

static int after_failed_exec(int ret)
{
	int saved_errno = errno;

	gate_open();
	errno = saved_errno;
	return ret;
}

AGENT_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	before_exec();
	return after_failed_exec(real.execve(path, argv, (char *const *)env));
}

AGENT_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	before_exec();
	return after_failed_exec(real.execvpe(file, argv, (char *const *)env));
}

AGENT_EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

AGENT_EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

AGENT_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	before_exec();
	return after_failed_exec(real.fexecve(fd, argv, (char *const *)env));
}

AGENT_EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[],
			  int flags)
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	if (!real.execveat) {
		errno = ENOSYS;
		return -1;
	}
	before_exec();
	return after_failed_exec(real.execveat(dir, path, argv, (char *const *)env, flags));
}

/* Turns the arguments of the execl family into an array on the stack. */
#define COLLECT_ARGUMENTS(first, argv_out, list)                          \
	va_list list;                                                     \
	size_t args_ = 1;                                                 \
	va_start(list, first);                                            \
	while (va_arg(list, char *))                                      \
		args_++;                                                  \
	va_end(list);                                                     \
	char **argv_out = __builtin_alloca((args_ + 1) * sizeof(char *)); \
	argv_out[0] = (char *)(uintptr_t)(first);                         \
	va_start(list, first);                                            \
	for (size_t i_ = 1; i_ <= args_; i_++)                            \
	argv_out[i_] = va_arg(list, char *)

AGENT_EXPORT int execl(const char *path, const char *arg, ...)
{
	COLLECT_ARGUMENTS(arg, argv, list);
	va_end(list);
	return execve(path, argv, environ);
}

AGENT_EXPORT int execlp(const char *file, const char *arg, ...)
{
	COLLECT_ARGUMENTS(arg, argv, list);
	va_end(list);
	return execvpe(file, argv, environ);
}

AGENT_EXPORT int execle(const char *path, const char *arg, ...)
{
	char *const *envp;

	COLLECT_ARGUMENTS(arg, argv, list);
	envp = va_arg(list, char *const *);
	va_end(list);
	return execve(path, argv, envp);
}

AGENT_EXPORT int posix_spawn(pid_t *pid, const char *path,
			     const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attributes, char *const argv[],
			     char *const envp[])
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	return real.posix_spawn(pid, path, actions, attributes, argv, (char *const *)env);
}

AGENT_EXPORT int posix_spawnp(pid_t *pid, const char *file,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attributes, char *const argv[],
			      char *const envp[])
{
	NEW_ENVIRONMENT(envp, env)
	make_sure();
	return real.posix_spawnp(pid, file, actions, attributes, argv, (char *const *)env);
}

/* libc's own system() starts the shell with a call that cannot be interposed, so it would get the
 * cleaned environment. The same thing with posix_spawn: SIGINT and SIGQUIT ignored and SIGCHLD
 * blocked while the shell runs (POSIX.1-2017, system). Counted, for calls in several threads. */
static pthread_mutex_t system_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned system_calls;
static struct sigaction system_int, system_quit;

AGENT_EXPORT int system(const char *command)
{
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			(char *)(uintptr_t)command, NULL};
	struct sigaction ignore, old_int, old_quit;
	sigset_t block, old_mask, defaults;
	posix_spawnattr_t attributes;
	int status = -1, ret;
	pid_t pid;

	if (!command)
		return 1;
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	pthread_mutex_lock(&system_lock);
	if (system_calls++ == 0) {
		sigaction(SIGINT, &ignore, &system_int);
		sigaction(SIGQUIT, &ignore, &system_quit);
	}
	old_int = system_int;
	old_quit = system_quit;
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &block, &old_mask);
	pthread_mutex_unlock(&system_lock);

	sigemptyset(&defaults);
	if (old_int.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGINT);
	if (old_quit.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGQUIT);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &old_mask);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	ret = posix_spawn(&pid, "/bin/sh", NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	if (ret == 0) {
		while ((ret = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
			;
		if (ret < 0)
			status = -1;
	} else {
		status = 127 << 8;
	}

	ret = errno;
	pthread_mutex_lock(&system_lock);
	if (--system_calls == 0) {
		sigaction(SIGINT, &system_int, NULL);
		sigaction(SIGQUIT, &system_quit, NULL);
	}
	pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
	pthread_mutex_unlock(&system_lock);
	errno = ret;
	return status;
}
