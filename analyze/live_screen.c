/* SPDX-License-Identifier: Apache-2.0
 *
 * Draws the live view with ncurses, see live_screen.h. ncurses itself keeps its state in globals;
 * what is ours is beside it.
 */
#include "analyze/live_screen.h"

#include <curses.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "analyze/report_memory.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define HEAD_LINES 6 /* above the rows */
#define FOOT_LINES 1
#define PLACE_MIN 18
#define PLACE_MAX 48
#define MIN_COLUMNS 40
#define MIN_LINES 10
#define ESCAPE_MS 25

enum pair { PAIR_HOT = 1, PAIR_WARM };

struct live_screen {
	SCREEN *terminal;
	bool color;
	bool unicode;
};

struct live_screen *live_screen_open(bool color, bool unicode, struct err *err)
{
	const char *name = getenv("TERM");
	struct live_screen *screen;
	SCREEN *terminal;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		err_set(err, ERR_USAGE, "the live view needs a terminal to draw on");
		return NULL;
	}
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		err_set(err, ERR_USAGE,
			"the live view cannot be drawn on this terminal (TERM is '%s')",
			name ? name : "");
		return NULL;
	}
	set_term(terminal);
	screen = xcalloc(1, sizeof(*screen));
	screen->terminal = terminal;
	screen->unicode = unicode;
	screen->color = color && has_colors();
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	curs_set(0);
	if (screen->color) {
		start_color();
		use_default_colors();
		init_pair(PAIR_HOT, COLOR_RED, -1);
		init_pair(PAIR_WARM, COLOR_YELLOW, -1);
	}
	return screen;
}

void live_screen_close(struct live_screen *s)
{
	if (!s)
		return;
	endwin();
	delscreen(s->terminal);
	free(s);
}

size_t live_screen_rows(void)
{
	return LINES > HEAD_LINES + FOOT_LINES ? (size_t)(LINES - HEAD_LINES - FOOT_LINES) : 1;
}

int live_screen_key(void)
{
	static const struct {
		int from;
		int to;
	} keys[] = {
		{KEY_UP, LIVE_KEY_UP},          {KEY_DOWN, LIVE_KEY_DOWN},
		{KEY_LEFT, LIVE_KEY_LEFT},      {KEY_RIGHT, LIVE_KEY_RIGHT},
		{KEY_PPAGE, LIVE_KEY_PAGE_UP},  {KEY_NPAGE, LIVE_KEY_PAGE_DOWN},
		{KEY_HOME, LIVE_KEY_HOME},      {KEY_END, LIVE_KEY_END},
		{KEY_BACKSPACE, LIVE_KEY_BACK}, {KEY_BTAB, LIVE_KEY_BACK_TAB},
		{KEY_RESIZE, LIVE_KEY_RESIZE},  {KEY_ENTER, '\r'},
		{'\b', LIVE_KEY_BACK},          {0x7f, LIVE_KEY_BACK},
	};
	int key = getch();

	if (key == ERR)
		return LIVE_KEY_NONE;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (keys[i].from == key)
			return keys[i].to;
	}
	return key < KEY_MIN ? key : LIVE_KEY_OTHER;
}

/* ---- drawing -------------------------------------------------------------------------------- */

/* Puts clean text at a place, cut to width columns. Returns the columns it took. */
static int put(const struct live_screen *s, int y, int x, int width, const char *text)
{
	size_t fits;
	size_t size = strlen(text);
	struct buf plain = {0};
	int columns;

	if (width <= 0 || y < 0 || y >= LINES || x >= COLS)
		return 0;
	if (!s->unicode) {
		/* One "?" for each character that the terminal cannot show. */
		for (size_t i = 0; i < size; i++) {
			unsigned char c = (unsigned char)text[i];

			if (c < 0x80)
				buf_add_byte(&plain, c);
			else if (c >= 0xc0)
				buf_add_byte(&plain, '?');
		}
		text = buf_text(&plain);
		size = plain.size;
	}
	if (width > COLS - x)
		width = COLS - x;
	fits = report_fit(text, size, (size_t)width);
	columns = (int)report_width(text, fits);
	mvaddnstr(y, x, text, (int)fits);
	buf_release(&plain);
	return columns;
}

/* The same, but what does not fit is cut off in front. */
static void put_end(const struct live_screen *s, int y, int x, int width, const char *text)
{
	size_t size = strlen(text);

	if (report_width(text, size) > (size_t)width && width > 1) {
		while (report_width(text, size) >= (size_t)width) {
			text++;
			size--;
			/* Not into the middle of a character. */
			while (((unsigned char)*text & 0xc0) == 0x80) {
				text++;
				size--;
			}
		}
		put(s, y, x, 1, s->unicode ? "\u2026" : "<");
		x++;
	}
	put(s, y, x, width, text);
}

static int put_format(const struct live_screen *s, int y, int x, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int put_format(const struct live_screen *s, int y, int x, const char *format, ...)
{
	struct buf text = {0};
	va_list args;
	int columns;

	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	columns = put(s, y, x, COLS - x, buf_text(&text));
	buf_release(&text);
	return columns;
}

static int put_spark(const struct live_screen *s, int y, int x, const float *points, size_t width)
{
	const struct report_options options = {.unicode = s->unicode};
	const struct report r = {.options = &options};
	float shrunk[LIVE_POINTS];
	struct buf text = {0};
	float max = 0;
	int columns;

	if (COLS < MIN_COLUMNS + (int)width)
		return 0;
	spark_shrink(shrunk, width, points, LIVE_POINTS);
	for (size_t i = 0; i < width; i++)
		max = fmaxf(max, shrunk[i]);
	spark_add(&text, &r, shrunk, width, max);
	columns = put(s, y, x, (int)width, buf_text(&text));
	buf_release(&text);
	return columns;
}

static void draw_title(const struct live_screen *s, const struct live_scene *scene)
{
	char clock[32] = "";
	int right;

	if (scene->now) {
		uint64_t seconds = scene->now->totals.time_ns / 1000000000u;

		snprintf(clock, sizeof(clock), "  %llu:%02llu:%02llu",
			 (unsigned long long)(seconds / 3600),
			 (unsigned long long)(seconds / 60 % 60),
			 (unsigned long long)(seconds % 60));
	}
	right = (int)(strlen(scene->state) + strlen(clock)) + 1;
	attron(A_REVERSE);
	mvhline(0, 0, ' ', COLS);
	put(s, 0, 1, COLS - right - 2, scene->command);
	put_format(s, 0, COLS > right ? COLS - right : 0, "%s%s", scene->state, clock);
	attroff(A_REVERSE);
}

/* The difference of a total between the two snapshots for each ns between them; NAN. */
static double per_ns(const struct live_scene *scene, double now, double before)
{
	double between = scene->before ? (double)scene->now->totals.time_ns -
						 (double)scene->before->totals.time_ns
				       : 0;

	return between > 0 ? fmax(0, now - before) / between : NAN;
}

static double now_of(const struct live_scene *scene, enum live_value value)
{
	return per_ns(scene, scene->now->totals.values[value],
		      scene->before ? scene->before->totals.values[value] : 0);
}

/* Threads that did anything since the earlier snapshot. */
static size_t threads_alive(const struct live_scene *scene)
{
	const struct live_snapshot *now = scene->now;
	size_t count = 0;

	for (size_t i = 0; i < now->counts[LIVE_THREADS]; i++) {
		const struct live_row *row = &now->rows[LIVE_THREADS][i];
		const struct live_row *old =
			scene->before ? live_snapshot_find(scene->before, LIVE_THREADS, row->key)
				      : NULL;

		count += !old || row->values[LIVE_WALL] > old->values[LIVE_WALL];
	}
	return count;
}

static void draw_totals(const struct live_screen *s, const struct live_scene *scene)
{
	const struct live_totals *t = &scene->now->totals;
	double elapsed = (double)t->time_ns;
	double cores = now_of(scene, LIVE_CPU);
	double gil = per_ns(scene, t->gil_ns, scene->before ? scene->before->totals.gil_ns : 0);
	char a[LIVE_TEXT_SIZE], b[LIVE_TEXT_SIZE];
	size_t threads = threads_alive(scene);
	int x;

	x = put(s, 1, 1, COLS, "CPU  ");
	attron(A_BOLD);
	x += isnan(cores) ? put(s, 1, 1 + x, COLS, "-") : put_format(s, 1, 1 + x, "%.2f", cores);
	attroff(A_BOLD);
	x += put_format(s, 1, 1 + x, " cores now, %.2f overall ",
			elapsed > 0 ? t->values[LIVE_CPU] / elapsed : 0);
	x += put_spark(s, 1, 1 + x, t->cores, 16);
	put_format(s, 1, 1 + x, "  %zu thread%s, %llu process%s", threads, threads == 1 ? "" : "s",
		   (unsigned long long)t->processes, t->processes == 1 ? "" : "es");

	x = put(s, 2, 1, COLS, "GIL  ");
	x += isnan(gil) ? put(s, 2, 1 + x, COLS, "-")
			: put_format(s, 2, 1 + x, "held %.0f %%, waited for %.0f %% now", 100 * gil,
				     100 * now_of(scene, LIVE_WAIT_GIL));
	x += put_format(s, 2, 1 + x, "  samples %llu", (unsigned long long)t->samples);
	if (t->lost)
		attron(s->color ? COLOR_PAIR(PAIR_WARM) : A_BOLD);
	put_format(s, 2, 1 + x, ", %llu lost", (unsigned long long)t->lost);
	attrset(A_NORMAL);

	x = put(s, 3, 1, COLS, "heap ");
	if (t->has_memory) {
		attron(A_BOLD);
		x += put_format(s, 3, 1 + x, "%s",
				t->values[LIVE_HELD] >= 0.5 ? live_figure_text(a, LIVE_FIGURE_BYTES,
									       t->values[LIVE_HELD])
							    : "0 B");
		attroff(A_BOLD);
		x += put(s, 3, 1 + x, 1, " ");
		x += put_spark(s, 3, 1 + x, t->heap, 16);
	} else {
		x += put(s, 3, 1 + x, COLS, "not recorded");
	}
	if (t->rss_bytes > 0)
		put_format(s, 3, 1 + x, "  RSS %s, at most %s",
			   live_figure_text(a, LIVE_FIGURE_BYTES, t->rss_bytes),
			   live_figure_text(b, LIVE_FIGURE_BYTES, t->max_rss_bytes));
}

static void draw_tabs(const struct live_screen *s, const struct live_scene *scene)
{
	bool brief = COLS < 72;
	int x = 1;

	for (int i = 0; i < LIVE_VIEWS; i++) {
		const char *name = live_layout((enum live_view)i)->name;

		if ((int)scene->view == i)
			attron(A_BOLD | A_UNDERLINE);
		x += brief ? put_format(s, 4, x, "%d %.3s", i + 1, name)
			   : put_format(s, 4, x, "%d %s", i + 1, name);
		attrset(A_NORMAL);
		x += brief ? 1 : 3;
	}
}

/* The columns that the terminal has room for, leaving some for the place. */
static size_t shown_columns(const struct live_layout *layout)
{
	size_t count = layout->column_count;

	while (count > 1 && (int)count * LIVE_COLUMN_WIDTH > COLS - 24)
		count--;
	return count;
}

/* How much of the line goes to the place and to the text behind it. */
static int place_width(const struct live_scene *scene)
{
	int left = COLS - 2 - (int)shown_columns(scene->table->layout) * LIVE_COLUMN_WIDTH;
	int widest = 0;

	if (scene->table->layout->narrow)
		return 8;
	for (size_t i = scene->top; i < scene->table->count && i < scene->top + (size_t)LINES;
	     i++) {
		const char *place = scene->now->texts + scene->table->items[i].row->place;
		int width = (int)report_width(place, strlen(place));

		widest = width > widest ? width : widest;
	}
	if (widest > PLACE_MAX)
		widest = PLACE_MAX;
	/* The text behind it has something to say, too. */
	if (left > 2 * PLACE_MIN && widest > left / 2)
		widest = left / 2 > PLACE_MIN ? left / 2 : PLACE_MIN;
	return widest < left ? widest : left;
}

static void draw_columns(const struct live_screen *s, const struct live_scene *scene)
{
	const struct live_layout *layout = live_layout(scene->view);
	size_t count = shown_columns(layout);

	attron(A_REVERSE);
	mvhline(5, 0, ' ', COLS);
	for (size_t i = 0; i < count; i++) {
		const char *title = layout->columns[i].title;
		bool sorted = i == scene->sort;

		if (sorted)
			attron(A_BOLD);
		put_format(s, 5, (int)(i * LIVE_COLUMN_WIDTH), "%*s%s",
			   (int)(LIVE_COLUMN_WIDTH - strlen(title)) - 1, sorted ? ">" : "", title);
		if (sorted)
			attroff(A_BOLD);
	}
	put(s, 5, (int)(count * LIVE_COLUMN_WIDTH) + 1, COLS, layout->place);
	attroff(A_REVERSE);
}

static attr_t heat(const struct live_screen *s, const struct live_item *item,
		   const struct live_layout *layout)
{
	double now = item->figures[0];

	if (layout->columns[0].figure != LIVE_FIGURE_NOW)
		return A_NORMAL;
	if (isnan(now))
		now = item->figures[1];
	if (now >= 0.2)
		return (s->color ? COLOR_PAIR(PAIR_HOT) : 0) | A_BOLD;
	return now >= 0.05 ? (s->color ? COLOR_PAIR(PAIR_WARM) : A_BOLD) : A_NORMAL;
}

static void draw_row(const struct live_screen *s, const struct live_scene *scene, int y,
		     const struct live_item *item, int width)
{
	const struct live_layout *layout = scene->table->layout;
	size_t count = shown_columns(layout);
	const char *texts = scene->now->texts;
	int x = (int)(count * LIVE_COLUMN_WIDTH) + 1;
	char text[LIVE_TEXT_SIZE];

	for (size_t i = 0; i < count; i++) {
		const char *figure =
			live_figure_text(text, layout->columns[i].figure, item->figures[i]);

		attrset(i == 0 ? heat(s, item, layout) : A_NORMAL);
		put_format(s, y, (int)(i * LIVE_COLUMN_WIDTH), "%*s", LIVE_COLUMN_WIDTH - 1,
			   figure);
	}
	attrset(A_BOLD);
	put_end(s, y, x, width, texts + item->row->place);
	attrset(A_NORMAL);
	put(s, y, x + width + 1, COLS, texts + item->row->text);
}

static void draw_rows(const struct live_screen *s, const struct live_scene *scene)
{
	const struct live_table *t = scene->table;
	int width = place_width(scene);
	size_t rows = live_screen_rows();

	if (!t->count)
		put(s, HEAD_LINES, 1, COLS,
		    *scene->filter ? "nothing has this text in it" : t->layout->nothing);
	for (size_t i = 0; i < rows && scene->top + i < t->count; i++)
		draw_row(s, scene, HEAD_LINES + (int)i, &t->items[scene->top + i], width);
}

static void draw_help(const struct live_screen *s)
{
	static const char *const lines[] = {
		"1..6, Tab         lines, functions, threads, processes, memory, leaks",
		"s, S or < >       sort by the next column, by the one before",
		"/                 only rows with a text in them; Enter ends, Esc forgets it",
		"a                 library code by itself, or charged to your lines",
		"p, Space          pause: the picture stays, the recording goes on",
		"arrows, PgUp/Dn   move through the rows",
		"q                 quit; the recording goes on",
		"",
		"now      the last 5 seconds        overall   the whole recording",
		"%        of the elapsed time: 100 % is one thread that is always busy",
		"+below   with everything called    wall      running and waiting",
		"native   in C code; what C code is shows in full when the recording has ended",
		"GIL, I/O, lock: time spent waiting for it, in the last 5 seconds",
		"held     bytes that are alive      new       bytes allocated, freed or not",
		"",
		"any key goes back",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		put(s, HEAD_LINES - 1 + (int)i, 1, COLS, lines[i]);
}

static void draw_foot(const struct live_screen *s, const struct live_scene *scene)
{
	int y = LINES - 1;

	if (scene->typing) {
		put_format(s, y, 0, "/%s_", scene->filter);
		return;
	}
	attron(A_DIM);
	if (scene->message)
		put_format(s, y, 0, " %s", scene->message);
	else if (*scene->filter)
		put_format(s, y, 0, " only with \"%s\" (/ Esc: all)  q quit  ? help",
			   scene->filter);
	else
		put_format(s, y, 0, " q quit  ? help  Tab view  s sort  / filter  p pause  a %s",
			   scene->all ? "yours only" : "all code");
	attroff(A_DIM);
}

void live_screen_draw(const struct live_screen *s, const struct live_scene *scene)
{
	erase();
	if (COLS < MIN_COLUMNS || LINES < MIN_LINES) {
		put(s, 0, 0, COLS, "too small: 40x10 is needed");
		refresh();
		return;
	}
	draw_title(s, scene);
	if (scene->now) {
		draw_totals(s, scene);
		draw_tabs(s, scene);
	}
	if (scene->help) {
		draw_help(s);
	} else if (scene->now) {
		draw_columns(s, scene);
		draw_rows(s, scene);
	}
	draw_foot(s, scene);
	refresh();
}
