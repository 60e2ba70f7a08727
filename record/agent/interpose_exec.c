/* SPDX-License-Identifier: Apache-2.0
 *
 * Before the process becomes another program the sampler must have stopped signalling it: a signal
 * that is pending across exec would kill the new program. And the new program is given what it
 * takes to be recorded too, even when it gets a fresh environment. Runs in vfork children and
 * between fork and exec as well, so everything here lives on the stack.
 */
#include "record/agent/agent.h"
#include "record/agent/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define GATE_SPINS 20000

extern char **environ;

/* Not in every C library's headers. */
int pidfd_spawn(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);
int pidfd_spawnp(int *pidfd, const char *file, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);

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
	spawn_fn pidfd_spawn; /* NULL before glibc 2.39, like the next */
	spawn_fn pidfd_spawnp;
} real;

void interpose_exec_start(void)
{
	*(void **)&real.execve = agent_real("execve");
	*(void **)&real.execvpe = agent_real("execvpe");
	*(void **)&real.fexecve = agent_real("fexecve");
	*(void **)&real.execveat = agent_real("execveat");
	*(void **)&real.posix_spawn = agent_real("posix_spawn");
	*(void **)&real.posix_spawnp = agent_real("posix_spawnp");
	*(void **)&real.pidfd_spawn = agent_real("pidfd_spawn");
	*(void **)&real.pidfd_spawnp = agent_real("pidfd_spawnp");
}

static void make_sure(void)
{
	if (!real.execve)
		interpose_exec_start(); /* called before our constructor */
}

/* For good or until gate_open. Paired with signal_thread in sampler.c; bounded,
 * because a recorder that was killed in the middle of a send never clears `sending`. */
void exec_gate_close(void)
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

/* Declares `envp_out`, the environment to pass on, on the caller's stack. */
#define NEW_ENVIRONMENT(child, preload, envp_in, envp_out)                                        \
	size_t preload_size_, count_ = handover_size(envp_in, &preload_size_);                    \
	bool ours_ = agent.socket[0] && count_ < HANDOVER_MAX;                                    \
	char **space_ = __builtin_alloca(ours_ ? (count_ + 3) * sizeof(char *) : 1);              \
	char *preload_ = __builtin_alloca(ours_ ? preload_size_ : 1);                             \
	char *const *envp_out = (envp_in);                                                        \
	if (ours_) {                                                                              \
		handover_fill(envp_in, handover_wanted(child) && !preload_harms(preload), space_, \
			      preload_);                                                          \
		envp_out = space_;                                                                \
	}

static void before_exec(void)
{
	int saved_errno = errno;

	exec_gate_close();
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
	enum preload preload = handover_check(AT_FDCWD, path, false, false);
	NEW_ENVIRONMENT(false, preload, envp, env)
	make_sure();
	before_exec();
	return after_failed_exec(real.execve(path, argv, (char *const *)env));
}

AGENT_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	enum preload preload = handover_check(AT_FDCWD, file, true, false);
	NEW_ENVIRONMENT(false, preload, envp, env)
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
	enum preload preload = handover_check(fd, "", false, false);
	NEW_ENVIRONMENT(false, preload, envp, env)
	make_sure();
	before_exec();
	return after_failed_exec(real.fexecve(fd, argv, (char *const *)env));
}

AGENT_EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[],
			  int flags)
{
	enum preload preload = handover_check(dir, path, false, false);
	NEW_ENVIRONMENT(false, preload, envp, env)
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
	enum preload preload = handover_check(AT_FDCWD, path, false, true);
	NEW_ENVIRONMENT(true, preload, envp, env)
	make_sure();
	return real.posix_spawn(pid, path, actions, attributes, argv, (char *const *)env);
}

AGENT_EXPORT int posix_spawnp(pid_t *pid, const char *file,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attributes, char *const argv[],
			      char *const envp[])
{
	enum preload preload = handover_check(AT_FDCWD, file, true, true);
	NEW_ENVIRONMENT(true, preload, envp, env)
	make_sure();
	return real.posix_spawnp(pid, file, actions, attributes, argv, (char *const *)env);
}

AGENT_EXPORT int pidfd_spawn(int *pidfd, const char *path,
			     const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attributes, char *const argv[],
			     char *const envp[])
{
	enum preload preload = handover_check(AT_FDCWD, path, false, true);
	NEW_ENVIRONMENT(true, preload, envp, env)
	make_sure();
	if (!real.pidfd_spawn)
		return ENOSYS;
	return real.pidfd_spawn(pidfd, path, actions, attributes, argv, (char *const *)env);
}

AGENT_EXPORT int pidfd_spawnp(int *pidfd, const char *file,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attributes, char *const argv[],
			      char *const envp[])
{
	enum preload preload = handover_check(AT_FDCWD, file, true, true);
	NEW_ENVIRONMENT(true, preload, envp, env)
	make_sure();
	if (!real.pidfd_spawnp)
		return ENOSYS;
	return real.pidfd_spawnp(pidfd, file, actions, attributes, argv, (char *const *)env);
}
