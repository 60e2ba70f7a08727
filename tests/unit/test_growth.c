/* SPDX-License-Identifier: Apache-2.0
 *
 * What is called growing and what is not: programs of known behaviour, sampled as the recorder
 * samples, many times over. The seeds are fixed.
 */
#include <math.h>

#include "analyze/growth.h"
#include "tests/unit/unit.h"

#define RATE (512.0 * 1024)
#define SECOND UINT64_C(1000000000)
#define WINDOW_S 60

static uint64_t state;

static double uniform(void)
{
	return ((double)(unit_random(&state) >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
}

/* ---- a program ------------------------------------------------------------------------------ */

enum lifetimes {
	FOR_EVER,
	FIXED,  /* first in, first out */
	RANDOM, /* exponential: each live block is as likely as any to be replaced */
};

struct program {
	double size;               /* of a block */
	double live;               /* blocks in the cache */
	double turnovers;          /* how often the cache is replaced after it was filled */
	enum lifetimes how;        /* its blocks live */
	double fill_from, fill_to; /* as shares of the window: the cache grows */
	double leak;               /* blocks leaked from leak_from on */
	double leak_from;
	double rate; /* of sampling */
};

struct event {
	double time;
	uint64_t block;
	bool is_free;
};

static struct event events[1 << 16];
static size_t event_count;
static uint64_t block_count;

static bool sampled(const struct program *p)
{
	return p->rate <= 1 || uniform() < 1 - exp(-p->size / p->rate);
}

static void add_block(const struct program *p, double from, double to)
{
	if (!sampled(p))
		return;
	ck_assert(event_count + 2 <= sizeof(events) / sizeof(*events));
	events[event_count++] = (struct event){.time = from, .block = block_count};
	if (to < 1)
		events[event_count++] =
			(struct event){.time = to, .block = block_count, .is_free = true};
	block_count++;
}

static double lifetime(const struct program *p, double mean)
{
	if (p->how == FOR_EVER || mean <= 0)
		return 2;
	return p->how == FIXED ? mean : -mean * log(uniform());
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a;
	const struct event *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* Numbers blocks in the order of their allocation, as a trace does. */
static void play(struct ledger *l, const struct program *p)
{
	uint64_t *numbers = calloc(block_count + 1, sizeof(*numbers));
	uint64_t next = 0;

	qsort(events, event_count, sizeof(*events), compare_events);
	for (size_t i = 0; i < event_count; i++) {
		uint64_t time = (uint64_t)(events[i].time * WINDOW_S * (double)SECOND) + 1;

		if (events[i].is_free) {
			ledger_freed(l, numbers[events[i].block], LEDGER_NONE, time);
			continue;
		}
		numbers[events[i].block] = next;
		ledger_allocated(l, &(struct ledger_alloc){
					    .block = next++,
					    .size = (uint64_t)p->size,
					    .time_ns = time,
					    .thread = LEDGER_NONE,
				    });
	}
	free(numbers);
}

static struct growth run(const struct program *p)
{
	struct ledger *l =
		ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = p->rate});
	uint32_t group = ledger_add_group(l, true);
	double mean = p->turnovers > 0 ? (1 - p->fill_to) / p->turnovers : 0;
	struct growth growth;

	ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
	event_count = 0;
	block_count = 0;
	for (double i = 0; i < p->live; i++) {
		double from = p->fill_from + (p->fill_to - p->fill_from) * i / p->live;

		/* Each place in the cache is taken again as soon as it is free. */
		for (double at = from; at < 1;) {
			double to = at + lifetime(p, mean);

			/* The first round of a cache that replaces in order is as long as the rest
			 * but starts anywhere within it. */
			if (at == from && mean > 0 && p->how == FIXED)
				to = p->fill_to + mean * i / p->live;
			add_block(p, at, to);
			at = to;
		}
	}
	for (double i = 0; i < p->leak; i++)
		add_block(p, p->leak_from + (1 - p->leak_from) * (i + 0.5) / p->leak, 2);
	play(l, p);
	ledger_finish(l, WINDOW_S * SECOND);
	growth = growth_judge(l, ledger_group(l, group));
	ledger_free(l);
	return growth;
}

/* How many of so many runs are called growing. */
static int count_growing(const struct program *p, int runs, uint64_t seed)
{
	int growing = 0;

	state = seed * 0x9e3779b97f4a7c15u + 88172645463325252u;
	for (int i = 0; i < runs; i++)
		growing += run(p).verdict == GROWTH_GOES_ON;
	return growing;
}

/* ---- no leaks ------------------------------------------------------------------------------- */

START_TEST(a_constant_size_is_no_leak)
{
	static const double lives[] = {4, 12, 40, 150};
	static const double turnovers[] = {0.5, 1.5, 4, 20};
	int runs = 0, growing = 0;

	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < 4; k++) {
			for (enum lifetimes how = FIXED; how <= RANDOM; how++) {
				/* Blocks of 16 KB: one in 32 is sampled. */
				struct program p = {.size = 16384,
						    .rate = RATE,
						    .live = 32 * lives[i],
						    .fill_to = 0.05,
						    .turnovers = turnovers[k],
						    .how = how};
				int count = i < 3 || k < 3 ? 150 : 20;

				runs += count;
				growing += count_growing(&p, count, 10 * i + k);
			}
		}
	}
	ck_assert_int_ge(runs, 4000);
	ck_assert_msg(growing * 100 < runs, "%d of %d", growing, runs);
}
END_TEST

START_TEST(a_cache_filled_once_is_no_leak)
{
	static const double ends[] = {0.1, 0.3, 0.5, 0.6};

	for (size_t i = 0; i < 4; i++) {
		for (enum lifetimes how = FOR_EVER; how <= RANDOM; how++) {
			struct program p = {.size = 16384,
					    .rate = RATE,
					    .live = 32 * 60,
					    .fill_to = ends[i],
					    .turnovers = 1.5,
					    .how = how};
			int growing = count_growing(&p, 400, 100 + i);

			ck_assert_msg(growing < 8, "filled to %g, %d: %d", ends[i], (int)how,
				      growing);
		}
		/* The same, every block recorded. */
		ck_assert_int_eq(count_growing(&(struct program){.size = 16384,
								 .rate = 1,
								 .live = 500,
								 .fill_to = ends[i]},
					       1, 1),
				 0);
	}
}
END_TEST

/* Grows and is emptied at once, over and over; ends full. */
START_TEST(what_is_emptied_again_is_no_leak)
{
	for (int rounds = 1; rounds <= 7; rounds++) {
		struct ledger *l =
			ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = 1});
		uint32_t group = ledger_add_group(l, true);
		struct growth g;
		uint64_t block = 0;

		ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
		for (int i = 0; i < rounds * 60; i++) {
			uint64_t time = (uint64_t)(i + 1) * SECOND / (uint64_t)rounds;

			ledger_allocated(l, &(struct ledger_alloc){.block = block++,
								   .size = 1000,
								   .time_ns = time,
								   .thread = LEDGER_NONE});
			for (uint64_t k = 60; i % 60 == 59 && i + 1 < rounds * 60 && k > 0; k--)
				ledger_freed(l, block - k, LEDGER_NONE, time + 1);
		}
		ledger_finish(l, WINDOW_S * SECOND);
		g = growth_judge(l, ledger_group(l, group));
		/* One ramp alone is what a leak looks like. */
		ck_assert_msg(g.verdict == (rounds == 1 ? GROWTH_GOES_ON : GROWTH_ONCE) ||
				      (rounds > 1 && g.verdict == GROWTH_NONE),
			      "%d rounds: %d", rounds, (int)g.verdict);
		ledger_free(l);
	}
}
END_TEST

START_TEST(what_is_freed_at_once_is_nothing)
{
	struct ledger *l = ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = 1});
	uint32_t group = ledger_add_group(l, true);

	ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
	for (uint64_t i = 0; i < 10000; i++) {
		ledger_allocated(l, &(struct ledger_alloc){.block = i,
							   .size = 1 << 20,
							   .time_ns = i * SECOND / 100,
							   .thread = LEDGER_NONE});
		ledger_freed(l, i, LEDGER_NONE, i * SECOND / 100 + 5);
	}
	ledger_finish(l, 100 * SECOND);
	ck_assert(growth_judge(l, ledger_group(l, group)).verdict == GROWTH_NONE);
	ledger_free(l);
}
END_TEST

/* Places are taken at random, so the last ones take long. */
START_TEST(a_cache_that_fills_up_is_no_leak)
{
	static const double rounds[] = {4, 6, 10};

	for (size_t i = 0; i < 3; i++) {
		struct ledger *l =
			ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = 1});
		uint32_t group = ledger_add_group(l, true);
		bool taken[1000] = {false};
		double turns = rounds[i] * 1000;
		uint64_t block = 0;

		state = 88172645463325252u + i;
		ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
		for (double turn = 0; turn < turns; turn++) {
			size_t place = (size_t)(uniform() * 1000);

			if (taken[place])
				continue;
			taken[place] = true;
			ledger_allocated(l, &(struct ledger_alloc){
						    .block = block++,
						    .size = 1000,
						    .time_ns = (uint64_t)(turn / turns * 60e9),
						    .thread = LEDGER_NONE});
		}
		ledger_finish(l, WINDOW_S * SECOND);
		ck_assert_int_eq(growth_judge(l, ledger_group(l, group)).verdict, GROWTH_ONCE);
		ledger_free(l);
	}
}
END_TEST

/* ---- leaks ---------------------------------------------------------------------------------- */

START_TEST(large_blocks_are_always_found)
{
	static const double starts[] = {0, 0.3, 0.7, 0.85};

	for (size_t i = 0; i < 4; i++) {
		struct program p = {
			.size = 2 << 20, .rate = RATE, .leak = 150, .leak_from = starts[i]};

		ck_assert_int_eq(count_growing(&p, 300, i), 300);
	}
}
END_TEST

/* So many samples it takes: 1 KB a request and 512 KiB a sample are 512 requests each. */
START_TEST(small_blocks_are_found_in_time)
{
	static const struct {
		double samples;
		int least; /* of 400 */
	} cases[] = {{5, 0}, {20, 160}, {40, 380}, {100, 396}};

	for (size_t i = 0; i < 4; i++) {
		struct program p = {.size = 1024, .rate = RATE, .leak = 512 * cases[i].samples};
		int found = count_growing(&p, 400, i);

		ck_assert_msg(found >= cases[i].least, "%g samples: %d", cases[i].samples, found);
		/* Five say nothing yet. */
		ck_assert(i > 0 || found < 4);
	}
}
END_TEST

START_TEST(a_leak_beside_a_cache_is_found)
{
	struct program p = {.size = 4096,
			    .rate = RATE,
			    .live = 128 * 30,
			    .fill_to = 0.05,
			    .turnovers = 3,
			    .how = RANDOM,
			    .leak = 128 * 100};

	ck_assert_int_ge(count_growing(&p, 300, 3), 270);
}
END_TEST

START_TEST(a_list_that_grows_is_a_leak)
{
	struct ledger *l = ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = 1});
	uint32_t group = ledger_add_group(l, true);
	uint64_t block = 0;
	uint64_t room = 0;
	struct growth g;

	ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
	for (uint64_t length = 1; length <= 600000; length++) {
		uint64_t time = length * SECOND / 10000;

		if (length <= room)
			continue;
		room = length + length / 8 + 6;
		if (block)
			ledger_freed(l, block - 1, LEDGER_NONE, time);
		ledger_allocated(l, &(struct ledger_alloc){.block = block++,
							   .size = 8 * room,
							   .time_ns = time,
							   .thread = LEDGER_NONE});
	}
	ledger_finish(l, 60 * SECOND);
	g = growth_judge(l, ledger_group(l, group));
	ck_assert_int_eq(g.verdict, GROWTH_GOES_ON);
	ck_assert_double_eq_tol(g.slope, 80000, 8000);
	ledger_free(l);
}
END_TEST

START_TEST(slopes_hold_the_truth)
{
	static const struct program cases[] = {
		{.size = 1024, .rate = RATE, .leak = 512 * 40},
		{.size = 1024, .rate = RATE, .leak = 512 * 300},
		{.size = 1 << 19, .rate = RATE, .leak = 200},
		{.size = 4096,
		 .rate = RATE,
		 .leak = 128 * 100,
		 .live = 128 * 30,
		 .fill_to = 0.05,
		 .turnovers = 3,
		 .how = RANDOM},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double truth = cases[i].leak * cases[i].size / WINDOW_S;
		int held = 0, runs = 500;

		state = 88172645463325252u + i;
		for (int k = 0; k < runs; k++) {
			struct growth g = run(&cases[i]);
			double half = 1.96 * sqrt(g.slope_variance);

			held += fabs(g.slope - truth) <= half;
		}
		ck_assert_msg(held >= runs * 92 / 100 && held <= runs * 99 / 100, "case %zu: %d", i,
			      held);
	}
}
END_TEST

START_TEST(likelihoods)
{
	struct program steady = {.size = 16384, .rate = 1, .leak = 1000};
	struct program slowing = {
		.size = 16384, .rate = 1, .leak = 1000, .live = 4000, .fill_to = 0.38};

	state = 1;
	ck_assert_double_gt(run(&steady).likelihood, 0.95);
	ck_assert_double_lt(run(&slowing).likelihood, run(&steady).likelihood);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("growth");

	tcase_add_test(tests, a_constant_size_is_no_leak);
	tcase_add_test(tests, a_cache_filled_once_is_no_leak);
	tcase_add_test(tests, what_is_emptied_again_is_no_leak);
	tcase_add_test(tests, what_is_freed_at_once_is_nothing);
	tcase_add_test(tests, a_cache_that_fills_up_is_no_leak);
	tcase_add_test(tests, large_blocks_are_always_found);
	tcase_add_test(tests, small_blocks_are_found_in_time);
	tcase_add_test(tests, a_leak_beside_a_cache_is_found);
	tcase_add_test(tests, a_list_that_grows_is_a_leak);
	tcase_add_test(tests, slopes_hold_the_truth);
	tcase_add_test(tests, likelihoods);
	return unit_run("growth", tests);
}
