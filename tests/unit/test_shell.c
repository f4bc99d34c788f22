/* SPDX-License-Identifier: Apache-2.0
 *
 * The small pieces of the daemon's shell: hello, local sockets, tags, log lines.
 */
#include "lockd/hello.h"
#include "lockd/listener.h"
#include "lockd/tags.h"
#include "lockd/trace.h"
#include "paxos/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* -------------------------------------------------------------------- hello */

static size_t encode(const struct hello *hello, uint8_t *data)
{
    struct writer w = writer_over(data, HELLO_MAX);
    hello_encode(hello, &w);
    assert_false(w.failed);
    return w.size;
}

static size_t encode_hello(uint8_t *data)
{
    const struct hello hello = {
        .from = 2,
        .to = 65535,
        .identity = UINT64_C(0x123456789abcdef0),
        .cell = "a",
        .clients = {{.principal = "local", .address = "h:7400"},
                    {.principal = "ops", .address = "h:7401"}},
        .clients_count = 2,
    };
    return encode(&hello, data);
}

static void hello_survives(void **state)
{
    (void)state;
    uint8_t data[HELLO_MAX + 3] = {0};
    struct hello hello;
    size_t size = 0;
    const size_t whole = encode_hello(data);
    for (size_t part = 0; part < whole; part++) {
        /* A copy of the exact size, so that reading past it is noticed. */
        uint8_t *copy = malloc(part + 1);
        assert_non_null(copy);
        memcpy(copy, data, part);
        assert_int_equal(hello_decode(bytes_of(copy, part), &hello, &size), HELLO_MORE);
        free(copy);
    }
    assert_int_equal(hello_decode(bytes_of(data, whole + 3), &hello, &size), HELLO_DECODED);
    assert_int_equal(size, whole);
    assert_int_equal(hello.from, 2);
    assert_int_equal(hello.to, 65535);
    assert_true(hello.identity == UINT64_C(0x123456789abcdef0));
    assert_string_equal(hello.cell, "a");
    assert_int_equal(hello.clients_count, 2);
    assert_string_equal(hello.clients[0].principal, "local");
    assert_string_equal(hello.clients[0].address, "h:7400");
    assert_string_equal(hello.clients[1].principal, "ops");
    assert_string_equal(hello.clients[1].address, "h:7401");
}

static void fill(char *text, size_t size, char with)
{
    memset(text, with, size - 1);
    text[size - 1] = '\0';
}

static void the_longest_hello_survives(void **state)
{
    (void)state;
    uint8_t data[HELLO_MAX];
    struct hello hello = {
        .from = 1, .to = 2, .identity = 3, .clients_count = HELLO_CLIENTS_MAX};
    fill(hello.cell, sizeof hello.cell, 'c');
    for (uint32_t i = 0; i < HELLO_CLIENTS_MAX; i++) {
        fill(hello.clients[i].principal, sizeof hello.clients[i].principal, (char)('0' + i));
        fill(hello.clients[i].address, sizeof hello.clients[i].address, (char)('a' + i));
    }
    const size_t whole = encode(&hello, data);
    struct hello decoded;
    size_t size = 0;
    assert_int_equal(hello_decode(bytes_of(data, whole), &decoded, &size), HELLO_DECODED);
    assert_int_equal(size, whole);
    assert_string_equal(decoded.cell, hello.cell);
    assert_int_equal(decoded.clients_count, HELLO_CLIENTS_MAX);
    for (uint32_t i = 0; i < HELLO_CLIENTS_MAX; i++) {
        assert_string_equal(decoded.clients[i].principal, hello.clients[i].principal);
        assert_string_equal(decoded.clients[i].address, hello.clients[i].address);
    }
}

/* As somebody may send it who computes checksums as we do. */
static size_t encode_raw(uint8_t *data, const char *principal, const char *address,
                         uint8_t count, size_t tail)
{
    struct writer w = writer_over(data, HELLO_MAX);
    write_u32(&w, 0x4c4b5052);
    const size_t at = w.size;
    write_u16(&w, 0);
    write_u16(&w, HELLO_VERSION);
    write_u16(&w, 1);
    write_u16(&w, 2);
    write_u64(&w, 3);
    write_bytes(&w, bytes_of("a", 1));
    write_u8(&w, count);
    for (uint8_t i = 0; i < count; i++) {
        write_bytes(&w, bytes_of(principal, strlen(principal)));
        write_bytes(&w, bytes_of(address, strlen(address)));
    }
    for (size_t i = 0; i < tail; i++) {
        write_u8(&w, 0);
    }
    struct writer length = writer_over(data + at, 2);
    write_u16(&length, (uint16_t)(w.size + 8 - HELLO_HEAD));
    write_u64(&w, hash64(data, w.size));
    assert_false(w.failed);
    return w.size;
}

static void hello_of_wrong_content_is_refused(void **state)
{
    (void)state;
    char long_principal[LEASE_PRINCIPAL_MAX + 2];
    char long_address[ADDRESS_MAX + 1];
    fill(long_principal, sizeof long_principal, 'p');
    fill(long_address, sizeof long_address, 'a');
    const struct {
        const char *principal;
        const char *address;
        uint8_t count;
        size_t tail;
        enum hello_decode decoded;
    } cases[] = {
        {"p", "h:1", 0, 0, HELLO_DECODED}, /* One without a port for clients. */
        {"p", "h:1", 8, 0, HELLO_DECODED},
        {"p", "h:1", 9, 0, HELLO_DAMAGED},
        {"p", "h:1", 255, 0, HELLO_DAMAGED},
        {"p", "h:1", 1, 1, HELLO_DAMAGED}, /* Something behind its end. */
        {long_principal, "h:1", 1, 0, HELLO_DAMAGED},
        {long_principal + 1, "h:1", 1, 0, HELLO_DECODED},
        {"p", long_address, 1, 0, HELLO_DAMAGED},
        {"p", long_address + 1, 1, 0, HELLO_DECODED},
        {"two words", "h:1", 1, 0, HELLO_DAMAGED},
        {"p", "h\n:1", 1, 0, HELLO_DAMAGED},
        {"\xff", "h:1", 1, 0, HELLO_DAMAGED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t data[HELLO_MAX];
        struct hello hello;
        size_t size = 0;
        const size_t whole = encode_raw(data, cases[i].principal, cases[i].address,
                                        cases[i].count, cases[i].tail);
        const enum hello_decode decoded = hello_decode(bytes_of(data, whole), &hello, &size);
        if (decoded != cases[i].decoded) {
            fail_msg("case %zu: %d instead of %d", i, (int)decoded, (int)cases[i].decoded);
        }
    }
}

static void hello_damaged_is_refused(void **state)
{
    (void)state;
    uint8_t data[HELLO_MAX];
    struct hello hello;
    size_t size = 0;
    const size_t whole = encode_hello(data);
    for (size_t bit = 0; bit < whole * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(hello_decode(bytes_of(data, whole), &hello, &size), HELLO_DECODED);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    data[7] = 9; /* The version's low octet. */
    assert_int_equal(hello_decode(bytes_of(data, whole), &hello, &size), HELLO_VERSION_UNKNOWN);
    assert_int_equal(size, 9);
    assert_int_equal(hello_decode(bytes_of("GET / HTTP/1.1\r\n", 16), &hello, &size),
                     HELLO_DAMAGED);
}

/* ------------------------------------------------------------- local sockets */

static int accepted = -1;

static void on_accepted(void *context, int fd, const struct address *from)
{
    (void)context;
    assert_int_equal(from->storage.ss_family, AF_UNIX);
    accepted = fd;
}

struct place {
    struct ev_loop *loop;
    char folder[32];
    char path[64];
    char error[CONFIG_ERROR_MAX];
};

static int open_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    *state = p;
    snprintf(p->folder, sizeof p->folder, "/tmp/test_shell_XXXXXX");
    if (mkdtemp(p->folder) == NULL) {
        return -1;
    }
    snprintf(p->path, sizeof p->path, "%s/s", p->folder);
    p->loop = ev_loop_new(EVFLAG_AUTO);
    return p->loop == NULL;
}

static int close_place(void **state)
{
    struct place *p = *state;
    ev_loop_destroy(p->loop);
    (void)unlink(p->path);
    (void)rmdir(p->folder);
    free(p);
    return 0;
}

static struct listener *listen_local(struct place *p)
{
    p->error[0] = '\0';
    return listener_open_local(p->loop, p->path, on_accepted, /* context= */ NULL, p->error);
}

static int connect_local(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&name, sizeof name) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void only_the_owner_connects(void **state)
{
    struct place *p = *state;
    const mode_t before = umask(0); /* The most generous. */
    struct listener *l = listen_local(p);
    umask(before);
    assert_non_null(l);
    struct stat status;
    assert_int_equal(lstat(p->path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 07777, 0600);

    listener_start(l);
    const int fd = connect_local(p->path);
    assert_true(fd >= 0);
    ev_run(p->loop, EVRUN_NOWAIT);
    assert_true(accepted >= 0);
    close(accepted);
    close(fd);
    char text[ADDRESS_MAX];
    listener_address(l, text);
    assert_string_equal(text, "local socket");
    listener_close(l);
    assert_int_not_equal(lstat(p->path, &status), 0); /* It leaves nothing. */
}

static void a_socket_left_over_is_replaced(void **state)
{
    struct place *p = *state;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, p->path, strlen(p->path) + 1);
    const int gone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(gone, (const struct sockaddr *)&name, sizeof name), 0);
    close(gone);

    struct listener *l = listen_local(p);
    assert_non_null(l);
    const int fd = connect_local(p->path);
    assert_true(fd >= 0);
    close(fd);

    /* One in use is not, and stays in use. */
    assert_null(listen_local(p));
    assert_non_null(strstr(p->error, p->path));
    assert_non_null(strstr(p->error, "in use"));
    const int again = connect_local(p->path);
    assert_true(again >= 0);
    close(again);
    listener_close(l);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    struct place *p = *state;
    FILE *file = fopen(p->path, "we");
    assert_non_null(file);
    fputs("precious", file);
    fclose(file);
    assert_null(listen_local(p));
    assert_non_null(strstr(p->error, p->path));
    struct stat status;
    assert_int_equal(lstat(p->path, &status), 0);
    assert_int_equal(status.st_size, 8);
    unlink(p->path);

    /* Nor is a link followed to where it leads. */
    assert_int_equal(symlink("elsewhere", p->path), 0);
    assert_null(listen_local(p));
    assert_int_equal(lstat(p->path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));

    snprintf(p->path, sizeof p->path, "%s/none/s", p->folder);
    assert_null(listen_local(p));
    assert_non_null(strstr(p->error, "No such file"));
    snprintf(p->path, sizeof p->path, "%s/s", p->folder);
}

/* --------------------------------------------------------------------- tags */

static struct wire_text text_of(const char *text)
{
    return (struct wire_text){.data = text, .size = strlen(text)};
}

static void tags_come_back(void **state)
{
    (void)state;
    struct tags *tags = tags_new();
    assert_non_null(tags);
    struct tag_list one = {0};
    struct tag_list two = {0};
    uint32_t tag[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        tag[i] = tags_take(tags, i % 2 == 0 ? &one : &two, 7 + i % 2, text_of(id),
                           /* patient= */ i % 4 == 0);
        assert_int_not_equal(tag[i], 0);
    }
    assert_int_equal(one.count, 500);
    assert_int_equal(one.patient, 250);
    assert_int_equal(two.patient, 0);
    struct wire_text id;
    assert_true(tags_find(tags, tag[998], 7, &id));
    assert_int_equal(id.size, 3);
    assert_memory_equal(id.data, "998", 3);
    assert_false(tags_find(tags, tag[998], 8, &id)); /* Another client's. */
    assert_false(tags_find(tags, 0, 7, &id));
    assert_false(tags_find(tags, UINT64_MAX, 7, &id));

    tags_release(tags, &one, tag[998]); /* The newest, one between, the oldest. */
    tags_release(tags, &one, tag[500]);
    tags_release(tags, &one, tag[0]);
    assert_int_equal(one.count, 497);
    assert_int_equal(one.patient, 248);
    assert_false(tags_find(tags, tag[500], 7, &id));
    tags_release_all(tags, &one);
    assert_int_equal(one.count, 0);
    assert_int_equal(one.patient, 0);
    assert_true(tags_find(tags, tag[1], 8, &id));

    /* What was released is used again before the pool grows. */
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(tags_take(tags, &one, 9, text_of("1"), /* patient= */ false) <= tag[999]);
    }
    assert_int_equal(two.count, 500);
    tags_release_all(tags, &two);
    tags_free(tags);
}

/* -------------------------------------------------------------------- trace */

static void check_line(const char *value, const char *expected)
{
    char line[TRACE_LINE_MAX];
    const struct trace_field fields[] = {trace_text("v", value), {.key = NULL}};
    const size_t size = trace_format(line, UINT64_C(1795258800123), TRACE_WARN, "e.f", fields);
    char whole[TRACE_LINE_MAX + 64];
    snprintf(whole, sizeof whole, "2026-11-21T11:00:00.123Z warn  e.f v=%s\n", expected);
    assert_int_equal(size, strlen(whole));
    assert_memory_equal(line, whole, size);
}

static void lines_cannot_be_forged(void **state)
{
    (void)state;
    check_line("plain:1", "plain:1");
    check_line("", "\"\"");
    check_line("two words", "\"two words\"");
    check_line("a=b", "\"a=b\"");
    check_line("say \"hi\"\\", "\"say \\\"hi\\\"\\\\\"");
    check_line("x\nerror forged", "\"x\\x0aerror forged\"");
}

static void lines_are_bounded(void **state)
{
    (void)state;
    char line[TRACE_LINE_MAX];
    char value[3000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    const struct trace_field fields[] = {
        trace_number("n", UINT64_MAX), trace_text("v", value), {.key = NULL}};
    const size_t size = trace_format(line, 0, TRACE_INFO, "e", fields);
    assert_int_equal(size, TRACE_LINE_MAX);
    assert_int_equal(line[size - 1], '\n');
    const char part[] = " n=18446744073709551615 v=vvv";
    assert_non_null(memmem(line, size, part, sizeof part - 1));
}

static void levels_have_names(void **state)
{
    (void)state;
    enum trace_level level = TRACE_INFO;
    assert_true(trace_level_parse("debug", &level));
    assert_int_equal(level, TRACE_DEBUG);
    assert_false(trace_level_parse("loud", &level));
    assert_int_equal(level, TRACE_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_survives),
        cmocka_unit_test(the_longest_hello_survives),
        cmocka_unit_test(hello_damaged_is_refused),
        cmocka_unit_test(hello_of_wrong_content_is_refused),
        cmocka_unit_test_setup_teardown(only_the_owner_connects, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_socket_left_over_is_replaced, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(what_is_no_socket_is_left_alone, open_place,
                                        close_place),
        cmocka_unit_test(tags_come_back),
        cmocka_unit_test(lines_cannot_be_forged),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests_name("shell", tests, NULL, NULL);
}
