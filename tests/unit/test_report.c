/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports on memory from a model made by hand: figures, evidence, widths, foreign text.
 */
#include <locale.h>

#include "analyze/report.h"
#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"
#include "analyze/report_plot.h"
#include "tests/unit/unit.h"

#define KIB 1024.0
#define MIB (1024 * KIB)
#define SECOND UINT64_C(1000000000)
#define POINTS 100
#define HOSTILE "ha\x1b[31mndle\xff`touch x`"

static const char source[] = "def load(n):\n"
			     "    return [bytes(1000) for _ in range(n)]\n"
			     "def handle(request):\n"
			     "    log.append(request.body)\n"
			     "main()\n";

struct fixture {
	struct model_view view;
	struct model_file files[2];
	struct model_function functions[4];
	struct model_line lines[3];
	struct model_node nodes[64];
	struct model_leak leaks[2];
	struct model_mark marks[2];
	struct model_memory_point points[POINTS];
	struct model_process process;
	struct model_thread thread;
	struct trace_header header;
	struct trace_text command[2];
	float steady[POINTS];
	float growing[POINTS];
};

static void add_line(struct fixture *f, uint32_t id, uint32_t function, int32_t number,
		     struct memory memory)
{
	struct model_line *line = &f->lines[id];

	line->function = function;
	line->line = number;
	line->self.memory = memory;
	line->self.cpu_ns = 20 * SECOND / 100;
	line->self.python_ns = line->self.cpu_ns;
	line->self.wall_ns = line->self.cpu_ns;
	line->self.samples = 200;
	line->self.cpu_square = 200e12;
	line->charged = line->self;
	line->cumulative = line->self;
	metrics_add(&f->functions[function].self, &line->self);
	metrics_add(&f->functions[function].cumulative, &line->self);
	metrics_add(&f->view.total, &line->self);
}

static void add_nodes(struct fixture *f)
{
	f->nodes[0] = (struct model_node){.function = UINT32_MAX, .thread = UINT32_MAX};
	f->nodes[1] = (struct model_node){.function = 0, .thread = UINT32_MAX, .line = 5};
	/* main calls itself 50 times, then one of the two. */
	for (uint32_t i = 2; i < 52; i++)
		f->nodes[i] = (struct model_node){
			.parent = i - 1, .function = 3, .thread = UINT32_MAX, .line = 5};
	f->nodes[52] =
		(struct model_node){.parent = 51, .function = 1, .thread = UINT32_MAX, .line = 2};
	f->nodes[53] =
		(struct model_node){.parent = 51, .function = 2, .thread = UINT32_MAX, .line = 4};
	f->nodes[52].self = f->lines[0].self;
	f->nodes[53].self = f->lines[1].self;
	f->view.node_count = 54;
	for (uint32_t i = 54; i-- > 1;) {
		metrics_add(&f->nodes[i].total, &f->nodes[i].self);
		metrics_add(&f->nodes[f->nodes[i].parent].total, &f->nodes[i].total);
	}
}

static void add_leaks(struct fixture *f)
{
	f->leaks[0] = (struct model_leak){
		.node = 53,
		.line = 1,
		.verdict = MODEL_LEAK_GROWING,
		.likelihood = 0.97,
		.growth_bytes_per_s = 2 * MIB,
		.growth_low = 1.8 * MIB,
		.growth_high = 2.2 * MIB,
		.live_bytes = 20 * MIB,
		.live_low = 18 * MIB,
		.live_high = 22 * MIB,
		.final_bytes = 1 * MIB,
		.allocated_bytes = 25 * MIB,
		.freed_bytes = 5 * MIB,
		.blocks_alive = 20000,
		.first_growth_ns = SECOND / 10,
		.last_growth_ns = 10 * SECOND,
		.youngest_ns = SECOND / 1000,
		.median_age_ns = 5 * SECOND,
		.oldest_ns = 9 * SECOND,
		.live = f->growing,
	};
	f->leaks[1] = (struct model_leak){
		.node = 52,
		.line = 0,
		.verdict = MODEL_LEAK_ONCE,
		.likelihood = 0.01,
		.live_bytes = 30 * MIB,
		.live_low = 29 * MIB,
		.live_high = 31 * MIB,
		.blocks_alive = 30000,
		.first_growth_ns = SECOND / 10,
		.last_growth_ns = SECOND,
		.live = f->steady,
	};
}

static void add_view(struct fixture *f)
{
	f->command[0] = unit_text("/usr/bin/python3");
	f->command[1] = unit_text("$(reboot) `reboot` \"x\\");
	f->header = (struct trace_header){
		.host = "box",
		.rate_hz = 1000,
		.wall = true,
		.memory_rate = 512 * 1024,
		.copy_rate = 2 * 1024 * 1024,
		.command = f->command,
		.command_count = 2,
		.directory = unit_text("/home/me"),
		.options = unit_text(""),
	};
	f->process = (struct model_process){
		.pid = 1, .parent = UINT32_MAX, .command = "python3", .python = "3.12.1"};
	f->thread = (struct model_thread){.tid = 1, .name = "MainThread"};
	f->process.total = f->view.total;
	f->thread.total = f->view.total;
	f->view.files = f->files;
	f->view.file_count = 2;
	f->view.functions = f->functions;
	f->view.function_count = 4;
	f->view.lines = f->lines;
	f->view.line_count = 3;
	f->view.nodes = f->nodes;
	f->view.threads = &f->thread;
	f->view.thread_count = 1;
	f->view.processes = &f->process;
	f->view.process_count = 1;
	f->view.leaks = f->leaks;
	f->view.leak_count = 2;
	f->view.marks = f->marks;
	f->view.mark_count = 2;
	f->view.header = &f->header;
	f->view.command = "/usr/bin/python3 '$(reboot) `reboot` \"x\\'";
	f->view.duration_ns = 10 * SECOND;
	f->view.quality.complete = true;
	f->view.memory = (struct model_memory){
		.recorded = true,
		.copies_recorded = true,
		.rate = 512 * 1024,
		.copy_rate = 2 * 1024 * 1024,
		.point_step_ns = SECOND / 10,
		.point_count = POINTS,
		.points = f->points,
		.peak_ns = 7 * SECOND,
		.end_ns = 10 * SECOND,
		.peak_bytes = 49 * MIB,
		.max_rss_bytes = 90 * MIB,
		.minor_faults = 12345,
	};
}

static void build(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->files[0] = (struct model_file){
		.path = "/home/me/a\x1b[2Jpp.py",
		.origin = MODEL_USER,
		.source = source,
		.source_size = sizeof(source) - 1,
	};
	f->files[1] = (struct model_file){.path = "", .origin = MODEL_NONE};
	f->functions[0] = (struct model_function){.name = "<module>", .first_line = 1};
	f->functions[1] = (struct model_function){.name = "load", .first_line = 1};
	f->functions[2] = (struct model_function){.name = HOSTILE, .first_line = 3};
	f->functions[3] = (struct model_function){.name = "main", .first_line = 5};
	add_line(f, 0, 1, 2,
		 (struct memory){
			 .events = 60,
			 .malloc_bytes = 31 * MIB,
			 .malloc_spread = {.variance = 16 * MIB * MIB},
			 .malloc_count = 31000,
			 .python_bytes = 31 * MIB,
			 .growth_bytes = 30 * MIB,
			 .gained = {30 * MIB, 0, 16 * MIB * MIB},
			 .peak_bytes = 30 * MIB,
			 .peak_spread = {.variance = 16 * MIB * MIB},
			 .own_peak_bytes = 30 * MIB,
			 .average_bytes = 28 * MIB,
		 });
	add_line(f, 1, 2, 4,
		 (struct memory){
			 .events = 50,
			 .malloc_bytes = 25 * MIB,
			 .malloc_spread = {.variance = 12 * MIB * MIB},
			 .malloc_count = 25000,
			 .growth_bytes = 20 * MIB,
			 .gained = {20 * MIB, 0, 9 * MIB * MIB},
			 .final_bytes = 1 * MIB,
			 .peak_bytes = 19 * MIB,
			 .peak_spread = {.variance = 9 * MIB * MIB},
			 .own_peak_bytes = 20 * MIB,
			 .temporary_bytes = 5 * MIB,
			 .temporary_count = 5000,
			 .copies = 9,
			 .copy_bytes = 100 * MIB,
			 .copy_spread = {.variance = 40 * MIB * MIB},
			 .read_bytes = 3 * MIB,
		 });
	/* Two samples: too thin to trust. */
	add_line(f, 2, 3, 5,
		 (struct memory){
			 .events = 2,
			 .malloc_bytes = 1 * MIB,
			 .malloc_spread = {.variance = 0.5 * MIB * MIB},
			 .malloc_count = 2,
			 .growth_bytes = -3 * MIB,
			 .lost = {3 * MIB, 0, 1 * MIB * MIB},
		 });
	for (int i = 0; i < POINTS; i++) {
		f->steady[i] = (float)((i < 10 ? 3 * i : 30) * MIB);
		f->growing[i] = (float)(0.2 * i * MIB);
		f->points[i].live_bytes = f->steady[i] + f->growing[i];
		f->points[i].peak_bytes = f->points[i].live_bytes;
		f->points[i].rss_bytes = f->points[i].live_bytes + 20 * MIB;
		f->points[i].cpu_ns = (double)SECOND / 20;
		f->points[i].copy_bytes = i % 3 * MIB;
		f->points[i].reserved_bytes = 64 * KIB * MIB;
	}
	f->lines[0].live = f->steady;
	f->lines[1].live = f->growing;
	f->marks[0] = (struct model_mark){
		.kind = TRACE_MARK_LABEL, .time_ns = SECOND, .label = "a `b` \"c\\\nEND\n\x1b[1m"};
	f->marks[1] = (struct model_mark){.kind = TRACE_MARK_FINALIZE, .time_ns = 10 * SECOND};
	add_nodes(f);
	add_leaks(f);
	add_view(f);
}

static char *render(const struct fixture *f, void (*print)(struct report *),
		    struct report_options options)
{
	struct report r;
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (options.min_percent == 0)
		options.min_percent = -1;
	report_init(&r, &f->view, &options, to);
	print(&r);
	fclose(to);
	return text;
}

static void check_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		ck_abort_msg("\"%s\" is not in\n%s", part, text);
}

START_TEST(test_bytes)
{
	static const struct {
		double bytes;
		const char *text;
	} cases[] = {
		{0, ""},
		{0.4, ""},
		{1, "1 B"},
		{1023, "1023 B"},
		{1024, "1.00 KB"},
		{-1536, "-1.50 KB"},
		{10230, "9.99 KB"},
		{10238, "10.0 KB"},
		{1023.4 * KIB, "1023 KB"},
		{1023.6 * KIB, "1.00 MB"},
		{345.6 * MIB, "346 MB"},
		{5.0 * 1024 * MIB, "5.00 GB"},
		{3.5 * 1024 * 1024 * MIB, "3.50 TB"},
		{-2.0 * MIB, "-2.00 MB"},
	};
	char text[FIGURE_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_str_eq(figure_bytes(text, cases[i].bytes), cases[i].text);
	ck_assert_str_eq(figure_bytes_range(text, 900 * KIB, 2 * MIB), "0.88-2.00 MB");
	ck_assert_str_eq(figure_bytes_range(text, -3 * MIB, -1 * MIB), "-3.00 to -1.00 MB");
	ck_assert_str_eq(figure_share(text, 1, 3), "33.3");
	ck_assert_str_eq(figure_share(text, 1, 0), "");
}
END_TEST

START_TEST(test_spark)
{
	const float ramp[] = {0, 1, 2, 3, 4, 5, 6, 7};
	struct report_options options = {.unicode = true};
	struct report r = {.options = &options};
	struct buf text = {0};
	float few[4];
	float many[16];

	spark_shrink(few, 4, ramp, 8);
	for (int i = 0; i < 4; i++)
		ck_assert(few[i] == (float)(2 * i + 1));
	spark_shrink(many, 16, ramp, 8);
	ck_assert(many[0] == 0 && many[15] == 7);
	spark_add(&text, &r, ramp, 8, 7);
	ck_assert_str_eq(buf_text(&text), " \u2582\u2583\u2584\u2585\u2586\u2587\u2588");
	buf_clear(&text);
	options.unicode = false;
	spark_add(&text, &r, ramp, 8, 7);
	ck_assert_str_eq(buf_text(&text), " .:-=+*#");
	spark_shrink(few, 4, NULL, 0);
	ck_assert(few[0] == 0 && few[3] == 0);
	buf_release(&text);
}
END_TEST

START_TEST(test_leak_evidence)
{
	struct fixture *f = malloc(sizeof(*f));
	char *text;

	build(f);
	text = render(f, report_leaks, (struct report_options){.unicode = true});
	check_has(text, "1. a?[2Jpp.py:4 in ha?[31mndle?`touch x`\n");
	check_has(text, "grows    2.00 MB/s (1.80-2.20 MB/s), likelihood 97 %\n");
	check_has(text, "live     20.0 MB (18.0-22.0 MB); 25.0 MB allocated, 5.00 MB freed\n");
	check_has(text, "blocks   20,000 alive, 1.0 ms to 9.00 s old, half of them over 5.00 s\n");
	check_has(text, "grew     from 100 ms to 10.0 s\n");
	check_has(text, "at exit  20.0 MB after user code, 1.00 MB at the very end: it was still "
			"referred to\n");
	check_has(text, "main (50 times)        \u2502 main()\n");
	check_has(text, "\u2502 log.append(request.body)\n");
	check_has(text, "Grew once, then stayed");
	check_has(text, "return [bytes(1000) for _ in range(n)]\n");
	ck_assert_ptr_null(strchr(text, '\x1b'));
	free(text);
	free(f);
}
END_TEST

START_TEST(test_leak_thresholds)
{
	struct fixture *f = malloc(sizeof(*f));
	struct report_options options = {.min_percent = -1};
	struct report r;
	size_t count;
	char *text;

	build(f);
	report_init(&r, &f->view, &options, stdout);
	ck_assert_ptr_eq(report_worst_leak(&r, 0, &count), &f->leaks[0]);
	ck_assert_uint_eq(count, 1);
	ck_assert_ptr_null(report_worst_leak(&r, 2 * MIB, &count));
	ck_assert_uint_eq(count, 0);
	options.min_leak_rate = 3 * MIB;
	ck_assert_ptr_null(report_worst_leak(&r, 0, &count));
	text = render(f, report_leaks, options);
	check_has(text, "nothing grew to the end by as much as --min-leak asks for");
	ck_assert_ptr_null(strstr(text, "Grew once"));
	free(text);
	options.min_leak_rate = 0;
	options.min_leak_bytes = 25 * MIB;
	ck_assert_ptr_null(report_worst_leak(&r, 0, &count));
	text = render(f, report_leaks, options);
	check_has(text, "Grew once");
	free(text);
	f->view.leak_count = 0;
	text = render(f, report_leaks, (struct report_options){0});
	check_has(text, "nothing grew to the end\n");
	check_has(text, "a leak of less than some 10.0 MB does not show;\n");
	free(text);
	f->view.memory.rate = 1;
	text = render(f, report_leaks, (struct report_options){0});
	check_has(text, "nothing grew to the end\n");
	ck_assert_ptr_null(strstr(text, "sampled"));
	free(text);
	free(f);
}
END_TEST

static size_t longest_line(const char *text)
{
	size_t longest = 0;

	while (*text) {
		const char *end = strchrnul(text, '\n');
		size_t width = report_width(text, (size_t)(end - text));

		longest = width > longest ? width : longest;
		text = *end ? end + 1 : end;
	}
	return longest;
}

/* Every section on memory fits a terminal, and keeps what it is about. */
START_TEST(test_widths)
{
	static const unsigned int sections[] = {
		REPORT_LINES,  REPORT_MEMORY,   REPORT_LEAKS,     REPORT_PEAK,    REPORT_TEMPORARY,
		REPORT_COPIES, REPORT_TIMELINE, REPORT_FUNCTIONS, REPORT_THREADS,
	};
	static const int widths[] = {80, 100, 120};
	struct fixture *f = malloc(sizeof(*f));

	build(f);
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		for (size_t k = 0; k < sizeof(widths) / sizeof(*widths); k++) {
			char *text = render(f, report_text,
					    (struct report_options){
						    .sections = sections[i],
						    .width = widths[k],
						    .unicode = k % 2,
						    .intervals = k > 1,
					    });
			ck_assert_msg(longest_line(text) <= (size_t)widths[k],
				      "%zu columns on %d:\n%s", longest_line(text), widths[k],
				      text);
			free(text);
		}
	}
	free(f);
}
END_TEST

START_TEST(test_line_columns)
{
	static const struct {
		int width;
		const char *titles;
	} cases[] = {
		{80, "  CPU %  Python     wall   alloc  peak % | "},
		{0, "  CPU %  Python     wall   alloc  peak %   growth  copy/s     live | "},
	};
	struct fixture *f = malloc(sizeof(*f));

	build(f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text =
			render(f, report_lines, (struct report_options){.width = cases[i].width});

		check_has(text, cases[i].titles);
		check_has(text, "1.00 MB~"); /* two samples */
		if (cases[i].width == 0)
			check_has(text, "-3.00 MB");
		free(text);
	}
	free(f);
}
END_TEST

START_TEST(test_timeline)
{
	struct fixture *f = malloc(sizeof(*f));
	char *text;

	build(f);
	text = render(f, report_timeline, (struct report_options){.width = 80});
	check_has(text, "peak of the heap   49.0 MB   after 7.00 s\n");
	check_has(text, "most RSS           69.8 MB   after 10.0 s\n");
	check_has(text, "heap then        49.8 MB");
	check_has(text, "the rest         20.0 MB");
	check_has(text, "in between       90.0 MB");
	check_has(text, "reserved           64.0 GB");
	check_has(text, "12,345");
	check_has(text, "end of user code\n");
	ck_assert_ptr_null(strchr(text, '\x1b'));
	free(text);
	/* Of an attached process there is only what the kernel says. */
	f->header.memory_rate = 0;
	f->view.memory.recorded = false;
	f->view.memory.peak_bytes = 0;
	text = render(f, report_timeline, (struct report_options){.width = 80});
	check_has(text, "most RSS           69.8 MB");
	ck_assert_ptr_null(strstr(text, "heap"));
	free(text);
	f->view.memory.point_count = 0;
	text = render(f, report_timeline, (struct report_options){0});
	check_has(text, "nothing was recorded over time");
	free(text);
	free(f);
}
END_TEST

/* Nobody's text becomes a command, whatever is in it. */
START_TEST(test_plot)
{
	struct fixture *f = malloc(sizeof(*f));
	struct report_options options = {.min_percent = -1, .width = 90};
	struct report r;
	char text[65536];

	build(f);
	report_init(&r, &f->view, &options, stdout);
	for (int kind = PLOT_MEMORY; kind <= PLOT_COPIES; kind++) {
		struct err err = {0};
		FILE *picture = report_plot(&r, (enum plot_kind)kind, PLOT_TEXT, &err);
		size_t size;

		if (!picture && strstr(err.text, "not installed")) {
			printf("skipped: gnuplot is not installed\n");
			break;
		}
		ck_assert_msg(picture != NULL, "%s", err.text);
		size = fread(text, 1, sizeof(text) - 1, picture);
		text[size] = 0;
		fclose(picture);
		check_has(text, "seconds since the start of the recording");
		check_has(text, "$(reboot) `reboot`");
		check_has(text, "a `b` 'c/?END");
		check_has(text, "end of user code");
		ck_assert_ptr_null(strchr(text, '\x1b'));
	}
	free(f);
}
END_TEST

/* A tree of processes as a trace may claim it: with circles, and parents that come later. */
START_TEST(test_process_tree)
{
	static const uint32_t parents[] = {UINT32_MAX, 0, 3, 2, 4, 6, 0, 99, 1, 6};
	static const uint32_t order[] = {0, 1, 8, 6, 5, 9, 7};
	static const uint32_t depth[] = {0, 1, 2, 1, 2, 2, 0};
	const size_t count = sizeof(parents) / sizeof(*parents);
	struct model_process processes[sizeof(parents) / sizeof(*parents)];
	struct fixture *f = malloc(sizeof(*f));
	struct report_options options = {.min_percent = -1};
	struct report_rows rows;
	struct report r;
	uint32_t *depths;
	bool seen[sizeof(parents) / sizeof(*parents)] = {false};

	build(f);
	for (uint32_t i = 0; i < count; i++)
		processes[i] = (struct model_process){
			.pid = (int32_t)i,
			.parent = parents[i],
			.start_ns = i,
			.command = "python3",
			.python = "3.12.1",
			.total = {.cpu_ns = i == 8 ? 5 : 1},
		};
	f->view.processes = processes;
	f->view.process_count = count;
	report_init(&r, &f->view, &options, stdout);

	rows = report_process_tree(&r, REPORT_NO_LIMIT, &depths);
	ck_assert_uint_eq(rows.count, count);
	ck_assert_uint_eq(rows.left_out, 0);
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		/* 4 is its own parent: it has none. */
		size_t at = i + (i == 6);

		ck_assert_uint_eq(rows.ids[at], order[i]);
		ck_assert_uint_eq(depths[at], depth[i]);
	}
	for (size_t i = 0; i < count; i++) {
		ck_assert(!seen[rows.ids[i]]);
		seen[rows.ids[i]] = true;
	}
	free(rows.ids);
	free(depths);

	/* The heaviest, and how one gets there. */
	rows = report_process_tree(&r, 1, NULL);
	ck_assert_uint_eq(rows.count, 3);
	ck_assert_uint_eq(rows.left_out, count - 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(rows.ids[i], order[i]);
	free(rows.ids);
	free(f);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("report");

	setlocale(LC_CTYPE, "C.UTF-8");
	tcase_add_test(tests, test_bytes);
	tcase_add_test(tests, test_spark);
	tcase_add_test(tests, test_leak_evidence);
	tcase_add_test(tests, test_leak_thresholds);
	tcase_add_test(tests, test_widths);
	tcase_add_test(tests, test_line_columns);
	tcase_add_test(tests, test_timeline);
	tcase_add_test(tests, test_plot);
	tcase_add_test(tests, test_process_tree);
	return unit_run("report", tests);
}
