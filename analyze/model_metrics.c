/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on metrics.
 */
#include <math.h>

#include "analyze/model.h"

#include "formats/base/banned.h"

#define Z_95 1.959963984540054 /* of the normal distribution, two-sided */

static uint64_t whole_bytes(double bytes)
{
	if (!(bytes > 0))
		return 0;
	return bytes < 0x1p63 ? (uint64_t)(bytes + 0.5) : (uint64_t)1 << 63;
}

uint64_t metrics_weight(const struct metrics *m, enum model_weight weight)
{
	const struct memory *memory = &m->memory;

	switch (weight) {
	case MODEL_WALL:
		return m->wall_ns;
	case MODEL_MALLOC:
		return whole_bytes(memory->malloc_bytes);
	case MODEL_PEAK:
		return whole_bytes(memory->peak_bytes);
	case MODEL_LIVE:
		return whole_bytes(memory->growth_bytes);
	case MODEL_LEAKS:
		return whole_bytes(memory->leak_bytes);
	case MODEL_TEMPORARY:
		return whole_bytes(memory->temporary_bytes);
	case MODEL_COPIES:
		return whole_bytes(memory->copy_bytes);
	case MODEL_CPU:
	case MODEL_WEIGHTS:
		break;
	}
	return m->cpu_ns;
}

static void memory_add(struct memory *to, const struct memory *from)
{
	to->events += from->events;
	to->malloc_bytes += from->malloc_bytes;
	spread_add(&to->malloc_spread, &from->malloc_spread);
	to->malloc_count += from->malloc_count;
	spread_add(&to->count_spread, &from->count_spread);
	to->python_bytes += from->python_bytes;
	to->free_bytes += from->free_bytes;
	spread_add(&to->free_spread, &from->free_spread);
	to->temporary_bytes += from->temporary_bytes;
	to->temporary_count += from->temporary_count;
	to->brief_bytes += from->brief_bytes;
	to->growth_bytes += from->growth_bytes;
	estimate_add(&to->gained, &from->gained);
	estimate_add(&to->lost, &from->lost);
	to->final_bytes += from->final_bytes;
	to->peak_bytes += from->peak_bytes;
	spread_add(&to->peak_spread, &from->peak_spread);
	to->average_bytes += from->average_bytes;
	to->copies += from->copies;
	to->copy_bytes += from->copy_bytes;
	spread_add(&to->copy_spread, &from->copy_spread);
	to->read_bytes += from->read_bytes;
	to->write_bytes += from->write_bytes;
	to->leak_bytes += from->leak_bytes;
}

void metrics_add(struct metrics *to, const struct metrics *from)
{
	to->samples += from->samples;
	to->cpu_ns += from->cpu_ns;
	to->python_ns += from->python_ns;
	to->native_ns += from->native_ns;
	to->system_ns += from->system_ns;
	to->wall_ns += from->wall_ns;
	for (int i = 0; i < TRACE_WAIT_KINDS; i++)
		to->wait_ns[i] += from->wait_ns[i];
	to->unsure_ns += from->unsure_ns;
	to->cpu_square += from->cpu_square;
	memory_add(&to->memory, &from->memory);
}

/* As many equal samples as would have this variance, for a share of p. The sums are of the squared
 * weights inside and outside. */
static double worth_of(double p, double inside, double outside, double total)
{
	double variance = (1 - p) * (1 - p) * inside + p * p * outside;

	return p * (1 - p) * total * total / variance;
}

/* The samples' weights differ: each stands for the CPU time since the one before. The variance of a
 * share of weighted samples is ((1 - p)^2 * inside + p^2 * outside) / whole^2; Wilson's interval is
 * taken for as many equal samples as have the same. Where one sample outweighs the others, the
 * share that is seen is of its making: so p is also tried drawn towards a half, as by Wilson for as
 * many samples as the weights are worth (Kish), and the less certain of the two holds.
 *
 * Held, by simulation (tests/unit/test_model_metrics.c): 93 to 97 in 100 for 50 samples and more of
 * like weights; 87 and more with another one that has half of the weight. */
static double effective_samples(double share, double inside, const struct metrics *whole)
{
	double total = (double)whole->cpu_ns;
	double outside = fmax(0, whole->cpu_square - inside);
	double kish = total * total / whole->cpu_square;
	double drawn = (share + Z_95 * Z_95 / (2 * kish)) / (1 + Z_95 * Z_95 / kish);

	if (share <= 0 || share >= 1 || inside + outside <= 0)
		return kish;
	return fmin(worth_of(share, inside, outside, total),
		    worth_of(drawn, inside, outside, total));
}

void metrics_part_interval(uint64_t part_ns, const struct metrics *m, const struct metrics *whole,
			   double *low_ns, double *high_ns)
{
	double total = (double)whole->cpu_ns;
	double share = total > 0 ? fmin(1, (double)part_ns / total) : 0;
	double inside = 0;
	double n;
	double scale;
	double centre;
	double half;

	*low_ns = 0;
	*high_ns = total;
	if (whole->cpu_square <= 0)
		return;
	if (m->cpu_ns > 0)
		inside = m->cpu_square * fmin(1, (double)part_ns / (double)m->cpu_ns);
	n = effective_samples(share, inside, whole);
	scale = 1 + Z_95 * Z_95 / n;
	centre = (share + Z_95 * Z_95 / (2 * n)) / scale;
	half = Z_95 * sqrt(share * (1 - share) / n + Z_95 * Z_95 / (4 * n * n)) / scale;
	/* The ends are exact where the formula only comes close. */
	*low_ns = share > 0 ? fmax(0, centre - half) * total : 0;
	*high_ns = share < 1 ? fmin(1, centre + half) * total : total;
}

void metrics_interval(const struct metrics *m, const struct metrics *whole, double *low_ns,
		      double *high_ns)
{
	metrics_part_interval(m->cpu_ns, m, whole, low_ns, high_ns);
}
