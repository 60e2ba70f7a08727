/* SPDX-License-Identifier: Apache-2.0
 *
 * Trends of live bytes, see growth.h.
 */
#include "analyze/growth.h"

#include <math.h>
#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define MIN_STEPS 6u
#define MIN_RISES 3u
#define MIN_PACE 0.6 /* below it is slowing down */
#define MIN_TIME_PACE 0.2
#define FULL_PACE 0.8
#define MOST_LOST 0.5
#define STRETCHES 8u
#define Z_WANDER 4.5       /* few falls say little about how deep they are */
#define Z_SINCE_FIRST 3.09 /* one-sided: once in a thousand */
#define Z_LAST 2.6         /* once in two hundred */
#define Z_AT_ALL 1.96
#define Z_95 1.959963984540054
/* Least squares through a path of independent steps has 1.2 times the variance of its ends. */
#define PATH_VARIANCE 1.2

/* The group's own time, in steps. The least of each step is taken: what comes and goes within a
 * step is not what grows. */
struct course {
	double live[SERIES_STEPS];
	double variance[SERIES_STEPS];
	double kept[SERIES_STEPS];   /* variance of what was there at a step's end and stays */
	double volume[SERIES_STEPS]; /* allocated by the whole process up to a step's end */
	double end;                  /* live when user code ends */
	double end_variance;
	size_t first; /* step of the first growth */
	size_t count; /* steps up to the end of user code */
	double base;  /* before the window */
	double base_variance;
	double step_s;
};

/* A copy whose steps are as long as the clock's. Free its points. */
static struct series following(const struct series *series, const struct series_clock *clock)
{
	struct series copy = *series;

	copy.points = xmemdup(series->points, series->count * sizeof(*series->points));
	if (copy.count)
		series_follow(&copy, clock);
	return copy;
}

static struct course course_of(const struct ledger *l, const struct ledger_group *group)
{
	struct series_clock clock = *ledger_clock(l);
	struct course c = {
		.base = (double)group->series.first,
		.base_variance = (double)group->series.first_variance,
		.end = group->end.value,
		.end_variance = group->end.variance,
	};
	struct series live, kept, volume;

	c.count = series_clock_step(&clock, ledger_end_ns(l)) + 1;
	c.step_s = (double)(UINT64_C(1) << clock.shift) / 1e9;
	live = following(&group->series, &clock);
	kept = following(&group->kept, &clock);
	series_add_least(&live, SERIES_STEPS, c.live, c.variance);
	series_add_to(&kept, SERIES_STEPS, c.kept, NULL);
	volume = following(ledger_volume(l), &clock);
	series_add_to(&volume, SERIES_STEPS, c.volume, NULL);
	while (c.first < c.count && c.live[c.first] <= c.base)
		c.first++;
	/* The last step may reach beyond the end of user code. */
	if (c.first < c.count) {
		c.live[c.count - 1] = c.end;
		c.variance[c.count - 1] = c.end_variance;
	}
	free(live.points);
	free(kept.points);
	free(volume.points);
	return c;
}

/* Growth from a step to the end, and its variance: of what was there before the step and stays,
 * nothing. */
static double growth_since(const struct course *c, size_t step, double *variance)
{
	double kept = step > 0 ? c->kept[step - 1] : 0;

	*variance = fmax(0, c->variance[step] + c->end_variance - 2 * kept);
	return c->end - c->live[step];
}

/* What is no more than the rounding of floats counts as nothing. */
static bool is_certain(double growth, double variance, double scale, double z)
{
	return growth > 1e-6 * scale && growth >= z * sqrt(variance);
}

static double least(const struct course *c, size_t from, size_t to)
{
	double bytes = c->live[from];

	for (size_t i = from + 1; i < to; i++)
		bytes = fmin(bytes, c->live[i]);
	return bytes;
}

/* The most it lost again of a height it had reached. */
static double deepest_fall(const struct course *c, size_t from)
{
	double height = c->live[from];
	double fall = 0;

	for (size_t i = from + 1; i < c->count; i++) {
		height = fmax(height, c->live[i]);
		fall = fmax(fall, height - c->live[i]);
	}
	return fall;
}

/* What neither grows nor shrinks goes up and down alike: is the growth no more than that makes of
 * nothing? Looked at is the least of equal stretches, so that what is filled and emptied within one
 * is not taken for going down. */
static bool wanders(const struct course *c, size_t from)
{
	size_t steps = c->count - from;
	size_t stretches = steps < STRETCHES ? steps : STRETCHES;
	double first = least(c, from, from + steps / stretches);
	double last = first;
	double falls = 0;

	for (size_t i = 1; i < stretches; i++) {
		double bytes =
			least(c, from + steps * i / stretches, from + steps * (i + 1) / stretches);

		if (bytes < last)
			falls += (last - bytes) * (last - bytes);
		last = bytes;
	}
	/* As much for the rises as for the falls. */
	return last <= first || (last - first) * (last - first) < Z_WANDER * Z_WANDER * 2 * falls;
}

struct line {
	double slope;
	double residual_variance; /* of the slope, by what is left of the points */
};

/* Least squares. Neighbouring residuals are alike, so there are fewer of them than points. */
static struct line fit(const struct course *c, size_t from)
{
	double n = (double)(c->count - from);
	double time = 0, live = 0, times = 0, products = 0, squares = 0, lagged = 0, before = 0;
	struct line line = {0};
	double correlation;

	for (size_t i = from; i < c->count; i++) {
		time += (double)i / n;
		live += c->live[i] / n;
	}
	for (size_t i = from; i < c->count; i++) {
		times += ((double)i - time) * ((double)i - time);
		products += ((double)i - time) * (c->live[i] - live);
	}
	if (times <= 0)
		return line;
	line.slope = products / times;
	for (size_t i = from; i < c->count; i++) {
		double residual = c->live[i] - live - line.slope * ((double)i - time);

		squares += residual * residual;
		lagged += residual * before;
		before = residual;
	}
	correlation = squares > 0 ? fmin(fmax(lagged / squares, 0), 0.95) : 0;
	if (n > 2)
		line.residual_variance =
			squares / (n - 2) / times * (1 + correlation) / (1 - correlation);
	line.slope /= c->step_s;
	line.residual_variance /= c->step_s * c->step_s;
	return line;
}

static void fit_slope(const struct course *c, size_t from, struct growth *g)
{
	struct line line = fit(c, from);
	double time_s = (double)(c->count - 1 - from) * c->step_s;
	double variance;

	growth_since(c, from, &variance);
	g->slope = line.slope;
	if (time_s > 0)
		g->slope_variance =
			fmax(PATH_VARIANCE * variance / time_s / time_s, line.residual_variance);
}

/* Counts the steps that reached a new height and those that went down. */
static void count_steps(const struct course *c, size_t from, size_t *rises, size_t *falls)
{
	double height = 0;

	*rises = 0;
	*falls = 0;
	for (size_t i = c->first; i < c->count; i++) {
		double before = i > 0 ? c->live[i - 1] : c->base;

		if (i > from && c->live[i] > height)
			++*rises;
		if (i > from && c->live[i] < before)
			++*falls;
		height = fmax(height, c->live[i]);
	}
}

static void find_heights(const struct ledger *l, const struct ledger_group *group,
			 const struct course *c, struct growth *g)
{
	const struct series_clock *clock = ledger_clock(l);
	struct series series = following(&group->series, clock);
	double height = c->base;
	size_t first = 0, last = 0;

	for (uint16_t i = 0; i < series.count && series.points[i].step < c->count; i++) {
		if ((double)series.points[i].last <= height)
			continue;
		if (height <= c->base)
			first = series.points[i].step;
		last = series.points[i].step;
		height = (double)series.points[i].last;
	}
	free(series.points);
	g->first_growth_ns = clock->origin_ns + ((uint64_t)first << clock->shift);
	g->last_growth_ns = clock->origin_ns + ((uint64_t)(last + 1) << clock->shift);
	if (g->last_growth_ns > ledger_end_ns(l))
		g->last_growth_ns = ledger_end_ns(l);
}

/* How fast it grew in the last part, in the mean since the first: by the clock or, where that is
 * more, by the work that the process did meanwhile, which is what it allocated besides. A machine
 * that is busy, or a program with less to do, slows down a leak as well. */
static double pace_of(const struct course *c, size_t second, size_t third, double since_first,
		      double since_second)
{
	size_t last = c->count - 1;
	double growth = since_second / since_first;
	double by_time = growth * (double)(last - second) / (double)(last - third);
	double work = c->volume[last] - c->volume[second] - since_first;
	double work_second = c->volume[last] - c->volume[third] - since_second;

	if (by_time < MIN_TIME_PACE || 2 * work < since_first || work_second <= 0)
		return by_time;
	return fmax(by_time, growth * work / work_second);
}

/* The chance that the next change is upwards, by the changes seen so far, less where it slowed
 * down. What else the same lines allocate and free again says nothing about it. */
static double likelihood(size_t rises, size_t falls, double pace)
{
	return (double)(rises + 1) / (double)(rises + falls + 2) * fmin(1, pace / FULL_PACE);
}

struct growth growth_judge(const struct ledger *l, const struct ledger_group *group)
{
	struct growth g = {0};
	struct course c;
	double since_first, since_second, first_variance, second_variance, scale, pace;
	size_t length, second, third, rises, falls;

	if (group->series.count == 0)
		return g;
	c = course_of(l, group);
	if (c.end <= c.base || c.first >= c.count)
		return g;
	find_heights(l, group, &c, &g);
	length = c.count - c.first;
	second = c.first + length / 3;
	third = c.first + 2 * length / 3;
	scale = fmax(c.base, group->own_peak.value);
	if (is_certain(c.end - c.base, c.end_variance + c.base_variance, scale, Z_AT_ALL))
		g.verdict = GROWTH_ONCE;
	if (length < MIN_STEPS)
		return g;
	fit_slope(&c, second, &g);
	since_first = growth_since(&c, second, &first_variance);
	since_second = growth_since(&c, third, &second_variance);
	if (!is_certain(since_first, first_variance, scale, Z_SINCE_FIRST) ||
	    !is_certain(since_second, second_variance, scale, Z_LAST))
		return g;
	pace = pace_of(&c, second, third, since_first, since_second);
	count_steps(&c, second, &rises, &falls);
	if (wanders(&c, second) || deepest_fall(&c, second) >= MOST_LOST * since_first ||
	    rises < MIN_RISES || pace < MIN_PACE)
		return g;
	g.verdict = GROWTH_GOES_ON;
	g.likelihood = likelihood(rises, falls, pace);
	return g;
}

/* A slope that rests on few samples is as lopsided as they are. */
void growth_interval(double slope, double variance, double *low, double *high)
{
	const struct estimate e = {slope, 0, variance};

	if (slope > 0 && variance > 0 && variance > slope) {
		estimate_interval(&e, variance / slope, low, high);
		return;
	}
	*low = slope - Z_95 * sqrt(fmax(variance, 0));
	*high = slope + Z_95 * sqrt(fmax(variance, 0));
}
