/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory events of a trace on their way into the model. Each process has a ledger, whose sites
 * are the model's nodes; what came of it is charged when the trace ends. A filter leaves out a
 * block, not an event: who passes it is asked when the block is allocated, and growth, peaks and
 * averages are those of the blocks that passed.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/model_state.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Blocks that live no longer are brief. */
#define BRIEF_NS 1000000u
/* Forks of forks that are followed. */
#define INHERITED_DEPTH 64
/* So many events before a free its block is fetched from memory. */
#define AHEAD 8u

static struct model_heap *new_heap(struct model_trace *t, uint32_t process)
{
	const struct model_options *options = &t->m->options;
	uint64_t start_ns = t->defs->processes[process].start_ns;
	const struct model_process_state *state = &t->processes[process];
	uint64_t origin_ns = options->filter.from_ns;
	struct model *m = t->m;
	struct model_heap *heap = xcalloc(1, sizeof(*heap));
	struct ledger_gap *gaps = xcalloc(state->window_count, sizeof(*gaps));

	for (size_t i = 1; i < state->window_count; i++)
		gaps[i - 1] =
			(struct ledger_gap){state->windows[i - 1].to_ns, state->windows[i].from_ns};
	/* A process that starts with the trace shares the grid on which the trace is shown; the
	 * others have steps as fine as their own time allows. */
	if (start_ns > origin_ns + ((uint64_t)SERIES_STEPS << SERIES_FIRST_SHIFT))
		origin_ns = start_ns;
	heap->process = t->processes[process].id;
	heap->shift_ns = t->shift_ns;
	heap->rate = (double)t->memory_rate;
	heap->clock.origin_ns = origin_ns;
	heap->ledger = ledger_new(&(struct ledger_options){
		.from_ns = state->windows[0].from_ns,
		.to_ns = state->windows[state->window_count - 1].to_ns,
		.gaps = gaps,
		.gap_count = state->window_count - 1,
		.origin_ns = origin_ns,
		.rate = heap->rate,
		.temporary = options->temporary ? options->temporary : 1,
		.brief_ns = BRIEF_NS,
	});
	free(gaps);
	m->heaps =
		xgrow(m->heaps, &m->heap_capacity, m->heap_count + 1, sizeof(struct model_heap *));
	m->heaps[m->heap_count++] = heap;
	return heap;
}

/* The heap of a process, or NULL when the filter leaves the process out. */
static struct model_heap *heap_of(struct model_trace *t, uint32_t process)
{
	struct model_process_state *state;

	if (process >= t->process_count)
		return NULL;
	state = &t->processes[process];
	if (state->id == MODEL_NO_ID)
		return NULL;
	if (!state->heap)
		state->heap = new_heap(t, process);
	return state->heap;
}

/* ---- who is charged ------------------------------------------------------------------------- */

/* The thread of an event, or NULL when it is not known. *passes: whether the filter lets it. */
static struct model_thread_state *thread_of(struct model_trace *t, uint32_t process,
					    uint32_t thread, uint64_t time_ns, bool *passes)
{
	struct model_thread_state *state;

	*passes = t->m->options.filter.thread_count == 0;
	if (thread >= t->thread_count || t->threads[thread].process != process)
		return NULL;
	state = &t->threads[thread];
	if (state->id == MODEL_NO_ID)
		model_open_thread(t, thread);
	*passes = state->id != MODEL_LEFT_OUT;
	if (time_ns > state->memory_time_ns)
		state->memory_time_ns = time_ns;
	return state;
}

/* Who stands in for a thread that is not known, where stacks are shown by thread. */
static struct model_thread_state *any_thread(struct model_trace *t, uint32_t process)
{
	for (uint32_t i = 0; i < t->thread_count; i++) {
		if (t->threads[i].process == process && t->threads[i].id < MODEL_LEFT_OUT)
			return &t->threads[i];
	}
	return NULL;
}

/* The model's node of an event's stack, or MODEL_LEFT_OUT. */
static uint32_t node_of(struct model_trace *t, uint32_t process, struct model_thread_state *thread,
			uint32_t trace_node)
{
	uint32_t node;

	if (!thread && t->m->options.split_threads)
		thread = any_thread(t, process);
	if (!thread && t->m->options.split_threads)
		node = t->m->all_stacks ? 0 : MODEL_LEFT_OUT;
	else
		node = model_resolve_node(t, thread, trace_node);
	return node;
}

static uint32_t group_of(struct model_heap *heap, enum model_group_kind kind, uint32_t id)
{
	bool timed = kind == MODEL_GROUP_CHARGED || kind == MODEL_GROUP_SUPPRESSED;
	uint64_t key = (uint64_t)kind << 32 | id;
	uint32_t group = map_get(&heap->groups, key);

	if (group != MAP_NONE)
		return group;
	group = ledger_add_group(heap->ledger, timed);
	map_set(&heap->groups, key, group);
	heap->kinds = xgrow(heap->kinds, &heap->group_capacity, heap->group_count + 1,
			    sizeof(*heap->kinds));
	heap->kinds[heap->group_count++] = (struct model_group){.kind = kind, .id = id};
	return group;
}

static uint32_t find_site(struct model *m, struct model_heap *heap, uint32_t node)
{
	uint32_t site = map_get(&heap->sites, node);
	uint32_t groups[LEDGER_SITE_GROUPS];
	enum model_group_kind charged;
	uint32_t line;

	if (site != MAP_NONE)
		return site;
	line = model_own_line(m, node);
	charged = model_suppressed(m, node) ? MODEL_GROUP_SUPPRESSED : MODEL_GROUP_CHARGED;
	groups[MODEL_SITE_LINE] = group_of(heap, MODEL_GROUP_LINE, line);
	groups[MODEL_SITE_CHARGED] = group_of(heap, charged, model_charged_line(m, node));
	groups[MODEL_SITE_FUNCTION] = group_of(heap, MODEL_GROUP_FUNCTION, m->lines[line].function);
	site = ledger_add_site(heap->ledger, groups);
	map_set(&heap->sites, node, site);
	heap->nodes =
		xgrow(heap->nodes, &heap->node_capacity, (size_t)site + 1, sizeof(*heap->nodes));
	heap->nodes[site] = node;
	return site;
}

static uint32_t site_of(struct model *m, struct model_heap *heap, uint32_t node)
{
	struct model_site *recent = &heap->recent[node % MODEL_RECENT_SITES];

	if (recent->node != node + 1) {
		recent->site = find_site(m, heap, node);
		recent->node = node + 1;
	}
	return recent->site;
}

static uint32_t ledger_thread_of(struct model_heap *heap, struct model_thread_state *thread)
{
	if (!thread)
		return LEDGER_NONE;
	if (thread->ledger_thread == LEDGER_NONE) {
		thread->ledger_thread = ledger_add_thread(heap->ledger);
		heap->threads = xgrow(heap->threads, &heap->thread_capacity, heap->thread_count + 1,
				      sizeof(*heap->threads));
		heap->threads[heap->thread_count++] = thread->id;
	}
	return thread->ledger_thread;
}

/* ---- events --------------------------------------------------------------------------------- */

static void take_alloc(struct model_trace *t, struct model_heap *heap, const struct trace_heap *e)
{
	const struct model_process_state *state = &t->processes[t->process];
	bool passes;
	struct model_thread_state *thread =
		thread_of(t, t->process, e->thread, e->time_ns, &passes);
	struct ledger_alloc alloc = {
		.block = e->block,
		.size = e->size,
		.time_ns = e->time_ns,
		.site = LEDGER_NONE,
		.thread = ledger_thread_of(heap, thread),
		.exact = (e->flags & TRACE_HEAP_EXACT) != 0,
		.restored = (e->flags & TRACE_HEAP_RESTORED) != 0,
		.python = e->kind == TRACE_HEAP_PYTHON,
	};
	uint32_t node = passes && model_window_at(state, e->time_ns) < state->window_count
				? node_of(t, t->process, thread, e->node)
				: MODEL_LEFT_OUT;

	if (node != MODEL_LEFT_OUT) {
		if (TRACE_HEAP_COUNTS(e->kind))
			alloc.site = site_of(t->m, heap, node);
		else if (e->kind < TRACE_HEAP_KINDS)
			alloc.site = ledger_apart_site(e->kind - TRACE_HEAP_FILE);
	}
	ledger_allocated(heap->ledger, &alloc);
}

/* What was live at the forks before time_ns. */
static void pass_forks(struct model_heap *heap, uint64_t time_ns)
{
	for (; heap->fork_at < heap->fork_count; heap->fork_at++) {
		struct model_fork *fork = &heap->forks[heap->fork_at];

		if (fork->time_ns >= time_ns)
			return;
		fork->live_bytes = ledger_total(heap->ledger)->live.value;
	}
}

static void take_heap(struct model_trace *t, struct model_heap *heap, const struct trace_heap *e)
{
	struct model_thread_state *thread;
	bool passes;

	if (e->time_ns > t->end_ns)
		t->end_ns = e->time_ns;
	model_watch_phases(t, &t->processes[t->process], heap->ledger, e->time_ns);
	if (heap->fork_at < heap->fork_count)
		pass_forks(heap, e->time_ns);
	switch (e->op) {
	case TRACE_HEAP_ALLOC:
		take_alloc(t, heap, e);
		break;
	case TRACE_HEAP_FREE:
		thread = thread_of(t, t->process, e->thread, e->time_ns, &passes);
		ledger_freed(heap->ledger, e->block, ledger_thread_of(heap, thread), e->time_ns);
		break;
	case TRACE_HEAP_RESIZE:
		ledger_resized(heap->ledger, e->block, e->size, e->time_ns);
		break;
	}
}

static void count_copy(struct memory *m, enum trace_copy_kind kind, double size, double weight)
{
	switch (kind) {
	case TRACE_COPY_MEMORY:
	case TRACE_COPY_REALLOC:
		m->copies++;
		m->copy_bytes += size * weight;
		m->copy_spread.seen += size;
		m->copy_spread.variance += size * size * weight * (weight - 1);
		break;
	case TRACE_COPY_READ:
		m->read_bytes += size * weight;
		break;
	case TRACE_COPY_WRITE:
		m->write_bytes += size * weight;
		break;
	case TRACE_COPY_KINDS:
		break;
	}
}

static void take_copy(struct model_trace *t, struct model_heap *heap, const struct trace_copy *e)
{
	struct model *m = t->m;
	double size = (double)e->size;
	double weight = ledger_weight((double)t->copy_rate, e->size);
	struct model_thread_state *thread;
	uint32_t node;
	bool passes;

	if (e->time_ns > t->end_ns)
		t->end_ns = e->time_ns;
	thread = thread_of(t, t->process, e->thread, e->time_ns, &passes);
	if (!passes || !model_in_windows(&t->processes[t->process], e->time_ns))
		return;
	node = node_of(t, t->process, thread, e->node);
	if (node == MODEL_LEFT_OUT)
		return;
	model_own_line(m, node);
	count_copy(&m->nodes[node].self.memory, e->kind, size, weight);
	if (thread)
		count_copy(&m->threads[thread->id].total.memory, e->kind, size, weight);
	count_copy(&heap->total, e->kind, size, weight);
	if (e->kind == TRACE_COPY_MEMORY || e->kind == TRACE_COPY_REALLOC)
		series_bins_add(&m->copy_bins, e->time_ns + t->shift_ns, size * weight);
}

static void take_footprint(struct model_trace *t, struct model_heap *heap,
			   const struct trace_footprint *f)
{
	const struct model_process_state *state = &t->processes[t->process];
	size_t at = model_window_at(state, f->time_ns);
	uint32_t step;

	if (f->time_ns > t->end_ns)
		t->end_ns = f->time_ns;
	if (heap->before_bytes <= 0 && t->defs->processes[t->process].origin == TRACE_ORIGIN_ATTACH)
		heap->before_bytes = (double)f->rss_bytes;
	if (at == state->window_count || f->time_ns < state->windows[at].from_ns)
		return;
	step = series_clock_step(&heap->clock, f->time_ns);
	series_set(&heap->rss, &heap->clock, step, f->time_ns, (double)f->rss_bytes, 0);
	if (f->pss_bytes)
		series_set(&heap->pss, &heap->clock, step, f->time_ns, (double)f->pss_bytes, 0);
	if (heap->first_rss_bytes <= 0)
		heap->first_rss_bytes = (double)f->rss_bytes;
	if ((double)f->rss_bytes > heap->max_rss_bytes)
		heap->max_rss_bytes = (double)f->rss_bytes;
	heap->minor_faults = f->minor_faults;
	heap->major_faults = f->major_faults;
}

static void take_mark(struct model_trace *t, struct model_heap *heap, const struct trace_mark *e)
{
	struct model *m = t->m;
	const struct model_filter *filter = &m->options.filter;

	if (e->time_ns > t->end_ns)
		t->end_ns = e->time_ns;
	if (e->kind == TRACE_MARK_FORK) {
		heap->forks = xgrow(heap->forks, &heap->fork_capacity, heap->fork_count + 1,
				    sizeof(*heap->forks));
		heap->forks[heap->fork_count++] = (struct model_fork){.time_ns = e->time_ns};
		return;
	}
	if (e->kind == TRACE_MARK_FINALIZE)
		ledger_user_ended(heap->ledger, e->time_ns);
	if (e->time_ns < filter->from_ns || e->time_ns > filter->to_ns)
		return;
	m->marks = xgrow(m->marks, &m->mark_capacity, m->mark_count + 1, sizeof(*m->marks));
	m->marks[m->mark_count++] = (struct model_mark){
		.process = heap->process,
		.kind = e->kind,
		.time_ns = e->time_ns + t->shift_ns,
		.label = model_text(m, e->label.data, e->label.size),
	};
}

void model_take_memory(struct model_trace *t, const struct trace_block *b)
{
	struct model_heap *heap;

	t->m->memory_seen |= b->heap_count > 0;
	t->m->copies_seen |= b->copy_count > 0;
	for (size_t i = 0; i < b->mark_count; i++) {
		heap = heap_of(t, b->marks[i].process);
		if (heap)
			take_mark(t, heap, &b->marks[i]);
	}
	if (b->heap_count + b->copy_count + b->footprint_count == 0)
		return;
	heap = heap_of(t, b->process);
	if (!heap)
		return;
	for (size_t i = 0; i < b->heap_count; i++) {
		if (i + AHEAD < b->heap_count && b->heap[i + AHEAD].op == TRACE_HEAP_FREE)
			ledger_expect_free(heap->ledger, b->heap[i + AHEAD].block);
		take_heap(t, heap, &b->heap[i]);
	}
	for (size_t i = 0; i < b->copy_count; i++)
		take_copy(t, heap, &b->copies[i]);
	for (size_t i = 0; i < b->footprint_count; i++)
		take_footprint(t, heap, &b->footprints[i]);
}

/* ---- what came of it ------------------------------------------------------------------------ */

static void add_spread(struct spread *to, const struct estimate *from)
{
	const struct spread spread = estimate_spread(from);

	spread_add(to, &spread);
}

/* average_bytes gets bytes times nanoseconds: model_average_memory divides. */
static void charge_sum(struct memory *m, const struct ledger_sum *sum)
{
	m->events += sum->events;
	m->malloc_bytes += sum->allocated.value;
	add_spread(&m->malloc_spread, &sum->allocated);
	m->malloc_count += sum->count.value;
	add_spread(&m->count_spread, &sum->count);
	m->python_bytes += sum->python;
	m->free_bytes += sum->freed.value;
	add_spread(&m->free_spread, &sum->freed);
	m->temporary_bytes += sum->temporary;
	m->temporary_count += sum->temporary_count;
	m->brief_bytes += sum->brief;
	m->growth_bytes += sum->end.value - sum->base.value;
	estimate_add(&m->gained, &sum->end);
	estimate_subtract(&m->gained, &sum->stayed);
	estimate_add(&m->lost, &sum->base);
	estimate_subtract(&m->lost, &sum->stayed);
	m->final_bytes += sum->live.value - sum->base.value;
	m->peak_bytes += sum->peak.value;
	add_spread(&m->peak_spread, &sum->peak);
	m->own_peak_bytes += sum->own_peak.value;
	add_spread(&m->own_peak_spread, &sum->own_peak);
	m->average_bytes += sum->byte_ns;
}

static void charge_group(struct model *m, const struct model_group *group,
			 const struct estimate *own_peak)
{
	struct metrics *metrics = NULL;

	switch (group->kind) {
	case MODEL_GROUP_LINE:
		metrics = &m->lines[group->id].self;
		break;
	case MODEL_GROUP_CHARGED:
	case MODEL_GROUP_SUPPRESSED:
		metrics = &m->lines[group->id].charged;
		break;
	case MODEL_GROUP_FUNCTION:
		metrics = &m->functions[group->id].self;
		break;
	}
	metrics->memory.own_peak_bytes += own_peak->value;
	add_spread(&metrics->memory.own_peak_spread, own_peak);
}

static void settle_heap(struct model *m, struct model_heap *heap)
{
	struct ledger *l = heap->ledger;

	ledger_finish(l, heap->end_ns);
	for (uint32_t i = 0; i < ledger_site_count(l); i++)
		charge_sum(&m->nodes[heap->nodes[i]].self.memory, ledger_site(l, i));
	for (uint32_t i = 0; i < heap->group_count; i++)
		charge_group(m, &heap->kinds[i], &ledger_group(l, i)->own_peak);
	for (uint32_t i = 0; i < heap->thread_count; i++) {
		if (heap->threads[i] != MODEL_LEFT_OUT)
			charge_sum(&m->threads[heap->threads[i]].total.memory, ledger_thread(l, i));
	}
	charge_sum(&heap->total, ledger_total(l));
	m->view.memory.unmatched += ledger_unknown(l);
}

/* What a fork's child began with: what its parent had, as far as that is known. Parents come into
 * the trace before their children, or a little later. */
static void find_inherited(struct model_trace *t, size_t child, unsigned depth)
{
	const struct trace_process *p = &t->defs->processes[child];
	struct model_heap *heap = t->processes[child].heap, *parent;
	const struct model_fork *fork = NULL;

	if (!heap || heap->inherited_bytes > 0 || p->origin != TRACE_ORIGIN_FORK ||
	    p->parent >= t->process_count || depth > INHERITED_DEPTH)
		return;
	parent = t->processes[p->parent].heap;
	for (size_t i = 0; parent && i < parent->fork_count; i++)
		if (!fork || parent->forks[i].time_ns <= p->start_ns)
			fork = &parent->forks[i];
	if (!fork)
		return;
	find_inherited(t, p->parent, depth + 1);
	heap->inherited_bytes = fork->live_bytes + parent->inherited_bytes;
}

void model_settle_memory(struct model_trace *t)
{
	struct model *m = t->m;

	for (size_t i = 0; i < t->process_count; i++)
		if (t->processes[i].heap)
			pass_forks(t->processes[i].heap, UINT64_MAX);
	for (size_t i = 0; i < t->process_count; i++)
		find_inherited(t, i, 0);

	for (size_t i = 0; i < t->process_count; i++) {
		struct model_heap *heap = t->processes[i].heap;
		const struct model_process *process;

		if (!heap)
			continue;
		process = &m->processes[heap->process];
		heap->end_ns = t->processes[i].ended ? process->end_ns - t->shift_ns : t->end_ns;
		model_watch_phases(t, &t->processes[i], heap->ledger, UINT64_MAX);
		settle_heap(m, heap);
	}
	/* A process's largest footprint by its own account, when all of its time is shown. */
	for (size_t i = 0; m->all_time && i < t->defs->process_end_count; i++) {
		const struct trace_process_end *end = &t->defs->process_ends[i];
		struct model_heap *heap =
			end->process < t->process_count ? t->processes[end->process].heap : NULL;

		/* Of one that was joined it may be older than the recording. */
		if (heap && heap->before_bytes > 0)
			continue;
		if (heap && heap->rss.count && (double)end->peak_rss_bytes > heap->max_rss_bytes)
			heap->max_rss_bytes = (double)end->peak_rss_bytes;
	}
}

static void divide(struct memory *m, uint64_t duration_ns)
{
	m->average_bytes = duration_ns ? m->average_bytes / (double)duration_ns : 0;
}

void model_average_memory(struct model *m, uint64_t duration_ns)
{
	for (size_t i = 0; i < m->node_count; i++)
		divide(&m->nodes[i].self.memory, duration_ns);
	for (size_t i = 0; i < m->thread_count; i++)
		divide(&m->threads[i].total.memory, duration_ns);
	for (size_t i = 0; i < m->heap_count; i++)
		divide(&m->heaps[i]->total, duration_ns);
}

static int compare_marks(const void *a, const void *b)
{
	const struct model_mark *x = a;
	const struct model_mark *y = b;

	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

void model_total_memory(struct model *m)
{
	struct model_memory *v = &m->view.memory;
	double largest = -1;

	v->recorded = m->memory_seen || m->header.memory_rate > 0;
	v->copies_recorded = m->copies_seen || m->header.copy_rate > 0;
	v->rate = m->header.memory_rate;
	v->copy_rate = m->header.copy_rate;
	/* Not every event has a thread, so a process is more than its threads. */
	for (size_t i = 0; i < m->process_count; i++)
		m->processes[i].total.memory = (struct memory){0};
	for (size_t i = 0; i < m->heap_count; i++) {
		const struct model_heap *heap = m->heaps[i];

		m->processes[heap->process].total.memory = heap->total;
		m->processes[heap->process].inherited_bytes = heap->inherited_bytes;
		m->processes[heap->process].first_rss_bytes = heap->first_rss_bytes;
		m->processes[heap->process].max_rss_bytes = heap->max_rss_bytes;
		m->nodes[0].total.memory.own_peak_bytes += heap->total.own_peak_bytes;
		spread_add(&m->nodes[0].total.memory.own_peak_spread, &heap->total.own_peak_spread);
		v->peak_bytes += heap->total.peak_bytes;
		v->max_rss_bytes += heap->max_rss_bytes;
		v->before_bytes += heap->before_bytes;
		v->minor_faults += heap->minor_faults;
		v->major_faults += heap->major_faults;
		if (heap->total.peak_bytes > largest) {
			largest = heap->total.peak_bytes;
			v->peak_ns = ledger_peak_ns(heap->ledger) + heap->shift_ns;
			v->end_ns = ledger_end_ns(heap->ledger) + heap->shift_ns;
		}
	}
	if (m->mark_count)
		qsort(m->marks, m->mark_count, sizeof(*m->marks), compare_marks);
	m->view.marks = m->marks;
	m->view.mark_count = m->mark_count;
}

void model_free_memory(struct model *m)
{
	for (size_t i = 0; i < m->heap_count; i++) {
		struct model_heap *heap = m->heaps[i];

		ledger_free(heap->ledger);
		map_release(&heap->sites);
		map_release(&heap->groups);
		series_release(&heap->rss);
		series_release(&heap->pss);
		free(heap->nodes);
		free(heap->kinds);
		free(heap->threads);
		free(heap->forks);
		free(heap);
	}
	free(m->heaps);
	model_free_leaks(m);
	free(m->suppressed);
	free(m->marks);
	free(m->points);
	free(m->live);
}
