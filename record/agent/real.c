/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the functions are that the agent stands in front of. Preloaded, the loader knows: what
 * comes next in its order. A library that was loaded later comes last in every order, and must not
 * even ask for the next; there it is what the program itself would get.
 */
#include "record/agent/agent.h"

#include <dlfcn.h>
#include <link.h>

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

static const char *base_name(const char *path)
{
	const char *name = path;

	for (; *path; path++)
		if (*path == '/')
			name = path + 1;
	return name;
}

bool agent_is_library(const char *path)
{
	return strncmp(base_name(path), RING_AGENT_NAME, strlen(RING_AGENT_NAME)) == 0;
}

/* What is preloaded stands in front of the C library. Reads memory only: this is asked for by the
 * first malloc of the program. */
bool agent_is_late(void)
{
	static _Atomic int known; /* 1: no, 2: yes */
	int late = atomic_load_explicit(&known, memory_order_relaxed);

	if (late)
		return late == 2;
	late = 1;
	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
		if (map->l_ld == _DYNAMIC)
			break;
		if (map->l_name && strncmp(base_name(map->l_name), "libc.so", 7) == 0) {
			late = 2;
			break;
		}
	}
	atomic_store_explicit(&known, late, memory_order_relaxed);
	return late == 2;
}

/* What of an object's dynamic section it takes to find versions. */
struct defined {
	const ElfW(Sym) * symbols;
	const ElfW(Half) * versions;
	const char *names;
	const char *definitions; /* of versions */
	const uint32_t *hash;    /* DT_GNU_HASH */
};

/* The loader has made some of these pointers absolute, and not others. */
static uintptr_t address_in(const struct link_map *map, ElfW(Addr) value)
{
	return value < map->l_addr ? map->l_addr + value : value;
}

static bool read_defined(struct defined *to, const struct link_map *map)
{
	memset(to, 0, sizeof(*to));
	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
		uintptr_t at = address_in(map, d->d_un.d_ptr);

		if (d->d_tag == DT_SYMTAB)
			to->symbols = (const ElfW(Sym) *)at;
		else if (d->d_tag == DT_VERSYM)
			to->versions = (const ElfW(Half) *)at;
		else if (d->d_tag == DT_STRTAB)
			to->names = (const char *)at;
		else if (d->d_tag == DT_VERDEF)
			to->definitions = (const char *)at;
		else if (d->d_tag == DT_GNU_HASH)
			to->hash = (const uint32_t *)at;
	}
	return to->symbols && to->versions && to->names && to->definitions && to->hash;
}

static const char *version_name(const struct defined *in, ElfW(Half) index)
{
	const char *at = in->definitions;

	for (;;) {
		const ElfW(Verdef) *version = (const ElfW(Verdef) *)at;

		if (version->vd_ndx == index)
			return in->names +
			       ((const ElfW(Verdaux) *)(at + version->vd_aux))->vda_name;
		if (!version->vd_next)
			return NULL;
		at += version->vd_next;
	}
}

/* What objects ask for when they call the C library's function: a program may have put another one
 * in front of just that version. NULL: the C library has none. */
static const char *version_asked_for(const char *name)
{
	const struct link_map *map = _r_debug.r_map;
	const uint32_t *buckets, *chain;
	uint32_t hash = 5381, at;
	struct defined in;

	while (map && strncmp(base_name(map->l_name), "libc.so", 7) != 0)
		map = map->l_next;
	if (!map || !read_defined(&in, map))
		return NULL;
	for (const char *c = name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	buckets = in.hash + 4 + (size_t)in.hash[2] * (sizeof(ElfW(Addr)) / 4);
	chain = buckets + in.hash[0];
	for (at = buckets[hash % in.hash[0]]; at >= in.hash[1]; at++) {
		const ElfW(Sym) *symbol = &in.symbols[at];
		ElfW(Half) version = in.versions[at];

		/* Not a hidden one, which is there for old programs. */
		if ((chain[at - in.hash[1]] | 1) == (hash | 1) && !(version & 0x8000) &&
		    symbol->st_shndx != SHN_UNDEF && strcmp(in.names + symbol->st_name, name) == 0)
			return version_name(&in, version);
		if (chain[at - in.hash[1]] & 1)
			break;
	}
	return NULL;
}

/* The object that an address is in, and what it has there (NULL: nothing with a name). */
struct found {
	void *address;
	const struct link_map *map;
	const ElfW(Sym) * symbol;
};

static struct found locate(void *address)
{
	struct found found = {.address = address};
	void *map = NULL, *symbol = NULL;
	Dl_info info;

	if (!address || !dladdr1(address, &info, &map, RTLD_DL_LINKMAP))
		return (struct found){0};
	found.map = map;
	if (dladdr1(address, &info, &symbol, RTLD_DL_SYMENT) && info.dli_saddr == address)
		found.symbol = symbol;
	return found;
}

/* What an object that asks for this version gets: one of that version, or of none, whichever comes
 * first in the loader's order. */
static struct found find(void *where, const char *name, const char *version)
{
	struct found any = locate(dlsym(where, name));
	struct found exact = locate(version ? dlvsym(where, name, version) : NULL);

	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
		if (map == exact.map)
			return exact;
		if (map == any.map)
			break;
	}
	return any;
}

/* The object that really has what a jump stands for: in a program that is not position-independent
 * its own jump to a function may pass for the function, and that jump is going to be ours. */
static void *behind_jump(const char *name, const char *version, const struct link_map *jump)
{
	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
		struct found found = {0};
		void *handle;

		if (!map->l_name || !map->l_name[0] || map->l_ld == _DYNAMIC || map == jump)
			continue;
		handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
		if (handle) {
			found = find(handle, name, version);
			dlclose(handle);
		}
		if (found.map == map)
			return found.address;
	}
	return NULL;
}

void *agent_real(const char *name)
{
	const char *version;
	struct found found;

	if (!agent_is_late())
		return dlsym(RTLD_NEXT, name);
	version = version_asked_for(name);
	found = find(RTLD_DEFAULT, name, version);
	if (!found.map || found.map->l_ld == _DYNAMIC)
		return NULL;
	if (found.symbol && found.symbol->st_shndx == SHN_UNDEF)
		return behind_jump(name, version, found.map);
	return found.address;
}
