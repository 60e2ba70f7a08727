/* SPDX-License-Identifier: Apache-2.0
 *
 * Python, native or system? Most samples tell at once. Those in the interpreter's own C code do
 * not: dealing out a dictionary entry is the daily work of a line of Python, sorting a list of a
 * million is native work. The symbols at the end of the trace tell the bytecode loop from its
 * helpers; a line on which the loop itself is hardly ever seen running does its work in C.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyze/model_state.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define GRANULE_SHIFT 4
/* Below this share of the loop in a line's samples, calls of C left out, its helpers' time is
 * native. Measured on 3.9-3.15: 1-4 % where lists of 4000 are copied, compared and freed, 12 % and
 * more on lines of plain Python. Samples, not time: one that came late stands for 20 others, but
 * saw no more than they. */
#define LOOP_SHARE 0.06
/* Code without a symbol is listed by the page: single addresses would say less in more lines. */
#define PAGE_MASK UINT64_C(0xfff)

static uint32_t add_module(struct model *m, const struct trace_module *module)
{
	uint32_t path = intern_add(&m->texts, module->path.data, module->path.size, NULL);
	uint32_t build = intern_add(&m->texts,
				    module->build_id_size ? module->build_id : (const uint8_t *)"",
				    module->build_id_size, NULL);
	bool added;
	uint32_t id = model_table_add(&m->module_table, (struct model_key){path, build, 0}, &added);

	if (added) {
		const char *text = intern_get(&m->texts, path, NULL);
		const char *slash = strrchr(text, '/');

		m->modules = xgrow(m->modules, &m->module_capacity, id + 1, sizeof(*m->modules));
		m->modules[id] = slash && slash[1] ? slash + 1 : text;
	}
	return id;
}

static uint32_t resolve_module(struct model_trace *t, uint32_t module)
{
	while (t->module_count < t->defs->module_count) {
		uint32_t id = add_module(t->m, &t->defs->modules[t->module_count]);

		t->modules = xgrow(t->modules, &t->module_capacity, t->module_count + 1,
				   sizeof(*t->modules));
		t->modules[t->module_count++] = id;
	}
	return t->modules[module];
}

static uint32_t add_granule(struct model *m, uint32_t module, uint64_t offset)
{
	uint64_t number = offset >> GRANULE_SHIFT;
	bool added;
	uint32_t id = model_table_add(&m->granule_table,
				      (struct model_key){
					      .a = module,
					      .b = (uint32_t)number,
					      .c = (uint32_t)(number >> 32),
				      },
				      &added);

	if (added) {
		m->granules =
			xgrow(m->granules, &m->granule_capacity, id + 1, sizeof(*m->granules));
		m->granules[id] = (struct model_granule){.module = module, .offset = offset};
	}
	return id;
}

void model_grow_pcs(struct model_trace *t)
{
	const struct trace_defs *defs = t->defs;

	if (defs->pc_count <= t->pc_count)
		return;
	t->pcs = xgrow(t->pcs, &t->pc_capacity, defs->pc_count, sizeof(*t->pcs));
	if (t->pc_count == 0) {
		t->pcs[0] = (struct model_pc){.granule = MODEL_NO_ID, .role = TRACE_MODULE_OTHER};
		t->pc_count = 1;
	}
	for (; t->pc_count < defs->pc_count; t->pc_count++) {
		const struct trace_pc *pc = &defs->pcs[t->pc_count];

		t->pcs[t->pc_count] = (struct model_pc){
			.granule = add_granule(t->m, resolve_module(t, pc->module), pc->offset),
			.role = defs->modules[pc->module].role,
		};
	}
}

enum model_class model_classify(const struct model_trace *t, const struct trace_sample *s)
{
	if (s->flags & TRACE_SAMPLE_KERNEL)
		return MODEL_CLASS_SYSTEM;
	if (s->node == 0)
		return MODEL_CLASS_NATIVE;
	if (s->pc == 0)
		return s->flags & TRACE_SAMPLE_CALL_C ? MODEL_CLASS_NATIVE : MODEL_CLASS_PYTHON;
	switch (t->pcs[s->pc].role) {
	case TRACE_MODULE_INTERPRETER:
	case TRACE_MODULE_SYSTEM:
	case TRACE_MODULE_AGENT: /* it stands before the allocators of these two */
		if (s->flags & TRACE_SAMPLE_CALL_C)
			return MODEL_CLASS_IN_C_CALL;
		if (s->flags & TRACE_SAMPLE_CALL_PYTHON)
			return MODEL_CLASS_IN_PYTHON_CALL;
		return MODEL_CLASS_IN_INTERPRETER;
	case TRACE_MODULE_ANONYMOUS:
		return MODEL_CLASS_PYTHON;
	case TRACE_MODULE_OTHER:
		break;
	}
	return MODEL_CLASS_NATIVE;
}

void model_note_symbols(struct model_trace *t)
{
	struct model *m = t->m;

	m->symbols = xgrow(m->symbols, &m->symbol_capacity, m->symbol_count + t->defs->symbol_count,
			   sizeof(*m->symbols));
	for (size_t i = 0; i < t->defs->symbol_count; i++) {
		const struct trace_symbol *s = &t->defs->symbols[i];

		m->symbols[m->symbol_count++] = (struct model_symbol){
			.module = resolve_module(t, s->module),
			.name = model_text(m, s->name.data, s->name.size),
			.start = s->start,
			.size = s->size,
			.kind = s->kind,
		};
	}
}

static int compare_symbols(const void *a, const void *b)
{
	const struct model_symbol *x = a;
	const struct model_symbol *y = b;

	if (x->module != y->module)
		return x->module < y->module ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	/* Of two names for one place the loop's comes last, where the search finds it. */
	if (x->kind != y->kind)
		return x->kind == TRACE_SYMBOL_EVAL ? 1 : -1;
	return x->size < y->size ? -1 : x->size > y->size;
}

/* The symbol that holds the granule's code, or NULL. */
static const struct model_symbol *find_symbol(const struct model *m, uint32_t granule_id)
{
	const struct model_granule *g;
	size_t low = 0;
	size_t high = m->symbol_count;
	const struct model_symbol *s;

	if (granule_id == MODEL_NO_ID)
		return NULL;
	g = &m->granules[granule_id];
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		s = &m->symbols[middle];
		if (s->module < g->module || (s->module == g->module && s->start <= g->offset))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	s = &m->symbols[low - 1];
	if (s->module != g->module || (s->size != 0 && g->offset - s->start >= s->size))
		return NULL;
	return s;
}

/* How one line's time in helper classes splits: by what its samples saw. */
struct split {
	uint64_t in_loop;    /* samples in the bytecode loop, but for its part in calls of C */
	uint64_t in_helpers; /* samples in helpers that serve either */
	uint64_t total_ns;
	uint64_t python_ns; /* the part of total_ns that is Python in the end */
	uint64_t shared_ns; /* of total_ns, handed out so far */
};

/* Hands out the next part of the line's helper time; returns what of it is Python. Rounding each
 * running sum instead of each part keeps the sums exact, and no part gets more than itself. */
static uint64_t next_python_part(struct split *split, uint64_t part_ns)
{
	uint64_t before;

	if (split->total_ns == 0)
		return 0;
	before = model_scale(split->shared_ns, split->python_ns, split->total_ns);
	split->shared_ns += part_ns;
	return model_scale(split->shared_ns, split->python_ns, split->total_ns) - before;
}

/* Whether a slot's time is Python. Each class may be asked before and after the line is decided. */
static bool slot_is_python(const struct split *split, enum model_class class, bool in_loop)
{
	switch (class) {
	case MODEL_CLASS_PYTHON:
	case MODEL_CLASS_IN_PYTHON_CALL:
		return true;
	case MODEL_CLASS_NATIVE:
	case MODEL_CLASS_SYSTEM:
		return false;
	case MODEL_CLASS_IN_C_CALL:
		return in_loop;
	case MODEL_CLASS_IN_INTERPRETER:
		break;
	}
	return in_loop ||
	       (double)split->in_loop >= LOOP_SHARE * (double)(split->in_loop + split->in_helpers);
}

static void share_out(struct metrics *m, struct split *split)
{
	uint64_t python = next_python_part(split, m->unsure_ns);

	m->python_ns += python;
	m->native_ns += m->unsure_ns - python;
	m->unsure_ns = 0;
}

static void share_nodes(struct model *m, struct split *splits)
{
	for (size_t i = 0; i < m->node_count; i++) {
		struct metrics *self = &m->nodes[i].self;

		if (self->unsure_ns)
			share_out(self, &splits[model_own_line(m, (uint32_t)i)]);
	}
}

static void share_threads(struct model *m, struct split *splits)
{
	struct model_key key;
	uint32_t id;
	size_t at = 0;

	for (size_t i = 0; i < m->line_table.count; i++)
		splits[i].shared_ns = 0;
	while (model_table_next(&m->share_table, &at, &key, &id)) {
		struct metrics *total = &m->threads[key.a].total;
		uint64_t python = next_python_part(&splits[key.b], m->shares[id]);

		total->python_ns += python;
		total->native_ns += m->shares[id] - python;
	}
	for (size_t i = 0; i < m->thread_count; i++)
		m->threads[i].total.unsure_ns = 0;
}

/* "[libfoo.so+0x12000]" for code without a symbol. */
static const char *name_without_symbol(struct model *m, uint32_t granule)
{
	struct buf text = {0};
	const char *name;

	if (granule == MODEL_NO_ID) {
		buf_add_text(&text, "[unknown]");
	} else {
		buf_printf(&text, "[%s+0x%" PRIx64 "]", m->modules[m->granules[granule].module],
			   m->granules[granule].offset & ~PAGE_MASK);
	}
	name = model_text(m, (const char *)text.data, text.size);
	buf_release(&text);
	return name;
}

/* What find_symbol and the names say about each granule; the last entry is for the unknown one. */
struct granule_name {
	uint32_t symbol; /* text id */
	bool in_loop;
};

static void add_native(struct model *m, struct model_table *table, struct model_key key,
		       enum model_class class, const struct model_slot *slot)
{
	bool added;
	uint32_t id = model_table_add(table, key, &added);
	struct metrics *self;

	if (added) {
		m->natives = xgrow(m->natives, &m->native_capacity, id + 1, sizeof(*m->natives));
		m->natives[id] = (struct model_native){
			.line = key.a,
			.symbol = intern_get(&m->texts, key.b, NULL),
			.module = key.c == MODEL_NO_ID ? "" : m->modules[key.c],
		};
		m->native_count = id + 1;
	}
	self = &m->natives[id].self;
	self->samples += slot->samples;
	self->cpu_ns += slot->cpu_ns;
	self->wall_ns += slot->cpu_ns;
	self->cpu_square += slot->cpu_square;
	if (class == MODEL_CLASS_SYSTEM)
		self->system_ns += slot->cpu_ns;
	else
		self->native_ns += slot->cpu_ns;
}

static void name_granules(struct model *m, struct granule_name *names)
{
	for (uint32_t i = 0; i <= m->granule_table.count; i++) {
		uint32_t granule = i < m->granule_table.count ? i : MODEL_NO_ID;
		const struct model_symbol *s = find_symbol(m, granule);
		const char *name = s ? s->name : name_without_symbol(m, granule);

		names[i].in_loop = s && s->kind == TRACE_SYMBOL_EVAL;
		names[i].symbol = intern_add(&m->texts, name, strlen(name), NULL);
	}
}

static enum model_class slot_class(const struct model_slot *slot)
{
	return (enum model_class)(slot->code & ((1u << MODEL_SLOT_CLASS_BITS) - 1));
}

/* Index into the names, whose last is that of the unknown granule. */
static uint32_t slot_granule(const struct model *m, const struct model_slot *slot)
{
	uint32_t granule = slot->code >> MODEL_SLOT_CLASS_BITS;

	return granule < m->granule_table.count ? granule : m->granule_table.count;
}

static void weigh_slots(const struct model *m, const struct granule_name *names,
			struct split *splits)
{
	bool loop_known = false;

	for (size_t i = 0; i < m->symbol_count; i++)
		loop_known |= m->symbols[i].kind == TRACE_SYMBOL_EVAL;
	for (size_t i = 0; i < m->slots.capacity; i++) {
		const struct model_slot *slot = &m->slots.slots[i];
		enum model_class class = slot_class(slot);
		struct split *split = &splits[slot->line];

		if (slot->cpu_ns == 0 || class < MODEL_CLASS_IN_C_CALL)
			continue;
		split->total_ns += slot->cpu_ns;
		/* What the loop does to call C tells nothing about what it does between calls. */
		if (class == MODEL_CLASS_IN_C_CALL)
			continue;
		if (names[slot_granule(m, slot)].in_loop || class == MODEL_CLASS_IN_PYTHON_CALL)
			split->in_loop += slot->samples;
		/* Without symbols nothing is seen in the loop: then nothing follows from that. */
		else if (loop_known)
			split->in_helpers += slot->samples;
	}
}

static void judge_slots(struct model *m, const struct granule_name *names, struct split *splits)
{
	struct model_table natives = {0};

	for (size_t i = 0; i < m->slots.capacity; i++) {
		const struct model_slot *slot = &m->slots.slots[i];
		enum model_class class = slot_class(slot);
		struct split *split = &splits[slot->line];
		uint32_t granule = slot_granule(m, slot);

		if (slot->cpu_ns == 0)
			continue;
		if (!slot_is_python(split, class, names[granule].in_loop)) {
			struct model_key native = {
				.a = slot->line,
				.b = names[granule].symbol,
				.c = granule < m->granule_table.count ? m->granules[granule].module
								      : MODEL_NO_ID,
			};

			add_native(m, &natives, native, class, slot);
		} else if (class >= MODEL_CLASS_IN_C_CALL) {
			split->python_ns += slot->cpu_ns;
		}
	}
	model_table_release(&natives);
}

/* Two walks over the slots: the first weighs the lines, the second applies the verdicts. */
static void settle_slots(struct model *m, struct split *splits)
{
	struct granule_name *names = xcalloc((size_t)m->granule_table.count + 1, sizeof(*names));

	name_granules(m, names);
	weigh_slots(m, names, splits);
	judge_slots(m, names, splits);
	free(names);
}

void model_settle(struct model *m)
{
	struct split *splits;

	if (m->symbol_count)
		qsort(m->symbols, m->symbol_count, sizeof(*m->symbols), compare_symbols);
	splits = xcalloc((size_t)m->line_table.count + 1, sizeof(*splits));
	settle_slots(m, splits);
	share_nodes(m, splits);
	share_threads(m, splits);
	free(splits);
}
