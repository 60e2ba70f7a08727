/* SPDX-License-Identifier: Apache-2.0
 *
 * scprof-convert: reads traces into one model and writes it in a format that other programs read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyze/filter_options.h"
#include "analyze/model.h"
#include "convert/cost.h"
#include "convert/export_file.h"
#include "convert/exporter.h"
#include "formats/base/log.h"
#include "formats/base/opt.h"

#include "formats/base/banned.h"

enum { EXIT_USAGE = 2 };

struct options {
	const char *output;
	const char *format;
	bool list;
	bool threads;
	bool lines;
	const char *title;
	uint64_t max_samples;
	struct filter_options filter;
	enum model_weight metric; /* MODEL_CPU: what --cpu and --wall say */
	bool metric_given;
	int verbosity;
};

static int set_metric(void *options, const char *arg, struct err *err)
{
	struct options *o = options;
	struct buf names = {0};
	enum model_weight weight = 0;

	while (metric_names[weight] && strcmp(arg, metric_names[weight]) != 0)
		weight++;
	if (metric_names[weight]) {
		o->metric = weight_is_time(weight) ? MODEL_CPU : weight;
		o->filter.wall = weight == MODEL_WALL;
		o->metric_given = true;
		return 0;
	}
	for (size_t i = 0; metric_names[i]; i++)
		buf_printf(&names, "%s%s", i == 0 ? "" : ", ", metric_names[i]);
	err_set(err, ERR_USAGE, "'%s' is no metric, choose one of %s", arg, buf_text(&names));
	buf_release(&names);
	return -1;
}

static const struct opt option_table[] = {
	{
		.group = "Output",
		.name = "output",
		.letter = 'o',
		.arg = "FILE",
		.kind = OPT_KIND_TEXT,
		.help = "write to FILE, - for standard output; its name says the format",
		.offset = offsetof(struct options, output),
	},
	{
		.name = "format",
		.letter = 'f',
		.arg = "FORMAT",
		.kind = OPT_KIND_TEXT,
		.help = "write FORMAT whatever the file is called; --to FORMAT does the same",
		.offset = offsetof(struct options, format),
	},
	{
		.name = "list",
		.letter = 'l',
		.kind = OPT_KIND_FLAG,
		.help = "list the formats and leave",
		.offset = offsetof(struct options, list),
	},
	{
		.name = "title",
		.arg = "TEXT",
		.kind = OPT_KIND_TEXT,
		.help = "title instead of the recorded command, where the format has one",
		.offset = offsetof(struct options, title),
	},
	{
		.name = "functions",
		.kind = OPT_KIND_NO_FLAG,
		.help = "a frame is a function (the default)",
		.offset = offsetof(struct options, lines),
	},
	{
		.name = "lines",
		.kind = OPT_KIND_FLAG,
		.help = "a frame is a line: \"name (file:line)\"",
		.offset = offsetof(struct options, lines),
	},
	{
		.name = "threads",
		.kind = OPT_KIND_FLAG,
		.help = "keep threads apart in formats without a place for them",
		.offset = offsetof(struct options, threads),
	},
	{
		.name = "max-samples",
		.arg = "N",
		.kind = OPT_KIND_UINT,
		.min = 1,
		.max = UINT32_MAX,
		.help = "write at most about N samples or boxes, put the others together",
		.offset = offsetof(struct options, max_samples),
	},
	FILTER_OPTIONS(struct options, filter),
	{
		.name = "metric",
		.arg = "METRIC",
		.kind = OPT_KIND_CALL,
		.help = "weigh by METRIC: cpu, wall, malloc, peak, live, leaks, temporary, copies",
		.set = set_metric,
	},
	{
		.group = "Messages",
		.name = "quiet",
		.letter = 'q',
		.kind = OPT_KIND_LESS,
		.help = "say nothing but errors",
		.offset = offsetof(struct options, verbosity),
	},
	{
		.name = "verbose",
		.letter = 'v',
		.kind = OPT_KIND_COUNT,
		.help = "say what is done",
		.offset = offsetof(struct options, verbosity),
	},
};

static void format_list(struct buf *b)
{
	for (size_t i = 0; i < exporter_count; i++) {
		const struct exporter *e = exporter_table[i];

		buf_printf(b, "  %-12s%s\n  %-12s", e->name, e->description, "");
		for (const char *const *p = e->patterns; *p; p++)
			buf_printf(b, "%s%s", p == e->patterns ? "" : "  ", *p);
		buf_add_byte(b, '\n');
	}
}

static void format_names(struct buf *b)
{
	for (size_t i = 0; i < exporter_count; i++)
		buf_printf(b, "%s%s", i == 0 ? "" : ", ", exporter_table[i]->name);
}

static int no_format(struct err *err, const char *what, const char *name)
{
	struct buf names = {0};

	format_names(&names);
	err_set(err, ERR_USAGE, "%s '%s', choose one with --to FORMAT: %s", what, name,
		buf_text(&names));
	buf_release(&names);
	return -1;
}

static const struct exporter *choose_exporter(const struct options *o, struct err *err)
{
	const struct exporter *exporter;
	struct stat st;

	if (!o->output) {
		err_set(err, ERR_USAGE,
			"say where to write with -o FILE (-o - is standard output)");
		return NULL;
	}
	if (stat(o->output, &st) == 0 && S_ISDIR(st.st_mode)) {
		err_set(err, ERR_USAGE, "%s is a folder, name a file in it", o->output);
		return NULL;
	}
	exporter = o->format ? exporter_find(o->format) : exporter_for_file(o->output);
	if (!exporter && o->format)
		no_format(err, "there is no format", o->format);
	else if (!exporter)
		no_format(err, "no format goes with the file name", o->output);
	return exporter;
}

/* A slip of the fingers must not replace the recording by its export. */
static int check_not_input(const char *output, char **traces, size_t count, struct err *err)
{
	struct stat to;

	if (stat(output, &to) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct stat from;

		if (stat(traces[i], &from) == 0 && from.st_dev == to.st_dev &&
		    from.st_ino == to.st_ino && S_ISREG(from.st_mode))
			return err_set(err, ERR_USAGE,
				       "%s is the trace itself, name another file with -o", output);
	}
	return 0;
}

static int read_traces(struct model *m, char **traces, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (model_add_path(m, traces[i], err) < 0)
			return -1;
		log_verbose("read %s", traces[i]);
	}
	model_finish(m);
	return 0;
}

static const char *const nothing_found[MODEL_WEIGHTS] = {
	[MODEL_PEAK] = "no memory was live at the peak",
	[MODEL_LIVE] = "no memory was left live",
	[MODEL_LEAKS] = "no leak was found",
	[MODEL_TEMPORARY] = "no temporary memory was found",
	[MODEL_COPIES] = "no copy was recorded",
};

/* That there is none of something can be the answer; that nothing passes the filters is none. */
static int check_content(const struct model_view *view, struct buf *note, struct err *err)
{
	enum cost_kind kind = cost_of_weight(view->weight);
	const struct metrics *total = &view->total;

	if (!cost_recorded(view, kind))
		return err_set(err, ERR_FAILED,
			       "no %s recorded: record with %s (the default), or choose "
			       "--metric cpu",
			       kind == COST_COPIES ? "copies were" : "memory was",
			       kind == COST_COPIES ? "--copies" : "--memory=sampled");
	if (cost_sum(view, kind) > 0)
		return 0;
	if (!nothing_found[view->weight] ||
	    (total->memory.events == 0 && total->memory.copies == 0 && total->samples == 0))
		return err_set(err, ERR_FAILED,
			       "nothing to write: no %s passes the filters, leave some of them out",
			       costs[kind].title);
	buf_printf(note, "%s, the profile is empty", nothing_found[view->weight]);
	return 0;
}

/* What to weigh by, or MODEL_WEIGHTS with an error. */
static enum model_weight choose_weight(const struct options *o, const struct exporter *exporter,
				       struct err *err)
{
	enum model_weight weight = o->filter.wall ? MODEL_WALL : o->metric;
	struct buf names = {0};

	if ((o->filter.wall || o->filter.gil) && !weight_is_time(o->metric)) {
		err_set(err, ERR_USAGE, "--%s is about time, leave it out or --metric %s",
			o->filter.wall ? "wall" : "gil", metric_names[o->metric]);
		return MODEL_WEIGHTS;
	}
	if (exporter->flags & EXPORTER_PEAK && !o->metric_given && !o->filter.wall)
		return MODEL_PEAK;
	if (exporter_takes(exporter, weight))
		return weight;
	for (size_t i = 0; i < exporter_count; i++) {
		if (exporter_takes(exporter_table[i], weight))
			buf_printf(&names, "%s%s", names.size == 0 ? "" : ", ",
				   exporter_table[i]->name);
	}
	err_set(err, ERR_USAGE, "%s cannot hold --metric %s, use one of %s", exporter->name,
		metric_names[weight], buf_text(&names));
	buf_release(&names);
	return MODEL_WEIGHTS;
}

static int convert(const struct options *o, const struct exporter *exporter,
		   enum model_weight weight, char **traces, size_t count, struct err *err)
{
	struct export_options export_options = {
		.title = o->title,
		.threads = o->threads,
		.lines = o->lines,
		.max_items = o->max_samples,
		.traces = (unsigned int)count,
	};
	bool is_time = weight_is_time(weight);
	/* Where threads have a place, they have it in time. */
	struct model_options model_options = {
		.split_threads = o->threads && !(exporter->flags & EXPORTER_THREADS && is_time),
	};
	struct export x = {.options = &export_options};
	struct export_file file = {0};
	struct model *m = NULL;
	int ret = -1;

	if (filter_options_apply(&o->filter, &model_options, err) < 0)
		goto out;
	model_options.weight = weight;
	if (exporter->flags & EXPORTER_EVENTS && is_time) {
		x.events = exporter->events_new(&export_options, model_options.weight);
		model_options.on_event = exporter->events_add;
		model_options.on_event_arg = x.events;
	}
	m = model_new(&model_options);
	if (read_traces(m, traces, count, err) < 0)
		goto out;
	x.view = model_view(m);
	if (x.view->quality.damage)
		log_warn("%s", x.view->quality.damage);
	if (check_content(x.view, &x.note, err) < 0 || export_file_open(&file, o->output, err) < 0)
		goto out;
	x.to = file.to;
	if (exporter->write(&x, err) < 0)
		goto out;
	if (export_file_finish(&file, err) < 0)
		goto out;
	if (x.note.size > 0)
		log_note("%s%s", buf_text(&x.note),
			 x.over_limit ? " (--max-samples sets the limit)" : "");
	log_verbose("wrote %s (%s)", o->output, exporter->name);
	ret = 0;
out:
	export_file_release(&file);
	buf_release(&x.note);
	if (x.events)
		exporter->events_free(x.events);
	model_free(m);
	return ret;
}

static int run(struct options *o, char **traces, size_t count, struct err *err)
{
	const struct exporter *exporter;
	enum model_weight weight;
	struct buf formats = {0};

	if (o->list) {
		format_list(&formats);
		fputs(buf_text(&formats), stdout);
		buf_release(&formats);
		if (fflush(stdout) != 0)
			return err_errno(err, "cannot write the list");
		return 0;
	}
	if (count == 0)
		return err_set(err, ERR_USAGE, "name the trace to convert, or see --help");
	exporter = choose_exporter(o, err);
	if (!exporter || check_not_input(o->output, traces, count, err) < 0)
		return -1;
	weight = choose_weight(o, exporter, err);
	if (weight == MODEL_WEIGHTS)
		return -1;
	return convert(o, exporter, weight, traces, count, err);
}

/* "--to" is the end of the time that counts, as in scprof-analyze, and the format for those used to
 * it from other converters. A time begins with a digit, so the two cannot be mixed up. */
static void tell_formats_from_times(int argc, char **argv)
{
	static char format_option[] = "--format";

	for (int i = 1; i + 1 < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "--to") == 0 && (*value < '0' || *value > '9') &&
		    *value != '.' && *value != '-')
			argv[i] = format_option;
	}
}

static int exit_code(const struct err *err)
{
	return err->code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct opt_table table = {
		.tool = "scprof-convert",
		.synopsis = "[OPTIONS] TRACE... -o FILE",
		.about = "Writes what scprof-record recorded in a format that other programs read. "
			 "The name of FILE says which one; several traces become one file.",
		.options = option_table,
		.count = sizeof(option_table) / sizeof(option_table[0]),
	};
	struct buf more = {0};
	struct err err = {0};
	int operand = 0;
	int status = EXIT_SUCCESS;
	int ret;

	log_init("scprof-convert", LOG_NORMAL);
	filter_options_init(&o.filter);
	buf_add_text(&more, "Formats:\n");
	format_list(&more);
	table.more = buf_text(&more);
	tell_formats_from_times(argc, argv);
	ret = opt_parse(&table, argc, argv, &o, &operand, &err);
	if (ret == 0) {
		log_init("scprof-convert", (enum log_level)o.verbosity);
		ret = run(&o, argv + operand, (size_t)(argc - operand), &err);
	}
	if (ret < 0) {
		log_error("%s", err.text);
		status = exit_code(&err);
	}
	buf_release(&more);
	filter_options_release(&o.filter);
	return status;
}
