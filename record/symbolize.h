/* SPDX-License-Identifier: Apache-2.0
 *
 * Adds the symbols of all program counters seen to the trace.
 */
#ifndef SCPROF_SYMBOLIZE_H
#define SCPROF_SYMBOLIZE_H

#include "formats/trace_writer.h"

void symbolize(struct trace_writer *writer);

#endif
