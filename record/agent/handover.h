/* SPDX-License-Identifier: Apache-2.0
 *
 * What a new program is told so that it is recorded, too: two entries of its environment. Or what
 * it is not told. Nothing here allocates: it runs in children of vfork, too.
 */
#ifndef SCPROF_HANDOVER_H
#define SCPROF_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "record/preload.h"

#define HANDOVER_MAX (1u << 16) /* entries; larger environments pass unchanged */

/* How many entries envp has, and how much room its LD_PRELOAD needs with ours in it. */
size_t handover_size(char *const envp[], size_t *preload_size);

/* The new program's environment: what envp holds, with our two entries or without any. `to` has
 * room for all of envp and three more, `preload` for what handover_size said. */
void handover_fill(char *const envp[], bool recorded, char **to, char *preload);

/* LD_PRELOAD without any agent, or with this one in front: two would report to the same recorder.
 * others: what it held. Returns whether anything is in it. */
bool handover_preload(const char *others, bool recorded, char *to);

/* Whether anybody is told anything. child: the new program is a new process. */
bool handover_wanted(bool child);

/* What the loader will make of the program, which is told to scprof-record when it will not be
 * recorded for that. dir as in openat; search: file is looked for in PATH. */
enum preload handover_check(int dir, const char *file, bool search, bool child);

#endif
