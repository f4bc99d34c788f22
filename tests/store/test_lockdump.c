/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lockdump.c -- lockdump, the program, on stores made here.
 *
 * LOCKDUMP names the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "paxos/codec.h"
#include "tests/store/scene.h"

static char dir[SCENE_PATH];
static char output[64 * 1024];

/* Runs `lockdump ARGUMENTS`, keeps what it printed, returns its exit code. */
static int lockdump(const char *arguments)
{
    char command[4 * SCENE_PATH];
    snprintf(command, sizeof(command), "%s %s 2>&1", getenv("LOCKDUMP"), arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof(output) - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int lockdump_dir(const char *options)
{
    char arguments[2 * SCENE_PATH];
    snprintf(arguments, sizeof(arguments), "%s %s", options, dir);
    return lockdump(arguments);
}

static void assert_prints(const char *text)
{
    if (strstr(output, text) == NULL) {
        print_message("# \"%s\" is missing in:\n%s\n", text, output);
        fail();
    }
}

static void assert_prints_not(const char *text)
{
    if (strstr(output, text) != NULL) {
        print_message("# \"%s\" stands in:\n%s\n", text, output);
        fail();
    }
}

/* Slot 1 holds a put and a delete, slots 2 and 3 a vote and a no-op. */
static void write_entries(struct store *store)
{
    uint8_t buffer[1024];
    struct writer w = writer_over(buffer, sizeof(buffer));
    const struct lease_command put = {.type = LEASE_CMD_PUT,
                                      .path = bytes_of("motd", 4),
                                      .content = bytes_of("hello", 5),
                                      .if_generation = LEASE_ANY,
                                      .if_instance = LEASE_ANY};
    const struct lease_command gone = {.type = LEASE_CMD_DELETE,
                                       .path = bytes_of("old", 3),
                                       .if_generation = LEASE_ANY,
                                       .if_instance = LEASE_ANY};
    lease_command_encode(&put, &w);
    lease_command_encode(&gone, &w);
    assert_false(w.failed);
    struct paxos_entry entries[3];
    for (uint64_t i = 0; i < 3; i++) {
        entries[i] = (struct paxos_entry){
            .slot = i + 1,
            .ballot = {.round = 4, .id = 2},
            .value = {.kind = i == 2 ? PAXOS_NOOP : PAXOS_COMMANDS,
                      .epoch = 4 << 16 | 2,
                      .data = i == 2 ? bytes_of(NULL, 0) : bytes_of(buffer, w.size)}};
        entries[i].value.checksum = paxos_value_checksum(&entries[i].value);
    }
    const struct store_batch batch = {.entries = entries, .entries_count = 3, .chosen_mark = 1};
    assert_int_equal(store_write(store, &batch, 1), STORE_OK);
}

static int make_scene(void **state)
{
    (void)state;
    char detail[512];
    scene_make_dir(dir);
    assert_int_equal(scene_init(dir, detail, sizeof(detail)), STORE_OK);
    struct store *store = scene_open(dir);
    write_entries(store);
    store_close(store);
    return getenv("LOCKDUMP") == NULL ? -1 : 0;
}

static int remove_scene(void **state)
{
    (void)state;
    scene_remove_dir(dir);
    return 0;
}

static void everything_is_printed(void **state)
{
    (void)state;
    assert_int_equal(lockdump_dir(""), 0);
    assert_prints("cell test (not yet formed)");
    assert_prints("replica 1 identity 0000000000001000 incarnation 1");
    assert_prints("chosen 1 applied 0:0");
    assert_prints("log 1..3");
    assert_prints("member 3 identity 0000000000000000 127.0.0.1:7502");
    assert_prints("1: put \"motd\" 5 octets");
    assert_prints("2: delete \"old\"");
    assert_prints("(a vote; not known to be chosen)");
}

static void parts_can_be_chosen(void **state)
{
    (void)state;
    assert_int_equal(lockdump_dir("--meta"), 0);
    assert_prints("cell test");
    assert_prints_not("put \"motd\"");
    assert_int_equal(lockdump_dir("--log --from 3 --to 9"), 0);
    assert_prints_not("cell test");
    assert_prints_not("put \"motd\"");
    assert_prints("noop");
    assert_int_equal(lockdump_dir("--nodes"), 0);
    assert_string_equal(output, "");
}

static void a_running_replica_is_left_alone(void **state)
{
    (void)state;
    struct store *store = scene_open(dir);
    assert_int_equal(lockdump_dir(""), 1);
    assert_prints("another process uses the store");
    assert_prints("stop the replica first");
    store_close(store);
    assert_int_equal(lockdump_dir(""), 0);
}

static void a_copy_is_made_once(void **state)
{
    (void)state;
    char arguments[4 * SCENE_PATH];
    snprintf(arguments, sizeof(arguments), "--copy %s %s/copy", dir, dir);
    assert_int_equal(lockdump(arguments), 0);
    assert_int_equal(lockdump(arguments), 1);
    assert_prints("exists");
}

static void what_is_missing_or_wrong_is_said(void **state)
{
    (void)state;
    assert_int_equal(lockdump("/nonexistent/lockd"), 1);
    assert_prints("/nonexistent/lockd: No such file");
    assert_int_equal(lockdump(""), 64);
    assert_int_equal(lockdump("--frobnicate x"), 64);
    assert_int_equal(lockdump("--from x y"), 64);
    assert_int_equal(lockdump("a b"), 64);
    assert_int_equal(lockdump("--copy a"), 64);
    assert_int_equal(lockdump("--version"), 0);
    assert_prints("lockdump 0.");
    assert_int_equal(lockdump("--help"), 0);
    assert_prints("--copy");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scene, remove_scene)
    const struct CMUnitTest tests[] = {
        TEST(everything_is_printed),
        TEST(parts_can_be_chosen),
        TEST(a_running_replica_is_left_alone),
        TEST(a_copy_is_made_once),
        TEST(what_is_missing_or_wrong_is_said),
    };
#undef TEST
    return cmocka_run_group_tests_name("lockdump", tests, NULL, NULL);
}
