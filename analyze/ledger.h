/* SPDX-License-Identifier: Apache-2.0
 *
 * The books of one process's heap: fed with allocations and frees in the order in which they
 * happened, it knows at any time who holds how much, and in the end who allocated, who held the
 * peak, who grew. One pass, a few additions an event; memory grows with live blocks, sites and
 * groups, never with events. It knows nothing of traces, lines or stacks: a site is whoever is
 * charged for a block, a group is a set of sites that has a largest size of its own.
 *
 * Sampled blocks stand for weight = 1 / (1 - exp(-size / rate)) blocks like them. The bytes they
 * stand for are rounded to 1/256, so that sums come out exact: equal peaks are equal, what is freed
 * leaves nothing behind, and the sites' parts of the peak add up to it.
 */
#ifndef SCPROF_LEDGER_H
#define SCPROF_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/estimate.h"
#include "analyze/series.h"

#define LEDGER_NONE UINT32_MAX /* no site, no group, no thread */
#define LEDGER_SITE_GROUPS 3
#define LEDGER_APARTS 3 /* kinds of memory that are not the heap */

/* Time within the window that does not count: (from_ns, to_ns]. */
struct ledger_gap {
	uint64_t from_ns;
	uint64_t to_ns;
};

struct ledger_options {
	uint64_t from_ns; /* what is before it is known but not counted; 0: all counts */
	uint64_t to_ns;   /* what is after it is not looked at */
	const struct ledger_gap *gaps; /* in order; borrowed */
	size_t gap_count;
	uint64_t origin_ns; /* of the series */
	double rate;        /* mean bytes between samples; <= 1: every block is here */
	uint32_t temporary; /* k of "freed before the thread's next k allocations" */
	uint64_t brief_ns;  /* what lives no longer than that is brief */
};

/* The books of a site, a thread or everything. All but own_peak add up over sites, and over threads
 * as far as blocks have one. */
struct ledger_sum {
	uint64_t events; /* allocations in the window */
	struct estimate allocated;
	struct estimate count; /* of blocks, not bytes */
	double python;         /* of allocated */
	struct estimate freed; /* of blocks allocated here, whoever freed them */
	double temporary;
	double temporary_count;
	double brief;
	struct estimate live;
	double live_count;
	struct estimate base;   /* live when the window began, and what gaps added */
	struct estimate held;   /* live when the last gap began */
	struct estimate peak;   /* live when everything was largest; see ledger_peak */
	struct estimate end;    /* live when user code ended */
	struct estimate stayed; /* of what was live both when the window began and then */
	double end_count;
	double end_allocated; /* up to then */
	double end_freed;
	struct estimate own_peak;
	double byte_ns; /* live bytes times time, in the window */
	uint64_t last_ns;
	uint64_t peak_id;
};

/* Sites together, with a course over time when it was asked for. */
struct ledger_group {
	bool timed;
	uint32_t blocks; /* live ones that were recorded */
	struct estimate live;
	struct estimate own_peak;
	struct estimate end; /* live when user code ended */
	struct series series;
	/* Of the blocks that were live when user code ended: the variance of what was there of them
	 * already at each step. */
	struct series kept;
	double kept_variance;
	uint32_t kept_blocks;
	uint64_t oldest_ns; /* when they were allocated */
	uint64_t median_ns;
	uint64_t youngest_ns;
};

struct ledger;

struct ledger_alloc {
	uint64_t block;
	uint64_t size;
	uint64_t time_ns;
	uint32_t site;   /* LEDGER_NONE: a block that does not count, but can be freed */
	uint32_t thread; /* LEDGER_NONE: not known */
	bool exact;      /* stands for itself alone, whatever the rate */
	bool restored;   /* taken back after a realloc that failed: no new volume */
	bool python;
};

struct ledger *ledger_new(const struct ledger_options *options);
void ledger_free(struct ledger *l);

/* Ids are dense, in order of the calls. */
uint32_t ledger_add_group(struct ledger *l, bool timed);
/* groups may hold LEDGER_NONE. */
uint32_t ledger_add_site(struct ledger *l, const uint32_t groups[LEDGER_SITE_GROUPS]);
uint32_t ledger_add_thread(struct ledger *l);
/* The site of memory that is not the heap: it has a course over time and nothing else. */
uint32_t ledger_apart_site(uint32_t kind);

/* Events, in order; a time earlier than one before it counts as that one. A number that is live
 * already loses its old block. */
void ledger_allocated(struct ledger *l, const struct ledger_alloc *alloc);
void ledger_freed(struct ledger *l, uint64_t block, uint32_t thread, uint64_t time_ns);
/* The block lost a part: size bytes are left. */
void ledger_resized(struct ledger *l, uint64_t block, uint64_t size, uint64_t time_ns);
/* A free of the block comes soon. */
void ledger_expect_free(const struct ledger *l, uint64_t block);
/* User code ended at that time: may be told before or after later events; the last one counts. */
void ledger_user_ended(struct ledger *l, uint64_t time_ns);
/* Nothing comes any more. */
void ledger_finish(struct ledger *l, uint64_t time_ns);

/* The weight of a recorded block. */
double ledger_weight(double rate, uint64_t size);

/* After ledger_finish. */
const struct ledger_sum *ledger_total(const struct ledger *l);
const struct ledger_sum *ledger_site(const struct ledger *l, uint32_t site);
/* Its k-th group. */
uint32_t ledger_site_group(const struct ledger *l, uint32_t site, size_t k);
const struct ledger_sum *ledger_thread(const struct ledger *l, uint32_t thread);
const struct ledger_group *ledger_group(const struct ledger *l, uint32_t group);
/* All the heap, and the kinds apart. */
const struct ledger_group *ledger_all(const struct ledger *l);
const struct ledger_group *ledger_apart(const struct ledger *l, uint32_t kind);
/* All the bytes ever allocated in the window, over time. */
const struct series *ledger_volume(const struct ledger *l);
size_t ledger_site_count(const struct ledger *l);
const struct series_clock *ledger_clock(const struct ledger *l);
uint64_t ledger_peak_ns(const struct ledger *l);
uint64_t ledger_end_ns(const struct ledger *l);    /* of user code, or of the window */
uint64_t ledger_unknown(const struct ledger *l);   /* events of blocks that are not live */
size_t ledger_live_blocks(const struct ledger *l); /* recorded ones */

#endif
