/* SPDX-License-Identifier: Apache-2.0 */
#include "lease/opener.h"

#include "paxos/base/pure.h"

static int owner_compare(uint64_t instance, uint64_t handle, const struct opener *opener)
{
    const uint64_t other = opener->node->record.key.id;
    if (instance != other) {
        return instance > other ? 1 : -1;
    }
    return (handle > opener->handle) - (handle < opener->handle);
}

struct opener *opener_find(const struct session *session, uint64_t instance, uint64_t handle)
{
    struct tree_link *link = session->opens.root;
    while (link != NULL) {
        const int order = owner_compare(instance, handle, opener_owned(link));
        if (order == 0) {
            return opener_owned(link);
        }
        link = link->child[order > 0];
    }
    return NULL;
}

struct opener *opener_first(const struct session *session)
{
    struct tree_link *link = tree_first(&session->opens);
    return link == NULL ? NULL : opener_owned(link);
}

struct opener *opener_new(struct lease *l)
{
    struct opener *opener = memory_take(l, sizeof *opener);
    memset(opener, 0, sizeof *opener);
    return opener;
}

void opener_release(struct lease *l, struct opener *opener)
{
    memory_give(l, opener, sizeof *opener);
}

bool opener_link(struct lease *l, struct opener *opener)
{
    struct session *session = opener->session;
    struct tree_place place = tree_root_place(&session->opens);
    while (*place.at != NULL) {
        const int order =
            owner_compare(opener->node->record.key.id, opener->handle, opener_owned(*place.at));
        if (order == 0) {
            return false;
        }
        place = tree_below(place, order > 0);
    }
    tree_insert(&session->opens, place, &opener->by_owner);
    session->opens_count++;

    struct node *node = opener->node;
    opener->next = node->openers;
    if (node->openers != NULL) {
        node->openers->prev = opener;
    }
    node->openers = opener;
    l->counts.opens++;
    return true;
}

void opener_open(struct lease *l, struct node *node, struct session *session, uint64_t handle)
{
    assert(node->ephemeral);
    struct opener *opener = opener_new(l);
    opener->node = node;
    opener->session = session;
    opener->handle = handle;
    const bool linked = opener_link(l, opener);
    assert(linked);

    const uint64_t number = next_number(&l->counters.openers);
    l->counters_moved = true;
    record_added(l, &opener->record,
                 (struct record_key){RECORD_OPENER, node->record.key.id, number});
}

void opener_close(struct lease *l, struct opener *opener)
{
    struct session *session = opener->session;
    assert(session->opens_count > 0 && l->counts.opens > 0);
    tree_remove(&session->opens, &opener->by_owner);
    session->opens_count--;
    l->counts.opens--;

    if (opener->prev == NULL) {
        opener->node->openers = opener->next;
    } else {
        opener->prev->next = opener->next;
    }
    if (opener->next != NULL) {
        opener->next->prev = opener->prev;
    }
    record_removed(l, &opener->record);
}

/* u8 version | u64 session | u64 handle. */
void opener_encode(const struct opener *opener, struct writer *w)
{
    write_u8(w, RECORD_VERSION);
    write_u64(w, opener->session->record.key.id);
    write_u64(w, opener->handle);
}
