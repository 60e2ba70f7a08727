/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sample and a heap event cost in a trace: bytes on disk, and time to write and to read it.
 *
 *	measure_trace [SECONDS [RATE [TICK_NS [LEVEL [EVENTS]]]]]
 *
 * One thread that runs for SECONDS (60) at RATE (1000) samples a second with jittered times; 50
 * stacks with a few popular ones, 12 of 300 pcs for each; blocks of one second. Then EVENTS
 * (5000000) of the heap, as heap_mix.h makes them in 4 threads and 500 stacks.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "formats/base/parse.h"
#include "formats/base/xalloc.h"
#include "formats/trace_reader.h"
#include "formats/trace_writer.h"
#include "tests/bench/heap_mix.h"
#include "tests/unit/unit.h"

#define STACKS 50
#define PCS 300
#define PCS_OF_STACK 12
#define CODES 20
#define MAX_DEPTH 12
#define HEAP_STACKS 500
#define NS 1000000000.0

struct program {
	uint32_t codes[STACKS][MAX_DEPTH];
	int32_t offsets[STACKS][MAX_DEPTH];
	uint32_t depth[STACKS];
	uint64_t pcs[PCS];
	uint32_t pcs_of[STACKS][PCS_OF_STACK];
};

struct event {
	struct trace_sample sample;
	uint32_t stack;
	uint64_t pc;
};

static uint64_t state = 88172645463325252u;

static double uniform(void)
{
	return (double)(unit_random(&state) >> 11) / 9007199254740992.0;
}

static double exponential(double mean)
{
	return -mean * log(1 - uniform());
}

/* 0 to n - 1, each half as popular as one that is twice as far in front. */
static uint32_t popular(uint32_t n)
{
	double left = uniform() * (log(n) + 0.5772 + 0.5 / n);
	uint32_t i = 0;

	while (i + 1 < n && (left -= 1.0 / (i + 1)) > 0)
		i++;
	return i;
}

static double seconds(void)
{
	struct timespec now;

	/* CPU time: others may use the machine too. */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / NS;
}

static void make_program(struct program *p, struct trace_writer *w)
{
	uint32_t codes[CODES];

	for (uint32_t i = 0; i < CODES; i++) {
		uint8_t table[60];
		char text[40];
		struct trace_code code = {
			.first_line = (int32_t)i * 20 + 1,
			.python = 0x30b,
			.line_table = table,
			.line_table_size = sizeof(table),
			.code_bytes = 200,
		};

		for (size_t n = 0; n < sizeof(table); n++)
			table[n] = (uint8_t)unit_random(&state);
		snprintf(text, sizeof(text), "/home/me/app/module%u.py", i % 5);
		code.filename = trace_writer_string(w, text, strlen(text));
		snprintf(text, sizeof(text), "function_%u", i);
		code.name = code.qualname = trace_writer_string(w, text, strlen(text));
		codes[i] = trace_writer_code(w, &code);
	}
	for (uint32_t i = 0; i < PCS; i++)
		p->pcs[i] = 0x40000 + unit_random(&state) % 400000;
	for (uint32_t i = 0; i < STACKS; i++) {
		p->depth[i] = 4 + (uint32_t)unit_random(&state) % 8;
		for (uint32_t n = 0; n < p->depth[i]; n++) {
			p->codes[i][n] = codes[n < 3 ? n : unit_random(&state) % CODES];
			p->offsets[i][n] = n < 3 ? 60 : (int32_t)(unit_random(&state) % 90) * 2;
		}
		for (uint32_t n = 0; n < PCS_OF_STACK; n++)
			p->pcs_of[i][n] = (uint32_t)fmin(PCS - 1, exponential(80));
	}
}

/* Times that a sampler with half an interval of jitter sees, and the thread's own clock. */
static void make_events(const struct program *p, struct event *events, size_t count, uint64_t rate)
{
	double interval = NS / (double)rate;
	uint64_t last = 0;
	uint32_t stack = 0;

	for (size_t i = 0; i < count; i++) {
		double when = ((double)i + uniform() / 2 + 0.05) * interval + exponential(15000);
		uint64_t now = (uint64_t)when > last ? (uint64_t)when : last + 1000;
		uint64_t off = (uint64_t)exponential(2500);

		if (uniform() < 0.02)
			off += (uint64_t)exponential(150000);
		off = off > now - last ? now - last : off;
		if (uniform() < 0.75)
			stack = popular(STACKS);
		events[i] = (struct event){
			.sample = {.time_ns = now,
				   .wall_ns = now - last,
				   .cpu_ns = now - last - off},
			.stack = stack,
			.pc = p->pcs[p->pcs_of[stack][popular(PCS_OF_STACK)]],
		};
		events[i].sample.flags = TRACE_SAMPLE_GIL |
					 (uniform() < 0.03 ? TRACE_SAMPLE_KERNEL : 0) |
					 (stack % 3 ? 0 : TRACE_SAMPLE_CALL_C);
		last = now;
	}
}

static void write_events(struct trace_writer *w, const struct program *p, struct event *events,
			 size_t count, size_t each)
{
	const struct trace_module module = {
		{"/usr/bin/python3.11", 19}, NULL, 0, TRACE_MODULE_INTERPRETER};
	uint32_t id = trace_writer_module(w, &module);

	for (size_t i = 0; i < count; i++) {
		struct event *e = &events[i];

		for (uint32_t n = 0; n < p->depth[e->stack]; n++)
			e->sample.node = trace_writer_node(w, e->sample.node, p->codes[e->stack][n],
							   p->offsets[e->stack][n]);
		e->sample.pc = trace_writer_pc(w, id, e->pc);
		trace_writer_sample(w, 0, &e->sample);
		if (i % each == each - 1 && trace_writer_flush(w, NULL) < 0)
			exit(1);
	}
}

/* The file's bytes. */
static struct buf content_of(int fd, const struct trace_writer *w)
{
	struct buf content = {0};
	size_t size = trace_writer_bytes(w);

	if (io_pread_all(fd, buf_reserve(&content, size), size, 0) != (ssize_t)size)
		exit(1);
	content.size = size;
	return content;
}

static bool measure_samples(const struct trace_header *header, int level, size_t count, size_t each)
{
	int fd = memfd_create("measure", 0);
	struct program *program = xcalloc(1, sizeof(*program));
	struct event *events = xcalloc(count, sizeof(*events));
	struct err err = {0};
	struct trace_writer *w = trace_writer_open(fd, header, level, &err);
	struct trace_reader *r;
	struct trace_block block;
	struct buf content;
	int64_t cpu_off = 0;
	size_t n = 0;
	double start;
	double end;

	make_program(program, w);
	make_events(program, events, count, each);
	start = seconds();
	write_events(w, program, events, count, each);
	if (trace_writer_finish(w, &(struct trace_end){.time_ns = 1}, &err) < 0)
		return false;
	end = seconds();
	printf("%zu samples, %" PRIu64 " bytes: %.2f bytes a sample\n", count,
	       trace_writer_bytes(w), (double)trace_writer_bytes(w) / (double)count);
	printf("write: %.1f M samples/s\n", (double)count / (end - start) / 1e6);
	content = content_of(fd, w);
	start = seconds();
	r = trace_reader_open_memory(content.data, content.size, &err);
	while (trace_reader_next(r, &block, &err) == 1) {
		for (size_t i = 0; i < block.sample_count; i++)
			cpu_off += (int64_t)block.samples[i].cpu_ns -
				   (int64_t)events[n++].sample.cpu_ns;
	}
	end = seconds();
	printf("read: %.1f M samples/s\n", (double)n / (end - start) / 1e6);
	printf("CPU time: %" PRId64 " ns off, a tick is %" PRIu64 " ns\n", cpu_off,
	       trace_reader_header(r)->tick_ns);
	trace_reader_close(r);
	trace_writer_free(w);
	buf_release(&content);
	free(events);
	free(program);
	return n == count;
}

static bool measure_heap(const struct trace_header *header, int level, size_t count)
{
	struct heap_mix *mix = xmalloc(sizeof(*mix));
	struct trace_heap *events = xcalloc(count, sizeof(*events));
	uint32_t nodes[HEAP_STACKS];
	int fd = memfd_create("measure", 0);
	struct err err = {0};
	struct trace_writer *w = trace_writer_open(fd, header, level, &err);
	struct trace_reader *r;
	struct trace_block block;
	struct buf content;
	size_t same = 0;
	size_t n = 0;
	double start;
	double end;

	for (uint32_t i = 0; i < HEAP_STACKS; i++)
		nodes[i] = trace_writer_node(w, i / 3, 0, (int32_t)i);
	heap_mix_init(mix, nodes, HEAP_STACKS, 4);
	for (size_t i = 0; i < count; i++)
		events[i] = heap_mix_next(mix);
	start = seconds();
	for (size_t i = 0; i < count; i++) {
		trace_writer_heap(w, 0, &events[i]);
		if (i % 1000000 == 999999 && trace_writer_flush(w, &err) < 0)
			return false;
	}
	if (trace_writer_finish(w, &(struct trace_end){.time_ns = 1}, &err) < 0)
		return false;
	end = seconds();
	printf("%zu heap events, %" PRIu64 " bytes: %.3f bytes an event\n", count,
	       trace_writer_bytes(w), (double)trace_writer_bytes(w) / (double)count);
	printf("write: %.1f M events/s\n", (double)count / (end - start) / 1e6);
	content = content_of(fd, w);
	start = seconds();
	r = trace_reader_open_memory(content.data, content.size, &err);
	while (trace_reader_next(r, &block, &err) == 1) {
		for (size_t i = 0; i < block.heap_count; i++, n++)
			same += block.heap[i].block == events[n].block &&
				block.heap[i].size == events[n].size;
	}
	end = seconds();
	printf("read: %.1f M events/s\n", (double)n / (end - start) / 1e6);
	trace_reader_close(r);
	trace_writer_free(w);
	buf_release(&content);
	free(events);
	free(mix);
	return same == count;
}

int main(int argc, char **argv)
{
	uint64_t numbers[] = {60, 1000, 0, 0, 5000000};
	struct trace_header header = {.tool_version = "0", .host = "", .system = ""};
	struct err err = {0};

	for (int i = 1; i < argc && i <= 5; i++) {
		if (parse_uint(argv[i], 0, 100000000, &numbers[i - 1], &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 2;
		}
	}
	header.tick_ns = numbers[2];
	return !measure_samples(&header, (int)numbers[3], numbers[0] * numbers[1], numbers[1]) ||
	       !measure_heap(&header, (int)numbers[3], numbers[4]);
}
