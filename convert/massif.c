/* SPDX-License-Identifier: Apache-2.0
 *
 * The format of valgrind's massif, for ms_print and massif-visualizer: how large the heap was over
 * time, by line, and at its peak a tree of who allocated what was live. The tree begins with the
 * lines that are charged; below each are its callers. What libraries allocated is charged to the
 * user's line that called them, as massif does with the functions it is told to look through.
 * Places with less than a hundredth are put together, as massif does, too.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>

#include "convert/call_tree.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define NS_PER_MS 1000000
#define MAX_DEPTH 100
#define SMALLEST_PART 100     /* a part as small as one of these is not shown */
#define FLOAT_STEPS (1 << 23) /* the model's live bytes of a line are floats */

/* Memory that a stack allocated, and how far out of that stack the tree has come. */
struct place {
	uint32_t node; /* of the call tree */
	uint32_t frame;
	uint64_t bytes;
};

/* The places of one frame. */
struct group {
	size_t first;
	size_t count;
	uint64_t bytes;
};

/* What is below one line of the file. */
struct level {
	struct place *places; /* by frame */
	struct group *groups; /* the largest first */
	size_t group_count;
	size_t shown; /* the first ones, one by one */
	uint64_t rest_bytes;
};

/* A line at one moment. */
struct line_bytes {
	uint32_t frame;
	uint64_t bytes;
};

struct massif {
	FILE *to;
	const struct model_view *view;
	uint32_t *line_frames;  /* by model line; FRAME_TABLE_ROOT: not in the tree */
	struct line_bytes *now; /* scratch: as many as the model has lines */
	struct frame_table frames;
	struct call_tree tree;
	unsigned int snapshots;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a;
	const struct place *y = b;

	if (x->frame != y->frame)
		return x->frame < y->frame ? -1 : 1;
	return (x->node > y->node) - (x->node < y->node);
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a;
	const struct group *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

/* Takes places. */
static void level_init(struct level *l, const struct massif *m, struct place *places, size_t count)
{
	uint64_t least = m->tree.nodes[0].total / SMALLEST_PART;

	*l = (struct level){.places = places};
	l->groups = xcalloc(count, sizeof(*l->groups));
	for (size_t i = 0; i < count; i++)
		places[i].frame = m->tree.nodes[places[i].node].frame;
	if (count > 0)
		qsort(places, count, sizeof(*places), compare_places);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || places[i].frame != places[i - 1].frame)
			l->groups[l->group_count++] = (struct group){.first = i};
		l->groups[l->group_count - 1].count++;
		l->groups[l->group_count - 1].bytes += places[i].bytes;
	}
	if (l->group_count > 0)
		qsort(l->groups, l->group_count, sizeof(*l->groups), compare_groups);
	while (l->shown < l->group_count && l->groups[l->shown].bytes > least)
		l->shown++;
	for (size_t i = l->shown; i < l->group_count; i++)
		l->rest_bytes += l->groups[i].bytes;
}

static void level_release(struct level *l)
{
	free(l->places);
	free(l->groups);
}

static size_t line_count(const struct level *l)
{
	return l->shown + (l->shown < l->group_count);
}

/* One step out, to the callers; places without any are left behind. */
static void find_callers(struct level *callers, const struct massif *m, const struct level *l,
			 const struct group *group)
{
	struct place *places = xmalloc(group->count * sizeof(*places));
	size_t count = 0;

	for (size_t i = group->first; i < group->first + group->count; i++) {
		uint32_t caller = m->tree.nodes[l->places[i].node].parent;

		if (caller != 0)
			places[count++] = (struct place){
				.node = caller,
				.bytes = l->places[i].bytes,
			};
	}
	level_init(callers, m, places, count);
}

static void write_root(struct massif *m, size_t lines, uint64_t bytes)
{
	fprintf(m->to,
		"n%zu: %" PRIu64
		" (heap allocation functions) malloc/new/new[], --alloc-fns, etc.\n",
		lines, bytes);
}

static void write_rest(struct massif *m, unsigned int depth, uint64_t bytes, size_t places)
{
	fprintf(m->to, "%*sn0: %" PRIu64 " in %zu places, all below massif's threshold (1.00%%)\n",
		(int)depth, "", bytes, places);
}

static void write_level(struct massif *m, const struct level *l, unsigned int depth)
{
	for (size_t i = 0; i < l->shown; i++) {
		const struct group *group = &l->groups[i];
		uint32_t frame = l->places[group->first].frame;
		struct level callers = {0};

		if (depth < MAX_DEPTH)
			find_callers(&callers, m, l, group);
		fprintf(m->to, "%*sn%zu: %" PRIu64 " 0x%X: %s\n", (int)depth, "",
			line_count(&callers), group->bytes, frame, m->frames.frames[frame].label);
		write_level(m, &callers, depth + 1);
		level_release(&callers);
	}
	if (l->shown < l->group_count)
		write_rest(m, depth, l->rest_bytes, l->group_count - l->shown);
}

/* The innermost frame of the user's, or else the innermost. */
static uint32_t charged_node(const struct massif *m, uint32_t leaf)
{
	for (uint32_t at = leaf; at != 0; at = m->tree.nodes[at].parent) {
		if (m->frames.frames[m->tree.nodes[at].frame].origin == MODEL_USER)
			return at;
	}
	return leaf;
}

static void write_tree(struct massif *m)
{
	struct place *places = xmalloc(m->tree.count * sizeof(*places));
	size_t count = 0;
	struct level all;

	for (size_t i = 1; i < m->tree.count; i++) {
		if (m->tree.nodes[i].self > 0)
			places[count++] = (struct place){
				.node = charged_node(m, (uint32_t)i),
				.bytes = m->tree.nodes[i].self,
			};
	}
	level_init(&all, m, places, count);
	write_root(m, line_count(&all), m->tree.nodes[0].total);
	write_level(m, &all, 1);
	level_release(&all);
}

static int compare_bytes(const void *a, const void *b)
{
	const struct line_bytes *x = a;
	const struct line_bytes *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return (x->frame > y->frame) - (x->frame < y->frame);
}

/* The lines at one of the model's points, without callers. */
static void write_lines(struct massif *m, size_t point, uint64_t total)
{
	uint64_t shown_bytes = 0;
	size_t count = 0;
	size_t small = 0;

	for (size_t i = 0; i < m->view->line_count; i++) {
		const float *live = m->view->lines[i].live;
		double bytes = live ? (double)live[point] : 0;
		uint64_t left = total - shown_bytes; /* the sums were rounded each by itself */

		if (bytes > (double)total / SMALLEST_PART &&
		    m->line_frames[i] != FRAME_TABLE_ROOT) {
			m->now[count] = (struct line_bytes){
				.frame = m->line_frames[i],
				.bytes = bytes < (double)left ? (uint64_t)bytes : left,
			};
			shown_bytes += m->now[count++].bytes;
		} else if (bytes > 0) {
			small++;
		}
	}
	if (count > 0)
		qsort(m->now, count, sizeof(*m->now), compare_bytes);
	if (small == 0 && count > 0 && total - shown_bytes <= count + total / FLOAT_STEPS)
		m->now[0].bytes += total - shown_bytes; /* what rounding left */
	else if (small == 0)
		small = 1;
	write_root(m, count + (small > 0), total);
	for (size_t i = 0; i < count; i++)
		fprintf(m->to, " n0: %" PRIu64 " 0x%X: %s\n", m->now[i].bytes, m->now[i].frame,
			m->frames.frames[m->now[i].frame].label);
	if (small > 0)
		write_rest(m, 1, total - shown_bytes, small);
}

/* Which frame is which line. */
static void match_lines(struct massif *m)
{
	struct map frames = {0};

	for (size_t i = 0; i < m->frames.count; i++) {
		const struct frame *frame = &m->frames.frames[i];

		if (frame->kind == FRAME_CODE)
			map_set(&frames, (uint64_t)frame->function << 32 | (uint32_t)frame->line,
				(uint32_t)i);
	}
	m->line_frames = xcalloc(m->view->line_count, sizeof(*m->line_frames));
	m->now = xcalloc(m->view->line_count, sizeof(*m->now));
	for (size_t i = 0; i < m->view->line_count; i++) {
		const struct model_line *line = &m->view->lines[i];
		const struct model_function *function = &m->view->functions[line->function];
		uint32_t frame =
			map_get(&frames, (uint64_t)line->function << 32 | (uint32_t)line->line);

		if (m->view->files[function->file].origin == MODEL_NONE)
			frame = FRAME_TABLE_UNKNOWN;
		m->line_frames[i] = frame == MAP_NONE ? FRAME_TABLE_ROOT : frame;
	}
	map_release(&frames);
}

static void write_snapshot(struct massif *m, uint64_t time_ns, uint64_t bytes, const char *tree)
{
	fprintf(m->to,
		"#-----------\nsnapshot=%u\n#-----------\ntime=%" PRIu64 "\nmem_heap_B=%" PRIu64
		"\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=%s\n",
		m->snapshots++, time_ns / NS_PER_MS, bytes, tree);
}

static void write_peak(struct massif *m, uint64_t time_ns)
{
	write_snapshot(m, time_ns, m->tree.nodes[0].total, "peak");
	write_tree(m);
}

static void write_snapshots(struct massif *m)
{
	const struct model_memory *memory = &m->view->memory;
	uint64_t peak_ns =
		memory->peak_ns > m->view->start_ns ? memory->peak_ns - m->view->start_ns : 0;
	bool peak_written = false;

	for (size_t i = 0; i < memory->point_count; i++) {
		uint64_t time_ns = (i + 1) * memory->point_step_ns;
		double live = memory->points[i].live_bytes;
		uint64_t bytes = live > 0 ? (uint64_t)(live + 0.5) : 0;

		if (!peak_written && time_ns >= peak_ns) {
			write_peak(m, peak_ns);
			peak_written = true;
		}
		write_snapshot(m, time_ns, bytes, bytes > 0 ? "detailed" : "empty");
		if (bytes > 0)
			write_lines(m, i, bytes);
	}
	if (!peak_written)
		write_peak(m, peak_ns);
}

static int massif_write(struct export *x, struct err *err)
{
	struct massif m = {.to = x->to, .view = x->view};
	struct buf title = {0};

	(void)err;
	frame_table_init(&m.frames, x->view, true);
	call_tree_init(&m.tree, x->view, &m.frames);
	fprintf(x->to, "desc: scprof %s\ncmd: %s\ntime_unit: ms\n", SCPROF_VERSION,
		export_title(x, &title));
	match_lines(&m);
	write_snapshots(&m);
	free(m.line_frames);
	free(m.now);
	buf_release(&title);
	call_tree_release(&m.tree);
	frame_table_release(&m.frames);
	return 0;
}

static const char *const massif_patterns[] = {"massif.out*", "*.massif", NULL};

const struct exporter massif_exporter = {
	.name = "massif",
	.description = "the heap over time and at its peak, for ms_print and massif-visualizer",
	.patterns = massif_patterns,
	.flags = EXPORTER_MODEL | EXPORTER_PEAK,
	.write = massif_write,
};
