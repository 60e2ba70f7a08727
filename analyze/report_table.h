/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of text cells that can be printed in each text-like format.
 */
#ifndef SCPROF_REPORT_TABLE_H
#define SCPROF_REPORT_TABLE_H

#include "analyze/report.h"

struct table_column {
	const char *title;
	bool left; /* aligned; figures go to the right */
	bool code; /* Markdown: as code */
	bool tail; /* where there is no room, keep the end: a path */
	int drop;  /* on a narrow terminal the columns with the largest go first; 0: stays */
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t column_count;
	struct table_cell {
		size_t start; /* in text */
		size_t size;
	} * cells;
	size_t cell_count;
	size_t cell_capacity;
	enum report_style *styles; /* of the rows */
	size_t row_count;
	size_t row_capacity;
	struct buf text;
};

void table_init(struct table *t, const struct table_column *columns, size_t column_count);
void table_release(struct table *t);

/* Starts the next row; cells not added to it stay blank. */
void table_row(struct table *t, enum report_style style);
void table_text(struct table *t, const char *text);
void table_bytes(struct table *t, const char *text, size_t size);
void table_printf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_uint(struct table *t, uint64_t value);
/* Blank for 0: nobody knows it. */
void table_pid(struct table *t, int32_t pid);

/* Columns without any content are left out, and so are some of the others where the terminal is too
 * narrow for all. */
void table_print_text(const struct table *t, const struct report *r);
void table_print_markdown(const struct table *t, FILE *to);
/* RFC 4180; all columns. */
void table_print_csv(const struct table *t, FILE *to);

#endif
