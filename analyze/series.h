/* SPDX-License-Identifier: Apache-2.0
 *
 * A value over time: at the end of each of at most SERIES_STEPS equal steps, its largest within
 * each, and the smallest that lasted: a moment between a free and the allocation that follows it
 * does not count. When time goes on past the last step, all steps become twice as long. Only
 * steps in which the value was set take memory, so that the many that are set rarely stay small.
 * Zeroed structs are ready for use.
 */
#ifndef SCPROF_SERIES_H
#define SCPROF_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIES_STEPS 128u
#define SERIES_FIRST_SHIFT 16u /* a step begins at 65 us */
#define SERIES_LASTS 5         /* what holds for a 32nd of a step lasts */

/* Which step it is: shared by all the series that belong together. */
struct series_clock {
	uint64_t origin_ns;
	uint32_t shift; /* steps are 1 << shift ns long, once series_clock_step was called */
};

struct series_point {
	uint32_t step;
	float last;     /* at the end of the step */
	float max;      /* within it */
	float min;      /* INFINITY: none lasted yet */
	float variance; /* at the smallest */
	float last_variance;
};

struct series {
	struct series_point *points; /* in order of steps */
	uint16_t count;
	uint16_t capacity;
	uint8_t shift;     /* of the points' steps: follows the clock's when the series is used */
	uint64_t since_ns; /* of the present value */
	float first;       /* the value before the first point */
	float first_variance;
};

/* The step in which time_ns lies; may make the clock's steps longer. Times before the origin are in
 * the first step. */
uint32_t series_clock_step(struct series_clock *clock, uint64_t time_ns);

void series_release(struct series *s);
/* For series_set alone: the value in the present step, and what else can happen. */
static inline bool series_has_lasted(const struct series *s, uint64_t time_ns)
{
	return time_ns >= s->since_ns &&
	       time_ns - s->since_ns >= UINT64_C(1) << s->shift >> SERIES_LASTS;
}

static inline void series_lower(struct series_point *point, float value, float variance)
{
	if (value <= point->min) {
		point->min = value;
		point->variance = variance;
	}
}

static inline void series_change(struct series *s, struct series_point *point, uint64_t time_ns,
				 double value, double variance)
{
	if (series_has_lasted(s, time_ns))
		series_lower(point, point->last, point->last_variance);
	s->since_ns = time_ns;
	point->last = (float)value;
	point->last_variance = (float)variance;
	if (point->last > point->max)
		point->max = point->last;
}

void series_go_on(struct series *s, const struct series_clock *clock, uint32_t step,
		  uint64_t time_ns, double value, double variance);

/* The value is `value` from time_ns on, which is in that step of the clock and not before the time
 * of the last call. */
static inline void series_set(struct series *s, const struct series_clock *clock, uint32_t step,
			      uint64_t time_ns, double value, double variance)
{
	struct series_point *point = s->points + s->count - (s->count > 0);

	if (s->count && s->shift == clock->shift && point->step >= step)
		series_change(s, point, time_ns, value, variance);
	else
		series_go_on(s, clock, step, time_ns, value, variance);
}
/* Makes the steps as long as the clock's. */
void series_follow(struct series *s, const struct series_clock *clock);
/* Adds the value at the end of each step to last[] and the largest within it to max[]; each has
 * `count` items or is NULL. The last point's value stays until the end. */
void series_add_to(const struct series *s, size_t count, double *last, double *max);
/* The same for the smallest values and their variances. */
void series_add_least(const struct series *s, size_t count, double *min, double *variance);

/* A sum for each step, whatever the order in which its parts come. */
struct series_bins {
	struct series_clock clock;
	double sums[SERIES_STEPS];
};

void series_bins_add(struct series_bins *b, uint64_t time_ns, double value);
/* Makes the steps as long as the clock's, which must have the same origin. */
void series_bins_follow(struct series_bins *b, const struct series_clock *clock);

#endif
