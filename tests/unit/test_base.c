/* SPDX-License-Identifier: Apache-2.0
 *
 * formats/base: buffers, maps, arenas, numbers, errors, whole reads and writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "formats/base/arena.h"
#include "formats/base/err.h"
#include "formats/base/log.h"
#include "formats/base/map.h"
#include "formats/base/parse.h"
#include "formats/base/xalloc.h"
#include "tests/unit/unit.h"

START_TEST(errors_are_wrapped_and_cut)
{
	struct err err = {0};
	char big[2000];

	ck_assert_int_eq(err_set(&err, ERR_CORRUPT, "block %d", 7), -1);
	ck_assert_int_eq(err_wrap(&err, "%s", "run.trace"), -1);
	ck_assert_str_eq(err.text, "run.trace: block 7");
	ck_assert_int_eq(err.code, ERR_CORRUPT);
	errno = ENOENT;
	err_errno(&err, "cannot open '%s'", "x");
	ck_assert_str_eq(err.text, "cannot open 'x': No such file or directory");
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&err, ERR_FAILED, "%s", big);
	err_wrap(&err, "%s", big);
	err_errno(&err, "%s", big);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	err_set(NULL, ERR_FAILED, "nobody listens");
	err_wrap(NULL, "nobody listens");
	err_errno(NULL, "nobody listens");
}
END_TEST

START_TEST(buffers_grow)
{
	struct buf b = {0};

	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	buf_add(&b, NULL, 0);
	buf_add_text(&b, "end");
	buf_add_byte(&b, '.');
	ck_assert_uint_eq(b.size, 3890 + 4);
	ck_assert_str_eq(buf_text(&b) + 3886, "999,end.");
	buf_clear(&b);
	ck_assert_str_eq(buf_text(&b), "");
	buf_release(&b);
	buf_release(&b);
}
END_TEST

START_TEST(varints_round_trip)
{
	static const uint64_t values[] = {0,     1,          127,        128,        16383,
					  16384, UINT32_MAX, 1ull << 62, 1ull << 63, UINT64_MAX};
	static const uint8_t too_long[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2};
	const uint8_t *at;
	struct buf b = {0};
	uint64_t value;

	for (size_t i = 0; i < 10; i++)
		buf_add_varint(&b, values[i]);
	at = b.data;
	for (size_t i = 0; i < 10; i++) {
		ck_assert_int_eq(varint_read(&at, b.data + b.size, &value), 0);
		ck_assert_uint_eq(value, values[i]);
	}
	ck_assert_ptr_eq(at, b.data + b.size);
	ck_assert_int_eq(varint_read(&at, at, &value), -1);
	at = b.data + b.size - 10; /* UINT64_MAX, cut off */
	ck_assert_int_eq(varint_read(&at, b.data + b.size - 1, &value), -1);
	ck_assert_ptr_eq(at, b.data + b.size - 10);
	at = too_long;
	ck_assert_int_eq(varint_read(&at, too_long + sizeof(too_long), &value), -1);
	buf_release(&b);
}
END_TEST

/* Keys that collide and come and go: the map must agree with a plain array. */
START_TEST(maps_agree_with_an_array)
{
	enum { KEYS = 500 };
	uint32_t shadow[KEYS];
	struct map m = {0};
	uint64_t state = 42;
	size_t count = 0;
	uint32_t value;
	uint64_t key;

	memset(shadow, 0xff, sizeof(shadow));
	ck_assert_uint_eq(map_get(&m, 1), MAP_NONE);
	ck_assert_uint_eq(map_remove(&m, 1), MAP_NONE);
	for (uint32_t i = 0; i < 100000; i++) {
		size_t k = unit_random(&state) % KEYS;

		key = k * 0x100000000u;
		switch (unit_random(&state) % 4) {
		case 0:
			map_set(&m, key, i);
			shadow[k] = i;
			break;
		case 1:
			value = map_get_or_set(&m, key, i);
			shadow[k] = shadow[k] == MAP_NONE ? i : shadow[k];
			ck_assert_uint_eq(value, shadow[k]);
			break;
		case 2:
			ck_assert_uint_eq(map_remove(&m, key), shadow[k]);
			shadow[k] = MAP_NONE;
			break;
		default:
			ck_assert_uint_eq(map_get(&m, key), shadow[k]);
		}
	}
	for (size_t at = 0; map_next(&m, &at, &key, &value); count++)
		ck_assert_uint_eq(value, shadow[key / 0x100000000u]);
	ck_assert_uint_eq(count, m.count);
	for (size_t k = 0; k < KEYS; k++)
		count -= shadow[k] != MAP_NONE;
	ck_assert_uint_eq(count, 0);
	map_clear(&m);
	ck_assert_uint_eq(map_get(&m, 0), MAP_NONE);
	ck_assert_uint_eq(m.count, 0);
	map_release(&m);
}
END_TEST

START_TEST(interned_bytes_keep_their_ids)
{
	struct intern in = {0};
	const char *first;
	char text[32];
	size_t size;
	bool added;

	ck_assert_uint_eq(intern_find(&in, "a", 1), MAP_NONE);
	ck_assert_uint_eq(intern_add(&in, "", 0, &added), 0);
	ck_assert(added);
	ck_assert_uint_eq(intern_add(&in, "a\0b", 3, NULL), 1);
	first = intern_get(&in, 1, NULL);
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(text, sizeof(text), "text number %d", i);

		ck_assert_uint_eq(intern_add(&in, text, (size_t)n, &added), (uint32_t)i + 2);
		ck_assert(added);
	}
	ck_assert_uint_eq(intern_add(&in, "text number 777", 15, &added), 779);
	ck_assert(!added);
	ck_assert_uint_eq(intern_find(&in, "text number 777", 14), 79);
	ck_assert_uint_eq(intern_find(&in, "a\0c", 3), MAP_NONE);
	ck_assert_ptr_eq(intern_get(&in, 1, &size), first);
	ck_assert_uint_eq(size, 3);
	ck_assert_mem_eq(first, "a\0b", 4);
	intern_release(&in);
}
END_TEST

START_TEST(arenas_stop_at_their_cap)
{
	struct arena a = {.cap = 100000};
	size_t got = 0;

	while (arena_alloc(&a, 100))
		got += 100;
	ck_assert_uint_gt(got, 50000);
	ck_assert_uint_le(got, 100000);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
	ck_assert_ptr_null(arena_copy(&a, "x", SIZE_MAX));
	arena_reset(&a);
	ck_assert_str_eq(arena_copy(&a, "again", 5), "again");
	ck_assert_ptr_nonnull(arena_alloc(&a, 0));
	arena_release(&a);
	ck_assert_ptr_nonnull(arena_alloc(&a, 90000));
	arena_release(&a);
}
END_TEST

static const struct {
	const char *text;
	uint64_t value;
} sizes[] =
	{
		{"0", 0},         {"512", 512},          {"64K", 65536},
		{"64kib", 65536}, {"10M", 10485760},     {"1.5G", 1610612736},
		{"0.1k", 102},    {"2T", 2199023255552}, {"17b", 17},
},
  durations[] = {
	  {"1.5", 1500000000}, {"200ms", 200000000}, {"2m", 120000000000}, {"1h", 3600000000000},
	  {"50us", 50000},     {"7ns", 7},           {"0.1", 100000000},   {".5s", 500000000},
	  {"3.", 3000000000},  {"0.000000001", 1},
};

START_TEST(sizes_and_times_are_read)
{
	static const char *const bad[] = {"",
					  "-1",
					  "K",
					  "1X",
					  "1 K",
					  "0x10",
					  "1K2",
					  ".",
					  "1e3",
					  "nan",
					  "99999999999999999999",
					  "99999999999T"};
	struct err err = {0};
	uint64_t value;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(parse_size(sizes[i].text, &value, &err), 0);
		ck_assert_uint_eq(value, sizes[i].value);
	}
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		ck_assert_int_eq(parse_duration(durations[i].text, &value, &err), 0);
		ck_assert_uint_eq(value, durations[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(parse_size(bad[i], &value, &err), -1);
		ck_assert_int_eq(parse_duration(bad[i], &value, &err), -1);
		ck_assert_int_eq(err.code, ERR_USAGE);
	}
}
END_TEST

START_TEST(numbers_are_read)
{
	struct err err = {0};
	uint64_t value;
	double number;

	ck_assert_int_eq(parse_uint("42", 1, 42, &value, &err), 0);
	ck_assert_uint_eq(value, 42);
	ck_assert_int_eq(parse_uint("43", 1, 42, &value, &err), -1);
	ck_assert_str_eq(err.text, "43 is not between 1 and 42");
	ck_assert_int_eq(parse_uint("0", 1, 42, &value, &err), -1);
	ck_assert_int_eq(parse_uint("-1", 0, UINT64_MAX, &value, &err), -1);
	ck_assert_int_eq(parse_uint(" 1", 0, UINT64_MAX, &value, &err), -1);
	ck_assert_int_eq(parse_uint("1x", 0, UINT64_MAX, &value, &err), -1);
	ck_assert_int_eq(parse_uint("18446744073709551616", 0, UINT64_MAX, &value, &err), -1);
	ck_assert_int_eq(parse_double("-2.5", &number, &err), 0);
	ck_assert(number == -2.5);
	ck_assert_int_eq(parse_double("inf", &number, &err), -1);
	ck_assert_int_eq(parse_double("", &number, &err), -1);
	ck_assert_int_eq(parse_double("1 ", &number, &err), -1);
}
END_TEST

static void *write_big(void *arg)
{
	int fd = *(int *)arg;
	char *data = xcalloc(1, 1 << 20);

	ck_assert_int_eq(io_write_all(fd, data, 1 << 20), 0);
	close(fd);
	free(data);
	return NULL;
}

START_TEST(whole_reads_and_writes)
{
	char *data = xmalloc(2 << 20);
	pthread_t thread;
	int ends[2];

	/* More than a pipe holds, and from a descriptor that does not block. */
	ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_big, &ends[1]), 0);
	ck_assert_int_eq(io_read_all(ends[0], data, 2 << 20), 1 << 20);
	pthread_join(thread, NULL);
	close(ends[0]);
	ck_assert_int_eq(io_read_all(-1, data, 1), -1);
	ck_assert_int_eq(io_write_all(-1, data, 1), -1);
	free(data);
}
END_TEST

START_TEST(files_are_read_up_to_a_cap)
{
	struct err err = {0};
	struct buf b = {0};

	ck_assert_int_eq(io_read_file("/proc/self/cmdline", 1 << 20, &b, &err), 0);
	ck_assert_uint_gt(b.size, 0);
	ck_assert_int_eq(io_read_file("/dev/zero", 1 << 20, &b, &err), -1);
	ck_assert_int_eq(err.code, ERR_FAILED);
	ck_assert_int_eq(io_read_file("/nowhere", 1 << 20, &b, &err), -1);
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	buf_release(&b);
}
END_TEST

START_TEST(messages_have_the_tool_in_front)
{
	char text[256] = {0};
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_init("scprof-unit", LOG_NORMAL);
	log_error("cannot open '%s'", "x");
	log_warn("slow");
	log_note("done");
	log_verbose("not shown");
	log_init("scprof-unit", LOG_QUIET);
	log_warn("not shown");
	log_init("scprof-unit", LOG_DEBUG);
	log_debug("shown");
	ck_assert_int_gt(read(ends[0], text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, "scprof-unit: cannot open 'x'\n"
			       "scprof-unit: warning: slow\n"
			       "scprof-unit: done\n"
			       "scprof-unit: shown\n");
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("base");

	tcase_add_test(tests, errors_are_wrapped_and_cut);
	tcase_add_test(tests, buffers_grow);
	tcase_add_test(tests, varints_round_trip);
	tcase_add_test(tests, maps_agree_with_an_array);
	tcase_add_test(tests, interned_bytes_keep_their_ids);
	tcase_add_test(tests, arenas_stop_at_their_cap);
	tcase_add_test(tests, sizes_and_times_are_read);
	tcase_add_test(tests, numbers_are_read);
	tcase_add_test(tests, whole_reads_and_writes);
	tcase_add_test(tests, files_are_read_up_to_a_cap);
	tcase_add_test(tests, messages_have_the_tool_in_front);
	return unit_run("base", tests);
}
