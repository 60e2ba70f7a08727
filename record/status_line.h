/* SPDX-License-Identifier: Apache-2.0
 *
 * One line on the terminal that says how the recording goes, renewed twice a second. Nothing at all
 * when standard error is not a terminal.
 */
#ifndef SCPROF_STATUS_LINE_H
#define SCPROF_STATUS_LINE_H

#include <stdbool.h>

#include "record/recording.h"

void status_line_start(bool wanted);
void status_line_update(const struct recording *r);
void status_line_clear(void);

#endif
