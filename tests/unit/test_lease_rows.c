/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows: what changed and only that, once each; and loading, which trusts none.
 */
#include "tests/unit/test_lease_support.h"

#include "paxos/base/rng.h"

enum { ROWS_MAX = 80, ROW_MAX = 3000, SLOT = 8, SLOT_LOCKS = 26 };

/* Copies of rows in the order of their visit. */
struct rows {
    size_t count;
    struct copied_row {
        uint8_t key[64];
        size_t key_size;
        uint8_t value[ROW_MAX];
        size_t value_size;
        bool deleted;
    } row[ROWS_MAX];
};

static void copy_row(void *context, const struct lease_row *row)
{
    struct rows *rows = context;
    assert_true(rows->count < ROWS_MAX);
    struct copied_row *copy = &rows->row[rows->count++];
    assert_true(row->key.size <= sizeof copy->key && row->value.size <= ROW_MAX);
    memcpy(copy->key, row->key.data, row->key.size);
    copy->key_size = row->key.size;
    copy->deleted = row->value.data == NULL;
    copy->value_size = row->value.size;
    if (!copy->deleted) {
        memcpy(copy->value, row->value.data, row->value.size);
    }
}

static struct lease_row row_of(const struct copied_row *copy)
{
    return (struct lease_row){
        .key = bytes_of(copy->key, copy->key_size),
        .value = bytes_of(copy->deleted ? NULL : copy->value, copy->value_size)};
}

static struct rows all_rows(const struct lease *l)
{
    struct rows rows = {0};
    lease_rows_all(l, copy_row, &rows);
    return rows;
}

static struct rows changed_rows(const struct lease *l)
{
    struct rows rows = {0};
    lease_rows_visit(l, copy_row, &rows);
    uint64_t bytes = 0;
    for (size_t i = 0; i < rows.count; i++) {
        bytes += rows.row[i].key_size + rows.row[i].value_size;
    }
    assert_int_equal(lease_rows_bytes(l), bytes);
    return rows;
}

static bool load(struct lease *l, const struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct lease_row row = row_of(&rows->row[i]);
        if (!lease_row_load(l, &row)) {
            return false;
        }
    }
    return true;
}

/* Whose last row is a node's. */
static struct lease_limits without_history(void)
{
    struct lease_limits limits = LEASE_LIMITS_DEFAULT;
    limits.history_bytes = 0;
    return limits;
}

static struct lease *sample_of(struct heap *heap, struct lease_limits limits)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, limits);
    lease_begin_epoch(l, 1, 65537);
    lease_slot_done(l, 1, 0);
    must(l, create("d", LEASE_DIRECTORY, ""));
    must(l, put("d/f", "content"));
    must(l, put("d/g", ""));
    must(l, create("d/e", LEASE_DIRECTORY, ""));
    must(l, put("d/e/h", "x"));
    must(l, put("z", "y"));
    must(l, delete_any("d/g"));
    return l;
}

static struct lease *sample(struct heap *heap)
{
    return sample_of(heap, LEASE_LIMITS_DEFAULT);
}

/* One of each kind, in each of its forms. */
static struct lease *sample_locks(struct heap *heap)
{
    *heap = heap_new();
    struct lease *l = state_new(heap, LEASE_LIMITS_DEFAULT);
    must(l, open_session(7));
    must(l, as("alice", open_session(8)));
    struct lease_command caching = open_session(9);
    caching.cache = true;
    must(l, caching);
    must(l, by(7, 1, put("x", "")));
    must(l, by(7, 2, create("s", LEASE_FILE, "")));
    assert_int_equal(apply(l, by(7, 3, put_if("x", "", 9, LEASE_ANY))).rc, LEASE_CONFLICT);
    must(l, acquire(7, 4, "x", LEASE_EXCLUSIVE));
    must(l, acquire(7, 5, "s", LEASE_SHARED));
    must(l, as("alice", acquire(8, 1, "s", LEASE_SHARED)));
    struct lease_command waits = as("alice", acquire(8, 2, "x", LEASE_SHARED));
    waits.wait_ms = 250;
    assert_int_equal(apply(l, waits).rc, LEASE_WAITING);
    assert_int_equal(apply(l, acquire(9, 1, "x", LEASE_EXCLUSIVE)).rc, LEASE_WAITING);
    assert_int_equal(apply(l, acquire(9, 2, "s", LEASE_EXCLUSIVE)).rc, LEASE_WAITING);
    struct lease_command acknowledges = with_ack(1, cancel(7, 9, 10));
    acknowledges.acks[0] = (struct lease_range){3, 3};
    acknowledges.acks[1] = (struct lease_range){5, 7};
    acknowledges.acks_count = 2;
    assert_int_equal(apply(l, acknowledges).rc, LEASE_CANCELLED);
    must(l, as("alice", release(8, 3, "s", 4)));

    /* An ephemeral one that two have open, in one that is kept by it; and a reader
     * who has failed among others. */
    must(l, as("alice", open_ephemeral(8, 4, "e", LEASE_DIRECTORY)));
    must(l, as("alice", open_ephemeral(8, 5, "e/f", LEASE_FILE)));
    must(l, open_node(9, 3, "e/f"));
    must(l, as("alice", close_node(8, 6, "e", 4)));
    must(l, open_session(10));
    struct lease_command fails = acquire(10, 1, "e/f", LEASE_SHARED);
    fails.delay_ms = 3000;
    must(l, fails);
    must(l, as("alice", acquire(8, 7, "e/f", LEASE_SHARED)));
    must(l, expire_session(10, 0));
    must(l, (struct lease_command){.type = LEASE_CMD_STRETCH, .lease_ms = 60000});

    must(l, create("acl", LEASE_DIRECTORY, ""));
    must(l, put("acl/team", "alice"));
    must(l, set_acl("s", "team", NULL, "team"));
    return l;
}

/* What each test of loading is tried with. */
static const struct {
    struct lease *(*make)(struct heap *heap);
    uint64_t slot;
} samples[] = {{sample, SLOT}, {sample_locks, SLOT_LOCKS}};

static void test_changed_once(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    assert_int_equal(changed_rows(l).count, 8); /* Counters, root, d, f, e, h, z, history. */
    lease_rows_taken(l);
    assert_int_equal(changed_rows(l).count, 0);

    for (int i = 0; i < 10; i++) {
        must(l, put("d/f", i % 2 == 0 ? "longer than before" : ""));
    }
    assert_int_equal(apply(l, put("n/n", "x")).rc, LEASE_NO_PARENT);
    assert_int_equal(changed_rows(l).count, 3); /* Counters, f, history. */
    lease_check(l);
    lease_free(l);
    assert_int_equal(heap.used, 0);
}

static void test_deletions(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    lease_rows_taken(l);

    /* What the tables never had leaves no trace. */
    must(l, put("short", "lived"));
    must(l, delete_any("short"));
    assert_int_equal(changed_rows(l).count, 2);

    /* What they have is deleted, once, and a new instance is another key. */
    must(l, put("z", "changed"));
    must(l, delete_any("z"));
    must(l, put("z", "again"));
    lease_check(l);
    const struct rows rows = changed_rows(l);
    assert_int_equal(rows.count, 4);
    size_t deleted = 0;
    for (size_t i = 0; i < rows.count; i++) {
        deleted += rows.row[i].deleted;
    }
    assert_int_equal(deleted, 1);
    lease_rows_taken(l);
    assert_int_equal(changed_rows(l).count, 0);
    lease_check(l);

    must(l, delete_any("z"));
    lease_check(l);
    lease_free(l); /* With a dead record waiting. */
    assert_int_equal(heap.used, 0);
}

static void test_all_in_order(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    const struct rows rows = all_rows(l);
    assert_int_equal(rows.count, 8);
    for (size_t i = 1; i < rows.count; i++) {
        assert_true(bytes_compare(row_of(&rows.row[i - 1]).key, row_of(&rows.row[i]).key) < 0);
    }
    lease_free(l);
}

/* Claims and outcomes are found again by all that they are found by. */
static void test_load_locks(void **state)
{
    (void)state;
    struct heap heap, heap_copy = heap_new();
    struct lease *l = sample_locks(&heap);
    const struct rows rows = all_rows(l);
    struct lease *copy = state_new(&heap_copy, LEASE_LIMITS_DEFAULT);
    assert_true(load(copy, &rows));
    assert_true(lease_loaded(copy, SLOT_LOCKS, 1, lease_digest(l)));
    lease_check(copy);
    assert_int_equal(changed_rows(copy).count, 0);
    assert_true(lease_session_secret(copy, 8, text("")) ==
                lease_session_secret(l, 8, text("")));
    assert_int_equal(lease_caching_next(copy, 0), 9);
    assert_int_equal(lease_counts(copy).caching, 1);
    assert_int_equal(lease_may(copy, text("s"), text("bob"), LEASE_READ), LEASE_DENIED);
    assert_int_equal(lease_may(copy, text("s"), text("alice"), LEASE_READ), LEASE_OK);

    const struct lease_command commands[] = {
        by(7, 2, create("s", LEASE_FILE, "")),
        by(7, 3, put("x", "")),
        cancel(7, 20, 10),
        as("alice", acquire(8, 2, "x", LEASE_SHARED)),
        release(7, 21, "x", 3),
        release(7, 22, "s", 4),
        expire_session(8, 0),
        close_session(7, 23),
        close_node(9, 4, "e/f", 5),
        delay_over(5, 7, 0), /* With which e/f goes, and e. */
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct lease_result a = apply(l, commands[i]);
        const struct lease_result b = apply(copy, commands[i]);
        assert_same_result(&a, &b);
        assert_true(lease_digest(l) == lease_digest(copy));
        lease_check(copy);
    }
    assert_int_equal(lease_counts(copy).held, 2); /* Session 9 has both. */
    assert_int_equal(lease_counts(copy).nodes, 5);
    lease_free(copy);
    lease_free(l);
    assert_int_equal(heap_copy.used, 0);
}

static void test_load(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    const struct rows rows = all_rows(l);

    struct heap heap_copy = heap_new();
    struct lease *copy = state_new(&heap_copy, LEASE_LIMITS_DEFAULT);
    assert_true(load(copy, &rows));
    assert_true(lease_loaded(copy, 8, 3, lease_digest(l)));
    lease_check(copy);
    assert_int_equal(changed_rows(copy).count, 0);
    assert_int_equal(lease_position(copy).slot, 8);
    assert_int_equal(lease_position(copy).position, 3);
    assert_int_equal(lease_position(copy).epoch, 65537);
    assert_int_equal(lease_position(copy).revision, lease_position(l).revision);
    assert_int_equal(lease_counts(copy).nodes, lease_counts(l).nodes);

    /* Both go on alike. */
    const struct lease_result a = must(l, put("d/n", "1"));
    const struct lease_result b = must(copy, put("d/n", "1"));
    assert_memory_equal(&a.stat.instance, &b.stat.instance, sizeof a.stat.instance);
    assert_true(lease_digest(l) == lease_digest(copy));
    lease_check(copy);
    lease_free(copy);
    lease_free(l);
    assert_int_equal(heap_copy.used, 0);
}

static void test_loaded_contradictions(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    const struct rows rows = all_rows(l);
    const uint64_t digest = lease_digest(l);
    lease_free(l);

    const struct {
        const char *name;
        size_t rows;
        uint64_t slot;
        uint64_t digest;
        bool ok;
    } cases[] = {
        {"the whole", rows.count, 8, digest, true},
        {"another digest", rows.count, 8, digest + 1, false},
        {"a row less", rows.count - 1, 8, digest, false},
        {"rows at slot 0", rows.count, 0, digest, false},
        {"no row at a slot", 0, 8, 0, false},
        {"counters alone", 1, 8, digest, false},
        {"nothing at slot 0", 0, 0, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rows some = rows;
        some.count = cases[i].rows;
        struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
        assert_true(load(copy, &some));
        if (lease_loaded(copy, cases[i].slot, 0, cases[i].digest) != cases[i].ok) {
            fail_msg("%s", cases[i].name);
        }
        lease_check(copy);
        lease_free(copy);
    }
    assert_int_equal(heap.used, 0);
}

/* Each row left out, repeated, or before its predecessor: refused, or found by
 * the digest. */
static void check_order_of(size_t which)
{
    struct heap heap;
    struct lease *l = samples[which].make(&heap);
    const struct rows rows = all_rows(l);
    const uint64_t digest = lease_digest(l);
    lease_free(l);

    for (size_t i = 0; i < rows.count; i++) {
        for (int how = 0; how < 3; how++) {
            struct rows some = rows;
            if (how == 0) {
                memmove(&some.row[i], &some.row[i + 1],
                        (rows.count - i - 1) * sizeof *some.row);
                some.count--;
            } else if (how == 1) {
                memmove(&some.row[i + 1], &some.row[i], (rows.count - i) * sizeof *some.row);
                some.count++;
            } else if (i + 1 < rows.count) {
                some.row[i] = rows.row[i + 1];
                some.row[i + 1] = rows.row[i];
            } else {
                continue;
            }
            struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
            const bool loaded = load(copy, &some);
            assert_false(loaded && lease_loaded(copy, samples[which].slot, 0, digest));
            lease_free(copy);
        }
    }
    assert_int_equal(heap.used, 0);
}

static void test_order(void **state)
{
    (void)state;
    check_order_of(0);
    check_order_of(1);
}

/* Any octet of any row changed: refused, or found by the digest; never an
 * access out of bounds, and what did load is a sound state. */
static void check_damage_of(size_t which)
{
    struct heap heap;
    struct lease *l = samples[which].make(&heap);
    const struct rows rows = all_rows(l);
    const uint64_t digest = lease_digest(l);
    lease_free(l);

    struct rng rng = {.state = 5};
    size_t sound = 0;
    for (size_t i = 0; i < rows.count; i++) {
        const size_t size = rows.row[i].key_size + rows.row[i].value_size;
        for (size_t at = 0; at < size; at++) {
            struct rows some = rows;
            struct copied_row *row = &some.row[i];
            uint8_t *octet =
                at < row->key_size ? &row->key[at] : &row->value[at - row->key_size];
            *octet ^= (uint8_t)(1u << rng_below(&rng, 8));
            struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
            if (load(copy, &some)) {
                assert_false(lease_loaded(copy, samples[which].slot, 0, digest));
                lease_check(copy);
                sound++;
            }
            lease_free(copy);
        }
    }
    assert_true(sound > 0); /* Otherwise the digest was not tried. */
    assert_int_equal(heap.used, 0);
}

static void test_damage(void **state)
{
    (void)state;
    check_damage_of(0);
    check_damage_of(1);
}

static void check_truncation_of(size_t which)
{
    struct heap heap;
    struct lease *l = samples[which].make(&heap);
    const struct rows rows = all_rows(l);
    lease_free(l);
    for (size_t i = 0; i < rows.count; i++) {
        for (size_t cut = 0; cut < rows.row[i].value_size; cut++) {
            struct rows some = rows;
            some.row[i].value_size = cut;
            struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
            assert_false(load(copy, &some));
            lease_free(copy);
        }
        for (size_t cut = 0; cut < rows.row[i].key_size; cut++) {
            struct rows some = rows;
            some.row[i].key_size = cut;
            struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
            assert_false(load(copy, &some));
            lease_free(copy);
        }
    }
    assert_int_equal(heap.used, 0);
}

static void test_truncation(void **state)
{
    (void)state;
    check_truncation_of(0);
    check_truncation_of(1);
}

/* A node's row, put together by hand. */
struct hand_row {
    const char *name; /* Of the case. */
    uint64_t id, sub, parent;
    const char *component;
    uint8_t version, kind;
    uint64_t generation, revision, checksum_error;
    const char *content;
    bool ok;
};

static struct copied_row build(const struct hand_row *h)
{
    struct copied_row row = {0};
    struct writer key = writer_over(row.key, sizeof row.key);
    write_u8(&key, 2);
    write_u64(&key, h->id);
    write_u64(&key, h->sub);
    row.key_size = key.size;

    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, LEASE_LIMITS_DEFAULT);
    const uint64_t checksum =
        h->kind == LEASE_FILE ? must(l, put("f", h->content)).stat.checksum : 0;
    lease_free(l);

    struct writer value = writer_over(row.value, sizeof row.value);
    write_u8(&value, h->version);
    write_u64(&value, h->parent);
    write_u8(&value, (uint8_t)strlen(h->component));
    write_raw(&value, h->component, strlen(h->component));
    write_u8(&value, h->kind);
    write_u8(&value, /* ephemeral= */ 0);
    write_u64(&value, h->generation);
    write_u64(&value, 0);
    write_u64(&value, 0);
    write_u64(&value, h->revision);
    write_u64(&value, 0);
    write_u8(&value, 0); /* The names of three ACLs. */
    write_u8(&value, 0);
    write_u8(&value, 0);
    write_u64(&value, checksum + h->checksum_error);
    write_bytes(&value, text(h->content));
    row.value_size = value.size;
    return row;
}

static void test_refused_nodes(void **state)
{
    (void)state;
    static const struct hand_row cases[] = {
        {"a file", 8, 0, 1, "n", 3, 1, 1, 7, 0, "x", true},
        {"a file deeper", 8, 0, 5, "n", 3, 1, 1, 7, 0, "x", true},
        {"a directory", 8, 0, 1, "n", 3, 2, 0, 7, 0, "", true},
        {"a sub key", 8, 1, 1, "n", 3, 1, 1, 7, 0, "x", false},
        {"unknown version", 8, 0, 1, "n", 4, 1, 1, 7, 0, "x", false},
        {"unknown kind", 8, 0, 1, "n", 3, 3, 1, 7, 0, "x", false},
        {"no parent", 8, 0, 4, "n", 3, 1, 1, 7, 0, "x", false},
        {"parent 0", 8, 0, 0, "n", 3, 1, 1, 7, 0, "x", false},
        {"itself as parent", 8, 0, 8, "n", 3, 1, 1, 7, 0, "x", false},
        {"a file as parent", 8, 0, 3, "n", 3, 1, 1, 7, 0, "x", false},
        {"name taken", 8, 0, 1, "z", 3, 1, 1, 7, 0, "x", false},
        {"bad name", 8, 0, 1, "a/b", 3, 1, 1, 7, 0, "x", false},
        {"no name", 8, 0, 1, "", 3, 1, 1, 7, 0, "x", false},
        {"instance not yet given", 9, 0, 1, "n", 3, 1, 1, 7, 0, "x", false},
        {"revision not yet given", 8, 0, 1, "n", 3, 1, 1, 10, 0, "x", false},
        {"a file never written", 8, 0, 1, "n", 3, 1, 0, 7, 0, "x", false},
        {"generation too large", 8, 0, 1, "n", 3, 1, UINT64_C(1) << 53, 7, 0, "x", false},
        {"wrong checksum", 8, 0, 1, "n", 3, 1, 1, 7, 1, "x", false},
        {"an older version", 8, 0, 1, "n", 2, 1, 1, 7, 0, "x", false},
        {"directory with generation", 8, 0, 1, "n", 3, 2, 1, 7, 0, "", false},
        {"directory with content", 8, 0, 1, "n", 3, 2, 0, 7, 0, "x", false},
        {"directory with checksum", 8, 0, 1, "n", 3, 2, 0, 7, 1, "", false},
    };
    struct heap heap;
    struct lease *l = sample_of(&heap, without_history());
    must(l, put("n", "")); /* Instance 8 is given, */
    must(l, delete_any("n"));
    const struct rows rows = all_rows(l); /* and not there. */
    lease_free(l);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rows some = rows;
        some.row[some.count++] = build(&cases[i]);
        struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
        if (load(copy, &some) != cases[i].ok) {
            fail_msg("%s", cases[i].name);
        }
        lease_check(copy);
        lease_free(copy);
    }
    assert_int_equal(heap.used, 0);
}

/* One more level, or a longer name, than a path may have. */
static void load_below(size_t levels, size_t component_size, size_t last_size, bool ok)
{
    struct heap heap = heap_new();
    struct lease *l = state_new(&heap, without_history());
    char path[LEASE_PATH_MAX + 1] = "";
    char component[LEASE_COMPONENT_MAX + 1] = "";
    memset(component, 'd', component_size);
    for (size_t i = 0; i < levels; i++) {
        strcat(path, i == 0 ? "" : "/");
        strcat(path, component);
        must(l, create(path, LEASE_DIRECTORY, ""));
    }
    must(l, put("n", "")); /* Gives the instance that the last row has. */
    must(l, delete_any("n"));
    struct rows rows = all_rows(l);
    lease_free(l);

    memset(component, 'd', sizeof component);
    component[last_size] = '\0';
    rows.row[rows.count++] = build(&(struct hand_row){.id = levels + 2,
                                                      .parent = levels + 1,
                                                      .component = component,
                                                      .version = 3,
                                                      .kind = LEASE_FILE,
                                                      .generation = 1,
                                                      .content = ""});
    struct lease *copy = state_new(&heap, LEASE_LIMITS_DEFAULT);
    assert_int_equal(load(copy, &rows), ok);
    lease_check(copy);
    lease_free(copy);
    assert_int_equal(heap.used, 0);
}

static void test_deep_rows(void **state)
{
    (void)state;
    load_below(LEASE_DEPTH_MAX - 1, 1, 1, true);
    load_below(LEASE_DEPTH_MAX, 1, 1, false);
    load_below(4, 204, LEASE_PATH_MAX - 4 * 205, true);
    load_below(4, 204, LEASE_PATH_MAX - 4 * 205 + 1, false);
}

/* Limits that were lowered since refuse growth, not what shrinks. */
static void test_lowered_limits(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    const struct rows rows = all_rows(l);
    const uint64_t digest = lease_digest(l);
    lease_free(l);

    l = state_new(&heap,
                  (struct lease_limits){.nodes = 2, .content_bytes = 3, .history_bytes = 3});
    assert_true(load(l, &rows));
    assert_true(lease_loaded(l, SLOT, 1, digest));
    assert_int_equal(apply(l, put("d/f", "contents")).rc, LEASE_LIMIT);
    assert_int_equal(apply(l, put("n", "")).rc, LEASE_LIMIT);
    must(l, put("d/f", "CONTENT"));
    must(l, put("d/f", "conten"));
    must(l, delete_any("z"));
    lease_check(l);
    lease_free(l);
}

static void test_describe_locks(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "session 0000000000000007 lease 5000 ms wall 1000 acks 1,3-3,5-7"
        " label \"label\" principal \"\"",
        "session 0000000000000009 lease 5000 ms wall 1002 acks 0"
        " label \"label\" principal \"\" cache",
        "file 3 in 1 \"s\" revision 17 wall 1025 read \"team\" change \"team\" acl generation "
        "1"
        " generation 1 checksum 2d06800538d394c2 0 octets",
        "claim 1 on 2 held exclusive session 0000000000000007 handle 1 request 4"
        " since wall 1006 token 3",
        "counters revision 17 instances 7 epoch 0 claims 8 openers 3 leases stretched to 60000 "
        "ms",
        "ephemeral directory 4 in 1 \"e\" revision 10 wall 1014",
        "claim 7 on 5 delayed shared session 000000000000000a handle 1 request 1"
        " since wall 1021 token 12 lock-delay 3000 ms label \"label\"",
        "opener 3 of 5 session 0000000000000009 handle 1",
        "claim 4 on 2 waits shared session 0000000000000008 handle 1 request 2"
        " since wall 1009 for 250 ms",
        "outcome of 4 of session 0000000000000007 at 7.1 revision 3 token 3: ok",
        "outcome of 10 of session 0000000000000007 at 13.1 revision 8:"
        " the request was cancelled before it was granted",
    };
    struct heap heap;
    struct lease *l = sample_locks(&heap);
    const struct rows rows = all_rows(l);
    size_t found = 0;
    for (size_t i = 0; i < rows.count; i++) {
        char line[256];
        const struct lease_row row = row_of(&rows.row[i]);
        lease_row_describe(&row, line, sizeof line);
        for (size_t j = 0; j < sizeof lines / sizeof lines[0]; j++) {
            found += strcmp(line, lines[j]) == 0;
        }
        assert_null(strstr(line, "malformed"));
    }
    assert_int_equal(found, sizeof lines / sizeof lines[0]);
    lease_free(l);
}

static void test_describe(void **state)
{
    (void)state;
    struct heap heap;
    struct lease *l = sample(&heap);
    struct rows rows = all_rows(l);
    char line[256];
    struct lease_row row = row_of(&rows.row[0]);
    assert_string_equal(lease_row_describe(&row, line, sizeof line),
                        "counters revision 7 instances 7 epoch 65537 claims 0 openers 0");
    row = row_of(&rows.row[3]);
    const char *shown = "file 3 in 2 \"f\" revision 2 wall 1002 generation 1 checksum ";
    assert_memory_equal(lease_row_describe(&row, line, sizeof line), shown, strlen(shown));
    row.value.size--;
    assert_non_null(strstr(lease_row_describe(&row, line, sizeof line), "(malformed)"));
    row.value.data = NULL;
    assert_string_equal(lease_row_describe(&row, line, sizeof line), "delete kind 2 id 3");
    row.key.size--;
    assert_string_equal(lease_row_describe(&row, line, sizeof line),
                        "unknown key of 16 octets");
    lease_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_once), cmocka_unit_test(test_deletions),
        cmocka_unit_test(test_all_in_order), cmocka_unit_test(test_load),
        cmocka_unit_test(test_load_locks),   cmocka_unit_test(test_loaded_contradictions),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_truncation),   cmocka_unit_test(test_refused_nodes),
        cmocka_unit_test(test_deep_rows),    cmocka_unit_test(test_lowered_limits),
        cmocka_unit_test(test_describe),     cmocka_unit_test(test_describe_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
