/* SPDX-License-Identifier: Apache-2.0
 *
 * At the end of a recording: the C functions that the program counters lie in, so that the trace
 * stands alone. The interpreter's loop is marked: a pc inside it runs Python bytecode. GCC 16 puts
 * most of the loop into a part without a symbol; it is the largest function of the executable, and
 * its unwind entry says where it lies. Builds with tail calls have one function per instruction.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/map.h"
#include "formats/elf_file.h"
#include "formats/trace_writer.h"
#include "record/symbolize.h"

#define EVAL_NAME "_PyEval_EvalFrameDefault"
#define TAIL_CALL_PREFIX "_TAIL_CALL_"

static bool is_eval(const char *name)
{
	return strncmp(name, EVAL_NAME, strlen(EVAL_NAME)) == 0 ||
	       strncmp(name, TAIL_CALL_PREFIX, strlen(TAIL_CALL_PREFIX)) == 0;
}

typedef char *(*demangle_fn)(const char *, char *, size_t *, int *);

/* The C++ runtime reads its own names; where it is not installed they stay as they are. */
static demangle_fn find_demangler(void)
{
	static demangle_fn demangle;
	static bool looked;
	void *library;

	if (!looked) {
		looked = true;
		library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
		if (library)
			*(void **)&demangle = dlsym(library, "__cxa_demangle");
	}
	return demangle;
}

static void add_symbol(struct trace_writer *writer, uint32_t module, uint64_t start, uint64_t size,
		       const char *name, enum trace_symbol_kind kind)
{
	demangle_fn demangle = strncmp(name, "_Z", 2) == 0 ? find_demangler() : NULL;
	int status = -1;
	char *readable = demangle ? demangle(name, NULL, NULL, &status) : NULL;
	struct trace_symbol symbol = {
		.module = module,
		.start = start,
		.size = size,
		.kind = kind,
	};

	if (readable && status == 0)
		name = readable;
	symbol.name = (struct trace_text){name, strlen(name)};
	trace_writer_symbol(writer, &symbol);
	free(readable);
}

static void symbolize_module(struct trace_writer *writer, struct module_files *files, uint32_t id,
			     const struct trace_module *module)
{
	struct elf_file *elf = module_files_take(files, id);
	struct map done = {0};
	uint64_t loop_start = 0, loop_size = 0;
	size_t pcs = trace_writer_pc_count(writer);

	if (!elf)
		elf = elf_file_open(module->path.data, NULL);
	if (!elf)
		return;
	if (module->role == TRACE_MODULE_INTERPRETER) {
		struct elf_symbol eval;

		bool named = elf_file_symbol_by_name(elf, EVAL_NAME, &eval) == 0;

		/* The loop is told of even when no pc was seen in it: that says something, too. */
		if (named && eval.size) {
			add_symbol(writer, id, eval.start, eval.size, EVAL_NAME, TRACE_SYMBOL_EVAL);
			map_set(&done, eval.start, 1);
		}
		/* Where the symbol covers only a stub of the loop, the largest function is the
		 * rest. */
		if (elf_file_largest_function(elf, &loop_start, &loop_size) == 0 && named &&
		    eval.size < loop_size / 4)
			add_symbol(writer, id, loop_start, loop_size, EVAL_NAME, TRACE_SYMBOL_EVAL);
		else
			loop_size = 0;
	}
	for (size_t i = 1; i < pcs; i++) {
		struct trace_pc pc = trace_writer_get_pc(writer, (uint32_t)i);
		struct elf_symbol symbol;

		if (pc.module != id ||
		    (loop_size && pc.offset >= loop_start && pc.offset - loop_start < loop_size) ||
		    elf_file_symbol(elf, pc.offset, &symbol) ||
		    map_get(&done, symbol.start) != MAP_NONE)
			continue;
		map_set(&done, symbol.start, 1);
		add_symbol(writer, id, symbol.start, symbol.size, symbol.name,
			   module->role == TRACE_MODULE_INTERPRETER && is_eval(symbol.name)
				   ? TRACE_SYMBOL_EVAL
				   : TRACE_SYMBOL_FUNCTION);
	}
	map_release(&done);
	elf_file_close(elf);
}

void symbolize(struct trace_writer *writer, struct module_files *files)
{
	size_t count = trace_writer_module_count(writer);

	for (size_t i = 0; i < count; i++) {
		struct trace_module module = trace_writer_get_module(writer, (uint32_t)i);

		if (module.path.size && module.path.data[0] == '/')
			symbolize_module(writer, files, (uint32_t)i, &module);
	}
}
