/* SPDX-License-Identifier: Apache-2.0
 *
 * What each command makes those forget who keep everything.
 */
#include "tests/unit/test_service_caching.h"

enum {
    R1 = 71, /* Keeps everything. */
    W1 = 81, /* Has the directory e and the file e/g in it open, and holds l, all ephemeral. */
    W2 = 82, /* Waits for l. */
    W3 = 83, /* Has nothing. */
};

static struct told_all told;

static const char *const kept[] = {"/ls/test",   "/ls/test/x",   "/ls/test/none",
                                   "/ls/test/d", "/ls/test/d/f", "/ls/test/d/none",
                                   "/ls/test/e", "/ls/test/e/g", "/ls/test/e/none",
                                   "/ls/test/l", "/ls/test/acl", "/ls/test/acl/p"};

struct scene {
    struct cell *cell;
    uint32_t m;
    uint64_t tag;
    uint64_t token;    /* Of l ... */
    uint64_t token_x;  /* ... and x, which W1 holds, too. */
    uint64_t instance; /* Of e/g. */
};

static uint64_t run(struct scene *scene, struct service_request *request, const char *name)
{
    request->name = bytes_of(name, strlen(name));
    submit(scene->cell, scene->m, request);
    settle(scene->cell);
    return request->tag;
}

static uint64_t have_open(struct scene *scene, const char *name, enum lease_kind kind)
{
    struct service_request request = request_of(SERVICE_NODE_OPEN, ++scene->tag, W1);
    request.kind = kind;
    request.ephemeral = true;
    return run(scene, &request, name);
}

static uint64_t hold(struct scene *scene, uint64_t session, const char *name, uint32_t wait_ms)
{
    struct service_request request = request_of(SERVICE_LOCK_ACQUIRE, ++scene->tag, session);
    request.wait = true;
    request.wait_ms = wait_ms;
    request.delay_ms = 300;
    return run(scene, &request, name);
}

/* Whatever was forgotten is kept again. */
static void keep_everything(struct scene *scene)
{
    acknowledge_all(scene->cell, scene->m, ++scene->tag, R1);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        assert_true(keeps(scene->cell, scene->m, ++scene->tag, R1, kept[i]));
    }
}

static struct scene set_up(void)
{
    struct scene scene = {.cell = listen_to(&told, cell_start(1))};
    struct cell *cell = scene.cell;
    scene.m = await_master(cell);
    scene.tag = 1000;
    put(cell, scene.m, 1, "/ls/test/x", "");
    ask(cell, scene.m, SERVICE_CREATE, 1, 2, "/ls/test/d", NULL);
    ask(cell, scene.m, SERVICE_CREATE, 1, 3, "/ls/test/acl", NULL);
    put(cell, scene.m, 4, "/ls/test/d/f", "");
    put(cell, scene.m, 5, "/ls/test/acl/p", "p");
    open_session(cell, scene.m, 6, W1);
    open_session(cell, scene.m, 7, W2);
    open_session(cell, scene.m, 8, W3);
    have_open(&scene, "/ls/test/e", LEASE_DIRECTORY);
    const uint64_t made = have_open(&scene, "/ls/test/e/g", LEASE_FILE);
    scene.instance = reply_to(cell, made)->stat.instance;
    const uint64_t l = have_open(&scene, "/ls/test/l", LEASE_FILE);
    const uint64_t instance = reply_to(cell, l)->stat.instance;
    scene.token = reply_to(cell, hold(&scene, W1, "/ls/test/l", 0))->token;
    scene.token_x = reply_to(cell, hold(&scene, W1, "/ls/test/x", 0))->token;
    struct service_request close = request_of(SERVICE_NODE_CLOSE, ++scene.tag, W1);
    close.if_instance = instance; /* From now on l lives by its lock alone. */
    run(&scene, &close, "/ls/test/l");
    open_cache(cell, scene.m, 9, R1);
    keep_everything(&scene);
    return scene;
}

static const char *told_since(const struct scene *scene, uint32_t from)
{
    (void)scene;
    const struct forget *forget = told_to(&told, R1, from);
    return forget == NULL ? "" : forget->names;
}

/* ---------------------------------------------------------------- by clients */

static const struct {
    const char *what;
    enum service_op op;
    const char *name;
    const char *forgotten;
    uint64_t session;
    enum lease_kind kind;
    bool create;
} rows[] = {
    {"write a file", SERVICE_PUT, "/ls/test/x", "/x", 0, 0, false},
    {"write what is missing", SERVICE_PUT, "/ls/test/none", "/ /none", 0, 0, false},
    {"the same below", SERVICE_PUT, "/ls/test/d/none", "/d /d/none", 0, 0, false},
    {"make", SERVICE_CREATE, "/ls/test/none", "/ /none", 0, LEASE_FILE, false},
    {"make a directory", SERVICE_CREATE, "/ls/test/none", "/ /none", 0, LEASE_DIRECTORY, false},
    {"delete a file", SERVICE_DELETE, "/ls/test/d/f", "/d /d/f", 0, 0, false},
    {"delete a directory", SERVICE_DELETE, "/ls/test/d", "/ /d /d/none", 0, 0, false},
    {"delete in an ephemeral one", SERVICE_DELETE, "/ls/test/e/g", "/ /e /e/g /e/none", 0, 0,
     false},
    {"delete the root", SERVICE_DELETE, "/ls/test", "", 0, 0, false},
    {"open", SERVICE_NODE_OPEN, "/ls/test/x", "", W3, 0, false},
    {"open or make what is there", SERVICE_NODE_OPEN, "/ls/test/x", "", W3, LEASE_FILE, false},
    {"open what is missing", SERVICE_NODE_OPEN, "/ls/test/none", "", W3, 0, false},
    {"open and make", SERVICE_NODE_OPEN, "/ls/test/none", "/ /none", W3, LEASE_FILE, false},
    {"acquire", SERVICE_LOCK_ACQUIRE, "/ls/test/d/f", "", W3, 0, true},
    {"acquire what is missing", SERVICE_LOCK_ACQUIRE, "/ls/test/none", "", W3, 0, false},
    {"acquire and make", SERVICE_LOCK_ACQUIRE, "/ls/test/none", "/ /none", W3, 0, true},
    {"release", SERVICE_LOCK_RELEASE, "/ls/test/x", "", W1, 0, false},
    {"release the last of an ephemeral file", SERVICE_LOCK_RELEASE, "/ls/test/l", "/ /l", W1, 0,
     false},
    {"close", SERVICE_NODE_CLOSE, "/ls/test/e/g", "/ /e /e/g /e/none", W1, 0, false},
    {"close under another name", SERVICE_NODE_CLOSE, "/ls/test/x", "/ /e /e/g /e/none", W1, 0,
     false},
    {"change the rights to a file", SERVICE_SET_ACL, "/ls/test/x", "/x", 0, 0, false},
    {"change the rights to a directory", SERVICE_SET_ACL, "/ls/test/d", "/d /d/none", 0, 0,
     false},
    {"change the rights to the lists", SERVICE_SET_ACL, "/ls/test/acl", "*", 0, 0, false},
    {"change a list", SERVICE_PUT, "/ls/test/acl/p", "*", 0, 0, false},
    {"make a list", SERVICE_CREATE, "/ls/test/acl/q", "*", 0, LEASE_FILE, false},
    {"delete a list", SERVICE_DELETE, "/ls/test/acl/p", "*", 0, 0, false},
    {"make a list by opening it", SERVICE_NODE_OPEN, "/ls/test/acl/q", "*", W3, LEASE_FILE,
     false},
    {"end a session", SERVICE_SESSION_CLOSE, "", "/ /e /e/g /e/none /l", W1, 0, false},
    {"end a session that has nothing", SERVICE_SESSION_CLOSE, "", "", W3, 0, false},
    {"begin a session", SERVICE_SESSION_OPEN, "", "", 99, 0, false},
};

static void test_what_commands_make_forget(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene scene = set_up();
        const uint32_t from = told.count;
        struct service_request request = request_of(rows[i].op, ++scene.tag, rows[i].session);
        request.request = rows[i].session == 0 ? 0 : request.request;
        request.kind = rows[i].kind;
        request.create = rows[i].create;
        request.token = strcmp(rows[i].name, "/ls/test/x") == 0 ? scene.token_x : scene.token;
        if (rows[i].op == SERVICE_NODE_CLOSE) {
            request.if_instance = scene.instance;
        }
        request.acl[LEASE_READ] = bytes_of("", 0);
        run(&scene, &request, rows[i].name);
        if (strcmp(told_since(&scene, from), rows[i].forgotten) != 0) {
            fail_msg("%s: forgets \"%s\", not \"%s\"", rows[i].what, told_since(&scene, from),
                     rows[i].forgotten);
        }
        /* And is executed when it is. */
        acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
        assert_false(is_open(scene.cell, request.tag));
        assert_int_equal(held_at(scene.cell, scene.m), 0);
        cell_free(scene.cell);
    }
}

/* ------------------------------------------------------------- by those who wait */

static void test_a_wait_that_ends(void **state)
{
    (void)state;
    struct scene scene = set_up();
    const uint64_t waiting = hold(&scene, W2, "/ls/test/l", 0);
    uint32_t from = told.count;
    struct service_request cancel = request_of(SERVICE_LOCK_CANCEL, ++scene.tag, W2);
    cancel.cancel = waiting;
    run(&scene, &cancel, "");
    assert_string_equal(told_since(&scene, from), "/ /l");
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    assert_refused(scene.cell, waiting, LEASE_CANCELLED);

    keep_everything(&scene);
    from = told.count;
    const uint64_t short_wait = hold(&scene, W2, "/ls/test/l", 100);
    pass(scene.cell, 150); /* TIMEOUT. */
    assert_string_equal(told_since(&scene, from), "/ /l");
    assert_true(is_open(scene.cell, short_wait));
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    pass(scene.cell, 50);
    assert_refused(scene.cell, short_wait, LEASE_LOCKED);
    cell_free(scene.cell);
}

/* ------------------------------------------------------------------ by nobody of note */

static uint64_t by_nobody(struct scene *scene, enum service_op op, const char *name)
{
    struct service_request request = request_of(op, ++scene->tag, 0);
    request.principal = bytes_of("nobody", 6);
    request.kind = LEASE_FILE;
    return run(scene, &request, name);
}

static void close_to_all_but_p(struct scene *scene, const char *name)
{
    struct service_request request = request_of(SERVICE_SET_ACL, ++scene->tag, 0);
    request.acl[LEASE_WRITE] = request.acl[LEASE_CHANGE] = bytes_of("p", 1);
    run(scene, &request, name);
    acknowledge_all(scene->cell, scene->m, ++scene->tag, R1);
    assert_int_equal(outcome_of(scene->cell, request.tag), SERVICE_DONE);
}

/* Who may change nothing makes nobody forget anything, unless he may soon. */
static void test_what_is_denied(void **state)
{
    (void)state;
    struct scene scene = set_up();
    static const char *const closed[] = {"/ls/test", "/ls/test/acl", "/ls/test/acl/p",
                                         "/ls/test/x"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        close_to_all_but_p(&scene, closed[i]);
    }
    keep_everything(&scene);
    const uint32_t from = told.count;
    const uint64_t denied[] = {by_nobody(&scene, SERVICE_PUT, "/ls/test/x"),
                               by_nobody(&scene, SERVICE_PUT, "/ls/test/none"),
                               by_nobody(&scene, SERVICE_PUT, "/ls/test/acl/p"),
                               by_nobody(&scene, SERVICE_CREATE, "/ls/test/acl/q"),
                               by_nobody(&scene, SERVICE_DELETE, "/ls/test/x"),
                               by_nobody(&scene, SERVICE_SET_ACL, "/ls/test/acl")};
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        assert_refused(scene.cell, denied[i], LEASE_DENIED);
    }
    assert_int_equal(told.count, from);

    /* His right is on its way, so what he asks behind it may take effect. */
    scene.cell->replica[scene.m].stalled = true;
    struct service_request opening = request_of(SERVICE_SET_ACL, ++scene.tag, 0);
    opening.acl[LEASE_WRITE] = bytes_of("", 0);
    run(&scene, &opening, "/ls/test/x");
    assert_string_equal(told_since(&scene, from), "/x");
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    const uint32_t then = told.count;
    const uint64_t last = by_nobody(&scene, SERVICE_DELETE, "/ls/test/x");
    assert_string_equal(told_since(&scene, then), "/");
    scene.cell->replica[scene.m].stalled = false;
    settle(scene.cell);
    assert_int_equal(outcome_of(scene.cell, opening.tag), SERVICE_DONE);
    assert_true(is_open(scene.cell, last));
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    assert_refused(scene.cell, last, LEASE_LOCKED); /* By W1. */
    cell_free(scene.cell);
}

/* --------------------------------------------------------------------- by the keeper */

static void test_a_session_that_expires_and_its_lock_delay(void **state)
{
    (void)state;
    struct scene scene = set_up();
    uint32_t from = told.count;
    pass(scene.cell, LEASE); /* Of W1; the others have nothing that may go. */
    assert_string_equal(told_since(&scene, from), "/ /e /e/g /e/none /l");
    assert_true(lives(scene.cell, scene.m, W1));
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    settle(scene.cell);
    pass(scene.cell, 5);
    assert_false(lives(scene.cell, scene.m, W1));

    /* Nobody has l open, but it stays until the lock-delay is over. */
    assert_true(keeps(scene.cell, scene.m, ++scene.tag, R1, "/ls/test/l"));
    assert_int_equal(reply_to(scene.cell, scene.tag)->rc, LEASE_OK);
    assert_true(keeps(scene.cell, scene.m, ++scene.tag, R1, "/ls/test"));
    from = told.count;
    pass(scene.cell, 350);
    assert_string_equal(told_since(&scene, from), "/ /l");
    acknowledge_all(scene.cell, scene.m, ++scene.tag, R1);
    pass(scene.cell, 5);
    assert_true(keeps(scene.cell, scene.m, ++scene.tag, R1, "/ls/test/l"));
    assert_refused(scene.cell, scene.tag, LEASE_NO_NODE);
    cell_free(scene.cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_commands_make_forget),
        cmocka_unit_test(test_a_wait_that_ends),
        cmocka_unit_test(test_what_is_denied),
        cmocka_unit_test(test_a_session_that_expires_and_its_lock_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
