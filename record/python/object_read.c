/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings, integers, bytes and code objects of another process. Each object's type is looked at
 * before its content is believed, each length has a cap before anything is allocated, and a code
 * object is read twice: when it changed meanwhile, what it pointed to was not its own.
 */
#include "record/python/object_read.h"

#include <stdlib.h>
#include <string.h>

#include "record/python/object_reader.h"

/* More than the head of any str, and more than a code object's fields. */
#define MAX_HEAD 512

#define BIG_READ (1u << 16)

void object_reader_init(struct object_reader *reader, const struct py_layout *layout,
			const struct py_memory *memory)
{
	memset(reader, 0, sizeof(*reader));
	reader->layout = layout;
	reader->memory = memory;
}

bool object_reader_plausible(uint64_t address)
{
	return address >= 4096 && address < (1ull << 56) && address % 8 == 0;
}

int object_reader_bytes(struct object_reader *reader, uint64_t address, void *to, size_t size)
{
	char last;

	if (address < 4096 || address >= (1ull << 56))
		return -1;
	/* A length that is wrong mostly leads out of the mapping: found out before a big copy. */
	if (size > BIG_READ &&
	    reader->memory->read(reader->memory->arg, address + size - 1, &last, 1))
		return -1;
	return reader->memory->read(reader->memory->arg, address, to, size);
}

int object_reader_u64(struct object_reader *reader, uint64_t address, uint64_t *value)
{
	return object_reader_bytes(reader, address, value, sizeof(*value));
}

static int type_flags(struct object_reader *reader, uint64_t type, uint64_t *flags)
{
	struct object_type *known;

	if (!object_reader_plausible(type))
		return -1;
	for (unsigned i = 0; i < OBJECT_READER_TYPES; i++) {
		if (reader->types[i].address == type) {
			*flags = reader->types[i].flags;
			return 0;
		}
	}
	if (object_reader_u64(reader, type + reader->layout->type_flags, flags))
		return -1;
	known = &reader->types[reader->next_type++ % OBJECT_READER_TYPES];
	known->address = type;
	known->flags = *flags;
	return 0;
}

int object_reader_type(struct object_reader *reader, uint64_t object, uint64_t *type,
		       uint64_t *flags)
{
	if (!object_reader_plausible(object) ||
	    object_reader_u64(reader, object + reader->layout->object_type, type))
		return -1;
	return type_flags(reader, *type, flags);
}

int object_reader_head(struct object_reader *reader, uint64_t object, uint64_t flag, void *head,
		       size_t size)
{
	uint64_t type, flags;

	if (!object_reader_plausible(object) || object_reader_bytes(reader, object, head, size))
		return -1;
	memcpy(&type, (unsigned char *)head + reader->layout->object_type, sizeof(type));
	return type_flags(reader, type, &flags) == 0 && (flags & flag) ? 0 : -1;
}

/* The head of a str object, decoded. */
struct str_head {
	uint64_t data;
	uint64_t length; /* characters */
	unsigned kind;   /* bytes per character */
};

/* head is the object's first str_compact_data bytes, or str_ascii_data when that is all there is.
 */
static int str_head_decode(struct object_reader *reader, uint64_t object, const unsigned char *head,
			   struct str_head *str)
{
	const struct py_layout *layout = reader->layout;
	uint32_t state;
	bool compact, ascii;

	memcpy(&state, head + layout->str_state, sizeof(state));
	memcpy(&str->length, head + layout->str_length, sizeof(str->length));
	str->kind = state >> layout->str_kind_shift & 7;
	compact = state >> layout->str_compact_bit & 1;
	ascii = state >> layout->str_ascii_bit & 1;
	if (str->length > PY_MAX_STRING || (str->kind != 1 && str->kind != 2 && str->kind != 4) ||
	    (ascii && str->kind != 1))
		return -1;
	if (compact && ascii)
		str->data = object + layout->str_ascii_data;
	else if (compact)
		str->data = object + layout->str_compact_data;
	else /* a subclass of str: the characters are elsewhere */
		return object_reader_u64(reader, object + layout->str_compact_data, &str->data);
	return 0;
}

static bool text_is_unicode(const unsigned char *data, size_t length, unsigned kind)
{
	if (kind != 4)
		return true;
	for (size_t i = 0; i < length; i++) {
		uint32_t c;

		memcpy(&c, data + i * 4, sizeof(c));
		if (c > 0x10ffff)
			return false;
	}
	return true;
}

int object_reader_str(struct object_reader *reader, uint64_t object, char **text, size_t *size)
{
	const struct py_layout *layout = reader->layout;
	unsigned char head[MAX_HEAD], *data = NULL;
	struct str_head str;
	char *utf8 = NULL;
	size_t bytes;
	int ret = -1;

	if (layout->str_ascii_data > sizeof(head) ||
	    object_reader_head(reader, object, TYPE_IS_STR, head, layout->str_ascii_data) ||
	    str_head_decode(reader, object, head, &str))
		return -1;
	bytes = str.length * str.kind;
	data = malloc(bytes + 1);
	utf8 = malloc(str.length * (str.kind == 1 ? 2 : str.kind == 2 ? 3 : 4) + 1);
	if (!data || !utf8)
		goto out;
	if (bytes && object_reader_bytes(reader, str.data, data, bytes))
		goto out;
	if (!text_is_unicode(data, str.length, str.kind))
		goto out;
	*size = py_text_to_utf8(data, str.length, str.kind, utf8);
	utf8[*size] = '\0';
	*text = utf8;
	utf8 = NULL;
	ret = 0;
out:
	free(data);
	free(utf8);
	return ret;
}

bool object_reader_str_equals(struct object_reader *reader, uint64_t object, const char *text)
{
	const struct py_layout *layout = reader->layout;
	unsigned char head[MAX_HEAD + OBJECT_READER_MAX_NAME];
	size_t size = strlen(text);
	struct str_head str;

	/* A shorter str at the end of a mapping makes the read fail, and would not be equal. */
	return size <= OBJECT_READER_MAX_NAME && layout->str_ascii_data <= MAX_HEAD &&
	       object_reader_plausible(object) &&
	       object_reader_bytes(reader, object, head, layout->str_ascii_data + size) == 0 &&
	       (head[layout->str_state + layout->str_compact_bit / 8] >>
			layout->str_compact_bit % 8 &
		1) &&
	       str_head_decode(reader, object, head, &str) == 0 && str.length == size &&
	       str.data == object + layout->str_ascii_data &&
	       memcmp(head + layout->str_ascii_data, text, size) == 0;
}

int object_reader_int(struct object_reader *reader, uint64_t object, uint64_t *value)
{
	const struct py_layout *layout = reader->layout;
	unsigned char head[MAX_HEAD];
	uint32_t digits[3] = {0};
	uint64_t tag, n;

	/* Every int has room for two digits, only those above 60 bits have a third. */
	if (layout->long_digit > sizeof(head) - sizeof(digits) ||
	    object_reader_head(reader, object, TYPE_IS_LONG, head, layout->long_digit + 8))
		return -1;
	memcpy(&tag, head + layout->long_tag, sizeof(tag));
	if (layout->version >= 0x30c) {
		if (tag & 2) /* negative */
			return -1;
		n = tag >> 3;
	} else {
		n = tag;
	}
	if (n > 3)
		return -1;
	memcpy(digits, head + layout->long_digit, (n < 2 ? n : 2) * sizeof(digits[0]));
	if (n == 3 && object_reader_bytes(reader, object + layout->long_digit + 8, &digits[2],
					  sizeof(digits[2])))
		return -1;
	if (digits[0] >> 30 || digits[1] >> 30 || digits[2] >> 4)
		return -1;
	*value = digits[0] | (uint64_t)digits[1] << 30 | (uint64_t)digits[2] << 60;
	return 0;
}

size_t py_text_to_utf8(const void *data, size_t length, unsigned kind, char *to)
{
	unsigned char *p = (unsigned char *)to;

	for (size_t i = 0; i < length; i++) {
		const unsigned char *from = (const unsigned char *)data + i * kind;
		uint16_t c2;
		uint32_t c = from[0];

		if (kind == 2) {
			memcpy(&c2, from, sizeof(c2));
			c = c2;
		} else if (kind == 4) {
			memcpy(&c, from, sizeof(c));
			if (c > 0x10ffff)
				c = 0xfffd;
		}
		if (c < 0x80) {
			*p++ = (unsigned char)c;
		} else if (c < 0x800) {
			*p++ = (unsigned char)(0xc0 | c >> 6);
			*p++ = (unsigned char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			*p++ = (unsigned char)(0xe0 | c >> 12);
			*p++ = (unsigned char)(0x80 | (c >> 6 & 0x3f));
			*p++ = (unsigned char)(0x80 | (c & 0x3f));
		} else {
			*p++ = (unsigned char)(0xf0 | c >> 18);
			*p++ = (unsigned char)(0x80 | (c >> 12 & 0x3f));
			*p++ = (unsigned char)(0x80 | (c >> 6 & 0x3f));
			*p++ = (unsigned char)(0x80 | (c & 0x3f));
		}
	}
	return (size_t)(p - (unsigned char *)to);
}

int py_read_str(const struct py_layout *layout, const struct py_memory *memory, uint64_t object,
		char **text, size_t *size)
{
	struct object_reader reader;

	object_reader_init(&reader, layout, memory);
	return object_reader_str(&reader, object, text, size);
}

static int bytes_size(struct object_reader *reader, uint64_t object, uint64_t *size)
{
	uint32_t at = reader->layout->var_size;
	unsigned char head[MAX_HEAD];

	if (at > sizeof(head) - sizeof(*size) ||
	    object_reader_head(reader, object, TYPE_IS_BYTES, head, at + sizeof(*size)))
		return -1;
	memcpy(size, head + at, sizeof(*size));
	return *size > PY_MAX_LINE_TABLE ? -1 : 0;
}

/* Reads a bytes object; the caller frees *data. */
static int read_bytes(struct object_reader *reader, uint64_t object, uint8_t **data, size_t *size)
{
	uint64_t length;
	uint8_t *copy;

	if (bytes_size(reader, object, &length))
		return -1;
	copy = malloc(length + 1);
	if (!copy)
		return -1;
	if (length &&
	    object_reader_bytes(reader, object + reader->layout->bytes_data, copy, length)) {
		free(copy);
		return -1;
	}
	*data = copy;
	*size = length;
	return 0;
}

static bool is_code(struct object_reader *reader, uint64_t object)
{
	uint64_t type, flags, name;
	char text[sizeof("code")];

	return object_reader_type(reader, object, &type, &flags) == 0 &&
	       object_reader_u64(reader, type + reader->layout->type_name, &name) == 0 &&
	       object_reader_bytes(reader, name, text, sizeof(text)) == 0 &&
	       memcmp(text, "code", sizeof(text)) == 0;
}

static uint64_t field_u64(const unsigned char *head, uint32_t offset)
{
	uint64_t value;

	memcpy(&value, head + offset, sizeof(value));
	return value;
}

static uint32_t field_u32(const unsigned char *head, uint32_t offset)
{
	uint32_t value;

	memcpy(&value, head + offset, sizeof(value));
	return value;
}

static bool same_code(const struct py_layout *layout, const unsigned char *a,
		      const unsigned char *b)
{
	return field_u64(a, layout->object_type) == field_u64(b, layout->object_type) &&
	       field_u64(a, layout->code_filename) == field_u64(b, layout->code_filename) &&
	       field_u64(a, layout->code_name) == field_u64(b, layout->code_name) &&
	       field_u64(a, layout->code_line_table) == field_u64(b, layout->code_line_table) &&
	       field_u32(a, layout->code_first_line) == field_u32(b, layout->code_first_line) &&
	       field_u32(a, layout->code_flags) == field_u32(b, layout->code_flags);
}

/* How many bytes of bytecode the code object has. */
static int read_code_bytes(struct object_reader *reader, const unsigned char *head, uint32_t *bytes)
{
	const struct py_layout *layout = reader->layout;
	uint64_t n;

	if (layout->code_unit_count == PY_NO_OFFSET) {
		if (bytes_size(reader, field_u64(head, layout->code_bytes), &n))
			return -1;
	} else {
		n = field_u64(head, layout->code_unit_count) * 2;
		if (n > PY_MAX_LINE_TABLE)
			return -1;
	}
	*bytes = (uint32_t)n;
	return 0;
}

int py_read_code(const struct py_layout *layout, const struct py_memory *memory, uint64_t code,
		 struct py_code_text *text)
{
	unsigned char head[MAX_HEAD], again[MAX_HEAD];
	struct py_code_text got = {0};
	struct object_reader reader;
	uint64_t qualname;

	object_reader_init(&reader, layout, memory);
	if (layout->code_size > sizeof(head) || !is_code(&reader, code) ||
	    object_reader_bytes(&reader, code, head, layout->code_size))
		return -1;
	qualname = field_u64(head, layout->code_qualname == PY_NO_OFFSET ? layout->code_name
									 : layout->code_qualname);
	got.first_line = (int32_t)field_u32(head, layout->code_first_line);
	got.flags = field_u32(head, layout->code_flags);
	if (object_reader_str(&reader, field_u64(head, layout->code_filename), &got.filename,
			      &got.filename_size) ||
	    object_reader_str(&reader, field_u64(head, layout->code_name), &got.name,
			      &got.name_size) ||
	    object_reader_str(&reader, qualname, &got.qualname, &got.qualname_size) ||
	    read_bytes(&reader, field_u64(head, layout->code_line_table), &got.line_table,
		       &got.line_table_size) ||
	    read_code_bytes(&reader, head, &got.code_bytes) ||
	    object_reader_bytes(&reader, code, again, layout->code_size) ||
	    !same_code(layout, head, again)) {
		py_code_text_release(&got);
		return -1;
	}
	*text = got;
	return 0;
}

void py_code_text_release(struct py_code_text *text)
{
	free(text->filename);
	free(text->name);
	free(text->qualname);
	free(text->line_table);
	memset(text, 0, sizeof(*text));
}
