/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables as aligned text, as Markdown and as CSV.
 */
#include "analyze/report_table.h"

#include <inttypes.h>
#include <stdlib.h>

#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define GAP 2         /* columns between two cells */
#define WIDE_TEXT 32  /* what text is not cut below before figures are left out */
#define LAST_WIDTH 16 /* nor after that */

void table_init(struct table *t, const struct table_column *columns, size_t column_count)
{
	*t = (struct table){.columns = columns, .column_count = column_count};
}

void table_release(struct table *t)
{
	free(t->cells);
	free(t->styles);
	buf_release(&t->text);
	*t = (struct table){0};
}

static void end_row(struct table *t)
{
	size_t want = t->row_count * t->column_count;

	if (want == t->cell_count)
		return;
	t->cells = xgrow(t->cells, &t->cell_capacity, want, sizeof(*t->cells));
	while (t->cell_count < want)
		t->cells[t->cell_count++] = (struct table_cell){0};
}

void table_row(struct table *t, enum report_style style)
{
	end_row(t);
	t->styles = xgrow(t->styles, &t->row_capacity, t->row_count + 1, sizeof(*t->styles));
	t->styles[t->row_count++] = style;
}

void table_bytes(struct table *t, const char *text, size_t size)
{
	t->cells = xgrow(t->cells, &t->cell_capacity, t->cell_count + 1, sizeof(*t->cells));
	t->cells[t->cell_count++] = (struct table_cell){.start = t->text.size, .size = size};
	buf_add(&t->text, text, size);
}

void table_text(struct table *t, const char *text)
{
	table_bytes(t, text, strlen(text));
}

void table_printf(struct table *t, const char *format, ...)
{
	struct buf text = {0};
	va_list args;

	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	table_bytes(t, (const char *)text.data, text.size);
	buf_release(&text);
}

void table_uint(struct table *t, uint64_t value)
{
	table_printf(t, "%" PRIu64, value);
}

void table_pid(struct table *t, int32_t pid)
{
	if (pid)
		table_printf(t, "%d", (int)pid);
	else
		table_text(t, "");
}

/* A cell's bytes; cells that were not added are empty. */
static struct trace_text cell_at(const struct table *t, size_t row, size_t column)
{
	size_t at = row * t->column_count + column;

	if (at >= t->cell_count || t->cells[at].size == 0)
		return (struct trace_text){.data = "", .size = 0};
	return (struct trace_text){
		.data = (const char *)t->text.data + t->cells[at].start,
		.size = t->cells[at].size,
	};
}

static bool column_is_empty(const struct table *t, size_t column)
{
	for (size_t row = 0; row < t->row_count; row++) {
		if (cell_at(t, row, column).size > 0)
			return false;
	}
	return true;
}

/* Blanks are owed until something stands behind them: no line ends in them. */
static void print_cell(FILE *to, const struct table_column *column, const struct buf *text,
		       size_t width, size_t *owed)
{
	size_t used = report_width((const char *)text->data, text->size);
	size_t pad = width > used ? width - used : 0;

	*owed += GAP + (column->left ? 0 : pad);
	if (text->size > 0) {
		fprintf(to, "%*s", (int)*owed, "");
		fwrite(text->data, 1, text->size, to);
		*owed = 0;
	}
	*owed += column->left ? pad : 0;
}

/* The clean text of a cell, or of the column's title; cut to the width when that is known. */
static void cell_clean(const struct table *t, const struct report *r, struct buf *clean, size_t row,
		       size_t column, bool title, size_t width)
{
	struct trace_text cell = cell_at(t, row, column);
	const char *text = title ? t->columns[column].title : cell.data;
	size_t size = title ? strlen(text) : cell.size;
	struct buf all = {0};

	buf_clear(clean);
	report_clean(&all, text, size);
	text = buf_text(&all);
	if (t->columns[column].tail && report_width(text, all.size) > width) {
		size_t from = 0;

		while (from < all.size &&
		       report_width(text + from, all.size - from) + (r->options->unicode ? 1 : 3) >
			       width)
			from += json_utf8_length(text + from, all.size - from);
		buf_add_text(clean, r->options->unicode ? "\u2026" : "...");
		buf_add(clean, text + from, all.size - from);
	} else {
		buf_add(clean, text, report_fit(text, all.size, width));
	}
	buf_release(&all);
}

/* How the columns share the terminal's width. */
struct layout {
	size_t *widths; /* 0: not shown */
	size_t last;    /* the last column that is */
};

static void print_row(const struct table *t, const struct report *r, const struct layout *l,
		      size_t row, bool title)
{
	struct buf clean = {0};
	size_t owed = 0;

	for (size_t i = 0; i <= l->last && t->column_count; i++) {
		if (l->widths[i] == 0)
			continue;
		cell_clean(t, r, &clean, row, i, title, l->widths[i]);
		print_cell(r->to, &t->columns[i], &clean, l->widths[i], &owed);
	}
	buf_release(&clean);
}

static void find_last(const struct table *t, struct layout *l)
{
	l->last = 0;
	for (size_t i = 0; i < t->column_count; i++)
		l->last = l->widths[i] ? i : l->last;
}

/* What the table takes when its last column is cut as far as it may be. */
static size_t least_width(const struct table *t, const struct layout *l)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->column_count; i++) {
		size_t width = l->widths[i];

		if (i == l->last && width > LAST_WIDTH)
			width = LAST_WIDTH;
		sum += width ? width + GAP : 0;
	}
	return sum;
}

/* Leaves out the next column that can be done without; false when there is none. */
static bool drop_column(const struct table *t, struct layout *l)
{
	size_t found = t->column_count;

	for (size_t i = 0; i < t->column_count; i++) {
		if (l->widths[i] && t->columns[i].drop &&
		    (found == t->column_count || t->columns[i].drop > t->columns[found].drop))
			found = i;
	}
	if (found == t->column_count)
		return false;
	l->widths[found] = 0;
	find_last(t, l);
	return true;
}

/* Takes from the widest column of text; false when none is wider than least. */
static bool squeeze_column(const struct table *t, struct layout *l, size_t least)
{
	size_t found = t->column_count;

	for (size_t i = 0; i < t->column_count; i++) {
		if (t->columns[i].left && l->widths[i] > least && i != l->last &&
		    (found == t->column_count || l->widths[i] > l->widths[found]))
			found = i;
	}
	if (found == t->column_count)
		return false;
	l->widths[found]--;
	return true;
}

static void fit_columns(const struct table *t, const struct report *r, struct layout *l)
{
	size_t width = (size_t)r->options->width;
	size_t rest = 0;

	find_last(t, l);
	if (r->options->width <= 0)
		return;
	while (least_width(t, l) > width && squeeze_column(t, l, WIDE_TEXT)) {
	}
	while (least_width(t, l) > width &&
	       (drop_column(t, l) || squeeze_column(t, l, LAST_WIDTH))) {
	}
	for (size_t i = 0; i < l->last; i++)
		rest += l->widths[i] ? l->widths[i] + GAP : 0;
	rest = width > rest + GAP ? width - rest - GAP : 1;
	if (l->widths[l->last] > rest)
		l->widths[l->last] = rest;
}

void table_print_text(const struct table *t, const struct report *r)
{
	struct layout l = {.widths = xcalloc(t->column_count + 1, sizeof(*l.widths))};
	struct buf clean = {0};

	for (size_t i = 0; i < t->column_count; i++) {
		if (column_is_empty(t, i))
			continue;
		l.widths[i] = strlen(t->columns[i].title);
		for (size_t row = 0; row < t->row_count; row++) {
			size_t width;

			cell_clean(t, r, &clean, row, i, false, SIZE_MAX);
			width = report_width(buf_text(&clean), clean.size);
			if (width > l.widths[i])
				l.widths[i] = width;
		}
	}
	fit_columns(t, r, &l);
	fputs(report_style(r, REPORT_STYLE_DIM), r->to);
	print_row(t, r, &l, 0, true);
	fprintf(r->to, "%s\n", report_style(r, REPORT_STYLE_NONE));
	for (size_t row = 0; row < t->row_count; row++) {
		fputs(t->styles[row] ? report_style(r, t->styles[row]) : "", r->to);
		print_row(t, r, &l, row, false);
		fprintf(r->to, "%s\n", t->styles[row] ? report_style(r, REPORT_STYLE_NONE) : "");
	}
	buf_release(&clean);
	free(l.widths);
}

/* Text in a cell must not end the cell, start markup or hide. */
static void print_markdown_cell(FILE *to, const struct table_column *column, struct trace_text cell)
{
	struct buf clean = {0};
	const char *text;

	while (cell.size > 0 && cell.data[cell.size - 1] == ' ')
		cell.size--;
	report_clean(&clean, cell.data, cell.size);
	text = buf_text(&clean);
	while (*text == ' ')
		text++;
	/* A backtick inside takes two of them outside. */
	if (column->code && *text)
		fputs(strchr(text, '`') ? "`` " : "`", to);
	for (const char *at = text; *at; at++) {
		if (*at == '|')
			fputs("\\|", to);
		else if (!column->code && strchr("\\`*_<>[]#&", *at))
			fprintf(to, "\\%c", *at);
		else
			fputc(*at, to);
	}
	if (column->code && *text)
		fputs(strchr(text, '`') ? " ``" : "`", to);
	buf_release(&clean);
}

void table_print_markdown(const struct table *t, FILE *to)
{
	bool *empty = xcalloc(t->column_count + 1, sizeof(*empty));

	for (size_t i = 0; i < t->column_count; i++)
		empty[i] = column_is_empty(t, i);
	for (size_t i = 0; i < t->column_count; i++) {
		if (!empty[i])
			fprintf(to, "| %s ", t->columns[i].title);
	}
	fputs("|\n", to);
	for (size_t i = 0; i < t->column_count; i++) {
		if (!empty[i])
			fputs(t->columns[i].left ? "|---" : "|--:", to);
	}
	fputs("|\n", to);
	for (size_t row = 0; row < t->row_count; row++) {
		for (size_t i = 0; i < t->column_count; i++) {
			if (empty[i])
				continue;
			fputs("| ", to);
			print_markdown_cell(to, &t->columns[i], cell_at(t, row, i));
			fputc(' ', to);
		}
		fputs("|\n", to);
	}
	free(empty);
}

static void print_csv_cell(FILE *to, struct trace_text cell)
{
	if (!memchr(cell.data, ',', cell.size) && !memchr(cell.data, '"', cell.size) &&
	    !memchr(cell.data, '\n', cell.size) && !memchr(cell.data, '\r', cell.size)) {
		fwrite(cell.data, 1, cell.size, to);
		return;
	}
	fputc('"', to);
	for (size_t i = 0; i < cell.size; i++) {
		if (cell.data[i] == '"')
			fputc('"', to);
		fputc(cell.data[i], to);
	}
	fputc('"', to);
}

void table_print_csv(const struct table *t, FILE *to)
{
	for (size_t i = 0; i < t->column_count; i++)
		fprintf(to, "%s%s", i ? "," : "", t->columns[i].title);
	fputs("\r\n", to);
	for (size_t row = 0; row < t->row_count; row++) {
		for (size_t i = 0; i < t->column_count; i++) {
			if (i)
				fputc(',', to);
			print_csv_cell(to, cell_at(t, row, i));
		}
		fputs("\r\n", to);
	}
}
