/* SPDX-License-Identifier: Apache-2.0
 *
 * Adds the symbols of all program counters seen to the trace. Files that are kept in `files` are
 * taken from there.
 */
#ifndef SCPROF_SYMBOLIZE_H
#define SCPROF_SYMBOLIZE_H

#include "formats/trace_writer.h"
#include "record/module_files.h"

void symbolize(struct trace_writer *writer, struct module_files *files);

#endif
