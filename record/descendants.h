/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command leaves behind: processes that no agent has reported, but may yet, such as a shell
 * in the background that is about to become a Python.
 */
#ifndef SCPROF_DESCENDANTS_H
#define SCPROF_DESCENDANTS_H

#include <stdbool.h>

/* Whether a process lives that was started with the setting of the recording whose socket has this
 * name (see launch.h), going by its environment in /proc. Those of other users that may not be read
 * do not count. */
bool descendants_live(const char *socket);

#endif
