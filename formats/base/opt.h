/* SPDX-License-Identifier: Apache-2.0
 *
 * A tool's command line as one constant table: it drives getopt_long, prints --help, and lets a
 * test compare the options with the manual page. Values land in the tool's own options struct.
 *
 *	static const struct opt options[] = {
 *		{ .group = "Output", .name = "output", .letter = 'o', .arg = "FILE",
 *		  .help = "write to FILE", .kind = OPT_KIND_TEXT,
 *		  .offset = offsetof(struct options, output) },
 *
 * "--help" (-h) and "--version" (-V) are in every tool and not in its table.
 */
#ifndef SCPROF_OPT_H
#define SCPROF_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "formats/base/err.h"

enum opt_kind {
	OPT_KIND_FLAG,     /* bool: becomes true */
	OPT_KIND_NO_FLAG,  /* bool: becomes false */
	OPT_KIND_COUNT,    /* int: plus 1 each time */
	OPT_KIND_LESS,     /* int: minus 1 each time */
	OPT_KIND_TEXT,     /* const char *: borrowed from argv */
	OPT_KIND_LIST,     /* struct opt_list: one more item each time */
	OPT_KIND_UINT,     /* uint64_t: within [min, max] when max is not 0 */
	OPT_KIND_DOUBLE,   /* double */
	OPT_KIND_SIZE,     /* uint64_t: bytes, see parse_size */
	OPT_KIND_DURATION, /* uint64_t: nanoseconds, see parse_duration */
	OPT_KIND_CHOICE,   /* int: index into choices */
	OPT_KIND_CALL,     /* whatever set makes of it */
};

struct opt_list {
	const char **items; /* borrowed from argv */
	size_t count;
	size_t capacity;
};

struct opt {
	const char *group; /* heading; set on the first option of each group */
	const char *name;  /* long option without dashes */
	char letter;       /* or 0 */
	bool optional;     /* the argument may be left out: then it is NULL, or choice 0 */
	const char *arg;   /* name of the argument in --help; NULL: takes none */
	const char *help;
	enum opt_kind kind;
	size_t offset;              /* of the member in the options struct */
	const char *const *choices; /* ends with NULL */
	unsigned long long min;
	unsigned long long max;
	/* Returns 0, or -1 with a sentence about arg. */
	int (*set)(void *options, const char *arg, struct err *err);
};

struct opt_table {
	const char *tool;
	const char *synopsis; /* one line each use, without the tool's name */
	const char *about;    /* a paragraph */
	const struct opt *options;
	size_t count;
	const char *more;     /* printed after the options as it is; or NULL */
	bool command_follows; /* options end at the first operand: the rest is another command */
};

/* Parses argv into the options struct. Returns 0 and the index of the first operand (argv is
 * reordered so that operands come last), 1 when --help or --version was answered on stdout, -1 with
 * ERR_USAGE otherwise. */
int opt_parse(const struct opt_table *table, int argc, char **argv, void *options, int *operand,
	      struct err *err);
void opt_print_help(const struct opt_table *table, FILE *to);
void opt_list_release(struct opt_list *list);

#endif
