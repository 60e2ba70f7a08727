/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the live view: which columns each has, and its rows in order, from two snapshots:
 * the difference is what happens now.
 */
#ifndef SCPROF_LIVE_TABLE_H
#define SCPROF_LIVE_TABLE_H

#include "analyze/live_snapshot.h"

enum live_view {
	LIVE_VIEW_LINES,
	LIVE_VIEW_FUNCTIONS,
	LIVE_VIEW_THREADS,
	LIVE_VIEW_PROCESSES,
	LIVE_VIEW_MEMORY,
	LIVE_VIEW_LEAKS,
	LIVE_VIEWS,
};

enum live_figure {
	LIVE_FIGURE_NOW,     /* of the last seconds: percent of one processor, or of the time */
	LIVE_FIGURE_OVERALL, /* of the whole time: the same */
	LIVE_FIGURE_TIME,
	LIVE_FIGURE_BYTES,
	LIVE_FIGURE_CHANGE, /* bytes a second in the last seconds */
	LIVE_FIGURE_RATE,   /* bytes a second */
	LIVE_FIGURE_SHARE,  /* 0..1 */
};

#define LIVE_COLUMNS_MAX 8
#define LIVE_COLUMN_WIDTH 8

struct live_column {
	const char *title;
	enum live_figure figure;
	enum live_value value;
};

struct live_layout {
	const char *name;
	enum live_list list;
	const char *place; /* title of what the rows are */
	bool narrow;       /* a place is short: the text needs the room */
	size_t column_count;
	struct live_column columns[LIVE_COLUMNS_MAX];
	const char *nothing; /* what to say without rows */
};

const struct live_layout *live_layout(enum live_view view);

struct live_item {
	const struct live_row *row;
	double figures[LIVE_COLUMNS_MAX]; /* NAN: not known */
};

struct live_table {
	const struct live_layout *layout;
	const struct live_snapshot *snapshot;
	struct live_item *items;
	size_t count;
	size_t capacity;
};

/* Fills the table with the rows that have something to show and `filter` in their texts, sorted by
 * a column, largest first. Borrows from snapshot; before may be NULL. */
void live_table_fill(struct live_table *t, enum live_view view, size_t sort, const char *filter,
		     const struct live_snapshot *snapshot, const struct live_snapshot *before);
void live_table_release(struct live_table *t);

/* "12.3", "1.23 s", "4.5 MB"; "" for nothing, "-" for not known. */
#define LIVE_TEXT_SIZE 48
const char *live_figure_text(char text[LIVE_TEXT_SIZE], enum live_figure figure, double value);

#endif
