/* SPDX-License-Identifier: Apache-2.0
 *
 * The style sheet and the script that every flame graph carries, from flamegraph.css and
 * flamegraph.js, as C strings.
 */
#ifndef SCPROF_FLAMEGRAPH_ASSETS_H
#define SCPROF_FLAMEGRAPH_ASSETS_H

extern const char flamegraph_style[];
extern const char flamegraph_script[];

#endif
