/* SPDX-License-Identifier: Apache-2.0
 *
 * The distances between samples: exponential, with the mean asked for.
 */
#include <math.h>

#include "record/agent/agent.h"
#include "record/agent/countdown.h"

#undef memcpy
#undef memset

#include "tests/unit/unit.h"

#define DRAWS 200000
/* Of a quantity known with a standard error: 6 of them on either side are never left by chance. */
#define SIGMAS 6.0

struct agent agent;

uint64_t agent_now(void)
{
	return 12345678901ull;
}

START_TEST(mean_and_variance)
{
	static const double means[] = {7, 4096, 524288, 2097152, 1e12};

	for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
		double mean = means[i], sum = 0, squares = 0;
		/* Whole bytes: what is cut off is half a byte in the mean. */
		double cut = 1 / (exp(1 / mean) - 1);

		for (int n = 0; n < DRAWS; n++) {
			double distance = (double)countdown_draw((uint64_t)mean);

			ck_assert(distance >= 0);
			sum += distance;
			squares += distance * distance;
		}
		ck_assert_double_eq_tol(sum / DRAWS, cut, SIGMAS * mean / sqrt(DRAWS));
		/* The second moment is 2 mean^2, the fourth 24 mean^4. */
		ck_assert_double_eq_tol(squares / DRAWS, 2 * cut * cut + cut,
					SIGMAS * sqrt(20) * mean * mean / sqrt(DRAWS));
	}
}
END_TEST

START_TEST(hit_with_the_right_probability)
{
	static const double sizes[] = {1, 100, 100000, 524288, 2e6};
	const double mean = 524288;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double chance = 1 - exp(-sizes[i] / mean);
		int hits = 0;

		for (int n = 0; n < DRAWS; n++)
			hits += countdown_draw((uint64_t)mean) < (int64_t)sizes[i];
		ck_assert_double_eq_tol((double)hits / DRAWS, chance,
					SIGMAS * sqrt(chance * (1 - chance) / DRAWS) + 1e-9);
	}
}
END_TEST

START_TEST(quantiles)
{
	const double mean = 1e9;
	int below[10] = {0};

	for (int n = 0; n < DRAWS; n++) {
		int decile = (int)(10 * (1 - exp(-(double)countdown_draw((uint64_t)mean) / mean)));

		below[decile > 9 ? 9 : decile]++;
	}
	for (int i = 0; i < 10; i++)
		ck_assert_double_eq_tol(below[i], DRAWS / 10.0, SIGMAS * sqrt(DRAWS * 0.09));
}
END_TEST

START_TEST(limits)
{
	for (int n = 0; n < 1000; n++) {
		ck_assert_int_eq(countdown_draw(1), 0);
		/* A distance less any size stays within 64 bits. */
		ck_assert(countdown_draw(UINT64_MAX) < INT64_MAX / 2);
	}
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("countdown");

	tcase_add_test(tests, mean_and_variance);
	tcase_add_test(tests, hit_with_the_right_probability);
	tcase_add_test(tests, quantiles);
	tcase_add_test(tests, limits);
	return unit_run("countdown", tests);
}
