/* SPDX-License-Identifier: Apache-2.0
 *
 * What all reports share: what was asked for, which rows to show, how a figure looks.
 */
#ifndef SCPROF_REPORT_H
#define SCPROF_REPORT_H

#include <stdio.h>

#include "analyze/model.h"
#include "formats/base/buf.h"

enum report_section {
	REPORT_LINES = 1 << 0,
	REPORT_FUNCTIONS = 1 << 1,
	REPORT_TREE = 1 << 2,
	REPORT_NATIVE = 1 << 3,
	REPORT_THREADS = 1 << 4,
	REPORT_PROCESSES = 1 << 5,
	REPORT_MEMORY = 1 << 6,
	REPORT_LEAKS = 1 << 7,
	REPORT_PEAK = 1 << 8,
	REPORT_TEMPORARY = 1 << 9,
	REPORT_COPIES = 1 << 10,
	REPORT_TIMELINE = 1 << 11,
	REPORT_PHASES = 1 << 12,
};

enum report_sort {
	REPORT_SORT_WEIGHT, /* what the section is about: CPU or wall time, live at the peak, ... */
	REPORT_SORT_CPU,
	REPORT_SORT_TOTAL, /* with everything below */
	REPORT_SORT_PYTHON,
	REPORT_SORT_NATIVE,
	REPORT_SORT_SYSTEM,
	REPORT_SORT_WALL,
	REPORT_SORT_SAMPLES,
	REPORT_SORT_NAME,
	REPORT_SORT_VOLUME,
	REPORT_SORT_PEAK,
	REPORT_SORT_GROWTH,
	REPORT_SORT_AVERAGE,
	REPORT_SORT_TEMPORARY,
	REPORT_SORT_COPIES,
	REPORT_SORT_LIVE, /* still there when everything is over */
};

struct report_options {
	unsigned int sections; /* 0: what the format shows by default */
	enum report_sort sort;
	uint64_t top;       /* 0: each section's own default */
	double min_percent; /* < 0: the default */
	bool all;           /* library code in its own right, not charged to the user's */
	bool intervals;
	bool color;
	bool unicode;
	int width;                /* 0: do not cut anything */
	double min_leak_rate;     /* bytes a second; slower leaks are left out */
	double min_leak_bytes;    /* smaller ones, too */
	uint64_t temporary;       /* k of "freed before the thread's next k allocations" */
	const char *const *files; /* of --file: what to show, whoever's it is */
	size_t file_count;
};

struct report {
	const struct model_view *view;
	const struct report_options *options;
	FILE *to;
	enum model_weight weight; /* of the section; the model's own where it is about time */
	bool all;                 /* options->all, or there is no code of the user's */
	bool no_frame;            /* threads without a Python frame are listed in any case */
	bool thin;                /* a figure was marked as too thin to trust */
};

#define REPORT_MIN_PERCENT 1.0

/* Decides what is the same for every format. */
void report_init(struct report *r, const struct model_view *view,
		 const struct report_options *options, FILE *to);

void report_text(struct report *r);
void report_lines(struct report *r);
void report_tree(struct report *r);
/* The same as rows of CSV. */
void report_tree_csv(struct report *r);
void report_leaks(struct report *r);
void report_timeline(struct report *r);
void report_json(struct report *r);
void report_markdown(struct report *r);
/* One table: sections must be one section. */
void report_csv(struct report *r);

/* ---- rows: report_rows.c -------------------------------------------------------------------- */

/* Model ids of what to show, best first. Caller frees ids with free. */
struct report_rows {
	uint32_t *ids;
	size_t count;
	size_t left_out; /* rows with something in them that --top cut off */
};

#define REPORT_NO_LIMIT SIZE_MAX

/* The same report about memory or copies: native threads have their share in it. */
struct report report_about(const struct report *r, enum model_weight weight);

/* limit and min_percent are defaults: what the user asked for goes first. */
struct report_rows report_pick_lines(const struct report *r, size_t limit, double min_percent);
/* Those whose memory is wanted, whatever share of the weight they have. */
struct report_rows report_pick_lines_if(const struct report *r, size_t limit,
					bool (*wanted)(const struct report *r,
						       const struct memory *m));
struct report_rows report_pick_functions(const struct report *r, size_t limit, double min_percent);
struct report_rows report_pick_threads(const struct report *r, size_t limit);
struct report_rows report_pick_processes(const struct report *r, size_t limit);
/* report_processes.c: parents before their children; depths, unless NULL: the caller frees them. */
struct report_rows report_process_tree(const struct report *r, size_t limit, uint32_t **depths);
struct report_rows report_pick_natives(const struct report *r, size_t limit, double min_percent);

/* The metrics that a line is shown and sorted by: charged for the user's code, else its own. */
const struct metrics *report_line_metrics(const struct report *r, const struct model_line *line);
const struct model_file *report_line_file(const struct report *r, const struct model_line *line);
bool report_shows_file(const struct report *r, const struct model_file *file);
bool metrics_any(const struct metrics *m);
uint64_t report_sort_key(const struct report *r, const struct metrics *self,
			 const struct metrics *total);
double report_min_percent(const struct report *r);

/* The time of a line's samples that was spent in library code below it. */
uint64_t report_library_ns(const struct report *r, const struct model_line *line);

/* ---- figures: report_figures.c -------------------------------------------------------------- */

#define FIGURE_SIZE 48

/* "12.3"; "" for what rounds to nothing. */
const char *figure_percent(char text[FIGURE_SIZE], uint64_t part, uint64_t whole);
/* "1.23 s", "45 ms", "12 us"; "" for 0. */
const char *figure_time(char text[FIGURE_SIZE], uint64_t ns);
/* "10,213" */
const char *figure_count(char text[FIGURE_SIZE], uint64_t n);
/* "11.7-12.9", the 95 % interval of the CPU time, in percent of the whole. */
const char *figure_interval(char text[FIGURE_SIZE], const struct report *r,
			    const struct metrics *m);
/* Is the 95 % interval wider than the figure? Then r->thin is set and the figure wants a mark. */
bool figure_is_thin(struct report *r, const struct metrics *m);

/* A path as short as it stays clear: relative to where the command ran, or from its package on. */
const char *report_short_path(const struct report *r, const struct model_file *file);
/* The same for a table: "../folder/file.py" when it is long and elsewhere. Adds to to. */
void report_add_place(struct buf *to, const struct report *r, const struct model_file *file,
		      int32_t line);
/* A process's command line, the program without its folder. */
/* The recorded command without the folder of its program. */
const char *report_command_of(const struct report *r);
const char *report_short_command(const struct model_process *p);
const char *report_version_of(const struct report *r); /* of Python; "" when not known */

/* A line of source (from 1), without its end; size 0 when there is no text. */
struct source_index {
	const char *text;
	size_t size;
	size_t *starts;
	size_t count;
};
void source_index_init(struct source_index *s, const struct model_file *file);
void source_index_release(struct source_index *s);
struct trace_text source_index_line(const struct source_index *s, int32_t line);

/* Adds text safe for a terminal: no control characters, tabs as spaces, no broken UTF-8. */
void report_clean(struct buf *to, const char *text, size_t size);
/* Columns that clean text takes. */
size_t report_width(const char *text, size_t size);
/* Bytes of clean text that fit into width columns. */
size_t report_fit(const char *text, size_t size, size_t width);

enum report_style {
	REPORT_STYLE_NONE,
	REPORT_STYLE_DIM,
	REPORT_STYLE_BOLD,
	REPORT_STYLE_WARM,
	REPORT_STYLE_HOT,
};
/* "" without colour. */
const char *report_style(const struct report *r, enum report_style style);
enum report_style report_heat(uint64_t part, uint64_t whole);
enum report_style report_heat_of(double part, double whole);

#endif
