/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a running process finds the agent's library: where it is installed, when the process sees
 * that place, too; else, in a container, in a copy that is there as long as the recording.
 */
#ifndef SCPROF_INJECT_PLACE_H
#define SCPROF_INJECT_PLACE_H

#include <limits.h>
#include <sys/types.h>

#include "formats/base/err.h"

struct inject_place {
	char path[PATH_MAX]; /* of the library, as the process sees it */
	int folder;          /* with a copy: the folder it is in, else -1 */
};

/* library is a path of ours. Returns 0 or -1 with a sentence. Close in any case. */
int inject_place_open(struct inject_place *place, pid_t pid, const char *library, struct err *err);
void inject_place_close(struct inject_place *place);

#endif
