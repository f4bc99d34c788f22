/* SPDX-License-Identifier: Apache-2.0
 *
 * The model of sessions, locks, openers and events by which histories are judged,
 * against the state machine that it judges: two who share no code agree on every
 * answer, and on what happened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lease/lease.h"
#include "paxos/base/rng.h"
#include "tools/check/model.h"

enum { COMMANDS = 20000, SESSIONS = 4, HANDLES = 2, NAMES = 8, OWN = 5, CLAIMS_MAX = 64 };

/* Two are opened as an ephemeral directory and a file in it; then where lists of
 * principals stand, and two of them. */
static const char *const names[NAMES] = {"a", "b", "c", "d", "d/x", "acl", "acl/r", "acl/w"};
static const char *const principals[] = {"u1", "u2", "u3", LEASE_ROOT};
enum { DIRECTORY = 3 };

static void *allocate(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

__attribute__((noreturn)) static void exhausted(void *context)
{
    (void)context;
    abort();
}

/* One of few sessions that lives, lived or will live, and its newest request. */
struct asker {
    uint64_t session, request;
};

static enum lease_command_type random_type(struct rng *rng)
{
    const uint64_t kind = rng_below(rng, 100);
    return kind < 4    ? LEASE_CMD_SET_ACL
           : kind < 32 ? LEASE_CMD_ACQUIRE
           : kind < 50 ? LEASE_CMD_RELEASE
           : kind < 56 ? LEASE_CMD_CANCEL
           : kind < 60 ? LEASE_CMD_TIMEOUT
           : kind < 70 ? LEASE_CMD_OPEN
           : kind < 76 ? LEASE_CMD_CLOSE
           : kind < 81 ? LEASE_CMD_DELAY_OVER
           : kind < 82 ? LEASE_CMD_STRETCH
           : kind < 89 ? LEASE_CMD_SESSION_OPEN
           : kind < 91 ? LEASE_CMD_SESSION_CLOSE
           : kind < 94 ? LEASE_CMD_SESSION_EXPIRE
           : kind < 97 ? LEASE_CMD_DELETE
                       : LEASE_CMD_PUT;
}

static bool by_keeper(enum lease_command_type type)
{
    return type == LEASE_CMD_SESSION_OPEN || type == LEASE_CMD_SESSION_EXPIRE ||
           type == LEASE_CMD_TIMEOUT || type == LEASE_CMD_DELAY_OVER ||
           type == LEASE_CMD_STRETCH;
}

static void give_to_session(struct rng *rng, struct asker *asker, struct lease_command *c)
{
    c->session = asker->session;
    c->request =
        rng_below(rng, 5) == 0 ? 1 + rng_below(rng, asker->request + 1) : ++asker->request;
    if (asker->request > 20) {
        c->ack_floor = asker->request - 20;
    }
    if (rng_below(rng, 4) == 0) {
        const uint64_t first = c->ack_floor + 2 + rng_below(rng, 8);
        c->acks[0] = (struct lease_range){.first = first, .last = first + rng_below(rng, 2)};
        c->acks_count = 1;
    }
}

/* Releases name tokens that are right, old or never were. */
static uint64_t some_token(struct rng *rng, const struct model *m, struct bytes path)
{
    const struct model_node *node = model_find(m, path);
    return node == NULL ? 1 : node->token - (rng_below(rng, 8) == 0);
}

/* Instances that are right, old, or asked for by nobody. */
static uint64_t some_instance(struct rng *rng, const struct model *m, struct bytes path)
{
    const struct model_node *node = model_find(m, path);
    const uint64_t kind = rng_below(rng, 10);
    return kind < 6 ? LEASE_ANY : kind < 8 && node != NULL ? node->instance : rng_below(rng, 3);
}

static void aim_open(struct rng *rng, const struct model *m, uint64_t name,
                     struct lease_command *c)
{
    const struct model_node *node = model_find(m, c->path);
    if (c->type == LEASE_CMD_CLOSE) {
        c->if_instance = node == NULL ? 7 : node->instance;
    } else if (rng_below(rng, 10) < 8) {
        c->kind = name == DIRECTORY || name == OWN ? LEASE_DIRECTORY : LEASE_FILE;
        c->ephemeral = name == DIRECTORY || name == DIRECTORY + 1;
    }
}

/* A lock-delay that runs, if there is one. */
static void aim_delay(struct rng *rng, const struct model *m, struct lease_command *c)
{
    for (uint32_t i = 0; i < m->claims_count; i++) {
        if (m->claims[i].delayed && rng_below(rng, 2) == 0) {
            c->subject = m->claims[i].instance;
            c->subject_request = m->claims[i].number;
        }
    }
}

static struct bytes text(const char *words)
{
    return bytes_of(words, strlen(words));
}

/* Mostly the session's own. */
static struct bytes some_principal(struct rng *rng, uint64_t session)
{
    const size_t count = sizeof principals / sizeof *principals;
    return text(principals[rng_below(rng, 20) == 0 ? rng_below(rng, count) : session % count]);
}

/* What a list may look like; the last ones list nobody of ours, and anybody. */
static struct bytes some_list(struct rng *rng)
{
    static const char *const lists[] = {
        "u1\nu2", " u2 # not u1\n\tu3\r\n", "#u1\nu3", "u1x\nu", "", "*", "u2\n* # all", "# *"};
    return text(lists[rng_below(rng, sizeof lists / sizeof *lists)]);
}

static void aim_rights(struct rng *rng, struct lease_command *c)
{
    static const char *const lists[] = {"", "", "r", "w", "w", "none", "r/x"};
    for (uint32_t right = 0; right < LEASE_RIGHTS; right++) {
        const bool kept =
            rng_below(rng, 3) == 0 || (right == LEASE_CHANGE && rng_below(rng, 4) > 0);
        c->acl[right] = kept ? bytes_of(NULL, 0)
                             : text(lists[rng_below(rng, sizeof lists / sizeof *lists)]);
    }
    c->if_generation = rng_below(rng, 5) == 0 ? rng_below(rng, 3) : LEASE_ANY;
}

static struct lease_command random_command(struct rng *rng, struct asker *askers,
                                           const struct model *m, uint64_t epoch)
{
    struct asker *asker = &askers[rng_below(rng, SESSIONS)];
    const enum lease_command_type type = random_type(rng);
    const bool opens = type == LEASE_CMD_OPEN || type == LEASE_CMD_CLOSE;
    const uint64_t name = opens && rng_below(rng, 4) != 0 ? rng_between(rng, DIRECTORY, OWN - 1)
                                                          : rng_below(rng, NAMES);
    struct lease_command c = {.type = type,
                              .principal = some_principal(rng, asker->session),
                              .content = some_list(rng),
                              .path = bytes_of(names[name], strlen(names[name])),
                              .if_generation = LEASE_ANY,
                              .if_instance = LEASE_ANY,
                              .delay_ms = (uint32_t)rng_below(rng, 2) * 1000,
                              .lease_ms = (uint32_t)rng_between(rng, 12000, 60000),
                              .epoch = epoch - (rng_below(rng, 5) == 0),
                              .handle = 1 + rng_below(rng, HANDLES),
                              .mode = rng_below(rng, 3) == 0 ? LEASE_SHARED : LEASE_EXCLUSIVE,
                              .wait = rng_below(rng, 4) != 0,
                              .create = name < DIRECTORY,
                              .subject = asker->session,
                              .subject_request = 1 + rng_below(rng, asker->request + 2)};
    c.token = some_token(rng, m, c.path);
    if (c.type == LEASE_CMD_ACQUIRE || c.type == LEASE_CMD_OPEN) {
        c.if_instance = some_instance(rng, m, c.path);
    }
    if (opens) {
        aim_open(rng, m, name, &c);
    } else if (c.type == LEASE_CMD_DELAY_OVER) {
        aim_delay(rng, m, &c);
    } else if (c.type == LEASE_CMD_SET_ACL) {
        aim_rights(rng, &c);
    } else if (c.type == LEASE_CMD_PUT && model_find(m, text("acl")) == NULL) {
        c.type = LEASE_CMD_CREATE; /* There are no lists yet. */
        c.kind = LEASE_DIRECTORY;
        c.path = text("acl");
    }
    if (c.type == LEASE_CMD_SESSION_OPEN && !model_session_lives(m, asker->session)) {
        asker->session += SESSIONS; /* An id is used once. */
        asker->request = 0;
        c.subject = asker->session;
        c.principal = some_principal(rng, asker->session);
    }
    if (!by_keeper(c.type)) {
        give_to_session(rng, asker, &c);
    }
    return c;
}

static void compare_claims(const struct lease *l, const struct model *m, struct bytes path)
{
    const struct model_node *node = model_find(m, path);
    struct lease_claim claims[CLAIMS_MAX];
    uint32_t count = 0;
    uint32_t at = 0;
    bool more = false;
    if (node == NULL) {
        return;
    }
    assert_int_equal(lease_claims(l, path, 0, CLAIMS_MAX, claims, &count, &more), LEASE_OK);
    for (uint32_t i = 0; i < 3 * m->claims_count; i++) {
        const struct model_claim *expected = &m->claims[i % m->claims_count];
        const uint32_t rank = expected->held ? 0 : expected->delayed ? 1 : 2;
        if (expected->instance == node->instance && rank == i / m->claims_count) {
            assert_true(at < count);
            assert_int_equal(claims[at].session, expected->session);
            assert_int_equal(claims[at].request, expected->request);
            assert_int_equal(claims[at].number, expected->number);
            assert_int_equal(claims[at].held, expected->held);
            assert_int_equal(claims[at].delayed, expected->delayed);
            assert_int_equal(claims[at].token, rank < 2 ? node->token : 0);
            at++;
        }
    }
    assert_int_equal(at, count);
}

static void compare_events(const struct lease *l, const struct model *m, uint32_t first)
{
    const uint64_t before = first == 0 ? 0 : m->events[first - 1].event.revision;
    struct lease_place place = lease_history_seek(l, before);
    struct lease_event event;
    for (uint32_t i = first; i < m->events_count; i++) {
        const struct lease_event *expected = &m->events[i].event;
        assert_true(lease_history_next(l, &place, &event));
        assert_int_equal(event.revision, expected->revision);
        assert_int_equal(event.change, expected->change);
        assert_int_equal(event.instance, expected->instance);
        assert_int_equal(event.parent, expected->parent);
        assert_true(bytes_equal(event.path, expected->path));
        assert_true(bytes_equal(event.acl_read, expected->acl_read));
        assert_int_equal(event.session, expected->session);
        assert_int_equal(event.token, expected->token);
        assert_int_equal(event.delay_ms, expected->delay_ms);
        assert_int_equal(event.failed, expected->failed);
        assert_int_equal(event.ephemeral, expected->ephemeral);
        assert_int_equal(event.has_old, expected->has_old);
        assert_int_equal(event.has_content, expected->has_content);
    }
    assert_false(lease_history_next(l, &place, &event));
}

/* Everybody's rights to a node that is there, or is not. */
static uint32_t compare_rights(const struct lease *l, const struct model *m, struct bytes path)
{
    uint32_t denied = 0;
    for (size_t i = 0; i < sizeof principals / sizeof *principals; i++) {
        for (int right = 0; right < LEASE_RIGHTS; right++) {
            const struct bytes principal = text(principals[i]);
            const bool may = model_may(m, path, principal, (enum lease_right)right);
            assert_int_equal(lease_may(l, path, principal, (enum lease_right)right),
                             may ? LEASE_OK : LEASE_DENIED);
            denied += !may;
        }
    }
    return denied;
}

static void compare_counts(const struct lease *l, const struct model *m)
{
    const struct lease_counts counts = lease_counts(l);
    assert_int_equal(counts.nodes, m->count);
    assert_int_equal(counts.opens, m->opens_count);
    assert_int_equal(counts.held + counts.delayed + counts.waiting, m->claims_count);
    assert_int_equal(lease_stretch_ms(l), m->stretch_ms);
}

/* How often something came up: it was about something. */
struct tally {
    uint32_t granted, delayed, cascades, limits, denied, rights, lost;
};

static void count(struct tally *tally, const struct model *m, uint32_t first,
                  const struct lease_command *c, enum lease_rc rc)
{
    uint32_t deleted = 0;
    for (uint32_t i = first; i < m->events_count; i++) {
        tally->delayed += m->events[i].event.delay_ms > 0;
        deleted += m->events[i].event.change == LEASE_DELETED;
    }
    tally->cascades += deleted > 1;
    tally->granted += c->type == LEASE_CMD_ACQUIRE && rc == LEASE_OK;
    tally->limits += rc == LEASE_LIMIT;
    tally->denied += rc == LEASE_DENIED;
}

static struct tally run(const struct lease_limits *limits)
{
    const struct lease_allocator allocator = {
        .allocate = allocate, .release = release, .exhausted = exhausted};
    struct lease *l = lease_new(&allocator, limits);
    struct model m = {.nodes = NULL};
    struct rng rng = {.state = 11};
    struct asker askers[SESSIONS];
    struct history memory = {.ops = NULL};
    struct tally tally = {.granted = 0};
    for (uint64_t i = 0; i < SESSIONS; i++) {
        askers[i] = (struct asker){.session = 1 + i};
    }
    model_start(&m, limits);
    for (uint64_t slot = 1; slot <= COMMANDS; slot++) {
        const struct lease_command random = random_command(&rng, askers, &m, /* epoch= */ 7);
        const struct history_entry entry = {.index = {.slot = slot, .position = 1},
                                            .epoch = 7,
                                            .wall_ms = slot,
                                            .command = history_copy_command(&memory, &random)};
        const struct lease_at at = {.slot = slot, .position = 1, .epoch = 7, .wall_ms = slot};
        struct lease_result result;
        struct model_outcome expected;
        const uint32_t first = m.events_count;
        lease_apply(l, &at, &random, &result);
        lease_slot_done(l, slot, 1);
        model_command(&m, &entry, &expected);
        assert_int_equal(result.rc, expected.rc);
        assert_int_equal(result.token, expected.token);
        assert_int_equal(result.slot, expected.index.slot);
        assert_int_equal(lease_position(l).revision, m.revision);
        compare_claims(l, &m, random.path);
        compare_events(l, &m, first);
        compare_counts(l, &m);
        tally.rights += compare_rights(l, &m, text(names[rng_below(&rng, NAMES)]));
        tally.rights += compare_rights(l, &m, text("a/none"));
        tally.lost = m.denied_waiting;
        count(&tally, &m, first, &random, result.rc);
    }
    lease_check(l);
    model_free(&m);
    history_free(&memory);
    lease_free(l);
    return tally;
}

static void test_model(void **state)
{
    (void)state;
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    const struct tally tally = run(&limits);
    assert_true(tally.granted > COMMANDS / 100);
    assert_true(tally.delayed > COMMANDS / 1000);
    assert_true(tally.cascades > 0);
    assert_true(tally.denied > COMMANDS / 50);
    assert_true(tally.rights > COMMANDS / 10);
    assert_true(tally.lost > 0);
}

static void test_limits(void **state)
{
    (void)state;
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    limits.claims = 4;
    limits.waiters = 1;
    limits.opens = 2;
    limits.nodes = 5;
    assert_true(run(&limits).limits > COMMANDS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests_name("check_session", tests, NULL, NULL);
}
