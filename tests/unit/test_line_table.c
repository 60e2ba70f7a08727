/* SPDX-License-Identifier: Apache-2.0
 *
 * Location tables by hand: each format's corners. line_table_check.py compares whole standard
 * libraries with their interpreters.
 */
#include "formats/line_table.h"
#include "tests/unit/unit.h"

static struct trace_code code_of(uint32_t python, int32_t first_line, const void *table,
				 size_t size, uint32_t code_bytes)
{
	return (struct trace_code){
		.python = python,
		.first_line = first_line,
		.line_table = table,
		.line_table_size = size,
		.code_bytes = code_bytes,
	};
}

static void check_line(const struct trace_code *code, int32_t offset, int32_t line)
{
	ck_assert_int_eq(line_table_find(code, offset).line, line);
}

START_TEST(python_39)
{
	/* 4 bytes on line 10, 6 on 11, then 300 lines on, then back. */
	static const uint8_t table[] = {4, 1, 6, 127, 0, 127, 0, 46, 2, 0x80, 0, 0xff};
	struct trace_code code = code_of(0x309, 10, table, sizeof(table), 20);
	size_t count;
	struct line_range *ranges = line_table_expand(&code, &count);

	check_line(&code, 0, 10);
	check_line(&code, 2, 10);
	check_line(&code, 4, 11);
	check_line(&code, 8, 11);
	check_line(&code, 10, 311);
	check_line(&code, 12, 182);
	check_line(&code, 18, 182);
	check_line(&code, 20, 10);
	check_line(&code, -1, 10);
	ck_assert_uint_eq(count, 4);
	ck_assert_int_eq(ranges[3].start, 12);
	ck_assert_int_eq(ranges[3].end, 20);
	ck_assert_int_eq(ranges[3].position.end_line, 0);
	ck_assert_int_eq(ranges[3].position.column, 0);
	free(ranges);
}
END_TEST

START_TEST(python_310)
{
	/* A range without a line comes first, and one in between. */
	static const uint8_t table[] = {2, 0x80, 4, 0, 6, 0x80, 2, 5, 0, 100, 4, 0xf6};
	struct trace_code code = code_of(0x30a, 7, table, sizeof(table), 18);

	check_line(&code, 0, 7);
	check_line(&code, 2, 7);
	check_line(&code, 6, 7);
	check_line(&code, 12, 12);
	check_line(&code, 14, 102);
	check_line(&code, 18, 7);
}
END_TEST

static void check_position(const struct trace_code *code, int32_t offset,
			   struct line_position expected)
{
	struct line_position found = line_table_find(code, offset);

	ck_assert_int_eq(found.line, expected.line);
	ck_assert_int_eq(found.end_line, expected.end_line);
	ck_assert_int_eq(found.column, expected.column);
	ck_assert_int_eq(found.end_column, expected.end_column);
}

START_TEST(python_311)
{
	static const uint8_t table[] = {
		0x80 | 15 << 3, /* no location, 1 unit */
		0x80 | 14 << 3 | 1,
		3,
		2,
		10,
		0x41, /* line -1, to +2, columns 9 .. */
		1,    /* .. to 64 */
		0x80 | 11 << 3,
		4,
		9, /* line +1, columns 4 to 9 */
		0x80 | 2 << 3 | 7,
		0x35, /* columns 19 to 24, 8 units */
		0x80 | 13 << 3,
		0x4a,
		1,              /* line +37, without columns */
		0x80 | 15 << 3, /* no location again */
		0x80 | 14 << 3,
		0,
		0,
		0,
		0, /* long, without columns */
	};
	struct trace_code code = code_of(0x30d, 100, table, sizeof(table), 28);

	check_position(&code, 0, (struct line_position){100, 0, 0, 0});
	check_position(&code, 2, (struct line_position){99, 101, 10, 65});
	check_position(&code, 4, (struct line_position){99, 101, 10, 65});
	check_position(&code, 6, (struct line_position){100, 100, 5, 10});
	check_position(&code, 8, (struct line_position){100, 100, 20, 25});
	check_position(&code, 22, (struct line_position){100, 100, 20, 25});
	check_position(&code, 24, (struct line_position){137, 137, 0, 0});
	code.code_bytes = 30;
	check_position(&code, 26, (struct line_position){137, 0, 0, 0});
	check_position(&code, 28, (struct line_position){137, 137, 0, 0});
	check_position(&code, 30, (struct line_position){100, 0, 0, 0});
}
END_TEST

START_TEST(line_zero_is_no_line)
{
	/* The first instruction of a module. */
	static const uint8_t table[] = {0xf0, 3, 1, 1, 1, 0x80 | 11 << 3, 0, 3};
	struct trace_code code = code_of(0x30b, 1, table, sizeof(table), 4);

	check_position(&code, 0, (struct line_position){1, 0, 0, 0});
	check_position(&code, 2, (struct line_position){1, 1, 1, 4});
	code.first_line = 0;
	check_line(&code, 0, 1);
}
END_TEST

START_TEST(damage_gives_the_first_line)
{
	static const uint8_t not_an_entry[] = {0x05, 0x05};
	static const uint8_t endless[] = {0xf0, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f};
	static const uint8_t cut[] = {0x80, 0x11, 0xf0, 3};
	struct trace_code code = code_of(0x30c, 5, not_an_entry, sizeof(not_an_entry), 8);
	struct line_range *ranges;
	size_t count;

	check_line(&code, 0, 5);
	code = code_of(0x30c, 5, endless, sizeof(endless), 8);
	check_line(&code, 0, 5);
	code = code_of(0x30c, 5, cut, sizeof(cut), 8);
	check_position(&code, 0, (struct line_position){5, 5, 2, 3});
	check_position(&code, 2, (struct line_position){5, 0, 0, 0});
	ranges = line_table_expand(&code, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(ranges[1].end, 8);
	free(ranges);
	code = code_of(0x309, 5, "", 0, 0);
	check_line(&code, 100, 5);
	ranges = line_table_expand(&code, &count);
	ck_assert_uint_eq(count, 1);
	ck_assert_int_eq(ranges[0].position.line, 5);
	free(ranges);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("line_table");

	tcase_add_test(tests, python_39);
	tcase_add_test(tests, python_310);
	tcase_add_test(tests, python_311);
	tcase_add_test(tests, line_zero_is_no_line);
	tcase_add_test(tests, damage_gives_the_first_line);
	return unit_run("line_table", tests);
}
