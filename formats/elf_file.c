/* SPDX-License-Identifier: Apache-2.0
 *
 * ELF files, see elf_file.h: the file itself, its notes, segments and sections. Symbols are in
 * elf_symbol.c, function extents in elf_frame.c. Everything read from the file goes through
 * elf_range, which checks it against the file's size.
 */
#include "formats/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/xalloc.h"
#include "formats/elf_private.h"

#include "formats/base/banned.h"

const uint8_t *elf_range(const struct elf_file *elf, uint64_t offset, uint64_t size)
{
	if (offset > elf->size || size > elf->size - offset)
		return NULL;
	return elf->data + offset;
}

bool elf_section_at(const struct elf_file *elf, size_t index, Elf64_Shdr *section)
{
	const uint8_t *from;

	if (index >= elf->section_count)
		return false;
	from = elf_range(elf, elf->header.e_shoff + index * sizeof(*section), sizeof(*section));
	if (!from)
		return false;
	memcpy(section, from, sizeof(*section));
	return true;
}

static bool segment_at(const struct elf_file *elf, size_t index, Elf64_Phdr *segment)
{
	const uint8_t *from;

	if (index >= elf->header.e_phnum)
		return false;
	from = elf_range(elf, elf->header.e_phoff + index * sizeof(*segment), sizeof(*segment));
	if (!from)
		return false;
	memcpy(segment, from, sizeof(*segment));
	return true;
}

const uint8_t *elf_section_data(const struct elf_file *elf, const Elf64_Shdr *section)
{
	if (section->sh_type == SHT_NOBITS)
		return NULL;
	return elf_range(elf, section->sh_offset, section->sh_size);
}

const char *elf_string(const struct elf_file *elf, const Elf64_Shdr *table, uint64_t at)
{
	const uint8_t *data = elf_section_data(elf, table);

	if (!data || at >= table->sh_size || !memchr(data + at, '\0', table->sh_size - at))
		return NULL;
	return (const char *)data + at;
}

bool elf_find_section(const struct elf_file *elf, const char *name, Elf64_Shdr *section)
{
	Elf64_Shdr names;

	if (!elf_section_at(elf, elf->header.e_shstrndx, &names))
		return false;
	for (size_t i = 0; elf_section_at(elf, i, section); i++) {
		const char *text = elf_string(elf, &names, section->sh_name);

		if (text && !strcmp(text, name))
			return true;
	}
	return false;
}

/* Looks for the build id among the notes in [offset, offset + size) of the file. */
static bool find_build_id(struct elf_file *elf, uint64_t offset, uint64_t size)
{
	const uint8_t *at = elf_range(elf, offset, size);
	const uint8_t *end = at ? at + size : NULL;
	Elf64_Nhdr note;

	while (at && (size_t)(end - at) >= sizeof(note)) {
		uint64_t name_size;
		uint64_t text_size;

		memcpy(&note, at, sizeof(note));
		at += sizeof(note);
		name_size = ((uint64_t)note.n_namesz + 3) & ~(uint64_t)3;
		text_size = ((uint64_t)note.n_descsz + 3) & ~(uint64_t)3;
		if (name_size + text_size > (uint64_t)(end - at))
			break;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(at, "GNU", 4) &&
		    note.n_descsz) {
			elf->build_id = at + name_size;
			elf->build_id_size = note.n_descsz;
			return true;
		}
		at += name_size + text_size;
	}
	return false;
}

static void read_notes(struct elf_file *elf)
{
	Elf64_Phdr segment;
	Elf64_Shdr section;

	for (size_t i = 0; segment_at(elf, i, &segment); i++) {
		if (segment.p_type == PT_NOTE &&
		    find_build_id(elf, segment.p_offset, segment.p_filesz))
			return;
	}
	for (size_t i = 0; elf_section_at(elf, i, &section); i++) {
		if (section.sh_type == SHT_NOTE &&
		    find_build_id(elf, section.sh_offset, section.sh_size))
			return;
	}
}

struct elf_file *elf_file_open_memory(const void *data, size_t size, struct err *err)
{
	struct elf_file *elf = xcalloc(1, sizeof(*elf));
	Elf64_Shdr first;

	elf->data = data;
	elf->size = size;
	if (size < sizeof(elf->header) || memcmp(data, ELFMAG, SELFMAG) != 0) {
		err_set(err, ERR_FAILED, "not an ELF file");
		goto fail;
	}
	memcpy(&elf->header, data, sizeof(elf->header));
	if (elf->header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    elf->header.e_ident[EI_DATA] != ELFDATA2LSB) {
		err_set(err, ERR_FAILED, "not a 64-bit little-endian ELF file");
		goto fail;
	}
	if (elf->header.e_shentsize != sizeof(Elf64_Shdr))
		elf->header.e_shoff = 0;
	if (elf->header.e_phentsize != sizeof(Elf64_Phdr))
		elf->header.e_phnum = 0;
	/* Too large offsets would wrap around in the sums below. */
	if (elf->header.e_phoff > size)
		elf->header.e_phnum = 0;
	if (elf->header.e_shoff && elf->header.e_shoff < size) {
		elf->section_count = elf->header.e_shnum;
		if (!elf->section_count) { /* more than fit: the first section tells */
			elf->section_count = 1;
			if (elf_section_at(elf, 0, &first) && first.sh_size <= size / sizeof(first))
				elf->section_count = first.sh_size;
		}
	}
	read_notes(elf);
	return elf;
fail:
	free(elf);
	return NULL;
}

struct elf_file *elf_file_open(const char *path, struct err *err)
{
	struct elf_file *elf = NULL;
	void *data = MAP_FAILED;
	struct stat status;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) < 0) {
		err_errno(err, "cannot open '%s'", path);
		goto out;
	}
	if (!S_ISREG(status.st_mode) || status.st_size <= 0) {
		err_set(err, ERR_FAILED, "'%s' is not an ELF file", path);
		goto out;
	}
	data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED) {
		err_errno(err, "cannot map '%s'", path);
		goto out;
	}
	elf = elf_file_open_memory(data, (size_t)status.st_size, err);
	if (!elf) {
		err_wrap(err, "%s", path);
		munmap(data, (size_t)status.st_size);
		goto out;
	}
	elf->mapped = data;
	elf->path = xstrdup(path);
out:
	if (fd >= 0)
		close(fd);
	return elf;
}

void elf_file_close(struct elf_file *elf)
{
	if (!elf)
		return;
	elf_file_close(elf->debug);
	if (elf->mapped)
		munmap(elf->mapped, elf->size);
	free(elf->symbols);
	free(elf->path);
	free(elf);
}

const uint8_t *elf_file_build_id(const struct elf_file *elf, size_t *size)
{
	*size = elf->build_id_size;
	return elf->build_id;
}

int elf_file_address(const struct elf_file *elf, uint64_t file_offset, uint64_t *address)
{
	Elf64_Phdr segment;
	int ret = -1;

	/* Segments can share a page of the file: code wins. */
	for (size_t i = 0; segment_at(elf, i, &segment); i++) {
		if (segment.p_type != PT_LOAD || file_offset < segment.p_offset ||
		    file_offset - segment.p_offset >= segment.p_filesz)
			continue;
		if (ret < 0 || segment.p_flags & PF_X)
			*address = segment.p_vaddr + (file_offset - segment.p_offset);
		ret = 0;
		if (segment.p_flags & PF_X)
			break;
	}
	return ret;
}

int elf_file_section(const struct elf_file *elf, const char *name, uint64_t *address,
		     uint64_t *size)
{
	Elf64_Shdr section;

	if (!elf_find_section(elf, name, &section))
		return -1;
	*address = section.sh_addr;
	*size = section.sh_size;
	return 0;
}
