/* SPDX-License-Identifier: Apache-2.0
 *
 * Has a running CPython 3.14 or later call a function of a library, the way that it offers for
 * debuggers (PEP 768, sys.remote_exec): its main thread runs a small script between two bytecodes.
 * Nobody stops it for longer than three words take to write.
 */
#ifndef SCPROF_REMOTE_SCRIPT_H
#define SCPROF_REMOTE_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "record/remote_call.h"
#include "record/target.h"

struct remote_script {
	pid_t pid;
	uint64_t pending; /* address of the word that asks for the script */
	char path[64];
};

/* Asks for the call in target, of which only what is known of its Python is looked at. Returns 0,
 * or -1: this interpreter cannot, or was told not to (-X disable-remote-debug). End with
 * remote_script_end. */
int remote_script_start(struct remote_script *script, const struct remote_call *call,
			const struct target *target);

/* Whether the call is over. Not known where the program may not remove our files: false. */
bool remote_script_done(const struct remote_script *script);

/* Takes the wish back when the main thread has not got to it yet: true. */
bool remote_script_take_back(struct remote_script *script);

/* Takes it back and leaves nothing behind. */
void remote_script_end(struct remote_script *script);

#endif
