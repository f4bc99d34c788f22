/* SPDX-License-Identifier: Apache-2.0
 *
 * load_history.c -- what has happened, from its rows; see load.c.
 */
#include "lease/history.h"

#include "paxos/base/pure.h"

/* Does the chunk follow the one before it without a gap? */
static bool follows(const struct chunk *before, struct record_key key)
{
    if (before == NULL) {
        return true; /* What was older has gone. */
    }
    if (key.id != before->last) {
        return key.id == before->last + 1 && key.sub == 0;
    }
    return key.sub == (before->record.key.id == key.id ? before->record.key.sub + 1 : 1);
}

static bool event_sound(const struct lease *l, const struct lease_event *event)
{
    return event->instance >= 1 && event->instance <= l->counters.instances &&
           event->parent < event->instance && lease_path_check(event->path) == LEASE_OK &&
           acl_name_valid(event->acl_read) && event->token <= l->counters.revision &&
           event->generation < LEASE_NUMBER_MAX && event->content_size <= LEASE_CONTENT_MAX &&
           event->delay_ms <= LEASE_DELAY_MS_MAX;
}

/* Are its events such as one command after the other appends, and all of them? */
static bool events_sound(const struct lease *l, struct chunk *chunk, uint64_t revision)
{
    uint64_t checksum = 0;
    struct lease_event event = {0};
    for (uint32_t at = 0; at < chunk->size;) {
        const uint32_t from = at;
        if (!event_decode(chunk, &at, &event) || !event_sound(l, &event)) {
            return false;
        }
        const bool first = from == 0;
        if (first ? event.revision != revision
                  : event.revision != chunk->last && event.revision != chunk->last + 1) {
            return false;
        }
        checksum = chunk_checksum(checksum, chunk->events + from, at - from);
        chunk->last = event.revision;
        if (at > CHUNK_ROOM && !first) {
            return false;
        }
    }
    return checksum == chunk->checksum && chunk->last <= l->counters.revision;
}

bool load_history(struct lease *l, struct record_key key, struct reader *r)
{
    const uint64_t checksum = read_u64(r);
    const struct bytes events = read_bytes(r);
    if (!read_done(r) || !l->root->record.stored || key.id == 0 || events.size == 0 ||
        !follows(l->history, key)) {
        return false;
    }
    struct chunk *chunk = chunk_new(l, events.size);
    chunk->checksum = checksum;
    chunk->size = (uint32_t)events.size;
    memcpy(chunk->events, events.data, events.size);
    if (!events_sound(l, chunk, key.id)) {
        chunk_release(l, chunk);
        return false;
    }
    chunk_add(l, chunk, key);
    record_loaded(l, &chunk->record);
    return true;
}
