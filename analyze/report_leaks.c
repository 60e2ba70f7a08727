/* SPDX-License-Identifier: Apache-2.0
 *
 * What grows: each leak with its evidence and its whole stack, then what grew once and stayed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define TREND_WIDTH 48
/* Frames of a deep stack that are shown; what is in between is counted. */
#define OUTER_FRAMES 12
#define INNER_FRAMES 24
/* What is longer than most pushes only its own line to the right. */
#define MOST_PLACE 36
#define MOST_NAME 28
/* Recorded small blocks that it takes to be sure of a leak: growth.c wants Z_LAST squared in a
 * third. */
#define BLOCKS_NEEDED 20

bool report_shows_leak(const struct report *r, const struct model_leak *leak)
{
	const struct report_options *o = r->options;

	/* What no longer grows has no rate to compare. */
	if (o->min_leak_rate > 0 &&
	    (leak->verdict != MODEL_LEAK_GROWING || leak->growth_bytes_per_s < o->min_leak_rate))
		return false;
	return leak->live_bytes >= o->min_leak_bytes;
}

const struct model_leak *report_worst_leak(const struct report *r, double rate, size_t *count)
{
	const struct model_view *v = r->view;
	const struct model_leak *worst = NULL;

	*count = 0;
	for (size_t i = 0; i < v->leak_count; i++) {
		const struct model_leak *leak = &v->leaks[i];

		if (leak->verdict != MODEL_LEAK_GROWING || !report_shows_leak(r, leak) ||
		    leak->growth_bytes_per_s <= rate)
			continue;
		(*count)++;
		if (!worst || leak->growth_bytes_per_s > worst->growth_bytes_per_s)
			worst = leak;
	}
	return worst;
}

size_t report_leak_stack(const struct report *r, const struct model_leak *leak, uint32_t **nodes)
{
	const struct model_view *v = r->view;
	size_t count = 0;
	size_t capacity = 0;
	uint32_t *stack = NULL;

	for (uint32_t at = leak->node; at; at = v->nodes[at].parent) {
		if (v->nodes[at].function == UINT32_MAX)
			continue;
		stack = xgrow(stack, &capacity, count + 1, sizeof(*stack));
		stack[count++] = at;
	}
	for (size_t i = 0; i < count / 2; i++) {
		uint32_t node = stack[i];

		stack[i] = stack[count - 1 - i];
		stack[count - 1 - i] = node;
	}
	*nodes = stack;
	return count;
}

void report_leak_place(struct buf *to, const struct report *r, const struct model_leak *leak)
{
	const struct model_line *line = &r->view->lines[leak->line];
	const struct model_file *file = report_line_file(r, line);

	if (file->origin == MODEL_NONE)
		buf_add_text(to, r->view->functions[line->function].name);
	else
		report_add_place(to, r, file, line->line);
}

/* A line of the report, cut to the terminal. Foreign text may be in it. */
static void print_line(const struct report *r, struct buf *text)
{
	struct buf clean = {0};
	size_t size;

	report_clean(&clean, buf_text(text), text->size);
	size = clean.size;
	while (size > 0 && clean.data[size - 1] == ' ')
		size--;
	if (r->options->width > 0)
		size = report_fit(buf_text(&clean), size, (size_t)r->options->width);
	fwrite(buf_text(&clean), 1, size, r->to);
	fputc('\n', r->to);
	buf_release(&clean);
	buf_clear(text);
}

static void add_time(struct buf *to, uint64_t ns)
{
	char text[FIGURE_SIZE];

	buf_add_text(to, ns ? figure_time(text, ns) : "0 s");
}

static void add_bytes(struct buf *to, double bytes)
{
	char text[FIGURE_SIZE];
	const char *figure = figure_bytes(text, bytes);

	buf_add_text(to, *figure ? figure : "0 B");
}

static void add_range(struct buf *to, double low, double high, const char *unit)
{
	char text[FIGURE_SIZE];

	if (high > low)
		buf_printf(to, " (%s%s)", figure_bytes_range(text, low, high), unit);
}

static void print_heading(const struct report *r, const struct model_leak *leak, size_t number)
{
	const struct model_function *f = &r->view->functions[r->view->lines[leak->line].function];
	struct buf text = {0};

	fputs(report_style(r, leak->likelihood >= 0.95 ? REPORT_STYLE_HOT : REPORT_STYLE_WARM),
	      r->to);
	buf_printf(&text, "  %zu. ", number);
	report_leak_place(&text, r, leak);
	if (f->name[0] != '<')
		buf_printf(&text, " in %s", f->name);
	print_line(r, &text);
	fputs(report_style(r, REPORT_STYLE_NONE), r->to);
	buf_release(&text);
}

static void print_growth(const struct report *r, const struct model_leak *leak)
{
	struct buf text = {0};

	buf_add_text(&text, "     grows    ");
	add_bytes(&text, leak->growth_bytes_per_s);
	buf_add_text(&text, "/s");
	add_range(&text, leak->growth_low, leak->growth_high, "/s");
	buf_printf(&text, ", likelihood %.*f %%", leak->likelihood > 0.99 ? 1 : 0,
		   100 * fmin(leak->likelihood, 0.999));
	print_line(r, &text);
	buf_add_text(&text, "     live     ");
	add_bytes(&text, leak->live_bytes);
	add_range(&text, leak->live_low, leak->live_high, "");
	buf_add_text(&text, "; ");
	add_bytes(&text, leak->allocated_bytes);
	buf_add_text(&text, " allocated, ");
	add_bytes(&text, leak->freed_bytes);
	buf_add_text(&text, " freed");
	print_line(r, &text);
	buf_release(&text);
}

static void print_ages(const struct report *r, const struct model_leak *leak)
{
	struct buf text = {0};
	char figure[FIGURE_SIZE];

	buf_printf(&text, "     blocks   %s alive, ",
		   figure_count(figure, (uint64_t)(leak->blocks_alive + 0.5)));
	add_time(&text, leak->youngest_ns);
	buf_add_text(&text, " to ");
	add_time(&text, leak->oldest_ns);
	buf_add_text(&text, " old, half of them over ");
	add_time(&text, leak->median_age_ns);
	print_line(r, &text);
	buf_add_text(&text, "     grew     from ");
	add_time(&text, leak->first_growth_ns);
	buf_add_text(&text, " to ");
	add_time(&text, leak->last_growth_ns);
	print_line(r, &text);
	buf_add_text(&text, "     at exit  ");
	add_bytes(&text, leak->live_bytes);
	if (report_saw_end(r)) {
		buf_add_text(&text, " after user code, ");
		add_bytes(&text, leak->final_bytes);
		buf_add_text(&text, " at the very end");
		buf_add_text(&text, report_leak_was_held(leak) ? ": it was still referred to"
							       : ": nobody freed it");
	} else {
		buf_add_text(&text, " when the recording ended");
	}
	print_line(r, &text);
	buf_release(&text);
}

static void print_trend(const struct report *r, const struct model_leak *leak)
{
	float live[TREND_WIDTH];
	struct buf text = {0};
	float max = 0;

	if (!leak->live)
		return;
	spark_shrink(live, TREND_WIDTH, leak->live, r->view->memory.point_count);
	for (int i = 0; i < TREND_WIDTH; i++)
		max = fmaxf(max, live[i]);
	buf_add_text(&text, "     over time  ");
	spark_add(&text, r, live, TREND_WIDTH, max);
	print_line(r, &text);
	buf_release(&text);
}

/* What a stack's lines are made of, as wide as they need to be. */
struct stack_columns {
	size_t place;
	size_t name;
};

static void add_place(struct buf *to, const struct report *r, uint32_t node)
{
	const struct model_view *v = r->view;
	const struct model_file *file = &v->files[v->functions[v->nodes[node].function].file];

	if (file->origin != MODEL_NONE)
		report_add_place(to, r, file, v->nodes[node].line);
}

static void add_name(struct buf *to, const struct report *r, uint32_t node, size_t turns)
{
	buf_add_text(to, r->view->functions[r->view->nodes[node].function].name);
	if (turns > 1)
		buf_printf(to, " (%zu times)", turns);
}

/* Adds blanks until what was added from start on is width wide. */
static void pad(struct buf *to, size_t start, size_t width)
{
	struct buf clean = {0};
	size_t used;

	buf_text(to);
	report_clean(&clean, (const char *)to->data + start, to->size - start);
	for (used = report_width(buf_text(&clean), clean.size); used < width; used++)
		buf_add_byte(to, ' ');
	buf_release(&clean);
}

/* A frame, where it is and its source; turns: how often the same line follows itself. */
static void print_frame(const struct report *r, uint32_t node, size_t turns,
			const struct stack_columns *columns)
{
	const struct model_view *v = r->view;
	const struct model_file *file = &v->files[v->functions[v->nodes[node].function].file];
	struct source_index source;
	struct trace_text line;
	struct buf text = {0};
	size_t start;

	buf_add_text(&text, "       ");
	start = text.size;
	add_place(&text, r, node);
	pad(&text, start, columns->place);
	buf_add_text(&text, "  ");
	start = text.size;
	add_name(&text, r, node, turns);
	source_index_init(&source, file);
	line = source_index_line(&source, v->nodes[node].line);
	while (line.size && (*line.data == ' ' || *line.data == '\t')) {
		line.data++;
		line.size--;
	}
	if (line.size) {
		pad(&text, start, columns->name);
		buf_add_text(&text, r->options->unicode ? "  \u2502 " : "  | ");
		buf_add(&text, line.data, line.size);
	}
	print_line(r, &text);
	source_index_release(&source);
	buf_release(&text);
}

static bool same_line(const struct report *r, uint32_t a, uint32_t b)
{
	const struct model_node *nodes = r->view->nodes;

	return nodes[a].function == nodes[b].function && nodes[a].line == nodes[b].line;
}

struct stack_walk {
	const struct report *r;
	const uint32_t *stack;
	size_t count;
	struct stack_columns columns;
};

/* Goes through what is shown of the stack; prints it, or only measures it. */
static void walk_stack(struct stack_walk *w, bool print)
{
	size_t skip_from = OUTER_FRAMES;
	size_t skip_to = w->count > INNER_FRAMES ? w->count - INNER_FRAMES : 0;

	for (size_t i = 0; i < w->count;) {
		struct buf text = {0};
		size_t turns = 1;
		size_t width;

		while (i + turns < w->count && same_line(w->r, w->stack[i], w->stack[i + turns]))
			turns++;
		if (i >= skip_from && i + turns <= skip_to) {
			if (print)
				fprintf(w->r->to, "       ... %zu more frames ...\n", skip_to - i);
			i = skip_to;
			continue;
		}
		if (print)
			print_frame(w->r, w->stack[i], turns, &w->columns);
		add_place(&text, w->r, w->stack[i]);
		width = report_width(buf_text(&text), text.size);
		w->columns.place = width > w->columns.place ? width : w->columns.place;
		buf_clear(&text);
		add_name(&text, w->r, w->stack[i], turns);
		width = report_width(buf_text(&text), text.size);
		w->columns.name = width > w->columns.name ? width : w->columns.name;
		buf_release(&text);
		i += turns;
	}
	if (w->columns.place > MOST_PLACE)
		w->columns.place = MOST_PLACE;
	if (w->columns.name > MOST_NAME)
		w->columns.name = MOST_NAME;
}

static void print_stack(const struct report *r, const struct model_leak *leak)
{
	uint32_t *stack;
	struct stack_walk w = {.r = r, .count = report_leak_stack(r, leak, &stack)};

	w.stack = stack;
	fputs(report_style(r, REPORT_STYLE_DIM), r->to);
	if (w.count == 0)
		fputs("     allocated without a Python frame on the stack\n", r->to);
	else
		fputs("     stack, the outermost first:\n", r->to);
	fputs(report_style(r, REPORT_STYLE_NONE), r->to);
	walk_stack(&w, false);
	walk_stack(&w, true);
	free(stack);
}

static void print_once(struct report *r)
{
	struct table t;
	size_t left_out = tables_grown_once(r, &t);

	if (t.row_count) {
		fputs("  Grew once, then stayed: caches, tables, imports. What the interpreter's\n"
		      "  end freed was held by a module; the rest nobody freed.\n",
		      r->to);
		table_print_text(&t, r);
		if (left_out)
			fprintf(r->to, "  %zu more, see --top\n", left_out);
		fputc('\n', r->to);
	}
	table_release(&t);
}

/* No leak was found; and what could not have been. */
static void print_none(const struct report *r)
{
	const struct report_options *o = r->options;
	double rate = (double)r->view->memory.rate;
	char needed[FIGURE_SIZE], every[FIGURE_SIZE];

	if (o->min_leak_rate > 0 || o->min_leak_bytes > 0) {
		fputs("  nothing grew to the end by as much as --min-leak asks for\n\n", r->to);
		return;
	}
	fputs("  nothing grew to the end\n", r->to);
	if (rate > 1)
		fprintf(r->to,
			"  One allocation in %s was sampled: a leak of less than some %s does not "
			"show;\n"
			"  smaller ones take scprof-record --memory-rate 32K, or --memory=full.\n",
			figure_bytes(every, rate), figure_bytes(needed, BLOCKS_NEEDED * rate));
	fputc('\n', r->to);
}

void report_leaks(struct report *r)
{
	const struct model_view *v = r->view;
	size_t limit = r->options->top ? r->options->top : REPORT_TOP_LEAKS;
	size_t shown = 0;
	size_t left_out = 0;

	for (size_t i = 0; i < v->leak_count; i++) {
		const struct model_leak *leak = &v->leaks[i];

		if (leak->verdict != MODEL_LEAK_GROWING || !report_shows_leak(r, leak))
			continue;
		if (shown == limit) {
			left_out++;
			continue;
		}
		print_heading(r, leak, ++shown);
		print_growth(r, leak);
		print_ages(r, leak);
		print_trend(r, leak);
		print_stack(r, leak);
		fputc('\n', r->to);
	}
	if (left_out)
		fprintf(r->to, "  %zu more, see --top\n\n", left_out);
	if (shown == 0)
		print_none(r);
	print_once(r);
}
