/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: ELF files. Every question is asked of every file.
 */
#include <string.h>

#include "formats/elf_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_file *elf = elf_file_open_memory(data, size, NULL);
	const uint8_t *id;
	struct elf_symbol symbol;
	uint64_t address = 0;
	uint64_t length = 0;
	size_t id_size;

	if (!elf)
		return 0;
	id = elf_file_build_id(elf, &id_size);
	FUZZ_CHECK(!id == !id_size);
	if (id)
		FUZZ_CHECK(id >= data && id_size <= size && id + id_size <= data + size);
	elf_file_section(elf, ".PyRuntime", &address, &length);
	for (uint64_t offset = 0; offset < 1 << 20; offset = offset * 2 + 3) {
		if (elf_file_address(elf, offset, &address) == 0 &&
		    elf_file_symbol(elf, address, &symbol) == 0) {
			FUZZ_CHECK(symbol.start <= address);
			FUZZ_CHECK(address - symbol.start < symbol.size);
			FUZZ_CHECK(strlen(symbol.name) < size);
		}
		if (elf_file_function(elf, offset, &address, &length) == 0)
			FUZZ_CHECK(offset - address < length);
	}
	if (elf_file_symbol_by_name(elf, "main", &symbol) == 0)
		FUZZ_CHECK(!strcmp(symbol.name, "main"));
	if (elf_file_largest_function(elf, &address, &length) == 0)
		FUZZ_CHECK(length > 0);
	elf_file_close(elf);
	return 0;
}
