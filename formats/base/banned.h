/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that have no safe use here. Include it last; the standard headers come first so that their
 * own declarations are not hit.
 */
#ifndef SCPROF_BANNED_H
#define SCPROF_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef strcpy
#undef strcat
#undef strtok
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol gets

#endif
