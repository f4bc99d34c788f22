/* SPDX-License-Identifier: Apache-2.0 */
#include "paxos/codec.h"

#include "paxos/base/hash.h"
#include "paxos/base/mutant.h"
#include "paxos/base/pure.h"

/* Versions of what is stored; frames have PAXOS_FRAME_VERSION. */
enum { HARD_VERSION = 1, MEMBERS_VERSION = 1, FOUNDING_VERSION = 1 };

/* Bits of a message's flags. */
enum { FLAG_FIRM = 1, FLAG_AGREED = 2 };

enum {
    HEAD_SIZE = 4 + 1 + 1 + 2 + 8,  /* Length, version, type, reserved, checksum. */
    AFTER_LENGTH = HEAD_SIZE - 4,
    BALLOT_SIZE = 10,
    ENVELOPE_SIZE = 2 + 2 + 5 * 8,
    FIELDS_SIZE = 2 * BALLOT_SIZE + 9 * 8 + 4 + 1 + 2 + 2,
    ENTRY_HEAD = 8 + BALLOT_SIZE + PAXOS_VALUE_HEAD,
    MEMBER_HEAD = 2 + 8 + 1,
};

static_assert(PAXOS_ADDRESS_MAX <= 256, "the length of an address is one octet");
static_assert(1 + 8 + 5 + 4 + PAXOS_MEMBERS_MAX * (MEMBER_HEAD + PAXOS_ADDRESS_MAX) + 64 <
                  PAXOS_HARD_MAX,
              "the hard state fits");

static void write_ballot(struct writer *w, struct paxos_ballot ballot)
{
    write_u64(w, ballot.round);
    write_u16(w, ballot.id);
}

static struct paxos_ballot read_ballot(struct reader *r)
{
    const uint64_t round = read_u64(r);
    return (struct paxos_ballot){.round = round, .id = read_u16(r)};
}

static bool ballot_sane(struct paxos_ballot ballot)
{
    return ballot.round >> PAXOS_ROUND_BITS == 0 && (ballot.id != 0) == (ballot.round != 0);
}

/* ------------------------------------------------------------------ values */

static struct bytes value_head(const struct paxos_value *value, uint8_t room[static 21])
{
    struct writer w = writer_over(room, 21);
    write_u8(&w, (uint8_t)value->kind);
    write_u64(&w, value->epoch);
    write_u64(&w, value->wall_ms);
    write_u32(&w, (uint32_t)value->data.size);
    assert(!w.failed);
    return bytes_of(room, w.size);
}

uint64_t paxos_value_checksum(const struct paxos_value *value)
{
    uint8_t room[21];
    const struct bytes head = value_head(value, room);
    return hash64_seeded(value->data.data, value->data.size, hash64(head.data, head.size));
}

size_t paxos_value_size(const struct paxos_value *value)
{
    return PAXOS_VALUE_HEAD + value->data.size;
}

/* All but the data, so that a frame can put the heads of its entries where the
 * frame's checksum covers them and their data behind it. */
static void write_value_head(struct writer *w, const struct paxos_value *value)
{
    write_u8(w, (uint8_t)value->kind);
    write_u64(w, value->epoch);
    write_u64(w, value->wall_ms);
    write_u64(w, value->checksum);
    write_u32(w, (uint32_t)value->data.size);
}

static uint32_t read_value_head(struct reader *r, struct paxos_value *ret_value)
{
    const uint8_t kind = read_u8(r);
    *ret_value = (struct paxos_value){.kind = PAXOS_NOOP};
    ret_value->epoch = read_u64(r);
    ret_value->wall_ms = read_u64(r);
    ret_value->checksum = read_u64(r);
    const uint32_t size = read_u32(r);
    if (kind < PAXOS_NOOP || kind > PAXOS_COMMANDS || size > PAXOS_VALUE_MAX) {
        r->failed = true;
    } else {
        ret_value->kind = (enum paxos_kind)kind;
    }
    return size;
}

static void read_value_data(struct reader *r, uint32_t size, struct paxos_value *value)
{
    const uint8_t *data = read_raw(r, size);
    value->data = bytes_of(data, data == NULL ? 0 : size);
    if (!r->failed && paxos_value_checksum(value) != value->checksum &&
        !mutant(value_checksum_ignored)) {
        r->failed = true;
    }
}

void paxos_value_encode(const struct paxos_value *value, struct writer *w)
{
    write_value_head(w, value);
    write_raw(w, value->data.data, value->data.size);
}

bool paxos_value_decode(struct reader *r, struct paxos_value *ret_value)
{
    struct paxos_value value;
    const uint32_t size = read_value_head(r, &value);
    read_value_data(r, size, &value);
    if (!r->failed) {
        *ret_value = value;
    }
    return !r->failed;
}

/* ----------------------------------------------------------------- members */

void paxos_members_encode(const struct paxos_members *members, struct writer *w)
{
    assert(members->count <= PAXOS_MEMBERS_MAX);
    write_u8(w, MEMBERS_VERSION);
    write_u64(w, members->number);
    write_u8(w, members->settings.firm ? 1 : 0);
    write_u32(w, members->settings.drift_ppm);
    write_u8(w, (uint8_t)members->count);
    for (uint32_t i = 0; i < members->count; i++) {
        const struct paxos_member *member = &members->member[i];
        const uint8_t *end = memchr(member->address, 0, PAXOS_ADDRESS_MAX);
        assert(end != NULL);
        const size_t size = (size_t)(end - (const uint8_t *)member->address);
        write_u16(w, member->id);
        write_u64(w, member->identity);
        write_u8(w, (uint8_t)size);
        write_raw(w, member->address, size);
    }
}

static void read_member(struct reader *r, struct paxos_member *member)
{
    member->id = read_u16(r);
    member->identity = read_u64(r);
    const uint8_t size = read_u8(r);
    const uint8_t *address = read_raw(r, size);
    if (address == NULL || size >= PAXOS_ADDRESS_MAX || memchr(address, 0, size) != NULL ||
        member->id == 0) {
        r->failed = true;
    } else {
        memcpy(member->address, address, size);
    }
}

bool paxos_members_decode(struct reader *r, struct paxos_members *ret_members)
{
    struct paxos_members members = {0};
    const uint8_t version = read_u8(r);
    members.number = read_u64(r);
    members.settings.firm = read_u8(r) == 1;
    members.settings.drift_ppm = read_u32(r);
    members.count = read_u8(r);
    if (version != MEMBERS_VERSION || members.count > PAXOS_MEMBERS_MAX) {
        r->failed = true;
    }
    for (uint32_t i = 0; !r->failed && i < members.count; i++) {
        read_member(r, &members.member[i]);
        if (i > 0 && members.member[i].id <= members.member[i - 1].id) {
            r->failed = true;
        }
    }
    if (!r->failed) {
        *ret_members = members;
    }
    return !r->failed;
}

void paxos_hard_encode(const struct paxos_hard *hard, struct writer *w)
{
    write_u8(w, HARD_VERSION);
    write_ballot(w, hard->promised);
    write_u64(w, hard->round_max);
    write_u64(w, hard->cell);
    write_u32(w, hard->firm_ms_max);
    paxos_members_encode(&hard->members, w);
}

bool paxos_hard_decode(struct bytes input, struct paxos_hard *ret_hard)
{
    struct reader r = reader_over(input);
    struct paxos_hard hard = {0};
    const uint8_t version = read_u8(&r);
    hard.promised = read_ballot(&r);
    hard.round_max = read_u64(&r);
    hard.cell = read_u64(&r);
    hard.firm_ms_max = read_u32(&r);
    if (version != HARD_VERSION || !ballot_sane(hard.promised) ||
        !paxos_members_decode(&r, &hard.members) || !read_done(&r)) {
        return false;
    }
    *ret_hard = hard;
    return true;
}

void paxos_founding_encode(uint64_t cell, const struct paxos_members *members, struct writer *w)
{
    write_u8(w, FOUNDING_VERSION);
    write_u64(w, cell);
    paxos_members_encode(members, w);
}

bool paxos_founding_decode(struct bytes data, uint64_t *ret_cell, struct paxos_members *ret_members)
{
    struct reader r = reader_over(data);
    const uint8_t version = read_u8(&r);
    const uint64_t cell = read_u64(&r);
    if (version != FOUNDING_VERSION || cell == 0 || !paxos_members_decode(&r, ret_members) ||
        !read_done(&r)) {
        return false;
    }
    *ret_cell = cell;
    return true;
}

/* ------------------------------------------------------------------ frames */

static size_t members_size(const struct paxos_members *members)
{
    uint8_t room[PAXOS_HARD_MAX];
    struct writer w = writer_over(room, sizeof room);
    paxos_members_encode(members, &w);
    assert(!w.failed);
    return w.size;
}

size_t paxos_frame_size(const struct paxos_message *message)
{
    size_t size = HEAD_SIZE + ENVELOPE_SIZE + FIELDS_SIZE + 2;
    if (message->type == PAXOS_MSG_FOUND) {
        size += members_size(message->members);
    }
    for (uint32_t i = 0; i < message->entries_count; i++) {
        size += ENTRY_HEAD + message->entries[i].value.data.size;
    }
    return size;
}

static void write_fields(struct writer *w, const struct paxos_message *message)
{
    const uint8_t flags =
        (uint8_t)((message->firm ? FLAG_FIRM : 0) | (message->agreed ? FLAG_AGREED : 0));
    write_u16(w, message->from);
    write_u16(w, message->to);
    write_u64(w, message->from_identity);
    write_u64(w, message->to_identity);
    write_u64(w, message->cell);
    write_u64(w, message->members_number);
    write_u64(w, message->incarnation);
    write_ballot(w, message->ballot);
    write_ballot(w, message->released);
    write_u64(w, message->slot);
    write_u64(w, message->chosen);
    write_u64(w, message->durable);
    write_u64(w, message->trim);
    write_u64(w, message->round);
    write_u64(w, message->confirmed);
    write_u64(w, message->stamp_ms);
    write_u64(w, message->stamp_incarnation);
    write_u64(w, message->checksum);
    write_u32(w, message->lease_ms);
    write_u8(w, flags);
    write_u16(w, message->part);
    write_u16(w, message->parts);
}

static void read_fields(struct reader *r, struct paxos_message *message)
{
    message->from = read_u16(r);
    message->to = read_u16(r);
    message->from_identity = read_u64(r);
    message->to_identity = read_u64(r);
    message->cell = read_u64(r);
    message->members_number = read_u64(r);
    message->incarnation = read_u64(r);
    message->ballot = read_ballot(r);
    message->released = read_ballot(r);
    message->slot = read_u64(r);
    message->chosen = read_u64(r);
    message->durable = read_u64(r);
    message->trim = read_u64(r);
    message->round = read_u64(r);
    message->confirmed = read_u64(r);
    message->stamp_ms = read_u64(r);
    message->stamp_incarnation = read_u64(r);
    message->checksum = read_u64(r);
    message->lease_ms = read_u32(r);
    const uint8_t flags = read_u8(r);
    message->firm = (flags & FLAG_FIRM) != 0;
    message->agreed = (flags & FLAG_AGREED) != 0;
    message->part = read_u16(r);
    message->parts = read_u16(r);
    if (!ballot_sane(message->ballot) || !ballot_sane(message->released) || message->from == 0) {
        r->failed = true;
    }
}

void paxos_frame_encode(const struct paxos_message *message, struct writer *w)
{
    assert(message->entries_count <= PAXOS_MESSAGE_ENTRIES);
    const size_t total = paxos_frame_size(message);
    assert(total <= PAXOS_FRAME_MAX);
    uint8_t *head = write_reserve(w, HEAD_SIZE);
    if (head == NULL) {
        return;
    }
    const size_t covered_from = w->size;
    write_fields(w, message);
    if (message->type == PAXOS_MSG_FOUND) {
        paxos_members_encode(message->members, w);
    }
    write_u16(w, (uint16_t)message->entries_count);
    for (uint32_t i = 0; i < message->entries_count; i++) {
        write_u64(w, message->entries[i].slot);
        write_ballot(w, message->entries[i].ballot);
        write_value_head(w, &message->entries[i].value);
    }
    const size_t covered_to = w->size;
    for (uint32_t i = 0; i < message->entries_count; i++) {
        write_raw(w, message->entries[i].value.data.data, message->entries[i].value.data.size);
    }
    if (w->failed) {
        return;
    }
    assert(w->size - covered_from + HEAD_SIZE == total);

    struct writer at = writer_over(head, HEAD_SIZE);
    write_u32(&at, (uint32_t)(total - PAXOS_FRAME_HEAD));
    write_u8(&at, PAXOS_FRAME_VERSION);
    write_u8(&at, (uint8_t)message->type);
    write_u16(&at, 0);
    write_u64(&at, hash64_seeded(w->data + covered_from, covered_to - covered_from,
                                 (uint64_t)message->type));
    assert(!at.failed);
}

/* The heads of all entries, then, outside the frame's own checksum, their data. */
static void read_entries(struct reader *r, struct paxos_decoded *decoded, size_t *ret_covered_to)
{
    uint32_t sizes[PAXOS_MESSAGE_ENTRIES];
    const uint32_t count = read_u16(r);
    if (count > PAXOS_MESSAGE_ENTRIES) {
        r->failed = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct paxos_entry *entry = &decoded->entries[i];
        entry->slot = read_u64(r);
        entry->ballot = read_ballot(r);
        sizes[i] = read_value_head(r, &entry->value);
        if (!ballot_sane(entry->ballot) || entry->slot == 0 || entry->ballot.round == 0) {
            r->failed = true;
        }
    }
    *ret_covered_to = r->at;
    for (uint32_t i = 0; !r->failed && i < count; i++) {
        read_value_data(r, sizes[i], &decoded->entries[i].value);
    }
    decoded->message.entries = decoded->entries;
    decoded->message.entries_count = count;
}

enum paxos_decode paxos_frame_decode(struct bytes input, struct paxos_decoded *ret_decoded,
                                     size_t *ret_size)
{
    struct reader r = reader_over(input);
    if (input.size < HEAD_SIZE) {
        *ret_size = HEAD_SIZE;
        if (input.size >= PAXOS_FRAME_HEAD && read_u32(&r) > PAXOS_FRAME_MAX) {
            return PAXOS_DECODE_DAMAGED;
        }
        return PAXOS_DECODE_MORE;
    }
    const uint32_t length = read_u32(&r);
    const uint8_t version = read_u8(&r);
    if (version != PAXOS_FRAME_VERSION) {
        *ret_size = version;
        return PAXOS_DECODE_VERSION;
    }
    if (length < AFTER_LENGTH || length > PAXOS_FRAME_MAX) {
        return PAXOS_DECODE_DAMAGED;
    }
    *ret_size = (size_t)length + PAXOS_FRAME_HEAD;
    if (input.size < *ret_size) {
        return PAXOS_DECODE_MORE;
    }
    r.size = *ret_size;
    const uint8_t type = read_u8(&r);
    const uint16_t reserved = read_u16(&r);
    const uint64_t checksum = read_u64(&r);
    if (type < PAXOS_MSG_FOUND || type >= PAXOS_MSG_TYPES || reserved != 0) {
        return PAXOS_DECODE_DAMAGED;
    }

    const size_t covered_from = r.at;
    size_t covered_to = covered_from;
    ret_decoded->message = (struct paxos_message){.type = (enum paxos_message_type)type};
    read_fields(&r, &ret_decoded->message);
    if (type == PAXOS_MSG_FOUND) {
        if (!paxos_members_decode(&r, &ret_decoded->members)) {
            return PAXOS_DECODE_DAMAGED;
        }
        ret_decoded->message.members = &ret_decoded->members;
    }
    read_entries(&r, ret_decoded, &covered_to);
    const uint64_t found =
        hash64_seeded(input.data + covered_from, covered_to - covered_from, type);
    if (!read_done(&r) || (found != checksum && !mutant(frame_checksum_ignored))) {
        return PAXOS_DECODE_DAMAGED;
    }
    return PAXOS_DECODED;
}
