/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions, locks, opens and history against a naive model, over long random logs.
 *
 * Beside the machine runs a twin that is fed the same log as bytes; now and then
 * one of the two is replaced by what its rows say.
 */
#include "tests/unit/lease_lock_commands.h"

#include "paxos/base/rng.h"

/* ----------------------------------------------------------------- workload */

static uint64_t random_pin(const struct model *m, struct rng *rng, unsigned name)
{
    const uint64_t how = rng_below(rng, 12);
    return how > 1 ? LEASE_ANY : how == 1 ? m->instance[name] : m->instance[name] - 1;
}

static struct lease_command ask_open(const struct model *m, struct rng *rng, uint64_t id,
                                     uint64_t request, unsigned name)
{
    if (rng_below(rng, 3) == 0) {
        return close_node(id, request, names[name],
                          m->instance[name] + (rng_below(rng, 8) == 0));
    }
    struct lease_command command = open_node(id, request, names[name]);
    command.kind = (enum lease_kind)rng_below(rng, 3);
    if (name == FIRST_CHILD - 1 && command.kind == LEASE_FILE && rng_below(rng, 4) != 0) {
        command.kind = LEASE_DIRECTORY;
    }
    command.ephemeral = rng_below(rng, 4) != 0;
    command.if_instance = rng_below(rng, 12) == 0 ? 0 : random_pin(m, rng, name);
    return command;
}

/* Mostly of one that runs. */
static struct lease_command ask_delay_over(const struct model *m, struct rng *rng,
                                           uint64_t epoch)
{
    uint64_t instance = rng_below(rng, m->instances + 1);
    uint64_t number = rng_below(rng, m->numbers + 1);
    for (unsigned i = 0; i < m->claims; i++) {
        if (m->claim[i].delayed && rng_below(rng, 3) != 0) {
            instance = m->instance[m->claim[i].name];
            number = m->claim[i].number;
        }
    }
    return delay_over(instance, number, epoch);
}

static struct ask ask_lock(struct model *m, struct rng *rng, uint64_t id, uint64_t request)
{
    struct ask ask = {.session = (unsigned)id, .name = (unsigned)rng_below(rng, NAMES)};
    const char *path = names[ask.name];
    const uint64_t handle = rng_below(rng, HANDLES);
    switch (rng_below(rng, 20)) {
    default: {
        const enum lease_mode mode = rng_below(rng, 2) == 0 ? LEASE_SHARED : LEASE_EXCLUSIVE;
        ask.command = with_handle(handle, acquire(id, request, path, mode));
        ask.command.wait = rng_below(rng, 4) != 0;
        ask.command.create = rng_below(rng, 2) == 0;
        ask.command.if_instance = random_pin(m, rng, ask.name);
        ask.command.delay_ms = (uint32_t)rng_below(rng, 3) * 1000;
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
    case 16:
    case 17:
    case 18:
    case 19:
        ask.command = with_handle(handle, ask_open(m, rng, id, request, ask.name));
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

/* Mostly one that lives. */
static uint64_t random_session(const struct model *m, struct rng *rng)
{
    uint64_t id = 0;
    for (int tries = 0; tries < 8 && !m->session[id].live; tries++) {
        id = rng_between(rng, m->opened > 12 ? m->opened - 12 : 1, m->opened + 1);
    }
    return id;
}

static struct ask random_ask(struct model *m, struct rng *rng, uint64_t *next, uint64_t epoch)
{
    const uint64_t id = random_session(m, rng);
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
    case 4:
    case 5:
    case 6:
        ask.command = ask_delay_over(m, rng, judged);
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

static void compare_delays(const struct model *m, const struct lease *l)
{
    uint32_t count = 0;
    const struct lease_delay *delays = lease_delays_begun(l, &count);
    assert_int_equal(count, m->begun_count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(delays[i].instance, m->begun[i].instance);
        assert_int_equal(delays[i].number, m->begun[i].number);
        assert_int_equal(delays[i].delay_ms, m->begun[i].delay_ms);
    }
}

static void compare_event(const struct model_event *expected, const struct lease_event *event)
{
    const bool written = expected->change == LEASE_CREATED;
    const bool of_file = expected->kind == LEASE_FILE;
    assert_int_equal(event->revision, expected->revision);
    assert_int_equal(event->change, expected->change);
    assert_int_equal(event->kind, expected->kind);
    assert_int_equal(event->instance, expected->instance);
    assert_true(bytes_equal(event->path, text(names[expected->name])));
    assert_int_equal(event->wall_ms, WALL_MS);
    assert_int_equal(event->generation, written && of_file);
    assert_int_equal(event->session, expected->session);
    assert_int_equal(event->mode, expected->mode);
    assert_int_equal(event->token, expected->token);
    assert_int_equal(event->delay_ms, expected->delay_ms);
    assert_int_equal(event->ephemeral, expected->ephemeral);
    assert_int_equal(event->failed, expected->failed);
    assert_int_equal(event->has_content, written && of_file);
    assert_int_equal(event->has_old, expected->change == LEASE_DELETED && of_file);
    assert_int_equal(event->content.size + event->old.size + event->content_size, 0);
}

/* All that has happened above `revision`, and nothing else. */
static void compare_history(const struct model *m, const struct lease *l, uint64_t revision)
{
    struct lease_place place = lease_history_seek(l, revision);
    struct lease_event event;
    unsigned at = m->events;
    while (at > 0 && m->event[at - 1].revision > revision) {
        at--;
    }
    while (lease_history_next(l, &place, &event)) {
        assert_true(at < m->events);
        compare_event(&m->event[at++], &event);
    }
    assert_int_equal(at, m->events);
}

/* The claims of one name that are held, or delayed, or wait: in order of asking. */
static uint32_t compare_part(const struct model *m, unsigned name, bool held, bool delayed,
                             const struct lease_claim *claims)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->claims; i++) {
        const struct model_claim *claim = &m->claim[i];
        if (claim->name == name && claim->held == held && claim->delayed == delayed) {
            assert_int_equal(claims[count].session, claim->session);
            assert_int_equal(claims[count].handle, claim->handle);
            assert_int_equal(claims[count].request, claim->request);
            assert_int_equal(claims[count].number, claim->number);
            assert_int_equal(claims[count].mode, claim->mode);
            assert_int_equal(claims[count].held, held);
            assert_int_equal(claims[count].delayed, delayed);
            assert_int_equal(claims[count].token, held || delayed ? m->token[name] : 0);
            assert_int_equal(claims[count].delay_ms, held || delayed ? claim->delay_ms : 0);
            assert_true(bytes_equal(claims[count].label, text("label")));
            count++;
        }
    }
    return count;
}

static void compare_node(const struct model *m, const struct lease *l, unsigned name)
{
    struct lease_stat stat;
    struct bytes content;
    assert_int_equal(lease_get(l, text(names[name]), &stat, &content), LEASE_OK);
    const bool held = model_count(m, name, true) > 0;
    assert_int_equal(stat.instance, m->instance[name]);
    assert_int_equal(stat.kind, m->kind[name]);
    assert_int_equal(stat.ephemeral, m->ephemeral[name]);
    assert_int_equal(stat.lock_token, held ? m->token[name] : 0);
    for (enum lease_mode mode = LEASE_EXCLUSIVE; mode <= LEASE_SHARED; mode++) {
        bool holds = false;
        for (unsigned i = 0; i < m->claims; i++) {
            const struct model_claim *claim = &m->claim[i];
            holds |= claim->name == name && claim->held && claim->mode == mode;
        }
        const uint64_t token = m->token[name];
        assert_int_equal(lease_sequencer(l, text(names[name]), mode, token),
                         holds ? LEASE_OK : LEASE_NOT_HELD);
        assert_int_equal(lease_sequencer(l, text(names[name]), mode, token + 1),
                         LEASE_NOT_HELD);
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
        if (!m->exists[name]) {
            assert_int_equal(rc, model_walk(m, name) == LEASE_NOT_A_DIRECTORY
                                     ? LEASE_NOT_A_DIRECTORY
                                     : LEASE_NO_NODE);
            continue;
        }
        assert_int_equal(rc, LEASE_OK);
        assert_false(more);
        uint32_t at = compare_part(m, name, true, false, claims);
        at += compare_part(m, name, false, true, claims + at);
        at += compare_part(m, name, false, false, claims + at);
        assert_int_equal(at, count);
        compare_node(m, l, name);
        seen += count;
    }
    assert_int_equal(seen, m->claims);
    const struct lease_counts counts = lease_counts(l);
    assert_int_equal(counts.held + counts.delayed + counts.waiting, m->claims);
    assert_int_equal(counts.opens, m->opens);
    assert_int_equal(counts.sessions, m->live);
}

/* ------------------------------------------------------------------ reloads */

enum { ROWS_MAX = 2500, ROW_MAX = 9000 };

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
    bool trimmed; /* History has lost its beginning. */
    unsigned outcomes[LEASE_LOCK_DELAY + 1];
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
    const uint64_t revision = m->revision;
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
    assert_int_equal(result.stat.instance, expected.instance);
    if (lease_position(run->machine).revision != m->revision) {
        char line[200];
        fail_msg("%s: %s, revision %d", lease_command_describe(&ask.command, line, sizeof line),
                 lease_rc_text(result.rc), (int)m->revision);
    }
    run->outcomes[result.rc]++;
    compare_settled(m, run->machine);
    compare_delays(m, run->machine);
    compare_claims(m, run->machine);
    compare_history(m, run->machine, revision);
    lease_check(run->machine);
}

static void maintain(struct run *run)
{
    assert_true(lease_digest(run->machine) == lease_digest(run->twin));
    const uint64_t floor = lease_history_floor(run->machine);
    assert_int_equal(floor, lease_history_floor(run->twin));
    compare_history(&run->model, run->machine,
                    rng_between(&run->rng, floor, run->model.revision));
    run->trimmed |= floor > 0;
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
    run.model.instances = 1; /* The root. */
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
    assert_true(run.trimmed);
    for (int rc = 0; rc <= LEASE_LOCK_DELAY; rc++) {
        outcomes[rc] += run.outcomes[rc];
    }
}

static void test_random_logs(void **state)
{
    (void)state;
    unsigned outcomes[LEASE_LOCK_DELAY + 1] = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_log(seed, 1500, outcomes); /* About 3,000 commands. */
    }
    /* All that can come of these commands has come of some. */
    static const enum lease_rc wanted[] = {LEASE_OK,
                                           LEASE_NO_NODE,
                                           LEASE_LIMIT,
                                           LEASE_NO_SESSION,
                                           LEASE_WAITING,
                                           LEASE_LOCKED,
                                           LEASE_NOT_HELD,
                                           LEASE_OWNED,
                                           LEASE_CANCELLED,
                                           LEASE_ACKNOWLEDGED,
                                           LEASE_OLD_EPOCH,
                                           LEASE_LOCK_DELAY,
                                           LEASE_STALE_INSTANCE,
                                           LEASE_EXISTS,
                                           LEASE_NOT_EMPTY,
                                           LEASE_NO_PARENT,
                                           LEASE_NOT_A_FILE,
                                           LEASE_NOT_A_DIRECTORY};
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
