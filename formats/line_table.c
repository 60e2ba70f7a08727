/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's location tables, see line_table.h. One walker per format yields the ranges of a code one
 * after the other; looking up and expanding are built on them.
 *
 * 3.9: pairs (bytes forward, lines forward); lines count from where the pair ends.
 * 3.10: pairs (length, lines forward); lines count from where the pair begins; -128: no line.
 * 3.11 on: entries of a kind and a length in code units, see entry_311.
 */
#include "formats/line_table.h"

#include <stdbool.h>
#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define CODE_UNIT 2
#define NO_LINE_310 (-128)

struct line_walk {
	const struct trace_code *code;
	const uint8_t *at;
	const uint8_t *end;
	int64_t address; /* where the next range begins */
	int64_t line;    /* as the table counts it */
	int32_t shown;   /* last line that a range had: for ranges without one */
};

static int32_t first_line(const struct trace_code *code)
{
	return code->first_line >= 1 ? code->first_line : 1;
}

static void walk_start(struct line_walk *w, const struct trace_code *code)
{
	*w = (struct line_walk){
		.code = code,
		.at = code->line_table,
		.end = code->line_table_size ? code->line_table + code->line_table_size
					     : code->line_table,
		.line = code->first_line,
		.shown = first_line(code),
	};
}

/* Fills a range of length bytes from the walk's address on; without a line when has_line is false
 * or the line cannot be (the first instruction of a module is said to be on line 0). */
static void walk_emit(struct line_walk *w, int64_t length, bool has_line, struct line_range *range)
{
	int64_t end = w->address + length;

	if (has_line && w->line >= 1 && w->line <= INT32_MAX)
		w->shown = (int32_t)w->line;
	else
		range->position.end_line = range->position.column = range->position.end_column = 0;
	range->position.line = w->shown;
	range->start = (int32_t)w->address;
	range->end = end <= INT32_MAX ? (int32_t)end : INT32_MAX;
	w->address = range->end;
}

static bool walk_39(struct line_walk *w, struct line_range *range)
{
	while (w->end - w->at >= 2) {
		int64_t length = w->at[0];
		int64_t lines = (int8_t)w->at[1];

		w->at += 2;
		if (length)
			walk_emit(w, length, true, range);
		w->line += lines;
		if (length)
			return true;
	}
	/* The last line goes on to the end of the code. */
	if ((int64_t)w->code->code_bytes <= w->address)
		return false;
	walk_emit(w, (int64_t)w->code->code_bytes - w->address, true, range);
	return true;
}

static bool walk_310(struct line_walk *w, struct line_range *range)
{
	while (w->end - w->at >= 2) {
		int64_t length = w->at[0];
		int64_t lines = (int8_t)w->at[1];

		w->at += 2;
		if (lines != NO_LINE_310)
			w->line += lines;
		if (!length)
			continue;
		walk_emit(w, length, lines != NO_LINE_310, range);
		return true;
	}
	return false;
}

/* Six bits a byte, low ones first, bit 6 says that more follow. false at the end of the table. */
static bool read_varint(struct line_walk *w, int64_t *value)
{
	uint64_t result = 0;

	for (unsigned int shift = 0; w->at < w->end && shift < 36; shift += 6) {
		uint8_t byte = *w->at++;

		result |= (uint64_t)(byte & 0x3f) << shift;
		if (!(byte & 0x40)) {
			*value = (int64_t)result;
			return true;
		}
	}
	return false;
}

/* The sign is the lowest bit. */
static bool read_signed(struct line_walk *w, int64_t *value)
{
	if (!read_varint(w, value))
		return false;
	*value = *value & 1 ? -(*value >> 1) : *value >> 1;
	return true;
}

static int32_t small(int64_t value)
{
	return value >= 0 && value <= INT32_MAX ? (int32_t)value : 0;
}

/* The details behind an entry's first byte; kind is its number. false when the table ends. */
static bool entry_311(struct line_walk *w, unsigned int kind, struct line_position *position)
{
	int64_t lines = 0;
	int64_t end_lines;
	int64_t column;
	int64_t end_column;

	switch (kind) {
	case 15: /* no location */
		return true;
	case 14: /* everything in full; columns plus 1, 0 for none */
		if (!read_signed(w, &lines) || !read_varint(w, &end_lines) ||
		    !read_varint(w, &column) || !read_varint(w, &end_column))
			return false;
		w->line += lines;
		position->end_line = small(w->line + end_lines);
		position->column = small(column);
		position->end_column = small(end_column);
		return true;
	case 13: /* a line without columns */
		if (!read_signed(w, &lines))
			return false;
		w->line += lines;
		position->end_line = small(w->line);
		return true;
	case 10: /* 0, 1 or 2 lines on, both columns a byte */
	case 11:
	case 12:
		if (w->end - w->at < 2)
			return false;
		w->line += kind - 10;
		position->column = w->at[0] + 1;
		position->end_column = w->at[1] + 1;
		w->at += 2;
		break;
	default: /* same line, columns in the kind and one byte */
		if (w->at >= w->end)
			return false;
		position->column = (int32_t)(kind << 3 | w->at[0] >> 4) + 1;
		position->end_column = position->column + (w->at[0] & 15);
		w->at++;
		break;
	}
	position->end_line = small(w->line);
	return true;
}

static bool walk_311(struct line_walk *w, struct line_range *range)
{
	unsigned int kind;
	int64_t length;

	if (w->at >= w->end || !(*w->at & 0x80))
		return false;
	kind = *w->at >> 3 & 15;
	length = ((*w->at & 7) + 1) * CODE_UNIT;
	w->at++;
	if (!entry_311(w, kind, &range->position))
		return false;
	walk_emit(w, length, kind != 15, range);
	return true;
}

/* The next range; false at the end of the table or where it is damaged. */
static bool walk_next(struct line_walk *w, struct line_range *range)
{
	*range = (struct line_range){0};
	if (w->address >= INT32_MAX)
		return false;
	if (w->code->python >= 0x30b)
		return walk_311(w, range);
	return w->code->python == 0x30a ? walk_310(w, range) : walk_39(w, range);
}

struct line_position line_table_find(const struct trace_code *code, int32_t offset)
{
	struct line_position fallback = {.line = first_line(code)};
	struct line_range range;
	struct line_walk walk;

	if (offset < 0 || (code->code_bytes && (uint32_t)offset >= code->code_bytes))
		return fallback;
	walk_start(&walk, code);
	while (walk_next(&walk, &range)) {
		if (offset < range.end)
			return range.position;
	}
	return fallback;
}

struct line_range *line_table_expand(const struct trace_code *code, size_t *count)
{
	struct line_range *ranges = NULL;
	struct line_range range;
	struct line_walk walk;
	size_t capacity = 0;
	int32_t end;

	*count = 0;
	walk_start(&walk, code);
	while (walk_next(&walk, &range)) {
		if (code->code_bytes && range.start >= (int64_t)code->code_bytes)
			break;
		ranges = xgrow(ranges, &capacity, *count + 2, sizeof(*ranges));
		ranges[(*count)++] = range;
	}
	/* What a damaged table does not reach is on the first line, as in line_table_find. */
	end = *count ? ranges[*count - 1].end : 0;
	if (!*count || end < (int64_t)code->code_bytes) {
		ranges = xgrow(ranges, &capacity, *count + 1, sizeof(*ranges));
		ranges[(*count)++] = (struct line_range){
			.start = end,
			.end = code->code_bytes > (uint32_t)end && code->code_bytes <= INT32_MAX
				       ? (int32_t)code->code_bytes
				       : INT32_MAX,
			.position = {.line = first_line(code)},
		};
	}
	return ranges;
}
