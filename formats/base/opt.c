/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line from a table, see opt.h.
 */
#include "formats/base/opt.h"

#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/buf.h"
#include "formats/base/parse.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define HELP_WIDTH 80u
#define HELP_COLUMN 26u
#define LONG_VALUE 256 /* getopt's value of table entry 0 */
#define HELP_VALUE (LONG_VALUE - 1)
#define VERSION_VALUE (LONG_VALUE - 2)

static const struct opt help_option = {.name = "help", .letter = 'h', .help = "show this help"};
static const struct opt version_option = {
	.name = "version",
	.letter = 'V',
	.help = "show the version",
};

void opt_list_release(struct opt_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

static int opt_choose(const struct opt *opt, const char *arg, int *value, struct err *err)
{
	struct buf known = {0};

	for (int i = 0; opt->choices[i]; i++) {
		if (!strcmp(opt->choices[i], arg)) {
			*value = i;
			return 0;
		}
	}
	for (int i = 0; opt->choices[i]; i++) {
		if (i)
			buf_add_text(&known, opt->choices[i + 1] ? ", " : " or ");
		buf_add_text(&known, opt->choices[i]);
	}
	err_set(err, ERR_USAGE, "'%s' is not one of %s", arg, buf_text(&known));
	buf_release(&known);
	return -1;
}

static int opt_set(const struct opt *opt, void *options, const char *arg, struct err *err)
{
	void *member = (char *)options + opt->offset;
	struct opt_list *list = member;

	switch (opt->kind) {
	case OPT_KIND_FLAG:
		*(bool *)member = true;
		return 0;
	case OPT_KIND_NO_FLAG:
		*(bool *)member = false;
		return 0;
	case OPT_KIND_COUNT:
		++*(int *)member;
		return 0;
	case OPT_KIND_LESS:
		--*(int *)member;
		return 0;
	case OPT_KIND_TEXT:
		*(const char **)member = arg;
		return 0;
	case OPT_KIND_LIST:
		list->items =
			xgrow(list->items, &list->capacity, list->count + 1, sizeof(*list->items));
		list->items[list->count++] = arg;
		return 0;
	case OPT_KIND_UINT:
		return parse_uint(arg, opt->min, opt->max ? opt->max : UINT64_MAX, member, err);
	case OPT_KIND_DOUBLE:
		return parse_double(arg, member, err);
	case OPT_KIND_SIZE:
		return parse_size(arg, member, err);
	case OPT_KIND_DURATION:
		return parse_duration(arg, member, err);
	case OPT_KIND_CHOICE:
		if (!arg) {
			*(int *)member = 0;
			return 0;
		}
		return opt_choose(opt, arg, member, err);
	case OPT_KIND_CALL:
		return opt->set(options, arg, err);
	}
	return err_set(err, ERR_FAILED, "option of an unknown kind");
}

static void opt_add_getopt(const struct opt *opt, int value, struct option *to, char *letters)
{
	size_t n = strlen(letters);

	to->name = opt->name;
	if (opt->arg)
		to->has_arg = opt->optional ? optional_argument : required_argument;
	to->val = value;
	if (!opt->letter)
		return;
	letters[n++] = opt->letter;
	for (int i = 0; i < to->has_arg; i++)
		letters[n++] = ':';
	letters[n] = '\0';
}

static const struct opt *opt_by_value(const struct opt_table *table, int value)
{
	if (value >= LONG_VALUE)
		return &table->options[value - LONG_VALUE];
	for (size_t i = 0; value && i < table->count; i++) {
		if (table->options[i].letter == value)
			return &table->options[i];
	}
	return NULL;
}

static int opt_usage_error(const struct opt_table *table, int result, char **argv, struct err *err)
{
	const struct opt *opt = opt_by_value(table, optopt);
	char shown[3] = {'-', (char)optopt, '\0'};

	/* getopt leaves the value of a known long option in optopt, 0 for an unknown one. */
	if (result == ':')
		err_set(err, ERR_USAGE, "option '--%s' needs an argument (%s)",
			opt ? opt->name : "?", opt && opt->arg ? opt->arg : "value");
	else if (optopt >= VERSION_VALUE || (opt && !strncmp(argv[optind - 1], "--", 2)))
		err_set(err, ERR_USAGE, "option '%s': --%s takes no argument", argv[optind - 1],
			opt                    ? opt->name
			: optopt == HELP_VALUE ? "help"
					       : "version");
	else
		err_set(err, ERR_USAGE, "unknown or ambiguous option '%s'",
			optopt ? shown : argv[optind - 1]);
	return -1;
}

int opt_parse(const struct opt_table *table, int argc, char **argv, void *options, int *operand,
	      struct err *err)
{
	struct option *longs = xcalloc(table->count + 3, sizeof(*longs));
	char *letters = xcalloc(table->count + 3, 3);
	int value;
	int ret = -1;

	/* ':' asks getopt to tell a missing argument from an unknown option and to be silent. */
	snprintf(letters, 3, "%s:", table->command_follows ? "+" : "");
	for (size_t i = 0; i < table->count; i++)
		opt_add_getopt(&table->options[i], LONG_VALUE + (int)i, &longs[i], letters);
	opt_add_getopt(&help_option, HELP_VALUE, &longs[table->count], letters);
	opt_add_getopt(&version_option, VERSION_VALUE, &longs[table->count + 1], letters);
	optind = 0; /* start afresh */
	opterr = 0;
	while ((value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct opt *opt = opt_by_value(table, value);

		if (value == ':' || value == '?') {
			opt_usage_error(table, value, argv, err);
			goto out;
		}
		if (value == HELP_VALUE || (!opt && value == help_option.letter)) {
			opt_print_help(table, stdout);
			ret = 1;
			goto out;
		}
		if (value == VERSION_VALUE || !opt) {
			printf("%s %s\n", table->tool, SCPROF_VERSION);
			ret = 1;
			goto out;
		}
		if (opt_set(opt, options, optarg, err) < 0) {
			err_wrap(err, "--%s", opt->name);
			if (err)
				err->code = ERR_USAGE;
			goto out;
		}
	}
	*operand = optind;
	ret = 0;
out:
	free(longs);
	free(letters);
	return ret;
}

/* Prints text from column on, wrapped at spaces; a newline in the text starts a new line. */
static void print_wrapped(FILE *to, const char *text, unsigned int column)
{
	unsigned int at = column;

	while (*text) {
		size_t word = strcspn(text, " \n");

		if (at > column && at + 1 + word > HELP_WIDTH) {
			fprintf(to, "\n%*s", (int)column, "");
			at = column;
		}
		if (at > column && word) {
			fputc(' ', to);
			at++;
		}
		fwrite(text, 1, word, to);
		at += (unsigned int)word;
		text += word;
		if (*text == '\n' && text[1]) {
			fprintf(to, "\n%*s", (int)column, "");
			at = column;
		}
		if (*text)
			text++;
	}
	fputc('\n', to);
}

static void print_option(FILE *to, const struct opt *opt)
{
	struct buf left = {0};

	buf_printf(&left, "  ");
	if (opt->letter)
		buf_printf(&left, "-%c, ", opt->letter);
	else
		buf_printf(&left, "    ");
	buf_printf(&left, "--%s", opt->name);
	if (opt->arg)
		buf_printf(&left, opt->optional ? "[=%s]" : " %s", opt->arg);
	if (left.size + 2 > HELP_COLUMN)
		fprintf(to, "%s\n%*s", buf_text(&left), (int)HELP_COLUMN, "");
	else
		fprintf(to, "%-*s", (int)HELP_COLUMN, buf_text(&left));
	print_wrapped(to, opt->help, HELP_COLUMN);
	buf_release(&left);
}

void opt_print_help(const struct opt_table *table, FILE *to)
{
	const char *line = table->synopsis;
	const char *start = "usage: ";

	while (line && *line) {
		size_t n = strcspn(line, "\n");

		fprintf(to, "%s%s %.*s\n", start, table->tool, (int)n, line);
		start = "       ";
		line += n + (line[n] == '\n');
	}
	if (table->about) {
		fputc('\n', to);
		print_wrapped(to, table->about, 0);
	}
	for (size_t i = 0; i < table->count; i++) {
		if (table->options[i].group || !i)
			fprintf(to, "\n%s:\n",
				table->options[i].group ? table->options[i].group : "Options");
		print_option(to, &table->options[i]);
	}
	fprintf(to, "\nHelp:\n");
	print_option(to, &help_option);
	print_option(to, &version_option);
	if (table->more)
		fprintf(to, "\n%s", table->more);
}
