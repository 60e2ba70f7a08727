/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads Python objects of another process (or of this one) through a read function: strings, code
 * objects, thread names. Everything read is checked, because the owner may be changing it: a read
 * that makes no sense is a failure, never a crash or a wild length. Recorder side only.
 */
#ifndef SCPROF_OBJECT_READ_H
#define SCPROF_OBJECT_READ_H

#include <stddef.h>
#include <stdint.h>

#include "record/python/layout.h"

struct py_memory {
	/* Copies size bytes at address into to. Returns 0, or -1 when not all could be read. */
	int (*read)(void *arg, uint64_t address, void *to, size_t size);
	void *arg;
};

/* Longest string and line table that is believed. */
#define PY_MAX_STRING (1u << 20)
#define PY_MAX_LINE_TABLE (1u << 26)

/* Reads a str object as UTF-8 (surrogates as in surrogatepass) into a malloc-ed, 0-terminated
 * buffer: the caller frees *text. Returns 0 or -1. */
int py_read_str(const struct py_layout *layout, const struct py_memory *memory, uint64_t object,
		char **text, size_t *size);

/* A code object's own text, malloc-ed; release with py_code_text_release. */
struct py_code_text {
	char *filename;
	size_t filename_size;
	char *name;
	size_t name_size;
	char *qualname; /* equal to name before 3.11 */
	size_t qualname_size;
	int32_t first_line;
	uint32_t flags;
	uint8_t *line_table;
	size_t line_table_size;
	uint32_t code_bytes;
};
int py_read_code(const struct py_layout *layout, const struct py_memory *memory, uint64_t code,
		 struct py_code_text *text);
void py_code_text_release(struct py_code_text *text);

/* Converts the characters of a str body (kind 1, 2 or 4 bytes each; kind 1 is Latin-1) to UTF-8.
 * Returns bytes written; needs up to 2, 3 or 4 bytes a character. */
size_t py_text_to_utf8(const void *data, size_t length, unsigned kind, char *to);

/* Walks threading._active of every interpreter: calls found(arg, ident, name, size) for each entry,
 * ident being the pthread_t that PyThreadState.thread_id also holds. Returns the number of entries,
 * 0 when the threading module is not imported, -1 when it could not be read this time. */
int py_read_thread_names(const struct py_layout *layout, const struct py_memory *memory,
			 uint64_t runtime,
			 void (*found)(void *arg, uint64_t ident, const char *name, size_t size),
			 void *arg);

#endif
