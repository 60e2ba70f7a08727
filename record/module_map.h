/* SPDX-License-Identifier: Apache-2.0
 *
 * From program counters to modules: what /proc/PID/maps says about executable memory. Read when a
 * target appears and again when a pc falls outside of what is known.
 */
#ifndef SCPROF_MODULE_MAP_H
#define SCPROF_MODULE_MAP_H

#include <stdint.h>
#include <sys/types.h>

#include "formats/trace_writer.h"
#include "record/module_files.h"

struct module_map;

/* runtime is an address inside the interpreter's module; files is borrowed. */
struct module_map *module_map_new(struct trace_writer *writer, struct module_files *files,
				  pid_t pid, uint64_t runtime);
void module_map_free(struct module_map *m);

/* Reads the maps again, at most every 50 ms. */
void module_map_refresh(struct module_map *m);

/* The trace's id of pc, 0 when it lies in no known module. */
uint32_t module_map_pc(struct module_map *m, uint64_t pc);

#endif
