/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain structs to protobuf messages, see pack.h. Messages are built in an arena, so nothing is
 * freed piece by piece. The way back is in unpack.c.
 */
#include "formats/pack.h"

#include <string.h>

#include "formats/base/xalloc.h"
#include "formats/pack_halves.h"
#include "trace.pb-c.h"

#include "formats/base/banned.h"

/* Sets an optional field. */
#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

/* Sets a column that may be left out. */
#define COLUMN(message, field, from) SOME(message, field, from, (from)->count)

/* The same for a column in halves. */
#define HALVES(message, field, from, bits) SOME_HALVES(message, field, from, bits, (from)->count)

/* The same for columns with a number of values of their own. */
#define SOME(message, field, from, count) \
	((message)->field = (from)->field, (message)->n_##field = (from)->field ? (count) : 0)
#define SOME_HALVES(message, field, from, bits, count)                                           \
	(SET(message, field, binary(halves_low_##bits(arena, (from)->field, (count)), (count))), \
	 (message)->field##_high = halves_high_##bits(arena, (from)->field, (count)),            \
	 (message)->n_##field##_high = (message)->field##_high ? (count) : 0)

/* Cleared memory for the messages of one call; out of memory ends the tool. */
static void *scratch(struct arena *arena, size_t count, size_t size)
{
	void *data = arena_alloc(arena, count * size);

	if (!data)
		xalloc_die(count * size);
	return memset(data, 0, count * size);
}

static ProtobufCBinaryData binary(const void *data, size_t size)
{
	return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)data};
}

static ProtobufCBinaryData *binary_list(struct arena *arena, const struct trace_text *texts,
					size_t count)
{
	ProtobufCBinaryData *list = scratch(arena, count, sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = binary(texts[i].data, texts[i].size);
	return list;
}

/* Space for count messages of a type and the array of pointers to them that protobuf-c wants. */
static void *message_list(struct arena *arena, size_t count, size_t size, void *pointers)
{
	char *messages = scratch(arena, count, size);
	void **list = scratch(arena, count, sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = messages + i * size;
	memcpy(pointers, &list, sizeof(list));
	return messages;
}

/* Sets a list of messages; its value is the array of them. */
#define LIST(arena, message, field, count) \
	((message)->n_##field = (count),   \
	 message_list(arena, count, sizeof(**(message)->field), &(message)->field))

static void add_item(const Scprof__Item *item, struct buf *out)
{
	size_t size = scprof__item__get_packed_size(item);

	buf_add_varint(out, size);
	out->size += scprof__item__pack(item, buf_reserve(out, size));
}

void pack_header(const struct trace_header *header, struct buf *out)
{
	Scprof__Header message = SCPROF__HEADER__INIT;
	Scprof__Item item = SCPROF__ITEM__INIT;
	struct arena arena = {0};

	SET(&message, version, header->version);
	message.tool_version = (char *)header->tool_version;
	SET(&message, start_monotonic_ns, header->start_monotonic_ns);
	SET(&message, start_realtime_ns, header->start_realtime_ns);
	message.host = (char *)header->host;
	message.system = (char *)header->system;
	SET(&message, cpu_count, header->cpu_count);
	message.n_command = header->command_count;
	message.command = binary_list(&arena, header->command, header->command_count);
	SET(&message, directory, binary(header->directory.data, header->directory.size));
	SET(&message, rate_hz, header->rate_hz);
	SET(&message, wall, header->wall);
	SET(&message, source, header->source);
	SET(&message, tick_ns, header->tick_ns);
	SET(&message, options, binary(header->options.data, header->options.size));
	SET(&message, memory_rate, header->memory_rate);
	SET(&message, copy_rate, header->copy_rate);
	item.header = &message;
	add_item(&item, out);
	arena_release(&arena);
}

static void pack_codes(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Code *codes = LIST(arena, out, codes, block->code_count);

	for (size_t i = 0; i < block->code_count; i++) {
		const struct trace_code *code = &block->codes[i];

		scprof__code__init(&codes[i]);
		SET(&codes[i], filename, code->filename);
		SET(&codes[i], name, code->name);
		SET(&codes[i], qualname, code->qualname);
		SET(&codes[i], first_line, code->first_line);
		SET(&codes[i], flags, code->flags);
		SET(&codes[i], python, code->python);
		SET(&codes[i], line_table, binary(code->line_table, code->line_table_size));
		SET(&codes[i], code_bytes, code->code_bytes);
	}
}

static void pack_nodes(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	size_t count = block->node_count;
	Scprof__Nodes *nodes;

	if (!count)
		return;
	nodes = scratch(arena, 1, sizeof(*nodes));
	scprof__nodes__init(nodes);
	out->nodes = nodes;
	SET(nodes, first, block->first_node);
	nodes->n_parent = nodes->n_code = nodes->n_offset = count;
	nodes->parent = scratch(arena, count, sizeof(*nodes->parent));
	nodes->code = scratch(arena, count, sizeof(*nodes->code));
	nodes->offset = scratch(arena, count, sizeof(*nodes->offset));
	for (size_t i = 0; i < count; i++) {
		nodes->parent[i] = block->first_node + (uint32_t)i - block->nodes[i].parent;
		nodes->code[i] = block->nodes[i].code;
		nodes->offset[i] = block->nodes[i].offset;
	}
}

static void pack_modules(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Module *modules = LIST(arena, out, modules, block->module_count);

	for (size_t i = 0; i < block->module_count; i++) {
		const struct trace_module *module = &block->modules[i];

		scprof__module__init(&modules[i]);
		SET(&modules[i], path, binary(module->path.data, module->path.size));
		SET(&modules[i], build_id, binary(module->build_id, module->build_id_size));
		SET(&modules[i], role, module->role);
	}
}

static void pack_pcs(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	size_t count = block->pc_count;
	Scprof__Pcs *pcs;

	if (!count)
		return;
	pcs = scratch(arena, 1, sizeof(*pcs));
	scprof__pcs__init(pcs);
	out->pcs = pcs;
	SET(pcs, first, block->first_pc);
	pcs->n_module = pcs->n_offset = count;
	pcs->module = scratch(arena, count, sizeof(*pcs->module));
	pcs->offset = scratch(arena, count, sizeof(*pcs->offset));
	for (size_t i = 0; i < count; i++) {
		pcs->module[i] = block->pcs[i].module;
		pcs->offset[i] = block->pcs[i].offset;
	}
}

static void pack_processes(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Process *processes = LIST(arena, out, processes, block->process_count);

	for (size_t i = 0; i < block->process_count; i++) {
		const struct trace_process *process = &block->processes[i];
		Scprof__Process *to = &processes[i];

		scprof__process__init(to);
		SET(to, index, process->index);
		SET(to, pid, process->pid);
		SET(to, parent_pid, process->parent_pid);
		to->has_parent = process->parent != TRACE_NONE;
		to->parent = process->parent;
		SET(to, start_ns, process->start_ns);
		to->n_command = process->command_count;
		to->command = binary_list(arena, process->command, process->command_count);
		SET(to, executable, binary(process->executable.data, process->executable.size));
		SET(to, python_hex, process->python_hex);
		SET(to, python_build,
		    binary(process->python_build.data, process->python_build.size));
		SET(to, free_threaded, process->free_threaded);
		SET(to, origin, process->origin);
		SET(to, prefix, binary(process->prefix.data, process->prefix.size));
	}
}

static void pack_threads(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Thread *threads = LIST(arena, out, threads, block->thread_count);

	for (size_t i = 0; i < block->thread_count; i++) {
		const struct trace_thread *thread = &block->threads[i];

		scprof__thread__init(&threads[i]);
		SET(&threads[i], index, thread->index);
		SET(&threads[i], process, thread->process);
		SET(&threads[i], tid, thread->tid);
		SET(&threads[i], start_ns, thread->start_ns);
		SET(&threads[i], main, thread->main);
		SET(&threads[i], name, binary(thread->name.data, thread->name.size));
	}
}

static void pack_columns(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	size_t n = block->samples.count;

	if (n) {
		Scprof__Samples *samples = scratch(arena, 1, sizeof(*samples));

		scprof__samples__init(samples);
		out->samples = samples;
		HALVES(samples, time, &block->samples, 64);
		COLUMN(samples, thread, &block->samples);
		COLUMN(samples, wall, &block->samples);
		COLUMN(samples, off_cpu, &block->samples);
		HALVES(samples, node, &block->samples, 32);
		HALVES(samples, pc, &block->samples, 32);
		COLUMN(samples, flags, &block->samples);
		COLUMN(samples, ready, &block->samples);
	}
	n = block->waits.count;
	if (n) {
		Scprof__Waits *waits = scratch(arena, 1, sizeof(*waits));

		scprof__waits__init(waits);
		out->waits = waits;
		waits->time = block->waits.time;
		waits->n_time = n;
		COLUMN(waits, thread, &block->waits);
		COLUMN(waits, wall, &block->waits);
		COLUMN(waits, cpu, &block->waits);
		COLUMN(waits, node, &block->waits);
		COLUMN(waits, kind, &block->waits);
		COLUMN(waits, ready, &block->waits);
	}
}

static void pack_heap_columns(struct arena *arena, const struct pack_heap *from, Scprof__Block *out)
{
	Scprof__Heap *heap;

	if (!from->count)
		return;
	heap = scratch(arena, 1, sizeof(*heap));
	scprof__heap__init(heap);
	out->heap = heap;
	SET(heap, first_block, from->first_block);
	SET(heap, op, binary(from->op, from->count));
	SOME(heap, thread, from, from->thread_runs);
	SOME(heap, thread_rows, from, from->thread_runs);
	SOME(heap, time, from, from->time_runs);
	SOME(heap, time_rows, from, from->time_runs);
	SOME(heap, site_node, from, from->site_count);
	SOME(heap, site_kind, from, from->site_count);
	SOME(heap, site_flags, from, from->site_count);
	if (from->alloc_count) {
		SOME_HALVES(heap, site, from, 32, from->alloc_count);
		SOME_HALVES(heap, size, from, 64, from->alloc_count);
	}
	if (from->named_count)
		SOME_HALVES(heap, block, from, 64, from->named_count);
	SOME(heap, left, from, from->resize_count);
}

static void pack_memory(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	pack_heap_columns(arena, &block->heap, out);
	if (block->copies.count) {
		Scprof__Copies *copies = scratch(arena, 1, sizeof(*copies));

		scprof__copies__init(copies);
		out->copies = copies;
		HALVES(copies, time, &block->copies, 64);
		COLUMN(copies, thread, &block->copies);
		HALVES(copies, node, &block->copies, 32);
		HALVES(copies, size, &block->copies, 64);
		COLUMN(copies, kind, &block->copies);
		COLUMN(copies, flags, &block->copies);
	}
	if (block->footprints.count) {
		Scprof__Footprints *footprints = scratch(arena, 1, sizeof(*footprints));

		scprof__footprints__init(footprints);
		out->footprints = footprints;
		COLUMN(footprints, time, &block->footprints);
		COLUMN(footprints, rss_bytes, &block->footprints);
		COLUMN(footprints, file_bytes, &block->footprints);
		COLUMN(footprints, pss_bytes, &block->footprints);
		COLUMN(footprints, swap_bytes, &block->footprints);
		COLUMN(footprints, minor_faults, &block->footprints);
		COLUMN(footprints, major_faults, &block->footprints);
	}
}

static void pack_marks(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Mark *marks = LIST(arena, out, marks, block->mark_count);

	for (size_t i = 0; i < block->mark_count; i++) {
		const struct trace_mark *mark = &block->marks[i];

		scprof__mark__init(&marks[i]);
		SET(&marks[i], kind, mark->kind);
		SET(&marks[i], time_ns, mark->time_ns);
		SET(&marks[i], label, binary(mark->label.data, mark->label.size));
	}
}

static void pack_losses(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Loss *losses = LIST(arena, out, losses, block->loss_count);

	for (size_t i = 0; i < block->loss_count; i++) {
		const struct trace_loss *loss = &block->losses[i];

		scprof__loss__init(&losses[i]);
		SET(&losses[i], kind, loss->kind);
		SET(&losses[i], time_ns, loss->time_ns);
		SET(&losses[i], count, loss->count);
		losses[i].has_thread = loss->thread != TRACE_NONE;
		losses[i].thread = loss->thread;
	}
}

static void pack_process_ends(struct arena *arena, const struct pack_block *block,
			      Scprof__Block *out)
{
	Scprof__ProcessEnd *ends = LIST(arena, out, process_ends, block->process_end_count);

	for (size_t i = 0; i < block->process_end_count; i++) {
		const struct trace_process_end *end = &block->process_ends[i];

		scprof__process_end__init(&ends[i]);
		SET(&ends[i], process, end->process);
		SET(&ends[i], time_ns, end->time_ns);
		SET(&ends[i], how, end->how);
		SET(&ends[i], status, end->status);
		SET(&ends[i], cpu_ns, end->cpu_ns);
		SET(&ends[i], user_ns, end->user_ns);
		SET(&ends[i], system_ns, end->system_ns);
		SET(&ends[i], peak_rss_bytes, end->peak_rss_bytes);
		SET(&ends[i], exit_cpu_ns, end->exit_cpu_ns);
	}
}

static void pack_symbols(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Symbol *symbols = LIST(arena, out, symbols, block->symbol_count);

	for (size_t i = 0; i < block->symbol_count; i++) {
		const struct trace_symbol *symbol = &block->symbols[i];

		scprof__symbol__init(&symbols[i]);
		SET(&symbols[i], module, symbol->module);
		SET(&symbols[i], start, symbol->start);
		SET(&symbols[i], size, symbol->size);
		SET(&symbols[i], name, binary(symbol->name.data, symbol->name.size));
		SET(&symbols[i], kind, symbol->kind);
	}
}

static void pack_sources(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Source *sources = LIST(arena, out, sources, block->source_count);

	for (size_t i = 0; i < block->source_count; i++) {
		const struct trace_source *source = &block->sources[i];

		scprof__source__init(&sources[i]);
		SET(&sources[i], path, binary(source->path.data, source->path.size));
		SET(&sources[i], text, binary(source->text.data, source->text.size));
	}
}

static void pack_refusals(struct arena *arena, const struct pack_block *block, Scprof__Block *out)
{
	Scprof__Refusal *refusals = LIST(arena, out, refusals, block->refusal_count);

	for (size_t i = 0; i < block->refusal_count; i++) {
		const struct trace_refusal *refusal = &block->refusals[i];

		scprof__refusal__init(&refusals[i]);
		SET(&refusals[i], pid, refusal->pid);
		SET(&refusals[i], parent_pid, refusal->parent_pid);
		SET(&refusals[i], python, refusal->python);
		SET(&refusals[i], time_ns, refusal->time_ns);
		SET(&refusals[i], command, binary(refusal->command.data, refusal->command.size));
		SET(&refusals[i], why, binary(refusal->why.data, refusal->why.size));
	}
}

void pack_block(const struct pack_block *block, struct buf *out)
{
	Scprof__Block message = SCPROF__BLOCK__INIT;
	Scprof__Item item = SCPROF__ITEM__INIT;
	struct arena arena = {0};

	SET(&message, sequence, block->sequence);
	message.has_process = block->process != TRACE_NONE;
	message.process = block->process;
	message.has_first_time_ns = message.has_process;
	message.first_time_ns = block->first_time_ns;
	message.has_last_time_ns = message.has_process;
	message.last_time_ns = block->last_time_ns;
	message.has_first_string = block->string_count > 0;
	message.first_string = block->first_string;
	message.n_strings = block->string_count;
	message.strings = binary_list(&arena, block->strings, block->string_count);
	message.has_first_code = block->code_count > 0;
	message.first_code = block->first_code;
	pack_codes(&arena, block, &message);
	pack_nodes(&arena, block, &message);
	message.has_first_module = block->module_count > 0;
	message.first_module = block->first_module;
	pack_modules(&arena, block, &message);
	pack_pcs(&arena, block, &message);
	pack_processes(&arena, block, &message);
	pack_threads(&arena, block, &message);
	pack_columns(&arena, block, &message);
	pack_losses(&arena, block, &message);
	pack_process_ends(&arena, block, &message);
	pack_symbols(&arena, block, &message);
	pack_sources(&arena, block, &message);
	pack_refusals(&arena, block, &message);
	pack_memory(&arena, block, &message);
	pack_marks(&arena, block, &message);
	item.block = &message;
	add_item(&item, out);
	arena_release(&arena);
}

void pack_end(const struct trace_end *end, struct buf *out)
{
	Scprof__End message = SCPROF__END__INIT;
	Scprof__Item item = SCPROF__ITEM__INIT;

	SET(&message, time_ns, end->time_ns);
	SET(&message, reason, end->reason);
	SET(&message, samples, end->samples);
	SET(&message, blocks, end->blocks);
	SET(&message, command_status, end->command_status);
	item.end = &message;
	add_item(&item, out);
}

void pack_index(const struct pack_index_entry *entries, size_t count, struct buf *out)
{
	Scprof__Index message = SCPROF__INDEX__INIT;
	struct arena arena = {0};
	size_t size;

	message.n_offset = message.n_size = message.n_first_time_ns = count;
	message.n_last_time_ns = message.n_process = message.n_kinds = count;
	message.offset = scratch(&arena, count, sizeof(*message.offset));
	message.size = scratch(&arena, count, sizeof(*message.size));
	message.first_time_ns = scratch(&arena, count, sizeof(*message.first_time_ns));
	message.last_time_ns = scratch(&arena, count, sizeof(*message.last_time_ns));
	message.process = scratch(&arena, count, sizeof(*message.process));
	message.kinds = scratch(&arena, count, sizeof(*message.kinds));
	for (size_t i = 0; i < count; i++) {
		message.offset[i] = entries[i].offset;
		message.size[i] = entries[i].size;
		message.first_time_ns[i] = entries[i].first_time_ns;
		message.last_time_ns[i] = entries[i].last_time_ns;
		message.process[i] = entries[i].process;
		message.kinds[i] = entries[i].kinds;
	}
	size = scprof__index__get_packed_size(&message);
	out->size += scprof__index__pack(&message, buf_reserve(out, size));
	arena_release(&arena);
}
