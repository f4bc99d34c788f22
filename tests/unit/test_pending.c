/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/pending.h"
#include "paxos/base/rng.h"

enum { COMMANDS = 64, OCTETS = 1000, PIECE = 300 };

struct fixture {
    struct pending_queue q;
    uint64_t pushed;   /* Tags 1 ... pushed, */
    uint64_t proposed; /* 1 ... proposed, */
    uint64_t taken;    /* 1 ... taken. */
    uint64_t slot;
};

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->q.capacity = COMMANDS;
    f->q.commands = calloc(COMMANDS, sizeof *f->q.commands);
    f->q.octets_max = OCTETS;
    f->q.octets.capacity = pending_ring_size(OCTETS, PIECE);
    f->q.octets.data = calloc(f->q.octets.capacity, 1);
    return f;
}

static void fixture_free(struct fixture *f)
{
    free(f->q.octets.data);
    free(f->q.commands);
    free(f);
}

static size_t size_of_tag(uint64_t tag)
{
    return 1 + tag * 37 % PIECE;
}

static bool push(struct fixture *f)
{
    const uint64_t tag = f->pushed + 1;
    const struct pending command = {
        .client = tag % 3, .tag = tag, .size = (uint32_t)size_of_tag(tag), .op = 1};
    uint8_t *at = pending_push(&f->q, &command);
    if (at == NULL) {
        return false;
    }
    memset(at, (int)(tag % 251), command.size);
    f->pushed = tag;
    return true;
}

static bool propose(struct fixture *f, uint32_t count_max, size_t size_max)
{
    struct bytes octets;
    uint32_t count;
    if (!pending_next_batch(&f->q, count_max, size_max, &octets, &count)) {
        return false;
    }
    assert_true(count >= 1 && count <= count_max && octets.size <= size_max);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t tag = f->proposed + 1 + i;
        for (size_t left = size_of_tag(tag); left > 0; left--) {
            assert_int_equal(octets.data[at++], tag % 251);
        }
    }
    assert_int_equal(at, octets.size);
    pending_proposed(&f->q, ++f->slot, 7, count, octets.size);
    f->proposed += count;
    return true;
}

static void take_slot(struct fixture *f)
{
    const struct pending_slot *oldest = pending_oldest(&f->q);
    const uint64_t slot = oldest->slot;
    for (uint32_t count = oldest->count; count > 0; count--) {
        const struct pending command = pending_take(&f->q);
        assert_int_equal(command.tag, ++f->taken);
        assert_int_equal(command.size, size_of_tag(command.tag));
    }
    oldest = pending_oldest(&f->q);
    assert_true(oldest == NULL || oldest->slot == slot + 1);
}

static void in_order(void **state)
{
    (void)state;
    struct rng rng = {.state = 1};
    struct fixture *f = fixture_new();
    for (uint32_t i = 0; i < 100000; i++) {
        switch (rng_below(&rng, 4)) {
        case 0:
        case 1:
            push(f);
            break;
        case 2:
            propose(f, (uint32_t)rng_between(&rng, 1, 8), rng_between(&rng, PIECE, 2 * PIECE));
            break;
        default:
            if (pending_oldest(&f->q) != NULL) {
                take_slot(f);
            }
        }
        pending_check(&f->q);
        assert_int_equal(f->q.queued, f->pushed - f->proposed);
        assert_int_equal(f->q.count, f->pushed - f->taken);
    }
    assert_true(f->taken > 10000);
    fixture_free(f);
}

/* As many octets as were promised always fit, wherever the ring wraps. */
static void full_at_its_limits(void **state)
{
    (void)state;
    struct fixture *f = fixture_new();
    for (uint32_t round = 0; round < 2000; round++) {
        while (push(f)) {
        }
        const size_t next = size_of_tag(f->pushed + 1);
        assert_true(f->q.octets.used + next > OCTETS || f->q.count == COMMANDS);
        propose(f, 1 + round % 5, PIECE);
        if (pending_oldest(&f->q) != NULL && round % 2 == 0) {
            take_slot(f);
        }
    }
    fixture_free(f);
}

static void no_more_slots_than_there_are(void **state)
{
    (void)state;
    struct fixture *f = fixture_new();
    free(f->q.commands);
    f->q.capacity = 2 * PENDING_SLOTS_MAX;
    f->q.commands = calloc(f->q.capacity, sizeof *f->q.commands);
    for (uint32_t i = 0; i < PENDING_SLOTS_MAX; i++) {
        assert_true(push(f));
        assert_true(propose(f, 1, PIECE));
    }
    assert_true(push(f));
    assert_false(propose(f, 1, PIECE));
    take_slot(f);
    assert_true(propose(f, 1, PIECE));
    fixture_free(f);
}

static void queued_are_dropped_and_proposed_stay(void **state)
{
    (void)state;
    struct fixture *f = fixture_new();
    while (f->pushed < 5) {
        assert_true(push(f));
    }
    assert_true(propose(f, 2, OCTETS));
    assert_int_equal(pending_queued(&f->q, 0)->tag, 3);
    assert_int_equal(pending_queued(&f->q, 2)->tag, 5);
    pending_drop_queued(&f->q);
    pending_check(&f->q);
    assert_int_equal(f->q.count, 2);
    assert_int_equal(f->q.octets.used, 0);
    take_slot(f);
    assert_null(pending_oldest(&f->q));
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(full_at_its_limits),
        cmocka_unit_test(no_more_slots_than_there_are),
        cmocka_unit_test(queued_are_dropped_and_proposed_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
