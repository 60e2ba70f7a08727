/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as users write them, see parse.h. Fractions are computed in decimal, so that "0.1" is
 * exact.
 */
#include "formats/base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"

struct unit {
	const char *name;
	uint64_t scale;
};

int parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct err *err)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end)
		return err_set(err, ERR_USAGE, "'%s' is not a whole number", text);
	if (errno || n < min || n > max)
		return err_set(err, ERR_USAGE, "%s is not between %llu and %llu", text,
			       (unsigned long long)min, (unsigned long long)max);
	*value = n;
	return 0;
}

int parse_double(const char *text, double *value, struct err *err)
{
	char *end;
	double n;

	errno = 0;
	n = strtod(text, &end);
	if (end == text || *end || isspace((unsigned char)*text) || !isfinite(n) || errno == ERANGE)
		return err_set(err, ERR_USAGE, "'%s' is not a number", text);
	*value = n;
	return 0;
}

/* DIGITS[.DIGITS]UNIT times the unit's scale, rounded down; false when it is none or too large. */
static bool parse_scaled(const char *text, const struct unit *units, uint64_t *value)
{
	const char *fraction = NULL;
	const char *p = text;
	uint64_t scale = 0;
	uint64_t whole = 0;
	uint64_t part = 0;
	bool digits = false;

	for (; isdigit((unsigned char)*p); p++, digits = true) {
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return false;
	}
	if (*p == '.') {
		fraction = ++p;
		for (; isdigit((unsigned char)*p); p++)
			digits = true;
	}
	if (!digits)
		return false;
	for (; units->name && !scale; units++) {
		if (!strcasecmp(p, units->name))
			scale = units->scale;
	}
	if (!scale || __builtin_mul_overflow(whole, scale, &whole))
		return false;
	if (fraction) {
		unsigned __int128 sum = 0;
		unsigned __int128 weight = 1;

		for (int i = 0; i < 15 && isdigit((unsigned char)fraction[i]); i++) {
			sum = sum * 10 + (unsigned int)(fraction[i] - '0');
			weight *= 10;
		}
		part = (uint64_t)(sum * scale / weight);
	}
	return !__builtin_add_overflow(whole, part, value);
}

int parse_size(const char *text, uint64_t *bytes, struct err *err)
{
	static const struct unit units[] = {
		{"", 1},
		{"b", 1},
		{"k", 1u << 10},
		{"kb", 1u << 10},
		{"kib", 1u << 10},
		{"m", 1u << 20},
		{"mb", 1u << 20},
		{"mib", 1u << 20},
		{"g", 1u << 30},
		{"gb", 1u << 30},
		{"gib", 1u << 30},
		{"t", (uint64_t)1 << 40},
		{"tb", (uint64_t)1 << 40},
		{"tib", (uint64_t)1 << 40},
		{NULL, 0},
	};

	if (!parse_scaled(text, units, bytes))
		return err_set(err, ERR_USAGE, "'%s' is not a size such as 512, 64K, 10M or 1G",
			       text);
	return 0;
}

int parse_duration(const char *text, uint64_t *ns, struct err *err)
{
	static const struct unit units[] = {
		{"", 1000000000u},
		{"s", 1000000000u},
		{"ms", 1000000u},
		{"us", 1000u},
		{"ns", 1},
		{"m", 60u * (uint64_t)1000000000u},
		{"min", 60u * (uint64_t)1000000000u},
		{"h", 3600u * (uint64_t)1000000000u},
		{NULL, 0},
	};

	if (!parse_scaled(text, units, ns))
		return err_set(err, ERR_USAGE, "'%s' is not a time such as 1.5, 200ms, 10s or 2m",
			       text);
	return 0;
}
