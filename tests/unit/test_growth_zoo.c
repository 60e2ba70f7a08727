/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs of every kind that people ask "does it leak?" about, each a list of events over two
 * seconds and over a minute, recorded in full and sampled: what they are called, many times over.
 * The seeds are fixed.
 */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>

#include "analyze/growth.h"
#include "tests/unit/unit.h"

#define RATE (512.0 * 1024)
#define KB 1024.0
#define MB (1024.0 * 1024)
#define SECOND 1e9
#define MOST_EVENTS (1u << 18)

static uint64_t state;

static double uniform(void)
{
	return ((double)(unit_random(&state) >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
}

static double exponential(double mean)
{
	return -mean * log(uniform());
}

/* ---- events --------------------------------------------------------------------------------- */

struct event {
	double time; /* seconds */
	double size; /* 0: a release */
	uint32_t block;
	uint32_t site;
};

static struct event events[MOST_EVENTS];
static size_t event_count;
static uint32_t block_count;
static double seconds; /* how long the program runs */
static uint32_t site;  /* 1: what is allocated is not asked about */

/* A block that lives from then to then, perhaps longer than the program. */
static void hold(double from, double to, double size)
{
	if (from >= seconds)
		return;
	ck_assert_uint_le(event_count + 2, MOST_EVENTS);
	events[event_count++] = (struct event){from, size, block_count, site};
	if (to < seconds)
		events[event_count++] = (struct event){to, 0, block_count, site};
	block_count++;
}

static void keep(double from, double size)
{
	hold(from, 2 * seconds, size);
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a;
	const struct event *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* Releases of blocks that were not sampled are not in the trace. */
static struct growth judge(double rate)
{
	struct ledger *l = ledger_new(&(struct ledger_options){.to_ns = UINT64_MAX, .rate = rate});
	uint32_t group = ledger_add_group(l, true);
	static uint64_t numbers[MOST_EVENTS];
	uint64_t next = 0;
	struct growth growth;

	memset(numbers, 0, block_count * sizeof(*numbers));
	ledger_add_site(l, (uint32_t[]){group, LEDGER_NONE, LEDGER_NONE});
	ledger_add_site(l, (uint32_t[]){LEDGER_NONE, LEDGER_NONE, LEDGER_NONE});
	for (size_t i = 0; i < event_count; i++) {
		const struct event *e = &events[i];
		uint64_t time_ns = (uint64_t)(e->time * SECOND) + 1;

		if (e->size > 0 && (rate <= 1 || uniform() < -expm1(-e->size / rate))) {
			numbers[e->block] = ++next;
			ledger_allocated(l, &(struct ledger_alloc){.block = next,
								   .size = (uint64_t)e->size,
								   .time_ns = time_ns,
								   .site = e->site,
								   .thread = LEDGER_NONE});
		} else if (e->size <= 0 && numbers[e->block]) {
			ledger_freed(l, numbers[e->block], LEDGER_NONE, time_ns);
		}
	}
	ledger_finish(l, (uint64_t)(seconds * SECOND));
	growth = growth_judge(l, ledger_group(l, group));
	ledger_free(l);
	return growth;
}

/* ---- the animals ---------------------------------------------------------------------------- */

/* `size` at each of so many requests over the whole run, not quite evenly. */
static void requests(double count, double from, double to, double size)
{
	for (double i = 0; i < count; i++)
		keep(seconds * (from + (to - from) * (i + uniform()) / count), size);
}

static void steady_leak(void)
{
	requests(4000, 0, 1, 8 * KB);
}

static void slow_leak(void)
{
	/* 1 KB at every second request of a thousand a second. */
	requests(seconds * 500, 0, 1, KB);
}

static void tiny_leak(void)
{
	requests(2000, 0, 1, 10);
}

static void leak_in_bursts(void)
{
	for (int burst = 0; burst < 12; burst++)
		requests(100, (burst + 0.5) / 12, (burst + 0.52) / 12, 64 * KB);
}

static void leak_that_begins_late(void)
{
	requests(1500, 0.75, 1, 32 * KB);
}

/* The line has work of its own from the start. */
static void leak_that_begins_late_beside_work(void)
{
	for (int i = 0; i < 3000; i++) {
		double at = seconds * i / 3000;

		hold(at, at + seconds / 300, 32 * KB);
	}
	requests(1500, 0.72, 1, 32 * KB);
}

static void leak_that_stops(void)
{
	requests(2000, 0.1, 0.6, 32 * KB);
}

static void cache_filled_once(void)
{
	requests(2000, 0.02, 0.3, 32 * KB);
}

static void imports(void)
{
	requests(2000, 0, 0.15, 8 * KB);
}

/* 1000 places, filled early, each request replaces the oldest. */
static void lru_at_its_limit(void)
{
	double mean = seconds / 20;

	for (int i = 0; i < 1000; i++) {
		double from = mean * (i + uniform()) / 1000;

		for (; from < seconds; from += mean)
			hold(from, from + mean, 32 * KB);
	}
}

/* A request in ten takes a new place of what is left of 1000: the last ones come ever later. */
static void cache_that_saturates(void)
{
	for (int i = 0; i < 1000; i++)
		keep(exponential(seconds / 5), 64 * KB);
}

/* Work at as many requests, each of which frees what it allocates. */
static void work(double at)
{
	site = 1;
	hold(at, at + seconds * 1e-4, 64 * KB);
	site = 0;
}

static void cache_that_saturates_beside_work(void)
{
	cache_that_saturates();
	for (int i = 0; i < 4000; i++)
		work(seconds * i / 4000);
}

/* What a busy machine does to a program. */
static void leak_that_is_slowed_down(void)
{
	for (int i = 0; i < 2000; i++) {
		double at = seconds * (1 - sqrt(1 - (i + uniform()) / 2000));

		keep(at, 64 * KB);
		work(at);
	}
}

static void dict_of_a_module(void)
{
	double room = 0;

	for (int i = 0; i < 6000; i++) {
		double at = seconds * (i + uniform()) / 6000;

		keep(at, 4 * KB);
		if (i < room)
			continue;
		/* Tables that double, each replaces the one before. */
		hold(at, seconds * (room > 0 ? 2 * room : 64) / 6000, 150 * fmax(room, 32));
		room = room > 0 ? 2 * room : 64;
	}
}

/* Fills for most of a period and is emptied; ends anywhere. */
static void sawtooth(double periods)
{
	double phase = uniform();

	for (int i = 0; i < 4000; i++) {
		double at = (double)i / 4000 * periods + phase;

		hold(seconds * i / 4000, seconds * (floor(at) + 1 - phase) / periods, 32 * KB);
	}
}

static void queue_that_drains(void)
{
	sawtooth(6);
}

static void queue_that_drains_twice(void)
{
	sawtooth(2.5);
}

static void cycles_of_the_collector(void)
{
	sawtooth(40);
}

/* Never less than before, underneath. */
static void leak_below_a_sawtooth(void)
{
	sawtooth(12);
	requests(1500, 0, 1, 32 * KB);
}

static void buffer_that_doubles(void)
{
	for (double at = 1.0 / 256; at < 1; at *= 2)
		hold(seconds * at, seconds * at * 2, 64 * MB * at);
}

static void buffer_that_grows_by_an_eighth(void)
{
	for (double at = 1e-3; at < 1; at *= 1.125)
		hold(seconds * at, seconds * at * 1.125, 64 * MB * at);
}

static void buffers_of_threads(void)
{
	for (int i = 0; i < 16; i++)
		keep(seconds * 0.01 * (i + uniform()), 4 * MB);
}

/* Requests come at random and take a random time; as many are in work as there are. */
static void sessions(double count, double lives)
{
	double mean = seconds / lives;

	for (double i = 0; i < count; i++)
		hold(0.02 * seconds * uniform(), exponential(mean), 32 * KB);
	for (double at = 0; at < seconds; at += exponential(mean / count))
		hold(at, at + exponential(mean), 32 * KB);
}

static void busy_daemon(void)
{
	sessions(100, 200);
}

static void slow_daemon(void)
{
	sessions(100, 8);
}

static void daemon_with_long_sessions(void)
{
	sessions(30, 3);
}

static void loop_that_frees(void)
{
	for (int i = 0; i < 4000; i++)
		hold(seconds * i / 4000, seconds * (i + 0.5) / 4000, MB);
}

/* ---- the zoo -------------------------------------------------------------------------------- */

#define RUNS 60
enum { FULL_SHORT, FULL_LONG, SAMPLED_SHORT, SAMPLED_LONG, WAYS };

static const struct animal {
	const char *name;
	void (*live)(void);
	int least[WAYS]; /* of 60 runs that are called growing, in each way */
	int most[WAYS];
	bool something; /* it is at least said to have grown */
} zoo[] = {
#define ALWAYS                 \
	{60, 60, 56, 56},      \
	{                      \
		60, 60, 60, 60 \
	}
#define NEVER              \
	{0, 0, 0, 0},      \
	{                  \
		0, 0, 1, 1 \
	}
#define RARELY             \
	{0, 0, 0, 0},      \
	{                  \
		3, 3, 3, 3 \
	}
	{"steady leak", steady_leak, ALWAYS, true},
	{"slow leak", slow_leak, {60, 60, 0, 57}, {60, 60, 1, 60}, false},
	{"tiny leak", tiny_leak, {60, 60, 0, 0}, {60, 60, 0, 0}, false},
	{"leak in bursts", leak_in_bursts, ALWAYS, true},
	{"leak that begins late", leak_that_begins_late, ALWAYS, true},
	{"leak that begins late beside work", leak_that_begins_late_beside_work, ALWAYS, true},
	{"leak that stops", leak_that_stops, NEVER, true},
	{"cache filled once", cache_filled_once, NEVER, true},
	{"imports", imports, NEVER, true},
	{"LRU cache at its limit", lru_at_its_limit, RARELY, true},
	/* With 3 samples in the last third where a leak had 40, it may still look like one. */
	{"cache that saturates", cache_that_saturates, {0, 0, 0, 0}, {0, 0, 7, 7}, true},
	{"cache that saturates beside work",
	 cache_that_saturates_beside_work,
	 {0, 0, 0, 0},
	 {0, 0, 7, 7},
	 true},
	{"leak that is slowed down", leak_that_is_slowed_down, ALWAYS, true},
	{"dict of a module", dict_of_a_module, ALWAYS, true},
	{"queue that drains", queue_that_drains, RARELY, false},
	{"queue that drains twice", queue_that_drains_twice, RARELY, false},
	{"cycles of the collector", cycles_of_the_collector, RARELY, false},
	{"leak below a sawtooth", leak_below_a_sawtooth, {60, 60, 50, 50}, {60, 60, 60, 60}, true},
	{"buffer that doubles", buffer_that_doubles, NEVER, true},
	{"buffer that grows by an eighth", buffer_that_grows_by_an_eighth, ALWAYS, true},
	{"buffers of threads", buffers_of_threads, NEVER, true},
	{"busy daemon", busy_daemon, RARELY, false},
	{"slow daemon", slow_daemon, RARELY, false},
	/* A third of the window is too long to tell. */
	{"daemon with long sessions", daemon_with_long_sessions, {0, 0, 0, 0}, {7, 7, 3, 3}, false},
	{"loop that frees", loop_that_frees, NEVER, false},
};

START_TEST(each_is_called_what_it_is)
{
	const struct animal *a = &zoo[_i];

	for (int way = 0; way < WAYS; way++) {
		double rate = way < SAMPLED_SHORT ? 1 : RATE;
		int growing = 0, nothing = 0;

		state = 88172645463325252u + (uint64_t)(16 * _i + way);
		seconds = way == FULL_SHORT || way == SAMPLED_SHORT ? 2 : 60;
		for (int run = 0; run < (UNIT_SANITIZED ? 2 : RUNS); run++) {
			struct growth g;

			event_count = 0;
			block_count = 0;
			a->live();
			qsort(events, event_count, sizeof(*events), compare_events);
			g = judge(rate);
			growing += g.verdict == GROWTH_GOES_ON;
			nothing += g.verdict == GROWTH_NONE;
			ck_assert((g.likelihood > 0) == (g.verdict == GROWTH_GOES_ON));
		}
		if (UNIT_SANITIZED) /* The figures are for RUNS, and these take minutes. */
			continue;
		ck_assert_msg(growing >= a->least[way] && growing <= a->most[way],
			      "%s, way %d: growing in %d of %d", a->name, way, growing, RUNS);
		ck_assert_msg(!a->something || nothing <= RUNS / 20, "%s, way %d: nothing in %d",
			      a->name, way, nothing);
	}
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("growth zoo");

	/* Thousands of ledgers one after the other: keep their memory. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	tcase_set_timeout(tests, 300);
	tcase_add_loop_test(tests, each_is_called_what_it_is, 0, sizeof(zoo) / sizeof(*zoo));
	return unit_run("growth zoo", tests);
}
