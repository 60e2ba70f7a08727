/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing and reading traces: everything comes back, ticks add up, large things are split, and a
 * full disk costs what could not be written and no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <zstd.h>

#include "formats/base/xalloc.h"
#include "formats/trace_index.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

#define GOLDEN "tests/golden/v1.trace"

static struct trace_writer *open_writer(int fd, uint64_t tick_ns)
{
	const struct trace_header header = {
		.tool_version = "0",
		.host = "",
		.system = "",
		.directory = {"", 0},
		.options = {"", 0},
		.tick_ns = tick_ns,
	};
	struct err err = {0};
	struct trace_writer *w = trace_writer_open(fd, &header, 0, &err);

	ck_assert_msg(w != NULL, "%s", err.text);
	return w;
}

static struct trace_reader *open_content(const struct buf *content)
{
	struct err err = {0};
	struct trace_reader *r = trace_reader_open_memory(content->data, content->size, &err);

	ck_assert_msg(r != NULL, "%s", err.text);
	return r;
}

START_TEST(everything_comes_back)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf content;

	fixture_write(fd);
	content = unit_content(copy);
	fixture_check(open_content(&content));
	buf_release(&content);
	close(copy);
}
END_TEST

/* Everything that a reader gave so far, in numbers. */
struct given {
	size_t blocks, samples, waits, heap, copies, marks, footprints, losses;
};

/* Takes all blocks that are there. */
static void take_blocks(struct trace_reader *r, struct given *given)
{
	struct trace_block block;
	struct err err = {0};
	int ret;

	while ((ret = trace_reader_next(r, &block, &err)) == 1) {
		given->blocks++;
		given->samples += block.sample_count;
		given->waits += block.wait_count;
		given->heap += block.heap_count;
		given->copies += block.copy_count;
		given->marks += block.mark_count;
		given->footprints += block.footprint_count;
		given->losses += block.loss_count;
	}
	ck_assert_msg(ret == 0, "%s", err.text);
}

static struct buf fixture_content(void)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf content;

	fixture_write(fd);
	content = unit_content(copy);
	close(copy);
	return content;
}

START_TEST(a_growing_file_is_followed)
{
	struct buf content = fixture_content();
	char path[] = "/tmp/scprof-follow-XXXXXX";
	int to = mkstemp(path);
	struct trace_reader *whole = open_content(&content);
	struct trace_reader *r = NULL;
	struct given expected = {0}, given = {0};
	struct err err = {0};
	bool early;

	take_blocks(whole, &expected);
	ck_assert_ptr_null(trace_reader_open_follow("/nonexistent/t.trace", &early, &err));
	ck_assert(early);
	ck_assert_ptr_null(trace_reader_open_follow("/tmp", &early, &err));
	ck_assert(!early);
	for (size_t i = 0; i <= content.size; i++) {
		if (!r) {
			r = trace_reader_open_follow(path, &early, &err);
			ck_assert_msg(r || early, "byte %zu: %s", i, err.text);
		}
		if (r)
			take_blocks(r, &given);
		if (i < content.size)
			ck_assert_int_eq(write(to, content.data + i, 1), 1);
	}
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(memcmp(&given, &expected, sizeof(given)), 0);
	ck_assert_ptr_nonnull(trace_reader_end(r));
	ck_assert_ptr_null(trace_reader_damage(r));
	ck_assert_uint_eq(trace_reader_bytes(r), content.size);
	ck_assert_uint_eq(trace_reader_defs(r)->symbol_count,
			  trace_reader_defs(whole)->symbol_count);
	trace_reader_close(r);
	trace_reader_close(whole);
	buf_release(&content);
	close(to);
	unlink(path);
}
END_TEST

/* A writer without disk space takes back what it could not complete. */
START_TEST(a_followed_file_may_take_back_half_a_block)
{
	struct buf content = fixture_content();
	char path[] = "/tmp/scprof-follow-XXXXXX";
	int to = mkstemp(path);
	struct trace_reader *whole = open_content(&content), *r;
	struct given expected = {0}, given = {0};
	struct trace_block block;
	struct err err = {0};
	bool early;
	size_t half = content.size / 2;

	take_blocks(whole, &expected);
	ck_assert_int_eq(write(to, content.data, half), (ssize_t)half);
	r = trace_reader_open_follow(path, &early, &err);
	ck_assert_msg(r != NULL, "%s", err.text);
	take_blocks(r, &given);
	ck_assert_int_eq(ftruncate(to, (off_t)trace_reader_bytes(r)), 0);
	take_blocks(r, &given);
	half = trace_reader_bytes(r);
	ck_assert_int_eq(pwrite(to, content.data + half, content.size - half, (off_t)half),
			 (ssize_t)(content.size - half));
	take_blocks(r, &given);
	ck_assert_int_eq(memcmp(&given, &expected, sizeof(given)), 0);
	ck_assert_ptr_null(trace_reader_damage(r));
	ck_assert_int_eq(ftruncate(to, 0), 0);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), -1);
	trace_reader_close(r);
	trace_reader_close(whole);
	buf_release(&content);
	close(to);
	unlink(path);
}
END_TEST

/* With SCPROF_WRITE_GOLDEN=FILE the golden trace is written there: once per version. */
START_TEST(refusals_come_back)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct trace_writer *w = open_writer(fd, 0);
	struct trace_end end = {0};
	struct trace_block block;
	struct err err = {0};
	const struct trace_refusal *back;
	struct trace_reader *r;
	struct buf content;

	for (int i = 0; i < 1000; i++)
		trace_writer_refusal(w, &(struct trace_refusal){
						.pid = i,
						.parent_pid = i + 1,
						.python = i % 2,
						.time_ns = (uint64_t)i,
						.command = unit_text(i % 2 ? "python2 a b" : ""),
						.why = unit_text("it is too old"),
					});
	ck_assert_int_eq(trace_writer_finish(w, &end, &err), 0);
	trace_writer_free(w);
	content = unit_content(copy);
	r = open_content(&content);
	while (trace_reader_next(r, &block, &err) == 1) {
	}
	ck_assert_uint_eq(trace_reader_defs(r)->refusal_count, 1000);
	back = &trace_reader_defs(r)->refusals[7];
	ck_assert_int_eq(back->pid, 7);
	ck_assert_int_eq(back->parent_pid, 8);
	ck_assert(back->python);
	ck_assert_uint_eq(back->time_ns, 7);
	ck_assert_str_eq(back->command.data, "python2 a b");
	ck_assert_str_eq(back->why.data, "it is too old");
	ck_assert_str_eq(back[1].command.data, "");
	trace_reader_close(r);
	buf_release(&content);
	close(copy);
}
END_TEST

START_TEST(golden_trace_stays_readable)
{
	const char *write_to = getenv("SCPROF_WRITE_GOLDEN");
	struct err err = {0};
	struct trace_reader *r;

	if (write_to) {
		int fd = open(write_to, O_RDWR | O_CREAT | O_EXCL, 0644);

		ck_assert_int_ge(fd, 0);
		fixture_write(fd);
	}
	r = trace_reader_open(GOLDEN, &err);
	ck_assert_msg(r != NULL, "%s", err.text);
	fixture_check(r);
}
END_TEST

START_TEST(plain_zstd_decodes_it)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf content;
	size_t size;
	char *plain;

	fixture_write(fd);
	content = unit_content(copy);
	plain = xmalloc(1 << 20);
	size = ZSTD_decompress(plain, 1 << 20, content.data, content.size);
	ck_assert(!ZSTD_isError(size));
	ck_assert_uint_gt(size, 1000);
	ck_assert_ptr_nonnull(memmem(plain, size, "Worker.work", 11));
	free(plain);
	buf_release(&content);
	close(copy);
}
END_TEST

static void *write_fixture(void *arg)
{
	int ends[2];
	char data[4096];
	ssize_t n;

	/* The fixture asks for the file's position: give it a file, and the pipe what is in it. */
	ends[0] = unit_temporary();
	ends[1] = *(int *)arg;
	fixture_write(dup(ends[0]));
	lseek(ends[0], 0, SEEK_SET);
	while ((n = read(ends[0], data, 100)) > 0)
		ck_assert_int_eq(io_write_all(ends[1], data, (size_t)n), 0);
	close(ends[0]);
	close(ends[1]);
	return NULL;
}

START_TEST(pipes_are_read)
{
	struct err err = {0};
	struct trace_reader *r;
	pthread_t thread;
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_fixture, &ends[1]), 0);
	ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	r = trace_reader_open("-", &err);
	fixture_check(r);
	pthread_join(thread, NULL);
	close(ends[0]);
}
END_TEST

START_TEST(pipes_are_written)
{
	struct trace_sample sample = {.time_ns = 5000, .wall_ns = 5000, .cpu_ns = 4000};
	const struct trace_end end = {.time_ns = 6000};
	struct trace_block block;
	struct err err = {0};
	struct trace_reader *r;
	struct trace_writer *w;
	char data[65536];
	int ends[2];
	ssize_t n;

	ck_assert_int_eq(pipe(ends), 0);
	w = open_writer(ends[1], 1000);
	trace_writer_sample(w, 0, &sample);
	ck_assert_int_eq(trace_writer_finish(w, &end, &err), 0);
	trace_writer_free(w);
	n = read(ends[0], data, sizeof(data));
	ck_assert_int_gt(n, 0);
	r = trace_reader_open_memory(data, (size_t)n, &err);
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 1);
	ck_assert_uint_eq(block.sample_count, 1);
	ck_assert_uint_eq(block.samples[0].cpu_ns, 4000);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 0);
	ck_assert_ptr_nonnull(trace_reader_end(r));
	trace_reader_close(r);
	close(ends[0]);
}
END_TEST

START_TEST(index_tells_where_blocks_are)
{
	struct trace_index index;
	struct err err = {0};
	char path[64];
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf content;

	fixture_write(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	ck_assert_int_eq(trace_index_load(path, &index, &err), 1);
	ck_assert_uint_eq(index.count, 4);
	ck_assert_uint_eq(index.entries[0].process, 0);
	ck_assert_uint_eq(index.entries[0].kinds, 1);
	ck_assert_uint_eq(index.entries[1].kinds, 7 | 8);
	ck_assert_uint_eq(index.entries[2].process, 1);
	ck_assert_uint_eq(index.entries[3].process, TRACE_NONE);
	ck_assert_uint_eq(index.entries[3].kinds, 16 | 32);
	content = unit_content(copy);
	for (size_t i = 0; i < index.count; i++) {
		const struct pack_index_entry *entry = &index.entries[i];

		ck_assert_uint_eq(ZSTD_findFrameCompressedSize(content.data + entry->offset,
							       content.size - entry->offset),
				  entry->size);
		ck_assert_uint_le(entry->first_time_ns, entry->last_time_ns);
	}
	trace_index_release(&index);
	ck_assert_int_eq(ftruncate(copy, (off_t)content.size - 1), 0);
	ck_assert_int_eq(trace_index_load(path, &index, &err), 0);
	ck_assert_int_eq(trace_index_load("/nowhere", &index, &err), -1);
	buf_release(&content);
	close(copy);
}
END_TEST

struct totals {
	uint64_t samples;
	uint64_t waits;
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t ready_ns;
	uint64_t lost[TRACE_LOSS_KINDS];
};

static struct totals read_totals(const struct buf *content)
{
	struct trace_reader *r = open_content(content);
	struct totals totals = {0};
	struct trace_block block;
	struct err err = {0};

	while (trace_reader_next(r, &block, &err) == 1) {
		totals.samples += block.sample_count;
		totals.waits += block.wait_count;
		for (size_t i = 0; i < block.sample_count; i++) {
			totals.wall_ns += block.samples[i].wall_ns;
			totals.cpu_ns += block.samples[i].cpu_ns;
			totals.ready_ns += block.samples[i].ready_ns;
			ck_assert(!i || block.samples[i].time_ns >= block.samples[i - 1].time_ns);
		}
		for (size_t i = 0; i < block.wait_count; i++) {
			totals.wall_ns += block.waits[i].wall_ns;
			totals.cpu_ns += block.waits[i].cpu_ns;
			totals.ready_ns += block.waits[i].ready_ns;
		}
		for (size_t i = 0; i < block.loss_count; i++)
			totals.lost[block.losses[i].kind] += block.losses[i].count;
	}
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
	return totals;
}

/* Ticks from fine to far too coarse: the totals of a thread stay within one tick. */
START_TEST(ticks_add_up)
{
	static const uint64_t ticks[] = {1, 7, 1000, 4000, 10000, 1000000, 250000000};
	uint64_t tick = ticks[_i];
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd), tick);
	struct totals totals;
	struct buf content;
	uint64_t state = 7 + (uint64_t)_i;
	uint64_t now = 123456;
	uint64_t wall = 0;
	uint64_t cpu = 0;
	uint64_t ready = 0;

	for (uint32_t i = 0; i < 5000; i++) {
		uint64_t span = unit_random(&state) % 2000000;
		uint64_t stood = span / 3;
		uint64_t used = span ? unit_random(&state) % (span + span / 50) : 0;

		now += span;
		wall += span;
		cpu += used;
		ready += stood;
		if (unit_random(&state) % 10) {
			struct trace_sample sample = {
				.time_ns = now, .wall_ns = span, .cpu_ns = used, .ready_ns = stood};

			trace_writer_sample(w, 0, &sample);
		} else {
			struct trace_wait wait = {
				.time_ns = now, .wall_ns = span, .cpu_ns = used, .ready_ns = stood};

			trace_writer_wait(w, 0, &wait);
		}
		if (i % 1000 == 999)
			ck_assert_int_eq(trace_writer_flush(w, NULL), 0);
	}
	trace_writer_free(w);
	content = unit_content(fd);
	totals = read_totals(&content);
	ck_assert_uint_eq(totals.samples + totals.waits, 5000);
	ck_assert_uint_lt(totals.wall_ns, wall + tick);
	ck_assert_uint_gt(totals.wall_ns + tick, wall);
	ck_assert_uint_lt(totals.cpu_ns, cpu + tick);
	ck_assert_uint_gt(totals.cpu_ns + tick, cpu);
	ck_assert_uint_le(totals.ready_ns, ready);
	ck_assert_uint_gt(totals.ready_ns + tick, ready);
	buf_release(&content);
	close(fd);
}
END_TEST

/* Threads that report late and by turns: blocks are in order of time, threads stay in theirs. */
START_TEST(threads_are_sorted_together)
{
	enum { THREADS = 5, EACH = 30000 };
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd), 1000);
	uint64_t last[THREADS] = {0};
	struct trace_block block;
	struct err err = {0};
	struct trace_reader *r;
	struct buf content;
	size_t samples = 0;
	size_t blocks = 0;

	for (uint32_t thread = 0; thread < THREADS; thread++) {
		for (uint32_t i = 0; i < EACH; i++) {
			struct trace_sample sample = {
				.thread = thread,
				.time_ns = (uint64_t)i * 1000000 + thread * 1000,
				.wall_ns = i ? 1000000 : 0,
				.cpu_ns = i ? 900000 : 0,
			};

			trace_writer_sample(w, 0, &sample);
		}
	}
	ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	trace_writer_free(w);
	content = unit_content(fd);
	r = open_content(&content);
	while (trace_reader_next(r, &block, &err) == 1) {
		for (size_t i = 0; i < block.sample_count; i++) {
			const struct trace_sample *sample = &block.samples[i];

			ck_assert(!i || sample->time_ns >= block.samples[i - 1].time_ns);
			ck_assert(sample->time_ns >= last[sample->thread]);
			ck_assert(sample->wall_ns == (last[sample->thread] ? 1000000 : 0) ||
				  sample->time_ns < 2000000);
			last[sample->thread] = sample->time_ns;
		}
		samples += block.sample_count;
		blocks++;
	}
	ck_assert_uint_eq(samples, THREADS * EACH);
	ck_assert_uint_gt(blocks, 1);
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
	buf_release(&content);
	close(fd);
}
END_TEST

/* More definitions than a block may hold, and sources of many megabytes. */
START_TEST(many_definitions_are_split)
{
	enum { STRINGS = 60000, SOURCES = 5, SOURCE_BYTES = 3000000 };
	char *text = xcalloc(1, SOURCE_BYTES + 1);
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd), 0);
	const struct trace_defs *defs;
	struct trace_block block;
	struct err err = {0};
	struct trace_reader *r;
	struct buf content;
	uint64_t state = 1;
	uint32_t node = 0;

	for (size_t i = 0; i < SOURCE_BYTES; i++)
		text[i] = (char)('a' + unit_random(&state) % 16);
	for (int i = 0; i < SOURCES; i++)
		trace_writer_source(w, &(struct trace_source){{"file", 4}, {text, SOURCE_BYTES}});
	for (uint32_t i = 0; i < STRINGS; i++) {
		struct trace_code code = {.python = 0x30b, .line_table = (const uint8_t *)text};
		char name[150];
		int n = snprintf(name, sizeof(name), "%0140u", i);

		code.name = trace_writer_string(w, name, (size_t)n);
		node = trace_writer_node(w, node, trace_writer_code(w, &code), (int32_t)i);
	}
	trace_writer_sample(w, 0, &(struct trace_sample){.node = node});
	ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	trace_writer_free(w);
	content = unit_content(fd);
	r = open_content(&content);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 1);
	ck_assert_uint_gt(block.sequence, 4);
	ck_assert_uint_eq(block.samples[0].node, STRINGS);
	defs = trace_reader_defs(r);
	ck_assert_uint_eq(defs->node_count, STRINGS + 1);
	ck_assert_uint_eq(defs->code_count, STRINGS);
	for (size_t i = 0; i < STRINGS; i++)
		ck_assert_uint_eq(strtoul(defs->strings[defs->codes[i].name].data, NULL, 10), i);
	ck_assert_uint_eq(defs->source_count, SOURCES);
	ck_assert_mem_eq(defs->sources[SOURCES - 1].text.data, text, SOURCE_BYTES + 1);
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
	buf_release(&content);
	free(text);
	close(fd);
}
END_TEST

START_TEST(full_disk_costs_what_did_not_fit)
{
	const struct rlimit small = {.rlim_cur = 3000, .rlim_max = RLIM_INFINITY};
	const struct rlimit large = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	FILE *file = tmpfile();
	int fd = fileno(file);
	struct trace_writer *w = open_writer(dup(fd), 1000);
	const struct trace_end end = {.time_ns = 1};
	struct trace_reader *r;
	struct trace_block block;
	struct totals totals;
	struct err err = {0};
	struct buf content;
	uint64_t state = 3;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint32_t i = 1; i <= 4000; i++) {
		struct trace_sample sample = {
			.time_ns = i * 1000000ull,
			.wall_ns = 1000000,
			.cpu_ns = unit_random(&state) % 1000000,
			.pc = trace_writer_pc(w, 0, i),
		};
		int ret;

		trace_writer_sample(w, 0, &sample);
		if (i % 1000)
			continue;
		ret = trace_writer_flush(w, &err);
		ck_assert_int_eq(ret, -1);
		ck_assert_int_eq(err.code, ERR_SYSTEM);
		ck_assert_uint_eq((uint64_t)lseek(fd, 0, SEEK_END), trace_writer_bytes(w));
		if (i == 3000)
			ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &large), 0);
		if (i == 3000)
			break;
	}
	trace_writer_sample(w, 0, &(struct trace_sample){.time_ns = 4000000000, .pc = 2999});
	ck_assert_int_eq(trace_writer_finish(w, &end, &err), 0);
	trace_writer_free(w);
	content = unit_content(fd);
	totals = read_totals(&content);
	ck_assert_uint_eq(totals.samples, 1);
	ck_assert_uint_eq(totals.lost[TRACE_LOSS_WRITE], 3000);
	r = open_content(&content);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 1);
	ck_assert_uint_eq(trace_reader_defs(r)->pcs[block.samples[0].pc].offset, 2999);
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 0);
	ck_assert_uint_eq(trace_reader_end(r)->samples, 1);
	trace_reader_close(r);
	buf_release(&content);
	fclose(file);
}
END_TEST

START_TEST(a_trace_that_cannot_begin_leaves_the_descriptor)
{
	const struct trace_header header = {.tool_version = "", .host = "", .system = ""};
	int fd = open("/dev/full", O_WRONLY);
	struct err err = {0};

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_null(trace_writer_open(fd, &header, 0, &err));
	ck_assert_str_eq(err.text, "cannot write the trace: No space left on device");
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("trace");

	tcase_add_test(tests, everything_comes_back);
	tcase_add_test(tests, a_growing_file_is_followed);
	tcase_add_test(tests, a_followed_file_may_take_back_half_a_block);
	tcase_add_test(tests, refusals_come_back);
	tcase_add_test(tests, golden_trace_stays_readable);
	tcase_add_test(tests, plain_zstd_decodes_it);
	tcase_add_test(tests, pipes_are_read);
	tcase_add_test(tests, pipes_are_written);
	tcase_add_test(tests, index_tells_where_blocks_are);
	tcase_add_loop_test(tests, ticks_add_up, 0, 7);
	tcase_add_test(tests, threads_are_sorted_together);
	tcase_add_test(tests, many_definitions_are_split);
	tcase_add_test(tests, full_disk_costs_what_did_not_fit);
	tcase_add_test(tests, a_trace_that_cannot_begin_leaves_the_descriptor);
	return unit_run("trace", tests);
}
