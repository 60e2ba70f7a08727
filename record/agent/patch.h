/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions put in the place of others in a program that runs: in the slots through which each
 * loaded object calls them or takes their address. What an object calls within itself is not seen,
 * nor what reached it as a plain pointer before.
 *
 * One caller at a time, but for patch_undo, which only must not meet another caller.
 */
#ifndef SCPROF_PATCH_H
#define SCPROF_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct patch {
	const char *name; /* borrowed for good */
	void *ours;
	void *real; /* what the slots hold when they are bound */
};

/* Adds one to those that patch_objects looks for. False: there is no room. */
bool patch_add(const struct patch *patch);
/* Adds every function that the object with this dynamic section exports and `real` knows another
 * of. */
void patch_add_exports(const void *dynamic, void *(*real)(const char *name));
/* Forgets those that were added; not what was done with them. */
void patch_clear(void);

/* Fills the slots of all objects but those that `skip` names (NULL: none). Returns how many were
 * filled. */
size_t patch_objects(bool (*skip)(const char *path));
/* True: objects were loaded or unloaded since patch_objects. */
bool patch_is_stale(void);

/* Puts back what was there, in slots that still hold what we put there. Safe in a signal handler,
 * and when objects were unloaded meanwhile. */
void patch_undo(void);

#endif
