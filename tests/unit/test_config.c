/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: what is taken, and that what is refused is refused by name,
 * with its place.
 */
#include "lockd/address.h"
#include "lockd/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PEERS                                                                                  \
    "\"peers\": {\"1\": \"127.0.0.1:7501\", \"2\": \"b.example:7502\", \"3\": \"[::1]:7503\"}"
/* Texts of so many octets, and a port for clients of a principal. */
#define TEXT_10 "0123456789"
#define TEXT_30 TEXT_10 TEXT_10 TEXT_10
#define TEXT_42 TEXT_30 TEXT_10 "ab"
#define TEXT_65 TEXT_30 TEXT_30 "abcde"
#define PORT(principal) "{\"listen\": \"h:1\", \"principal\": \"" principal "\"}"
#define BASE "\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"/d\", " PEERS

static bool parse(const char *text, struct config *ret_config, char *ret_error)
{
    return config_parse("f.json", text, strlen(text), ret_config, ret_error);
}

static void takes_the_least(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    assert_true(parse("{" BASE "}", &config, error));
    assert_string_equal(config.cell, "a");
    assert_int_equal(config.replica, 2);
    assert_string_equal(config.data_dir, "/d");
    assert_int_equal(config.listeners_count, 1);
    assert_string_equal(config.listeners[0].listen, "127.0.0.1:7400");
    assert_string_equal(config.listeners[0].advertise, "");
    assert_string_equal(config.listeners[0].principal, "local");
    assert_string_equal(config.local_socket, "/d/lockd.sock");
    assert_string_equal(config.listen_peer, "b.example:7502");
    assert_int_equal(config.peers_count, 3);
    assert_int_equal(config.peers[0].id, 1);
    assert_int_equal(config.peers[2].id, 3);
    assert_string_equal(config.peers[2].address, "[::1]:7503");
    assert_int_equal(config.heartbeat_ms, 100);
    assert_int_equal(config.master_lease_ms, 500);
    assert_int_equal(config.election_jitter_ms_min, 50);
    assert_int_equal(config.election_jitter_ms_max, 150);
    assert_int_equal(config.clock_drift_ppm, 10000);
    assert_int_equal(config.disk_stall_ms, 2000);
    assert_false(config.lease_reads);
    assert_int_equal(config.line_deadline_ms, 10000);
    assert_int_equal(config.idle_deadline_ms, 60000);
    assert_int_equal(config.cache_lease_ms, 3000);
    assert_int_equal(config.cached_max, 1000000);
}

static void takes_everything(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    assert_true(parse("{\"peers\": {\"30\": \"h:1\", \"4\": \"h:2\", \"5\": \"h:0\"}, "
                      "\"cell\": \"x-y_z.9\", \"replica\": 5, \"data_dir\": \"d\", "
                      "\"listen\": \"0.0.0.0:0\", \"advertise\": \"h:7\", "
                      "\"listen_peer\": \"0.0.0.0:8\", \"principal\": \"ops\", "
                      "\"heartbeat_ms\": 20, \"master_lease_ms\": 41, "
                      "\"election_jitter_ms\": [5, 6], \"clock_drift_percent\": 0.5, "
                      "\"disk_stall_ms\": 300, \"lease_reads\": true, "
                      "\"line_deadline_ms\": 200, \"idle_deadline_ms\": 300, "
                      "\"clients_max\": 9, \"requests_max\": 8, \"output_max_bytes\": 5000, "
                      "\"peer_queue_max_bytes\": 4194304, \"queue_commands_max\": 7, "
                      "\"queue_max_bytes\": 1048576, \"reads_max\": 6, "
                      "\"cache_lease_ms\": 0, \"cached_max\": 17, "
                      "\"local_socket\": \"\", \"listeners\": ["
                      "{\"listen\": \"0.0.0.0:0\", \"advertise\": \"h:8\", "
                      "\"principal\": \"build-hosts\"}, "
                      "{\"principal\": \"a@b.example/c~!\", \"listen\": \"[::1]:9\"}], "
                      "\"disk_reserve_mib\": 0}",
                      &config, error));
    assert_int_equal(config.peers[0].id, 4);
    assert_int_equal(config.peers[1].id, 5);
    assert_int_equal(config.peers[2].id, 30);
    assert_string_equal(config.listen_peer, "0.0.0.0:8");
    assert_int_equal(config.listeners_count, 3);
    assert_string_equal(config.listeners[0].principal, "ops");
    assert_string_equal(config.listeners[0].advertise, "h:7");
    assert_string_equal(config.listeners[1].principal, "build-hosts");
    assert_string_equal(config.listeners[1].listen, "0.0.0.0:0");
    assert_string_equal(config.listeners[1].advertise, "h:8");
    assert_string_equal(config.listeners[2].principal, "a@b.example/c~!");
    assert_string_equal(config.listeners[2].listen, "[::1]:9");
    assert_string_equal(config.listeners[2].advertise, "");
    assert_string_equal(config.local_socket, "");
    assert_int_equal(config.cache_lease_ms, 0);
    assert_int_equal(config.cached_max, 17);
    assert_int_equal(config.election_jitter_ms_max, 6);
    assert_int_equal(config.clock_drift_ppm, 5000);
    assert_true(config.lease_reads);
    assert_int_equal(config.requests_max, 8);
    assert_int_equal(config.disk_reserve_mib, 0);
}

/* What is wrong, and what the error must say: the place, the name, the reason. */
static const struct {
    const char *text;
    const char *error;
} refusals[] = {
    {"", "f.json:1:"},
    {"[]", "one JSON object"},
    {"{\"cell\": \"a\",\n \"cell\": \"b\"}", "f.json:2:7: duplicate object key"},
    {"{" BASE ",\n  \"hearbeat_ms\": 5}", "f.json:2:3: \"hearbeat_ms\" is no field"},
    {"{\"replica\": 1, \"data_dir\": \"/d\", " PEERS "}",
     "\"cell\" is missing: the cell's name"},
    {"{\"cell\": \"a\", \"data_dir\": \"/d\", " PEERS "}", "\"replica\" is missing"},
    {"{\"cell\": \"a\", \"replica\": 2, " PEERS "}", "\"data_dir\" is missing"},
    {"{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"/d\"}", "\"peers\" is missing"},
    {"{\"cell\": \"A\", \"replica\": 2, \"data_dir\": \"/d\", " PEERS "}",
     "f.json:1:2: \"cell\" must be"},
    {"{\"cell\": \"..\", \"replica\": 2, \"data_dir\": \"/d\", " PEERS "}", "\"cell\" must be"},
    {"{\"cell\": 7, \"replica\": 2, \"data_dir\": \"/d\", " PEERS "}", "\"cell\" must be"},
    {"{\"cell\": \"a\", \"replica\": 0, \"data_dir\": \"/d\", " PEERS "}",
     "\"replica\" must be"},
    {"{\"cell\": \"a\", \"replica\": 65536, \"data_dir\": \"/d\", " PEERS "}",
     "\"replica\" must be"},
    {"{\"cell\": \"a\", \"replica\": 1.5, \"data_dir\": \"/d\", " PEERS "}",
     "\"replica\" must be"},
    {"{\"cell\": \"a\", \"replica\": 9, \"data_dir\": \"/d\", " PEERS "}",
     "must name this replica too: \"9\" is missing"},
    {"{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"\", " PEERS "}",
     "\"data_dir\" must be"},
    {"{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"a\\u0000b\", " PEERS "}", "NUL"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {}}",
     "\"peers\" must be an object of 1 to 7"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": []}",
     "\"peers\" must be"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": "
     "{\"1\":\"h:1\",\"2\":\"h:2\",\"3\":\"h:3\",\"4\":\"h:4\",\"5\":\"h:5\",\"6\":\"h:6\","
     "\"7\":\"h:7\",\"8\":\"h:8\"}}",
     "\"peers\" must be an object of 1 to 7"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {\"1\": \"h:1\",\n"
     "\"replica\": \"h:2\"}}",
     "f.json:2:1: \"replica\" in \"peers\" must be a replica id"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {\"01\": \"h:1\"}}",
     "\"01\" in \"peers\""},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {\"0\": \"h:1\"}}",
     "\"0\" in \"peers\""},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {\"70000\": \"h:1\"}}",
     "\"70000\" in \"peers\""},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": "
     "{\"1\": \"h:1\", \"2\": \"h:0\"}}",
     "port other than 0"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": "
     "{\"1\": \"h:1\", \"2\": \"h:1\"}}",
     "has the address of replica 1"},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": {\"1\": \"h\"}}",
     "\"host:port\""},
    {"{\"cell\": \"a\", \"replica\": 1, \"data_dir\": \"/d\", \"peers\": "
     "{\"1\": \"0.0.0.0:1\", \"2\": \"h:2\"}}",
     "\"listen_peer\""},
    {"{" BASE ", \"listen\": \"localhost\"}", "\"listen\" must be where clients connect"},
    {"{" BASE ", \"listen\": \"h:70000\"}", "\"listen\" must be"},
    {"{" BASE ", \"listen\": \"::1:80\"}", "\"listen\" must be"},
    {"{" BASE ", \"listen\": \"0.0.0.0:7400\"}", "\"advertise\" must say where"},
    {"{" BASE ", \"advertise\": \"h:0\"}", "\"advertise\" must be"},
    {"{" BASE ", \"heartbeat_ms\": \"100\"}",
     "\"heartbeat_ms\" must be a whole number from 10"},
    {"{" BASE ", \"heartbeat_ms\": -1}", "\"heartbeat_ms\" must be"},
    {"{" BASE ", \"heartbeat_ms\": 250}", "must be more than twice \"heartbeat_ms\" (250)"},
    {"{" BASE ", \"election_jitter_ms\": [150, 50]}",
     "\"election_jitter_ms\" must be [least, most]"},
    {"{" BASE ", \"election_jitter_ms\": [50]}", "\"election_jitter_ms\" must be"},
    {"{" BASE ", \"clock_drift_percent\": 21}", "\"clock_drift_percent\" must be"},
    {"{" BASE ", \"clock_drift_percent\": null}", "\"clock_drift_percent\" must be"},
    {"{" BASE ", \"lease_reads\": 1}", "\"lease_reads\" must be true or false"},
    {"{" BASE ", \"principal\": \"\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": 5}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"root\"}", "nor \"root\""},
    {"{" BASE ", \"principal\": \"*\"}", "neither \"*\""},
    {"{" BASE ", \"principal\": \"two words\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"tab\\t\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"who#ever\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"m\\u00fcller\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"\\u007f\"}", "\"principal\" must be"},
    {"{" BASE ", \"principal\": \"" TEXT_65 "\"}", "\"principal\" must be"},
    {"{" BASE ", \"cache_lease_ms\": 60001}", "\"cache_lease_ms\" must be"},
    {"{" BASE ", \"cache_lease_ms\": -1}", "\"cache_lease_ms\" must be"},
    {"{" BASE ", \"cached_max\": 16777217}", "\"cached_max\" must be"},
    {"{" BASE ", \"cached_max\": true}", "\"cached_max\" must be"},
    {"{" BASE ", \"local_socket\": 1}", "\"local_socket\" must be the path of a socket"},
    {"{" BASE ", \"local_socket\": null}", "\"local_socket\" must be"},
    {"{" BASE ", \"local_socket\": \"/" TEXT_65 TEXT_42 "\"}", "\"local_socket\" must be"},
    {"{\"cell\": \"a\", \"replica\": 2,\n\"data_dir\": \"/" TEXT_65 "/" TEXT_30 "\", " PEERS
     "}",
     "f.json:2:1: \"data_dir\" is too long for a socket in it, whose path may have 107 octets"},
    {"{" BASE ",\n\"listeners\": {}}", "f.json:2:1: \"listeners\" must be a list"},
    {"{" BASE ", \"listeners\": [\"h:1\"]}", "\"listeners\" must be a list"},
    {"{" BASE ", \"listeners\": [{}]}", "\"listeners\" must have \"listen\" and \"principal\""},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\"}]}", "must have \"listen\" and"},
    {"{" BASE ", \"listeners\": [{\"principal\": \"x\"}]}", "must have \"listen\" and"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h\", \"principal\": \"x\"}]}",
     "\"listen\" in \"listeners\" must be where clients connect"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\", \"principal\": \"root\"}]}",
     "\"principal\" in \"listeners\" must be"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\", \"principal\": \"x\", "
     "\"advertise\": \"h:0\"}]}",
     "\"advertise\" in \"listeners\" must be"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\", \"principal\": \"x\", "
     "\"replica\": 9}]}",
     "\"replica\" in \"listeners\" is no field of a port"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\", \"listen\": \"h:2\", "
     "\"principal\": \"x\"}]}",
     "duplicate object key"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"[::]:1\", \"principal\": \"x\"}]}",
     "\"advertise\" must say where"},
    {"{" BASE ", \"listeners\": [{\"listen\": \"h:1\", \"principal\": \"local\"}]}",
     "two ports have the \"principal\" \"local\""},
    {"{" BASE ", \"listeners\": [" PORT("x") ", " PORT("y") ", " PORT("x") "]}",
     "two ports have the \"principal\" \"x\""},
    {"{" BASE ", \"advertise\": \"h:7\", \"listeners\": [{\"listen\": \"h:1\", "
     "\"principal\": \"x\", \"advertise\": \"h:7\"}]}",
     "two ports \"advertise\" h:7"},
    {"{" BASE ", \"listeners\": [" PORT("1") "," PORT("2") "," PORT("3") "," PORT("4") "," PORT(
         "5") "," PORT("6") "," PORT("7") "," PORT("8") "]}",
     "\"listeners\" must be a list of up to 7"},
};

static void refuses_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct config config = {.replica = 77};
        char error[CONFIG_ERROR_MAX] = "";
        const bool taken = parse(refusals[i].text, &config, error);
        if (taken || strstr(error, refusals[i].error) == NULL) {
            fail_msg("%s\n  said: %s\n  must say: %s", refusals[i].text, error,
                     refusals[i].error);
        }
        assert_int_equal(config.replica, 77); /* Untouched. */
    }
}

static void names_the_right_place(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    /* The name as a value, and as a member of another object, comes first. */
    assert_false(
        parse("{\"cell\": \"listen\",\n\"replica\": 1, \"data_dir\": \"{\\\"listen\\\"\",\n"
              "\"peers\": {\"1\": \"h:1\"},\n   \"listen\"  : 5}",
              &config, error));
    assert_non_null(strstr(error, "f.json:4:4: \"listen\" must be"));
    assert_false(parse("{\"peers\": {\"listen\": \"h:1\"},\n\"listen\": 5}", &config, error));
    assert_non_null(strstr(error, "f.json:2:1: \"listen\" must be"));
}

/* The longest path that a socket may have is taken, wherever it comes from. */
static void sockets_fit(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    char text[1024];
    char folder[CONFIG_PATH_MAX] = "";
    memset(folder, 'd', CONFIG_SOCKET_MAX - sizeof "/lockd.sock");
    for (int more = 0; more < 2; more++) {
        snprintf(text, sizeof text,
                 "{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"%s\", " PEERS "}", folder);
        assert_int_equal(parse(text, &config, error), more == 0);
        assert_int_equal(config_dev(NULL, folder, &config, error), more == 0);
        folder[strlen(folder)] = 'd';
    }
    assert_non_null(strstr(error, "give a shorter one with --data-dir"));

    /* A long folder is no trouble with the socket elsewhere, or with none. */
    snprintf(text, sizeof text,
             "{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"%s\", "
             "\"local_socket\": \"/%s%s\", " PEERS "}",
             folder, TEXT_65, TEXT_30 TEXT_10 "a");
    assert_true(parse(text, &config, error));
    assert_int_equal(strlen(config.local_socket), CONFIG_SOCKET_MAX - 1);
    snprintf(text, sizeof text,
             "{\"cell\": \"a\", \"replica\": 2, \"data_dir\": \"%s\", "
             "\"local_socket\": \"\", " PEERS "}",
             folder);
    assert_true(parse(text, &config, error));
    assert_string_equal(config.local_socket, "");
}

static void reads_a_file(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    assert_false(config_read("/nonexistent/lockd.json", &config, error));
    assert_non_null(strstr(error, "/nonexistent/lockd.json: No such file"));

    char path[] = "/tmp/test_config_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    fputs("{" BASE "}", file);
    fclose(file);
    assert_true(config_read(path, &config, error));
    assert_int_equal(config.replica, 2);
    remove(path);
}

static void dev_needs_nothing(void **state)
{
    (void)state;
    struct config config;
    char error[CONFIG_ERROR_MAX] = "";
    setenv("XDG_STATE_HOME", "/state", /* overwrite= */ 1);
    setenv("HOME", "/home/u", 1);
    assert_true(config_dev(NULL, NULL, &config, error));
    assert_string_equal(config.cell, "dev");
    assert_string_equal(config.data_dir, "/state/lockd/dev");
    assert_string_equal(config.local_socket, "/state/lockd/dev/lockd.sock");
    assert_int_equal(config.listeners_count, 1);
    assert_string_equal(config.listeners[0].listen, "127.0.0.1:7400");
    assert_string_equal(config.listeners[0].principal, "local");
    assert_int_equal(config.peers_count, 1);

    setenv("XDG_STATE_HOME", "relative", 1);
    assert_true(config_dev(NULL, NULL, &config, error));
    assert_string_equal(config.data_dir, "/home/u/.local/state/lockd/dev");

    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_false(config_dev(NULL, NULL, &config, error));
    assert_non_null(strstr(error, "--data-dir"));
    assert_true(config_dev("127.0.0.1:0", "/d", &config, error));
    assert_string_equal(config.listeners[0].listen, "127.0.0.1:0");
    assert_string_equal(config.data_dir, "/d");
    assert_false(config_dev("nowhere", "/d", &config, error));
    assert_non_null(strstr(error, "--listen nowhere"));
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host; /* NULL: refused. */
        uint16_t port;
        bool numeric;
    } cases[] = {
        {"127.0.0.1:7400", "127.0.0.1", 7400, true},
        {"[::1]:0", "::1", 0, true},
        {"host.example:65535", "host.example", 65535, false},
        {"host:65536", NULL, 0, false},
        {"host:", NULL, 0, false},
        {":80", NULL, 0, false},
        {"host", NULL, 0, false},
        {"host:-1", NULL, 0, false},
        {"host: 1", NULL, 0, false},
        {"ho st:1", NULL, 0, false},
        {"[]:1", NULL, 0, false},
        {"[::1:1", NULL, 0, false},
        {"", NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char host[ADDRESS_MAX] = "";
        uint16_t port = 0;
        struct address address;
        assert_int_equal(address_split(cases[i].text, host, &port), cases[i].host != NULL);
        if (cases[i].host != NULL) {
            assert_string_equal(host, cases[i].host);
            assert_int_equal(port, cases[i].port);
        }
        assert_int_equal(address_numeric(cases[i].text, &address), cases[i].numeric);
        if (cases[i].numeric) {
            char text[ADDRESS_MAX];
            address_format(&address, text);
            assert_string_equal(text, cases[i].text);
        }
    }
    assert_true(address_is_wildcard("0.0.0.0:1"));
    assert_true(address_is_wildcard("[::]:1"));
    assert_false(address_is_wildcard("127.0.0.1:1"));
    assert_false(address_is_wildcard("name:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_least),   cmocka_unit_test(takes_everything),
        cmocka_unit_test(refuses_by_name),   cmocka_unit_test(names_the_right_place),
        cmocka_unit_test(sockets_fit),       cmocka_unit_test(reads_a_file),
        cmocka_unit_test(dev_needs_nothing), cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
