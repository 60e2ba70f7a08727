/* SPDX-License-Identifier: Apache-2.0
 *
 * The books of one process's heap, see ledger.h.
 *
 * The peak in one pass: every new maximum gets a number, and a sum remembers for which of them its
 * part is up to date. Who was not touched since the last maximum held at it what he holds now; who
 * is touched first puts that down. So a new maximum costs one increment, however many sites hold a
 * part of it, and the first of two equal maxima stays.
 */
#include "analyze/ledger.h"

#include <math.h>
#include <stdlib.h>

#include "analyze/ledger_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define QUANTUM 256.0
#define MAX_SIZE (UINT64_C(1) << 61)
#define MAX_TEMPORARY 65535u

double ledger_weight(double rate, uint64_t size)
{
	if (rate <= 1 || size == 0)
		return 1;
	return -1 / expm1(-(double)size / rate);
}

static double weight_of(struct ledger *l, const struct ledger_block *block)
{
	struct ledger_weight_entry *w;

	w = &l->weights[(block->size ^ block->size >> 9) % LEDGER_WEIGHTS];
	if (w->size != block->size || w->weight <= 0) {
		w->size = block->size;
		w->weight = ledger_weight(l->options.rate, block->size);
	}
	return w->weight;
}

struct ledger_worth ledger_sampled_worth(struct ledger *l, const struct ledger_block *block)
{
	double weight = weight_of(l, block);
	double size = (double)block->size;
	double variance = weight * (weight - 1);

	return (struct ledger_worth){
		.bytes = {weight > 1 ? rint(size * weight * QUANTUM) / QUANTUM : size, size,
			  size * size * variance},
		.count = {weight, 1, variance},
	};
}

struct ledger *ledger_new(const struct ledger_options *options)
{
	struct ledger *l = xcalloc(1, sizeof(*l));

	l->options = *options;
	if (options->gap_count)
		l->gaps = xmemdup(options->gaps, options->gap_count * sizeof(*l->gaps));
	l->options.gaps = NULL;
	if (l->options.temporary > MAX_TEMPORARY)
		l->options.temporary = MAX_TEMPORARY;
	l->clock.origin_ns = options->origin_ns;
	l->started = options->from_ns == 0;
	l->next_ns = l->started ? 0 : options->from_ns; /* 0: the borders are not sorted yet */
	l->all.timed = true;
	for (size_t i = 0; i < LEDGER_APARTS; i++)
		l->aparts[i].timed = true;
	return l;
}

static void release_group(struct ledger_group *group)
{
	series_release(&group->series);
	series_release(&group->kept);
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	ledger_blocks_release(&l->blocks);
	release_group(&l->all);
	series_release(&l->volume);
	for (size_t i = 0; i < LEDGER_APARTS; i++)
		release_group(&l->aparts[i]);
	for (size_t i = 0; i < l->group_count; i++)
		release_group(&l->groups[i]);
	for (size_t i = 0; i < l->thread_count; i++)
		free(l->threads[i].ring);
	free(l->gaps);
	free(l->groups);
	free(l->sites);
	free(l->threads);
	free(l);
}

uint32_t ledger_add_group(struct ledger *l, bool timed)
{
	l->groups = xgrow(l->groups, &l->group_capacity, l->group_count + 1, sizeof(*l->groups));
	l->groups[l->group_count] = (struct ledger_group){.timed = timed};
	return (uint32_t)l->group_count++;
}

uint32_t ledger_add_site(struct ledger *l, const uint32_t groups[LEDGER_SITE_GROUPS])
{
	struct ledger_site_state *site;

	l->sites = xgrow(l->sites, &l->site_capacity, l->site_count + 1, sizeof(*l->sites));
	site = &l->sites[l->site_count];
	*site = (struct ledger_site_state){0};
	for (size_t i = 0; i < LEDGER_SITE_GROUPS; i++)
		site->groups[i] = groups[i];
	return (uint32_t)l->site_count++;
}

uint32_t ledger_add_thread(struct ledger *l)
{
	l->threads =
		xgrow(l->threads, &l->thread_capacity, l->thread_count + 1, sizeof(*l->threads));
	l->threads[l->thread_count] = (struct ledger_thread_state){0};
	return (uint32_t)l->thread_count++;
}

uint32_t ledger_apart_site(uint32_t kind)
{
	return LEDGER_NONE - 1 - kind;
}

/* The group of an apart_site, or NULL. */
static struct ledger_group *apart_group(struct ledger *l, uint32_t site)
{
	return site != LEDGER_NONE && site >= LEDGER_NONE - LEDGER_APARTS
		       ? &l->aparts[LEDGER_NONE - 1 - site]
		       : NULL;
}

/* ---- events --------------------------------------------------------------------------------- */

static void change_amount(struct estimate *amount, const struct estimate *by, double sign)
{
	amount->value += sign * by->value;
	amount->seen += sign * by->seen;
	amount->variance += sign * by->variance;
	/* Bytes add up exactly, variances do not. */
	if (amount->value == 0 || amount->variance < 0)
		amount->variance = 0;
}

static void change_sum(struct ledger *l, struct ledger_sum *sum, const struct ledger_worth *worth,
		       double sign)
{
	ledger_settle_sum(l, sum);
	change_amount(&sum->live, &worth->bytes, sign);
	sum->live_count += sign * worth->count.value;
	if (!l->paused && sum->live.value > sum->own_peak.value)
		sum->own_peak = sum->live;
}

static void change_group(struct ledger *l, struct ledger_group *group,
			 const struct ledger_worth *worth, double sign)
{
	change_amount(&group->live, &worth->bytes, sign);
	if (!l->paused && group->live.value > group->own_peak.value)
		group->own_peak = group->live;
	if (group->timed && l->started)
		series_set(&group->series, &l->clock, l->step, l->now_ns, group->live.value,
			   group->live.variance);
}

/* Adds what the block stands for to all it belongs to, or takes it away. blocks: how many. */
static void change_live(struct ledger *l, const struct ledger_block *block,
			const struct ledger_worth *worth, double sign, int32_t blocks)
{
	struct ledger_thread_state *thread = ledger_find_thread(l, block->thread);
	struct ledger_site_state *site = &l->sites[block->site];

	change_sum(l, &site->sum, worth, sign);
	if (thread)
		change_sum(l, &thread->sum, worth, sign);
	for (size_t i = 0; i < LEDGER_SITE_GROUPS; i++) {
		if (site->groups[i] == LEDGER_NONE)
			continue;
		l->groups[site->groups[i]].blocks += (uint32_t)blocks;
		change_group(l, &l->groups[site->groups[i]], worth, sign);
	}
	change_group(l, &l->all, worth, sign);
	ledger_settle_sum(l, &l->total);
	change_amount(&l->total.live, &worth->bytes, sign);
	l->total.live_count += sign * worth->count.value;
	if (!l->paused && l->total.live.value > l->total.own_peak.value) {
		l->total.own_peak = l->total.live;
		l->peak_id++;
		l->peak_ns = l->now_ns;
	}
}

static void count_volume(struct ledger_sum *sum, const struct ledger_worth *worth, bool python)
{
	sum->events++;
	change_amount(&sum->allocated, &worth->bytes, 1);
	change_amount(&sum->count, &worth->count, 1);
	if (python)
		sum->python += worth->bytes.value;
}

static void count_freed(struct ledger *l, const struct ledger_block *block,
			const struct ledger_worth *worth, const struct ledger_last_free *how,
			double sign)
{
	struct ledger_sum *books[LEDGER_BOOKS];
	size_t count = ledger_find_books(l, block, books);

	for (size_t i = 0; i < count; i++) {
		change_amount(&books[i]->freed, &worth->bytes, sign);
		if (how->temporary) {
			books[i]->temporary += sign * worth->bytes.value;
			books[i]->temporary_count += sign * worth->count.value;
		}
		if (how->brief)
			books[i]->brief += sign * worth->bytes.value;
	}
}

static void push_ring(struct ledger *l, struct ledger_thread_state *thread, uint64_t block)
{
	uint64_t size = l->options.temporary + UINT64_C(1);

	if (!thread->ring)
		thread->ring = xcalloc(size, sizeof(*thread->ring));
	thread->ring[thread->count++ % size] = block;
}

/* Is the block one of the thread's last k + 1? Its numbers only grow: so it is when it is not
 * before the oldest of them. */
static bool in_ring(const struct ledger *l, const struct ledger_thread_state *thread,
		    uint64_t block)
{
	uint64_t size = l->options.temporary + UINT64_C(1);

	return thread->count < size || block >= thread->ring[thread->count % size];
}

/* A realloc failed: the free that came before it did not happen. */
static void restore(struct ledger *l, struct ledger_block *block, const struct ledger_worth *worth)
{
	struct ledger_thread_state *thread = ledger_find_thread(l, block->thread);
	struct ledger_last_free how = {0};

	block->old = 1;
	if (thread && thread->last.valid && thread->last.block.size == block->size) {
		how = thread->last;
		block->old = how.block.old || !how.temporary;
		block->time_ns = how.block.time_ns;
		block->thread = how.block.thread;
		thread->last.valid = false;
	}
	if (ledger_counts(l))
		count_freed(l, block, worth, &how, -1);
}

void ledger_allocated(struct ledger *l, const struct ledger_alloc *alloc)
{
	struct ledger_group *apart = apart_group(l, alloc->site);
	struct ledger_thread_state *thread = ledger_find_thread(l, alloc->thread);
	struct ledger_block *block;
	struct ledger_worth worth;

	if (!ledger_advance(l, alloc->time_ns))
		return;
	if (ledger_blocks_find(&l->blocks, alloc->block))
		ledger_freed(l, alloc->block, LEDGER_NONE, alloc->time_ns);
	block = ledger_blocks_add(&l->blocks, alloc->block);
	*block = (struct ledger_block){
		.size = alloc->size < MAX_SIZE ? alloc->size : MAX_SIZE,
		.exact = alloc->exact,
		.old = l->paused,
		.time_ns = l->now_ns,
		.site = alloc->site,
		.thread = alloc->thread,
	};
	worth = ledger_worth_of(l, block);
	if (apart) {
		change_group(l, apart, &worth, 1);
		return;
	}
	if (alloc->restored && alloc->site != LEDGER_NONE)
		restore(l, block, &worth);
	else if (thread)
		push_ring(l, thread, alloc->block);
	if (alloc->site == LEDGER_NONE)
		return;
	if (ledger_counts(l) && !alloc->restored) {
		struct ledger_sum *books[LEDGER_BOOKS];
		size_t count = ledger_find_books(l, block, books);

		for (size_t i = 0; i < count; i++)
			count_volume(books[i], &worth, alloc->python);
		series_set(&l->volume, &l->clock, l->step, l->now_ns, l->total.allocated.value, 0);
	}
	change_live(l, block, &worth, 1, 1);
}

void ledger_expect_free(const struct ledger *l, uint64_t block)
{
	ledger_blocks_prefetch(&l->blocks, block);
}

void ledger_freed(struct ledger *l, uint64_t number, uint32_t thread_id, uint64_t time_ns)
{
	struct ledger_block *block;
	struct ledger_group *apart;
	struct ledger_thread_state *thread;
	struct ledger_last_free how = {.valid = true};
	struct ledger_worth worth;

	if (!ledger_advance(l, time_ns))
		return;
	block = ledger_blocks_find(&l->blocks, number);
	if (!block) {
		l->unknown++;
		return;
	}
	worth = ledger_worth_of(l, block);
	apart = apart_group(l, block->site);
	if (apart) {
		change_group(l, apart, &worth, -1);
	} else if (block->site != LEDGER_NONE) {
		bool counted = block->time_ns > l->options.from_ns || l->options.from_ns == 0;

		thread = ledger_find_thread(l, thread_id);
		how.block = *block;
		how.temporary = counted && thread && thread_id == block->thread && !block->old &&
				in_ring(l, thread, number);
		how.brief = counted && l->now_ns - block->time_ns <= l->options.brief_ns;
		if (ledger_counts(l))
			count_freed(l, block, &worth, &how, 1);
		change_live(l, block, &worth, -1, -1);
		if (thread)
			thread->last = how;
	}
	ledger_blocks_remove(&l->blocks, number);
}

void ledger_resized(struct ledger *l, uint64_t number, uint64_t size, uint64_t time_ns)
{
	struct ledger_block *block;
	struct ledger_group *apart;
	struct ledger_worth before, change;

	if (!ledger_advance(l, time_ns))
		return;
	block = ledger_blocks_find(&l->blocks, number);
	if (!block) {
		l->unknown++;
		return;
	}
	before = ledger_worth_of(l, block);
	block->size = size < MAX_SIZE ? size : MAX_SIZE;
	change = ledger_worth_of(l, block);
	change_amount(&change.bytes, &before.bytes, -1);
	change_amount(&change.count, &before.count, -1);
	apart = apart_group(l, block->site);
	if (apart) {
		change_group(l, apart, &change, 1);
	} else if (block->site != LEDGER_NONE) {
		if (ledger_counts(l))
			count_freed(l, block, &change, &(struct ledger_last_free){0}, -1);
		change_live(l, block, &change, 1, 0);
	}
}

/* ---- what came of it ------------------------------------------------------------------------ */

const struct ledger_sum *ledger_total(const struct ledger *l)
{
	return &l->total;
}

const struct ledger_sum *ledger_site(const struct ledger *l, uint32_t site)
{
	return &l->sites[site].sum;
}

uint32_t ledger_site_group(const struct ledger *l, uint32_t site, size_t k)
{
	return l->sites[site].groups[k];
}

const struct ledger_sum *ledger_thread(const struct ledger *l, uint32_t thread)
{
	return &l->threads[thread].sum;
}

const struct ledger_group *ledger_group(const struct ledger *l, uint32_t group)
{
	return &l->groups[group];
}

const struct ledger_group *ledger_all(const struct ledger *l)
{
	return &l->all;
}

const struct ledger_group *ledger_apart(const struct ledger *l, uint32_t kind)
{
	return &l->aparts[kind];
}

const struct series *ledger_volume(const struct ledger *l)
{
	return &l->volume;
}

size_t ledger_site_count(const struct ledger *l)
{
	return l->site_count;
}

const struct series_clock *ledger_clock(const struct ledger *l)
{
	return &l->clock;
}

uint64_t ledger_peak_ns(const struct ledger *l)
{
	return l->peak_ns;
}

uint64_t ledger_end_ns(const struct ledger *l)
{
	return l->end_ns;
}

uint64_t ledger_unknown(const struct ledger *l)
{
	return l->unknown;
}

size_t ledger_live_blocks(const struct ledger *l)
{
	return l->blocks.count;
}
