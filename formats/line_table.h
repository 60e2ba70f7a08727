/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's location tables: from an instruction's byte offset to line and columns, for the formats
 * of 3.9 (co_lnotab), 3.10 (co_linetable, PEP 626) and 3.11 on (co_linetable, PEP 657).
 */
#ifndef SCPROF_LINE_TABLE_H
#define SCPROF_LINE_TABLE_H

#include "formats/trace_event.h"

struct line_position {
	int32_t line;     /* >= 1; a location without a line gets the previous one or first_line */
	int32_t end_line; /* 0 when not known */
	int32_t column;   /* 1-based UTF-8 byte column, 0 when not known */
	int32_t end_column; /* 1-based, exclusive; 0 when not known */
};

/* The position of the instruction at offset bytes into code. Never fails: a damaged table or an
 * offset outside gives code->first_line. */
struct line_position line_table_find(const struct trace_code *code, int32_t offset);

/* Instructions that share a position: bytes [start, end) of the code. */
struct line_range {
	int32_t start;
	int32_t end;
	struct line_position position;
};

/* The whole table as ranges in order, without gaps, from 0 to the end of the code; for callers that
 * look up many offsets of one code. The caller frees the array with free. *count is at least 1. */
struct line_range *line_table_expand(const struct trace_code *code, size_t *count);

#endif
