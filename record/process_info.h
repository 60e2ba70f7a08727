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

/* Whatever cannot be read is empty. Release with process_info_release. */
void process_info_read(struct process_info *info, pid_t pid, uint32_t python_hex);
void process_info_release(struct process_info *info);

pid_t process_parent(pid_t pid);

#endif
