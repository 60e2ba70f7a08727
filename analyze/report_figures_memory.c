/* SPDX-License-Identifier: Apache-2.0
 *
 * How figures in bytes look, and live bytes over time in a few characters.
 */
#include <math.h>

#include "analyze/report_memory.h"

#include "formats/base/banned.h"

bool report_has_memory(const struct report *r)
{
	return r->view->memory.recorded || r->view->header->memory_rate > 0;
}

bool report_has_copies(const struct report *r)
{
	return r->view->memory.copies_recorded || r->view->header->copy_rate > 0;
}

bool report_memory_sampled(const struct report *r)
{
	return r->view->memory.rate > 1;
}

bool report_copies_sampled(const struct report *r)
{
	return r->view->memory.copy_rate > 1;
}

/* A number that stands for size bytes in the unit, with three digits at least. */
static void format_scaled(char text[FIGURE_SIZE], double bytes, double unit, const char *name)
{
	double scaled = fabs(bytes) / unit;
	int digits = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;

	snprintf(text, FIGURE_SIZE, "%s%.*f%s%s", bytes < 0 ? "-" : "", unit > 1 ? digits : 0,
		 scaled, *name ? " " : "", name);
}

/* The unit in which the figure has one to four digits before the point. */
static double unit_of(double bytes, const char **name)
{
	static const char *const names[] = {"B", "KB", "MB", "GB", "TB", "PB"};
	double unit = 1;
	size_t i = 0;

	/* What would be rounded up to 1024 takes the next one. */
	while (i + 1 < sizeof(names) / sizeof(*names) && fabs(bytes) / unit >= 1023.5) {
		unit *= 1024;
		i++;
	}
	*name = names[i];
	return unit;
}

const char *figure_bytes(char text[FIGURE_SIZE], double bytes)
{
	const char *name;
	double unit = unit_of(bytes, &name);

	if (!(fabs(bytes) >= 0.5))
		return "";
	format_scaled(text, bytes, unit, name);
	return text;
}

const char *figure_share(char text[FIGURE_SIZE], double part, double whole)
{
	double percent = whole > 0 ? 100 * part / whole : 0;

	if (!(fabs(percent) >= 0.05))
		return "";
	snprintf(text, FIGURE_SIZE, "%.1f", percent);
	return text;
}

const char *figure_bytes_range(char text[FIGURE_SIZE], double low, double high)
{
	char first[FIGURE_SIZE];
	char last[FIGURE_SIZE];
	const char *name;
	double unit = unit_of(fmax(fabs(low), fabs(high)), &name);

	format_scaled(first, low, unit, "");
	format_scaled(last, high, unit, name);
	snprintf(text, FIGURE_SIZE, "%.20s%s%.20s", first, high < 0 ? " to " : "-", last);
	return text;
}

bool figure_bytes_is_thin(struct report *r, const struct memory *m, enum memory_figure figure)
{
	double value = memory_value(m, figure);
	double low;
	double high;

	if (value == 0 || !memory_interval(m, figure, &r->view->memory, &low, &high))
		return false;
	if (high - low <= fabs(value))
		return false;
	r->thin = true;
	return true;
}

double report_mb_per_s(const struct report *r, double bytes)
{
	double seconds = (double)r->view->duration_ns / 1e9;

	return seconds > 0 ? bytes / BYTES_PER_MB / seconds : 0;
}

uint64_t report_span_ns(const struct model_view *v)
{
	uint64_t steps_ns = v->memory.point_count * v->memory.point_step_ns;

	/* The last step is rarely a whole one. */
	return steps_ns > v->duration_ns + v->memory.point_step_ns ? steps_ns : v->duration_ns;
}

void spark_shrink(float *to, size_t width, const float *values, size_t count)
{
	for (size_t i = 0; i < width; i++)
		to[i] = 0;
	if (!values)
		return;
	/* Fewer values than places: each takes several. */
	for (size_t i = 0; i < width && count; i++) {
		size_t first = i * count / width;
		size_t end = (i + 1) * count / width;

		for (size_t k = first; k < end || k == first; k++)
			to[i] = fmaxf(to[i], values[k]);
	}
}

void spark_add(struct buf *to, const struct report *r, const float *values, size_t count, float max)
{
	static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
					     "\u2585", "\u2586", "\u2587", "\u2588"};
	static const char *const plain[] = {" ", ".", ".", ":", "-", "=", "+", "*", "#"};

	for (size_t i = 0; i < count; i++) {
		float share = max > 0 ? fminf(1, values[i] / max) : 0;
		/* What is there at all shows, and only the largest is full. */
		int level = share > 0 ? 1 + (int)(share * 7) : 0;

		buf_add_text(to, r->options->unicode ? blocks[level] : plain[level]);
	}
}
