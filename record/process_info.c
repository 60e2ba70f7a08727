/* SPDX-License-Identifier: Apache-2.0 */
#include "record/process_info.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#define COMMAND_MAX (256u << 10)

pid_t process_parent(pid_t pid)
{
	char path[64], text[512], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = io_read_all(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* PID (NAME) STATE PARENT: the name may hold anything, also a ')'. */
	at = strrchr(text, ')');
	return at && strlen(at) > 4 ? (pid_t)strtol(at + 4, NULL, 10) : 0;
}

static void read_command(struct process_info *info, pid_t pid)
{
	char path[64];
	size_t capacity = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	info->arguments = xmalloc(COMMAND_MAX + 1);
	n = io_read_all(fd, info->arguments, COMMAND_MAX);
	close(fd);
	if (n < 0)
		n = 0;
	info->arguments[n] = '\0';
	for (char *at = info->arguments; at < info->arguments + n; at += strlen(at) + 1) {
		info->command = xgrow(info->command, &capacity, info->command_count + 1,
				      sizeof(*info->command));
		info->command[info->command_count++] = (struct trace_text){at, strlen(at)};
	}
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

void process_info_release(struct process_info *info)
{
	free(info->command);
	free(info->arguments);
}
