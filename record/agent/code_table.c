/* SPDX-License-Identifier: Apache-2.0
 *
 * The code objects this process has seen on its stacks. An address is not an identity: a code
 * object may die and another be born in its place. So every hit is checked against a fingerprint of
 * the object's fields (from 3.12 on with its unique version; otherwise with the hashes of its
 * names), and a mismatch defines the address anew under a fresh id.
 *
 * One handler at a time may insert (a try-lock: never wait); a handler that finds the table busy or
 * full writes its definition under an id that is used once. The reader does not mind.
 */
#include "record/agent/agent.h"

#include <sys/mman.h>

#define TABLE_SIZE (1u << 16)
#define TABLE_PROBES 32
#define TABLE_FULL (TABLE_SIZE / 4 * 3)
/* Guarded versions: how long a code object that was read safely is trusted to be still there. */
#define TRUST_NS 16000000u
#define TEXT_MAX 8192u /* characters of a name that are kept */
#define LINE_TABLE_MAX (16u << 20)

struct table_slot {
	_Atomic uint32_t sequence; /* odd while it is written */
	struct code_entry entry;
};

struct code_table {
	_Atomic uint32_t next_id;
	_Atomic uint32_t used;
	_Atomic bool busy;
	struct table_slot slots[TABLE_SIZE];
};

struct code_view {
	uint64_t filename, name, qualname, line_table, bytecode_object, type;
	uint64_t units;
	uint32_t version;
	int32_t first_line;
	uint32_t flags;
	int32_t first_traceable;
};

struct code_table *code_table_new(void)
{
	return agent_map(sizeof(struct code_table));
}

void code_table_free(struct code_table *table)
{
	if (table)
		agent_unmap(table, sizeof(*table));
}

void code_table_clear(struct code_table *table)
{
	if (table)
		cpu_syscall(SYS_madvise, table, sizeof(*table), MADV_DONTNEED);
}

static int load(uint64_t address, void *to, size_t size)
{
	if (agent.guarded)
		return agent_peek(address, to, size);
	memcpy(to, (const void *)(uintptr_t)address, size);
	return 0;
}

static int view_code(uint64_t code, bool trusted, struct code_view *view)
{
	const struct py_layout *l = &agent.layout;
	char copy[320];
	const char *at = (const char *)(uintptr_t)code;

	if (agent.guarded && !trusted) {
		if (l->code_size > sizeof(copy) || agent_peek(code, copy, l->code_size))
			return -1;
		at = copy;
	}
	memset(view, 0, sizeof(*view));
	memcpy(&view->type, at + l->object_type, 8);
	memcpy(&view->filename, at + l->code_filename, 8);
	memcpy(&view->name, at + l->code_name, 8);
	if (l->code_qualname != PY_NO_OFFSET)
		memcpy(&view->qualname, at + l->code_qualname, 8);
	memcpy(&view->line_table, at + l->code_line_table, 8);
	memcpy(&view->first_line, at + l->code_first_line, 4);
	memcpy(&view->flags, at + l->code_flags, 4);
	if (l->code_unit_count != PY_NO_OFFSET)
		memcpy(&view->units, at + l->code_unit_count, 8);
	else
		memcpy(&view->bytecode_object, at + l->code_bytes, 8);
	if (l->code_version != PY_NO_OFFSET)
		memcpy(&view->version, at + l->code_version, 4);
	if (l->code_first_traceable != PY_NO_OFFSET)
		memcpy(&view->first_traceable, at + l->code_first_traceable, 4);
	return view->type == agent.code_type ? 0 : -1;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
	h = (h ^ value) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

/* Of all but the texts. */
static uint64_t places_of(const struct code_view *view)
{
	uint64_t h = mix(view->filename, view->name);

	h = mix(h, view->qualname);
	h = mix(h, view->line_table);
	h = mix(h, view->bytecode_object ^ view->units);
	return mix(h, (uint64_t)view->version << 32 | (uint32_t)view->first_line);
}

/* Equal pointers may hold other texts by now, so the strings' own hashes go in where there is no
 * version. there: a moment ago they were read in these places. Returns 0 or -1. */
static int fingerprint(const struct code_view *view, uint64_t places, bool there, uint64_t *print)
{
	const uint64_t strings[] = {view->name, view->qualname ? view->qualname : view->filename};
	uint64_t value;

	*print = places;
	if (view->version)
		return 0;
	for (int i = 0; i < 2; i++) {
		uint64_t at = strings[i] + agent.layout.str_hash;

		if (agent.guarded && !there) {
			if (agent_peek(at, &value, sizeof(value)))
				return -1;
		} else {
			value = *(const uint64_t *)(uintptr_t)at;
		}
		*print = mix(*print, value);
	}
	if (!agent.guarded) {
		value = *(const uint64_t *)(uintptr_t)(view->line_table + agent.layout.var_size);
		*print = mix(*print, value);
	}
	return 0;
}

struct text {
	struct ring_text head;
	uint64_t data;
	size_t bytes;
};

static int view_text(uint64_t object, struct text *text)
{
	const struct py_layout *l = &agent.layout;
	uint64_t length;
	uint32_t state;
	unsigned kind;

	if (!object || load(object + l->str_length, &length, 8) ||
	    load(object + l->str_state, &state, 4))
		return -1;
	kind = state >> l->str_kind_shift & 7;
	if (!(state >> l->str_compact_bit & 1) || (kind != 1 && kind != 2 && kind != 4))
		return -1;
	if (length > TEXT_MAX)
		length = TEXT_MAX;
	text->data =
		object + (state >> l->str_ascii_bit & 1 ? l->str_ascii_data : l->str_compact_data);
	text->head.length = (uint32_t)length;
	text->head.kind = kind;
	text->bytes = (size_t)length * kind;
	return 0;
}

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/* Writes the definition. Returns 0, -1 not a code object after all, -2 no room. */
static int define(const struct code_view *view, uint32_t id, uint32_t code_bytes, unsigned slot)
{
	struct text texts[3];
	uint64_t table_size;
	size_t size = sizeof(struct ring_code), here, done;
	struct ring_code *record;
	char *to;
	int ret = 0;

	memset(texts, 0, sizeof(texts));
	if (view_text(view->filename, &texts[0]) || view_text(view->name, &texts[1]) ||
	    view_text(view->qualname ? view->qualname : view->name, &texts[2]) ||
	    load(view->line_table + agent.layout.var_size, &table_size, 8))
		return -1;
	if (table_size > LINE_TABLE_MAX)
		return -1;
	for (int i = 0; i < 3; i++)
		size += padded(texts[i].bytes);
	if (size > RING_RECORD_MAX / 2) {
		/* Absurdly long names: keep what fits. */
		for (int i = 0; i < 3; i++) {
			if (texts[i].head.length > 1024)
				texts[i].head.length = 1024;
			texts[i].bytes = (size_t)texts[i].head.length * texts[i].head.kind;
		}
		size = sizeof(struct ring_code);
		for (int i = 0; i < 3; i++)
			size += padded(texts[i].bytes);
	}
	here = table_size;
	if (here > RING_RECORD_MAX - size)
		here = RING_RECORD_MAX - size;

	record = (struct ring_code *)ring_reserve(size + here);
	if (!record)
		return -2;
	record->id = id;
	record->first_line = view->first_line;
	record->flags = view->flags;
	record->code_bytes = code_bytes;
	record->filename = texts[0].head;
	record->name = texts[1].head;
	record->qualname = texts[2].head;
	record->line_table_size = (uint32_t)table_size;
	record->line_table_here = (uint32_t)here;
	to = (char *)(record + 1);
	for (int i = 0; i < 3; i++) {
		if (load(texts[i].data, to, texts[i].bytes))
			ret = -1;
		to += padded(texts[i].bytes);
	}
	if (load(view->line_table + agent.layout.bytes_data, to, here))
		ret = -1;
	if (ret)
		record->line_table_here = record->line_table_size = 0;
	ring_commit(&record->record, size + here, RING_CODE, slot);

	for (done = here; !ret && done < table_size; done += here) {
		struct ring_code_more *more;

		here = table_size - done;
		if (here > RING_RECORD_MAX - sizeof(*more))
			here = RING_RECORD_MAX - sizeof(*more);
		more = (struct ring_code_more *)ring_reserve(sizeof(*more) + here);
		if (!more)
			return -2;
		more->id = id;
		more->offset = (uint32_t)done;
		more->count = (uint32_t)here;
		if (load(view->line_table + agent.layout.bytes_data + done, more->bytes, here))
			ret = -1;
		ring_commit(&more->record, sizeof(*more) + here, RING_CODE_MORE, slot);
	}
	return ret;
}

static struct table_slot *probe(struct code_table *table, uint64_t code, bool *found)
{
	uint32_t at = (uint32_t)(mix(0, code) >> 20);

	*found = false;
	for (unsigned i = 0; i < TABLE_PROBES; i++) {
		struct table_slot *slot = &table->slots[(at + i) & (TABLE_SIZE - 1)];

		if (slot->entry.code == code) {
			*found = true;
			return slot;
		}
		if (!slot->entry.code)
			return slot;
	}
	return NULL;
}

/* Reads an entry that another thread may be writing. */
static bool read_slot(struct table_slot *slot, struct code_entry *entry)
{
	uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);

	if (before & 1)
		return false;
	*entry = slot->entry;
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before;
}

static void write_slot(struct table_slot *slot, const struct code_entry *entry)
{
	uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_relaxed);

	atomic_store_explicit(&slot->sequence, before + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	slot->entry = *entry;
	atomic_store_explicit(&slot->sequence, before + 2, memory_order_release);
}

int code_table_find(uint64_t code, uint64_t now_ns, unsigned slot_index, struct code_entry *entry)
{
	struct code_table *table = agent.codes;
	struct table_slot *slot;
	struct code_view view;
	bool found, have, trusted;
	uint64_t places, print;
	int ret;

	slot = probe(table, code, &found);
	have = slot && found && read_slot(slot, entry) && entry->code == code;
	trusted = have && now_ns - entry->checked_ns < TRUST_NS;
	if (view_code(code, trusted, &view))
		return -1;
	places = places_of(&view);
	if (fingerprint(&view, places, trusted && places == entry->places, &print))
		return -1;
	if (have && print == entry->print) {
		if (agent.guarded && !trusted)
			slot->entry.checked_ns = now_ns; /* a racing writer stores as good a time */
		return 0;
	}

	entry->code = code;
	entry->places = places;
	entry->print = print;
	entry->checked_ns = now_ns;
	if (agent.layout.code_unit_count != PY_NO_OFFSET) {
		entry->bytecode = code + agent.layout.code_bytes;
		entry->code_bytes = (uint32_t)view.units * 2;
	} else {
		uint64_t size;

		if (load(view.bytecode_object + agent.layout.var_size, &size, 8))
			return -1;
		entry->bytecode = view.bytecode_object + agent.layout.bytes_data;
		entry->code_bytes = (uint32_t)size;
	}
	entry->first_traceable = view.first_traceable * 2;
	entry->id = atomic_fetch_add_explicit(&table->next_id, 1, memory_order_relaxed);
	ret = define(&view, entry->id, entry->code_bytes, slot_index);
	if (ret)
		return ret;

	if (slot && !atomic_exchange_explicit(&table->busy, true, memory_order_acquire)) {
		slot = probe(table, code, &found); /* another handler may have taken the place */
		if (slot && (found || atomic_load_explicit(&table->used, memory_order_relaxed) <
					      TABLE_FULL)) {
			if (!found)
				atomic_fetch_add_explicit(&table->used, 1, memory_order_relaxed);
			write_slot(slot, entry);
		}
		atomic_store_explicit(&table->busy, false, memory_order_release);
	}
	return 0;
}

void code_table_forget(uint64_t code)
{
	bool found;
	struct table_slot *slot = probe(agent.codes, code, &found);

	/* No fingerprint is 0, for all that matters: whoever meets the address defines it anew. */
	if (slot && found)
		__atomic_store_n(&slot->entry.print, 0, __ATOMIC_RELAXED);
}
