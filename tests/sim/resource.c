/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands behind the locks: a host with the library's fence, on a disk that
 * loses what was not synced when the host dies.  Holders' accesses reach it late,
 * some of them long after the lock was lost.  Whatever happens, the tokens that it
 * accepts for a name never fall (G8); no clock takes part in that.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/fence.h"
#include "tests/sim/agents_internal.h"
#include "tests/sim/sometimes.h"

enum {
    MARKS_MAX = 3, /* Fewer than there are names: some must be forgotten. */
    LATE_US_MAX = 10000000,
    SOON_US_MAX = 20000,
    DIES_EVERY_US_MAX = 6000000,
    DIES_IN_SYNC_PERCENT = 1,
};

struct resource {
    struct rng rng;
    struct lockd_fence *fence; /* NULL: its host is dead. */
    bool dead;                 /* The disk answers nothing more to this life. */
    char *text;
    size_t size, capacity, synced;
    bool exists;
    uint64_t accepted[NAMES]; /* The highest token ever. */
    uint64_t floor;
};

/* ------------------------------------------------------------------------ disk */

static enum lockd_rc disk_read(void *context, char **ret_text, size_t *ret_size)
{
    const struct resource *x = context;
    *ret_text = NULL;
    *ret_size = 0;
    if (x->exists) {
        *ret_text = sim_allocate(x->size + 1);
        *ret_size = x->size;
        memcpy(*ret_text, x->text, x->size);
    }
    return LOCKD_OK;
}

static void put(struct resource *x, const char *text, size_t size)
{
    if (x->size + size > x->capacity) {
        x->capacity = 2 * (x->size + size);
        x->text = sim_resize(x->text, x->capacity);
    }
    memcpy(x->text + x->size, text, size);
    x->size += size;
}

static enum lockd_rc disk_replace(void *context, const char *text, size_t size)
{
    struct resource *x = context;
    if (x->dead) {
        return LOCKD_E_SYSTEM;
    }
    x->size = 0;
    put(x, text, size);
    x->exists = true;
    x->synced = x->size;
    return LOCKD_OK;
}

static enum lockd_rc disk_append(void *context, const char *text, size_t size)
{
    struct resource *x = context;
    if (x->dead) {
        return LOCKD_E_SYSTEM;
    }
    put(x, text, size);
    return LOCKD_OK;
}

static enum lockd_rc disk_sync(void *context)
{
    struct resource *x = context;
    x->dead = x->dead || chance_percent(&x->rng, DIES_IN_SYNC_PERCENT);
    if (x->dead) {
        return LOCKD_E_SYSTEM;
    }
    x->synced = x->size;
    return LOCKD_OK;
}

static void disk_close(void *context)
{
    (void)context;
}

/* ------------------------------------------------------------------------ life */

static void boot(struct world *w, struct resource *x)
{
    const struct fence_disk disk = {.context = x,
                                    .read = disk_read,
                                    .replace = disk_replace,
                                    .append = disk_append,
                                    .sync = disk_sync,
                                    .close = disk_close};
    const struct lockd_fence_options options = {.size = sizeof options, .names_max = MARKS_MAX};
    x->dead = false;
    const enum lockd_rc rc = fence_open(&disk, &options, &x->fence);
    if (rc == LOCKD_E_SYSTEM) { /* It died again meanwhile. */
        x->fence = NULL;
    } else if (rc != LOCKD_OK) {
        world_fail(w, "fence", "the fence can't be opened: %s", lockd_strerror(rc));
    }
}

/* Of what was not synced some octets are there, or none. */
static void die(struct resource *x)
{
    x->dead = true;
    lockd_fence_close(x->fence);
    x->fence = NULL;
    sometimes_if(x->size > x->synced, fence_loses);
    if (x->size > x->synced) {
        x->size = x->synced + rng_below(&x->rng, x->size - x->synced);
        x->synced = x->size;
    }
}

static void on_death(struct world *w, const struct event *event)
{
    struct resource *x = w->agents->resource;
    if (!w->healed) {
        die(x);
        boot(w, x);
        world_at(w, w->now_us + rng_below(&x->rng, DIES_EVERY_US_MAX), *event);
    }
}

/* ---------------------------------------------------------------------- access */

static void check_refused(struct world *w, const struct resource *x, const char *name,
                          uint64_t token)
{
    const uint64_t mark = lockd_fence_mark(x->fence, name);
    sometimes_if(mark > token, fence_refuses);
    sometimes_if(mark == 0, fence_floor_refuses);
    if (token >= (mark != 0 ? mark : lockd_fence_floor(x->fence))) {
        world_fail(w, "fence", "token %" PRIu64 " of %s is refused, and no higher one was seen",
                   token, name);
    }
}

static void on_access(struct world *w, const struct event *event)
{
    struct resource *x = w->agents->resource;
    const uint64_t token = event->b;
    char name[AGENT_NAME_MAX];
    if (x->fence == NULL) {
        boot(w, x);
        return;
    }
    agent_name(agent_names[event->a], name);
    const enum lockd_rc rc = lockd_fence_check(x->fence, name, token);
    if (rc == LOCKD_E_SYSTEM) {
        die(x);
        boot(w, x);
    } else if (rc == LOCKD_E_STALE) {
        check_refused(w, x, name, token);
    } else if (rc != LOCKD_OK || token < x->accepted[event->a]) {
        world_fail(w, "fence",
                   "the fence says `%s' to token %" PRIu64 " of %s behind token %" PRIu64,
                   lockd_strerror(rc), token, name, x->accepted[event->a]);
    } else {
        x->accepted[event->a] = token;
        sometimes_if(lockd_fence_floor(x->fence) > x->floor, fence_evicts);
        x->floor = lockd_fence_floor(x->fence);
    }
}

void resource_use(struct world *w, uint32_t name, uint64_t token)
{
    struct resource *x = w->agents->resource;
    const uint64_t late_us = chance_percent(&x->rng, 60) ? SOON_US_MAX : LATE_US_MAX;
    world_at(w, w->now_us + rng_below(&x->rng, late_us),
             (struct event){.run = on_access, .a = name, .b = token});
}

void resource_start(struct world *w)
{
    struct resource *x = sim_allocate(sizeof *x);
    *x = (struct resource){
        .rng = {.state = w->seed * UINT64_C(0x9e3779b97f4a7c15) ^ 0x66656e6365}};
    w->agents->resource = x;
    boot(w, x);
    if (w->plan.faults != 0) {
        world_at(w, rng_below(&x->rng, DIES_EVERY_US_MAX), (struct event){.run = on_death});
    }
}

void resource_stop(struct world *w)
{
    struct resource *x = w->agents->resource;
    x->dead = true;
    lockd_fence_close(x->fence);
    free(x->text);
    free(x);
}
