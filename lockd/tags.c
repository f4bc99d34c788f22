/* SPDX-License-Identifier: Apache-2.0
 *
 * tags.c -- see tags.h.
 *
 * Slots live in chunks that never move; a tag is a slot's number.  Free slots
 * are chained by `next`, and those of a connection by `next` and `previous`.
 */
#include "lockd/tags.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 };

struct slot {
    uint64_t client; /* 0: free. */
    uint32_t next, previous;
    uint16_t size;
    bool patient;
    char id[WIRE_ID_MAX];
};

struct tags {
    struct slot **chunks;
    uint32_t chunks_count;
    uint32_t free; /* First free slot; 0: none. */
};

struct tags *tags_new(void)
{
    return calloc(1, sizeof(struct tags));
}

void tags_free(struct tags *t)
{
    if (t != NULL) {
        for (uint32_t i = 0; i < t->chunks_count; i++) {
            free(t->chunks[i]);
        }
        free(t->chunks);
        free(t);
    }
}

static struct slot *slot_at(const struct tags *t, uint32_t tag)
{
    assert(tag / CHUNK < t->chunks_count);
    return &t->chunks[tag / CHUNK][tag % CHUNK];
}

static bool grow(struct tags *t)
{
    struct slot **chunks = realloc(t->chunks, (t->chunks_count + 1) * sizeof chunks[0]);
    if (chunks == NULL) {
        return false;
    }
    t->chunks = chunks;
    struct slot *chunk = calloc(CHUNK, sizeof *chunk);
    if (chunk == NULL) {
        return false;
    }
    const uint32_t first = t->chunks_count * CHUNK;
    t->chunks[t->chunks_count++] = chunk;
    /* Slot 0 stays unused: 0 says "none". */
    for (uint32_t i = CHUNK; i-- > (first == 0 ? 1u : 0u);) {
        chunk[i].next = t->free;
        t->free = first + i;
    }
    return true;
}

uint32_t tags_take(struct tags *t, struct tag_list *list, uint64_t client, struct wire_text id,
                   bool patient)
{
    assert(client != 0);
    assert(id.size <= WIRE_ID_MAX);
    if (t->free == 0 && !grow(t)) {
        return 0;
    }
    const uint32_t tag = t->free;
    struct slot *slot = slot_at(t, tag);
    assert(slot->client == 0);
    t->free = slot->next;
    slot->client = client;
    slot->size = (uint16_t)id.size;
    slot->patient = patient;
    memcpy(slot->id, id.data, id.size);

    slot->previous = 0;
    slot->next = list->first;
    if (list->first != 0) {
        slot_at(t, list->first)->previous = tag;
    }
    list->first = tag;
    list->count++;
    list->patient += patient;
    return tag;
}

bool tags_find(const struct tags *t, uint64_t tag, uint64_t client, struct wire_text *ret_id)
{
    if (tag == 0 || tag >= (uint64_t)t->chunks_count * CHUNK) {
        return false;
    }
    const struct slot *slot = slot_at(t, (uint32_t)tag);
    if (slot->client != client) {
        return false;
    }
    *ret_id = (struct wire_text){.data = slot->id, .size = slot->size};
    return true;
}

void tags_be_patient(struct tags *t, struct tag_list *list, uint64_t tag)
{
    struct slot *slot = slot_at(t, (uint32_t)tag);
    assert(slot->client != 0);
    list->patient += !slot->patient;
    slot->patient = true;
}

void tags_release(struct tags *t, struct tag_list *list, uint64_t tag)
{
    struct slot *slot = slot_at(t, (uint32_t)tag);
    assert(slot->client != 0);
    assert(list->count > 0);
    if (slot->next != 0) {
        slot_at(t, slot->next)->previous = slot->previous;
    }
    if (slot->previous != 0) {
        slot_at(t, slot->previous)->next = slot->next;
    } else {
        assert(list->first == tag);
        list->first = slot->next;
    }
    list->count--;
    assert(list->patient >= slot->patient);
    list->patient -= slot->patient;
    slot->client = 0;
    slot->next = t->free;
    t->free = (uint32_t)tag;
}

void tags_release_all(struct tags *t, struct tag_list *list)
{
    while (list->first != 0) {
        tags_release(t, list, list->first);
    }
    assert(list->count == 0);
}
