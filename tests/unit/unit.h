/* SPDX-License-Identifier: Apache-2.0
 *
 * What the unit test programs share: their main, and small fixtures. Each program is one suite; a
 * test that cannot run here says "skipped: WHY" on stdout, which run_unit.py counts.
 */
#ifndef SCPROF_UNIT_H
#define SCPROF_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "formats/trace_event.h"

#define UNIT_TIMEOUT_S 300

#if defined(__SANITIZE_ADDRESS__)
#define UNIT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNIT_SANITIZED 1
#endif
#endif
#ifndef UNIT_SANITIZED
#define UNIT_SANITIZED 0
#endif

/* Runs the one test case and frees it; for main's return. */
static inline int unit_run(const char *name, TCase *tests)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tests, UNIT_TIMEOUT_S);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline struct trace_text unit_text(const char *text)
{
	return (struct trace_text){text, strlen(text)};
}

/* A file without a name. */
static inline int unit_temporary(void)
{
	int fd = memfd_create("unit", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Everything in the file, read from its start. */
static inline struct buf unit_content(int fd)
{
	struct buf content = {0};
	off_t size = lseek(fd, 0, SEEK_END);

	ck_assert_int_ge(size, 0);
	ck_assert_int_eq(io_pread_all(fd, buf_reserve(&content, (size_t)size + 1), (size_t)size, 0),
			 size);
	content.size = (size_t)size;
	return content;
}

/* Small, fast and the same everywhere. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
