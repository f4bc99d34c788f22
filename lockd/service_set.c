/* SPDX-License-Identifier: Apache-2.0
 *
 * service_set.c -- changed rows on their way to the tables.
 *
 * The writer must not look at the live state, and the tables shall hold that of
 * a moment between two applies.  So what has changed since the last set is
 * copied, and the copy stands still until it is on disk; one at a time, so that
 * what changes meanwhile is in the next one.
 */
#include "lockd/service_internal.h"

#include "paxos/base/pure.h"

static void copy_row(void *context, const struct lease_row *row)
{
    struct service *s = context;
    struct set_copy *copy = &s->set;
    const size_t octets = row->key.size + row->value.size;
    copy->rows = table_grow(s, copy->rows, copy->set.rows_count, &copy->rows_capacity,
                            (size_t)copy->set.rows_count + 1, sizeof *copy->rows);
    copy->octets = table_grow(s, copy->octets, copy->octets_size, &copy->octets_capacity,
                              copy->octets_size + octets, 1);

    uint8_t *at = copy->octets + copy->octets_size;
    memcpy(at, row->key.data, row->key.size);
    if (row->value.size > 0) {
        memcpy(at + row->key.size, row->value.data, row->value.size);
    }
    copy->rows[copy->set.rows_count++] = *row;
    copy->octets_size += octets;
}

/* The octets have found their place; the rows shall point there. */
static void point_rows(struct set_copy *copy)
{
    const uint8_t *at = copy->octets;
    for (uint32_t i = 0; i < copy->set.rows_count; i++) {
        struct lease_row *row = &copy->rows[i];
        row->key.data = at;
        if (row->value.data != NULL) {
            row->value.data = at + row->key.size;
        }
        at += row->key.size + row->value.size;
    }
    copy->set.rows = copy->rows;
}

bool set_due(const struct service *s)
{
    if (s->set.outstanding || !s->dirty) {
        return false;
    }
    return lease_rows_bytes(s->lease) >= SERVICE_SET_BYTES ||
           s->now_ms >= s->dirty_ms + SERVICE_SET_MS || (is_settled(s) && !s->final_set);
}

void set_take(struct service *s, paxos_slot trim)
{
    struct set_copy *copy = &s->set;
    const struct lease_position position = lease_position(s->lease);
    const size_t expected = lease_rows_bytes(s->lease);
    copy->octets_size = 0;
    copy->octets = table_grow(s, copy->octets, 0, &copy->octets_capacity, expected + 1, 1);
    copy->set = (struct store_set){
        .applied_slot = position.slot,
        .applied_position = position.position,
        .digest = lease_digest(s->lease),
        .trim = trim < position.slot ? trim : position.slot,
    };
    lease_rows_visit(s->lease, copy_row, s);
    point_rows(copy);
    lease_rows_taken(s->lease);
    copy->outstanding = true;
    s->dirty = false;
}

void service_set_durable(struct service *s, uint64_t applied_slot)
{
    if (!s->set.outstanding || applied_slot < s->set.set.applied_slot) {
        return; /* Of an older set, told before. */
    }
    s->set.outstanding = false;
    s->tables_slot = applied_slot;
    if (s->set.set.trim > 0) {
        s->log_first = s->set.set.trim + 1;
    }
}
