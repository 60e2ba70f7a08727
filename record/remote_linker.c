/* SPDX-License-Identifier: Apache-2.0 */
#include "record/remote_linker.h"

#include <elf.h>
#include <string.h>

#include "formats/base/banned.h"
#include "record/remote_memory.h"

#define SEGMENTS_MAX 64
#define ROOM_ALIGN 16u

static const char *base_name(const struct process_map *map)
{
	const char *slash = strrchr(map->path, '/');

	return slash ? slash + 1 : map->path;
}

static bool begins(const struct process_map *map, const char *prefix)
{
	return map->inode && strncmp(base_name(map), prefix, strlen(prefix)) == 0;
}

/* The address of a symbol of the file whose code is mapped there, 0 when it has none. */
static uint64_t symbol_in(const struct process_map *map, struct elf_file *elf, const char *name)
{
	struct elf_symbol symbol;
	uint64_t address;

	if (elf_file_address(elf, map->file_offset, &address) ||
	    elf_file_symbol_by_name(elf, name, &symbol))
		return 0;
	return map->start - address + symbol.start;
}

static void find_functions(struct remote_linker *linker, const struct process_maps *maps,
			   const struct process_map *map)
{
	const struct {
		uint64_t *to;
		const char *name;
	} wanted[] = {
		{&linker->errno_location, "__errno_location"},
		{&linker->dlopen, "dlopen"},
		{&linker->dlsym, "dlsym"},
		{&linker->dlerror, "dlerror"},
	};
	struct elf_file *elf = process_maps_open(maps, map);

	for (size_t i = 0; elf && i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!*wanted[i].to)
			*wanted[i].to = symbol_in(map, elf, wanted[i].name);
	elf_file_close(elf);
}

/* Where a module's code ends within its last page, 0 when that cannot be told. */
static uint64_t end_of_code(const struct process_maps *maps, const struct process_map *map)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	const struct process_map *first = NULL;
	uint64_t lowest = UINT64_MAX;
	Elf64_Ehdr header;

	for (size_t i = 0; i < maps->count && !first; i++)
		if (maps->at[i].inode == map->inode && maps->at[i].device == map->device &&
		    maps->at[i].file_offset == 0)
			first = &maps->at[i];
	if (!first || remote_read(maps->pid, first->start, &header, sizeof(header)) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phnum > SEGMENTS_MAX ||
	    remote_read(maps->pid, first->start + header.e_phoff, segments,
			header.e_phnum * sizeof(*segments)))
		return 0;
	for (int i = 0; i < header.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && segments[i].p_vaddr < lowest)
			lowest = segments[i].p_vaddr;
	for (int i = 0; i < header.e_phnum; i++) {
		uint64_t start = first->start + segments[i].p_vaddr - (lowest & ~UINT64_C(0xfff));
		uint64_t end = start + segments[i].p_memsz;

		if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_X &&
		    end > map->start && end <= map->end)
			return end;
	}
	return 0;
}

static uint64_t room_in(const struct process_maps *maps, const struct process_map *map, size_t room)
{
	uint64_t end = end_of_code(maps, map);

	end = (end + ROOM_ALIGN - 1) & ~(uint64_t)(ROOM_ALIGN - 1);
	return end && end <= map->end && map->end - end >= room ? end : 0;
}

int remote_linker_find(struct remote_linker *linker, const struct process_maps *maps, size_t room,
		       struct err *err)
{
	memset(linker, 0, sizeof(*linker));
	for (size_t i = 0; i < maps->count; i++) {
		const struct process_map *map = &maps->at[i];

		if (begins(map, "ld-musl") || begins(map, "libc.musl"))
			return err_set(err, ERR_FAILED,
				       "process %d runs on musl; scprof's library needs glibc, so "
				       "leave out --inject",
				       (int)maps->pid);
		if (map->executable && (begins(map, "libc.so") || begins(map, "libc-") ||
					begins(map, "libdl.so") || begins(map, "libdl-")))
			find_functions(linker, maps, map);
		if (map->executable && map->inode && !linker->room)
			linker->room = room_in(maps, map, room);
	}
	if (!linker->errno_location || !linker->dlopen || !linker->dlsym || !linker->dlerror)
		return err_set(err, ERR_FAILED,
			       "process %d cannot load a library (it is linked statically, or its "
			       "libc is not to be found); leave out --inject",
			       (int)maps->pid);
	if (!linker->room)
		return err_set(err, ERR_FAILED,
			       "process %d has no room for a few instructions; leave out --inject",
			       (int)maps->pid);
	return 0;
}
