/* SPDX-License-Identifier: Apache-2.0
 *
 * wgl.c -- see wgl.h.
 *
 * All beginnings and ends stand in one list by time.  Whatever stands before the
 * first end in the list may come next; who is placed leaves the list, and comes
 * back to it when that way turns out to lead nowhere:
 *
 *     begin a   begin b   end b   begin c   end a   end c
 *     '---- may be next --'  `-- not before b is placed
 */
#include "tools/check/wgl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/hash.h"

enum { BUCKETS_FIRST = 1024 };

struct mark {
    struct mark *prev, *next;
    struct mark *end; /* Of a beginning; NULL: it has none. */
    uint64_t time;
    uint32_t op;
    bool begins;
};

/* A place on the way: who was placed, and what the state was before. */
struct placed {
    struct mark *mark;
    struct wgl_state before;
};

/* Where the search has been: the state, then a bit for each call. */
struct been {
    struct been *next;
    uint64_t hash;
    uint64_t words[];
};

struct search {
    const struct wgl_op *ops;
    const struct wgl_model *model;
    uint32_t count;
    uint32_t words;   /* Of a struct been. */
    uint32_t left;    /* Calls with an outcome that are not placed. */
    struct mark list; /* Its head. */
    struct mark *marks;
    struct placed *way;
    uint32_t way_length;
    struct wgl_state state;
    uint64_t *now; /* As the words of a struct been. */
    struct been **buckets;
    uint64_t buckets_count;
    uint64_t been_count;
};

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);
    if (memory == NULL) {
        fputs("out of memory for a history\n", stderr);
        abort();
    }
    return memory;
}

/* -------------------------------------------------------------------- list */

static int compare_marks(const void *left, const void *right)
{
    const struct mark *a = left;
    const struct mark *b = right;
    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->begins != b->begins) {
        return a->begins ? -1 : 1; /* Who touches is beside. */
    }
    return (a->op > b->op) - (a->op < b->op);
}

static void unlink_mark(struct mark *mark)
{
    mark->prev->next = mark->next;
    if (mark->next != NULL) {
        mark->next->prev = mark->prev;
    }
}

/* Marks come back in the reverse order in which they went. */
static void relink_mark(struct mark *mark)
{
    mark->prev->next = mark;
    if (mark->next != NULL) {
        mark->next->prev = mark;
    }
}

static void make_list(struct search *s)
{
    s->marks = take(2 * (size_t)s->count, sizeof *s->marks);
    uint32_t used = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        s->marks[used++] = (struct mark){.time = s->ops[i].invoked, .op = i, .begins = true};
        if (s->ops[i].ended != WGL_NEVER) {
            s->marks[used++] = (struct mark){.time = s->ops[i].ended, .op = i};
            s->left++;
        }
    }
    qsort(s->marks, used, sizeof *s->marks, compare_marks);

    struct mark **begins = take(s->count, sizeof(struct mark *));
    struct mark *last = &s->list;
    for (uint32_t i = 0; i < used; i++) {
        struct mark *mark = &s->marks[i];
        mark->prev = last;
        last->next = mark;
        last = mark;
        if (mark->begins) {
            begins[mark->op] = mark;
        } else {
            begins[mark->op]->end = mark;
        }
    }
    free(begins);
}

/* -------------------------------------------------------------------- been */

static void grow_buckets(struct search *s)
{
    const uint64_t count = s->buckets_count == 0 ? BUCKETS_FIRST : 4 * s->buckets_count;
    struct been **buckets = take(count, sizeof(struct been *));
    for (uint64_t i = 0; i < s->buckets_count; i++) {
        for (struct been *been = s->buckets[i], *next; been != NULL; been = next) {
            next = been->next;
            been->next = buckets[been->hash & (count - 1)];
            buckets[been->hash & (count - 1)] = been;
        }
    }
    free(s->buckets);
    s->buckets = buckets;
    s->buckets_count = count;
}

/* Is this state with these calls placed new?  Then it is noted. */
static bool is_new(struct search *s, const struct wgl_state *state)
{
    if (s->been_count >= s->buckets_count) {
        grow_buckets(s);
    }
    s->now[0] = state->a;
    s->now[1] = state->b;
    const size_t size = s->words * sizeof *s->now;
    const uint64_t hash = hash64(s->now, size);
    struct been **bucket = &s->buckets[hash & (s->buckets_count - 1)];
    for (const struct been *been = *bucket; been != NULL; been = been->next) {
        if (been->hash == hash && memcmp(been->words, s->now, size) == 0) {
            return false;
        }
    }
    struct been *been = take(1, sizeof *been + size);
    been->hash = hash;
    memcpy(been->words, s->now, size);
    been->next = *bucket;
    *bucket = been;
    s->been_count++;
    return true;
}

static void flip(struct search *s, uint32_t op)
{
    s->now[2 + op / 64] ^= UINT64_C(1) << (op % 64);
}

/* ------------------------------------------------------------------- search */

static bool place(struct search *s, struct mark *mark)
{
    struct wgl_state next;
    if (!s->model->step(s->model->context, mark->op, &s->state, &next)) {
        return false;
    }
    flip(s, mark->op);
    if (!is_new(s, &next)) {
        flip(s, mark->op);
        return false;
    }
    s->way[s->way_length++] = (struct placed){.mark = mark, .before = s->state};
    s->state = next;
    unlink_mark(mark);
    if (mark->end != NULL) {
        unlink_mark(mark->end);
        s->left--;
    }
    return true;
}

/* Takes the last one back; the search goes on behind it. */
static struct mark *step_back(struct search *s)
{
    const struct placed *last = &s->way[--s->way_length];
    if (last->mark->end != NULL) {
        relink_mark(last->mark->end);
        s->left++;
    }
    relink_mark(last->mark);
    flip(s, last->mark->op);
    s->state = last->before;
    return last->mark->next;
}

static enum wgl_verdict search(struct search *s, uint64_t steps_max, uint32_t *ret_stuck)
{
    uint32_t least = UINT32_MAX;
    struct mark *at = s->list.next;
    for (uint64_t steps = 0; s->left > 0; steps++) {
        if (steps == steps_max) {
            return WGL_UNDECIDED;
        }
        if (at != NULL && at->begins) {
            at = place(s, at) ? s->list.next : at->next;
            continue;
        }
        if (at != NULL && s->left < least) {
            least = s->left; /* As far as we ever came. */
            *ret_stuck = at->op;
        }
        if (s->way_length == 0) {
            return WGL_VIOLATION;
        }
        at = step_back(s);
    }
    return WGL_LINEARIZABLE;
}

enum wgl_verdict wgl_check(const struct wgl_op *ops, uint32_t count,
                           const struct wgl_model *model, uint64_t steps_max,
                           uint32_t *ret_stuck)
{
    struct search s = {
        .ops = ops,
        .model = model,
        .count = count,
        .words = 2 + (count + 63) / 64,
        .state = model->first,
    };
    make_list(&s);
    s.way = take(count, sizeof *s.way);
    s.now = take(s.words, sizeof *s.now);
    const enum wgl_verdict verdict = search(&s, steps_max, ret_stuck);

    for (uint64_t i = 0; i < s.buckets_count; i++) {
        for (struct been *been = s.buckets[i], *next; been != NULL; been = next) {
            next = been->next;
            free(been);
        }
    }
    free(s.buckets);
    free(s.now);
    free(s.way);
    free(s.marks);
    return verdict;
}
