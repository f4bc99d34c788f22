/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway_watch.c -- watches and events in the words of the other side.
 */
#include "lockd/gateway_internal.h"

#include <assert.h>

static_assert((int)WIRE_WATCHES_MAX == (int)SERVICE_WATCHES_PAGE, "a page that is read is set");
static_assert((int)SERVICE_INVALIDATE_MAX <= (int)WIRE_INVALIDATE_MAX &&
                  (int)SERVICE_INVALIDATE_MAX <= (int)LEASE_LIST_MAX,
              "there is room for the names of an invalidation");
static_assert((int)WIRE_SCOPE_NODE == (int)SERVICE_SCOPE_NODE &&
                  (int)WIRE_SCOPE_CHILDREN == (int)SERVICE_SCOPE_CHILDREN &&
                  (int)WIRE_SCOPE_SUBTREE == (int)SERVICE_SCOPE_SUBTREE,
              "scopes have the same numbers on both sides");
static_assert((int)WIRE_WATCH_CONTENT == (int)SERVICE_WATCH_CONTENT &&
                  (int)WIRE_WATCH_CHILD == (int)SERVICE_WATCH_CHILD &&
                  (int)WIRE_WATCH_ACL == (int)SERVICE_WATCH_ACL &&
                  (int)WIRE_WATCH_LOCK == (int)SERVICE_WATCH_LOCK &&
                  (int)WIRE_WATCH_DELETE == (int)SERVICE_WATCH_DELETE &&
                  (int)WIRE_WATCH_CONFLICT == (int)SERVICE_WATCH_CONFLICT &&
                  (int)WIRE_WATCHED_ALL == (int)SERVICE_WATCH_ALL,
              "so have the bits of what is watched");

/* ----------------------------------------------------------------- requests */

void gateway_take_watches(struct gateway *g, const struct wire_request *in,
                          struct service_request *out)
{
    assert(in->watches_count <= SERVICE_WATCHES_PAGE);
    assert(in->unwatch_count <= SERVICE_WATCHES_PAGE);
    for (uint32_t i = 0; i < in->watches_count; i++) {
        const struct wire_watch *w = &in->watches[i];
        g->watches[i] = (struct service_watch){
            .watch = w->watch,
            .name = gateway_bytes(w->name),
            .scope = (enum service_scope)w->scope,
            .watched = w->watched,
            .from = w->from,
            .if_instance = w->if_instance,
            .content = w->content,
            .old = w->old,
        };
    }
    out->watches = g->watches;
    out->watches_count = in->watches_count;
    out->unwatch = in->unwatch;
    out->unwatch_count = in->unwatch_count;
}

/* ------------------------------------------------------------------- events */

static enum wire_change change_of(enum lease_change change)
{
    switch (change) {
    case LEASE_CREATED:
        return WIRE_CREATED;
    case LEASE_WRITTEN:
        return WIRE_WRITTEN;
    case LEASE_DELETED:
        return WIRE_DELETED;
    case LEASE_ACL_CHANGED:
        return WIRE_ACL_CHANGED;
    case LEASE_GRANTED:
        return WIRE_GRANTED;
    case LEASE_RELEASED:
        return WIRE_RELEASED;
    case LEASE_CONTENDED:
        return WIRE_CONTENDED;
    }
    assert(false && "history has no other change");
    return WIRE_NO_CHANGE;
}

/* Does a change of this kind come with a content, and with an old one? */
static bool gives_content(const struct lease_event *e)
{
    return e->kind == LEASE_FILE && (e->change == LEASE_CREATED || e->change == LEASE_WRITTEN);
}

static bool gives_old(const struct lease_event *e)
{
    return e->kind == LEASE_FILE && (e->change == LEASE_WRITTEN || e->change == LEASE_DELETED);
}

void gateway_event_head(const struct service_event *in, struct wire_buffer *head)
{
    assert(in->kind == SERVICE_EVENT_CHANGE);
    wire_print_event_head(head, in->watch);
}

void gateway_event_tail(struct gateway *g, const struct service_event *in,
                        struct wire_buffer *tail)
{
    const struct lease_event *e = in->change;
    assert(in->kind == SERVICE_EVENT_CHANGE && e != NULL);
    assert(in->count >= 1 && in->first_revision <= in->revision);
    const struct wire_event event = {
        .change = change_of(e->change),
        .revision = in->revision,
        .first_revision = in->first_revision,
        .count = in->count,
        .name = gateway_name(g, e->path, g->names[0]),
        .kind = e->kind == LEASE_DIRECTORY ? WIRE_DIRECTORY : WIRE_FILE,
        .instance = e->instance,
        .modified_ms = e->wall_ms,
        .generation = e->generation,
        .size = e->content_size,
        .ephemeral = e->ephemeral,
        .session = e->session,
        .mode = gateway_mode(e->mode),
        .token = e->token,
        .failed = e->failed,
        .delay_ms = e->delay_ms,
        .wants_content = in->content && gives_content(e),
        .has_content = in->content && e->has_content,
        .content = gateway_octets(e->content),
        .wants_old = in->old && gives_old(e),
        .has_old = in->old && e->has_old,
        .old = gateway_octets(e->old),
    };
    wire_print_event_tail(tail, &event);
}

static void put_invalidate(struct gateway *g, const struct service_event *in,
                           struct wire_notification *out)
{
    assert(in->names_count <= SERVICE_INVALIDATE_MAX);
    for (uint32_t i = 0; i < in->names_count; i++) {
        g->invalid[i] = gateway_name(g, in->names[i], g->names[i]);
    }
    out->notice = WIRE_CACHE_INVALIDATE;
    out->session = in->session;
    out->number = in->number;
    out->names = g->invalid;
    out->names_count = in->names_count;
}

void gateway_event(struct gateway *g, const struct service_event *in, const char *principal,
                   struct wire_buffer *out)
{
    struct wire_notification n = {.notice = WIRE_NO_NOTICE};
    switch (in->kind) {
    case SERVICE_EVENT_GAP:
        n.notice = WIRE_WATCH_EVENT;
        n.watch = in->watch;
        n.event = (struct wire_event){.change = WIRE_GAP, .revision = in->revision};
        break;
    case SERVICE_EVENT_PROGRESS:
        n.notice = WIRE_WATCH_PROGRESS;
        n.revision = in->revision;
        break;
    case SERVICE_EVENT_END:
        n.notice = WIRE_WATCH_END;
        if (in->master != 0 && in->master != g->config.self) {
            n.master = gateway_text(
                g->config.client_address(g->config.context, in->master, principal));
            n.master_id = n.master.size > 0 ? in->master : 0;
        }
        break;
    case SERVICE_EVENT_INVALIDATE:
        put_invalidate(g, in, &n);
        break;
    case SERVICE_EVENT_CHANGE:
        assert(false && "a change has a head and a tail");
        return;
    }
    wire_print_notification(out, &n);
}
