/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/patch.h"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "record/agent/agent.h"

#define PATCHES 512u /* a power of two, more than twice what is added */
#define SLOTS_PER_CHUNK ((CHUNK_SIZE - 32) / sizeof(struct slot))
#define CHUNK_SIZE (64u << 10)
#define PEEKS 64 /* slots that are looked at with one system call */

struct range {
	uintptr_t start, end;
};

struct entry {
	struct patch patch;
	struct range home; /* of the object that the real function is in */
};

/* A slot that was filled. */
struct slot {
	uint64_t *at;
	uint64_t old;
	uint64_t ours;
	uint64_t sealed; /* its page is read-only but for the moment of writing */
};

struct chunk {
	struct chunk *older, *newer;
	size_t count;
	size_t reserved;
	struct slot slots[];
};

static struct entry entries[PATCHES];
static size_t entry_count;
static struct chunk *chunk; /* the one in use; newer ones are empty */
static uintptr_t page_mask;
static unsigned long long changes_seen; /* objects loaded and unloaded */

/* --- names --- */

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261u;

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 16777619u;
	return hash;
}

static struct entry *place_of(const char *name)
{
	uint32_t at = hash_of(name);

	while (entries[at % PATCHES].patch.name && strcmp(entries[at % PATCHES].patch.name, name))
		at++;
	return &entries[at % PATCHES];
}

static int find_home(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct entry *entry = arg;
	uintptr_t real = (uintptr_t)entry->patch.real;
	struct range range = {UINTPTR_MAX, 0};

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD)
			continue;
		if (start < range.start)
			range.start = start;
		if (start + segment->p_memsz > range.end)
			range.end = start + segment->p_memsz;
	}
	if (real < range.start || real >= range.end)
		return 0;
	entry->home = range;
	return 1;
}

bool patch_add(const struct patch *patch)
{
	struct entry *entry = place_of(patch->name);

	if (entry->patch.name)
		return true;
	if (entry_count >= PATCHES / 2)
		return false;
	entry_count++;
	entry->patch = *patch;
	entry->home = (struct range){0, 0};
	dl_iterate_phdr(find_home, entry);
	return true;
}

void patch_clear(void)
{
	memset(entries, 0, sizeof(entries));
	entry_count = 0;
}

/* --- an object's dynamic section --- */

struct object {
	uintptr_t base;
	struct range code; /* all that is mapped of it */
	bool deaf;         /* it binds to others than the program does */
	struct range relro;
	struct range writable[4];
	size_t writable_count;
	const ElfW(Sym) * symbols;
	const char *names;
	const ElfW(Rela) * tables[2]; /* DT_RELA, DT_JMPREL */
	size_t sizes[2];
	const uint32_t *gnu_hash;
};

/* The loader has made most pointers there absolute, but not everywhere, and never the kernel's own
 * object's. */
static uintptr_t address_in(const struct object *o, ElfW(Addr) value)
{
	return value < o->base ? o->base + value : value;
}

static void read_dynamic(struct object *o, const ElfW(Dyn) * d)
{
	bool rela = true;

	for (; d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_SYMTAB:
			o->symbols = (const ElfW(Sym) *)address_in(o, d->d_un.d_ptr);
			break;
		case DT_STRTAB:
			o->names = (const char *)address_in(o, d->d_un.d_ptr);
			break;
		case DT_RELA:
			o->tables[0] = (const ElfW(Rela) *)address_in(o, d->d_un.d_ptr);
			break;
		case DT_RELASZ:
			o->sizes[0] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_JMPREL:
			o->tables[1] = (const ElfW(Rela) *)address_in(o, d->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			o->sizes[1] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_PLTREL:
			rela = d->d_un.d_val == DT_RELA;
			break;
		case DT_GNU_HASH:
			o->gnu_hash = (const uint32_t *)address_in(o, d->d_un.d_ptr);
			break;
		default:
			break;
		}
	}
	for (int i = 0; i < 2; i++)
		if (!o->tables[i] || !o->symbols || !o->names || !rela)
			o->sizes[i] = 0;
}

static bool is_in(const struct range *range, uintptr_t address)
{
	return address >= range->start && address < range->end;
}

static void read_segments(struct object *o, const struct dl_phdr_info *info,
			  const ElfW(Dyn) * *dynamic)
{
	o->base = info->dlpi_addr;
	o->code.start = UINTPTR_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = o->base + segment->p_vaddr, end = start + segment->p_memsz;

		switch (segment->p_type) {
		case PT_DYNAMIC:
			*dynamic = (const ElfW(Dyn) *)start;
			break;
		case PT_GNU_RELRO:
			/* As the loader rounds it. */
			o->relro.start = start & page_mask;
			o->relro.end = end & page_mask;
			break;
		case PT_LOAD:
			o->code.start = start < o->code.start ? start : o->code.start;
			o->code.end = end > o->code.end ? end : o->code.end;
			if (segment->p_flags & PF_W &&
			    o->writable_count < sizeof(o->writable) / sizeof(o->writable[0]))
				o->writable[o->writable_count++] = (struct range){start, end};
			break;
		default:
			break;
		}
	}
}

void patch_add_exports(const void *dynamic, void *(*real)(const char *name))
{
	const ElfW(Dyn) *d = dynamic;
	struct object o = {0};
	const uint32_t *buckets, *chain;
	uint32_t count, first;

	/* Where it begins: the loader's own list is in the order of the program headers. */
	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next)
		if (map->l_ld == d)
			o.base = map->l_addr;
	read_dynamic(&o, d);
	if (!o.gnu_hash || !o.symbols || !o.names)
		return;
	count = o.gnu_hash[0];
	first = o.gnu_hash[1];
	buckets = o.gnu_hash + 4 + (size_t)o.gnu_hash[2] * (sizeof(ElfW(Addr)) / 4);
	chain = buckets + count;
	for (uint32_t b = 0; b < count; b++) {
		for (uint32_t i = buckets[b]; i >= first; i++) {
			const ElfW(Sym) *symbol = &o.symbols[i];
			struct patch patch = {
				.name = o.names + symbol->st_name,
				.ours = (void *)(o.base + symbol->st_value),
			};

			if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
			    symbol->st_shndx != SHN_UNDEF)
				patch.real = real(patch.name);
			if (patch.real)
				patch_add(&patch);
			if (chain[i - first] & 1)
				break;
		}
	}
}

/* --- filling slots --- */

static uintptr_t page_of(const void *address)
{
	return (uintptr_t)address & page_mask;
}

static int set_protection(uintptr_t page, int protection)
{
	return (int)cpu_syscall(SYS_mprotect, page, ~page_mask + 1, protection);
}

/* The next one to use. */
static struct slot *new_slot(void)
{
	struct chunk *next = chunk ? chunk->newer : NULL;

	if (chunk && chunk->count < SLOTS_PER_CHUNK)
		return &chunk->slots[chunk->count];
	if (!next) {
		next = agent_map(CHUNK_SIZE);
		if (!next)
			return NULL;
		next->older = chunk;
		if (chunk)
			chunk->newer = next;
	}
	chunk = next;
	return chunk->slots;
}

/* The program's threads go through the slot at the same time. */
static void write_slot(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* What a relocation is about. */
struct place {
	uint64_t *at;
	const ElfW(Sym) * symbol;
	const struct entry *entry;
	uint32_t type;
};

/* Returns false when it is nothing of ours. */
static bool read_relocation(const struct object *o, const ElfW(Rela) * r, struct place *place)
{
	bool writable = false;

	place->type = (uint32_t)ELF64_R_TYPE(r->r_info);
	if (!ELF64_R_SYM(r->r_info) ||
	    (place->type != CPU_RELOC_JUMP && place->type != CPU_RELOC_DATA &&
	     (place->type != CPU_RELOC_ABSOLUTE || r->r_addend)))
		return false;
	place->symbol = &o->symbols[ELF64_R_SYM(r->r_info)];
	place->entry = place_of(o->names + place->symbol->st_name);
	place->at = (uint64_t *)(o->base + r->r_offset);
	if (!place->entry->patch.name || (uintptr_t)place->at % sizeof(*place->at))
		return false;
	for (size_t i = 0; i < o->writable_count; i++)
		writable |= is_in(&o->writable[i], (uintptr_t)place->at);
	return writable;
}

enum leads { ELSEWHERE, NOT_YET, THERE };

/* Where the slot leads: bound it holds an address in the object that has the function (of an older
 * version of it, perhaps), and one in its own object as long as it is not. */
static enum leads leads_to(const struct object *o, const struct place *place, uint64_t value)
{
	const ElfW(Sym) *symbol = place->symbol;

	if (value == (uint64_t)(uintptr_t)place->entry->patch.real)
		return THERE;
	if (!is_in(&o->code, value))
		return is_in(&place->entry->home, value) ? THERE : ELSEWHERE;
	/* One that has a function of this name itself may be bound to that. */
	if (place->type != CPU_RELOC_JUMP ||
	    (symbol->st_shndx != SHN_UNDEF &&
	     (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || value == o->base + symbol->st_value)))
		return ELSEWHERE;
	return NOT_YET;
}

static size_t fill(const struct object *o, const struct place *place)
{
	uint64_t value = __atomic_load_n(place->at, __ATOMIC_ACQUIRE);
	uint64_t ours = (uint64_t)(uintptr_t)place->entry->patch.ours;
	enum leads leads = leads_to(o, place, value);
	struct slot *slot;

	if (value == ours || leads == ELSEWHERE || (leads == NOT_YET && o->deaf))
		return 0;
	slot = new_slot();
	if (!slot)
		return 0;
	*slot = (struct slot){
		.at = place->at,
		.old = value,
		.ours = ours,
		.sealed = is_in(&o->relro, (uintptr_t)place->at),
	};
	if (slot->sealed && set_protection(page_of(slot->at), PROT_READ | PROT_WRITE))
		return 0;
	chunk->count++;
	write_slot(slot->at, ours);
	if (slot->sealed)
		set_protection(page_of(slot->at), PROT_READ);
	return 1;
}

/* One whose malloc is bound elsewhere may have its own of everything. */
static size_t note_deaf(struct object *o, const struct place *place)
{
	uint64_t value = __atomic_load_n(place->at, __ATOMIC_ACQUIRE);

	if (place->type == CPU_RELOC_JUMP && value != (uint64_t)(uintptr_t)place->entry->patch.ours)
		o->deaf |= leads_to(o, place, value) == ELSEWHERE;
	return 0;
}

static size_t each_place(struct object *o, bool filling)
{
	struct place place;
	size_t n = 0;

	for (int t = 0; t < 2; t++)
		for (size_t i = 0; i < o->sizes[t]; i++)
			if (read_relocation(o, &o->tables[t][i], &place))
				n += filling ? fill(o, &place) : note_deaf(o, &place);
	return n;
}

struct pass {
	bool (*skip)(const char *path);
	size_t filled;
};

static int fill_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct pass *pass = arg;
	const ElfW(Dyn) *dynamic = NULL;
	struct object o = {0};

	(void)size;
	changes_seen = info->dlpi_adds + info->dlpi_subs;
	read_segments(&o, info, &dynamic);
	/* Never the loader and the kernel's own object. */
	if (!dynamic || o.base == getauxval(AT_BASE) ||
	    is_in(&o.code, getauxval(AT_SYSINFO_EHDR)) ||
	    (pass->skip && pass->skip(info->dlpi_name)))
		return 0;
	read_dynamic(&o, dynamic);
	each_place(&o, false);
	pass->filled += each_place(&o, true);
	return 0;
}

size_t patch_objects(bool (*skip)(const char *path))
{
	struct pass pass = {.skip = skip};

	page_mask = ~((uintptr_t)getauxval(AT_PAGESZ) - 1);
	dl_iterate_phdr(fill_object, &pass);
	return pass.filled;
}

static int read_changes(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long long *changes = arg;

	(void)size;
	*changes = info->dlpi_adds + info->dlpi_subs;
	return 1;
}

bool patch_is_stale(void)
{
	unsigned long long changes = changes_seen;

	dl_iterate_phdr(read_changes, &changes);
	return changes != changes_seen;
}

/* --- emptying them --- */

/* Reads what `count` slots hold; gone[i]: there is nothing any more. */
static void peek(const struct slot *slots, size_t count, uint64_t *values, bool *gone)
{
	struct iovec local = {values, count * sizeof(*values)}, remote[PEEKS];
	long n;

	for (size_t i = 0; i < count; i++) {
		remote[i] = (struct iovec){slots[i].at, sizeof(uint64_t)};
		gone[i] = false;
	}
	n = cpu_syscall(SYS_process_vm_readv, cpu_syscall(SYS_getpid), &local, 1, remote, count, 0);
	if (n == (long)local.iov_len)
		return;
	for (size_t i = 0; i < count; i++)
		gone[i] = agent_peek((uint64_t)(uintptr_t)slots[i].at, &values[i],
				     sizeof(values[i])) != 0;
}

/* The newest first: of two slots at one address the older is of an object that is gone. */
static void put_back(const struct slot *slots, size_t count)
{
	uint64_t values[PEEKS];
	bool gone[PEEKS];
	uintptr_t open = 0; /* a page that was made writable */

	peek(slots, count, values, gone);
	while (count-- > 0) {
		const struct slot *slot = &slots[count];
		uintptr_t page = slot->sealed ? page_of(slot->at) : 0;

		if (gone[count] || values[count] != slot->ours)
			continue;
		if (page != open) {
			if (open)
				set_protection(open, PROT_READ);
			open = page && set_protection(page, PROT_READ | PROT_WRITE) == 0 ? page : 0;
		}
		/* Looked at again: it may have been written in this very turn. */
		if (page == open && *slot->at == slot->ours)
			write_slot(slot->at, slot->old);
	}
	if (open)
		set_protection(open, PROT_READ);
}

void patch_undo(void)
{
	struct chunk *oldest = chunk;

	for (; chunk; chunk = chunk->older) {
		for (size_t end = chunk->count; end > 0;) {
			size_t count = end < PEEKS ? end : PEEKS;

			end -= count;
			put_back(chunk->slots + end, count);
		}
		chunk->count = 0;
		oldest = chunk;
	}
	chunk = oldest;
}
