/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and locks against a naive model, over long random logs.
 *
 * Beside the machine runs a twin that is fed the same log as bytes; now and then
 * one of the two is replaced by what its rows say.
 */
#include "tests/unit/lease_lock_naive.h"

#include "paxos/base/rng.h"

/* ----------------------------------------------------------------- workload */

static struct ask ask_lock(struct model *m, struct rng *rng, uint64_t id, uint64_t request)
{
    struct ask ask = {.session = (unsigned)id, .name = (unsigned)rng_below(rng, NAMES)};
    const char *path = names[ask.name];
    const uint64_t handle = rng_below(rng, HANDLES);
    switch (rng_below(rng, 16)) {
    default: {
        const enum lease_mode mode = rng_below(rng, 2) == 0 ? LEASE_SHARED : LEASE_EXCLUSIVE;
        ask.command = with_handle(handle, acquire(id, request, path, mode));
        ask.command.wait = rng_below(rng, 4) != 0;
        ask.command.create = rng_below(rng, 2) == 0;
        break;
    }
    case 8:
    case 9:
    case 10:
    case 11:
    case 12: {
        const bool right = rng_below(rng, 8) != 0;
        ask.command = release(id, request, path, m->token[ask.name] - !right);
        for (unsigned i = 0; i < m->claims; i++) {
            if (m->claim[i].session == id && m->claim[i].held && rng_below(rng, 3) != 0) {
                ask.name = m->claim[i].name;
                ask.command.token = m->token[ask.name] - !right;
                ask.command.path = text(names[ask.name]);
                ask.command.handle = m->claim[i].handle;
            }
        }
        break;
    }
    case 13:
        ask.command = cancel(id, request, rng_below(rng, request + 1));
        break;
    case 14:
        ask.command = by(id, request, delete_any(path));
        break;
    case 15:
        ask.command = rng_below(rng, 3) == 0 ? close_session(id, request)
                                             : cancel(id, request, request + 1);
        break;
    }
    return ask;
}

static void add_acks(struct rng *rng, uint64_t request, struct lease_command *c)
{
    if (rng_below(rng, 3) == 0) {
        c->ack_floor = rng_below(rng, request + 1) * 9 / 10;
    }
    if (rng_below(rng, 4) == 0) {
        for (uint64_t left = rng_below(rng, 4); left > 0; left--) {
            const uint64_t first = rng_below(rng, request + 1);
            const uint64_t last = first + rng_below(rng, 3);
            if (last < request || rng_below(rng, 20) == 0) { /* Seldom its own. */
                c->acks[c->acks_count++] = (struct lease_range){first, last};
            }
        }
    }
}

static struct ask random_ask(struct model *m, struct rng *rng, uint64_t *next, uint64_t epoch)
{
    const uint64_t id = rng_between(rng, m->opened > 8 ? m->opened - 8 : 1, m->opened + 1);
    struct ask ask = {.session = (unsigned)id, .name = (unsigned)rng_below(rng, NAMES)};
    const uint64_t seen = next[id];
    const uint64_t judged = rng_below(rng, 4) == 0 ? epoch - 1 : epoch;
    switch (rng_below(rng, 40)) {
    case 0:
        ask.command = expire_session(id, judged);
        return ask;
    case 1:
    case 2:
        ask.command = time_out(id, rng_below(rng, seen + 1), judged);
        return ask;
    case 3:
        ask.command = delete_any(names[ask.name]);
        return ask;
    default:
        break;
    }
    if (id > m->opened || seen + 2 >= REQUESTS_MAX) {
        if (m->opened + 2 < SESSIONS_MAX) {
            ask.session = m->opened + 1;
            ask.command = open_session(ask.session);
        } else {
            ask.command = expire_session(id, epoch);
        }
        return ask;
    }
    /* New, or once more, or one that was never sent. */
    const uint64_t how = rng_below(rng, 10);
    const uint64_t request = how == 0   ? rng_below(rng, seen + 1)
                             : how == 1 ? ++next[id] + 1
                                        : ++next[id];
    ask = ask_lock(m, rng, id, request);
    add_acks(rng, request, &ask.command);
    return ask;
}

/* -------------------------------------------------------------- comparisons */

static void compare_settled(const struct model *m, const struct lease *l)
{
    uint32_t count = 0;
    const struct lease_settled *settled = lease_settled(l, &count);
    assert_int_equal(count, m->settled_count);
    for (uint32_t i = 0; i < count; i++) {
        unsigned found = 0;
        for (unsigned j = 0; j < count; j++) {
            const struct model_settled *other = &m->settled[j];
            found +=
                settled[i].session == other->session && settled[i].request == other->request &&
                settled[i].result.rc == other->rc && settled[i].result.token == other->token;
        }
        assert_int_equal(found, 1);
        assert_int_equal(settled[i].result.slot, m->slot);
        assert_int_equal(settled[i].result.position, m->position);
        assert_int_equal(settled[i].result.revision, m->revision);
    }
}

static void compare_claims(const struct model *m, const struct lease *l)
{
    unsigned seen = 0;
    for (unsigned name = 0; name < NAMES; name++) {
        struct lease_claim claims[CLAIMS_MAX];
        uint32_t count = 0;
        bool more = true;
        const enum lease_rc rc =
            lease_claims(l, text(names[name]), 0, CLAIMS_MAX, claims, &count, &more);
        assert_int_equal(rc, m->exists[name] ? LEASE_OK : LEASE_NO_NODE);
        for (uint32_t i = 0, j = 0; i < m->claims && rc == LEASE_OK; i++) {
            const struct model_claim *claim = &m->claim[i];
            if (claim->name == name) {
                assert_true(j < count);
                assert_int_equal(claims[j].session, claim->session);
                assert_int_equal(claims[j].handle, claim->handle);
                assert_int_equal(claims[j].request, claim->request);
                assert_int_equal(claims[j].mode, claim->mode);
                assert_int_equal(claims[j].held, claim->held);
                assert_int_equal(claims[j].token, claim->held ? m->token[name] : 0);
                j++;
            }
        }
        seen += rc == LEASE_OK ? count : 0;
    }
    assert_int_equal(seen, m->claims);
    const struct lease_counts counts = lease_counts(l);
    assert_int_equal(counts.held + counts.waiting, m->claims);
    assert_int_equal(counts.sessions, m->live);
}

/* ------------------------------------------------------------------ reloads */

enum { ROWS_MAX = 3000, ROW_MAX = 6000 };

struct table {
    size_t count;
    struct table_row {
        uint8_t key[32], value[ROW_MAX];
        size_t key_size, value_size;
    } row[ROWS_MAX];
};

static void table_add(void *context, const struct lease_row *row)
{
    struct table *t = context;
    assert_true(t->count < ROWS_MAX);
    struct table_row *copy = &t->row[t->count++];
    assert_true(row->value.data != NULL && row->value.size <= ROW_MAX);
    memcpy(copy->key, row->key.data, row->key.size);
    memcpy(copy->value, row->value.data, row->value.size);
    copy->key_size = row->key.size;
    copy->value_size = row->value.size;
}

static void reload(struct heap *heap, struct lease **machine)
{
    static struct table table;
    table.count = 0;
    lease_rows_all(*machine, table_add, &table);
    struct lease *loaded = state_new(heap, limits);
    for (size_t i = 0; i < table.count; i++) {
        const struct table_row *row = &table.row[i];
        const struct lease_row view = {bytes_of(row->key, row->key_size),
                                       bytes_of(row->value, row->value_size)};
        assert_true(lease_row_load(loaded, &view));
    }
    const struct lease_position position = lease_position(*machine);
    assert_true(lease_loaded(loaded, position.slot, position.position, lease_digest(*machine)));
    lease_check(loaded);
    lease_free(*machine);
    *machine = loaded;
}

/* --------------------------------------------------------------------- runs */

struct run {
    struct heap heap;
    struct lease *machine, *twin;
    struct rng rng;
    struct model model;
    uint64_t next[SESSIONS_MAX + 2]; /* Request ids used so far. */
    uint64_t epoch;
    unsigned outcomes[LEASE_DENIED + 1];
};

static struct lease_result apply_as_bytes(struct lease *l, const struct lease_at *at,
                                          const struct lease_command *command)
{
    uint8_t log[1024];
    struct writer w = writer_over(log, sizeof log);
    lease_command_encode(command, &w);
    assert_false(w.failed);
    struct reader r = reader_over(bytes_of(log, w.size));
    struct lease_command decoded;
    assert_true(lease_command_decode(&r, &decoded));
    struct lease_result result;
    lease_apply(l, at, &decoded, &result);
    return result;
}

static void one_command(struct run *run, const struct lease_at *at)
{
    struct model *m = &run->model;
    const struct ask ask = random_ask(m, &run->rng, run->next, run->epoch);
    m->slot = at->slot;
    m->position = at->position;
    struct lease_result result;
    lease_apply(run->machine, at, &ask.command, &result);
    const struct lease_result twin = apply_as_bytes(run->twin, at, &ask.command);
    assert_same_result(&result, &twin);

    const struct outcome expected = model_apply(m, &ask, at->epoch);
    m->opened += ask.command.type == LEASE_CMD_SESSION_OPEN && expected.rc == LEASE_OK;
    if (result.rc != expected.rc) {
        fail_msg("slot %d: %s, not %s", (int)at->slot, lease_rc_text(result.rc),
                 lease_rc_text(expected.rc));
    }
    assert_int_equal(result.token, expected.token);
    assert_int_equal(result.slot, expected.slot);
    assert_int_equal(result.position, expected.position);
    if (lease_position(run->machine).revision != m->revision) {
        char line[200];
        fail_msg("%s: %s, revision %d", lease_command_describe(&ask.command, line, sizeof line),
                 lease_rc_text(result.rc), (int)m->revision);
    }
    run->outcomes[result.rc]++;
    compare_settled(m, run->machine);
    compare_claims(m, run->machine);
    lease_check(run->machine);
}

static void maintain(struct run *run)
{
    assert_true(lease_digest(run->machine) == lease_digest(run->twin));
    switch (rng_below(&run->rng, 40)) {
    case 0:
        reload(&run->heap, &run->machine);
        break;
    case 1:
        reload(&run->heap, &run->twin);
        break;
    case 2:
        lease_rows_taken(run->machine);
        break;
    default:
        break;
    }
}

static void run_log(uint64_t seed, int slots, unsigned *outcomes)
{
    static struct run run;
    run = (struct run){.heap = heap_new(), .rng.state = seed, .epoch = 10};
    run.machine = state_new(&run.heap, limits);
    run.twin = state_new(&run.heap, limits);

    for (int i = 0; i < slots; i++) {
        const uint64_t slot = lease_position(run.machine).slot + 1;
        const uint32_t commands = (uint32_t)rng_below(&run.rng, 5);
        if (commands == 0) {
            run.epoch += rng_below(&run.rng, 2);
            lease_begin_epoch(run.machine, slot, run.epoch);
            lease_begin_epoch(run.twin, slot, run.epoch);
        }
        for (uint32_t position = 1; position <= commands; position++) {
            one_command(&run, &(struct lease_at){.slot = slot,
                                                 .position = position,
                                                 .epoch = run.epoch,
                                                 .wall_ms = WALL_MS});
        }
        lease_slot_done(run.machine, slot, commands);
        lease_slot_done(run.twin, slot, commands);
        maintain(&run);
    }
    lease_check(run.twin);
    lease_free(run.machine);
    lease_free(run.twin);
    assert_int_equal(run.heap.used, 0);
    for (int rc = 0; rc <= LEASE_DENIED; rc++) {
        outcomes[rc] += run.outcomes[rc];
    }
}

static void test_random_logs(void **state)
{
    (void)state;
    unsigned outcomes[LEASE_DENIED + 1] = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_log(seed, 1500, outcomes); /* About 3,000 commands. */
    }
    /* All that can come of these commands has come of some. */
    static const enum lease_rc wanted[] = {LEASE_OK,           LEASE_NO_NODE,  LEASE_LIMIT,
                                           LEASE_NO_SESSION,   LEASE_WAITING,  LEASE_LOCKED,
                                           LEASE_NOT_HELD,     LEASE_OWNED,    LEASE_CANCELLED,
                                           LEASE_ACKNOWLEDGED, LEASE_OLD_EPOCH};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (outcomes[wanted[i]] < 20) {
            fail_msg("%s: %u times", lease_rc_text(wanted[i]), outcomes[wanted[i]]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_logs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
