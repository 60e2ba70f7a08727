/* SPDX-License-Identifier: Apache-2.0
 *
 * Where CPython keeps the entries of dicts and the attributes of instances.
 *
 * A dict points to a keys object: a header, a hash table of indices, and the entries in order of
 * insertion. Up to 3.10 an entry is hash, key, value; from 3.11 on the hash is left out where all
 * keys are str. A "split" dict shares its keys object with other instances of a class and has its
 * values in an array of its own.
 *
 * Attributes of instances: up to 3.10 a dict pointer inside the object (tp_dictoffset). 3.11: two
 * words before the object, one for an array of values, one for a dict. 3.12: one word, tagged when
 * it is the array. From 3.13 on the array stands behind the object, with a header that says whether
 * it is still in use, and the dict pointer before it.
 */
#include "record/python/dict_read.h"

#include <stdlib.h>
#include <string.h>

/* From 3.11 on 30 keys are shared at most; before there was no limit, but nobody has more. */
#define MAX_SHARED_KEYS 512

/* log2 of the hash table's size at most. */
#define MAX_LOG2_SIZE 18
_Static_assert(DICT_READ_MAX_ENTRIES == (1u << MAX_LOG2_SIZE) / 2, "one cap");

/* More than a dict object up to its last field. */
#define MAX_DICT_HEAD 256

/* Bytes before the object at which a managed dict pointer stands. */
#define MANAGED_DICT_BEFORE 24
#define MANAGED_DICT_BEFORE_FREE_THREADED 8
#define MANAGED_VALUES_BEFORE_3_11 32

/* The header of an array of values, 3.13 on: capacity, size, embedded, valid, padding. */
#define VALUES_HEADER_SIZE 8

/* A keys object's header, decoded. */
struct dict_keys {
	uint64_t entries; /* address */
	size_t count;
	size_t entry_size;
	size_t key_at; /* within an entry; the value follows */
};

static int keys_header_3_9(const unsigned char *header, uint64_t keys, struct dict_keys *decoded)
{
	uint64_t size, count;
	unsigned index_bytes;

	memcpy(&size, header + 8, sizeof(size));
	memcpy(&count, header + 32, sizeof(count));
	if (size == 0 || (size & (size - 1)) || size > 1ull << MAX_LOG2_SIZE ||
	    count > size * 2 / 3)
		return -1;
	index_bytes = size <= 0xff ? 1 : size <= 0xffff ? 2 : 4;
	decoded->entries = keys + 40 + size * index_bytes;
	decoded->count = count;
	decoded->entry_size = 24;
	decoded->key_at = 8;
	return 0;
}

static int keys_header_3_11(const unsigned char *header, uint64_t keys, struct dict_keys *decoded)
{
	unsigned log2_size = header[8], log2_index_bytes = header[9], kind = header[10];
	uint64_t count;

	memcpy(&count, header + 24, sizeof(count));
	/* The empty dict's keys have size 1 and 8 bytes of indices. */
	if (log2_size > MAX_LOG2_SIZE || log2_index_bytes < log2_size ||
	    log2_index_bytes > log2_size + 3 || kind > 2 || count > (1ull << log2_size) * 2 / 3)
		return -1;
	decoded->entries = keys + 32 + (1ull << log2_index_bytes);
	decoded->count = count;
	decoded->entry_size = kind == 0 ? 24 : 16;
	decoded->key_at = kind == 0 ? 8 : 0;
	return 0;
}

/* Copies the entries of a keys object. */
static int keys_read(struct object_reader *reader, uint64_t keys, struct dict_entries *entries)
{
	unsigned char header[40], *raw = NULL;
	struct dict_keys decoded;
	bool old = reader->layout->version < 0x30b;
	int ret = -1;

	memset(entries, 0, sizeof(*entries));
	if (!object_reader_plausible(keys) ||
	    object_reader_bytes(reader, keys, header, old ? 40 : 32) ||
	    (old ? keys_header_3_9(header, keys, &decoded)
		 : keys_header_3_11(header, keys, &decoded)))
		return -1;
	if (decoded.count == 0)
		return 0;
	raw = malloc(decoded.count * decoded.entry_size);
	entries->at = calloc(decoded.count, sizeof(entries->at[0]));
	if (!raw || !entries->at ||
	    object_reader_bytes(reader, decoded.entries, raw, decoded.count * decoded.entry_size))
		goto out;
	for (size_t i = 0; i < decoded.count; i++) {
		const unsigned char *entry = raw + i * decoded.entry_size + decoded.key_at;

		memcpy(&entries->at[i].key, entry, 8);
		memcpy(&entries->at[i].value, entry + 8, 8);
	}
	entries->count = decoded.count;
	ret = 0;
out:
	free(raw);
	if (ret)
		dict_entries_release(entries);
	return ret;
}

void dict_entries_release(struct dict_entries *entries)
{
	free(entries->at);
	memset(entries, 0, sizeof(*entries));
}

/* Returns the index of an ASCII key, or -1. */
static long entries_index(struct object_reader *reader, const struct dict_entries *entries,
			  const char *key)
{
	for (size_t i = 0; i < entries->count; i++)
		if (entries->at[i].key && object_reader_str_equals(reader, entries->at[i].key, key))
			return (long)i;
	return -1;
}

uint64_t dict_entries_find(struct object_reader *reader, const struct dict_entries *entries,
			   const char *key)
{
	long i = entries_index(reader, entries, key);

	return i < 0 ? 0 : entries->at[i].value;
}

/* Reads count values of an array of values, 0 for those beyond its end. */
static int values_read(struct object_reader *reader, uint64_t values, size_t first, size_t count,
		       uint64_t *to)
{
	unsigned char header[VALUES_HEADER_SIZE];

	if (first + count > MAX_SHARED_KEYS || !object_reader_plausible(values))
		return -1;
	if (reader->layout->version >= 0x30d) {
		if (object_reader_bytes(reader, values, header, sizeof(header)) ||
		    first + count > header[0])
			return -1;
		values += VALUES_HEADER_SIZE;
	}
	return object_reader_bytes(reader, values + first * 8, to, count * 8);
}

/* Reads where a dict object's keys and values are. */
static int dict_pointers(struct object_reader *reader, uint64_t dict, uint64_t *keys,
			 uint64_t *values)
{
	const struct py_layout *layout = reader->layout;
	unsigned char head[MAX_DICT_HEAD];
	size_t size = layout->dict_values + sizeof(*values);

	if (layout->dict_keys >= layout->dict_values || size > sizeof(head) ||
	    object_reader_head(reader, dict, TYPE_IS_DICT, head, size))
		return -1;
	memcpy(keys, head + layout->dict_keys, sizeof(*keys));
	memcpy(values, head + layout->dict_values, sizeof(*values));
	return 0;
}

int dict_read(struct object_reader *reader, uint64_t dict, struct dict_entries *entries)
{
	uint64_t keys, values, copy[MAX_SHARED_KEYS];

	memset(entries, 0, sizeof(*entries));
	if (dict_pointers(reader, dict, &keys, &values) || keys_read(reader, keys, entries))
		return -1;
	if (!values || !entries->count)
		return 0;
	if (entries->count > MAX_SHARED_KEYS ||
	    values_read(reader, values, 0, entries->count, copy)) {
		dict_entries_release(entries);
		return -1;
	}
	for (size_t i = 0; i < entries->count; i++)
		entries->at[i].value = copy[i];
	return 0;
}

/* The value of one attribute in an array of values that belongs to shared keys. */
static int shared_attribute(struct object_reader *reader, uint64_t keys, uint64_t values,
			    const char *name, struct attribute_cache *cache, uint64_t *value)
{
	struct dict_entries entries;
	long index;

	if (cache->keys != keys) {
		if (keys_read(reader, keys, &entries))
			return -1;
		index = entries_index(reader, &entries, name);
		dict_entries_release(&entries);
		if (index < 0) {
			*value = 0;
			return 0;
		}
		cache->keys = keys;
		cache->index = (size_t)index;
	}
	return values_read(reader, values, cache->index, 1, value);
}

static int dict_attribute(struct object_reader *reader, uint64_t dict, const char *name,
			  struct attribute_cache *cache, uint64_t *value)
{
	struct dict_entries entries;
	uint64_t keys, values;

	*value = 0;
	if (!dict)
		return 0;
	if (dict_pointers(reader, dict, &keys, &values))
		return -1;
	if (values)
		return shared_attribute(reader, keys, values, name, cache, value);
	if (keys_read(reader, keys, &entries))
		return -1;
	*value = dict_entries_find(reader, &entries, name);
	dict_entries_release(&entries);
	return 0;
}

/* 3.11 on: attributes that no dict holds yet. Returns the address of the array, 0 when a dict holds
 * them, whose address is then in *dict. */
static int managed_values(struct object_reader *reader, uint64_t object, uint64_t type,
			  uint64_t flags, uint64_t *values, uint64_t *dict)
{
	const struct py_layout *layout = reader->layout;
	unsigned char header[VALUES_HEADER_SIZE];
	uint64_t before =
		layout->free_threaded ? MANAGED_DICT_BEFORE_FREE_THREADED : MANAGED_DICT_BEFORE;
	uint64_t size;

	*values = 0;
	if (layout->version >= 0x30d && (flags & TYPE_INLINE_VALUES)) {
		if (object_reader_u64(reader, type + layout->type_basicsize, &size) ||
		    size > PY_MAX_STRING || size % 8 ||
		    object_reader_bytes(reader, object + size, header, sizeof(header)))
			return -1;
		if (header[3]) {
			*values = object + size;
			return 0;
		}
	}
	if (object_reader_u64(reader, object - before, dict))
		return -1;
	if (layout->version == 0x30c && (*dict & 1))
		*values = *dict + 1;
	if (layout->version == 0x30b)
		return object_reader_u64(reader, object - MANAGED_VALUES_BEFORE_3_11, values);
	return 0;
}

int instance_attribute(struct object_reader *reader, uint64_t object, const char *name,
		       struct attribute_cache *cache, uint64_t *value)
{
	const struct py_layout *layout = reader->layout;
	uint64_t type, flags, keys, values, dict;
	int64_t at;

	if (object_reader_type(reader, object, &type, &flags))
		return -1;
	if (layout->version >= 0x30b && (flags & TYPE_MANAGED_DICT)) {
		if (managed_values(reader, object, type, flags, &values, &dict))
			return -1;
		if (!values)
			return dict_attribute(reader, dict, name, cache, value);
		if (object_reader_u64(reader, type + layout->heaptype_cached_keys, &keys))
			return -1;
		return shared_attribute(reader, keys, values, name, cache, value);
	}
	if (object_reader_u64(reader, type + layout->type_dictoffset, (uint64_t *)&at) || at <= 0 ||
	    at > PY_MAX_STRING || at % 8 || object_reader_u64(reader, object + (uint64_t)at, &dict))
		return -1;
	return dict_attribute(reader, dict, name, cache, value);
}
