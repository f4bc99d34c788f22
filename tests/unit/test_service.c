/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test_service_support.h"

#include "paxos/base/rng.h"

/* ------------------------------------------------------------- one replica */

static void puts_and_reads(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    ask(cell, m, SERVICE_CREATE, 1, 1, "/ls/test/d", NULL);
    ask(cell, m, SERVICE_PUT, 1, 2, "/ls/local/d/f", "hello");
    ask(cell, m, SERVICE_PUT, 1, 3, "/ls/test/none/f", "hello");
    settle(cell);
    ask(cell, m, SERVICE_GET, 1, 4, "/ls/test/d/f", NULL);
    ask(cell, m, SERVICE_LIST, 1, 5, "/ls/test", NULL);
    ask(cell, m, SERVICE_GET, 1, 6, "/ls/test/d", NULL);
    ask(cell, m, SERVICE_STAT, 1, 7, "/ls/test/d", NULL);
    ask(cell, m, SERVICE_GET, 1, 8, "/ls/test/x", NULL);
    settle(cell);

    /* One turn, one slot: the positions tell. */
    const struct service_reply *made = &answer_to(cell, 1)->reply;
    const struct service_reply *put = &answer_to(cell, 2)->reply;
    assert_int_equal(made->outcome, SERVICE_DONE);
    assert_int_equal(put->outcome, SERVICE_DONE);
    assert_true(put->created);
    assert_int_equal(put->slot, made->slot);
    assert_int_equal(made->position, 1);
    assert_int_equal(put->position, 2);
    assert_int_equal(put->epoch, status_of(cell, m).paxos.epoch);
    assert_int_equal(put->stat.modified_wall_ms, 77);
    assert_int_equal(outcome_of(cell, 3), SERVICE_REFUSED);
    assert_int_equal(answer_to(cell, 3)->reply.rc, LEASE_NO_PARENT);

    assert_int_equal(outcome_of(cell, 4), SERVICE_DONE);
    assert_string_equal(answer_to(cell, 4)->content, "hello");
    assert_int_equal(answer_to(cell, 4)->reply.slot, put->slot);
    assert_int_equal(answer_to(cell, 4)->reply.position, 3);
    assert_int_equal(outcome_of(cell, 5), SERVICE_DONE);
    assert_string_equal(answer_to(cell, 5)->content, "d");
    assert_int_equal(answer_to(cell, 6)->reply.rc, LEASE_NOT_A_FILE);
    assert_int_equal(outcome_of(cell, 7), SERVICE_DONE);
    assert_int_equal(answer_to(cell, 8)->reply.rc, LEASE_NO_NODE);
    cell_free(cell);
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum service_outcome outcome;
    } cases[] = {
        {"/ls/test", SERVICE_DONE},        {"/ls/local", SERVICE_DONE},
        {"/ls/test/", SERVICE_BAD_NAME},   {"/ls/other", SERVICE_BAD_NAME},
        {"/ls/test//a", SERVICE_BAD_NAME}, {"/ls/", SERVICE_BAD_NAME},
        {"/ls", SERVICE_BAD_NAME},         {"", SERVICE_BAD_NAME},
        {"ls/test", SERVICE_BAD_NAME},     {"/ls/test/a/../b", SERVICE_BAD_NAME},
        {"/ls/testa/b", SERVICE_BAD_NAME}, {"/ls/test/a/b", SERVICE_REFUSED},
        {"/ls/tes", SERVICE_BAD_NAME},     {"/ls/locals/x", SERVICE_BAD_NAME},
    };
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask(cell, m, SERVICE_STAT, 1, i, cases[i].name, NULL);
        settle(cell);
        if (outcome_of(cell, i) != cases[i].outcome) {
            fail_msg("%s: %s", cases[i].name, service_outcome_text(outcome_of(cell, i)));
        }
    }
    cell_free(cell);
}

static void a_write_waits_for_its_disk(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    cell->replica[m].stalled = true;
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "x");
    settle(cell);
    assert_null(answer_to(cell, 1));
    cell->replica[m].stalled = false;
    settle(cell);
    assert_int_equal(outcome_of(cell, 1), SERVICE_DONE);
    cell_free(cell);
}

static void limits(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->commands_max = 8;
    cell->reads_max = 4;
    replica_start(cell, 0);
    await_master(cell);
    cell->replica[0].stalled = true;
    char name[32];
    for (uint32_t i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "/ls/test/f%u", i);
        ask(cell, 0, SERVICE_PUT, 1, i, name, "x");
        ask(cell, 0, SERVICE_GET, 1, 100 + i, name, NULL);
    }
    service_low_space(cell->replica[0].s, true);
    turn(cell, 0);
    assert_int_equal(outcome_of(cell, 8), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 9), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 104), SERVICE_OVERLOADED);
    cell->replica[0].stalled = false;
    settle(cell);
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(outcome_of(cell, i), SERVICE_DONE);
    }

    ask(cell, 0, SERVICE_PUT, 1, 20, "/ls/test/g", "x");
    ask(cell, 0, SERVICE_CREATE, 1, 21, "/ls/test/g", NULL);
    ask(cell, 0, SERVICE_DELETE, 1, 22, "/ls/test/f1", NULL);
    settle(cell);
    assert_int_equal(outcome_of(cell, 20), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 21), SERVICE_OVERLOADED);
    assert_int_equal(outcome_of(cell, 22), SERVICE_DONE);

    static char large[LEASE_CONTENT_MAX + 2];
    memset(large, 'x', sizeof large - 1);
    service_low_space(cell->replica[0].s, false);
    ask(cell, 0, SERVICE_PUT, 1, 30, "/ls/test/g", large);
    large[5000] = '\0'; /* More than this cell's value_max. */
    ask(cell, 0, SERVICE_PUT, 1, 31, "/ls/test/g", large);
    settle(cell);
    assert_int_equal(outcome_of(cell, 30), SERVICE_TOO_LARGE);
    assert_int_equal(outcome_of(cell, 31), SERVICE_TOO_LARGE);
    cell_free(cell);
}

/* More than the window and the octets of one batch hold: all in order. */
static void many_commands(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    static char content[512];
    memset(content, 'x', sizeof content - 1);
    uint32_t asked = 0;
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 50; i++, asked++) {
            content[100 + asked % 400] = '\0';
            ask(cell, m, SERVICE_PUT, 1, asked, "/ls/test/f", content);
            content[100 + asked % 400] = 'x';
        }
        settle(cell);
    }
    uint64_t slot = 0;
    uint64_t position = 0;
    for (uint32_t i = 0; i < asked; i++) {
        const struct service_reply *reply = &answer_to(cell, i)->reply;
        assert_int_equal(reply->outcome, SERVICE_DONE);
        assert_int_equal(reply->stat.content_generation, i + 1);
        assert_true(reply->slot > slot || (reply->slot == slot && reply->position > position));
        slot = reply->slot;
        position = reply->position;
    }
    cell_free(cell);
}

/* What one turn answers is bounded; the rest asks for another. */
static void more_reads_than_a_turn_answers(void **state)
{
    (void)state;
    enum { READS = 1200, SIZE = 3900 };
    struct cell *cell = cell_new(1);
    cell->reads_max = READS;
    replica_start(cell, 0);
    await_master(cell);
    static char content[SIZE + 1];
    memset(content, 'x', SIZE);
    ask(cell, 0, SERVICE_PUT, 1, 5000, "/ls/test/f", content);
    settle(cell);
    for (uint32_t i = 0; i < READS; i++) {
        ask(cell, 0, i % 2 == 0 ? SERVICE_GET : SERVICE_LIST, 1, i,
            i % 2 == 0 ? "/ls/test/f" : "/ls/test", NULL);
    }
    settle(cell);
    cell->answers_count = 0;
    for (uint32_t i = 0; i < READS; i++) {
        ask(cell, 0, SERVICE_GET, 1, i, "/ls/test/f", NULL);
    }
    turn(cell, 0);
    assert_true(cell->replica[0].more);
    assert_true(cell->answers_count > 0 && cell->answers_count < READS);
    settle(cell);
    for (uint32_t i = 0; i < READS; i++) {
        assert_int_equal(outcome_of(cell, i), SERVICE_DONE);
        assert_int_equal(answer_to(cell, i)->reply.content.size, SIZE);
    }
    cell_free(cell);
}

static void forgotten_clients(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    struct service *s = cell->replica[m].s;
    for (uint64_t client = 1; client <= 600; client++) {
        ask(cell, m, SERVICE_PUT, client, client, "/ls/test/f", "x");
        ask(cell, m, client % 3 == 0 ? SERVICE_GET : SERVICE_STATUS, client, 1000 + client,
            "/ls/test/f", NULL);
        if (client % 2 == 0) {
            service_forget(s, client);
            service_forget(s, client);
        }
    }
    settle(cell);
    for (uint64_t client = 1; client <= 600; client++) {
        assert_int_equal(answer_to(cell, client) == NULL, client % 2 == 0);
        assert_int_equal(answer_to(cell, 1000 + client) == NULL, client % 2 == 0);
    }
    struct lease_stat stat;
    struct bytes content;
    assert_int_equal(lease_get(service_lease(s), bytes_of("f", 1), &stat, &content), LEASE_OK);
    assert_int_equal(stat.content_generation, 600); /* Their commands ran on. */
    cell_free(cell);
}

static void sets_of_rows(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    struct replica *r = &cell->replica[m];
    pass(cell, 3000);
    const uint32_t idle = r->disk.sets;
    assert_int_equal(status_of(cell, m).tables_slot, status_of(cell, m).position.slot);
    pass(cell, 5000);
    assert_int_equal(r->disk.sets, idle); /* Nothing was applied. */

    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "x");
    settle(cell);
    const uint64_t slot = answer_to(cell, 1)->reply.slot;
    assert_true(status_of(cell, m).tables_slot < slot);
    pass(cell, SERVICE_SET_MS);
    assert_int_equal(status_of(cell, m).tables_slot, slot);
    assert_int_equal(r->disk.sets, idle + 1);
    assert_int_equal(r->disk.at.digest, lease_digest(service_lease(r->s)));

    /* At most one is on its way, and the next one holds what came meanwhile. */
    r->stalled = true;
    ask(cell, m, SERVICE_DELETE, 1, 2, "/ls/test/f", NULL);
    pass(cell, 10);
    r->stalled = false;
    pass(cell, 3 * SERVICE_SET_MS);
    assert_int_equal(r->disk.at.digest, lease_digest(service_lease(r->s)));
    cell_free(cell);
}

static void restart_replays(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    await_master(cell);
    struct replica *r = &cell->replica[0];
    uint64_t replayed = 0;
    char name[32];
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "/ls/test/f%u", i % 17);
        ask(cell, 0, i % 5 == 4 ? SERVICE_DELETE : SERVICE_PUT, 1, i, name, "x");
        pass(cell, 1 + i % 40);
        if (i % 50 == 49) {
            const struct lease_position before = lease_position(service_lease(r->s));
            pass(cell, i == 99 ? 2000 : 200);
            replica_stop(r);
            replica_start(cell, 0); /* test_observe() compares as it replays. */
            assert_int_equal(status_of(cell, 0).position.slot, r->disk.chosen_mark);
            replayed += r->disk.chosen_mark - r->disk.at.applied_slot;
            await_master(cell);
            const struct lease_position after = lease_position(service_lease(r->s));
            assert_true(after.slot > before.slot); /* A first entry. */
            assert_true(after.epoch > before.epoch);
            assert_int_equal(after.revision, before.revision);
        }
    }
    assert_true(replayed > 0);
    cell_free(cell);
}

static void clean_shutdown(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    struct replica *r = &cell->replica[m];
    r->stalled = true;
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "x");
    ask(cell, m, SERVICE_GET, 1, 2, "/ls/test/f", NULL);
    service_hand_over(r->s, cell->now_ms);
    ask(cell, m, SERVICE_PUT, 1, 3, "/ls/test/f", "y");
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    assert_false(service_idle(r->s));
    r->stalled = false;
    pass(cell, 100);
    assert_int_equal(outcome_of(cell, 1), SERVICE_DONE);
    assert_non_null(answer_to(cell, 2));
    assert_true(service_idle(r->s));
    assert_int_equal(r->disk.at.applied_slot, lease_position(service_lease(r->s)).slot);
    assert_int_equal(r->disk.at.digest, lease_digest(service_lease(r->s)));
    cell_free(cell);
}

/* ----------------------------------------------------------- three replicas */

static void three_replicas(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    const uint32_t f = (m + 1) % 3;
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "x");
    ask(cell, f, SERVICE_PUT, 1, 2, "/ls/test/f", "y");
    ask(cell, f, SERVICE_GET, 1, 3, "/ls/test/f", NULL);
    ask(cell, f, SERVICE_STATUS, 1, 4, "", NULL);
    pass(cell, 300);
    ask(cell, m, SERVICE_STATUS, 1, 5, "", NULL);
    settle(cell);
    assert_int_equal(outcome_of(cell, 1), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);
    assert_int_equal(answer_to(cell, 2)->reply.master, m + 1);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    assert_string_equal(answer_to(cell, 4)->content, "survives 0");
    assert_string_equal(answer_to(cell, 5)->content, "survives 1");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(status_of(cell, i).digest, status_of(cell, m).digest);
        assert_int_equal(status_of(cell, i).position.slot, status_of(cell, m).position.slot);
    }
    pass(cell, 3000);
    ask(cell, m, SERVICE_PUT, 1, 6, "/ls/test/f", "y");
    pass(cell, 3000);
    assert_true(status_of(cell, m).log_first > 1); /* All have it durable. */
    cell_free(cell);
}

static void a_read_waits_for_its_round(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "old");
    settle(cell);
    cell->replica[m].cut = true;
    ask(cell, m, SERVICE_GET, 1, 2, "/ls/test/f", NULL);
    settle(cell);
    assert_null(answer_to(cell, 2));

    const uint32_t n = await_master(cell);
    assert_int_not_equal(n, m);
    ask(cell, n, SERVICE_PUT, 1, 3, "/ls/test/f", "new");
    pass(cell, 1000);
    assert_int_equal(outcome_of(cell, 3), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);
    cell->replica[m].cut = false;
    ask(cell, n, SERVICE_GET, 1, 4, "/ls/test/f", NULL);
    pass(cell, 1000);
    assert_string_equal(answer_to(cell, 4)->content, "new");
    cell_free(cell);
}

/* A deposed master answers `not_master` for what a later master's own entry has
 * put out of force, and only a guess for what it never hears of. */
static void lost_writes(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    cell->replica[m].cut = true;
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "lost");
    settle(cell);
    ask(cell, m, SERVICE_PUT, 1, 2, "/ls/test/f", "lost too");
    settle(cell);
    pass(cell, 700); /* The lease is over, two more are not. */
    ask(cell, m, SERVICE_PUT, 1, 3, "/ls/test/f", "late");
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    assert_null(answer_to(cell, 1));
    await_master(cell);
    cell->replica[m].cut = false;
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 1), SERVICE_NOT_MASTER);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);

    const uint32_t n = await_master(cell);
    cell->replica[n].cut = true;
    ask(cell, n, SERVICE_PUT, 1, 4, "/ls/test/f", "lost again");
    pass(cell, 1400);
    assert_null(answer_to(cell, 4));
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 4), SERVICE_UNKNOWN);
    cell->replica[n].cut = false;
    pass(cell, 1000);
    assert_int_equal(outcome_of(cell, 4), SERVICE_UNKNOWN);
    struct lease_stat stat;
    struct bytes content;
    assert_int_equal(
        lease_get(service_lease(cell->replica[n].s), bytes_of("f", 1), &stat, &content),
        LEASE_NO_NODE);
    cell_free(cell);
}

/* What a peer had voted for is carried forward, and its client is told so by
 * the replica that proposed it and is master no more. */
static void carried_writes(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 150);
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "carried");
    turn(cell, m); /* The accepts leave ... */
    while (cell->mail_count > 0) {
        deliver(cell);
    }
    cell->replica[m].cut = true; /* ... and no vote comes back. */
    settle(cell);
    assert_null(answer_to(cell, 1));
    await_master(cell);
    cell->replica[m].cut = false;
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 1), SERVICE_DONE);
    assert_false(status_of(cell, m).paxos.serving);
    cell_free(cell);
}

/* The second of two writes reaches a peer, the first none: of what a master left
 * open only a prefix without a gap may come into force. */
static void behind_a_hole(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 150);
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/first", "x");
    turn(cell, m);
    while (cell->mail_count > 0) {
        free(cell->mail[--cell->mail_count].frame);
    }
    ask(cell, m, SERVICE_PUT, 1, 2, "/ls/test/second", "x");
    turn(cell, m);
    while (cell->mail_count > 0) {
        deliver(cell);
    }
    cell->replica[m].cut = true;
    const uint32_t n = await_master(cell);
    cell->replica[m].cut = false;
    pass(cell, 300);
    assert_int_equal(outcome_of(cell, 1), SERVICE_NOT_MASTER);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);
    assert_int_equal(status_of(cell, n).counts.nodes, 1); /* The root. */
    cell_free(cell);
}

static void hand_over_to_another(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    pass(cell, 300);
    ask(cell, m, SERVICE_PUT, 1, 1, "/ls/test/f", "x");
    service_hand_over(cell->replica[m].s, cell->now_ms);
    pass(cell, 400);
    assert_int_equal(outcome_of(cell, 1), SERVICE_DONE);
    assert_true(service_idle(cell->replica[m].s));
    const uint32_t n = await_master(cell);
    assert_int_not_equal(n, m);
    ask(cell, m, SERVICE_PUT, 1, 2, "/ls/test/f", "y");
    settle(cell);
    assert_int_equal(answer_to(cell, 2)->reply.master, n + 1);
    cell_free(cell);
}

/* ------------------------------------------------------------------- faults */

static void one_fault(struct cell *cell, struct rng *rng)
{
    const uint32_t index = (uint32_t)rng_below(rng, cell->count);
    struct replica *r = &cell->replica[index];
    switch (rng_below(rng, 4)) {
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
            replica_start(cell, index);
        }
        break;
    default:
        while (cell->mail_count > 0 && rng_below(rng, 4) != 0) {
            free(cell->mail[--cell->mail_count].frame);
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
    await_master(cell);
    pass(cell, 3000);
}

/* A put as the one who asked may see it: what "not executed" and "done" say of
 * it is true for ever. */
static void judge(const struct cell *cell, uint64_t tag, uint32_t seen[8])
{
    const struct answer *answer = answer_to(cell, tag);
    if (answer == NULL) {
        return; /* Its replica was stopped. */
    }
    seen[answer->reply.outcome]++;
    switch (answer->reply.outcome) {
    case SERVICE_DONE:
        assert_int_equal(cell->executed[tag], answer->reply.slot);
        break;
    case SERVICE_NOT_MASTER:
    case SERVICE_OVERLOADED:
        assert_int_equal(cell->executed[tag], 0);
        break;
    case SERVICE_UNKNOWN:
        break;
    case SERVICE_REFUSED:
    case SERVICE_BAD_NAME:
    case SERVICE_TOO_LARGE:
    case SERVICE_TOO_OLD:
        fail_msg("%s", service_outcome_text(answer->reply.outcome));
    }
}

static void outcomes_are_true(void **state)
{
    (void)state;
    uint32_t seen[8] = {0};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rng rng = {.state = seed};
        struct cell *cell = cell_start(3);
        uint64_t tag = 0;
        char content[16];
        for (uint32_t step = 0; step < 600; step++) {
            for (uint32_t i = 0; i < 3; i++) {
                if (cell->replica[i].s != NULL && rng_below(&rng, 2) == 0) {
                    snprintf(content, sizeof content, "#%u", (unsigned)++tag);
                    ask(cell, i, SERVICE_PUT, 1, tag, "/ls/test/f", content);
                }
            }
            if (rng_below(&rng, 12) == 0) {
                for (uint32_t i = 0; i < 3; i++) { /* In the middle of a turn's travel. */
                    if (cell->replica[i].s != NULL && cell->replica[i].more) {
                        turn(cell, i);
                    }
                }
                one_fault(cell, &rng);
            }
            pass(cell, rng_below(&rng, 20));
        }
        heal(cell);
        for (uint64_t i = 1; i <= tag; i++) {
            judge(cell, i, seen);
        }
        cell_free(cell);
    }
    assert_true(seen[SERVICE_DONE] > 0 && seen[SERVICE_NOT_MASTER] > 0);
    assert_true(seen[SERVICE_UNKNOWN] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_and_reads),
        cmocka_unit_test(names),
        cmocka_unit_test(a_write_waits_for_its_disk),
        cmocka_unit_test(limits),
        cmocka_unit_test(many_commands),
        cmocka_unit_test(more_reads_than_a_turn_answers),
        cmocka_unit_test(forgotten_clients),
        cmocka_unit_test(sets_of_rows),
        cmocka_unit_test(restart_replays),
        cmocka_unit_test(clean_shutdown),
        cmocka_unit_test(three_replicas),
        cmocka_unit_test(a_read_waits_for_its_round),
        cmocka_unit_test(lost_writes),
        cmocka_unit_test(carried_writes),
        cmocka_unit_test(behind_a_hole),
        cmocka_unit_test(hand_over_to_another),
        cmocka_unit_test(outcomes_are_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
