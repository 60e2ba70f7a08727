/* SPDX-License-Identifier: Apache-2.0 */
#include "record/module_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/base/banned.h"
#include "formats/base/err.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "formats/elf_file.h"
#include "record/process_maps.h"
#include "record/ring.h"

#define REFRESH_NS 50000000u

struct range {
	uint64_t start, end;
	uint64_t file_offset; /* of start */
	uint32_t module;
	uint64_t bias; /* pc - bias is the ELF virtual address */
};

struct module_map {
	struct trace_writer *writer;
	struct module_files *files;
	pid_t pid;
	uint64_t runtime;
	uint64_t read_ns;
	struct range *ranges; /* sorted by address, executable only */
	size_t count;
	size_t last; /* the range that held the last pc */
	struct map pcs;
};

struct module_map *module_map_new(struct trace_writer *writer, struct module_files *files,
				  pid_t pid, uint64_t runtime)
{
	struct module_map *m = xcalloc(1, sizeof(*m));

	m->writer = writer;
	m->files = files;
	m->pid = pid;
	m->runtime = runtime;
	module_map_refresh(m);
	return m;
}

void module_map_free(struct module_map *m)
{
	if (!m)
		return;
	map_release(&m->pcs);
	free(m->ranges);
	free(m);
}

static bool is_system_library(const char *path)
{
	static const char *const names[] = {
		"libc.so",  "libc-2.",  "libm.so",  "libm-2.", "libpthread", "libdl.so", "libdl-2.",
		"librt.so", "librt-2.", "ld-linux", "ld-2.",   "ld-musl",    "libc.musl"};
	const char *name = strrchr(path, '/');

	if (strncmp(path, "[vdso]", 6) == 0 || strncmp(path, "[vsyscall]", 10) == 0)
		return true;
	name = name ? name + 1 : path;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The trace's module for a mapping; *bias from the program headers when it is a file. */
static uint32_t find_module(struct module_map *m, const struct process_maps *maps,
			    const struct process_map *map, const char *interpreter, uint64_t *bias)
{
	const char *path = map->path;
	struct trace_module module = {.path = {path, strlen(path)}};
	struct elf_file *elf = process_maps_open(maps, map);
	uint64_t address;
	uint32_t id;

	*bias = map->start - map->file_offset;
	if (!elf && path[0] == '/')
		elf = elf_file_open(path, NULL);
	if (elf) {
		if (elf_file_address(elf, map->file_offset, &address) == 0)
			*bias = map->start - address;
		module.build_id = elf_file_build_id(elf, &module.build_id_size);
	}
	if (path[0] == '\0' || strncmp(path, "//anon", 6) == 0 || strncmp(path, "/memfd:", 7) == 0)
		module.role = TRACE_MODULE_ANONYMOUS;
	else if (strcmp(path, interpreter) == 0)
		module.role = TRACE_MODULE_INTERPRETER;
	else if (strstr(path, "libscprof-agent"))
		module.role = TRACE_MODULE_AGENT;
	else if (is_system_library(path))
		module.role = TRACE_MODULE_SYSTEM;
	id = trace_writer_module(m->writer, &module);
	/* What others see under that name may be another file, or none. */
	if (elf && !process_maps_is_file(map, path))
		module_files_keep(m->files, id, elf);
	else
		elf_file_close(elf);
	return id;
}

/* The file that holds this address. A module's zeroed data, where 3.9 and 3.10 keep their runtime,
 * has no name: it follows the part that has. */
static const char *path_at(const struct process_maps *maps, uint64_t address)
{
	const char *before = "";

	for (size_t i = 0; i < maps->count; i++) {
		const struct process_map *map = &maps->at[i];

		if (map->path[0] == '/')
			before = map->path;
		else if (!i || map->start != maps->at[i - 1].end)
			before = "";
		if (address >= map->start && address < map->end)
			return before;
	}
	return "";
}

void module_map_refresh(struct module_map *m)
{
	struct process_maps maps;
	const char *interpreter;
	struct timespec t;
	struct range *ranges;
	size_t count = 0;
	struct err err;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (m->read_ns && now - m->read_ns < REFRESH_NS)
		return;
	m->read_ns = now;
	if (process_maps_read(&maps, m->pid, &err) || !maps.count) {
		process_maps_release(&maps);
		return;
	}
	interpreter = path_at(&maps, m->runtime);
	ranges = xcalloc(maps.count, sizeof(*ranges));
	for (size_t i = 0; i < maps.count; i++) {
		const struct process_map *map = &maps.at[i];
		struct range *range = &ranges[count];
		bool known = false;

		if (!map->executable)
			continue;
		*range = (struct range){map->start, map->end, map->file_offset, 0, 0};
		/* Mappings that did not change keep what is known of them. */
		for (size_t k = 0; k < m->count && !known; k++) {
			known = m->ranges[k].start == range->start &&
				m->ranges[k].end == range->end &&
				m->ranges[k].file_offset == range->file_offset;
			if (known)
				*range = m->ranges[k];
		}
		if (!known)
			range->module = find_module(m, &maps, map, interpreter, &range->bias);
		count++;
	}
	free(m->ranges);
	m->ranges = ranges;
	m->count = count;
	m->last = 0;
	process_maps_release(&maps);
}

static const struct range *find_range(struct module_map *m, uint64_t pc)
{
	size_t low = 0, high = m->count;

	if (m->last < m->count && pc >= m->ranges[m->last].start && pc < m->ranges[m->last].end)
		return &m->ranges[m->last];
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pc < m->ranges[middle].start)
			high = middle;
		else if (pc >= m->ranges[middle].end)
			low = middle + 1;
		else {
			m->last = middle;
			return &m->ranges[middle];
		}
	}
	return NULL;
}

uint32_t module_map_pc(struct module_map *m, uint64_t pc)
{
	const struct range *range = find_range(m, pc);

	if (!range) {
		module_map_refresh(m);
		range = find_range(m, pc);
	}
	if (!range)
		return 0;
	return trace_writer_pc(m->writer, range->module, pc - range->bias);
}
