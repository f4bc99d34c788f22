/* SPDX-License-Identifier: Apache-2.0
 *
 * lockcheck.h -- the two halves of lockcheck: reading a history, and judging it.
 */
#ifndef TOOLS_LOCKCHECK_H
#define TOOLS_LOCKCHECK_H

#include <stdio.h>

#include "tools/check/application.h"

struct recording {
    struct application_op *ops;
    uint32_t count, capacity;
    struct word *words; /* Names and values, each kept once. */
    uint32_t words_count;
};

/* Reads all lines.  False: `ret_error` says which line is wrong, and why. */
bool recording_read(struct recording *recording, FILE *file, char *ret_error,
                    size_t error_size);
void recording_free(struct recording *recording);

#endif
