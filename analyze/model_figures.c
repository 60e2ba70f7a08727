/* SPDX-License-Identifier: Apache-2.0
 *
 * The figures of a struct memory that are estimates, and their intervals.
 */
#include "analyze/model.h"

#include "formats/base/banned.h"

static struct estimate estimate_of(const struct memory *m, enum memory_figure figure)
{
	static const struct spread none;
	double value = memory_value(m, figure);

	switch (figure) {
	case MEMORY_VOLUME:
		return spread_estimate(value, &m->malloc_spread);
	case MEMORY_COUNT:
		return spread_estimate(value, &m->count_spread);
	case MEMORY_FREED:
		return spread_estimate(value, &m->free_spread);
	case MEMORY_GROWTH:
		break;
	case MEMORY_PEAK:
		return spread_estimate(value, &m->peak_spread);
	case MEMORY_OWN_PEAK:
		return spread_estimate(value, &m->own_peak_spread);
	case MEMORY_COPIED:
		return spread_estimate(value, &m->copy_spread);
	}
	return spread_estimate(value, &none);
}

double memory_value(const struct memory *m, enum memory_figure figure)
{
	switch (figure) {
	case MEMORY_VOLUME:
		return m->malloc_bytes;
	case MEMORY_COUNT:
		return m->malloc_count;
	case MEMORY_FREED:
		return m->free_bytes;
	case MEMORY_GROWTH:
		return m->growth_bytes;
	case MEMORY_PEAK:
		return m->peak_bytes;
	case MEMORY_OWN_PEAK:
		return m->own_peak_bytes;
	case MEMORY_COPIED:
		return m->copy_bytes;
	}
	return 0;
}

bool memory_interval(const struct memory *m, enum memory_figure figure,
		     const struct model_memory *how, double *low, double *high)
{
	const struct estimate e = estimate_of(m, figure);
	double rate = (double)(figure == MEMORY_COPIED ? how->copy_rate : how->rate);

	*low = e.value;
	*high = e.value;
	if (rate <= 1)
		return false;
	switch (figure) {
	case MEMORY_COUNT:
		estimate_interval(&e, ESTIMATE_BLOCKS, low, high);
		return e.value > 0;
	case MEMORY_GROWTH:
		estimate_difference_interval(&m->gained, &m->lost, rate, low, high);
		return true;
	case MEMORY_PEAK:
	case MEMORY_OWN_PEAK:
		estimate_peak_interval(&e, rate, low, high);
		return true;
	case MEMORY_VOLUME:
	case MEMORY_FREED:
	case MEMORY_COPIED:
		estimate_interval(&e, rate, low, high);
		return true;
	}
	return false;
}
