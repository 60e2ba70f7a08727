/* SPDX-License-Identifier: Apache-2.0
 *
 * What a raw opcode (as found in running bytecode: specialised, adaptive or instrumented) is to a
 * profiler: a call into C, a call into Python, some call, or not a call. One table per version.
 *
 * Compiled into the agent as well.
 */
#ifndef SCPROF_OPCODE_CLASS_H
#define SCPROF_OPCODE_CLASS_H

#include <stdint.h>

enum opcode_class {
	OPCODE_OTHER,
	OPCODE_CALL,        /* a call whose target is not known */
	OPCODE_CALL_C,      /* a call specialised for a C function or type */
	OPCODE_CALL_PYTHON, /* a call specialised for a Python function */
};

/* version is major << 8 | minor. Returns a table of 256 classes, or NULL for an unknown version. */
const uint8_t *opcode_class_table(uint32_t version);

#endif
