/* SPDX-License-Identifier: Apache-2.0
 *
 * The arena and the ring of slots against models that are too simple to be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paxos/internal.h"

enum { BLOCKS = 256, ARENA_STEPS = 20000, LOG_STEPS = 20000, VALUE_MAX = 16 * 1024 };

static struct paxos *begin(paxos_slot chosen)
{
    const struct paxos_config config = {.self = 1,
                                        .identity = 7,
                                        .incarnation = 1,
                                        .seed = 1,
                                        .heartbeat_ms = 100,
                                        .lease_ms = 500,
                                        .jitter_ms_min = 50,
                                        .jitter_ms_max = 150,
                                        .disk_stall_ms = 2000,
                                        .value_max = VALUE_MAX};
    const struct paxos_restored restored = {
        .chosen = chosen,
        .hard = {.promised = {1000, 1},
                 .cell = 9,
                 .members = {.number = 1, .count = 1, .member = {{.id = 1, .identity = 7}}}}};
    void *block = malloc(paxos_size(&config));
    assert_non_null(block);
    struct paxos *p = NULL;
    assert_int_equal(paxos_init(block, &config, &restored, &p), PAXOS_OK);
    return p;
}

/* -------------------------------------------------------------------- arena */

/* The blocks of slot 1 ... BLOCKS - 1, as votes that nobody cast: the arena moves
 * them, and tells only the log. */
static const uint8_t **data_of(struct paxos *p, paxos_slot slot)
{
    struct log_slot *at = &p->ring[slot % PAXOS_RING];
    at->slot = slot;
    return slot % 2 == 0 ? &at->vote.value.data.data : &at->carry.value.data.data;
}

struct block {
    size_t size;
    uint8_t fill;
};

static void check_block(struct paxos *p, paxos_slot slot, const struct block *block)
{
    const uint8_t *data = *data_of(p, slot);
    assert_int_equal((uintptr_t)data % ARENA_ALIGN, 0);
    for (size_t i = 0; i < block->size; i++) {
        assert_int_equal(data[i], block->fill);
    }
}

static bool put_block(struct paxos *p, paxos_slot slot, struct block *block)
{
    uint8_t *data = arena_allocate(p, slot, block->size);
    *data_of(p, slot) = data;
    if (data == NULL) {
        *block = (struct block){0};
        return false;
    }
    memset(data, block->fill, block->size);
    return true;
}

static void drop_block(struct paxos *p, paxos_slot slot, struct block *block)
{
    check_block(p, slot, block);
    arena_free(p, *data_of(p, slot));
    *data_of(p, slot) = NULL;
    *block = (struct block){0};
}

/* Blocks are freed in any order; what lives is never written over, wherever it is
 * moved, and all that is dead can be had again. */
static void the_arena_keeps_what_lives(void **state)
{
    (void)state;
    struct paxos *p = begin(0);
    struct block block[BLOCKS] = {0};
    struct rng rng = {.state = 3};
    size_t live = 0;
    unsigned moved = 0, refused = 0;
    for (unsigned step = 0; step < ARENA_STEPS; step++) {
        const paxos_slot slot = rng_between(&rng, 1, BLOCKS - 1);
        struct block *at = &block[slot];
        if (*data_of(p, slot) != NULL) {
            live -= at->size;
            drop_block(p, slot, at);
        } else {
            *at = (struct block){.size = rng_below(&rng, step % 2 == 0 ? 64 : 60000),
                                 .fill = (uint8_t)rng_next(&rng)};
            refused += !put_block(p, slot, at);
            live += at->size;
        }
        if (rng_below(&rng, 32) == 0) {
            const size_t before = p->arena.head;
            arena_reclaim(p);
            moved += p->arena.head < before;
            assert_true(p->arena.live >= live && p->arena.live <= p->arena.head);
        }
    }
    assert_true(moved > 20 && refused < ARENA_STEPS / 10);
    for (paxos_slot slot = 1; slot < BLOCKS; slot++) {
        if (*data_of(p, slot) != NULL) {
            drop_block(p, slot, &block[slot]);
        }
    }
    arena_reclaim(p);
    assert_int_equal(p->arena.live, 0);
    assert_int_equal(p->arena.head, 0);
    free(p);
}

/* One block that lives on holds nothing back: an idle cell may feed those who lag
 * for ever. */
static void nothing_holds_dead_room_back(void **state)
{
    (void)state;
    struct paxos *p = begin(0);
    struct block oldest = {.size = 1000, .fill = 0x5a};
    assert_true(put_block(p, 1, &oldest));
    for (unsigned i = 0; i < 1000; i++) {
        const uint8_t *read = arena_allocate(p, /* owner= */ 0, PAXOS_VALUE_MAX);
        assert_non_null(read);
        arena_free(p, read);
        arena_free(p, NULL);
        arena_reclaim(p);
    }
    check_block(p, 1, &oldest);
    free(p);
}

static void what_a_batch_points_at_stays(void **state)
{
    (void)state;
    struct paxos *p = begin(0);
    uint8_t *freed = arena_allocate(p, /* owner= */ 0, 100);
    memset(freed, 0x5a, 100);
    arena_free(p, freed);
    for (unsigned i = 0; i < 10000; i++) { /* Without a reclaim nothing takes its place. */
        uint8_t *other = arena_allocate(p, /* owner= */ 0, 1000);
        if (other != NULL) {
            memset(other, 0, 1000);
            arena_free(p, other);
        }
    }
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(freed[i], 0x5a);
    }
    free(p);
}

/* ---------------------------------------------------------------------- log */

struct model_entry {
    bool voted;
    struct paxos_ballot ballot;
    uint64_t checksum;
    size_t size;
    uint8_t fill;
};

static void check_vote(const struct paxos *p, paxos_slot slot, const struct model_entry *model)
{
    const struct log_slot *at = log_look(p, slot);
    if (!model->voted) {
        assert_true(at == NULL || at->vote.slot == 0);
        return;
    }
    assert_non_null(at);
    assert_int_equal(at->vote.slot, slot);
    assert_true(ballot_equal(at->vote.ballot, model->ballot));
    assert_int_equal(at->vote.value.data.size, model->size);
    assert_true(paxos_value_checksum(&at->vote.value) == model->checksum);
}

static void vote(struct paxos *p, struct rng *rng, paxos_slot slot, struct model_entry *model)
{
    static uint8_t data[VALUE_MAX];
    *model = (struct model_entry){.voted = true,
                                  .ballot = {1 + rng_below(rng, 999), 1},
                                  .size = rng_below(rng, VALUE_MAX),
                                  .fill = (uint8_t)rng_next(rng)};
    memset(data, model->fill, model->size);
    struct paxos_value value = {.kind = PAXOS_COMMANDS, .data = bytes_of(data, model->size)};
    value.checksum = model->checksum = paxos_value_checksum(&value);
    assert_true(log_vote(p, slot, model->ballot, &value));
}

/* Votes anywhere in the window, chosen from its beginning, evicted from the tail:
 * the window always has room, and what is in memory is what was put there. */
static void the_ring_holds_the_window(void **state)
{
    (void)state;
    static struct model_entry model[LOG_STEPS + 2 * PAXOS_WINDOW];
    memset(model, 0, sizeof model);
    struct paxos *p = begin(1);
    struct rng rng = {.state = 11};
    unsigned evicted = 0;
    for (unsigned step = 0; step < LOG_STEPS; step++) {
        const paxos_slot slot = rng_between(&rng, p->chosen + 1, p->chosen + PAXOS_WINDOW);
        assert_true(log_in_reach(p, slot));
        vote(p, &rng, slot, &model[slot]);
        while (model[p->chosen + 1].voted) {
            chosen_up_to(p, p->chosen + 1);
        }
        if (step % 7 == 0) {
            (void)paxos_ready(p);
            paxos_advance(p);
            const struct paxos_event durable = {.type = PAXOS_DURABLE, .ticket = p->issued};
            (void)paxos_step(p, &durable);
            paxos_check(p);
        }
        const paxos_slot look = rng_between(&rng, p->first, p->chosen + PAXOS_WINDOW);
        check_vote(p, look, &model[look]);
        evicted += p->first > 2;
    }
    assert_true(p->chosen > 1000 && evicted > 0);
    assert_null(log_look(p, 0));
    assert_null(log_look(p, p->first - 1));
    assert_false(log_in_reach(p, p->chosen));
    assert_false(log_in_reach(p, p->chosen + PAXOS_WINDOW + 1));
    free(p);
}

/* "The value of the highest-numbered proposal among the responses." */
static void the_highest_ballot_is_carried(void **state)
{
    (void)state;
    struct paxos *p = begin(1);
    struct rng rng = {.state = 5};
    for (paxos_slot slot = 2; slot < 2 + PAXOS_WINDOW; slot++) {
        struct paxos_ballot highest = {0};
        for (unsigned i = 0; i < 20; i++) {
            struct paxos_entry entry = {.slot = slot, .ballot = {1 + rng_below(&rng, 50), 1}};
            entry.ballot.id = (paxos_id)(1 + rng_below(&rng, 3));
            entry.value = (struct paxos_value){.kind = PAXOS_COMMANDS,
                                               .epoch = paxos_epoch(entry.ballot),
                                               .data = bytes_of(&entry.ballot, 8)};
            assert_true(log_carry(p, &entry));
            highest = ballot_below(highest, entry.ballot) ? entry.ballot : highest;
        }
        const struct log_slot *at = log_look(p, slot);
        assert_true(ballot_equal(at->carry.ballot, highest));
        assert_true(at->carry.value.epoch == paxos_epoch(highest));
    }
    log_drop_carries(p);
    arena_reclaim(p);
    assert_int_equal(p->arena.live, 0);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_arena_keeps_what_lives),
        cmocka_unit_test(nothing_holds_dead_room_back),
        cmocka_unit_test(what_a_batch_points_at_stays),
        cmocka_unit_test(the_ring_holds_the_window),
        cmocka_unit_test(the_highest_ballot_is_carried),
    };
    return cmocka_run_group_tests_name("paxos memory", tests, NULL, NULL);
}
