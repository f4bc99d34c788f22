/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine against a naive model, over long random logs.
 *
 * The model is an array of paths, searched from end to end; what it lacks in
 * speed it has in being obviously right.  Beside the machine under test runs a
 * twin that is fed the same log as bytes, a table of rows that is fed its sets,
 * and now and then a third that is loaded from that table.
 */
#include <stdio.h>

#include "tests/unit/test_lease_support.h"

#include "paxos/base/hash.h"
#include "paxos/base/rng.h"

enum {
    NODES_MAX = 48,
    CONTENT_LIMIT = 2000,
    PATH_ROOM = 32,
    CONTENT_ROOM = 300,
    ROW_ROOM = 9000
};

#define MODEL_LIMITS                                                                           \
    ((struct lease_limits){                                                                    \
        .nodes = NODES_MAX, .content_bytes = CONTENT_LIMIT, .history_bytes = 20000})

/* ------------------------------------------------------------------- model */

struct model_node {
    char path[PATH_ROOM];
    enum lease_kind kind;
    char content[CONTENT_ROOM];
    uint64_t instance, generation, revision, wall_ms;
};

struct model {
    struct model_node node[NODES_MAX]; /* Unordered; the root is not in it. */
    size_t count;
    uint64_t revision, instances, content_bytes;
};

static struct model_node *model_find(struct model *m, const char *path)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->node[i].path, path) == 0) {
            return &m->node[i];
        }
    }
    return NULL;
}

/* LEASE_OK, or what is wrong with the directories on the way. */
static enum lease_rc model_way(struct model *m, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        char parent[PATH_ROOM];
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        const struct model_node *node = model_find(m, parent);
        if (node == NULL) {
            return LEASE_NO_PARENT;
        }
        if (node->kind != LEASE_DIRECTORY) {
            return LEASE_NOT_A_DIRECTORY;
        }
    }
    return LEASE_OK;
}

static uint64_t model_children(struct model *m, const char *path)
{
    uint64_t children = 0;
    const size_t size = strlen(path);
    for (size_t i = 0; i < m->count; i++) {
        const char *other = m->node[i].path;
        const bool below = size == 0 || (strncmp(other, path, size) == 0 && other[size] == '/');
        children += below && strchr(other + size + (size != 0), '/') == NULL;
    }
    return children;
}

static enum lease_rc model_write(struct model *m, struct model_node *node, const char *path,
                                 enum lease_kind kind, const char *content, uint64_t wall_ms)
{
    const size_t old_size = node == NULL ? 0 : strlen(node->content);
    const size_t size = strlen(content);
    if (node == NULL && m->count + 1 >= NODES_MAX) {
        return LEASE_LIMIT;
    }
    if (size > old_size && m->content_bytes + size - old_size > CONTENT_LIMIT) {
        return LEASE_LIMIT;
    }
    if (node == NULL) {
        node = &m->node[m->count++];
        *node = (struct model_node){.kind = kind, .instance = ++m->instances};
        strcpy(node->path, path);
    }
    node->generation += kind == LEASE_FILE;
    node->revision = ++m->revision;
    node->wall_ms = wall_ms;
    strcpy(node->content, content);
    m->content_bytes = m->content_bytes + size - old_size;
    return LEASE_OK;
}

static enum lease_rc model_put(struct model *m, const struct lease_command *c, const char *path,
                               const char *content, uint64_t wall_ms)
{
    struct model_node *node = model_find(m, path);
    const enum lease_rc way = model_way(m, path);
    if (way != LEASE_OK) {
        return way;
    }
    if (node == NULL) {
        if (c->if_instance != LEASE_ANY ||
            (c->if_generation != LEASE_ANY && c->if_generation != 0)) {
            return LEASE_NO_NODE;
        }
    } else if (c->if_instance != LEASE_ANY && c->if_instance != node->instance) {
        return LEASE_STALE_INSTANCE;
    } else if (c->if_generation == 0) {
        return LEASE_EXISTS;
    } else if (node->kind == LEASE_DIRECTORY) {
        return LEASE_NOT_A_FILE;
    } else if (c->if_generation != LEASE_ANY && c->if_generation != node->generation) {
        return LEASE_CONFLICT;
    }
    return model_write(m, node, path, LEASE_FILE, content, wall_ms);
}

static enum lease_rc model_delete(struct model *m, const struct lease_command *c,
                                  const char *path)
{
    const enum lease_rc way = model_way(m, path);
    struct model_node *node = model_find(m, path);
    if (way == LEASE_NOT_A_DIRECTORY) {
        return way;
    }
    if (node == NULL) {
        return LEASE_NO_NODE;
    }
    if (c->if_instance != LEASE_ANY && c->if_instance != node->instance) {
        return LEASE_STALE_INSTANCE;
    }
    if (c->if_generation != LEASE_ANY && c->if_generation != node->generation) {
        return LEASE_CONFLICT;
    }
    if (model_children(m, path) > 0) {
        return LEASE_NOT_EMPTY;
    }
    m->revision++;
    m->content_bytes -= strlen(node->content);
    *node = m->node[--m->count];
    return LEASE_OK;
}

static enum lease_rc model_apply(struct model *m, const struct lease_command *c,
                                 uint64_t wall_ms)
{
    char path[PATH_ROOM], content[CONTENT_ROOM];
    snprintf(path, sizeof path, "%.*s", (int)c->path.size, (const char *)c->path.data);
    snprintf(content, sizeof content, "%.*s", (int)c->content.size,
             (const char *)c->content.data);
    switch (c->type) {
    case LEASE_CMD_PUT:
        return model_put(m, c, path, content, wall_ms);
    case LEASE_CMD_CREATE: {
        const enum lease_rc way = model_way(m, path);
        if (way != LEASE_OK) {
            return way;
        }
        if (model_find(m, path) != NULL) {
            return LEASE_EXISTS;
        }
        return model_write(m, NULL, path, c->kind, c->kind == LEASE_FILE ? content : "",
                           wall_ms);
    }
    case LEASE_CMD_DELETE:
        return model_delete(m, c, path);
    case LEASE_CMD_SESSION_OPEN:
    case LEASE_CMD_SESSION_CLOSE:
    case LEASE_CMD_SESSION_EXPIRE:
    case LEASE_CMD_ACQUIRE:
    case LEASE_CMD_RELEASE:
    case LEASE_CMD_CANCEL:
    case LEASE_CMD_TIMEOUT:
    case LEASE_CMD_OPEN:
    case LEASE_CMD_CLOSE:
    case LEASE_CMD_DELAY_OVER:
    case LEASE_CMD_STRETCH:
    case LEASE_CMD_SET_ACL:
        break; /* Those are test_lease_lock_model's. */
    }
    fail_msg("type %d", (int)c->type);
    return LEASE_OK;
}

/* ----------------------------------------------------------------- workload */

struct workload {
    struct rng rng;
    char path[PATH_ROOM];
    char content[CONTENT_ROOM];
};

/* One to three components of few letters: everything happens to every name. */
static void random_path(struct workload *w)
{
    static const char *const names[] = {"a", "b", "ab", "c"};
    w->path[0] = '\0';
    for (uint64_t left = rng_between(&w->rng, 1, 3); left > 0; left--) {
        strcat(w->path, names[rng_below(&w->rng, 4)]);
        strcat(w->path, left > 1 ? "/" : "");
    }
}

static uint64_t random_condition(struct workload *w, uint64_t fitting)
{
    switch (rng_below(&w->rng, 10)) {
    case 0:
        return rng_below(&w->rng, 4);
    case 1:
    case 2:
        return fitting;
    default:
        return LEASE_ANY;
    }
}

static struct lease_command random_command(struct workload *w, struct model *m)
{
    random_path(w);
    const size_t size = rng_below(&w->rng, rng_below(&w->rng, 2) == 0 ? 40 : CONTENT_ROOM - 1);
    memset(w->content, 'a' + (int)rng_below(&w->rng, 26), size);
    w->content[size] = '\0';

    const struct model_node *node = model_find(m, w->path);
    const uint64_t generation =
        random_condition(w, node == NULL ? LEASE_ANY : node->generation);
    const uint64_t instance = random_condition(w, node == NULL ? LEASE_ANY : node->instance);
    switch (rng_below(&w->rng, 10)) {
    case 0:
    case 1:
        return create(w->path, LEASE_DIRECTORY, "");
    case 2:
        return create(w->path, LEASE_FILE, w->content);
    case 3:
    case 4:
    case 5:
        return delete_if(w->path, generation, instance);
    default:
        return put_if(w->path, w->content, generation, instance);
    }
}

/* ------------------------------------------------------------ table of rows */

struct table {
    struct table_row {
        uint8_t key[32], value[ROW_ROOM];
        size_t key_size, value_size;
    } row[2 * NODES_MAX];
    size_t count;
};

static void table_take(void *context, const struct lease_row *row)
{
    struct table *t = context;
    size_t at = 0;
    while (at < t->count &&
           bytes_compare(bytes_of(t->row[at].key, t->row[at].key_size), row->key) < 0) {
        at++;
    }
    const bool present =
        at < t->count && bytes_equal(bytes_of(t->row[at].key, t->row[at].key_size), row->key);
    if (row->value.data == NULL) {
        assert_true(present); /* Only what the table has is deleted. */
        memmove(&t->row[at], &t->row[at + 1], (--t->count - at) * sizeof t->row[0]);
        return;
    }
    if (!present) {
        assert_true(t->count < 2 * NODES_MAX);
        memmove(&t->row[at + 1], &t->row[at], (t->count++ - at) * sizeof t->row[0]);
    }
    assert_true(row->key.size <= sizeof t->row[at].key);
    assert_true(row->value.size <= sizeof t->row[at].value);
    memcpy(t->row[at].key, row->key.data, row->key.size);
    memcpy(t->row[at].value, row->value.data, row->value.size);
    t->row[at].key_size = row->key.size;
    t->row[at].value_size = row->value.size;
}

static void assert_tables_equal(const struct table *a, const struct table *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(bytes_equal(bytes_of(a->row[i].key, a->row[i].key_size),
                                bytes_of(b->row[i].key, b->row[i].key_size)));
        assert_true(bytes_equal(bytes_of(a->row[i].value, a->row[i].value_size),
                                bytes_of(b->row[i].value, b->row[i].value_size)));
    }
}

static void table_of(const struct lease *l, struct table *ret_table)
{
    ret_table->count = 0;
    lease_rows_all(l, table_take, ret_table);
}

/* -------------------------------------------------------------- comparisons */

static void assert_stat(struct model *m, const struct lease_stat *stat, const char *path)
{
    const struct model_node *node = model_find(m, path);
    assert_non_null(node);
    assert_int_equal(stat->kind, node->kind);
    assert_int_equal(stat->instance, node->instance);
    assert_int_equal(stat->content_generation, node->generation);
    assert_int_equal(stat->revision, node->revision);
    assert_int_equal(stat->modified_wall_ms, node->wall_ms);
    assert_int_equal(stat->size, strlen(node->content));
    assert_int_equal(stat->children, model_children(m, path));
    assert_true(
        stat->checksum ==
        (node->kind == LEASE_DIRECTORY ? 0 : hash64(node->content, strlen(node->content))));
}

static void compare_nodes(struct model *m, const struct lease *l)
{
    const struct lease_counts counts = lease_counts(l);
    assert_int_equal(counts.nodes, m->count + 1);
    assert_int_equal(counts.content_bytes, m->content_bytes);
    for (size_t i = 0; i < m->count; i++) {
        struct lease_stat stat;
        struct bytes content;
        assert_int_equal(lease_get(l, text(m->node[i].path), &stat, &content), LEASE_OK);
        assert_stat(m, &stat, m->node[i].path);
        assert_true(bytes_equal(content, text(m->node[i].content)));
    }
}

/* Pages of random sizes must add up to all children, in order. */
static void compare_list(struct model *m, const struct lease *l, struct rng *rng,
                         const char *path)
{
    char after[PATH_ROOM] = "";
    uint64_t seen = 0;
    for (bool more = true; more;) {
        struct lease_child child[4];
        uint32_t count = 0;
        const uint32_t limit = (uint32_t)rng_between(rng, 1, 4);
        assert_int_equal(
            lease_list(l, text(path), text(after), limit, text(""), child, &count, &more),
            LEASE_OK);
        assert_true(count == limit || !more);
        for (uint32_t i = 0; i < count; i++) {
            char full[2 * PATH_ROOM];
            assert_true(bytes_compare(text(after), child[i].name) < 0);
            snprintf(after, sizeof after, "%.*s", (int)child[i].name.size,
                     (const char *)child[i].name.data);
            snprintf(full, sizeof full, "%s%s%s", path, path[0] == '\0' ? "" : "/", after);
            assert_stat(m, &child[i].stat, full);
        }
        seen += count;
    }
    assert_int_equal(seen, model_children(m, path));
}

static void compare_lists(struct model *m, const struct lease *l, struct rng *rng)
{
    compare_list(m, l, rng, "");
    for (size_t i = 0; i < m->count; i++) {
        if (m->node[i].kind == LEASE_DIRECTORY) {
            compare_list(m, l, rng, m->node[i].path);
        }
    }
}

/* --------------------------------------------------------------------- runs */

struct run {
    struct heap heap;
    struct lease *machine, *twin;
    struct workload workload;
    struct model model;
    struct table table;
};

/* The twin gets what a log would give it: bytes. */
static void apply_decoded(struct lease *l, const struct lease_at *at,
                          const struct lease_command *command, struct lease_result *ret_result)
{
    uint8_t log[CONTENT_ROOM + 200];
    struct writer w = writer_over(log, sizeof log);
    lease_command_encode(command, &w);
    assert_false(w.failed);
    struct reader r = reader_over(bytes_of(log, w.size));
    struct lease_command decoded;
    assert_true(lease_command_decode(&r, &decoded));
    lease_apply(l, at, &decoded, ret_result);
}

/* The one event of a change: what there was before, and what there is now. */
static void compare_event(struct run *run, const struct lease_command *c,
                          const struct model_node *before, uint64_t wall_ms)
{
    const uint64_t revision = run->model.revision;
    struct lease_place place = lease_history_seek(run->machine, revision - 1);
    struct lease_event event;
    assert_true(lease_history_next(run->machine, &place, &event));
    const struct model_node *after = model_find(&run->model, run->workload.path);
    const struct model_node *node = after == NULL ? before : after;
    assert_int_equal(event.revision, revision);
    assert_int_equal(event.change, c->type == LEASE_CMD_DELETE ? LEASE_DELETED
                                   : before == NULL            ? LEASE_CREATED
                                                               : LEASE_WRITTEN);
    assert_int_equal(event.kind, node->kind);
    assert_int_equal(event.instance, node->instance);
    assert_int_equal(event.wall_ms, wall_ms);
    assert_true(bytes_equal(event.path, text(node->path)));
    const bool of_file = node->kind == LEASE_FILE;
    assert_int_equal(event.has_content, of_file && after != NULL);
    assert_int_equal(event.has_old, of_file && before != NULL);
    assert_int_equal(event.generation, after == NULL ? 0 : after->generation);
    assert_true(bytes_equal(event.content, text(after == NULL ? "" : after->content)));
    assert_int_equal(event.content_size, event.content.size);
    assert_true(bytes_equal(event.old, text(before == NULL ? "" : before->content)));
    assert_false(lease_history_next(run->machine, &place, &event));
}

static void one_command(struct run *run, const struct lease_at *at)
{
    const struct lease_command command = random_command(&run->workload, &run->model);
    const uint64_t instances = run->model.instances;
    const uint64_t revision = run->model.revision;
    const struct model_node *found = model_find(&run->model, run->workload.path);
    const struct model_node before = found == NULL ? (struct model_node){0} : *found;
    struct lease_result result, twin_result;
    lease_apply(run->machine, at, &command, &result);
    apply_decoded(run->twin, at, &command, &twin_result);
    assert_same_result(&result, &twin_result);

    assert_int_equal(result.rc, model_apply(&run->model, &command, at->wall_ms));
    assert_int_equal(result.revision, run->model.revision);
    if (run->model.revision != revision) {
        compare_event(run, &command, found == NULL ? NULL : &before, at->wall_ms);
    }
    if ((result.rc == LEASE_OK && command.type != LEASE_CMD_DELETE) ||
        result.rc == LEASE_CONFLICT) {
        assert_stat(&run->model, &result.stat, run->workload.path);
    }
    assert_int_equal(result.created,
                     command.type == LEASE_CMD_PUT && run->model.instances != instances);
}

/* A third machine, from the table alone, is the same one. */
static void reload(struct run *run)
{
    static struct table again;
    lease_rows_visit(run->machine, table_take, &run->table);
    lease_rows_taken(run->machine);
    table_of(run->machine, &again);
    assert_tables_equal(&run->table, &again);
    table_of(run->twin, &again);
    assert_tables_equal(&run->table, &again);

    struct lease *loaded = state_new(&run->heap, MODEL_LIMITS);
    for (size_t i = 0; i < run->table.count; i++) {
        const struct table_row *row = &run->table.row[i];
        const struct lease_row view = {bytes_of(row->key, row->key_size),
                                       bytes_of(row->value, row->value_size)};
        assert_true(lease_row_load(loaded, &view));
    }
    const struct lease_position position = lease_position(run->machine);
    assert_true(
        lease_loaded(loaded, position.slot, position.position, lease_digest(run->machine)));
    lease_check(loaded);
    compare_nodes(&run->model, loaded);

    /* From here on it takes the place of the machine, or of its twin. */
    struct lease **replaced =
        rng_below(&run->workload.rng, 2) == 0 ? &run->machine : &run->twin;
    lease_free(*replaced);
    *replaced = loaded;
}

static void run_log(uint64_t seed, int slots)
{
    static struct run run;
    run = (struct run){.heap = heap_new(), .workload.rng.state = seed};
    run.model.instances = 1;
    run.machine = state_new(&run.heap, MODEL_LIMITS);
    run.twin = state_new(&run.heap, MODEL_LIMITS);

    for (int i = 0; i < slots; i++) {
        const uint64_t slot = lease_position(run.machine).slot + 1;
        const uint32_t commands = (uint32_t)rng_below(&run.workload.rng, 5);
        if (commands == 0) {
            const uint64_t epoch = rng_below(&run.workload.rng, 1000);
            lease_begin_epoch(run.machine, slot, epoch);
            lease_begin_epoch(run.twin, slot, epoch);
        }
        for (uint32_t position = 1; position <= commands; position++) {
            one_command(&run,
                        &(struct lease_at){.slot = slot,
                                           .position = position,
                                           .epoch = 1000,
                                           .wall_ms = rng_below(&run.workload.rng, 1u << 30)});
            lease_check(run.machine);
        }
        lease_slot_done(run.machine, slot, commands);
        lease_slot_done(run.twin, slot, commands);
        assert_true(lease_digest(run.machine) == lease_digest(run.twin));
        if (i % 10 == 0) {
            compare_nodes(&run.model, run.machine);
            compare_lists(&run.model, run.machine, &run.workload.rng);
        }
        if (rng_below(&run.workload.rng, 50) == 0) {
            reload(&run);
        }
    }
    lease_check(run.twin);
    reload(&run);
    lease_free(run.machine);
    lease_free(run.twin);
    assert_int_equal(run.heap.used, 0);
}

static void test_random_logs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        run_log(seed, 2500); /* About 40,000 commands in all. */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_logs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
