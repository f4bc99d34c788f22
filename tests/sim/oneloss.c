/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sweep.h"

/* A frame gets lost alone, as where its connection was lost behind it; a line of a
 * client, or one to it, gets lost with its connection. */
int oneloss_run(const struct sweep_options *options)
{
    return sweep_scenes_run(options, 1U << BREAK_LOSS, "--one-loss");
}
