/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a thread of another process can be made to call the dynamic linker: nowhere that the thread
 * may hold a lock or have half changed something that the linker and malloc need. Those are inside
 * libc, so what counts is where the thread stands: in a system call in which programs wait, or in
 * code that calls libc but is not called by it.
 */
#ifndef SCPROF_SAFE_POINT_H
#define SCPROF_SAFE_POINT_H

#include <stdbool.h>
#include <sys/types.h>

#include "record/process_maps.h"
#include "record/remote_cpu.h"

struct safe_points;

/* Borrows maps. */
struct safe_points *safe_points_new(const struct process_maps *maps);
void safe_points_free(struct safe_points *points);

/* Of a thread that has stopped. */
bool safe_points_has(struct safe_points *points, const struct remote_point *point);

/* Of one that has not: it waits at such a place right now. */
bool safe_points_waiting(struct safe_points *points, pid_t tid);

#endif
