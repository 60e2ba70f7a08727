/* SPDX-License-Identifier: Apache-2.0 */
#include "record/status_line.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define RENEW_NS 500000000u

static struct {
	bool on;
	bool shown;
	uint64_t last_ns;
} line;

void status_line_start(bool wanted)
{
	line.on = wanted && isatty(STDERR_FILENO);
}

void status_line_update(const struct recording *r)
{
	struct recording_totals totals;
	struct winsize window;
	struct timespec t;
	uint64_t now;
	char text[256];
	int n, width = 80;

	if (!line.on)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (now - line.last_ns < RENEW_NS)
		return;
	line.last_ns = now;
	totals = recording_totals(r);
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
		width = window.ws_col;
	n = snprintf(text, sizeof(text),
		     "recording %.1f s  %llu samples  %.1f s CPU  %.1f KiB  %llu lost",
		     (double)totals.elapsed_ns / 1e9, (unsigned long long)totals.drain.samples,
		     (double)totals.drain.cpu_ns / 1e9, (double)totals.bytes / 1024,
		     (unsigned long long)(totals.drain.lost + totals.drain.missed +
					  totals.drain.unwalked));
	if (n >= width)
		text[width - 1] = '\0';
	fprintf(stderr, "\r\033[K%s", text);
	fflush(stderr);
	line.shown = true;
}

void status_line_clear(void)
{
	if (line.on && line.shown) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
	line.shown = false;
}
