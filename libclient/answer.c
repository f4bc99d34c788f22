/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.c -- see answer.h.
 */
#include "libclient/answer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(offsetof(struct answer, public) == 0, "lockd_answer_free() frees the block");

struct answer *answer_new(lockd_done *done, void *context)
{
    struct answer *a = calloc(1, sizeof *a);
    if (a != NULL) {
        a->done = done;
        a->context = context;
        a->public.detail = a->detail;
        a->owners = 1;
        a->event.kind = EVENT_ANSWER;
        list_init(&a->event.at);
    }
    return a;
}

/* What it points at is part of the same block. */
void lockd_answer_free(struct lockd_answer *answer)
{
    struct answer *a = (struct answer *)answer;
    if (a != NULL && __atomic_sub_fetch(&a->owners, 1, __ATOMIC_ACQ_REL) == 0) {
        free(a);
    }
}

void answer_free(struct answer *a)
{
    if (a != NULL) {
        list_remove(&a->event.at);
        lockd_answer_free(&a->public);
    }
}

void answer_detail(struct answer *a, struct wire_text text)
{
    const size_t size = text.size < sizeof a->detail ? text.size : sizeof a->detail - 1;
    if (size > 0) {
        memcpy(a->detail, text.data, size);
    }
    a->detail[size] = 0;
}

/* -------------------------------------------------------------------- fill */

/* Cuts pieces off the block's end.  Structs come before octets, so they are
 * aligned as the block is. */
struct carver {
    char *at;
};

static void *carve(struct carver *c, size_t size)
{
    char *at = c->at;
    c->at += size;
    return at;
}

static const char *carve_text(struct carver *c, struct wire_text text)
{
    char *copy = carve(c, text.size + 1);
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = 0;
    return copy;
}

static size_t claim_room(const struct wire_claim *claim)
{
    return sizeof(struct lockd_claim) + claim->label.size + 1 + WIRE_SESSION_ID + 1;
}

static size_t acl_room(const struct wire_reply *r)
{
    size_t size = sizeof(struct lockd_acl);
    for (size_t i = 0; i < WIRE_RIGHTS; i++) {
        size += r->acl[i].size + 1;
    }
    return size;
}

static size_t room(const struct wire_reply *r)
{
    size_t size = r->has_content ? r->content.size + 1 : 0;
    size += r->has_acl ? acl_room(r) : 0;
    for (uint32_t i = 0; i < r->children_count; i++) {
        size += sizeof(struct lockd_entry) + r->children[i].name.size + 1;
    }
    for (uint32_t i = 0; i < r->locks_count; i++) {
        const struct wire_lock *lock = &r->locks[i];
        size += sizeof(struct lockd_claims) + lock->name.size + 1;
        for (uint32_t j = 0; j < lock->claims_count; j++) {
            size += claim_room(&lock->claims[j]);
        }
    }
    return size + (r->holder != NULL ? claim_room(r->holder) : 0);
}

static struct lockd_stat stat_of(const struct wire_stat *s)
{
    return (struct lockd_stat){
        .kind = s->kind == WIRE_DIRECTORY ? LOCKD_DIRECTORY : LOCKD_FILE,
        .instance = s->instance,
        .generation = s->generation,
        .lock_generation = s->lock_generation,
        .acl_generation = s->acl_generation,
        .checksum = s->checksum,
        .revision = s->revision,
        .modified_ms = s->modified_ms,
        .size = s->size,
        .children = s->children,
        .lock_token = s->lock_token,
        .ephemeral = s->ephemeral,
    };
}

static void fill_entries(struct answer *a, struct carver *c, const struct wire_reply *r)
{
    struct lockd_entry *entries = carve(c, r->children_count * sizeof *entries);
    for (uint32_t i = 0; i < r->children_count; i++) {
        entries[i] = (struct lockd_entry){.name = carve_text(c, r->children[i].name),
                                          .stat = stat_of(&r->children[i].stat),
                                          .denied = r->children[i].denied};
    }
    a->public.entries = entries;
    a->public.entries_count = r->children_count;
}

static const char *carve_hex(struct carver *c, uint64_t number)
{
    char *text = carve(c, WIRE_SESSION_ID + 1);
    for (int i = WIRE_SESSION_ID - 1; i >= 0; i--, number >>= 4) {
        text[i] = "0123456789abcdef"[number & 15];
    }
    text[WIRE_SESSION_ID] = 0;
    return text;
}

/* Beside `claim`, which has been cut off already. */
static void fill_claim(struct carver *c, const struct wire_claim *w, struct lockd_claim *claim)
{
    *claim = (struct lockd_claim){
        .held = w->held,
        .delayed = w->delayed,
        .mode = w->mode == WIRE_SHARED ? LOCKD_SHARED : LOCKD_EXCLUSIVE,
        .session = carve_hex(c, w->session),
        .label = carve_text(c, w->label),
        .token = w->token,
        .since_ms = w->since_ms,
        .delay_ms = w->delay_ms,
        .left_ms = w->left_ms,
    };
}

static void fill_locks(struct answer *a, struct carver *c, const struct wire_reply *r)
{
    size_t claims_count = 0;
    for (uint32_t i = 0; i < r->locks_count; i++) {
        claims_count += r->locks[i].claims_count;
    }
    struct lockd_claims *locks = carve(c, r->locks_count * sizeof *locks);
    struct lockd_claim *claims = carve(c, claims_count * sizeof *claims);
    for (uint32_t i = 0; i < r->locks_count; i++) {
        const struct wire_lock *lock = &r->locks[i];
        for (uint32_t j = 0; j < lock->claims_count; j++) {
            fill_claim(c, &lock->claims[j], &claims[j]);
        }
        locks[i] = (struct lockd_claims){.name = carve_text(c, lock->name),
                                         .claims = claims,
                                         .count = lock->claims_count,
                                         .more = lock->more};
        claims += lock->claims_count;
    }
    a->public.locks = locks;
    a->public.locks_count = r->locks_count;
    a->public.next = r->next_instance;
}

/* Into `acl`, which has been cut off already. */
static void fill_acl(struct answer *a, struct carver *c, const struct wire_reply *r,
                     struct lockd_acl *acl)
{
    acl->read = carve_text(c, r->acl[0]);
    acl->write = carve_text(c, r->acl[1]);
    acl->change = carve_text(c, r->acl[2]);
    a->public.acl = acl;
}

static enum lockd_level level_of(enum wire_level level)
{
    switch (level) {
    case WIRE_LINEARIZABLE:
        return LOCKD_LINEARIZABLE;
    case WIRE_LEASE:
        return LOCKD_LEASE;
    case WIRE_SEQUENTIAL:
        return LOCKD_SEQUENTIAL;
    case WIRE_STALE:
        break;
    }
    return LOCKD_STALE;
}

static struct answer *grow(struct answer *a, size_t size)
{
    assert(!list_linked(&a->event.at));
    struct answer *grown = realloc(a, sizeof *a + size);
    if (grown != NULL) {
        grown->public.detail = grown->detail;
        list_init(&grown->event.at);
    }
    return grown;
}

struct answer *answer_fill(struct answer *a, enum lockd_rc rc, const struct wire_reply *reply)
{
    a->public.rc = rc;
    a->public.epoch = reply->epoch;
    a->public.revision = reply->revision;
    a->public.slot = reply->slot;
    a->public.position = reply->position;
    a->public.has_stat = reply->has_stat;
    a->public.created = reply->created;
    a->public.more = reply->more;
    a->public.valid = reply->valid;
    a->public.level = level_of(reply->level);
    a->public.has_age = reply->has_age;
    a->public.age_ms = reply->age_ms;
    a->public.left_ms = reply->left_ms;
    answer_detail(a, reply->message);
    if (reply->has_stat) {
        a->public.stat = stat_of(&reply->stat);
    }
    const size_t size = room(reply);
    if (size == 0) {
        return a;
    }
    struct answer *grown = grow(a, size);
    if (grown == NULL) {
        a->public.rc = LOCKD_E_NO_MEMORY;
        return a;
    }
    struct carver c = {.at = grown->data};
    /* Structs first, all of them, and then the octets. */
    struct lockd_claim *holder = carve(&c, reply->holder != NULL ? sizeof *holder : 0);
    struct lockd_acl *acl = carve(&c, reply->has_acl ? sizeof *acl : 0);
    fill_entries(grown, &c, reply);
    fill_locks(grown, &c, reply);
    if (reply->holder != NULL) {
        fill_claim(&c, reply->holder, holder);
        grown->public.holder = holder;
    }
    if (reply->has_acl) {
        fill_acl(grown, &c, reply, acl);
    }
    if (reply->has_content) {
        grown->public.content = carve_text(&c, reply->content);
        grown->public.content_size = reply->content.size;
    }
    assert(c.at == grown->data + size);
    return grown;
}

/* --------------------------------------------------------------- kept and lent */

struct answer *answer_keep(enum lockd_rc rc, const struct wire_reply *reply)
{
    struct answer *a = answer_new(/* done= */ NULL, /* context= */ NULL);
    if (a == NULL) {
        return NULL;
    }
    a = answer_fill(a, rc, reply);
    if (a->public.rc != rc) {
        answer_free(a);
        return NULL;
    }
    a->public.cached = true;
    a->public.stat.lock_token = 0;
    a->public.stat.lock_generation = 0;
    return a;
}

struct answer *answer_copy(const struct answer *a, bool content)
{
    const bool whole = content && a->public.content != NULL;
    const size_t size = whole ? a->public.content_size + 1 : 0;
    struct answer *copy = malloc(sizeof *copy + size);
    if (copy == NULL) {
        return NULL;
    }
    copy->public = a->public;
    memcpy(copy->detail, a->detail, sizeof copy->detail);
    copy->owners = 1;
    copy->done = NULL;
    copy->context = NULL;
    copy->public.detail = copy->detail;
    copy->event.kind = EVENT_ANSWER;
    copy->public.content = NULL;
    copy->public.content_size = 0;
    list_init(&copy->event.at);
    if (whole) {
        memcpy(copy->data, a->public.content, size);
        copy->public.content = copy->data;
        copy->public.content_size = size - 1;
    }
    return copy;
}

void answer_date(struct answer *a, const struct position *now)
{
    a->public.epoch = now->epoch;
    a->public.revision = now->revision;
    a->public.slot = now->slot;
    a->public.position = now->index;
}

static bool is_dated(const struct answer *a, const struct position *now)
{
    return a->public.slot == now->slot && a->public.position == now->index &&
           a->public.revision == now->revision;
}

/* Owners grow under the client's mutex alone, so one that is the only owner there
 * stays so until it lends again. */
static bool is_lent(const struct answer *a)
{
    return __atomic_load_n(&a->owners, __ATOMIC_ACQUIRE) > 1;
}

struct lockd_answer *answer_lend(struct answer **kept, const struct position *now)
{
    struct answer *a = *kept;
    if (!is_dated(a, now)) {
        if (is_lent(a)) {
            a = answer_copy(a, /* content= */ true);
            if (a == NULL) {
                return NULL;
            }
            answer_free(*kept);
            *kept = a;
        }
        answer_date(a, now);
    }
    __atomic_add_fetch(&a->owners, 1, __ATOMIC_RELAXED);
    return &a->public;
}

size_t answer_octets(const struct answer *a)
{
    return a == NULL ? 0 : sizeof *a + a->public.content_size;
}
