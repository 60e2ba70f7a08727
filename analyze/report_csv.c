/* SPDX-License-Identifier: Apache-2.0
 *
 * One table as CSV.
 */
#include "analyze/report_tables.h"

#include "formats/base/banned.h"

void report_csv(struct report *r)
{
	struct table t = {0};

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
	case REPORT_TREE:
		report_tree_csv(r);
		return;
	case REPORT_LINES:
	default:
		tables_raw_lines(r, &t);
		break;
	}
	table_print_csv(&t, r->to);
	table_release(&t);
}
