/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain structs to protobuf messages and back, see pack.h. Messages are built and unpacked in
 * arenas, so nothing is freed piece by piece; when unpacking, the arena's cap bounds what a hostile
 * message can make us allocate.
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
#define COLUMN(message, field, from) \
	((message)->field = (from)->field, (message)->n_##field = (from)->field ? (from)->count : 0)

/* The same for a column in halves, and the way back. */
#define HALVES(message, field, from, bits)                                                   \
	(SET(message, field,                                                                 \
	     binary(halves_low_##bits(arena, (from)->field, (from)->count), (from)->count)), \
	 (message)->field##_high = halves_high_##bits(arena, (from)->field, (from)->count),  \
	 (message)->n_##field##_high = (message)->field##_high ? (from)->count : 0)
#define JOIN(message, field, count, bits, to)                                  \
	halves_join_##bits(arena, (message)->field.data, (message)->field.len, \
			   (message)->field##_high, (message)->n_##field##_high, count, to)

/* --- packing --- */

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

/* --- unpacking: NULL from the arena means that its cap is reached; the item is given up --- */

static void *capped_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void capped_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

static struct trace_text text(const ProtobufCBinaryData *data)
{
	return (struct trace_text){data->data ? (const char *)data->data : "", data->len};
}

static const struct trace_text *text_list(struct arena *arena, const ProtobufCBinaryData *data,
					  size_t count)
{
	struct trace_text *texts = arena_alloc(arena, count * sizeof(*texts));

	for (size_t i = 0; texts && i < count; i++)
		texts[i] = text(&data[i]);
	return texts;
}

static int unpack_header(const Scprof__Header *from, struct arena *arena, struct trace_header *to)
{
	*to = (struct trace_header){
		.version = from->version,
		.tool_version = from->tool_version ? from->tool_version : "",
		.start_monotonic_ns = from->start_monotonic_ns,
		.start_realtime_ns = from->start_realtime_ns,
		.host = from->host ? from->host : "",
		.system = from->system ? from->system : "",
		.cpu_count = from->cpu_count,
		.command = text_list(arena, from->command, from->n_command),
		.command_count = from->n_command,
		.directory = text(&from->directory),
		.rate_hz = from->rate_hz,
		.wall = from->wall,
		.source = from->source,
		.tick_ns = from->tick_ns,
		.options = text(&from->options),
	};
	return to->command ? 0 : -1;
}

static int unpack_codes(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_code *codes = arena_alloc(arena, from->n_codes * sizeof(*codes));

	to->codes = codes;
	to->code_count = from->n_codes;
	to->first_code = from->first_code;
	for (size_t i = 0; codes && i < from->n_codes; i++) {
		const Scprof__Code *code = from->codes[i];

		codes[i] = (struct trace_code){
			.filename = code->has_filename ? code->filename : TRACE_NONE,
			.name = code->has_name ? code->name : TRACE_NONE,
			.qualname = code->has_qualname ? code->qualname : TRACE_NONE,
			.first_line = code->first_line,
			.flags = code->flags,
			.python = code->python,
			.line_table = code->line_table.data,
			.line_table_size = code->line_table.len,
			.code_bytes = code->code_bytes,
		};
	}
	return codes ? 0 : -1;
}

static int unpack_nodes(const Scprof__Nodes *from, struct arena *arena, struct pack_block *to)
{
	struct trace_node *nodes;

	if (!from)
		return 0;
	if (from->n_code != from->n_parent || from->n_offset != from->n_parent ||
	    from->n_parent > UINT32_MAX - from->first)
		return -1;
	nodes = arena_alloc(arena, from->n_parent * sizeof(*nodes));
	to->nodes = nodes;
	to->node_count = from->n_parent;
	to->first_node = from->first;
	for (size_t i = 0; nodes && i < from->n_parent; i++) {
		uint32_t id = from->first + (uint32_t)i;
		uint32_t back = from->parent[i];

		nodes[i] = (struct trace_node){
			.parent = back && back <= id ? id - back : TRACE_NONE,
			.code = from->code[i],
			.offset = from->offset[i],
		};
	}
	return nodes ? 0 : -1;
}

static int unpack_modules(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_module *modules = arena_alloc(arena, from->n_modules * sizeof(*modules));

	to->modules = modules;
	to->module_count = from->n_modules;
	to->first_module = from->first_module;
	for (size_t i = 0; modules && i < from->n_modules; i++) {
		const Scprof__Module *module = from->modules[i];

		modules[i] = (struct trace_module){
			.path = text(&module->path),
			.build_id = module->build_id.data,
			.build_id_size = module->build_id.len,
			.role = module->role <= TRACE_MODULE_AGENT ? module->role
								   : TRACE_MODULE_OTHER,
		};
	}
	return modules ? 0 : -1;
}

static int unpack_pcs(const Scprof__Pcs *from, struct arena *arena, struct pack_block *to)
{
	struct trace_pc *pcs;

	if (!from)
		return 0;
	if (from->n_module != from->n_offset || from->n_module > UINT32_MAX - from->first)
		return -1;
	pcs = arena_alloc(arena, from->n_module * sizeof(*pcs));
	to->pcs = pcs;
	to->pc_count = from->n_module;
	to->first_pc = from->first;
	for (size_t i = 0; pcs && i < from->n_module; i++)
		pcs[i] = (struct trace_pc){from->module[i], from->offset[i]};
	return pcs ? 0 : -1;
}

static int unpack_processes(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_process *processes =
		arena_alloc(arena, from->n_processes * sizeof(*processes));

	to->processes = processes;
	to->process_count = from->n_processes;
	for (size_t i = 0; processes && i < from->n_processes; i++) {
		const Scprof__Process *process = from->processes[i];

		processes[i] = (struct trace_process){
			.index = process->has_index ? process->index : TRACE_NONE,
			.pid = process->pid,
			.parent_pid = process->parent_pid,
			.parent = process->has_parent ? process->parent : TRACE_NONE,
			.start_ns = process->start_ns,
			.command = text_list(arena, process->command, process->n_command),
			.command_count = process->n_command,
			.executable = text(&process->executable),
			.python_hex = process->python_hex,
			.python_build = text(&process->python_build),
			.free_threaded = process->free_threaded,
			.origin = process->origin <= TRACE_ORIGIN_ATTACH ? process->origin
									 : TRACE_ORIGIN_LAUNCH,
			.prefix = text(&process->prefix),
		};
		if (!processes[i].command)
			return -1;
	}
	return processes ? 0 : -1;
}

static int unpack_threads(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_thread *threads = arena_alloc(arena, from->n_threads * sizeof(*threads));

	to->threads = threads;
	to->thread_count = from->n_threads;
	for (size_t i = 0; threads && i < from->n_threads; i++) {
		const Scprof__Thread *thread = from->threads[i];

		threads[i] = (struct trace_thread){
			.index = thread->has_index ? thread->index : TRACE_NONE,
			.process = thread->process,
			.tid = thread->tid,
			.start_ns = thread->start_ns,
			.main = thread->main,
			.name = text(&thread->name),
		};
	}
	return threads ? 0 : -1;
}

/* Whether the columns have count values each or none. */
static bool all_fit(const size_t *lengths, size_t columns, size_t count)
{
	for (size_t i = 0; i < columns; i++) {
		if (lengths[i] && lengths[i] != count)
			return false;
	}
	return true;
}

static int unpack_columns(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	const Scprof__Samples *samples = from->samples;
	const Scprof__Waits *waits = from->waits;

	if (samples) {
		const size_t n = samples->time.len;
		const size_t lengths[] = {samples->n_thread, samples->n_wall, samples->n_off_cpu,
					  samples->n_flags};

		to->samples = (struct pack_samples){
			.count = n,
			.thread = samples->thread,
			.wall = samples->wall,
			.off_cpu = samples->off_cpu,
			.flags = samples->flags,
		};
		if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), n) ||
		    JOIN(samples, time, n, 64, &to->samples.time) < 0 ||
		    JOIN(samples, node, n, 32, &to->samples.node) < 0 ||
		    JOIN(samples, pc, n, 32, &to->samples.pc) < 0)
			return -1;
	}
	if (waits) {
		const size_t n = waits->n_time;
		const size_t lengths[] = {waits->n_thread, waits->n_wall, waits->n_cpu,
					  waits->n_node, waits->n_kind};

		if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), n))
			return -1;
		to->waits = (struct pack_waits){n,          waits->thread, waits->time, waits->wall,
						waits->cpu, waits->node,   waits->kind};
	}
	return 0;
}

static int unpack_losses(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_loss *losses = arena_alloc(arena, from->n_losses * sizeof(*losses));

	to->losses = losses;
	to->loss_count = 0;
	for (size_t i = 0; losses && i < from->n_losses; i++) {
		const Scprof__Loss *loss = from->losses[i];

		if (loss->kind >= TRACE_LOSS_KINDS)
			continue;
		losses[to->loss_count++] = (struct trace_loss){
			.kind = loss->kind,
			.process = to->process,
			.thread = loss->has_thread ? loss->thread : TRACE_NONE,
			.time_ns = loss->time_ns,
			.count = loss->count,
		};
	}
	return losses ? 0 : -1;
}

static int unpack_process_ends(const Scprof__Block *from, struct arena *arena,
			       struct pack_block *to)
{
	struct trace_process_end *ends = arena_alloc(arena, from->n_process_ends * sizeof(*ends));

	to->process_ends = ends;
	to->process_end_count = from->n_process_ends;
	for (size_t i = 0; ends && i < from->n_process_ends; i++) {
		const Scprof__ProcessEnd *end = from->process_ends[i];

		ends[i] = (struct trace_process_end){
			.process = end->process,
			.time_ns = end->time_ns,
			.how = end->how <= TRACE_END_EXEC ? end->how : TRACE_END_UNKNOWN,
			.status = end->status,
			.cpu_ns = end->cpu_ns,
			.user_ns = end->user_ns,
			.system_ns = end->system_ns,
			.peak_rss_bytes = end->peak_rss_bytes,
		};
	}
	return ends ? 0 : -1;
}

static int unpack_symbols(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_symbol *symbols = arena_alloc(arena, from->n_symbols * sizeof(*symbols));

	to->symbols = symbols;
	to->symbol_count = from->n_symbols;
	for (size_t i = 0; symbols && i < from->n_symbols; i++) {
		const Scprof__Symbol *symbol = from->symbols[i];

		symbols[i] = (struct trace_symbol){
			.module = symbol->module,
			.start = symbol->start,
			.size = symbol->size,
			.name = text(&symbol->name),
			.kind = symbol->kind == TRACE_SYMBOL_EVAL ? TRACE_SYMBOL_EVAL
								  : TRACE_SYMBOL_FUNCTION,
		};
	}
	return symbols ? 0 : -1;
}

static int unpack_sources(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_source *sources = arena_alloc(arena, from->n_sources * sizeof(*sources));

	to->sources = sources;
	to->source_count = from->n_sources;
	for (size_t i = 0; sources && i < from->n_sources; i++)
		sources[i] = (struct trace_source){text(&from->sources[i]->path),
						   text(&from->sources[i]->text)};
	return sources ? 0 : -1;
}

static int unpack_block(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	*to = (struct pack_block){
		.sequence = from->sequence,
		.process = from->has_process ? from->process : TRACE_NONE,
		.first_time_ns = from->first_time_ns,
		.last_time_ns = from->last_time_ns,
		.first_string = from->first_string,
		.strings = text_list(arena, from->strings, from->n_strings),
		.string_count = from->n_strings,
	};
	if (!to->strings || unpack_codes(from, arena, to) < 0 ||
	    unpack_nodes(from->nodes, arena, to) < 0 || unpack_modules(from, arena, to) < 0 ||
	    unpack_pcs(from->pcs, arena, to) < 0 || unpack_processes(from, arena, to) < 0 ||
	    unpack_threads(from, arena, to) < 0 || unpack_columns(from, arena, to) < 0 ||
	    unpack_losses(from, arena, to) < 0 || unpack_process_ends(from, arena, to) < 0 ||
	    unpack_symbols(from, arena, to) < 0 || unpack_sources(from, arena, to) < 0)
		return -1;
	return 0;
}

int pack_unpack(const void *data, size_t size, struct arena *arena, struct pack_item *item,
		struct err *err)
{
	ProtobufCAllocator allocator = {capped_alloc, capped_free, arena};
	const Scprof__Item *message = scprof__item__unpack(&allocator, size, data);
	const Scprof__End *end = message ? message->end : NULL;

	*item = (struct pack_item){.kind = PACK_UNKNOWN};
	if (!message)
		return err_set(err, ERR_CORRUPT, "its content is not a message");
	if (message->header) {
		item->kind = PACK_HEADER;
		if (unpack_header(message->header, arena, &item->header) < 0)
			return err_set(err, ERR_CORRUPT, "its header does not fit into memory");
	} else if (message->block) {
		item->kind = PACK_BLOCK;
		if (unpack_block(message->block, arena, &item->block) < 0)
			return err_set(err, ERR_CORRUPT, "its columns do not match");
	} else if (end) {
		item->kind = PACK_END;
		item->end = (struct trace_end){
			.time_ns = end->time_ns,
			.reason = end->reason <= TRACE_REASON_WRITE_ERROR ? end->reason
									  : TRACE_REASON_FINISHED,
			.samples = end->samples,
			.blocks = end->blocks,
			.command_status = end->command_status,
		};
	}
	return 0;
}

int pack_unpack_index(const void *data, size_t size, struct arena *arena,
		      struct pack_index_entry **entries, size_t *count, struct err *err)
{
	ProtobufCAllocator allocator = {capped_alloc, capped_free, arena};
	const Scprof__Index *index = scprof__index__unpack(&allocator, size, data);
	size_t n = index ? index->n_offset : 0;

	if (!index)
		return err_set(err, ERR_CORRUPT, "the index is not a message");
	if (index->n_size != n || index->n_first_time_ns != n || index->n_last_time_ns != n ||
	    index->n_process != n || index->n_kinds != n)
		return err_set(err, ERR_CORRUPT, "the columns of the index do not match");
	*entries = arena_alloc(arena, n * sizeof(**entries));
	if (!*entries)
		return err_set(err, ERR_CORRUPT, "the index is too large");
	*count = n;
	for (size_t i = 0; i < n; i++)
		(*entries)[i] = (struct pack_index_entry){
			index->offset[i],       index->size[i],    index->first_time_ns[i],
			index->last_time_ns[i], index->process[i], index->kinds[i],
		};
	return 0;
}
