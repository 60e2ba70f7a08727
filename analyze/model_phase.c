/* SPDX-License-Identifier: Apache-2.0
 *
 * The time that counts, process by process: all of it, what --from and --to leave, or the phases
 * that --phase names; and what happened in each phase.
 */
#include <stdlib.h>

#include "analyze/filter_match.h"
#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static void add_window(struct model_process_state *state, size_t *capacity, uint64_t from_ns,
		       uint64_t to_ns)
{
	struct model_window *last =
		state->window_count ? &state->own_windows[state->window_count - 1] : NULL;

	/* One phase right after the other is one stretch. */
	if (last && last->to_ns == from_ns) {
		last->to_ns = to_ns;
		return;
	}
	state->own_windows = xgrow(state->own_windows, capacity, state->window_count + 1,
				   sizeof(*state->own_windows));
	state->own_windows[state->window_count++] = (struct model_window){from_ns, to_ns};
}

bool model_open_windows(struct model_trace *t, uint32_t process)
{
	struct model_process_state *state = &t->processes[process];
	struct model *m = t->m;
	const struct model_filter *filter = &m->options.filter;
	const struct model_ahead *ahead = process < m->ahead_count ? &m->ahead[process] : NULL;
	size_t capacity = 0;

	state->first_phase = m->phase_count;
	for (size_t i = 0; ahead && i < ahead->count; i++) {
		const struct model_ahead_phase *phase = &ahead->phases[i];
		uint64_t from_ns =
			phase->from_ns > filter->from_ns ? phase->from_ns : filter->from_ns;
		uint64_t to_ns = phase->to_ns < filter->to_ns ? phase->to_ns : filter->to_ns;

		if (from_ns >= to_ns ||
		    !filter_match_phase(filter->phases, filter->phase_count, phase->label))
			continue;
		if (filter->phase_count)
			add_window(state, &capacity, from_ns, to_ns);
		m->phases = xgrow(m->phases, &m->phase_capacity, m->phase_count + 1,
				  sizeof(*m->phases));
		m->phases[m->phase_count++] = (struct model_phase){
			.process = (uint32_t)m->process_count,
			.label = model_text(m, phase->label, strlen(phase->label)),
			.start_ns = from_ns,
			.end_ns = to_ns,
		};
		state->phase_count++;
	}
	state->windows = state->own_windows;
	if (!filter->phase_count) {
		state->windows = &m->window;
		state->window_count = 1;
	}
	return state->window_count > 0;
}

size_t model_window_at(const struct model_process_state *state, uint64_t time_ns)
{
	size_t low = 0;
	size_t high = state->window_count;

	/* The first that ends at that time or later. */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (state->windows[middle].to_ns < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool model_in_windows(const struct model_process_state *state, uint64_t time_ns)
{
	size_t at = model_window_at(state, time_ns);

	return at < state->window_count &&
	       (time_ns > state->windows[at].from_ns || state->windows[at].from_ns == 0);
}

/* ---- what happened in each phase ------------------------------------------------------------ */

void model_charge_phases(struct model_trace *t, const struct model_process_state *state,
			 uint64_t start_ns, uint64_t end_ns, uint64_t cpu_ns)
{
	struct model_phase *phases = t->m->phases + state->first_phase;
	size_t low = 0;
	size_t high = state->phase_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (phases[middle].end_ns < (start_ns < end_ns ? start_ns + 1 : start_ns))
			low = middle + 1;
		else
			high = middle;
	}
	if (start_ns == end_ns) {
		if (low < state->phase_count && start_ns > phases[low].start_ns)
			phases[low].cpu_ns += cpu_ns;
		return;
	}
	for (; low < state->phase_count && phases[low].start_ns < end_ns; low++) {
		uint64_t from = start_ns > phases[low].start_ns ? start_ns : phases[low].start_ns;
		uint64_t to = end_ns < phases[low].end_ns ? end_ns : phases[low].end_ns;

		if (from < to)
			phases[low].cpu_ns +=
				model_scale(cpu_ns, to - start_ns, end_ns - start_ns) -
				model_scale(cpu_ns, from - start_ns, end_ns - start_ns);
	}
}

void model_watch_phases(struct model_trace *t, struct model_process_state *state,
			const struct ledger *ledger, uint64_t time_ns)
{
	struct model_phase *phases = t->m->phases + state->first_phase;

	while (state->phase_at < state->phase_count) {
		struct model_phase *phase = &phases[state->phase_at];
		double live = ledger_total(ledger)->live.value;

		if (time_ns <= (state->in_phase ? phase->end_ns : phase->start_ns))
			return;
		phase->growth_bytes += state->in_phase ? live : -live;
		state->phase_at += state->in_phase;
		state->in_phase = !state->in_phase;
	}
}

static int compare_windows(const void *a, const void *b)
{
	const struct model_window *x = a;
	const struct model_window *y = b;

	return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

struct model_window *model_shown_windows(struct model_trace *t, size_t *count)
{
	struct model_window *all = NULL;
	size_t capacity = 0;

	*count = 0;
	if (!t->m->options.filter.phase_count) {
		all = xgrow(all, &capacity, 1, sizeof(*all));
		all[(*count)++] = t->m->window;
		return all;
	}
	for (size_t i = 0; i < t->process_count; i++) {
		for (size_t k = 0; k < t->processes[i].window_count; k++) {
			all = xgrow(all, &capacity, *count + 1, sizeof(*all));
			all[(*count)++] = t->processes[i].windows[k];
		}
	}
	if (*count)
		qsort(all, *count, sizeof(*all), compare_windows);
	return all;
}
