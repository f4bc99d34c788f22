/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wire_locks.c -- the parameters of sessions and locks: what is refused,
 * and by which name.
 */
#include "tests/unit/wire_help.h"

#define ASK(method, params)                                                                    \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":{" params "}}"
#define ID "0123456789abcdef"
#define SECRET "00112233445566778899aabbccddeeff"
#define NAME "\"name\":\"/ls/local/l\""
#define WHO "\"session\":\"" ID "-" SECRET "\""
#define WHO_ONCE WHO ",\"request\":7"
#define ACQUIRE(more) ASK("lock.acquire", NAME "," WHO_ONCE more)
#define CHECK(sequencer) ASK("lock.check", "\"sequencer\":\"" sequencer "\"")
#define ACK(ranges) ACQUIRE(",\"ack\":" ranges)
#define OPEN(params) ASK("session.open", params)
#define KEEP(session) ASK("session.keepalive", "\"session\":" session)

/* 128 octets, the most there may be. */
#define OCTETS_16 "0123456789 abcde"
#define OCTETS_128                                                                             \
    OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16

/* A line, and a part of its refusal; NULL: it is a request. */
static const struct {
    const char *line;
    const char *refusal;
} lines[] = {
    {OPEN(""), NULL},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.open\"}", NULL},
    {OPEN("\"lease_ms\":1000"), NULL},
    {OPEN("\"lease_ms\":60000"), NULL},
    {OPEN("\"lease_ms\":999"), "\"lease_ms\" must be an integer from 1000 to 60000"},
    {OPEN("\"lease_ms\":60001"), "\"lease_ms\""},
    {OPEN("\"lease_ms\":0"), "\"lease_ms\""},
    {OPEN("\"lease_ms\":\"12s\""), "\"lease_ms\""},
    {OPEN("\"label\":\"" OCTETS_128 "\""), NULL},
    {OPEN("\"label\":\"" OCTETS_128 "x\""), "at most 128 octets"},
    {OPEN("\"label\":\"a\\nb\""), "without control"},
    {OPEN("\"label\":\"a\\tb\""), "without control"},
    {OPEN("\"label\":\"\\u001b[2J\""), "without control"},
    {OPEN("\"label\":\"\\u009b2J\""), "without control"},
    {OPEN("\"label\":7"), "\"label\" must be a string"},
    {OPEN(WHO), "session.open has no parameter \"session\""},
    {OPEN("\"request\":1"), "session.open has no parameter \"request\""},

    {KEEP("\"" ID "-" SECRET "\""), NULL},
    {ASK("session.keepalive", ""), "session.keepalive needs the parameter \"session\""},
    {ASK("session.keepalive", WHO_ONCE), "session.keepalive has no parameter \"request\""},
    {KEEP("7"), "\"session\" must be the credential"},
    {KEEP("\"\""), "\"session\" must be the credential"},
    {KEEP("\"" ID "\""), "\"session\" must be the credential"},
    {KEEP("\"" ID "+" SECRET "\""), "\"session\" must be the credential"},
    {KEEP("\"" ID "-" SECRET "0\""), "\"session\" must be the credential"},
    {KEEP("\"0123456789ABCDEF-" SECRET "\""), "\"session\" must be the credential"},
    {KEEP("\"" ID "-00112233445566778899AABBCCDDEEFF\""), "\"session\" must be the credential"},
    {KEEP("\"" ID "-0011223344556677-8899aabbccddeef\""), "\"session\" must be the credential"},
    {KEEP("\"0000000000000000-" SECRET "\""), "\"session\" must be the credential"},

    {ASK("session.close", WHO_ONCE), NULL},
    {ASK("session.close", WHO), "session.close needs the parameter \"request\""},

    {ACQUIRE(""), NULL},
    {ACQUIRE(",\"mode\":\"shared\",\"wait_ms\":0,\"create\":true,\"handle\":0"), NULL},
    {ASK("lock.acquire", NAME), "lock.acquire needs the parameter \"session\""},
    {ASK("lock.acquire", NAME "," WHO), "lock.acquire needs the parameter \"request\""},
    {ASK("lock.acquire", WHO_ONCE), "lock.acquire needs the parameter \"name\""},
    {ASK("lock.acquire", NAME "," WHO ",\"request\":0"),
     "\"request\" must be an integer from 1"},
    {ASK("lock.acquire", NAME "," WHO ",\"request\":9007199254740992"), "\"request\""},
    {ACQUIRE(",\"mode\":\"write\""), "\"exclusive\" or \"shared\""},
    {ACQUIRE(",\"wait_ms\":4294967295"), NULL},
    {ACQUIRE(",\"wait_ms\":4294967296"), "\"wait_ms\""},
    {ACQUIRE(",\"wait_ms\":null"), "leave it out to wait for ever"},
    {ACQUIRE(",\"create\":1"), "\"create\" must be true or false"},
    {ACQUIRE(",\"handle\":-1"), "\"handle\""},
    {ACQUIRE(",\"token\":1"), "lock.acquire has no parameter \"token\""},
    {ACQUIRE(",\"lock_delay_ms\":60000,\"if_instance\":4"), NULL},
    {ACQUIRE(",\"lock_delay_ms\":60001"),
     "\"lock_delay_ms\" must be an integer from 0 to 60000"},
    {ACQUIRE(",\"lock_delay_ms\":true"), "\"lock_delay_ms\""},
    {ACQUIRE(",\"if_generation\":4"), "lock.acquire has no parameter \"if_generation\""},

    {ACK("[0]"), NULL},
    {ACK("[5,[6,6],[7,9],[11,9007199254740991]]"), NULL},
    {ACK("5"), "\"ack\" must be [floor, [first, last], ...]"},
    {ACK("[]"), "\"ack\" must be"},
    {ACK("[[1,2]]"), "\"ack\" must be"},
    {ACK("[5,6]"), "\"ack\" must be"},
    {ACK("[5,[6]]"), "\"ack\" must be"},
    {ACK("[5,[6,7,8]]"), "\"ack\" must be"},
    {ACK("[5,{\"first\":6,\"last\":7}]"), "\"ack\" must be"},
    {ACK("[5,[5,6]]"), "ascending"},
    {ACK("[5,[7,6]]"), "ascending"},
    {ACK("[5,[6,8],[8,9]]"), "ascending"},
    {ACK("[5,[8,9],[6,6]]"), "ascending"},
    {ACK("[5,[6,9007199254740992]]"), "ascending"},
    {ACK("[0,[2,2],[4,4],[6,6],[8,8],[10,10],[12,12],[14,14],[16,16],[18,18],[20,20],[22,22],"
         "[24,24],[26,26],[28,28],[30,30],[32,32]]"),
     NULL},
    {ACK("[0,[2,2],[4,4],[6,6],[8,8],[10,10],[12,12],[14,14],[16,16],[18,18],[20,20],[22,22],"
         "[24,24],[26,26],[28,28],[30,30],[32,32],[34,34]]"),
     "at most 16 ranges"},

    {ASK("lock.release", NAME "," WHO_ONCE ",\"token\":3,\"handle\":1"), NULL},
    {ASK("lock.release", NAME "," WHO_ONCE), "lock.release needs the parameter \"token\""},
    {ASK("lock.cancel", WHO_ONCE ",\"cancel\":6"), NULL},
    {ASK("lock.cancel", WHO_ONCE), "lock.cancel needs the parameter \"cancel\""},
    {ASK("lock.cancel", WHO_ONCE ",\"cancel\":0"), "\"cancel\" must be an integer from 1"},
    {ASK("lock.cancel", WHO_ONCE ",\"cancel\":7"), "\"cancel\" names another request"},
    {ASK("lock.cancel", NAME "," WHO_ONCE ",\"cancel\":6"), "no parameter \"name\""},

    {ASK("lock.list", ""), NULL},
    {ASK("lock.list", "\"after\":3,\"limit\":5"), NULL},
    {ASK("lock.list", NAME ",\"skip\":3,\"limit\":5"), NULL},
    {ASK("lock.list", "\"after\":\"a\""), "\"after\" must be an integer"},
    {ASK("lock.list", NAME ",\"after\":3"), "\"after\" goes only without \"name\""},
    {ASK("lock.list", "\"skip\":3"), "\"skip\" goes only with \"name\""},
    {ASK("lock.list", "\"name\":\"\""), "leave it out to list all locks"},
    {ASK("lock.list", NAME ",\"if_instance\":3"), NULL},
    {ASK("lock.list", "\"if_instance\":3"), "\"if_instance\" goes only with \"name\""},
    {ASK("lock.list", WHO), "lock.list has no parameter \"session\""},

    {CHECK("/ls/local/l:exclusive:1"), NULL},
    {CHECK("/ls/local/a:shared:9:shared:9007199254740991"), NULL},
    {ASK("lock.check", ""), "lock.check needs the parameter \"sequencer\""},
    {ASK("lock.check", "\"sequencer\":1"), "NAME:MODE:TOKEN"},
    {ASK("lock.check", NAME), "lock.check has no parameter \"name\""},
    {ASK("lock.check", "\"sequencer\":\"n:shared:1\"," WHO), "no parameter \"session\""},
    {CHECK(""), "NAME:MODE:TOKEN"},
    {CHECK("n"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared"), "NAME:MODE:TOKEN"},
    {CHECK("shared:1"), "NAME:MODE:TOKEN"},
    {CHECK(":shared:1"), "NAME:MODE:TOKEN"},
    {CHECK("n:weak:1"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:0"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:01"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:+1"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:1 "), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:9007199254740992"), "NAME:MODE:TOKEN"},
    {CHECK("n:shared:90071992547409910"), "NAME:MODE:TOKEN"},

    /* Handles. */
    {ASK("node.open", NAME "," WHO_ONCE), NULL},
    {ASK("node.open", NAME "," WHO_ONCE ",\"create\":\"directory\",\"ephemeral\":true"), NULL},
    {ASK("node.open", NAME "," WHO_ONCE ",\"create\":\"file\",\"content\":\"\",\"handle\":2,"
                           "\"if_instance\":0"),
     NULL},
    {ASK("node.open", NAME "," WHO_ONCE ",\"ephemeral\":false"), NULL},
    {ASK("node.open", NAME), "node.open needs the parameter \"session\""},
    {ASK("node.open", NAME "," WHO), "node.open needs the parameter \"request\""},
    {ASK("node.open", NAME "," WHO_ONCE ",\"create\":true"),
     "\"create\" must be \"file\" or \"directory\""},
    {ASK("node.open", NAME "," WHO_ONCE ",\"kind\":\"file\""), "no parameter \"kind\""},
    {ASK("node.open", NAME "," WHO_ONCE ",\"ephemeral\":1"), "must be true or false"},
    {ASK("node.open", NAME "," WHO_ONCE ",\"ephemeral\":true"),
     "\"ephemeral\" goes only with \"create\""},
    {ASK("node.open", NAME "," WHO_ONCE ",\"content\":\"\""),
     "\"content\" goes only with \"create\""},
    {ASK("node.open", NAME "," WHO_ONCE ",\"create\":\"directory\",\"content\":\"\""),
     "a directory has no content"},
    {ASK("node.close", NAME "," WHO_ONCE ",\"if_instance\":4,\"handle\":1"), NULL},
    {ASK("node.close", NAME "," WHO_ONCE), "node.close needs the parameter \"if_instance\""},
    {ASK("node.close", NAME ",\"if_instance\":4"), "node.close needs the parameter"},

    /* Nodes: a session or none, but nothing between. */
    {ASK("node.put", NAME ",\"content\":\"\"," WHO_ONCE ",\"ack\":[6]"), NULL},
    {ASK("node.create", NAME ",\"kind\":\"directory\"," WHO_ONCE), NULL},
    {ASK("node.delete", NAME "," WHO_ONCE), NULL},
    {ASK("node.put", NAME ",\"content\":\"\"," WHO),
     "node.put with \"session\" needs the parameter \"request\""},
    {ASK("node.delete", NAME "," WHO ",\"ack\":[6]"),
     "node.delete with \"session\" needs the parameter \"request\""},
    {ASK("node.put", NAME ",\"content\":\"\",\"request\":7"),
     "\"request\" goes only with the parameter \"session\""},
    {ASK("node.create", NAME ",\"kind\":\"file\",\"ack\":[0]"),
     "\"ack\" goes only with the parameter \"session\""},
    {ASK("node.get", NAME "," WHO), "\"session\" goes with a read only if \"cache\" is true"},
    {ASK("cell.status", WHO), "cell.status has no parameter \"session\""},
};

static void test_parameters(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct wire_request request;
        struct wire_refusal refusal = {.error = WIRE_OK};
        const char *detail = refusal.detail;
        const bool ok = wire_parse_request(&memory, text(lines[i].line), &request, &refusal);
        if (ok != (lines[i].refusal == NULL)) {
            fail_msg("%s: %s", lines[i].line, ok ? "accepted" : detail);
        }
        if (!ok) {
            assert_int_equal(refusal.error, WIRE_INVALID_PARAMS);
            if (strstr(detail, lines[i].refusal) == NULL) {
                fail_msg("%s: \"%s\" does not contain \"%s\"", lines[i].line, detail,
                         lines[i].refusal);
            }
            /* What is secret is not repeated where it may be logged. */
            assert_null(strstr(detail, "0011"));
        }
    }
    wire_memory_free(&memory);
}

static void test_defaults(void **state)
{
    (void)state;
    struct wire_memory memory = {.root = NULL};
    struct wire_request r;
    struct wire_refusal refusal;
    assert_true(wire_parse_request(&memory, text(ACQUIRE("")), &r, &refusal));
    assert_true(r.has_session);
    assert_int_equal(r.session, 0x0123456789abcdef);
    assert_text(r.secret, SECRET);
    assert_int_equal(r.request, 7);
    assert_int_equal(r.mode, WIRE_EXCLUSIVE);
    assert_true(r.wait_ms == WIRE_FOR_EVER);
    assert_false(r.create);
    assert_int_equal(r.handle, 0);
    assert_int_equal(r.ack_floor, 0);
    assert_int_equal(r.acks_count, 0);
    assert_true(wire_parse_request(&memory, text(OPEN("")), &r, &refusal));
    assert_false(r.has_session);
    assert_int_equal(r.lease_ms, 0);
    wire_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
