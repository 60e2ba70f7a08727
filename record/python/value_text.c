/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as text. Objects may change while they are read, so every pointer is checked by reading
 * through it, every count has a cap, and recursion ends after two levels.
 */
#include "record/python/value_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/python/dict_read.h"

#define DEPTH 2
#define ITEMS 5
#define CHARACTERS 80
#define NAMES 512
#define TEXT 400
#define TYPE_NAME 80

#define TYPE_IS_LIST (1ull << 25)
#define TYPE_IS_TUPLE (1ull << 26)

/* Kinds of names in co_localspluskinds. */
#define KIND_CELL 0x40
#define KIND_FREE 0x80

struct text {
	char *to;
	size_t size, used;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->to + text->used, text->size - text->used, format, args);
	va_end(args);
	if (n < 0)
		return;
	text->used = (size_t)n < text->size - text->used ? text->used + (size_t)n : text->size - 1;
}

/* The name of a type, 0-terminated. Returns 0 or -1. */
static int type_name(struct object_reader *reader, uint64_t type, char name[TYPE_NAME])
{
	uint64_t address;

	if (object_reader_u64(reader, type + reader->layout->type_name, &address))
		return -1;
	memset(name, 0, TYPE_NAME);
	/* It may lie right before the end of what is mapped. */
	for (size_t size = TYPE_NAME - 1; size >= 1; size /= 2) {
		if (object_reader_bytes(reader, address, name, size) == 0)
			break;
		name[0] = '\0';
	}
	for (char *c = name; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
	return name[0] ? 0 : -1;
}

static void add_quoted(struct text *text, const char *from, size_t size, bool is_bytes)
{
	size_t shown = 0, i = 0;

	add(text, is_bytes ? "b'" : "'");
	for (; i < size && shown < CHARACTERS; i++, shown++) {
		unsigned char c = (unsigned char)from[i];

		if (c == '\n')
			add(text, "\\n");
		else if (c == '\\' || c == '\'')
			add(text, "\\%c", c);
		else if (c < ' ' || c == 0x7f || (is_bytes && c >= 0x80))
			add(text, "\\x%02x", c);
		else
			add(text, "%c", c);
		/* Not in the middle of a character. */
		while (!is_bytes && c >= 0xc0 && i + 1 < size && (from[i + 1] & 0xc0) == 0x80)
			add(text, "%c", from[++i]);
	}
	add(text, i < size ? "...'" : "'");
}

static int add_str(struct object_reader *reader, struct text *text, uint64_t object)
{
	size_t size;
	char *from;

	if (object_reader_str(reader, object, &from, &size))
		return -1;
	add_quoted(text, from, size, false);
	free(from);
	return 0;
}

static int add_bytes(struct object_reader *reader, struct text *text, uint64_t object)
{
	const struct py_layout *layout = reader->layout;
	char bytes[CHARACTERS + 1];
	uint64_t size;

	if (object_reader_u64(reader, object + layout->var_size, &size) || size > INT64_MAX)
		return -1;
	if (size > sizeof(bytes))
		size = sizeof(bytes);
	if (object_reader_bytes(reader, object + layout->bytes_data, bytes, size))
		return -1;
	add_quoted(text, bytes, size, true);
	return 0;
}

static int add_int(struct object_reader *reader, struct text *text, uint64_t object)
{
	const struct py_layout *layout = reader->layout;
	unsigned __int128 value = 0;
	uint32_t digits[4] = {0};
	char decimal[48], *at = decimal + sizeof(decimal) - 1;
	uint64_t tag, n;
	bool negative;

	if (object_reader_u64(reader, object + layout->long_tag, &tag))
		return -1;
	if (layout->version >= 0x30c) {
		negative = tag & 2;
		n = tag >> 3;
	} else {
		negative = (int64_t)tag < 0;
		n = negative ? (uint64_t) - (int64_t)tag : tag;
	}
	if (n > 4) {
		add(text, "<int of about %llu bits>", (unsigned long long)n * 30);
		return 0;
	}
	if (n && object_reader_bytes(reader, object + layout->long_digit, digits, n * 4))
		return -1;
	while (n-- > 0)
		value = value << 30 | digits[n];
	*at = '\0';
	do
		*--at = (char)('0' + (int)(value % 10));
	while (value /= 10);
	add(text, "%s%s", negative ? "-" : "", at);
	return 0;
}

static int add_float(struct object_reader *reader, struct text *text, uint64_t object)
{
	char decimal[40];
	double value;

	/* Its number stands where other objects have their size. */
	if (object_reader_bytes(reader, object + reader->layout->var_size, &value, sizeof(value)))
		return -1;
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(decimal, sizeof(decimal), "%.*g", digits, value);
		if (strtod(decimal, NULL) == value)
			break;
	}
	add(text, "%s%s", decimal, strpbrk(decimal, ".en") ? "" : ".0");
	return 0;
}

static void add_value(struct object_reader *reader, struct text *text, uint64_t object, int depth);

static int add_sequence(struct object_reader *reader, struct text *text, uint64_t object,
			bool tuple, int depth)
{
	const struct py_layout *layout = reader->layout;
	uint64_t size, items = object + layout->tuple_items, item;

	if (object_reader_u64(reader, object + layout->var_size, &size) || size > INT64_MAX ||
	    (!tuple && object_reader_u64(reader, object + layout->var_size + 8, &items)))
		return -1;
	add(text, tuple ? "(" : "[");
	for (uint64_t i = 0; i < size; i++) {
		add(text, i ? ", " : "");
		if (i == ITEMS || depth == 0) {
			add(text, "... %llu in all", (unsigned long long)size);
			break;
		}
		if (object_reader_u64(reader, items + i * 8, &item))
			return -1;
		add_value(reader, text, item, depth - 1);
	}
	add(text, tuple ? (size == 1 ? ",)" : ")") : "]");
	return 0;
}

static int add_dict(struct object_reader *reader, struct text *text, uint64_t object, int depth)
{
	struct dict_entries entries;
	size_t shown = 0, size = 0;

	if (dict_read(reader, object, &entries))
		return -1;
	for (size_t i = 0; i < entries.count; i++)
		size += entries.at[i].key && entries.at[i].value;
	add(text, "{");
	for (size_t i = 0; i < entries.count; i++) {
		if (!entries.at[i].key || !entries.at[i].value)
			continue;
		add(text, shown ? ", " : "");
		if (shown++ == ITEMS || depth == 0) {
			add(text, "... %zu in all", size);
			break;
		}
		add_value(reader, text, entries.at[i].key, depth - 1);
		add(text, ": ");
		add_value(reader, text, entries.at[i].value, depth - 1);
	}
	add(text, "}");
	dict_entries_release(&entries);
	return 0;
}

/* A value of one of the types that are shown: 0, or -1 when it is none or cannot be read. */
static int add_known(struct object_reader *reader, struct text *text, uint64_t object,
		     uint64_t flags, int depth)
{
	if (flags & TYPE_IS_LONG)
		return add_int(reader, text, object);
	if (flags & TYPE_IS_STR)
		return add_str(reader, text, object);
	if (flags & TYPE_IS_BYTES)
		return add_bytes(reader, text, object);
	if (flags & (TYPE_IS_LIST | TYPE_IS_TUPLE))
		return add_sequence(reader, text, object, flags & TYPE_IS_TUPLE, depth);
	if (flags & TYPE_IS_DICT)
		return add_dict(reader, text, object, depth);
	return -1;
}

static bool is_plain(const char *name)
{
	static const char *const names[] = {"int", "str", "bytes", "list", "tuple", "dict"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void add_value(struct object_reader *reader, struct text *text, uint64_t object, int depth)
{
	char name[TYPE_NAME];
	uint64_t type, flags, value;
	size_t before = text->used;

	if (object_reader_type(reader, object, &type, &flags) || type_name(reader, type, name)) {
		add(text, "?");
		return;
	}
	if (strcmp(name, "NoneType") == 0) {
		add(text, "None");
	} else if (strcmp(name, "bool") == 0) {
		add(text, object_reader_int(reader, object, &value) ? "?"
			  : value                                   ? "True"
								    : "False");
	} else if (strcmp(name, "float") == 0) {
		if (add_float(reader, text, object))
			add(text, "?");
	} else {
		bool plain = is_plain(name);

		if (!plain)
			add(text, "%s(", name);
		if (add_known(reader, text, object, flags, depth) == 0) {
			add(text, plain ? "" : ")");
			return;
		}
		text->used = before;
		text->to[before] = '\0';
		add(text, "<%s>", name);
	}
}

void value_text(struct object_reader *reader, uint64_t object, char *to, size_t size)
{
	struct text text = {to, size, 0};

	if (!size)
		return;
	to[0] = '\0';
	add_value(reader, &text, object, DEPTH);
	if (text.used == size - 1 && size > 4)
		memcpy(to + size - 4, "...", 4);
}

struct variables {
	struct object_reader *reader;
	uint64_t slots; /* address of the frame's array */
	uint64_t count; /* of slots used so far */
	void (*found)(void *arg, const char *name, const char *value);
	void *arg;
};

/* The value inside of a cell, which a variable that functions share lives in. */
static uint64_t open_cell(struct object_reader *reader, uint64_t object)
{
	char name[TYPE_NAME];
	uint64_t type, flags, inside;

	if (object_reader_type(reader, object, &type, &flags) || type_name(reader, type, name) ||
	    strcmp(name, "cell") != 0 ||
	    object_reader_u64(reader, object + reader->layout->var_size, &inside))
		return object;
	return inside;
}

/* One slot of the frame for each name of a tuple; kinds may be NULL: then all are cells or none. */
static int take_names(struct variables *v, uint64_t tuple, const uint8_t *kinds, size_t kind_count,
		      bool cells)
{
	struct object_reader *reader = v->reader;
	const struct py_layout *layout = reader->layout;
	uint64_t count, name, value;

	if (object_reader_u64(reader, tuple + layout->var_size, &count) || count > NAMES)
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		bool cell = kinds ? i < kind_count && kinds[i] & (KIND_CELL | KIND_FREE) : cells;
		char text[TEXT], *key;
		size_t size;

		if (object_reader_u64(reader, v->slots + v->count++ * 8, &value))
			return -1;
		value &= ~(uint64_t)7; /* 3.14 on: tagged */
		if (value && cell)
			value = open_cell(reader, value);
		if (!value ||
		    object_reader_u64(reader, tuple + layout->tuple_items + i * 8, &name) ||
		    object_reader_str(reader, name, &key, &size))
			continue;
		value_text(reader, value, text, sizeof(text));
		v->found(v->arg, key, text);
		free(key);
	}
	return 0;
}

int frame_locals(struct object_reader *reader, uint64_t frame, uint64_t code,
		 void (*found)(void *arg, const char *name, const char *value), void *arg)
{
	const struct py_layout *layout = reader->layout;
	struct variables v = {reader, frame + layout->frame_locals, 0, found, arg};
	uint8_t kinds[NAMES];
	uint64_t names, cells, frees, object, count;

	if (object_reader_u64(reader, code + layout->code_local_names, &names))
		return -1;
	if (layout->code_local_kinds == PY_NO_OFFSET) {
		if (object_reader_u64(reader, code + layout->code_cell_names, &cells) ||
		    object_reader_u64(reader, code + layout->code_free_names, &frees) ||
		    take_names(&v, names, NULL, 0, false) || take_names(&v, cells, NULL, 0, true))
			return -1;
		return take_names(&v, frees, NULL, 0, true);
	}
	if (object_reader_u64(reader, code + layout->code_local_kinds, &object) ||
	    object_reader_u64(reader, object + layout->var_size, &count) || count > sizeof(kinds) ||
	    object_reader_bytes(reader, object + layout->bytes_data, kinds, count))
		return -1;
	return take_names(&v, names, kinds, count, false);
}
