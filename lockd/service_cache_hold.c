/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache_hold.c -- commands that wait until nobody keeps what they may change.
 *
 * While some session has declared a cache, each command has an intent: its marks, and its
 * place among those of its session.
 *
 *     arrives --> looked at --.--> admitted --> proposed --> applied, or refused: unmarked
 *                    ^        |
 *                    |        '--> held: somebody has to forget it first, or those of the
 *                    |               |   session that came before it are held themselves,
 *                    |               |   or it is blind, or a new master waits for all
 *                    '--- ready <----'
 *
 * What is held is looked at again when it may go: others were admitted meanwhile.  So the
 * order in which commands are looked at for the last time is their order in the log.
 *
 * A command of the keeper is not held, but postponed; what it may change stays marked
 * until the keeper brings it again, or does not because its session lives.
 */
#include "lockd/service_internal.h"

#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* ------------------------------------------------------------------- intents */

static struct intent *intent_new(struct service *s, enum lease_command_type type)
{
    struct intent *intent = table_new(s, 1, sizeof *intent);
    *intent = (struct intent){.type = (uint8_t)type};
    return intent;
}

static void intent_free(struct service *s, struct intent *intent)
{
    assert(!intent->held && !intent->ready && intent->octets == NULL);
    intent_unmark(s, intent);
    table_free(s, intent, 1, sizeof *intent);
}

void intents_free(struct service *s, struct intent *first)
{
    for (struct intent *intent = first, *next; intent != NULL; intent = next) {
        next = intent->next;
        intent_free(s, intent);
    }
}

/* Whoever gives up waiting is not held by those before him. */
static bool has_turn(const struct intent *intent)
{
    return intent->lane->held == intent || intent->type == LEASE_CMD_CANCEL;
}

static bool sees(const struct service *s, const struct intent *intent)
{
    return !intent->blind || (intent->lane->flying == 0 && !caches_unseeing(s));
}

static bool may_go(const struct service *s, const struct intent *intent)
{
    return intent->waits == 0 && s->caches.missing == 0 && has_turn(intent) && sees(s, intent);
}

void intent_consider(struct service *s, struct intent *intent)
{
    if (intent->lane == NULL) {
        s->judged.again_ms = 0;
        return;
    }
    if (!intent->held || intent->ready || !may_go(s, intent)) {
        return;
    }
    intent->ready = true;
    intent->ready_next = NULL;
    *s->caches.ready_end = intent;
    s->caches.ready_end = &intent->ready_next;
}

/* The first, and those who are not held by it. */
static void consider_lane(struct service *s, struct lane *lane, void *context)
{
    (void)context;
    for (struct intent *intent = lane->held; intent != NULL; intent = intent->next) {
        if (has_turn(intent)) {
            intent_consider(s, intent);
        }
    }
}

void intents_consider_all(struct service *s)
{
    s->judged.again_ms = 0;
    lanes_each(s, consider_lane, NULL);
}

/* --------------------------------------------------------------------- holding */

/* For the shell, with the next output. */
static void note_held(struct service *s, const struct pending *asker)
{
    struct caches *all = &s->caches;
    all->noted = table_grow(s, all->noted, all->noted_count, &all->noted_capacity,
                            (size_t)all->noted_count + 1, sizeof *all->noted);
    all->noted[all->noted_count++] =
        (struct service_held){.client = asker->client, .tag = asker->tag};
}

static void hold(struct service *s, struct intent *intent, const struct pending *asker,
                 const struct lease_command *command)
{
    struct lane *lane = intent->lane;
    intent->held = true;
    intent->pending = *asker;
    intent->octets = table_new(s, asker->size, 1);
    struct writer w = writer_over(intent->octets, asker->size);
    lease_command_encode(command, &w);
    assert(!w.failed && w.size == asker->size);

    intent->link = lane->held_end;
    *lane->held_end = intent;
    lane->held_end = &intent->next;
    s->caches.held++;
    s->caches.held_octets += asker->size;
    note_held(s, asker);
}

/* Out of its lane; who stood behind it may be the first now. */
static void let_go(struct service *s, struct intent *intent)
{
    struct lane *lane = intent->lane;
    *intent->link = intent->next;
    if (intent->next != NULL) {
        intent->next->link = intent->link;
    } else {
        lane->held_end = intent->link;
    }
    intent->next = NULL;
    intent->held = false;
    table_free(s, intent->octets, intent->pending.size, 1);
    intent->octets = NULL;
    s->caches.held--;
    s->caches.held_octets -= intent->pending.size;
}

/* Into the queue, in which there is room for all who are held. */
static void enter(struct service *s, struct intent *intent)
{
    intent->pending.intent = intent;
    uint8_t *at = pending_push(&s->queue, &intent->pending);
    assert(at != NULL);
    memcpy(at, intent->octets, intent->pending.size);
    intent->lane->flying++;
    let_go(s, intent);
    if (intent->lane->held != NULL) {
        intent_consider(s, intent->lane->held);
    }
}

static void look_again(struct service *s, struct intent *intent)
{
    struct reader r = reader_over(bytes_of(intent->octets, intent->pending.size));
    struct lease_command command;
    const bool decoded = lease_command_decode(&r, &command);
    assert(decoded); /* We encoded it. */
    (void)decoded;
    intent_unmark(s, intent);
    intent_look(s, intent, &command);
}

void cache_release(struct service *s)
{
    struct caches *all = &s->caches;
    if (!all->active && all->all == NULL) {
        return;
    }
    caches_pass_time(s);
    caches_sweep(s);
    while (all->ready != NULL) {
        struct intent *intent = all->ready;
        all->ready = intent->ready_next;
        all->ready_end = all->ready == NULL ? &all->ready : all->ready_end;
        intent->ready = false;
        if (may_go(s, intent)) {
            look_again(s, intent);
        }
        if (may_go(s, intent)) {
            enter(s, intent);
        }
    }
}

/* ------------------------------------------------------------------- admission */

/* Half of the queue is for those who need wait for nobody's cache; else who writes what he
 * keeps himself, and says nothing, could stop all others. */
static bool may_hold(const struct service *s, const struct pending *asker)
{
    return s->caches.held < s->queue.capacity / 2 &&
           s->caches.held_octets + asker->size <= s->queue.octets_max / 2;
}

static bool admit_request(struct service *s, struct pending *asker,
                          const struct lease_command *command)
{
    const bool one_shot = command->session == 0;
    struct intent *intent = intent_new(s, command->type);
    intent->lane = lane_make(s, one_shot ? asker->client : command->session, one_shot);
    intent_look(s, intent, command);
    const bool first = intent->lane->held == NULL || intent->type == LEASE_CMD_CANCEL;
    if (first && intent->waits == 0 && s->caches.missing == 0 && sees(s, intent)) {
        intent->lane->flying++;
        asker->intent = intent;
        return true;
    }
    if (may_hold(s, asker)) {
        hold(s, intent, asker, command);
        return false;
    }
    reply_add(s, asker->client, asker->tag, (enum service_op)asker->op, SERVICE_OVERLOADED);
    lane_leave(s, intent->lane);
    intent_free(s, intent);
    return false;
}

static bool admit_judged(struct service *s, const struct lease_command *command)
{
    if (command->type == LEASE_CMD_STRETCH) {
        return true; /* No node is touched by it. */
    }
    struct intent *intent = intent_new(s, command->type);
    intent_look(s, intent, command);
    const bool admitted = intent->waits == 0 && !intent->blind && s->caches.missing == 0;
    struct intent **list = admitted ? &s->caches.judged : &s->caches.wanted;
    intent->next = *list;
    *list = intent;
    return admitted;
}

bool cache_admit(struct service *s, struct pending *asker, const struct lease_command *command)
{
    static const char root[] = LEASE_ROOT;
    if (!s->caches.active) {
        return true;
    }
    if (asker == NULL) {
        return mutant(expiry_skips_caches) || admit_judged(s, command);
    }
    if (mutant(root_skips_caches) &&
        bytes_equal(command->principal, bytes_of(root, sizeof root - 1))) {
        return true;
    }
    return admit_request(s, asker, command);
}

bool cache_has_room(const struct service *s, size_t size)
{
    const struct pending_queue *q = &s->queue;
    return q->count + s->caches.held < q->capacity && s->caches.marks_count < CACHE_MARKS_MAX &&
           q->octets_max - q->octets.used >= s->caches.held_octets + size;
}

/* ------------------------------------------------------------------- outcomes */

void cache_settled(struct service *s, struct intent *intent)
{
    if (s->caches.unseen > 0) {
        s->caches.unseen--;
        if (!caches_unseeing(s)) {
            intents_consider_all(s);
        }
    }
    if (intent == NULL) {
        return;
    }
    struct lane *lane = intent->lane;
    intent_free(s, intent);
    assert(lane->flying > 0);
    if (--lane->flying == 0) {
        s->judged.again_ms = 0; /* One of the keeper's may have waited for it. */
        consider_lane(s, lane, NULL);
    }
    lane_leave(s, lane);
}

struct intent *intents_take_wanted(struct service *s)
{
    struct intent *wanted = s->caches.wanted;
    s->caches.wanted = NULL;
    return wanted;
}

void intents_proposed(struct service *s, uint64_t slot)
{
    while (s->caches.judged != NULL) {
        struct intent *intent = s->caches.judged;
        s->caches.judged = intent->next;
        intent->next = NULL;
        intent->slot = slot;
        *s->caches.flying_end = intent;
        s->caches.flying_end = &intent->next;
    }
}

/* The keeper's that have been applied. */
void intents_applied(struct service *s, uint64_t slot)
{
    struct caches *all = &s->caches;
    while (all->flying != NULL && all->flying->slot <= slot) {
        struct intent *intent = all->flying;
        all->flying = intent->next;
        all->flying_end = all->flying == NULL ? &all->flying : all->flying_end;
        intent_free(s, intent);
    }
}

/* ------------------------------------------------------------------------ loss */

static void refuse_lane(struct service *s, struct lane *lane, void *context)
{
    (void)context;
    while (lane->held != NULL) {
        struct intent *intent = lane->held;
        const struct pending p = intent->pending;
        if (p.op != 0) {
            reply_not_master(s, p.client, p.tag, (enum service_op)p.op);
        }
        intent->ready = false;
        let_go(s, intent);
        intent_free(s, intent);
    }
    lane_leave(s, lane);
}

void intents_lost(struct service *s)
{
    struct caches *all = &s->caches;
    all->ready = NULL;
    all->ready_end = &all->ready;
    lanes_each(s, refuse_lane, NULL);
    intents_free(s, all->judged);
    intents_free(s, all->flying);
    intents_free(s, all->wanted);
    all->judged = NULL;
    all->flying = NULL;
    all->flying_end = &all->flying;
    all->wanted = NULL;
}

/* ------------------------------------------------------------------ forgetting */

struct forgetting {
    bool (*forgotten)(const struct service *s, uint64_t client);
};

/* What they asked for runs on. */
static void forget_lane(struct service *s, struct lane *lane, void *context)
{
    const struct forgetting *forgetting = context;
    for (struct intent *intent = lane->held; intent != NULL; intent = intent->next) {
        if (forgetting->forgotten(s, intent->pending.client)) {
            intent->pending.op = 0;
        }
    }
}

void intents_forget(struct service *s,
                    bool (*forgotten)(const struct service *s, uint64_t client))
{
    if (s->caches.held > 0) {
        struct forgetting forgetting = {.forgotten = forgotten};
        lanes_each(s, forget_lane, &forgetting);
    }
}

/* ----------------------------------------------------------------------- check */

struct intent_sums {
    uint32_t held;
    uint64_t octets;
};

static void check_lane(const struct service *s, const struct lane *lane,
                       struct intent_sums *sums)
{
    for (const struct intent *intent = lane->held; intent != NULL; intent = intent->next) {
        uint32_t waits = 0;
        for (const struct mark *mark = intent->marks; mark != NULL; mark = mark->next) {
            assert(!mark->waits || mark_awaited(s, mark));
            waits += mark->waits;
        }
        assert(intent->held && *intent->link == intent && intent->lane == lane);
        assert(waits == intent->waits);
        assert(intent->ready || !may_go(s, intent)); /* Nobody is forgotten. */
        sums->held++;
        sums->octets += intent->pending.size;
    }
    assert(lane->held != NULL || lane->flying > 0);
}

void intents_check(const struct service *s)
{
    struct intent_sums sums = {0};
    struct chain_walk walk = {.chains = &s->caches.lanes};
    for (const struct chain_link *link; (link = chains_next(&walk)) != NULL;) {
        check_lane(s, CHAINED(link, const struct lane, by_key), &sums);
    }
    assert(sums.held == s->caches.held && sums.octets == s->caches.held_octets);
}
