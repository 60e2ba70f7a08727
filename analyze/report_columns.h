/* SPDX-License-Identifier: Apache-2.0
 *
 * The columns of figures beside annotated source.
 */
#ifndef SCPROF_REPORT_COLUMNS_H
#define SCPROF_REPORT_COLUMNS_H

#include "analyze/report_memory.h"

/* What the report says about one line number of a file: several functions can meet on it (a
 * lambda, a comprehension). */
struct annotation {
	int32_t line;
	uint32_t function; /* the heaviest on it */
	struct metrics shown;
	uint64_t library_ns;
	float live[SPARK_WIDTH]; /* bytes over time */
	bool hot;                /* one of the lines that were picked */
};

#define MAX_COLUMNS 13

struct line_columns {
	struct report *r;
	uint64_t whole;                               /* what percentages are of */
	const struct line_column *shown[MAX_COLUMNS]; /* those with something in them */
	size_t count;
};

/* Chooses the columns that hold something for one of the lines and leave source_width to the text
 * on this terminal. */
void line_columns_init(struct line_columns *c, struct report *r, const struct annotation *lines,
		       size_t line_count, size_t source_width);
/* What they take on the terminal, with the bar behind them. */
size_t line_columns_width(const struct line_columns *c);
void line_columns_print_titles(const struct line_columns *c);
/* line may be NULL: blanks. */
void line_columns_print(const struct line_columns *c, const struct annotation *line);

#endif
