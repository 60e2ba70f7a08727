/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports that are one plain table each. Figures come for eyes (percent and short times) or
 * for programs (raw numbers, units in the titles).
 */
#ifndef SCPROF_REPORT_TABLES_H
#define SCPROF_REPORT_TABLES_H

#include "analyze/report_table.h"

/* Each fills a table that the caller releases; returns how many rows --top left out. */
size_t tables_hot_lines(struct report *r, struct table *t);
size_t tables_functions(struct report *r, struct table *t);
size_t tables_natives(struct report *r, struct table *t);
size_t tables_threads(struct report *r, struct table *t);
/* A tree: parents stand before their children, which are set in. */
size_t tables_processes(struct report *r, struct table *t);
/* Programs that were not recorded, and why. */
size_t tables_refusals(struct report *r, struct table *t);
bool report_any_inherited(const struct report *r);
size_t tables_phases(struct report *r, struct table *t);
size_t tables_memory(struct report *r, struct table *t);
size_t tables_peak(struct report *r, struct table *t);
size_t tables_temporary(struct report *r, struct table *t);
size_t tables_copies(struct report *r, struct table *t);

/* Cells: how a process ended, when that is worth a word; where a line is, and its text. */
void table_process_end(struct table *t, const struct model_process *p);
void table_place(struct table *t, const struct report *r, const struct model_file *file,
		 int32_t line);
void table_source(struct table *t, const struct model_file *file, int32_t line);

void tables_raw_lines(const struct report *r, struct table *t);
void tables_raw_functions(const struct report *r, struct table *t);
void tables_raw_natives(const struct report *r, struct table *t);
void tables_raw_threads(const struct report *r, struct table *t);
void tables_raw_processes(const struct report *r, struct table *t);
void tables_raw_phases(const struct report *r, struct table *t);
void tables_raw_memory(const struct report *r, struct table *t);
void tables_raw_temporary(const struct report *r, struct table *t);
void tables_raw_copies(const struct report *r, struct table *t);
void tables_raw_leaks(const struct report *r, struct table *t);
void tables_raw_timeline(const struct report *r, struct table *t);

/* Columns and cells of struct memory; blank where it was not recorded. */
#define TABLE_MEMORY_COLUMNS                                                                     \
	{.title = "allocations_seen"}, {.title = "malloc_bytes"}, {.title = "malloc_bytes_low"}, \
		{.title = "malloc_bytes_high"}, {.title = "malloc_count"},                       \
		{.title = "malloc_count_low"}, {.title = "malloc_count_high"},                   \
		{.title = "python_bytes"}, {.title = "free_bytes"}, {.title = "growth_bytes"},   \
		{.title = "growth_bytes_low"}, {.title = "growth_bytes_high"},                   \
		{.title = "peak_bytes"}, {.title = "peak_bytes_low"},                            \
		{.title = "peak_bytes_high"}, {.title = "own_peak_bytes"},                       \
		{.title = "own_peak_bytes_low"}, {.title = "own_peak_bytes_high"},               \
		{.title = "average_bytes"}, {.title = "final_bytes"},                            \
		{.title = "temporary_bytes"}, {.title = "temporary_count"},                      \
		{.title = "copies_seen"}, {.title = "copy_bytes"}, {.title = "copy_bytes_low"},  \
		{.title = "copy_bytes_high"}, {.title = "copy_mb_s"}, {.title = "read_bytes"},   \
	{                                                                                        \
		.title = "write_bytes"                                                           \
	}
void table_memory_cells(struct table *t, const struct report *r, const struct memory *m);

#endif
