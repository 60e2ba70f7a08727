/* SPDX-License-Identifier: Apache-2.0
 *
 * Mutated traces: bits and bytes changed, pieces moved, of the file as it is and of what its frames
 * hold, compressed again. Nothing may crash, hang or ask for much memory, and whatever comes out
 * must keep to the reader's promises. SCPROF_MUTATIONS is the number of mutants of each kind; many
 * with sanitizers, few without.
 */
#include <sys/resource.h>
#include <zstd.h>

#include "formats/trace_frame.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fixture.h"
#include "tests/unit/fixture_memory.h"
#include "tests/unit/unit.h"

#define MANY 50000u
#define FEW 4000u
#define MAX_FRAMES 16
#define MAX_RSS_KB (UNIT_SANITIZED ? 3000000 : 900000)

static uint64_t mutations(void)
{
	const char *text = getenv("SCPROF_MUTATIONS");

	if (text)
		return strtoull(text, NULL, 10);
	return UNIT_SANITIZED ? MANY : FEW;
}

/* One to four changes at random places. */
static void mutate(struct buf *b, uint64_t *state)
{
	static const uint8_t favourites[] = {0, 1, 0x7f, 0x80, 0xff, 0x28, 0xb5};
	uint64_t changes = 1 + unit_random(state) % 4;

	while (changes-- && b->size > 1) {
		size_t at = unit_random(state) % b->size;
		size_t to = unit_random(state) % b->size;
		size_t n = unit_random(state) % 24 + 1;

		n = n > b->size - at ? b->size - at : n;
		n = n > b->size - to ? b->size - to : n;
		switch (unit_random(state) % 6) {
		case 0:
			b->data[at] ^= (uint8_t)(1u << unit_random(state) % 8);
			break;
		case 1:
			b->data[at] = favourites[unit_random(state) % sizeof(favourites)];
			break;
		case 2:
			b->data[at] = (uint8_t)unit_random(state);
			break;
		case 3: /* copy a piece over another */
			memmove(b->data + to, b->data + at, n);
			break;
		case 4: /* take a piece out */
			memmove(b->data + at, b->data + at + n, b->size - at - n);
			b->size -= n;
			break;
		default: /* say a piece twice */
			buf_reserve(b, n);
			memmove(b->data + at + n, b->data + at, b->size - at);
			b->size += n;
		}
	}
}

static void check_memory(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	ck_assert_msg(usage.ru_maxrss < MAX_RSS_KB, "used %ld KB", usage.ru_maxrss);
}

/* The reader gets memory of exactly that size. */
static void read_mutant(const struct buf *b)
{
	uint8_t *copy = malloc(b->size ? b->size : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, b->data, b->size);
	fuzz_read_trace(copy, b->size);
	free(copy);
}

/* The traces that are mutated: one of samples, one of memory events. */
static void (*const fixtures[])(int fd) = {fixture_write, fixture_memory_write};

static struct buf fixture_bytes(int which)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf bytes;

	fixtures[which](fd);
	bytes = unit_content(copy);
	close(copy);
	return bytes;
}

START_TEST(mutated_files)
{
	struct buf original = fixture_bytes(_i);
	struct buf mutant = {0};
	uint64_t state = 0x5c9a0f;

	for (uint64_t i = mutations(); i > 0; i--) {
		buf_clear(&mutant);
		buf_add(&mutant, original.data, original.size);
		mutate(&mutant, &state);
		read_mutant(&mutant);
	}
	check_memory();
	buf_release(&original);
	buf_release(&mutant);
}
END_TEST

START_TEST(mutated_contents)
{
	struct buf original = fixture_bytes(_i);
	struct frame_writer *frames = frame_writer_new(1);
	struct buf contents[MAX_FRAMES] = {0};
	struct buf mutant = {0};
	struct buf file = {0};
	uint64_t state = 0x77;
	size_t count = 0;

	for (size_t at = 0; at < original.size;) {
		const uint8_t *frame = original.data + at;
		size_t size = ZSTD_findFrameCompressedSize(frame, original.size - at);

		at += size;
		if (frame[0] != 0x28)
			continue; /* the index */
		ck_assert_uint_lt(count, MAX_FRAMES);
		size = ZSTD_decompress(buf_reserve(&contents[count], 1 << 16), 1 << 16, frame,
				       size);
		ck_assert(!ZSTD_isError(size));
		contents[count++].size = size;
	}
	for (uint64_t i = mutations(); i > 0; i--) {
		size_t victim = unit_random(&state) % count;

		buf_clear(&file);
		for (size_t n = 0; n < count; n++) {
			buf_clear(&mutant);
			buf_add(&mutant, contents[n].data, contents[n].size);
			if (n == victim)
				mutate(&mutant, &state);
			ck_assert_int_eq(frame_writer_add(frames, &mutant, NULL, 0, &file, NULL),
					 0);
		}
		read_mutant(&file);
	}
	check_memory();
	for (size_t n = 0; n < count; n++)
		buf_release(&contents[n]);
	frame_writer_free(frames);
	buf_release(&original);
	buf_release(&mutant);
	buf_release(&file);
}
END_TEST

/* Frames that say little and hold much: the caps must hold. */
START_TEST(bombs_are_defused)
{
	size_t size = TRACE_MAX_FRAME_BYTES + (_i ? 1 : -4096);
	struct frame_writer *frames = frame_writer_new(1);
	struct buf content = {0};
	struct buf file = {0};

	memset(buf_reserve(&content, size), _i, size);
	content.size = size;
	content.data[0] = 0x80 | ((size - 4) & 0x7f);
	content.data[1] = 0x80 | ((size - 4) >> 7 & 0x7f);
	content.data[2] = 0x80 | ((size - 4) >> 14 & 0x7f);
	content.data[3] = (uint8_t)((size - 4) >> 21);
	buf_release(&file);
	file = fixture_bytes(0);
	ck_assert_int_eq(frame_writer_add(frames, &content, NULL, 0, &file, NULL), 0);
	ck_assert_int_eq(frame_writer_add(frames, &content, NULL, 0, &file, NULL), 0);
	buf_release(&content);
	ck_assert_int_gt(fuzz_read_trace(file.data, file.size), 0);
	check_memory();
	frame_writer_free(frames);
	buf_release(&file);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("mutate");

	tcase_add_loop_test(tests, mutated_files, 0, 2);
	tcase_add_loop_test(tests, mutated_contents, 0, 2);
	tcase_add_loop_test(tests, bombs_are_defused, 0, 2);
	return unit_run("mutate", tests);
}
