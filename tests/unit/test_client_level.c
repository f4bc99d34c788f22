/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_level.c -- reads that needn't be the newest: which replica is asked,
 * what is asked of it, and which of its answers are taken.
 */
#include "tests/unit/test_client_caching.h"

#define F "/ls/local/f"

static struct wire_request levelled(enum wire_level level)
{
    struct wire_request r = read_request(WIRE_NODE_GET, F);
    r.cache = false;
    r.level = level;
    return r;
}

static void begin_level(struct world *w, enum wire_level level, int timeout_ms,
                        struct outcome *o)
{
    const struct wire_request r = levelled(level);
    *o = (struct outcome){.times = 0};
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &r, timeout_ms, done, o),
                     LOCKD_OK);
    flush(w);
}

static void reply_at(struct world *w, const struct wire_request *to, uint64_t revision)
{
    struct wire_reply r = granted(to, "hello", revision, 0);
    r.cached = false;
    r.level = to->level;
    r.has_age = to->level == WIRE_SEQUENTIAL || to->level == WIRE_STALE;
    r.age_ms = 40;
    reply(w, to, r);
}

/* To a replica that is not the master. */
static void become_reader(struct world *w, const char *master)
{
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, /* serving= */ false, master, 65537);
}

/* A read that any replica may answer stays where it was answered, ... */
static void test_any_replica(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct outcome o;
    begin_level(w, WIRE_STALE, 5000, &o);
    become_reader(w, "10.0.0.9:7400");
    struct wire_request r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.level, WIRE_STALE);
    assert_false(r.has_session || r.cache);
    reply_at(w, &r, 11);
    assert_int_equal(o.rc, LOCKD_OK);
    const uint64_t link = w->link;
    begin_level(w, WIRE_SEQUENTIAL, 5000, &o);
    r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 11);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(w->link, link);

    /* ... until something needs the master; then also the others are asked there. */
    struct outcome written = {.times = 0};
    put(w, NULL, &written);
    r = expect(w, WIRE_CELL_STATUS);
    begin_level(w, WIRE_STALE, 5000, &o); /* Meanwhile it answers still. */
    struct asked stale;
    expect_asked(w, WIRE_NODE_GET, &stale);
    reply_at(w, &stale.r, 11);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

static void test_to_the_master(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o;
    struct outcome written = {.times = 0};
    begin_level(w, WIRE_STALE, 5000, &o);
    become_reader(w, NULL);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 11);
    put(w, NULL, &written);
    r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, /* serving= */ false, "10.0.0.9:7400", 65537);
    assert_string_equal(engine_wish(w->engine)->address, "10.0.0.9:7400");
    become_ready(w);
    r = expect(w, WIRE_NODE_PUT);
    reply_ok_at(w, &r, 12);
    assert_int_equal(written.rc, LOCKD_OK);
    begin_level(w, WIRE_STALE, 5000, &o);
    r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 12);
    assert_int_equal(o.rc, LOCKD_OK);
    world_free(w);
}

/* No master anywhere: what needs none is answered by whoever is asked for one. */
static void test_without_a_master(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct outcome written = {.times = 0};
    struct outcome o;
    put(w, NULL, &written);
    begin_level(w, WIRE_STALE, 5000, &o);
    connect_link(w);
    struct wire_request r = expect(w, WIRE_CELL_STATUS);
    expect_nothing(w); /* It may be no replica at all. */
    reply_status(w, &r, /* serving= */ false, "10.0.0.9:7400", 65537);
    r = expect(w, WIRE_NODE_GET);
    assert_int_equal(engine_wish(w->engine)->link, w->link);
    reply_at(w, &r, 11);
    assert_int_equal(o.rc, LOCKD_OK);
    /* Then on to where the master should be, which is not there. */
    assert_string_equal(engine_wish(w->engine)->address, "10.0.0.9:7400");
    refuse_link(w);
    begin_level(w, WIRE_STALE, 5000, &o);
    while (engine_wish(w->engine)->link == 0) {
        pass(w, 10);
    }
    become_reader(w, NULL);
    r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 11);
    assert_int_equal(o.rc, LOCKD_OK);
    assert_int_equal(written.times, 0);
    world_free(w);
}

static void test_forming(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o;
    begin_level(w, WIRE_STALE, 5000, &o);
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    const struct wire_text zero = {.data = "0000000000000000", .size = 16};
    const struct wire_status status = {
        .role = {.data = "forming", .size = 7}, .cell_id = zero, .digest = zero};
    reply(w, &r, (struct wire_reply){.status = &status});
    expect_nothing(w);
    pass(w, 100);
    (void)expect(w, WIRE_CELL_STATUS);
    expect_nothing(w);
    world_free(w);
}

/* Whoever refuses such a read is left, and not asked again and again. */
static void test_refused(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o;
    begin_level(w, WIRE_STALE, 5000, &o);
    become_reader(w, NULL);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_error(w, &r, WIRE_NOT_MASTER);
    assert_int_equal(w->link, 0);
    assert_int_equal(o.times, 0);

    /* The same while a master is looked for. */
    struct outcome written = {.times = 0};
    put(w, NULL, &written);
    while (engine_wish(w->engine)->link == 0) {
        pass(w, 10);
    }
    become_reader(w, NULL);
    r = expect(w, WIRE_NODE_GET);
    reply_error(w, &r, WIRE_UNAVAILABLE);
    expect_nothing(w);
    world_free(w);
}

static void test_never_back(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct outcome o;
    begin_level(w, WIRE_SEQUENTIAL, 400, &o);
    become_reader(w, NULL);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.min_revision, 0);
    assert_int_equal(r.read_wait_ms, 350); /* It must come back, too. */
    reply_at(w, &r, 20);
    assert_int_equal(o.revision, 20);

    /* What is stale says nothing of what was seen, ... */
    begin_level(w, WIRE_STALE, 5000, &o);
    r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.min_revision, 0);
    reply_at(w, &r, 30);
    assert_int_equal(o.revision, 30);
    begin_level(w, WIRE_SEQUENTIAL, LOCKD_FOR_EVER, &o);
    r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.min_revision, 20);
    assert_int_equal(r.read_wait_ms, 1000); /* Then another endpoint has its turn. */
    /* ... and may be anything. */
    struct outcome stale;
    struct asked s;
    reply_at(w, &r, 25);
    assert_int_equal(o.revision, 25);
    begin_level(w, WIRE_STALE, 5000, &stale);
    expect_asked(w, WIRE_NODE_GET, &s);
    reply_at(w, &s.r, 7);
    assert_int_equal(stale.revision, 7);

    /* An answer that goes back is none. */
    begin_level(w, WIRE_SEQUENTIAL, 5000, &o);
    r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.min_revision, 25);
    reply_at(w, &r, 24);
    assert_int_equal(o.times, 0);
    pass(w, 50);
    r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 25);
    assert_int_equal(o.revision, 25);
    world_free(w);
}

static void test_too_old(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1,10.0.0.2");
    struct outcome o;
    struct wire_request asked = levelled(WIRE_STALE);
    asked.max_age_ms = 500;
    o = (struct outcome){.times = 0};
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &asked, 1000, done, &o), LOCKD_OK);
    become_reader(w, NULL);
    const uint64_t link = w->link;
    char first[ENGINE_ADDRESS_MAX];
    snprintf(first, sizeof first, "%s", engine_wish(w->engine)->address);
    const uint64_t since_ms = w->now_ms;
    while (engine_wish(w->engine)->link == link) { /* It may catch up soon. */
        assert_true(w->now_ms < since_ms + 500);
        const struct wire_request r = expect(w, WIRE_NODE_GET);
        assert_int_equal(r.max_age_ms, 500);
        reply_error(w, &r, WIRE_TOO_OLD);
        pass(w, engine_wish(w->engine)->link == link ? 100 : 0);
    }
    assert_true(w->now_ms >= since_ms + 200);
    assert_string_not_equal(engine_wish(w->engine)->address, first);
    become_reader(w, NULL);
    pass(w, 200);
    struct wire_request r = expect(w, WIRE_NODE_GET);
    reply_error(w, &r, WIRE_TOO_OLD);
    for (int i = 0; o.times == 0 && i < 100; i++) {
        if (engine_wish(w->engine)->link != w->link) {
            become_reader(w, NULL);
        }
        pass(w, 20);
    }
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_TOO_OLD);
    world_free(w);
}

struct seen {
    enum lockd_level level;
    bool has_age;
    uint64_t age_ms;
    bool denied;
    char acl[3][16];
};

static void see(void *context, const struct lockd_answer *answer)
{
    struct seen *s = context;
    s->level = answer->level;
    s->has_age = answer->has_age;
    s->age_ms = answer->age_ms;
    s->denied = answer->entries_count > 0 && answer->entries[0].denied;
    if (answer->acl != NULL) {
        snprintf(s->acl[0], sizeof s->acl[0], "%s", answer->acl->read);
        snprintf(s->acl[1], sizeof s->acl[1], "%s", answer->acl->write);
        snprintf(s->acl[2], sizeof s->acl[2], "%s", answer->acl->change);
    }
}

static void test_told(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct seen s = {.age_ms = 0};
    struct wire_request asked = levelled(WIRE_LEASE);
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &asked, 1000, see, &s), LOCKD_OK);
    become_ready(w); /* Only the master has the lease. */
    struct wire_request r = expect(w, WIRE_NODE_GET);
    assert_int_equal(r.level, WIRE_LEASE);
    reply_at(w, &r, 11);
    assert_int_equal(s.level, LOCKD_LEASE);
    assert_false(s.has_age);
    asked = levelled(WIRE_SEQUENTIAL);
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &asked, 1000, see, &s), LOCKD_OK);
    r = expect(w, WIRE_NODE_GET);
    reply_at(w, &r, 11);
    assert_int_equal(s.level, LOCKD_SEQUENTIAL);
    assert_true(s.has_age);
    assert_int_equal(s.age_ms, 40);

    asked.method = WIRE_NODE_LIST;
    asked.level = WIRE_LINEARIZABLE;
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &asked, 1000, see, &s), LOCKD_OK);
    r = expect(w, WIRE_NODE_LIST);
    const struct wire_child child = {
        .name = text("secret"), .stat = {.kind = WIRE_FILE}, .denied = true};
    reply(w, &r,
          (struct wire_reply){.has_position = true,
                              .revision = 11,
                              .slot = 11,
                              .children = &child,
                              .children_count = 1});
    assert_true(s.denied);
    assert_int_equal(s.level, LOCKD_LINEARIZABLE);
    world_free(w);
}

static void test_acl(void **state)
{
    (void)state;
    struct world *w = world_new("10.0.0.1");
    struct seen s = {.age_ms = 0};
    struct outcome o = {.times = 0};
    struct wire_request asked = read_request(WIRE_NODE_GET_ACL, F);
    asked.cache = false;
    assert_int_equal(engine_call(w->engine, w->now_ms, NULL, &asked, 1000, see, &s), LOCKD_OK);
    become_ready(w);
    struct wire_request r = expect(w, WIRE_NODE_GET_ACL);
    reply_ok(w, &r);
    assert_string_equal(s.acl[0], "");
    assert_string_equal(s.acl[1], "admins");
    assert_string_equal(s.acl[2], "");

    /* What is left out stays as it is; what is empty does not. */
    struct lockd_session *session = open_session(w);
    char name[] = "those-who-may-change-what-others-may"; /* Copied. */
    asked.method = WIRE_NODE_SET_ACL;
    asked.acl[0] = (struct wire_text){.data = "", .size = 0};
    asked.acl[2] = (struct wire_text){.data = name, .size = strlen(name)};
    asked.if_generation = 4;
    assert_int_equal(engine_call(w->engine, w->now_ms, session, &asked, 1000, done, &o),
                     LOCKD_OK);
    memset(name, 'x', strlen(name));
    lose_link(w);
    become_ready_again(w);
    r = expect(w, WIRE_NODE_SET_ACL);
    assert_true(r.has_session);
    assert_int_not_equal(r.request, 0);
    assert_non_null(r.acl[0].data);
    assert_int_equal(r.acl[0].size, 0);
    assert_null(r.acl[1].data);
    assert_int_equal(r.acl[2].size, strlen(name));
    assert_memory_equal(r.acl[2].data, "those-who-may-change-what-others-may", strlen(name));
    assert_int_equal(r.if_generation, 4);
    reply_error(w, &r, WIRE_NO_ACL);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.rc, LOCKD_E_NO_ACL);

    const char torn[] = {'a', (char)0xc3, 0};
    asked.acl[1] = (struct wire_text){.data = torn, .size = 2};
    assert_int_equal(engine_call(w->engine, w->now_ms, session, &asked, 1000, done, &o),
                     LOCKD_E_BAD_NAME);
    world_free(w);
}

/* Who names a local socket stays there, and hears where the master is. */
static void test_local(void **state)
{
    (void)state;
    struct world *w = world_new("unix:/run/lockd/lockd.sock");
    struct outcome o = {.times = 0};
    assert_string_equal(engine_wish(w->engine)->address, "");
    put(w, NULL, &o);
    assert_string_equal(engine_wish(w->engine)->address, "unix:/run/lockd/lockd.sock");
    connect_link(w);
    const struct wire_request r = expect(w, WIRE_CELL_STATUS);
    reply_status(w, &r, /* serving= */ false, "10.0.0.2:7400", 65537);
    assert_string_equal(engine_trouble(w->engine),
                        "unix:/run/lockd/lockd.sock: it is not a serving master; that is "
                        "10.0.0.2:7400");
    while (o.times == 0) {
        assert_true(w->link == 0 ||
                    strcmp(engine_wish(w->engine)->address, "unix:/run/lockd/lockd.sock") == 0);
        pass(w, 100);
        if (engine_wish(w->engine)->link != w->link && engine_wish(w->engine)->link != 0) {
            connect_link(w);
        }
    }
    assert_int_equal(o.rc, LOCKD_E_UNAVAILABLE);
    world_free(w);

    static const char *const wrong[] = {"unix:", "unix:lockd.sock", "unix:/a,unix:b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct engine *e = NULL;
        const struct engine_config config = {.endpoints = wrong[i], .connect_ms = 1000};
        assert_int_equal(engine_new(&config, &e), LOCKD_E_INVALID);
    }
    char path[200] = "unix:/";
    memset(path + 6, 'x', ENGINE_LOCAL_PATH_MAX - 1);
    struct engine *e = NULL;
    const struct engine_config config = {.endpoints = path, .connect_ms = 1000};
    assert_int_equal(engine_new(&config, &e), LOCKD_OK);
    engine_free(e);
    strcat(path, "x");
    assert_int_equal(engine_new(&config, &e), LOCKD_E_INVALID);
}

struct lines {
    int count[4];
    char last[ENGINE_LOG_MAX];
};

static void log_line(void *context, enum lockd_severity severity, const char *line)
{
    struct lines *l = context;
    l->count[severity]++;
    snprintf(l->last, sizeof l->last, "%s", line);
}

static void test_log(void **state)
{
    (void)state;
    struct lines l = {.last = ""};
    struct world *w = world_new("10.0.0.1");
    engine_free(w->engine);
    const struct engine_config config = {.endpoints = "10.0.0.1",
                                         .connect_ms = 1000,
                                         .seed = 7,
                                         .log = log_line,
                                         .log_context = &l};
    assert_int_equal(engine_new(&config, &w->engine), LOCKD_OK);
    struct outcome o = {.times = 0};
    put(w, NULL, &o);
    refuse_link(w);
    assert_int_equal(l.count[LOCKD_DEBUG], 1);
    assert_string_equal(l.last, "10.0.0.1:7400: Connection refused");
    become_ready_again(w);
    assert_int_equal(l.count[LOCKD_INFO], 1);
    assert_string_equal(l.last, "10.0.0.1:7400: it is the master");
    lose_link(w);
    assert_int_equal(l.count[LOCKD_WARNING], 1);
    (void)open_session(w);
    assert_string_equal(l.last, "session 5f00000000000001: safe");

    /* Lines that nobody takes cost no more than so much memory. */
    for (int i = 0; i < 1000; i++) {
        engine_lost(w->engine, w->now_ms, engine_wish(w->engine)->link, "gone");
        w->now_ms += 2000;
        engine_tick(w->engine, w->now_ms);
    }
    w->link = 0;
    const int before = l.count[LOCKD_DEBUG];
    deliver(w);
    assert_in_range(l.count[LOCKD_DEBUG] - before, 1, 100);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_replica),
        cmocka_unit_test(test_to_the_master),
        cmocka_unit_test(test_without_a_master),
        cmocka_unit_test(test_forming),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_never_back),
        cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_acl),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
