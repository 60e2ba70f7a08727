/* SPDX-License-Identifier: Apache-2.0
 *
 * The formats scprof-convert writes. A new one is a file and a line here.
 */
#include "convert/exporter.h"

#include <fnmatch.h>
#include <string.h>

#include "convert/clean_text.h"
#include "convert/cost.h"

extern const struct exporter callgrind_exporter;
extern const struct exporter chrome_exporter;
extern const struct exporter collapsed_exporter;
extern const struct exporter flamegraph_exporter;
extern const struct exporter massif_exporter;
extern const struct exporter pprof_exporter;
extern const struct exporter pstats_exporter;
extern const struct exporter speedscope_exporter;

const struct exporter *const exporter_table[] = {
	&callgrind_exporter, &chrome_exporter, &collapsed_exporter, &flamegraph_exporter,
	&massif_exporter,    &pprof_exporter,  &pstats_exporter,    &speedscope_exporter,
};
const size_t exporter_count = sizeof(exporter_table) / sizeof(exporter_table[0]);

const struct exporter *exporter_find(const char *name)
{
	for (size_t i = 0; i < exporter_count; i++) {
		if (strcmp(exporter_table[i]->name, name) == 0)
			return exporter_table[i];
	}
	return NULL;
}

bool exporter_takes(const struct exporter *exporter, enum model_weight weight)
{
	if (exporter->flags & EXPORTER_TIME)
		return weight_is_time(weight);
	return !(exporter->flags & EXPORTER_PEAK) || weight == MODEL_PEAK;
}

const struct exporter *exporter_for_file(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < exporter_count; i++) {
		for (const char *const *p = exporter_table[i]->patterns; *p; p++) {
			if (fnmatch(*p, name, FNM_CASEFOLD) == 0)
				return exporter_table[i];
		}
	}
	return NULL;
}

const char *export_title(const struct export *x, struct buf *b)
{
	const struct trace_header *header = x->view->header;

	buf_clear(b);
	if (x->options->title) {
		clean_text(b, x->options->title);
	} else if (header) {
		for (size_t i = 0; i < header->command_count; i++) {
			if (i > 0)
				buf_add_byte(b, ' ');
			clean_text(b, header->command[i].data);
		}
		if (x->options->traces > 1)
			buf_printf(b, " and %u more", x->options->traces - 1);
	}
	if (b->size == 0)
		buf_add_text(b, "scprof");
	return buf_text(b);
}
