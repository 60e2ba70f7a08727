/* SPDX-License-Identifier: Apache-2.0
 *
 * The call tree by functions, from the outside in. The model's tree has a node for each line and
 * each turn of a recursion; here a function that calls itself, directly or through others nearby,
 * is one branch. Library frames vanish into the user's branch that called them, unless all code is
 * asked for.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyze/model_table.h"
#include "analyze/report_memory.h"
#include "analyze/report_table.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* How many branches up a recursion is looked for: mutual recursion goes through a few functions,
 * and the search must stay cheap on deep stacks. */
#define RECURSION_REACH 64
/* Columns to leave for the figures and a name, and those of a file or a pipe. */
#define NAMES_WIDTH 64
#define WIDE 140
#define TREE_COLUMNS 4
#define NO_BRANCH UINT32_MAX
/* Stand-ins for the function of a branch. */
#define BRANCH_NO_FRAME (UINT32_MAX - 1)
#define BRANCH_LIBRARY (UINT32_MAX - 2)

struct branch {
	uint32_t parent;
	uint32_t function;
	uint32_t recursion; /* most turns in one stack */
	uint32_t depth;
	struct metrics self;
	struct metrics total;
};

struct call_tree {
	const struct report *r;
	struct branch *branches; /* 0 is the root */
	size_t count;
	size_t capacity;
	struct model_table table; /* (parent, function, 0) to branch - 1 */
	uint32_t *order;          /* children of each branch side by side, heaviest first */
	size_t *first_child;      /* in order; [count] is the end */
};

static uint32_t add_branch(struct call_tree *t, uint32_t parent, uint32_t function)
{
	bool added;
	uint32_t id =
		model_table_add(&t->table, (struct model_key){parent, function, 0}, &added) + 1;

	if (added) {
		t->branches =
			xgrow(t->branches, &t->capacity, (size_t)id + 1, sizeof(*t->branches));
		t->branches[id] = (struct branch){
			.parent = parent,
			.function = function,
			.depth = t->branches[parent].depth + 1,
		};
		t->count = (size_t)id + 1;
	}
	return id;
}

/* The branch of function at or above branch, or NO_BRANCH. */
static uint32_t find_above(const struct call_tree *t, uint32_t branch, uint32_t function)
{
	for (int i = 0; i < RECURSION_REACH && branch; i++) {
		if (t->branches[branch].function == function)
			return branch;
		branch = t->branches[branch].parent;
	}
	return NO_BRANCH;
}

/* The branch that a node of the model belongs to; turns: how often its function is on the stack. */
static uint32_t place_node(struct call_tree *t, uint32_t above, uint32_t function, uint32_t turns)
{
	const struct model_view *v = t->r->view;
	uint32_t found = NO_BRANCH;

	if (!t->r->all && v->files[v->functions[function].file].origin != MODEL_USER)
		return above;
	if (turns > 1)
		found = find_above(t, above, function);
	if (found == NO_BRANCH)
		return add_branch(t, above, function);
	if (t->branches[found].recursion < turns - 1)
		t->branches[found].recursion = turns - 1;
	return found;
}

static void charge_node(struct call_tree *t, uint32_t node, uint32_t branch)
{
	const struct metrics *self = &t->r->view->nodes[node].self;

	if (!metrics_any(self))
		return;
	if (branch == 0)
		branch = add_branch(t, 0, node == 0 ? BRANCH_NO_FRAME : BRANCH_LIBRARY);
	metrics_add(&t->branches[branch].self, self);
}

/* Walks the model's tree down and up with a count of each function on the stack. */
static void place_all(struct call_tree *t)
{
	const struct model_view *v = t->r->view;
	uint32_t *child = xcalloc(v->node_count, sizeof(*child));
	uint32_t *next = xcalloc(v->node_count, sizeof(*next));
	uint32_t *branch_of = xcalloc(v->node_count, sizeof(*branch_of));
	uint32_t *turns = xcalloc(v->function_count + 1, sizeof(*turns));
	uint32_t at = 0;

	for (uint32_t i = (uint32_t)v->node_count; i-- > 1;) {
		next[i] = child[v->nodes[i].parent];
		child[v->nodes[i].parent] = i;
	}
	for (;;) {
		uint32_t function = v->nodes[at].function;

		if (at > 0 && function != UINT32_MAX)
			branch_of[at] = place_node(t, branch_of[v->nodes[at].parent], function,
						   ++turns[function]);
		charge_node(t, at, branch_of[at]);
		if (child[at]) {
			at = child[at];
			continue;
		}
		for (;;) {
			if (at > 0 && v->nodes[at].function != UINT32_MAX)
				turns[v->nodes[at].function]--;
			if (at == 0 || next[at])
				break;
			at = v->nodes[at].parent;
		}
		if (at == 0)
			break;
		at = next[at];
	}
	free(child);
	free(next);
	free(branch_of);
	free(turns);
}

struct sibling {
	uint32_t parent;
	uint32_t id;
	uint64_t key;
};

static int compare_siblings(const void *a, const void *b)
{
	const struct sibling *x = a;
	const struct sibling *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void order_children(struct call_tree *t)
{
	struct sibling *all = xcalloc(t->count + 1, sizeof(*all));
	size_t at = 0;

	t->order = xcalloc(t->count + 1, sizeof(*t->order));
	t->first_child = xcalloc(t->count + 2, sizeof(*t->first_child));
	for (uint32_t i = 1; i < t->count; i++) {
		all[i - 1] = (struct sibling){
			.parent = t->branches[i].parent,
			.id = i,
			.key = report_sort_key(t->r, &t->branches[i].total, &t->branches[i].total),
		};
	}
	if (t->count > 1)
		qsort(all, t->count - 1, sizeof(*all), compare_siblings);
	for (uint32_t i = 0; i < t->count; i++) {
		t->first_child[i] = at;
		while (at + 1 < t->count && all[at].parent == i) {
			t->order[at] = all[at].id;
			at++;
		}
	}
	t->first_child[t->count] = at;
	free(all);
}

static void build(struct call_tree *t, const struct report *r)
{
	*t = (struct call_tree){.r = r};
	t->branches = xgrow(t->branches, &t->capacity, 1, sizeof(*t->branches));
	t->branches[0] = (struct branch){.function = UINT32_MAX};
	t->count = 1;
	place_all(t);
	for (size_t i = 0; i < t->count; i++)
		t->branches[i].total = t->branches[i].self;
	for (size_t i = t->count; i-- > 1;)
		metrics_add(&t->branches[t->branches[i].parent].total, &t->branches[i].total);
	order_children(t);
}

static void release(struct call_tree *t)
{
	free(t->branches);
	free(t->order);
	free(t->first_child);
	model_table_release(&t->table);
}

/* Pre-order without recursion: *branch is the last one visited, 0 to start; cursor holds, for each
 * branch on the way, the next child to visit. */
struct walk {
	const struct call_tree *tree;
	size_t *cursor; /* by branch */
	uint32_t branch;
	uint64_t min_ns;
};

static void walk_init(struct walk *w, const struct call_tree *tree, double min_percent)
{
	uint64_t whole = metrics_weight(&tree->r->view->total, tree->r->weight);

	*w = (struct walk){.tree = tree, .min_ns = (uint64_t)((double)whole * min_percent / 100)};
	w->cursor = xcalloc(tree->count + 1, sizeof(*w->cursor));
	for (size_t i = 0; i < tree->count; i++)
		w->cursor[i] = tree->first_child[i];
}

static bool is_shown(const struct walk *w, uint32_t branch)
{
	const struct metrics *total = &w->tree->branches[branch].total;
	uint64_t weight = metrics_weight(total, w->tree->r->weight);

	/* What waits has no CPU time and is listed; what holds no memory is not. */
	if (weight == 0 && w->tree->r->weight == MODEL_PEAK)
		return false;
	return metrics_any(total) && weight >= w->min_ns;
}

/* Moves past branches that are too light; true when the branch has another child to show. */
static bool has_more(struct walk *w, uint32_t branch)
{
	while (w->cursor[branch] < w->tree->first_child[branch + 1]) {
		if (is_shown(w, w->tree->order[w->cursor[branch]]))
			return true;
		w->cursor[branch]++;
	}
	return false;
}

/* The next branch to show, or 0 at the end. */
static uint32_t walk_next(struct walk *w)
{
	uint32_t at = w->branch;

	while (!has_more(w, at)) {
		if (at == 0)
			return 0;
		at = w->tree->branches[at].parent;
	}
	w->branch = w->tree->order[w->cursor[at]++];
	return w->branch;
}

static const char *branch_name(const struct call_tree *t, const struct branch *b)
{
	if (b->function == BRANCH_NO_FRAME)
		return "<no Python frame>";
	if (b->function == BRANCH_LIBRARY)
		return "<library code that none of yours called>";
	return t->r->view->functions[b->function].name;
}

static const struct model_file *branch_file(const struct call_tree *t, const struct branch *b)
{
	const struct model_view *v = t->r->view;
	const struct model_file *file;

	if (b->function >= BRANCH_LIBRARY)
		return NULL;
	file = &v->files[v->functions[b->function].file];
	return file->origin == MODEL_NONE ? NULL : file;
}

/* The lines and corners in front of a branch. Where the names would get no room, the levels no
 * longer move to the right; their number says how deep it is. */
static void add_guides(struct buf *to, struct walk *w, uint32_t branch)
{
	const struct call_tree *t = w->tree;
	bool unicode = t->r->options->unicode;
	uint32_t depth = t->branches[branch].depth;
	uint32_t width = t->r->options->width > 0 ? (uint32_t)t->r->options->width : WIDE;
	uint32_t most = width > NAMES_WIDTH + 8 ? (width - NAMES_WIDTH) / 2 : 4;
	uint32_t skip = depth > most ? depth - most : 0;
	uint32_t *path;

	if (depth <= 1)
		return;
	path = xcalloc(depth, sizeof(*path));
	for (uint32_t at = branch, i = depth; i-- > 0; at = t->branches[at].parent)
		path[i] = at;
	if (skip)
		buf_printf(to, "[%" PRIu32 "] ", depth);
	for (uint32_t i = 1 + skip; i < depth; i++) {
		bool more = has_more(w, path[i - 1]);

		if (i + 1 < depth)
			buf_add_text(to, !more ? "  " : unicode ? "\u2502 " : "| ");
		else if (unicode)
			buf_add_text(to, more ? "\u251c " : "\u2514 ");
		else
			buf_add_text(to, more ? "|-" : "`-");
	}
	free(path);
}

static const struct table_column *columns_of(enum model_weight weight)
{
	static const struct table_column cpu[TREE_COLUMNS] = {
		{.title = "CPU %"},
		{.title = "self %"},
		{.title = "CPU"},
		{.title = "function", .left = true},
	};
	static const struct table_column wall[TREE_COLUMNS] = {
		{.title = "wall %"},
		{.title = "self %"},
		{.title = "wall"},
		{.title = "function", .left = true},
	};
	static const struct table_column peak[TREE_COLUMNS] = {
		{.title = "peak %"},
		{.title = "self %"},
		{.title = "peak"},
		{.title = "function", .left = true},
	};

	return weight == MODEL_PEAK ? peak : weight == MODEL_WALL ? wall : cpu;
}

static bool is_thin(struct report *r, const struct metrics *m)
{
	if (r->weight == MODEL_PEAK)
		return figure_bytes_is_thin(r, &m->memory, MEMORY_PEAK);
	return figure_is_thin(r, m);
}

void report_tree(struct report *r)
{
	uint64_t whole = metrics_weight(&r->view->total, r->weight);
	struct call_tree tree;
	struct walk w;
	struct table t;
	struct buf text = {0};
	char figure[FIGURE_SIZE];
	uint32_t id;
	uint64_t rows = 0;

	build(&tree, r);
	walk_init(&w, &tree, report_min_percent(r));
	table_init(&t, columns_of(r->weight), TREE_COLUMNS);
	while ((id = walk_next(&w)) && (!r->options->top || rows++ < r->options->top)) {
		const struct branch *b = &tree.branches[id];
		const struct model_file *file = branch_file(&tree, b);
		uint64_t total = metrics_weight(&b->total, r->weight);
		uint64_t self = metrics_weight(&b->self, r->weight);

		table_row(&t, report_heat(self, whole));
		table_printf(&t, "%s%s", figure_percent(figure, total, whole),
			     is_thin(r, &b->total) ? "~" : " ");
		table_text(&t, figure_percent(figure, self, whole));
		table_text(&t, r->weight == MODEL_PEAK ? figure_bytes(figure, (double)total)
						       : figure_time(figure, total));
		buf_clear(&text);
		add_guides(&text, &w, id);
		buf_add_text(&text, branch_name(&tree, b));
		if (b->recursion)
			buf_printf(&text, " %s recursion %s %" PRIu32,
				   r->options->unicode ? "\u2026" : "...",
				   r->options->unicode ? "\u00d7" : "x", b->recursion);
		if (file) {
			buf_add_text(&text, "  ");
			report_add_place(&text, r, file,
					 r->view->functions[b->function].first_line);
		}
		table_bytes(&t, (const char *)text.data, text.size);
	}
	table_print_text(&t, r);
	fputc('\n', r->to);
	table_release(&t);
	buf_release(&text);
	free(w.cursor);
	release(&tree);
}

/* The two amounts that a row of the CSV has. */
static void cells_of_amounts(struct table *t, const struct report *r, const struct branch *b)
{
	if (r->weight == MODEL_PEAK) {
		table_printf(t, "%.0f", b->self.memory.peak_bytes);
		table_printf(t, "%.0f", b->total.memory.peak_bytes);
		return;
	}
	table_uint(t, b->self.cpu_ns);
	table_uint(t, b->total.cpu_ns);
	table_uint(t, b->self.wall_ns);
	table_uint(t, b->total.wall_ns);
}

#define BRANCH_COLUMNS                                                               \
	{.title = "id"}, {.title = "parent"}, {.title = "depth"}, {.title = "path"}, \
		{.title = "function"}, {.title = "first_line"},                      \
	{                                                                            \
		.title = "recursion"                                                 \
	}

void report_tree_csv(struct report *r)
{
	static const struct table_column times[] = {
		BRANCH_COLUMNS,
		{.title = "self_cpu_ns"},
		{.title = "total_cpu_ns"},
		{.title = "self_wall_ns"},
		{.title = "total_wall_ns"},
	};
	static const struct table_column peak[] = {
		BRANCH_COLUMNS,
		{.title = "self_peak_bytes"},
		{.title = "total_peak_bytes"},
	};
	struct call_tree tree;
	struct walk w;
	struct table t;
	uint32_t id;

	build(&tree, r);
	walk_init(&w, &tree, r->options->min_percent > 0 ? r->options->min_percent : 0);
	if (r->weight == MODEL_PEAK)
		table_init(&t, peak, sizeof(peak) / sizeof(*peak));
	else
		table_init(&t, times, sizeof(times) / sizeof(*times));
	while ((id = walk_next(&w))) {
		const struct branch *b = &tree.branches[id];
		const struct model_file *file = branch_file(&tree, b);

		table_row(&t, REPORT_STYLE_NONE);
		table_uint(&t, id);
		table_uint(&t, b->parent);
		table_uint(&t, b->depth);
		table_text(&t, file ? file->path : "");
		table_text(&t, branch_name(&tree, b));
		table_printf(&t, "%" PRId32, file ? r->view->functions[b->function].first_line : 0);
		table_uint(&t, b->recursion);
		cells_of_amounts(&t, r, b);
	}
	table_print_csv(&t, r->to);
	table_release(&t);
	free(w.cursor);
	release(&tree);
}
