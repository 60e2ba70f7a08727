/* SPDX-License-Identifier: Apache-2.0
 *
 * How figures, paths and foreign text look in a report.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <wchar.h>

#include "analyze/report.h"
#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define TAB_WIDTH 8
#define HOT_PERCENT 20.0
#define WARM_PERCENT 5.0

static double percent_of(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

const char *figure_percent(char text[FIGURE_SIZE], uint64_t part, uint64_t whole)
{
	double percent = percent_of(part, whole);

	if (percent < 0.05)
		return "";
	snprintf(text, FIGURE_SIZE, "%.1f", percent);
	return text;
}

const char *figure_time(char text[FIGURE_SIZE], uint64_t ns)
{
	double s = (double)ns / 1e9;

	if (ns == 0)
		return "";
	if (s >= 3600)
		snprintf(text, FIGURE_SIZE, "%.0f h %02.0f min", floor(s / 3600),
			 floor(fmod(s, 3600) / 60));
	else if (s >= 300)
		snprintf(text, FIGURE_SIZE, "%.0f min %02.0f s", floor(s / 60), floor(fmod(s, 60)));
	else if (s >= 100)
		snprintf(text, FIGURE_SIZE, "%.0f s", s);
	else if (s >= 10)
		snprintf(text, FIGURE_SIZE, "%.1f s", s);
	else if (s >= 0.9995)
		snprintf(text, FIGURE_SIZE, "%.2f s", s);
	else if (s >= 0.00995)
		snprintf(text, FIGURE_SIZE, "%.0f ms", s * 1e3);
	else if (s >= 0.0009995)
		snprintf(text, FIGURE_SIZE, "%.1f ms", s * 1e3);
	else
		snprintf(text, FIGURE_SIZE, "%.0f us", fmax(1, s * 1e6));
	return text;
}

const char *figure_count(char text[FIGURE_SIZE], uint64_t n)
{
	char digits[FIGURE_SIZE];
	int count = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	int at = 0;

	for (int i = 0; i < count; i++) {
		if (i > 0 && (count - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = 0;
	return text;
}

const char *figure_interval(char text[FIGURE_SIZE], const struct report *r, const struct metrics *m)
{
	double low;
	double high;
	double whole = (double)r->view->total.cpu_ns;

	/* As blank as the figure it belongs to. */
	if (!*figure_percent(text, m->cpu_ns, r->view->total.cpu_ns))
		return "";
	metrics_interval(m, &r->view->total, &low, &high);
	snprintf(text, FIGURE_SIZE, "%.1f-%.1f", 100 * low / whole, 100 * high / whole);
	return text;
}

bool figure_is_thin(struct report *r, const struct metrics *m)
{
	double low;
	double high;

	if (m->cpu_ns == 0 || r->weight != MODEL_CPU)
		return false;
	metrics_interval(m, &r->view->total, &low, &high);
	if (high - low <= (double)m->cpu_ns)
		return false;
	r->thin = true;
	return true;
}

/* The part of path after the last "/folder/", with the folder. */
static const char *from_folder(const char *path, const char *folder)
{
	const char *found = NULL;

	for (const char *at = strstr(path, folder); at; at = strstr(at + 1, folder))
		found = at + 1;
	return found;
}

const char *report_short_path(const struct report *r, const struct model_file *file)
{
	const struct trace_text *directory = &r->view->header->directory;
	const char *path = file->path;
	const char *part = NULL;

	if (file->origin == MODEL_LIBRARY) {
		part = from_folder(path, "/site-packages/");
		if (!part)
			part = from_folder(path, "/dist-packages/");
	} else if (file->origin == MODEL_STANDARD) {
		part = from_folder(path, "/lib/python");
		if (!part)
			part = from_folder(path, "/lib64/python");
		part = part ? strchr(part, '/') + 1 : NULL;
	}
	if (part)
		return part;
	if (directory->size > 1 && strncmp(path, directory->data, directory->size) == 0 &&
	    path[directory->size] == '/' && path[directory->size + 1])
		return path + directory->size + 1;
	return path;
}

void report_add_place(struct buf *to, const struct report *r, const struct model_file *file,
		      int32_t line)
{
	const char *path = report_short_path(r, file);
	const char *at = path[0] == '/' ? strrchr(path, '/') : NULL;
	int folders = 1;

	while (at && at > path && folders > 0) {
		at--;
		if (*at == '/')
			folders--;
	}
	if (at && at > path)
		buf_printf(to, "%s%s:%" PRId32, r->options->unicode ? "\u2026" : "...", at, line);
	else
		buf_printf(to, "%s:%" PRId32, path, line);
}

static const char *without_folder(const char *command, const char *word)
{
	const char *slash = strrchr(word, '/');

	/* Quoting keeps a plain first word as it is. */
	if (strncmp(command, word, strlen(word)) != 0)
		return command;
	return slash && slash[1] ? command + (slash + 1 - word) : command;
}

const char *report_command_of(const struct report *r)
{
	const struct trace_header *header = r->view->header;

	return header->command_count ? without_folder(r->view->command, header->command[0].data)
				     : "(no command)";
}

const char *report_short_command(const struct model_process *p)
{
	return p->word_count ? without_folder(p->command, p->words[0]) : p->command;
}

const char *report_version_of(const struct report *r)
{
	for (size_t i = 0; i < r->view->process_count; i++) {
		if (r->view->processes[i].python[0])
			return r->view->processes[i].python;
	}
	return "";
}

void source_index_init(struct source_index *s, const struct model_file *file)
{
	size_t capacity = 0;

	*s = (struct source_index){.text = file->source, .size = file->source_size};
	if (!s->text)
		return;
	for (size_t at = 0; at < s->size;) {
		const char *end = memchr(s->text + at, '\n', s->size - at);

		s->starts = xgrow(s->starts, &capacity, s->count + 1, sizeof(*s->starts));
		s->starts[s->count++] = at;
		if (!end)
			break;
		at = (size_t)(end - s->text) + 1;
	}
}

void source_index_release(struct source_index *s)
{
	free(s->starts);
	*s = (struct source_index){0};
}

struct trace_text source_index_line(const struct source_index *s, int32_t line)
{
	size_t start;
	size_t end;

	if (line < 1 || (size_t)line > s->count)
		return (struct trace_text){.data = "", .size = 0};
	start = s->starts[line - 1];
	end = (size_t)line < s->count ? s->starts[line] : s->size;
	while (end > start && (s->text[end - 1] == '\n' || s->text[end - 1] == '\r'))
		end--;
	return (struct trace_text){.data = s->text + start, .size = end - start};
}

void report_clean(struct buf *to, const char *text, size_t size)
{
	size_t column = 0;

	for (size_t i = 0; i < size;) {
		unsigned char c = (unsigned char)text[i];
		size_t length = json_utf8_length(text + i, size - i);

		if (c == '\t') {
			do
				buf_add_byte(to, ' ');
			while (++column % TAB_WIDTH);
			i++;
			continue;
		}
		/* C1 controls are U+0080 to U+009F. */
		if (length == 0 || c < 0x20 || c == 0x7f ||
		    (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0)) {
			buf_add_byte(to, '?');
			i += length ? length : 1;
		} else {
			buf_add(to, text + i, length);
			i += length;
		}
		column++;
	}
}

/* Columns of the character at text, whose bytes are *length. */
static size_t char_width(const char *text, size_t size, size_t *length)
{
	unsigned char c = (unsigned char)*text;
	wchar_t wide;
	mbstate_t state = {0};
	int width;

	*length = 1;
	if (c < 0x80)
		return 1;
	*length = json_utf8_length(text, size);
	if (*length == 0) {
		*length = 1;
		return 1;
	}
	if (mbrtowc(&wide, text, *length, &state) != *length)
		return 1;
	width = wcwidth(wide);
	return width < 0 ? 1 : (size_t)width;
}

size_t report_width(const char *text, size_t size)
{
	size_t width = 0;
	size_t length;

	for (size_t i = 0; i < size; i += length)
		width += char_width(text + i, size - i, &length);
	return width;
}

size_t report_fit(const char *text, size_t size, size_t width)
{
	size_t used = 0;
	size_t length;

	for (size_t i = 0; i < size; i += length) {
		used += char_width(text + i, size - i, &length);
		if (used > width)
			return i;
	}
	return size;
}

const char *report_style(const struct report *r, enum report_style style)
{
	static const char *const codes[] = {
		[REPORT_STYLE_NONE] = "\033[0m",   [REPORT_STYLE_DIM] = "\033[2m",
		[REPORT_STYLE_BOLD] = "\033[1m",   [REPORT_STYLE_WARM] = "\033[33m",
		[REPORT_STYLE_HOT] = "\033[1;31m",
	};

	return r->options->color ? codes[style] : "";
}

enum report_style report_heat_of(double part, double whole)
{
	double percent = whole > 0 ? 100 * part / whole : 0;

	if (percent >= HOT_PERCENT)
		return REPORT_STYLE_HOT;
	return percent >= WARM_PERCENT ? REPORT_STYLE_WARM : REPORT_STYLE_NONE;
}

enum report_style report_heat(uint64_t part, uint64_t whole)
{
	return report_heat_of((double)part, (double)whole);
}
