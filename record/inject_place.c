/* SPDX-License-Identifier: Apache-2.0 */
#include "record/inject_place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "record/process_maps.h"
#include "record/ring.h"

#define DELETED " (deleted)"

/* Where others may write, as a rule. */
static const char *const folders[] = {"/tmp", "/dev/shm", "/var/tmp", "/run"};

/* Whether the process finds the same file under the same name. */
static bool sees(pid_t pid, const char *library)
{
	struct stat ours, theirs;
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, library);
	return stat(library, &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* A copy that is loaded since an earlier recording: its name is enough, the loader knows it. */
static bool find_loaded(struct inject_place *place, pid_t pid)
{
	struct process_maps maps;
	bool found = false;

	if (process_maps_read(&maps, pid, NULL) == 0) {
		for (size_t i = 0; i < maps.count && !found; i++) {
			size_t length = strlen(maps.at[i].path);
			size_t deleted = strlen(DELETED);

			for (size_t k = 0; k < sizeof(folders) / sizeof(folders[0]); k++) {
				snprintf(place->path, sizeof(place->path),
					 "%s/" RING_AGENT_NAME "-copy-", folders[k]);
				found |= strncmp(maps.at[i].path, place->path,
						 strlen(place->path)) == 0;
			}
			if (!found)
				continue;
			if (length > deleted &&
			    strcmp(maps.at[i].path + length - deleted, DELETED) == 0)
				length -= deleted;
			snprintf(place->path, sizeof(place->path), "%.*s", (int)length,
				 maps.at[i].path);
		}
	}
	process_maps_release(&maps);
	return found;
}

/* Opens a folder of the process's, whatever links its file system has. */
static int open_folder(pid_t pid, const char *folder)
{
	struct open_how how = {
		.flags = O_DIRECTORY | O_RDONLY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT,
	};
	char path[64];
	int root, fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	root = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (root < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, root, folder, &how, sizeof(how));
	close(root);
	return fd;
}

/* The name of the copy in its folder. */
static const char *name_of(const struct inject_place *place)
{
	return strrchr(place->path, '/') + 1;
}

static int copy_file(int from, int folder, const char *name)
{
	struct stat status;
	off_t at = 0;
	int to, ret = -1;

	to = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (to < 0)
		return -1;
	if (fchmod(to, 0755) || fstat(from, &status))
		goto out;
	while (at < status.st_size)
		if (sendfile(to, from, &at, (size_t)(status.st_size - at)) <= 0)
			goto out;
	ret = 0;
out:
	close(to);
	if (ret)
		unlinkat(folder, name, 0);
	return ret;
}

int inject_place_open(struct inject_place *place, pid_t pid, const char *library, struct err *err)
{
	uint64_t number;
	int from;

	place->folder = -1;
	snprintf(place->path, sizeof(place->path), "%s", library);
	if (sees(pid, library) || find_loaded(place, pid))
		return 0;
	from = open(library, O_RDONLY | O_CLOEXEC);
	if (from < 0 || getrandom(&number, sizeof(number), 0) != sizeof(number)) {
		if (from >= 0)
			close(from);
		return err_errno(err, "cannot use %s", library);
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && place->folder < 0; i++) {
		snprintf(place->path, sizeof(place->path), "%s/" RING_AGENT_NAME "-copy-%016llx.so",
			 folders[i], (unsigned long long)number);
		place->folder = open_folder(pid, folders[i]);
		if (place->folder >= 0 && copy_file(from, place->folder, name_of(place))) {
			close(place->folder);
			place->folder = -1;
		}
	}
	close(from);
	if (place->folder >= 0)
		return 0;
	return err_set(
		err, ERR_FAILED,
		"process %d does not see %s (a container?), and it cannot be copied to where "
		"it does; install scprof there, or leave out --inject",
		(int)pid, library);
}

void inject_place_close(struct inject_place *place)
{
	if (place->folder < 0)
		return;
	unlinkat(place->folder, name_of(place), 0);
	close(place->folder);
	place->folder = -1;
}
