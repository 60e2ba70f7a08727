/* SPDX-License-Identifier: Apache-2.0
 *
 * gnuplot as a child. Script, picture and complaints are temporary files, so nobody waits for a
 * full pipe.
 */
#include "analyze/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/io.h"

#include "formats/base/banned.h"

#define MAX_COMPLAINT 4096

extern char **environ;

/* The last line with something in it is the one that says what is wrong. */
static int fail(FILE *complaints, int status, struct err *err)
{
	char text[MAX_COMPLAINT + 1];
	size_t size;
	char *line;

	rewind(complaints);
	size = fread(text, 1, MAX_COMPLAINT, complaints);
	while (size > 0 && strchr(" \n\r\t^", text[size - 1]))
		size--;
	text[size] = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	if (WIFSIGNALED(status))
		return err_set(err, ERR_FAILED, "gnuplot ended by signal %d", WTERMSIG(status));
	return err_set(err, ERR_FAILED, "gnuplot failed%s%s", *line ? ": " : "", line);
}

/* Returns the wait status, or -1. */
static int run(FILE *script, FILE *picture, FILE *complaints, const char *title, struct err *err)
{
	/* -d: the user's own settings stay out of it. */
	const char *argv[] = {"gnuplot", "-d", "-c", "/dev/stdin", title, NULL};
	posix_spawn_file_actions_t files;
	pid_t child;
	int status = 0;
	int ret;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fileno(script), STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, fileno(picture), STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, fileno(complaints), STDERR_FILENO);
	ret = posix_spawnp(&child, argv[0], &files, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (ret == ENOENT)
		return err_set(err, ERR_FAILED,
			       "--plot needs gnuplot, which is not installed (Debian's package is "
			       "gnuplot-nox)");
	errno = ret;
	if (ret != 0)
		return err_errno(err, "cannot run gnuplot");
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return err_errno(err, "cannot wait for gnuplot");
	}
	return status;
}

FILE *gnuplot_run(const struct buf *script, const char *title, struct err *err)
{
	FILE *input = tmpfile();
	FILE *picture = tmpfile();
	FILE *complaints = tmpfile();
	int status = -1;

	if (!input || !picture || !complaints) {
		err_errno(err, "cannot make a temporary file");
		goto out;
	}
	if (io_write_all(fileno(input), script->data, script->size) != 0 ||
	    lseek(fileno(input), 0, SEEK_SET) < 0) {
		err_errno(err, "cannot write a temporary file");
		goto out;
	}
	status = run(input, picture, complaints, title, err);
	if (status > 0)
		status = fail(complaints, status, err);
out:
	if (input)
		fclose(input);
	if (complaints)
		fclose(complaints);
	if (status != 0 && picture) {
		fclose(picture);
		return NULL;
	}
	if (picture)
		rewind(picture);
	return picture;
}
