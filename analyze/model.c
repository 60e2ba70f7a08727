/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds a model: takes the events of a trace one by one, cuts them to the filter and charges each
 * to a stack node, a thread and, for the question of Python or native, to a slot. What it means in
 * sum is worked out once, by model_finish.
 */
#include "analyze/model.h"

#include <stdlib.h>

#include "analyze/model_state.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* In a key of model_process_state.firsts: the sample does not pass --gil. */
#define FIRST_LEFT_OUT (1u << 8)

struct model *model_new(const struct model_options *options)
{
	struct model *m = xcalloc(1, sizeof(*m));

	m->options = *options;
	m->window = (struct model_window){options->filter.from_ns, options->filter.to_ns};
	m->all_time = options->filter.from_ns == 0 && options->filter.to_ns == UINT64_MAX &&
		      !options->filter.phase_count;
	m->all_stacks = options->filter.file_count == 0 && options->filter.function_count == 0;
	m->no_frame_line = MODEL_NO_ID;
	m->cpu_bins.clock.origin_ns = options->filter.from_ns;
	m->copy_bins.clock.origin_ns = options->filter.from_ns;
	m->nodes = xgrow(m->nodes, &m->node_capacity, 1, sizeof(*m->nodes));
	m->node_lines = xgrow(m->node_lines, &m->node_line_capacity, 1, sizeof(*m->node_lines));
	m->nodes[0] = (struct model_node){.function = MODEL_NO_ID, .thread = MODEL_NO_ID};
	m->node_lines[0] = MODEL_NO_ID;
	m->node_count = 1;
	m->view.exit_status = -1;
	m->view.weight = options->weight;
	m->view.quality.complete = true;
	return m;
}

/* ---- charging ------------------------------------------------------------------------------- */

struct charge {
	uint64_t samples;
	uint64_t cpu_ns;
	uint64_t idle_ns;  /* wall time beside it, in which the thread was not seen waiting */
	uint64_t ready_ns; /* of that: ready to run, without a processor */
	double square;
};

static void charge_metrics(struct metrics *m, enum model_class class, const struct charge *c)
{
	m->samples += c->samples;
	m->cpu_ns += c->cpu_ns;
	m->cpu_square += c->square;
	m->wall_ns += c->cpu_ns + c->idle_ns;
	m->wait_ns[TRACE_WAIT_RUNNABLE] += c->ready_ns;
	m->wait_ns[TRACE_WAIT_OTHER] += c->idle_ns - c->ready_ns;
	switch (class) {
	case MODEL_CLASS_PYTHON:
		m->python_ns += c->cpu_ns;
		break;
	case MODEL_CLASS_NATIVE:
		m->native_ns += c->cpu_ns;
		break;
	case MODEL_CLASS_SYSTEM:
		m->system_ns += c->cpu_ns;
		break;
	case MODEL_CLASS_IN_C_CALL:
	case MODEL_CLASS_IN_PYTHON_CALL:
	case MODEL_CLASS_IN_INTERPRETER:
		m->unsure_ns += c->cpu_ns;
		break;
	}
}

static void add_share(struct model *m, struct model_thread_state *thread, uint32_t line,
		      uint64_t ns)
{
	if (thread->share_line != line) {
		bool added;
		struct model_key key = {thread->id, line, 0};

		thread->share = model_table_add(&m->share_table, key, &added);
		thread->share_line = line;
		if (added) {
			m->shares = xgrow(m->shares, &m->share_capacity, (size_t)thread->share + 1,
					  sizeof(*m->shares));
			m->shares[thread->share] = 0;
		}
	}
	m->shares[thread->share] += ns;
}

static void charge(struct model *m, struct model_thread_state *thread,
		   const struct model_place *place, const struct charge *c, uint64_t time_ns)
{
	uint32_t line = model_own_line(m, place->node);

	if (c->cpu_ns > 0)
		series_bins_add(&m->cpu_bins, time_ns, (double)c->cpu_ns);
	charge_metrics(&m->nodes[place->node].self, place->class, c);
	charge_metrics(&m->threads[thread->id].total, place->class, c);
	if (place->class == MODEL_CLASS_PYTHON)
		return;
	if (c->cpu_ns > 0) {
		uint32_t granule = place->granule < MODEL_SLOT_NO_GRANULE ? place->granule
									  : MODEL_SLOT_NO_GRANULE;

		model_slots_add(&m->slots,
				&(struct model_slot){
					.line = line,
					.code = granule << MODEL_SLOT_CLASS_BITS | place->class,
					.cpu_ns = c->cpu_ns,
					.samples = c->samples,
					.cpu_square = c->square,
				});
	}
	if (place->class >= MODEL_CLASS_IN_C_CALL)
		add_share(m, thread, line, c->cpu_ns);
}

static void report_event(const struct model_trace *t, const struct model_thread_state *thread,
			 struct model_event event)
{
	const struct model *m = t->m;

	if (!m->options.on_event)
		return;
	event.thread = thread->id;
	if (m->node_lines[event.node] == MODEL_NO_ID)
		event.node = 0;
	event.start_ns += t->shift_ns;
	event.end_ns += t->shift_ns;
	m->options.on_event(m->options.on_event_arg, &event);
}

/* ---- the filter on time --------------------------------------------------------------------- */

/* Cuts [from, to] to the window; false when nothing is left. A moment is where the end of a stretch
 * would be. */
static bool cut_time(const struct model_window *window, uint64_t *from, uint64_t *to)
{
	if (*from == *to)
		return (*to > window->from_ns || window->from_ns == 0) && *to <= window->to_ns;
	if (*from < window->from_ns)
		*from = window->from_ns;
	if (*to > window->to_ns)
		*to = window->to_ns;
	return *from < *to;
}

/* The part of amount, spread over [from, to], that falls into [start, end]. Neighbouring cuts of
 * one event add up to the whole. */
static uint64_t cut_amount(uint64_t amount, uint64_t from, uint64_t to, uint64_t start,
			   uint64_t end)
{
	if (from == start && to == end)
		return amount;
	return model_scale(amount, end - from, to - from) -
	       model_scale(amount, start - from, to - from);
}

/* ---- events --------------------------------------------------------------------------------- */

/* A process's first samples stand for its threads that ended before any sample hit them. */
static void note_first(struct model_trace *t, const struct trace_sample *s)
{
	struct model_process_state *process = &t->processes[t->threads[s->thread].process];
	uint32_t class = (uint32_t)model_classify(t, s);
	bool added;
	uint32_t id;

	if (t->m->options.filter.gil_only && !(s->flags & TRACE_SAMPLE_GIL))
		class |= FIRST_LEFT_OUT;
	id = model_table_add(&process->firsts,
			     (struct model_key){s->node, t->pcs[s->pc].granule, class}, &added);
	if (added) {
		process->first_counts = xgrow(process->first_counts, &process->first_capacity,
					      (size_t)id + 1, sizeof(*process->first_counts));
		process->first_counts[id] = 0;
	}
	process->first_counts[id]++;
}

/* Every event of a thread passes here. Returns whether the thread passes the filter. */
static bool enter_thread(struct model_trace *t, uint32_t thread_id, uint64_t time_ns,
			 uint64_t cpu_ns)
{
	struct model_thread_state *thread = &t->threads[thread_id];

	if (thread->process < t->process_count)
		t->processes[thread->process].seen_ns += cpu_ns;
	if (time_ns > t->end_ns)
		t->end_ns = time_ns;
	if (thread->id == MODEL_NO_ID)
		model_open_thread(t, thread_id);
	if (thread->id == MODEL_LEFT_OUT)
		return false;
	thread->last_time_ns = time_ns;
	return true;
}

/* One sample, or the part of it in one window. */
static void charge_sample(struct model_trace *t, struct model_thread_state *thread,
			  const struct trace_sample *s, struct charge *c, uint64_t start_ns,
			  uint64_t end_ns)
{
	struct model *m = t->m;

	c->square = (double)c->cpu_ns * (double)c->cpu_ns;
	thread->last_weight_ns = c->cpu_ns;
	if (s->flags & TRACE_SAMPLE_GIL)
		m->view.gil_ns += c->cpu_ns;
	charge(m, thread, &thread->last, c, end_ns + t->shift_ns);
	model_charge_phases(t, &t->processes[thread->process], start_ns, end_ns, c->cpu_ns);
	report_event(t, thread,
		     (struct model_event){
			     .node = thread->last.node,
			     .start_ns = start_ns,
			     .end_ns = end_ns,
			     .cpu_ns = c->cpu_ns,
		     });
}

static void take_sample(struct model_trace *t, const struct trace_sample *s)
{
	struct model *m = t->m;
	struct model_thread_state *thread = &t->threads[s->thread];
	uint64_t wall_ns = s->wall_ns < s->time_ns ? s->wall_ns : s->time_ns;
	uint64_t from = s->time_ns - wall_ns;
	const struct model_process_state *process;
	struct charge c = {0};
	bool passes = enter_thread(t, s->thread, s->time_ns, s->cpu_ns);
	bool charged = false;

	m->view.quality.samples++;
	m->view.quality.truncated += (s->flags & TRACE_SAMPLE_TRUNCATED) != 0;
	t->unwalked += (s->flags & TRACE_SAMPLE_UNWALKED) != 0;
	if (s->flags & TRACE_SAMPLE_FIRST && thread->process < t->process_count)
		note_first(t, s);
	if (!passes)
		return;
	thread->sampled = true;
	thread->last.node = MODEL_LEFT_OUT;
	thread->last_weight_ns = 0;
	c.cpu_ns = thread->carry_ns;
	thread->carry_ns = 0;
	if (m->options.filter.gil_only && !(s->flags & TRACE_SAMPLE_GIL))
		return;
	thread->last.node = model_resolve_node(t, thread, s->node);
	if (thread->last.node == MODEL_LEFT_OUT)
		return;
	thread->last.granule = t->pcs[s->pc].granule;
	thread->last.class = model_classify(t, s);
	process = &t->processes[thread->process];
	for (size_t i = model_window_at(process, from); i < process->window_count; i++) {
		uint64_t start = from;
		uint64_t end = s->time_ns;
		uint64_t idle_ns = wall_ns > s->cpu_ns ? wall_ns - s->cpu_ns : 0;

		if (process->windows[i].from_ns > s->time_ns)
			break;
		if (!cut_time(&process->windows[i], &start, &end))
			continue;
		c.samples = end == s->time_ns;
		c.cpu_ns += cut_amount(s->cpu_ns, from, s->time_ns, start, end);
		c.idle_ns = cut_amount(idle_ns, from, s->time_ns, start, end);
		c.ready_ns = cut_amount(s->ready_ns < idle_ns ? s->ready_ns : idle_ns, from,
					s->time_ns, start, end);
		if (c.ready_ns > c.idle_ns)
			c.ready_ns = c.idle_ns;
		charge_sample(t, thread, s, &c, start, end);
		c.cpu_ns = 0;
		charged = true;
	}
	/* What was carried here is from the time that counts, the sample is from after it. */
	if (!charged && c.cpu_ns > 0) {
		size_t at = model_window_at(process, from);
		uint64_t end = at > 0 ? process->windows[at - 1].to_ns : process->windows[0].to_ns;

		charge_sample(t, thread, s, &c, end, end);
	}
}

/* The thread ends, or the trace does: what no later sample takes goes where the last one was. */
static void settle_carry(struct model_trace *t, uint32_t thread_id)
{
	struct model_thread_state *thread = &t->threads[thread_id];
	struct charge c = {.cpu_ns = thread->carry_ns};

	if (thread->carry_ns == 0)
		return;
	if (!thread->sampled) {
		struct model_process_state *process = &t->processes[thread->process];

		process->pool_threads =
			xgrow(process->pool_threads, &process->pool_thread_capacity,
			      process->pool_thread_count + 1, sizeof(*process->pool_threads));
		process->pool_threads[process->pool_thread_count++] = thread_id;
		return;
	}
	thread->carry_ns = 0;
	if (thread->last.node == MODEL_LEFT_OUT)
		return;
	/* The last sample grows: (w + c)^2 - w^2. */
	c.square = (double)c.cpu_ns * (double)(2 * thread->last_weight_ns + c.cpu_ns);
	thread->last_weight_ns += c.cpu_ns;
	charge(t->m, thread, &thread->last, &c, thread->last_time_ns + t->shift_ns);
	model_charge_phases(t, &t->processes[thread->process], thread->last_time_ns,
			    thread->last_time_ns, c.cpu_ns);
	report_event(t, thread,
		     (struct model_event){
			     .node = thread->last.node,
			     .start_ns = thread->last_time_ns,
			     .end_ns = thread->last_time_ns,
			     .cpu_ns = c.cpu_ns,
		     });
}

static void charge_wait(struct model_trace *t, struct model_thread_state *thread,
			uint32_t trace_node, enum trace_wait_kind kind, uint64_t start_ns,
			uint64_t end_ns)
{
	struct model *m = t->m;
	uint32_t node = model_resolve_node(t, thread, trace_node);
	struct metrics *sums[2];

	if (node == MODEL_LEFT_OUT)
		return;
	model_own_line(m, node);
	sums[0] = &m->nodes[node].self;
	sums[1] = &m->threads[thread->id].total;
	for (int i = 0; i < 2; i++) {
		sums[i]->wall_ns += end_ns - start_ns;
		sums[i]->wait_ns[kind] += end_ns - start_ns;
	}
	report_event(t, thread,
		     (struct model_event){
			     .node = node,
			     .start_ns = start_ns,
			     .end_ns = end_ns,
			     .waiting = true,
			     .wait = kind,
		     });
}

static void take_wait(struct model_trace *t, const struct trace_wait *w)
{
	struct model *m = t->m;
	struct model_thread_state *thread = &t->threads[w->thread];
	uint64_t wall_ns = w->wall_ns < w->time_ns ? w->wall_ns : w->time_ns;
	uint64_t from = w->time_ns - wall_ns, ready_until;
	enum trace_wait_kind kind = w->kind < TRACE_WAIT_KINDS ? w->kind : TRACE_WAIT_OTHER;
	const struct model_process_state *process;

	if (!enter_thread(t, w->thread, w->time_ns, w->cpu_ns))
		return;
	process = &t->processes[thread->process];
	if (model_in_windows(process, from))
		thread->carry_ns += w->cpu_ns;
	if (m->options.filter.gil_only || from == w->time_ns)
		return;
	ready_until = from + (w->ready_ns < wall_ns ? w->ready_ns : wall_ns);
	/* Between its last event and its end a thread was running or ready to run. */
	if (kind == TRACE_WAIT_END)
		kind = TRACE_WAIT_OTHER;
	for (size_t i = model_window_at(process, from); i < process->window_count; i++) {
		uint64_t start = from, end = ready_until;

		if (process->windows[i].from_ns > w->time_ns)
			break;
		if (from < ready_until && cut_time(&process->windows[i], &start, &end))
			charge_wait(t, thread, w->node, TRACE_WAIT_RUNNABLE, start, end);
		start = ready_until;
		end = w->time_ns;
		if (start < end && cut_time(&process->windows[i], &start, &end))
			charge_wait(t, thread, w->node, kind, start, end);
	}
}

/* Is it in the time that is shown? */
static bool loss_counts(const struct model_trace *t, const struct trace_loss *loss)
{
	return t->m->all_time || (loss->process < t->process_count &&
				  model_in_windows(&t->processes[loss->process], loss->time_ns));
}

static void take_loss(struct model_trace *t, const struct trace_loss *loss)
{
	struct model_quality *q = &t->m->view.quality;

	switch (loss->kind) {
	case TRACE_LOSS_RING_FULL:
	case TRACE_LOSS_WRITE:
		q->lost_events += loss->count;
		break;
	case TRACE_LOSS_MISSED:
		q->missed += loss->count;
		break;
	case TRACE_LOSS_UNWALKED:
		t->unwalked_losses += loss->count;
		break;
	case TRACE_LOSS_LATE_TICK:
		q->late_ticks += loss_counts(t, loss) ? loss->count : 0;
		break;
	case TRACE_LOSS_PROCESS:
		q->processes_not_recorded += loss->count;
		break;
	case TRACE_LOSS_HEAP:
		t->m->view.memory.lost += loss->count;
		break;
	case TRACE_LOSS_UNMATCHED:
		t->m->view.memory.unmatched += loss->count;
		break;
	case TRACE_LOSS_KINDS:
		break;
	}
}

/* A block's samples and waits are each in order of time; a thread's events need the order of both.
 * A wait that ends when a sample is taken came first, unless the thread ended. */
static void take_block(struct model_trace *t, const struct trace_block *b)
{
	size_t wait = 0;

	t->process = b->process;
	for (size_t i = 0; i < b->sample_count; i++) {
		const struct trace_sample *s = &b->samples[i];

		for (; wait < b->wait_count; wait++) {
			const struct trace_wait *w = &b->waits[wait];

			if (w->time_ns > s->time_ns ||
			    (w->time_ns == s->time_ns && w->kind == TRACE_WAIT_END))
				break;
			take_wait(t, w);
		}
		take_sample(t, s);
	}
	for (; wait < b->wait_count; wait++)
		take_wait(t, &b->waits[wait]);
	for (size_t i = 0; i < b->loss_count; i++)
		take_loss(t, &b->losses[i]);
	model_note_pauses(t, b);
	model_take_memory(t, b);
}

/* ---- the end of a trace --------------------------------------------------------------------- */

/* A process's first samples in a row, each with its equal part of the pool. */
struct pool_part {
	struct model_key key;
	uint64_t ns;
};

static struct pool_part *list_pool_parts(const struct model_process_state *process,
					 uint64_t pool_ns, size_t *count)
{
	struct pool_part *parts = xcalloc((size_t)process->firsts.count + 1, sizeof(*parts));
	uint64_t all = 0;
	uint64_t so_far = 0;
	struct model_key key;
	uint32_t id;

	for (size_t at = 0; model_table_next(&process->firsts, &at, &key, &id);)
		parts[id].key = key;
	for (uint32_t i = 0; i < process->firsts.count; i++)
		all += process->first_counts[i];
	*count = process->firsts.count;
	for (uint32_t i = 0; i < process->firsts.count; i++) {
		uint64_t before = model_scale(pool_ns, so_far, all);

		so_far += process->first_counts[i];
		parts[i].ns = model_scale(pool_ns, so_far, all) - before;
	}
	return parts;
}

static void charge_pool(struct model_trace *t, struct model_thread_state *thread,
			const struct model_key *key, uint64_t ns)
{
	struct model_place place = {
		.granule = key ? key->b : MODEL_NO_ID,
		.class = key ? (enum model_class)(key->c & ~FIRST_LEFT_OUT) : MODEL_CLASS_PYTHON,
	};
	struct charge c = {.cpu_ns = ns, .square = (double)ns * (double)ns};

	if (key && key->c & FIRST_LEFT_OUT)
		return;
	if (key)
		place.node = model_resolve_node(t, thread, key->a);
	else if (t->m->all_stacks && !t->m->options.filter.gil_only)
		place.node = model_not_sampled_node(t->m, thread);
	else
		place.node = MODEL_LEFT_OUT;
	if (place.node == MODEL_LEFT_OUT)
		return;
	charge(t->m, thread, &place, &c, thread->last_time_ns + t->shift_ns);
	report_event(t, thread,
		     (struct model_event){
			     .node = place.node,
			     .start_ns = thread->last_time_ns,
			     .end_ns = thread->last_time_ns,
			     .cpu_ns = ns,
		     });
}

/* Lays the threads' unsampled time end to end against the parts of the first samples, so that both
 * the threads' and the lines' sums come out exact. */
static void settle_pool(struct model_trace *t, struct model_process_state *process)
{
	struct pool_part *parts;
	uint64_t pool_ns = 0;
	size_t count;
	size_t part = 0;

	for (size_t i = 0; i < process->pool_thread_count; i++)
		pool_ns += t->threads[process->pool_threads[i]].carry_ns;
	parts = list_pool_parts(process, pool_ns, &count);
	for (size_t i = 0; i < process->pool_thread_count; i++) {
		struct model_thread_state *thread = &t->threads[process->pool_threads[i]];

		while (thread->carry_ns) {
			uint64_t ns = thread->carry_ns;

			while (part < count && parts[part].ns == 0)
				part++;
			if (part < count && parts[part].ns < ns)
				ns = parts[part].ns;
			charge_pool(t, thread, part < count ? &parts[part].key : NULL, ns);
			if (part < count)
				parts[part].ns -= ns;
			thread->carry_ns -= ns;
		}
	}
	free(parts);
}

static void note_span(struct model_trace *t, const struct trace_header *header)
{
	struct model *m = t->m;
	size_t count;
	struct model_window *windows = model_shown_windows(t, &count);

	m->spans = xgrow(m->spans, &m->span_capacity, m->span_count + count + 1, sizeof(*m->spans));
	for (size_t i = 0; i < count; i++) {
		uint64_t start = windows[i].from_ns;
		uint64_t end = t->end_ns < windows[i].to_ns ? t->end_ns : windows[i].to_ns;

		m->spans[m->span_count++] = (struct model_span){
			.start_ns = header->start_realtime_ns + start,
			.end_ns = header->start_realtime_ns + (end > start ? end : start),
		};
	}
	m->trace_count++;
	free(windows);
}

static void note_damage(struct model *m, const char *damage)
{
	struct buf text = {0};

	if (m->damage)
		buf_printf(&text, "%s; ", m->damage);
	if (m->path)
		buf_printf(&text, "%s: ", m->path);
	buf_add_text(&text, damage);
	free(m->damage);
	m->damage = xstrdup(buf_text(&text));
	buf_release(&text);
}

static void finish_trace(struct model_trace *t, struct trace_reader *r)
{
	struct model *m = t->m;
	const struct trace_end *end = trace_reader_end(r);
	const char *damage = trace_reader_damage(r);

	for (uint32_t i = 0; i < t->thread_count; i++)
		settle_carry(t, i);
	for (size_t i = 0; i < t->process_count; i++) {
		if (t->processes[i].pool_thread_count)
			settle_pool(t, &t->processes[i]);
	}
	/* A sample without a stack is marked, counted, or both. */
	m->view.quality.failed +=
		t->unwalked > t->unwalked_losses ? t->unwalked : t->unwalked_losses;
	model_note_symbols(t);
	model_note_sources(t);
	model_note_ends(t);
	model_note_threads(t);
	if (end && end->time_ns > t->end_ns)
		t->end_ns = end->time_ns;
	model_settle_memory(t);
	note_span(t, trace_reader_header(r));
	if (!end || end->reason == TRACE_REASON_WRITE_ERROR)
		m->view.quality.complete = false;
	if (end && m->trace_count == 1)
		m->view.exit_status = end->command_status;
	if (damage)
		note_damage(m, damage);
}

static void release_trace(struct model_trace *t)
{
	for (size_t i = 0; i < t->process_count; i++) {
		free(t->processes[i].pool_threads);
		free(t->processes[i].first_counts);
		free(t->processes[i].own_windows);
		model_table_release(&t->processes[i].firsts);
	}
	free(t->functions);
	free(t->lines);
	free(t->nodes);
	free(t->passes);
	free(t->pcs);
	free(t->modules);
	model_table_release(&t->positions);
	free(t->position_lines);
	model_table_release(&t->thread_nodes);
	free(t->thread_node_ids);
	free(t->chain);
	free(t->threads);
	free(t->processes);
}

struct model_trace *model_begin(struct model *m, struct trace_reader *r)
{
	const struct trace_header *header = trace_reader_header(r);
	struct model_trace *t = xcalloc(1, sizeof(*t));

	t->m = m;
	t->reader = r;
	t->defs = trace_reader_defs(r);
	t->memory_rate = header->memory_rate;
	t->copy_rate = header->copy_rate;
	model_note_header(m, header);
	if (header->start_realtime_ns > m->header.start_realtime_ns)
		t->shift_ns = header->start_realtime_ns - m->header.start_realtime_ns;
	return t;
}

static void note_definitions(struct model_trace *t)
{
	model_note_processes(t);
	model_grow_names(t);
	model_grow_pcs(t);
}

int model_take(struct model_trace *t, size_t most, struct err *err)
{
	struct trace_block block;
	int status = 1;

	for (size_t i = 0; i < most; i++) {
		status = trace_reader_next(t->reader, &block, err);
		if (status != 1)
			break;
		note_definitions(t);
		take_block(t, &block);
	}
	return status;
}

void model_end(struct model_trace *t)
{
	if (!t)
		return;
	note_definitions(t);
	finish_trace(t, t->reader);
	release_trace(t);
	free(t);
}

int model_add(struct model *m, struct trace_reader *r, struct err *err)
{
	struct model_trace *t = model_begin(m, r);
	int status = model_take(t, SIZE_MAX, err);

	model_end(t);
	return status;
}
