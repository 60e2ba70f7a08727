/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what a profiler needs of an ELF file: build id, load segments, symbols (.symtab, .dynsym
 * and a separate debug file), sections, and the extent of functions from .eh_frame. The file is
 * untrusted: everything is checked against its size. 64-bit little-endian files only.
 */
#ifndef SCPROF_ELF_FILE_H
#define SCPROF_ELF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/err.h"

struct elf_file;

struct elf_symbol {
	uint64_t start; /* virtual address */
	uint64_t size;
	const char *name; /* borrowed from the file */
};

/* Maps the file. err may be NULL. Free with elf_file_close, which accepts NULL. */
struct elf_file *elf_file_open(const char *path, struct err *err);
/* The same from memory, for tests and fuzzing: data is borrowed, no debug file is looked for. */
struct elf_file *elf_file_open_memory(const void *data, size_t size, struct err *err);
void elf_file_close(struct elf_file *elf);

/* The build id, borrowed; NULL and size 0 when there is none. */
const uint8_t *elf_file_build_id(const struct elf_file *elf, size_t *size);

/* Virtual address of a file offset, by the load segments. Returns 0 or -1. */
int elf_file_address(const struct elf_file *elf, uint64_t file_offset, uint64_t *address);

/* The function symbol that covers address; of several the tightest. Returns 0 or -1. The symbol
 * tables, the separate debug file's too, are read and sorted at the first call. */
int elf_file_symbol(struct elf_file *elf, uint64_t address, struct elf_symbol *symbol);
/* Function or object by its name. Returns 0 or -1. */
int elf_file_symbol_by_name(struct elf_file *elf, const char *name, struct elf_symbol *symbol);

/* Address and size of a section. Returns 0 or -1. */
int elf_file_section(const struct elf_file *elf, const char *name, uint64_t *address,
		     uint64_t *size);

/* From .eh_frame: the largest function, and the one that covers an address. Return 0 or -1. */
int elf_file_largest_function(const struct elf_file *elf, uint64_t *start, uint64_t *size);
int elf_file_function(const struct elf_file *elf, uint64_t address, uint64_t *start,
		      uint64_t *size);

#endif
