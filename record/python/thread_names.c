/* SPDX-License-Identifier: Apache-2.0
 *
 * The names that a program gave its threads: threading._active maps each thread's identifier, which
 * is its pthread_t, to its Thread object, whose attribute _name is the name. Read through each
 * interpreter's table of modules; nothing runs in the target.
 */
#include "record/python/object_read.h"

#include <stdlib.h>

#include "record/python/dict_read.h"
#include "record/python/object_reader.h"

#define MAX_INTERPRETERS 4096

struct thread_names {
	struct object_reader reader;
	void (*found)(void *arg, uint64_t ident, const char *name, size_t size);
	void *arg;
};

/* The value of one key of a dict: 0 when it has no such key. Returns 0 or -1. */
static int dict_lookup(struct object_reader *reader, uint64_t dict, const char *key,
		       uint64_t *value)
{
	struct dict_entries entries;

	if (dict_read(reader, dict, &entries))
		return -1;
	*value = dict_entries_find(reader, &entries, key);
	dict_entries_release(&entries);
	return 0;
}

/* Finds an interpreter's threading._active, 0 when threading is not imported. Returns 0 or -1. */
static int active_dict(struct object_reader *reader, uint64_t interpreter, uint64_t *active)
{
	const struct py_layout *layout = reader->layout;
	uint64_t modules, threading, globals;

	*active = 0;
	if (object_reader_u64(reader, interpreter + layout->interp_modules, &modules))
		return -1;
	if (!modules)
		return 0;
	if (dict_lookup(reader, modules, "threading", &threading))
		return -1;
	if (!threading)
		return 0;
	if (object_reader_u64(reader, threading + layout->module_dict, &globals))
		return -1;
	return dict_lookup(reader, globals, "_active", active);
}

/* Tells the names of one interpreter's threads. Returns how many, or -1. */
static int interpreter_names(struct thread_names *names, uint64_t interpreter)
{
	struct object_reader *reader = &names->reader;
	struct attribute_cache cache = {0};
	struct dict_entries entries;
	uint64_t active;
	int n = 0;

	if (active_dict(reader, interpreter, &active))
		return -1;
	if (!active)
		return 0;
	if (dict_read(reader, active, &entries))
		return -1;
	for (size_t i = 0; i < entries.count; i++) {
		uint64_t ident, object;
		char *name;
		size_t size;

		/* A thread that ends now is no failure: its entry is left out. */
		if (!entries.at[i].key || !entries.at[i].value ||
		    object_reader_int(reader, entries.at[i].key, &ident) ||
		    instance_attribute(reader, entries.at[i].value, "_name", &cache, &object) ||
		    !object || object_reader_str(reader, object, &name, &size))
			continue;
		names->found(names->arg, ident, name, size);
		free(name);
		n++;
	}
	dict_entries_release(&entries);
	return n;
}

int py_read_thread_names(const struct py_layout *layout, const struct py_memory *memory,
			 uint64_t runtime,
			 void (*found)(void *arg, uint64_t ident, const char *name, size_t size),
			 void *arg)
{
	struct thread_names names = {.found = found, .arg = arg};
	uint64_t interpreter;
	bool failed = false;
	int total = 0;

	object_reader_init(&names.reader, layout, memory);
	if (object_reader_u64(&names.reader, runtime + layout->runtime_interpreters_head,
			      &interpreter))
		return -1;
	for (int i = 0; interpreter && i < MAX_INTERPRETERS; i++) {
		int n = interpreter_names(&names, interpreter);

		if (n < 0)
			failed = true;
		else
			total += n;
		if (!object_reader_plausible(interpreter) ||
		    object_reader_u64(&names.reader, interpreter + layout->interp_next,
				      &interpreter)) {
			failed = true;
			break;
		}
	}
	return failed && total == 0 ? -1 : total;
}
