/* SPDX-License-Identifier: Apache-2.0
 *
 * ELF files: this program itself, the interpreters found, and files that are none.
 */
#include <glob.h>
#include <link.h>

#include "formats/elf_file.h"
#include "tests/unit/unit.h"

int elf_test_function(int x);

__attribute__((noinline)) int elf_test_function(int x)
{
	return x * 3 + getpid();
}

static int find_base(struct dl_phdr_info *info, size_t size, void *base)
{
	(void)size;
	*(uint64_t *)base = info->dlpi_addr;
	return 1; /* the program comes first */
}

START_TEST(this_program)
{
	uint64_t here = (uint64_t)(uintptr_t)elf_test_function;
	struct elf_symbol symbol;
	struct elf_file *elf;
	struct err err = {0};
	uint64_t base = 0;
	uint64_t start;
	uint64_t size;

	dl_iterate_phdr(find_base, &base);
	elf = elf_file_open("/proc/self/exe", &err);
	ck_assert_msg(elf != NULL, "%s", err.text);
	ck_assert_int_eq(elf_file_symbol_by_name(elf, "elf_test_function", &symbol), 0);
	ck_assert_uint_eq(symbol.start, here - base);
	ck_assert_uint_gt(symbol.size, 4);
	ck_assert_int_eq(elf_file_symbol(elf, here - base + symbol.size - 1, &symbol), 0);
	ck_assert_str_eq(symbol.name, "elf_test_function");
	ck_assert_int_eq(elf_file_function(elf, here - base + 1, &start, &size), 0);
	ck_assert_uint_eq(start, symbol.start);
	ck_assert_uint_eq(size, symbol.size);
	ck_assert_int_eq(elf_file_largest_function(elf, &start, &size), 0);
	ck_assert_uint_ge(size, symbol.size);
	ck_assert_int_eq(elf_file_section(elf, ".text", &start, &size), 0);
	ck_assert_uint_le(start, symbol.start);
	ck_assert_uint_gt(start + size, symbol.start);
	ck_assert_int_eq(elf_file_section(elf, ".nonsense", &start, &size), -1);
	ck_assert_int_eq(elf_file_symbol_by_name(elf, "no_such_thing", &symbol), -1);
	ck_assert_int_eq(elf_file_symbol(elf, UINT64_MAX - 5, &symbol), -1);
	elf_file_close(elf);
}
END_TEST

/* /proc/self/maps says which file offset is mapped where: the segments must say the same. */
START_TEST(offsets_become_addresses)
{
	struct elf_file *elf = elf_file_open("/proc/self/exe", NULL);
	uint64_t here = (uint64_t)(uintptr_t)elf_test_function;
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start;
	unsigned long end;
	unsigned long offset;
	uint64_t address = 0;
	uint64_t base = 0;
	char line[512];
	bool found = false;

	ck_assert_ptr_nonnull(elf);
	dl_iterate_phdr(find_base, &base);
	while (!found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
			start <= here && here < end;
	ck_assert(found);
	ck_assert_int_eq(elf_file_address(elf, here - start + offset, &address), 0);
	ck_assert_uint_eq(address + base, here);
	ck_assert_int_eq(elf_file_address(elf, UINT64_MAX, &address), -1);
	fclose(maps);
	elf_file_close(elf);
}
END_TEST

/* Interpreters and libpythons: section, symbol and unwind table agree on what matters. */
START_TEST(interpreters)
{
	static const char *const patterns[] = {
		"/usr/bin/python3.*[0-9]",
		"/usr/lib/x86_64-linux-gnu/libpython3.*.so.1.0",
		"~/.pyenv/versions/3.*/lib/libpython3.*.so.1.0",
	};
	size_t checked = 0;
	glob_t found = {0};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		glob(patterns[i], GLOB_TILDE | (i ? GLOB_APPEND : 0), NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct elf_file *elf = elf_file_open(found.gl_pathv[i], NULL);
		struct elf_symbol runtime;
		struct elf_symbol loop;
		uint64_t start;
		uint64_t size;
		size_t id_size;

		if (!elf)
			continue;
		if (elf_file_symbol_by_name(elf, "_PyRuntime", &runtime) == 0 &&
		    elf_file_section(elf, ".PyRuntime", &start, &size) == 0) {
			ck_assert_uint_eq(runtime.start, start);
			ck_assert_uint_eq(runtime.size, size);
		}
		if (elf_file_symbol_by_name(elf, "_PyEval_EvalFrameDefault", &loop) == 0) {
			ck_assert_int_eq(elf_file_function(elf, loop.start, &start, &size), 0);
			ck_assert_uint_eq(start, loop.start);
			ck_assert_int_eq(elf_file_largest_function(elf, &start, &size), 0);
			ck_assert_uint_gt(size, 20000);
			ck_assert_ptr_nonnull(elf_file_build_id(elf, &id_size));
			checked++;
		}
		elf_file_close(elf);
	}
	globfree(&found);
	if (!checked)
		printf("skipped: no interpreter here exports its symbols\n");
}
END_TEST

START_TEST(other_files_are_refused)
{
	struct err err = {0};

	ck_assert_ptr_null(elf_file_open("/nowhere", &err));
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	ck_assert_ptr_null(elf_file_open("/tmp", &err));
	ck_assert_ptr_null(elf_file_open("/dev/zero", &err));
	ck_assert_ptr_null(elf_file_open("/etc/passwd", &err));
	ck_assert_int_eq(err.code, ERR_FAILED);
	ck_assert_str_eq(err.text, "/etc/passwd: not an ELF file");
	ck_assert_ptr_null(elf_file_open("/etc/passwd", NULL));
	elf_file_close(NULL);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("elf");

	tcase_add_test(tests, this_program);
	tcase_add_test(tests, offsets_become_addresses);
	tcase_add_test(tests, interpreters);
	tcase_add_test(tests, other_files_are_refused);
	return unit_run("elf", tests);
}
