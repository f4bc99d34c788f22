/* SPDX-License-Identifier: Apache-2.0
 *
 * service_boot.c -- the making of a service, and its start from the store.
 *
 * Tables that take requests are made once, as large as they may get, and not
 * touched before they are used: what an operating system gives out lazily costs
 * nothing until then.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

/* ------------------------------------------------------------------ memory */

void *table_new(struct service *s, size_t count, size_t size)
{
    assert(count > 0 && count <= SIZE_MAX / size);
    void *table = s->allocator.allocate(s->allocator.context, count * size);
    if (table == NULL) {
        s->allocator.exhausted(s->allocator.context);
    }
    return table;
}

void table_free(struct service *s, void *table, size_t count, size_t size)
{
    if (table != NULL) {
        s->allocator.release(s->allocator.context, table, count * size);
    }
}

void *table_grow(struct service *s, void *table, size_t used, size_t *capacity, size_t wanted,
                 size_t size)
{
    assert(used <= *capacity);
    if (wanted <= *capacity) {
        return table;
    }
    size_t larger = *capacity == 0 ? wanted : *capacity;
    while (larger < wanted) {
        larger *= 2;
    }
    void *grown = table_new(s, larger, size);
    if (used > 0) {
        memcpy(grown, table, used * size);
    }
    table_free(s, table, *capacity, size);
    *capacity = larger;
    return grown;
}

/* -------------------------------------------------------------------- life */

static size_t queue_octets(const struct service *s)
{
    return pending_ring_size(s->config.queue_bytes_max, s->batch_bytes);
}

static size_t read_octets(const struct service *s)
{
    return (size_t)s->config.reads_max * READ_NAME_OCTETS + LEASE_PATH_MAX +
           LEASE_COMPONENT_MAX;
}

static void make_queues(struct service *s)
{
    s->queue.capacity = s->config.queue_commands_max;
    s->queue.commands = table_new(s, s->queue.capacity, sizeof *s->queue.commands);
    s->queue.octets_max = s->config.queue_bytes_max;
    s->queue.octets.capacity = queue_octets(s);
    s->queue.octets.data = table_new(s, s->queue.octets.capacity, 1);

    s->reads.capacity = s->config.reads_max;
    s->reads.reads = table_new(s, s->reads.capacity, sizeof *s->reads.reads);
    s->reads.names.capacity = read_octets(s);
    s->reads.names.data = table_new(s, s->reads.names.capacity, 1);

    s->children = table_new(s, READ_TURN_CHILDREN, sizeof *s->children);
    s->lists.locks = table_new(s, READ_TURN_CLAIMS, sizeof *s->lists.locks);
    s->lists.claims = table_new(s, READ_TURN_CLAIMS, sizeof *s->lists.claims);
    s->lists.paths = table_new(s, READ_TURN_CLAIMS + 1, sizeof *s->lists.paths);
    s->lists.left_ms = table_new(s, READ_TURN_CLAIMS, sizeof *s->lists.left_ms);
    s->lists.failed = table_new(s, HOLDERS_TURN, sizeof *s->lists.failed);
    s->judged.commands = table_new(s, KEEPER_BATCH + 1, sizeof *s->judged.commands);
    s->judged.octets = table_new(s, JUDGED_OCTETS, 1);
    s->replies =
        table_grow(s, NULL, 0, &s->replies_capacity, REPLIES_FIRST, sizeof *s->replies);
}

struct service *service_new(const struct service_config *config,
                            const struct lease_allocator *allocator)
{
    assert(config->queue_commands_max > 0 && config->reads_max > 0);
    assert(config->paxos.value_max <= PAXOS_VALUE_MAX);
    assert(memchr(config->cell, '\0', sizeof config->cell) != NULL);

    struct service *s = allocator->allocate(allocator->context, sizeof *s);
    if (s == NULL) {
        allocator->exhausted(allocator->context);
    }
    memset(s, 0, sizeof *s);
    s->config = *config;
    s->allocator = *allocator;
    s->now_ms = config->paxos.now_ms;
    s->batch_bytes = config->paxos.value_max < SERVICE_BATCH_BYTES ? config->paxos.value_max
                                                                   : SERVICE_BATCH_BYTES;
    make_queues(s);
    s->watches.pages_end = &s->watches.pages;
    levels_init(s);
    caches_init(s);
    s->lease = lease_new(allocator, &config->limits);
    s->paxos_block = table_new(s, paxos_size(&config->paxos), 1);
    return s;
}

void service_free(struct service *s)
{
    if (s == NULL) {
        return;
    }
    levels_free(s);
    access_free(s);
    caches_free(s);
    table_free(s, s->paxos_block, paxos_size(&s->config.paxos), 1);
    if (s->keeper != NULL) {
        keeper_free(s->keeper);
    }
    lease_free(s->lease);
    waiting_free(s);
    watchers_free(s);
    table_free(s, s->queue.commands, s->queue.capacity, sizeof *s->queue.commands);
    table_free(s, s->queue.octets.data, s->queue.octets.capacity, 1);
    table_free(s, s->reads.reads, s->reads.capacity, sizeof *s->reads.reads);
    table_free(s, s->reads.names.data, s->reads.names.capacity, 1);
    table_free(s, s->children, READ_TURN_CHILDREN, sizeof *s->children);
    table_free(s, s->lists.locks, READ_TURN_CLAIMS, sizeof *s->lists.locks);
    table_free(s, s->lists.claims, READ_TURN_CLAIMS, sizeof *s->lists.claims);
    table_free(s, s->lists.paths, READ_TURN_CLAIMS + 1, sizeof *s->lists.paths);
    table_free(s, s->keepalives.waiting, s->keepalives.capacity, sizeof *s->keepalives.waiting);
    table_free(s, s->lists.left_ms, READ_TURN_CLAIMS, sizeof *s->lists.left_ms);
    table_free(s, s->lists.failed, HOLDERS_TURN, sizeof *s->lists.failed);
    table_free(s, s->judged.commands, KEEPER_BATCH + 1, sizeof *s->judged.commands);
    table_free(s, s->judged.octets, JUDGED_OCTETS, 1);
    table_free(s, s->replies, s->replies_capacity, sizeof *s->replies);
    table_free(s, s->set.rows, s->set.rows_capacity, sizeof *s->set.rows);
    table_free(s, s->set.octets, s->set.octets_capacity, 1);
    s->allocator.release(s->allocator.context, s, sizeof *s);
}

/* ------------------------------------------------------------------- start */

bool service_load_row(struct service *s, const struct lease_row *row)
{
    assert(s->paxos == NULL);
    return lease_row_load(s->lease, row);
}

bool service_loaded(struct service *s, uint64_t applied_slot, uint32_t applied_position,
                    uint64_t digest)
{
    assert(s->paxos == NULL);
    if (!lease_loaded(s->lease, applied_slot, applied_position, digest)) {
        return false;
    }
    s->tables_slot = applied_slot;
    return true;
}

bool service_replay(struct service *s, const struct paxos_entry *entry)
{
    assert(s->paxos == NULL);
    return entry->slot == lease_position(s->lease).slot + 1 && entry_apply(s, entry);
}

bool service_start(struct service *s, const struct paxos_restored *restored)
{
    assert(s->paxos == NULL);
    if (restored->chosen != lease_position(s->lease).slot) {
        return false;
    }
    s->keeper = keeper_new(&s->allocator, restored->hard.members.settings.drift_ppm);
    return paxos_init(s->paxos_block, &s->config.paxos, restored, &s->paxos) == PAXOS_OK;
}
