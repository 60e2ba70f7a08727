/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes as a tree: who started whom, when, what became of it; and who was not recorded.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "analyze/report_memory.h"
#include "analyze/report_tables.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define TOP_PROCESSES 40
#define DEPTH_SHOWN 16

/* A process among those that have the same parent. */
struct sibling {
	uint32_t parent; /* UINT32_MAX: none */
	uint64_t key;
	const char *name; /* sorted by this first, with --sort name */
	uint64_t start_ns;
	uint32_t id;
	bool shown;
	bool placed;
};

struct forest {
	const struct report *r;
	struct sibling *siblings; /* those of one parent stand together */
	size_t count;
	uint32_t *ids; /* in order of the rows */
	uint32_t *depths;
	size_t row_count;
};

static int by_key(const void *a, const void *b)
{
	const struct sibling *x = a;
	const struct sibling *y = b;
	int order = x->name && y->name ? strcmp(x->name, y->name) : 0;

	if (order)
		return order;
	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* As they came, unless another order was asked for. */
static int by_parent(const void *a, const void *b)
{
	const struct sibling *x = a;
	const struct sibling *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return by_key(a, b);
}

/* The parent, or UINT32_MAX. */
static uint32_t parent_of(const struct model_view *v, uint32_t id)
{
	uint32_t parent = v->processes[id].parent;

	return parent < v->process_count && parent != id ? parent : UINT32_MAX;
}

/* The heaviest are shown, with whoever started them. */
static size_t choose(struct forest *f, size_t limit)
{
	const struct model_view *v = f->r->view;
	double least =
		f->r->options->min_percent * (double)metrics_weight(&v->total, f->r->weight) / 100;
	bool *shown = xcalloc(f->count + 1, sizeof(*shown));
	size_t left_out = 0;

	if (f->count)
		qsort(f->siblings, f->count, sizeof(*f->siblings), by_key);
	for (size_t i = 0; i < f->count && i < limit; i++) {
		uint32_t id = f->siblings[i].id;

		if ((double)metrics_weight(&v->processes[id].total, f->r->weight) < least)
			continue;
		for (; id != UINT32_MAX && !shown[id]; id = parent_of(v, id))
			shown[id] = true;
	}
	for (size_t i = 0; i < f->count; i++) {
		f->siblings[i].shown = shown[f->siblings[i].id];
		left_out += !f->siblings[i].shown;
	}
	free(shown);
	return left_out;
}

/* The first of a parent's children, or count. */
static size_t first_child(const struct forest *f, uint32_t parent)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->siblings[middle].parent < parent)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Places a process and all below it. A trace may claim anything: nobody is placed twice. */
static void place(struct forest *f, size_t at)
{
	size_t *stack = xcalloc(f->count + 1, sizeof(*stack)), depth = 0;

	stack[0] = at;
	for (;;) {
		struct sibling *s = &f->siblings[stack[depth]];
		size_t child;

		if (!s->placed && s->shown) {
			f->ids[f->row_count] = s->id;
			f->depths[f->row_count++] = (uint32_t)depth;
		}
		child = s->placed ? f->count : first_child(f, s->id);
		s->placed = true;
		if (child < f->count && f->siblings[child].parent == s->id &&
		    !f->siblings[child].placed) {
			stack[++depth] = child;
			continue;
		}
		/* The next of the same parent, or of its parent. */
		while (depth &&
		       (stack[depth] + 1 == f->count ||
			f->siblings[stack[depth] + 1].parent != f->siblings[stack[depth]].parent ||
			f->siblings[stack[depth] + 1].placed))
			depth--;
		if (!depth)
			break;
		stack[depth]++;
	}
	free(stack);
}

struct report_rows report_process_tree(const struct report *r, size_t limit, uint32_t **depths)
{
	const struct model_view *v = r->view;
	bool sorted = r->options->sort != REPORT_SORT_WEIGHT;
	struct forest f = {.r = r, .count = v->process_count};
	struct report_rows rows = {0};

	f.siblings = xcalloc(f.count + 1, sizeof(*f.siblings));
	f.ids = xcalloc(f.count + 1, sizeof(*f.ids));
	f.depths = xcalloc(f.count + 1, sizeof(*f.depths));
	for (uint32_t i = 0; i < f.count; i++) {
		const struct model_process *p = &v->processes[i];

		f.siblings[i] = (struct sibling){
			.parent = parent_of(v, i),
			.key = report_sort_key(r, &p->total, &p->total),
			.name = r->options->sort == REPORT_SORT_NAME ? p->command : NULL,
			.start_ns = p->start_ns,
			.id = i,
		};
	}
	rows.left_out = choose(&f, limit);
	for (size_t i = 0; i < f.count && !sorted; i++)
		f.siblings[i].key = 0;
	if (f.count)
		qsort(f.siblings, f.count, sizeof(*f.siblings), by_parent);
	for (size_t i = first_child(&f, UINT32_MAX); i < f.count; i++)
		if (!f.siblings[i].placed)
			place(&f, i);
	for (size_t i = 0; i < f.count; i++)
		if (!f.siblings[i].placed)
			place(&f, i);
	rows.ids = f.ids;
	rows.count = f.row_count;
	if (depths)
		*depths = f.depths;
	else
		free(f.depths);
	free(f.siblings);
	return rows;
}

/* How the process ended, when that is worth a word. */
void table_process_end(struct table *t, const struct model_process *p)
{
	switch (p->how) {
	case TRACE_END_EXIT:
		if (p->status == 0)
			table_text(t, "");
		else
			table_printf(t, "exit %" PRId32, p->status);
		return;
	case TRACE_END_SIGNAL:
		table_printf(t, "signal %" PRId32, p->status);
		return;
	case TRACE_END_EXEC:
		table_text(t, "exec");
		return;
	case TRACE_END_UNKNOWN:
		break;
	}
	table_text(t, "?");
}

/* As on Linux, wherever the trace is read. */
static const char *signal_name(int32_t number)
{
	static const char *const names[] = {
		[1] = "SIGHUP",   [2] = "SIGINT",   [3] = "SIGQUIT",  [4] = "SIGILL",
		[5] = "SIGTRAP",  [6] = "SIGABRT",  [7] = "SIGBUS",   [8] = "SIGFPE",
		[9] = "SIGKILL",  [10] = "SIGUSR1", [11] = "SIGSEGV", [12] = "SIGUSR2",
		[13] = "SIGPIPE", [14] = "SIGALRM", [15] = "SIGTERM", [24] = "SIGXCPU",
		[25] = "SIGXFSZ", [31] = "SIGSYS",
	};

	return number > 0 && (size_t)number < sizeof(names) / sizeof(*names) ? names[number] : NULL;
}

static void cell_end(struct table *t, const struct model_process *p)
{
	const char *name = p->how == TRACE_END_SIGNAL ? signal_name(p->status) : NULL;

	if (name)
		table_text(t, name);
	else
		table_process_end(t, p);
}

static void cell_bytes(struct table *t, double bytes)
{
	char text[FIGURE_SIZE];

	table_text(t, bytes > 0 ? figure_bytes(text, bytes) : "");
}

static void cell_time(struct table *t, uint64_t ns)
{
	char text[FIGURE_SIZE];

	table_text(t, ns ? figure_time(text, ns) : "0 s");
}

#define PROCESS_COLUMNS(weight)                                                        \
	{.title = weight, .drop = 5}, {.title = "CPU"}, {.title = "start", .drop = 6}, \
		{.title = "wall"}, {.title = "alloc", .drop = 8}, {.title = "peak"},   \
		{.title = "inherited", .drop = 1}, {.title = "leaks", .drop = 2},      \
		{.title = "RSS", .drop = 7}, {.title = "Python", .drop = 4},           \
		{.title = "ended by"}, {.title = "pid"},                               \
	{                                                                              \
		.title = "command", .left = true                                       \
	}

/* The head of the report has the version when there is one only. */
static bool any_other_python(const struct model_view *v)
{
	for (size_t i = 1; i < v->process_count; i++)
		if (strcmp(v->processes[i].python, v->processes[0].python) != 0)
			return true;
	return false;
}

size_t tables_processes(struct report *r, struct table *t)
{
	static const struct table_column cpu[] = {PROCESS_COLUMNS("CPU %")};
	static const struct table_column wall[] = {PROCESS_COLUMNS("wall %")};
	const struct model_view *v = r->view;
	size_t limit = r->options->top ? r->options->top : TOP_PROCESSES;
	bool pythons = any_other_python(v);
	uint32_t *depths;
	struct report_rows rows = report_process_tree(r, limit, &depths);

	table_init(t, r->weight == MODEL_WALL ? wall : cpu, sizeof(cpu) / sizeof(*cpu));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_process *p = &v->processes[rows.ids[i]];
		const struct memory *m = &p->total.memory;
		uint32_t depth = depths[i] < DEPTH_SHOWN ? depths[i] : DEPTH_SHOWN;
		char text[FIGURE_SIZE];

		table_row(t, REPORT_STYLE_NONE);
		table_text(t, figure_percent(text, metrics_weight(&p->total, r->weight),
					     metrics_weight(&v->total, r->weight)));
		cell_time(t, p->total.cpu_ns);
		cell_time(t, p->start_ns);
		cell_time(t, p->end_ns - p->start_ns);
		cell_bytes(t, m->malloc_bytes);
		cell_bytes(t, m->peak_bytes);
		cell_bytes(t, p->inherited_bytes);
		cell_bytes(t, m->leak_bytes);
		cell_bytes(t, p->max_rss_bytes);
		table_text(t, pythons ? p->python : "");
		cell_end(t, p);
		table_printf(t, "%" PRId32, p->pid);
		table_printf(t, "%*s%s", (int)(2 * depth), "", report_short_command(p));
	}
	free(depths);
	free(rows.ids);
	return rows.left_out;
}

bool report_any_inherited(const struct report *r)
{
	for (size_t i = 0; i < r->view->process_count; i++)
		if (r->view->processes[i].inherited_bytes > 0)
			return true;
	return false;
}

size_t tables_refusals(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "pid"},
		{.title = "parent"},
		{.title = "why", .left = true},
		{.title = "program", .left = true, .tail = true},
	};
	const struct model_view *v = r->view;

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < v->refusal_count; i++) {
		const struct model_refusal *refusal = &v->refusals[i];

		table_row(t, REPORT_STYLE_NONE);
		table_pid(t, refusal->pid);
		table_pid(t, refusal->parent_pid);
		table_text(t, refusal->why);
		table_text(t, refusal->command);
	}
	return 0;
}
