/* SPDX-License-Identifier: Apache-2.0
 *
 * Function extents from .eh_frame, which even stripped files have. Compilers split functions: the
 * interpreter's loop can lie in a "cold" part that has no symbol but an entry here.
 */
#include <string.h>

#include "formats/elf_private.h"

#include "formats/base/banned.h"

/* Pointer encodings of the Linux Standard Base, as far as compilers use them for code. */
enum {
	ENCODING_ABSOLUTE = 0x00,
	ENCODING_U2 = 0x02,
	ENCODING_U4 = 0x03,
	ENCODING_U8 = 0x04,
	ENCODING_S2 = 0x0a,
	ENCODING_S4 = 0x0b,
	ENCODING_S8 = 0x0c,
	ENCODING_SIZE_MASK = 0x0f,
	ENCODING_RELATIVE = 0x10, /* to the pointer's own address */
	ENCODING_BASE_MASK = 0xf0,
	ENCODING_NONE = 0xff, /* also: not understood */
};

struct frame_section {
	const uint8_t *data;
	uint64_t size;
	uint64_t address;
	uint64_t cie_at; /* offset of the CIE that encoding is from */
	uint8_t encoding;
	bool has_cie;
};

/* A record's extent: its content starts at *content, the next record at *next; 0 at the end. */
static bool next_record(const struct frame_section *s, uint64_t at, uint64_t *content,
			uint64_t *next)
{
	uint32_t length;
	uint64_t size;

	if (s->size - at < sizeof(length))
		return false;
	memcpy(&length, s->data + at, sizeof(length));
	*content = at + sizeof(length);
	size = length;
	if (length == UINT32_MAX) {
		if (s->size - *content < sizeof(size))
			return false;
		memcpy(&size, s->data + *content, sizeof(size));
		*content += sizeof(size);
	}
	if (!size || size > s->size - *content)
		return false;
	*next = *content + size;
	return true;
}

static bool skip_leb(const struct frame_section *s, uint64_t *at, uint64_t end)
{
	while (*at < end) {
		if (!(s->data[(*at)++] & 0x80))
			return true;
	}
	return false;
}

static size_t encoded_size(uint8_t encoding)
{
	switch (encoding & ENCODING_SIZE_MASK) {
	case ENCODING_U2:
	case ENCODING_S2:
		return 2;
	case ENCODING_U4:
	case ENCODING_S4:
		return 4;
	case ENCODING_ABSOLUTE:
	case ENCODING_U8:
	case ENCODING_S8:
		return 8;
	default:
		return 0;
	}
}

/* How the CIE whose content is [at, end) encodes addresses. */
static uint8_t cie_encoding(const struct frame_section *s, uint64_t at, uint64_t end)
{
	const char *augmentation;
	uint8_t version;

	at += 4; /* the CIE's id, 0 */
	if (at >= end)
		return ENCODING_NONE;
	version = s->data[at++];
	augmentation = (const char *)s->data + at;
	if (at >= end || !memchr(augmentation, '\0', end - at))
		return ENCODING_NONE;
	at += strlen(augmentation) + 1;
	if (!*augmentation)
		return ENCODING_ABSOLUTE;
	if (*augmentation != 'z' || !skip_leb(s, &at, end) || !skip_leb(s, &at, end))
		return ENCODING_NONE;
	if (version == 1)
		at++; /* return register: a byte */
	else if (!skip_leb(s, &at, end))
		return ENCODING_NONE;
	if (!skip_leb(s, &at, end)) /* length of what follows */
		return ENCODING_NONE;
	for (const char *letter = augmentation + 1; *letter; letter++) {
		if (at >= end)
			return *letter == 'S' || *letter == 'B' ? ENCODING_ABSOLUTE : ENCODING_NONE;
		if (*letter == 'R')
			return s->data[at];
		if (*letter == 'L')
			at++;
		else if (*letter == 'P')
			at += 1 + encoded_size(s->data[at]);
		else if (*letter != 'S' && *letter != 'B')
			return ENCODING_NONE;
	}
	return ENCODING_ABSOLUTE;
}

static bool read_encoded(const struct frame_section *s, uint64_t at, uint64_t end, uint8_t encoding,
			 uint64_t *value)
{
	size_t size = encoded_size(encoding);
	uint64_t raw = 0;

	if (!size || at > end || end - at < size)
		return false;
	memcpy(&raw, s->data + at, size);
	if ((encoding & ENCODING_SIZE_MASK) == ENCODING_S2)
		raw = (uint64_t)(int16_t)raw;
	else if ((encoding & ENCODING_SIZE_MASK) == ENCODING_S4)
		raw = (uint64_t)(int32_t)raw;
	*value = raw;
	return true;
}

/* The function of the FDE whose content is [at, end); false when it is none. */
static bool read_fde(struct frame_section *s, uint64_t at, uint64_t end, uint64_t *start,
		     uint64_t *size)
{
	uint64_t cie_content;
	uint64_t cie_end;
	uint64_t cie;
	uint32_t back;

	if (end - at < sizeof(back))
		return false;
	memcpy(&back, s->data + at, sizeof(back));
	if (!back || back > at)
		return false; /* a CIE */
	cie = at - back;
	if (!s->has_cie || s->cie_at != cie) {
		s->encoding = ENCODING_NONE;
		if (next_record(s, cie, &cie_content, &cie_end))
			s->encoding = cie_encoding(s, cie_content, cie_end);
		s->cie_at = cie;
		s->has_cie = true;
	}
	at += sizeof(back);
	if (s->encoding == ENCODING_NONE || !read_encoded(s, at, end, s->encoding, start) ||
	    !read_encoded(s, at + encoded_size(s->encoding), end,
			  s->encoding & (ENCODING_SIZE_MASK >> 1), size))
		return false;
	if ((s->encoding & ENCODING_BASE_MASK) == ENCODING_RELATIVE)
		*start += s->address + at;
	else if (s->encoding & ENCODING_BASE_MASK)
		return false;
	return *size > 0;
}

/* The largest function, or with covers set the one around that address. */
static int find_function(const struct elf_file *elf, const uint64_t *covers, uint64_t *start,
			 uint64_t *size)
{
	struct frame_section s = {0};
	Elf64_Shdr section;
	uint64_t content;
	uint64_t next;
	int ret = -1;

	if (!elf_find_section(elf, ".eh_frame", &section))
		return -1;
	s.data = elf_section_data(elf, &section);
	s.size = section.sh_size;
	s.address = section.sh_addr;
	if (!s.data)
		return -1;
	for (uint64_t at = 0; next_record(&s, at, &content, &next); at = next) {
		uint64_t function;
		uint64_t bytes;

		if (!read_fde(&s, content, next, &function, &bytes))
			continue;
		if (covers ? *covers - function >= bytes : ret == 0 && bytes <= *size)
			continue;
		*start = function;
		*size = bytes;
		ret = 0;
		if (covers)
			break;
	}
	return ret;
}

int elf_file_largest_function(const struct elf_file *elf, uint64_t *start, uint64_t *size)
{
	return find_function(elf, NULL, start, size);
}

int elf_file_function(const struct elf_file *elf, uint64_t address, uint64_t *start, uint64_t *size)
{
	return find_function(elf, &address, start, size);
}
