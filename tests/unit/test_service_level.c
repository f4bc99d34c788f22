/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads below linearizable: which replica answers them, when, and how old it says that
 * its state may be.
 */
#include "tests/unit/test_service_requests.h"

#include "paxos/base/rng.h"

#define NAME "/ls/test/f"

/* ------------------------------------------------------------------ requests */

static struct service_request read_of(uint64_t tag, enum service_level level)
{
    struct service_request request = request_of(SERVICE_GET, tag, 0);
    request.name = bytes_of(NAME, strlen(NAME));
    request.level = level;
    return request;
}

static void read_at(struct cell *cell, uint32_t index, uint64_t tag, enum service_level level)
{
    const struct service_request request = read_of(tag, level);
    submit(cell, index, &request);
}

/* Of a state as new as what a client has seen, within so long. */
static void read_behind(struct cell *cell, uint32_t index, uint64_t tag, uint64_t min_revision,
                        uint32_t wait_ms)
{
    struct service_request request = read_of(tag, SERVICE_SEQUENTIAL);
    request.min_revision = min_revision;
    request.wait_ms = wait_ms;
    submit(cell, index, &request);
}

static void read_fresh(struct cell *cell, uint32_t index, uint64_t tag, uint32_t max_age_ms)
{
    struct service_request request = read_of(tag, SERVICE_STALE);
    request.max_age_ms = max_age_ms;
    submit(cell, index, &request);
}

/* Returns the revision after it. */
static uint64_t put(struct cell *cell, uint32_t index, uint64_t tag, const char *content)
{
    ask(cell, index, SERVICE_PUT, 9, tag, NAME, content);
    settle(cell);
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    return reply_to(cell, tag)->revision;
}

static void assert_level(const struct cell *cell, uint64_t tag, enum service_level level,
                         const char *content)
{
    assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    assert_int_equal(reply_to(cell, tag)->level, level);
    assert_string_equal(answer_to(cell, tag)->content, content);
}

static struct cell *start_firm(uint32_t count)
{
    struct cell *cell = cell_new(count);
    for (uint32_t i = 0; i < count; i++) {
        cell->replica[i].disk.hard.members.settings.firm = true;
        replica_start(cell, i);
    }
    return cell;
}

static uint32_t another(uint32_t index)
{
    return index == 0 ? 1 : 0;
}

/* ---------------------------------------------------------------- linearizable */

static void what_is_not_asked_for_is_linearizable(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    read_at(cell, m, 2, SERVICE_LINEARIZABLE);
    turn(cell, m);
    assert_null(answer_to(cell, 2)); /* It waits for a round. */
    settle(cell);
    assert_level(cell, 2, SERVICE_LINEARIZABLE, "a");
    assert_false(reply_to(cell, 2)->has_age);
    cell_free(cell);
}

/* ----------------------------------------------------------------------- lease */

static void a_lease_answers_without_a_round(void **state)
{
    (void)state;
    struct cell *cell = start_firm(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    pass(cell, 200);
    read_at(cell, m, 2, SERVICE_LEASE);
    turn(cell, m);
    assert_level(cell, 2, SERVICE_LEASE, "a");
    assert_true(reply_to(cell, 2)->has_age);
    assert_int_equal(reply_to(cell, 2)->age_ms, 0);

    read_at(cell, another(m), 3, SERVICE_LEASE);
    settle(cell);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    cell_free(cell);
}

static void without_firm_leases_it_is_linearizable(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    pass(cell, 200);
    read_at(cell, m, 2, SERVICE_LEASE);
    turn(cell, m);
    assert_null(answer_to(cell, 2));
    settle(cell);
    assert_level(cell, 2, SERVICE_LINEARIZABLE, "a");
    assert_false(reply_to(cell, 2)->has_age);
    cell_free(cell);
}

/* The lease is looked at when the state is, not when the request came; and it ends before the
 * master steps down, because clocks differ. */
static void a_lease_that_ran_out_answers_nothing(void **state)
{
    (void)state;
    uint32_t seen[3] = {0};
    for (uint64_t ms = 380; ms <= 520; ms += 3) {
        struct cell *cell = start_firm(3);
        const uint32_t m = await_master(cell);
        put(cell, m, 1, "a");
        pass(cell, 200);
        cell->replica[m].cut = true;
        read_at(cell, m, 2, SERVICE_LEASE);
        cell->replica[m].paused = true;
        pass(cell, ms);
        cell->replica[m].paused = false;
        const bool valid = paxos_lease_valid(service_paxos(cell->replica[m].s), cell->now_ms);
        turn(cell, m);
        const struct answer *answer = answer_to(cell, 2);
        assert_int_equal(answer != NULL && answer->reply.outcome == SERVICE_DONE, valid);
        seen[valid ? 0 : answer == NULL ? 1 : 2]++;
        pass(cell, 100);
        assert_int_equal(outcome_of(cell, 2), valid ? SERVICE_DONE : SERVICE_NOT_MASTER);
        cell_free(cell);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

/* How long a master that is cut off relies on its lease: not until another can be. */
static void a_lease_ends_before_another_master(void **state)
{
    (void)state;
    struct cell *cell = start_firm(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    pass(cell, 200);
    cell->replica[m].cut = true;
    uint64_t last_ms = 0;
    const uint64_t cut_ms = cell->now_ms;
    for (uint64_t tag = 2; cell->now_ms < cut_ms + 600; tag++) {
        read_at(cell, m, tag, SERVICE_LEASE);
        pass(cell, 5);
        const struct answer *answer = answer_to(cell, tag);
        if (answer != NULL && answer->reply.outcome == SERVICE_DONE) {
            assert_int_equal(answer->reply.level, SERVICE_LEASE);
            last_ms = answer->at_ms;
        }
    }
    assert_true(last_ms > cut_ms + 300 && last_ms < cut_ms + 500);
    assert_true(await_master(cell) != m);
    cell_free(cell);
}

/* Else a change between the read and the watch would go unseen. */
static void no_read_overtakes_a_page_of_watches(void **state)
{
    (void)state;
    struct cell *cell = start_firm(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    pass(cell, 200);
    const struct service_watch watch = {.watch = 1,
                                        .name = bytes_of(NAME, strlen(NAME)),
                                        .scope = SERVICE_SCOPE_NODE,
                                        .watched = SERVICE_WATCH_ALL,
                                        .from = LEASE_ANY,
                                        .if_instance = LEASE_ANY};
    struct service_request request = request_of(SERVICE_WATCH_ADD, 2, 0);
    request.watches = &watch;
    request.watches_count = 1;
    submit(cell, m, &request);
    read_at(cell, m, 3, SERVICE_LEASE);
    turn(cell, m);
    assert_null(answer_to(cell, 2));
    assert_null(answer_to(cell, 3));
    settle(cell);
    assert_int_equal(outcome_of(cell, 2), SERVICE_DONE);
    assert_true(answer_to(cell, 2) < answer_to(cell, 3));
    cell_free(cell);
}

/* ------------------------------------------------------------------ sequential */

static void a_sequential_read_waits_for_its_revision(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    const uint32_t f = another(m);
    const uint64_t old = put(cell, m, 1, "old");
    pass(cell, 300);
    cell->replica[f].cut = true;
    const uint64_t new = put(cell, m, 2, "new");
    assert_true(new > old);
    read_behind(cell, f, 3, old, 0);
    read_behind(cell, f, 4, new, 5000);
    read_behind(cell, f, 5, new, 100);
    read_behind(cell, f, 6, new, 0);
    read_behind(cell, m, 7, new, 0);
    settle(cell);
    assert_level(cell, 3, SERVICE_SEQUENTIAL, "old");
    assert_int_equal(reply_to(cell, 3)->revision, old);
    assert_null(answer_to(cell, 4));
    assert_null(answer_to(cell, 5));
    assert_int_equal(outcome_of(cell, 6), SERVICE_TOO_OLD);
    assert_int_equal(reply_to(cell, 6)->level, SERVICE_SEQUENTIAL);
    assert_level(cell, 7, SERVICE_SEQUENTIAL, "new");

    const uint64_t asked_ms = cell->now_ms;
    pass(cell, 150);
    assert_int_equal(outcome_of(cell, 5), SERVICE_TOO_OLD);
    assert_int_equal(answer_to(cell, 5)->at_ms, asked_ms + 100);
    assert_null(answer_to(cell, 4));

    cell->replica[f].cut = false;
    pass(cell, 500);
    assert_level(cell, 4, SERVICE_SEQUENTIAL, "new");
    assert_int_equal(reply_to(cell, 4)->revision, new);
    cell_free(cell);
}

static void nobody_waits_longer_than_a_minute(void **state)
{
    (void)state;
    struct cell *cell = cell_start(1);
    const uint32_t m = await_master(cell);
    read_behind(cell, m, 1, LEASE_ANY - 1, UINT32_MAX);
    const uint64_t asked_ms = cell->now_ms;
    pass(cell, SERVICE_WAIT_MS_MAX - 1);
    assert_null(answer_to(cell, 1));
    pass(cell, 2);
    assert_int_equal(outcome_of(cell, 1), SERVICE_TOO_OLD);
    assert_int_equal(answer_to(cell, 1)->at_ms, asked_ms + SERVICE_WAIT_MS_MAX);
    cell_free(cell);
}

/* ----------------------------------------------------------------------- stale */

static void a_replica_alone_answers_stale_reads(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    const uint32_t f = another(m);
    put(cell, m, 1, "a");
    pass(cell, 500);
    cell->replica[f].cut = true;
    pass(cell, 2000);
    read_at(cell, f, 2, SERVICE_STALE);
    read_fresh(cell, f, 3, 2000);
    read_fresh(cell, f, 4, 3000);
    settle(cell);
    assert_level(cell, 2, SERVICE_STALE, "a");
    assert_true(reply_to(cell, 2)->has_age);
    assert_in_range(reply_to(cell, 2)->age_ms, 2000, 2000 + 300);
    assert_int_equal(outcome_of(cell, 3), SERVICE_TOO_OLD);
    assert_true(reply_to(cell, 3)->has_age);
    assert_level(cell, 4, SERVICE_STALE, "a");
    assert_int_equal(status_of(cell, f).age_ms, reply_to(cell, 2)->age_ms);
    cell_free(cell);
}

/* What it knew in another life says nothing: any bound is too tight. */
static void an_unknown_age_is_too_old(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    const uint32_t f = another(m);
    put(cell, m, 1, "a");
    pass(cell, 1500);
    replica_stop(&cell->replica[f]);
    replica_start(cell, f);
    cell->replica[f].cut = true;
    assert_false(status_of(cell, f).has_age);
    read_at(cell, f, 2, SERVICE_STALE);
    read_fresh(cell, f, 3, UINT32_MAX);
    struct service_request request = read_of(4, SERVICE_SEQUENTIAL);
    request.max_age_ms = UINT32_MAX;
    submit(cell, f, &request);
    settle(cell);
    assert_level(cell, 2, SERVICE_STALE, "a");
    assert_false(reply_to(cell, 2)->has_age);
    assert_int_equal(outcome_of(cell, 3), SERVICE_TOO_OLD);
    assert_int_equal(outcome_of(cell, 4), SERVICE_TOO_OLD);
    cell_free(cell);
}

/* ------------------------------------------------------------------ all of them */

static void what_the_state_refuses_bears_its_level(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    const uint32_t f = another(m);
    put(cell, m, 1, "a");
    pass(cell, 500);
    struct service_request request = read_of(2, SERVICE_STALE);
    request.name = bytes_of("/ls/test/none", 13);
    submit(cell, f, &request);
    request.tag = 3;
    request.name = bytes_of("/ls/test/../x", 13);
    submit(cell, f, &request);
    request = read_of(4, SERVICE_SEQUENTIAL);
    request.if_instance = 4711;
    submit(cell, f, &request);
    request = read_of(5, SERVICE_STALE);
    request.op = SERVICE_LIST;
    request.name = bytes_of("/ls/test", 8);
    submit(cell, f, &request);
    uint8_t after[LEASE_COMPONENT_MAX + 1] = {0};
    request.after = bytes_of(after, sizeof after);
    request.tag = 6;
    submit(cell, f, &request);
    settle(cell);
    assert_refused(cell, 2, LEASE_NO_NODE);
    assert_int_equal(reply_to(cell, 2)->level, SERVICE_STALE);
    assert_true(reply_to(cell, 2)->has_age && reply_to(cell, 2)->revision > 0);
    assert_int_equal(outcome_of(cell, 3), SERVICE_BAD_NAME);
    assert_refused(cell, 4, LEASE_STALE_INSTANCE);
    assert_int_equal(reply_to(cell, 4)->level, SERVICE_SEQUENTIAL);
    assert_level(cell, 5, SERVICE_STALE, "f");
    assert_int_equal(outcome_of(cell, 6), SERVICE_BAD_NAME);
    cell_free(cell);
}

/* It may belong to another cell than it thinks. */
static void who_is_forming_answers_nothing(void **state)
{
    (void)state;
    struct cell *cell = cell_new(3);
    replica_start(cell, 0);
    replica_start(cell, 1);
    pass(cell, 500);
    read_at(cell, 0, 1, SERVICE_STALE);
    read_at(cell, 0, 2, SERVICE_SEQUENTIAL);
    read_at(cell, 0, 3, SERVICE_LEASE);
    settle(cell);
    for (uint64_t tag = 1; tag <= 3; tag++) {
        assert_int_equal(outcome_of(cell, tag), SERVICE_NOT_MASTER);
    }
    replica_start(cell, 2);
    cell_free(cell);
}

static void who_shuts_down_sends_all_away(void **state)
{
    (void)state;
    struct cell *cell = cell_start(3);
    const uint32_t m = await_master(cell);
    put(cell, m, 1, "a");
    pass(cell, 200);
    read_behind(cell, m, 2, LEASE_ANY, 60000);
    settle(cell);
    service_hand_over(cell->replica[m].s, cell->now_ms);
    cell->replica[m].more = true;
    read_at(cell, m, 3, SERVICE_STALE);
    pass(cell, 1500);
    assert_int_equal(outcome_of(cell, 2), SERVICE_NOT_MASTER);
    assert_int_equal(outcome_of(cell, 3), SERVICE_NOT_MASTER);
    assert_true(service_idle(cell->replica[m].s));
    cell_free(cell);
}

static void who_waits_may_go_and_is_one_of_few(void **state)
{
    (void)state;
    struct cell *cell = cell_new(1);
    cell->reads_max = 3;
    replica_start(cell, 0);
    await_master(cell);
    put(cell, 0, 1, "a");
    struct service_request request = read_of(10, SERVICE_SEQUENTIAL);
    request.min_revision = LEASE_ANY;
    request.wait_ms = 1000;
    for (uint64_t tag = 10; tag < 14; tag++) {
        request.tag = tag;
        request.client = tag;
        submit(cell, 0, &request);
    }
    settle(cell);
    assert_int_equal(outcome_of(cell, 13), SERVICE_OVERLOADED);
    service_forget(cell->replica[0].s, 12);
    service_forget(cell->replica[0].s, 10);
    turn(cell, 0);
    read_at(cell, 0, 20, SERVICE_STALE);
    read_at(cell, 0, 21, SERVICE_SEQUENTIAL);
    read_at(cell, 0, 22, SERVICE_SEQUENTIAL);
    settle(cell);
    assert_int_equal(outcome_of(cell, 20), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 21), SERVICE_DONE);
    assert_int_equal(outcome_of(cell, 22), SERVICE_OVERLOADED);
    pass(cell, 1000);
    assert_int_equal(outcome_of(cell, 11), SERVICE_TOO_OLD);
    assert_null(answer_to(cell, 10));
    assert_null(answer_to(cell, 12));
    cell_free(cell);
}

/* Contents of one turn are bounded; the rest comes with the next ones. */
static void many_answers_take_turns(void **state)
{
    (void)state;
    enum { READS = 60 };
    struct cell *cell = cell_start(1);
    await_master(cell);
    for (uint64_t tag = 1; tag <= READS; tag++) {
        struct service_request request = read_of(tag, SERVICE_STALE);
        request.op = SERVICE_LIST;
        request.name = bytes_of("/ls/test", 8);
        submit(cell, 0, &request);
    }
    ask(cell, 0, SERVICE_LIST, 1, 100, "/ls/test", NULL);
    for (uint32_t turns = 1; turns <= READS; turns++) {
        turn(cell, 0);
        if (!cell->replica[0].more) {
            break;
        }
    }
    settle(cell);
    for (uint64_t tag = 1; tag <= READS; tag++) {
        assert_int_equal(outcome_of(cell, tag), SERVICE_DONE);
    }
    cell_free(cell);
}

/* ------------------------------------------------------------------------- age */

enum { ACKED_MAX = 4096, LIFE_MS = 3000, SEEDS = 3 };

/* What a cell in trouble acknowledged, and what it said of the age of its replicas. */
struct trouble {
    struct cell *cell;
    struct rng rng;
    uint64_t tag;
    uint64_t calm_ms; /* Until then nothing new befalls it. */
    struct {
        uint64_t ms;
        uint64_t revision; /* The highest so far. */
    } acked[ACKED_MAX];
    uint32_t acked_count;
    uint32_t told;    /* Answers with an age, ... */
    uint32_t behind;  /* ... of a state that lacked something acknowledged, ... */
    uint32_t unknown; /* ... and without. */
    uint64_t age_ms_max;
};

static void acknowledged(struct trouble *t, uint64_t revision)
{
    assert_true(t->acked_count < ACKED_MAX);
    const uint64_t before = t->acked_count == 0 ? 0 : t->acked[t->acked_count - 1].revision;
    t->acked[t->acked_count].ms = t->cell->now_ms;
    t->acked[t->acked_count++].revision = revision > before ? revision : before;
}

/* Everything that was acknowledged so long ago is there. */
static void check_age(struct trouble *t, const struct service_reply *reply)
{
    if (!reply->has_age) {
        t->unknown++;
        return;
    }
    const uint64_t as_of_ms = t->cell->now_ms - reply->age_ms;
    uint64_t revision = 0;
    uint64_t newest = 0;
    for (uint32_t i = 0; i < t->acked_count; i++) {
        revision = t->acked[i].ms < as_of_ms ? t->acked[i].revision : revision;
        newest = t->acked[i].revision;
    }
    if (reply->revision < revision) {
        fail_msg("revision %d, which is %d ms old it says, lacks %d", (int)reply->revision,
                 (int)reply->age_ms, (int)revision);
    }
    t->told++;
    t->behind += reply->revision < newest;
    t->age_ms_max = reply->age_ms > t->age_ms_max ? reply->age_ms : t->age_ms_max;
}

static void look_at_ages(void *context, uint32_t index, const struct service_output *output)
{
    struct trouble *t = context;
    (void)index;
    for (uint32_t i = 0; i < output->replies_count; i++) {
        const struct service_reply *reply = &output->replies[i];
        if (reply->op == SERVICE_PUT && reply->outcome == SERVICE_DONE) {
            acknowledged(t, reply->revision);
        } else if (reply->level == SERVICE_STALE) {
            check_age(t, reply);
        }
    }
    t->cell->answers_count = 0;
}

static void nothing_befalls(struct trouble *t)
{
    (void)t;
}

/* From one to another it takes long; the other way it doesn't. */
static void one_way_is_slow(struct trouble *t)
{
    const uint64_t from = rng_below(&t->rng, t->cell->count);
    const uint64_t to = rng_below(&t->rng, t->cell->count);
    t->cell->delay_ms[from][to] = (uint32_t)rng_below(&t->rng, 300);
    t->calm_ms = t->cell->now_ms + 300;
}

static void one_stands_still(struct trouble *t)
{
    for (uint32_t i = 0; i < t->cell->count; i++) {
        t->cell->replica[i].paused = false;
    }
    t->cell->replica[rng_below(&t->rng, t->cell->count)].paused = rng_below(&t->rng, 2) == 0;
    t->calm_ms = t->cell->now_ms + 50 + rng_below(&t->rng, 800);
}

static void one_is_cut_off(struct trouble *t)
{
    for (uint32_t i = 0; i < t->cell->count; i++) {
        t->cell->replica[i].cut = false;
    }
    t->cell->replica[rng_below(&t->rng, t->cell->count)].cut = rng_below(&t->rng, 3) > 0;
    t->calm_ms = t->cell->now_ms + 100 + rng_below(&t->rng, 1000);
}

static void one_begins_anew(struct trouble *t)
{
    const uint32_t index = (uint32_t)rng_below(&t->rng, t->cell->count);
    replica_stop(&t->cell->replica[index]);
    replica_start(t->cell, index);
    t->calm_ms = t->cell->now_ms + 200 + rng_below(&t->rng, 800);
}

static void anything_befalls(struct trouble *t)
{
    static void (*const all[])(struct trouble * t) = {one_way_is_slow, one_stands_still,
                                                      one_is_cut_off, one_begins_anew};
    all[rng_below(&t->rng, sizeof all / sizeof *all)](t);
}

/* Who can't reach the master takes him for gone, and may follow another while he and some of
 * his still follow each other. */
static void they_part(struct trouble *t)
{
    struct cell *cell = t->cell;
    const uint64_t side = rng_below(&t->rng, 1 << cell->count);
    for (uint32_t i = 0; i < cell->count; i++) {
        for (uint32_t j = 0; j < cell->count; j++) {
            const bool apart = ((side >> i ^ side >> j) & 1) != 0;
            cell->delay_ms[i][j] = apart ? LOST : 0;
            if (apart) {
                service_peer_gone(cell->replica[i].s, cell->now_ms, (paxos_id)(j + 1));
                cell->replica[i].more = true;
            }
        }
    }
    t->calm_ms = cell->now_ms + 100 + rng_below(&t->rng, 1000);
}

static const struct {
    const char *what;
    uint32_t replicas;
    void (*befall)(struct trouble *t);
    uint64_t age_ms_max; /* 0: whatever it is. */
} troubles[] = {
    {"none", 3, nothing_befalls, 3 * 100}, /* Three heartbeats. */
    {"delays one way", 3, one_way_is_slow, 0},
    {"pauses", 3, one_stands_still, 0},
    {"one cut off, and changes of master", 3, one_is_cut_off, 0},
    {"restarts", 3, one_begins_anew, 0},
    {"all of them", 3, anything_befalls, 0},
    {"partitions", 5, they_part, 0},
};

static void ask_all(struct trouble *t)
{
    for (uint32_t i = 0; i < t->cell->count; i++) {
        const struct replica *r = &t->cell->replica[i];
        if (r->paused) {
            continue;
        }
        if (t->cell->now_ms % 10 == 0 && status_of(t->cell, i).paxos.serving) {
            ask(t->cell, i, SERVICE_PUT, 9, ++t->tag, NAME, "x");
        }
        read_at(t->cell, i, ++t->tag, SERVICE_STALE);
    }
}

static void live_in_trouble(uint32_t which, struct trouble *t)
{
    struct cell *cell = cell_start(troubles[which].replicas);
    t->cell = cell;
    t->acked_count = 0;
    cell->unchecked = true;
    await_master(cell);
    pass(cell, 1000);
    cell->look = look_at_ages;
    cell->look_context = t;
    for (uint64_t end_ms = cell->now_ms + LIFE_MS; cell->now_ms < end_ms;) {
        if (cell->now_ms >= t->calm_ms) {
            troubles[which].befall(t);
        }
        ask_all(t);
        pass(cell, 1);
    }
    cell_free(cell);
}

static void no_state_is_older_than_it_says(void **state)
{
    (void)state;
    for (uint32_t which = 0; which < sizeof troubles / sizeof *troubles; which++) {
        static struct trouble t;
        t = (struct trouble){.rng = {.state = which}};
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            t.calm_ms = 0;
            live_in_trouble(which, &t);
        }
        assert_true(t.told > 10000);
        const uint64_t max = troubles[which].age_ms_max;
        if (max > 0) {
            assert_true(t.age_ms_max <= max && t.unknown == 0);
        } else {
            assert_true(t.behind > 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_asked_for_is_linearizable),
        cmocka_unit_test(a_lease_answers_without_a_round),
        cmocka_unit_test(without_firm_leases_it_is_linearizable),
        cmocka_unit_test(a_lease_that_ran_out_answers_nothing),
        cmocka_unit_test(a_lease_ends_before_another_master),
        cmocka_unit_test(no_read_overtakes_a_page_of_watches),
        cmocka_unit_test(a_sequential_read_waits_for_its_revision),
        cmocka_unit_test(nobody_waits_longer_than_a_minute),
        cmocka_unit_test(a_replica_alone_answers_stale_reads),
        cmocka_unit_test(an_unknown_age_is_too_old),
        cmocka_unit_test(what_the_state_refuses_bears_its_level),
        cmocka_unit_test(who_is_forming_answers_nothing),
        cmocka_unit_test(who_shuts_down_sends_all_away),
        cmocka_unit_test(who_waits_may_go_and_is_one_of_few),
        cmocka_unit_test(many_answers_take_turns),
        cmocka_unit_test(no_state_is_older_than_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
