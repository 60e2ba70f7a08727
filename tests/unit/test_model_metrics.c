/* SPDX-License-Identifier: Apache-2.0
 *
 * The 95 % interval of a sampled share must hold the truth about 95 times in a hundred, also when
 * the samples weigh differently, and know its limits at 0 and 1.
 */
#include <math.h>

#include "analyze/filter_match.h"
#include "analyze/model.h"
#include "tests/unit/unit.h"

#define TRIALS 4000

static double uniform(uint64_t *state)
{
	return (double)(unit_random(state) >> 11) / (double)(UINT64_C(1) << 53);
}

static void add_sample(struct metrics *m, double weight)
{
	m->samples++;
	m->cpu_ns += (uint64_t)weight;
	m->cpu_square += weight * weight;
}

/* How often the interval holds share, of count samples and one that weighs as much as `heavy`;
 * spread: the weights' exponential part. */
static double coverage(double share, int count, double spread, double heavy, uint64_t seed)
{
	uint64_t state = seed;
	int hits = 0;

	for (int trial = 0; trial < TRIALS; trial++) {
		struct metrics line = {0}, whole = {0};
		double low, high;

		for (int i = heavy > 0 ? -1 : 0; i < count; i++) {
			double weight = 1e6 * (1 - spread - spread * log(1 - uniform(&state)));

			if (i < 0)
				weight = 1e6 * heavy;
			add_sample(&whole, weight);
			if (uniform(&state) < share)
				add_sample(&line, weight);
		}
		metrics_interval(&line, &whole, &low, &high);
		hits += low <= share * (double)whole.cpu_ns && high >= share * (double)whole.cpu_ns;
	}
	return (double)hits / TRIALS;
}

START_TEST(interval_holds_the_truth)
{
	static const struct {
		double share;
		int count;
		double spread;
		double heavy;
		double least;
	} cases[] = {
		{0.5, 100, 0, 0, 0.93},   {0.1, 200, 0, 0, 0.93},   {0.02, 1000, 0, 0, 0.93},
		{0.3, 500, 0.5, 0, 0.93}, {0.05, 1000, 1, 0, 0.92}, {0.5, 50, 1, 0, 0.91},
		{0.9, 300, 0.3, 0, 0.93}, {0.1, 50, 0, 50, 0.88},   {0.3, 50, 0, 50, 0.91},
		{0.9, 50, 0, 50, 0.87},   {0.5, 50, 0, 25, 0.93},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double hit = coverage(cases[i].share, cases[i].count, cases[i].spread,
				      cases[i].heavy, 88172645463325252u + i);

		ck_assert_msg(hit >= cases[i].least && hit <= 0.99, "case %zu: %.4f", i, hit);
	}
}
END_TEST

START_TEST(interval_at_the_ends)
{
	struct metrics none = {0}, whole = {0};
	double low, high;

	metrics_interval(&none, &whole, &low, &high);
	ck_assert(low == 0 && high == 0);
	for (int i = 0; i < 100; i++)
		add_sample(&whole, 1e6);
	metrics_interval(&none, &whole, &low, &high);
	ck_assert(low == 0);
	ck_assert(high > 1e6 && high < 6e6); /* the rule of three, about */
	metrics_interval(&whole, &whole, &low, &high);
	ck_assert(high == 1e8);
	ck_assert(low > 94e6 && low < 99e6);
}
END_TEST

START_TEST(parts_of_a_line)
{
	struct metrics line = {0}, whole = {0};
	double low, high, all_low, all_high;

	for (int i = 0; i < 1000; i++) {
		add_sample(&whole, 1e6);
		if (i % 4 == 0)
			add_sample(&line, 1e6);
	}
	metrics_interval(&line, &whole, &all_low, &all_high);
	metrics_part_interval(line.cpu_ns, &line, &whole, &low, &high);
	ck_assert(low == all_low && high == all_high);
	metrics_part_interval(line.cpu_ns / 5, &line, &whole, &low, &high);
	ck_assert(low < 50e6 && high > 50e6 && high - low < all_high - all_low);
}
END_TEST

START_TEST(weights)
{
	struct metrics m = {.cpu_ns = 3, .wall_ns = 7};

	ck_assert_uint_eq(metrics_weight(&m, MODEL_CPU), 3);
	ck_assert_uint_eq(metrics_weight(&m, MODEL_WALL), 7);
}
END_TEST

START_TEST(globs)
{
	static const char *const name[] = {"util.py"}, *const part[] = {"src/*.py"},
				 *const run[] = {"run"}, *const number[] = {"42"};

	ck_assert(filter_match_path(NULL, 0, "/x/y.py"));
	ck_assert(filter_match_path(name, 1, "/x/util.py"));
	ck_assert(!filter_match_path(name, 1, "/x/myutil.py"));
	ck_assert(filter_match_path(part, 1, "/home/src/util.py"));
	ck_assert(!filter_match_path(part, 1, "/home/lib/util.py"));
	ck_assert(filter_match_function(run, 1, "Worker.run"));
	ck_assert(filter_match_function(run, 1, "run"));
	ck_assert(!filter_match_function(run, 1, "rerun"));
	ck_assert(filter_match_thread(number, 1, "MainThread", 42));
	ck_assert(!filter_match_thread(number, 1, "MainThread", 421));
	ck_assert(filter_match_process(number, 1, "python3 app.py", 42));
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("metrics");

	tcase_add_test(tests, interval_holds_the_truth);
	tcase_add_test(tests, interval_at_the_ends);
	tcase_add_test(tests, parts_of_a_line);
	tcase_add_test(tests, weights);
	tcase_add_test(tests, globs);
	return unit_run("metrics", tests);
}
