/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/check/model.h"

#include "paxos/base/hash.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------- array */

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* Where `path` is, or would be. */
static uint32_t lower_bound(const struct model *m, struct bytes path)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(m->nodes[middle].path, path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct model_node *find(const struct model *m, struct bytes path)
{
    const uint32_t at = lower_bound(m, path);
    return at < m->count && bytes_equal(m->nodes[at].path, path) ? &m->nodes[at] : NULL;
}

static struct model_node *insert(struct model *m, const struct model_node *node)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity == 0 ? 64 : m->capacity * 2;
        m->nodes = must(realloc(m->nodes, m->capacity * sizeof *m->nodes));
    }
    const uint32_t at = lower_bound(m, node->path);
    memmove(&m->nodes[at + 1], &m->nodes[at], (m->count - at) * sizeof *m->nodes);
    m->nodes[at] = *node;
    m->count++;
    return &m->nodes[at];
}

static void erase(struct model *m, const struct model_node *node)
{
    const size_t at = (size_t)(node - m->nodes);
    m->count--;
    memmove(&m->nodes[at], &m->nodes[at + 1], (m->count - at) * sizeof *m->nodes);
}

void *model_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return must(realloc(array, *capacity * size));
}

struct model_node *model_find(const struct model *m, struct bytes path)
{
    return find(m, path);
}

void model_start(struct model *m)
{
    m->count = 0;
    m->revision = 0;
    m->instances = 1; /* The root has the first. */
    insert(m, &(struct model_node){.kind = LEASE_DIRECTORY, .instance = 1});
}

void model_free(struct model *m)
{
    model_free_sessions(m);
    free(m->nodes);
    free(m->scratch);
    *m = (struct model){.nodes = NULL};
}

/* -------------------------------------------------------------------- paths */

static size_t last_slash(struct bytes path)
{
    size_t at = path.size;
    while (at > 0 && path.data[at - 1] != '/') {
        at--;
    }
    return at; /* One behind the slash; 0: none. */
}

static struct bytes parent_path(struct bytes path)
{
    const size_t behind = last_slash(path);
    return bytes_of(path.data, behind == 0 ? 0 : behind - 1);
}

/* Is there a directory that can hold `path`?  The first component on the way
 * that is missing or a file decides. */
static enum lease_rc check_way(const struct model *m, struct bytes path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] == '/') {
            const struct model_node *node = find(m, bytes_of(path.data, i));
            if (node == NULL) {
                return LEASE_NO_PARENT;
            }
            if (node->kind != LEASE_DIRECTORY) {
                return LEASE_NOT_A_DIRECTORY;
            }
        }
    }
    return LEASE_OK;
}

enum lease_rc model_check_way(const struct model *m, struct bytes path)
{
    return check_way(m, path);
}

static struct lease_stat stat_of(const struct model_node *node)
{
    return (struct lease_stat){
        .kind = node->kind,
        .instance = node->instance,
        .content_generation = node->content_generation,
        .lock_generation = node->lock_generation,
        .checksum =
            node->kind == LEASE_FILE ? hash64(node->content.data, node->content.size) : 0,
        .revision = node->revision,
        .modified_wall_ms = node->modified_wall_ms,
        .size = node->content.size,
        .children = node->children,
    };
}

/* ----------------------------------------------------------------- commands */

static struct model_node *make(struct model *m, const struct history_request *request,
                               enum lease_kind kind, uint64_t wall_ms)
{
    m->revision++;
    m->instances++;
    find(m, parent_path(request->path))->children++;
    return insert(m, &(struct model_node){.path = request->path,
                                          .content = request->content,
                                          .kind = kind,
                                          .instance = m->instances,
                                          .content_generation = kind == LEASE_FILE,
                                          .revision = m->revision,
                                          .modified_wall_ms = wall_ms});
}

static bool other_instance(const struct model_node *node, const struct history_request *request)
{
    return request->if_instance != HISTORY_ANY && request->if_instance != node->instance;
}

static enum lease_rc check_generation(const struct model_node *node,
                                      const struct history_request *request,
                                      struct history_result *result)
{
    if (request->if_generation != HISTORY_ANY &&
        request->if_generation != node->content_generation) {
        result->stat = stat_of(node);
        return LEASE_CONFLICT;
    }
    return LEASE_OK;
}

static enum lease_rc put_missing(struct model *m, const struct history_request *request,
                                 uint64_t wall_ms, struct history_result *result)
{
    const bool new_is_fine =
        request->if_generation == HISTORY_ANY || request->if_generation == 0;
    if (!new_is_fine || request->if_instance != HISTORY_ANY) {
        return LEASE_NO_NODE;
    }
    result->stat = stat_of(make(m, request, LEASE_FILE, wall_ms));
    result->created = true;
    return LEASE_OK;
}

static enum lease_rc put(struct model *m, const struct history_request *request,
                         uint64_t wall_ms, struct history_result *result)
{
    const enum lease_rc way = check_way(m, request->path);
    if (way != LEASE_OK) {
        return way;
    }
    struct model_node *node = find(m, request->path);
    if (node == NULL) {
        return put_missing(m, request, wall_ms, result);
    }
    if (other_instance(node, request)) {
        return LEASE_STALE_INSTANCE;
    }
    if (request->if_generation == 0) {
        return LEASE_EXISTS;
    }
    if (node->kind != LEASE_FILE) {
        return LEASE_NOT_A_FILE;
    }
    const enum lease_rc rc = check_generation(node, request, result);
    if (rc == LEASE_OK) {
        node->content = request->content;
        node->content_generation++;
        node->revision = ++m->revision;
        node->modified_wall_ms = wall_ms;
        result->stat = stat_of(node);
    }
    return rc;
}

static enum lease_rc create(struct model *m, const struct history_request *request,
                            uint64_t wall_ms, struct history_result *result)
{
    if (request->path.size == 0) {
        return LEASE_IS_ROOT;
    }
    const enum lease_rc way = check_way(m, request->path);
    if (way != LEASE_OK) {
        return way;
    }
    if (find(m, request->path) != NULL) {
        return LEASE_EXISTS;
    }
    result->stat = stat_of(make(m, request, request->kind, wall_ms));
    return LEASE_OK;
}

static enum lease_rc delete_node(struct model *m, const struct history_request *request,
                                 struct history_result *result)
{
    if (request->path.size == 0) {
        return LEASE_IS_ROOT;
    }
    const struct model_node *node = find(m, request->path);
    if (node == NULL) {
        return check_way(m, request->path) == LEASE_NOT_A_DIRECTORY ? LEASE_NOT_A_DIRECTORY
                                                                    : LEASE_NO_NODE;
    }
    if (other_instance(node, request)) {
        return LEASE_STALE_INSTANCE;
    }
    const enum lease_rc rc = check_generation(node, request, result);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (node->children > 0) {
        return LEASE_NOT_EMPTY;
    }
    if (model_claimed(m, node->instance)) {
        return LEASE_LOCKED;
    }
    const struct bytes parent = parent_path(node->path);
    erase(m, node);
    find(m, parent)->children--;
    m->revision++;
    return LEASE_OK;
}

/* -------------------------------------------------------------------- reads */

static enum lease_rc look_up(const struct model *m, struct bytes path,
                             const struct model_node **ret_node)
{
    *ret_node = find(m, path);
    if (*ret_node != NULL) {
        return LEASE_OK;
    }
    return check_way(m, path) == LEASE_NOT_A_DIRECTORY ? LEASE_NOT_A_DIRECTORY : LEASE_NO_NODE;
}

static enum lease_rc get(const struct model *m, const struct history_request *request,
                         struct history_result *result)
{
    const struct model_node *node;
    const enum lease_rc rc = look_up(m, request->path, &node);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (request->type == HISTORY_GET) {
        if (node->kind != LEASE_FILE) {
            return LEASE_NOT_A_FILE;
        }
        result->content = node->content;
    }
    result->stat = stat_of(node);
    return LEASE_OK;
}

/* The child's name when `node` is a child of `directory`. */
static bool child_name(const struct model_node *node, struct bytes directory,
                       struct bytes *ret_name)
{
    const size_t behind = last_slash(node->path);
    if (node->path.size == 0 || !bytes_equal(parent_path(node->path), directory)) {
        return false;
    }
    *ret_name = bytes_of(node->path.data + behind, node->path.size - behind);
    return true;
}

static bool in_directory(struct bytes path, struct bytes directory)
{
    return directory.size == 0 ||
           (path.size > directory.size && path.data[directory.size] == '/' &&
            memcmp(path.data, directory.data, directory.size) == 0);
}

/* Everything below a directory stands together in the array, but perhaps not
 * next to the directory itself: '-' and '.' sort before '/'. */
static uint32_t first_below(const struct model *m, struct bytes directory)
{
    uint8_t path[LEASE_PATH_MAX + 1];
    struct writer w = writer_over(path, sizeof path);
    write_raw(&w, directory.data, directory.size);
    if (directory.size > 0) {
        write_u8(&w, '/');
    }
    return lower_bound(m, bytes_of(path, w.size));
}

static enum lease_rc list(struct model *m, const struct history_request *request,
                          struct history_result *result)
{
    const struct model_node *node;
    const enum lease_rc rc = look_up(m, request->path, &node);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (node->kind != LEASE_DIRECTORY) {
        return LEASE_NOT_A_DIRECTORY;
    }
    const size_t size = (size_t)request->limit * HISTORY_CHILD_MAX;
    if (size > m->scratch_size) {
        m->scratch = must(realloc(m->scratch, size));
        m->scratch_size = size;
    }
    struct writer w = writer_over(m->scratch, size);
    for (uint32_t i = first_below(m, request->path);
         i < m->count && in_directory(m->nodes[i].path, request->path); i++) {
        struct bytes name;
        if (!child_name(&m->nodes[i], request->path, &name) ||
            bytes_compare(name, request->after) <= 0) {
            continue;
        }
        if (result->children_count == request->limit) {
            result->more = true;
            break;
        }
        const struct lease_stat stat = stat_of(&m->nodes[i]);
        history_child_encode(&w, name, &stat);
        result->children_count++;
    }
    result->children = bytes_of(w.data, w.size);
    return LEASE_OK;
}

/* ---------------------------------------------------------------------- all */

void model_execute(struct model *m, const struct history_request *request, uint64_t wall_ms,
                   struct history_result *ret_result)
{
    struct history_result result = {.rc = LEASE_OK};
    switch (request->type) {
    case HISTORY_PUT:
        result.rc = put(m, request, wall_ms, &result);
        break;
    case HISTORY_CREATE:
        result.rc = create(m, request, wall_ms, &result);
        break;
    case HISTORY_DELETE:
        result.rc = delete_node(m, request, &result);
        break;
    case HISTORY_GET:
    case HISTORY_STAT:
        result.rc = get(m, request, &result);
        break;
    case HISTORY_LIST:
        result.rc = list(m, request, &result);
        break;
    }
    result.revision = m->revision;
    *ret_result = result;
}
