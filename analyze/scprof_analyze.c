/* SPDX-License-Identifier: Apache-2.0
 *
 * scprof-analyze: reads traces into a model and prints a report. Here the command line is taken
 * apart and results become exit codes: 0 all is well, 1 a trace could not be read or the output not
 * written, 2 the command line makes no sense, 3 a leak was found and --fail-on-leak given.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analyze/filter_options.h"
#include "analyze/live.h"
#include "analyze/model.h"
#include "analyze/report.h"
#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"
#include "analyze/report_plot.h"
#include "analyze/suppress_file.h"
#include "formats/base/log.h"
#include "formats/base/opt.h"
#include "formats/base/parse.h"

#include "formats/base/banned.h"

#define TOOL "scprof-analyze"
#define NO_MIN_PERCENT -1.0 /* each section has its own default */

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LEAK = 3 };

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
	bool phases;
	bool memory;
	bool peak;
	bool leaks;
	bool show_temporary;
	bool copies;
	bool timeline;
	uint64_t temporary;
	double min_leak_rate;
	double min_leak_bytes;
	bool fail_on_leak;
	double fail_rate;
	const char *suppress;
	int plot; /* enum plot_kind */
	int sort;
	uint64_t top;
	bool all;
	double min_percent;
	bool intervals;
	int format;
	const char *output;
	int color;
	bool quiet;
	bool follow;
};

static const char *const format_names[] = {"text", "json", "csv", "markdown", NULL};
static const char *const color_names[] = {"auto", "always", "never", NULL};
/* In the order of enum report_sort; the first is the default and needs no name of its own. */
static const char *const sort_names[] = {
	"weight", "cpu",  "total",  "python",  "native",    "system", "wall", "samples", "name",
	"volume", "peak", "growth", "average", "temporary", "copies", "live", NULL};

/* In the order of enum plot_kind, which has none in front. */
static const char *const plot_names[] = {"memory", "cpu", "copies", NULL};

static int set_plot(void *options, const char *arg, struct err *err)
{
	struct options *o = options;

	for (int i = 0; plot_names[i]; i++) {
		if (strcmp(arg, plot_names[i]) == 0) {
			o->plot = i + 1;
			return 0;
		}
	}
	return err_set(err, ERR_USAGE, "\"%s\" is not one of memory, cpu, copies", arg);
}

static int set_temporary(void *options, const char *arg, struct err *err)
{
	struct options *o = options;

	o->show_temporary = true;
	return arg ? parse_uint(arg, 1, UINT32_MAX, &o->temporary, err) : 0;
}

/* "10M/s", bytes a second. Returns 1 when it is a size without "/s". */
static int parse_rate(const char *arg, double *rate, struct err *err)
{
	size_t size = strlen(arg);
	char text[64];
	uint64_t bytes;
	bool per_second = size > 2 && strcmp(arg + size - 2, "/s") == 0;

	snprintf(text, sizeof(text), "%.*s",
		 (int)(per_second && size < sizeof(text) ? size - 2 : size), arg);
	if (parse_size(text, &bytes, err) != 0)
		return -1;
	*rate = (double)bytes;
	return per_second ? 0 : 1;
}

static int set_min_leak(void *options, const char *arg, struct err *err)
{
	struct options *o = options;
	double value;
	int ret = parse_rate(arg, &value, err);

	if (ret < 0)
		return -1;
	*(ret == 0 ? &o->min_leak_rate : &o->min_leak_bytes) = value;
	return 0;
}

static int set_fail_on_leak(void *options, const char *arg, struct err *err)
{
	struct options *o = options;
	int ret;

	o->fail_on_leak = true;
	ret = arg ? parse_rate(arg, &o->fail_rate, err) : 0;
	if (ret > 0)
		return err_set(err, ERR_USAGE, "%s: a rate such as 1M/s is needed", arg);
	return ret;
}

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
		.help = "the processes as a tree: time, memory, how each ended; who was not "
			"recorded",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, processes),
	},
	{
		.name = "phases",
		.help = "the phases that the program named: when, how long, CPU and growth",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, phases),
	},
	{
		.name = "memory",
		.help = "who allocates and who holds the peak, line by line",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, memory),
	},
	{
		.name = "peak",
		.help = "what was live when the heap was largest: lines and callers",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, peak),
	},
	{
		.name = "leaks",
		.help = "what grows to the end, with evidence and stacks; what grew once",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, leaks),
	},
	{
		.name = "temporary",
		.arg = "K",
		.optional = true,
		.help = "what was freed after at most K more allocations of its thread (default 1)",
		.kind = OPT_KIND_CALL,
		.set = set_temporary,
	},
	{
		.name = "copies",
		.help = "who copies memory, reads and writes, line by line",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, copies),
	},
	{
		.name = "timeline",
		.help = "heap, RSS and CPU over time",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, timeline),
	},
	{
		.name = "plot",
		.arg = "WHAT",
		.help = "draw memory, cpu or copies over time with gnuplot: -o FILE.svg, .png or "
			".txt",
		.kind = OPT_KIND_CALL,
		.set = set_plot,
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
		.help = "weight (the default), cpu, total, python, native, system, wall, samples, "
			"name, volume, peak, growth, average, temporary, copies or live",
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
	{
		.group = "Live",
		.name = "follow",
		.help = "watch a recording that goes on, in the terminal: ? lists the keys, q "
			"quits",
		.kind = OPT_KIND_FLAG,
		.offset = offsetof(struct options, follow),
	},
	{
		.group = "Leaks",
		.name = "min-leak",
		.arg = "RATE|SIZE",
		.help = "leave out what grows slower (\"1K/s\") or is smaller (\"1M\")",
		.kind = OPT_KIND_CALL,
		.set = set_min_leak,
	},
	{
		.name = "suppress",
		.arg = "FILE",
		.help = "no leaks: stacks that FILE names (LeakSanitizer's \"leak:PATTERN\")",
		.kind = OPT_KIND_TEXT,
		.offset = offsetof(struct options, suppress),
	},
	{
		.name = "fail-on-leak",
		.arg = "RATE",
		.optional = true,
		.help = "exit with 3 when something grows to the end by more than RATE (\"1M/s\")",
		.kind = OPT_KIND_CALL,
		.set = set_fail_on_leak,
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
	.about = "Shows where the time and the memory of a program recorded with scprof-record "
		 "went. Several "
		 "traces are added up; \"-\" is stdin.",
	.options = option_rows,
	.count = sizeof(option_rows) / sizeof(*option_rows),
};

static unsigned int chosen_sections(const struct options *o)
{
	return (o->lines ? REPORT_LINES : 0) | (o->functions ? REPORT_FUNCTIONS : 0) |
	       (o->tree ? REPORT_TREE : 0) | (o->native ? REPORT_NATIVE : 0) |
	       (o->threads ? REPORT_THREADS : 0) | (o->processes ? REPORT_PROCESSES : 0) |
	       (o->memory ? REPORT_MEMORY : 0) | (o->leaks ? REPORT_LEAKS : 0) |
	       (o->peak ? REPORT_PEAK : 0) | (o->show_temporary ? REPORT_TEMPORARY : 0) |
	       (o->copies ? REPORT_COPIES : 0) | (o->timeline ? REPORT_TIMELINE : 0) |
	       (o->phases ? REPORT_PHASES : 0);
}

static int check(const struct options *o, struct err *err)
{
	unsigned int sections = chosen_sections(o);
	enum plot_format format;

	if (o->min_percent > 100 || (o->min_percent < 0 && o->min_percent != NO_MIN_PERCENT))
		return err_set(err, ERR_USAGE, "--min-percent is a number from 0 to 100");
	if (o->plot && (sections || o->format != FORMAT_TEXT))
		return err_set(
			err, ERR_USAGE,
			"--plot draws one picture: leave out --format and what else to show");
	if (o->plot)
		return plot_format_of(o->output, &format, err);
	if (o->format == FORMAT_CSV && (sections & (sections - 1)))
		return err_set(err, ERR_USAGE,
			       "csv is one table: give one of the options that say what to show");
	if (o->format == FORMAT_JSON &&
	    (sections & (REPORT_TREE | REPORT_NATIVE | REPORT_TIMELINE | REPORT_PHASES)))
		return err_set(
			err, ERR_USAGE,
			"--tree, --native, --phases and --timeline are not part of the JSON: "
			"use --format csv for them");
	return 0;
}

static int check_follow(const struct options *o, int traces, const char *path, struct err *err)
{
	if (traces > 1 || strcmp(path, "-") == 0)
		return err_set(err, ERR_USAGE, "--follow watches one file");
	if (chosen_sections(o) || o->plot || o->format != FORMAT_TEXT || o->output ||
	    o->fail_on_leak)
		return err_set(err, ERR_USAGE,
			       "--follow is a view of its own: leave out what to show and how to "
			       "write it");
	if (o->filter.phases.count)
		return err_set(
			err, ERR_USAGE,
			"--phase is for recordings that have ended: --follow cannot know when "
			"a phase will");
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return err_set(err, ERR_USAGE, "--follow needs a terminal to draw on");
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

static struct report_options report_options_of(const struct options *o, FILE *to)
{
	return (struct report_options){
		.sections = chosen_sections(o),
		.sort = (enum report_sort)o->sort,
		.top = o->top,
		.min_percent = o->min_percent,
		.all = o->all,
		.intervals = o->intervals,
		.min_leak_rate = o->min_leak_rate,
		.min_leak_bytes = o->min_leak_bytes,
		.temporary = o->temporary,
		.color = use_color(o, to),
		.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
		.width = output_width(to),
		.files = o->filter.files.items,
		.file_count = o->filter.files.count,
	};
}

static void print_report(const struct model *m, const struct options *o, FILE *to)
{
	const struct report_options options = report_options_of(o, to);
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

/* What gnuplot makes of it, or NULL. */
static FILE *draw(const struct model *m, const struct options *o, struct err *err)
{
	const struct report_options options = report_options_of(o, stdout);
	enum plot_format format;
	struct report r;

	report_init(&r, model_view(m), &options, stdout);
	if (plot_format_of(o->output, &format, err) != 0)
		return NULL;
	return report_plot(&r, (enum plot_kind)o->plot, format, err);
}

static void copy(FILE *from, FILE *to)
{
	char data[8192];
	size_t size;

	while ((size = fread(data, 1, sizeof(data), from)) > 0)
		fwrite(data, 1, size, to);
}

/* Writes to the file or to stdout; a full disk must not look like success. */
static int write_report(const struct model *m, const struct options *o, struct err *err)
{
	FILE *picture = NULL;
	FILE *to = stdout;
	int ret = 0;

	if (o->plot) {
		picture = draw(m, o, err);
		if (!picture)
			return -1;
	}
	if (o->output && strcmp(o->output, "-") != 0)
		to = fopen(o->output, "we");
	errno = to ? 0 : errno;
	if (!to)
		ret = err_errno(err, "cannot write %s", o->output);
	else if (picture)
		copy(picture, to);
	else
		print_report(m, o, to);
	if (to && (fflush(to) != 0 || ferror(to)))
		ret = err_errno(err, "cannot write %s", o->output ? o->output : "to stdout");
	if (to && to != stdout && fclose(to) != 0 && ret == 0)
		ret = err_errno(err, "cannot write %s", o->output);
	if (picture)
		fclose(picture);
	return ret;
}

/* 1 when something leaks as --fail-on-leak forbids. What was not recorded cannot be passed. */
static int check_leaks(const struct model *m, const struct options *o, struct err *err)
{
	const struct report_options options = report_options_of(o, stdout);
	const struct model_leak *worst;
	struct buf place = {0};
	struct buf clean = {0};
	struct report r;
	size_t count;

	report_init(&r, model_view(m), &options, stdout);
	if (!report_has_memory(&r))
		return err_set(err, ERR_FAILED,
			       "no memory was recorded, so nothing can be said about leaks: record "
			       "with --memory=sampled, and --pid with --inject");
	worst = report_worst_leak(&r, o->fail_rate, &count);
	if (!worst)
		return 0;
	report_leak_place(&place, &r, worst);
	report_clean(&clean, buf_text(&place), place.size);
	log_error("%zu leak%s; the worst grows by %.3g MB/s at %s", count, count == 1 ? "" : "s",
		  worst->growth_bytes_per_s / BYTES_PER_MB, buf_text(&clean));
	buf_release(&clean);
	buf_release(&place);
	return 1;
}

static int follow(const struct options *o, const char *path, const struct model_options *model,
		  struct err *err)
{
	const struct live_options options = {
		.model = model,
		.files = o->filter.files.items,
		.file_count = o->filter.files.count,
		.all = o->all,
		.color = use_color(o, stdout),
		.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
	};

	return live_run(path, &options, err);
}

/* Returns 0, 1 when a leak is found that must not be, or -1. */
static int analyze(const struct options *o, char **traces, int count, struct err *err)
{
	struct model_options options = {.temporary = (uint32_t)o->temporary, .phases = o->phases};
	struct suppress_file suppressed = {0};
	struct model *m = NULL;
	int ret = -1;

	if (filter_options_apply(&o->filter, &options, err) != 0)
		return -1;
	if (o->suppress && suppress_file_read(&suppressed, o->suppress, err) != 0)
		return -1;
	options.suppressions = suppressed.patterns;
	options.suppression_count = suppressed.count;
	if (o->follow) {
		ret = follow(o, traces[0], &options, err);
		goto out;
	}
	m = model_new(&options);
	for (int i = 0; i < count; i++) {
		if (model_add_path(m, traces[i], err) != 0)
			goto out;
	}
	model_finish(m);
	if (model_view(m)->quality.damage)
		log_warn("%s; what could be read is shown", model_view(m)->quality.damage);
	ret = write_report(m, o, err);
	if (ret == 0 && o->fail_on_leak)
		ret = check_leaks(m, o, err);
out:
	model_free(m);
	suppress_file_release(&suppressed);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = {.min_percent = NO_MIN_PERCENT};
	struct err err = {0};
	int operand = argc;
	bool leaks = false;
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
	if (status == 0 && o.follow)
		status = check_follow(&o, argc - operand, argv[operand], &err);
	if (status == 0) {
		status = analyze(&o, argv + operand, argc - operand, &err);
		leaks = status == 1;
	}
	if (status < 0)
		log_error("%s", err.text);
	filter_options_release(&o.filter);
	if (status >= 0)
		return leaks ? EXIT_LEAK : EXIT_OK;
	return err.code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}
