/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds what the symbols of a stripped interpreter would say by looking at its data.
 */
#ifndef SCPROF_FIND_RUNTIME_H
#define SCPROF_FIND_RUNTIME_H

#include "record/find_python.h"
#include "record/process_maps.h"

/* Looks for _PyRuntime in the data of the module that `code` is mapped from: python->runtime stays
 * 0 when it is not there. */
void find_runtime(const struct process_maps *maps, const struct process_map *code,
		  struct found_python *python);

/* Looks for the text of sys.version ("3.12.1 (main, ...) [GCC ...]") in the same data; "" when it
 * is not there (yet). */
void find_version_text(const struct process_maps *maps, const struct process_map *code, char *text,
		       size_t size);

#endif
