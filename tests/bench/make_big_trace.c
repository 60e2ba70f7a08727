/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a trace of a given number of samples with the production writer, for measuring the
 * readers:
 *
 *     make_big_trace SAMPLES OUT.trace [HEAP_EVENTS]
 *
 * It looks like the trace of a server: 16 threads, 2000 functions in 100 files, stacks of 5 to 40
 * frames that walk at random through a call tree of some 20,000 nodes, a tenth of the time waiting.
 * Heap events, as in a full recording, are those of heap_mix.h, evenly between the samples.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/trace_writer.h"
#include "tests/bench/heap_mix.h"

enum {
	THREADS = 16,
	FILES = 100,
	FUNCTIONS = 2000,
	LINES = 32, /* per function */
	PATHS = 4000,
	MAX_DEPTH = 40,
	FLUSH_EVERY = 20000,
	FLUSH_PENDING = 1000000,
	SAMPLE_NS = 40000, /* at least between two samples */
};

static uint64_t state = 88172645463325252ull;

static uint32_t dice(uint32_t sides)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % sides;
}

static struct trace_text text_of(const char *string)
{
	return (struct trace_text){string, strlen(string)};
}

static void define(struct trace_writer *w, uint32_t *codes)
{
	/* One line per two code units: the table of 3.10, pairs of bytes and line advances. */
	static uint8_t table[2 * LINES];

	for (size_t i = 0; i < LINES; i++) {
		table[2 * i] = 4;
		table[2 * i + 1] = i ? 1 : 0;
	}
	for (uint32_t i = 0; i < FUNCTIONS; i++) {
		char file[64], name[64];
		struct trace_code code = {.first_line = (int32_t)(1 + i / FILES * (LINES + 3)),
					  .python = 0x30a,
					  .line_table = table,
					  .line_table_size = sizeof table,
					  .code_bytes = 4 * LINES};

		snprintf(file, sizeof file, "/srv/app/module_%03u.py", i % FILES);
		snprintf(name, sizeof name, "function_%04u", i);
		code.filename = trace_writer_string(w, file, strlen(file));
		code.name = trace_writer_string(w, name, strlen(name));
		code.qualname = code.name;
		codes[i] = trace_writer_code(w, &code);
	}
}

/* Leaf nodes of stacks that share most of their outer frames. */
static void make_paths(struct trace_writer *w, const uint32_t *codes, uint32_t *leaves)
{
	uint32_t nodes[MAX_DEPTH];
	uint32_t depth = 0;

	for (size_t i = 0; i < PATHS; i++) {
		uint32_t wanted = 5 + dice(MAX_DEPTH - 5);
		uint32_t keep = depth ? dice(depth) : 0;

		for (depth = keep; depth < wanted; depth++) {
			uint32_t parent = depth ? nodes[depth - 1] : 0;

			nodes[depth] = trace_writer_node(w, parent, codes[dice(FUNCTIONS)],
							 (int32_t)(4 * dice(LINES)));
		}
		leaves[i] = nodes[depth - 1];
	}
}

/* The heap events of the time up to a sample. */
static void write_heap(struct trace_writer *w, struct heap_mix *mix, uint64_t count, uint64_t now)
{
	for (uint64_t i = 0; i < count; i++) {
		struct trace_heap event = heap_mix_next(mix);

		event.time_ns = now - SAMPLE_NS + i * SAMPLE_NS / count;
		trace_writer_heap(w, 0, &event);
	}
}

static int write_events(struct trace_writer *w, uint64_t samples, uint64_t heap_events,
			const uint32_t *leaves, const uint32_t *pcs, struct err *err)
{
	static struct heap_mix mix;
	uint64_t last[THREADS] = {0};
	uint32_t place[THREADS] = {0};
	uint64_t now = 0;

	heap_mix_init(&mix, leaves, PATHS, THREADS);
	for (uint64_t i = 0; i < samples; i++) {
		uint32_t thread = dice(THREADS);
		struct trace_sample sample = {.thread = thread, .pc = pcs[dice(64)]};

		now += SAMPLE_NS + dice(45000);
		write_heap(w, &mix, heap_events * (i + 1) / samples - heap_events * i / samples,
			   now);
		if (dice(3) == 0)
			place[thread] = dice(PATHS);
		if (dice(10) == 0) {
			struct trace_wait wait = {.thread = thread,
						  .node = leaves[place[thread]],
						  .kind = (enum trace_wait_kind)(1 + dice(4)),
						  .time_ns = now,
						  .wall_ns = now - last[thread]};

			trace_writer_wait(w, 0, &wait);
			last[thread] = now;
			now += 1000;
		}
		sample.node = leaves[place[thread]];
		sample.time_ns = now;
		sample.wall_ns = now - last[thread];
		sample.cpu_ns = sample.wall_ns - sample.wall_ns / 64;
		sample.flags = dice(4) ? TRACE_SAMPLE_GIL : TRACE_SAMPLE_GIL | TRACE_SAMPLE_CALL_C;
		last[thread] = now;
		trace_writer_sample(w, 0, &sample);
		if ((i % FLUSH_EVERY == FLUSH_EVERY - 1 ||
		     trace_writer_pending(w) >= FLUSH_PENDING) &&
		    trace_writer_flush(w, err))
			return -1;
	}
	struct trace_process_end end = {.time_ns = now, .how = TRACE_END_EXIT};
	trace_writer_process_end(w, &end);
	return trace_writer_finish(w, &(struct trace_end){.time_ns = now, .samples = samples}, err);
}

int main(int argc, char **argv)
{
	static uint32_t codes[FUNCTIONS], leaves[PATHS], pcs[64];
	struct trace_text command[] = {text_of("python3"), text_of("server.py")};
	struct trace_header header = {.version = TRACE_VERSION,
				      .tool_version = SCPROF_VERSION,
				      .start_realtime_ns = 1700000000000000000ull,
				      .host = "bench",
				      .system = "Linux",
				      .cpu_count = THREADS,
				      .command = command,
				      .command_count = 2,
				      .directory = text_of("/srv/app"),
				      .rate_hz = 1000,
				      .wall = true,
				      .tick_ns = 1000,
				      .options = text_of("")};
	struct trace_process process = {.pid = 4000,
					.parent_pid = 1,
					.parent = TRACE_NONE,
					.command = command,
					.command_count = 2,
					.executable = text_of("/usr/bin/python3"),
					.python_hex = 0x030a0df0,
					.python_build = text_of("3.10.13"),
					.prefix = text_of("/usr")};
	struct trace_module interpreter = {.path = text_of("/usr/bin/python3"),
					   .role = TRACE_MODULE_INTERPRETER};
	struct err err = {0};
	struct trace_writer *w;
	uint64_t heap_events;
	uint32_t module;
	int fd;

	if (argc < 3 || argc > 4 || strtoull(argv[1], NULL, 10) == 0) {
		fprintf(stderr, "usage: make_big_trace SAMPLES OUT.trace [HEAP_EVENTS]\n");
		return 2;
	}
	heap_events = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	header.memory_rate = heap_events > 0;
	fd = open(argv[2], O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	w = trace_writer_open(fd, &header, 0, &err);
	if (!w) {
		close(fd);
		fprintf(stderr, "make_big_trace: %s\n", err.text);
		return 1;
	}
	trace_writer_process(w, &process);
	for (uint32_t i = 0; i < THREADS; i++) {
		char name[32];

		snprintf(name, sizeof name, "worker-%02u", i);
		trace_writer_thread(w, &(struct trace_thread){.index = i,
							      .tid = (int32_t)(4000 + i),
							      .main = i == 0,
							      .name = text_of(name)});
	}
	define(w, codes);
	make_paths(w, codes, leaves);
	module = trace_writer_module(w, &interpreter);
	for (size_t i = 0; i < 64; i++)
		pcs[i] = trace_writer_pc(w, module, 0x1000 + 64 * i);
	if (write_events(w, strtoull(argv[1], NULL, 10), heap_events, leaves, pcs, &err)) {
		fprintf(stderr, "make_big_trace: %s\n", err.text);
		trace_writer_free(w);
		return 1;
	}
	trace_writer_free(w);
	return 0;
}
