/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model makes of the memory events of traces whose answers are known by construction.
 */
#include <math.h>

#include "analyze/model_state.h"
#include "tests/unit/trace_maker.h"
#include "tests/unit/unit.h"

#define APP "/home/me/project/app.py"
#define LIB "/usr/lib/python3.12/json/decoder.py"
#define REALTIME UINT64_C(1700000000000000000)

static struct maker maker;
static int trace_fd = -1;
static struct model *model;
static const struct model_view *view;
static struct model_options options;
/* Stacks: main at line 11; main -> work at 22; main -> work -> the library at 33. */
static uint32_t in_main, in_work, in_library;

static void start(uint64_t memory_rate)
{
	uint32_t at_main, work, library;

	trace_fd = unit_temporary();
	maker_open_rates(&maker, dup(trace_fd), REALTIME, memory_rate, memory_rate);
	maker_process(&maker, 0, 100, TRACE_NONE);
	maker_thread(&maker, 0, 0, 100, "");
	maker_thread(&maker, 1, 0, 101, "worker");
	at_main = maker_code(&maker, APP, "main", 10);
	work = maker_code(&maker, APP, "work", 20);
	library = maker_code(&maker, LIB, "decode", 30);
	in_main = maker_frame(&maker, 0, at_main, 1);
	in_work = maker_frame(&maker, in_main, work, 2);
	in_library = maker_frame(&maker, in_work, library, 3);
	options = (struct model_options){.filter = {.to_ns = UINT64_MAX}};
}

static void teardown(void)
{
	model_free(model);
	model = NULL;
	close(trace_fd);
}

static void close_to(double a, double b, const char *what)
{
	ck_assert_msg(fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b)), "%s: %g and %g", what, a, b);
}

static void same(const struct memory *a, const struct memory *b, bool live)
{
	ck_assert_uint_eq(a->events, b->events);
	ck_assert_uint_eq(a->copies, b->copies);
	close_to(a->malloc_bytes, b->malloc_bytes, "malloc");
	close_to(a->malloc_count, b->malloc_count, "count");
	close_to(a->python_bytes, b->python_bytes, "python");
	close_to(a->temporary_bytes, b->temporary_bytes, "temporary");
	close_to(a->copy_bytes, b->copy_bytes, "copies");
	if (!live)
		return;
	close_to(a->free_bytes, b->free_bytes, "freed");
	close_to(a->growth_bytes, b->growth_bytes, "growth");
	close_to(a->final_bytes, b->final_bytes, "final");
	close_to(a->peak_bytes, b->peak_bytes, "peak");
	close_to(a->average_bytes, b->average_bytes, "average");
}

/* Every figure that must agree with another, whatever the trace. */
static void check_sums(void)
{
	struct metrics sums[5] = {0};
	struct metrics threads = {0};

	for (size_t i = 0; i < view->node_count; i++)
		metrics_add(&sums[0], &view->nodes[i].self);
	for (size_t i = 0; i < view->line_count; i++) {
		metrics_add(&sums[1], &view->lines[i].self);
		metrics_add(&sums[2], &view->lines[i].charged);
	}
	for (size_t i = 0; i < view->function_count; i++)
		metrics_add(&sums[3], &view->functions[i].self);
	for (size_t i = 0; i < view->process_count; i++)
		metrics_add(&sums[4], &view->processes[i].total);
	for (size_t i = 0; i < 5; i++)
		same(&sums[i].memory, &view->total.memory, true);
	for (size_t i = 0; i < view->thread_count; i++)
		metrics_add(&threads, &view->threads[i].total);
	same(&threads.memory, &view->total.memory, true);
	close_to(view->total.memory.peak_bytes, view->memory.peak_bytes, "peak of all");
	close_to(view->total.memory.own_peak_bytes, view->memory.peak_bytes, "own peak of all");
}

static void build(void)
{
	struct err err = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", trace_fd);
	model = model_new(&options);
	ck_assert_msg(model_add_path(model, path, &err) == 0, "%s", err.text);
	model_finish(model);
	view = model_view(model);
	check_sums();
}

static void finish(uint64_t end_ns)
{
	maker_process_end(&maker, 0, end_ns, 0);
	maker_finish(&maker, end_ns);
}

static const struct model_line *line_of(const char *name, int32_t line)
{
	for (size_t i = 0; i < view->line_count; i++) {
		if (view->lines[i].line == line &&
		    strcmp(view->functions[view->lines[i].function].name, name) == 0)
			return &view->lines[i];
	}
	ck_abort_msg("no line %s:%d", name, line);
	return NULL;
}

/* 100 bytes for ever in main, 1000 in a library called by work, 50 in a thread without frames. */
static void small_trace(void)
{
	uint64_t block, other;

	start(1);
	maker_pass(&maker, 0, 10 * MS);
	maker_alloc(&maker, 0, in_main, 100);
	maker_pass(&maker, 0, 10 * MS); /* 20 */
	block = maker_alloc_as(&maker, 0, in_library, 1000, TRACE_HEAP_NATIVE, 0);
	maker_pass(&maker, 1, 30 * MS);
	other = maker_alloc(&maker, 1, 0, 50);
	maker_pass(&maker, 0, 20 * MS); /* 40 */
	maker_free(&maker, 0, block);
	maker_copy(&maker, 0, in_work, TRACE_COPY_MEMORY, 700);
	maker_copy(&maker, 0, in_work, TRACE_COPY_READ, 70);
	maker_pass(&maker, 0, 20 * MS); /* 60 */
	maker_alloc(&maker, 0, in_work, 7);
	maker_mark(&maker, 0, TRACE_MARK_FINALIZE, 65 * MS, "");
	maker_pass(&maker, 0, 10 * MS); /* 70 */
	maker_free(&maker, 0, other);
	finish(100 * MS);
}

START_TEST(lines_and_totals)
{
	const struct model_line *main_line, *work, *library, *none;
	const struct memory *total;

	small_trace();
	build();
	total = &view->total.memory;
	ck_assert(total->events == 4 && total->malloc_bytes == 1157 && total->malloc_count == 4);
	ck_assert(total->malloc_spread.variance == 0);
	ck_assert(total->python_bytes == 157);
	ck_assert(total->free_bytes == 1050);
	ck_assert(total->growth_bytes == 157 && total->final_bytes == 107);
	ck_assert(total->peak_bytes == 1150 && view->memory.peak_ns == 30 * MS);
	ck_assert(view->memory.end_ns == 65 * MS);
	ck_assert(total->temporary_bytes == 1000); /* the thread's next one is the 7 */
	ck_assert(total->copies == 1 && total->copy_bytes == 700 && total->read_bytes == 70);
	close_to(total->average_bytes, (90. * 100 + 20 * 1000 + 40 * 50 + 40 * 7) / 100, "average");
	main_line = line_of("main", 11);
	work = line_of("work", 22);
	library = line_of("decode", 33);
	none = line_of("<no Python frame>", 0);
	ck_assert(main_line->self.memory.peak_bytes == 100);
	ck_assert(main_line->self.memory.own_peak_bytes == 100);
	ck_assert(main_line->cumulative.memory.malloc_bytes == 1107);
	ck_assert(library->self.memory.malloc_bytes == 1000);
	ck_assert(library->charged.memory.malloc_bytes == 0);
	ck_assert(library->self.memory.own_peak_bytes == 1000);
	ck_assert(work->self.memory.malloc_bytes == 7);
	ck_assert(work->charged.memory.malloc_bytes == 1007);
	ck_assert(work->charged.memory.own_peak_bytes == 1000);
	ck_assert(work->self.memory.own_peak_bytes == 7);
	ck_assert(view->functions[work->function].self.memory.own_peak_bytes == 7);
	ck_assert(none->self.memory.growth_bytes == 50 && none->self.memory.final_bytes == 0);
	ck_assert(view->threads[0].total.memory.malloc_bytes == 1107);
	ck_assert(view->threads[1].total.memory.malloc_bytes == 50);
	ck_assert(view->threads[1].total.memory.free_bytes == 50);
	ck_assert(view->mark_count == 1 && view->marks[0].kind == TRACE_MARK_FINALIZE);
	ck_assert(view->memory.recorded && view->memory.copies_recorded && view->memory.rate == 1);
	teardown();
}
END_TEST

/* The step in which a time is. */
static size_t step_of(uint64_t time_ns)
{
	return (size_t)(time_ns / view->memory.point_step_ns);
}

START_TEST(over_time)
{
	const struct model_memory *v;
	const struct model_line *work;
	double volume = 0, copies = 0;

	small_trace();
	build();
	v = &view->memory;
	ck_assert(v->point_count > 64 && v->point_count <= 128);
	ck_assert(v->point_step_ns * v->point_count >= 100 * MS);
	ck_assert(v->points[step_of(15 * MS)].live_bytes == 100);
	ck_assert(v->points[step_of(25 * MS)].live_bytes == 1100);
	ck_assert(v->points[step_of(30 * MS)].peak_bytes == 1150);
	ck_assert(v->points[step_of(50 * MS)].live_bytes == 150);
	ck_assert(v->points[step_of(90 * MS)].live_bytes == 107);
	for (size_t i = 0; i < v->point_count; i++) {
		volume += v->points[i].malloc_bytes;
		copies += v->points[i].copy_bytes;
	}
	ck_assert(volume == 1157 && copies == 700);
	work = line_of("work", 22);
	ck_assert(work->live && work->live[step_of(25 * MS)] == 1000.f);
	ck_assert(work->live[step_of(90 * MS)] == 7.f);
	ck_assert(!line_of("decode", 33)->live);
	teardown();
}
END_TEST

START_TEST(filters)
{
	static const char *const worker[] = {"worker"}, *const library[] = {"decoder.py"};
	const struct memory *total;

	small_trace();
	options.filter.threads = worker;
	options.filter.thread_count = 1;
	build();
	ck_assert(view->total.memory.malloc_bytes == 50 && view->total.memory.peak_bytes == 50);
	ck_assert(view->total.memory.free_bytes == 50 && view->memory.unmatched == 0);
	model_free(model);

	options.filter.thread_count = 0;
	options.filter.files = library;
	options.filter.file_count = 1;
	build();
	ck_assert(view->total.memory.malloc_bytes == 1000 && view->total.memory.copies == 0);
	ck_assert(view->total.memory.peak_bytes == 1000);
	model_free(model);

	options.filter.file_count = 0;
	options.filter.from_ns = 25 * MS;
	options.filter.to_ns = 50 * MS;
	build();
	total = &view->total.memory;
	ck_assert(total->malloc_bytes == 50 && total->free_bytes == 1000);
	ck_assert(total->growth_bytes == -950 && total->peak_bytes == 1150);
	ck_assert(total->copy_bytes == 700);
	ck_assert(view->memory.points[0].live_bytes == 1100);
	close_to(total->average_bytes, (25. * 100 + 15 * 1000 + 20 * 50) / 25, "average");
	model_free(model);

	options.filter = (struct model_filter){.to_ns = UINT64_MAX, .gil_only = true};
	options.split_threads = true;
	build();
	ck_assert(view->total.memory.malloc_bytes == 1157);
	teardown();
}
END_TEST

START_TEST(sampled_blocks_and_processes)
{
	double weight = 1 / (1 - exp(-0.5));
	uint64_t block;

	start(1000);
	maker_process(&maker, 1, 200, 0);
	maker_thread(&maker, 2, 1, 200, "");
	maker_pass(&maker, 0, 10 * MS);
	block = maker_alloc(&maker, 0, in_main, 500);
	maker_alloc_as(&maker, 0, in_main, 64, TRACE_HEAP_ANONYMOUS, TRACE_HEAP_EXACT);
	maker_alloc_as(&maker, 0, in_main, 1 << 20, TRACE_HEAP_ARENA, TRACE_HEAP_EXACT);
	maker_alloc_as(&maker, 0, in_main, 1 << 30, TRACE_HEAP_RESERVED, TRACE_HEAP_EXACT);
	maker_pass(&maker, 0, 1 * MS);
	maker_free(&maker, 0, block);
	maker_footprint(&maker, 0, 20 * MS, 8 << 20);
	maker_pass(&maker, 2, 30 * MS);
	maker_alloc_as(&maker, 2, in_main, 100, TRACE_HEAP_ANONYMOUS, TRACE_HEAP_EXACT);
	maker_footprint(&maker, 1, 30 * MS, 4 << 20);
	maker_process_end(&maker, 1, 60 * MS, 0);
	finish(100 * MS);
	build();
	close_to(view->total.memory.malloc_bytes, 500 * weight + 164, "sampled bytes");
	close_to(view->total.memory.malloc_spread.variance, 500 * 500 * weight * (weight - 1),
		 "variance");
	close_to(view->total.memory.malloc_count, weight + 2, "count");
	/* Each process's own peak, though they were at different times. */
	close_to(view->memory.peak_bytes, 500 * weight + 164, "peaks");
	ck_assert(view->processes[1].total.memory.peak_bytes == 100);
	ck_assert(line_of("main", 11)->self.memory.own_peak_bytes == view->memory.peak_bytes);
	ck_assert(view->memory.points[step_of(50 * MS)].arena_bytes == 1 << 20);
	ck_assert(view->memory.points[step_of(50 * MS)].reserved_bytes == 1 << 30);
	ck_assert(view->memory.points[step_of(50 * MS)].rss_bytes == 12 << 20);
	ck_assert(view->memory.points[step_of(90 * MS)].rss_bytes == 8 << 20);
	ck_assert(view->memory.points[step_of(50 * MS)].live_bytes == 164);
	ck_assert(view->memory.points[step_of(90 * MS)].live_bytes == 64);
	ck_assert(view->memory.max_rss_bytes == 12 << 20);
	teardown();
}
END_TEST

/* A leak in the library on behalf of work, a cache that main fills at the start and frees at the
 * end, a loop in main that frees each turn, and a child that leaks at the same line. */
static void leaking_trace(void)
{
	uint64_t cache[20];

	start(1);
	maker_process(&maker, 1, 200, 0);
	maker_thread(&maker, 2, 1, 200, "");
	for (uint64_t i = 0; i < 1000; i++) {
		maker_pass(&maker, 0, 1 * MS);
		maker_pass(&maker, 2, 1 * MS);
		if (i < 200 && i % 10 == 0)
			cache[i / 10] = maker_alloc(&maker, 0, in_main, 5000);
		maker_free(&maker, 0, maker_alloc(&maker, 0, in_main, 100000));
		if (i % 3 == 0)
			maker_alloc(&maker, 0, in_library, 1000);
		if (i % 5 == 0)
			maker_alloc(&maker, 2, in_work, 100);
	}
	maker_mark(&maker, 0, TRACE_MARK_FINALIZE, 1000 * MS, "");
	maker_pass(&maker, 0, 1 * MS);
	for (size_t i = 0; i < 20; i++)
		maker_free(&maker, 0, cache[i]);
	maker_process_end(&maker, 1, 1001 * MS, 0);
	finish(1010 * MS);
}

START_TEST(leaks)
{
	static const char *const suppressed[] = {"^decode$"}, *const all[] = {"/home/*/app.py$"};
	const struct model_leak *leak;

	leaking_trace();
	build();
	ck_assert_uint_eq(view->leak_count, 2);
	leak = &view->leaks[0];
	ck_assert(leak->verdict == MODEL_LEAK_GROWING && leak->likelihood > 0.95);
	ck_assert(view->lines[leak->line].line == 22);
	ck_assert(view->nodes[leak->node].line == 33);
	ck_assert(leak->live_bytes == 334 * 1000 + 200 * 100 && leak->live_high == leak->live_low);
	ck_assert(leak->final_bytes == leak->live_bytes && leak->blocks_alive == 534);
	ck_assert(leak->allocated_bytes == leak->live_bytes && leak->freed_bytes == 0);
	ck_assert_double_eq_tol(leak->growth_bytes_per_s, 354000, 7000);
	ck_assert(leak->growth_low <= leak->growth_bytes_per_s);
	ck_assert(leak->growth_high < 1.1 * leak->growth_low);
	ck_assert(leak->first_growth_ns < 20 * MS && leak->last_growth_ns > 980 * MS);
	ck_assert(leak->youngest_ns <= 1 * MS && leak->oldest_ns >= 999 * MS);
	ck_assert_double_eq_tol((double)leak->median_age_ns, 5e8, 1e7);
	ck_assert(leak->live[step_of(500 * MS)] > 170000 && leak->live[step_of(500 * MS)] < 185000);
	leak = &view->leaks[1];
	ck_assert(leak->verdict == MODEL_LEAK_ONCE && view->lines[leak->line].line == 11);
	ck_assert(leak->live_bytes == 100000 && leak->final_bytes == 0);
	ck_assert(leak->last_growth_ns > 185 * MS && leak->last_growth_ns < 210 * MS);
	ck_assert(view->total.memory.leak_bytes == 334 * 1000 + 200 * 100);
	model_free(model);

	/* The user knows about the library's. */
	options.suppressions = suppressed;
	options.suppression_count = 1;
	build();
	ck_assert(view->leaks[0].verdict == MODEL_LEAK_GROWING);
	ck_assert(view->leaks[0].live_bytes == 20000);
	ck_assert(view->total.memory.leak_bytes == 20000);
	model_free(model);
	options.suppressions = all;
	build();
	ck_assert_uint_eq(view->leak_count, 0);
	model_free(model);

	/* Growth is that of the window. */
	options = (struct model_options){.filter = {.from_ns = 300 * MS, .to_ns = 600 * MS}};
	build();
	ck_assert(view->leak_count == 1);
	ck_assert_double_eq_tol(view->leaks[0].growth_bytes_per_s, 354000, 20000);
	ck_assert_double_eq_tol(view->total.memory.leak_bytes, 106000, 1000);
	teardown();
}
END_TEST

/* Whatever a trace says: sums agree, and nothing breaks. */
START_TEST(random_traces)
{
	uint64_t state = 88172645463325252u;

	for (int round = 0; round < 60; round++) {
		uint64_t blocks[2] = {0, 0};
		uint32_t stacks[4];

		start(round % 2 ? 1 : 5000);
		maker_process(&maker, 1, 200, 0);
		maker_thread(&maker, 2, 1, 200, "");
		stacks[0] = 0;
		stacks[1] = in_main;
		stacks[2] = in_work;
		stacks[3] = in_library;
		for (int i = 0; i < 400; i++) {
			uint32_t thread = (uint32_t)(unit_random(&state) % 3);
			uint64_t *count = &blocks[thread / 2];
			/* Up to a terabyte: sums of more than that are not exact. */
			uint64_t any = unit_random(&state);
			uint64_t size = any >> (24 + any % 40);
			uint32_t stack = stacks[unit_random(&state) % 4];
			uint64_t block = *count ? unit_random(&state) % *count : 0;

			/* Times go back between threads, and once far ahead. */
			maker_pass(&maker, thread,
				   i == 350 && round % 10 == 0 ? UINT64_C(1) << 60
							       : unit_random(&state) % (3 * MS));
			switch (unit_random(&state) % 8) {
			case 0:
				maker_resize(&maker, thread, block, size);
				break;
			case 1:
			case 2:
				maker_free(&maker, thread, block);
				break;
			case 3:
				maker_copy(&maker, thread, stack, any % TRACE_COPY_KINDS, size);
				break;
			case 4:
				if (i % 50 == 0)
					maker_mark(&maker, thread / 2, TRACE_MARK_FINALIZE,
						   maker.now_ns[thread], "");
				break;
			default:
				*count = 1 + maker_alloc_as(&maker, thread, stack, size,
							    any % TRACE_HEAP_KINDS, any >> 8 & 7);
			}
		}
		maker_process_end(&maker, 1, 200 * MS, 0);
		finish(500 * MS);
		options.split_threads = round % 3 == 0;
		options.temporary = (uint32_t)(round % 4);
		if (round % 5 == 0)
			options.filter.from_ns = 100 * MS;
		if (round % 7 == 0)
			options.filter.to_ns = 300 * MS;
		build();
		ck_assert(view->memory.point_count <= 128);
		teardown();
	}
}
END_TEST

START_TEST(suppression_patterns)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {
		{"load", "Cache.load_all", true},
		{"^load", "Cache.load_all", false},
		{"^Cache", "Cache.load_all", true},
		{"all$", "Cache.load_all", true},
		{"load$", "Cache.load_all", false},
		{"^Cache.load_all$", "Cache.load_all", true},
		{"^Cache$", "Cache.load_all", false},
		{"C*all", "Cache.load_all", true},
		{"^C*l$", "Cache.load_all", true},
		{"^a*l$", "Cache.load_all", false},
		{"*", "", true},
		{"a*b*c", "xaybzc", true},
		{"a*b*c", "xaybz", false},
		{"^*load*$", "Cache.load_all", true},
		{"aa$", "aaa", true},
		{"^aa$", "aaa", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(model_pattern_matches(cases[i].pattern, cases[i].text) ==
				      cases[i].matches,
			      "%s, %s", cases[i].pattern, cases[i].text);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("memory of the model");

	tcase_add_test(tests, lines_and_totals);
	tcase_add_test(tests, over_time);
	tcase_add_test(tests, filters);
	tcase_add_test(tests, sampled_blocks_and_processes);
	tcase_add_test(tests, leaks);
	tcase_add_test(tests, random_traces);
	tcase_add_test(tests, suppression_patterns);
	return unit_run("model_memory", tests);
}
