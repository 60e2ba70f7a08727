/* SPDX-License-Identifier: Apache-2.0
 *
 * libc's own system() and popen() start the shell with a call that cannot be interposed, so it
 * would get the environment as it was cleaned.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record/agent/handover.h"

extern char **environ;

/* Instead of system(): the same thing with posix_spawn, SIGINT and SIGQUIT ignored and SIGCHLD
 * blocked while the shell runs (POSIX.1-2017). Counted, for calls in several threads. */
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

/* For popen() the shell itself is told, in front of the command: all else about the stream and its
 * process is libc's. Writes text within single quotes. Returns the end. */
static char *add_quoted(char *to, const char *text)
{
	*to++ = '\'';
	for (; *text; text++) {
		if (*text == '\'') {
			memcpy(to, "'\\''", 4);
			to += 4;
		} else {
			*to++ = *text;
		}
	}
	*to++ = '\'';
	return to;
}

static char *add(char *to, const char *text)
{
	size_t n = strlen(text);

	memcpy(to, text, n);
	return to + n;
}

/* NAME=VALUE, quoted. */
static char *add_setting(char *to, const char *entry)
{
	const char *value = strchr(entry, '=') + 1;

	memcpy(to, entry, (size_t)(value - entry));
	return add_quoted(to + (value - entry), value);
}

AGENT_EXPORT FILE *popen(const char *command, const char *mode)
{
	static FILE *(*real)(const char *, const char *);
	const char *others = getenv("LD_PRELOAD");
	size_t preload_size = sizeof(agent.preload) + (others ? strlen(others) : 0) + 2, size;
	char *text, *at, *preload;
	int saved_errno;
	FILE *stream;

	if (!real)
		*(void **)&real = agent_real("popen");
	if (!agent.socket[0] || !handover_wanted(true) || !command || getenv(RING_ENVIRONMENT))
		return real(command, mode);
	/* A quote becomes four characters. */
	size = strlen(command) + 5 * preload_size + 4 * sizeof(agent.environment) + 64;
	text = agent_map(size);
	if (!text)
		return real(command, mode);
	preload = text + size - preload_size;
	handover_preload(others ? others : "", true, preload);
	at = add(text, "export ");
	at = add_setting(at, preload);
	at = add(at, " ");
	at = add_setting(at, agent.environment);
	at = add(at, "; ");
	add(at, command);
	stream = real(text, mode);
	saved_errno = errno;
	agent_unmap(text, size);
	errno = saved_errno;
	return stream;
}
