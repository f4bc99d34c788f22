/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/replica.h"

/* A world that needs more events than this for a few minutes runs in circles. */
enum { EVENTS_MAX = 20 * 1000 * 1000 };

struct world *world_current;

void *sim_allocate(size_t size)
{
    return sim_resize(NULL, size);
}

void *sim_resize(void *memory, size_t size)
{
    void *resized = realloc(memory, size);
    if (resized == NULL) {
        fprintf(stderr, "locksim: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return resized;
}

void world_init(struct world *w, uint64_t seed, bool tracing)
{
    *w = (struct world){.seed = seed, .tracing = tracing};
    w->chance = (struct rng){.state = seed};
    /* Neighbouring seeds must not begin alike. */
    w->chance.state = rng_next(&w->chance);
    w->heap_capacity = 1024;
    w->heap = sim_allocate(w->heap_capacity * sizeof *w->heap);
}

void world_free(struct world *w)
{
    /* What is still in flight belongs to events that will never run. */
    for (uint32_t i = 0; i < w->heap_count; i++) {
        free(w->heap[i].data);
    }
    free(w->heap);
    w->heap = NULL;
}

/* -------------------------------------------------------------------- heap */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void sift_up(struct world *w, uint32_t at, struct event event)
{
    while (at > 0) {
        const uint32_t parent = (at - 1) / 2;
        if (!before(&event, &w->heap[parent])) {
            break;
        }
        w->heap[at] = w->heap[parent];
        at = parent;
    }
    w->heap[at] = event;
}

static void sift_down(struct world *w, struct event event)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heap_count) {
            break;
        }
        if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!before(&w->heap[child], &event)) {
            break;
        }
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = event;
}

void world_at(struct world *w, uint64_t at_us, struct event event)
{
    assert(event.run != NULL);
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity *= 2;
        w->heap = sim_resize(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    event.at_us = at_us > w->now_us ? at_us : w->now_us;
    event.order = w->events++;
    w->heap_count++;
    sift_up(w, w->heap_count - 1, event);
}

bool world_step(struct world *w, uint64_t until_us)
{
    if (w->heap_count == 0 || w->heap[0].at_us > until_us) {
        w->now_us = until_us;
        return false;
    }
    const struct event event = w->heap[0];
    w->heap_count--;
    if (w->heap_count > 0) {
        sift_down(w, w->heap[w->heap_count]);
    }
    assert(event.at_us >= w->now_us);
    w->now_us = event.at_us;
    w->events_run++;
    world_mix(w, event.at_us);
    world_mix(w, event.order);
    event.run(w, &event);
    if (w->events_run > EVENTS_MAX) {
        world_fail(w, "bounded", "more than %d events", (int)EVENTS_MAX);
    }
    return true;
}

/* ----------------------------------------------------------------- reports */

void world_fail(struct world *w, const char *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->failure, sizeof w->failure, format, arguments);
    va_end(arguments);
    w->failed_check = check;
    longjmp(w->escape, 1);
}

static void describe_who(unsigned who, char text[8])
{
    if (who >= WORLD_CLIENT) {
        snprintf(text, 8, "c%u", (who - WORLD_CLIENT) % 100);
    } else if (who >= WORLD_AGENT) {
        snprintf(text, 8, "a%u", (who - WORLD_AGENT) % 100);
    } else if (who > 0) {
        snprintf(text, 8, "r%u", who % 100);
    } else {
        snprintf(text, 8, "-");
    }
}

/* "round.id" */
static void describe_ballot(struct paxos_ballot ballot, char text[16])
{
    snprintf(text, 16, "%" PRIu64 ".%u", ballot.round % 100000000, ballot.id);
}

enum { PLACE_MAX = 48 };

/* Where a replica stood behind its last turn; empty columns for everybody else. */
static void describe_place(const struct world *w, unsigned who, char text[PLACE_MAX])
{
    static const char roles[] = {[PAXOS_FORMING] = 'o',
                                 [PAXOS_FOLLOWER] = 'f',
                                 [PAXOS_PREVOTER] = 'v',
                                 [PAXOS_PREPARER] = 'p',
                                 [PAXOS_MASTER] = 'm'};
    const struct replica *r = who > 0 && who <= w->plan.replicas ? w->replicas[who - 1] : NULL;
    char ballot[16] = "", promised[16] = "", chosen[24] = "";
    char role = ' ';
    if (r != NULL && replica_is_up(r)) {
        role = r->status.serving ? 'M' : roles[r->status.role];
        describe_ballot(r->status.ballot, ballot);
        describe_ballot(r->status.promised, promised);
        snprintf(chosen, sizeof chosen, "%" PRIu64, r->status.chosen % 10000000);
    }
    snprintf(text, PLACE_MAX, "%c %7s %7s %6s", role, ballot, promised, chosen);
}

static const char trace_format[] = "%11s  %-3s  %-7s  %s  %s\n";

void world_trace_head(const struct world *w, const char *plan)
{
    printf("seed %" PRIu64 ": %s\n", w->seed, plan);
    printf(trace_format, "time", "who", "what", "   epoch  promise chosen", "detail");
}

void world_trace(struct world *w, unsigned who, const char *what, const char *format, ...)
{
    if (!w->tracing) {
        return;
    }
    char text[1024], when[16], name[8], place[PLACE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(when, sizeof when, "%u.%06u", (unsigned)(w->now_us / WORLD_SECOND),
             (unsigned)(w->now_us % WORLD_SECOND));
    describe_who(who, name);
    describe_place(w, who, place);
    printf(trace_format, when, name, what, place, text);
}
