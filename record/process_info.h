/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc tells about a process: its command line, executable, parent and the folder its Python
 * lives in.
 */
#ifndef SCPROF_PROCESS_INFO_H
#define SCPROF_PROCESS_INFO_H

#include <stdint.h>
#include <sys/types.h>

#include "formats/trace_event.h"

struct process_info {
	pid_t parent_pid;
	struct trace_text *command;
	size_t command_count;
	char executable[4096];
	char prefix[4096]; /* folder with lib/pythonX.Y, or "" */
	char *arguments;   /* backs command */
};

/* How a process ended that is not our child, as from wait(2); -1: not known. pid_fd: opened while
 * it lived. */
int process_status(pid_t pid, int pid_fd);

/* Whatever cannot be read is empty. Release with process_info_release. */
void process_info_read(struct process_info *info, pid_t pid, uint32_t python_hex);
/* Puts the process's own words there, where it has any: size bytes of words that end in 0, and the
 * path of its program. */
void process_info_complete(struct process_info *info, const char *words, size_t size,
			   const char *program, uint32_t python_hex);
void process_info_release(struct process_info *info);

pid_t process_parent(pid_t pid);
/* By a signal or a debugger. */
bool process_is_stopped(pid_t pid);
/* What it has in memory (RSS) right now, in bytes; 0 when that is not known. */
uint64_t process_rss_bytes(pid_t pid);

/* Opens the root folder of a process that has other mounts than we (a container): -1 when it has
 * the same, or may not be looked at. The caller closes it. */
int process_other_root(pid_t pid);

/* What a process is between two execs: when it began and how its memory was laid out. */
struct process_identity {
	unsigned long long start_time, code, stack, arguments;
};

/* Returns 0, or -1 when the process is gone; a zombie counts as gone. */
int process_identity_read(pid_t pid, struct process_identity *identity);

#endif
