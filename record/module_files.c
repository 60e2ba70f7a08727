/* SPDX-License-Identifier: Apache-2.0 */
#include "record/module_files.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

static struct module_file *find(const struct module_files *files, uint32_t module)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->at[i].module == module)
			return &files->at[i];
	return NULL;
}

void module_files_keep(struct module_files *files, uint32_t module, struct elf_file *elf)
{
	if (find(files, module)) {
		elf_file_close(elf);
		return;
	}
	files->at = xgrow(files->at, &files->capacity, files->count + 1, sizeof(*files->at));
	files->at[files->count++] = (struct module_file){module, elf};
}

struct elf_file *module_files_take(struct module_files *files, uint32_t module)
{
	struct module_file *file = find(files, module);
	struct elf_file *elf;

	if (!file)
		return NULL;
	elf = file->elf;
	*file = files->at[--files->count];
	return elf;
}

void module_files_release(struct module_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		elf_file_close(files->at[i].elf);
	free(files->at);
	memset(files, 0, sizeof(*files));
}
