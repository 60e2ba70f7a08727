/* SPDX-License-Identifier: Apache-2.0
 *
 * Event lists for the books of the heap: short ones with the answer beside them, and thousands of
 * random ones whose answers are worked out from the definitions, event by event and block by block.
 */
#include <math.h>

#include "analyze/ledger.h"
#include "analyze/ledger_blocks.h"
#include "tests/unit/unit.h"

#define SITES 4u
#define THREADS 3u
#define GROUPS 2u
#define MAX_EVENTS 90

enum op { ALLOC, FREE, RESIZE, RESTORE };

struct event {
	enum op op;
	uint64_t block; /* given to an allocation by play() */
	uint64_t size;
	uint64_t time_ns;
	uint32_t site;
	uint32_t thread;
	bool exact;
	bool python;
};

/* ---- playing an event list ------------------------------------------------------------------ */

/* Sites 0 and 1 are in group 0, 2 and 3 in group 1; all are in group 2. */
static struct ledger *open_ledger(const struct ledger_options *options)
{
	struct ledger *l = ledger_new(options);

	for (uint32_t i = 0; i <= GROUPS; i++)
		ledger_add_group(l, true);
	for (uint32_t i = 0; i < SITES; i++)
		ledger_add_site(l, (uint32_t[]){i / 2, GROUPS, LEDGER_NONE});
	for (uint32_t i = 0; i < THREADS; i++)
		ledger_add_thread(l);
	return l;
}

static void play_one(struct ledger *l, const struct event *e)
{
	switch (e->op) {
	case ALLOC:
	case RESTORE:
		ledger_allocated(l, &(struct ledger_alloc){
					    .block = e->block,
					    .size = e->size,
					    .time_ns = e->time_ns,
					    .site = e->site,
					    .thread = e->thread,
					    .exact = e->exact,
					    .restored = e->op == RESTORE,
					    .python = e->python,
				    });
		break;
	case FREE:
		ledger_freed(l, e->block, e->thread, e->time_ns);
		break;
	case RESIZE:
		ledger_resized(l, e->block, e->size, e->time_ns);
		break;
	}
}

static struct ledger *play(const struct ledger_options *options, const struct event *events,
			   size_t count, uint64_t user_end_ns, uint64_t end_ns)
{
	struct ledger *l = open_ledger(options);

	if (user_end_ns)
		ledger_user_ended(l, user_end_ns);
	for (size_t i = 0; i < count; i++)
		play_one(l, &events[i]);
	ledger_finish(l, end_ns);
	return l;
}

static const struct ledger_options all = {.to_ns = UINT64_MAX, .rate = 1, .temporary = 1};

#define PLAY(options, end_ns, ...)                   \
	play(options, (struct event[]){__VA_ARGS__}, \
	     sizeof((struct event[]){__VA_ARGS__}) / sizeof(struct event), 0, end_ns)

/* Initialisers of events; what follows the thread is more of them. */
#define NEW(number, bytes, time, at, by, ...)                                             \
	{                                                                                 \
		.op = ALLOC, .block = number, .size = bytes, .time_ns = time, .site = at, \
		.thread = by, __VA_ARGS__                                                 \
	}
#define BACK(number, bytes, time, at, by)                                                   \
	{                                                                                   \
		.op = RESTORE, .block = number, .size = bytes, .time_ns = time, .site = at, \
		.thread = by                                                                \
	}
#define GO(number, by, time)                                               \
	{                                                                  \
		.op = FREE, .block = number, .thread = by, .time_ns = time \
	}
#define CUT(number, bytes, time)                                              \
	{                                                                     \
		.op = RESIZE, .block = number, .size = bytes, .time_ns = time \
	}

/* ---- lists with the answer beside them ------------------------------------------------------ */

START_TEST(allocations_and_frees)
{
	struct ledger *l =
		PLAY(&all, 100, NEW(0, 100, 10, 0, 0, .python = true), NEW(1, 50, 20, 1, 1),
		     GO(0, 0, 40), NEW(2, 30, 50, 0, 0), GO(7, 0, 60), GO(0, 0, 70));

	ck_assert(ledger_total(l)->events == 3);
	ck_assert(ledger_total(l)->allocated.value == 180);
	ck_assert(ledger_total(l)->allocated.variance == 0);
	ck_assert(ledger_total(l)->count.value == 3);
	ck_assert(ledger_total(l)->python == 100);
	ck_assert(ledger_total(l)->freed.value == 100);
	ck_assert(ledger_total(l)->live.value == 80);
	ck_assert(ledger_total(l)->peak.value == 150);
	ck_assert(ledger_peak_ns(l) == 20);
	ck_assert(ledger_site(l, 0)->peak.value == 100);
	ck_assert(ledger_site(l, 1)->peak.value == 50);
	ck_assert(ledger_site(l, 0)->end.value == 30);
	ck_assert(ledger_thread(l, 0)->allocated.value == 130);
	ck_assert(ledger_thread(l, 1)->live.value == 50);
	ck_assert(ledger_total(l)->byte_ns == 100 * 30 + 50 * 80 + 30 * 50);
	ck_assert(ledger_unknown(l) == 2);
	ck_assert(ledger_live_blocks(l) == 2);
	ledger_free(l);
}
END_TEST

START_TEST(the_first_of_two_equal_peaks)
{
	struct ledger *l = PLAY(&all, 100, NEW(0, 64, 10, 0, 0), GO(0, 0, 20), NEW(1, 64, 30, 1, 0),
				GO(1, 0, 40));

	ck_assert(ledger_site(l, 0)->peak.value == 64);
	ck_assert(ledger_site(l, 1)->peak.value == 0);
	ck_assert(ledger_site(l, 1)->own_peak.value == 64);
	ck_assert(ledger_peak_ns(l) == 10);
	ledger_free(l);

	/* One byte more, for a nanosecond. */
	l = PLAY(&all, 100, NEW(0, 64, 10, 0, 0), GO(0, 0, 20), NEW(1, 65, 30, 1, 0), GO(1, 0, 31));
	ck_assert(ledger_site(l, 0)->peak.value == 0);
	ck_assert(ledger_site(l, 1)->peak.value == 65);
	ledger_free(l);
}
END_TEST

START_TEST(groups_have_peaks_of_their_own)
{
	struct ledger *l = PLAY(&all, 100, NEW(0, 10, 1, 0, 0), GO(0, 0, 2), NEW(1, 10, 3, 1, 0),
				NEW(2, 7, 4, 2, 0), GO(1, 0, 5), NEW(3, 7, 6, 3, 0));

	ck_assert(ledger_group(l, 0)->own_peak.value == 10); /* not the sites' 20 */
	ck_assert(ledger_group(l, 1)->own_peak.value == 14);
	ck_assert(ledger_group(l, GROUPS)->own_peak.value == 17);
	ledger_free(l);
}
END_TEST

START_TEST(parts_of_a_mapping_go)
{
	struct ledger *l = PLAY(&all, 100, NEW(0, 1000, 10, 0, 0, .exact = true), CUT(0, 600, 20),
				CUT(0, 100, 30), GO(0, 0, 40), CUT(0, 50, 50));

	ck_assert(ledger_total(l)->allocated.value == 1000);
	ck_assert(ledger_total(l)->freed.value == 1000);
	ck_assert(ledger_total(l)->live.value == 0);
	ck_assert(ledger_total(l)->byte_ns == 10 * (1000 + 600 + 100));
	ck_assert(ledger_unknown(l) == 1);
	ledger_free(l);
}
END_TEST

static double temporary(uint32_t k, const struct event *events, size_t count)
{
	struct ledger_options options = all;
	struct ledger *l;
	double bytes;

	options.temporary = k;
	l = play(&options, events, count, 0, 1000);
	bytes = ledger_total(l)->temporary;
	ledger_free(l);
	return bytes;
}

START_TEST(temporary_by_k)
{
	static const struct event next[] = {NEW(0, 1, 1, 0, 0), GO(0, 0, 2)};
	static const struct event one_between[] = {NEW(0, 1, 1, 0, 0), NEW(1, 2, 2, 0, 0),
						   GO(0, 0, 3)};
	static const struct event two_between[] = {NEW(0, 1, 1, 0, 0), NEW(1, 2, 2, 0, 0),
						   NEW(2, 4, 3, 0, 0), GO(0, 0, 4), GO(1, 0, 5)};
	static const struct event intertwined[] = {NEW(0, 1, 1, 0, 0), NEW(1, 2, 2, 0, 1),
						   NEW(2, 4, 3, 0, 1), NEW(3, 8, 4, 0, 0),
						   GO(0, 0, 5),        GO(1, 1, 6)};
	static const struct event other_thread[] = {NEW(0, 1, 1, 0, 0), GO(0, 1, 2)};
	static const struct event no_thread[] = {NEW(0, 1, 1, 0, LEDGER_NONE),
						 GO(0, LEDGER_NONE, 2)};

	ck_assert(temporary(0, next, 2) == 1);
	ck_assert(temporary(1, next, 2) == 1);
	ck_assert(temporary(0, one_between, 3) == 0);
	ck_assert(temporary(1, one_between, 3) == 1);
	ck_assert(temporary(1, two_between, 5) == 2);
	ck_assert(temporary(2, two_between, 5) == 3);
	ck_assert(temporary(0, intertwined, 6) == 0);
	ck_assert(temporary(1, intertwined, 6) == 3);
	ck_assert(temporary(1, other_thread, 2) == 0);
	ck_assert(temporary(1, no_thread, 2) == 0);
}
END_TEST

/* A list that grows: the new buffer is there before the old one goes. */
START_TEST(a_million_appends)
{
	struct ledger *l = open_ledger(&all);
	uint64_t block = 0, size = 32, last = 0, expected = 0;

	for (uint64_t length = 0; length < 1000000; length = (size - 8) / 8) {
		ledger_allocated(
			l, &(struct ledger_alloc){.block = block, .size = size, .time_ns = block});
		if (block) {
			ledger_freed(l, block - 1, 0, block);
			expected += last;
		}
		last = size;
		block++;
		size += size / 8 + 48;
	}
	ledger_finish(l, block);
	ck_assert(ledger_total(l)->temporary == (double)expected);
	ck_assert(ledger_total(l)->temporary_count == (double)(block - 1));
	ck_assert(ledger_total(l)->live.value == (double)last);
	ledger_free(l);
}
END_TEST

START_TEST(a_realloc_that_fails)
{
	struct ledger *l =
		PLAY(&all, 100, NEW(0, 100, 10, 0, 0), GO(0, 0, 20), BACK(1, 100, 20, 0, 0));

	ck_assert(ledger_total(l)->events == 1);
	ck_assert(ledger_total(l)->allocated.value == 100);
	ck_assert(ledger_total(l)->freed.value == 0);
	ck_assert(ledger_total(l)->temporary == 0);
	ck_assert(ledger_total(l)->live.value == 100);
	ledger_free(l);

	/* It is temporary when it goes in time after all, and keeps its age. */
	l = PLAY(&all, 100, NEW(0, 100, 10, 0, 0), GO(0, 0, 20), BACK(1, 100, 20, 0, 0),
		 GO(1, 0, 30));
	ck_assert(ledger_total(l)->temporary == 100);
	ck_assert(ledger_total(l)->freed.value == 100);
	ledger_free(l);

	/* It is not when it was too old before. */
	l = PLAY(&all, 100, NEW(0, 100, 10, 0, 0), NEW(1, 1, 11, 0, 0), NEW(2, 1, 12, 0, 0),
		 GO(0, 0, 20), BACK(3, 100, 20, 0, 0), GO(3, 0, 30));
	ck_assert(ledger_total(l)->temporary == 0);
	ledger_free(l);
}
END_TEST

START_TEST(brief_lives)
{
	struct ledger_options options = all;
	struct ledger *l;

	options.brief_ns = 5;
	l = PLAY(&options, 100, NEW(0, 1, 10, 0, 0), GO(0, 1, 15), NEW(1, 2, 20, 0, 0),
		 GO(1, 0, 26), NEW(2, 4, 30, 0, 0));
	ck_assert(ledger_total(l)->brief == 1);
	ledger_free(l);
}
END_TEST

START_TEST(only_what_is_in_the_window_counts)
{
	static const struct event events[] = {
		NEW(0, 1000, 5, 0, 0),      NEW(1, 100, 10, 0, 0), GO(0, 0, 12),
		NEW(2, 10, 14, 1, 0),       GO(1, 0, 16),          NEW(3, 1, 20, 1, 0),
		NEW(4, 1u << 20, 21, 2, 0), GO(2, 0, 22),
	};
	struct ledger_options options = {.from_ns = 10, .to_ns = 20, .rate = 1, .temporary = 1};
	struct ledger *l = play(&options, events, 8, 0, 30);

	ck_assert(ledger_total(l)->base.value == 1100);
	ck_assert(ledger_total(l)->allocated.value == 11);
	ck_assert(ledger_total(l)->freed.value == 1100);
	ck_assert(ledger_total(l)->end.value == 11);
	ck_assert(ledger_total(l)->live.value == 11);
	ck_assert(ledger_total(l)->peak.value == 1100);
	ck_assert(ledger_site(l, 0)->peak.value == 1100);
	ck_assert(ledger_site(l, 2)->allocated.value == 0);
	ck_assert(ledger_peak_ns(l) == 10 && ledger_end_ns(l) == 20);
	/* [10,12] 1100, [12,14] 100, [14,16] 110, [16,20] 10 */
	ck_assert(ledger_total(l)->byte_ns == 2200 + 200 + 220 + 40);
	ledger_free(l);

	options.from_ns = 40;
	options.to_ns = 50;
	l = play(&options, events, 8, 0, 30);
	ck_assert(ledger_total(l)->base.value == ledger_total(l)->end.value);
	ck_assert(ledger_total(l)->allocated.value == 0);
	ledger_free(l);
}
END_TEST

/* What comes and goes in a gap is known, but no volume, no growth and no peak. */
START_TEST(gaps_do_not_count)
{
	static const struct event events[] = {
		NEW(0, 100, 5, 0, 0), NEW(1, 1000, 15, 0, 0), GO(1, 0, 18),
		NEW(2, 50, 19, 1, 0), GO(0, 0, 25),           NEW(3, 7, 27, 0, 0),
		GO(2, 0, 35),         NEW(4, 20, 45, 1, 0),   NEW(5, 4000, 48, 1, 0),
	};
	static const struct ledger_gap gaps[] = {{10, 20}, {30, 40}, {46, 50}};
	struct ledger_options options = all;
	struct ledger *l;

	options.gaps = gaps;
	options.gap_count = 2;
	l = play(&options, events, 9, 0, 60);
	ck_assert(ledger_total(l)->events == 4);
	ck_assert(ledger_total(l)->allocated.value == 100 + 7 + 20 + 4000);
	ck_assert(ledger_total(l)->freed.value == 100);
	/* (0,10] +100, (20,30] -100 +7, (40,60] +4020 */
	ck_assert(ledger_total(l)->end.value - ledger_total(l)->base.value == 4027);
	ck_assert(ledger_site(l, 0)->end.value - ledger_site(l, 0)->base.value == 7);
	ck_assert(ledger_site(l, 1)->end.value - ledger_site(l, 1)->base.value == 4020);
	ck_assert(ledger_total(l)->peak.value == 4027 && ledger_peak_ns(l) == 48);
	/* Live from 5 to 10; 150, 50, 57 from 20, 25, 27 to 30; 7, 27, 4027 from 40, 45, 48 on. */
	ck_assert(ledger_total(l)->byte_ns == 500 + 750 + 100 + 171 + 35 + 81 + 4027 * 12);
	ledger_free(l);

	options.gap_count = 3;
	options.to_ns = 55;
	l = play(&options, events, 9, 0, 60);
	/* The peak is where the last gap ends: what came in it is there then. */
	ck_assert(ledger_total(l)->peak.value == 4027 && ledger_peak_ns(l) == 50);
	ck_assert(ledger_site(l, 1)->peak.value == 4020);
	ck_assert(ledger_total(l)->end.value - ledger_total(l)->base.value == 27);
	ck_assert(ledger_total(l)->allocated.value == 127);
	ledger_free(l);
}
END_TEST

START_TEST(the_end_of_user_code)
{
	static const struct event events[] = {
		NEW(0, 100, 10, 0, 0), NEW(1, 20, 20, 0, 0), NEW(2, 3, 30, 1, 0),
		GO(0, 0, 40),          GO(1, 0, 50),
	};
	struct ledger *l = play(&all, events, 5, 30, 60);
	const struct ledger_group *group = ledger_group(l, 0);

	ck_assert(ledger_total(l)->end.value == 123);
	ck_assert(ledger_total(l)->live.value == 3);
	ck_assert(ledger_site(l, 0)->end.value == 120 && ledger_site(l, 0)->live.value == 0);
	ck_assert(ledger_end_ns(l) == 30);
	ck_assert(group->kept_blocks == 3);
	ck_assert(group->oldest_ns == 10 && group->median_ns == 20 && group->youngest_ns == 30);
	ledger_free(l);

	/* Told late, or never. */
	l = open_ledger(&all);
	for (size_t i = 0; i < 4; i++)
		play_one(l, &events[i]);
	ledger_user_ended(l, 30);
	play_one(l, &events[4]);
	ledger_finish(l, 60);
	ck_assert(ledger_total(l)->end.value == 23);
	ledger_free(l);
	l = play(&all, events, 5, 0, 60);
	ck_assert(ledger_total(l)->end.value == 3 && ledger_end_ns(l) == 60);
	ledger_free(l);
}
END_TEST

START_TEST(memory_that_is_not_the_heap)
{
	struct ledger *l = PLAY(&all, 100, NEW(0, 100, 10, 0, 0),
				NEW(1, 1u << 30, 20, ledger_apart_site(2), 0),
				NEW(2, 50, 30, LEDGER_NONE, 0), GO(1, 0, 40), GO(2, 0, 50));

	ck_assert(ledger_total(l)->allocated.value == 100);
	ck_assert(ledger_total(l)->peak.value == 100);
	ck_assert(ledger_apart(l, 2)->own_peak.value == 1u << 30);
	ck_assert(ledger_apart(l, 2)->live.value == 0 && ledger_apart(l, 1)->own_peak.value == 0);
	ck_assert(ledger_unknown(l) == 0);
	ledger_free(l);
}
END_TEST

START_TEST(weights_of_sampled_blocks)
{
	struct ledger_options options = all;
	struct ledger *l;
	double q = exp(-0.5);

	options.rate = 1000;
	ck_assert_double_eq_tol(ledger_weight(1000, 500), 1 / (1 - q), 1e-12);
	ck_assert_double_eq_tol(ledger_weight(1 << 19, 64), 8192.5, 0.01);
	ck_assert(ledger_weight(1, 500) == 1 && ledger_weight(1000, 0) == 1);
	l = PLAY(&options, 100, NEW(0, 500, 10, 0, 0), NEW(1, 500, 10, 1, 0, .exact = true),
		 GO(0, 0, 20));
	ck_assert_double_eq_tol(ledger_site(l, 0)->allocated.value, 500 / (1 - q), 1.0 / 256);
	ck_assert_double_eq_tol(ledger_site(l, 0)->allocated.variance,
				500 * 500 * q / (1 - q) / (1 - q), 1e-6);
	ck_assert_double_eq_tol(ledger_site(l, 0)->count.value, 1 / (1 - q), 1e-9);
	ck_assert_double_eq_tol(ledger_site(l, 0)->count.variance, q / (1 - q) / (1 - q), 1e-9);
	ck_assert(ledger_site(l, 0)->live.value == 0 && ledger_site(l, 0)->live.variance == 0);
	ck_assert(ledger_site(l, 1)->live.value == 500 && ledger_site(l, 1)->live.variance == 0);
	ck_assert(ledger_site(l, 0)->peak.value + 500 == ledger_total(l)->peak.value);
	ledger_free(l);
}
END_TEST

START_TEST(what_stays_makes_no_growth_uncertain)
{
	struct ledger_options options = {.from_ns = 50, .to_ns = UINT64_MAX, .rate = 1000};
	struct ledger *l = PLAY(&options, 100, NEW(0, 500, 10, 0, 0), NEW(1, 500, 10, 0, 0),
				GO(1, 0, 60), NEW(2, 500, 70, 0, 0));
	const struct ledger_sum *sum = ledger_site(l, 0);

	ck_assert(sum->end.value == sum->base.value);
	ck_assert_double_eq_tol(sum->stayed.variance, sum->base.variance / 2, 1e-6);
	ck_assert_double_eq_tol(ledger_total(l)->stayed.variance, sum->base.variance / 2, 1e-6);
	ledger_free(l);
}
END_TEST

/* ---- random lists, and their answers from the definitions ----------------------------------- */

struct life {
	uint32_t site, thread;
	uint64_t size; /* now */
	double weight;
	bool live;
};

struct truth {
	double allocated[SITES], freed[SITES], peak[SITES], own_peak[SITES], end[SITES],
		base[SITES], byte_ns[SITES], temporary[SITES], brief[SITES];
	double total_peak, group_peak[GROUPS];
};

static double worth(const struct life *life)
{
	double bytes = (double)life->size * life->weight;

	return life->weight > 1 ? rint(bytes * 256) / 256 : bytes;
}

static void live_now(const struct life *lives, size_t count, double live[SITES])
{
	for (uint32_t s = 0; s < SITES; s++)
		live[s] = 0;
	for (size_t i = 0; i < count; i++) {
		if (lives[i].live)
			live[lives[i].site] += worth(&lives[i]);
	}
}

static void look_at(struct truth *t, const double live[SITES], bool first)
{
	double all_live = 0;

	for (uint32_t s = 0; s < SITES; s++)
		all_live += live[s];
	if (first || all_live > t->total_peak) {
		t->total_peak = all_live;
		memcpy(t->peak, live, sizeof(t->peak));
	}
	for (uint32_t s = 0; s < SITES; s++) {
		if (live[s] > t->own_peak[s])
			t->own_peak[s] = live[s];
	}
	for (uint32_t g = 0; g < GROUPS; g++) {
		double bytes = live[2 * g] + live[2 * g + 1];

		if (bytes > t->group_peak[g])
			t->group_peak[g] = bytes;
	}
}

static uint32_t allocations_between(const struct event *events, size_t from, size_t to,
				    uint32_t thread)
{
	uint32_t count = 0;

	for (size_t i = from + 1; i < to; i++)
		count += events[i].op == ALLOC && events[i].thread == thread;
	return count;
}

static size_t birth_of(const struct event *events, uint64_t block)
{
	size_t i = 0;

	while (events[i].op != ALLOC || events[i].block != block)
		i++;
	return i;
}

static struct truth work_out(const struct ledger_options *o, const struct event *events,
			     size_t count, uint64_t user_end_ns, uint64_t end_ns)
{
	struct truth t = {0};
	struct life lives[MAX_EVENTS] = {0};
	double live[SITES];
	size_t blocks = 0;
	uint64_t now = o->from_ns;
	uint64_t last = end_ns < o->to_ns ? end_ns : o->to_ns;
	bool begun = o->from_ns == 0, ended = false;

	live_now(lives, 0, live);
	for (size_t i = 0; i <= count; i++) {
		const struct event *e = &events[i];
		uint64_t time = i < count && e->time_ns <= last ? e->time_ns : last;
		bool in = time > o->from_ns || o->from_ns == 0;

		if (in && !begun) {
			memcpy(t.base, live, sizeof(live));
			look_at(&t, live, true);
			begun = true;
		}
		if (!ended && (time > user_end_ns || i == count || e->time_ns > last)) {
			memcpy(t.end, live, sizeof(live));
			ended = true;
		}
		for (uint32_t s = 0; in && s < SITES; s++)
			t.byte_ns[s] += live[s] * (double)(time - now);
		if (in)
			now = time;
		if (i == count || e->time_ns > last)
			break;
		if (e->op == ALLOC) {
			lives[blocks++] =
				(struct life){e->site, e->thread, e->size,
					      e->exact ? 1 : ledger_weight(o->rate, e->size), true};
			if (in)
				t.allocated[e->site] += worth(&lives[blocks - 1]);
		} else if (e->block < blocks && lives[e->block].live) {
			struct life *life = &lives[e->block];
			size_t birth = birth_of(events, e->block);
			bool counts = events[birth].time_ns > o->from_ns || o->from_ns == 0;
			double bytes = worth(life);

			if (e->op == RESIZE) {
				life->size = e->size;
				bytes -= worth(life);
			} else {
				life->live = false;
				if (counts && in && e->thread == life->thread &&
				    allocations_between(events, birth, i, e->thread) <=
					    o->temporary)
					t.temporary[life->site] += bytes;
				if (counts && in &&
				    e->time_ns - events[birth].time_ns <= o->brief_ns)
					t.brief[life->site] += bytes;
			}
			if (in)
				t.freed[life->site] += bytes;
		}
		live_now(lives, blocks, live);
		if (in)
			look_at(&t, live, false);
	}
	return t;
}

static size_t make_list(struct event *events, uint64_t *state)
{
	size_t count = 1 + unit_random(state) % MAX_EVENTS;
	bool exact[MAX_EVENTS];
	uint64_t blocks = 0, now = 1;

	for (size_t i = 0; i < count; i++) {
		uint64_t dice = unit_random(state) % 100;
		struct event *e = &events[i];

		now += unit_random(state) % 4;
		*e = (struct event){.time_ns = now,
				    .thread = (uint32_t)unit_random(state) % THREADS};
		if (dice < 55 || blocks == 0) {
			e->op = ALLOC;
			e->block = blocks++;
			e->site = (uint32_t)(unit_random(state) % SITES);
			/* Few sizes, so that peaks are equal often. */
			e->size = UINT64_C(16) << unit_random(state) % 3;
			e->exact = unit_random(state) % 4 == 0;
			exact[e->block] = e->exact;
			continue;
		}
		/* Mostly young blocks go. */
		e->block = unit_random(state) % 2 ? blocks - 1 - unit_random(state) % blocks % 3
						  : unit_random(state) % blocks;
		e->op = dice >= 85 && exact[e->block] ? RESIZE : FREE;
		e->size = e->op == RESIZE ? unit_random(state) % 16 : 0;
	}
	return count;
}

static void compare(const struct ledger *l, const struct truth *t, uint64_t seed)
{
	double peak = 0, live = 0;

	for (uint32_t s = 0; s < SITES; s++) {
		const struct ledger_sum *sum = ledger_site(l, s);

		ck_assert_msg(sum->allocated.value == t->allocated[s], "allocated, %lu", seed);
		ck_assert_msg(sum->freed.value == t->freed[s], "freed, %lu", seed);
		ck_assert_msg(sum->peak.value == t->peak[s], "peak, %lu", seed);
		ck_assert_msg(sum->own_peak.value == t->own_peak[s], "own peak, %lu", seed);
		ck_assert_msg(sum->base.value == t->base[s], "base, %lu", seed);
		ck_assert_msg(sum->end.value == t->end[s], "end, %lu", seed);
		ck_assert_msg(sum->temporary == t->temporary[s], "temporary, %lu", seed);
		ck_assert_msg(sum->brief == t->brief[s], "brief, %lu", seed);
		ck_assert_msg(sum->byte_ns == t->byte_ns[s], "average, %lu", seed);
		ck_assert_msg(sum->allocated.value - sum->freed.value ==
				      sum->live.value - sum->base.value,
			      "balance, %lu", seed);
		peak += sum->peak.value;
		live += sum->live.value;
	}
	for (uint32_t g = 0; g < GROUPS; g++)
		ck_assert_msg(ledger_group(l, g)->own_peak.value == t->group_peak[g], "group, %lu",
			      seed);
	ck_assert_msg(peak == t->total_peak, "sum of peaks, %lu", seed);
	ck_assert_msg(ledger_total(l)->peak.value == peak, "total peak, %lu", seed);
	ck_assert_msg(ledger_total(l)->own_peak.value == peak, "largest, %lu", seed);
	ck_assert_msg(ledger_total(l)->live.value == live, "live, %lu", seed);
}

START_TEST(random_lists)
{
	uint64_t state = 88172645463325252u;

	for (uint64_t seed = 0; seed < 5000; seed++) {
		struct event events[MAX_EVENTS];
		size_t count = make_list(events, &state);
		uint64_t last = events[count - 1].time_ns;
		struct ledger_options options = {
			.from_ns = seed % 3 ? 0 : unit_random(&state) % (last + 2),
			.to_ns =
				seed % 5 ? UINT64_MAX : last / 2 + unit_random(&state) % (last + 1),
			.rate = seed % 2 ? 1 : 40,
			.temporary = (uint32_t)(unit_random(&state) % 4),
			.brief_ns = 6,
		};
		uint64_t user_end = seed % 7 == 0 ? last / 3 : UINT64_MAX;
		struct truth truth;
		struct ledger *l;

		if (options.to_ns <= options.from_ns)
			options.to_ns = options.from_ns + 1;
		if (user_end <= options.from_ns)
			user_end = UINT64_MAX;
		truth = work_out(&options, events, count, user_end, last + 3);
		l = play(&options, events, count, user_end == UINT64_MAX ? 0 : user_end, last + 3);
		compare(l, &truth, seed);
		ledger_free(l);
	}
}
END_TEST

/* ---- over time ------------------------------------------------------------------------------ */

START_TEST(steps_become_longer)
{
	struct ledger *l = open_ledger(&all);
	const uint64_t step = UINT64_C(1) << SERIES_FIRST_SHIFT;
	double last[SERIES_STEPS] = {0}, max[SERIES_STEPS] = {0};
	const uint64_t allocs = 1000;
	uint32_t shift;

	/* One byte a step; every tenth step has a peak of 100 bytes more. */
	for (uint64_t i = 0; i < allocs; i++) {
		ledger_allocated(
			l, &(struct ledger_alloc){.block = 2 * i, .size = 1, .time_ns = i * step});
		ledger_allocated(l, &(struct ledger_alloc){.block = 2 * i + 1,
							   .size = i % 10 ? 0 : 100,
							   .time_ns = i * step + 1,
							   .site = 2});
		ledger_freed(l, 2 * i + 1, 0, i * step + 2);
	}
	ledger_finish(l, allocs * step);
	shift = ledger_clock(l)->shift;
	ck_assert_uint_eq(shift, SERIES_FIRST_SHIFT + 3);
	series_add_to(&ledger_group(l, GROUPS)->series, SERIES_STEPS, last, max);
	for (uint64_t i = 0; i < allocs / 8; i++) {
		uint64_t end = (i + 1) * 8;
		uint64_t peak = (end - 1) / 10 * 10; /* the last one at or before the end */

		ck_assert(last[i] == (double)end);
		ck_assert(max[i] == (double)(peak >= end - 8 ? peak + 101 : end));
	}
	ck_assert(last[SERIES_STEPS - 1] == (double)allocs);
	ledger_free(l);
}
END_TEST

START_TEST(a_series_begins_with_the_window)
{
	struct ledger_options options = {
		.from_ns = 1000, .to_ns = UINT64_MAX, .origin_ns = 1000, .rate = 1};
	const uint64_t step = UINT64_C(1) << SERIES_FIRST_SHIFT;
	double last[4] = {0}, max[4] = {0};
	struct ledger *l = PLAY(&options, 1000 + 3 * step, NEW(0, 10, 10, 0, 0),
				NEW(1, 5, 1000 + 2 * step, 0, 0), GO(0, 0, 1001 + 2 * step));

	series_add_to(&ledger_all(l)->series, 4, last, max);
	ck_assert(last[0] == 10 && last[1] == 10 && last[2] == 5 && last[3] == 5);
	ck_assert(max[1] == 10 && max[2] == 15 && max[3] == 5);
	ledger_free(l);
}
END_TEST

/* ---- memory --------------------------------------------------------------------------------- */

START_TEST(pages_go_with_their_blocks)
{
	struct ledger_blocks blocks = {0};
	uint64_t state = 7;

	for (uint64_t i = 0; i < 1000000; i++) {
		ledger_blocks_add(&blocks, i)->size = i;
		if (i >= 100) {
			ck_assert(ledger_blocks_find(&blocks, i - 100)->size == i - 100);
			ledger_blocks_remove(&blocks, i - 100);
			ck_assert(!ledger_blocks_find(&blocks, i - 100));
		}
	}
	ck_assert_uint_eq(blocks.count, 100);
	ck_assert_uint_lt(blocks.page_count, 12);
	ck_assert_uint_lt(blocks.sheet_count, 4);
	ledger_blocks_release(&blocks);

	/* One in a thousand stays. */
	for (uint64_t i = 0; i < 1000000; i++) {
		ledger_blocks_add(&blocks, i);
		if (unit_random(&state) % 1000)
			ledger_blocks_remove(&blocks, i);
	}
	ck_assert_uint_le(blocks.page_count, blocks.count + 2);
	ck_assert_uint_le(blocks.sheet_count, blocks.count + 2);
	ledger_blocks_release(&blocks);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("ledger");

	tcase_add_test(tests, allocations_and_frees);
	tcase_add_test(tests, the_first_of_two_equal_peaks);
	tcase_add_test(tests, groups_have_peaks_of_their_own);
	tcase_add_test(tests, parts_of_a_mapping_go);
	tcase_add_test(tests, temporary_by_k);
	tcase_add_test(tests, a_million_appends);
	tcase_add_test(tests, a_realloc_that_fails);
	tcase_add_test(tests, brief_lives);
	tcase_add_test(tests, only_what_is_in_the_window_counts);
	tcase_add_test(tests, gaps_do_not_count);
	tcase_add_test(tests, the_end_of_user_code);
	tcase_add_test(tests, memory_that_is_not_the_heap);
	tcase_add_test(tests, weights_of_sampled_blocks);
	tcase_add_test(tests, what_stays_makes_no_growth_uncertain);
	tcase_add_test(tests, random_lists);
	tcase_add_test(tests, steps_become_longer);
	tcase_add_test(tests, a_series_begins_with_the_window);
	tcase_add_test(tests, pages_go_with_their_blocks);
	return unit_run("ledger", tests);
}
