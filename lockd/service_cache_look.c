/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache_look.c -- what a command may change.
 *
 * A command is looked at in the state that is applied, but takes effect in a later one.
 * What lies between are the commands that were admitted before it, in this order; so
 * their marks tell where the later state may differ:
 *
 *     node there, or not:   as applied, unless a mark says that it moves
 *     ephemeral, or not:    the same
 *     content, ACLs:        don't matter for what may change
 *
 * A command may change less than it is said to here, and never more.
 *
 *     PUT                    the node; its directory too, if it may be missing
 *     CREATE                 the node and its directory
 *     OPEN, ACQUIRE          the same, if they make what may be missing; else nothing
 *     SET_ACL                the node, and who may read what is missing in it
 *     DELETE                 the node and its directory ...
 *     RELEASE, CLOSE,        ... the same of each node that may end with it, because it
 *     CANCEL, TIMEOUT,       is ephemeral: and then of its directory, if that is
 *     DELAY_OVER, SESSION_*  ephemeral and may now be empty, and so on upwards
 *
 * Whatever changes below acl/ may change who may read, so all that anybody keeps.
 *
 * What is denied changes nothing, and so long as nothing is on its way that could change
 * that, it is looked at no further: else those who may do nothing could have everybody
 * forget everything, as often as they like.
 *
 * Who ends something without a name (a session and all that it has, a request that waits,
 * a node by its number) must see it in the applied state.  Only commands of the same
 * session can have given it to the session since; so while there are any it is blind,
 * and waits for them.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

bool caches_unseeing(const struct service *s)
{
    return s->caches.unseen > 0 || s->caches.unseen_slot > lease_position(s->lease).slot;
}

/* -------------------------------------------------------------------- marks */

static struct mark *mark_name(struct service *s, struct intent *intent,
                              struct cached_name *name)
{
    /* Marks of the one who looks stand in front. */
    struct mark *mark = name->marks;
    if (mark != NULL && mark->intent == intent) {
        return mark;
    }
    mark = table_new(s, 1, sizeof *mark);
    *mark = (struct mark){.intent = intent,
                          .name = name,
                          .next = intent->marks,
                          .name_next = name->marks,
                          .name_link = &name->marks};
    if (name->marks != NULL) {
        name->marks->name_link = &mark->name_next;
    }
    name->marks = mark;
    intent->marks = mark;
    name->uses++;
    s->caches.marks_count++;
    return mark;
}

void intent_unmark(struct service *s, struct intent *intent)
{
    while (intent->marks != NULL) {
        struct mark *mark = intent->marks;
        struct cached_name *name = mark->name;
        intent->marks = mark->next;
        *mark->name_link = mark->name_next;
        if (mark->name_next != NULL) {
            mark->name_next->name_link = mark->name_link;
        }
        name->moves -= mark->moves;
        name->below -= mark->below;
        table_free(s, mark, 1, sizeof *mark);
        s->caches.marks_count--;
        cached_name_leave(s, name);
    }
    intent->waits = 0;
}

bool mark_awaited(const struct service *s, const struct mark *mark)
{
    const struct cached_name *name = mark->name;
    if (name->awaited > 0 || name->kept != NULL) {
        return true;
    }
    if (name == s->caches.everything) {
        return s->caches.kept.count > 0;
    }
    return mark->below && (name->awaited_below > 0 || name->absent != NULL);
}

void cached_name_heard(struct service *s, struct cached_name *name)
{
    for (struct mark *mark = name->marks; mark != NULL; mark = mark->name_next) {
        if (mark->waits && !mark_awaited(s, mark)) {
            mark->waits = false;
            if (--mark->intent->waits == 0) {
                intent_consider(s, mark->intent);
            }
        }
    }
}

struct look {
    struct service *s;
    struct intent *intent;
};

static void mark_all(const struct look *look)
{
    struct cached_name *everything = look->s->caches.everything;
    mark_name(look->s, look->intent, everything);
    cache_invalidate(look->s, everything);
}

/* The node may change. */
static struct mark *mark_node(const struct look *look, struct bytes path)
{
    struct cached_name *name = cached_name_make(look->s, path);
    struct mark *mark = mark_name(look->s, look->intent, name);
    cache_invalidate(look->s, name);
    return mark;
}

/* It may be made, or end. */
static void mark_moves(const struct look *look, struct bytes path)
{
    struct mark *mark = mark_node(look, path);
    mark->name->moves += !mark->moves;
    mark->moves = true;
}

/* What is missing in it may become another's to know. */
static void mark_below(const struct look *look, struct bytes path)
{
    struct mark *mark = mark_node(look, path);
    mark->name->below += !mark->below;
    mark->below = true;
    cache_invalidate(look->s, mark->name);
}

static bool is_list(struct bytes path)
{
    static const char prefix[] = "acl/";
    return path.size >= sizeof prefix - 1 && memcmp(path.data, prefix, sizeof prefix - 1) == 0;
}

static void mark_rights(const struct look *look, struct bytes path)
{
    if (is_list(path) && !mutant(cache_kept_after_acl)) {
        mark_all(look);
    }
}

/* ----------------------------------------------------------------- the state */

static bool may_move(const struct look *look, struct bytes path)
{
    const struct cached_name *name = cached_name_find(look->s, path);
    return (name != NULL && name->moves > 0) || caches_unseeing(look->s);
}

static bool may_be_missing(const struct look *look, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    return lease_get(look->s->lease, path, &stat, &content) != LEASE_OK || may_move(look, path);
}

static bool may_be_ephemeral(const struct look *look, struct bytes path)
{
    struct lease_stat stat;
    struct bytes content;
    return may_move(look, path) ||
           (lease_get(look->s->lease, path, &stat, &content) == LEASE_OK && stat.ephemeral);
}

/* ----------------------------------------------------------------- commands */

static void look_at_making(const struct look *look, struct bytes path)
{
    mark_rights(look, path);
    mark_node(look, directory_of(path));
    if (!mutant(absence_not_invalidated)) {
        mark_moves(look, path);
    }
}

static void look_at_put(const struct look *look, struct bytes path)
{
    if (may_be_missing(look, path)) {
        look_at_making(look, path);
    } else {
        mark_rights(look, path);
        mark_node(look, path);
    }
}

static void look_at_end(const struct look *look, struct bytes path)
{
    bool ends = true;
    while (ends && path.size > 0) {
        mark_rights(look, path);
        mark_moves(look, path);
        mark_below(look, path);
        if (mutant(handoff_skips_caches)) {
            return;
        }
        path = directory_of(path);
        mark_node(look, path);
        ends = may_be_ephemeral(look, path);
    }
}

static void look_at_leaving(const struct look *look, struct bytes path)
{
    if (may_be_ephemeral(look, path)) {
        look_at_end(look, path);
    }
}

static void visit_leaving(void *context, struct bytes path)
{
    look_at_leaving(context, path);
}

static void look_at_rights(const struct look *look, struct bytes path)
{
    static const char lists[] = "acl";
    if (mutant(cache_kept_after_acl)) {
        return;
    }
    mark_rights(look, path);
    mark_below(look, path);
    if (bytes_equal(path, bytes_of(lists, sizeof lists - 1))) {
        mark_all(look);
    }
}

/* Are other commands of the session on their way?  The keeper's are of none. */
static bool has_others(const struct look *look, uint64_t session)
{
    const struct lane *lane = lane_find(look->s, session, /* one_shot= */ false);
    return (lane != NULL && lane->flying > 0) || caches_unseeing(look->s);
}

/* Are some held that came before it?  All that a session has is marked by the first only. */
static bool has_held(const struct look *look)
{
    const struct lane *lane = look->intent->lane;
    return lane != NULL && lane->held != NULL && lane->held != look->intent;
}

static void look_at_session(struct look *look, uint64_t session)
{
    look->intent->blind = has_others(look, session) || has_held(look);
    if (!look->intent->blind) {
        lease_ephemerals_visit(look->s->lease, session, visit_leaving, look);
    }
}

static void look_at_request(const struct look *look, uint64_t session, uint64_t request)
{
    uint8_t path[LEASE_PATH_MAX];
    size_t size;
    look->intent->blind = has_others(look, session);
    if (!look->intent->blind &&
        lease_claim_path(look->s->lease, session, request, path, &size)) {
        look_at_leaving(look, bytes_of(path, size));
    }
}

/* False: there is no such node yet. */
static bool look_at_instance(const struct look *look, uint64_t instance)
{
    uint8_t path[LEASE_PATH_MAX];
    size_t size;
    if (!lease_instance_path(look->s->lease, instance, path, &size)) {
        return false;
    }
    look_at_leaving(look, bytes_of(path, size));
    return true;
}

/* May the node at the path, or one above it, be another one when the command applies, or
 * have other ACLs, or may these list others? */
static bool is_unsettled(const struct look *look, struct bytes path)
{
    for (;; path = directory_of(path)) {
        const struct cached_name *name = cached_name_find(look->s, path);
        if (name != NULL && (name->moves > 0 || name->below > 0)) {
            return true;
        }
        if (path.size == 0) {
            return look->s->caches.everything->marks != NULL || caches_unseeing(look->s);
        }
    }
}

/* Is it certain that it will be denied what it would change? */
static bool is_denied(const struct look *look, const struct lease_command *c)
{
    const bool makes = (c->type == LEASE_CMD_OPEN && c->kind != 0) ||
                       (c->type == LEASE_CMD_ACQUIRE && c->create);
    const bool writes = makes || c->type == LEASE_CMD_PUT || c->type == LEASE_CMD_CREATE ||
                        c->type == LEASE_CMD_DELETE;
    if (!writes && c->type != LEASE_CMD_SET_ACL) {
        return false; /* What somebody has he may give back. */
    }
    return lease_may(look->s->lease, c->path, c->principal,
                     writes ? LEASE_WRITE : LEASE_CHANGE) == LEASE_DENIED &&
           !is_unsettled(look, c->path);
}

static void look_at(struct look *look, const struct lease_command *c)
{
    switch (c->type) {
    case LEASE_CMD_PUT:
        look_at_put(look, c->path);
        return;
    case LEASE_CMD_CREATE:
        look_at_making(look, c->path);
        return;
    case LEASE_CMD_OPEN:
    case LEASE_CMD_ACQUIRE:
        if ((c->type == LEASE_CMD_OPEN ? c->kind != 0 : c->create) &&
            may_be_missing(look, c->path)) {
            look_at_making(look, c->path);
        }
        return;
    case LEASE_CMD_DELETE:
        look_at_end(look, c->path);
        return;
    case LEASE_CMD_SET_ACL:
        look_at_rights(look, c->path);
        return;
    case LEASE_CMD_RELEASE:
        look_at_leaving(look, c->path);
        return;
    case LEASE_CMD_CLOSE: /* Its path is for people. */
        if (!look_at_instance(look, c->if_instance)) {
            look->intent->blind = has_others(look, c->session);
        }
        return;
    case LEASE_CMD_DELAY_OVER:
        look_at_instance(look, c->subject);
        return;
    case LEASE_CMD_CANCEL:
        look_at_request(look, c->session, c->subject_request);
        return;
    case LEASE_CMD_TIMEOUT:
        look_at_request(look, c->subject, c->subject_request);
        return;
    case LEASE_CMD_SESSION_CLOSE:
        look_at_session(look, c->session);
        return;
    case LEASE_CMD_SESSION_EXPIRE:
        look_at_session(look, c->subject);
        return;
    case LEASE_CMD_SESSION_OPEN:
    case LEASE_CMD_STRETCH:
        return;
    }
    assert(false && "a command of lease/");
}

void intent_look(struct service *s, struct intent *intent, const struct lease_command *command)
{
    assert(intent->marks == NULL && intent->waits == 0);
    struct look look = {.s = s, .intent = intent};
    intent->blind = false;
    if (!is_denied(&look, command)) {
        look_at(&look, command);
    }
    for (struct mark *mark = intent->marks; mark != NULL; mark = mark->next) {
        mark->waits = mark_awaited(s, mark) && !mutant(cache_ack_not_awaited);
        intent->waits += mark->waits;
    }
}
