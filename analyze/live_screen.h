/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal of the live view: draws what it is given and hands out keys. The only file that
 * knows of ncurses.
 */
#ifndef SCPROF_LIVE_SCREEN_H
#define SCPROF_LIVE_SCREEN_H

#include "analyze/live_table.h"

enum live_key {
	LIVE_KEY_NONE = -1,
	/* Characters stand for themselves. */
	LIVE_KEY_UP = 0x1000,
	LIVE_KEY_DOWN,
	LIVE_KEY_LEFT,
	LIVE_KEY_RIGHT,
	LIVE_KEY_PAGE_UP,
	LIVE_KEY_PAGE_DOWN,
	LIVE_KEY_HOME,
	LIVE_KEY_END,
	LIVE_KEY_BACK, /* backspace */
	LIVE_KEY_BACK_TAB,
	LIVE_KEY_RESIZE,
	LIVE_KEY_OTHER,
};

/* Everything there is to draw. */
struct live_scene {
	const char *command;
	const char *state;                  /* "recording", "the recording has ended" */
	const char *message;                /* for the last line, or NULL */
	const struct live_snapshot *now;    /* NULL: none yet */
	const struct live_snapshot *before; /* some seconds earlier; NULL: none */
	const struct live_table *table;
	enum live_view view;
	size_t sort;
	size_t top; /* first row shown */
	const char *filter;
	bool typing; /* the filter is being typed */
	bool paused;
	bool help;
	bool all;
	bool wall; /* weighed by wall time */
};

struct live_screen;

/* Takes the terminal over. NULL with ERR_USAGE when there is none that can be drawn on. */
struct live_screen *live_screen_open(bool color, bool unicode, struct err *err);
void live_screen_close(struct live_screen *s);
void live_screen_draw(const struct live_screen *s, const struct live_scene *scene);
size_t live_screen_rows(void); /* that a table has room for */
int live_screen_key(void);     /* enum live_key or a character; does not wait */

#endif
