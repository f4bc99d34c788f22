/* SPDX-License-Identifier: Apache-2.0
 *
 * starve.h -- memory that runs out under the client library.
 *
 * The simulator is linked so that every allocation of its own objects comes through
 * here (meson.build has the list).  Between starve_begin() and starve_end(), which
 * enclose calls of the library and nothing else, one of them fails.
 */
#ifndef TESTS_SIM_STARVE_H
#define TESTS_SIM_STARVE_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now on fails; n from 1. */
void starve_begin(uint32_t n);

/* No more fail.  Has one? */
bool starve_end(void);

#endif
