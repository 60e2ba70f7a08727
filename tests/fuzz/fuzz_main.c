/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target over files, each as it is and cut off in several places. A target that finds
 * something ends the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/io.h"
#include "tests/fuzz/fuzz.h"

#define MAX_INPUT_BYTES ((size_t)64 * 1024 * 1024)
#define CUTS 16

/* A copy of its own for each call: reading past it is an error that tools can see. */
static void run_target(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		exit(1);
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int main(int argc, char **argv)
{
	struct err err = {0};
	int passed = 0;

	for (int i = 1; i < argc; i++) {
		struct buf input = {0};

		if (io_read_file(argv[i], MAX_INPUT_BYTES, &input, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		buf_reserve(&input, 1);
		for (size_t cut = 0; cut <= CUTS; cut++)
			run_target(input.data, input.size * cut / CUTS);
		buf_release(&input);
		passed++;
	}
	printf("%d passed, 0 failed, %d skipped\n", passed, !passed);
	return 0;
}
