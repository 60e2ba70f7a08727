/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: the trace reader. Bytes that begin like a zstd frame are a file; all others are what
 * a frame holds, put behind a good header, so that mutations get past the checksums.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/pack.h"
#include "formats/trace_frame.h"
#include "tests/fuzz/fuzz.h"

static void add_frame(struct frame_writer *frames, const uint8_t *data, size_t size,
		      struct buf *file)
{
	struct buf content = {0};

	buf_add(&content, data, size);
	FUZZ_CHECK(frame_writer_add(frames, &content, NULL, 0, file, NULL) == 0);
	buf_release(&content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	const struct trace_header header = {
		.version = TRACE_VERSION,
		.tool_version = "0",
		.host = "",
		.system = "",
		.tick_ns = 1000,
	};
	struct frame_writer *frames;
	struct buf packed = {0};
	struct buf file = {0};

	if (size >= sizeof(magic) && !memcmp(data, magic, sizeof(magic))) {
		fuzz_read_trace(data, size);
		return 0;
	}
	frames = frame_writer_new(1);
	pack_header(&header, &packed);
	add_frame(frames, packed.data, packed.size, &file);
	add_frame(frames, data, size, &file);
	fuzz_read_trace(file.data, file.size);
	frame_writer_free(frames);
	buf_release(&packed);
	buf_release(&file);
	return 0;
}
