/* SPDX-License-Identifier: Apache-2.0
 *
 * Rights against a naive model, over long random logs.
 *
 * The model knows what was written last: a table of all paths there are, each with its
 * names and its content.  From that alone it says who may do what.  Beside the machine
 * runs a twin that is fed the same log as bytes, and is now and then replaced by one that
 * is loaded from the machine's rows.
 */
#include <stdio.h>

#include "tests/unit/test_lease_support.h"

#include "paxos/base/rng.h"

enum { PATHS = 18, PRINCIPALS = 4, LISTS = 3, COMMANDS = 1500, SEEDS = 12 };

static const char *const paths[PATHS] = {"",    "acl", "acl/a", "acl/b", "d",     "d/f",
                                         "d/g", "d/d", "d/d/f", "d/e",   "d/e/f", "f",
                                         "f/f", "e",   "e/f",   "e/e",   "e/e/f", "d/d/g"};
static const char *const principals[PRINCIPALS] = {"alice", "bob", "", LEASE_ROOT};
static const char *const lists[LISTS] = {"", "a", "b"}; /* Names of ACLs. */

struct model {
    struct model_node {
        bool exists, directory;
        const char *names[LEASE_RIGHTS];
        const char *content;
    } node[PATHS];
};

static int path_at(const char *path, size_t size)
{
    for (int i = 0; i < PATHS; i++) {
        if (strlen(paths[i]) == size && memcmp(paths[i], path, size) == 0) {
            return i;
        }
    }
    fail_msg("%s", path);
    return -1;
}

static int parent_of(int at)
{
    const char *slash = strrchr(paths[at], '/');
    return slash == NULL ? 0 : path_at(paths[at], (size_t)(slash - paths[at]));
}

/* The node itself or, when it is missing, the nearest directory that isn't. */
static const struct model_node *model_asked(const struct model *m, int at)
{
    if (!m->node[at].exists) {
        do {
            at = parent_of(at);
        } while (!m->node[at].exists || !m->node[at].directory);
    }
    return &m->node[at];
}

static bool model_lists(const struct model *m, const char *name, const char *principal)
{
    if (name[0] == '\0' || strcmp(principal, LEASE_ROOT) == 0) {
        return true;
    }
    char path[16];
    snprintf(path, sizeof path, "acl/%s", name);
    const struct model_node *file = &m->node[path_at(path, strlen(path))];
    return file->exists && !file->directory &&
           (strcmp(file->content, "*") == 0 ||
            (principal[0] != '\0' && strstr(file->content, principal) != NULL));
}

static bool model_may(const struct model *m, int at, const char *principal, unsigned right)
{
    return model_lists(m, model_asked(m, at)->names[right], principal);
}

/* ----------------------------------------------------------------- workload */

struct step {
    struct lease_command command;
    int path;
    const char *principal;
    const char *content; /* Of what is written or made. */
    const char *names[LEASE_RIGHTS];
};

static const char *random_content(struct rng *rng)
{
    static const char *const contents[] = {"alice", "bob", "alice\nbob", "", "*"};
    return contents[rng_below(rng, 5)];
}

static struct step random_step(struct rng *rng)
{
    struct step step = {.path = (int)rng_below(rng, PATHS),
                        .principal = principals[rng_below(rng, PRINCIPALS)],
                        .content = random_content(rng)};
    const char *path = paths[step.path];
    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
        step.command = put(path, step.content);
        break;
    case 2:
    case 3:
        step.command = create(path, LEASE_DIRECTORY, "");
        step.content = "";
        break;
    case 4:
        step.command = delete_any(path);
        break;
    default:
        for (int right = 0; right < LEASE_RIGHTS; right++) {
            step.names[right] = rng_below(rng, 2) == 0 ? NULL : lists[rng_below(rng, LISTS)];
        }
        step.command = set_acl(path, step.names[0], step.names[1], step.names[2]);
    }
    step.command.principal = text(step.principal);
    return step;
}

static enum lease_right right_of(const struct step *step)
{
    return step->command.type == LEASE_CMD_SET_ACL ? LEASE_CHANGE : LEASE_WRITE;
}

/* That it succeeded. */
static void model_take(struct model *m, const struct step *step)
{
    struct model_node *node = &m->node[step->path];
    switch ((int)step->command.type) {
    case LEASE_CMD_SET_ACL:
        for (int right = 0; right < LEASE_RIGHTS; right++) {
            if (step->names[right] != NULL) {
                node->names[right] = step->names[right];
            }
        }
        return;
    case LEASE_CMD_DELETE:
        node->exists = false;
        return;
    default:
        break;
    }
    if (!node->exists) {
        *node = m->node[parent_of(step->path)];
        node->exists = true;
        node->directory = step->command.type == LEASE_CMD_CREATE;
    }
    node->content = step->content;
}

/* -------------------------------------------------------------- comparisons */

static void compare_node(const struct model *m, const struct lease *l, int at)
{
    struct bytes names[LEASE_RIGHTS];
    const struct model_node *node = &m->node[at];
    assert_int_equal(lease_acl(l, text(paths[at]), names) == LEASE_OK, node->exists);
    for (unsigned right = 0; right < LEASE_RIGHTS; right++) {
        if (node->exists) {
            assert_true(bytes_equal(names[right], text(node->names[right])));
        }
        for (int i = 0; i < PRINCIPALS; i++) {
            const bool ok =
                lease_may(l, text(paths[at]), text(principals[i]), right) == LEASE_OK;
            assert_int_equal(ok, model_may(m, at, principals[i], right));
        }
    }
}

static void compare_list(const struct model *m, const struct lease *l, int at,
                         const char *principal)
{
    struct lease_child child[PATHS];
    uint32_t count = 0;
    bool more = false;
    if (!m->node[at].exists || !m->node[at].directory) {
        return;
    }
    assert_int_equal(
        lease_list(l, text(paths[at]), text(""), PATHS, text(principal), child, &count, &more),
        LEASE_OK);
    for (uint32_t i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s%s%.*s", paths[at], at == 0 ? "" : "/",
                 (int)child[i].name.size, (const char *)child[i].name.data);
        assert_int_equal(child[i].denied,
                         !model_may(m, path_at(path, strlen(path)), principal, LEASE_READ));
    }
}

/* A state like it, from its rows. */
static void load_row(void *context, const struct lease_row *row)
{
    assert_true(lease_row_load(context, row));
}

static struct lease *loaded(struct heap *heap, const struct lease *l)
{
    struct lease *copy = state_new(heap, LEASE_LIMITS_DEFAULT);
    const struct lease_position position = lease_position(l);
    lease_rows_all(l, load_row, copy);
    assert_true(lease_loaded(copy, position.slot, position.position, lease_digest(l)));
    lease_check(copy);
    return copy;
}

static struct lease_result apply_decoded(struct lease *l, const struct lease_command *command)
{
    uint8_t log[512];
    struct writer w = writer_over(log, sizeof log);
    lease_command_encode(command, &w);
    assert_false(w.failed);
    struct reader r = reader_over(bytes_of(log, w.size));
    struct lease_command decoded;
    assert_true(lease_command_decode(&r, &decoded));
    return apply(l, decoded);
}

/* --------------------------------------------------------------------- runs */

struct tally {
    uint64_t done, denied, refused;
};

static void run(uint64_t seed, struct tally *tally)
{
    struct rng rng = {.state = seed};
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    struct lease *twin = state_new(&heap, LEASE_LIMITS_DEFAULT);
    struct model m = {.node = {{.exists = true, .directory = true, .names = {"", "", ""}}}};
    for (int i = 0; i < COMMANDS; i++) {
        const struct step step = random_step(&rng);
        const bool may = model_may(&m, step.path, step.principal, right_of(&step));
        const struct lease_result result = apply(l, step.command);
        const struct lease_result same = apply_decoded(twin, &step.command);
        assert_same_result(&result, &same);
        assert_int_equal(result.rc == LEASE_DENIED, !may);
        if (result.rc == LEASE_OK) {
            model_take(&m, &step);
        }
        tally->done += result.rc == LEASE_OK;
        tally->denied += !may;
        tally->refused += may && result.rc != LEASE_OK;

        assert_true(lease_digest(l) == lease_digest(twin));
        lease_check(l);
        for (int at = 0; at < PATHS; at++) {
            compare_node(&m, l, at);
            compare_list(&m, l, at, step.principal);
        }
        if (rng_below(&rng, 100) == 0) {
            lease_free(twin);
            twin = loaded(&heap, l);
        }
        if (rng_below(&rng, 10) == 0) {
            lease_rows_taken(l);
        }
    }
    lease_free(l);
    lease_free(twin);
    assert_int_equal(heap.used, 0);
}

static void test_random(void **state)
{
    (void)state;
    struct tally tally = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed, &tally);
    }
    /* Otherwise the workload tries too little. */
    assert_true(tally.done > SEEDS * COMMANDS / 10);
    assert_true(tally.denied > SEEDS * COMMANDS / 10);
    assert_true(tally.refused > SEEDS * COMMANDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
