/* SPDX-License-Identifier: Apache-2.0
 *
 * Does a group of a ledger grow to the end, or did it grow once and stay? Two kinds of chance stand
 * between the recorded blocks and the answer: which blocks were sampled, and what the program
 * happened to hold when we looked.
 *
 * The group's own time runs from its first allocation in the window to the end of user code, in
 * three parts; the first is for warming up. It is called growing when
 *   - the growth since the first part is more than sampling makes of a constant size once in a
 *     thousand times, and the growth within the last part once in two hundred: for blocks that are
 *     small against the sampling rate that is about ten more of them than were freed;
 *   - the least it held rises over eight equal stretches since the first part by far more than it
 *     ever falls from one to the next: what comes and goes goes up and down alike, and a growth of
 *     less than 4.5 times the root of twice the sum of the squared falls may be no more than that;
 *   - it never lost half as much as it grew: what is filled and emptied again is no leak;
 *   - it reached new heights at least three times, and in the last part at no less than 0.6 of its
 *     pace since the first: a cache that is nearly full grows ever more slowly. Its pace by the
 *     clock or, where the process allocates half as much elsewhere, by the bytes that it allocates:
 * a program that is given less time or less to do slows down its leaks. What these cannot tell
 * apart: a cache that fills evenly to the end from a leak; a leak that came in one or two steps
 * from a table. Where sessions last as long as a third of the window, some 5 in 100 windows of a
 * full recording look like growth; tests/unit/test_growth_zoo.c has how often each kind of program
 * is called growing. The variance of the growth between two times is that of the blocks which are
 * live at one of them only: what stays is the same in both.
 */
#ifndef SCPROF_GROWTH_H
#define SCPROF_GROWTH_H

#include "analyze/ledger.h"

enum growth_verdict {
	GROWTH_NONE,    /* nothing that sampling could not explain */
	GROWTH_ONCE,    /* it grew, but not to the end */
	GROWTH_GOES_ON, /* it grows to the end */
};

struct growth {
	enum growth_verdict verdict;
	double likelihood; /* that it goes on; 0 unless it goes on */
	double slope;      /* bytes per second, by least squares after the first part */
	double slope_variance;
	uint64_t first_growth_ns; /* when it first and last reached a new height */
	uint64_t last_growth_ns;
};

/* After ledger_finish. group is a timed one. */
struct growth growth_judge(const struct ledger *l, const struct ledger_group *group);
/* 95 % interval of a slope, also of several together. */
void growth_interval(double slope, double variance, double *low, double *high);

#endif
