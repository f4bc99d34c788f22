/* SPDX-License-Identifier: Apache-2.0
 *
 * A cell whose clients keep what they are granted, at random: messages take their time on
 * each connection, late ones arrive from connections given up long ago, clients pause,
 * sessions expire, masters are cut off.  After each turn of a master nobody may be able to
 * answer a read from memory with anything but what the state says.
 */
#include "tests/unit/test_service_caching.h"

enum {
    READERS = 5,
    WRITERS = 2,
    NAMES = 9,
    TAG_FIRST = 10000, /* Behind the tags that the harness looks at. */
    ASKED_MAX = 40000,
    LETTERS_MAX = 4096,
    STEPS = 6000,
    WRITES_MAX = 260, /* The harness keeps so many slots. */
    SEEDS = 24,
};

static const char *const names[NAMES] = {"/ls/test",   "/ls/test/a",   "/ls/test/b",
                                         "/ls/test/d", "/ls/test/d/x", "/ls/test/d/y",
                                         "/ls/test/e", "/ls/test/e/f", "/ls/test/acl/l"};

static struct bytes path_of(uint32_t name)
{
    const char *text = names[name] + 8; /* Behind "/ls/test". */
    text += *text == '/';
    return bytes_of(text, strlen(text));
}

/* What is at a name; all zero: nothing. */
struct seen {
    struct lease_stat stat;
};

struct keeping {
    uint64_t session;
    uint64_t client; /* The connection; 0: none. */
    uint32_t replica;
    bool open; /* The session is known to be. */
    bool opening;
    uint64_t until_ms; /* Of the cache lease. */
    uint64_t number;   /* The last invalidation that it has heard of. */
    uint64_t paused_ms;
    uint64_t renew_ms;
    bool kept[NAMES];
    struct seen seen[NAMES];
};

struct asked {
    uint32_t reader;
    uint32_t name;
    uint64_t client;
    uint64_t sent_ms;
    enum service_op op;
};

/* On its way up: a request, or that the connection is gone.  Or down: a reply, or an
 * invalidation. */
struct letter {
    uint64_t client;
    uint64_t at_ms;
    uint32_t replica;
    bool up;
    bool gone;
    bool invalidates;
    uint64_t tag;
    struct service_request request;
    struct service_reply reply;
    uint64_t number;
    bool named[NAMES];
    bool all;
};

struct model {
    struct cell *cell;
    uint64_t random;
    struct keeping readers[READERS];
    uint64_t writers[WRITERS]; /* Their sessions; 0: none. */
    struct asked *asked;
    uint32_t asked_count;
    struct letter *letters;
    uint32_t letters_count;
    uint64_t next_id;
    uint32_t writes;
    uint64_t epoch;
    uint32_t filled, dropped, done, compared;
};

static uint32_t chance(struct model *m, uint32_t of)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (uint32_t)(m->random >> 20) % of;
}

/* ------------------------------------------------------------------- letters */

/* Behind those of the same connection and direction. */
static void send_letter(struct model *m, const struct letter *letter)
{
    assert_true(m->letters_count < LETTERS_MAX);
    struct letter *added = &m->letters[m->letters_count++];
    *added = *letter;
    const uint32_t late = chance(m, 300) == 0 ? 4000 : 20;
    added->at_ms = m->cell->now_ms + chance(m, late);
    for (uint32_t i = 0; i + 1 < m->letters_count; i++) {
        const struct letter *other = &m->letters[i];
        if (other->client == letter->client && other->up == letter->up &&
            other->at_ms > added->at_ms) {
            added->at_ms = other->at_ms;
        }
    }
}

static void ask_for(struct model *m, uint32_t reader, enum service_op op, uint32_t name,
                    uint64_t number)
{
    const struct keeping *r = &m->readers[reader];
    assert_true(m->asked_count < ASKED_MAX);
    const uint64_t tag = TAG_FIRST + m->asked_count;
    m->asked[m->asked_count++] = (struct asked){.reader = reader,
                                                .name = name,
                                                .client = r->client,
                                                .sent_ms = m->cell->now_ms,
                                                .op = op};
    struct letter letter = {.client = r->client, .replica = r->replica, .up = true, .tag = tag};
    letter.request = request_of(op, tag, r->session);
    letter.request.client = r->client;
    letter.request.cache = true;
    letter.request.cache_number = number;
    letter.request.lease_ms = 4000;
    letter.request.name = bytes_of(names[name], strlen(names[name]));
    send_letter(m, &letter);
}

/* ------------------------------------------------------------------- readers */

static void forget_all_kept(struct keeping *r)
{
    memset(r->kept, 0, sizeof r->kept);
}

static uint32_t master_of(const struct model *m)
{
    uint32_t best = 0;
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < m->cell->count; i++) {
        const struct service_status status = status_of(m->cell, i);
        if (status.paxos.serving && status.paxos.epoch > epoch) {
            epoch = status.paxos.epoch;
            best = i;
        }
    }
    return best;
}

static void disconnect(struct model *m, struct keeping *r)
{
    forget_all_kept(r);
    if (r->client == 0) {
        return;
    }
    uint32_t kept = 0; /* What comes over it is lost; what was sent may still arrive. */
    for (uint32_t i = 0; i < m->letters_count; i++) {
        if (m->letters[i].client != r->client || m->letters[i].up) {
            m->letters[kept++] = m->letters[i];
        }
    }
    m->letters_count = kept;
    send_letter(m, &(struct letter){
                       .client = r->client, .replica = r->replica, .up = true, .gone = true});
    r->client = 0;
    r->until_ms = 0;
    r->number = 0;
}

static void connect_reader(struct model *m, uint32_t reader)
{
    struct keeping *r = &m->readers[reader];
    r->client = ++m->next_id;
    r->replica = chance(m, 8) == 0 ? chance(m, m->cell->count) : master_of(m);
    r->renew_ms = m->cell->now_ms + 1000;
    if (r->open) {
        ask_for(m, reader, SERVICE_CACHE_BEGIN, 0, 0);
    } else {
        r->session = ++m->next_id;
        ask_for(m, reader, SERVICE_SESSION_OPEN, 0, 0);
    }
}

static void hear_invalidation(struct model *m, uint32_t reader, const struct letter *letter)
{
    struct keeping *r = &m->readers[reader];
    for (uint32_t i = 0; i < NAMES; i++) {
        m->dropped += r->kept[i] && (letter->all || letter->named[i]);
        r->kept[i] = r->kept[i] && !letter->all && !letter->named[i];
    }
    assert_true(letter->number > r->number);
    r->number = letter->number;
    ask_for(m, reader, SERVICE_CACHE_ACK, 0, letter->number);
}

static void hear_reply(struct model *m, uint32_t reader, const struct letter *letter)
{
    struct keeping *r = &m->readers[reader];
    const struct asked *asked = &m->asked[letter->tag - TAG_FIRST];
    const struct service_reply *reply = &letter->reply;
    if (reply->outcome == SERVICE_NOT_MASTER || reply->outcome == SERVICE_UNKNOWN ||
        (reply->outcome == SERVICE_REFUSED && reply->rc == LEASE_NO_SESSION)) {
        r->open = r->open && reply->rc != LEASE_NO_SESSION;
        disconnect(m, r);
        return;
    }
    if (reply->cache_ms != 0 && asked->sent_ms + reply->cache_ms > r->until_ms) {
        r->until_ms = asked->sent_ms + reply->cache_ms;
    }
    if (asked->op == SERVICE_SESSION_OPEN) {
        r->open = true;
    }
    if (reply->cached && reply->cache_number >= r->number) {
        r->kept[asked->name] = true;
        r->seen[asked->name].stat = reply->stat;
        m->filled++;
    }
}

static void deliver_letter(struct model *m, const struct letter *letter)
{
    if (letter->up && letter->gone) {
        service_forget(m->cell->replica[letter->replica].s, letter->client);
        m->cell->replica[letter->replica].more = true;
        return;
    }
    if (letter->up) {
        submit(m->cell, letter->replica, &letter->request);
        return;
    }
    for (uint32_t i = 0; i < READERS; i++) {
        if (m->readers[i].client == letter->client) {
            (letter->invalidates ? hear_invalidation : hear_reply)(m, i, letter);
            return;
        }
    }
}

static bool is_paused(const struct model *m, const struct letter *letter)
{
    for (uint32_t i = 0; i < READERS && !letter->up; i++) {
        if (m->readers[i].client == letter->client) {
            return m->cell->now_ms < m->readers[i].paused_ms;
        }
    }
    return false;
}

static void deliver_letters(struct model *m)
{
    for (uint32_t i = 0; i < m->letters_count;) {
        const struct letter letter = m->letters[i];
        if (letter.at_ms > m->cell->now_ms || is_paused(m, &letter)) {
            i++;
            continue;
        }
        memmove(&m->letters[i], &m->letters[i + 1],
                (--m->letters_count - i) * sizeof *m->letters);
        deliver_letter(m, &letter);
        i = 0; /* What it did may have changed the letters. */
    }
}

/* -------------------------------------------------------------------- judging */

static bool same(const struct lease_stat *a, const struct lease_stat *b)
{
    return a->kind == b->kind && a->instance == b->instance &&
           a->content_generation == b->content_generation &&
           a->acl_generation == b->acl_generation && a->children == b->children &&
           a->revision == b->revision;
}

static void judge_reader(struct model *m, const struct lease *l, const struct keeping *r)
{
    if (r->client == 0 || m->cell->now_ms >= r->until_ms) {
        return;
    }
    for (uint32_t i = 0; i < NAMES; i++) {
        struct lease_stat stat = {0};
        struct bytes content;
        if (!r->kept[i]) {
            continue;
        }
        m->compared++;
        if (lease_get(l, path_of(i), &stat, &content) != LEASE_OK) {
            stat = (struct lease_stat){0};
        }
        if (!same(&stat, &r->seen[i].stat)) {
            fail_msg("at %u session %u keeps %s of revision %u; it is of %u",
                     (unsigned)m->cell->now_ms, (unsigned)r->session, names[i],
                     (unsigned)r->seen[i].stat.revision, (unsigned)stat.revision);
        }
        assert_int_equal(lease_may(l, path_of(i), bytes_of("p", 1), LEASE_READ), LEASE_OK);
    }
}

static void judge(struct model *m, uint32_t index)
{
    const struct service_status status = status_of(m->cell, index);
    if (!status.paxos.serving || status.paxos.epoch < m->epoch) {
        return;
    }
    m->epoch = status.paxos.epoch;
    for (uint32_t i = 0; i < READERS; i++) {
        judge_reader(m, service_lease(m->cell->replica[index].s), &m->readers[i]);
    }
}

static void send_invalidation(struct model *m, uint32_t index,
                              const struct service_event *event)
{
    struct letter letter = {.client = event->client,
                            .replica = index,
                            .invalidates = true,
                            .number = event->number,
                            .all = event->names_count == 0};
    for (uint32_t i = 0; i < event->names_count; i++) {
        for (uint32_t j = 0; j < NAMES; j++) {
            letter.named[j] |= bytes_equal(event->names[i], path_of(j));
        }
    }
    send_letter(m, &letter);
}

static void look(void *context, uint32_t index, const struct service_output *output)
{
    struct model *m = context;
    for (uint32_t i = 0; i < output->events_count; i++) {
        if (output->events[i].kind == SERVICE_EVENT_INVALIDATE) {
            send_invalidation(m, index, &output->events[i]);
        }
    }
    for (uint32_t i = 0; i < output->replies_count; i++) {
        const struct service_reply *reply = &output->replies[i];
        m->done += reply->tag < TAG_FIRST && reply->outcome == SERVICE_DONE;
        if (reply->tag < TAG_FIRST || reply->tag >= TAG_FIRST + m->asked_count ||
            reply->client != m->asked[reply->tag - TAG_FIRST].client) {
            continue;
        }
        struct letter letter = {
            .client = reply->client, .replica = index, .tag = reply->tag, .reply = *reply};
        const struct asked *asked = &m->asked[reply->tag - TAG_FIRST];
        if (reply->cached &&
            lease_may(service_lease(m->cell->replica[index].s), path_of(asked->name),
                      bytes_of("p", 1), LEASE_READ) != LEASE_OK) {
            fail_msg("%s may be kept, and may not be read", names[asked->name]);
        }
        send_letter(m, &letter);
    }
    m->cell->answers_count = 0;
    judge(m, index);
}

/* -------------------------------------------------------------------- writing */

static struct service_request write_of(struct model *m, enum service_op op, uint64_t session)
{
    struct service_request request = request_of(op, ++m->writes, session);
    request.request = session == 0 ? 0 : ++m->next_id;
    request.client = session == 0 ? 1 + chance(m, 3) : 1;
    request.principal =
        chance(m, 3) == 0 && session == 0 ? bytes_of(LEASE_ROOT, 4) : bytes_of("p", 1);
    return request;
}

static void write_node(struct model *m, struct service_request *request)
{
    const uint32_t name = 1 + chance(m, NAMES - 1);
    const bool directory = name == 3 || name == 6;
    request->kind = directory ? LEASE_DIRECTORY : LEASE_FILE;
    request->name = bytes_of(names[name], strlen(names[name]));
    if (name == NAMES - 1) { /* The list of who may read a: now us, now others too. */
        request->content = chance(m, 2) == 0 ? bytes_of("p", 1) : bytes_of("q", 1);
    }
}

static void write_rights(struct service_request *request, bool list)
{
    request->name = bytes_of(names[1], strlen(names[1]));
    request->acl[LEASE_READ] = list ? bytes_of("l", 1) : bytes_of("", 0);
}

static void write_something(struct model *m)
{
    const uint32_t at = chance(m, 10) == 0 ? chance(m, m->cell->count) : master_of(m);
    uint64_t *writer = &m->writers[chance(m, WRITERS)];
    static const enum service_op ops[] = {SERVICE_PUT, SERVICE_PUT, SERVICE_CREATE,
                                          SERVICE_DELETE, SERVICE_SET_ACL};
    struct service_request request;
    if (m->writes >= WRITES_MAX) {
        return;
    }
    if (chance(m, 3) > 0) {
        request = write_of(m, ops[chance(m, sizeof ops / sizeof *ops)], 0);
        write_node(m, &request);
        if (request.op == SERVICE_SET_ACL) {
            write_rights(&request, chance(m, 2) == 0);
        }
    } else if (*writer == 0) {
        *writer = ++m->next_id;
        request = write_of(m, SERVICE_SESSION_OPEN, *writer);
        request.lease_ms = 1000;
    } else if (chance(m, 6) == 0) {
        request = write_of(m, SERVICE_SESSION_CLOSE, *writer);
        *writer = chance(m, 2) == 0 ? 0 : *writer;
    } else if (chance(m, 6) == 0) {
        *writer = 0; /* It will expire. */
        return;
    } else {
        request =
            write_of(m, chance(m, 3) == 0 ? SERVICE_LOCK_ACQUIRE : SERVICE_NODE_OPEN, *writer);
        request.name = bytes_of(names[6 + chance(m, 2)], strlen(names[6]) + 2);
        write_node(m, &request);
        request.ephemeral = true;
        request.create = true;
        request.wait = true;
        request.handle = chance(m, 3);
    }
    submit(m->cell, at, &request);
}

static void keep_writers_alive(struct model *m)
{
    for (uint32_t i = 0; i < WRITERS; i++) {
        if (m->writers[i] != 0 && m->cell->now_ms % 300 == 0) {
            const struct service_request request =
                request_of(SERVICE_SESSION_KEEPALIVE, 1, m->writers[i]);
            submit(m->cell, master_of(m), &request);
        }
    }
}

/* ---------------------------------------------------------------------- steps */

static void step_reader(struct model *m, uint32_t reader)
{
    struct keeping *r = &m->readers[reader];
    if (m->cell->now_ms < r->paused_ms) {
        return;
    }
    if (r->client == 0) {
        if (chance(m, 20) == 0) {
            connect_reader(m, reader);
        }
        return;
    }
    if (r->open && m->cell->now_ms >= r->renew_ms) {
        r->renew_ms = m->cell->now_ms + 1000;
        ask_for(m, reader, SERVICE_SESSION_KEEPALIVE, 0, 0);
    }
    if (r->open && chance(m, 8) == 0) {
        ask_for(m, reader, SERVICE_STAT, chance(m, NAMES), 0);
    }
    if (chance(m, 400) == 0) {
        disconnect(m, r);
    } else if (chance(m, 400) == 0) {
        r->paused_ms = m->cell->now_ms + chance(m, 5000);
    }
}

static void disturb(struct model *m)
{
    struct cell *cell = m->cell;
    const uint32_t index = chance(m, cell->count);
    if (cell->replica[index].cut) {
        cell->replica[index].cut = chance(m, 3) > 0;
        return;
    }
    for (uint32_t i = 0; i < cell->count; i++) {
        if (cell->replica[i].cut) {
            return;
        }
    }
    cell->replica[master_of(m)].cut = chance(m, 3) == 0;
}

static void run(uint64_t seed, struct model *m)
{
    struct cell *cell = cell_start(3);
    *m = (struct model){.cell = cell, .random = seed * 0x9e3779b97f4a7c15, .next_id = 100};
    m->asked = calloc(ASKED_MAX, sizeof *m->asked);
    m->letters = calloc(LETTERS_MAX, sizeof *m->letters);
    const uint32_t master = await_master(cell);
    ask(cell, master, SERVICE_CREATE, 1, 1, "/ls/test/acl", NULL);
    settle(cell);
    cell->look = look;
    cell->look_context = m;
    for (uint32_t i = 0; i < STEPS; i++) {
        deliver_letters(m);
        for (uint32_t j = 0; j < READERS; j++) {
            step_reader(m, j);
        }
        if (chance(m, 20) == 0) {
            write_something(m);
        }
        keep_writers_alive(m);
        if (chance(m, 300) == 0) {
            disturb(m);
        }
        pass(cell, 1 + chance(m, 8));
    }
    free(m->asked);
    free(m->letters);
    cell_free(cell);
}

static void test_nobody_keeps_what_was_changed(void **state)
{
    (void)state;
    static struct model m;
    const char *only = getenv("SEED");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (only != NULL && strtoul(only, NULL, 10) != seed) {
            continue;
        }
        printf("# seed %u: ", (unsigned)seed);
        fflush(stdout);
        run(seed, &m);
        printf("%u writes, %u done, %u filled, %u dropped, %u compared\n", m.writes, m.done,
               m.filled, m.dropped, m.compared);
        assert_true(m.filled > 150 && m.done > 40 && m.compared > 4000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_keeps_what_was_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
