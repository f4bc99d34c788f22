/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/check/history.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_SIZE = 256 * 1024 };

/* Bytes are handed out one behind the other and given back all at once. */
struct history_chunk {
    struct history_chunk *next;
    size_t size, capacity;
    uint8_t data[];
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

static void *grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 256 : *capacity * 2;
    return must(realloc(array, *capacity * size));
}

uint32_t history_op_add(struct history *h, const struct history_op *op)
{
    h->ops = grow(h->ops, h->ops_count, &h->ops_capacity, sizeof *h->ops);
    h->ops[h->ops_count++] = *op;
    return h->ops_count;
}

void history_entry_add(struct history *h, const struct history_entry *entry)
{
    h->log = grow(h->log, h->log_count, &h->log_capacity, sizeof *h->log);
    h->log[h->log_count++] = *entry;
}

static struct history_chunk *chunk_with_room(struct history *h, size_t size)
{
    struct history_chunk *chunk = h->chunks;
    if (chunk != NULL && chunk->capacity - chunk->size >= size) {
        return chunk;
    }
    const size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    chunk = must(malloc(sizeof *chunk + capacity));
    *chunk = (struct history_chunk){.next = h->chunks, .capacity = capacity};
    h->chunks = chunk;
    return chunk;
}

struct bytes history_copy(struct history *h, struct bytes bytes)
{
    if (bytes.size == 0) {
        return bytes_of(NULL, 0);
    }
    struct history_chunk *chunk = chunk_with_room(h, bytes.size);
    uint8_t *at = chunk->data + chunk->size;
    memcpy(at, bytes.data, bytes.size);
    chunk->size += bytes.size;
    return bytes_of(at, bytes.size);
}

/* Without what only people read: the label. */
const struct lease_command *history_copy_command(struct history *h,
                                                 const struct lease_command *command)
{
    enum { ALIGNMENT = _Alignof(struct lease_command) };
    struct lease_command copy = *command;
    copy.principal = history_copy(h, command->principal);
    copy.label = bytes_of(NULL, 0);
    copy.path = history_copy(h, command->path);
    copy.content = history_copy(h, command->content);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        const struct bytes name = command->acl[right];
        copy.acl[right] = name.size == 0 ? name : history_copy(h, name);
    }
    struct history_chunk *chunk = chunk_with_room(h, sizeof copy + ALIGNMENT);
    uint8_t *at = chunk->data + chunk->size;
    const size_t gap = (ALIGNMENT - (uintptr_t)at % ALIGNMENT) % ALIGNMENT;
    memcpy(at + gap, &copy, sizeof copy);
    chunk->size += gap + sizeof copy;
    return (const struct lease_command *)(const void *)(at + gap);
}

/* Frees all chunks but, if there is one, the first. */
static void free_chunks_behind_first(struct history *h)
{
    while (h->chunks != NULL && h->chunks->next != NULL) {
        struct history_chunk *second = h->chunks->next;
        h->chunks->next = second->next;
        free(second);
    }
}

void history_reset(struct history *h)
{
    free_chunks_behind_first(h);
    if (h->chunks != NULL) {
        h->chunks->size = 0;
    }
    h->ops_count = 0;
    h->log_count = 0;
}

void history_free(struct history *h)
{
    free_chunks_behind_first(h);
    free(h->chunks);
    free(h->ops);
    free(h->log);
    *h = (struct history){.ops = NULL};
}

bool history_request_equal(const struct history_request *a, const struct history_request *b)
{
    return a->type == b->type && bytes_equal(a->principal, b->principal) &&
           bytes_equal(a->path, b->path) && a->kind == b->kind &&
           bytes_equal(a->content, b->content) && a->if_generation == b->if_generation &&
           a->if_instance == b->if_instance && bytes_equal(a->after, b->after) &&
           a->limit == b->limit;
}

const char *history_stat_difference(const struct lease_stat *a, const struct lease_stat *b)
{
    return a->kind != b->kind                               ? "kind"
           : a->instance != b->instance                     ? "instance"
           : a->content_generation != b->content_generation ? "generation"
           : a->lock_generation != b->lock_generation       ? "lock generation"
           : a->acl_generation != b->acl_generation         ? "ACL generation"
           : a->checksum != b->checksum                     ? "checksum"
           : a->revision != b->revision                     ? "node's revision"
           : a->modified_wall_ms != b->modified_wall_ms     ? "time of modification"
           : a->size != b->size                             ? "size"
           : a->children != b->children                     ? "number of children"
           : a->lock_token != b->lock_token                 ? "lock token"
           : a->ephemeral != b->ephemeral                   ? "`ephemeral`"
                                                            : NULL;
}

void history_child_encode(struct writer *w, struct bytes name, const struct lease_stat *stat)
{
    write_u8(w, (uint8_t)name.size);
    write_raw(w, name.data, name.size);
    write_u8(w, (uint8_t)stat->kind);
    write_u64(w, stat->instance);
    write_u64(w, stat->content_generation);
    write_u64(w, stat->checksum);
    write_u64(w, stat->revision);
    write_u64(w, stat->size);
    write_u64(w, stat->children);
    write_u64(w, stat->lock_token);
    write_u8(w, stat->ephemeral);
}

void history_acl_encode(struct writer *w, const struct bytes names[LEASE_RIGHTS])
{
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        write_u8(w, (uint8_t)names[right].size);
        write_raw(w, names[right].data, names[right].size);
    }
}

const char *history_type_name(enum history_type type)
{
    switch (type) {
    case HISTORY_PUT:
        return "put";
    case HISTORY_CREATE:
        return "create";
    case HISTORY_DELETE:
        return "delete";
    case HISTORY_GET:
        return "get";
    case HISTORY_STAT:
        return "stat";
    case HISTORY_LIST:
        return "list";
    case HISTORY_GET_ACL:
        return "get ACL";
    }
    return "?";
}
