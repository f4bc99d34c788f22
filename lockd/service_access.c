/* SPDX-License-Identifier: Apache-2.0
 *
 * service_access.c -- who may see what: reads, lists of locks, events.
 *
 * What a command may do is judged where it applies, by lease/.  What is only looked at
 * is judged here, by the same rule and by the very state that is shown: whoever lost a
 * right sees nothing from the state in which that was written.
 *
 * A principal is one of a listener, so there are few of them, and whatever waits
 * bears a number instead of a name.
 */
#include "lockd/service_internal.h"

#include "paxos/base/hash.h"
#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* --------------------------------------------------------------- principals */

uint32_t access_principal(struct service *s, struct bytes principal)
{
    struct access *all = &s->access;
    for (uint32_t i = 0; i < all->count; i++) {
        if (bytes_equal(all->principals[i], principal)) {
            return i;
        }
    }
    all->principals = table_grow(s, all->principals, all->count, &all->capacity,
                                 (size_t)all->count + 1, sizeof *all->principals);
    uint8_t *name = table_new(s, principal.size, 1);
    if (principal.size > 0) {
        memcpy(name, principal.data, principal.size);
    }
    all->principals[all->count] = bytes_of(name, principal.size);
    return all->count++;
}

struct bytes access_name(const struct service *s, uint32_t principal)
{
    assert(principal < s->access.count);
    return s->access.principals[principal];
}

void access_free(struct service *s)
{
    struct access *all = &s->access;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct bytes name = all->principals[i];
        table_free(s, (void *)(uintptr_t)name.data, name.size, 1);
    }
    table_free(s, all->principals, all->capacity, sizeof *all->principals);
}

/* -------------------------------------------------------------------- reading */

enum lease_rc access_read(const struct service *s, uint32_t principal, struct bytes path)
{
    return lease_is_open(s->lease)
               ? LEASE_OK
               : lease_may(s->lease, path, access_name(s, principal), LEASE_READ);
}

enum lease_rc access_acl(const struct service *s, uint32_t principal, struct bytes path)
{
    const enum lease_rc may =
        lease_may(s->lease, path, access_name(s, principal), LEASE_CHANGE);
    return may == LEASE_OK ? may : access_read(s, principal, path);
}

bool access_lock(const struct service *s, uint32_t principal, struct bytes path)
{
    return mutant(locks_listed_to_all) || access_read(s, principal, path) == LEASE_OK;
}

/* --------------------------------------------------------------------- events */

/* Where an answer is remembered; another one there is forgotten. */
static struct access_memo *memo_of(struct service *s, uint32_t principal, struct bytes acl)
{
    const uint64_t hash = hash64(acl.data, acl.size) + principal;
    return &s->access.memos[hash % ACCESS_MEMOS];
}

bool access_event(struct service *s, uint32_t principal, const struct lease_event *event)
{
    const struct bytes acl = event->acl_read;
    if (acl.size == 0 || mutant(watch_without_rights)) {
        return true;
    }
    assert(acl.size <= LEASE_ACL_NAME_MAX);
    struct access_memo *memo = memo_of(s, principal, acl);
    if (memo->turn != s->watches.turn || memo->principal != principal ||
        !bytes_equal(bytes_of(memo->acl, memo->acl_size), acl)) {
        *memo = (struct access_memo){
            .turn = s->watches.turn,
            .principal = principal,
            .acl_size = (uint8_t)acl.size,
            .listed = lease_acl_lists(s->lease, acl, access_name(s, principal)),
        };
        memcpy(memo->acl, acl.data, acl.size);
    }
    return memo->listed;
}

/* --------------------------------------------------------------------- the bug */

/* Of an open it depends on the node whether it changes anything. */
static enum lease_right right_to_open(const struct service *s,
                                      const struct service_request *request, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    const bool changes = lease_get(s->lease, path, &stat, &content) == LEASE_OK
                             ? stat.ephemeral
                             : request->kind != 0;
    return changes ? LEASE_WRITE : LEASE_READ;
}

/* What was judged when it was proposed is wrong by the time it applies. */
bool access_judged_early(const struct service *s, const struct service_request *request,
                         struct bytes path)
{
    if (!mutant(acl_checked_early) || s->epoch == 0) {
        return false;
    }
    enum lease_right right = LEASE_WRITE;
    if (request->op == SERVICE_NODE_OPEN) {
        right = right_to_open(s, request, path);
    } else if (request->op == SERVICE_SET_ACL) {
        right = LEASE_CHANGE;
    } else if (request->op != SERVICE_PUT && request->op != SERVICE_CREATE &&
               request->op != SERVICE_DELETE && request->op != SERVICE_LOCK_ACQUIRE) {
        return false; /* What somebody has he may give back. */
    }
    return lease_may(s->lease, path, request->principal, right) == LEASE_DENIED;
}
