/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbols of an ELF file and of its separate debug file, which is looked for where distributions
 * put it: by build id, or by the name in .gnu_debuglink.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"
#include "formats/elf_private.h"

#include "formats/base/banned.h"

#define DEBUG_FOLDER "/usr/lib/debug"

/* The CRC of .gnu_debuglink: that of zlib and Ethernet. */
static uint32_t crc32_of(const uint8_t *data, size_t size)
{
	uint32_t table[256];
	uint32_t crc = 0xffffffff;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++)
			value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
		table[i] = value;
	}
	for (size_t i = 0; i < size; i++)
		crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

static struct elf_file *open_by_build_id(const struct elf_file *elf)
{
	char path[PATH_MAX];
	size_t used;

	if (elf->build_id_size < 2 || elf->build_id_size > 64)
		return NULL;
	used = (size_t)snprintf(path, sizeof(path), DEBUG_FOLDER "/.build-id/%02x/",
				elf->build_id[0]);
	for (size_t i = 1; i < elf->build_id_size; i++)
		used += (size_t)snprintf(path + used, sizeof(path) - used, "%02x",
					 elf->build_id[i]);
	snprintf(path + used, sizeof(path) - used, ".debug");
	return elf_file_open(path, NULL);
}

static struct elf_file *open_by_link(const struct elf_file *elf)
{
	static const struct {
		const char *root;
		const char *folder;
	} places[] = {{"", ""}, {"", "/.debug"}, {DEBUG_FOLDER, ""}};
	const char *slash = strrchr(elf->path, '/');
	struct elf_file *debug = NULL;
	const uint8_t *data;
	Elf64_Shdr section;
	const char *name;
	uint32_t crc;
	size_t at;

	if (!slash || !elf_find_section(elf, ".gnu_debuglink", &section))
		return NULL;
	name = elf_string(elf, &section, 0);
	data = elf_section_data(elf, &section);
	if (!name || !data || !*name || strchr(name, '/'))
		return NULL;
	at = (strlen(name) + 4) & ~(size_t)3;
	if (at + sizeof(crc) > section.sh_size)
		return NULL;
	memcpy(&crc, data + at, sizeof(crc));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !debug; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s%.*s%s/%s", places[i].root,
			 (int)(slash - elf->path), elf->path, places[i].folder, name);
		debug = elf_file_open(path, NULL);
		if (debug && crc32_of(debug->data, debug->size) != crc) {
			elf_file_close(debug);
			debug = NULL;
		}
	}
	return debug;
}

static void open_debug(struct elf_file *elf)
{
	if (!elf->path)
		return;
	elf->debug = open_by_build_id(elf);
	if (elf->debug && (elf->debug->build_id_size != elf->build_id_size ||
			   memcmp(elf->debug->build_id, elf->build_id, elf->build_id_size) != 0)) {
		elf_file_close(elf->debug);
		elf->debug = NULL;
	}
	if (!elf->debug)
		elf->debug = open_by_link(elf);
}

/* Adds the functions and objects of one kind of symbol table in from. */
static void add_symbols(struct elf_file *elf, const struct elf_file *from, uint32_t type)
{
	Elf64_Shdr section;
	Elf64_Shdr strings;

	for (size_t i = 0; elf_section_at(from, i, &section); i++) {
		const uint8_t *data;

		if (section.sh_type != type || !elf_section_at(from, section.sh_link, &strings))
			continue;
		data = elf_section_data(from, &section);
		for (uint64_t n = 0; data && n < section.sh_size / sizeof(Elf64_Sym); n++) {
			struct elf_known_symbol *known;
			Elf64_Sym symbol;
			const char *name;
			bool function;

			memcpy(&symbol, data + n * sizeof(symbol), sizeof(symbol));
			function = ELF64_ST_TYPE(symbol.st_info) == STT_FUNC ||
				   ELF64_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC;
			if ((!function && ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) ||
			    symbol.st_shndx == SHN_UNDEF || !symbol.st_value)
				continue;
			name = elf_string(from, &strings, symbol.st_name);
			if (!name || !*name)
				continue;
			elf->symbols = xgrow(elf->symbols, &elf->symbol_capacity,
					     elf->symbol_count + 1, sizeof(*known));
			known = &elf->symbols[elf->symbol_count++];
			*known = (struct elf_known_symbol){
				.symbol = {symbol.st_value, symbol.st_size, name},
				.function = function,
				.binding = ELF64_ST_BIND(symbol.st_info),
			};
		}
	}
}

static int compare_symbols(const void *left, const void *right)
{
	const struct elf_known_symbol *a = left;
	const struct elf_known_symbol *b = right;

	if (a->symbol.start != b->symbol.start)
		return a->symbol.start < b->symbol.start ? -1 : 1;
	/* Of several names of one function the most public one comes last and is found first. */
	if ((a->binding == STB_GLOBAL) != (b->binding == STB_GLOBAL))
		return a->binding == STB_GLOBAL ? 1 : -1;
	if ((a->symbol.name[0] == '_') != (b->symbol.name[0] == '_'))
		return a->symbol.name[0] == '_' ? -1 : 1;
	return strcmp(b->symbol.name, a->symbol.name);
}

static void read_symbols(struct elf_file *elf)
{
	uint64_t reach = 0;

	if (elf->symbols_read)
		return;
	elf->symbols_read = true;
	open_debug(elf);
	add_symbols(elf, elf, SHT_SYMTAB);
	add_symbols(elf, elf, SHT_DYNSYM);
	if (elf->debug)
		add_symbols(elf, elf->debug, SHT_SYMTAB);
	if (elf->symbol_count)
		qsort(elf->symbols, elf->symbol_count, sizeof(*elf->symbols), compare_symbols);
	/* Hand-written code has symbols without a size: they go on to the next one. */
	for (size_t i = elf->symbol_count; i-- > 0;) {
		struct elf_symbol *symbol = &elf->symbols[i].symbol;

		for (size_t n = i + 1; !symbol->size && n < elf->symbol_count; n++) {
			symbol->size = elf->symbols[n].symbol.start - symbol->start;
			if (symbol->size)
				break;
		}
		if (symbol->size > UINT64_MAX - symbol->start)
			symbol->size = UINT64_MAX - symbol->start;
	}
	for (size_t i = 0; i < elf->symbol_count; i++) {
		const struct elf_symbol *symbol = &elf->symbols[i].symbol;

		if (elf->symbols[i].function && symbol->start + symbol->size > reach)
			reach = symbol->start + symbol->size;
		elf->symbols[i].reach = reach;
	}
}

int elf_file_symbol(struct elf_file *elf, uint64_t address, struct elf_symbol *symbol)
{
	size_t low = 0;
	size_t high;
	int ret = -1;

	read_symbols(elf);
	high = elf->symbol_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (elf->symbols[middle].symbol.start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i-- > 0 && elf->symbols[i].reach > address;) {
		const struct elf_known_symbol *known = &elf->symbols[i];

		if (!known->function || address - known->symbol.start >= known->symbol.size ||
		    (ret == 0 && known->symbol.size >= symbol->size))
			continue;
		*symbol = known->symbol;
		ret = 0;
	}
	return ret;
}

int elf_file_symbol_by_name(struct elf_file *elf, const char *name, struct elf_symbol *symbol)
{
	read_symbols(elf);
	for (size_t i = 0; i < elf->symbol_count; i++) {
		if (!strcmp(elf->symbols[i].symbol.name, name)) {
			*symbol = elf->symbols[i].symbol;
			return 0;
		}
	}
	return -1;
}
