/* SPDX-License-Identifier: Apache-2.0
 *
 * happening.c -- see happening.h.
 */
#include "libclient/happening.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(offsetof(struct happening, public) == 0, "lockd_event_free() frees the block");

void lockd_event_free(struct lockd_event *event)
{
    free(event); /* What it points at is part of the same block. */
}

static enum lockd_change change_of(enum wire_change change)
{
    switch (change) {
    case WIRE_CREATED:
        return LOCKD_CREATED;
    case WIRE_WRITTEN:
        return LOCKD_WRITTEN;
    case WIRE_DELETED:
        return LOCKD_DELETED;
    case WIRE_ACL_CHANGED:
        return LOCKD_ACL_CHANGED;
    case WIRE_GRANTED:
        return LOCKD_GRANTED;
    case WIRE_RELEASED:
        return LOCKD_RELEASED;
    case WIRE_CONTENDED:
        return LOCKD_CONTENDED;
    case WIRE_GAP:
        return LOCKD_GAP;
    case WIRE_NO_CHANGE:
        break;
    }
    assert(false); /* wire_parse_notification() has refused it. */
    return LOCKD_GAP;
}

static bool is_of_lock(enum wire_change change)
{
    return change == WIRE_GRANTED || change == WIRE_RELEASED || change == WIRE_CONTENDED;
}

static const char *copy_text(char **at, struct wire_text text)
{
    char *copy = *at;
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = 0;
    *at += text.size + 1;
    return copy;
}

static void set_session(struct happening *h, uint64_t session)
{
    for (int i = WIRE_SESSION_ID - 1; i >= 0; i--, session >>= 4) {
        h->session[i] = "0123456789abcdef"[session & 15];
    }
}

struct happening *happening_new(const struct wire_event *event)
{
    const size_t octets =
        sizeof(struct happening) + event->name.size + event->content.size + event->old.size + 3;
    struct happening *h = calloc(1, octets);
    if (h == NULL) {
        return NULL;
    }
    char *at = h->data;
    list_init(&h->at);
    h->octets = octets;
    h->public = (struct lockd_event){
        .change = change_of(event->change),
        .revision = event->revision,
        .first_revision = event->count > 1 ? event->first_revision : event->revision,
        .count = event->count > 1 ? event->count : 1,
        .name = copy_text(&at, event->name),
        .kind = event->kind == WIRE_DIRECTORY ? LOCKD_DIRECTORY : LOCKD_FILE,
        .ephemeral = event->ephemeral,
        .instance = event->instance,
        .modified_ms = event->modified_ms,
        .generation = event->generation,
        .size = event->size,
        .session = h->session,
        .mode = event->mode == WIRE_SHARED ? LOCKD_SHARED : LOCKD_EXCLUSIVE,
        .token = event->token,
        .failed = event->failed,
        .delay_ms = event->delay_ms,
        .content_size = event->content.size,
        .old_size = event->old.size,
    };
    if (is_of_lock(event->change)) {
        set_session(h, event->session);
    }
    const char *content = copy_text(&at, event->content);
    const char *old = copy_text(&at, event->old);
    h->public.content = event->has_content ? content : NULL;
    h->public.old_content = event->has_old ? old : NULL;
    return h;
}
