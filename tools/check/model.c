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

struct model_node *model_of(const struct model *m, uint64_t instance)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->nodes[i].instance == instance) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

void model_start(struct model *m, const struct lease_limits *limits)
{
    m->limits = *limits;
    m->count = 0;
    m->revision = 0;
    m->instances = 1; /* The root has the first. */
    insert(m, &(struct model_node){.kind = LEASE_DIRECTORY, .instance = 1});
}

void model_free(struct model *m)
{
    model_free_sessions(m);
    free(m->nodes);
    free(m->events);
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

struct lease_stat model_stat(const struct model *m, const struct model_node *node)
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
        .lock_token = model_held(m, node->instance) ? node->token : 0,
        .ephemeral = node->ephemeral,
        .acl_generation = node->acl_generation,
    };
}

/* ------------------------------------------------------------------ changes */

void model_happened(struct model_step *step, const struct model_node *node,
                    const struct lease_event *event)
{
    struct model *m = step->m;
    m->revision = step->revision;
    m->events = model_grow(m->events, m->events_count, &m->events_capacity, sizeof *m->events);
    struct model_event *happened = &m->events[m->events_count++];
    *happened = (struct model_event){.event = *event, .by = step->session};
    happened->event.revision = step->revision;
    happened->event.path = node->path;
    happened->event.kind = node->kind;
    happened->event.instance = node->instance;
    happened->event.ephemeral = node->ephemeral;
    happened->event.acl_read = node->acl[LEASE_READ];
}

static void put_old(struct lease_event *event, const struct model_node *node)
{
    event->has_old = node->kind == LEASE_FILE && node->content.size <= LEASE_EVENT_CONTENT_MAX;
    if (event->has_old) {
        event->old = node->content;
    }
}

static void put_new(struct lease_event *event, const struct model_node *node)
{
    event->generation = node->content_generation;
    if (node->kind == LEASE_FILE) {
        event->content_size = (uint32_t)node->content.size;
        event->has_content = node->content.size <= LEASE_EVENT_CONTENT_MAX;
    }
    if (event->has_content) {
        event->content = node->content;
    }
}

struct model_node *model_make(struct model_step *step, struct bytes path, enum lease_kind kind,
                              struct bytes content, bool ephemeral)
{
    struct model *m = step->m;
    struct lease_event event = {.change = LEASE_CREATED};
    struct model_node *parent = find(m, parent_path(path));
    parent->children++;
    event.parent = parent->instance;
    struct model_node new = {.path = path,
                             .content = kind == LEASE_FILE ? content : bytes_of(NULL, 0),
                             .kind = kind,
                             .instance = ++m->instances,
                             .content_generation = kind == LEASE_FILE,
                             .revision = step->revision,
                             .modified_wall_ms = step->wall_ms,
                             .ephemeral = ephemeral};
    memcpy(new.acl, parent->acl, sizeof new.acl);
    struct model_node *node = insert(m, &new);
    put_new(&event, node);
    model_happened(step, node, &event);
    return node;
}

static void write_file(struct model_step *step, struct model_node *node, struct bytes content)
{
    struct lease_event event = {.change = LEASE_WRITTEN};
    put_old(&event, node);
    node->content = content;
    node->content_generation++;
    node->revision = step->revision;
    node->modified_wall_ms = step->wall_ms;
    put_new(&event, node);
    model_happened(step, node, &event);
}

/* With all who claim it and have it open; then its parent is looked at. */
void model_remove(struct model_step *step, const struct model_node *node)
{
    struct model *m = step->m;
    const uint64_t parent = find(m, parent_path(node->path))->instance;
    struct lease_event event = {.change = LEASE_DELETED, .parent = parent};
    model_drop_node(step, node->instance);
    put_old(&event, node);
    model_happened(step, node, &event);
    erase(m, node);
    model_of(m, parent)->children--;
    model_look_at(step, parent);
}

/* ----------------------------------------------------------------- commands */

static enum lease_rc make(struct model_step *step, const struct history_request *request,
                          enum lease_kind kind, struct history_result *result)
{
    if (step->m->count >= step->m->limits.nodes) {
        return LEASE_LIMIT;
    }
    const struct model_node *node =
        model_make(step, request->path, kind, request->content, /* ephemeral= */ false);
    result->stat = model_stat(step->m, node);
    return LEASE_OK;
}

static bool other_instance(const struct model_node *node, const struct history_request *request)
{
    return request->if_instance != HISTORY_ANY && request->if_instance != node->instance;
}

static enum lease_rc check_generation(const struct model *m, const struct model_node *node,
                                      const struct history_request *request,
                                      struct history_result *result)
{
    if (request->if_generation != HISTORY_ANY &&
        request->if_generation != node->content_generation) {
        if (model_may(m, request->path, request->principal, LEASE_READ)) {
            result->stat = model_stat(m, node);
        }
        return LEASE_CONFLICT;
    }
    return LEASE_OK;
}

static enum lease_rc put_missing(struct model_step *step, const struct history_request *request,
                                 struct history_result *result)
{
    const bool new_is_fine =
        request->if_generation == HISTORY_ANY || request->if_generation == 0;
    if (!new_is_fine || request->if_instance != HISTORY_ANY) {
        return LEASE_NO_NODE;
    }
    const enum lease_rc rc = make(step, request, LEASE_FILE, result);
    result->created = rc == LEASE_OK;
    return rc;
}

static enum lease_rc put(struct model_step *step, const struct history_request *request,
                         struct history_result *result)
{
    struct model *m = step->m;
    const enum lease_rc way = check_way(m, request->path);
    if (way != LEASE_OK) {
        return way;
    }
    struct model_node *node = find(m, request->path);
    if (node == NULL) {
        return put_missing(step, request, result);
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
    const enum lease_rc rc = check_generation(m, node, request, result);
    if (rc == LEASE_OK) {
        write_file(step, node, request->content);
        result->stat = model_stat(m, node);
    }
    return rc;
}

static enum lease_rc create(struct model_step *step, const struct history_request *request,
                            struct history_result *result)
{
    const struct model *m = step->m;
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
    return make(step, request, request->kind, result);
}

static enum lease_rc delete_node(struct model_step *step, const struct history_request *request,
                                 struct history_result *result)
{
    const struct model *m = step->m;
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
    const enum lease_rc rc = check_generation(m, node, request, result);
    if (rc != LEASE_OK) {
        return rc;
    }
    if (node->children > 0) {
        return LEASE_NOT_EMPTY;
    }
    if (model_claimed_by_others(m, node->instance, step->session)) {
        return LEASE_LOCKED;
    }
    model_remove(step, node);
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
    result->stat = model_stat(m, node);
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

static struct writer scratch_of(struct model *m, size_t size)
{
    if (size > m->scratch_size) {
        m->scratch = must(realloc(m->scratch, size));
        m->scratch_size = size;
    }
    return writer_over(m->scratch, size);
}

static enum lease_rc get_acl(struct model *m, const struct history_request *request,
                             struct history_result *result)
{
    const struct model_node *node;
    const enum lease_rc rc = look_up(m, request->path, &node);
    if (rc == LEASE_OK) {
        struct writer w = scratch_of(m, HISTORY_ACL_MAX);
        history_acl_encode(&w, node->acl);
        result->children = bytes_of(w.data, w.size);
    }
    return rc;
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
    struct writer w = scratch_of(m, (size_t)request->limit * HISTORY_CHILD_MAX);
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
        const bool denied = !model_may(m, m->nodes[i].path, request->principal, LEASE_READ);
        const struct lease_stat stat = denied ? (struct lease_stat){.kind = m->nodes[i].kind}
                                              : model_stat(m, &m->nodes[i]);
        history_child_encode(&w, name, &stat);
        result->children_count++;
    }
    result->children = bytes_of(w.data, w.size);
    return LEASE_OK;
}

/* ---------------------------------------------------------------------- all */

/* Who may set the names of its ACLs may know them. */
static bool may(const struct model *m, const struct history_request *request)
{
    return model_may(m, request->path, request->principal,
                     history_writes(request->type) ? LEASE_WRITE : LEASE_READ) ||
           (request->type == HISTORY_GET_ACL &&
            model_may(m, request->path, request->principal, LEASE_CHANGE));
}

void model_execute_step(struct model_step *step, const struct history_request *request,
                        struct history_result *ret_result)
{
    struct model *m = step->m;
    struct history_result result = {.rc = LEASE_OK, .revision = m->revision};
    if (!may(m, request)) {
        result.rc = LEASE_DENIED;
        *ret_result = result;
        return;
    }
    switch (request->type) {
    case HISTORY_PUT:
        result.rc = put(step, request, &result);
        break;
    case HISTORY_CREATE:
        result.rc = create(step, request, &result);
        break;
    case HISTORY_DELETE:
        result.rc = delete_node(step, request, &result);
        break;
    case HISTORY_GET:
    case HISTORY_STAT:
        result.rc = get(m, request, &result);
        break;
    case HISTORY_LIST:
        result.rc = list(m, request, &result);
        break;
    case HISTORY_GET_ACL:
        result.rc = get_acl(m, request, &result);
        break;
    }
    result.revision = m->revision;
    *ret_result = result;
}

void model_execute(struct model *m, const struct history_request *request, uint64_t wall_ms,
                   struct history_result *ret_result)
{
    struct model_step step = {.m = m, .wall_ms = wall_ms, .revision = m->revision + 1};
    model_execute_step(&step, request, ret_result);
}
