/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on metrics.
 */
#include <math.h>

#include "analyze/model.h"

#include "formats/base/banned.h"

#define Z_95 1.959963984540054 /* of the normal distribution, two-sided */

uint64_t metrics_weight(const struct metrics *m, enum model_weight weight)
{
	return weight == MODEL_WALL ? m->wall_ns : m->cpu_ns;
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
}

/* The samples' weights differ: each stands for the CPU time since the one before. The variance of a
 * share of weighted samples is ((1 - p)^2 * inside + p^2 * outside) / whole^2 with the sums of the
 * squared weights inside and outside; Wilson's interval is taken for as many equal samples as have
 * the same variance. */
static double effective_samples(double share, double inside, const struct metrics *whole)
{
	double total = (double)whole->cpu_ns;
	double outside = whole->cpu_square - inside;
	double variance;

	if (outside < 0)
		outside = 0;
	variance = (1 - share) * (1 - share) * inside + share * share * outside;
	if (share <= 0 || share >= 1 || variance <= 0)
		return total * total / whole->cpu_square;
	return share * (1 - share) * total * total / variance;
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
