/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record_options.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "formats/base/banned.h"
#include "record/child_pattern.h"

#define MEMORY_RATE (512u << 10)
#define RATE_DEFAULT UINT64_MAX
#define MEMORY_RATE_MIN 1024u
#define MEMORY_RATE_MAX (UINT64_C(1) << 40)

static int set_children(void *options, const char *arg, struct err *err)
{
	struct record_options *o = options;

	if (!arg || strcmp(arg, "all") == 0)
		o->children = CHILD_PATTERN_ALL;
	else if (strcmp(arg, "none") == 0)
		o->children = CHILD_PATTERN_NONE;
	else if (!*arg || strlen(arg) >= CHILD_PATTERN_MAX)
		return err_set(err, ERR_USAGE,
			       "a pattern has from 1 to %u characters: all, none, '*worker*', "
			       "'python3.12 *', ...",
			       CHILD_PATTERN_MAX - 1);
	else
		o->children = arg;
	return 0;
}

static const char *const memory_modes[] = {"sampled", "full", "off", NULL};

static const struct opt option_list[] = {
	{.group = "Recording",
	 .name = "output",
	 .letter = 'o',
	 .arg = "FILE",
	 .help = "write the trace to FILE (default scprof.PROGRAM.PID.trace); - is standard "
		 "output, "
		 "which the program then finds at standard error",
	 .kind = OPT_KIND_TEXT,
	 .offset = offsetof(struct record_options, output)},
	{.name = "rate",
	 .arg = "HZ",
	 .help = "look at the threads HZ times a second (default 1000)",
	 .kind = OPT_KIND_UINT,
	 .offset = offsetof(struct record_options, rate_hz),
	 .min = 1,
	 .max = 20000},
	{.name = "no-wall",
	 .help = "do not record waiting threads, only CPU time",
	 .kind = OPT_KIND_NO_FLAG,
	 .offset = offsetof(struct record_options, wall)},
	{.name = "memory",
	 .arg = "HOW",
	 .help = "record allocations: sampled (the default), full (every one) or off",
	 .kind = OPT_KIND_CHOICE,
	 .offset = offsetof(struct record_options, memory),
	 .choices = memory_modes},
	{.name = "memory-rate",
	 .arg = "BYTES",
	 .help = "sample an allocation every BYTES on average (also 64K, 1M; default 512K); "
		 "1 is --memory=full",
	 .kind = OPT_KIND_SIZE,
	 .offset = offsetof(struct record_options, memory_rate)},
	{.name = "copies",
	 .help = "sample how many bytes are copied, read and written (the default)",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, copies)},
	{.name = "no-copies",
	 .help = "do not sample copies",
	 .kind = OPT_KIND_NO_FLAG,
	 .offset = offsetof(struct record_options, copies)},
	{.name = "duration",
	 .arg = "TIME",
	 .help = "record for TIME (seconds; also 500ms, 2m), then let the program run on",
	 .kind = OPT_KIND_DURATION,
	 .offset = offsetof(struct record_options, duration_ns)},
	{.name = "max-size",
	 .arg = "SIZE",
	 .help = "stop recording when the trace has SIZE bytes (also 10M, 1G); the program runs on",
	 .kind = OPT_KIND_SIZE,
	 .offset = offsetof(struct record_options, max_size)},
	{.name = "no-source",
	 .help = "do not put the text of source files into the trace",
	 .kind = OPT_KIND_NO_FLAG,
	 .offset = offsetof(struct record_options, source)},
	{.name = "start-paused",
	 .help = "record nothing until --control start, or the program itself, says so",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, start_paused)},
	{.name = "children",
	 .optional = true,
	 .arg = "WHICH",
	 .help = "which child processes to record: all (the default for a command), none (the "
		 "default with --pid), or those whose command line, or a word of it, matches a "
		 "pattern such as '*worker*'",
	 .kind = OPT_KIND_CALL,
	 .set = set_children},
	{.name = "live",
	 .help = "watch the recording in the terminal; the program's output goes to FILE.out",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, live)},
	{.group = "Running programs",
	 .name = "pid",
	 .letter = 'p',
	 .arg = "PID",
	 .help = "record the running process PID, without its cooperation, until it ends, Ctrl-C "
		 "or --duration",
	 .kind = OPT_KIND_UINT,
	 .offset = offsetof(struct record_options, pid),
	 .min = 1,
	 .max = INT_MAX},
	{.name = "inject",
	 .help = "with --pid: load scprof's library into the process for the time of the "
		 "recording, which then has its memory and copies, too",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, inject)},
	{.name = "nonblocking",
	 .help = "with --pid: never stop a thread to read it; some samples are lost then",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, nonblocking)},
	{.name = "dump",
	 .help = "with --pid: print what every thread does right now, and end",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, dump)},
	{.name = "locals",
	 .help = "with --dump: the values of local variables, too",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, locals)},
	{.name = "json",
	 .help = "with --dump: as JSON",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct record_options, json)},
	{.name = "control",
	 .arg = "WHAT",
	 .help = "start, stop or \"mark LABEL\" the recording that has the process given with "
		 "--pid",
	 .kind = OPT_KIND_TEXT,
	 .offset = offsetof(struct record_options, control)},
	{.group = "General",
	 .name = "quiet",
	 .letter = 'q',
	 .help = "say nothing but errors",
	 .kind = OPT_KIND_LESS,
	 .offset = offsetof(struct record_options, verbosity)},
	{.name = "verbose",
	 .letter = 'v',
	 .help = "say more",
	 .kind = OPT_KIND_COUNT,
	 .offset = offsetof(struct record_options, verbosity)},
};

const struct opt_table record_option_table = {
	.tool = "scprof-record",
	.synopsis = "[options] [--] COMMAND [ARGUMENT...]\n[options] [--inject] --pid PID",
	.about = "Runs COMMAND and records where the time and the memory of every Python program "
		 "in it go: CPU and wall time, allocations, copies, all threads, all child "
		 "processes. The exit status is COMMAND's own; 128 + N when signal N killed it. "
		 "With "
		 "--pid, records the time of a program that runs already.",
	.options = option_list,
	.count = sizeof(option_list) / sizeof(option_list[0]),
	.more = "Read the trace with scprof-analyze FILE, turn it into other formats with\n"
		"scprof-convert FILE -o OUT.\n",
	.command_follows = true,
};

/* Settles on the mean bytes between two recorded allocations: 1 is all of them, 0 none. */
static int choose_memory_rate(struct record_options *o, struct err *err)
{
	bool given = o->memory_rate != RATE_DEFAULT;

	if (o->pid && !o->inject) {
		if (given || o->memory == RECORD_MEMORY_SAMPLED || o->memory == RECORD_MEMORY_FULL)
			return err_set(err, ERR_USAGE,
				       "--memory: the allocations of a running program cannot be "
				       "seen with --pid; add --inject, or start it with "
				       "scprof-record");
		o->memory_rate = 0;
		o->copies = false;
		return 0;
	}
	if (given && o->memory == RECORD_MEMORY_OFF)
		return err_set(err, ERR_USAGE, "--memory=off leaves nothing for --memory-rate");
	if (given && o->memory == RECORD_MEMORY_FULL && o->memory_rate != 1)
		return err_set(err, ERR_USAGE,
			       "--memory=full records every allocation: leave out --memory-rate");
	if (given && o->memory_rate != 1 &&
	    (o->memory_rate < MEMORY_RATE_MIN || o->memory_rate > MEMORY_RATE_MAX))
		return err_set(err, ERR_USAGE,
			       "--memory-rate: not between 1K and 1T, nor 1 for every allocation");
	if (o->memory == RECORD_MEMORY_OFF)
		o->memory_rate = 0;
	else if (o->memory == RECORD_MEMORY_FULL)
		o->memory_rate = 1;
	else if (!given)
		o->memory_rate = MEMORY_RATE;
	return 0;
}

/* Whether there is something to record, one thing only. */
static int check_pid_options(const struct record_options *o, int operand_count, char **operands,
			     struct err *err)
{
	if ((o->json || o->locals) && !o->dump)
		return err_set(err, ERR_USAGE, "--%s is for --dump", o->json ? "json" : "locals");
	if (o->dump && !o->pid)
		return err_set(err, ERR_USAGE,
			       "--dump needs the process: scprof-record --dump --pid PID");
	if (o->inject && (!o->pid || o->dump || o->nonblocking))
		return err_set(err, ERR_USAGE, "--inject is for recording with --pid%s",
			       o->nonblocking ? ": leave out --nonblocking" : "");
	if (o->nonblocking && !o->pid)
		return err_set(err, ERR_USAGE,
			       "--nonblocking is for --pid: what scprof-record starts is never "
			       "stopped");
	if (o->children && o->dump)
		return err_set(err, ERR_USAGE, "--children is for recording: leave out --dump");
	if (o->pid && operand_count > 0)
		return err_set(err, ERR_USAGE,
			       "--pid is for a program that runs already: leave out '%s'",
			       operands[0]);
	if (!o->pid && operand_count == 0)
		return err_set(err, ERR_USAGE,
			       "no command to record; try: scprof-record -- python3 app.py");
	if (o->live && (o->dump || (o->output && strcmp(o->output, "-") == 0)))
		return err_set(err, ERR_USAGE,
			       "--live shows a recording that goes to a file: leave out %s",
			       o->dump ? "--dump" : "-o -");
	if (o->pid && o->start_paused && !o->inject)
		return err_set(err, ERR_USAGE,
			       "--start-paused is for commands and --inject: a running program is "
			       "recorded at once");
	return 0;
}

void record_options_init(struct record_options *options)
{
	*options = (struct record_options){
		.rate_hz = 1000,
		.wall = true,
		.source = true,
		.memory = RECORD_MEMORY_DEFAULT,
		.memory_rate = RATE_DEFAULT,
		.copies = true,
	};
}

int record_options_check(struct record_options *options, int operand_count, char **operands,
			 struct err *err)
{
	if (choose_memory_rate(options, err) ||
	    check_pid_options(options, operand_count, operands, err))
		return -1;
	if (!options->children)
		options->children = options->pid ? CHILD_PATTERN_NONE : CHILD_PATTERN_ALL;
	return 0;
}
