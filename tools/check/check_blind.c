/* SPDX-License-Identifier: Apache-2.0
 *
 * check_blind.c -- see check_blind.h.
 *
 * The state of a name, as wgl.h wants it, is two numbers: the op whose content is
 * there (0: no node), and the op that made the node, with the generation that the
 * content has by now.  A refusal says something of the state, too: `exists` is as
 * good as a read.
 */
#include "tools/check/check_blind.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "paxos/base/hash.h"
#include "tools/check/wgl.h"

/* The ops of one name, by invocation. */
struct slice {
    const struct history *h;
    const uint32_t *numbers;
    uint32_t count;
    bool *open; /* By place in the slice: judged as one whose outcome nobody knows. */
};

/* What stands at the name. */
struct node {
    uint32_t content; /* The op that wrote it; 0: there is no node. */
    uint32_t maker;   /* The op that made the node. */
    uint32_t generation;
};

static const struct history_op *op_at(const struct history *h, uint32_t number)
{
    return &h->ops[number - 1];
}

static struct node unpack(const struct wgl_state *state)
{
    return (struct node){.content = (uint32_t)state->a,
                         .maker = (uint32_t)(state->b >> 32),
                         .generation = (uint32_t)state->b};
}

static struct wgl_state pack(const struct node *node)
{
    return (struct wgl_state){.a = node->content,
                              .b = (uint64_t)node->maker << 32 | node->generation};
}

static bool is_directory(const struct history *h, const struct node *node)
{
    const struct history_request *made = &op_at(h, node->maker)->request;
    return made->type == HISTORY_CREATE && made->kind == LEASE_DIRECTORY;
}

/* --------------------------------------------------------------- conditions */

/* Which instance the maker made; 0: it never heard. */
static uint64_t instance_of(const struct history *h, const struct node *node)
{
    const struct history_op *maker = op_at(h, node->maker);
    return maker->outcome == HISTORY_ANSWERED ? maker->result.stat.instance : 0;
}

/* Can the node be this instance; can it be another? */
static bool can_be(const struct history *h, const struct node *node, uint64_t instance)
{
    const uint64_t known = instance_of(h, node);
    return instance == HISTORY_ANY || known == 0 || known == instance;
}

static bool can_differ(const struct history *h, const struct node *node, uint64_t instance)
{
    const uint64_t known = instance_of(h, node);
    return instance != HISTORY_ANY && (known == 0 || known != instance);
}

static bool generation_holds(const struct node *node, const struct history_request *request)
{
    return request->if_generation == HISTORY_ANY || request->if_generation == node->generation;
}

/* Is this what the cell says of the node? */
static bool is_stat_of(const struct history *h, const struct node *node,
                       const struct lease_stat *stat)
{
    const bool directory = is_directory(h, node);
    const struct bytes content = op_at(h, node->content)->request.content;
    return stat->kind == (directory ? LEASE_DIRECTORY : LEASE_FILE) &&
           can_be(h, node, stat->instance) && stat->content_generation == node->generation &&
           stat->size == content.size &&
           stat->checksum == (directory ? 0 : hash64(content.data, content.size));
}

/* ------------------------------------------------------------------ refusals */

/* A put that is content with a file that is not there yet. */
static bool puts_new(const struct history_request *request)
{
    return request->type == HISTORY_PUT && request->if_instance == HISTORY_ANY &&
           (request->if_generation == HISTORY_ANY || request->if_generation == 0);
}

/* Does the state of this name explain it, as far as this name alone decides? */
static bool explains_refusal(const struct history *h, const struct history_op *op,
                             const struct node *node)
{
    const struct history_request *request = &op->request;
    const bool exists = node->content != 0;
    const bool directory = exists && is_directory(h, node);
    const bool puts = request->type == HISTORY_PUT;
    const bool puts_first = puts && request->if_generation == 0; /* Else it exists. */
    switch (op->result.rc) {
    case LEASE_NO_NODE:
        return !exists && request->type != HISTORY_CREATE && !puts_new(request);
    case LEASE_NO_PARENT:
        return !exists && (puts || request->type == HISTORY_CREATE);
    case LEASE_NOT_A_DIRECTORY: /* Something above it; or, of a list, itself. */
        return !exists || (request->type == HISTORY_LIST && !directory);
    case LEASE_EXISTS:
        return exists && (request->type == HISTORY_CREATE || puts_first);
    case LEASE_CONFLICT: /* What it is instead, who may not read it is not told. */
        return exists && !puts_first && !(puts && directory) &&
               !generation_holds(node, request) &&
               (op->result.stat.kind == 0 || is_stat_of(h, node, &op->result.stat));
    case LEASE_STALE_INSTANCE:
        return exists && can_differ(h, node, request->if_instance);
    case LEASE_NOT_A_FILE:
        return directory && !puts_first && (puts || request->type == HISTORY_GET);
    case LEASE_NOT_EMPTY:
        return directory && request->type == HISTORY_DELETE;
    case LEASE_LOCKED:
    case LEASE_LOCK_DELAY:
        return exists && request->type == HISTORY_DELETE;
    case LEASE_OK:
    case LEASE_IS_ROOT:
    case LEASE_LIMIT:
    case LEASE_BAD_PATH:
    case LEASE_TOO_LARGE:
    case LEASE_NO_SESSION:
    case LEASE_WAITING:
    case LEASE_NOT_HELD:
    case LEASE_OWNED:
    case LEASE_CANCELLED:
    case LEASE_ACKNOWLEDGED:
    case LEASE_RESULTS_FULL:
    case LEASE_OLD_EPOCH:
    case LEASE_DENIED:
    case LEASE_NO_ACL:
        break;
    }
    return true; /* Nothing that the state of this name decides. */
}

/* ------------------------------------------------------------------- effects */

/* What it does where nothing forbids it; false: something does. */
static bool execute(const struct history *h, uint32_t number, struct node *node)
{
    const struct history_request *request = &op_at(h, number)->request;
    const bool exists = node->content != 0;
    const bool fits =
        exists ? can_be(h, node, request->if_instance) : request->if_instance == HISTORY_ANY;
    switch (request->type) {
    case HISTORY_PUT:
        if (!fits || (exists && (is_directory(h, node) || !generation_holds(node, request))) ||
            (!exists && request->if_generation != HISTORY_ANY && request->if_generation != 0)) {
            return false;
        }
        *node = (struct node){.content = number,
                              .maker = exists ? node->maker : number,
                              .generation = exists ? node->generation + 1 : 1};
        return true;
    case HISTORY_CREATE:
        if (exists) {
            return false;
        }
        *node = (struct node){.content = number,
                              .maker = number,
                              .generation = request->kind == LEASE_FILE ? 1 : 0};
        return true;
    case HISTORY_DELETE:
        if (!exists || !fits || !generation_holds(node, request)) {
            return false;
        }
        *node = (struct node){.content = 0};
        return true;
    case HISTORY_GET:
    case HISTORY_STAT:
    case HISTORY_LIST:
    case HISTORY_GET_ACL:
        return exists;
    }
    return false;
}

/* Is what was answered what the state behind it, or `before` a delete, shows? */
static bool explains_success(const struct history *h, const struct history_op *op,
                             const struct node *before, const struct node *node)
{
    const struct history_result *result = &op->result;
    switch (op->request.type) {
    case HISTORY_PUT:
        return result->created == (before->content == 0) && is_stat_of(h, node, &result->stat);
    case HISTORY_CREATE:
    case HISTORY_STAT:
        return is_stat_of(h, node, &result->stat);
    case HISTORY_GET:
        return !is_directory(h, node) && is_stat_of(h, node, &result->stat) &&
               bytes_equal(result->content, op_at(h, node->content)->request.content);
    case HISTORY_LIST:
        return is_directory(h, node);
    case HISTORY_DELETE:
    case HISTORY_GET_ACL:
        return true;
    }
    return false;
}

static bool step(const void *context, uint32_t place, const struct wgl_state *state,
                 struct wgl_state *ret_state)
{
    const struct slice *slice = context;
    const uint32_t number = slice->numbers[place];
    const struct history_op *op = op_at(slice->h, number);
    const struct node before = unpack(state);
    struct node node = before;
    *ret_state = *state;
    if (!slice->open[place] && op->result.rc != LEASE_OK) {
        return explains_refusal(slice->h, op, &node);
    }
    if (!execute(slice->h, number, &node)) {
        return false;
    }
    *ret_state = pack(&node);
    return slice->open[place] || explains_success(slice->h, op, &before, &node);
}

/* ---------------------------------------------------------------------- names */

/* Did anybody see what this op wrote?  Content tells who wrote it. */
static bool is_seen(const struct slice *slice, const struct history_request *request)
{
    const uint64_t checksum = hash64(request->content.data, request->content.size);
    for (uint32_t i = 0; i < slice->count; i++) {
        const struct history_op *op = op_at(slice->h, slice->numbers[i]);
        if (!slice->open[i] && op->result.stat.kind == LEASE_FILE &&
            op->result.stat.checksum == checksum) {
            return true;
        }
    }
    return false;
}

static bool same_but_content(const struct history_request *a, const struct history_request *b)
{
    return a->type == b->type && a->kind == b->kind && a->if_generation == b->if_generation &&
           a->if_instance == b->if_instance;
}

/* Which ops of unknown outcome could stand for one another: those that ask the same
 * and wrote what nobody saw. */
static void mark_alike(const struct slice *slice, struct wgl_op *ops)
{
    for (uint32_t i = 0; i < slice->count; i++) {
        const struct history_request *request = &op_at(slice->h, slice->numbers[i])->request;
        const bool writes_file = request->type == HISTORY_PUT || request->kind == LEASE_FILE;
        if (!slice->open[i] || (writes_file && is_seen(slice, request))) {
            continue;
        }
        ops[i].alike = i + 1;
        for (uint32_t k = 0; k < i; k++) {
            if (ops[k].alike == k + 1 &&
                same_but_content(request, &op_at(slice->h, slice->numbers[k])->request)) {
                ops[i].alike = k + 1;
                break;
            }
        }
    }
}

/* Behind the last op that is judged, outcomes may rest on what is left out. */
static uint64_t cut_us(const struct slice *whole, uint32_t count_max)
{
    return whole->count <= count_max ? HISTORY_NEVER
                                     : op_at(whole->h, whole->numbers[count_max])->invoked_us;
}

/* Judges the first `count_max` ops; `ret_stuck` is the op that nothing explains. */
static enum wgl_verdict check_first(const struct slice *whole, uint32_t count_max,
                                    uint64_t steps_max, uint32_t *ret_ops, uint32_t *ret_stuck)
{
    const uint64_t end_us = cut_us(whole, count_max);
    uint32_t numbers[CHECK_BLIND_OPS_MAX];
    bool open[CHECK_BLIND_OPS_MAX];
    struct wgl_op ops[CHECK_BLIND_OPS_MAX];
    struct slice slice = {.h = whole->h, .numbers = numbers, .open = open};
    for (uint32_t i = 0; i < whole->count && i < count_max; i++) {
        const struct history_op *op = op_at(whole->h, whole->numbers[i]);
        const bool known = op->outcome == HISTORY_ANSWERED && op->ended_us < end_us;
        if (op->outcome == HISTORY_FAILED || (!known && !history_writes(op->request.type))) {
            continue; /* It did nothing, and saw nothing. */
        }
        numbers[slice.count] = whole->numbers[i];
        open[slice.count] = !known;
        ops[slice.count++] = (struct wgl_op){
            .invoked = op->invoked_us,
            .ended = known ? op->ended_us : WGL_NEVER,
            .observes =
                !history_writes(op->request.type) || (known && op->result.rc != LEASE_OK),
        };
    }
    mark_alike(&slice, ops);
    const struct wgl_model model = {.step = step, .context = &slice};
    uint32_t stuck = 0;
    const enum wgl_verdict verdict = wgl_check(ops, slice.count, &model, steps_max, &stuck);
    *ret_ops = slice.count;
    *ret_stuck = verdict == WGL_VIOLATION ? numbers[stuck] : 0;
    return verdict;
}

/* As many ops as the budget allows for: what is too much is halved. */
static bool check_name(const struct slice *whole, const struct check_blind_rules *rules,
                       struct check_blind_counts *counts, struct check_violation *ret_violation)
{
    uint32_t count = whole->count < CHECK_BLIND_OPS_MAX ? whole->count : CHECK_BLIND_OPS_MAX;
    uint32_t ops = 0;
    uint32_t stuck = 0;
    enum wgl_verdict verdict = check_first(whole, count, rules->steps_max, &ops, &stuck);
    while (verdict == WGL_UNDECIDED && count >= 2 * CHECK_BLIND_OPS_MIN) {
        count /= 2;
        verdict = check_first(whole, count, rules->steps_max, &ops, &stuck);
    }
    counts->names++;
    counts->ops += verdict == WGL_UNDECIDED ? 0 : ops;
    counts->undecided += verdict == WGL_UNDECIDED;
    if (verdict == WGL_VIOLATION) {
        const struct history_request *request = &op_at(whole->h, stuck)->request;
        ret_violation->rule = "blind";
        snprintf(ret_violation->text, sizeof ret_violation->text,
                 "op %" PRIu32 " (%s %.*s) can't have been answered so, in whatever order",
                 stuck, history_type_name(request->type), (int)request->path.size,
                 (const char *)request->path.data);
    }
    return verdict != WGL_VIOLATION;
}

/* By name, then by invocation: qsort_r's arguments. */
static int by_name(const void *left, const void *right, void *context)
{
    const struct history *h = context;
    const uint32_t x = *(const uint32_t *)left;
    const uint32_t y = *(const uint32_t *)right;
    const struct history_op *a = op_at(h, x);
    const struct history_op *b = op_at(h, y);
    const int order = bytes_compare(a->request.path, b->request.path);
    if (order != 0) {
        return order;
    }
    return a->invoked_us != b->invoked_us ? (a->invoked_us < b->invoked_us ? -1 : 1)
                                          : (x > y) - (x < y);
}

bool history_check_blind(const struct history *h, const struct check_blind_rules *rules,
                         struct check_blind_counts *counts,
                         struct check_violation *ret_violation)
{
    uint32_t *numbers = calloc((size_t)h->ops_count + 1, sizeof *numbers);
    if (numbers == NULL) {
        *ret_violation = (struct check_violation){.rule = "memory", .text = "out of memory"};
        return false;
    }
    for (uint32_t i = 0; i < h->ops_count; i++) {
        numbers[i] = i + 1;
    }
    qsort_r(numbers, h->ops_count, sizeof *numbers, by_name, (void *)(uintptr_t)h);
    bool good = true;
    for (uint32_t first = 0, end; good && first < h->ops_count; first = end) {
        const struct bytes path = op_at(h, numbers[first])->request.path;
        for (end = first + 1;
             end < h->ops_count && bytes_equal(path, op_at(h, numbers[end])->request.path);) {
            end++;
        }
        /* The root is there from the first, and nobody makes it. */
        if (path.size > 0 && (rules->shared == NULL || !rules->shared(path))) {
            const struct slice slice = {
                .h = h, .numbers = &numbers[first], .count = end - first};
            good = check_name(&slice, rules, counts, ret_violation);
        }
    }
    free(numbers);
    return good;
}
