/* SPDX-License-Identifier: Apache-2.0
 *
 * Recording of a program that runs already: it is looked at from outside only, nothing in it
 * changes.
 */
#ifndef SCPROF_ATTACH_H
#define SCPROF_ATTACH_H

#include <sys/types.h>

#include "formats/base/err.h"
#include "record/target.h"

/* The running Python pid as a target. One that has only just been started is given a moment to get
 * there. holds: its threads will be stopped for moments. NULL and a sentence when it cannot be
 * recorded. */
struct target *attach_target(pid_t pid, bool holds, struct err *err);
/* The same without waiting. */
struct target *attach_target_now(pid_t pid, bool holds, struct err *err);

#endif
