/* SPDX-License-Identifier: Apache-2.0
 *
 * scprof-analyze: reads traces into a model and prints a report. Here the command line is taken
 * apart and results become exit codes: 0 all is well, 1 a trace could not be read or the output not
 * written, 2 the command line makes no sense.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analyze/filter_options.h"
#include "analyze/model.h"
#include "analyze/report.h"
#include "formats/base/log.h"
#include "formats/base/opt.h"
#include "formats/base/parse.h"

#include "formats/base/banned.h"

#define TOOL "scprof-analyze"
#define NO_MIN_PERCENT -1.0 /* each section has its own default */

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct options {
	struct filter_options filter;
	bool lines;
	bool functions;
	bool tree;
	bool native;
	bool threads;
	bool processes;
	int sort;
	uint64_t top;
	bool all;
	double min_percent;
	bool intervals;
	int format;
	const char *output;
	int color;
	bool quiet;
};

static const char *const format_names[] = {"text", "json", "csv", "markdown", NULL};
static const char *const color_names[] = {"auto", "always", "never", NULL};
/* In the order of enum report_sort; the first is the default and needs no name of its own. */
static const char *const sort_names[] = {"weight", "cpu",  "total",   "python", "native",
					 "system", "wall", "samples", "name",   NULL};

static const struct opt option_rows[] = {
	{
		.group = "What to show",
		.name = "lines",
		.help = "annotated source",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, lines),
	},
	{
		.name = "functions",
		.help = "functions, their own time and that of all below them",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, functions),
	},
	{
		.name = "tree",
		.help = "who calls whom, from the outside in",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, tree),
	},
	{
		.name = "native",
		.help = "which C functions each line spends its time in",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, native),
	},
	{
		.name = "threads",
		.help = "each thread's time",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, threads),
	},
	{
		.name = "processes",
		.help = "each process's time",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, processes),
	},
	{
		.name = "all",
		.letter = 'a',
		.help = "library code by itself, not charged to the lines of yours that call it",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, all),
	},
	{
		.name = "sort",
		.arg = "KEY",
		.help = "weight (the default), cpu, total, python, native, system, wall, samples "
			"or name",
		.kind = OPT_KIND_CHOICE,
		.choices = sort_names,
		.offset = offsetof(struct options, sort),
	},
	{
		.name = "top",
		.letter = 'n',
		.arg = "N",
		.help = "at most N rows of each kind",
		.kind = OPT_KIND_UINT,
		.min = 1,
		.max = UINT32_MAX,
		.offset = offsetof(struct options, top),
	},
	{
		.name = "min-percent",
		.arg = "P",
		.help = "leave out what has less than P percent (default 1)",
		.kind = OPT_KIND_DOUBLE,
		.offset = offsetof(struct options, min_percent),
	},
	{
		.name = "intervals",
		.help = "show the 95 % interval of each figure",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, intervals),
	},
	FILTER_OPTIONS(struct options, filter),
	{
		.group = "Output",
		.name = "format",
		.letter = 'f',
		.arg = "FORMAT",
		.help = "text (the default), json, csv or markdown",
		.kind = OPT_KIND_CHOICE,
		.choices = format_names,
		.offset = offsetof(struct options, format),
	},
	{
		.name = "output",
		.letter = 'o',
		.arg = "FILE",
		.help = "write to FILE instead of stdout",
		.kind = OPT_KIND_TEXT,
		.offset = offsetof(struct options, output),
	},
	{
		.name = "color",
		.arg = "WHEN",
		.help = "auto (the default), always or never",
		.kind = OPT_KIND_CHOICE,
		.choices = color_names,
		.offset = offsetof(struct options, color),
	},
	{
		.name = "quiet",
		.letter = 'q',
		.help = "no warnings about damaged traces",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, quiet),
	},
};

static const struct opt_table table = {
	.tool = TOOL,
	.synopsis = "[options] TRACE...",
	.about = "Shows where the time of a program recorded with scprof-record went. Several "
		 "traces are added up; \"-\" is stdin.",
	.options = option_rows,
	.count = sizeof(option_rows) / sizeof(*option_rows),
};

static unsigned int chosen_sections(const struct options *o)
{
	return (o->lines ? REPORT_LINES : 0) | (o->functions ? REPORT_FUNCTIONS : 0) |
	       (o->tree ? REPORT_TREE : 0) | (o->native ? REPORT_NATIVE : 0) |
	       (o->threads ? REPORT_THREADS : 0) | (o->processes ? REPORT_PROCESSES : 0);
}

static int check(const struct options *o, struct err *err)
{
	unsigned int sections = chosen_sections(o);

	if (o->min_percent > 100 || (o->min_percent < 0 && o->min_percent != NO_MIN_PERCENT))
		return err_set(err, ERR_USAGE, "--min-percent is a number from 0 to 100");
	if (o->format == FORMAT_CSV && (sections & (sections - 1)))
		return err_set(
			err, ERR_USAGE,
			"csv is one table: give one of --lines, --functions, --tree, --native, "
			"--threads, --processes");
	if (o->format == FORMAT_JSON && (sections & (REPORT_TREE | REPORT_NATIVE)))
		return err_set(err, ERR_USAGE,
			       "--tree and --native are not part of the JSON: use --format csv for "
			       "them");
	return 0;
}

static bool use_color(const struct options *o, FILE *to)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (o->color != COLOR_AUTO)
		return o->color == COLOR_ALWAYS;
	if (no_color && *no_color)
		return false;
	return isatty(fileno(to)) && (!term || strcmp(term, "dumb") != 0);
}

/* COLUMNS goes first, then the terminal; a file or a pipe has no width. */
static int output_width(FILE *to)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	uint64_t width;

	if (columns && parse_uint(columns, 20, 10000, &width, NULL) == 0)
		return (int)width;
	if (!isatty(fileno(to)))
		return 0;
	if (ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
		return size.ws_col;
	return 80;
}

static void print_report(const struct model *m, const struct options *o, FILE *to)
{
	struct report_options options = {
		.sections = chosen_sections(o),
		.sort = (enum report_sort)o->sort,
		.top = o->top,
		.min_percent = o->min_percent,
		.all = o->all,
		.intervals = o->intervals,
		.color = use_color(o, to),
		.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
		.width = output_width(to),
		.files = o->filter.files.items,
		.file_count = o->filter.files.count,
	};
	struct report r;

	report_init(&r, model_view(m), &options, to);
	switch ((enum format)o->format) {
	case FORMAT_TEXT:
		report_text(&r);
		break;
	case FORMAT_JSON:
		report_json(&r);
		break;
	case FORMAT_CSV:
		report_csv(&r);
		break;
	case FORMAT_MARKDOWN:
		report_markdown(&r);
		break;
	}
}

/* Writes to the file or to stdout; a full disk must not look like success. */
static int write_report(const struct model *m, const struct options *o, struct err *err)
{
	FILE *to = stdout;
	int ret = 0;

	if (o->output && strcmp(o->output, "-") != 0) {
		to = fopen(o->output, "we");
		if (!to)
			return err_errno(err, "cannot write %s", o->output);
	}
	errno = 0;
	print_report(m, o, to);
	if (fflush(to) != 0 || ferror(to))
		ret = err_errno(err, "cannot write %s", o->output ? o->output : "to stdout");
	if (to != stdout && fclose(to) != 0 && ret == 0)
		ret = err_errno(err, "cannot write %s", o->output);
	return ret;
}

static int analyze(const struct options *o, char **traces, int count, struct err *err)
{
	struct model_options options = {0};
	struct model *m;
	int ret = -1;

	if (filter_options_apply(&o->filter, &options, err) != 0)
		return -1;
	m = model_new(&options);
	for (int i = 0; i < count; i++) {
		if (model_add_path(m, traces[i], err) != 0)
			goto out;
	}
	model_finish(m);
	if (model_view(m)->quality.damage)
		log_warn("%s; what could be read is shown", model_view(m)->quality.damage);
	ret = write_report(m, o, err);
out:
	model_free(m);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = {.min_percent = NO_MIN_PERCENT};
	struct err err = {0};
	int operand = argc;
	int status;

	setlocale(LC_CTYPE, "");
	log_init(TOOL, LOG_NORMAL);
	filter_options_init(&o.filter);
	status = opt_parse(&table, argc, argv, &o, &operand, &err);
	if (o.quiet)
		log_init(TOOL, LOG_QUIET);
	if (status == 0 && operand == argc)
		status = err_set(&err, ERR_USAGE, "give the trace to read, such as run.trace");
	if (status == 0)
		status = check(&o, &err);
	if (status == 0)
		status = analyze(&o, argv + operand, argc - operand, &err);
	if (status < 0)
		log_error("%s", err.text);
	filter_options_release(&o.filter);
	if (status >= 0)
		return EXIT_OK;
	return err.code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}
