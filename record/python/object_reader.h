/* SPDX-License-Identifier: Apache-2.0
 *
 * What the readers of Python objects share: typed reads of another process's memory, and the flags
 * of the types met, which tell a str, a bytes, an int or a dict from memory that is something else
 * by now. Internal to object_read.c, dict_read.c and thread_names.c.
 */
#ifndef SCPROF_OBJECT_READER_H
#define SCPROF_OBJECT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/python/object_read.h"

/* Bits of tp_flags. */
#define TYPE_INLINE_VALUES (1ull << 2) /* 3.13 on: attributes stand behind the object */
#define TYPE_MANAGED_DICT (1ull << 4)  /* 3.11 on: attributes or their dict stand before it */
#define TYPE_IS_LONG (1ull << 24)
#define TYPE_IS_BYTES (1ull << 27)
#define TYPE_IS_STR (1ull << 28)
#define TYPE_IS_DICT (1ull << 29)

#define OBJECT_READER_TYPES 8

struct object_reader {
	const struct py_layout *layout;
	const struct py_memory *memory;
	struct object_type {
		uint64_t address;
		uint64_t flags;
	} types[OBJECT_READER_TYPES]; /* met lately */
	unsigned next_type;
};

/* Borrows both until the reader is no longer used; nothing to release. */
void object_reader_init(struct object_reader *reader, const struct py_layout *layout,
			const struct py_memory *memory);

/* Whether an object can be at this address at all. */
bool object_reader_plausible(uint64_t address);

/* These return 0, or -1 when the memory cannot be read. */
int object_reader_bytes(struct object_reader *reader, uint64_t address, void *to, size_t size);
int object_reader_u64(struct object_reader *reader, uint64_t address, uint64_t *value);

/* Reads an object's type and that type's flags. Returns 0 or -1. */
int object_reader_type(struct object_reader *reader, uint64_t object, uint64_t *type,
		       uint64_t *flags);

/* Reads an object's first size bytes, enough for its type, which must have this flag. Returns 0, or
 * -1 when it has not or cannot be read. */
int object_reader_head(struct object_reader *reader, uint64_t object, uint64_t flag, void *head,
		       size_t size);

/* As py_read_str. */
int object_reader_str(struct object_reader *reader, uint64_t object, char **text, size_t *size);

/* Whether the object is a str that equals this ASCII text of at most OBJECT_READER_MAX_NAME bytes:
 * one read, without a look at the type. */
#define OBJECT_READER_MAX_NAME 32
bool object_reader_str_equals(struct object_reader *reader, uint64_t object, const char *text);

/* A non-negative int that fits 64 bits. Returns 0 or -1. */
int object_reader_int(struct object_reader *reader, uint64_t object, uint64_t *value);

#endif
