/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's own allocators, counted: see heap_python.c.
 */
#ifndef SCPROF_HEAP_PYTHON_H
#define SCPROF_HEAP_PYTHON_H

#include <stdbool.h>

/* Hooks them. Returns whether heap_python_watch is to be called with every allocation of the
 * calling thread, which is the one that starts the interpreter. */
bool heap_python_start(void);

/* Takes every hook back. Safe in a signal handler. */
void heap_python_stop(void);

/* Hooks them again when they were replaced. False: that cannot happen any more. */
bool heap_python_watch(void);

/* Python's memory is served by mappings of the interpreter's own making (free-threaded builds). */
bool heap_python_maps(void);

#endif
