/* SPDX-License-Identifier: Apache-2.0
 *
 * From the filter options of a command line to a model_filter.
 */
#include "analyze/filter_options.h"

#include "formats/base/banned.h"

void filter_options_init(struct filter_options *o)
{
	*o = (struct filter_options){.to_ns = UINT64_MAX};
}

void filter_options_release(struct filter_options *o)
{
	opt_list_release(&o->files);
	opt_list_release(&o->functions);
	opt_list_release(&o->threads);
	opt_list_release(&o->processes);
	opt_list_release(&o->phases);
}

int filter_options_apply(const struct filter_options *o, struct model_options *options,
			 struct err *err)
{
	if (o->from_ns >= o->to_ns)
		return err_set(err, ERR_USAGE, "--from must be earlier than --to");
	options->weight = o->wall ? MODEL_WALL : MODEL_CPU;
	options->filter = (struct model_filter){
		.from_ns = o->from_ns,
		.to_ns = o->to_ns,
		.files = o->files.items,
		.file_count = o->files.count,
		.functions = o->functions.items,
		.function_count = o->functions.count,
		.threads = o->threads.items,
		.thread_count = o->threads.count,
		.processes = o->processes.items,
		.process_count = o->processes.count,
		.phases = o->phases.items,
		.phase_count = o->phases.count,
		.gil_only = o->gil,
	};
	return 0;
}
