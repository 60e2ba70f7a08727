/* SPDX-License-Identifier: Apache-2.0 */
#include "record/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"
#include "record/ring.h"

#define AGENT_NAME "libscprof-agent.so"

char *launch_find_agent(struct err *err)
{
	static const char *const places[] = {"/" AGENT_NAME, "/../lib/scprof/" AGENT_NAME};
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
		buf_printf(&path, "%s%s", self, places[i]);
		real = realpath(buf_text(&path), NULL);
		if (real) {
			buf_release(&path);
			return real;
		}
	}
	buf_release(&path);
	err_set(err, ERR_FAILED,
		"cannot find " AGENT_NAME " in %s or %s/../lib/scprof; install scprof anew", self,
		self);
	return NULL;
}

/* In the child: our two variables, in front of whatever LD_PRELOAD holds already. */
static void set_environment(const struct launch *launch)
{
	const char *others = getenv("LD_PRELOAD");
	struct buf text = {0};

	buf_printf(&text, "%s%s%s", launch->agent, others && *others ? ":" : "",
		   others ? others : "");
	setenv("LD_PRELOAD", buf_text(&text), 1);
	buf_clear(&text);
	buf_printf(&text, "%s,%d", launch->socket, launch->signal);
	setenv(RING_ENVIRONMENT, buf_text(&text), 1);
	buf_release(&text);
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
		set_environment(launch);
		if (launch->stdout_fd >= 0)
			dup2(launch->stdout_fd, STDOUT_FILENO);
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
