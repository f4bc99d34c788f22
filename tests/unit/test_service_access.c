/* SPDX-License-Identifier: Apache-2.0
 *
 * Three principals, each with one right, and what they see and may do; lists of locks and
 * events, of which each is told only his.
 */
#include "tests/unit/test_service_watching.h"

#include "paxos/base/rng.h"

/* ---------------------------------------------------------------- principals */

enum who { READER, WRITER, CHANGER, NOBODY, ROOT, PRINCIPALS };

static const char *const principals[PRINCIPALS] = {"reader", "writer", "changer", "nobody",
                                                   LEASE_ROOT};

static struct service_request request_by(enum who who, enum service_op op, uint64_t tag,
                                         uint64_t session, const char *name)
{
    struct service_request request = request_of(op, tag, session);
    request.client = 10 + who;
    request.principal = bytes_of(principals[who], strlen(principals[who]));
    request.name = bytes_of(name, strlen(name));
    return request;
}

static const struct service_reply *done_by(struct cell *cell, const struct service_request *r)
{
    submit(cell, 0, r);
    settle(cell);
    return reply_to(cell, r->tag);
}

static void put_by_root(struct cell *cell, uint64_t tag, const char *name, const char *content)
{
    struct service_request request = request_by(ROOT, SERVICE_PUT, tag, 0, name);
    request.content = bytes_of(content, strlen(content));
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
}

static void make_directory(struct cell *cell, uint64_t tag, const char *name)
{
    struct service_request request = request_by(ROOT, SERVICE_CREATE, tag, 0, name);
    request.kind = LEASE_DIRECTORY;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
}

static void set_acl(struct cell *cell, uint64_t tag, const char *name, const char *read,
                    const char *write, const char *change)
{
    struct service_request request = request_by(ROOT, SERVICE_SET_ACL, tag, 0, name);
    request.acl[LEASE_READ] = bytes_of(read, strlen(read));
    request.acl[LEASE_WRITE] = bytes_of(write, strlen(write));
    request.acl[LEASE_CHANGE] = bytes_of(change, strlen(change));
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
}

static void open_by(struct cell *cell, uint64_t tag, enum who who, uint64_t session)
{
    struct service_request request = request_by(who, SERVICE_SESSION_OPEN, tag, session, "");
    request.lease_ms = 60000;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
}

/* "d" and all below may be read by the reader, written by the writer, and so on; each has
 * the session of his number + 1.  Root holds the lock of "d/held". */
static struct cell *start_guarded(void)
{
    struct cell *cell = cell_start(1);
    assert_int_equal(await_master(cell), 0);
    make_directory(cell, 1, W("acl"));
    put_by_root(cell, 2, W("acl/readers"), "reader # and nobody else\n");
    put_by_root(cell, 3, W("acl/writers"), "writer\n");
    put_by_root(cell, 4, W("acl/changers"), "changer");
    make_directory(cell, 5, W("d"));
    set_acl(cell, 6, W("d"), "readers", "writers", "changers");
    put_by_root(cell, 7, W("d/f"), "x");
    for (uint32_t who = 0; who < PRINCIPALS; who++) {
        open_by(cell, 10 + who, (enum who)who, who + 1);
    }
    struct service_request request = request_by(ROOT, SERVICE_LOCK_ACQUIRE, 20, 5, W("d/held"));
    request.create = true;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
    request = request_by(ROOT, SERVICE_NODE_OPEN, 21, 5, W("d/mayfly"));
    request.kind = LEASE_FILE;
    request.ephemeral = true;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
    return cell;
}

/* ---------------------------------------------------------- every operation */

static const struct {
    const char *what;
    enum service_op op;
    const char *name;
    const char *may;  /* The initials of those who are not denied, but for root. */
    enum lease_rc rc; /* What they, and root, get. */
    bool makes;       /* With kind, create and so on. */
} operations[] = {
    {"get", SERVICE_GET, W("d/f"), "r", LEASE_OK, false},
    {"get of nothing", SERVICE_GET, W("d/none"), "r", LEASE_NO_NODE, false},
    {"get of nothing in nothing", SERVICE_GET, W("d/none/at/all"), "r", LEASE_NO_NODE, false},
    {"get below a file", SERVICE_GET, W("d/f/g"), "r", LEASE_NOT_A_DIRECTORY, false},
    {"get of a directory", SERVICE_GET, W("d"), "r", LEASE_NOT_A_FILE, false},
    {"stat", SERVICE_STAT, W("d/f"), "r", LEASE_OK, false},
    {"stat of nothing", SERVICE_STAT, W("d/none"), "r", LEASE_NO_NODE, false},
    {"list", SERVICE_LIST, W("d"), "r", LEASE_OK, false},
    {"list of a file", SERVICE_LIST, W("d/f"), "r", LEASE_NOT_A_DIRECTORY, false},
    {"list of nothing", SERVICE_LIST, W("d/none"), "r", LEASE_NO_NODE, false},
    {"names of ACLs", SERVICE_GET_ACL, W("d/f"), "rc", LEASE_OK, false},
    {"names of nothing's ACLs", SERVICE_GET_ACL, W("d/none"), "rc", LEASE_NO_NODE, false},
    {"who holds", SERVICE_LOCK_LIST, W("d/held"), "r", LEASE_OK, false},
    {"who holds nothing", SERVICE_LOCK_LIST, W("d/none"), "r", LEASE_NO_NODE, false},
    {"check", SERVICE_LOCK_CHECK, W("d/held"), "r", LEASE_OK, false},
    {"check of nothing", SERVICE_LOCK_CHECK, W("d/none"), "r", LEASE_OK, false},
    {"watch", SERVICE_WATCH_ADD, W("d/f"), "r", LEASE_OK, false},
    {"watch of nothing", SERVICE_WATCH_ADD, W("d/none"), "r", LEASE_OK, false},
    {"put", SERVICE_PUT, W("d/f"), "w", LEASE_OK, false},
    {"put that makes", SERVICE_PUT, W("d/new"), "w", LEASE_OK, false},
    {"put in nothing", SERVICE_PUT, W("d/none/new"), "w", LEASE_NO_PARENT, false},
    {"create", SERVICE_CREATE, W("d/new"), "w", LEASE_OK, true},
    {"create of what is there", SERVICE_CREATE, W("d/f"), "w", LEASE_EXISTS, true},
    {"delete", SERVICE_DELETE, W("d/f"), "w", LEASE_OK, false},
    {"delete of nothing", SERVICE_DELETE, W("d/none"), "w", LEASE_NO_NODE, false},
    {"acquire", SERVICE_LOCK_ACQUIRE, W("d/f"), "w", LEASE_OK, false},
    {"acquire that makes", SERVICE_LOCK_ACQUIRE, W("d/new"), "w", LEASE_OK, true},
    {"open", SERVICE_NODE_OPEN, W("d/f"), "r", LEASE_OK, false},
    {"open that makes", SERVICE_NODE_OPEN, W("d/new"), "w", LEASE_OK, true},
    {"open of an ephemeral node", SERVICE_NODE_OPEN, W("d/mayfly"), "w", LEASE_OK, false},
    {"change of ACLs", SERVICE_SET_ACL, W("d/f"), "c", LEASE_OK, false},
    {"change of nothing's ACLs", SERVICE_SET_ACL, W("d/none"), "c", LEASE_NO_NODE, false},
};

static bool is_write(enum service_op op)
{
    return op == SERVICE_PUT || op == SERVICE_CREATE || op == SERVICE_DELETE ||
           op == SERVICE_LOCK_ACQUIRE || op == SERVICE_NODE_OPEN || op == SERVICE_SET_ACL;
}

static enum lease_rc try(struct cell *cell, uint32_t i, enum who who, uint64_t tag,
                         enum service_level level)
{
    const bool session =
        operations[i].op == SERVICE_LOCK_ACQUIRE || operations[i].op == SERVICE_NODE_OPEN;
    struct service_request request =
        request_by(who, operations[i].op, tag, session ? who + 1 : 0, operations[i].name);
    const struct service_watch watch = {.watch = 1,
                                        .name = request.name,
                                        .scope = SERVICE_SCOPE_NODE,
                                        .watched = SERVICE_WATCH_ALL,
                                        .from = LEASE_ANY,
                                        .if_instance = LEASE_ANY};
    request.watches = &watch;
    request.watches_count = 1;
    request.create = operations[i].makes;
    request.kind = operations[i].makes || operations[i].op != SERVICE_NODE_OPEN
                       ? LEASE_FILE
                       : (enum lease_kind)0;
    request.ephemeral = operations[i].makes;
    request.level = level;
    const struct service_reply *reply = done_by(cell, &request);
    assert_int_equal(reply->level, level == SERVICE_LEASE ? SERVICE_LINEARIZABLE : level);
    assert_int_equal(reply->outcome, reply->rc == LEASE_OK ? SERVICE_DONE : SERVICE_REFUSED);
    return reply->rc;
}

static void judge(struct cell *cell, uint32_t i, uint32_t who, uint64_t tag,
                  enum service_level level)
{
    const bool may = who == ROOT || strchr(operations[i].may, principals[who][0]) != NULL;
    const enum lease_rc expected = may ? operations[i].rc : LEASE_DENIED;
    const enum lease_rc rc = try(cell, i, (enum who)who, tag, level);
    if (rc != expected) {
        fail_msg("%s by %s at level %d: %s, instead of: %s", operations[i].what,
                 principals[who], level, lease_rc_text(rc), lease_rc_text(expected));
    }
}

static void each_does_what_he_may(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (uint32_t who = 0; who < PRINCIPALS; who++) {
            struct cell *cell = start_guarded();
            judge(cell, i, who, 100, SERVICE_LINEARIZABLE);
            const enum service_op op = operations[i].op;
            const bool levels = !is_write(op) && op != SERVICE_LOCK_LIST &&
                                op != SERVICE_LOCK_CHECK && op != SERVICE_WATCH_ADD;
            for (uint32_t level = 1; levels && level <= SERVICE_STALE; level++) {
                judge(cell, i, who, 100 + level, (enum service_level)level);
            }
            cell_free(cell);
        }
    }
}

/* Not by what was, when the request came. */
static void rights_are_judged_where_it_applies(void **state)
{
    (void)state;
    struct cell *cell = start_guarded();
    struct service_request request = request_by(ROOT, SERVICE_PUT, 100, 0, W("acl/writers"));
    submit(cell, 0, &request);
    request = request_by(WRITER, SERVICE_PUT, 101, 0, W("d/f"));
    submit(cell, 0, &request);
    settle(cell);
    assert_refused(cell, 101, LEASE_DENIED);

    request = request_by(ROOT, SERVICE_PUT, 102, 0, W("acl/writers"));
    request.content = bytes_of("*", 1);
    submit(cell, 0, &request);
    request = request_by(NOBODY, SERVICE_PUT, 103, 0, W("d/f"));
    submit(cell, 0, &request);
    settle(cell);
    assert_int_equal(outcome_of(cell, 103), SERVICE_DONE);

    /* Reads by what is, when the round has come back. */
    request = request_by(READER, SERVICE_GET, 104, 0, W("d/f"));
    submit(cell, 0, &request);
    put_by_root(cell, 105, W("acl/readers"), "");
    assert_true(reply_to(cell, 104)->revision < reply_to(cell, 105)->revision ||
                reply_to(cell, 104)->rc == LEASE_DENIED);
    request.tag = 106;
    submit(cell, 0, &request);
    settle(cell);
    assert_refused(cell, 106, LEASE_DENIED);
    cell_free(cell);
}

/* --------------------------------------------------------------- what is seen */

struct seen {
    char text[512];
};

/* Of lists: "name" or "name-" of what is denied; the names of ACLs. */
static void see(void *context, uint32_t index, const struct service_output *output)
{
    struct seen *seen = context;
    (void)index;
    for (uint32_t i = 0; i < output->replies_count; i++) {
        const struct service_reply *reply = &output->replies[i];
        size_t used = 0;
        seen->text[0] = '\0';
        for (uint32_t j = 0; j < reply->children_count; j++) {
            const struct lease_child *child = &reply->children[j];
            used += (size_t)snprintf(seen->text + used, sizeof seen->text - used, "%s%.*s%s",
                                     j == 0 ? "" : " ", (int)child->name.size,
                                     (const char *)child->name.data, child->denied ? "-" : "");
            assert_int_equal(child->stat.instance == 0, child->denied);
        }
        if (reply->op == SERVICE_GET_ACL && reply->outcome == SERVICE_DONE) {
            snprintf(seen->text, sizeof seen->text, "%.*s %.*s %.*s", (int)reply->acl[0].size,
                     (const char *)reply->acl[0].data, (int)reply->acl[1].size,
                     (const char *)reply->acl[1].data, (int)reply->acl[2].size,
                     (const char *)reply->acl[2].data);
        }
    }
}

static void lists_show_what_may_be_read(void **state)
{
    (void)state;
    struct cell *cell = start_guarded();
    struct seen seen;
    cell->look = see;
    cell->look_context = &seen;
    struct service_request request = request_by(WRITER, SERVICE_LIST, 100, 0, W(""));
    request.name.size--; /* The root, without its slash. */
    done_by(cell, &request);
    assert_string_equal(seen.text, "acl d-");
    request = request_by(READER, SERVICE_LIST, 101, 0, "/ls/test");
    request.level = SERVICE_STALE;
    done_by(cell, &request);
    assert_string_equal(seen.text, "acl d");

    set_acl(cell, 102, W("d/held"), "writers", "writers", "");
    request = request_by(READER, SERVICE_LIST, 103, 0, W("d"));
    done_by(cell, &request);
    assert_string_equal(seen.text, "f held- mayfly");
    request = request_by(WRITER, SERVICE_GET_ACL, 104, 0, W("d/held"));
    done_by(cell, &request);
    assert_string_equal(seen.text, "writers writers ");
    cell_free(cell);
}

static const char *locks_seen(struct cell *cell, enum who who, uint64_t tag)
{
    const struct service_request request = request_by(who, SERVICE_LOCK_LIST, tag, 0, "");
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
    return answer_to(cell, tag)->content;
}

static void locks_are_listed_to_who_may_read(void **state)
{
    (void)state;
    struct cell *cell = start_guarded();
    struct service_request request = request_by(ROOT, SERVICE_LOCK_ACQUIRE, 100, 5, W("open"));
    request.create = true;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
    assert_string_equal(locks_seen(cell, READER, 101), "d/held=1+0 open=1+0");
    assert_string_equal(locks_seen(cell, WRITER, 102), "open=1+0");
    assert_string_equal(locks_seen(cell, NOBODY, 103), "open=1+0");
    assert_string_equal(locks_seen(cell, ROOT, 104), "d/held=1+0 open=1+0");
    cell_free(cell);
}

/* Then a page is short, but says where to go on. */
static void many_locks_between_are_passed(void **state)
{
    (void)state;
    enum { LOCKS = 1200 };
    struct cell *cell = start_guarded();
    for (uint64_t i = 0; i < LOCKS; i++) {
        char name[32];
        snprintf(name, sizeof name, W("d/%u"), (unsigned)i);
        struct service_request request = request_by(ROOT, SERVICE_LOCK_ACQUIRE, 1000 + i, 5,
                                                    i + 1 < LOCKS ? name : W("last"));
        request.create = true;
        request.ack_floor = request.request - 1;
        submit(cell, 0, &request);
        if (i % 100 == 99) {
            settle(cell);
        }
    }
    struct service_request request = request_by(WRITER, SERVICE_LOCK_LIST, 100, 0, "");
    const struct service_reply *page = done_by(cell, &request);
    assert_int_equal(page->locks_count, 0);
    assert_true(page->more && page->next_instance > 0);
    request.after_instance = page->next_instance;
    request.tag = 101;
    page = done_by(cell, &request);
    assert_int_equal(page->locks_count, 1);
    assert_false(page->more);
    assert_string_equal(answer_to(cell, 101)->content, "last=1+0");
    cell_free(cell);
}

struct refusal {
    uint64_t left_ms;
    bool named;
};

static void see_refusal(void *context, uint32_t index, const struct service_output *output)
{
    struct refusal *refusal = context;
    (void)index;
    for (uint32_t i = 0; i < output->replies_count; i++) {
        if (output->replies[i].rc == LEASE_LOCK_DELAY) {
            refusal->left_ms = output->replies[i].left_ms;
            refusal->named = output->replies[i].holder != NULL;
        }
    }
}

/* How long he has to wait is told to who may take a lock, but after whom only to who may
 * read its node. */
static void who_failed_is_seen_by_who_may_read(void **state)
{
    (void)state;
    struct cell *cell = start_guarded();
    struct refusal refusal = {0};
    struct service_request request = request_by(ROOT, SERVICE_SESSION_OPEN, 100, 50, "");
    request.lease_ms = LEASE;
    done_by(cell, &request);
    request = request_by(ROOT, SERVICE_LOCK_ACQUIRE, 101, 50, W("d/f"));
    request.delay_ms = 50000;
    assert_int_equal(done_by(cell, &request)->outcome, SERVICE_DONE);
    pass(cell, LEASE + 100);
    cell->look = see_refusal;
    cell->look_context = &refusal;
    request = request_by(WRITER, SERVICE_LOCK_ACQUIRE, 102, WRITER + 1, W("d/f"));
    done_by(cell, &request);
    assert_refused(cell, 102, LEASE_LOCK_DELAY);
    assert_true(refusal.left_ms > 40000 && !refusal.named);
    set_acl(cell, 103, W("d/f"), "", "writers", "");
    request.tag = request.request = 104;
    done_by(cell, &request);
    assert_true(refusal.left_ms > 40000 && refusal.named);
    cell_free(cell);
}

/* --------------------------------------------------------------------- watches */

static void watch_all(struct watching *w, enum who who, uint64_t tag, uint64_t watch,
                      uint64_t from)
{
    struct service_watch all =
        watch_of(watch, "/ls/test", SERVICE_SCOPE_SUBTREE, SERVICE_WATCH_ALL);
    all.from = from;
    struct service_request request = request_by(who, SERVICE_WATCH_ADD, tag, 0, "");
    request.watches = &all;
    request.watches_count = 1;
    assert_int_equal(done_by(w->cell, &request)->outcome, SERVICE_DONE);
}

static void nobody_is_told_what_he_may_not_read(void **state)
{
    (void)state;
    struct watching *w = watching_new(start_guarded());
    w->base = revision_of(w, 0);
    watch_all(w, READER, 100, 1, LEASE_ANY);
    watch_all(w, WRITER, 101, 2, LEASE_ANY);
    put_by_root(w->cell, 102, W("d/f"), "y");
    expect(w, "1+1 written d/f");
    put_by_root(w->cell, 103, W("open"), "y");
    expect(w, "2+2 created open, 1+2 created open");

    /* The change of an ACL is told to whom the new one lists, and so is what follows. */
    set_acl(w->cell, 104, W("d/f"), "writers", "", "");
    expect(w, "2+3 acl d/f");
    put_by_root(w->cell, 105, W("d/f"), "z");
    expect(w, "2+4 written d/f");

    /* A list that changes counts at once, and for what was before, too. */
    put_by_root(w->cell, 106, W("acl/writers"), "reader\n");
    expect(w, "2+5 written acl/writers, 1+5 written acl/writers");
    watch_all(w, READER, 107, 3, w->base + 2);
    expect(w, "3+3 acl d/f, 3+4 written d/f, 3+5 written acl/writers");
    put_by_root(w->cell, 108, W("d/f"), "");
    expect(w, "3+6 written d/f, 1+6 written d/f");
    watching_free(w);
}

/* A watch of a node outlives the right to it, and tells nothing then. */
static void a_right_that_comes_back_is_used_again(void **state)
{
    (void)state;
    struct watching *w = watching_new(start_guarded());
    w->base = revision_of(w, 0);
    watch_all(w, READER, 100, 1, LEASE_ANY);
    put_by_root(w->cell, 101, W("acl/readers"), "");
    put_by_root(w->cell, 102, W("d/f"), "1");
    put_by_root(w->cell, 103, W("acl/readers"), "*");
    put_by_root(w->cell, 104, W("d/f"), "2");
    expect(w, "1+1 written acl/readers, 1+3 written acl/readers, 1+4 written d/f");

    /* Nor is anything missed: he is as far as all others are. */
    pass(w->cell, SERVICE_PROGRESS_MS + 10);
    expect(w, "");
    watching_free(w);
}

/* One that may not be watched keeps the others of its page from being set. */
static void a_page_is_set_whole_or_not_at_all(void **state)
{
    (void)state;
    struct watching *w = watching_new(start_guarded());
    const struct service_watch page[] = {
        watch_of(1, W("open"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
        watch_of(2, W("d/f"), SERVICE_SCOPE_NODE, SERVICE_WATCH_ALL),
    };
    struct service_request request = request_by(WRITER, SERVICE_WATCH_ADD, 100, 0, "");
    request.watches = page;
    request.watches_count = 2;
    submit(w->cell, 0, &request);
    settle(w->cell);
    assert_refused(w->cell, 100, LEASE_DENIED);
    assert_true(reply_to(w->cell, 100)->revision > 0);
    assert_int_equal(status_of(w->cell, 0).watches, 0);

    /* Unless it was given up meanwhile. */
    request.tag = 101;
    submit(w->cell, 0, &request);
    give_up_one(w, 0, 10 + WRITER, 102, 2);
    settle(w->cell);
    assert_int_equal(outcome_of(w->cell, 101), SERVICE_DONE);
    assert_int_equal(status_of(w->cell, 0).watches, 1);
    watching_free(w);
}

/* ----------------------------------------------------------------------- model */

enum { STEPS = 300, SEEDS = 10, FILES = 6 };

struct model {
    struct watching *w;
    uint64_t revision; /* Up to here all was told that was to be. */
    uint32_t read;
    uint32_t told;
    uint32_t withheld;
};

/* A line of the file is the principal, or a star. */
static bool is_listed(const struct lease *l, struct bytes acl, const char *principal)
{
    uint8_t path[80] = "acl/";
    if (acl.size == 0) {
        return true;
    }
    memcpy(path + 4, acl.data, acl.size);
    struct lease_stat stat;
    struct bytes content;
    if (lease_get(l, bytes_of(path, 4 + acl.size), &stat, &content) != LEASE_OK) {
        return false;
    }
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)content.size, (const char *)content.data);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        line[strcspn(line, " ")] = '\0'; /* There may be a comment. */
        if (strcmp(line, principal) == 0 || strcmp(line, "*") == 0) {
            return true;
        }
    }
    return false;
}

/* Each who watches was told in this very output whatever he may read, and nothing else. */
static void compare(void *context, uint32_t index, const struct service_output *output)
{
    struct model *model = context;
    look_at_events(model->w, index, output);
    const struct lease *l = service_lease(model->w->cell->replica[index].s);
    struct lease_place place = lease_history_seek(l, model->revision);
    uint32_t next[PRINCIPALS];
    for (uint32_t who = 0; who < ROOT; who++) {
        next[who] = model->read;
    }
    uint32_t expected = 0;
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        model->revision = event.revision;
        for (uint32_t who = 0; who < ROOT; who++) {
            if (!is_listed(l, event.acl_read, principals[who])) {
                model->withheld++;
                continue;
            }
            const struct told_event *told = NULL;
            for (; told == NULL; next[who]++) {
                assert_true(next[who] < model->w->count);
                const struct told_event *t = &model->w->told[next[who]];
                told = t->event.client == 10 + who ? t : NULL;
            }
            assert_int_equal(told->event.revision, event.revision);
            assert_int_equal(told->change, event.change);
            assert_int_equal(told->instance, event.instance);
            expected++;
        }
    }
    assert_int_equal(model->w->count - model->read, expected);
    model->told += expected;
    model->read = model->w->count;
}

static void step(struct cell *cell, struct rng *rng, uint64_t tag)
{
    static const char *const lists[] = {"reader", "writer\nreader", "*", "", "changer\nwriter"};
    static const char *const acls[] = {"", "readers", "writers", "changers", "none"};
    char name[32];
    snprintf(name, sizeof name, W("%s%u"), rng_below(rng, 2) == 0 ? "" : "d/",
             (unsigned)rng_below(rng, FILES));
    struct service_request request = request_by(ROOT, SERVICE_PUT, tag, 0, name);
    switch (rng_below(rng, 6)) {
    case 0: {
        const uint64_t of = 1 + rng_below(rng, 3);
        snprintf(name, sizeof name, W("acl/%s"), acls[of]);
        request.name = bytes_of(name, strlen(name));
        const char *list = lists[rng_below(rng, 5)];
        request.content = bytes_of(list, strlen(list));
        break;
    }
    case 1: {
        const char *acl = acls[rng_below(rng, 5)];
        request.op = SERVICE_SET_ACL;
        request.acl[LEASE_READ] = bytes_of(acl, strlen(acl));
        break;
    }
    case 2:
        request.op = SERVICE_DELETE;
        break;
    default:
        request.content = bytes_of("x", 1);
    }
    submit(cell, 0, &request);
}

static void events_are_those_of_the_model(void **state)
{
    (void)state;
    struct model model = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng rng = {.state = seed};
        struct watching *w = watching_new(start_guarded());
        for (uint32_t who = 0; who < ROOT; who++) {
            watch_all(w, (enum who)who, 100 + who, 1, LEASE_ANY);
        }
        model.w = w;
        model.revision = revision_of(w, 0);
        model.read = w->count;
        w->cell->look = compare;
        w->cell->look_context = &model;
        for (uint64_t i = 0; i < STEPS; i++) {
            step(w->cell, &rng, 1000 + i);
            if (rng_below(&rng, 3) == 0) {
                settle(w->cell);
            }
        }
        settle(w->cell);
        watching_free(w);
    }
    assert_true(model.told > 1000 && model.withheld > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_does_what_he_may),
        cmocka_unit_test(rights_are_judged_where_it_applies),
        cmocka_unit_test(lists_show_what_may_be_read),
        cmocka_unit_test(locks_are_listed_to_who_may_read),
        cmocka_unit_test(many_locks_between_are_passed),
        cmocka_unit_test(who_failed_is_seen_by_who_may_read),
        cmocka_unit_test(nobody_is_told_what_he_may_not_read),
        cmocka_unit_test(a_right_that_comes_back_is_used_again),
        cmocka_unit_test(a_page_is_set_whole_or_not_at_all),
        cmocka_unit_test(events_are_those_of_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
