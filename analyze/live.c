/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop of the live view: takes in what the trace has grown by, has snapshots made, answers
 * keys.
 */
#include "analyze/live.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "analyze/live_screen.h"
#include "analyze/live_snapshot.h"
#include "analyze/live_table.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define LOOK_MS 200      /* between two looks at the file */
#define SNAPSHOT_MS 1000 /* between two snapshots, at least */
#define SNAPSHOT_COST 4  /* and so many times what the last one took */
#define NOW_NS UINT64_C(5000000000)
#define HISTORY 8 /* snapshots kept: enough for NOW_NS */
#define WAIT_FOR_FILE_MS 10000
#define SILENT_MS 5000   /* without a block: that is worth saying */
#define BLOCKS_AT_ONCE 8 /* then keys are looked at again */
#define FILTER_MAX 60

enum stage {
	STAGE_READING, /* what was recorded before we came */
	STAGE_FOLLOWING,
	STAGE_ENDED,
	STAGE_BROKEN, /* nothing more can be read */
};

struct live {
	const struct live_options *options;
	const char *path;
	struct live_screen *screen;
	struct trace_reader *reader;
	struct model *model;
	struct model_trace *trace;
	enum stage stage;
	struct err trouble; /* of STAGE_BROKEN */
	struct live_camera camera;
	struct live_snapshot history[HISTORY]; /* the newest first */
	size_t history_count;
	uint64_t block_ms; /* when the last block came */
	uint64_t shot_ms;  /* when the last snapshot was begun */
	uint64_t next_ms;  /* not before this comes another */
	bool news;         /* something came since */
	bool stale;        /* the snapshots are of another kind */
	struct buf title;
	struct live_table table;
	enum live_view view;
	size_t sort[LIVE_VIEWS];
	size_t top;
	char filter[FILTER_MAX + 1];
	bool typing;
	bool paused;
	bool help;
	bool all;
	bool quit;
	bool redraw;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the trace ------------------------------------------------------------------------------ */

/* The recorder may have been started at the same moment as we. */
static struct trace_reader *open_trace(const char *path, struct err *err)
{
	uint64_t give_up = now_ms() + WAIT_FOR_FILE_MS;
	struct trace_reader *r;
	bool early;

	for (;;) {
		r = trace_reader_open_follow(path, &early, err);
		if (r || !early || interrupted || now_ms() > give_up)
			return r;
		poll(NULL, 0, LOOK_MS);
	}
}

static void take_blocks(struct live *l)
{
	uint64_t before = trace_reader_bytes(l->reader);
	int ret;

	if (l->stage >= STAGE_ENDED)
		return;
	ret = model_take(l->trace, BLOCKS_AT_ONCE, &l->trouble);
	if (trace_reader_bytes(l->reader) != before) {
		l->news = true;
		l->block_ms = now_ms();
	}
	if (ret < 0)
		l->stage = STAGE_BROKEN;
	else if (ret == 0 && trace_reader_end(l->reader))
		l->stage = STAGE_ENDED;
	else if (ret == 0)
		l->stage = STAGE_FOLLOWING;
	if (l->stage >= STAGE_ENDED)
		l->news = l->redraw = true;
}

static void forget(struct live *l)
{
	for (size_t i = 0; i < l->history_count; i++)
		live_snapshot_release(&l->history[i]);
	l->history_count = 0;
}

static void begin_snapshot(struct live *l)
{
	const struct live_look look = {
		.all = l->all,
		.files = l->options->files,
		.file_count = l->options->file_count,
	};

	if (!l->news || l->paused || l->camera.pid || l->stage == STAGE_READING ||
	    now_ms() < l->next_ms)
		return;
	l->shot_ms = now_ms();
	l->news = false;
	if (live_camera_start(&l->camera, l->model, l->trace, &look, &l->trouble) < 0)
		l->next_ms = l->shot_ms + SNAPSHOT_MS;
}

static void take_snapshot(struct live *l)
{
	struct live_snapshot s;
	int ret;

	if (!l->camera.pid)
		return;
	ret = live_camera_read(&l->camera, &s, &l->trouble);
	if (ret == 0)
		return;
	l->next_ms = now_ms() + SNAPSHOT_COST * (now_ms() - l->shot_ms);
	if (l->next_ms < l->shot_ms + SNAPSHOT_MS)
		l->next_ms = l->shot_ms + SNAPSHOT_MS;
	if (ret < 0)
		return;
	if (l->stale) {
		l->stale = false;
		l->news = true;
		live_snapshot_release(&s);
		return;
	}
	/* The last of several blocks that say nothing new about the time. */
	if (l->history_count == HISTORY)
		live_snapshot_release(&l->history[--l->history_count]);
	memmove(l->history + 1, l->history, l->history_count * sizeof(*l->history));
	l->history[0] = s;
	l->history_count++;
	l->redraw = true;
}

/* The snapshot that "now" begins with: some seconds before the last, or as early as there is. */
static const struct live_snapshot *earlier(const struct live *l)
{
	static const struct live_snapshot beginning;
	uint64_t now_ns;

	if (!l->history_count)
		return NULL;
	now_ns = l->history[0].totals.time_ns;
	for (size_t i = 1; i < l->history_count; i++) {
		uint64_t ns = l->history[i].totals.time_ns;

		if (now_ns > ns && now_ns - ns + SNAPSHOT_MS * UINT64_C(500000) >= NOW_NS)
			return &l->history[i];
	}
	if (now_ns <= NOW_NS + NOW_NS / 5)
		return &beginning;
	for (size_t i = l->history_count - 1; i > 0; i--) {
		if (l->history[i].totals.time_ns < now_ns)
			return &l->history[i];
	}
	return NULL;
}

/* ---- the screen ----------------------------------------------------------------------------- */

static const char *state_of(const struct live *l)
{
	if (l->paused)
		return "picture paused";
	switch (l->stage) {
	case STAGE_READING:
		return "reading";
	case STAGE_ENDED:
		return "the recording has ended";
	case STAGE_BROKEN:
		return "cannot read on";
	case STAGE_FOLLOWING:
		break;
	}
	if (l->history_count && l->history[0].totals.paused)
		return "recording is paused";
	return now_ms() - l->block_ms > SILENT_MS ? "no news" : "recording";
}

static void draw(struct live *l)
{
	struct live_scene scene = {
		.command = buf_text(&l->title),
		.state = state_of(l),
		.now = l->history_count ? &l->history[0] : NULL,
		.before = earlier(l),
		.table = &l->table,
		.view = l->view,
		.sort = l->sort[l->view],
		.filter = l->filter,
		.typing = l->typing,
		.help = l->help,
		.all = l->all,
	};
	size_t rows = live_screen_rows();
	struct stat status;
	char reading[64];

	if (l->stage == STAGE_BROKEN || l->trouble.code)
		scene.message = l->trouble.text;
	if (!scene.now)
		scene.message = "waiting for the first samples; q quits";
	if (l->stage == STAGE_READING && stat(l->path, &status) == 0 && status.st_size > 0) {
		uint64_t read = trace_reader_bytes(l->reader);

		snprintf(reading, sizeof(reading),
			 "reading what is there already: %.0f %%; q quits",
			 fmin(100, 100 * (double)read / (double)status.st_size));
		scene.message = reading;
	}
	if (scene.now) {
		live_table_fill(&l->table, l->view, scene.sort, l->filter, scene.now, scene.before);
		if (l->top + rows > l->table.count)
			l->top = l->table.count > rows ? l->table.count - rows : 0;
	}
	scene.top = l->top;
	live_screen_draw(l->screen, &scene);
	l->redraw = false;
}

static void show(struct live *l, enum live_view view)
{
	l->view = view;
	l->top = 0;
}

static void sort_by(struct live *l, size_t step)
{
	size_t count = live_layout(l->view)->column_count;

	l->sort[l->view] = (l->sort[l->view] + step) % count;
	l->top = 0;
}

static void type(struct live *l, int key)
{
	size_t size = strlen(l->filter);

	if (key == '\r' || key == '\n') {
		l->typing = false;
	} else if (key == 0x1b) {
		l->typing = false;
		l->filter[0] = 0;
	} else if (key == LIVE_KEY_BACK) {
		/* A whole character: its last bytes are continuations. */
		while (size && ((unsigned char)l->filter[size - 1] & 0xc0) == 0x80)
			l->filter[--size] = 0;
		if (size)
			l->filter[size - 1] = 0;
	} else if (key >= ' ' && key < 0x100 && size < FILTER_MAX) {
		l->filter[size] = (char)key;
		l->filter[size + 1] = 0;
	}
	l->top = 0;
}

static void move(struct live *l, size_t rows, bool down)
{
	if (down)
		l->top += rows;
	else
		l->top = l->top > rows ? l->top - rows : 0;
}

static void press(struct live *l, int key)
{
	size_t columns = live_layout(l->view)->column_count;

	l->redraw = true;
	if (key == LIVE_KEY_RESIZE)
		return;
	if (l->help) {
		l->help = false;
		return;
	}
	if (l->typing) {
		type(l, key);
		return;
	}
	if (key >= '1' && key < '1' + LIVE_VIEWS) {
		show(l, (enum live_view)(key - '1'));
		return;
	}
	switch (key) {
	case 'q':
	case 'Q':
		l->quit = true;
		break;
	case '\t':
		show(l, (l->view + 1) % LIVE_VIEWS);
		break;
	case LIVE_KEY_BACK_TAB:
		show(l, (l->view + LIVE_VIEWS - 1) % LIVE_VIEWS);
		break;
	case 's':
	case '>':
	case LIVE_KEY_RIGHT:
		sort_by(l, 1);
		break;
	case 'S':
	case '<':
	case LIVE_KEY_LEFT:
		sort_by(l, columns - 1);
		break;
	case '/':
		l->typing = true;
		l->filter[0] = 0;
		break;
	case 0x1b:
		l->filter[0] = 0;
		break;
	case 'a':
		l->all = !l->all;
		l->stale = l->camera.pid != 0;
		l->news = true;
		l->next_ms = 0;
		forget(l);
		break;
	case 'p':
	case ' ':
		l->paused = !l->paused;
		break;
	case '?':
	case 'h':
		l->help = true;
		break;
	case 'k':
	case LIVE_KEY_UP:
		move(l, 1, false);
		break;
	case 'j':
	case LIVE_KEY_DOWN:
		move(l, 1, true);
		break;
	case LIVE_KEY_PAGE_UP:
		move(l, live_screen_rows(), false);
		break;
	case LIVE_KEY_PAGE_DOWN:
		move(l, live_screen_rows(), true);
		break;
	case LIVE_KEY_HOME:
		l->top = 0;
		break;
	case LIVE_KEY_END:
		l->top = l->table.count;
		break;
	default:
		break;
	}
}

static void wait_for_something(struct live *l)
{
	struct pollfd fds[2] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = l->camera.pid ? l->camera.fd : -1, .events = POLLIN},
	};

	/* A terminal that is gone. */
	if (poll(fds, 2, l->stage == STAGE_READING ? 0 : LOOK_MS) > 0 &&
	    fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		l->quit = true;
}

static void loop(struct live *l)
{
	uint64_t drawn_ms = 0;
	int key;

	while (!l->quit && !interrupted) {
		take_blocks(l);
		begin_snapshot(l);
		take_snapshot(l);
		while ((key = live_screen_key()) != LIVE_KEY_NONE)
			press(l, key);
		if (l->redraw || now_ms() - drawn_ms >= SNAPSHOT_MS) {
			draw(l);
			drawn_ms = now_ms();
		}
		if (!l->quit)
			wait_for_something(l);
	}
}

int live_run(const char *path, const struct live_options *options, struct err *err)
{
	struct sigaction action = {.sa_handler = on_signal};
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct live l = {.options = options, .path = path, .all = options->all, .redraw = true};
	int ret = -1;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
	l.reader = open_trace(path, err);
	if (!l.reader)
		return -1;
	l.screen = live_screen_open(options->color, options->unicode, err);
	if (!l.screen)
		goto out;
	l.model = model_new(options->model);
	l.trace = model_begin(l.model, l.reader);
	live_short_command(&l.title, model_view(l.model)->command);
	l.block_ms = now_ms();
	loop(&l);
	ret = 0;
out:
	live_screen_close(l.screen);
	live_camera_stop(&l.camera);
	forget(&l);
	live_table_release(&l.table);
	buf_release(&l.title);
	model_end(l.trace);
	model_free(l.model);
	trace_reader_close(l.reader);
	return ret;
}
