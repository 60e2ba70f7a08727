/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace with one of everything, see fixture.h. The golden trace depends on every value here.
 */
#include "tests/unit/fixture.h"

#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)
#define SOURCE_TEXT "import time\n\ndef work():\n    time.sleep(1)\n"

static const struct trace_text command[] = {{"python3", 7}, {"app.py", 6}, {"--name=\xff", 8}};
static const uint8_t line_table[] = {0x80, 0x00, 0xf0, 0x03, 0x9f, 0x04, 0x00};
static const uint8_t build_id[] = {0xde, 0xad, 0xbe, 0xef};

static const struct trace_header header = {
	.tool_version = "0.1.0",
	.start_monotonic_ns = 123456789,
	.start_realtime_ns = 1700000000123456789,
	.host = "host",
	.system = "Linux 6.1 x86_64",
	.cpu_count = 8,
	.command = command,
	.command_count = 3,
	.directory = {"/home/me", 8},
	.rate_hz = 1000,
	.wall = true,
	.source = true,
	.tick_ns = FIXTURE_TICK_NS,
	.options = {"-o run.trace", 12},
};

static const struct trace_process processes[] = {
	{
		.index = 0,
		.pid = 100,
		.parent_pid = 99,
		.parent = TRACE_NONE,
		.start_ns = 5,
		.command = command,
		.command_count = 3,
		.executable = {"/usr/bin/python3.11", 19},
		.python_hex = 0x030b02f0,
		.python_build = {"3.11.2 (main)", 13},
		.origin = TRACE_ORIGIN_LAUNCH,
		.prefix = {"/usr", 4},
	},
	{
		.index = 1,
		.pid = 101,
		.parent_pid = 100,
		.parent = 0,
		.start_ns = 50 * MS,
		.executable = {"", 0},
		.python_hex = 0x030d00f0,
		.python_build = {"", 0},
		.free_threaded = true,
		.origin = TRACE_ORIGIN_FORK,
		.prefix = {"", 0},
	},
};

static const struct trace_thread threads[] = {
	{.index = 0,
	 .process = 0,
	 .tid = 100,
	 .start_ns = 5,
	 .main = true,
	 .name = {"MainThread", 10}},
	{.index = 1, .process = 0, .tid = 102, .start_ns = 7, .name = {"", 0}},
	{.index = 2, .process = 1, .tid = 101, .start_ns = 50 * MS, .main = true, .name = {"", 0}},
};

static const struct trace_symbol symbol = {
	.module = 1,
	.start = 0x1000,
	.size = 0x200,
	.name = {"_PyEval_EvalFrameDefault", 24},
	.kind = TRACE_SYMBOL_EVAL,
};

static const struct trace_process_end process_end = {
	.process = 1,
	.time_ns = 900 * MS,
	.how = TRACE_END_SIGNAL,
	.status = 9,
	.cpu_ns = 3 * MS,
	.user_ns = 2 * MS,
	.system_ns = MS,
	.peak_rss_bytes = 12345678,
};

static const struct trace_loss losses[] = {
	{.kind = TRACE_LOSS_MISSED, .process = 0, .thread = 1, .time_ns = 400 * MS, .count = 3},
	{.kind = TRACE_LOSS_RING_FULL,
	 .process = 0,
	 .thread = TRACE_NONE,
	 .time_ns = 410 * MS,
	 .count = 1},
};

static struct trace_sample sample_at(uint32_t i)
{
	return (struct trace_sample){
		.thread = 0,
		.node = 1 + i % 3,
		.pc = i % 3,
		.flags = i ? TRACE_SAMPLE_GIL : TRACE_SAMPLE_GIL | TRACE_SAMPLE_FIRST,
		.time_ns = (i + 1) * MS + i * 37 * 1000,
		.wall_ns = i ? MS + 37000 : MS,
		.cpu_ns = i ? MS : MS / 2,
	};
}

static const struct trace_sample child_samples[] = {
	{.thread = 2,
	 .node = 3,
	 .flags = TRACE_SAMPLE_CALL_C,
	 .time_ns = 60 * MS,
	 .wall_ns = 10 * MS,
	 .cpu_ns = MS},
	{.thread = 2,
	 .node = 0,
	 .flags = TRACE_SAMPLE_UNWALKED,
	 .time_ns = 61 * MS,
	 .wall_ns = MS,
	 .cpu_ns = MS},
	{.thread = 2,
	 .node = 3,
	 .pc = 2,
	 .flags = TRACE_SAMPLE_KERNEL,
	 .time_ns = 62 * MS,
	 .wall_ns = MS,
	 .cpu_ns = MS},
};

static const struct trace_wait waits[] = {
	{.thread = 1,
	 .node = 2,
	 .kind = TRACE_WAIT_LOCK,
	 .time_ns = 100 * MS,
	 .wall_ns = 90 * MS,
	 .cpu_ns = 250000},
	{.thread = 1, .node = 2, .kind = TRACE_WAIT_LOCK, .time_ns = 200 * MS, .wall_ns = 100 * MS},
	{.thread = 1,
	 .node = 0,
	 .kind = TRACE_WAIT_END,
	 .time_ns = 205 * MS,
	 .wall_ns = 5 * MS,
	 .cpu_ns = 5 * MS},
};

static void write_definitions(struct trace_writer *w)
{
	struct trace_module module = {
		.path = {"/usr/lib/libc.so.6", 18},
		.role = TRACE_MODULE_SYSTEM,
	};
	struct trace_code code = {
		.filename = trace_writer_string(w, "/home/me/app.py", 15),
		.name = trace_writer_string(w, "work", 4),
		.qualname = trace_writer_string(w, "Worker.work", 11),
		.first_line = 3,
		.flags = 3,
		.python = 0x30b,
		.line_table = line_table,
		.line_table_size = sizeof(line_table),
		.code_bytes = 20,
	};

	ck_assert_uint_eq(trace_writer_code(w, &code), 0);
	ck_assert_uint_eq(trace_writer_code(w, &code), 0);
	code.first_line = 10;
	code.line_table_size = 0;
	ck_assert_uint_eq(trace_writer_code(w, &code), 1);
	ck_assert_uint_eq(trace_writer_node(w, 0, 0, 4), 1);
	ck_assert_uint_eq(trace_writer_node(w, 1, 1, -1), 2);
	ck_assert_uint_eq(trace_writer_node(w, 1, 1, 8), 3);
	ck_assert_uint_eq(trace_writer_node(w, 1, 1, -1), 2);
	ck_assert_uint_eq(trace_writer_module(w, &module), 0);
	module.path = (struct trace_text){"/usr/bin/python3.11", 19};
	module.build_id = build_id;
	module.build_id_size = sizeof(build_id);
	module.role = TRACE_MODULE_INTERPRETER;
	ck_assert_uint_eq(trace_writer_module(w, &module), 1);
	ck_assert_uint_eq(trace_writer_module(w, &module), 1);
	ck_assert_uint_eq(trace_writer_pc(w, 1, 0x1234), 1);
	ck_assert_uint_eq(trace_writer_pc(w, 0, UINT64_MAX), 2);
	ck_assert_uint_eq(trace_writer_pc(w, 1, 0x1234), 1);
	ck_assert_uint_eq(trace_writer_pc(w, TRACE_NONE, 7), 0);
}

void fixture_write(int fd)
{
	const struct trace_source source = {{"/home/me/app.py", 15}, unit_text(SOURCE_TEXT)};
	const struct trace_end end = {
		.time_ns = 1000 * MS,
		.reason = TRACE_REASON_INTERRUPTED,
		.command_status = 130,
	};
	struct trace_thread renamed = threads[1];
	struct trace_writer *w;
	struct err err = {0};

	w = trace_writer_open(fd, &header, 0, &err);
	ck_assert_msg(w != NULL, "%s", err.text);
	trace_writer_process(w, &processes[0]);
	trace_writer_thread(w, &threads[0]);
	trace_writer_thread(w, &threads[1]);
	write_definitions(w);
	for (uint32_t i = 0; i < FIXTURE_SAMPLES; i++) {
		struct trace_sample sample = sample_at(i);

		trace_writer_sample(w, 0, &sample);
		if (i == FIXTURE_SAMPLES / 2)
			ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	}
	for (size_t i = 0; i < 3; i++)
		trace_writer_wait(w, 0, &waits[i]);
	renamed.name = (struct trace_text){"worker-1", 8};
	trace_writer_thread(w, &renamed);
	trace_writer_process(w, &processes[1]);
	trace_writer_thread(w, &threads[2]);
	for (size_t i = 0; i < 3; i++)
		trace_writer_sample(w, 1, &child_samples[i]);
	trace_writer_loss(w, &losses[0]);
	trace_writer_loss(w, &losses[1]);
	trace_writer_process_end(w, &process_end);
	ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	trace_writer_symbol(w, &symbol);
	trace_writer_source(w, &source);
	ck_assert_uint_eq(trace_writer_samples(w), FIXTURE_SAMPLES + 3);
	ck_assert_uint_eq(trace_writer_pc_count(w), 3);
	ck_assert_uint_eq(trace_writer_get_pc(w, 1).offset, 0x1234);
	ck_assert_uint_eq(trace_writer_module_count(w), 2);
	ck_assert_str_eq(trace_writer_get_module(w, 1).path.data, "/usr/bin/python3.11");
	ck_assert_uint_eq(trace_writer_code_count(w), 2);
	ck_assert_str_eq(trace_writer_code_filename(w, 1).data, "/home/me/app.py");
	ck_assert_int_eq(trace_writer_finish(w, &end, &err), 0);
	ck_assert_uint_eq(trace_writer_bytes(w), (uint64_t)lseek(fd, 0, SEEK_CUR));
	trace_writer_free(w);
}

static void same_text(struct trace_text a, struct trace_text b)
{
	ck_assert_uint_eq(a.size, b.size);
	ck_assert_mem_eq(a.data, b.data, b.size);
	ck_assert_int_eq(a.data[a.size], 0);
}

static void check_header(const struct trace_header *h)
{
	ck_assert_uint_eq(h->version, 1);
	ck_assert_str_eq(h->tool_version, header.tool_version);
	ck_assert_uint_eq(h->start_monotonic_ns, header.start_monotonic_ns);
	ck_assert_uint_eq(h->start_realtime_ns, header.start_realtime_ns);
	ck_assert_str_eq(h->host, header.host);
	ck_assert_str_eq(h->system, header.system);
	ck_assert_uint_eq(h->cpu_count, header.cpu_count);
	ck_assert_uint_eq(h->command_count, 3);
	for (size_t i = 0; i < 3; i++)
		same_text(h->command[i], command[i]);
	same_text(h->directory, header.directory);
	ck_assert_uint_eq(h->rate_hz, header.rate_hz);
	ck_assert(h->wall && h->source);
	ck_assert_uint_eq(h->tick_ns, FIXTURE_TICK_NS);
	same_text(h->options, header.options);
}

static void check_process(const struct trace_process *p, const struct trace_process *expected)
{
	ck_assert_uint_eq(p->index, expected->index);
	ck_assert_int_eq(p->pid, expected->pid);
	ck_assert_int_eq(p->parent_pid, expected->parent_pid);
	ck_assert_uint_eq(p->parent, expected->parent);
	ck_assert_uint_eq(p->start_ns, expected->start_ns);
	ck_assert_uint_eq(p->command_count, expected->command_count);
	for (size_t i = 0; i < p->command_count; i++)
		same_text(p->command[i], expected->command[i]);
	same_text(p->executable, expected->executable);
	ck_assert_uint_eq(p->python_hex, expected->python_hex);
	same_text(p->python_build, expected->python_build);
	ck_assert(p->free_threaded == expected->free_threaded);
	ck_assert_int_eq(p->origin, expected->origin);
	same_text(p->prefix, expected->prefix);
}

static void check_code(const struct trace_defs *defs)
{
	const struct trace_code *code = &defs->codes[0];

	ck_assert_uint_eq(defs->code_count, 2);
	ck_assert_str_eq(defs->strings[code->filename].data, "/home/me/app.py");
	ck_assert_str_eq(defs->strings[code->name].data, "work");
	ck_assert_str_eq(defs->strings[code->qualname].data, "Worker.work");
	ck_assert_int_eq(code->first_line, 3);
	ck_assert_uint_eq(code->flags, 3);
	ck_assert_uint_eq(code->python, 0x30b);
	ck_assert_uint_eq(code->line_table_size, sizeof(line_table));
	ck_assert_mem_eq(code->line_table, line_table, sizeof(line_table));
	ck_assert_uint_eq(code->code_bytes, 20);
	ck_assert_int_eq(defs->codes[1].first_line, 10);
	ck_assert_uint_eq(defs->codes[1].line_table_size, 0);
	ck_assert_uint_eq(defs->node_count, 4);
	ck_assert_uint_eq(defs->nodes[2].parent, 1);
	ck_assert_uint_eq(defs->nodes[2].code, 1);
	ck_assert_int_eq(defs->nodes[2].offset, -1);
	ck_assert_int_eq(defs->nodes[3].offset, 8);
	ck_assert_uint_eq(defs->nodes[1].parent, 0);
}

static void check_defs(const struct trace_defs *defs)
{
	const struct trace_process_end *end = &defs->process_ends[0];

	check_code(defs);
	ck_assert_uint_eq(defs->module_count, 2);
	ck_assert_str_eq(defs->modules[0].path.data, "/usr/lib/libc.so.6");
	ck_assert_int_eq(defs->modules[0].role, TRACE_MODULE_SYSTEM);
	ck_assert_uint_eq(defs->modules[0].build_id_size, 0);
	ck_assert_uint_eq(defs->modules[1].build_id_size, sizeof(build_id));
	ck_assert_mem_eq(defs->modules[1].build_id, build_id, sizeof(build_id));
	ck_assert_uint_eq(defs->pc_count, 3);
	ck_assert_uint_eq(defs->pcs[1].module, 1);
	ck_assert_uint_eq(defs->pcs[1].offset, 0x1234);
	ck_assert_uint_eq(defs->pcs[2].offset, UINT64_MAX);
	ck_assert_uint_eq(defs->process_count, 2);
	for (size_t i = 0; i < 2; i++)
		check_process(&defs->processes[i], &processes[i]);
	ck_assert_uint_eq(defs->thread_count, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(defs->threads[i].index, i);
		ck_assert_uint_eq(defs->threads[i].process, threads[i].process);
		ck_assert_int_eq(defs->threads[i].tid, threads[i].tid);
		ck_assert_uint_eq(defs->threads[i].start_ns, threads[i].start_ns);
		ck_assert(defs->threads[i].main == threads[i].main);
	}
	ck_assert_str_eq(defs->threads[0].name.data, "MainThread");
	ck_assert_str_eq(defs->threads[1].name.data, "worker-1");
	ck_assert_uint_eq(defs->process_end_count, 1);
	ck_assert_uint_eq(end->process, process_end.process);
	ck_assert_uint_eq(end->time_ns, process_end.time_ns);
	ck_assert_int_eq(end->how, process_end.how);
	ck_assert_int_eq(end->status, process_end.status);
	ck_assert_uint_eq(end->cpu_ns, process_end.cpu_ns);
	ck_assert_uint_eq(end->user_ns, process_end.user_ns);
	ck_assert_uint_eq(end->system_ns, process_end.system_ns);
	ck_assert_uint_eq(end->peak_rss_bytes, process_end.peak_rss_bytes);
	ck_assert_uint_eq(defs->symbol_count, 1);
	ck_assert_uint_eq(defs->symbols[0].start, symbol.start);
	ck_assert_uint_eq(defs->symbols[0].size, symbol.size);
	ck_assert_uint_eq(defs->symbols[0].module, symbol.module);
	ck_assert_int_eq(defs->symbols[0].kind, symbol.kind);
	same_text(defs->symbols[0].name, symbol.name);
	ck_assert_uint_eq(defs->source_count, 1);
	same_text(defs->sources[0].path, unit_text("/home/me/app.py"));
	same_text(defs->sources[0].text, unit_text(SOURCE_TEXT));
}

static void same_sample(const struct trace_sample *a, const struct trace_sample *b)
{
	ck_assert_uint_eq(a->thread, b->thread);
	ck_assert_uint_eq(a->node, b->node);
	ck_assert_uint_eq(a->pc, b->pc);
	ck_assert_uint_eq(a->flags, b->flags);
	ck_assert_uint_eq(a->time_ns, b->time_ns);
	ck_assert_uint_eq(a->wall_ns, b->wall_ns);
	ck_assert_uint_eq(a->cpu_ns, b->cpu_ns);
}

static void check_waits(const struct trace_block *block)
{
	ck_assert_uint_eq(block->wait_count, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(block->waits[i].thread, waits[i].thread);
		ck_assert_uint_eq(block->waits[i].node, waits[i].node);
		ck_assert_int_eq(block->waits[i].kind, waits[i].kind);
		ck_assert_uint_eq(block->waits[i].time_ns, waits[i].time_ns);
		ck_assert_uint_eq(block->waits[i].wall_ns, waits[i].wall_ns);
		ck_assert_uint_eq(block->waits[i].cpu_ns, waits[i].cpu_ns);
	}
	ck_assert_uint_eq(block->loss_count, 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(block->losses[i].kind, losses[i].kind);
		ck_assert_uint_eq(block->losses[i].process, losses[i].process);
		ck_assert_uint_eq(block->losses[i].thread, losses[i].thread);
		ck_assert_uint_eq(block->losses[i].time_ns, losses[i].time_ns);
		ck_assert_uint_eq(block->losses[i].count, losses[i].count);
	}
}

void fixture_check(struct trace_reader *r)
{
	const struct trace_end *end;
	struct trace_block block;
	struct err err = {0};
	uint32_t samples = 0;

	ck_assert_ptr_nonnull(r);
	check_header(trace_reader_header(r));
	ck_assert_ptr_null(trace_reader_end(r));
	for (uint32_t n = 0; n < 3; n++) {
		ck_assert_int_eq(trace_reader_next(r, &block, &err), 1);
		ck_assert_uint_eq(block.sequence, n);
		ck_assert_uint_eq(block.process, n / 2);
		for (size_t i = 0; i < block.sample_count && n < 2; i++) {
			struct trace_sample expected = sample_at(samples++);

			same_sample(&block.samples[i], &expected);
			ck_assert_uint_ge(expected.time_ns, block.first_time_ns);
			ck_assert_uint_le(expected.time_ns, block.last_time_ns);
		}
		if (n == 1)
			check_waits(&block);
	}
	ck_assert_uint_eq(samples, FIXTURE_SAMPLES);
	ck_assert_uint_eq(block.sample_count, 3);
	for (size_t i = 0; i < 3; i++)
		same_sample(&block.samples[i], &child_samples[i]);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 0);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 0);
	check_defs(trace_reader_defs(r));
	end = trace_reader_end(r);
	ck_assert_ptr_nonnull(end);
	ck_assert_uint_eq(end->time_ns, 1000 * MS);
	ck_assert_int_eq(end->reason, TRACE_REASON_INTERRUPTED);
	ck_assert_uint_eq(end->samples, FIXTURE_SAMPLES + 3);
	ck_assert_uint_eq(end->blocks, 4);
	ck_assert_int_eq(end->command_status, 130);
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
}
