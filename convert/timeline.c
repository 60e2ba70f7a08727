/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/timeline.h"

#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* While events arrive: 4 million runs are 64 MB. */
#define MAX_RUNS_HELD ((size_t)4 << 20)
#define FIRST_WINDOW_NS 1000000
/* A thread that always runs still has less CPU time than time, because others want the processor
 * too. Small gaps wait until they add up to one that can be seen. */
#define SMALLEST_GAP_NS 2000000

void timeline_init(struct timeline *t, enum model_weight weight)
{
	*t = (struct timeline){.weight = weight};
}

void timeline_release(struct timeline *t)
{
	for (size_t i = 0; i < t->thread_count; i++)
		free(t->threads[i].runs);
	free(t->threads);
	*t = (struct timeline){0};
}

void *timeline_events_new(const struct export_options *options, enum model_weight weight)
{
	struct timeline *t = xmalloc(sizeof(*t));

	(void)options;
	timeline_init(t, weight);
	return t;
}

void timeline_events_add(void *events, const struct model_event *event)
{
	timeline_add(events, event);
}

void timeline_events_free(void *events)
{
	if (events)
		timeline_release(events);
	free(events);
}

static void add_run(struct timeline *t, struct timeline_thread *thread, uint32_t node,
		    uint32_t state, uint64_t weight)
{
	struct timeline_run *last = thread->count > 0 ? &thread->runs[thread->count - 1] : NULL;

	thread->end += weight;
	if (node != TIMELINE_GAP)
		thread->weight += weight;
	if (last && last->node == node && last->state == state) {
		last->weight += weight;
		return;
	}
	thread->runs =
		xgrow(thread->runs, &thread->capacity, thread->count + 1, sizeof(*thread->runs));
	thread->runs[thread->count++] =
		(struct timeline_run){.node = node, .state = state, .weight = weight};
	t->run_count++;
}

/* Puts equal runs together that begin in the same window. They stay in the order in which each
 * stack was first seen. */
static void merge_windows(struct timeline *t, struct timeline_thread *thread, uint64_t window_ns)
{
	struct map last = {0}; /* (node, state) -> where in the result; older windows' are stale */
	uint64_t at_ns = 0;
	uint64_t window = UINT64_MAX;
	size_t window_start = 0;
	size_t kept = 0;

	for (size_t i = 0; i < thread->count; i++) {
		struct timeline_run run = thread->runs[i];
		uint64_t key = (uint64_t)run.node << 32 | run.state;
		uint32_t same;

		if (at_ns / window_ns != window) {
			window = at_ns / window_ns;
			window_start = kept;
		}
		at_ns += run.weight;
		same = map_get(&last, key);
		if (same != MAP_NONE && same >= window_start) {
			thread->runs[same].weight += run.weight;
			continue;
		}
		if (kept > 0 && thread->runs[kept - 1].node == run.node &&
		    thread->runs[kept - 1].state == run.state) {
			thread->runs[kept - 1].weight += run.weight;
			continue;
		}
		map_set(&last, key, (uint32_t)kept);
		thread->runs[kept++] = run;
	}
	t->run_count -= thread->count - kept;
	thread->count = kept;
	map_release(&last);
}

/* Widens the window until no more than max_runs are left, or there is nothing left to put
 * together. */
static void shrink(struct timeline *t, size_t max_runs)
{
	uint64_t longest = 0;

	for (size_t i = 0; i < t->thread_count; i++) {
		if (t->threads[i].end > longest)
			longest = t->threads[i].end;
	}
	while (t->run_count > max_runs && t->window_ns <= longest) {
		t->window_ns = t->window_ns > 0 ? t->window_ns * 2 : FIRST_WINDOW_NS;
		for (size_t i = 0; i < t->thread_count; i++)
			merge_windows(t, &t->threads[i], t->window_ns);
	}
}

void timeline_add(struct timeline *t, const struct model_event *event)
{
	struct timeline_thread *thread;
	uint64_t length_ns = event->end_ns - event->start_ns;
	uint64_t weight = event->cpu_ns;
	uint64_t start_ns = event->start_ns;

	if (t->weight == MODEL_WALL && length_ns > weight)
		weight = length_ns;
	if (weight == 0)
		return;
	t->threads = xgrow(t->threads, &t->thread_capacity, (size_t)event->thread + 1,
			   sizeof(*t->threads));
	for (; t->thread_count <= event->thread; t->thread_count++)
		t->threads[t->thread_count] = (struct timeline_thread){0};
	thread = &t->threads[event->thread];

	/* A sample is taken while the thread runs, a wait begins when it stops running. */
	if (!event->waiting && weight < length_ns)
		start_ns = event->end_ns - weight;
	if (start_ns > thread->end &&
	    (thread->count == 0 || start_ns - thread->end >= SMALLEST_GAP_NS))
		add_run(t, thread, TIMELINE_GAP, 0, start_ns - thread->end);
	add_run(t, thread, event->node,
		event->waiting && t->weight == MODEL_WALL ? 1 + event->wait : 0, weight);
	if (t->run_count > MAX_RUNS_HELD)
		shrink(t, MAX_RUNS_HELD / 2);
}

/* Some of a thread's time is in no event's length: what it ran between two waits too short for a
 * sample. Its total is exact, so its last run makes up for it. */
static void settle_total(struct timeline_thread *thread, uint64_t total_ns)
{
	for (size_t i = thread->count; i-- > 0 && thread->weight != total_ns;) {
		struct timeline_run *run = &thread->runs[i];
		uint64_t change_ns;

		if (run->node == TIMELINE_GAP)
			continue;
		if (total_ns > thread->weight) {
			change_ns = total_ns - thread->weight;
			run->weight += change_ns;
			thread->weight += change_ns;
			thread->end += change_ns;
			continue;
		}
		change_ns = thread->weight - total_ns;
		if (change_ns > run->weight)
			change_ns = run->weight;
		run->weight -= change_ns;
		thread->weight -= change_ns;
		thread->end -= change_ns;
	}
}

static void move_start(struct timeline_thread *thread, uint64_t start_ns)
{
	if (thread->count == 0 || thread->runs[0].node != TIMELINE_GAP)
		return;
	if (start_ns > thread->runs[0].weight)
		start_ns = thread->runs[0].weight;
	thread->runs[0].weight -= start_ns;
	thread->end -= start_ns;
}

static int compare_weights(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The last resort: even as one run for each distinct stack there are too many. The heaviest
 * max_runs stay, the others lose their names. */
static void fold_rare(struct timeline *t, size_t max_runs)
{
	uint64_t *weights = xmalloc(t->run_count * sizeof(*weights));
	uint64_t least_ns;
	size_t n = 0;

	for (size_t i = 0; i < t->thread_count; i++) {
		for (size_t k = 0; k < t->threads[i].count; k++)
			weights[n++] = t->threads[i].runs[k].weight;
	}
	qsort(weights, n, sizeof(*weights), compare_weights);
	least_ns = weights[max_runs > 0 ? max_runs - 1 : 0];
	free(weights);
	for (size_t i = 0; i < t->thread_count; i++) {
		struct timeline_thread *thread = &t->threads[i];

		for (size_t k = 0; k < thread->count; k++) {
			struct timeline_run *run = &thread->runs[k];

			if (run->weight <= least_ns && run->node != TIMELINE_GAP) {
				run->node = TIMELINE_OTHER;
				run->state = 0;
				t->folded++;
			}
		}
		merge_windows(t, thread, thread->end + 1);
	}
}

void timeline_finish(struct timeline *t, const struct model_view *view,
		     const struct call_tree *tree, size_t max_runs)
{
	for (size_t i = 0; i < t->thread_count; i++) {
		struct timeline_thread *thread = &t->threads[i];

		settle_total(thread, metrics_weight(&view->threads[i].total, t->weight));
		move_start(thread, view->start_ns);
		for (size_t k = 0; k < thread->count; k++) {
			struct timeline_run *run = &thread->runs[k];

			if (run->node != TIMELINE_GAP)
				run->node = tree->of_self[run->node];
		}
		merge_windows(t, thread, 1); /* lines that are the same frame now */
	}
	timeline_shrink(t, max_runs);
}

void timeline_shrink(struct timeline *t, size_t max_runs)
{
	shrink(t, max_runs);
	if (t->run_count > max_runs)
		fold_rare(t, max_runs);
}

void timeline_note(const struct timeline *t, const struct call_tree *tree, size_t max_depth,
		   struct buf *note)
{
	if (t->window_ns > 0)
		buf_printf(
			note,
			"stacks within %g ms of each other are put together, %zu samples are left",
			(double)t->window_ns / 1e6, t->run_count);
	if (t->folded > 0)
		buf_printf(note, "%s%zu rare stacks are shown as one", note->size > 0 ? ", " : "",
			   t->folded);
	if (tree->max_depth >= max_depth)
		buf_printf(note, "%sstacks deeper than %zu frames lack their middle",
			   note->size > 0 ? "; " : "", max_depth);
}

void timeline_from_tree(struct timeline *t, const struct call_tree *tree, size_t max_runs)
{
	uint32_t *stack = xmalloc(tree->count * sizeof(*stack));
	size_t height = 0;

	t->threads = xgrow(t->threads, &t->thread_capacity, 1, sizeof(*t->threads));
	t->threads[0] = (struct timeline_thread){0};
	t->thread_count = 1;
	stack[height++] = 0;
	while (height > 0) {
		uint32_t id = stack[--height];
		const struct call_node *node = &tree->nodes[id];

		if (node->self > 0)
			add_run(t, &t->threads[0], id, 0, node->self);
		for (uint32_t i = node->child_count; i-- > 0;)
			stack[height++] = tree->children[node->first_child + i];
	}
	free(stack);
	if (t->run_count > max_runs)
		fold_rare(t, max_runs);
}
