/* SPDX-License-Identifier: Apache-2.0
 *
 * The model's processes and threads: who passes the filter, what they are called, how they ended.
 */
#include <stdlib.h>

#include "analyze/filter_match.h"
#include "analyze/model_state.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static bool needs_quotes(const struct trace_text *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "@%+=:,./-_";

	return word->size == 0 || strspn(word->data, plain) != word->size;
}

/* Caller frees with free. */
static char *join_command(const struct trace_text *words, size_t count)
{
	struct buf text = {0};
	char *joined;

	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_add_byte(&text, ' ');
		if (!needs_quotes(&words[i])) {
			buf_add(&text, words[i].data, words[i].size);
			continue;
		}
		buf_add_byte(&text, '\'');
		for (size_t k = 0; k < words[i].size; k++) {
			if (words[i].data[k] == '\'')
				buf_add_text(&text, "'\\''");
			else if (words[i].data[k])
				buf_add_byte(&text, (uint8_t)words[i].data[k]);
		}
		buf_add_byte(&text, '\'');
	}
	joined = xstrdup(buf_text(&text));
	buf_release(&text);
	return joined;
}

/* PY_VERSION_HEX as people write it: "3.12.1", "3.14.0rc2", "3.13.5t". */
static const char *python_version(struct model *m, const struct trace_process *p)
{
	static const char *const levels[16] = {[0xa] = "a", [0xb] = "b", [0xc] = "rc"};
	uint32_t hex = p->python_hex;
	const char *level = levels[hex >> 4 & 0xf];
	const char *threaded = p->free_threaded ? "t" : "";
	char text[64];

	if (hex == 0)
		return "";
	if (level)
		snprintf(text, sizeof(text), "%u.%u.%u%s%u%s", hex >> 24, hex >> 16 & 0xff,
			 hex >> 8 & 0xff, level, hex & 0xf, threaded);
	else
		snprintf(text, sizeof(text), "%u.%u.%u%s", hex >> 24, hex >> 16 & 0xff,
			 hex >> 8 & 0xff, threaded);
	return model_text(m, text, strlen(text));
}

const char *model_command(struct model *m, const struct trace_text *words, size_t count)
{
	char *joined = join_command(words, count);
	const char *command = model_text(m, joined, strlen(joined));

	free(joined);
	return command;
}

static const char *const *process_words(struct model *m, const struct trace_process *p)
{
	const char **words = xcalloc(p->command_count + 1, sizeof(*words));

	for (size_t i = 0; i < p->command_count; i++)
		words[i] = model_text(m, p->command[i].data, p->command[i].size);
	return words;
}

static void add_process(struct model_trace *t, struct model_process_state *state,
			const struct trace_process *p)
{
	struct model *m = t->m;
	const struct model_filter *filter = &m->options.filter;
	const char *command = model_command(m, p->command, p->command_count);

	if (!filter_match_process(filter->processes, filter->process_count, command, p->pid) ||
	    !model_open_windows(t, (uint32_t)(state - t->processes)))
		return;
	state->id = (uint32_t)m->process_count;
	m->processes = xgrow(m->processes, &m->process_capacity, m->process_count + 1,
			     sizeof(*m->processes));
	m->processes[m->process_count++] = (struct model_process){
		.pid = p->pid,
		.parent = MODEL_NO_ID,
		.command = command,
		.words = process_words(m, p),
		.word_count = p->command_count,
		.python = python_version(m, p),
		.forked = p->origin == TRACE_ORIGIN_FORK,
		.start_ns = p->start_ns + t->shift_ns,
		.end_ns = p->start_ns + t->shift_ns,
	};
}

void model_note_processes(struct model_trace *t)
{
	const struct trace_defs *defs = t->defs;

	if (defs->process_count > t->process_count) {
		t->processes = xgrow(t->processes, &t->process_capacity, defs->process_count,
				     sizeof(*t->processes));
		for (; t->process_count < defs->process_count; t->process_count++) {
			struct model_process_state *state = &t->processes[t->process_count];

			*state = (struct model_process_state){.id = MODEL_NO_ID};
			add_process(t, state, &defs->processes[t->process_count]);
		}
	}
	if (defs->thread_count > t->thread_count) {
		t->threads = xgrow(t->threads, &t->thread_capacity, defs->thread_count,
				   sizeof(*t->threads));
		for (; t->thread_count < defs->thread_count; t->thread_count++) {
			t->threads[t->thread_count] = (struct model_thread_state){
				.process = defs->threads[t->thread_count].process,
				.id = MODEL_NO_ID,
				.share_line = MODEL_NO_ID,
				.split_trace_node = MODEL_NO_ID,
				.ledger_thread = LEDGER_NONE,
			};
		}
	}
}

static const char *thread_name(struct model_trace *t, uint32_t thread)
{
	const struct trace_thread *def = &t->defs->threads[thread];
	struct model *m = t->m;
	char text[32];

	if (def->name.size > 0)
		return model_text(m, def->name.data, def->name.size);
	if (thread < m->late_name_count && m->late_names[thread])
		return model_text(m, m->late_names[thread], strlen(m->late_names[thread]));
	if (def->main)
		return "MainThread";
	snprintf(text, sizeof(text), "Thread-%d", def->tid);
	return model_text(m, text, strlen(text));
}

void model_open_thread(struct model_trace *t, uint32_t thread)
{
	struct model_thread_state *state = &t->threads[thread];
	const struct trace_thread *def = &t->defs->threads[thread];
	const struct model_filter *filter = &t->m->options.filter;
	struct model *m = t->m;
	const char *name = thread_name(t, thread);
	uint32_t process =
		state->process < t->process_count ? t->processes[state->process].id : MODEL_NO_ID;

	state->id = MODEL_LEFT_OUT;
	if (process == MODEL_NO_ID ||
	    !filter_match_thread(filter->threads, filter->thread_count, name, def->tid))
		return;
	state->id = (uint32_t)m->thread_count;
	m->threads =
		xgrow(m->threads, &m->thread_capacity, m->thread_count + 1, sizeof(*m->threads));
	m->threads[m->thread_count++] = (struct model_thread){
		.process = process,
		.tid = def->tid,
		.name = name,
		.start_ns = def->start_ns + t->shift_ns,
		.end_ns = def->start_ns + t->shift_ns,
	};
}

void model_note_pauses(struct model_trace *t, const struct trace_block *b)
{
	for (size_t i = 0; i < b->mark_count; i++) {
		const struct trace_mark *mark = &b->marks[i];

		if (mark->process < t->process_count &&
		    (mark->kind == TRACE_MARK_START || mark->kind == TRACE_MARK_STOP))
			t->processes[mark->process].paused = true;
	}
}

/* A process that becomes another program keeps its pid and its clocks: what was seen of it before
 * counts with what follows, whose end tells the CPU time of both. */
static void follow_exec(struct model_trace *t, const bool *became_other)
{
	struct map before = {0}; /* pid to process */

	for (uint32_t i = 0; i < t->process_count; i++) {
		const struct trace_process *p = &t->defs->processes[i];
		uint32_t old = map_remove(&before, (uint32_t)p->pid);

		if (p->origin == TRACE_ORIGIN_EXEC && old != MAP_NONE) {
			t->processes[i].seen_ns += t->processes[old].seen_ns;
			t->processes[i].paused |= t->processes[old].paused;
			t->processes[old].seen_ns = 0;
			t->processes[old].own_ns = 0;
		}
		if (became_other[i])
			map_set(&before, (uint32_t)p->pid, i);
	}
	map_release(&before);
}

static void note_refusals(struct model_trace *t)
{
	const struct model_filter *filter = &t->m->options.filter;
	struct model *m = t->m;

	for (size_t i = 0; i < t->defs->refusal_count; i++) {
		const struct trace_refusal *refusal = &t->defs->refusals[i];

		if (!filter_match_process(filter->processes, filter->process_count,
					  refusal->command.data, refusal->pid))
			continue;
		m->refusals = xgrow(m->refusals, &m->refusal_capacity, m->refusal_count + 1,
				    sizeof(*m->refusals));
		m->refusals[m->refusal_count++] = (struct model_refusal){
			.pid = refusal->pid,
			.parent_pid = refusal->parent_pid,
			.python = refusal->python,
			.command = model_text(m, refusal->command.data, refusal->command.size),
			.why = model_text(m, refusal->why.data, refusal->why.size),
		};
	}
}

void model_note_ends(struct model_trace *t)
{
	const struct trace_defs *defs = t->defs;
	struct model *m = t->m;
	bool *became_other = xcalloc(t->process_count + 1, sizeof(*became_other));

	for (size_t i = 0; i < defs->process_end_count; i++) {
		const struct trace_process_end *end = &defs->process_ends[i];
		struct model_process_state *state;
		struct model_process *p;

		if (end->process >= t->process_count)
			continue;
		state = &t->processes[end->process];
		state->ended = true;
		became_other[end->process] = end->how == TRACE_END_EXEC;
		/* What an attached process did before we came is in its clocks, but not in ours. */
		if (defs->processes[end->process].origin != TRACE_ORIGIN_ATTACH)
			state->own_ns = end->cpu_ns - end->exit_cpu_ns;
		if (end->time_ns > t->end_ns)
			t->end_ns = end->time_ns;
		if (state->id == MODEL_NO_ID)
			continue;
		p = &m->processes[state->id];
		p->how = end->how;
		p->status = end->status;
		p->own_cpu_ns = end->cpu_ns;
		if (end->time_ns + t->shift_ns > p->end_ns)
			p->end_ns = end->time_ns + t->shift_ns;
	}
	/* A child can enter the trace before its parent. */
	for (size_t i = 0; i < t->process_count; i++) {
		uint32_t parent = defs->processes[i].parent;

		if (t->processes[i].id != MODEL_NO_ID && parent < t->process_count && parent != i)
			m->processes[t->processes[i].id].parent = t->processes[parent].id;
	}
	note_refusals(t);
	follow_exec(t, became_other);
	for (size_t i = 0; i < t->process_count; i++) {
		if (t->processes[i].own_ns == 0 || t->processes[i].paused)
			continue;
		m->own_ns += t->processes[i].own_ns;
		m->seen_ns += t->processes[i].seen_ns;
	}
	free(became_other);
}

void model_note_threads(struct model_trace *t)
{
	struct model *m = t->m;

	for (uint32_t i = 0; i < t->thread_count; i++) {
		const struct model_thread_state *state = &t->threads[i];
		struct model_process *p;
		struct model_thread *thread;

		if (state->id >= MODEL_LEFT_OUT)
			continue;
		thread = &m->threads[state->id];
		p = &m->processes[thread->process];
		thread->name = thread_name(t, i);
		thread->end_ns = state->last_time_ns > state->memory_time_ns
					 ? state->last_time_ns
					 : state->memory_time_ns;
		thread->end_ns += t->shift_ns;
		if (thread->end_ns > p->end_ns)
			p->end_ns = thread->end_ns;
	}
}
