/* SPDX-License-Identifier: Apache-2.0
 *
 * The new file has no name while it is written where the file system can do that, so that nothing
 * is left even of a killed conversion; elsewhere it has a temporary one beside its target.
 */
#include "convert/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define BUFFER_BYTES (1 << 18)

static char *folder_of(const char *path)
{
	char *copy = xstrdup(path);
	char *folder = xstrdup(dirname(copy));

	free(copy);
	return folder;
}

static char *temporary_name(const char *path)
{
	struct buf name = {0};

	buf_printf(&name, "%s.XXXXXX", path);
	return (char *)buf_text(&name);
}

/* The permissions a file made by open(path, O_CREAT, 0666) would have, or those of the file that is
 * replaced. */
static mode_t file_mode(const struct stat *old)
{
	mode_t mask;

	if (old)
		return old->st_mode & 07777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static int open_new(struct export_file *f, const struct stat *old, struct err *err)
{
	char *folder = folder_of(f->path);
	int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		f->temporary = temporary_name(f->path);
		fd = mkostemp(f->temporary, O_CLOEXEC);
		if (fd < 0) {
			free(f->temporary);
			f->temporary = NULL;
		}
	}
	if (fd < 0)
		err_errno(err, "cannot create a file in the folder %s", folder);
	else
		(void)!fchmod(fd, file_mode(old)); /* some file systems have no modes */
	free(folder);
	return fd;
}

int export_file_open(struct export_file *f, const char *path, struct err *err)
{
	struct stat old;
	bool exists;
	int fd;

	*f = (struct export_file){0};
	if (strcmp(path, "-") == 0) {
		f->name = xstrdup("standard output");
		f->to = stdout;
		return 0;
	}
	f->name = xstrdup(path);
	exists = stat(path, &old) == 0;
	if (exists && !S_ISREG(old.st_mode)) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			err_errno(err, "cannot write %s", path);
	} else {
		/* A link stays a link. */
		f->path = exists ? realpath(path, NULL) : NULL;
		if (!f->path)
			f->path = xstrdup(path);
		fd = open_new(f, exists ? &old : NULL, err);
	}
	if (fd < 0)
		goto fail;
	f->to = fdopen(fd, "w");
	if (!f->to) {
		err_errno(err, "cannot write %s", path);
		close(fd);
		goto fail;
	}
	setvbuf(f->to, NULL, _IOFBF, BUFFER_BYTES);
	return 0;
fail:
	export_file_release(f);
	return -1;
}

/* Gives a file without a name a temporary one: only rename can replace a file. */
static int link_temporary(struct export_file *f, struct err *err)
{
	struct buf self = {0};
	char *name = temporary_name(f->path);
	int placeholder = mkostemp(name, O_CLOEXEC);
	int ret = -1;

	buf_printf(&self, "/proc/self/fd/%d", fileno(f->to));
	if (placeholder < 0) {
		err_errno(err, "cannot create %s", name);
		goto out;
	}
	close(placeholder);
	unlink(name);
	if (linkat(AT_FDCWD, buf_text(&self), AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0) {
		err_errno(err, "cannot create %s", name);
		goto out;
	}
	f->temporary = name;
	name = NULL;
	ret = 0;
out:
	free(name);
	buf_release(&self);
	return ret;
}

int export_file_finish(struct export_file *f, struct err *err)
{
	const char *name = f->name;
	int ret = -1;

	errno = 0;
	if (fflush(f->to) != 0 || ferror(f->to)) {
		if (errno == 0)
			errno = EIO; /* it failed earlier, who knows why */
		err_errno(err, "cannot write %s", name);
		goto out;
	}
	if (!f->path) {
		ret = 0;
		goto out;
	}
	if (!f->temporary && link_temporary(f, err) < 0)
		goto out;
	if (rename(f->temporary, f->path) < 0) {
		err_errno(err, "cannot replace %s", name);
		goto out;
	}
	free(f->temporary);
	f->temporary = NULL;
	ret = 0;
out:
	export_file_release(f);
	return ret;
}

void export_file_release(struct export_file *f)
{
	if (f->to && f->to != stdout)
		fclose(f->to);
	if (f->temporary)
		unlink(f->temporary);
	free(f->temporary);
	free(f->path);
	free(f->name);
	*f = (struct export_file){0};
}
