/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds in another process what it takes to load a library there: the dynamic linker's functions,
 * and a place for a little code.
 */
#ifndef SCPROF_REMOTE_LINKER_H
#define SCPROF_REMOTE_LINKER_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/err.h"
#include "record/process_maps.h"

struct remote_linker {
	uint64_t errno_location, dlopen, dlsym, dlerror;
	/* Behind the last byte of a library's code, up to the end of the page: nothing is kept and
	 * nothing ever runs there. */
	uint64_t room;
};

/* room is asked for that many bytes. Returns 0, or -1 with a sentence: no glibc there, or not
 * linked dynamically. */
int remote_linker_find(struct remote_linker *linker, const struct process_maps *maps, size_t room,
		       struct err *err);

#endif
