/* SPDX-License-Identifier: Apache-2.0
 *
 * The options that choose what a model is made of. scprof-analyze and scprof-convert take the same
 * ones: each puts FILTER_OPTIONS into its own option table and a struct filter_options into its
 * own options.
 */
#ifndef SCPROF_FILTER_OPTIONS_H
#define SCPROF_FILTER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "analyze/model.h"
#include "formats/base/opt.h"

struct filter_options {
	uint64_t from_ns;
	uint64_t to_ns;
	struct opt_list files;
	struct opt_list functions;
	struct opt_list threads;
	struct opt_list processes;
	struct opt_list phases;
	bool gil;
	bool wall;
};

/* Rows for an opt_table. type is the tool's options struct, member its struct filter_options. */
#define FILTER_OPTIONS(type, member)                                                               \
	{                                                                                          \
		.group = "What counts",                                                            \
		.name = "cpu",                                                                     \
		.kind = OPT_KIND_NO_FLAG,                                                          \
		.help = "weigh by CPU time (the default)",                                         \
		.offset = offsetof(type, member.wall),                                             \
	},                                                                                         \
		{                                                                                  \
			.name = "wall",                                                            \
			.kind = OPT_KIND_FLAG,                                                     \
			.help = "weigh by wall time: CPU and waiting",                             \
			.offset = offsetof(type, member.wall),                                     \
		},                                                                                 \
		{                                                                                  \
			.name = "from",                                                            \
			.arg = "TIME",                                                             \
			.kind = OPT_KIND_DURATION,                                                 \
			.help = "leave out what was before TIME (\"1.5\" or \"1.5s\", \"200ms\")", \
			.offset = offsetof(type, member.from_ns),                                  \
		},                                                                                 \
		{                                                                                  \
			.name = "to",                                                              \
			.arg = "TIME",                                                             \
			.kind = OPT_KIND_DURATION,                                                 \
			.help = "leave out what was after TIME",                                   \
			.offset = offsetof(type, member.to_ns),                                    \
		},                                                                                 \
		{                                                                                  \
			.name = "phase",                                                           \
			.arg = "LABEL",                                                            \
			.kind = OPT_KIND_LIST,                                                     \
			.help = "only phases with a label like this (a glob); may be repeated",    \
			.offset = offsetof(type, member.phases),                                   \
		},                                                                                 \
		{                                                                                  \
			.name = "file",                                                            \
			.arg = "GLOB",                                                             \
			.kind = OPT_KIND_LIST,                                                     \
			.help = "only stacks that pass through a file like GLOB; may be repeated", \
			.offset = offsetof(type, member.files),                                    \
		},                                                                                 \
		{                                                                                  \
			.name = "function",                                                        \
			.arg = "GLOB",                                                             \
			.kind = OPT_KIND_LIST,                                                     \
			.help = "only stacks that pass through a function like GLOB; may be "      \
				"repeated",                                                        \
			.offset = offsetof(type, member.functions),                                \
		},                                                                                 \
		{                                                                                  \
			.name = "thread",                                                          \
			.arg = "NAME",                                                             \
			.kind = OPT_KIND_LIST,                                                     \
			.help = "only threads with this name (a glob) or number; may be repeated", \
			.offset = offsetof(type, member.threads),                                  \
		},                                                                                 \
		{                                                                                  \
			.name = "process",                                                         \
			.arg = "PID",                                                              \
			.kind = OPT_KIND_LIST,                                                     \
			.help = "only this process: a number, or a glob on its command; may be "   \
				"repeated",                                                        \
			.offset = offsetof(type, member.processes),                                \
		},                                                                                 \
	{                                                                                          \
		.name = "gil", .kind = OPT_KIND_FLAG, .help = "only time spent holding the GIL",   \
		.offset = offsetof(type, member.gil),                                              \
	}

/* Sets the defaults: everything. Call it before opt_parse. */
void filter_options_init(struct filter_options *o);
void filter_options_release(struct filter_options *o);

/* Fills options->filter and options->weight; they borrow from o. Returns 0, or -1 with ERR_USAGE
 * when the choices contradict each other. */
int filter_options_apply(const struct filter_options *o, struct model_options *options,
			 struct err *err);

#endif
