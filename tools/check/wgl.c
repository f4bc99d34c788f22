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
 *
 * The first end in the list says most of who is placed: all that ended before it are,
 * none that begins behind it is.  Of those about it, one bit each says the rest.  A call
 * has its bit from its beginning to its end, or until it no longer matters, and then
 * the next one gets that bit.  So a place where the search has been is
 *
 *     state | first end | bits of calls with an end | bits of calls without
 *
 * and it covers each place that differs from it only in that more of the last kind
 * are placed there: who has not been used may still be left out.
 */
#include "tools/check/wgl.h"

#include <assert.h>
#include <stdlib.h>

#include "tools/check/wgl_places.h"

/* The words of a place. */
enum { STATE_A, STATE_B, FIRST_END, BITS };

/* In the order in which they stand at one time: who touches is beside. */
enum event { BEGINS, ENDS, NO_LONGER_MATTERS };

struct mark {
    struct mark *prev, *next; /* In the list; a NO_LONGER_MATTERS is not. */
    struct mark *begin;       /* Of this op. */
    struct mark *end;         /* Of a beginning; NULL: it has none. */
    uint64_t time;
    uint32_t op;
    enum event event;
};

enum kind { OBSERVES, CHANGES, OPEN };

/* A step on the way: who was placed, and how things were before. */
struct placed {
    struct mark *mark;
    struct mark *first_end;
    enum kind kind;
    struct wgl_state before;
};

struct search {
    const struct wgl_op *ops;
    const struct wgl_model *model;
    uint32_t count;
    uint32_t left;    /* Calls with an outcome that are not placed. */
    struct mark list; /* Its head. */
    struct mark *marks;
    uint32_t marks_count;
    struct mark *first_end; /* In the list, while any are left. */
    struct placed *way;
    uint32_t way_length;
    struct wgl_state state;
    bool *placed;  /* By op. */
    uint32_t *bit; /* By op, in `now`. */
    uint64_t *now; /* The state, the first end's number, then the bits. */
    struct places places;
    uint64_t steps;
};

static bool is_open(const struct search *s, uint32_t op)
{
    return s->ops[op].ended == WGL_NEVER;
}

/* -------------------------------------------------------------------- marks */

static int compare_marks(const void *left, const void *right)
{
    const struct mark *a = left;
    const struct mark *b = right;
    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->event != b->event) {
        return a->event < b->event ? -1 : 1;
    }
    return (a->op > b->op) - (a->op < b->op);
}

static void add_mark(struct search *s, uint32_t op, enum event event, uint64_t time)
{
    s->marks[s->marks_count++] = (struct mark){.op = op, .event = event, .time = time};
}

static void make_marks(struct search *s)
{
    s->marks = wgl_take(2 * (size_t)s->count, sizeof *s->marks);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct wgl_op *op = &s->ops[i];
        add_mark(s, i, BEGINS, op->invoked);
        if (!is_open(s, i)) {
            add_mark(s, i, ENDS, op->ended);
            s->left++;
        } else if (op->matters_until != 0) {
            assert(op->matters_until >= op->invoked);
            add_mark(s, i, NO_LONGER_MATTERS, op->matters_until);
        }
    }
    qsort(s->marks, s->marks_count, sizeof *s->marks, compare_marks);
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
    struct mark **begins = wgl_take(s->count, sizeof(struct mark *));
    struct mark *last = &s->list;
    for (uint32_t i = 0; i < s->marks_count; i++) {
        struct mark *mark = &s->marks[i];
        if (mark->event == BEGINS) {
            begins[mark->op] = mark;
        }
        mark->begin = begins[mark->op];
        if (mark->event == ENDS) {
            mark->begin->end = mark;
        }
        if (mark->event != NO_LONGER_MATTERS) {
            mark->prev = last;
            last->next = mark;
            last = mark;
        }
    }
    free(begins);
}

/* --------------------------------------------------------------------- bits */

/* Gives each op of a kind the lowest number that is free while it needs one, from
 * `first`; returns how many words they take. */
static uint32_t give_bits(struct search *s, bool open, uint32_t first)
{
    uint32_t *free_bits = wgl_take(s->count, sizeof *free_bits); /* A stack. */
    uint32_t free_count = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < s->marks_count; i++) {
        const struct mark *mark = &s->marks[i];
        if (is_open(s, mark->op) != open) {
            continue;
        }
        if (mark->event != BEGINS) {
            free_bits[free_count++] = s->bit[mark->op];
        } else {
            s->bit[mark->op] = free_count > 0 ? free_bits[--free_count] : first + used++;
        }
    }
    free(free_bits);
    return (used + 63) / 64;
}

static void make_places(struct search *s)
{
    s->bit = wgl_take(s->count, sizeof *s->bit);
    s->placed = wgl_take(s->count, sizeof *s->placed);
    const uint32_t exact = BITS + give_bits(s, /* open= */ false, 64 * BITS);
    const uint32_t words = exact + give_bits(s, /* open= */ true, 64 * exact);
    s->now = wgl_take(words, sizeof *s->now);
    places_open(&s->places, words, exact);
}

static void flip(struct search *s, uint32_t op)
{
    s->now[s->bit[op] / 64] ^= UINT64_C(1) << (s->bit[op] % 64);
}

/* ------------------------------------------------------------------- search */

/* Is where we are now new?  Then it is noted. */
static bool is_new(struct search *s)
{
    s->now[STATE_A] = s->state.a;
    s->now[STATE_B] = s->state.b;
    s->now[FIRST_END] = (uint64_t)(s->first_end - s->marks);
    return places_add(&s->places, s->now, &s->steps);
}

static bool same_state(const struct wgl_state *a, const struct wgl_state *b)
{
    return a->a == b->a && a->b == b->b;
}

static enum kind kind_of(const struct search *s, const struct mark *mark)
{
    return is_open(s, mark->op) ? OPEN : s->ops[mark->op].observes ? OBSERVES : CHANGES;
}

/* Finds the first end from `mark` on.  What is passed needs its bit no longer. */
static void advance(struct search *s, struct mark *mark)
{
    for (; s->left > 0 && (mark->event != ENDS || s->placed[mark->op]); mark++) {
        if (mark->event == BEGINS) {
            continue;
        }
        if (s->placed[mark->op]) {
            flip(s, mark->op);
        } else {
            unlink_mark(mark->begin);
        }
    }
    s->first_end = mark;
}

static void retreat(struct search *s, struct mark *first_end)
{
    while (s->first_end != first_end) {
        const struct mark *mark = --s->first_end;
        if (mark->event == BEGINS) {
            continue;
        }
        if (s->placed[mark->op]) {
            flip(s, mark->op);
        } else {
            relink_mark(mark->begin);
        }
    }
}

/* Takes the last one back. */
static struct placed step_back(struct search *s)
{
    const struct placed last = s->way[--s->way_length];
    struct mark *mark = last.mark;
    retreat(s, last.first_end);
    if (mark->end != NULL) {
        relink_mark(mark->end);
        s->left++;
    }
    relink_mark(mark);
    flip(s, mark->op);
    s->placed[mark->op] = false;
    s->state = last.before;
    return last;
}

static void step_on(struct search *s, const struct placed *next, const struct wgl_state *state)
{
    struct mark *mark = next->mark;
    s->way[s->way_length++] = *next;
    s->state = *state;
    s->placed[mark->op] = true;
    flip(s, mark->op);
    unlink_mark(mark);
    if (mark->end != NULL) {
        unlink_mark(mark->end);
        s->left--;
    }
    advance(s, s->first_end);
}

/* Is there one like it that ends first? */
static bool is_behind_alike(const struct search *s, const struct mark *mark)
{
    const struct wgl_op *op = &s->ops[mark->op];
    if (op->alike == 0) {
        return false;
    }
    for (const struct mark *other = s->list.next; other != s->first_end; other = other->next) {
        const struct wgl_op *that = &s->ops[other->op];
        if (that->alike == op->alike &&
            (that->ended < op->ended || (that->ended == op->ended && other < mark))) {
            return true;
        }
    }
    return false;
}

/* Can it come next, and is it of use?  `ret_state` is what follows. */
static bool is_choice(const struct search *s, const struct mark *mark, enum kind kind,
                      struct wgl_state *ret_state)
{
    if (kind_of(s, mark) != kind ||
        !s->model->step(s->model->context, mark->op, &s->state, ret_state)) {
        return false;
    }
    if (same_state(&s->state, ret_state)) {
        return kind != OPEN;
    }
    assert(kind != OBSERVES);
    return !is_behind_alike(s, mark);
}

/* Takes it as the next one, if it is a choice of this kind that leads where we have not
 * been. */
static bool place(struct search *s, struct mark *mark, enum kind kind)
{
    struct wgl_state state;
    if (!is_choice(s, mark, kind, &state)) {
        return false;
    }
    const struct placed next = {
        .mark = mark, .first_end = s->first_end, .kind = kind, .before = s->state};
    step_on(s, &next, &state);
    if (!is_new(s)) {
        step_back(s);
        return false;
    }
    return true;
}

/* Takes the last one back, and those before it that only observed: there is no choice
 * about them.  False: no choice is left at all. */
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

static enum wgl_verdict search(struct search *s, uint64_t steps_max, uint32_t *ret_stuck)
{
    const struct mark *furthest = s->marks; /* Where we ever were stuck. */
    struct mark *at = s->list.next;
    enum kind kind = OBSERVES;
    for (; s->left > 0; s->steps++) {
        if (s->steps >= steps_max || places_full(&s->places)) {
            return WGL_UNDECIDED;
        }
        if (at != s->first_end) {
            const bool placed = place(s, at, kind);
            kind = placed ? OBSERVES : kind;
            at = placed ? s->list.next : at->next;
        } else if (kind != OPEN) {
            kind++;
            at = s->list.next;
        } else {
            struct placed last;
            furthest = at > furthest ? at : furthest;
            if (!step_back_to_choice(s, &last)) {
                *ret_stuck = furthest->op;
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
    struct search s = {.ops = ops, .model = model, .count = count, .state = model->first};
    make_marks(&s);
    make_list(&s);
    make_places(&s);
    s.way = wgl_take(count, sizeof *s.way);
    advance(&s, s.marks);
    const enum wgl_verdict verdict = search(&s, steps_max, ret_stuck);

    places_close(&s.places);
    free(s.now);
    free(s.placed);
    free(s.bit);
    free(s.way);
    free(s.marks);
    return verdict;
}
