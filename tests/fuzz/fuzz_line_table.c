/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: location tables. The first eight bytes are the version, the first line and the
 * length of the code; looking up an offset and expanding the table must agree.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/line_table.h"
#include "tests/fuzz/fuzz.h"

#define HEAD_BYTES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_code code = {0};
	struct line_range *ranges;
	int32_t end = 0;
	size_t count;

	if (size < HEAD_BYTES)
		return 0;
	code.python = 0x300 | data[0] % 20;
	code.first_line = (int32_t)((uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 |
				    (uint32_t)data[3] << 8 | data[4]);
	code.code_bytes = (uint32_t)data[5] << 16 | (uint32_t)data[6] << 8 | data[7];
	code.line_table = data + HEAD_BYTES;
	code.line_table_size = size - HEAD_BYTES;
	ranges = line_table_expand(&code, &count);
	FUZZ_CHECK(count >= 1);
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(ranges[i].start == end);
		FUZZ_CHECK(ranges[i].end > ranges[i].start);
		FUZZ_CHECK(ranges[i].position.line >= 1);
		FUZZ_CHECK(ranges[i].position.column >= 0);
		end = ranges[i].end;
		if (i < 32 && (!code.code_bytes || (uint32_t)ranges[i].start < code.code_bytes)) {
			struct line_position found = line_table_find(&code, ranges[i].start);

			FUZZ_CHECK(!memcmp(&found, &ranges[i].position, sizeof(found)));
		}
	}
	FUZZ_CHECK((uint32_t)end >= code.code_bytes);
	FUZZ_CHECK(line_table_find(&code, -1).line >= 1);
	FUZZ_CHECK(line_table_find(&code, INT32_MAX).line >= 1);
	free(ranges);
	return 0;
}
