/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter lives in one module: the executable, or a libpython. Its symbols say where the
 * runtime is; without symbols the section of that name; and without sections the runtime is looked
 * for in the module's own data (find_runtime.c). The version stands at the runtime's start from
 * 3.13 on, in Py_Version from 3.11 on, and always in the text that sys.version is made of.
 */
#include "record/find_python.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"
#include "record/find_runtime.h"
#include "record/process_maps.h"
#include "record/remote_memory.h"

/* One file that is mapped, and what follows it without a name: its zeroed data. */
struct module {
	const struct process_map *code; /* the first executable mapping */
	int rank;                       /* how likely it holds the interpreter: less is more */
};

static int rank_of(const struct process_maps *maps, const struct process_map *map)
{
	const char *name = strrchr(map->path, '/');

	if (strstr(name ? name : map->path, "python"))
		return 0;
	for (size_t i = 0; i < maps->count; i++)
		if (maps->at[i].inode)
			/* The first file in memory, nearly always the executable. */
			return maps->at[i].inode == map->inode ? 1 : 2;
	return 2;
}

static int by_rank(const void *a, const void *b)
{
	const struct module *left = a, *right = b;

	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	return left->code < right->code ? -1 : left->code > right->code;
}

static size_t list_modules(const struct process_maps *maps, struct module **modules)
{
	struct module *list = NULL;
	size_t count = 0, capacity = 0;

	for (size_t i = 0; i < maps->count; i++) {
		const struct process_map *map = &maps->at[i];
		bool known = false;

		if (!map->executable || !map->inode)
			continue;
		for (size_t k = 0; k < count; k++)
			known |= list[k].code->inode == map->inode &&
				 list[k].code->device == map->device;
		if (known)
			continue;
		list = xgrow(list, &capacity, count + 1, sizeof(*list));
		list[count++] = (struct module){map, rank_of(maps, map)};
	}
	if (count)
		qsort(list, count, sizeof(*list), by_rank);
	*modules = list;
	return count;
}

static uint64_t symbol_address(struct elf_file *elf, uint64_t bias, const char *name)
{
	struct elf_symbol symbol;

	return elf_file_symbol_by_name(elf, name, &symbol) ? 0 : symbol.start + bias;
}

/* "3.12.1 (main, ...": PY_VERSION_HEX of it, 0 when it is none. */
static uint32_t parse_version(const char *text)
{
	unsigned part[3], level = 0xf, serial = 0;
	const char *at = text;

	for (int i = 0; i < 3; i++) {
		char *end;

		if (*at < '0' || *at > '9')
			return 0;
		part[i] = (unsigned)strtoul(at, &end, 10);
		if (part[i] > 255 || (i < 2 && *end != '.'))
			return 0;
		at = i < 2 ? end + 1 : end;
	}
	if (*at == 'a' || *at == 'b' || (*at == 'r' && at[1] == 'c')) {
		level = *at == 'a' ? 0xa : *at == 'b' ? 0xb : 0xc;
		at += *at == 'r' ? 2 : 1;
		serial = (unsigned)strtoul(at, NULL, 10) & 0xf;
	}
	return part[0] << 24 | part[1] << 16 | part[2] << 8 | level << 4 | serial;
}

/* The address of a symbol of the interpreter's and the version, by the file's tables. */
static void ask_file(pid_t pid, struct elf_file *elf, uint64_t bias, struct found_python *python)
{
	uint64_t address, size;

	python->runtime = symbol_address(elf, bias, "_PyRuntime");
	if (!python->runtime && elf_file_section(elf, ".PyRuntime", &address, &size) == 0)
		python->runtime = address + bias;
	if (!python->runtime)
		return;
	python->code_type = symbol_address(elf, bias, "PyCode_Type");
	address = symbol_address(elf, bias, "Py_Version");
	if (address && remote_read(pid, address, &python->hex, sizeof(python->hex)))
		python->hex = 0;
}

/* Completes what is known of a runtime. Returns 0, or -1: there is none here, or *why. */
static int examine(const struct process_maps *maps, const struct module *module,
		   struct found_python *python, const char **why)
{
	uint8_t head[PY_DEBUG_OFFSETS_SIZE];
	uint64_t interpreter = 0;
	bool free_threaded = false;
	uint32_t in_text;

	memset(head, 0, sizeof(head));
	/* The runtime may end before that many bytes, and with it the mapping. */
	for (size_t size = sizeof(head); size >= 64; size /= 2)
		if (remote_read(maps->pid, python->runtime, head, size) == 0)
			break;
	if (memcmp(head, "xdebugpy", 8) == 0) {
		uint64_t words[2];

		memcpy(words, head + 8, sizeof(words));
		python->hex = (uint32_t)words[0];
		free_threaded = words[1] == 1;
	}
	find_version_text(maps, module->code, python->build, sizeof(python->build));
	in_text = parse_version(python->build);
	if (!python->hex)
		python->hex = in_text;
	/* Up to 3.10 a Python that starts has not written its version anywhere yet. */
	if (!python->hex)
		return 0;
	if (py_layout_find(&python->layout, python->hex, free_threaded, head, sizeof(head), why))
		return -1;
	remote_read(maps->pid, python->runtime + python->layout.runtime_interpreters_head,
		    &interpreter, sizeof(interpreter));
	python->running = interpreter != 0;
	return 0;
}

static int look_in(const struct process_maps *maps, const struct module *module, bool thoroughly,
		   struct found_python *python, const char **why)
{
	struct elf_file *elf = process_maps_open(maps, module->code);
	uint64_t address, bias = 0;

	memset(python, 0, sizeof(*python));
	if (elf && elf_file_address(elf, module->code->file_offset, &address) == 0) {
		bias = module->code->start - address;
		ask_file(maps->pid, elf, bias, python);
	}
	elf_file_close(elf);
	if (!python->runtime && thoroughly)
		find_runtime(maps, module->code, python);
	if (!python->runtime)
		return -1;
	return examine(maps, module, python, why);
}

static void process_name(pid_t pid, char *name, size_t size)
{
	char path[64];
	ssize_t n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f) {
		n = (ssize_t)fread(name, 1, size - 1, f);
		fclose(f);
	}
	name[n > 0 ? n : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

static int refuse_permission(pid_t pid, struct err *err)
{
	char scope = '0', path[64], id[16] = "";
	FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");

	if (f) {
		if (fread(&scope, 1, 1, f) != 1)
			scope = '0';
		fclose(f);
	}
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (f) {
		char line[256];

		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "Uid: %15s", id) == 1)
				break;
		fclose(f);
	}
	if (id[0] && strtoul(id, NULL, 10) != geteuid())
		return err_set(
			err, ERR_FAILED,
			"not allowed to look at process %d: it belongs to another user (%s); "
			"run scprof-record as that user or as root, or give it the capability "
			"CAP_SYS_PTRACE",
			(int)pid, id);
	if (scope != '0')
		return err_set(
			err, ERR_FAILED,
			"not allowed to look at process %d: kernel.yama.ptrace_scope is %c; "
			"run scprof-record as root, give it the capability CAP_SYS_PTRACE (in "
			"a container: --cap-add SYS_PTRACE), or set "
			"/proc/sys/kernel/yama/ptrace_scope to 0",
			(int)pid, scope);
	return err_set(
		err, ERR_FAILED,
		"not allowed to look at process %d: it guards its memory or this is a "
		"container; run scprof-record as root with the capability CAP_SYS_PTRACE (in "
		"a container: --cap-add SYS_PTRACE); kernel.yama.ptrace_scope is not what "
		"forbids it",
		(int)pid);
}

int find_python(pid_t pid, struct found_python *python, struct err *err)
{
	const char *why = NULL;
	struct module *modules = NULL;
	struct found_python found;
	struct process_maps maps;
	char name[32];
	size_t count = 0;
	int ret = -1;

	if (process_maps_read(&maps, pid, err)) {
		if (kill(pid, 0) && errno == ESRCH)
			err_set(err, ERR_FAILED, "there is no process %d", (int)pid);
		else
			refuse_permission(pid, err);
		goto out;
	}
	process_name(pid, name, sizeof(name));
	if (!maps.count) {
		err_set(err, ERR_FAILED,
			"process %d (%s) has no memory: it has just ended, or is a thread of the "
			"kernel",
			(int)pid, name);
		goto out;
	}
	if (remote_read(pid, maps.at[0].start, &found, 1) && errno == EPERM) {
		refuse_permission(pid, err);
		goto out;
	}
	count = list_modules(&maps, &modules);
	/* First where tables say that there is a runtime, then by looking for one. Of two (a
	 * program with its own, and a library that brought another) the one that runs counts. */
	for (int thoroughly = 0; thoroughly < 2 && ret; thoroughly++) {
		for (size_t i = 0; i < count && !(ret == 0 && python->running); i++) {
			if (thoroughly && modules[i].rank == 2 && count > 1)
				continue;
			if (look_in(&maps, &modules[i], thoroughly, &found, &why) ||
			    (ret == 0 && !found.running))
				continue;
			*python = found;
			ret = 0;
		}
	}
	if (ret && why)
		err_set(err, ERR_VERSION, "process %d (%s) cannot be recorded: %s", (int)pid, name,
			why);
	else if (ret)
		err_set(err, ERR_FAILED,
			"process %d (%s) is not a Python program (CPython 3.9 to 3.15)", (int)pid,
			name);
out:
	free(modules);
	process_maps_release(&maps);
	return ret;
}
