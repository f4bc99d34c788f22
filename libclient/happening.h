/* SPDX-License-Identifier: Apache-2.0
 *
 * happening.h -- an event as the program is told of it, in one block of memory.
 */
#ifndef LIBCLIENT_HAPPENING_H
#define LIBCLIENT_HAPPENING_H

#include "libclient/list.h"
#include "libclient/lockd.h"
#include "libclient/wire.h"

struct happening {
    struct lockd_event public; /* First: lockd_event_free() frees the block. */
    struct list at;
    size_t octets; /* Of the block. */
    char session[WIRE_SESSION_ID + 1];
    char data[];
};

struct happening *happening_new(const struct wire_event *event); /* NULL: out of memory. */

#endif
