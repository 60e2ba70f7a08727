/* SPDX-License-Identifier: Apache-2.0 */
#include "record/process_info.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#define COMMAND_MAX (256u << 10)

/* What /proc/PID/stat has from the state on, in `text`, or NULL: PID (NAME) STATE PARENT ..., where
 * the name may hold anything, also a ')'. */
static char *read_stat(pid_t pid, char *text, size_t size)
{
	char path[64], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = io_read_all(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at && at[1] == ' ' ? at + 2 : NULL;
}

pid_t process_parent(pid_t pid)
{
	char text[1024];
	const char *at = read_stat(pid, text, sizeof(text));

	return at && *at ? (pid_t)strtol(at + 1, NULL, 10) : 0;
}

uint64_t process_rss_bytes(pid_t pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* As in linux/pidfd.h, which older systems lack: from Linux 6.15 on. */
struct exit_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};
_Static_assert(sizeof(struct exit_info) == 64, "exit_info is not what the kernel takes");
#define EXIT_INFO_GET _IOWR(0xFF, 11, struct exit_info)
#define EXIT_INFO_CODE (UINT64_C(1) << 3)

bool process_is_stopped(pid_t pid)
{
	char text[1024];
	const char *at = read_stat(pid, text, sizeof(text));

	return at && (*at == 'T' || *at == 't');
}

/* As long as nobody has waited for it. 0 may also mean that we are not to know. */
static int zombie_status(pid_t pid)
{
	char text[1024];
	const char *at = read_stat(pid, text, sizeof(text));
	int status;

	if (!at || *at != 'Z')
		return -1;
	/* The last field. */
	at = strrchr(at, ' ');
	status = at ? (int)strtol(at + 1, NULL, 10) : 0;
	return status ? status : -1;
}

int process_status(pid_t pid, int pid_fd)
{
	struct exit_info info = {.mask = EXIT_INFO_CODE};
	int status = zombie_status(pid);

	if (status == -1 && pid_fd >= 0 && ioctl(pid_fd, EXIT_INFO_GET, &info) == 0 &&
	    info.mask & EXIT_INFO_CODE)
		status = info.exit_code;
	return status;
}

/* arguments: the words, each ends in 0; there is one 0 more. */
static void take_words(struct process_info *info, char *arguments, size_t size)
{
	size_t capacity = 0;

	info->arguments = arguments;
	for (char *at = arguments; at < arguments + size; at += strlen(at) + 1) {
		info->command = xgrow(info->command, &capacity, info->command_count + 1,
				      sizeof(*info->command));
		info->command[info->command_count++] = (struct trace_text){at, strlen(at)};
	}
}

static void read_command(struct process_info *info, pid_t pid)
{
	char path[64], *arguments;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	arguments = xmalloc(COMMAND_MAX + 1);
	n = io_read_all(fd, arguments, COMMAND_MAX);
	close(fd);
	if (n < 0)
		n = 0;
	arguments[n] = '\0';
	take_words(info, arguments, (size_t)n);
}

/* The interpreter's mapping (executable or libpython) lies in PREFIX/bin or PREFIX/lib. */
static void find_prefix(struct process_info *info, uint32_t python_hex)
{
	char folder[sizeof(info->prefix)], probe[sizeof(info->prefix) + 64];
	struct stat st;

	snprintf(folder, sizeof(folder), "%s", info->executable);
	while (folder[0]) {
		char *slash = strrchr(folder, '/');

		if (!slash)
			break;
		*slash = '\0';
		/* Free-threaded builds have a library folder of their own, with a t. */
		for (int t = 0; t < 2; t++) {
			snprintf(probe, sizeof(probe), "%s/lib/python%u.%u%s/os.py", folder,
				 python_hex >> 24, python_hex >> 16 & 0xff, t ? "t" : "");
			if (stat(probe, &st) == 0) {
				memcpy(info->prefix, folder, sizeof(info->prefix));
				return;
			}
		}
	}
}

void process_info_read(struct process_info *info, pid_t pid, uint32_t python_hex)
{
	char path[64];
	ssize_t n;

	memset(info, 0, sizeof(*info));
	info->parent_pid = process_parent(pid);
	read_command(info, pid);
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, info->executable, sizeof(info->executable) - 1);
	info->executable[n > 0 ? n : 0] = '\0';
	find_prefix(info, python_hex);
}

void process_info_complete(struct process_info *info, const char *words, size_t size,
			   const char *program, uint32_t python_hex)
{
	char *arguments;

	if (size) {
		arguments = xmalloc(size + 1);
		memcpy(arguments, words, size);
		arguments[size] = '\0';
		process_info_release(info);
		info->command = NULL;
		info->command_count = 0;
		take_words(info, arguments, size);
	}
	if (*program) {
		snprintf(info->executable, sizeof(info->executable), "%s", program);
		find_prefix(info, python_hex);
	}
}

void process_info_release(struct process_info *info)
{
	free(info->command);
	free(info->arguments);
}

int process_identity_read(pid_t pid, struct process_identity *identity)
{
	char text[1024], state;
	const char *at = read_stat(pid, text, sizeof(text));

	memset(identity, 0, sizeof(*identity));
	/* Fields 3, 22, 26, 28 and 48 of proc(5). */
	if (!at ||
	    sscanf(at,
		   "%c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		   "%llu %*s %*s %*s %llu %*s %llu %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		   "%*s %*s %*s %*s %*s %*s %*s %*s %llu",
		   &state, &identity->start_time, &identity->code, &identity->stack,
		   &identity->arguments) != 5)
		return -1;
	/* The code's address is 0 when the memory has been given back, shortly before it is a
	 * zombie. */
	return state == 'Z' || state == 'X' || identity->code == 0 ? -1 : 0;
}

int process_other_root(pid_t pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	if (stat("/proc/self/ns/mnt", &ours) || stat(path, &theirs) ||
	    (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}
