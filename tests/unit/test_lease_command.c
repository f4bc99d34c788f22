/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands as log bytes: there and back, and nothing else gets through.
 */
#include "tests/unit/test_lease_support.h"

#include "paxos/base/rng.h"

enum { SAMPLES = 24 };

static struct lease_command sample(size_t i)
{
    struct lease_command samples[SAMPLES] = {
        put("a/b", "content"),
        put_if("", "", 0, LEASE_ANY),
        put_if("x", "y", 7, 9),
        create("d", LEASE_DIRECTORY, ""),
        create("d/f", LEASE_FILE, "12345"),
        delete_any("a/b"),
        delete_if("a", 3, UINT64_C(1) << 40),
        open_session(UINT64_C(0xfedcba9876543210)),
        close_session(7, 8),
        expire_session(9, 65537),
        acquire(7, 9, "a/l", LEASE_SHARED),
        try_acquire(7, 10, "l", LEASE_EXCLUSIVE),
        release(7, 11, "a/l", 12345),
        cancel(7, 12, 9),
        time_out(7, 9, 65538),
        open_node(7, 13, "a/l"),
        open_ephemeral(7, 14, "d", LEASE_DIRECTORY),
        open_ephemeral(7, 15, "d/f", LEASE_FILE),
        close_node(7, 16, "d/f", 19),
        delay_over(19, 4, 65538),
        {.type = LEASE_CMD_STRETCH, .lease_ms = 60000, .epoch = 65538},
        set_acl("a/b", "readers", "", "admins"),
        set_acl("", NULL, NULL, NULL),
        by(7, 17, set_acl("d", NULL, "writers", NULL)),
    };
    samples[7].secret_hash[0] = 0x1234;
    samples[7].secret_hash[1] = 0x5678;
    samples[7].cache = true;
    samples[10].wait_ms = 250;
    samples[10].delay_ms = 60000;
    samples[11].if_instance = 17;
    samples[11].create = true;
    samples[12].ack_floor = 9;
    samples[12].acks_count = 2;
    samples[12].acks[0] = (struct lease_range){11, 11};
    samples[12].acks[1] = (struct lease_range){14, 20};
    samples[13].acks_count = LEASE_ACK_RANGES_MAX;
    samples[2].session = UINT64_C(0x5f5f5f5f5f5f5f5f);
    samples[2].request = 12;
    samples[4].principal = text("alice");
    samples[17].content = text("x");
    samples[17].if_instance = 0;
    return samples[i];
}

static void assert_same(const struct lease_command *a, const struct lease_command *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->session, b->session);
    assert_int_equal(a->request, b->request);
    assert_true(bytes_equal(a->principal, b->principal));
    assert_true(bytes_equal(a->path, b->path));
    assert_true(bytes_equal(a->content, b->content));
    assert_int_equal(a->ephemeral, b->ephemeral);
    if (a->type == LEASE_CMD_CREATE || a->type == LEASE_CMD_OPEN) {
        assert_int_equal(a->kind, b->kind);
    }
    if (a->type == LEASE_CMD_PUT || a->type == LEASE_CMD_CREATE ||
        a->type == LEASE_CMD_DELETE || a->type == LEASE_CMD_SET_ACL) {
        assert_int_equal(a->if_generation, b->if_generation);
        assert_int_equal(a->if_instance, b->if_instance);
    }
    if (a->type == LEASE_CMD_ACQUIRE || a->type == LEASE_CMD_OPEN ||
        a->type == LEASE_CMD_CLOSE) {
        assert_int_equal(a->if_instance, b->if_instance);
    }
    assert_int_equal(a->ack_floor, b->ack_floor);
    assert_int_equal(a->acks_count, b->acks_count);
    assert_memory_equal(a->acks, b->acks, sizeof a->acks);
    assert_int_equal(a->subject, b->subject);
    assert_int_equal(a->subject_request, b->subject_request);
    assert_int_equal(a->epoch, b->epoch);
    assert_memory_equal(a->secret_hash, b->secret_hash, sizeof a->secret_hash);
    assert_int_equal(a->lease_ms, b->lease_ms);
    assert_true(bytes_equal(a->label, b->label));
    assert_int_equal(a->cache, b->cache);
    for (int right = 0; right < LEASE_RIGHTS; right++) {
        assert_int_equal(a->acl[right].data == NULL, b->acl[right].data == NULL);
        assert_true(bytes_equal(a->acl[right], b->acl[right]));
    }
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->handle, b->handle);
    assert_int_equal(a->wait, b->wait);
    assert_int_equal(a->create, b->create);
    assert_int_equal(a->wait_ms, b->wait_ms);
    assert_int_equal(a->delay_ms, b->delay_ms);
    assert_int_equal(a->token, b->token);
}

/* What decodes must encode to the octets that it was decoded from. */
static void assert_canonical(const struct lease_command *command, struct bytes encoded)
{
    uint8_t again[512];
    struct writer w = writer_over(again, sizeof again);
    assert_int_equal(lease_command_size(command), encoded.size);
    lease_command_encode(command, &w);
    assert_false(w.failed);
    assert_true(bytes_equal(bytes_of(again, w.size), encoded));
}

static size_t encode(size_t i, uint8_t *space, size_t size)
{
    const struct lease_command command = sample(i);
    struct writer w = writer_over(space, size);
    lease_command_encode(&command, &w);
    assert_false(w.failed);
    assert_int_equal(w.size, lease_command_size(&command));
    return w.size;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t space[512];
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t size = encode(i, space, sizeof space);
        struct reader r = reader_over(bytes_of(space, size));
        struct lease_command decoded;
        assert_true(lease_command_decode(&r, &decoded));
        assert_true(read_done(&r));
        const struct lease_command original = sample(i);
        assert_same(&original, &decoded);
        assert_canonical(&decoded, bytes_of(space, size));
    }
}

static void test_batch(void **state)
{
    (void)state;
    uint8_t space[2048];
    size_t size = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        size += encode(i, space + size, sizeof space - size);
    }
    struct reader r = reader_over(bytes_of(space, size));
    size_t count = 0;
    while (read_left(&r) > 0) {
        struct lease_command decoded;
        assert_true(lease_command_decode(&r, &decoded));
        const struct lease_command original = sample(count++);
        assert_same(&original, &decoded);
    }
    assert_int_equal(count, SAMPLES);
}

static bool decodes(const uint8_t *data, size_t size)
{
    /* A copy of exactly this size: a read too far is then seen. */
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct reader r = reader_over(bytes_of(copy, size));
    struct lease_command decoded;
    const bool ok = lease_command_decode(&r, &decoded);
    if (ok) {
        assert_canonical(&decoded, bytes_of(copy, r.at));
    }
    free(copy);
    return ok;
}

static void test_every_truncation(void **state)
{
    (void)state;
    uint8_t space[512];
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t size = encode(i, space, sizeof space);
        for (size_t cut = 0; cut < size; cut++) {
            assert_false(decodes(space, cut));
            /* Cut off, with a length that says so. */
            if (cut >= LEASE_COMMAND_HEAD) {
                uint8_t mended[512];
                memcpy(mended, space, cut);
                struct writer w = writer_over(mended, LEASE_COMMAND_HEAD);
                write_u32(&w, (uint32_t)(cut - LEASE_COMMAND_HEAD));
                assert_false(decodes(mended, cut));
            }
        }
    }
}

static void test_every_octet(void **state)
{
    (void)state;
    uint8_t space[512];
    size_t refused = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t size = encode(i, space, sizeof space);
        for (size_t at = 0; at < size; at++) {
            const uint8_t was = space[at];
            for (unsigned value = 0; value < 256; value++) {
                space[at] = (uint8_t)value;
                refused += !decodes(space, size);
            }
            space[at] = was;
        }
        assert_true(decodes(space, size));
    }
    assert_true(refused > 0);
}

static void test_trailing_octet(void **state)
{
    (void)state;
    uint8_t space[512];
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t size = encode(i, space, sizeof space - 1);
        space[size] = 0;
        struct writer w = writer_over(space, LEASE_COMMAND_HEAD);
        write_u32(&w, (uint32_t)(size + 1 - LEASE_COMMAND_HEAD));
        assert_false(decodes(space, size + 1));
    }
}

static void test_refused_forms(void **state)
{
    (void)state;
    uint8_t space[512];
    const size_t size = encode(4, space, sizeof space);
    enum { VERSION = 4, TYPE = 5, PRINCIPAL = 14, KIND = 15 + 5 + 4 + 3 };
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{VERSION, 2},    {VERSION, 4}, {TYPE, 0}, {TYPE, LEASE_CMD_SET_ACL + 1},
                 {PRINCIPAL, 65}, {KIND, 0},    {KIND, 3}};
    assert_int_equal(space[KIND], LEASE_FILE);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint8_t was = space[wrong[i].at];
        space[wrong[i].at] = wrong[i].value;
        assert_false(decodes(space, size));
        space[wrong[i].at] = was;
    }
    assert_true(decodes(space, size));
}

/* The same, of an acquire and of who asks. */
static void test_refused_locks(void **state)
{
    (void)state;
    uint8_t space[512];
    const size_t size = encode(10, space, sizeof space);
    enum { RANGES = 14 + 16, MODE = RANGES + 1 + 1 + 4 + 3, FLAGS = MODE + 1 };
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{RANGES, LEASE_ACK_RANGES_MAX + 1}, {MODE, 0}, {MODE, 3}, {FLAGS, 4}};
    assert_int_equal(space[MODE], LEASE_SHARED);
    assert_int_equal(space[FLAGS], 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint8_t was = space[wrong[i].at];
        space[wrong[i].at] = wrong[i].value;
        assert_false(decodes(space, size));
        space[wrong[i].at] = was;
    }
    assert_true(decodes(space, size));

    /* Nobody asks for an expiry; well-formed in all else. */
    for (uint64_t session = 0; session <= 1; session++) {
        struct writer w = writer_over(space, sizeof space);
        write_u32(&w, (uint32_t)(1 + 1 + 8 + session * (8 + 8 + 1) + 1 + 8 + 8));
        write_u8(&w, LEASE_COMMAND_VERSION);
        write_u8(&w, LEASE_CMD_SESSION_EXPIRE);
        write_u64(&w, session);
        for (uint64_t i = 0; i < session * (8 + 8 + 1); i++) {
            write_u8(&w, 0);
        }
        write_u8(&w, 0);
        write_u64(&w, 7);
        write_u64(&w, 65537);
        assert_int_equal(decodes(space, w.size), session == 0);
    }
}

/* The same, of what has nodes open. */
static void test_refused_opens(void **state)
{
    (void)state;
    uint8_t space[512];
    const size_t size = encode(17, space, sizeof space);
    enum { KIND = 14 + 16 + 1 + 1 + 4 + 3, FLAGS = KIND + 1 };
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{KIND, 0}, {KIND, LEASE_DIRECTORY}, {KIND, 3}, {FLAGS, 2}};
    assert_int_equal(space[KIND], LEASE_FILE);
    assert_int_equal(space[FLAGS], 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint8_t was = space[wrong[i].at];
        space[wrong[i].at] = wrong[i].value;
        assert_false(decodes(space, size));
        space[wrong[i].at] = was;
    }
    assert_true(decodes(space, size));

    /* What is closed is one instance. */
    const size_t close_size = encode(18, space, sizeof space);
    memset(space + close_size - 8, 0xff, 8);
    assert_false(decodes(space, close_size));
}

/* The same, of rights and caches. */
static void test_refused_acls(void **state)
{
    (void)state;
    uint8_t space[512];
    const size_t size = encode(22, space, sizeof space); /* That names none. */
    enum { NAMED = 14 + 1 + 4 };
    for (unsigned named = 1; named < 256; named++) {
        space[NAMED] = (uint8_t)named;
        assert_false(decodes(space, size));
    }
    space[NAMED] = 0;
    assert_true(decodes(space, size));

    const size_t open_size = encode(7, space, sizeof space);
    assert_int_equal(space[open_size - 1], 1);
    space[open_size - 1] = 0;
    assert_true(decodes(space, open_size));
    space[open_size - 1] = 2;
    assert_false(decodes(space, open_size));
}

/* Well-formed in all else, so that the limit alone can refuse it. */
static void test_label_limit(void **state)
{
    (void)state;
    for (size_t size = LEASE_LABEL_MAX; size <= LEASE_LABEL_MAX + 1; size++) {
        uint8_t space[512], label[LEASE_LABEL_MAX + 1] = {0};
        struct writer w = writer_over(space, sizeof space);
        write_u32(&w, (uint32_t)(1 + 1 + 8 + 1 + 8 + 8 + 8 + 4 + 1 + size + 1));
        write_u8(&w, LEASE_COMMAND_VERSION);
        write_u8(&w, LEASE_CMD_SESSION_OPEN);
        write_u64(&w, 0);
        write_u8(&w, 0);
        write_u64(&w, 1);
        write_u64(&w, 2);
        write_u64(&w, 3);
        write_u32(&w, 5000);
        write_u8(&w, (uint8_t)size);
        write_raw(&w, label, size);
        write_u8(&w, 0);
        assert_int_equal(decodes(space, w.size), size <= LEASE_LABEL_MAX);
    }
}

static void test_principal_limit(void **state)
{
    (void)state;
    for (size_t size = LEASE_PRINCIPAL_MAX; size <= LEASE_PRINCIPAL_MAX + 1; size++) {
        uint8_t space[512], principal[LEASE_PRINCIPAL_MAX + 1] = {0};
        struct writer w = writer_over(space, sizeof space);
        write_u32(&w, (uint32_t)(1 + 1 + 8 + 1 + size + 4 + 1 + 8 + 8));
        write_u8(&w, LEASE_COMMAND_VERSION);
        write_u8(&w, LEASE_CMD_DELETE);
        write_u64(&w, 0);
        write_u8(&w, (uint8_t)size);
        write_raw(&w, principal, size);
        write_bytes(&w, text("a"));
        write_u64(&w, LEASE_ANY);
        write_u64(&w, LEASE_ANY);
        assert_int_equal(decodes(space, w.size), size <= LEASE_PRINCIPAL_MAX);
    }
}

static void test_noise(void **state)
{
    (void)state;
    struct rng rng = {.state = 3};
    uint8_t space[512];
    for (int round = 0; round < 20000; round++) {
        size_t size = encode(rng_below(&rng, SAMPLES), space, sizeof space);
        for (uint64_t flips = rng_between(&rng, 1, 6); flips > 0; flips--) {
            space[rng_below(&rng, size)] = (uint8_t)rng_next(&rng);
        }
        decodes(space, size);
        size = rng_below(&rng, 64);
        for (size_t i = 0; i < size; i++) {
            space[i] = (uint8_t)(rng_next(&rng) % 8);
        }
        decodes(space, size);
    }
}

static void test_describe(void **state)
{
    (void)state;
    char line[256];
    struct lease_command command = sample(2);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "put \"x\" 1 octets if generation 7 if instance 9"
                        " session 5f5f5f5f5f5f5f5f request 12 acks 0");
    command = sample(3);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "create directory \"d\"");
    command = sample(10);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "acquire shared \"a/l\" handle 1 wait 250 ms lock-delay 60000 ms"
                        " session 0000000000000007 request 9 acks 0");
    command = sample(11);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "acquire exclusive \"l\" handle 1 try create if instance 17"
                        " session 0000000000000007 request 10 acks 0");
    command = sample(12);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "release \"a/l\" handle 1 token 12345"
                        " session 0000000000000007 request 11 acks 9,11-11,14-20");
    command = sample(7);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "open session fedcba9876543210 lease 5000 ms label \"label\" cache");
    command = sample(21);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "set acl \"a/b\" read \"readers\" write \"\" change \"admins\"");
    command = sample(14);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "time out 9 of session 0000000000000007 epoch 65538");
    command = sample(15);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "open \"a/l\" handle 1"
                        " session 0000000000000007 request 13 acks 0");
    command = sample(17);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "open \"d/f\" handle 1 or make ephemeral file 1 octets if instance 0"
                        " session 0000000000000007 request 15 acks 0");
    command = sample(18);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "close \"d/f\" handle 1 if instance 19"
                        " session 0000000000000007 request 16 acks 0");
    command = sample(19);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "end lock-delay of claim 4 on 19 epoch 65538");
    command = sample(20);
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "stretch leases to 60000 ms epoch 65538");
    command = delete_any("a\x1b\"");
    assert_string_equal(lease_command_describe(&command, line, sizeof line),
                        "delete \"a\\x1b\\x22\"");
    for (size_t size = 1; size < sizeof line; size++) {
        char *exact = malloc(size);
        assert_non_null(exact);
        assert_true(strlen(lease_command_describe(&command, exact, size)) < size);
        free(exact);
    }
    assert_string_equal(lease_rc_text(LEASE_NOT_EMPTY), "the directory is not empty");
    assert_string_equal(lease_rc_text((enum lease_rc)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_batch),
        cmocka_unit_test(test_every_truncation), cmocka_unit_test(test_every_octet),
        cmocka_unit_test(test_trailing_octet),   cmocka_unit_test(test_refused_forms),
        cmocka_unit_test(test_refused_locks),    cmocka_unit_test(test_refused_opens),
        cmocka_unit_test(test_refused_acls),     cmocka_unit_test(test_label_limit),
        cmocka_unit_test(test_principal_limit),  cmocka_unit_test(test_noise),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
