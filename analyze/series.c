/* SPDX-License-Identifier: Apache-2.0
 *
 * Values over time in steps, see series.h.
 */
#include "analyze/series.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

uint32_t series_clock_step(struct series_clock *clock, uint64_t time_ns)
{
	uint64_t since = time_ns > clock->origin_ns ? time_ns - clock->origin_ns : 0;

	if (clock->shift < SERIES_FIRST_SHIFT)
		clock->shift = SERIES_FIRST_SHIFT;
	while (since >> clock->shift >= SERIES_STEPS)
		clock->shift++;
	return (uint32_t)(since >> clock->shift);
}

void series_release(struct series *s)
{
	free(s->points);
	*s = (struct series){0};
}

/* Each two neighbouring steps become one. */
static void halve(struct series *s, uint32_t times)
{
	uint16_t count = 0;

	for (uint16_t i = 0; i < s->count; i++) {
		struct series_point point = s->points[i];

		point.step >>= times;
		if (count && s->points[count - 1].step == point.step) {
			const struct series_point *before = &s->points[count - 1];

			point.max = fmaxf(point.max, before->max);
			series_lower(&point, before->min, before->variance);
			count--;
		}
		s->points[count++] = point;
	}
	s->count = count;
}

void series_follow(struct series *s, const struct series_clock *clock)
{
	uint32_t times = clock->shift - s->shift;

	if (times == 0)
		return;
	s->shift = (uint8_t)clock->shift;
	halve(s, times < 31 ? times : 31);
}

void series_go_on(struct series *s, const struct series_clock *clock, uint32_t step,
		  uint64_t time_ns, double value, double variance)
{
	struct series_point *point = s->count ? &s->points[s->count - 1] : NULL;
	float before = point ? point->last : s->first;
	float before_variance = point ? point->last_variance : s->first_variance;
	bool lasted;

	if (s->shift != clock->shift) {
		if (s->count)
			series_follow(s, clock);
		s->shift = (uint8_t)clock->shift;
		point = s->count ? &s->points[s->count - 1] : NULL;
	}
	if (point && point->step >= step) {
		series_change(s, point, time_ns, value, variance);
		return;
	}
	lasted = series_has_lasted(s, time_ns);
	if (point && lasted)
		series_lower(point, before, before_variance);
	s->since_ns = time_ns;
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? (uint16_t)(s->capacity * 2) : 4;
		s->points = xrealloc(s->points, s->capacity * sizeof(*s->points));
	}
	s->points[s->count++] = (struct series_point){
		.step = step,
		.last = (float)value,
		.max = fmaxf(before, (float)value),
		.min = lasted ? before : INFINITY,
		.variance = before_variance,
		.last_variance = (float)variance,
	};
}

/* The points of all steps, one by one: start with *at = 0. */
static struct series_point step_point(const struct series *s, size_t step, uint16_t *at)
{
	struct series_point before = {
		.last = s->first,
		.last_variance = s->first_variance,
	};

	if (*at < s->count && s->points[*at].step == step) {
		before = s->points[(*at)++];
		/* What nothing follows lasts. */
		if (*at == s->count || isinf(before.min))
			series_lower(&before, before.last, before.last_variance);
		return before;
	}
	if (*at > 0)
		before = s->points[*at - 1];
	before.max = before.min = before.last;
	before.variance = before.last_variance;
	return before;
}

void series_add_to(const struct series *s, size_t count, double *last, double *max)
{
	uint16_t at = 0;

	for (size_t step = 0; step < count; step++) {
		struct series_point point = step_point(s, step, &at);

		if (last)
			last[step] += (double)point.last;
		if (max)
			max[step] += (double)point.max;
	}
}

void series_add_least(const struct series *s, size_t count, double *min, double *variance)
{
	uint16_t at = 0;

	for (size_t step = 0; step < count; step++) {
		struct series_point point = step_point(s, step, &at);

		min[step] += (double)point.min;
		variance[step] += (double)point.variance;
	}
}

void series_bins_follow(struct series_bins *b, const struct series_clock *clock)
{
	for (; b->clock.shift && b->clock.shift < clock->shift; b->clock.shift++) {
		for (size_t i = 0; i < SERIES_STEPS / 2; i++)
			b->sums[i] = b->sums[2 * i] + b->sums[2 * i + 1];
		for (size_t i = SERIES_STEPS / 2; i < SERIES_STEPS; i++)
			b->sums[i] = 0;
	}
}

void series_bins_add(struct series_bins *b, uint64_t time_ns, double value)
{
	struct series_clock clock = b->clock;
	uint32_t step = series_clock_step(&clock, time_ns);

	series_bins_follow(b, &clock);
	b->clock = clock;
	b->sums[step] += value;
}
