/* SPDX-License-Identifier: Apache-2.0
 *
 * One table as CSV.
 */
#include "analyze/report_tables.h"

#include "formats/base/banned.h"

void report_csv(struct report *r)
{
	struct table t = {0};
	struct report about;

	switch ((enum report_section)r->options->sections) {
	case REPORT_FUNCTIONS:
		tables_raw_functions(r, &t);
		break;
	case REPORT_NATIVE:
		tables_raw_natives(r, &t);
		break;
	case REPORT_THREADS:
		tables_raw_threads(r, &t);
		break;
	case REPORT_PROCESSES:
		tables_raw_processes(r, &t);
		break;
	case REPORT_PHASES:
		tables_raw_phases(r, &t);
		break;
	case REPORT_TREE:
		report_tree_csv(r);
		return;
	case REPORT_PEAK:
		about = report_about(r, MODEL_PEAK);
		report_tree_csv(&about);
		return;
	case REPORT_MEMORY:
		tables_raw_memory(r, &t);
		break;
	case REPORT_TEMPORARY:
		tables_raw_temporary(r, &t);
		break;
	case REPORT_COPIES:
		tables_raw_copies(r, &t);
		break;
	case REPORT_LEAKS:
		tables_raw_leaks(r, &t);
		break;
	case REPORT_TIMELINE:
		tables_raw_timeline(r, &t);
		break;
	case REPORT_LINES:
	default:
		tables_raw_lines(r, &t);
		break;
	}
	table_print_csv(&t, r->to);
	table_release(&t);
}
