/* SPDX-License-Identifier: Apache-2.0
 *
 * Do intervals of sampled sums hold the truth as often as they say? Blocks of known sizes, sampled
 * as the recorder samples, many times over; sizes are in rates. The seeds are fixed.
 */
#include <math.h>

#include "analyze/estimate.h"
#include "tests/unit/unit.h"

#define RATE 1000.0
#define TRIALS 4000
/* The standard deviation of a share of 95 % in that many trials is 0.34 %: three of them. */
#define CHANCE 0.0103
#define LARGEST_MEAN 400 /* where a normal distribution is as good as a binomial one */

static uint64_t state;

static double uniform(void)
{
	return ((double)(unit_random(&state) >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

/* How many of `blocks` are seen when each is with probability p. */
static double draw(double blocks, double p)
{
	double seen = 0;

	if (blocks * p * (1 - p) > LARGEST_MEAN)
		return fmin(blocks,
			    fmax(0, rint(blocks * p + normal() * sqrt(blocks * p * (1 - p)))));
	/* Jump from one that is seen to the next. */
	for (double at = 0; p < 0.2;) {
		at += floor(log(uniform()) / log1p(-p)) + 1;
		if (at > blocks)
			return seen;
		seen++;
	}
	for (double i = 0; i < blocks; i++)
		seen += uniform() < p;
	return seen;
}

struct blocks {
	double size;
	double count;
};

static struct estimate sample(const struct blocks *blocks, size_t kinds)
{
	struct estimate e = {0};

	for (size_t i = 0; i < kinds; i++) {
		double size = blocks[i].size * RATE;
		double p = -expm1(-blocks[i].size);
		double seen = draw(blocks[i].count, p);

		e.value += seen * size / p;
		e.seen += seen * size;
		e.variance += seen * size * size * (1 - p) / p / p;
	}
	return e;
}

static double truth_of(const struct blocks *blocks, size_t kinds)
{
	double truth = 0;

	for (size_t i = 0; i < kinds; i++)
		truth += blocks[i].size * RATE * blocks[i].count;
	return truth;
}

static bool holds(double low, double truth, double high)
{
	double rounding = 1e-9 * (1 + fabs(truth));

	return low <= truth + rounding && truth <= high + rounding;
}

static double coverage(const struct blocks *blocks, size_t kinds)
{
	double truth = truth_of(blocks, kinds);
	int hits = 0;

	for (int trial = 0; trial < TRIALS; trial++) {
		struct estimate e = sample(blocks, kinds);
		double low, high;

		estimate_interval(&e, RATE, &low, &high);
		ck_assert(low >= e.seen && low <= e.value && high >= e.value);
		hits += holds(low, truth, high);
	}
	return (double)hits / TRIALS;
}

/* Equal blocks from a thousandth of the rate to five times it, 1 to 10,000 of them. A sum of them
 * comes in whole blocks and is seen in whole samples: with few of either no interval can be right
 * just so often, and what can be is right at least nearly so often. */
START_TEST(equal_blocks)
{
	static const double sizes[] = {0.001, 0.01, 0.03, 0.1, 0.3, 0.6, 1, 1.5, 2, 3, 4, 5};
	static const double counts[] = {1, 2, 3, 5, 10, 20, 30, 100, 300, 1000, 3000, 10000};
	double sum = 0;
	int cases = 0, exact = 0;

	state = 88172645463325252u;
	for (size_t i = 0; i < 12; i++) {
		for (size_t k = 0; k < 12; k++) {
			struct blocks blocks = {sizes[i], counts[k]};
			double p = -expm1(-sizes[i]);
			double seen = counts[k] * p, unseen = counts[k] * (1 - p);
			double hit = coverage(&blocks, 1);

			/* Both what is seen and what is not vary over many whole numbers. */
			if (seen >= 25 && unseen >= 25) {
				ck_assert_msg(hit >= 0.93 && hit <= 0.97, "%g x %g: %.4f",
					      counts[k], sizes[i], hit);
				exact++;
			}
			ck_assert_msg(hit >= 0.89 - CHANCE, "%g x %g: %.4f", counts[k], sizes[i],
				      hit);
			sum += hit;
			cases++;
		}
	}
	ck_assert_int_ge(exact, 36);
	ck_assert_msg(sum / cases >= 0.95 && sum / cases <= 0.98, "%.4f", sum / cases);
}
END_TEST

/* What lines of programs look like: many sizes, or a few large blocks among small ones, or sums
 * over many sites. */
START_TEST(mixed_blocks)
{
	static const struct {
		const char *what;
		struct blocks blocks[8];
		size_t kinds;
		double least, most;
	} mixes[] = {
		{"small ones and 40 large ones", {{5, 40}, {0.001, 3000}}, 2, 0.93, 0.98},
		{"small ones and 5 large ones", {{5, 5}, {0.001, 3000}}, 2, 0.9, 0.97},
		{"all sizes",
		 {{0.001, 3000},
		  {0.01, 700},
		  {0.1, 60},
		  {0.5, 20},
		  {1, 10},
		  {2, 8},
		  {3, 4},
		  {5, 2}},
		 8,
		 0.93,
		 0.97},
		{"a list that doubles",
		 {{0.02, 1},
		  {0.04, 1},
		  {0.08, 1},
		  {0.16, 1},
		  {0.3, 1},
		  {0.6, 1},
		  {1.3, 1},
		  {2.6, 1}},
		 8,
		 0.93,
		 1},
		{"a few between 1.5 and 5", {{1.5, 1}, {2.2, 1}, {3.1, 1}, {4.5, 1}}, 4, 0.93, 1},
		{"pages", {{0.0078, 1000}, {0.0156, 500}, {0.125, 100}, {1, 30}}, 4, 0.93, 0.97},
		{"a hundred huge ones and objects", {{100, 100}, {0.01, 3000}}, 2, 0.93, 0.97},
		{"huge ones and next to nothing", {{20, 10}, {0.0002, 10}}, 2, 0.95, 1},
	};

	state = 12345;
	for (size_t i = 0; i < sizeof(mixes) / sizeof(*mixes); i++) {
		double hit = coverage(mixes[i].blocks, mixes[i].kinds);

		ck_assert_msg(hit >= mixes[i].least - CHANCE && hit <= mixes[i].most + CHANCE,
			      "%s: %.4f", mixes[i].what, hit);
	}
}
END_TEST

/* Lines whose sizes nobody chose: 93 to 97 in 100 over all of them. */
START_TEST(random_lines)
{
	int hits = 0, trials = 0;

	state = 987654321;
	for (int line = 0; line < 600; line++) {
		struct blocks blocks[8];
		size_t kinds = 1 + (size_t)(uniform() * 8);
		double truth;

		for (size_t i = 0; i < kinds; i++)
			blocks[i] = (struct blocks){0.001 * exp(8 * uniform()),
						    ceil(exp(7 * uniform()))};
		truth = truth_of(blocks, kinds);
		for (int trial = 0; trial < 60; trial++) {
			struct estimate e = sample(blocks, kinds);
			double low, high;

			estimate_interval(&e, RATE, &low, &high);
			hits += holds(low, truth, high);
			trials++;
		}
	}
	ck_assert_msg(hits >= trials * 0.93 && hits <= trials * 0.97, "%d of %d", hits, trials);
}
END_TEST

/* What grew is what is new less what is gone of what was there before. */
START_TEST(differences)
{
	static const struct blocks parts[][2] = {
		{{0.01, 3000}, {0.01, 1000}}, {{0.002, 20000}, {0.002, 20000}},
		{{1, 100}, {1, 40}},          {{0.1, 100}, {2, 40}},
		{{0.05, 4000}, {0.01, 0}},    {{0.01, 1000}, {0.3, 200}},
	};

	state = 777;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		double truth = truth_of(&parts[i][0], 1) - truth_of(&parts[i][1], 1);
		int hits = 0;

		for (int trial = 0; trial < TRIALS; trial++) {
			struct estimate gained = sample(&parts[i][0], 1);
			struct estimate lost = sample(&parts[i][1], 1);
			double low, high;

			estimate_difference_interval(&gained, &lost, RATE, &low, &high);
			hits += holds(low, truth, high);
		}
		ck_assert_msg(hits >= TRIALS * 0.93 && hits <= TRIALS * 0.97, "%zu: %d", i, hits);
	}
}
END_TEST

/* Numbers of blocks instead of their bytes. */
START_TEST(counts)
{
	static const struct blocks kinds[] = {{0.001, 30000}, {0.1, 1000}, {1, 300}, {2, 300}};

	state = 4242;
	for (size_t i = 0; i < 4; i++) {
		double p = -expm1(-kinds[i].size);
		int hits = 0;

		for (int trial = 0; trial < TRIALS; trial++) {
			double seen = draw(kinds[i].count, p);
			struct estimate e = {seen / p, seen, seen * (1 - p) / p / p};
			double low, high;

			estimate_interval(&e, ESTIMATE_BLOCKS, &low, &high);
			hits += holds(low, kinds[i].count, high);
		}
		ck_assert_msg(hits >= TRIALS * 0.93 && hits <= TRIALS * 0.97, "%g: %d",
			      kinds[i].size, hits);
	}
}
END_TEST

START_TEST(limits)
{
	struct estimate e = {0};
	double low, high;

	/* Nothing was seen. */
	estimate_interval(&e, RATE, &low, &high);
	ck_assert(low == 0 && high == 3 * RATE);
	estimate_interval(&e, ESTIMATE_BLOCKS, &low, &high);
	ck_assert(low == 0 && high == 0);
	/* All was recorded. */
	e = (struct estimate){5, 5, 0};
	estimate_interval(&e, 1, &low, &high);
	ck_assert(low == 5 && high == 5);
	/* What is certain, beside which there may be little ones: half an event of them. */
	e = (struct estimate){5000, 5000, 0};
	estimate_interval(&e, 10, &low, &high);
	ck_assert(low == 5000);
	ck_assert_double_eq_tol(high, 5000 + 10 * 5.023886 / 2, 1e-4);
	/* One sample of something small, by the tables of the chi-square distribution with 3
	 * degrees of freedom. */
	e = (struct estimate){RATE, 0, RATE * RATE};
	estimate_interval(&e, RATE, &low, &high);
	ck_assert(low == 0);
	ck_assert_double_eq_tol(high, RATE * 9.348404 / 2, 1e-3);
	/* Two, with 5. */
	e = (struct estimate){2 * RATE, 1, 2 * RATE * RATE};
	estimate_interval(&e, RATE, &low, &high);
	ck_assert_double_eq_tol(low, RATE * 0.8312116 / 2, 1);
	ck_assert_double_eq_tol(high, RATE * 12.83250 / 2, 1);
	/* At a peak they prove no more than themselves. */
	estimate_peak_interval(&e, RATE, &low, &high);
	ck_assert(low == 1 && high > 6 * RATE);
	/* The approximation for many goes on where the sums end. */
	e = (struct estimate){199.4 * RATE, 0, 199.4 * RATE * RATE};
	estimate_interval(&e, RATE, &low, &high);
	ck_assert_double_eq_tol(low, 173.15 * RATE, 0.05 * RATE);
	e = (struct estimate){199.6 * RATE, 0, 199.6 * RATE * RATE};
	estimate_interval(&e, RATE, &low, &high);
	ck_assert_double_eq_tol(low, 173.35 * RATE, 0.05 * RATE);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("estimate");

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, equal_blocks);
	tcase_add_test(tests, mixed_blocks);
	tcase_add_test(tests, random_lines);
	tcase_add_test(tests, differences);
	tcase_add_test(tests, counts);
	tcase_add_test(tests, limits);
	return unit_run("estimate", tests);
}
