/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of scprof-record.
 */
#ifndef SCPROF_RECORD_OPTIONS_H
#define SCPROF_RECORD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/opt.h"

enum record_memory {
	RECORD_MEMORY_SAMPLED,
	RECORD_MEMORY_FULL,
	RECORD_MEMORY_OFF,
	RECORD_MEMORY_DEFAULT,
};

struct record_options {
	const char *output;
	uint64_t rate_hz;
	bool wall;
	bool source;
	int memory;           /* enum record_memory */
	uint64_t memory_rate; /* mean bytes between recorded allocations, 0: none */
	bool copies;
	bool start_paused;
	bool live;
	const char *control;
	uint64_t duration_ns;
	uint64_t max_size;
	uint64_t pid; /* attach to it, 0: run a command */
	bool inject;  /* with pid: load the agent into it */
	bool nonblocking;
	const char *children; /* see record/child_pattern.h; NULL until checked: not given */
	bool dump;
	bool json;
	bool locals;
	int verbosity;
};

extern const struct opt_table record_option_table;

/* What holds without any option. */
void record_options_init(struct record_options *options);

/* Whether the options go together, with the operands that follow them; completes what depends on
 * each other. Returns 0, or -1 with a sentence. */
int record_options_check(struct record_options *options, int operand_count, char **operands,
			 struct err *err);

#endif
