/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches against a naive model: a list of all that ever happened, of which each
 * watch is told what it asked for, in order and once; or there is a gap.
 */
#include "tests/unit/test_service_watching.h"

#include "paxos/base/rng.h"

enum { CLIENTS = 4, WATCHES = 6, HAPPENED_MAX = 1 << 16, STEPS = 400, SEEDS = 12 };

struct happened {
    uint64_t revision;
    uint64_t instance;
    enum lease_change change;
    enum lease_kind kind;
    char path[16];
};

struct model_watch {
    bool set;
    struct service_watch asked;
    char path[16];
    uint64_t revision; /* Told all up to here ... */
    uint32_t next;     /* ... and of what happened all before this. */
};

struct pending_add {
    uint64_t tag; /* 0: none. */
    uint64_t client;
    struct service_watch asked;
    char path[16];
};

struct model {
    struct watching *w;
    struct rng rng;
    uint64_t tag;
    struct happened happened[HAPPENED_MAX];
    uint32_t happened_count;
    struct model_watch watches[CLIENTS][WATCHES];
    struct pending_add adds[64];
    uint32_t read; /* Of what was told. */
    uint32_t gaps, joint, told, forced;
    uint64_t tokens[3];
    uint64_t acquiring[3];
};

static const char *const paths[] = {"",      "d",     "d/a", "d/b", "d/e",
                                    "d/e/x", "d/e/y", "f",   "g",   "f2"};
enum { PATHS = sizeof paths / sizeof *paths };

/* ------------------------------------------------------------------- naive */

static bool is_below(const char *path, const char *above)
{
    const size_t size = strlen(above);
    return size == 0 ? path[0] != '\0' : strncmp(path, above, size) == 0 && path[size] == '/';
}

static bool is_child(const char *path, const char *above)
{
    return is_below(path, above) &&
           strchr(path + (above[0] == '\0' ? 0 : strlen(above) + 1), '/') == NULL;
}

static uint32_t kind_of(const struct happened *h)
{
    switch (h->change) {
    case LEASE_CREATED:
        return h->kind == LEASE_FILE ? SERVICE_WATCH_CONTENT : 0;
    case LEASE_WRITTEN:
        return SERVICE_WATCH_CONTENT;
    case LEASE_DELETED:
        return SERVICE_WATCH_DELETE;
    case LEASE_CONTENDED:
        return SERVICE_WATCH_CONFLICT;
    case LEASE_ACL_CHANGED:
        return SERVICE_WATCH_ACL;
    case LEASE_GRANTED:
    case LEASE_RELEASED:
        return SERVICE_WATCH_LOCK;
    }
    return 0;
}

static bool wants(const struct model_watch *m, const struct happened *h)
{
    const bool same = strcmp(h->path, m->path) == 0;
    const bool child = is_child(h->path, m->path);
    const bool below = is_below(h->path, m->path);
    const bool comes_or_goes = h->change == LEASE_CREATED || h->change == LEASE_DELETED;
    const uint32_t own = kind_of(h);
    uint32_t kinds = 0;
    switch (m->asked.scope) {
    case SERVICE_SCOPE_NODE:
        kinds = same ? own : child && comes_or_goes ? SERVICE_WATCH_CHILD : 0;
        break;
    case SERVICE_SCOPE_CHILDREN:
        kinds = child ? own | (comes_or_goes ? SERVICE_WATCH_CHILD : 0u) : 0;
        break;
    case SERVICE_SCOPE_SUBTREE:
        kinds = same ? own : below ? own | (comes_or_goes ? SERVICE_WATCH_CHILD : 0u) : 0;
        break;
    }
    return (kinds & m->asked.watched) != 0 && h->revision > m->revision;
}

/* The next that the watch is to be told of; NULL: none. */
static const struct happened *next_wanted(const struct model *model,
                                          const struct model_watch *m, uint32_t *at)
{
    for (; *at < model->happened_count; ++*at) {
        if (wants(m, &model->happened[*at])) {
            return &model->happened[*at];
        }
    }
    return NULL;
}

static void nothing_untold(const struct model *model, const struct model_watch *m,
                           uint64_t revision)
{
    uint32_t at = m->next;
    const struct happened *h = m->set ? next_wanted(model, m, &at) : NULL;
    if (h != NULL && h->revision <= revision) {
        fail_msg("watch %d of \"%s\": %s %s at %d is not told before %d", (int)m->asked.watch,
                 m->path, change_text(h->change), h->path, (int)h->revision, (int)revision);
    }
}

static void client_told(const struct model *model, uint64_t client, uint64_t revision)
{
    for (uint32_t i = 0; client >= 1 && client <= CLIENTS && i < WATCHES; i++) {
        nothing_untold(model, &model->watches[client - 1][i], revision);
    }
}

/* ----------------------------------------------------------------- observing */

static void remember(struct model *model, uint32_t index)
{
    const struct lease *l = service_lease(model->w->cell->replica[index].s);
    const uint64_t last =
        model->happened_count == 0 ? 0 : model->happened[model->happened_count - 1].revision;
    assert_true(last >= lease_history_floor(l));
    struct lease_place place = lease_history_seek(l, last);
    struct lease_event event;
    while (lease_history_next(l, &place, &event)) {
        assert_true(model->happened_count < HAPPENED_MAX);
        struct happened *h = &model->happened[model->happened_count++];
        *h = (struct happened){.revision = event.revision,
                               .instance = event.instance,
                               .change = event.change,
                               .kind = event.kind};
        print_bytes(h->path, sizeof h->path, true, event.path);
    }
}

static void change_told(struct model *model, struct model_watch *m, const struct told_event *t)
{
    const struct service_event *e = &t->event;
    const struct happened *h = NULL;
    for (uint32_t i = 0; i < e->count; i++) {
        h = next_wanted(model, m, &m->next);
        assert_non_null(h);
        assert_int_equal(h->instance, t->instance);
        if (i == 0) {
            assert_int_equal(h->revision, e->first_revision);
        }
        m->next++;
    }
    assert_int_equal(h->revision, e->revision);
    assert_int_equal(h->change, t->change);
    assert_string_equal(h->path, t->path);
    model->told++;
    model->joint += e->count > 1;
}

static void event_told(struct model *model, const struct told_event *t)
{
    const struct service_event *e = &t->event;
    assert_true(e->client >= 1 && e->client <= CLIENTS);
    if (e->kind == SERVICE_EVENT_PROGRESS) {
        client_told(model, e->client, e->revision);
        return;
    }
    struct model_watch *m = &model->watches[e->client - 1][e->watch];
    assert_true(m->set);
    if (e->kind == SERVICE_EVENT_GAP) {
        m->revision = e->revision;
        model->gaps++;
    } else {
        change_told(model, m, t);
    }
}

static void watch_set(struct model *model, const struct service_reply *reply)
{
    for (uint32_t i = 0; i < 64; i++) {
        struct pending_add *add = &model->adds[i];
        if (add->tag == reply->tag) {
            struct model_watch *m = &model->watches[add->client - 1][add->asked.watch];
            *m = (struct model_watch){.set = true, .asked = add->asked};
            memcpy(m->path, add->path, sizeof m->path);
            m->revision = add->asked.from == LEASE_ANY ? reply->revision : add->asked.from;
            add->tag = 0;
            return;
        }
    }
}

static bool shows(const struct service_reply *reply)
{
    return (reply->outcome == SERVICE_DONE || reply->outcome == SERVICE_REFUSED) &&
           reply->op != SERVICE_WATCH_ADD && reply->op != SERVICE_WATCH_REMOVE &&
           reply->op != SERVICE_SESSION_KEEPALIVE && reply->op != SERVICE_SESSION_OPEN;
}

static void look_and_compare(void *context, uint32_t index, const struct service_output *output)
{
    struct model *model = context;
    look_at_events(model->w, index, output);
    remember(model, index);
    for (uint32_t i = 0; i < output->replies_count; i++) {
        if (output->replies[i].op == SERVICE_WATCH_ADD &&
            output->replies[i].outcome == SERVICE_DONE) {
            watch_set(model, &output->replies[i]);
        }
    }
    for (; model->read < model->w->count; model->read++) {
        event_told(model, &model->w->told[model->read]);
    }
    for (uint32_t i = 0; i < output->replies_count; i++) {
        if (shows(&output->replies[i])) {
            client_told(model, output->replies[i].client, output->replies[i].revision);
            model->forced++;
        }
    }
}

/* -------------------------------------------------------------------- doing */

static void add_watch(struct model *model, uint32_t m)
{
    const uint64_t head = revision_of(model->w, m);
    struct pending_add *add = &model->adds[0];
    while (add->tag != 0) {
        add++;
        assert_true(add < model->adds + 64);
    }
    const char *path = paths[rng_below(&model->rng, PATHS)];
    char name[32];
    snprintf(name, sizeof name, "/ls/test%s%s", path[0] == '\0' ? "" : "/", path);
    add->client = 1 + rng_below(&model->rng, CLIENTS);
    add->tag = ++model->tag;
    snprintf(add->path, sizeof add->path, "%s", path);
    add->asked = watch_of(rng_below(&model->rng, WATCHES), name,
                          (enum service_scope)(1 + rng_below(&model->rng, 3)),
                          1 + (uint32_t)rng_below(&model->rng, SERVICE_WATCH_ALL));
    if (rng_below(&model->rng, 2) == 0) {
        add->asked.from = rng_below(&model->rng, head + 2);
    }
    add->asked.old = rng_below(&model->rng, 2) == 0;
    submit_watches(model->w, m, add->client, add->tag, &add->asked, 1);
}

static void drop_watch(struct model *model, uint32_t m)
{
    const uint64_t client = 1 + rng_below(&model->rng, CLIENTS);
    const uint64_t id = rng_below(&model->rng, WATCHES);
    give_up_one(model->w, m, client, ++model->tag, id);
    model->watches[client - 1][id].set = false;
    for (uint32_t i = 0; i < 64; i++) {
        struct pending_add *add = &model->adds[i];
        if (add->client == client && add->asked.watch == id) {
            add->tag = 0;
        }
    }
}

static void forget_client(struct model *model, uint32_t m)
{
    const uint64_t client = 1 + rng_below(&model->rng, CLIENTS);
    service_forget(model->w->cell->replica[m].s, client);
    for (uint32_t i = 0; i < WATCHES; i++) {
        model->watches[client - 1][i].set = false;
    }
    for (uint32_t i = 0; i < 64; i++) {
        if (model->adds[i].client == client) {
            model->adds[i].tag = 0;
        }
    }
    model->w->cell->replica[m].more = true;
}

static void ask_something(struct model *model, uint32_t m)
{
    static const enum service_op ops[] = {SERVICE_PUT, SERVICE_PUT,    SERVICE_PUT,
                                          SERVICE_GET, SERVICE_CREATE, SERVICE_DELETE};
    const char *path = paths[1 + rng_below(&model->rng, PATHS - 1)];
    char name[32];
    snprintf(name, sizeof name, "/ls/test/%s", path);
    const enum service_op op = ops[rng_below(&model->rng, 6)];
    const bool directory = strcmp(path, "d") == 0 || strcmp(path, "d/e") == 0;
    ask(model->w->cell, m, op, 1 + rng_below(&model->rng, 4 * CLIENTS), ++model->tag, name,
        directory && op == SERVICE_CREATE ? NULL : "content");
}

static void lock_something(struct model *model, uint32_t m)
{
    const uint64_t i = rng_below(&model->rng, 3);
    if (model->acquiring[i] != 0 && answer_to(model->w->cell, model->acquiring[i]) != NULL) {
        model->tokens[i] = reply_to(model->w->cell, model->acquiring[i])->token;
        model->acquiring[i] = 0;
    }
    if (model->acquiring[i] != 0) {
        return;
    }
    if (model->tokens[i] != 0) {
        release(model->w->cell, m, ++model->tag, 11 + i, "/ls/test/f", model->tokens[i]);
        model->tokens[i] = 0;
    } else {
        model->acquiring[i] = ++model->tag;
        acquire(model->w->cell, m, model->tag, 11 + i, "/ls/test/f");
    }
}

static void burst(struct model *model, uint32_t m)
{
    for (uint32_t i = 0; i < 300; i++) {
        ask(model->w->cell, m, SERVICE_PUT, 9, ++model->tag,
            i % 3 == 0 ? "/ls/test/f" : "/ls/test/g", "x");
    }
}

static void do_something(struct model *model, uint32_t m)
{
    struct service *s = model->w->cell->replica[m].s;
    const uint64_t chance = rng_below(&model->rng, 100);
    if (chance < 55) {
        ask_something(model, m);
    } else if (chance < 70) {
        add_watch(model, m);
    } else if (chance < 75) {
        drop_watch(model, m);
    } else if (chance < 77) {
        forget_client(model, m);
    } else if (chance < 87) {
        service_slow(s, 1 + rng_below(&model->rng, CLIENTS), rng_below(&model->rng, 2) == 0);
        model->w->cell->replica[m].more = true;
    } else if (chance < 97) {
        lock_something(model, m);
    } else {
        burst(model, m);
    }
}

/* Only those of acquires are looked at again. */
static void forget_answers(struct cell *cell)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cell->answers_count; i++) {
        if (cell->answers[i].reply.op == SERVICE_LOCK_ACQUIRE) {
            cell->answers[kept++] = cell->answers[i];
        }
    }
    cell->answers_count = kept;
}

static void run(uint64_t seed, struct model *model)
{
    memset(model, 0, sizeof *model);
    struct cell *cell = cell_new(1);
    cell->history_bytes = seed % 3 == 0 ? 49152 : 1024 * 1024;
    replica_start(cell, 0);
    const uint32_t m = await_master(cell);
    model->w = watching_new(cell);
    model->rng = (struct rng){seed};
    model->tag = 100;
    cell->look = look_and_compare;
    cell->look_context = model;
    for (uint64_t i = 0; i < 3; i++) {
        struct service_request request = request_of(SERVICE_SESSION_OPEN, ++model->tag, 11 + i);
        request.lease_ms = 60000;
        submit(cell, m, &request);
    }
    settle(cell);
    for (uint32_t i = 0; i < STEPS; i++) {
        do_something(model, m);
        if (rng_below(&model->rng, 3) != 0) {
            settle(cell);
        }
        if (rng_below(&model->rng, 20) == 0) {
            pass(cell, rng_below(&model->rng, 50));
        }
        forget_answers(cell);
    }
    for (uint64_t client = 1; client <= CLIENTS; client++) {
        service_slow(cell->replica[m].s, client, false);
    }
    cell->replica[m].more = true;
    settle(cell);
    for (uint64_t client = 1; client <= CLIENTS; client++) {
        client_told(model, client, UINT64_MAX);
    }
    print_message("# seed %u: %u happened, %u told, %u joint, %u gaps, %u replies\n",
                  (unsigned)seed, model->happened_count, model->told, model->joint, model->gaps,
                  model->forced);
    watching_free(model->w);
}

static void random_watches(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    uint32_t told = 0, joint = 0, gaps = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed, model);
        told += model->told;
        joint += model->joint;
        gaps += model->gaps;
    }
    assert_true(told > 10000 && joint > 100 && gaps > 10);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
