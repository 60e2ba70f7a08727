/* SPDX-License-Identifier: Apache-2.0
 *
 * The flame graph as one SVG file. It holds two things: a picture of the whole, laid out for
 * readers that show SVG as an image, and the data of all boxes, from which the script draws the
 * same picture in a browser, to its width, and every other view: a zoomed one shows what was too
 * narrow before.
 *
 * The ids and classes (#frames > g > title, rect, text; #search, #unzoom, #details, #matched;
 * "parent", "hide") are those that scripts for flame graphs expect.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/clean_text.h"
#include "convert/flamegraph.h"
#include "convert/flamegraph_assets.h"
#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Data of more boxes than the first makes a page slow; the static picture holds fewer. */
#define MAX_BOXES 100000
#define MAX_STATIC_BOXES 4000
#define MAX_STATIC_ROWS 200

/* Known to flamegraph.js, too. */
#define WIDTH 1200
#define MARGIN 10
#define TOP 100
#define ROW 18

#define SMALLEST_PX 0.3
#define CHARACTER_PX 7.3 /* on the safe side: the reader's font is not known */
#define ELLIPSIS_PX 12
#define TITLE_CHARACTERS 90
#define SHADES 5

struct svg {
	FILE *to;
	struct export *x;
	struct flame_graph graph;
	const struct cost *cost;
	uint32_t rows;
	struct buf text; /* scratch */
};

static double share(const struct svg *s, uint64_t part)
{
	uint64_t whole = s->graph.boxes[0].total;

	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void add_amount(struct svg *s, uint64_t value)
{
	cost_text(&s->text, value, s->cost->unit);
}

static void write_xml(struct svg *s, const char *text)
{
	buf_clear(&s->text);
	clean_text_xml(&s->text, text);
	fputs(buf_text(&s->text), s->to);
}

/* The same shade for the same label, in the script as well. */
static unsigned int shade_of(const char *label)
{
	unsigned int hash = 0;

	for (; *label; label++)
		hash = (hash * 31 + (unsigned char)*label) & 0xffff;
	return hash % SHADES;
}

/* Shortens text to its first characters and an ellipsis; to nothing when there is no room. */
static void cut_text(struct buf *text, size_t characters)
{
	size_t at = 0;

	for (size_t n = 0; at < text->size; at++) {
		if ((text->data[at] & 0xc0) != 0x80 && n++ == characters)
			break;
	}
	text->size = at;
	if (at > 0)
		buf_add_text(text, "…");
}

/* As much of the label as fits: all of it, its name, or the name cut off. */
static void write_fitted(struct svg *s, const struct flame_frame *frame, double width_px)
{
	double room_px = width_px - 6;
	struct buf label = {0};

	if ((double)clean_text_length(frame->label) * CHARACTER_PX <= room_px) {
		write_xml(s, frame->label);
		return;
	}
	buf_add(&label, frame->label, frame->name_length);
	if ((double)clean_text_length(buf_text(&label)) * CHARACTER_PX > room_px)
		cut_text(&label, (size_t)((room_px - ELLIPSIS_PX) / CHARACTER_PX));
	write_xml(s, buf_text(&label));
	buf_release(&label);
}

static void write_box(struct svg *s, const struct flame_box *box)
{
	const struct flame_frame *frame = &s->graph.frames[box->frame];
	double full_px = WIDTH - 2 * MARGIN;
	double left_px = MARGIN + full_px * share(s, box->start) / 100;
	double width_px = box->depth > 0 ? full_px * share(s, box->total) / 100 : full_px;
	uint32_t top_px = TOP + box->depth * ROW;

	fputs("<g class=\"func_g\"><title>", s->to);
	write_xml(s, frame->label);
	buf_clear(&s->text);
	buf_add_text(&s->text, "\n");
	add_amount(s, box->total);
	buf_printf(&s->text, ", %.2f %%; self ", share(s, box->total));
	add_amount(s, box->self);
	buf_printf(&s->text, ", %.2f %%", share(s, box->self));
	fputs(buf_text(&s->text), s->to);
	if (*frame->path) {
		putc('\n', s->to);
		write_xml(s, frame->path);
		if (frame->line > 0)
			fprintf(s->to, ":%d", frame->line);
	}
	fprintf(s->to,
		"</title><rect x=\"%.2f\" y=\"%u\" width=\"%.2f\" height=\"%d\" rx=\"1\" "
		"class=\"%c%u\"/>",
		left_px, top_px, width_px > 3 ? width_px - 0.7 : width_px, ROW - 1,
		flame_kind_letter(frame->kind), shade_of(frame->label));
	if (width_px >= 6 + ELLIPSIS_PX + CHARACTER_PX) {
		fprintf(s->to, "<text x=\"%.2f\" y=\"%u\">", left_px + 3, top_px + 13);
		write_fitted(s, frame, width_px);
		fputs("</text>", s->to);
	}
	fputs("</g>\n", s->to);
}

static int compare_down(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The weight a box needs to be in the static picture. */
static uint64_t find_least(const struct flame_graph *g)
{
	uint64_t least = (uint64_t)((double)g->boxes[0].total * SMALLEST_PX / (WIDTH - 2 * MARGIN));
	uint64_t *totals;

	if (g->count > MAX_STATIC_BOXES) {
		totals = xmalloc(g->count * sizeof(*totals));
		for (size_t i = 0; i < g->count; i++)
			totals[i] = g->boxes[i].total;
		qsort(totals, g->count, sizeof(*totals), compare_down);
		if (totals[MAX_STATIC_BOXES] + 1 > least)
			least = totals[MAX_STATIC_BOXES] + 1;
		free(totals);
	}
	return least > 0 ? least : 1;
}

static bool is_shown(const struct flame_box *box, uint64_t least)
{
	return box->depth < MAX_STATIC_ROWS && (box->depth == 0 || box->total >= least);
}

static void write_picture(struct svg *s, uint64_t least)
{
	fputs("<g id=\"frames\">\n", s->to);
	for (size_t i = 0; i < s->graph.count; i++) {
		if (is_shown(&s->graph.boxes[i], least))
			write_box(s, &s->graph.boxes[i]);
	}
	fputs("</g>\n", s->to);
}

static void write_legend(struct svg *s)
{
	static const struct {
		enum flame_kind kind;
		const char *name;
	} entries[] = {
		{FLAME_USER, "your code"},
		{FLAME_LIBRARY, "libraries"},
		{FLAME_STANDARD, "standard library"},
		{FLAME_NATIVE, "native"},
		{FLAME_SYSTEM, "system"},
		{FLAME_WAIT, "waiting"},
		{FLAME_THREAD, "other"},
	};
	double left_px = MARGIN;

	fputs("<g id=\"legend\">\n", s->to);
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		uint64_t ns = s->graph.kind_total[entries[i].kind];

		if (ns == 0)
			continue;
		buf_clear(&s->text);
		buf_printf(&s->text, "%s %.1f %%", entries[i].name, share(s, ns));
		fprintf(s->to,
			"<rect x=\"%.0f\" y=\"56\" width=\"12\" height=\"12\" rx=\"2\" "
			"class=\"%c0\"/><text x=\"%.0f\" y=\"66\" class=\"quiet\">%s</text>\n",
			left_px, flame_kind_letter(entries[i].kind), left_px + 17,
			buf_text(&s->text));
		left_px += 17 + (double)clean_text_length(buf_text(&s->text)) * CHARACTER_PX + 10;
	}
	fputs("</g>\n", s->to);
}

/* "1,234,567 samples" */
static void write_count(struct buf *b, uint64_t count, const char *one, const char *many)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);

	buf_add_text(b, " · ");
	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			buf_add_byte(b, ',');
		buf_add_byte(b, (uint8_t)digits[i]);
	}
	buf_printf(b, " %s", count == 1 ? one : many);
}

/* How much was seen of what the picture shows. */
static void write_events(struct svg *s)
{
	const struct metrics *total = &s->x->view->total;

	switch (cost_events(cost_of_weight(s->x->view->weight))) {
	case COST_ALLOCATIONS:
		write_count(&s->text, total->memory.events, "allocation recorded",
			    "allocations recorded");
		break;
	case COST_COPY_EVENTS:
		write_count(&s->text, total->memory.copies, "copy recorded", "copies recorded");
		break;
	default:
		write_count(&s->text, total->samples, "sample", "samples");
		break;
	}
}

static void write_head(struct svg *s, uint32_t height_px)
{
	const struct model_view *view = s->x->view;
	struct buf title = {0};

	export_title(s->x, &title);
	fprintf(s->to,
		"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%d\" "
		"height=\"%u\" viewBox=\"0 0 %d %u\" class=\"static\" "
		"style=\"max-width:100%%;height:auto\" role=\"img\" "
		"aria-labelledby=\"title\">\n<title>",
		WIDTH, height_px, WIDTH, height_px);
	write_xml(s, buf_text(&title));
	fprintf(s->to, "</title>\n<!-- written by scprof %s -->\n<style>\n%s</style>\n",
		SCPROF_VERSION, flamegraph_style);
	fprintf(s->to,
		"<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n"
		"<g id=\"head\">\n<rect class=\"back\" width=\"100%%\" height=\"%d\"/>\n"
		"<text id=\"title\" x=\"%d\" y=\"25\">",
		TOP - 2, MARGIN);
	if (clean_text_length(buf_text(&title)) > TITLE_CHARACTERS)
		cut_text(&title, TITLE_CHARACTERS);
	write_xml(s, buf_text(&title));
	fprintf(s->to, "</text>\n<text id=\"subtitle\" class=\"quiet\" x=\"%d\" y=\"45\">", MARGIN);
	buf_clear(&s->text);
	buf_printf(&s->text, "%s ", s->cost->title);
	add_amount(s, s->graph.boxes[0].total);
	write_count(&s->text, view->process_count, "process", "processes");
	write_count(&s->text, view->thread_count, "thread", "threads");
	write_events(s);
	fputs(buf_text(&s->text), s->to);
	if (s->x->note.size > 0) {
		fputs(" · ", s->to);
		write_xml(s, buf_text(&s->x->note));
	}
	fputs("</text>\n", s->to);
	write_legend(s);
	fprintf(s->to,
		"<text id=\"details\" x=\"%d\" y=\"88\"> </text>\n"
		"<text id=\"matched\" class=\"hide\" x=\"%d\" y=\"25\" text-anchor=\"end\"> "
		"</text>\n"
		"<text id=\"unzoom\" class=\"button hide\" x=\"%d\" y=\"45\">Reset zoom</text>\n"
		"<text id=\"search\" class=\"button hide\" x=\"%d\" y=\"45\">Search</text>\n"
		"</g>\n",
		MARGIN, WIDTH - MARGIN, WIDTH - 160, WIDTH - 60);
	buf_release(&title);
}

/* JSON between the tags of an XML element: what XML would take for its own only occurs in strings,
 * so it can be escaped afterwards. */
static void write_escaped_json(FILE *to, const char *json)
{
	for (; *json; json++) {
		if (*json == '<' || *json == '>' || *json == '&')
			fprintf(to, "\\u%04x", (unsigned int)*json);
		else
			putc(*json, to);
	}
}

/* Each frame as [label, length of the name in it, kind and shade, index of its path, line]. */
static void build_frame_data(const struct flame_graph *g, FILE *to)
{
	struct intern paths = {0};
	struct buf name = {0};
	struct json j;

	json_init(&j, to, 0);
	json_begin_object(&j);
	json_key(&j, "frames");
	json_begin_array(&j);
	for (size_t i = 0; i < g->frame_count; i++) {
		const struct flame_frame *frame = &g->frames[i];
		uint32_t path = intern_add(&paths, frame->path, strlen(frame->path), NULL);
		char class[3] = {flame_kind_letter(frame->kind),
				 (char)('0' + shade_of(frame->label)), 0};

		buf_clear(&name);
		buf_add(&name, frame->label, frame->name_length);
		json_begin_array(&j);
		json_text(&j, frame->label);
		json_uint(&j, clean_text_length(buf_text(&name)));
		json_text(&j, class);
		json_uint(&j, path);
		json_int(&j, frame->line);
		json_end_array(&j);
	}
	json_end_array(&j);
	json_key(&j, "paths");
	json_begin_array(&j);
	for (size_t i = 0; i < paths.count; i++)
		json_text(&j, intern_get(&paths, (uint32_t)i, NULL));
	json_end_array(&j);
	json_end_object(&j);
	buf_release(&name);
	intern_release(&paths);
}

/* The boxes follow in three columns; the script finds parents by depth. */
static int write_data(struct svg *s, struct err *err)
{
	const struct flame_graph *g = &s->graph;
	char *json = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&json, &size);

	if (!memory)
		return err_errno(err, "cannot write the frames");
	build_frame_data(g, memory);
	if (fclose(memory) != 0) {
		free(json);
		return err_errno(err, "cannot write the frames");
	}
	fputs("<script type=\"text/javascript\"><![CDATA[\nvar scprofData = ", s->to);
	write_escaped_json(s->to, json);
	free(json);
	fprintf(s->to, ";\nscprofData.unit = \"%s\";\nscprofData.frame = [",
		s->cost->unit == COST_NS ? "ns" : "bytes");
	for (size_t i = 0; i < g->count; i++)
		fprintf(s->to, "%s%u", i > 0 ? "," : "", g->boxes[i].frame);
	fputs("];\nscprofData.depth = [", s->to);
	for (size_t i = 0; i < g->count; i++)
		fprintf(s->to, "%s%u", i > 0 ? "," : "", g->boxes[i].depth);
	fputs("];\nscprofData.total = [", s->to);
	for (size_t i = 0; i < g->count; i++)
		fprintf(s->to, "%s%" PRIu64, i > 0 ? "," : "", g->boxes[i].total);
	fprintf(s->to,
		"];\n]]></script>\n<script type=\"text/javascript\"><![CDATA[\n%s]]></script>\n",
		flamegraph_script);
	return 0;
}

static void note_changes(struct svg *s, struct buf *note)
{
	if (s->graph.dropped == 0)
		return;
	buf_printf(note, "%zu boxes below ", s->graph.dropped);
	cost_text(note, s->graph.dropped_below, s->cost->unit);
	buf_add_text(note, " are shown as [small frames]");
}

static int flamegraph_write(struct export *x, struct err *err)
{
	struct svg s = {.to = x->to, .x = x};
	struct frame_table frames;
	struct call_tree tree;
	struct leaf_table leaves;
	uint64_t max_boxes = x->options->max_items > 0 ? x->options->max_items : MAX_BOXES;
	uint64_t least;
	int ret;

	frame_table_init(&frames, x->view, x->options->lines);
	call_tree_init(&tree, x->view, &frames);
	s.cost = &costs[tree.cost];
	leaf_table_init(&leaves, x->view, &tree);
	flame_graph_init(&s.graph, &frames, &tree, &leaves, max_boxes);
	note_changes(&s, &x->note);
	x->over_limit = s.graph.dropped > 0;
	least = find_least(&s.graph);
	for (size_t i = 0; i < s.graph.count; i++) {
		const struct flame_box *box = &s.graph.boxes[i];

		if (is_shown(box, least) && box->depth + 1 > s.rows)
			s.rows = box->depth + 1;
	}
	write_head(&s, TOP + s.rows * ROW + MARGIN);
	write_picture(&s, least);
	ret = write_data(&s, err);
	fputs("</svg>\n", x->to);
	buf_release(&s.text);
	flame_graph_release(&s.graph);
	leaf_table_release(&leaves);
	call_tree_release(&tree);
	frame_table_release(&frames);
	return ret;
}

static const char *const flamegraph_patterns[] = {"*.svg", NULL};

const struct exporter flamegraph_exporter = {
	.name = "flamegraph",
	.description = "an interactive flame graph to look at in a browser, one SVG file",
	.patterns = flamegraph_patterns,
	.flags = EXPORTER_MODEL,
	.write = flamegraph_write,
};
