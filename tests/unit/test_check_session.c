/* SPDX-License-Identifier: Apache-2.0
 *
 * The model of sessions and locks by which histories are judged, against the
 * state machine that it judges: two who share no code agree on every answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lease/lease.h"
#include "paxos/base/rng.h"
#include "tools/check/model.h"

enum { COMMANDS = 20000, SESSIONS = 4, HANDLES = 2, NAMES = 3, CLAIMS_MAX = 64 };

static const char *const names[NAMES] = {"a", "b", "c"};

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
    return kind < 40   ? LEASE_CMD_ACQUIRE
           : kind < 65 ? LEASE_CMD_RELEASE
           : kind < 75 ? LEASE_CMD_CANCEL
           : kind < 80 ? LEASE_CMD_TIMEOUT
           : kind < 88 ? LEASE_CMD_SESSION_OPEN
           : kind < 90 ? LEASE_CMD_SESSION_CLOSE
           : kind < 93 ? LEASE_CMD_SESSION_EXPIRE
                       : LEASE_CMD_PUT;
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

static struct lease_command random_command(struct rng *rng, struct asker *askers,
                                           const struct model *m, uint64_t epoch)
{
    struct asker *asker = &askers[rng_below(rng, SESSIONS)];
    struct lease_command c = {.type = random_type(rng),
                              .path = bytes_of(names[rng_below(rng, NAMES)], 1),
                              .if_generation = LEASE_ANY,
                              .if_instance = LEASE_ANY,
                              .epoch = epoch - (rng_below(rng, 5) == 0),
                              .handle = 1 + rng_below(rng, HANDLES),
                              .mode = rng_below(rng, 3) == 0 ? LEASE_SHARED : LEASE_EXCLUSIVE,
                              .wait = rng_below(rng, 4) != 0,
                              .create = true,
                              .subject = asker->session,
                              .subject_request = 1 + rng_below(rng, asker->request + 2)};
    c.token = some_token(rng, m, c.path);
    if (c.type == LEASE_CMD_SESSION_OPEN && !model_session_lives(m, asker->session)) {
        asker->session += SESSIONS; /* An id is used once. */
        asker->request = 0;
        c.subject = asker->session;
    }
    if (c.type != LEASE_CMD_SESSION_OPEN && c.type != LEASE_CMD_SESSION_EXPIRE &&
        c.type != LEASE_CMD_TIMEOUT) {
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
    for (uint32_t i = 0; i < m->claims_count; i++) {
        if (m->claims[i].instance == node->instance) {
            assert_true(at < count);
            assert_int_equal(claims[at].session, m->claims[i].session);
            assert_int_equal(claims[at].request, m->claims[i].request);
            assert_int_equal(claims[at].held, m->claims[i].held);
            assert_int_equal(claims[at].token, claims[at].held ? node->token : 0);
            at++;
        }
    }
    assert_int_equal(at, count);
}

static void test_model(void **state)
{
    (void)state;
    const struct lease_allocator allocator = {
        .allocate = allocate, .release = release, .exhausted = exhausted};
    const struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    struct lease *l = lease_new(&allocator, &limits);
    struct model m = {.nodes = NULL};
    struct rng rng = {.state = 11};
    struct asker askers[SESSIONS];
    struct history memory = {.ops = NULL};
    uint32_t granted = 0;
    for (uint64_t i = 0; i < SESSIONS; i++) {
        askers[i] = (struct asker){.session = 1 + i};
    }
    model_start(&m);
    for (uint64_t slot = 1; slot <= COMMANDS; slot++) {
        const struct lease_command random = random_command(&rng, askers, &m, /* epoch= */ 7);
        const struct history_entry entry = {.index = {.slot = slot, .position = 1},
                                            .epoch = 7,
                                            .wall_ms = slot,
                                            .command = history_copy_command(&memory, &random)};
        const struct lease_at at = {.slot = slot, .position = 1, .epoch = 7, .wall_ms = slot};
        struct lease_result result;
        struct model_outcome expected;
        lease_apply(l, &at, &random, &result);
        lease_slot_done(l, slot, 1);
        model_command(&m, &entry, &expected);
        assert_int_equal(result.rc, expected.rc);
        assert_int_equal(result.token, expected.token);
        assert_int_equal(result.slot, expected.index.slot);
        assert_int_equal(lease_position(l).revision, m.revision);
        compare_claims(l, &m, random.path);
        granted += random.type == LEASE_CMD_ACQUIRE && result.rc == LEASE_OK;
    }
    assert_true(granted > COMMANDS / 100); /* It was about something. */
    lease_check(l);
    model_free(&m);
    history_free(&memory);
    lease_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests_name("check_session", tests, NULL, NULL);
}
