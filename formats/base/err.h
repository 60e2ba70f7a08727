/* SPDX-License-Identifier: Apache-2.0
 *
 * An error as a sentence on its way up. The function that fails sets it, each caller may put its
 * context in front, and only the tool's own file prints it.
 */
#ifndef SCPROF_ERR_H
#define SCPROF_ERR_H

enum err_code {
	ERR_NONE,
	ERR_FAILED,  /* the operation is not possible */
	ERR_USAGE,   /* the user asked for something that makes no sense */
	ERR_CORRUPT, /* the input's bytes are wrong */
	ERR_VERSION, /* the input is newer than this program */
	ERR_SYSTEM,  /* the operating system refused */
};

struct err {
	enum err_code code;
	char text[768];
};

/* Each returns -1, so that "return err_set(...)" reads well. err may be NULL. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds ": " and strerror(errno). */
int err_errno(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "CONTEXT: " in front of what is there. */
int err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
