/* SPDX-License-Identifier: Apache-2.0
 *
 * The assembler copies the files as they are; paths are relative to the top folder, where the
 * compiler runs.
 */
#include "convert/flamegraph_assets.h"

#define ASSET(name, path)                              \
	__asm__(".pushsection .rodata\n"               \
		".global " name "\n"                   \
		".type " name ", %object\n" name ":\n" \
		".incbin \"" path "\"\n"               \
		".byte 0\n"                            \
		".size " name ", . - " name "\n"       \
		".popsection\n")

ASSET("flamegraph_style", "convert/flamegraph.css");
ASSET("flamegraph_script", "convert/flamegraph.js");
