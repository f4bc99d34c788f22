/* SPDX-License-Identifier: Apache-2.0
 *
 * wgl.h -- is there any order that explains what clients saw?
 *
 * The judge by index believes what the cell says about places in its log, and so
 * would be deceived by a cell that lies about them.  This one knows nothing but
 * calls, their outcomes and when they began and ended: it searches for an order
 * (Wing and Gong, JPDC 1993) and remembers where it has been, as the pair of what
 * is placed and the state thereafter (Lowe, "Testing for linearizability", 2017).
 *
 * What it remembers of a place is as large as the number of calls at a time, however
 * long the history.  The search is exponential in that number, so histories are
 * split first (by name; linearizability is local, Herlihy and Wing 1990), and a
 * budget of steps, and one of memory, end what takes too long without a verdict.
 */
#ifndef TOOLS_CHECK_WGL_H
#define TOOLS_CHECK_WGL_H

#include <stdbool.h>
#include <stdint.h>

#define WGL_NEVER UINT64_MAX

/* What the object is between two calls; its meaning is the model's.  Equal states
 * have equal members. */
struct wgl_state {
    uint64_t a, b;
};

/* A call, of which the model knows more under its number.  One that ended the
 * moment that another began counts as beside it. */
struct wgl_op {
    uint64_t invoked;
    uint64_t ended; /* WGL_NEVER: its outcome is not known; it may have taken effect at any time
                     * since, or not at all. */
    bool observes;  /* Whenever it fits, it leaves the state as it is. */

    uint64_t alike; /* Of those that have this number, not 0, and might come next, it doesn't
                     * matter which does; so the one that ends first does. */

    uint64_t matters_until; /* Of one without an end.  What ended later can be explained as well
                             * if this one does nothing thereafter.  0: it matters for ever. */
};

struct wgl_model {
    /* Can call `op` take effect in `state` as it was seen to?  `ret_state` is what
     * follows. */
    bool (*step)(const void *context, uint32_t op, const struct wgl_state *state,
                 struct wgl_state *ret_state);
    const void *context;
    struct wgl_state first;
};

enum wgl_verdict { WGL_LINEARIZABLE, WGL_VIOLATION, WGL_UNDECIDED };

/* With WGL_VIOLATION `ret_stuck` is a call that no order explains together with
 * all that ended before it did.  Running out of memory ends the process. */
enum wgl_verdict wgl_check(const struct wgl_op *ops, uint32_t count,
                           const struct wgl_model *model, uint64_t steps_max,
                           uint32_t *ret_stuck);

#endif
