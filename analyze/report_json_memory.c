/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory, copies and leaks in the JSON.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/report_json.h"
#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"

#include "formats/base/banned.h"

static void write_rounded(struct json *j, const char *name, double value)
{
	json_key_int(j, name, isfinite(value) ? llround(value) : 0);
}

static void write_interval(struct json *j, const char *name, double low, double high)
{
	char key[64];

	snprintf(key, sizeof(key), "%s_low", name);
	write_rounded(j, key, floor(low));
	snprintf(key, sizeof(key), "%s_high", name);
	write_rounded(j, key, ceil(high));
}

/* An estimate with its interval; without, when all was recorded. */
static void write_estimate(struct json *j, const struct report *r, const char *name,
			   const struct memory *m, enum memory_figure figure)
{
	double low;
	double high;

	write_rounded(j, name, memory_value(m, figure));
	if (memory_interval(m, figure, &r->view->memory, &low, &high))
		write_interval(j, name, low, high);
}

static double fraction(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

static void write_copies(struct json *j, const struct report *r, const struct memory *m)
{
	double low;
	double high;

	write_estimate(j, r, "copy_bytes", m, MEMORY_COPIED);
	json_key_double(j, "copy_mb_s", report_mb_per_s(r, m->copy_bytes));
	if (!memory_interval(m, MEMORY_COPIED, &r->view->memory, &low, &high))
		return;
	json_key_double(j, "copy_mb_s_low", report_mb_per_s(r, low));
	json_key_double(j, "copy_mb_s_high", report_mb_per_s(r, high));
}

void report_json_memory(struct json *j, const struct report *r, const struct memory *m)
{
	if (report_has_memory(r)) {
		write_estimate(j, r, "malloc_bytes", m, MEMORY_VOLUME);
		write_estimate(j, r, "malloc_count", m, MEMORY_COUNT);
		write_estimate(j, r, "free_bytes", m, MEMORY_FREED);
		write_estimate(j, r, "growth_bytes", m, MEMORY_GROWTH);
		write_estimate(j, r, "peak_bytes", m, MEMORY_PEAK);
		write_estimate(j, r, "own_peak_bytes", m, MEMORY_OWN_PEAK);
		write_rounded(j, "average_bytes", m->average_bytes);
		json_key_double(j, "python_fraction", fraction(m->python_bytes, m->malloc_bytes));
		json_key_double(j, "usage_fraction",
				fraction(m->malloc_bytes, r->view->total.memory.malloc_bytes));
		write_rounded(j, "temporary_bytes", m->temporary_bytes);
	}
	if (report_has_copies(r))
		write_copies(j, r, m);
}

static void write_stack(struct json *j, const struct report *r, const struct model_leak *leak)
{
	const struct model_view *v = r->view;
	uint32_t *stack;
	size_t count = report_leak_stack(r, leak, &stack);

	json_key(j, "stack");
	json_begin_array(j);
	for (size_t i = 0; i < count; i++) {
		const struct model_node *node = &v->nodes[stack[i]];
		const struct model_function *f = &v->functions[node->function];

		json_begin_object(j);
		json_key_text(j, "path", v->files[f->file].path);
		json_key_int(j, "line", node->line);
		json_key_text(j, "function", f->name);
		json_end_object(j);
	}
	json_end_array(j);
	free(stack);
}

void report_json_leaks(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;

	if (!report_has_memory(r))
		return;
	json_key(j, "leaks");
	json_begin_array(j);
	for (size_t i = 0; i < v->leak_count; i++) {
		const struct model_leak *leak = &v->leaks[i];
		const struct model_line *line = &v->lines[leak->line];

		if (leak->verdict != MODEL_LEAK_GROWING || !report_shows_leak(r, leak))
			continue;
		json_begin_object(j);
		json_key_text(j, "path", report_line_file(r, line)->path);
		json_key_int(j, "line", line->line);
		json_key_text(j, "function", v->functions[line->function].name);
		json_key_double(j, "likelihood", leak->likelihood);
		json_key_double(j, "growth_bytes_per_s", leak->growth_bytes_per_s);
		if (report_memory_sampled(r)) {
			json_key_double(j, "growth_bytes_per_s_low", leak->growth_low);
			json_key_double(j, "growth_bytes_per_s_high", leak->growth_high);
		}
		write_rounded(j, "live_bytes", leak->live_bytes);
		write_interval(j, "live_bytes", leak->live_low, leak->live_high);
		write_rounded(j, "allocated_bytes", leak->allocated_bytes);
		write_rounded(j, "freed_bytes", leak->freed_bytes);
		write_rounded(j, "blocks_alive", leak->blocks_alive);
		write_stack(j, r, leak);
		json_end_object(j);
	}
	json_end_array(j);
}
