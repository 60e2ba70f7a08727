/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose code a file is.
 */
#ifndef SCPROF_MODEL_ORIGIN_H
#define SCPROF_MODEL_ORIGIN_H

#include "analyze/model.h"

/* path is a co_filename seen in the trace's process. */
enum model_origin model_origin(const struct trace_defs *defs, uint32_t process, const char *path);

#endif
