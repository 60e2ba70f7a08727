/* SPDX-License-Identifier: Apache-2.0
 *
 * Dicts and attributes of instances in another process. A dict is copied as it is at that moment:
 * its keys and values stay addresses in the other process, to be checked by whoever reads them.
 */
#ifndef SCPROF_DICT_READ_H
#define SCPROF_DICT_READ_H

#include <stddef.h>
#include <stdint.h>

#include "record/python/object_reader.h"

/* More entries than this are not believed. */
#define DICT_READ_MAX_ENTRIES (1u << 17)

struct dict_entry {
	uint64_t key;
	uint64_t value; /* 0 where the values are kept apart from the keys */
};

/* The entries of a dict, or of the keys that instances share, in order of insertion; removed ones
 * have key or value 0. */
struct dict_entries {
	struct dict_entry *at;
	size_t count;
};

/* Copies the entries of a dict object, values of a split dict included. Returns 0 or -1; release
 * with dict_entries_release. */
int dict_read(struct object_reader *reader, uint64_t dict, struct dict_entries *entries);
void dict_entries_release(struct dict_entries *entries);

/* The value of an ASCII key, 0 when there is none. */
uint64_t dict_entries_find(struct object_reader *reader, const struct dict_entries *entries,
			   const char *key);

/* What is known of one type's shared keys, so that many instances of it are read fast. */
struct attribute_cache {
	uint64_t keys;
	size_t index; /* of the attribute */
};

/* Reads the instance's own attribute of this ASCII name: *value is 0 when it has none. cache is for
 * one name; zero it first. Returns 0 or -1. */
int instance_attribute(struct object_reader *reader, uint64_t object, const char *name,
		       struct attribute_cache *cache, uint64_t *value);

#endif
