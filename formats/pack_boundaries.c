/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the columns of a packed Item begin. zstd codes the bytes of one of its blocks with one set
 * of statistics; a boundary between columns, which hold very different numbers, saves 10-15 % of a
 * trace. This reads the wire format itself: tags and lengths are all it needs.
 */
#include "formats/pack.h"

#include "formats/base/banned.h"

#define LARGE_COLUMN_BYTES 256 /* smaller ones are not worth statistics of their own */

/* Reads the tag and extent of the field at *at; *content is its first byte after tag and length.
 * false when the bytes are no message. */
static bool next_field(const uint8_t **at, const uint8_t *end, uint64_t *field,
		       const uint8_t **content)
{
	uint64_t tag;
	uint64_t value;

	if (*at >= end || varint_read(at, end, &tag) < 0)
		return false;
	*field = tag >> 3;
	*content = *at;
	switch (tag & 7) {
	case 0: /* varint */
		return varint_read(at, end, &value) == 0;
	case 2: /* bytes */
		if (varint_read(at, end, &value) < 0 || value > (uint64_t)(end - *at))
			return false;
		*content = *at;
		*at += value;
		return true;
	default: /* nothing of ours */
		return false;
	}
}

static void find_boundaries(const uint8_t *start, const uint8_t *at, const uint8_t *end,
			    bool nested, size_t *offsets, size_t max, size_t *count)
{
	const uint8_t *content;
	uint64_t last = 0;
	uint64_t field;

	for (const uint8_t *tag = at; next_field(&at, end, &field, &content); tag = at) {
		/* Nodes, Pcs, Samples, Waits, Heap and Copies are columns again. */
		bool columns = !nested && (field == 14 || field == 17 || field == 30 ||
					   field == 31 || field == 36 || field == 37);

		if (columns)
			find_boundaries(start, content, at, true, offsets, max, count);
		else if ((nested || field != last) && at - content >= LARGE_COLUMN_BYTES &&
			 *count < max)
			offsets[(*count)++] = (size_t)(tag - start);
		last = field;
	}
}

size_t pack_boundaries(const void *data, size_t size, size_t *offsets, size_t max)
{
	const uint8_t *start = data;
	const uint8_t *end = start + size;
	const uint8_t *at = start;
	const uint8_t *content;
	uint64_t length;
	uint64_t field;
	size_t count = 0;

	if (varint_read(&at, end, &length) < 0)
		return 0;
	while (next_field(&at, end, &field, &content)) {
		if (field == 2) /* Item.block */
			find_boundaries(start, content, at, false, offsets, max, &count);
	}
	return count;
}
