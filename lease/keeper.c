/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.c -- deadlines of sessions, of acquires that wait, and of lock-delays.
 *
 * They are one thing: a time at which a command is to be proposed.  The entry of
 * a session bears request 0, those of its waits the request.  All stand in a tree
 * by their ids; those whose time runs stand in a heap besides, by deadline and id.
 * Not in the heap is what the time can't end: a session whose KeepAlive is being
 * answered, and whatever has been proposed.
 */
#include "lease/keeper.h"

#include "lease/tree.h"
#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

enum { HEAP_ROOM_FIRST = 64 };

#define NOT_IN_HEAP UINT32_MAX

struct entry_id {
    bool delay;    /* A lock-delay, else of a session. */
    uint64_t of;   /* The session; of a delay the node's instance. */
    uint64_t part; /* The request, 0: the session itself; of a delay the claim's number. */
};

struct entry {
    struct tree_link by_id;
    struct entry_id id;
    int64_t due;      /* Deadline, less what was added to all by then. */
    uint32_t place;   /* In the heap. */
    uint32_t reading; /* KeepAlives read and not yet answered. */
    bool proposed;    /* Its command is on the way, and decides. */
};

struct keeper {
    struct lease_allocator allocator;
    struct tree entries;
    struct entry **heap; /* The earliest first. */
    uint32_t heap_count;
    uint32_t heap_room;
    uint32_t entries_count;
    uint64_t away_ms; /* Added to all deadlines. */
    uint32_t drift_ppm;
};

static struct entry_id of_session(uint64_t session)
{
    return (struct entry_id){.of = session};
}

static struct entry_id of_wait(uint64_t session, uint64_t request)
{
    assert(request != 0);
    return (struct entry_id){.of = session, .part = request};
}

static struct entry_id of_delay(uint64_t instance, uint64_t number)
{
    return (struct entry_id){.delay = true, .of = instance, .part = number};
}

static int id_compare(struct entry_id a, struct entry_id b)
{
    if (a.delay != b.delay) {
        return a.delay ? 1 : -1;
    }
    if (a.of != b.of) {
        return a.of > b.of ? 1 : -1;
    }
    return (a.part > b.part) - (a.part < b.part);
}

/* ------------------------------------------------------------------ memory */

static void *take(struct keeper *k, size_t size)
{
    void *memory = k->allocator.allocate(k->allocator.context, size);
    if (memory == NULL) {
        k->allocator.exhausted(k->allocator.context);
    }
    return memory;
}

static void give(struct keeper *k, void *memory, size_t size)
{
    if (memory != NULL) {
        k->allocator.release(k->allocator.context, memory, size);
    }
}

/* -------------------------------------------------------------------- heap */

/* Equal deadlines in order of ids: the same on every run. */
static bool earlier(const struct entry *a, const struct entry *b)
{
    if (a->due != b->due) {
        return a->due < b->due;
    }
    return id_compare(a->id, b->id) < 0;
}

static void heap_put(struct keeper *k, uint32_t place, struct entry *entry)
{
    k->heap[place] = entry;
    entry->place = place;
}

static void heap_up(struct keeper *k, uint32_t place)
{
    struct entry *entry = k->heap[place];
    while (place > 0) {
        const uint32_t above = (place - 1) / 2;
        if (!earlier(entry, k->heap[above])) {
            break;
        }
        heap_put(k, place, k->heap[above]);
        place = above;
    }
    heap_put(k, place, entry);
}

static void heap_down(struct keeper *k, uint32_t place)
{
    struct entry *entry = k->heap[place];
    for (;;) {
        uint32_t below = 2 * place + 1;
        if (below >= k->heap_count) {
            break;
        }
        if (below + 1 < k->heap_count && earlier(k->heap[below + 1], k->heap[below])) {
            below++;
        }
        if (!earlier(k->heap[below], entry)) {
            break;
        }
        heap_put(k, place, k->heap[below]);
        place = below;
    }
    heap_put(k, place, entry);
}

static void heap_insert(struct keeper *k, struct entry *entry)
{
    assert(entry->place == NOT_IN_HEAP);
    assert(k->heap_count < k->heap_room);
    heap_put(k, k->heap_count++, entry);
    heap_up(k, entry->place);
}

static void heap_remove(struct keeper *k, struct entry *entry)
{
    if (entry->place == NOT_IN_HEAP) {
        return;
    }
    const uint32_t place = entry->place;
    struct entry *last = k->heap[--k->heap_count];
    entry->place = NOT_IN_HEAP;
    if (last != entry) {
        heap_put(k, place, last);
        heap_up(k, place);
        heap_down(k, last->place);
    }
}

/* The heap has room for every entry, so that putting one back never asks. */
static void heap_grow(struct keeper *k)
{
    if (k->entries_count < k->heap_room) {
        return;
    }
    const uint32_t room = k->heap_room == 0 ? HEAP_ROOM_FIRST : k->heap_room * 2;
    struct entry **heap = take(k, room * sizeof(struct entry *));
    if (k->heap_count > 0) {
        memcpy(heap, k->heap, k->heap_count * sizeof(struct entry *));
    }
    give(k, k->heap, k->heap_room * sizeof(struct entry *));
    k->heap = heap;
    k->heap_room = room;
}

/* ----------------------------------------------------------------- entries */

static struct entry *entry_of(struct tree_link *link)
{
    return link == NULL ? NULL : tree_entry(link, struct entry, by_id);
}

static struct entry *find(const struct keeper *k, struct entry_id id)
{
    struct tree_link *link = k->entries.root;
    while (link != NULL) {
        struct entry *entry = entry_of(link);
        const int order = id_compare(id, entry->id);
        if (order == 0) {
            return entry;
        }
        link = link->child[order > 0];
    }
    return NULL;
}

/* What begins is new; to say it twice starts it anew. */
static struct entry *find_or_add(struct keeper *k, struct entry_id id)
{
    struct tree_place place = tree_root_place(&k->entries);
    while (*place.at != NULL) {
        struct entry *entry = entry_of(*place.at);
        const int order = id_compare(id, entry->id);
        if (order == 0) {
            heap_remove(k, entry);
            return entry;
        }
        place = tree_below(place, order > 0);
    }
    heap_grow(k);
    struct entry *entry = take(k, sizeof *entry);
    *entry = (struct entry){.id = id, .place = NOT_IN_HEAP};
    tree_insert(&k->entries, place, &entry->by_id);
    k->entries_count++;
    return entry;
}

static void remove_entry(struct keeper *k, struct entry *entry)
{
    heap_remove(k, entry);
    tree_remove(&k->entries, &entry->by_id);
    k->entries_count--;
    give(k, entry, sizeof *entry);
}

static void start(struct keeper *k, struct entry_id id, uint64_t span_ms, uint64_t now_ms)
{
    struct entry *entry = find_or_add(k, id);
    entry->due = (int64_t)(now_ms + span_ms) - (int64_t)k->away_ms;
    entry->proposed = false;
    if (entry->reading == 0) {
        heap_insert(k, entry);
    }
}

static uint64_t deadline_ms(const struct keeper *k, const struct entry *entry)
{
    const int64_t deadline = entry->due + (int64_t)k->away_ms;
    assert(deadline >= 0);
    return (uint64_t)deadline;
}

/* -------------------------------------------------------------------- life */

struct keeper *keeper_new(const struct lease_allocator *allocator, uint32_t drift_ppm)
{
    struct keeper *k = allocator->allocate(allocator->context, sizeof *k);
    if (k == NULL) {
        allocator->exhausted(allocator->context);
    }
    *k = (struct keeper){.allocator = *allocator, .drift_ppm = drift_ppm};
    return k;
}

void keeper_end(struct keeper *k)
{
    struct tree_link *link = tree_first_leaf(&k->entries);
    while (link != NULL) {
        struct entry *entry = entry_of(link);
        link = tree_next_up(link);
        give(k, entry, sizeof *entry);
    }
    give(k, k->heap, k->heap_room * sizeof(struct entry *));
    *k = (struct keeper){.allocator = k->allocator, .drift_ppm = k->drift_ppm};
}

void keeper_free(struct keeper *k)
{
    if (k == NULL) {
        return;
    }
    const struct lease_allocator allocator = k->allocator;
    keeper_end(k);
    allocator.release(allocator.context, k, sizeof *k);
}

struct begin {
    struct keeper *keeper;
    uint64_t now_ms;
};

static void begin_wait(void *context, uint64_t session, uint64_t request, uint32_t wait_ms)
{
    const struct begin *begin = context;
    keeper_wait_begun(begin->keeper, session, request, wait_ms, begin->now_ms);
}

static void begin_delay(void *context, const struct lease_delay *delay)
{
    const struct begin *begin = context;
    struct lease_delay anew = *delay;
    anew.delay_ms = mutant(lock_delay_forgotten) ? 0 : anew.delay_ms;
    keeper_delay_begun(begin->keeper, &anew, begin->now_ms);
}

/* The longest that the old master may have promised the session. */
static uint32_t promised_ms(const struct lease *l, const struct lease_session *session)
{
    if (mutant(default_lease_after_election)) {
        return LEASE_SESSION_MS_MIN;
    }
    return mutant(stretch_not_recovered) ? session->lease_ms
                                         : lease_longest_ms(l, session->lease_ms);
}

void keeper_begin(struct keeper *k, const struct lease *l, uint64_t now_ms)
{
    keeper_end(k);
    for (uint64_t id = lease_session_next(l, 0); id != 0; id = lease_session_next(l, id)) {
        struct lease_session session;
        const bool found = lease_session_get(l, id, &session);
        assert(found);
        keeper_session_opened(k, id, promised_ms(l, &session), now_ms);
    }
    struct begin begin = {.keeper = k, .now_ms = now_ms};
    lease_waiting_visit(l, begin_wait, &begin);
    lease_delays_visit(l, begin_delay, &begin);
}

/* ------------------------------------------------------------------ applied */

void keeper_session_opened(struct keeper *k, uint64_t session, uint32_t lease_ms,
                           uint64_t now_ms)
{
    assert(session != 0);
    start(k, of_session(session), lease_ms, now_ms);
}

void keeper_session_closed(struct keeper *k, uint64_t session)
{
    struct entry *entry = find(k, of_session(session));
    while (entry != NULL && !entry->id.delay && entry->id.of == session) {
        /* Its waits are the next in the tree. */
        struct entry *next = entry_of(tree_next(&entry->by_id));
        remove_entry(k, entry);
        entry = next;
    }
}

void keeper_wait_begun(struct keeper *k, uint64_t session, uint64_t request, uint32_t wait_ms,
                       uint64_t now_ms)
{
    const struct entry_id id = of_wait(session, request);
    if (wait_ms != 0 && find(k, id) == NULL) { /* A retry joins, and adds nothing. */
        start(k, id, wait_ms, now_ms);
    }
}

void keeper_wait_ended(struct keeper *k, uint64_t session, uint64_t request)
{
    struct entry *entry = find(k, of_wait(session, request));
    if (entry != NULL) {
        remove_entry(k, entry);
    }
}

void keeper_delay_begun(struct keeper *k, const struct lease_delay *delay, uint64_t now_ms)
{
    const uint64_t drift_ms =
        ((uint64_t)delay->delay_ms * k->drift_ppm + (1000 * 1000 - 1)) / (1000 * 1000);
    start(k, of_delay(delay->instance, delay->number),
          delay->delay_ms + (mutant(delay_without_drift) ? 0 : drift_ms), now_ms);
}

void keeper_delay_ended(struct keeper *k, uint64_t instance, uint64_t number)
{
    struct entry *entry = find(k, of_delay(instance, number));
    if (entry != NULL) {
        remove_entry(k, entry);
    }
}

/* --------------------------------------------------------------- KeepAlives */

bool keeper_reading(struct keeper *k, uint64_t session)
{
    struct entry *entry = find(k, of_session(session));
    if (entry == NULL) {
        return true; /* It has ended; whoever answers will say so. */
    }
    if (entry->proposed) {
        return mutant(keepalive_while_expiring);
    }
    entry->reading++;
    heap_remove(k, entry);
    return true;
}

void keeper_answered(struct keeper *k, uint64_t session, uint32_t lease_ms, uint64_t now_ms)
{
    struct entry *entry = find(k, of_session(session));
    if (entry == NULL || entry->proposed) {
        return;
    }
    heap_remove(k, entry);
    if (entry->reading > 0) {
        entry->reading--; /* Else it was read under an earlier mastership. */
    }
    const int64_t due = (int64_t)(now_ms + lease_ms) - (int64_t)k->away_ms;
    if (lease_ms != 0 && due > entry->due) {
        entry->due = due; /* An answer never takes back what an earlier one gave. */
    }
    if (entry->reading == 0) {
        heap_insert(k, entry);
    }
}

bool keeper_expiring(const struct keeper *k, uint64_t session)
{
    const struct entry *entry = find(k, of_session(session));
    return entry != NULL && entry->proposed;
}

static uint64_t left_ms(const struct keeper *k, struct entry_id id, uint64_t now_ms)
{
    const struct entry *entry = find(k, id);
    if (entry == NULL || entry->proposed || deadline_ms(k, entry) <= now_ms) {
        return 0;
    }
    return deadline_ms(k, entry) - now_ms;
}

uint64_t keeper_left_ms(const struct keeper *k, uint64_t session, uint64_t now_ms)
{
    return left_ms(k, of_session(session), now_ms);
}

uint64_t keeper_delay_left_ms(const struct keeper *k, uint64_t instance, uint64_t number,
                              uint64_t now_ms)
{
    return left_ms(k, of_delay(instance, number), now_ms);
}

/* --------------------------------------------------------------------- time */

void keeper_add_away(struct keeper *k, uint64_t away_ms)
{
    k->away_ms += away_ms;
}

static enum lease_command_type command_type(struct entry_id id)
{
    if (id.delay) {
        return LEASE_CMD_DELAY_OVER;
    }
    return id.part == 0 ? LEASE_CMD_SESSION_EXPIRE : LEASE_CMD_TIMEOUT;
}

uint32_t keeper_due(struct keeper *k, uint64_t now_ms, uint64_t epoch,
                    struct lease_command ret_commands[KEEPER_BATCH])
{
    uint32_t count = 0;
    while (count < KEEPER_BATCH && k->heap_count > 0) {
        struct entry *entry = k->heap[0];
        if (deadline_ms(k, entry) > now_ms) {
            break;
        }
        assert(entry->reading == 0);
        heap_remove(k, entry);
        entry->proposed = true;
        ret_commands[count++] = (struct lease_command){
            .type = command_type(entry->id),
            .if_generation = LEASE_ANY,
            .if_instance = LEASE_ANY,
            .subject = entry->id.of,
            .subject_request = entry->id.part,
            .epoch = epoch,
        };
    }
    return count;
}

void keeper_postpone(struct keeper *k, const struct lease_command *command)
{
    const bool delay = command->type == LEASE_CMD_DELAY_OVER;
    struct entry *entry =
        find(k, (struct entry_id){
                    .delay = delay, .of = command->subject, .part = command->subject_request});
    assert(entry != NULL && entry->proposed);
    entry->proposed = false;
    if (entry->reading == 0) {
        heap_insert(k, entry);
    }
}

uint64_t keeper_next_ms(const struct keeper *k)
{
    return k->heap_count == 0 ? UINT64_MAX : deadline_ms(k, k->heap[0]);
}

/* -------------------------------------------------------------------- check */

struct count_entries {
    const struct keeper *keeper;
    uint32_t found;
};

static void count_wait(void *context, uint64_t session, uint64_t request, uint32_t wait_ms)
{
    struct count_entries *count = context;
    if (wait_ms != 0) {
        assert(find(count->keeper, of_wait(session, request)) != NULL);
        count->found++;
    }
}

static void count_delay(void *context, const struct lease_delay *delay)
{
    struct count_entries *count = context;
    assert(find(count->keeper, of_delay(delay->instance, delay->number)) != NULL);
    count->found++;
}

void keeper_check(const struct keeper *k, const struct lease *l)
{
    struct count_entries count = {.keeper = k};
    for (uint64_t id = lease_session_next(l, 0); id != 0; id = lease_session_next(l, id)) {
        assert(find(k, of_session(id)) != NULL);
        count.found++;
    }
    lease_waiting_visit(l, count_wait, &count);
    lease_delays_visit(l, count_delay, &count);
    assert(count.found == k->entries_count);

    tree_check(&k->entries);
    assert(k->heap_count <= k->entries_count);
    for (uint32_t i = 0; i < k->heap_count; i++) {
        const struct entry *entry = k->heap[i];
        assert(entry->place == i);
        assert(entry->reading == 0);
        assert(!entry->proposed);
        if (i > 0) {
            assert(!earlier(entry, k->heap[(i - 1) / 2]));
        }
    }
}
