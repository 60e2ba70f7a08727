/* SPDX-License-Identifier: Apache-2.0
 *
 * The layouts that we know ourselves, one per minor version and threading model. Seen by layout.c
 * only: everybody else asks py_layout_find, which also asks the target.
 */
#ifndef SCPROF_LAYOUT_TABLE_H
#define SCPROF_LAYOUT_TABLE_H

#include "record/python/layout.h"

/* version is major << 8 | minor. Returns NULL when there was no such build. */
const struct py_layout *layout_table_find(uint32_t version, bool free_threaded);

#endif
