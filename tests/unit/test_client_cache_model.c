/* SPDX-License-Identifier: Apache-2.0
 *
 * test_client_cache_model.c -- a caching session against a little cell that keeps the
 * rules of the other half, over a network that delays, a host that stalls, and clocks
 * that drift: no read, cached or not, is older than what anybody was told before it.
 */
#include "tests/unit/test_client_caching.h"

enum { NAMES = 3, QUEUE = 4096, STEPS = 4000, SEEDS = 150 };

static const char *const names[NAMES] = {"/ls/test/a", "/ls/test/b", "/ls/local/c"};
static const char *const whole_names[NAMES] = {"/ls/test/a", "/ls/test/b", "/ls/test/c"};

static uint64_t chance_state;

static uint64_t chance(uint64_t bound)
{
    chance_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = chance_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % bound;
}

/* Lines on their way, in order. */
struct pipe {
    struct wire_text lines[QUEUE];
    size_t first, count;
};

/* What the cell is, and what its master believes of our session. */
struct cell {
    uint64_t revision;
    uint64_t versions[NAMES]; /* Each fourth is that there is no such node. */
    uint64_t epoch;
    uint64_t serves_ms; /* Since when this master does. */
    uint64_t bound;     /* The link that is the session's; 0: none. */
    bool begun;         /* In this mastership. */
    bool keeps[NAMES];
    uint64_t told, acknowledged;
    uint64_t lease_ms; /* Over at the cell then. */
    bool held[NAMES];  /* A write waits for ... */
    uint64_t held_number[NAMES];
};

struct model {
    struct world *w;
    struct lockd_session *session;
    struct cell cell;
    struct pipe up, down;
    struct pipe late; /* Replies that an invalidation may overtake. */
    uint64_t now_ms;  /* At the cell. */
    int64_t drift;    /* Of the client's clock, in thousandths. */
    uint64_t hits, misses, invalidated, waited;
};

static void push(struct pipe *p, const void *data, size_t size)
{
    char *copy = test_malloc(size);
    memcpy(copy, data, size);
    assert_true(p->count < QUEUE);
    p->lines[(p->first + p->count++) % QUEUE] = (struct wire_text){.data = copy, .size = size};
}

static struct wire_text shift(struct pipe *p)
{
    const struct wire_text line = p->lines[p->first];
    p->first = (p->first + 1) % QUEUE;
    p->count--;
    return line;
}

static void empty(struct pipe *p)
{
    while (p->count > 0) {
        test_free((void *)(uintptr_t)shift(p).data);
    }
}

/* ----------------------------------------------------------------------- cell */

static bool is_absent(uint64_t version)
{
    return version % 4 == 0;
}

static void move(struct pipe *from, struct pipe *to)
{
    while (from->count > 0) {
        const struct wire_text line = shift(from);
        push(to, line.data, line.size);
        test_free((void *)(uintptr_t)line.data);
    }
}

static void say(struct model *m, struct wire_buffer *b, bool late)
{
    move(&m->late, &m->down);
    push(late ? &m->late : &m->down, b->data, b->size);
    wire_buffer_free(b);
}

static void tell_invalidation(struct model *m, int name)
{
    struct wire_buffer b = {.data = NULL};
    const struct wire_text whole = text(whole_names[name]);
    const struct wire_notification n = {.notice = WIRE_CACHE_INVALIDATE,
                                        .session = SESSION_ID,
                                        .number = ++m->cell.told,
                                        .names = &whole,
                                        .names_count = 1};
    wire_print_notification(&b, &n);
    if (m->cell.bound == m->w->link) {
        push(&m->down, b.data, b.size);
    }
    wire_buffer_free(&b);
    m->invalidated++;
}

static void apply(struct cell *c, int name)
{
    c->versions[name]++;
    c->revision++;
    c->held[name] = false;
}

static bool may_write(const struct model *m, int name)
{
    const struct cell *c = &m->cell;
    const bool waits_for_caches = !c->begun && m->now_ms < c->serves_ms + CACHE_MS;
    return !waits_for_caches &&
           (c->acknowledged >= c->held_number[name] || m->now_ms >= c->lease_ms);
}

/* Somebody else writes: held until the session has dropped what it keeps. */
static void begin_write(struct model *m, int name)
{
    struct cell *c = &m->cell;
    if (c->held[name]) {
        return;
    }
    c->held[name] = true;
    c->held_number[name] = 0;
    if (c->keeps[name]) {
        c->keeps[name] = false;
        tell_invalidation(m, name);
        c->held_number[name] = c->told;
    }
}

static void go_on(struct model *m)
{
    for (int i = 0; i < NAMES; i++) {
        if (m->cell.held[i] && may_write(m, i)) {
            apply(&m->cell, i);
        } else if (m->cell.held[i]) {
            m->waited++;
        }
    }
}

/* A new master, which knows nothing of connections. */
static void elect(struct model *m)
{
    struct cell *c = &m->cell;
    c->epoch++;
    c->revision++;
    c->serves_ms = m->now_ms;
    c->bound = 0;
    c->begun = false;
    c->told = c->acknowledged = chance(5);
    memset(c->keeps, 0, sizeof c->keeps);
    memset(c->held, 0, sizeof c->held);
}

static uint64_t grant_lease(struct model *m)
{
    if (m->cell.bound != m->w->link) {
        return 0;
    }
    m->cell.lease_ms = m->now_ms + CACHE_MS;
    return CACHE_MS;
}

static void bind(struct model *m)
{
    struct cell *c = &m->cell;
    c->bound = m->w->link;
    c->begun = true;
    c->acknowledged = c->told;
    memset(c->keeps, 0, sizeof c->keeps);
}

static int name_of(struct wire_text name)
{
    for (int i = 0; i < NAMES; i++) {
        if (name.size == strlen(names[i]) && memcmp(name.data, names[i], name.size) == 0) {
            return i;
        }
    }
    fail_msg("%.*s", (int)name.size, name.data);
    return 0;
}

static void read_node(struct model *m, const struct wire_request *r, struct wire_reply *reply,
                      char content[32])
{
    struct cell *c = &m->cell;
    const int name = name_of(r->name);
    reply->cached = r->cache && c->bound == m->w->link && m->now_ms < c->lease_ms &&
                    !c->held[name] && chance(8) > 0;
    c->keeps[name] = c->keeps[name] || reply->cached;
    reply->cache_number = c->told;
    if (is_absent(c->versions[name])) {
        reply->error = WIRE_NO_NODE;
        return;
    }
    snprintf(content, 32, "%llu", (unsigned long long)c->versions[name]);
    reply->has_stat = true;
    reply->stat = (struct wire_stat){.kind = WIRE_FILE, .generation = c->versions[name]};
    reply->has_content = r->method == WIRE_NODE_GET;
    reply->content = text(content);
}

static void answer(struct model *m, struct wire_text line)
{
    struct cell *c = &m->cell;
    struct wire_request r;
    struct wire_refusal refusal;
    const struct wire_text zero = {.data = "0000000000000000", .size = 16};
    const struct wire_status status = {.serving = true,
                                       .role = text("master"),
                                       .cell_id = zero,
                                       .digest = zero,
                                       .epoch = c->epoch << 16 | 1};
    char content[32] = "";
    if (!wire_parse_request(&m->w->memory, line, &r, &refusal)) {
        fail_msg("%.*s: %s", (int)line.size, line.data, refusal.detail);
    }
    struct wire_reply reply = {.id = r.id,
                               .method = r.method,
                               .has_position = true,
                               .epoch = c->epoch << 16 | 1,
                               .revision = c->revision,
                               .slot = c->revision,
                               .position = 1,
                               .status = &status,
                               .session = SESSION_ID,
                               .secret = text(CREDENTIAL_SECRET),
                               .lease_ms = LEASE_MS};
    if (r.method == WIRE_SESSION_OPEN || r.method == WIRE_CACHE_BEGIN) {
        bind(m);
        reply.cache_ms = grant_lease(m);
        reply.cache_number = c->told;
    } else if (r.method == WIRE_SESSION_KEEPALIVE) {
        reply.cache_ms = grant_lease(m);
    } else if (r.method == WIRE_CACHE_ACK && c->bound == m->w->link) {
        assert_true(r.cache_number <= c->told); /* No other mastership's. */
        c->acknowledged = r.cache_number > c->acknowledged ? r.cache_number : c->acknowledged;
    } else if (r.method == WIRE_NODE_GET || r.method == WIRE_NODE_STAT) {
        read_node(m, &r, &reply, content);
    }
    struct wire_buffer b = {.data = NULL};
    wire_print_reply(&b, &reply);
    say(m, &b, r.method == WIRE_NODE_GET && chance(4) == 0);
}

/* --------------------------------------------------------------------- client */

/* A read by a message. */
struct reading {
    struct model *m;
    int name;
    uint64_t least; /* The version that somebody had been told of. */
};

static void check_version(const struct model *m, int name, uint64_t least,
                          const struct lockd_answer *a)
{
    const uint64_t newest = m->cell.versions[name];
    if (a->rc == LOCKD_E_NO_NODE) {
        /* Some version between the two was none. */
        assert_true(is_absent(least) || newest - least >= 4 - least % 4);
        return;
    }
    assert_int_equal(a->rc, LOCKD_OK);
    assert_in_range(a->stat.generation, least, newest);
    if (a->content != NULL) {
        assert_int_equal(strtoull(a->content, NULL, 10), a->stat.generation);
    }
}

static void on_read(void *context, const struct lockd_answer *a)
{
    struct reading *r = context;
    if (a->rc == LOCKD_OK || a->rc == LOCKD_E_NO_NODE) {
        check_version(r->m, r->name, r->least, a);
    }
    test_free(r);
}

static void take_output(struct model *m)
{
    struct world *w = m->w;
    flush(w);
    while (w->sent.size > w->taken) {
        const char *from = w->sent.data + w->taken;
        const char *newline = memchr(from, '\n', w->sent.size - w->taken);
        assert_non_null(newline);
        push(&m->up, from, (size_t)(newline - from));
        w->taken += (size_t)(newline - from) + 1;
    }
}

static void read_some(struct model *m)
{
    const int name = (int)chance(NAMES);
    const enum wire_method method = chance(3) == 0 ? WIRE_NODE_STAT : WIRE_NODE_GET;
    struct lockd_answer *a = cached(m->w, m->session, method, names[name]);
    if (a != NULL) {
        check_version(m, name, m->cell.versions[name], a);
        lockd_answer_free(a);
        m->hits++;
        return;
    }
    struct reading *r = test_malloc(sizeof *r);
    *r = (struct reading){.m = m, .name = name, .least = m->cell.versions[name]};
    const struct wire_request request = read_request(method, names[name]);
    if (engine_call(m->w->engine, m->w->now_ms, m->session, &request, 20000, on_read, r) !=
        LOCKD_OK) {
        test_free(r);
    }
    take_output(m);
    m->misses++;
}

/* ----------------------------------------------------------------------- time */

static void set_clock(struct model *m)
{
    m->w->now_ms = (uint64_t)((int64_t)m->now_ms * (1000 + m->drift) / 1000);
}

static void drop_lines(struct model *m)
{
    empty(&m->up);
    empty(&m->down);
    empty(&m->late);
}

static void disconnect(struct model *m)
{
    drop_lines(m);
    if (m->w->link != 0) {
        const uint64_t link = m->w->link;
        m->w->link = 0;
        engine_lost(m->w->engine, m->w->now_ms, link, "gone");
    }
}

/* The driver's part: ticks, and the connection that is wished for. */
static void drive(struct model *m)
{
    struct world *w = m->w;
    engine_tick(w->engine, w->now_ms);
    if (w->link != 0 && engine_wish(w->engine)->link != w->link) {
        drop_lines(m);
    }
    take_output(m);
    if (w->link == 0 && engine_wish(w->engine)->link != 0) {
        drop_lines(m);
        w->link = engine_wish(w->engine)->link;
        w->sent.size = w->taken = 0;
        engine_connected(w->engine, w->now_ms, w->link);
        take_output(m);
    }
}

static void deliver_up(struct model *m)
{
    if (m->up.count > 0 && m->w->link != 0) {
        const struct wire_text line = shift(&m->up);
        answer(m, line);
        test_free((void *)(uintptr_t)line.data);
    }
}

static void deliver_down(struct model *m)
{
    struct world *w = m->w;
    if (m->down.count > 0 && w->link != 0 && engine_wish(w->engine)->link == w->link) {
        const struct wire_text line = shift(&m->down);
        engine_received(w->engine, w->now_ms, w->link, line.data, line.size);
        test_free((void *)(uintptr_t)line.data);
        take_output(m);
    }
}

static void step(struct model *m)
{
    const uint64_t what = chance(1000);
    go_on(m);
    if (chance(4) == 0) {
        move(&m->late, &m->down);
    }
    if (what < 300) {
        deliver_up(m);
    } else if (what < 600) {
        deliver_down(m);
        drive(m);
    } else if (what < 850) {
        read_some(m);
    } else if (what < 900) {
        begin_write(m, (int)chance(NAMES));
    } else if (what < 985) {
        m->now_ms += chance(60);
        set_clock(m);
        drive(m);
    } else if (what < 990) { /* The client's host stalls, and then it reads first. */
        m->now_ms += chance(2 * CACHE_MS);
        set_clock(m);
        go_on(m);
        read_some(m);
    } else if (what < 995) {
        disconnect(m);
    } else if (what < 998) {
        disconnect(m);
        elect(m);
    } else {
        elect(m);
    }
}

static void start(struct model *m, uint64_t seed)
{
    const struct lockd_session_options options = {
        .size = sizeof options, .lease_ms = LEASE_MS, .grace_ms = 60000, .cache = true};
    chance_state = seed;
    m->drift = (int64_t)chance(21) - 10;
    m->now_ms = 1000000;
    m->cell.revision = 100;
    m->cell.epoch = 1;
    for (int i = 0; i < NAMES; i++) {
        m->cell.versions[i] = 1 + chance(4);
    }
    m->w = world_new("10.0.0.1");
    set_clock(m);
    assert_int_equal(engine_session_open(m->w->engine, m->w->now_ms, &options, LOCKD_FOR_EVER,
                                         NULL, NULL, &m->session),
                     LOCKD_OK);
}

static void test_model(void **state)
{
    (void)state;
    uint64_t hits = 0;
    uint64_t waited = 0;
    uint64_t invalidated = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model *m = test_calloc(1, sizeof *m);
        start(m, seed);
        for (int i = 0; i < STEPS && engine_session_state(m->session) != LOCKD_EXPIRED; i++) {
            step(m);
        }
        hits += m->hits;
        waited += m->waited;
        invalidated += m->invalidated;
        engine_close(m->w->engine, m->w->now_ms);
        deliver(m->w);
        world_free(m->w);
        drop_lines(m);
        test_free(m);
    }
    /* It was about something. */
    assert_true(hits > 100 * SEEDS);
    assert_true(invalidated > 5 * SEEDS);
    assert_true(waited > SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
