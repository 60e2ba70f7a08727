/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums over sampled blocks, and how far to trust them.
 *
 * A block of `size` bytes is recorded with probability p = 1 - exp(-size / rate) and then stands
 * for 1 / p blocks like it. So an estimate has two parts: what was seen, which is certain, and what
 * was not seen beside it, which is guessed. Only the guess has a variance.
 */
#ifndef SCPROF_ESTIMATE_H
#define SCPROF_ESTIMATE_H

struct estimate {
	double value;
	double seen;     /* of it: the blocks that were recorded, by themselves */
	double variance; /* sum over these of size * size * (1 - p) / (p * p) */
};

/* What there is to an estimate beside its value. */
struct spread {
	double seen;
	double variance;
};

/* The rate of what is counted in blocks, not in bytes. */
#define ESTIMATE_BLOCKS 0

void estimate_add(struct estimate *to, const struct estimate *from);
void estimate_subtract(struct estimate *from, const struct estimate *part);

/* 95 % interval of a sum of bytes that were sampled at that mean distance, or of blocks; see
 * estimate.c. rate <= 1, but not ESTIMATE_BLOCKS: all was recorded, the interval is the value. */
void estimate_interval(const struct estimate *e, double rate, double *low, double *high);
/* The same for one sum less another, of different blocks. */
void estimate_difference_interval(const struct estimate *gained, const struct estimate *lost,
				  double rate, double *low, double *high);

/* The same for the most of a sum that came and went. */
void estimate_peak_interval(const struct estimate *e, double rate, double *low, double *high);

static inline struct spread estimate_spread(const struct estimate *e)
{
	return (struct spread){e->seen, e->variance};
}

static inline struct estimate spread_estimate(double value, const struct spread *spread)
{
	return (struct estimate){value, spread->seen, spread->variance};
}

static inline void spread_add(struct spread *to, const struct spread *from)
{
	to->seen += from->seen;
	to->variance += from->variance;
}

#endif
