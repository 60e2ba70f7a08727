/* SPDX-License-Identifier: Apache-2.0
 *
 * scprof-record: runs a command and records the time of every Python in it. This file parses the
 * options, minds the signals and the terminal, and maps how it went to the exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/log.h"
#include "formats/base/opt.h"
#include "formats/base/xalloc.h"
#include "record/launch.h"
#include "record/recording.h"
#include "record/status_line.h"

#define STEP_MS 10
#define SAY_ROUNDS 100 /* steps with descendants only before that is said */

struct options {
	const char *output;
	uint64_t rate_hz;
	bool wall;
	bool source;
	uint64_t duration_ns;
	uint64_t max_size;
	int verbosity;
	bool version;
	bool help;
};

static const struct opt option_list[] = {
	{.group = "Recording",
	 .name = "output",
	 .letter = 'o',
	 .arg = "FILE",
	 .help = "write the trace to FILE (default scprof.PROGRAM.PID.trace); - is standard "
		 "output, "
		 "which the program then finds at standard error",
	 .kind = OPT_KIND_TEXT,
	 .offset = offsetof(struct options, output)},
	{.name = "rate",
	 .arg = "HZ",
	 .help = "look at the threads HZ times a second (default 1000)",
	 .kind = OPT_KIND_UINT,
	 .offset = offsetof(struct options, rate_hz),
	 .min = 1,
	 .max = 20000},
	{.name = "no-wall",
	 .help = "do not record waiting threads, only CPU time",
	 .kind = OPT_KIND_NO_FLAG,
	 .offset = offsetof(struct options, wall)},
	{.name = "duration",
	 .arg = "TIME",
	 .help = "record for TIME (seconds; also 500ms, 2m), then let the program run on",
	 .kind = OPT_KIND_DURATION,
	 .offset = offsetof(struct options, duration_ns)},
	{.name = "max-size",
	 .arg = "SIZE",
	 .help = "stop recording when the trace has SIZE bytes (also 10M, 1G); the program runs on",
	 .kind = OPT_KIND_SIZE,
	 .offset = offsetof(struct options, max_size)},
	{.name = "no-source",
	 .help = "do not put the text of source files into the trace",
	 .kind = OPT_KIND_NO_FLAG,
	 .offset = offsetof(struct options, source)},
	{.group = "General",
	 .name = "quiet",
	 .letter = 'q',
	 .help = "say nothing but errors",
	 .kind = OPT_KIND_LESS,
	 .offset = offsetof(struct options, verbosity)},
	{.name = "verbose",
	 .letter = 'v',
	 .help = "say more",
	 .kind = OPT_KIND_COUNT,
	 .offset = offsetof(struct options, verbosity)},
	{.name = "version",
	 .help = "print the version",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct options, version)},
	{.name = "help",
	 .letter = 'h',
	 .help = "print this help",
	 .kind = OPT_KIND_FLAG,
	 .offset = offsetof(struct options, help)},
};

static const struct opt_table option_table = {
	.tool = "scprof-record",
	.synopsis = "[options] [--] COMMAND [ARGUMENT...]",
	.about = "Runs COMMAND and records where the time of every Python program in it goes: CPU "
		 "and "
		 "wall time, all threads, all child processes. The exit status is COMMAND's own; "
		 "128 + N when signal N killed it.",
	.options = option_list,
	.count = sizeof(option_list) / sizeof(option_list[0]),
	.more = "\nRead the trace with scprof-analyze FILE, turn it into other formats with\n"
		"scprof-convert FILE -o OUT.\n",
	.command_follows = true,
};

/* Signals that end or interrupt: what the handler notes and the loop acts on. */
static volatile sig_atomic_t signalled;       /* the last one */
static volatile sig_atomic_t signalled_by_us; /* sent by a process, so the command did not get it */

static void note_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	signalled_by_us = info->si_code == SI_USER;
	signalled = signo;
}

static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	struct sigaction action, old;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = note_signal;
	action.sa_flags = SA_SIGINFO;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* What our caller ignores (nohup) stays ignored. */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

static char *default_output(char *command)
{
	char *copy = xstrdup(command);
	struct buf name = {0};

	buf_printf(&name, "scprof.%s.%d.trace", basename(copy), (int)getpid());
	free(copy);
	return (char *)(uintptr_t)buf_text(&name);
}

static int open_output(const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0) {
		if (isatty(STDOUT_FILENO))
			return err_set(
				err, ERR_USAGE,
				"a trace is not text: send standard output to a file or pipe");
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return fd >= 0 ? fd : err_errno(err, "cannot use standard output");
	}
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is a directory; name a file with -o", path);
	/* A trace may hold source and arguments. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : err_errno(err, "cannot write '%s'", path);
}

struct header_text {
	struct trace_text *command;
	char host[256];
	char system[1024];
	char directory[PATH_MAX];
	struct buf options;
};

static void fill_header(struct trace_header *header, struct header_text *text,
			const struct options *o, int argc, char **argv, int operand)
{
	struct utsname name;

	memset(header, 0, sizeof(*header));
	memset(text, 0, sizeof(*text));
	header->version = TRACE_VERSION;
	header->tool_version = SCPROF_VERSION;
	if (gethostname(text->host, sizeof(text->host) - 1))
		text->host[0] = '\0';
	if (uname(&name) == 0)
		snprintf(text->system, sizeof(text->system), "%s %s %s", name.sysname, name.release,
			 name.machine);
	if (!getcwd(text->directory, sizeof(text->directory)))
		text->directory[0] = '\0';
	for (int i = 1; i < operand; i++)
		buf_printf(&text->options, "%s%s", i > 1 ? " " : "", argv[i]);
	header->host = text->host;
	header->system = text->system;
	header->cpu_count = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	header->command_count = (size_t)(argc - operand);
	text->command = xcalloc(header->command_count, sizeof(*text->command));
	for (int i = operand; i < argc; i++)
		text->command[i - operand] = (struct trace_text){argv[i], strlen(argv[i])};
	header->command = text->command;
	header->directory = (struct trace_text){text->directory, strlen(text->directory)};
	header->rate_hz = (uint32_t)o->rate_hz;
	header->wall = o->wall;
	header->source = o->source;
	header->tick_ns = 0; /* what the format is tuned for */
	header->options = (struct trace_text){buf_text(&text->options), text->options.size};
}

/* Why sampling stopped before the command ended. */
static const char *early_reason(enum trace_end_reason reason)
{
	switch (reason) {
	case TRACE_REASON_DURATION:
		return "the time set with --duration is over";
	case TRACE_REASON_MAX_SIZE:
		return "the trace has the size set with --max-size";
	case TRACE_REASON_INTERRUPTED:
		return "interrupted";
	default:
		return "finished";
	}
}

static void say_result(const struct recording *r, const char *output, const char *program)
{
	struct recording_totals totals = recording_totals(r);
	const struct drain_totals *d = &totals.drain;
	size_t processes = recording_processes(r);
	char lost[64] = "", many[64] = "";

	if (recording_refusal(r))
		log_warn("%s", recording_refusal(r));
	if (!processes) {
		if (!recording_refusals(r))
			log_warn(
				"'%s' never became a Python that scprof can record (CPython 3.9 to "
				"3.15, dynamically linked to libc); the trace is empty",
				program);
		return;
	}
	if (d->lost + d->missed + d->unwalked)
		snprintf(lost, sizeof(lost), ", %llu lost",
			 (unsigned long long)(d->lost + d->missed + d->unwalked));
	if (processes > 1)
		snprintf(many, sizeof(many), ", %zu processes", processes);
	log_note("%llu samples, %.2f s CPU in %.2f s%s%s, %.1f KiB: scprof-analyze %s",
		 (unsigned long long)d->samples, (double)d->cpu_ns / 1e9,
		 (double)totals.elapsed_ns / 1e9, many, lost, (double)totals.bytes / 1024,
		 strcmp(output, "-") == 0 ? "-" : output);
}

struct run {
	struct recording *recording;
	const struct options *options;
	const char *output;
	pid_t command;
	int wait_status; /* -1 while the command runs */
	bool finished;   /* the trace is complete, the command may run on */
	bool failed;
};

static void finish(struct run *run, enum trace_end_reason reason)
{
	struct err err;
	int status = -1;

	if (run->finished)
		return;
	run->finished = true;
	status_line_clear();
	if (run->wait_status != -1)
		status = WIFSIGNALED(run->wait_status) ? 128 + WTERMSIG(run->wait_status)
						       : WEXITSTATUS(run->wait_status);
	if (recording_finish(run->recording, reason, status, &err)) {
		run->failed = true;
		log_error("%s: the trace is not complete: %s", run->output, err.text);
	}
	if (reason == TRACE_REASON_DURATION || reason == TRACE_REASON_MAX_SIZE)
		log_note("recording ended, the program runs on: %s", early_reason(reason));
}

static void handle_signal(struct run *run)
{
	int signo = signalled;

	signalled = 0;
	if (!signo)
		return;
	if (run->wait_status != -1) {
		/* Only descendants are left: the user does not want to wait for them. */
		finish(run, TRACE_REASON_INTERRUPTED);
		return;
	}
	/* From the terminal the command got it too; otherwise it was meant for the command. */
	if (signalled_by_us)
		kill(run->command, signo);
}

static void follow(struct run *run)
{
	struct recording *r = run->recording;
	bool said = false;
	int rounds = 0;

	for (;;) {
		if (run->finished) {
			/* Only the command's status is left to wait for. */
			if (run->wait_status != -1)
				return;
			if (waitpid(run->command, &run->wait_status, 0) != run->command)
				run->wait_status = -1;
			handle_signal(run);
			continue;
		}
		recording_step(r, STEP_MS);
		handle_signal(run);
		if (run->finished)
			continue;
		if (run->wait_status == -1 &&
		    waitpid(run->command, &run->wait_status, WNOHANG) == run->command)
			recording_command_ended(r, run->wait_status);
		else if (run->wait_status != -1 && recording_live(r) == 0) {
			/* One more look for a last-minute report. */
			recording_step(r, 0);
			if (recording_live(r) == 0)
				finish(run, TRACE_REASON_FINISHED);
			continue;
		}
		if (run->wait_status != -1 && !said && recording_live(r) && ++rounds > SAY_ROUNDS) {
			said = true;
			log_note("the command ended; %zu of its processes still run and are "
				 "recorded, "
				 "Ctrl-C ends that",
				 recording_live(r));
		}
		if (run->options->duration_ns &&
		    recording_totals(r).elapsed_ns >= run->options->duration_ns)
			finish(run, TRACE_REASON_DURATION);
		else if (recording_full(r))
			finish(run, TRACE_REASON_MAX_SIZE);
		else
			status_line_update(r);
	}
}

int main(int argc, char **argv)
{
	struct options o = {.rate_hz = 1000, .wall = true, .source = true};
	struct recording_options recording_options;
	struct trace_header header;
	struct header_text text;
	struct launch launch;
	struct run run = {.wait_status = -1};
	struct err err = {0};
	char *agent = NULL, *output = NULL;
	int operand = 0, status = 1, fd;

	log_init("scprof-record", LOG_NORMAL);
	if (opt_parse(&option_table, argc, argv, &o, &operand, &err)) {
		log_error("%s", err.text);
		return 2;
	}
	if (o.help) {
		opt_print_help(&option_table, stdout);
		return 0;
	}
	if (o.version) {
		printf("scprof-record %s\n", SCPROF_VERSION);
		return 0;
	}
	log_init("scprof-record", o.verbosity);
	if (operand >= argc) {
		log_error("no command to record; try: scprof-record -- python3 app.py");
		return 2;
	}

	memset(&text, 0, sizeof(text));
	agent = launch_find_agent(&err);
	if (!agent)
		goto fail;
	output = o.output ? xstrdup(o.output) : default_output(argv[operand]);
	fd = open_output(output, &err);
	if (fd < 0)
		goto fail;
	fill_header(&header, &text, &o, argc, argv, operand);
	recording_options = (struct recording_options){
		.rate_hz = (uint32_t)o.rate_hz,
		.wall = o.wall,
		.source = o.source,
		.max_size = o.max_size,
		.signal = SIGRTMAX - 5,
	};
	run.recording = recording_new(fd, &header, &recording_options, &err);
	if (!run.recording) {
		close(fd);
		goto fail;
	}

	launch = (struct launch){
		.argv = argv + operand,
		.agent = agent,
		.socket = recording_socket(run.recording),
		.signal = recording_options.signal,
		.stdout_fd = strcmp(output, "-") == 0 ? STDERR_FILENO : -1,
	};
	run.options = &o;
	run.output = output;
	run.command = launch_command(&launch, &status, &err);
	if (run.command < 0) {
		log_error("%s", err.text);
		if (strcmp(output, "-") != 0)
			unlink(output);
		goto out;
	}
	catch_signals();
	if (recording_start(run.recording, run.command, &err)) {
		kill(run.command, SIGTERM);
		goto fail;
	}
	status_line_start(log_shows(LOG_NORMAL));
	follow(&run);

	if (WIFSIGNALED(run.wait_status)) {
		status = 128 + WTERMSIG(run.wait_status);
		log_note("'%s' was killed by signal %d (%s)", argv[operand],
			 WTERMSIG(run.wait_status), strsignal(WTERMSIG(run.wait_status)));
	} else {
		status = WEXITSTATUS(run.wait_status);
	}
	say_result(run.recording, output, argv[operand]);
	goto out;
fail:
	log_error("%s", err.text);
	status = err.code == ERR_USAGE ? 2 : 1;
out:
	recording_free(run.recording);
	free(text.command);
	buf_release(&text.options);
	free(output);
	free(agent);
	return status;
}
