/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h -- the only two clocks of the daemon.
 */
#ifndef LOCKD_CLOCK_H
#define LOCKD_CLOCK_H

#include <stdint.h>

/* Milliseconds since the machine started, its sleep included.  The only time by
 * which anything is decided: it never falls and isn't set by anyone. */
uint64_t clock_boottime_ms(void);

/* Unix time in milliseconds.  A label, for logs and "modified at". */
uint64_t clock_wall_ms(void);

#endif
