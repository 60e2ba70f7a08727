/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables as aligned text, as Markdown and as CSV.
 */
#include "analyze/report_table.h"

#include <inttypes.h>
#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define GAP 2 /* columns between two cells */

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

static void print_padding(FILE *to, size_t count)
{
	fprintf(to, "%*s", (int)count, "");
}

static void print_aligned(FILE *to, const struct table_column *column, const char *text,
			  size_t size, size_t width, bool last)
{
	size_t used = report_width(text, size);
	size_t pad = width > used ? width - used : 0;

	if (!column->left)
		print_padding(to, pad);
	fwrite(text, 1, size, to);
	if (column->left && !last)
		print_padding(to, pad);
}

/* Prints the row's cells; the last column is cut to what is left of the terminal's width. */
static void print_row(const struct table *t, const struct report *r, const size_t *widths,
		      size_t row, bool title)
{
	struct buf clean = {0};
	size_t used = 0;
	size_t last = 0;

	for (size_t i = 0; i < t->column_count; i++)
		last = widths[i] ? i : last;
	for (size_t i = 0; i <= last && t->column_count; i++) {
		struct trace_text cell = cell_at(t, row, i);
		const char *text = title ? t->columns[i].title : cell.data;
		size_t size;

		if (widths[i] == 0)
			continue;
		buf_clear(&clean);
		report_clean(&clean, text, title ? strlen(text) : cell.size);
		size = clean.size;
		used += GAP;
		if (i == last && r->options->width > 0 && (size_t)r->options->width > used)
			size = report_fit(buf_text(&clean), size, (size_t)r->options->width - used);
		print_padding(r->to, GAP);
		print_aligned(r->to, &t->columns[i], buf_text(&clean), size, widths[i], i == last);
		used += widths[i];
	}
	buf_release(&clean);
}

void table_print_text(const struct table *t, const struct report *r)
{
	size_t *widths = xcalloc(t->column_count + 1, sizeof(*widths));
	struct buf clean = {0};

	for (size_t i = 0; i < t->column_count; i++) {
		if (column_is_empty(t, i))
			continue;
		widths[i] = strlen(t->columns[i].title);
		for (size_t row = 0; row < t->row_count; row++) {
			struct trace_text cell = cell_at(t, row, i);
			size_t width;

			buf_clear(&clean);
			report_clean(&clean, cell.data, cell.size);
			width = report_width(buf_text(&clean), clean.size);
			if (width > widths[i])
				widths[i] = width;
		}
	}
	fputs(report_style(r, REPORT_STYLE_DIM), r->to);
	print_row(t, r, widths, 0, true);
	fprintf(r->to, "%s\n", report_style(r, REPORT_STYLE_NONE));
	for (size_t row = 0; row < t->row_count; row++) {
		fputs(t->styles[row] ? report_style(r, t->styles[row]) : "", r->to);
		print_row(t, r, widths, row, false);
		fprintf(r->to, "%s\n", t->styles[row] ? report_style(r, REPORT_STYLE_NONE) : "");
	}
	buf_release(&clean);
	free(widths);
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
