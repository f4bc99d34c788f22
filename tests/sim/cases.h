/* SPDX-License-Identifier: Apache-2.0
 *
 * cases.h -- what the test suite runs of the simulator, as TAP.
 */
#ifndef TESTS_SIM_CASES_H
#define TESTS_SIM_CASES_H

#include "tests/sim/pool.h"

/* `options` gives jobs and command; the cases have their own seeds.  Returns an
 * exit status. */
int cases_run(const struct pool_options *options);

#endif
