/* SPDX-License-Identifier: Apache-2.0 */
#include "record/live_view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"

#define ANALYZER "scprof-analyze"

/* The tool beside us. Caller frees with free; NULL with a sentence. */
static char *find_analyzer(struct err *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct buf path = {0};
	char *real;

	if (n <= 0) {
		err_errno(err, "cannot find my own program file");
		return NULL;
	}
	while (n > 0 && self[n - 1] != '/')
		n--;
	buf_printf(&path, "%.*s" ANALYZER, (int)n, self);
	real = realpath(buf_text(&path), NULL);
	if (!real)
		err_errno(err, "cannot find %s for --live", buf_text(&path));
	buf_release(&path);
	return real;
}

int live_view_check(struct err *err)
{
	char *analyzer;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(err, ERR_USAGE, "--live needs a terminal to draw on");
	analyzer = find_analyzer(err);
	free(analyzer);
	return analyzer ? 0 : -1;
}

int live_view_take_output(struct live_view *v, const char *trace, struct err *err)
{
	struct buf path = {0};

	buf_printf(&path, "%s.out", trace);
	v->out_path = (char *)(uintptr_t)buf_text(&path);
	v->out_fd = open(v->out_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (v->out_fd < 0)
		return err_errno(err, "cannot write '%s'", v->out_path);
	v->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return v->null_fd < 0 ? err_errno(err, "cannot open /dev/null") : 0;
}

/* What we say goes to memory until the view is closed. */
static int set_aside_stderr(struct live_view *v, struct err *err)
{
	int memory = memfd_create("scprof-messages", MFD_CLOEXEC);

	if (memory < 0)
		return err_errno(err, "cannot get memory for messages");
	v->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (v->stderr_fd < 0 || dup2(memory, STDERR_FILENO) < 0) {
		err_errno(err, "cannot set standard error aside");
		close(memory);
		return -1;
	}
	close(memory);
	return 0;
}

static void take_stderr_back(struct live_view *v)
{
	struct stat status;
	struct buf said = {0};

	if (fstat(STDERR_FILENO, &status) == 0 && status.st_size > 0) {
		size_t size = (size_t)status.st_size;
		ssize_t n = io_pread_all(STDERR_FILENO, buf_reserve(&said, size), size, 0);

		said.size = n > 0 ? (size_t)n : 0;
	}
	dup2(v->stderr_fd, STDERR_FILENO);
	close(v->stderr_fd);
	io_write_all(STDERR_FILENO, said.data, said.size);
	buf_release(&said);
}

int live_view_start(struct live_view *v, const char *trace, struct err *err)
{
	char *analyzer = find_analyzer(err);
	pid_t pid;

	if (!analyzer)
		return -1;
	pid = fork();
	if (pid == 0) {
		execl(analyzer, ANALYZER, "--follow", "--", trace, (char *)NULL);
		_exit(127);
	}
	free(analyzer);
	if (pid < 0)
		return err_errno(err, "cannot start a process");
	if (set_aside_stderr(v, err)) {
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		return -1;
	}
	v->pid = pid;
	return 0;
}

static bool end_view(struct live_view *v, int flags)
{
	pid_t pid;

	if (!v->pid)
		return false;
	do
		pid = waitpid(v->pid, NULL, flags);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return false;
	v->pid = 0;
	take_stderr_back(v);
	return true;
}

bool live_view_closed(struct live_view *v)
{
	return end_view(v, WNOHANG);
}

void live_view_wait(struct live_view *v)
{
	end_view(v, 0);
}

const char *live_view_output(const struct live_view *v)
{
	struct stat status;

	if (!v->out_path || fstat(v->out_fd, &status))
		return NULL;
	if (status.st_size > 0)
		return v->out_path;
	unlink(v->out_path);
	return NULL;
}

void live_view_release(struct live_view *v)
{
	live_view_wait(v);
	if (v->out_path) {
		if (v->out_fd >= 0)
			close(v->out_fd);
		if (v->null_fd > 0)
			close(v->null_fd);
	}
	free(v->out_path);
	*v = (struct live_view){0};
}
