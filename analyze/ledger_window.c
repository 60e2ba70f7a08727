/* SPDX-License-Identifier: Apache-2.0
 *
 * The borders of a ledger's time: where its window begins, pauses and ends, and where user code
 * does. Each is passed by the first event that is later.
 */
#include <math.h>

#include "analyze/ledger_state.h"

#include "formats/base/banned.h"

/* The interpreter takes itself down once; a trace that says so for ever shall not cost for ever. */
#define MAX_USER_ENDS 16

static void begin_sum(struct ledger *l, struct ledger_sum *sum)
{
	sum->base = sum->live;
	sum->own_peak = sum->live;
	sum->byte_ns = 0;
	sum->last_ns = l->now_ns;
	sum->peak = sum->live;
	sum->peak_id = l->peak_id;
}

static void begin_group(struct ledger_group *group, uint64_t time_ns)
{
	group->own_peak = group->live;
	group->series.first = (float)group->live.value;
	group->series.first_variance = (float)group->live.variance;
	group->series.since_ns = time_ns;
}

static void begin_window(struct ledger *l)
{
	l->now_ns = l->options.from_ns;
	l->started = true;
	l->peak_ns = l->now_ns;
	l->step = series_clock_step(&l->clock, l->now_ns);
	begin_sum(l, &l->total);
	for (size_t i = 0; i < l->site_count; i++)
		begin_sum(l, &l->sites[i].sum);
	for (size_t i = 0; i < l->thread_count; i++)
		begin_sum(l, &l->threads[i].sum);
	begin_group(&l->all, l->now_ns);
	for (size_t i = 0; i < LEDGER_APARTS; i++)
		begin_group(&l->aparts[i], l->now_ns);
	for (size_t i = 0; i < l->group_count; i++)
		begin_group(&l->groups[i], l->now_ns);
}

static void pause_sum(struct ledger *l, struct ledger_sum *sum)
{
	ledger_settle_sum(l, sum);
	sum->held = sum->live;
}

static void pause(struct ledger *l, uint64_t time_ns)
{
	l->now_ns = time_ns;
	pause_sum(l, &l->total);
	for (size_t i = 0; i < l->site_count; i++)
		pause_sum(l, &l->sites[i].sum);
	for (size_t i = 0; i < l->thread_count; i++)
		pause_sum(l, &l->threads[i].sum);
	l->paused = true;
}

/* What came and went in the gap is no growth. */
static void resume_sum(struct ledger *l, struct ledger_sum *sum)
{
	ledger_settle_sum(l, sum);
	sum->base.value += sum->live.value - sum->held.value;
	sum->base.seen += sum->live.seen - sum->held.seen;
	sum->base.variance += fabs(sum->live.variance - sum->held.variance);
	if (sum->live.value > sum->own_peak.value)
		sum->own_peak = sum->live;
}

static void resume(struct ledger *l, uint64_t time_ns)
{
	double own_peak = l->total.own_peak.value;

	l->now_ns = time_ns;
	resume_sum(l, &l->total);
	for (size_t i = 0; i < l->site_count; i++)
		resume_sum(l, &l->sites[i].sum);
	for (size_t i = 0; i < l->thread_count; i++)
		resume_sum(l, &l->threads[i].sum);
	for (size_t i = 0; i < l->group_count; i++) {
		if (l->groups[i].live.value > l->groups[i].own_peak.value)
			l->groups[i].own_peak = l->groups[i].live;
	}
	if (l->total.own_peak.value > own_peak) {
		l->peak_id++;
		l->peak_ns = time_ns;
	}
	l->paused = false;
}

static void end_group(struct ledger_group *group)
{
	group->end = group->live;
	series_release(&group->kept);
	group->kept_blocks = 0;
	group->kept_variance = 0;
}

/* Blocks come in the order of their allocation. */
static void keep_in_group(struct ledger *l, struct ledger_group *group,
			  const struct ledger_block *block)
{
	struct ledger_worth worth = ledger_worth_of(l, block);

	if (!group->timed)
		return;
	if (group->kept_blocks++ == 0)
		group->oldest_ns = block->time_ns;
	group->youngest_ns = block->time_ns;
	if (group->kept_blocks == (group->blocks + 1) / 2)
		group->median_ns = block->time_ns;
	group->kept_variance += worth.bytes.variance;
	series_set(&group->kept, &l->clock, series_clock_step(&l->clock, block->time_ns),
		   block->time_ns, group->kept_variance, 0);
}

static void keep_block(void *arg, const struct ledger_block *block)
{
	struct ledger *l = arg;

	struct ledger_sum *books[LEDGER_BOOKS];
	struct ledger_worth worth;
	size_t count;

	if (block->site >= l->site_count)
		return;
	worth = ledger_worth_of(l, block);
	count = block->time_ns <= l->options.from_ns ? ledger_find_books(l, block, books) : 0;
	for (size_t i = 0; i < count; i++)
		estimate_add(&books[i]->stayed, &worth.bytes);
	for (size_t i = 0; i < LEDGER_SITE_GROUPS; i++) {
		uint32_t group = l->sites[block->site].groups[i];

		if (group != LEDGER_NONE)
			keep_in_group(l, &l->groups[group], block);
	}
}

static void end_sum(const struct ledger *l, struct ledger_sum *sum)
{
	sum->end = l->paused ? sum->held : sum->live;
	sum->stayed = (struct estimate){0};
	sum->end_count = sum->live_count;
	sum->end_allocated = sum->allocated.value;
	sum->end_freed = sum->freed.value;
}

/* Puts down what is live now as what user code leaves behind. */
static void end_user_code(struct ledger *l, uint64_t time_ns)
{
	l->ended = true;
	l->end_ns = time_ns;
	end_sum(l, &l->total);
	for (size_t i = 0; i < l->site_count; i++)
		end_sum(l, &l->sites[i].sum);
	for (size_t i = 0; i < l->thread_count; i++)
		end_sum(l, &l->threads[i].sum);
	for (size_t i = 0; i < l->group_count; i++)
		end_group(&l->groups[i]);
	ledger_blocks_walk(&l->blocks, keep_block, l);
}

static uint64_t next_gap_border(const struct ledger *l)
{
	if (l->gap == l->options.gap_count)
		return UINT64_MAX;
	return l->paused ? l->gaps[l->gap].to_ns : l->gaps[l->gap].from_ns;
}

/* Passes the borders of gaps up to a time. */
static void pass_gaps(struct ledger *l, uint64_t time_ns)
{
	while (l->started && time_ns > next_gap_border(l)) {
		if (l->paused)
			resume(l, l->gaps[l->gap++].to_ns);
		else
			pause(l, l->gaps[l->gap].from_ns);
	}
}

static void find_next_border(struct ledger *l)
{
	l->next_ns = l->options.to_ns;
	if (l->end_due && l->user_end_ns < l->next_ns)
		l->next_ns = l->user_end_ns;
	if (!l->started && l->options.from_ns < l->next_ns)
		l->next_ns = l->options.from_ns;
	if (l->started && next_gap_border(l) < l->next_ns)
		l->next_ns = next_gap_border(l);
	if (l->closed)
		l->next_ns = UINT64_MAX;
}

void ledger_pass_borders(struct ledger *l, uint64_t time_ns)
{
	if (!l->started && time_ns > l->options.from_ns)
		begin_window(l);
	if (l->end_due && time_ns > l->user_end_ns && l->user_end_ns <= l->options.to_ns) {
		pass_gaps(l, l->user_end_ns);
		l->end_due = false;
		end_user_code(l, l->user_end_ns);
	}
	pass_gaps(l, time_ns < l->options.to_ns ? time_ns : l->options.to_ns);
	if (!l->closed && time_ns > l->options.to_ns) {
		l->closed = true;
		if (!l->ended)
			end_user_code(l, l->options.to_ns);
	}
	find_next_border(l);
}

void ledger_user_ended(struct ledger *l, uint64_t time_ns)
{
	if (l->closed || time_ns <= l->options.from_ns || l->user_ends == MAX_USER_ENDS)
		return;
	l->user_ends++;
	l->user_end_ns = time_ns;
	l->end_due = time_ns > l->now_ns;
	if (!l->end_due && l->started)
		end_user_code(l, time_ns);
	find_next_border(l);
}

void ledger_finish(struct ledger *l, uint64_t time_ns)
{
	ledger_advance(l, time_ns);
	if (!l->started)
		begin_window(l);
	if (l->closed)
		l->now_ns = l->options.to_ns;
	if (!l->ended)
		end_user_code(l, l->now_ns);
	l->closed = true;
	ledger_settle_sum(l, &l->total);
	for (size_t i = 0; i < l->site_count; i++)
		ledger_settle_sum(l, &l->sites[i].sum);
	for (size_t i = 0; i < l->thread_count; i++)
		ledger_settle_sum(l, &l->threads[i].sum);
}
