/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes traces whose profile is known by construction, for the tests of the tools:
 *
 *	make_trace KIND FILE [COUNT]
 *
 * The kinds are the names in the table at the end.
 */
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/trace_maker.h"

#define SECOND UINT64_C(1000000000)
#define KIB UINT64_C(1024)
#define START_NS (UINT64_C(1700000000) * SECOND)
#define APP "/home/me/project/app.py"
#define UTIL "/home/me/project/src/util.py"
#define NUMPY "/usr/lib/python3/dist-packages/numpy/core/fromnumeric.py"
#define STDLIB "/usr/lib/python3.12/json/decoder.py"

static const char app_source[] = "import sys\n"
				 "import threading\n"
				 "\n"
				 "import numpy as np\n"
				 "from src.util import parse\n"
				 "\n"
				 "\n"
				 "def fib(n):\n"
				 "    if n < 2:\n"
				 "        return n\n"
				 "    return fib(n - 1) + fib(n - 2)\n"
				 "\n"
				 "\n"
				 "class Worker(threading.Thread):\n"
				 "    def run(self):\n"
				 "        total = 0\n"
				 "        for i in range(self.count):\n"
				 "            total += i * i\n"
				 "        self.queue.put(total)\n"
				 "        return total\n"
				 "\n"
				 "\n"
				 "def load(path):\n"
				 "\twith open(path) as f:\n"
				 "\t\treturn parse(f.read())  # \xc3\xbc"
				 "ber alles\n"
				 "\n"
				 "\n"
				 "def main():\n"
				 "    data = load(sys.argv[1])\n"
				 "    order = sorted(data)\n"
				 "    mean = np.mean(order)\n"
				 "    print(fib(25), mean)\n"
				 "    worker.join()\n"
				 "\n"
				 "\n"
				 "main()\n";

static const char util_source[] = "import json\n"
				  "\n"
				  "\n"
				  "def parse(text):\n"
				  "    # one | two \x1b[31m three\n"
				  "    return json.loads(text)\n";

struct app {
	struct maker m;
	uint32_t loop_pc, helper_pc, sort_pc, memcpy_pc, read_pc, numpy_pc;
};

static void add_native(struct app *a)
{
	uint32_t python = maker_module(&a->m, "/usr/bin/python3.12", TRACE_MODULE_INTERPRETER);
	uint32_t libc = maker_module(&a->m, "/usr/lib/libc.so.6", TRACE_MODULE_SYSTEM);
	uint32_t numpy = maker_module(&a->m, "/usr/lib/multiarray.so", TRACE_MODULE_OTHER);

	a->loop_pc = trace_writer_pc(a->m.w, python, 0x1000);
	a->helper_pc = trace_writer_pc(a->m.w, python, 0x5000);
	a->sort_pc = trace_writer_pc(a->m.w, python, 0x6010);
	a->memcpy_pc = trace_writer_pc(a->m.w, libc, 0x800);
	a->read_pc = trace_writer_pc(a->m.w, libc, 0x900);
	a->numpy_pc = trace_writer_pc(a->m.w, numpy, 0x12345);
	maker_symbol(&a->m, python, 0x1000, 0x3000, "_PyEval_EvalFrameDefault", TRACE_SYMBOL_EVAL);
	maker_symbol(&a->m, python, 0x5000, 0x100, "PyDict_GetItem", TRACE_SYMBOL_FUNCTION);
	maker_symbol(&a->m, python, 0x6000, 0x200, "list_sort_impl", TRACE_SYMBOL_FUNCTION);
	maker_symbol(&a->m, libc, 0x800, 0x80, "memcpy", TRACE_SYMBOL_FUNCTION);
	maker_symbol(&a->m, libc, 0x900, 0x80, "read", TRACE_SYMBOL_FUNCTION);
}

/* A program with everything: two processes, three threads, user and library code, recursion, C
 * functions, waits and losses. The main process uses 1000 ms, the child 100 ms. */
static void make_demo(struct maker *unused, int fd, uint64_t count)
{
	struct app a;
	struct maker *m = &a.m;
	uint32_t module, main_code, fib, load, run, parse, decode, mean, target;
	uint32_t top, in_main, stack;

	(void)unused;
	maker_open(m, fd, START_NS + count * 60 * SECOND);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	maker_thread(m, 1, 0, 101, "Worker-1");
	add_native(&a);
	module = maker_code(m, APP, "<module>", 1);
	main_code = maker_code(m, APP, "main", 28);
	fib = maker_code(m, APP, "fib", 8);
	load = maker_code(m, APP, "load", 23);
	run = maker_code(m, APP, "Worker.run", 15);
	parse = maker_code(m, UTIL, "parse", 4);
	decode = maker_code(m, STDLIB, "JSONDecoder.raw_decode", 343);
	mean = maker_code(m, NUMPY, "mean", 3385);
	target = maker_code(m, "/usr/lib/python3.12/threading.py", "Thread._bootstrap", 996);
	top = maker_frame(m, 0, module, 35);

	in_main = maker_frame(m, top, main_code, 1);
	stack = maker_frame(m, in_main, load, 2);
	for (int i = 0; i < 30; i++) /* 30 ms in the kernel, reading */
		maker_sample(m, 0, stack, a.read_pc, TRACE_SAMPLE_KERNEL | TRACE_SAMPLE_CALL_C, MS);
	maker_wait(m, 0, stack, TRACE_WAIT_IO, 250 * MS, 0);
	stack = maker_frame(m, maker_frame(m, stack, parse, 2), decode, 10);
	for (int i = 0; i < 200; i++) /* 200 ms library, Python and native */
		maker_sample(m, 0, stack, i % 2 ? a.loop_pc : a.helper_pc, TRACE_SAMPLE_GIL, MS);
	in_main = maker_frame(m, top, main_code, 2);
	for (int i = 0; i < 150; i++) /* 150 ms sorting: never in the loop */
		maker_sample(m, 0, in_main, a.sort_pc, TRACE_SAMPLE_GIL | TRACE_SAMPLE_CALL_C, MS);
	in_main = maker_frame(m, top, main_code, 3);
	stack = maker_frame(m, in_main, mean, 50);
	for (int i = 0; i < 100; i++) /* 100 ms in numpy, 20 of them copying */
		maker_sample(m, 0, stack, i % 5 ? a.numpy_pc : a.memcpy_pc,
			     TRACE_SAMPLE_GIL | TRACE_SAMPLE_CALL_C, MS);
	in_main = maker_frame(m, top, main_code, 4);
	for (int depth = 1; depth <= 20; depth++) { /* 300 ms of recursion */
		stack = in_main;
		for (int i = 0; i < depth; i++)
			stack = maker_frame(m, stack, fib, i + 1 == depth ? 1 : 3);
		for (int i = 0; i < 15; i++)
			maker_sample(m, 0, stack, a.loop_pc, TRACE_SAMPLE_GIL, MS);
	}
	maker_flush(m);
	stack = maker_frame(m, maker_frame(m, 0, target, 5), run, 3);
	for (int i = 0; i < 200; i++) { /* 200 ms in a thread, fighting for the GIL */
		maker_sample(m, 1, stack, a.loop_pc, TRACE_SAMPLE_GIL, MS);
		maker_wait(m, 1, stack, TRACE_WAIT_GIL, MS, 0);
	}
	for (int i = 0; i < 4; i++) /* a line with too few samples to trust */
		maker_sample(m, 1, maker_frame(m, maker_frame(m, 0, target, 5), run, 4), a.loop_pc,
			     TRACE_SAMPLE_GIL, 2 * MS);
	maker_wait(m, 1, 0, TRACE_WAIT_END, 0, 12 * MS);
	in_main = maker_frame(m, top, main_code, 5);
	maker_wait(m, 0, in_main, TRACE_WAIT_LOCK, 350 * MS, 0);
	maker_process(m, 1, 200, 0);
	maker_thread(m, 2, 1, 200, "");
	m->now_ns[2] = 500 * MS;
	for (int i = 0; i < 100; i++)
		maker_sample(m, 2, maker_frame(m, 0, run, 2), a.loop_pc, TRACE_SAMPLE_GIL, MS);
	maker_source(m, APP, app_source);
	maker_source(m, UTIL, util_source);
	maker_loss(m, TRACE_LOSS_MISSED, 3);
	maker_loss(m, TRACE_LOSS_RING_FULL, 2);
	maker_process_end(m, 1, 900 * MS, 100 * MS);
	maker_process_end(m, 0, 1500 * MS, 1010 * MS);
	maker_finish(m, 1500 * MS);
}

/* The same, but the recorder is killed: no End, no index, a torn last frame. */
static void make_torn(struct maker *m, int fd, uint64_t count)
{
	int copy = dup(fd);
	off_t size;

	make_demo(m, fd, count);
	size = lseek(copy, 0, SEEK_END);
	if (ftruncate(copy, size - size / 4) != 0)
		exit(1);
	close(copy);
}

/* A program of others' code alone: what "python -m json.tool" looks like. */
static void make_library(struct maker *m, int fd, uint64_t count)
{
	uint32_t decode;

	maker_open(m, fd, START_NS);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	decode = maker_code(m, STDLIB, "JSONDecoder.raw_decode", 343);
	for (uint64_t i = 0; i < (count ? count : 100); i++)
		maker_sample(m, 0, maker_frame(m, 0, decode, 10), 0, TRACE_SAMPLE_GIL, MS);
	maker_finish(m, 200 * MS);
}

static void make_empty(struct maker *m, int fd, uint64_t count)
{
	(void)count;
	maker_open(m, fd, START_NS);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_finish(m, 100 * MS);
}

/* One stack of COUNT frames that takes turns between two functions. */
static void make_deep(struct maker *m, int fd, uint64_t count)
{
	uint32_t ping, pong, stack = 0;

	maker_open(m, fd, START_NS);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	ping = maker_code(m, APP, "ping", 10);
	pong = maker_code(m, APP, "pong", 20);
	for (uint64_t i = 0; i < (count ? count : 10000); i++) {
		stack = maker_frame(m, stack, i % 2 ? pong : ping, 1);
		if (i % 100 == 0)
			maker_sample(m, 0, stack, 0, TRACE_SAMPLE_GIL, MS);
	}
	for (int i = 0; i < 10; i++)
		maker_sample(m, 0, stack, 0, TRACE_SAMPLE_GIL, MS);
	maker_finish(m, 1000 * MS);
}

/* COUNT different functions, each calling the next: a chain that nothing folds. */
static void make_chain(struct maker *m, int fd, uint64_t count)
{
	uint32_t stack = 0;
	char name[32];

	maker_open(m, fd, START_NS);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	for (uint64_t i = 0; i < (count ? count : 500); i++) {
		snprintf(name, sizeof(name), "step_%u", (unsigned int)i);
		stack = maker_frame(m, stack, maker_code(m, APP, name, (int32_t)i * 3 + 1), 1);
	}
	for (int i = 0; i < 100; i++)
		maker_sample(m, 0, stack, 0, TRACE_SAMPLE_GIL, MS);
	maker_finish(m, 200 * MS);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* COUNT samples, for measuring speed: 8 threads, 400 functions, 20,000 stacks, 3,000 pcs. */
static void make_big(struct maker *m, int fd, uint64_t count)
{
	enum { CODES = 400, STACKS = 20000, PCS = 3000 };
	static uint32_t codes[CODES], stacks[STACKS], pcs[PCS];
	uint64_t random = 88172645463325252u;
	uint32_t python, extension;
	char name[32];

	maker_open(m, fd, START_NS);
	maker_process(m, 0, 100, TRACE_NONE);
	for (uint32_t i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "Worker-%u", i);
		maker_thread(m, i, 0, 100 + (int32_t)i, i ? name : "");
	}
	for (uint32_t i = 0; i < CODES; i++) {
		snprintf(name, sizeof(name), "work_%u", i);
		codes[i] = maker_code(m, i % 3 ? APP : NUMPY, name, (int32_t)(i * 20 + 1));
	}
	for (uint32_t i = 0; i < STACKS; i++)
		stacks[i] = maker_frame(m, i ? stacks[next_random(&random) % i / 2] : 0,
					codes[next_random(&random) % CODES],
					(int32_t)(next_random(&random) % 20));
	python = maker_module(m, "/usr/bin/python3.12", TRACE_MODULE_INTERPRETER);
	extension = maker_module(m, "/usr/lib/multiarray.so", TRACE_MODULE_OTHER);
	for (uint32_t i = 0; i < PCS; i++)
		pcs[i] = trace_writer_pc(m->w, i % 4 ? python : extension, 0x1000 + 12 * i);
	maker_symbol(m, python, 0x1000, 0x4000, "_PyEval_EvalFrameDefault", TRACE_SYMBOL_EVAL);
	maker_symbol(m, python, 0x5000, 0x10000, "PyObject_Call", TRACE_SYMBOL_FUNCTION);
	for (uint64_t i = 0; i < (count ? count : 1000000); i++) {
		/* A hot tenth takes most of it, as in a real program. */
		uint64_t pick = next_random(&random);
		uint32_t stack = stacks[pick % 8 ? pick % (STACKS / 10) : pick % STACKS];

		maker_sample(m, (uint32_t)(i / 64 % 8), stack, pcs[pick / 7 % PCS],
			     TRACE_SAMPLE_GIL, MS + pick % 1000);
		if (i % 65536 == 65535)
			maker_flush(m);
	}
	maker_finish(m, m->now_ns[0] + MS);
}

/* The memory of a program, recorded in full: 100 rounds in which main keeps 1000 bytes, load makes
 * and drops 64 KiB, and parse makes a list of 40 objects of 56 bytes that the next round drops; a
 * mapping of 1 MiB that loses a quarter, Python's arena, reserved address space; 10 MiB copied. The
 * user's code ends after 1000 ms, the process at 1100 ms; COUNT times as many rounds. */
static void make_memory(struct maker *m, int fd, uint64_t count)
{
	const uint64_t rounds = 100 * (count ? count : 1);
	uint32_t keep, load, parse, map;
	uint64_t mapping, buffer, list[40];

	maker_open_rates(m, fd, START_NS, 1, 1);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	keep = maker_frame(m, 0, maker_code(m, APP, "main", 28), 1);
	map = maker_frame(m, 0, maker_code(m, APP, "main", 28), 3);
	load = maker_frame(m, keep, maker_code(m, APP, "load", 23), 1);
	parse = maker_frame(m, load, maker_code(m, UTIL, "parse", 4), 2);
	maker_mark(m, 0, TRACE_MARK_START, 0, "");
	maker_alloc_as(m, 0, map, 256 * KIB, TRACE_HEAP_ARENA, TRACE_HEAP_EXACT);
	maker_alloc_as(m, 0, map, 64 * KIB * KIB, TRACE_HEAP_RESERVED, TRACE_HEAP_EXACT);
	mapping = maker_alloc_as(m, 0, map, KIB * KIB, TRACE_HEAP_ANONYMOUS, TRACE_HEAP_EXACT);
	for (uint64_t i = 0; i < rounds; i++) {
		maker_pass(m, 0, 1000 * MS / rounds);
		maker_footprint(m, 0, m->now_ns[0], 20 * KIB * KIB + 1024 * i);
		maker_alloc(m, 0, keep, 1000);
		buffer = maker_alloc_as(m, 0, load, 64 * KIB, TRACE_HEAP_NATIVE, 0);
		for (size_t n = 0; n < 40; n++) {
			if (i)
				maker_free(m, 0, list[n]);
			list[n] = maker_alloc(m, 0, parse, 56);
		}
		maker_copy(m, 0, load, i % 2 ? TRACE_COPY_READ : TRACE_COPY_MEMORY,
			   10 * KIB * KIB / rounds);
		maker_free(m, 0, buffer);
		if (i == rounds / 2) {
			maker_resize(m, 0, mapping, 768 * KIB);
			maker_mark(m, 0, TRACE_MARK_LABEL, m->now_ns[0], "half time");
		}
	}
	maker_mark(m, 0, TRACE_MARK_FINALIZE, m->now_ns[0], "");
	maker_pass(m, 0, 50 * MS);
	for (size_t n = 0; n < 40; n++)
		maker_free(m, 0, list[n]);
	maker_free(m, 0, mapping);
	maker_process_end(m, 0, 1100 * MS, 0);
	maker_source(m, APP, app_source);
	maker_source(m, UTIL, util_source);
	maker_finish(m, 1100 * MS);
}

/* A server of 20 s, recorded in full: each of 2000 requests appends 20,000 bytes to a global list
 * and drops 100,000; the first 200 fill a cache with 50,000 each. Names are as bad as they can be.
 * A second process allocates 10 MiB without a Python frame. */
static void make_leaks(struct maker *m, int fd, uint64_t count)
{
	uint32_t module, keep, cache, drop;

	(void)count;
	maker_open_rates(m, fd, START_NS, 1, 1);
	maker_process(m, 0, 100, TRACE_NONE);
	maker_thread(m, 0, 0, 100, "");
	module = maker_frame(m, 0, maker_code(m, APP, "<module>", 1), 35);
	keep = maker_frame(m, module, maker_code(m, "/srv/a\x1b[2J`id`\".py", "keep\x1b[31m", 10),
			   2);
	cache = maker_frame(m, module, maker_code(m, APP, "load", 23), 1);
	drop = maker_frame(m, module, maker_code(m, APP, "main", 28), 2);
	for (uint64_t i = 0; i < 2000; i++) {
		maker_pass(m, 0, 10 * MS);
		maker_footprint(m, 0, m->now_ns[0], 20 * KIB * KIB + 30000 * i);
		maker_alloc(m, 0, keep, 20000);
		if (i < 200)
			maker_alloc(m, 0, cache, 50000);
		maker_free(m, 0, maker_alloc(m, 0, drop, 100000));
	}
	maker_mark(m, 0, TRACE_MARK_LABEL, 5 * SECOND, "a `id` \"b\\\nEND\n\x1b[1m");
	maker_mark(m, 0, TRACE_MARK_FINALIZE, m->now_ns[0], "");
	maker_process(m, 1, 200, 0);
	maker_thread(m, 1, 1, 200, "");
	maker_pass(m, 1, SECOND);
	maker_alloc_as(m, 1, 0, 10 * KIB * KIB, TRACE_HEAP_NATIVE, 0);
	trace_writer_process_end(m->w, &(struct trace_process_end){
					       .process = 1,
					       .time_ns = 10 * SECOND,
					       .how = TRACE_END_UNKNOWN,
				       });
	maker_process_end(m, 0, 20 * SECOND, 0);
	maker_source(m, APP, app_source);
	maker_finish(m, 20 * SECOND);
}

static const struct {
	const char *name;
	void (*make)(struct maker *m, int fd, uint64_t count);
} kinds[] = {
	{"big", make_big},     {"chain", make_chain},   {"deep", make_deep},
	{"demo", make_demo},   {"empty", make_empty},   {"library", make_library},
	{"leaks", make_leaks}, {"memory", make_memory}, {"torn", make_torn},
};

int main(int argc, char **argv)
{
	struct maker m;
	int fd;

	for (size_t i = 0; argc >= 3 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, argv[1]) != 0)
			continue;
		fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0) {
			perror(argv[2]);
			return 1;
		}
		kinds[i].make(&m, fd, argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
		return 0;
	}
	fprintf(stderr, "usage: make_trace KIND FILE [COUNT]\n");
	return 2;
}
