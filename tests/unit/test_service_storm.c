/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and locks under faults of all kinds at once.
 */
#include "tests/unit/test_service_requests.h"

#include "paxos/base/rng.h"

/* ------------------------------------------------------------------- faults */

/* A client of the storm: one session, one lock, one call at a time, retried
 * until it is answered for certain. */
struct caller {
    uint64_t session; /* 0: none. */
    uint64_t request; /* Of the call; 0: none. */
    uint64_t tag;     /* Of its last attempt. */
    uint64_t token;   /* Held. */
    enum service_op op;
    uint64_t asked_ms;
};

struct storm {
    struct cell *cell;
    struct rng rng;
    struct caller callers[4];
    uint64_t tag;
    uint64_t sessions;
    uint64_t token_max;
    uint32_t grants;
};

static void attempt(struct storm *storm, struct caller *c)
{
    const uint32_t index = (uint32_t)rng_below(&storm->rng, storm->cell->count);
    if (storm->cell->replica[index].s == NULL) {
        return;
    }
    if (c->op == SERVICE_SESSION_OPEN) {
        c->session = ++storm->sessions; /* A new one each time, as the gateway has it. */
    }
    c->tag = ++storm->tag;
    c->asked_ms = storm->cell->now_ms;
    struct service_request request = request_of(c->op, c->tag, c->session);
    request.client = (uint64_t)(c - storm->callers) + 1;
    request.request = c->request;
    request.ack_floor = c->request - 1;
    request.name = bytes_of("/ls/test/lock", 13);
    request.wait = true;
    request.create = true;
    request.token = c->token;
    request.lease_ms = LEASE;
    submit(storm->cell, index, &request);
}

static void begin_call(struct storm *storm, struct caller *c)
{
    if (c->session == 0) {
        c->request = 0;
        c->token = 0;
        c->op = SERVICE_SESSION_OPEN;
    } else {
        c->op = c->token == 0 ? SERVICE_LOCK_ACQUIRE : SERVICE_LOCK_RELEASE;
    }
    c->request++;
    attempt(storm, c);
}

/* One exclusive holding after the other, each under a higher token: what a
 * resource that checks tokens relies on. */
static void granted(struct storm *storm, struct caller *c, const struct service_reply *reply)
{
    c->token = reply->token;
    assert_true(reply->token != storm->token_max);
    if (reply->token > storm->token_max) {
        storm->token_max = reply->token;
    }
    storm->grants++;
}

static void end_call(struct storm *storm, struct caller *c, const struct service_reply *reply)
{
    c->tag = 0;
    if (reply->outcome == SERVICE_DONE && c->op == SERVICE_LOCK_ACQUIRE) {
        granted(storm, c, reply);
    } else if (reply->outcome == SERVICE_DONE && c->op == SERVICE_LOCK_RELEASE) {
        c->token = 0;
    } else if (reply->outcome != SERVICE_DONE) {
        /* Only the end of the session makes an end of it. */
        assert_int_equal(reply->outcome, SERVICE_REFUSED);
        assert_int_equal(reply->rc, LEASE_NO_SESSION);
        c->session = 0;
    }
}

static void step_caller(struct storm *storm, struct caller *c)
{
    if (c->tag == 0) {
        begin_call(storm, c);
        return;
    }
    const struct answer *answer = answer_to(storm->cell, c->tag);
    if (answer == NULL) { /* Its connection may be gone; an acquire may take long. */
        if (storm->cell->now_ms >= c->asked_ms + 1500) {
            attempt(storm, c);
        }
    } else if (answer->reply.outcome == SERVICE_DONE ||
               answer->reply.outcome == SERVICE_REFUSED) {
        end_call(storm, c, &answer->reply);
    } else if (rng_below(&storm->rng, 4) == 0) {
        attempt(storm, c);
    }
    if (c->session != 0 && c->op != SERVICE_SESSION_OPEN && rng_below(&storm->rng, 5) == 0) {
        const uint32_t index = (uint32_t)rng_below(&storm->rng, storm->cell->count);
        if (storm->cell->replica[index].s != NULL) {
            keepalive(storm->cell, index, ++storm->tag, c->session);
        }
    }
}

static void fault(struct storm *storm)
{
    const uint32_t index = (uint32_t)rng_below(&storm->rng, storm->cell->count);
    struct replica *r = &storm->cell->replica[index];
    switch (rng_below(&storm->rng, 4)) {
    case 0:
        r->cut = !r->cut;
        break;
    case 1:
        r->stalled = !r->stalled;
        break;
    case 2:
        if (r->s != NULL) {
            replica_stop(r);
        } else {
            replica_start(storm->cell, index);
        }
        break;
    default:
        if (r->s != NULL) {
            service_forget(r->s, rng_below(&storm->rng, 4) + 1);
        }
        break;
    }
}

static void heal(struct cell *cell)
{
    for (uint32_t i = 0; i < cell->count; i++) {
        cell->replica[i].cut = false;
        cell->replica[i].stalled = false;
        if (cell->replica[i].s == NULL) {
            replica_start(cell, i);
        }
    }
}

/* service_check() looks at every replica after each turn, and test_observe() at
 * every entry: a session that a client may rely on does not expire. */
static void a_storm(void **state)
{
    (void)state;
    uint32_t grants = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct storm storm = {.cell = cell_start(3), .rng = {.state = seed}};
        for (uint32_t step = 0; step < 500; step++) {
            for (uint32_t i = 0; i < 4; i++) {
                step_caller(&storm, &storm.callers[i]);
            }
            if (rng_below(&storm.rng, 20) == 0) {
                fault(&storm);
            }
            if (rng_below(&storm.rng, 60) == 0) {
                heal(storm.cell);
            }
            pass(storm.cell, rng_below(&storm.rng, 20));
        }
        heal(storm.cell);
        const uint32_t m = await_master(storm.cell);
        pass(storm.cell, 2 * LEASE);
        assert_int_equal(status_of(storm.cell, m).counts.sessions, 0);
        assert_int_equal(status_of(storm.cell, m).counts.held, 0);
        assert_int_equal(status_of(storm.cell, m).counts.waiting, 0);
        grants += storm.grants;
        cell_free(storm.cell);
    }
    print_message("# %u grants\n", grants);
    assert_true(grants > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
