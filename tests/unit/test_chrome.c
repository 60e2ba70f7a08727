/* SPDX-License-Identifier: Apache-2.0
 *
 * The counters and marks of a Chrome trace, on a model made by hand, and slices that other programs
 * could mistake for each other. Slices as such are tested with the other exports.
 */
#include <check.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "convert/exporter.h"

#define MS 1000000ull
#define SPENT(ms)                                                   \
	{                                                           \
		.samples = 1, .cpu_ns = (ms)*MS, .wall_ns = (ms)*MS \
	}
#define SECOND SPENT(1000)
#define ROOT                                                                  \
	{                                                                     \
		.function = UINT32_MAX, .thread = UINT32_MAX, .total = SECOND \
	}

static const struct model_memory_point points[] = {
	{.live_bytes = 1 << 20, .peak_bytes = 5 << 20, .copy_bytes = 1 << 19},
	{.live_bytes = 3 << 20, .peak_bytes = 3 << 20, .copy_bytes = 1 << 19},
	{.live_bytes = 3 << 20, .peak_bytes = 4 << 20},
};
static const struct model_mark marks[] = {
	{.kind = TRACE_MARK_START, .label = ""}, /* before the view begins */
	{.kind = TRACE_MARK_LABEL, .time_ns = 1025 * MS, .label = "load \"all\""},
	{.kind = TRACE_MARK_FINALIZE, .time_ns = 2500 * MS, .label = ""},
};
static const struct model_file file = {.path = "app.py"};
static const struct model_function functions[] = {
	{.name = "main"}, {.name = "load"}, {.name = "run"}};
static const struct model_process process = {.pid = 4242, .command = "python3 app.py"};

/* One second of main, of which these nodes have equal parts one after the other. */
static char *write_chrome(const struct model_node *nodes, uint32_t node_count,
			  const uint32_t *parts, size_t part_count)
{
	const struct exporter *exporter = exporter_find("chrome");
	const struct export_options options = {.traces = 1};
	const struct model_thread thread = {.tid = 4242, .name = "MainThread", .total = SECOND};
	struct model_view view = {
		.files = &file,
		.file_count = 1,
		.functions = functions,
		.function_count = 3,
		.nodes = nodes,
		.node_count = node_count,
		.threads = &thread,
		.thread_count = 1,
		.processes = &process,
		.process_count = 1,
		.memory = {.points = points, .point_count = 3, .point_step_ns = 500 * MS},
		.marks = marks,
		.mark_count = 3,
		.total = SECOND,
		.start_ns = 1000 * MS,
		.weight = MODEL_CPU,
	};
	void *events = exporter->events_new(&options, MODEL_CPU);
	struct export x = {.view = &view, .options = &options, .events = events};
	struct err err = {0};
	char *text = NULL;
	size_t size = 0;

	for (size_t i = 0; i < part_count; i++) {
		const struct model_event event = {
			.node = parts[i],
			.start_ns = 1000 * MS + i * 1000 * MS / part_count,
			.end_ns = 1000 * MS + (i + 1) * 1000 * MS / part_count,
			.cpu_ns = 1000 * MS / part_count,
		};

		exporter->events_add(events, &event);
	}
	x.to = open_memstream(&text, &size);
	ck_assert_int_eq(exporter->write(&x, &err), 0);
	ck_assert_int_eq(fclose(x.to), 0);
	ck_assert_uint_eq(x.note.size, 0);
	exporter->events_free(events);
	return text;
}

/* Name, time in microseconds and value of every counter and mark, a line each. */
static void list_counts(const char *json, struct buf *to)
{
	cJSON *root = cJSON_Parse(json);
	cJSON *event;

	ck_assert_ptr_nonnull(root);
	cJSON_ArrayForEach(event, cJSON_GetObjectItem(root, "traceEvents"))
	{
		const char *phase = cJSON_GetObjectItem(event, "ph")->valuestring;
		const char *name = cJSON_GetObjectItem(event, "name")->valuestring;
		cJSON *args = cJSON_GetObjectItem(event, "args");

		if (*phase != 'C' && *phase != 'i')
			continue;
		ck_assert_int_eq(cJSON_GetObjectItem(event, "pid")->valueint, 4242);
		buf_printf(to, "%s %g", name, cJSON_GetObjectItem(event, "ts")->valuedouble);
		if (args)
			buf_printf(to, " %g", cJSON_GetObjectItem(args, "value")->valuedouble);
		buf_add_byte(to, '\n');
	}
	cJSON_Delete(root);
}

START_TEST(counters_and_marks)
{
	const struct model_node nodes[] = {
		ROOT,
		{.thread = UINT32_MAX, .line = 3, .depth = 1, .self = SECOND, .total = SECOND},
	};
	struct buf counts = {0};
	char *text = write_chrome(nodes, 2, (const uint32_t[]){1}, 1);

	list_counts(text, &counts);
	ck_assert_str_eq(buf_text(&counts), "heap (MB) 500000 1\n"
					    "heap (MB) 1e+06 3\n"
					    "heap (MB) 1.5e+06 3\n"
					    "heap, most (MB) 0 5\n"
					    "heap, most (MB) 500000 3\n"
					    "heap, most (MB) 1e+06 4\n"
					    "heap, most (MB) 1.5e+06 4\n"
					    "copied (MB/s) 0 1\n"
					    "copied (MB/s) 1e+06 0\n"
					    "copied (MB/s) 1.5e+06 0\n"
					    "load \"all\" 25000\n"
					    "[user code is over] 1.5e+06\n");
	buf_release(&counts);
	free(text);
}
END_TEST

/* speedscope would take the end of one "run" for that of the other, which begins just then. */
START_TEST(neighbours_of_one_name)
{
	const struct model_node nodes[] = {
		ROOT,
		{.thread = UINT32_MAX, .line = 3, .depth = 1, .total = SECOND},
		{.parent = 1,
		 .function = 1,
		 .thread = UINT32_MAX,
		 .line = 4,
		 .depth = 2,
		 .total = SPENT(500)},
		{.parent = 2,
		 .function = 2,
		 .thread = UINT32_MAX,
		 .line = 5,
		 .depth = 3,
		 .self = SPENT(500),
		 .total = SPENT(500)},
		{.parent = 1,
		 .function = 2,
		 .thread = UINT32_MAX,
		 .line = 5,
		 .depth = 2,
		 .self = SPENT(500),
		 .total = SPENT(500)},
	};
	char *text = write_chrome(nodes, 5, (const uint32_t[]){3, 4}, 2);
	cJSON *root = cJSON_Parse(text);
	struct buf slices = {0};
	cJSON *event;

	ck_assert_ptr_nonnull(root);
	cJSON_ArrayForEach(event, cJSON_GetObjectItem(root, "traceEvents"))
	{
		if (*cJSON_GetObjectItem(event, "ph")->valuestring != 'X')
			continue;
		buf_printf(&slices, "%s %.3f %.3f\n",
			   cJSON_GetObjectItem(event, "name")->valuestring,
			   cJSON_GetObjectItem(event, "ts")->valuedouble,
			   cJSON_GetObjectItem(event, "dur")->valuedouble);
	}
	ck_assert_str_eq(buf_text(&slices), "main (app.py) 0.000 1000000.000\n"
					    "load (app.py) 0.000 500000.000\n"
					    "run (app.py) 0.000 499999.999\n"
					    "run (app.py) 500000.000 500000.000\n");
	cJSON_Delete(root);
	buf_release(&slices);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("chrome");
	TCase *tests = tcase_create("chrome");
	SRunner *runner;
	int failed;

	tcase_add_test(tests, counters_and_marks);
	tcase_add_test(tests, neighbours_of_one_name);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
