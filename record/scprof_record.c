/* SPDX-License-Identifier: Apache-2.0
 *
 * scprof-record: runs a command and records the time and the memory of every Python in it. This
 * file parses the options, minds the signals and the terminal, and maps how it went to the exit
 * status.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
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
#include "formats/base/xalloc.h"
#include "record/attach.h"
#include "record/attach_tree.h"
#include "record/child_pattern.h"
#include "record/control.h"
#include "record/descendants.h"
#include "record/dump.h"
#include "record/hold.h"
#include "record/inject_place.h"
#include "record/injection.h"
#include "record/launch.h"
#include "record/live_view.h"
#include "record/process_info.h"
#include "record/record_options.h"
#include "record/recording.h"
#include "record/refusals.h"
#include "record/status_line.h"

#define STEP_MS 10
#define REPORT_STEPS 500     /* for an agent to report */
#define SAY_ROUNDS 100       /* steps with descendants only before that is said */
#define STRAY_NS 1000000000u /* for what the command left behind to become a Python */

#define COPY_RATE (2u << 20)
#define MIB 1048576.0

/* Signals that end or interrupt: what the handler notes and the loop acts on. */
static volatile sig_atomic_t signalled;       /* the last one */
static volatile sig_atomic_t signalled_by_us; /* sent by a process, so the command did not get it */

static volatile sig_atomic_t suspended; /* Ctrl-Z, with --pid */

static void note_suspension(int signo)
{
	(void)signo;
	suspended = 1;
}

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

static char *default_output(const char *command, pid_t pid)
{
	char *copy = xstrdup(command);
	struct buf name = {0};

	buf_printf(&name, "scprof.%s.%d.trace", basename(copy), (int)pid);
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
	struct process_info process; /* with --pid */
	char host[256];
	char system[1024];
	char directory[PATH_MAX];
	struct buf options;
};

static void fill_header(struct trace_header *header, struct header_text *text,
			const struct record_options *o, int argc, char **argv, int operand)
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
	if (o->pid) {
		process_info_read(&text->process, (pid_t)o->pid, 0);
		header->command = text->process.command;
		header->command_count = text->process.command_count;
	} else {
		header->command_count = (size_t)(argc - operand);
		text->command = xcalloc(header->command_count, sizeof(*text->command));
		for (int i = operand; i < argc; i++)
			text->command[i - operand] = (struct trace_text){argv[i], strlen(argv[i])};
		header->command = text->command;
	}
	header->directory = (struct trace_text){text->directory, strlen(text->directory)};
	header->rate_hz = (uint32_t)o->rate_hz;
	header->wall = o->wall;
	header->source = o->source;
	header->memory_rate = o->memory_rate;
	header->copy_rate = o->copies ? COPY_RATE : 0;
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

static void say_result(struct recording *r, const struct record_options *o, const char *output,
		       const char *program)
{
	struct recording_totals totals = recording_totals(r);
	const struct drain_totals *d = &totals.drain;
	const struct refusals *refusals = recording_refusals(r);
	size_t processes = recording_processes(r);
	struct buf unrecorded = {0};
	char lost[64] = "", many[64] = "", allocated[48] = "", rss[48] = "";

	if (refusals->pythons)
		log_warn("%s", refusals->first);
	if (refusals_say(refusals, &unrecorded))
		log_note("%s%s", buf_text(&unrecorded), processes ? "" : "; the trace is empty");
	buf_release(&unrecorded);
	if (!processes) {
		if (!refusals->pythons && !refusals->count)
			log_warn(
				"'%s' never became a Python that scprof can record (CPython 3.9 to "
				"3.15, dynamically linked to libc)%s; the trace is empty",
				program,
				strcmp(o->children, CHILD_PATTERN_ALL) == 0
					? ""
					: ", and --children leaves out those it starts");
		return;
	}
	if (d->lost + d->missed + d->unwalked + d->heap_lost)
		snprintf(lost, sizeof(lost), ", %llu lost",
			 (unsigned long long)(d->lost + d->missed + d->unwalked + d->heap_lost));
	if (d->allocated_bytes > 0)
		snprintf(allocated, sizeof(allocated), ", %.1f MiB allocated",
			 d->allocated_bytes / MIB);
	if (d->most_rss_bytes)
		snprintf(rss, sizeof(rss), ", RSS up to %.1f MiB", (double)d->most_rss_bytes / MIB);
	if (processes > 1)
		snprintf(many, sizeof(many), ", %zu processes", processes);
	log_note("%llu samples, %.2f s CPU in %.2f s%s%s%s%s, %.1f KiB: scprof-analyze %s",
		 (unsigned long long)d->samples, (double)d->cpu_ns / 1e9,
		 (double)totals.elapsed_ns / 1e9, allocated, rss, many, lost,
		 (double)totals.bytes / 1024, strcmp(output, "-") == 0 ? "-" : output);
}

struct run {
	struct recording *recording;
	const struct record_options *options;
	const char *output;
	pid_t command;
	struct live_view view;
	uint64_t joined_ns; /* since the start: what it took to get into the program */
	int wait_status;    /* -1 while the command runs */
	uint64_t alone_ns;  /* since the start: when the last Python was seen to have ended, or 0 */
	bool finished;      /* the trace is complete, the command may run on */
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

/* What the terminal shows while all goes well. */
static void show_progress(struct run *run)
{
	if (live_view_closed(&run->view)) {
		log_note("the view is closed, the recording goes on: Ctrl-C ends the program");
		status_line_start(log_shows(LOG_NORMAL));
	}
	status_line_update(run->recording);
}

/* Begins to show how the recording goes. */
static int start_progress(struct run *run, struct err *err)
{
	if (run->options->live)
		return live_view_start(&run->view, run->output, err);
	status_line_start(log_shows(LOG_NORMAL));
	return 0;
}

/* The recording is over, and so is the view when the user has seen enough. */
static void end_progress(struct run *run)
{
	const char *output;

	live_view_wait(&run->view);
	output = live_view_output(&run->view);
	if (output)
		log_note("what the program printed is in %s", output);
}

/* Has the command ended? Sets its status then. */
static bool wait_for_command(struct run *run)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PID, (id_t)run->command, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
		return false;
	recording_command_dead(run->recording);
	return waitpid(run->command, &run->wait_status, WNOHANG) == run->command;
}

/* Nothing is recorded, and nothing will be: a shell that the command left in the background, say,
 * has its time to become a Python. */
static bool is_over(struct run *run)
{
	struct recording *r = run->recording;
	uint64_t now = recording_totals(r).elapsed_ns;

	if (recording_live(r)) {
		run->alone_ns = 0;
		return false;
	}
	if (!run->alone_ns)
		run->alone_ns = now;
	if (strcmp(run->options->children, CHILD_PATTERN_NONE) != 0 &&
	    now - run->alone_ns < STRAY_NS && descendants_live(recording_socket(r)))
		return false;
	/* One more look for a last-minute report. */
	recording_step(r, 0);
	return recording_live(r) == 0;
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
		if (run->wait_status == -1 && wait_for_command(run))
			recording_command_ended(r, run->wait_status);
		else if (run->wait_status != -1 && is_over(run)) {
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
			show_progress(run);
	}
}

/* A program that runs already, with an agent in it when there is no target: until it ends, or we
 * are told to. */
static void follow_attached(struct run *run, const struct target *target)
{
	const struct attach_tree_options options = {
		.holds = !run->options->nonblocking,
		.children = run->options->children,
	};
	struct recording *r = run->recording;
	/* An agent tells of the children itself. */
	struct attach_tree *tree = target ? attach_tree_new(r, target, &options) : NULL;

	while (!run->finished) {
		recording_step(r, STEP_MS);
		if (tree)
			attach_tree_step(tree);
		if (suspended) {
			suspended = 0;
			recording_suspend(r);
		}
		if (signalled)
			finish(run, TRACE_REASON_INTERRUPTED);
		else if (tree ? recording_live(r) == 0 && !attach_tree_waits(tree) : is_over(run))
			finish(run, TRACE_REASON_FINISHED);
		else if (run->options->duration_ns &&
			 recording_totals(r).elapsed_ns >=
				 run->joined_ns + run->options->duration_ns)
			finish(run, TRACE_REASON_DURATION);
		else if (recording_full(r))
			finish(run, TRACE_REASON_MAX_SIZE);
		else
			show_progress(run);
	}
	attach_tree_free(tree);
}

/* Everything of a recording that main has to clean up. */
struct session {
	struct run run;
	struct recording_options options;
	struct trace_header header;
	struct header_text text;
	char *output;
};

/* Opens the trace. Returns 0 or -1. */
static int open_session(struct session *session, const struct record_options *o, int argc,
			char **argv, int operand, struct err *err)
{
	int fd;

	fill_header(&session->header, &session->text, o, argc, argv, operand);
	if (o->output)
		session->output = xstrdup(o->output);
	else if (o->pid)
		session->output = default_output(session->text.process.executable, (pid_t)o->pid);
	else
		session->output = default_output(argv[operand], getpid());
	fd = open_output(session->output, err);
	if (fd < 0)
		return -1;
	session->options = (struct recording_options){
		.rate_hz = (uint32_t)o->rate_hz,
		.wall = o->wall,
		.source = o->source,
		.memory_rate = session->header.memory_rate,
		.copy_rate = session->header.copy_rate,
		.footprint = o->memory != RECORD_MEMORY_OFF,
		.max_size = o->max_size,
		.paused = o->start_paused,
		.signal = SIGRTMAX - 5,
		.nonblocking = o->nonblocking,
		.near = o->inject ? (pid_t)o->pid : 0,
	};
	session->run.options = o;
	session->run.output = session->output;
	session->run.wait_status = -1;
	session->run.recording = recording_new(fd, &session->header, &session->options, err);
	if (!session->run.recording) {
		close(fd);
		return -1;
	}
	return 0;
}

/* --pid. Returns the exit status, or -1 with a sentence. */
static int record_running(struct session *session, const struct record_options *o, int argc,
			  char **argv, int operand, struct err *err)
{
	struct target *target = attach_target((pid_t)o->pid, !o->nonblocking, err);
	struct sampler_holds holds;

	if (!target)
		return -1;
	hold_init();
	if (open_session(session, o, argc, argv, operand, err)) {
		target_free(target);
		return -1;
	}
	catch_signals();
	signal(SIGTSTP, note_suspension);
	if (recording_start(session->run.recording, 0, err)) {
		target_free(target);
		return -1;
	}
	recording_attach(session->run.recording, target);
	log_note("recording process %d from outside: time and waiting of its threads, not its "
		 "memory (that takes a start by scprof-record)%s",
		 (int)o->pid,
		 o->nonblocking ? "; without stopping them, what runs in C code and in the kernel "
				  "cannot be told, and some stacks are lost"
				: "");
	if (start_progress(&session->run, err))
		return -1;
	follow_attached(&session->run, target);
	end_progress(&session->run);
	holds = recording_holds(session->run.recording);
	if (holds.count)
		log_verbose("threads were stopped %llu times, for %.0f us on average, %.0f us at "
			    "most",
			    (unsigned long long)holds.count,
			    (double)holds.total_ns / 1e3 / (double)holds.count,
			    (double)holds.longest_ns / 1e3);
	say_result(session->run.recording, o, session->output, "");
	return session->run.failed ? 1 : 0;
}

static bool has_reported(void *arg)
{
	struct recording *r = arg;

	recording_step(r, STEP_MS);
	return recording_processes(r) || recording_refusals(r)->pythons;
}

/* Has the agent loaded into the program. Returns 0 or -1 with a sentence. */
static int start_agent(struct session *session, const struct target *target, const char *library,
		       struct err *err)
{
	struct recording *r = session->run.recording;
	const struct launch launch = {
		.socket = recording_socket(r),
		.signal = session->options.signal,
		.memory_rate = session->header.memory_rate,
		.copy_rate = session->header.copy_rate,
		.paused = session->options.paused,
		.children = session->run.options->children,
	};
	struct buf setting = {0};
	struct injection injection;
	int ret = -1;

	launch_write_setting(&launch, target->ring->pid, &setting);
	injection = (struct injection){
		.target = target,
		.library = library,
		.setting = buf_text(&setting),
		.reported = has_reported,
		.arg = r,
	};
	ret = injection_start(&injection, err);
	if (ret == 0 && !recording_processes(r))
		ret = err_set(err, ERR_FAILED, "%s", recording_refusals(r)->first);
	buf_release(&setting);
	return ret;
}

/* --inject --pid. Returns the exit status, or -1 with a sentence. */
static int record_injected(struct session *session, const struct record_options *o, int argc,
			   char **argv, int operand, struct err *err)
{
	struct run *run = &session->run;
	struct target *target = attach_target((pid_t)o->pid, true, err);
	struct inject_place place = {.folder = -1};
	char *agent = NULL;
	int ret = -1;

	if (!target)
		return -1;
	hold_init();
	/* The library that can all: what is not wanted is not hooked. */
	agent = launch_find_agent(true, true, err);
	if (!agent || inject_place_open(&place, target->pid, agent, err) ||
	    open_session(session, o, argc, argv, operand, err))
		goto out;
	catch_signals();
	signal(SIGTSTP, note_suspension);
	if (recording_start(run->recording, 0, err) ||
	    start_agent(session, target, place.path, err)) {
		if (strcmp(session->output, "-") != 0)
			unlink(session->output);
		goto out;
	}
	run->joined_ns = recording_totals(run->recording).elapsed_ns;
	log_note("recording process %d from now on; of the %.1f MiB that it has in memory nothing "
		 "is known",
		 (int)o->pid, (double)process_rss_bytes((pid_t)o->pid) / MIB);
	if (start_progress(run, err))
		goto out;
	follow_attached(run, NULL);
	end_progress(run);
	say_result(run->recording, o, session->output, "");
	ret = run->failed ? 1 : 0;
out:
	inject_place_close(&place);
	free(agent);
	target_free(target);
	return ret;
}

/* Runs the command. Returns the exit status, or -1 with a sentence. */
static int record_command(struct session *session, const struct record_options *o, int argc,
			  char **argv, int operand, struct err *err)
{
	struct run *run = &session->run;
	struct launch launch;
	int status = 1;
	char *agent = launch_find_agent(o->memory_rate != 0, o->copies, err);

	if (!agent)
		return -1;
	if (open_session(session, o, argc, argv, operand, err))
		goto fail;
	launch = (struct launch){
		.argv = argv + operand,
		.agent = agent,
		.socket = recording_socket(run->recording),
		.signal = session->options.signal,
		.memory_rate = session->header.memory_rate,
		.copy_rate = session->header.copy_rate,
		.paused = o->start_paused,
		.children = o->children,
		.fds = {-1, strcmp(session->output, "-") == 0 ? STDERR_FILENO : -1, -1},
	};
	if (o->live) {
		if (live_view_take_output(&run->view, session->output, err))
			goto fail;
		launch.fds[STDIN_FILENO] = run->view.null_fd;
		launch.fds[STDOUT_FILENO] = launch.fds[STDERR_FILENO] = run->view.out_fd;
	}
	launch.preload = launch_look(argv[operand]);
	if (launch.preload != PRELOAD_WORKS)
		recording_refuse_program(run->recording, 0, 0, argv[operand],
					 preload_reason(launch.preload));
	run->command = launch_command(&launch, &status, err);
	if (run->command < 0) {
		log_error("%s", err->text);
		if (strcmp(session->output, "-") != 0)
			unlink(session->output);
		goto out;
	}
	catch_signals();
	if (recording_start(run->recording, run->command, err)) {
		kill(run->command, SIGTERM);
		goto fail;
	}
	if (start_progress(run, err)) {
		kill(run->command, SIGTERM);
		goto fail;
	}
	follow(run);
	end_progress(run);

	if (WIFSIGNALED(run->wait_status)) {
		status = 128 + WTERMSIG(run->wait_status);
		log_note("'%s' was killed by signal %d (%s)", argv[operand],
			 WTERMSIG(run->wait_status), strsignal(WTERMSIG(run->wait_status)));
	} else {
		status = WEXITSTATUS(run->wait_status);
	}
	say_result(run->recording, o, session->output, argv[operand]);
	goto out;
fail:
	status = -1;
out:
	free(agent);
	return status;
}

static int dump(const struct record_options *o, struct err *err)
{
	const struct dump_options options = {
		.json = o->json, .nonblocking = o->nonblocking, .locals = o->locals};

	hold_init();
	if (dump_process((pid_t)o->pid, &options, stdout, err))
		return -1;
	return fflush(stdout) ? err_errno(err, "cannot write standard output") : 0;
}

/* "--control mark LABEL --pid PID": the label is an operand, after which options go on. Returns the
 * exit status. */
static int control(struct record_options *o, int argc, char **argv)
{
	static const char *const verbs[] = {
		[RING_VERB_START] = "start",
		[RING_VERB_STOP] = "stop",
		[RING_VERB_MARK] = "mark",
	};
	const char *label = NULL;
	struct ring_answer answer;
	struct err err = {0};
	unsigned int verb = 0;
	int rest = 0;

	while (verb < RING_VERBS && strcmp(o->control, verbs[verb]) != 0)
		verb++;
	if (verb == RING_VERB_MARK && argc > 0) {
		int status = opt_parse(&record_option_table, argc, argv, o, &rest, &err);

		if (status > 0)
			return 0;
		if (status < 0) {
			log_error("%s", err.text);
			return 2;
		}
		label = argv[0];
		argc -= rest;
	}
	if (verb == RING_VERBS || !o->pid || argc > 0 || (verb == RING_VERB_MARK && !label)) {
		log_error(
			"--control takes start, stop or mark LABEL, and --pid; try: scprof-record "
			"--control mark loaded --pid 4242");
		return 2;
	}
	if (control_send((pid_t)o->pid, verb, label, &answer, &err)) {
		log_error("%s", err.text);
		return 1;
	}
	log_note("%s", answer.text);
	return 0;
}

int main(int argc, char **argv)
{
	struct record_options o;
	struct session session = {.output = NULL};
	struct err err = {0};
	int operand = 0, status;

	log_init("scprof-record", LOG_NORMAL);
	record_options_init(&o);
	status = opt_parse(&record_option_table, argc, argv, &o, &operand, &err);
	if (status > 0)
		return 0;
	if (status < 0) {
		log_error("%s", err.text);
		return 2;
	}
	log_init("scprof-record", o.verbosity);
	if (o.control)
		return control(&o, argc - operand, argv + operand);
	if (record_options_check(&o, argc - operand, argv + operand, &err)) {
		log_error("%s", err.text);
		return 2;
	}

	if (o.live && live_view_check(&err)) {
		log_error("%s", err.text);
		return err.code == ERR_USAGE ? 2 : 1;
	}
	if (o.dump)
		status = dump(&o, &err);
	else if (o.inject)
		status = record_injected(&session, &o, argc, argv, operand, &err);
	else
		status = (o.pid ? record_running : record_command)(&session, &o, argc, argv,
								   operand, &err);
	if (status < 0) {
		log_error("%s", err.text);
		status = err.code == ERR_USAGE ? 2 : 1;
	}
	live_view_release(&session.run.view);
	recording_free(session.run.recording);
	process_info_release(&session.text.process);
	free(session.text.command);
	buf_release(&session.text.options);
	free(session.output);
	return status;
}
