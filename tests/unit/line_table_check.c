/* SPDX-License-Identifier: Apache-2.0
 *
 * Compares our reading of location tables with an interpreter's own. line_table_check.py feeds it
 * records on stdin: the numbers of a code object, its table, and what the interpreter says of each
 * code unit. Prints "N offsets, M mismatches"; exits 1 when there are any.
 */
#include "formats/line_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#define FIND_EVERY 5 /* line_table_find is slow by design: every so many offsets will do */

struct record {
	uint32_t python;
	int32_t first_line;
	uint32_t code_bytes;
	uint32_t table_size;
};

static uint64_t offsets;
static uint64_t mismatches;

static void compare(const struct trace_code *code, int32_t offset, struct line_position ours,
		    const struct line_position *theirs)
{
	if (!memcmp(&ours, theirs, sizeof(ours)))
		return;
	if (mismatches++ < 10)
		printf("python %x, first line %d, offset %d: %d-%d:%d-%d is not %d-%d:%d-%d\n",
		       code->python, code->first_line, offset, ours.line, ours.end_line,
		       ours.column, ours.end_column, theirs->line, theirs->end_line, theirs->column,
		       theirs->end_column);
}

static void check_code(const struct trace_code *code, const struct line_position *expected)
{
	struct line_range *ranges;
	size_t count;
	size_t at = 0;

	ranges = line_table_expand(code, &count);
	for (uint32_t i = 0; i < code->code_bytes / 2; i++) {
		int32_t offset = (int32_t)i * 2;

		while (at + 1 < count && ranges[at].end <= offset)
			at++;
		compare(code, offset, ranges[at].position, &expected[i]);
		if (i % FIND_EVERY == 0)
			compare(code, offset, line_table_find(code, offset), &expected[i]);
		offsets++;
	}
	free(ranges);
}

int main(void)
{
	struct record record;

	while (io_read_all(STDIN_FILENO, &record, sizeof(record)) == (ssize_t)sizeof(record)) {
		size_t expected_size = record.code_bytes / 2 * sizeof(struct line_position);
		struct line_position *expected = xmalloc(expected_size);
		uint8_t *table = xmalloc(record.table_size);
		struct trace_code code = {
			.first_line = record.first_line,
			.python = record.python,
			.line_table = table,
			.line_table_size = record.table_size,
			.code_bytes = record.code_bytes,
		};

		if (io_read_all(STDIN_FILENO, table, record.table_size) !=
			    (ssize_t)record.table_size ||
		    io_read_all(STDIN_FILENO, expected, expected_size) != (ssize_t)expected_size)
			mismatches++;
		else
			check_code(&code, expected);
		free(table);
		free(expected);
	}
	printf("%" PRIu64 " offsets, %" PRIu64 " mismatches\n", offsets, mismatches);
	return mismatches > 0 || !offsets;
}
