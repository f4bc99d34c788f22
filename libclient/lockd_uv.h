/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd_uv.h -- drives a client from a libuv loop.
 *
 *     struct lockd_uv adapter;
 *     if (lockd_uv_start(loop, &adapter, client) == 0) {
 *         uv_run(loop, UV_RUN_DEFAULT);
 *     }
 *
 * and, when it is time to end,
 *
 *     lockd_uv_stop(&adapter, closed);
 *     lockd_client_free(client);
 *
 * For a client without a thread of its own.  The loop's thread is the client's: every
 * call is made on it, and every callback comes on it.  A program that includes this
 * links libuv; liblockd itself does not.
 */
#ifndef LOCKD_UV_H
#define LOCKD_UV_H

#include "lockd.h"

#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Yours, from start until it is closed.  It keeps the loop running as any handle
 * does; uv_unref() changes that. */
struct lockd_uv {
    uv_poll_t poll;
};

/* The descriptor is readable when a deadline has come too, so no timer is needed.
 * The client may be gone when lockd_process() returns. */
static inline void lockd_uv_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    lockd_process((struct lockd_client *)poll->data);
}

/* 0, or libuv's error: then there is nothing to stop. */
static inline int lockd_uv_start(uv_loop_t *loop, struct lockd_uv *adapter,
                                 struct lockd_client *client)
{
    const int error = uv_poll_init(loop, &adapter->poll, lockd_fd(client));
    if (error != 0) {
        return error;
    }
    adapter->poll.data = client;
    return uv_poll_start(&adapter->poll, UV_READABLE, lockd_uv_ready);
}

/* Before the client is freed; within a callback too.  The adapter is not to be freed
 * or started again before `closed` (which may be NULL) is called, with its `poll`, or
 * the loop has ended. */
static inline void lockd_uv_stop(struct lockd_uv *adapter, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&adapter->poll, closed);
}

#ifdef __cplusplus
}
#endif

#endif
