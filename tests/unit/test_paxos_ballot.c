/* SPDX-License-Identifier: Apache-2.0
 *
 * Small decisions, as tables: the order of ballots, what a majority is, which ballot a
 * restarted replica may use, what a store may not contain, and what notes say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paxos/describe.h"
#include "paxos/internal.h"

static const struct paxos_config config = {.self = 2,
                                           .identity = 0x1d02,
                                           .incarnation = 1,
                                           .seed = 1,
                                           .now_ms = 1000,
                                           .heartbeat_ms = 100,
                                           .lease_ms = 500,
                                           .jitter_ms_min = 50,
                                           .jitter_ms_max = 150,
                                           .disk_stall_ms = 2000,
                                           .value_max = 1024};

static struct paxos_hard hard_of(uint32_t count)
{
    struct paxos_hard hard = {.cell = 9, .members = {.number = 1, .count = count}};
    for (uint32_t i = 0; i < count; i++) {
        hard.members.member[i].id = (paxos_id)(i + 1);
        hard.members.member[i].identity = 0x1d01 + i;
    }
    return hard;
}

static struct paxos *start(const struct paxos_restored *restored)
{
    void *block = malloc(paxos_size(&config));
    assert_non_null(block);
    struct paxos *p = NULL;
    assert_int_equal(paxos_init(block, &config, restored, &p), PAXOS_OK);
    return p;
}

/* ------------------------------------------------------------------ ballots */

static const struct {
    const char *name;
    struct paxos_ballot a, b;
    int order;
} orders[] = {
    {"nobody's", {0, 0}, {0, 0}, 0},
    {"nobody's and the first", {0, 0}, {1, 1}, -1},
    {"the same", {3, 2}, {3, 2}, 0},
    {"same round, lower id", {3, 1}, {3, 2}, -1},
    {"same round, higher id", {3, 2}, {3, 1}, 1},
    {"higher round, lower id", {4, 1}, {3, 65535}, 1},
    {"beyond 32 bits", {UINT64_C(1) << 33, 1}, {1, 2}, 1},
};

static void ballots_are_ordered_by_round_then_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        print_message("# %s\n", orders[i].name);
        assert_int_equal(paxos_ballot_compare(orders[i].a, orders[i].b), orders[i].order);
        assert_int_equal(paxos_ballot_compare(orders[i].b, orders[i].a), -orders[i].order);
        assert_int_equal(ballot_below(orders[i].a, orders[i].b), orders[i].order < 0);
        assert_int_equal(ballot_equal(orders[i].a, orders[i].b), orders[i].order == 0);
    }
}

static void epochs_grow_with_ballots_and_fit_a_double(void **state)
{
    (void)state;
    const struct paxos_ballot highest = {(UINT64_C(1) << PAXOS_ROUND_BITS) - 1, UINT16_MAX};
    assert_true(paxos_epoch(highest) < UINT64_C(1) << 53);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        const uint64_t a = paxos_epoch(orders[i].a), b = paxos_epoch(orders[i].b);
        assert_int_equal((a > b) - (a < b), orders[i].order);
    }
}

static void a_majority_is_more_than_half(void **state)
{
    (void)state;
    static const uint32_t majority[] = {0, 1, 2, 2, 3, 3, 4, 4, 5};
    for (uint32_t count = 2; count <= PAXOS_MEMBERS_MAX; count++) {
        const struct paxos_restored restored = {.hard = hard_of(count)};
        struct paxos *p = start(&restored);
        assert_int_equal(quorum(p), majority[count]);
        assert_true(2 * quorum(p) > count); /* Any two have a member in common. */
        free(p);
    }
}

/* ------------------------------------------------------------------ restarts */

static const struct {
    const char *name;
    struct paxos_ballot promised;
    uint64_t round_max;
    uint64_t rejected; /* A round met in a refusal; 0: none was. */
    uint64_t next;
} restarts[] = {
    {"a new store", {0, 0}, 0, 0, 1},
    {"promised to another", {7, 3}, 0, 0, 8},
    {"led, and promised nobody since", {7, 2}, 7, 0, 8},
    {"led, and promised another since", {9, 1}, 7, 0, 10},
    {"led above its promise", {7, 3}, 9, 0, 10},
    {"higher rounds exist elsewhere", {7, 2}, 7, 20, 21},
    {"lower rounds exist elsewhere", {7, 2}, 7, 3, 8},
};

/* The ballot of the first pre-vote after the start. */
static uint64_t next_round(struct paxos *p, uint64_t rejected)
{
    const struct paxos_message no = {.type = PAXOS_MSG_REJECT,
                                     .from = 1,
                                     .to = 2,
                                     .from_identity = 0x1d01,
                                     .to_identity = 0x1d02,
                                     .members_number = 1,
                                     .incarnation = 1,
                                     .ballot = {rejected, 1}};
    struct paxos_event event = {.type = PAXOS_RECEIVE, .now_ms = 1000, .message = &no};
    if (rejected != 0) {
        (void)paxos_step(p, &event);
    }
    event = (struct paxos_event){.type = PAXOS_TICK, .now_ms = 2000};
    (void)paxos_step(p, &event);
    const struct paxos_ready *ready = paxos_ready(p);
    assert_true(ready->at_once_count > 0);
    assert_int_equal(ready->at_once[0].type, PAXOS_MSG_PREVOTE);
    assert_int_equal(ready->at_once[0].ballot.id, 2);
    return ready->at_once[0].ballot.round;
}

static void a_restart_leads_above_all_that_it_knows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof restarts / sizeof restarts[0]; i++) {
        print_message("# %s\n", restarts[i].name);
        struct paxos_restored restored = {.hard = hard_of(3)};
        restored.hard.promised = restarts[i].promised;
        restored.hard.round_max = restarts[i].round_max;
        struct paxos *p = start(&restored);
        assert_int_equal(next_round(p, restarts[i].rejected), restarts[i].next);
        free(p);
    }
}

/* Who has promised a ballot has known that all founders agree. */
static const struct {
    const char *name;
    uint64_t cell;
    struct paxos_ballot promised;
    uint32_t members;
    enum paxos_role role;
} founders[] = {
    {"all pinned, nothing promised", 0, {0, 0}, 3, PAXOS_FORMING},
    {"promised, the cell not known", 0, {1, 3}, 3, PAXOS_FOLLOWER},
    {"the cell known, from others", 9, {0, 0}, 3, PAXOS_FOLLOWER},
    {"promised, and the cell known", 9, {1, 3}, 3, PAXOS_FOLLOWER},
    {"one of two, nothing promised", 0, {0, 0}, 2, PAXOS_FORMING},
};

static void a_founder_that_promised_waits_for_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof founders / sizeof founders[0]; i++) {
        struct paxos_restored restored = {.hard = hard_of(founders[i].members)};
        restored.hard.cell = founders[i].cell;
        restored.hard.promised = founders[i].promised;
        struct paxos *p = start(&restored);
        struct paxos_status status;
        paxos_status(p, config.now_ms, &status);
        assert_int_equal(status.role, founders[i].role);
        free(p);
    }
}

/* What a store can't hold unless it was damaged or mixed up. */
enum damage {
    NO_DAMAGE,
    OTHER_IDENTITY,
    NO_MEMBER,
    NO_MEMBERS,
    OUT_OF_ORDER,
    ABOVE_PROMISE,
    BELOW_MARK,
    BEYOND_WINDOW,
    TWICE,
    OTHER_CHECKSUM,
    MEMBER_UNKNOWN,
    FOUNDER_UNKNOWN,
    DAMAGES
};

static void an_impossible_store_is_refused(void **state)
{
    (void)state;
    for (int damage = NO_DAMAGE; damage < DAMAGES; damage++) {
        struct paxos_entry votes[2] = {{.slot = 6, .ballot = {3, 1}},
                                       {.slot = 8, .ballot = {4, 1}}};
        for (unsigned i = 0; i < 2; i++) {
            votes[i].value.kind = PAXOS_COMMANDS;
            votes[i].value.checksum = paxos_value_checksum(&votes[i].value);
        }
        struct paxos_restored restored = {
            .hard = hard_of(3), .chosen = 5, .votes = votes, .votes_count = 2};
        restored.hard.promised = (struct paxos_ballot){4, 1};
        struct paxos_members *members = &restored.hard.members;
        switch ((enum damage)damage) {
        case NO_DAMAGE:
        case DAMAGES:
            break;
        case OTHER_IDENTITY:
            members->member[1].identity++;
            break;
        case NO_MEMBER:
            members->member[1].id = 9;
            break;
        case NO_MEMBERS:
            members->count = 0;
            break;
        case OUT_OF_ORDER:
            members->member[0].id = 4;
            break;
        case ABOVE_PROMISE:
            restored.hard.promised = (struct paxos_ballot){3, 9};
            break;
        case BELOW_MARK:
            votes[0].slot = 5;
            break;
        case BEYOND_WINDOW:
            votes[1].slot = 5 + PAXOS_WINDOW + 1;
            break;
        case TWICE:
            votes[1].slot = 6;
            break;
        case OTHER_CHECKSUM:
            votes[1].value.checksum++;
            break;
        case MEMBER_UNKNOWN:
            members->member[2].identity = 0;
            break;
        case FOUNDER_UNKNOWN: /* A promise is made to know them all. */
            restored.hard.cell = 0;
            members->member[2].identity = 0;
            break;
        }
        void *block = malloc(paxos_size(&config));
        assert_non_null(block);
        struct paxos *p = NULL;
        const enum paxos_rc rc = paxos_init(block, &config, &restored, &p);
        assert_int_equal(rc, damage == NO_DAMAGE ? PAXOS_OK : PAXOS_CORRUPT);
        assert_int_equal(p == NULL, rc != PAXOS_OK); /* Untouched on failure. */
        free(block);
    }
}

/* --------------------------------------------------------------------- text */

static const struct {
    struct paxos_note note;
    const char *text;
} notes[] = {
    {{PAXOS_NOTE_FOLLOWING, 2, 7}, "following replica 2 in round 7"},
    {{PAXOS_NOTE_STEPPED_DOWN, PAXOS_DOWN_OUTBID, 0},
     "no longer master: outbid by a higher ballot"},
    {{PAXOS_NOTE_STEPPED_DOWN, 99, 0}, "no longer master: ?"},
    {{PAXOS_NOTE_PINNED, 3, 0xabc}, "pinned replica 3 to identity 0000000000000abc"},
    {{PAXOS_NOTE_FORMED, 0xabc, 0}, "the cell 0000000000000abc is formed"},
    {{PAXOS_NOTES, 1, 2}, "?"},
};

static void notes_are_sentences(void **state)
{
    (void)state;
    char text[256];
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        assert_string_equal(paxos_describe_note(&notes[i].note, text, sizeof text),
                            notes[i].text);
    }
    for (int kind = 0; kind < PAXOS_NOTES; kind++) { /* No placeholder is left over. */
        const struct paxos_note note = {.kind = (enum paxos_note_kind)kind, .a = 1, .b = 2};
        assert_null(strpbrk(paxos_describe_note(&note, text, sizeof text), "{}"));
    }
}

static void text_is_cut_where_the_room_ends(void **state)
{
    (void)state;
    char text[256];
    for (size_t size = 1; size < 40; size++) {
        memset(text, 'x', sizeof text);
        paxos_describe_note(&notes[0].note, text, size);
        assert_true(strlen(text) < size);
        assert_memory_equal(text, notes[0].text, strlen(text));
        assert_int_equal(text[size], 'x');
    }
}

static void every_code_has_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < PAXOS_DROPS; i++) {
        assert_string_not_equal(paxos_describe_drop((enum paxos_drop)i), "?");
    }
    for (int i = PAXOS_OK; i <= PAXOS_CORRUPT; i++) {
        assert_string_not_equal(paxos_describe_rc((enum paxos_rc)i), "?");
    }
    for (int i = PAXOS_FORMING; i <= PAXOS_MASTER; i++) {
        assert_string_not_equal(paxos_describe_role((enum paxos_role)i), "?");
    }
    for (int i = PAXOS_NOOP; i <= PAXOS_COMMANDS; i++) {
        assert_string_not_equal(paxos_describe_kind((enum paxos_kind)i), "?");
    }
    for (int i = PAXOS_MSG_FOUND; i < PAXOS_MSG_TYPES; i++) {
        assert_string_not_equal(paxos_describe_message_type((enum paxos_message_type)i), "?");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ballots_are_ordered_by_round_then_id),
        cmocka_unit_test(epochs_grow_with_ballots_and_fit_a_double),
        cmocka_unit_test(a_majority_is_more_than_half),
        cmocka_unit_test(a_restart_leads_above_all_that_it_knows),
        cmocka_unit_test(a_founder_that_promised_waits_for_nobody),
        cmocka_unit_test(an_impossible_store_is_refused),
        cmocka_unit_test(notes_are_sentences),
        cmocka_unit_test(text_is_cut_where_the_room_ends),
        cmocka_unit_test(every_code_has_a_text),
    };
    return cmocka_run_group_tests_name("paxos ballots", tests, NULL, NULL);
}
