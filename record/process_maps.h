/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of another process as /proc/PID/maps tells it, and the files behind it: reachable also
 * when they were deleted, replaced, or live in another mount namespace.
 */
#ifndef SCPROF_PROCESS_MAPS_H
#define SCPROF_PROCESS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "formats/elf_file.h"

struct process_map {
	uint64_t start, end;
	uint64_t file_offset; /* of start */
	bool readable, writable, executable;
	uint64_t device, inode; /* inode 0: no file */
	char *path;             /* "" when it has none; as the process sees it */
};

struct process_maps {
	pid_t pid;
	struct process_map *at; /* by address */
	size_t count;
};

/* Returns 0, or -1 with errno in err's text; a process without memory (a zombie, a thread of the
 * kernel) has 0 of them. Release in any case. */
int process_maps_read(struct process_maps *maps, pid_t pid, struct err *err);
void process_maps_release(struct process_maps *maps);

/* Opens the file behind a mapping, that very one or nothing: NULL when it cannot be reached. */
struct elf_file *process_maps_open(const struct process_maps *maps, const struct process_map *map);

/* Whether path, as we see it, is the file behind a mapping. */
bool process_maps_is_file(const struct process_map *map, const char *path);

#endif
