/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzz target is one function on untrusted bytes. libFuzzer calls it; fuzz_main.c calls it on the
 * files of the corpus, so that they are ordinary tests too; the unit tests call it on mutants.
 */
#ifndef SCPROF_FUZZ_H
#define SCPROF_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process when a promise of the code under test is broken. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
void fuzz_fail(const char *condition, const char *file, int line) __attribute__((noreturn));

/* Reads a trace to its end and checks every id and time that comes out. Returns the number of
 * events, or -1 when it could not be opened. */
int64_t fuzz_read_trace(const uint8_t *data, size_t size);

#endif
