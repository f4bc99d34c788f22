/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames and stored pieces: what was written is read again, and nothing else is.
 */
#include "paxos/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paxos/base/rng.h"

enum { ROOM = 64 * 1024, RANDOM_INPUTS = 10000 };

static struct paxos_members three_members(void)
{
    struct paxos_members members = {
        .number = 1, .settings = {.firm = true, .drift_ppm = 10000}, .count = 3};
    for (uint32_t i = 0; i < 3; i++) {
        members.member[i].id = (paxos_id)(i + 1);
        members.member[i].identity = UINT64_C(0xabcdef0000) + i;
        memcpy(members.member[i].address, "127.0.0.1:7500", 15);
    }
    return members;
}

static struct paxos_value value_of(enum paxos_kind kind, const char *data)
{
    struct paxos_value value = {.kind = kind,
                                .epoch = 5 << 16 | 2,
                                .wall_ms = 1700000000000,
                                .data = bytes_of(data, strlen(data))};
    value.checksum = paxos_value_checksum(&value);
    return value;
}

/* Every field filled, so that one that is forgotten is missed. */
static struct paxos_message full_message(enum paxos_message_type type)
{
    return (struct paxos_message){.type = type,
                                  .from = 3,
                                  .to = 7,
                                  .from_identity = UINT64_MAX,
                                  .to_identity = UINT64_C(0x8000000000000001),
                                  .cell = 77,
                                  .members_number = 4,
                                  .incarnation = 9,
                                  .ballot = {(UINT64_C(1) << PAXOS_ROUND_BITS) - 1, UINT16_MAX},
                                  .released = {12, 2},
                                  .slot = UINT64_C(1) << 53,
                                  .chosen = UINT64_C(1) << 31,
                                  .durable = (UINT64_C(1) << 32) + 1,
                                  .trim = 17,
                                  .round = 18,
                                  .checksum = 19,
                                  .lease_ms = UINT32_MAX,
                                  .firm = true,
                                  .agreed = true,
                                  .part = 21,
                                  .parts = 64};
}

static bool same_ballot(struct paxos_ballot a, struct paxos_ballot b)
{
    return paxos_ballot_compare(a, b) == 0;
}

static bool same_entry(const struct paxos_entry *a, const struct paxos_entry *b)
{
    return a->slot == b->slot && same_ballot(a->ballot, b->ballot) &&
           a->value.kind == b->value.kind && a->value.epoch == b->value.epoch &&
           a->value.wall_ms == b->value.wall_ms && a->value.checksum == b->value.checksum &&
           bytes_equal(a->value.data, b->value.data);
}

static bool same_members(const struct paxos_members *a, const struct paxos_members *b)
{
    bool same = a->number == b->number && a->count == b->count &&
                a->settings.firm == b->settings.firm &&
                a->settings.drift_ppm == b->settings.drift_ppm;
    for (uint32_t i = 0; same && i < a->count; i++) {
        same = a->member[i].id == b->member[i].id &&
               a->member[i].identity == b->member[i].identity &&
               strcmp(a->member[i].address, b->member[i].address) == 0;
    }
    return same;
}

static void assert_same_message(const struct paxos_message *a, const struct paxos_message *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_true(a->from_identity == b->from_identity && a->to_identity == b->to_identity);
    assert_true(a->cell == b->cell && a->members_number == b->members_number);
    assert_true(a->incarnation == b->incarnation);
    assert_true(same_ballot(a->ballot, b->ballot) && same_ballot(a->released, b->released));
    assert_true(a->slot == b->slot && a->chosen == b->chosen && a->durable == b->durable);
    assert_true(a->trim == b->trim && a->round == b->round && a->checksum == b->checksum);
    assert_true(a->lease_ms == b->lease_ms && a->firm == b->firm && a->agreed == b->agreed);
    assert_true(a->part == b->part && a->parts == b->parts);
    assert_int_equal(a->entries_count, b->entries_count);
    for (uint32_t i = 0; i < a->entries_count; i++) {
        assert_true(same_entry(&a->entries[i], &b->entries[i]));
    }
    assert_true((a->members == NULL) == (b->members == NULL));
    if (a->members != NULL) {
        assert_true(same_members(a->members, b->members));
    }
}

/* A message of the type, and the frame it makes. */
struct sample {
    struct paxos_members members;
    struct paxos_entry entries[3];
    struct paxos_message message;
    uint8_t frame[4096];
    size_t size;
};

static void make_sample(struct sample *s, enum paxos_message_type type)
{
    s->members = three_members();
    s->entries[0] = (struct paxos_entry){1, {1, 1}, value_of(PAXOS_NOOP, "")};
    s->entries[1] =
        (struct paxos_entry){2, {2, 3}, value_of(PAXOS_COMMANDS, "put /ls/local/a")};
    s->entries[2] = (struct paxos_entry){3, {4, 1}, value_of(PAXOS_FIRST, "x")};
    s->message = full_message(type);
    s->message.members = type == PAXOS_MSG_FOUND ? &s->members : NULL;
    s->message.entries = s->entries;
    s->message.entries_count = 3;
    struct writer w = writer_over(s->frame, sizeof s->frame);
    paxos_frame_encode(&s->message, &w);
    assert_false(w.failed);
    assert_int_equal(w.size, paxos_frame_size(&s->message));
    s->size = w.size;
}

static enum paxos_decode decode(const uint8_t *data, size_t size, struct paxos_decoded *decoded,
                                size_t *ret_size)
{
    uint8_t *exact = malloc(size); /* Of the exact size, so that a sanitizer sees the end. */
    assert_true(size == 0 || exact != NULL);
    if (size > 0) {
        memcpy(exact, data, size);
    }
    const enum paxos_decode rc = paxos_frame_decode(bytes_of(exact, size), decoded, ret_size);
    free(exact);
    return rc;
}

static void every_type_comes_back(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    for (int type = PAXOS_MSG_FOUND; type < PAXOS_MSG_TYPES; type++) {
        make_sample(&s, (enum paxos_message_type)type);
        size_t size = 0;
        assert_int_equal(paxos_frame_decode(bytes_of(s.frame, s.size), &decoded, &size),
                         PAXOS_DECODED);
        assert_int_equal(size, s.size);
        assert_same_message(&s.message, &decoded.message);
    }
}

static void frames_stand_one_behind_the_other(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    static uint8_t two[8192];
    make_sample(&s, PAXOS_MSG_ACCEPT);
    memcpy(two, s.frame, s.size);
    memcpy(two + s.size, s.frame, s.size);
    size_t size = 0;
    assert_int_equal(paxos_frame_decode(bytes_of(two, 2 * s.size), &decoded, &size),
                     PAXOS_DECODED);
    assert_int_equal(size, s.size);
}

static void a_truncated_frame_wants_more(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    for (int type = PAXOS_MSG_FOUND; type < PAXOS_MSG_TYPES; type++) {
        make_sample(&s, (enum paxos_message_type)type);
        for (size_t size = 0; size < s.size; size++) {
            size_t need = 0;
            assert_int_equal(decode(s.frame, size, &decoded, &need), PAXOS_DECODE_MORE);
            assert_true(need > size && need <= s.size);
        }
    }
}

/* The length is made to fit, so that only the contents can tell. */
static void a_shortened_frame_is_refused(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    for (int type = PAXOS_MSG_FOUND; type < PAXOS_MSG_TYPES; type++) {
        make_sample(&s, (enum paxos_message_type)type);
        for (size_t size = PAXOS_FRAME_HEAD; size < s.size; size++) {
            struct writer w = writer_over(s.frame, PAXOS_FRAME_HEAD);
            write_u32(&w, (uint32_t)(size - PAXOS_FRAME_HEAD));
            size_t need = 0;
            const enum paxos_decode rc = decode(s.frame, size, &decoded, &need);
            if (size < 16) { /* Less than a head: it can't be told yet. */
                assert_int_equal(rc, PAXOS_DECODE_MORE);
            } else {
                assert_int_equal(rc, PAXOS_DECODE_DAMAGED);
            }
        }
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    for (int type = PAXOS_MSG_FOUND; type < PAXOS_MSG_TYPES; type++) {
        make_sample(&s, (enum paxos_message_type)type);
        for (size_t at = 0; at < s.size; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                s.frame[at] ^= (uint8_t)(1u << bit);
                size_t size = 0;
                assert_int_not_equal(decode(s.frame, s.size, &decoded, &size), PAXOS_DECODED);
                s.frame[at] ^= (uint8_t)(1u << bit);
            }
        }
    }
}

static void another_version_is_named(void **state)
{
    (void)state;
    static struct sample s;
    static struct paxos_decoded decoded;
    make_sample(&s, PAXOS_MSG_VOTE);
    s.frame[PAXOS_FRAME_HEAD] = 9;
    size_t version = 0;
    assert_int_equal(decode(s.frame, s.size, &decoded, &version), PAXOS_DECODE_VERSION);
    assert_int_equal(version, 9);
}

static void a_length_beyond_all_limits_closes(void **state)
{
    (void)state;
    static struct paxos_decoded decoded;
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, PAXOS_FRAME_VERSION};
    size_t size = 0;
    assert_int_equal(decode(huge, sizeof huge, &decoded, &size), PAXOS_DECODE_DAMAGED);
}

/* What no sender may claim, under checksums that are right. */
static void contents_without_sense_are_refused(void **state)
{
    (void)state;
    static struct paxos_decoded decoded;
    static struct sample s;
    for (unsigned wrong = 0; wrong < 6; wrong++) {
        make_sample(&s, PAXOS_MSG_ACCEPT);
        struct paxos_message m = s.message;
        struct paxos_entry *entry = &s.entries[1];
        switch (wrong) {
        case 0:
            m.ballot.round = UINT64_C(1) << PAXOS_ROUND_BITS;
            break;
        case 1:
            m.ballot = (struct paxos_ballot){3, 0};
            break;
        case 2:
            m.from = 0;
            break;
        case 3:
            entry->slot = 0;
            break;
        case 4:
            entry->ballot = (struct paxos_ballot){0, 0};
            break;
        case 5:
            entry->value.checksum++;
            break;
        }
        struct writer w = writer_over(s.frame, sizeof s.frame);
        paxos_frame_encode(&m, &w);
        size_t size = 0;
        assert_int_equal(decode(s.frame, w.size, &decoded, &size), PAXOS_DECODE_DAMAGED);
    }
}

static void chance_makes_no_frame(void **state)
{
    (void)state;
    static struct paxos_decoded decoded;
    static uint8_t input[512];
    struct rng rng = {.state = 7};
    for (unsigned i = 0; i < RANDOM_INPUTS; i++) {
        const size_t size = rng_below(&rng, sizeof input);
        for (size_t at = 0; at < size; at++) {
            input[at] = (uint8_t)rng_next(&rng);
        }
        if (i % 2 == 0 && size > 16) { /* Half of them get past the head. */
            struct writer w = writer_over(input, 8);
            write_u32(&w, (uint32_t)(size - PAXOS_FRAME_HEAD));
            write_u8(&w, PAXOS_FRAME_VERSION);
            write_u8(&w, (uint8_t)rng_between(&rng, PAXOS_MSG_FOUND, PAXOS_MSG_RELEASE));
            write_u16(&w, 0);
        }
        size_t need = 0;
        assert_int_not_equal(decode(input, size, &decoded, &need), PAXOS_DECODED);
        struct paxos_hard hard;
        uint64_t cell;
        struct paxos_members members;
        assert_false(paxos_hard_decode(bytes_of(input, size), &hard));
        assert_false(paxos_founding_decode(bytes_of(input, size), &cell, &members));
    }
}

static void the_checksum_covers_all_of_a_value(void **state)
{
    (void)state;
    const struct paxos_value value = value_of(PAXOS_COMMANDS, "some bytes");
    struct paxos_value other = value;
    other.kind = PAXOS_FIRST;
    assert_true(paxos_value_checksum(&other) != value.checksum);
    other = value;
    other.epoch++;
    assert_true(paxos_value_checksum(&other) != value.checksum);
    other = value;
    other.wall_ms++;
    assert_true(paxos_value_checksum(&other) != value.checksum);
    other = value;
    other.data.size--;
    assert_true(paxos_value_checksum(&other) != value.checksum);
    other = value;
    other.checksum = 0; /* Itself it doesn't cover. */
    assert_true(paxos_value_checksum(&other) == value.checksum);
}

static void a_value_comes_back_or_not_at_all(void **state)
{
    (void)state;
    uint8_t row[64];
    const struct paxos_value value = value_of(PAXOS_COMMANDS, "some bytes");
    struct writer w = writer_over(row, sizeof row);
    paxos_value_encode(&value, &w);
    assert_int_equal(w.size, paxos_value_size(&value));
    struct paxos_value back;
    struct reader r = reader_over(bytes_of(row, w.size));
    assert_true(paxos_value_decode(&r, &back) && read_done(&r));
    assert_true(back.kind == value.kind && bytes_equal(back.data, value.data));
    for (size_t at = 0; at < w.size; at++) {
        row[at] ^= 0x40;
        r = reader_over(bytes_of(row, w.size));
        assert_false(paxos_value_decode(&r, &back));
        row[at] ^= 0x40;
        r = reader_over(bytes_of(row, at));
        assert_false(paxos_value_decode(&r, &back));
    }
}

static void the_hard_state_comes_back(void **state)
{
    (void)state;
    static uint8_t room[PAXOS_HARD_MAX];
    struct paxos_hard hard = {.promised = {1234567, 65535},
                              .round_max = 1234568,
                              .cell = UINT64_MAX,
                              .firm_ms_max = 5000,
                              .members = three_members()};
    struct writer w = writer_over(room, sizeof room);
    paxos_hard_encode(&hard, &w);
    struct paxos_hard back;
    assert_true(paxos_hard_decode(bytes_of(room, w.size), &back));
    assert_true(same_ballot(back.promised, hard.promised) && back.round_max == hard.round_max);
    assert_true(back.cell == hard.cell && back.firm_ms_max == hard.firm_ms_max);
    assert_true(same_members(&back.members, &hard.members));
    for (size_t size = 0; size < w.size; size++) {
        assert_false(paxos_hard_decode(bytes_of(room, size), &back));
    }
    assert_false(paxos_hard_decode(bytes_of(room, w.size + 1), &back)); /* Nothing behind it. */
    room[0] = 2;
    assert_false(paxos_hard_decode(bytes_of(room, w.size), &back));
}

static void the_largest_hard_state_fits(void **state)
{
    (void)state;
    static uint8_t room[PAXOS_HARD_MAX];
    struct paxos_hard hard = {.members = {.count = PAXOS_MEMBERS_MAX}};
    for (uint32_t i = 0; i < PAXOS_MEMBERS_MAX; i++) {
        hard.members.member[i].id = (paxos_id)(i + 1);
        memset(hard.members.member[i].address, 'a', PAXOS_ADDRESS_MAX - 1);
    }
    struct writer w = writer_over(room, sizeof room);
    paxos_hard_encode(&hard, &w);
    assert_false(w.failed);
    struct paxos_hard back;
    assert_true(paxos_hard_decode(bytes_of(room, w.size), &back));
    assert_true(same_members(&back.members, &hard.members));
}

static void members_are_in_order(void **state)
{
    (void)state;
    static uint8_t room[PAXOS_HARD_MAX];
    struct paxos_members members = three_members(), back;
    uint64_t cell = 0;
    struct writer w = writer_over(room, sizeof room);
    paxos_founding_encode(42, &members, &w);
    assert_true(paxos_founding_decode(bytes_of(room, w.size), &cell, &back));
    assert_true(cell == 42 && same_members(&members, &back));

    members.member[1].id = 3; /* Twice the same. */
    w = writer_over(room, sizeof room);
    paxos_founding_encode(42, &members, &w);
    assert_false(paxos_founding_decode(bytes_of(room, w.size), &cell, &back));

    members = three_members();
    w = writer_over(room, sizeof room);
    paxos_founding_encode(0, &members, &w); /* A cell without a name. */
    assert_false(paxos_founding_decode(bytes_of(room, w.size), &cell, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(frames_stand_one_behind_the_other),
        cmocka_unit_test(a_truncated_frame_wants_more),
        cmocka_unit_test(a_shortened_frame_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(another_version_is_named),
        cmocka_unit_test(a_length_beyond_all_limits_closes),
        cmocka_unit_test(contents_without_sense_are_refused),
        cmocka_unit_test(chance_makes_no_frame),
        cmocka_unit_test(the_checksum_covers_all_of_a_value),
        cmocka_unit_test(a_value_comes_back_or_not_at_all),
        cmocka_unit_test(the_hard_state_comes_back),
        cmocka_unit_test(the_largest_hard_state_fits),
        cmocka_unit_test(members_are_in_order),
    };
    return cmocka_run_group_tests_name("paxos codec", tests, NULL, NULL);
}
