/* SPDX-License-Identifier: Apache-2.0
 *
 * What elf_file.c, elf_symbol.c and elf_frame.c share.
 */
#ifndef SCPROF_ELF_PRIVATE_H
#define SCPROF_ELF_PRIVATE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/elf_file.h"

struct elf_known_symbol {
	struct elf_symbol symbol;
	uint64_t reach; /* the largest end of this and all symbols before it */
	bool function;
	uint8_t binding;
};

struct elf_file {
	const uint8_t *data;
	size_t size;
	void *mapped; /* data when it is to be unmapped */
	char *path;   /* NULL: from memory */
	Elf64_Ehdr header;
	size_t section_count;
	const uint8_t *build_id;
	size_t build_id_size;
	struct elf_file *debug; /* separate debug file, opened with the symbols */
	bool symbols_read;
	struct elf_known_symbol *symbols; /* sorted by start */
	size_t symbol_count;
	size_t symbol_capacity;
};

/* size bytes of the file from offset on, or NULL when it does not have them. */
const uint8_t *elf_range(const struct elf_file *elf, uint64_t offset, uint64_t size);
bool elf_section_at(const struct elf_file *elf, size_t index, Elf64_Shdr *section);
bool elf_find_section(const struct elf_file *elf, const char *name, Elf64_Shdr *section);
/* A section's content, or NULL. */
const uint8_t *elf_section_data(const struct elf_file *elf, const Elf64_Shdr *section);
/* The string at an offset of a string table, or NULL. */
const char *elf_string(const struct elf_file *elf, const Elf64_Shdr *table, uint64_t at);

#endif
