/* SPDX-License-Identifier: Apache-2.0
 *
 * The index frame, see trace_index.h.
 */
#include "formats/trace_index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/io.h"
#include "formats/trace_frame.h"

#include "formats/base/banned.h"

#define INDEX_FRAME_MAGIC 0x184d2a5cu
#define INDEX_END_MAGIC 0x78706373u /* "scpx" */
#define INDEX_FRAME_BYTES 16u       /* what surrounds the message */
#define INDEX_MAX_MEMORY ((size_t)1 << 30)

static void put_u32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

uint32_t trace_index_kinds(const struct pack_block *block)
{
	const bool present[] = {
		block->samples.count > 0,     block->waits.count > 0,   block->loss_count > 0,
		block->process_end_count > 0, block->symbol_count > 0,  block->source_count > 0,
		block->heap.count > 0,        block->copies.count > 0,  block->footprints.count > 0,
		block->mark_count > 0,        block->refusal_count > 0,
	};
	uint32_t kinds = 0;

	for (size_t i = 0; i < sizeof(present) / sizeof(present[0]); i++)
		kinds |= (uint32_t)present[i] << i;
	return kinds;
}

void trace_index_write(const struct pack_index_entry *entries, size_t count, struct buf *out)
{
	struct buf message = {0};
	uint8_t word[8];

	pack_index(entries, count, &message);
	if (message.size + INDEX_FRAME_BYTES <= TRACE_MAX_FRAME_BYTES) {
		put_u32(word, INDEX_FRAME_MAGIC);
		put_u32(word + 4, (uint32_t)message.size + 8);
		buf_add(out, word, sizeof(word));
		buf_add(out, message.data, message.size);
		put_u32(word, (uint32_t)message.size + INDEX_FRAME_BYTES);
		put_u32(word + 4, INDEX_END_MAGIC);
		buf_add(out, word, sizeof(word));
	}
	buf_release(&message);
}

int trace_index_load(const char *path, struct trace_index *index, struct err *err)
{
	struct buf frame = {0};
	struct stat status;
	uint8_t end[8];
	uint32_t size;
	int ret = -1;
	int fd;

	*index = (struct trace_index){.arena = {.cap = INDEX_MAX_MEMORY}};
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0) {
		err_errno(err, "cannot open '%s'", path);
		goto out;
	}
	ret = 0;
	if (!S_ISREG(status.st_mode) || status.st_size < INDEX_FRAME_BYTES ||
	    io_pread_all(fd, end, sizeof(end), status.st_size - (off_t)sizeof(end)) !=
		    (ssize_t)sizeof(end))
		goto out;
	size = get_u32(end);
	if (get_u32(end + 4) != INDEX_END_MAGIC || size < INDEX_FRAME_BYTES ||
	    size > TRACE_MAX_FRAME_BYTES || size > status.st_size)
		goto out;
	ret = -1;
	if (io_pread_all(fd, buf_reserve(&frame, size), size, status.st_size - (off_t)size) !=
	    (ssize_t)size) {
		err_errno(err, "cannot read the index of '%s'", path);
		goto out;
	}
	if (get_u32(frame.data) != INDEX_FRAME_MAGIC || get_u32(frame.data + 4) != size - 8) {
		err_set(err, ERR_CORRUPT, "the index of '%s' is damaged", path);
		goto out;
	}
	if (pack_unpack_index(frame.data + 8, size - INDEX_FRAME_BYTES, &index->arena,
			      &index->entries, &index->count, err) < 0) {
		err_wrap(err, "%s", path);
		goto out;
	}
	ret = 1;
out:
	if (fd >= 0)
		close(fd);
	buf_release(&frame);
	if (ret != 1)
		trace_index_release(index);
	return ret;
}

void trace_index_release(struct trace_index *index)
{
	arena_release(&index->arena);
	*index = (struct trace_index){0};
}
