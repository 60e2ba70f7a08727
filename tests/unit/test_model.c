/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model makes of traces whose profile is known by construction.
 */
#include <math.h>

#include "analyze/model.h"
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

/* What on_event saw. */
static uint64_t event_cpu_ns;
static uint64_t event_wait_ns;
static uint64_t event_late;
static uint64_t thread_time[MAKER_MAX_THREADS];

static void on_event(void *arg, const struct model_event *e)
{
	(void)arg;
	event_cpu_ns += e->cpu_ns;
	event_wait_ns += e->waiting ? e->end_ns - e->start_ns : 0;
	event_late += e->end_ns < thread_time[e->thread] || e->start_ns > e->end_ns;
	thread_time[e->thread] = e->end_ns;
}

static void setup(void)
{
	trace_fd = unit_temporary();
	maker_open(&maker, dup(trace_fd), REALTIME);
	options = (struct model_options){
		.filter = {.to_ns = UINT64_MAX},
		.on_event = on_event,
	};
	event_cpu_ns = event_wait_ns = event_late = 0;
	memset(thread_time, 0, sizeof(thread_time));
}

static void teardown(void)
{
	model_free(model);
	model = NULL;
	close(trace_fd);
}

static void add_trace(void)
{
	struct err err = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", trace_fd);
	ck_assert_msg(model_add_path(model, path, &err) == 0, "%s", err.text);
}

/* Every figure that must agree with another, whatever the trace. */
static void check_sums(void)
{
	struct metrics nodes = {0}, lines = {0}, charged = {0}, functions = {0}, files = {0},
		       threads = {0}, processes = {0};
	const struct metrics *sums[] = {&nodes, &lines,   &charged,  &functions,
					&files, &threads, &processes};

	for (size_t i = 0; i < view->node_count; i++) {
		const struct metrics *self = &view->nodes[i].self;

		metrics_add(&nodes, self);
		ck_assert_uint_eq(self->python_ns + self->native_ns + self->system_ns,
				  self->cpu_ns);
		ck_assert(i == 0 || view->nodes[i].parent < i);
	}
	for (size_t i = 0; i < view->line_count; i++) {
		metrics_add(&lines, &view->lines[i].self);
		metrics_add(&charged, &view->lines[i].charged);
	}
	for (size_t i = 0; i < view->function_count; i++)
		metrics_add(&functions, &view->functions[i].self);
	for (size_t i = 0; i < view->file_count; i++)
		metrics_add(&files, &view->files[i].self);
	for (size_t i = 0; i < view->thread_count; i++)
		metrics_add(&threads, &view->threads[i].total);
	for (size_t i = 0; i < view->process_count; i++)
		metrics_add(&processes, &view->processes[i].total);
	for (size_t i = 0; i < sizeof(sums) / sizeof(*sums); i++) {
		uint64_t waits = 0;

		ck_assert_uint_eq(sums[i]->cpu_ns, view->total.cpu_ns);
		ck_assert_uint_eq(sums[i]->samples, view->total.samples);
		ck_assert_uint_eq(sums[i]->python_ns, view->total.python_ns);
		ck_assert_uint_eq(sums[i]->native_ns, view->total.native_ns);
		ck_assert_uint_eq(sums[i]->system_ns, view->total.system_ns);
		ck_assert_uint_eq(sums[i]->wall_ns, view->total.wall_ns);
		ck_assert_uint_eq(sums[i]->unsure_ns, 0);
		for (int k = 0; k < TRACE_WAIT_KINDS; k++) {
			ck_assert_uint_eq(sums[i]->wait_ns[k], view->total.wait_ns[k]);
			waits += sums[i]->wait_ns[k];
		}
		ck_assert_uint_eq(sums[i]->cpu_ns + waits, sums[i]->wall_ns);
	}
	ck_assert_uint_eq(event_cpu_ns, view->total.cpu_ns);
	ck_assert_uint_eq(event_late, 0);
}

/* The model of what was written so far and of nothing else. */
static void read_model(uint64_t end_ns)
{
	if (maker.w)
		maker_finish(&maker, end_ns);
	model_free(model);
	event_cpu_ns = event_wait_ns = event_late = 0;
	memset(thread_time, 0, sizeof(thread_time));
	model = model_new(&options);
	add_trace();
	model_finish(model);
	view = model_view(model);
	check_sums();
}

static const struct model_line *line_of(const char *function, int32_t number)
{
	for (size_t i = 0; i < view->line_count; i++) {
		const struct model_line *line = &view->lines[i];

		if (line->line == number &&
		    strcmp(view->functions[line->function].name, function) == 0)
			return line;
	}
	ck_abort_msg("no line %d of %s", number, function);
	return NULL;
}

static const struct model_function *function_of(const char *name)
{
	for (size_t i = 0; i < view->function_count; i++) {
		if (strcmp(view->functions[i].name, name) == 0)
			return &view->functions[i];
	}
	ck_abort_msg("no function %s", name);
	return NULL;
}

static void one_thread(void)
{
	maker_process(&maker, 0, 100, TRACE_NONE);
	maker_thread(&maker, 0, 0, 100, "");
}

START_TEST(library_time_is_charged_to_the_users_line)
{
	uint32_t work, decode, top;

	one_thread();
	work = maker_code(&maker, APP, "work", 10);
	decode = maker_code(&maker, LIB, "decode", 300);
	top = maker_frame(&maker, 0, work, 2);
	for (int i = 0; i < 3; i++)
		maker_sample(&maker, 0, top, 0, 0, 2 * MS);
	for (int i = 0; i < 5; i++)
		maker_sample(&maker, 0, maker_frame(&maker, top, decode, 7), 0, 0, MS);
	read_model(20 * MS);

	ck_assert_uint_eq(line_of("work", 12)->self.cpu_ns, 6 * MS);
	ck_assert_uint_eq(line_of("work", 12)->charged.cpu_ns, 11 * MS);
	ck_assert_uint_eq(line_of("work", 12)->cumulative.cpu_ns, 11 * MS);
	ck_assert_uint_eq(line_of("decode", 307)->self.cpu_ns, 5 * MS);
	ck_assert_uint_eq(line_of("decode", 307)->charged.cpu_ns, 0);
	ck_assert_int_eq(view->files[function_of("work")->file].origin, MODEL_USER);
	ck_assert_int_eq(view->files[function_of("decode")->file].origin, MODEL_STANDARD);
	ck_assert_uint_eq(view->duration_ns, 20 * MS);
	ck_assert_int_eq(view->exit_status, 0);
	ck_assert(view->quality.complete);
}
END_TEST

START_TEST(library_code_without_a_user_keeps_its_time)
{
	uint32_t decode;

	one_thread();
	decode = maker_code(&maker, LIB, "decode", 300);
	maker_sample(&maker, 0, maker_frame(&maker, 0, decode, 7), 0, 0, MS);
	maker_sample(&maker, 0, 0, 0, 0, 2 * MS);
	read_model(20 * MS);

	ck_assert_uint_eq(line_of("decode", 307)->charged.cpu_ns, MS);
	ck_assert_uint_eq(function_of("<no Python frame>")->self.native_ns, 2 * MS);
	ck_assert_uint_eq(function_of("<no Python frame>")->cumulative.cpu_ns, 2 * MS);
}
END_TEST

START_TEST(recursion_counts_once)
{
	uint32_t fib, stack = 0;

	one_thread();
	fib = maker_code(&maker, APP, "fib", 1);
	for (int i = 0; i < 10; i++)
		stack = maker_frame(&maker, stack, fib, i % 2);
	maker_sample(&maker, 0, stack, 0, 0, 4 * MS);
	read_model(20 * MS);

	ck_assert_uint_eq(function_of("fib")->cumulative.cpu_ns, 4 * MS);
	ck_assert_uint_eq(line_of("fib", 1)->cumulative.cpu_ns, 4 * MS);
	ck_assert_uint_eq(line_of("fib", 2)->cumulative.cpu_ns, 4 * MS);
	ck_assert_uint_eq(line_of("fib", 1)->self.cpu_ns, 0);
	ck_assert_uint_eq(line_of("fib", 2)->self.cpu_ns, 4 * MS);
}
END_TEST

START_TEST(deep_stacks_are_no_trouble)
{
	uint32_t ping, pong, stack = 0;

	one_thread();
	ping = maker_code(&maker, APP, "ping", 1);
	pong = maker_code(&maker, APP, "pong", 50);
	for (int i = 0; i < 50000; i++)
		stack = maker_frame(&maker, stack, i % 2 ? pong : ping, 1);
	maker_sample(&maker, 0, stack, 0, 0, MS);
	for (int split = 0; split < 2; split++) {
		options.split_threads = split;
		read_model(20 * MS);
		ck_assert_uint_eq(view->node_count, 50001u + (size_t)split);
		ck_assert_uint_eq(function_of("ping")->cumulative.cpu_ns, MS);
	}
}
END_TEST

START_TEST(unsampled_time_goes_to_the_next_sample)
{
	uint32_t work, a, b;

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	a = maker_frame(&maker, 0, work, 1);
	b = maker_frame(&maker, 0, work, 2);
	maker_sample(&maker, 0, a, 0, 0, MS);
	maker_wait(&maker, 0, a, TRACE_WAIT_SLEEP, 10 * MS, 3 * MS);
	maker_wait(&maker, 0, a, TRACE_WAIT_IO, 20 * MS, 2 * MS);
	maker_flush(&maker); /* across blocks */
	maker_sample(&maker, 0, b, 0, 0, MS);
	maker_wait(&maker, 0, 0, TRACE_WAIT_END, 0, 4 * MS);
	read_model(100 * MS);

	ck_assert_uint_eq(line_of("work", 2)->self.cpu_ns, MS);
	ck_assert_uint_eq(line_of("work", 3)->self.cpu_ns, 10 * MS);
	ck_assert_uint_eq(line_of("work", 2)->self.wait_ns[TRACE_WAIT_SLEEP], 10 * MS);
	ck_assert_uint_eq(line_of("work", 2)->self.wait_ns[TRACE_WAIT_IO], 20 * MS);
	ck_assert_uint_eq(view->total.samples, 2);
	ck_assert_uint_eq(event_wait_ns, 30 * MS);
}
END_TEST

START_TEST(threads_without_samples_share_the_first_samples)
{
	uint32_t work, a, b;

	one_thread();
	maker_thread(&maker, 1, 0, 101, "");
	maker_thread(&maker, 2, 0, 102, "");
	maker_thread(&maker, 3, 0, 103, "short");
	maker_thread(&maker, 4, 0, 104, "shorter");
	work = maker_code(&maker, APP, "work", 1);
	a = maker_frame(&maker, 0, work, 1);
	b = maker_frame(&maker, 0, work, 2);
	maker_sample(&maker, 0, a, 0, 0, MS);
	maker_sample(&maker, 1, a, 0, 0, MS);
	maker_sample(&maker, 2, b, 0, TRACE_SAMPLE_KERNEL, MS);
	maker_sample(&maker, 2, b, 0, 0, 5 * MS);
	maker_wait(&maker, 3, 0, TRACE_WAIT_END, 0, 7 * MS);
	maker_wait(&maker, 4, 0, TRACE_WAIT_END, 0, 2 * MS);
	read_model(100 * MS);

	/* Two of three first samples were at a, one at b in the kernel. */
	ck_assert_uint_eq(line_of("work", 2)->self.cpu_ns, 2 * MS + 6 * MS);
	ck_assert_uint_eq(line_of("work", 3)->self.cpu_ns, 6 * MS + 3 * MS);
	ck_assert_uint_eq(line_of("work", 3)->self.system_ns, MS + 3 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, 17 * MS);
	for (size_t i = 0; i < view->thread_count; i++) {
		if (strcmp(view->threads[i].name, "short") == 0)
			ck_assert_uint_eq(view->threads[i].total.cpu_ns, 7 * MS);
	}
}
END_TEST

START_TEST(without_any_sample_time_is_not_lost)
{
	one_thread();
	maker_wait(&maker, 0, 0, TRACE_WAIT_END, 0, 7 * MS);
	read_model(100 * MS);
	ck_assert_uint_eq(function_of("<not sampled>")->self.cpu_ns, 7 * MS);
	ck_assert_uint_eq(function_of("<not sampled>")->cumulative.cpu_ns, 7 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, 7 * MS);
}
END_TEST

struct native {
	uint32_t loop, helper, memcpy, extension, jit;
};

static struct native add_native(bool symbols)
{
	uint32_t python = maker_module(&maker, "/usr/bin/python3", TRACE_MODULE_INTERPRETER);
	uint32_t libc = maker_module(&maker, "/lib/libc.so.6", TRACE_MODULE_SYSTEM);
	uint32_t other = maker_module(&maker, "/lib/fast.so", TRACE_MODULE_OTHER);
	uint32_t jit = maker_module(&maker, "", TRACE_MODULE_ANONYMOUS);

	if (symbols) {
		maker_symbol(&maker, python, 0x1000, 0x800, "_PyEval_EvalFrameDefault",
			     TRACE_SYMBOL_EVAL);
		maker_symbol(&maker, python, 0x5000, 0x20, "list_slice", TRACE_SYMBOL_FUNCTION);
		maker_symbol(&maker, libc, 0x900, 0, "memcpy", TRACE_SYMBOL_FUNCTION);
	}
	return (struct native){
		.loop = trace_writer_pc(maker.w, python, 0x17ff),
		.helper = trace_writer_pc(maker.w, python, 0x5010),
		.memcpy = trace_writer_pc(maker.w, libc, 0x950),
		.extension = trace_writer_pc(maker.w, other, 0x2345),
		.jit = trace_writer_pc(maker.w, jit, 0x10),
	};
}

START_TEST(each_place_has_its_class)
{
	struct native n;
	uint32_t work, at[10];

	one_thread();
	n = add_native(true);
	work = maker_code(&maker, APP, "work", 0);
	for (int i = 0; i < 10; i++)
		at[i] = maker_frame(&maker, 0, work, i);
	maker_sample(&maker, 0, at[1], n.loop, TRACE_SAMPLE_CALL_C, MS);
	maker_sample(&maker, 0, at[2], n.extension, 0, MS);
	maker_sample(&maker, 0, at[3], n.helper, TRACE_SAMPLE_CALL_C, MS);
	maker_sample(&maker, 0, at[4], n.memcpy, TRACE_SAMPLE_CALL_PYTHON, MS);
	maker_sample(&maker, 0, at[5], n.loop, TRACE_SAMPLE_KERNEL, MS);
	maker_sample(&maker, 0, at[6], n.jit, TRACE_SAMPLE_CALL_C, MS);
	maker_sample(&maker, 0, at[7], 0, 0, MS);
	maker_sample(&maker, 0, at[8], 0, TRACE_SAMPLE_CALL_C, MS);
	read_model(20 * MS);

	ck_assert_uint_eq(line_of("work", 1)->self.python_ns, MS);
	ck_assert_uint_eq(line_of("work", 2)->self.native_ns, MS);
	ck_assert_uint_eq(line_of("work", 3)->self.native_ns, MS);
	ck_assert_uint_eq(line_of("work", 4)->self.python_ns, MS);
	ck_assert_uint_eq(line_of("work", 5)->self.system_ns, MS);
	ck_assert_uint_eq(line_of("work", 6)->self.python_ns, MS);
	ck_assert_uint_eq(line_of("work", 7)->self.python_ns, MS);
	ck_assert_uint_eq(line_of("work", 8)->self.native_ns, MS);
}
END_TEST

START_TEST(helpers_go_with_their_line)
{
	struct native n;
	uint32_t work, bulk, busy;

	one_thread();
	maker_thread(&maker, 1, 0, 101, "other");
	n = add_native(true);
	work = maker_code(&maker, APP, "work", 0);
	bulk = maker_frame(&maker, 0, work, 1);
	busy = maker_frame(&maker, 0, work, 2);
	for (int i = 0; i < 100; i++) {
		/* Line 1: in the loop in 3 of 103 samples outside calls; line 2: in half. */
		maker_sample(&maker, 0, bulk, n.helper, 0, MS);
		if (i < 3)
			maker_sample(&maker, 0, bulk, n.loop, 0, 10 * MS);
		maker_sample(&maker, 0, bulk, n.loop, TRACE_SAMPLE_CALL_C, MS);
		maker_sample(&maker, 1, busy, n.memcpy, 0, MS);
		maker_sample(&maker, 1, busy, n.loop, 0, MS);
	}
	read_model(500 * MS);

	ck_assert_uint_eq(line_of("work", 1)->self.native_ns, 100 * MS);
	ck_assert_uint_eq(line_of("work", 1)->self.python_ns, 130 * MS);
	ck_assert_uint_eq(line_of("work", 2)->self.native_ns, 0);
	ck_assert_uint_eq(line_of("work", 2)->self.python_ns, 200 * MS);
	ck_assert_uint_eq(view->threads[0].total.native_ns, 100 * MS);
	ck_assert_uint_eq(view->threads[1].total.native_ns, 0);
	ck_assert_uint_eq(view->native_count, 1);
	ck_assert_str_eq(view->natives[0].symbol, "list_slice");
	ck_assert_str_eq(view->natives[0].module, "python3");
	ck_assert_uint_eq(view->natives[0].self.native_ns, 100 * MS);
}
END_TEST

/* Without symbols nothing can be seen in the loop: that must not make everything native. */
START_TEST(without_symbols_helpers_are_python)
{
	struct native n;
	uint32_t work;

	one_thread();
	n = add_native(false);
	work = maker_code(&maker, APP, "work", 0);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), n.loop, 0, MS);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), n.extension, 0, MS);
	read_model(500 * MS);

	ck_assert_uint_eq(line_of("work", 1)->self.python_ns, MS);
	ck_assert_str_eq(view->natives[0].symbol, "[fast.so+0x2000]");
}
END_TEST

START_TEST(shares_of_odd_amounts_are_exact)
{
	struct native n;
	uint32_t work, stacks[50];

	one_thread();
	for (uint32_t i = 1; i < 5; i++)
		maker_thread(&maker, i, 0, 100 + (int32_t)i, "worker");
	n = add_native(true);
	work = maker_code(&maker, APP, "work", 0);
	for (int i = 0; i < 50; i++)
		stacks[i] = maker_frame(&maker, i ? stacks[i / 2] : 0, work, i % 3);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t flags = i % 3 ? TRACE_SAMPLE_CALL_C : i % 5 ? 0 : TRACE_SAMPLE_CALL_PYTHON;

		maker_sample(&maker, i % 5, stacks[i * 7 % 50], i % 2 ? n.helper : n.loop, flags,
			     MS + i * i % 977);
	}
	for (int split = 0; split < 2; split++) {
		options.split_threads = split;
		read_model(5000 * MS); /* checks the sums */
		ck_assert_uint_gt(view->total.native_ns, 0);
		ck_assert_uint_gt(view->total.python_ns, 0);
	}
}
END_TEST

START_TEST(filters_on_time_cut_events)
{
	uint32_t work, a;
	uint64_t cpu[4], samples[4], slept[4];

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	a = maker_frame(&maker, 0, work, 1);
	for (int i = 0; i < 10; i++) {
		maker_sample_as(&maker, 0, a, 0, 0, 5 * MS + 1, 10 * MS + 3);
		maker_wait(&maker, 0, a, TRACE_WAIT_SLEEP, 10 * MS, 0);
	}
	for (int i = 0; i < 4; i++) {
		options.filter.from_ns = i == 3 ? 0 : (uint64_t)i * 77 * MS;
		options.filter.to_ns = i >= 2 ? UINT64_MAX : ((uint64_t)i + 1) * 77 * MS;
		read_model(201 * MS);
		cpu[i] = view->total.cpu_ns;
		samples[i] = view->total.samples;
		slept[i] = view->total.wait_ns[TRACE_WAIT_SLEEP];
		ck_assert_uint_eq(view->duration_ns, i < 2 ? 77 * MS : i == 2 ? 47 * MS : 201 * MS);
	}
	ck_assert_uint_eq(cpu[0] + cpu[1] + cpu[2], cpu[3]);
	ck_assert_uint_eq(samples[0] + samples[1] + samples[2], samples[3]);
	ck_assert_uint_eq(slept[0] + slept[1] + slept[2], slept[3]);
	ck_assert_uint_eq(cpu[3], 10 * (5 * MS + 1));
	ck_assert_uint_eq(slept[3], 100 * MS);
}
END_TEST

/* The same as --from and --to for each stretch, and together their sum. */
START_TEST(phases_are_windows)
{
	static const uint64_t borders[][2] = {{15, 77}, {77, 120}, {150, 170}};
	static const char *const a_and_b[] = {"a", "[b]"}, *const only_a[] = {"a"},
				 *const nothing[] = {"c"};
	uint64_t cpu[3], samples[3], slept[3];
	char path[64];
	struct err err = {0};
	uint32_t work, at;

	one_thread();
	maker_process(&maker, 1, 200, 0);
	maker_thread(&maker, 1, 1, 200, "");
	work = maker_code(&maker, APP, "work", 1);
	at = maker_frame(&maker, 0, work, 1);
	for (int i = 0; i < 10; i++) {
		maker_sample_as(&maker, 0, at, 0, 0, 5 * MS + 1, 10 * MS + 3);
		maker_wait(&maker, 0, at, TRACE_WAIT_SLEEP, 10 * MS, 0);
		maker_sample(&maker, 1, at, 0, 0, 20 * MS);
	}
	maker_mark(&maker, 0, TRACE_MARK_LABEL, 15 * MS, "a");
	maker_mark(&maker, 0, TRACE_MARK_LABEL, 77 * MS, "b");
	maker_mark(&maker, 0, TRACE_MARK_LABEL, 120 * MS, "");
	maker_mark(&maker, 0, TRACE_MARK_LABEL, 150 * MS, "a");
	maker_mark(&maker, 0, TRACE_MARK_STOP, 170 * MS, "");
	options.filter.processes = (const char *const[]){"100"};
	options.filter.process_count = 1;
	for (int i = 0; i < 3; i++) {
		options.filter.from_ns = borders[i][0] * MS;
		options.filter.to_ns = borders[i][1] * MS;
		read_model(201 * MS);
		cpu[i] = view->total.cpu_ns;
		samples[i] = view->total.samples;
		slept[i] = view->total.wait_ns[TRACE_WAIT_SLEEP];
	}
	options.filter = (struct model_filter){.to_ns = UINT64_MAX};
	options.phases = true;
	read_model(201 * MS);
	ck_assert_uint_eq(view->phase_count, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(view->phases[i].label, i == 1 ? "b" : "a");
		ck_assert_uint_eq(view->phases[i].start_ns, borders[i][0] * MS);
		ck_assert_uint_eq(view->phases[i].end_ns, borders[i][1] * MS);
		ck_assert_uint_eq(view->phases[i].cpu_ns, cpu[i]);
	}
	options.filter.phases = only_a;
	options.filter.phase_count = 1;
	read_model(201 * MS);
	ck_assert_uint_eq(view->phase_count, 2);
	ck_assert_uint_eq(view->process_count, 1);
	ck_assert_uint_eq(view->duration_ns, 82 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, cpu[0] + cpu[2]);
	ck_assert_uint_eq(view->total.samples, samples[0] + samples[2]);
	ck_assert_uint_eq(view->total.wait_ns[TRACE_WAIT_SLEEP], slept[0] + slept[2]);
	options.filter.phases = a_and_b;
	options.filter.phase_count = 2;
	read_model(201 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, cpu[0] + cpu[1] + cpu[2]);
	ck_assert_uint_eq(view->total.samples, samples[0] + samples[1] + samples[2]);
	options.filter.phases = nothing;
	options.filter.phase_count = 1;
	model_free(model);
	model = model_new(&options);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", trace_fd);
	ck_assert_int_eq(model_add_path(model, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "no such phase"));
}
END_TEST

START_TEST(filters_on_names)
{
	static const char *const files[] = {"app.py"}, *const functions[] = {"inner"},
				 *const threads[] = {"work*"}, *const tids[] = {"100"},
				 *const processes[] = {"200"}, *const commands[] = {"*app.py*"};
	uint32_t outer, inner, decode, top;

	one_thread();
	maker_thread(&maker, 1, 0, 101, "worker-1");
	maker_process(&maker, 1, 200, 0);
	maker_thread(&maker, 2, 1, 200, "");
	outer = maker_code(&maker, APP, "outer", 1);
	inner = maker_code(&maker, APP, "Class.inner", 20);
	decode = maker_code(&maker, LIB, "decode", 300);
	top = maker_frame(&maker, 0, outer, 1);
	maker_sample(&maker, 0, top, 0, TRACE_SAMPLE_GIL, MS);
	maker_sample(&maker, 0, maker_frame(&maker, top, inner, 1), 0, 0, 2 * MS);
	maker_sample(&maker, 1, maker_frame(&maker, 0, decode, 1), 0, 0, 4 * MS);
	maker_sample(&maker, 2, maker_frame(&maker, top, decode, 1), 0, 0, 8 * MS);
	maker_wait(&maker, 0, top, TRACE_WAIT_IO, 16 * MS, 0);

	options.filter.files = files;
	options.filter.file_count = 1;
	read_model(100 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, 11 * MS);
	ck_assert_uint_eq(view->total.wait_ns[TRACE_WAIT_IO], 16 * MS);
	options.filter.functions = functions;
	options.filter.function_count = 1;
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, 2 * MS);
	ck_assert_uint_eq(view->total.wall_ns, 2 * MS);
	options.filter = (struct model_filter){
		.to_ns = UINT64_MAX,
		.threads = threads,
		.thread_count = 1,
	};
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, 4 * MS);
	ck_assert_uint_eq(view->thread_count, 1);
	options.filter.threads = tids;
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, 3 * MS);
	options.filter = (struct model_filter){
		.to_ns = UINT64_MAX,
		.processes = processes,
		.process_count = 1,
	};
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, 8 * MS);
	ck_assert_uint_eq(view->process_count, 1);
	options.filter.processes = commands;
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, 15 * MS);
	options.filter = (struct model_filter){.to_ns = UINT64_MAX, .gil_only = true};
	read_model(0);
	ck_assert_uint_eq(view->total.cpu_ns, MS);
	ck_assert_uint_eq(view->total.wall_ns, MS);
}
END_TEST

/* A name that comes late counts from the start, when the trace is a file. */
START_TEST(a_thread_is_found_by_its_later_name)
{
	static const char *const threads[] = {"late"};
	uint32_t work;

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, MS);
	maker_flush(&maker);
	maker_thread(&maker, 0, 0, 100, "late");
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, MS);
	options.filter.threads = threads;
	options.filter.thread_count = 1;
	maker_finish(&maker, 10 * MS);
	model = model_new(&options);
	{
		char path[] = "/tmp/test_model_XXXXXX";
		int fd = mkstemp(path);
		char data[65536];
		ssize_t n = pread(trace_fd, data, sizeof(data), 0);
		struct err err = {0};

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, data, (size_t)n), n);
		close(fd);
		ck_assert_msg(model_add_path(model, path, &err) == 0, "%s", err.text);
		unlink(path);
	}
	model_finish(model);
	ck_assert_uint_eq(model_view(model)->total.cpu_ns, 2 * MS);
	ck_assert_str_eq(model_view(model)->threads[0].name, "late");
}
END_TEST

START_TEST(traces_merge)
{
	uint32_t work;

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, MS);
	maker_process_end(&maker, 0, 50 * MS, 2 * MS);
	maker_loss(&maker, TRACE_LOSS_MISSED, 3);
	maker_finish(&maker, 100 * MS);
	options.on_event = NULL;
	model = model_new(&options);
	add_trace();
	close(trace_fd);
	trace_fd = unit_temporary();
	maker_open(&maker, dup(trace_fd), REALTIME + 60 * MS); /* overlaps by 40 ms */
	one_thread();
	work = maker_code(&maker, APP, "more", 9); /* takes the id of the other */
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, 2 * MS);
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, 4 * MS);
	maker_process_end(&maker, 0, 50 * MS, 6 * MS);
	maker_finish(&maker, 100 * MS);
	add_trace();
	model_finish(model);
	view = model_view(model);

	ck_assert_uint_eq(line_of("work", 2)->self.cpu_ns, 5 * MS);
	ck_assert_uint_eq(line_of("more", 10)->self.cpu_ns, 2 * MS);
	ck_assert_uint_eq(view->total.cpu_ns, 7 * MS);
	ck_assert_uint_eq(view->duration_ns, 160 * MS);
	ck_assert_uint_eq(view->process_count, 2);
	ck_assert_uint_eq(view->quality.missed, 3);
	ck_assert_uint_eq(view->threads[1].start_ns, 60 * MS);
	ck_assert(fabs(view->quality.cpu_seen_fraction - 7.0 / 8.0) < 1e-9);
}
END_TEST

/* What a thread stood ready for is told apart, in samples and in waits; never more than there is.
 */
START_TEST(being_ready_is_a_wait_of_its_own)
{
	struct trace_sample sample = {.flags = TRACE_SAMPLE_FIRST, .wall_ns = 10 * MS};
	struct trace_wait wait = {.kind = TRACE_WAIT_LOCK, .wall_ns = 40 * MS};

	one_thread();
	sample.node = wait.node = maker_frame(&maker, 0, maker_code(&maker, APP, "work", 1), 1);
	for (uint64_t ready_ns = 5 * MS; ready_ns <= 50 * MS; ready_ns *= 10) {
		sample.time_ns = wait.time_ns + 10 * MS;
		wait.time_ns += 50 * MS;
		sample.ready_ns = wait.ready_ns = ready_ns;
		trace_writer_sample(maker.w, 0, &sample);
		trace_writer_wait(maker.w, 0, &wait);
	}
	read_model(100 * MS);
	ck_assert_uint_eq(line_of("work", 2)->self.wait_ns[TRACE_WAIT_RUNNABLE], 60 * MS);
	ck_assert_uint_eq(line_of("work", 2)->self.wait_ns[TRACE_WAIT_LOCK], 35 * MS);
}
END_TEST

/* After an exec the kernel's clocks go on: the first program's time is not missing twice. */
START_TEST(cpu_seen_follows_an_exec)
{
	uint32_t work;

	one_thread();
	maker_process_as(&maker, 1, 100, 0, TRACE_ORIGIN_EXEC);
	maker_thread(&maker, 1, 1, 100, "");
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, 40 * MS);
	trace_writer_process_end(maker.w, &(struct trace_process_end){
						  .process = 0,
						  .how = TRACE_END_EXEC,
						  .time_ns = 50 * MS,
						  .cpu_ns = 40 * MS,
					  });
	maker_sample(&maker, 1, maker_frame(&maker, 0, work, 1), 0, 0, 60 * MS);
	maker_process_end(&maker, 1, 200 * MS, 100 * MS);
	read_model(200 * MS);
	ck_assert(fabs(view->quality.cpu_seen_fraction - 1) < 1e-9);
}
END_TEST

/* What was not recorded is not missing. */
START_TEST(cpu_seen_is_not_of_paused_processes)
{
	uint32_t work;

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, 40 * MS);
	maker_mark(&maker, 0, TRACE_MARK_STOP, 45 * MS, "");
	maker_process_end(&maker, 0, 200 * MS, 150 * MS);
	read_model(200 * MS);
	ck_assert(view->quality.cpu_seen_fraction == 0);
}
END_TEST

START_TEST(split_trees_have_a_root_for_each_thread)
{
	uint32_t work, roots = 0;

	one_thread();
	maker_thread(&maker, 1, 0, 101, "worker");
	work = maker_code(&maker, APP, "work", 1);
	for (uint32_t i = 0; i < 10; i++)
		maker_sample(&maker, i % 2, maker_frame(&maker, 0, work, (int32_t)(i / 2 % 2)), 0,
			     0, MS);
	options.split_threads = true;
	read_model(20 * MS);

	ck_assert_uint_eq(view->node_count, 7); /* root, two threads, two lines each */
	for (size_t i = 1; i < view->node_count; i++) {
		if (view->nodes[i].parent != 0)
			continue;
		ck_assert_uint_eq(view->nodes[i].function, UINT32_MAX);
		ck_assert_uint_eq(view->nodes[i].thread, roots++);
		ck_assert_uint_eq(view->nodes[i].total.cpu_ns, 5 * MS);
	}
	ck_assert_uint_eq(roots, 2);
}
END_TEST

START_TEST(sources_come_from_the_trace)
{
	uint32_t work;

	one_thread();
	work = maker_code(&maker, APP, "work", 1);
	maker_sample(&maker, 0, maker_frame(&maker, 0, work, 1), 0, 0, MS);
	maker_source(&maker, APP, "def work():\n    pass\n");
	read_model(20 * MS);
	ck_assert_uint_eq(view->files[0].source_size, 21);
	ck_assert_str_eq(view->files[0].source, "def work():\n    pass\n");
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("model");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, library_time_is_charged_to_the_users_line);
	tcase_add_test(tests, library_code_without_a_user_keeps_its_time);
	tcase_add_test(tests, recursion_counts_once);
	tcase_add_test(tests, deep_stacks_are_no_trouble);
	tcase_add_test(tests, unsampled_time_goes_to_the_next_sample);
	tcase_add_test(tests, threads_without_samples_share_the_first_samples);
	tcase_add_test(tests, without_any_sample_time_is_not_lost);
	tcase_add_test(tests, each_place_has_its_class);
	tcase_add_test(tests, helpers_go_with_their_line);
	tcase_add_test(tests, without_symbols_helpers_are_python);
	tcase_add_test(tests, shares_of_odd_amounts_are_exact);
	tcase_add_test(tests, filters_on_time_cut_events);
	tcase_add_test(tests, phases_are_windows);
	tcase_add_test(tests, filters_on_names);
	tcase_add_test(tests, a_thread_is_found_by_its_later_name);
	tcase_add_test(tests, traces_merge);
	tcase_add_test(tests, being_ready_is_a_wait_of_its_own);
	tcase_add_test(tests, cpu_seen_follows_an_exec);
	tcase_add_test(tests, cpu_seen_is_not_of_paused_processes);
	tcase_add_test(tests, split_trees_have_a_root_for_each_thread);
	tcase_add_test(tests, sources_come_from_the_trace);
	return unit_run("model", tests);
}
