/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds the CPython in a running process, from outside: the executable or a library, with or
 * without symbols, on the disk or deleted from it.
 */
#ifndef SCPROF_FIND_PYTHON_H
#define SCPROF_FIND_PYTHON_H

#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "record/python/layout.h"

struct found_python {
	uint64_t runtime;   /* address of _PyRuntime */
	uint64_t code_type; /* address of PyCode_Type, 0 when not known */
	uint32_t hex;       /* PY_VERSION_HEX; 0: not known (yet), and then nothing below is */
	struct py_layout layout;
	char build[160]; /* Py_GetVersion(), as much as there is */
	bool running;    /* it has an interpreter: neither about to start nor gone */
};

/* Returns 0, or -1 with a sentence: no such process, not allowed (with what would allow it), not a
 * Python, a version that is not known. */
int find_python(pid_t pid, struct found_python *python, struct err *err);

#endif
