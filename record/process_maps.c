/* SPDX-License-Identifier: Apache-2.0 */
#include "record/process_maps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

#define MAPS_MAX 100000

int process_maps_read(struct process_maps *maps, pid_t pid, struct err *err)
{
	size_t capacity = 0, text_size = 0;
	char path[64], *text = NULL;
	FILE *f;

	memset(maps, 0, sizeof(*maps));
	maps->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return err_errno(err, "cannot read %s", path);
	while (getline(&text, &text_size, f) > 0 && maps->count < MAPS_MAX) {
		unsigned long long start, end, offset, inode;
		unsigned major_number, minor_number;
		char permissions[8];
		int at = 0;

		if (sscanf(text, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, permissions,
			   &offset, &major_number, &minor_number, &inode, &at) < 7)
			continue;
		text[strcspn(text, "\n")] = '\0';
		maps->at = xgrow(maps->at, &capacity, maps->count + 1, sizeof(*maps->at));
		maps->at[maps->count++] = (struct process_map){
			.start = start,
			.end = end,
			.file_offset = offset,
			.readable = permissions[0] == 'r',
			.writable = permissions[1] == 'w',
			.executable = permissions[2] == 'x',
			.device = makedev(major_number, minor_number),
			.inode = inode,
			.path = xstrdup(at ? text + at : ""),
		};
	}
	fclose(f);
	free(text);
	return 0;
}

void process_maps_release(struct process_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		free(maps->at[i].path);
	free(maps->at);
	memset(maps, 0, sizeof(*maps));
}

bool process_maps_is_file(const struct process_map *map, const char *path)
{
	struct stat status;

	/* Some file systems show another device here than in maps. */
	return stat(path, &status) == 0 && (uint64_t)status.st_ino == map->inode;
}

struct elf_file *process_maps_open(const struct process_maps *maps, const struct process_map *map)
{
	struct elf_file *elf;
	char path[4200];

	if (!map->inode)
		return NULL;
	/* For the privileged the kernel hands out the file itself. */
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)maps->pid,
		 (unsigned long long)map->start, (unsigned long long)map->end);
	elf = elf_file_open(path, NULL);
	if (elf)
		return elf;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)maps->pid);
	if (process_maps_is_file(map, path))
		return elf_file_open(path, NULL);
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)maps->pid, map->path);
	if (process_maps_is_file(map, path))
		return elf_file_open(path, NULL);
	return NULL;
}
