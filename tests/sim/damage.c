/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/damage.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lease/lease.h"
#include "paxos/codec.h"

enum {
    ROWS_TRIED = 3,      /* A start. */
    COMMANDS_TRIED = 60, /* A start. */
    RESTARTS_TRIED = 4,
    STARTS_ONE_IN = 3,  /* Starts that are looked at. */
    FRAMES_ONE_IN = 64, /* Frames. */
    FRAMES_TRIED = 4,
    WORD = 8,        /* Octets of most numbers. */
    MORE = 2 * WORD, /* What it may grow by. */
    VALUE_MAX = 64 * 1024,
};

/* --------------------------------------------------------------------- chance */

/* Of its own, so that the world's goes on as if nobody had looked. */
static struct rng chance_of(const struct world *w, uint32_t who)
{
    struct rng rng = {.state = w->seed * UINT64_C(0x9e3779b97f4a7c15) ^ w->now_us << 3 ^ who};
    (void)rng_next(&rng);
    return rng;
}

/* Octets of our own, with room for more. */
struct spoilt {
    uint8_t *data;
    size_t size;
};

static void fill(struct rng *rng, struct spoilt *s, size_t most)
{
    static const uint8_t extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    const size_t at = rng_below(rng, s->size);
    const size_t count = s->size - at < most ? s->size - at : most;
    memset(s->data + at, extremes[rng_below(rng, sizeof extremes)], count);
}

static void copy_within(struct rng *rng, struct spoilt *s)
{
    const size_t from = rng_below(rng, s->size);
    const size_t to = rng_below(rng, s->size);
    const size_t left = s->size - (from > to ? from : to);
    memmove(s->data + to, s->data + from, left < WORD ? left : WORD);
}

static void change(struct rng *rng, struct spoilt *s)
{
    switch (rng_below(rng, 8)) {
    case 0:
        s->size = rng_below(rng, s->size);
        break;
    case 1:
        memset(s->data + s->size, 0, MORE);
        s->size += rng_between(rng, 1, MORE);
        break;
    case 2:
        copy_within(rng, s);
        break;
    case 3:
        fill(rng, s, WORD);
        break;
    case 4:
    case 5:
        fill(rng, s, 1);
        break;
    default:
        s->data[rng_below(rng, s->size)] ^= (uint8_t)(1U << rng_below(rng, 8));
        break;
    }
}

/* Free its data. */
static struct spoilt spoil(struct rng *rng, struct bytes honest)
{
    assert(honest.size > 0);
    struct spoilt s = {.data = sim_allocate(honest.size + MORE), .size = honest.size};
    memcpy(s.data, honest.data, honest.size);
    do {
        change(rng, &s);
    } while (bytes_equal(bytes_of(s.data, s.size), honest));
    return s;
}

/* ---------------------------------------------------------------- a state apart */

static void *allocate(void *context, size_t size)
{
    *(uint64_t *)context += size;
    return sim_allocate(size);
}

static void release(void *context, void *memory, size_t size)
{
    *(uint64_t *)context -= size;
    free(memory);
}

__attribute__((noreturn)) static void exhausted(void *context)
{
    (void)context;
    abort();
}

static struct lease *state_new(const struct world *w, uint64_t *allocated)
{
    const struct lease_allocator allocator = {
        .allocate = allocate, .release = release, .exhausted = exhausted, .context = allocated};
    const struct lease_limits limits = plan_limits(&w->plan);
    return lease_new(&allocator, &limits);
}

static void state_free(struct world *w, struct lease *l, const uint64_t *allocated)
{
    lease_free(l);
    if (*allocated != 0) {
        world_fail(w, "memory", "what was made of damage left %llu octets behind",
                   (unsigned long long)*allocated);
    }
}

static struct lease_row row_at(const struct disk *d, uint32_t i)
{
    return (struct lease_row){.key = d->rows[i].key, .value = d->rows[i].value};
}

/* ------------------------------------------------------------------------ rows */

/* A row of any kind: some kinds have one, others hundreds. */
static uint32_t any_row(struct rng *rng, const struct disk *d)
{
    const uint32_t from = (uint32_t)rng_below(rng, d->rows_count);
    const uint8_t kind = (uint8_t)rng_between(rng, d->rows[0].key.data[0],
                                              d->rows[d->rows_count - 1].key.data[0]);
    for (uint32_t i = 0; i < d->rows_count; i++) {
        const uint32_t at = (from + i) % d->rows_count;
        if (d->rows[at].key.data[0] == kind) {
            return at;
        }
    }
    return from;
}

/* All rows, but for one that is left out, comes twice, or is another. */
static bool load_all(struct lease *l, const struct disk *d, uint32_t which, bool gone,
                     const struct lease_row *other)
{
    for (uint32_t i = 0; i < d->rows_count; i++) {
        const struct lease_row honest = row_at(d, i);
        const struct lease_row *row = i == which ? other : &honest;
        if ((i != which || !gone) && !lease_row_load(l, row)) {
            return false;
        }
    }
    return lease_loaded(l, d->applied_slot, d->applied_position, d->digest);
}

static void damage_row(struct world *w, struct rng *rng, const struct disk *d)
{
    const uint32_t which = any_row(rng, d);
    const uint64_t how = rng_below(rng, 100);
    struct lease_row row = row_at(d, how < 5 ? any_row(rng, d) : which);
    const bool of_key = how < 20;
    const struct spoilt s = spoil(rng, of_key ? row.key : row.value);
    const struct bytes damaged = bytes_of(s.data, s.size);
    row.key = of_key ? damaged : row.key;
    row.value = of_key ? row.value : damaged;
    if (how == 20) {
        row.value = bytes_of(NULL, 0);
    }
    uint64_t allocated = 0;
    struct lease *l = state_new(w, &allocated);
    if (load_all(l, d, which, how == 21, &row)) {
        world_fail(w, "damage", "row %u of replica %u's tables is damaged, and nobody sees it",
                   which, d->index + 1);
    }
    state_free(w, l, &allocated);
    free(s.data);
}

/* -------------------------------------------------------------------- commands */

/* An entry of commands, or NULL. */
static const struct paxos_entry *any_entry(struct rng *rng, const struct disk *d)
{
    const paxos_slot last = disk_log_last(d);
    const paxos_slot slot = d->log_base + rng_below(rng, last - d->log_base + 1);
    const struct paxos_entry *entry = disk_log_at(d, slot);
    return entry != NULL && entry->value.kind == PAXOS_COMMANDS ? entry : NULL;
}

/* What decodes is a command, and applies: as done or refused. */
static void apply_all(struct lease *l, struct bytes commands)
{
    struct reader reader = reader_over(commands);
    struct lease_command command;
    const struct lease_position position = lease_position(l);
    uint32_t count = 0;
    while (!read_done(&reader) && lease_command_decode(&reader, &command)) {
        const struct lease_at at = {.slot = position.slot + 1,
                                    .position = ++count,
                                    .epoch = position.epoch,
                                    .wall_ms = position.slot};
        struct lease_result result;
        lease_apply(l, &at, &command, &result);
    }
    lease_slot_done(l, position.slot + 1, count);
}

static void damage_commands(struct world *w, struct rng *rng, const struct disk *d)
{
    uint64_t allocated = 0;
    struct lease *l = state_new(w, &allocated);
    const uint32_t none = d->rows_count;
    if (d->log_count == 0 || !load_all(l, d, none, /* gone= */ false, /* other= */ NULL)) {
        state_free(w, l, &allocated);
        return;
    }
    for (uint32_t i = 0; i < COMMANDS_TRIED; i++) {
        const struct paxos_entry *entry = any_entry(rng, d);
        if (entry != NULL && entry->value.data.size > 0) {
            const struct spoilt s = spoil(rng, entry->value.data);
            apply_all(l, bytes_of(s.data, s.size));
            free(s.data);
        }
    }
    lease_check(l);
    state_free(w, l, &allocated);
}

/* --------------------------------------------------------------------- restart */

static void change_vote(struct rng *rng, struct paxos_entry *votes, uint32_t count)
{
    struct paxos_entry *vote = &votes[rng_below(rng, count)];
    switch (rng_below(rng, 6)) {
    case 0:
        vote->slot = rng_below(rng, 3);
        break;
    case 1:
        vote->slot += rng_below(rng, 100);
        break;
    case 2:
        vote->ballot.round += rng_below(rng, 2) == 0 ? 1 : UINT64_MAX / 2;
        break;
    case 3:
        vote->ballot = (struct paxos_ballot){.round = 0};
        break;
    case 4:
        vote->value.checksum ^= 1;
        break;
    default:
        vote->value.kind = (enum paxos_kind)rng_below(rng, 200);
        break;
    }
}

static uint32_t copy_votes(const struct disk *d, struct paxos_entry *votes)
{
    uint32_t count = 0;
    for (paxos_slot slot = d->chosen_mark + 1; slot <= disk_log_last(d); slot++) {
        const struct paxos_entry *entry = disk_log_at(d, slot);
        if (entry != NULL) {
            votes[count++] = *entry;
        }
    }
    return count;
}

/* What a replica has promised, with damage; false: that was found. */
static bool damage_hard(struct rng *rng, const struct paxos_hard *honest,
                        struct paxos_hard *ret_hard)
{
    uint8_t octets[PAXOS_HARD_MAX];
    struct writer writer = writer_over(octets, sizeof octets);
    paxos_hard_encode(honest, &writer);
    assert(!writer.failed);
    const struct spoilt s = spoil(rng, bytes_of(octets, writer.size));
    const bool good = paxos_hard_decode(bytes_of(s.data, s.size), ret_hard);
    free(s.data);
    return good;
}

static void restart(const struct replica *r, const struct paxos_restored *restored)
{
    const struct disk *d = &r->disk;
    const struct paxos_config config = {.self = (paxos_id)(r->index + 1),
                                        .identity = d->identity,
                                        .incarnation = d->incarnation,
                                        .seed = 1,
                                        .now_ms = 1,
                                        .heartbeat_ms = PLAN_HEARTBEAT_MS,
                                        .lease_ms = PLAN_LEASE_MS,
                                        .jitter_ms_min = PLAN_JITTER_MS_MIN,
                                        .jitter_ms_max = PLAN_JITTER_MS_MAX,
                                        .disk_stall_ms = PLAN_DISK_STALL_MS,
                                        .value_max = VALUE_MAX};
    void *block = sim_allocate(paxos_size(&config));
    struct paxos *p;
    if (paxos_init(block, &config, restored, &p) == PAXOS_OK) {
        paxos_check(p);
    }
    free(block);
}

static void damage_restart(struct rng *rng, const struct replica *r)
{
    const struct disk *d = &r->disk;
    struct paxos_entry *votes = sim_allocate((d->log_count + 1) * sizeof *votes);
    struct paxos_restored restored = {.hard = d->hard,
                                      .chosen = d->chosen_mark,
                                      .votes = votes,
                                      .votes_count = copy_votes(d, votes)};
    bool good = true;
    if (restored.votes_count > 0 && rng_below(rng, 2) == 0) {
        change_vote(rng, votes, restored.votes_count);
    } else {
        good = damage_hard(rng, &d->hard, &restored.hard);
    }
    if (good) {
        restart(r, &restored);
    }
    free(votes);
}

/* ------------------------------------------------------------------------- all */

void damage_store(struct world *w, const struct replica *r)
{
    struct rng rng = chance_of(w, r->index);
    const struct disk *d = &r->disk;
    if (rng_below(&rng, STARTS_ONE_IN) != 0) {
        return;
    }
    for (uint32_t i = 0; d->rows_count > 0 && i < ROWS_TRIED; i++) {
        damage_row(w, &rng, d);
    }
    damage_commands(w, &rng, d);
    for (uint32_t i = 0; i < RESTARTS_TRIED; i++) {
        damage_restart(&rng, r);
    }
}

/* Nobody takes it for a frame: some of its octets don't matter, but all are checked. */
void damage_frame(struct world *w, struct bytes frame)
{
    struct rng rng = chance_of(w, (uint32_t)frame.size);
    if (rng_below(&rng, FRAMES_ONE_IN) != 0) {
        return;
    }
    struct paxos_decoded *decoded = sim_allocate(sizeof *decoded);
    for (uint32_t i = 0; i < FRAMES_TRIED; i++) {
        const struct spoilt s = spoil(&rng, frame);
        size_t size = 0;
        const bool longer = s.size > frame.size; /* A whole frame, and more behind it. */
        if (paxos_frame_decode(bytes_of(s.data, s.size), decoded, &size) == PAXOS_DECODED &&
            !longer) {
            world_fail(w, "codec", "a damaged frame of %zu octets is accepted", frame.size);
        }
        free(s.data);
    }
    free(decoded);
}
