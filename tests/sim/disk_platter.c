/* SPDX-License-Identifier: Apache-2.0
 *
 * What a disk holds: rows of the log by slot, rows of the tables by key.
 */
#include "tests/sim/disk_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct disk_slot *log_slot(struct disk *d, paxos_slot slot)
{
    assert(slot >= d->log_base);
    const uint64_t at = slot - d->log_base;
    if (at >= d->log_capacity) {
        uint32_t capacity = d->log_capacity == 0 ? 256 : d->log_capacity;
        while (at >= capacity) {
            capacity *= 2;
        }
        d->log = sim_resize(d->log, capacity * sizeof *d->log);
        d->log_capacity = capacity;
    }
    while (d->log_count <= at) {
        d->log[d->log_count++] = (struct disk_slot){.present = false};
    }
    return &d->log[at];
}

static void forget_slot(struct disk_slot *slot)
{
    if (slot->present) {
        free((void *)(uintptr_t)slot->entry.value.data.data);
        slot->present = false;
    }
}

static struct bytes own_bytes(struct bytes bytes)
{
    uint8_t *copy = sim_allocate(bytes.size + 1);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_of(copy, bytes.size);
}

void platter_put_entry(struct disk *d, const struct paxos_entry *entry)
{
    if (entry->slot < d->log_base) {
        return; /* Trimmed since: the tables hold its effects. */
    }
    struct disk_slot *slot = log_slot(d, entry->slot);
    forget_slot(slot);
    slot->entry = *entry;
    slot->entry.value.data = own_bytes(entry->value.data);
    slot->present = true;
}

void platter_trim(struct disk *d, uint64_t up_to)
{
    uint32_t gone = 0;
    while (gone < d->log_count && d->log_base + gone <= up_to) {
        forget_slot(&d->log[gone]);
        gone++;
    }
    memmove(d->log, d->log + gone, (d->log_count - gone) * sizeof *d->log);
    d->log_count -= gone;
    if (up_to >= d->log_base) {
        d->log_base = up_to + 1;
    }
}

static uint32_t row_place(const struct disk *d, struct bytes key)
{
    uint32_t low = 0, high = d->rows_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(d->rows[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void free_row(struct disk_row *row)
{
    free((void *)(uintptr_t)row->key.data);
}

static struct disk_row own_row(const struct lease_row *row)
{
    uint8_t *copy = sim_allocate(row->key.size + row->value.size + 1);
    memcpy(copy, row->key.data, row->key.size);
    memcpy(copy + row->key.size, row->value.data, row->value.size);
    return (struct disk_row){.key = bytes_of(copy, row->key.size),
                             .value = bytes_of(copy + row->key.size, row->value.size)};
}

static void delete_row(struct disk *d, uint32_t at)
{
    free_row(&d->rows[at]);
    d->rows_count--;
    memmove(&d->rows[at], &d->rows[at + 1], (d->rows_count - at) * sizeof *d->rows);
}

void platter_put_row(struct disk *d, const struct lease_row *row)
{
    const uint32_t at = row_place(d, row->key);
    const bool found = at < d->rows_count && bytes_equal(d->rows[at].key, row->key);
    if (row->value.data == NULL) {
        if (found) {
            delete_row(d, at);
        }
        return;
    }
    if (found) {
        free_row(&d->rows[at]);
    } else {
        if (d->rows_count == d->rows_capacity) {
            d->rows_capacity = d->rows_capacity == 0 ? 64 : d->rows_capacity * 2;
            d->rows = sim_resize(d->rows, d->rows_capacity * sizeof *d->rows);
        }
        memmove(&d->rows[at + 1], &d->rows[at], (d->rows_count - at) * sizeof *d->rows);
        d->rows_count++;
    }
    d->rows[at] = own_row(row);
}

void platter_free(struct disk *d)
{
    for (uint32_t i = 0; i < d->log_count; i++) {
        forget_slot(&d->log[i]);
    }
    for (uint32_t i = 0; i < d->rows_count; i++) {
        free_row(&d->rows[i]);
    }
    free(d->log);
    free(d->rows);
}

const struct paxos_entry *disk_log_at(const struct disk *d, paxos_slot slot)
{
    if (slot < d->log_base || slot - d->log_base >= d->log_count) {
        return NULL;
    }
    const struct disk_slot *at = &d->log[slot - d->log_base];
    return at->present ? &at->entry : NULL;
}

paxos_slot disk_log_last(const struct disk *d)
{
    return d->log_base + d->log_count - 1;
}
