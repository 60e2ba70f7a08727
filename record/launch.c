/* SPDX-License-Identifier: Apache-2.0 */
#include "record/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"
#include "record/ring.h"

char *launch_find_agent(bool memory, bool copies, struct err *err)
{
	static const char *const names[2][2] = {
		{RING_AGENT_NAME ".so", RING_AGENT_NAME "-copies.so"},
		{RING_AGENT_NAME "-memory.so", RING_AGENT_NAME "-memory-copies.so"},
	};
	static const char *const places[] = {"/", "/../lib/scprof/"};
	const char *name = names[memory][copies];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct buf path = {0};
	char *slash;

	if (n <= 0) {
		err_errno(err, "cannot find my own program file");
		return NULL;
	}
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char *real;

		buf_clear(&path);
		buf_printf(&path, "%s%s%s", self, places[i], name);
		real = realpath(buf_text(&path), NULL);
		if (real) {
			buf_release(&path);
			return real;
		}
	}
	buf_release(&path);
	err_set(err, ERR_FAILED, "cannot find %s in %s or %s/../lib/scprof; install scprof anew",
		name, self, self);
	return NULL;
}

/* Appends what LD_PRELOAD holds already, but no other agent: we may be recorded ourselves. */
static void add_preloads(struct buf *text, const char *others)
{
	size_t length;

	for (; *others; others += length) {
		const char *slash;

		length = strspn(others, ": ");
		if (length)
			continue;
		length = strcspn(others, ": ");
		slash = memrchr(others, '/', length);
		if (strncmp(slash ? slash + 1 : others, RING_AGENT_NAME, strlen(RING_AGENT_NAME)))
			buf_printf(text, ":%.*s", (int)length, others);
	}
}

void launch_write_setting(const struct launch *launch, pid_t command, struct buf *text)
{
	buf_printf(text, "%s,%d,%" PRIu64 ",%" PRIu64 ",%d,%d,%s", launch->socket, launch->signal,
		   launch->memory_rate, launch->copy_rate, launch->paused, (int)command,
		   launch->children);
}

/* In the child: our two variables. */
static void set_environment(const struct launch *launch)
{
	const char *others = getenv("LD_PRELOAD");
	struct buf text = {0};

	buf_printf(&text, "%s", launch->agent);
	if (others)
		add_preloads(&text, others);
	setenv("LD_PRELOAD", buf_text(&text), 1);
	buf_clear(&text);
	launch_write_setting(launch, getpid(), &text);
	setenv(RING_ENVIRONMENT, buf_text(&text), 1);
	buf_release(&text);
}

enum preload launch_look(const char *program)
{
	const char *at = getenv("PATH");
	enum preload preload = PRELOAD_WORKS;
	struct buf path = {0};

	if (strchr(program, '/'))
		return preload_check(AT_FDCWD, program);
	for (at = at ? at : "/bin:/usr/bin"; at;
	     at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
		struct stat st;

		buf_clear(&path);
		buf_printf(&path, "%.*s%s%s", (int)strcspn(at, ":"), at, *at == ':' ? "" : "/",
			   program);
		if (stat(buf_text(&path), &st) == 0 && S_ISREG(st.st_mode) &&
		    access(buf_text(&path), X_OK) == 0) {
			preload = preload_check(AT_FDCWD, buf_text(&path));
			break;
		}
	}
	buf_release(&path);
	return preload;
}

pid_t launch_command(const struct launch *launch, int *status, struct err *err)
{
	int failure[2], child_errno = 0;
	sigset_t all, old;
	pid_t pid;

	*status = 1;
	if (pipe2(failure, O_CLOEXEC)) {
		err_errno(err, "cannot make a pipe");
		return -1;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err_errno(err, "cannot start a process");
		goto out;
	}
	if (pid == 0) {
		if (!preload_harms(launch->preload))
			set_environment(launch);
		for (int i = 0; i < 3; i++) {
			if (launch->fds[i] >= 0)
				dup2(launch->fds[i], i);
		}
		sigprocmask(SIG_SETMASK, &old, NULL);
		execvp(launch->argv[0], launch->argv);
		child_errno = errno;
		io_write_all(failure[1], &child_errno, sizeof(child_errno));
		_exit(127);
	}
	close(failure[1]);
	failure[1] = -1;
	/* Nothing to read: exec closed the other end. */
	if (io_read_all(failure[0], &child_errno, sizeof(child_errno)) == sizeof(child_errno)) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		pid = -1;
		*status = child_errno == ENOENT ? 127 : 126;
		if (child_errno == ENOENT)
			err_set(err, ERR_FAILED, "cannot run '%s': no such program; is it in PATH?",
				launch->argv[0]);
		else
			err_set(err, ERR_FAILED, "cannot run '%s': %s", launch->argv[0],
				strerror(child_errno));
	}
out:
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(failure[0]);
	if (failure[1] >= 0)
		close(failure[1]);
	return pid;
}
