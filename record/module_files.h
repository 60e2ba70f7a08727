/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of recorded programs that cannot be opened by their names later: deleted, replaced, or in
 * another mount namespace. They stay mapped until their symbols were looked up.
 */
#ifndef SCPROF_MODULE_FILES_H
#define SCPROF_MODULE_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "formats/elf_file.h"

struct module_files {
	struct module_file {
		uint32_t module; /* of the trace */
		struct elf_file *elf;
	} * at;
	size_t count, capacity;
};

/* Takes elf; the first one of a module stays. */
void module_files_keep(struct module_files *files, uint32_t module, struct elf_file *elf);
/* Hands the file over, NULL when there is none. */
struct elf_file *module_files_take(struct module_files *files, uint32_t module);
void module_files_release(struct module_files *files);

#endif
