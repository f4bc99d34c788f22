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
 *
 * Three kinds of them are tried one behind the other.  A call that only observes
 * comes first where it fits, and stands: whatever explains the rest with it later does
 * so with it now.  Calls without an end may come at any time after, so they are tried
 * last, and only where they change something: else it is as good to leave them out.
 */
#include "tools/check/wgl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/base/hash.h"

enum { BUCKETS_FIRST = 1024 };

/* What the search may remember, in octets; as much as it can't is undecided. */
#define BEEN_SIZE_MAX (UINT64_C(1) << 28)

struct mark {
    struct mark *prev, *next;
    struct mark *end;    /* Of a beginning; NULL: it has none. */
    struct mark *before; /* The one alike that must be placed before; NULL: none. */
    uint64_t time;
    uint32_t op;
    bool begins;
};

enum kind { OBSERVES, CHANGES, OPEN };

/* A place on the way: who was placed, and what the state was before. */
struct placed {
    struct mark *mark;
    enum kind kind;
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

/* The marks of beginnings stand by time. */
static void order_alike(struct search *s)
{
    for (struct mark *mark = s->list.next; mark != NULL; mark = mark->next) {
        const uint32_t alike = s->ops[mark->op].alike;
        struct mark *before =
            mark->begins && mark->end == NULL && alike != 0 ? mark->prev : NULL;
        while (before != NULL && before != &s->list &&
               (!before->begins || before->end != NULL || s->ops[before->op].alike != alike)) {
            before = before->prev;
        }
        mark->before = before == &s->list ? NULL : before;
    }
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

static bool same_state(const struct wgl_state *a, const struct wgl_state *b)
{
    return a->a == b->a && a->b == b->b;
}

static bool is_placed(const struct search *s, uint32_t op)
{
    return (s->now[2 + op / 64] >> (op % 64) & 1) != 0;
}

static enum kind kind_of(const struct search *s, const struct mark *mark)
{
    return mark->end == NULL ? OPEN : s->ops[mark->op].observes ? OBSERVES : CHANGES;
}

/* Takes it as the next one, if it can be, and is of this kind. */
static bool place(struct search *s, struct mark *mark, enum kind kind)
{
    struct wgl_state next;
    if (kind_of(s, mark) != kind || (mark->before != NULL && !is_placed(s, mark->before->op)) ||
        !s->model->step(s->model->context, mark->op, &s->state, &next) ||
        (kind == OPEN && same_state(&s->state, &next))) {
        return false;
    }
    if (kind == OBSERVES) {
        assert(same_state(&s->state, &next));
    }
    flip(s, mark->op);
    if (!is_new(s, &next)) {
        flip(s, mark->op);
        return false;
    }
    s->way[s->way_length++] = (struct placed){.mark = mark, .kind = kind, .before = s->state};
    s->state = next;
    unlink_mark(mark);
    if (mark->end != NULL) {
        unlink_mark(mark->end);
        s->left--;
    }
    return true;
}

/* Takes the last one back. */
static struct placed step_back(struct search *s)
{
    const struct placed last = s->way[--s->way_length];
    if (last.mark->end != NULL) {
        relink_mark(last.mark->end);
        s->left++;
    }
    relink_mark(last.mark);
    flip(s, last.mark->op);
    s->state = last.before;
    return last;
}

/* ... and those before it that only observed: there is no choice about them.
 * False: no choice is left at all. */
static bool step_back_to_choice(struct search *s, struct placed *ret_last)
{
    do {
        if (s->way_length == 0) {
            return false;
        }
        *ret_last = step_back(s);
    } while (ret_last->kind == OBSERVES);
    return true;
}

static bool exhausted(const struct search *s, uint64_t steps, uint64_t steps_max)
{
    const uint64_t size = sizeof(struct been) + s->words * sizeof *s->now;
    return steps == steps_max || s->been_count >= BEEN_SIZE_MAX / size;
}

static enum wgl_verdict search(struct search *s, uint64_t steps_max, uint32_t *ret_stuck)
{
    uint32_t least = UINT32_MAX;
    struct mark *at = s->list.next;
    enum kind kind = OBSERVES;
    for (uint64_t steps = 0; s->left > 0; steps++) {
        assert(at != NULL); /* An end is left, and stops the walk. */
        if (exhausted(s, steps, steps_max)) {
            return WGL_UNDECIDED;
        }
        if (at->begins) {
            const bool placed = place(s, at, kind);
            kind = placed ? OBSERVES : kind;
            at = placed ? s->list.next : at->next;
        } else if (kind != OPEN) {
            kind++;
            at = s->list.next;
        } else {
            struct placed last;
            if (s->left < least) {
                least = s->left; /* As far as we ever came. */
                *ret_stuck = at->op;
            }
            if (!step_back_to_choice(s, &last)) {
                return WGL_VIOLATION;
            }
            kind = last.kind;
            at = last.mark->next;
        }
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
    order_alike(&s);
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
