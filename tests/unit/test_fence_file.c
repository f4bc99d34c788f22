/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fence_file.c -- a fence on real files: locked, replaced, full, and in the
 * hands of several threads.
 */
#include "libclient/lockd_fence.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test-fence-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/fence", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"fence", "fence.lock", "fence.new", "link",
                                        "link.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        if (unlink(name) != 0) {
            rmdir(name);
        }
    }
    return rmdir(folder);
}

static struct lockd_fence *open_file(void)
{
    struct lockd_fence *f = NULL;
    assert_int_equal(lockd_fence_open(path, NULL, &f), LOCKD_OK);
    return f;
}

static void test_a_file(void **state)
{
    (void)state;
    struct lockd_fence *f = open_file();
    struct lockd_fence *other = NULL;
    assert_int_equal(lockd_fence_check(f, "a", 5), LOCKD_OK);
    assert_int_equal(lockd_fence_open(path, NULL, &other), LOCKD_E_LOCKED);
    assert_null(other);
    lockd_fence_close(f);
    f = open_file();
    assert_int_equal(lockd_fence_check(f, "a", 4), LOCKD_E_STALE);
    assert_int_equal(lockd_fence_check(f, "a", 6), LOCKD_OK);
    lockd_fence_close(f);
    /* A relative path. */
    const int before = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(lockd_fence_open("fence", NULL, &f), LOCKD_OK);
    assert_int_equal(fchdir(before), 0);
    close(before);
    assert_int_equal(lockd_fence_check(f, "a", 5), LOCKD_E_STALE);
    assert_int_equal(lockd_fence_check(f, "a", 7), LOCKD_OK);
    lockd_fence_close(f);
    f = open_file();
    assert_int_equal(lockd_fence_mark(f, "a"), 7);
    lockd_fence_close(f);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    const struct lockd_fence_options wrong = {.size = 1};
    struct lockd_fence *f = NULL;
    char link[192], below[192];
    snprintf(link, sizeof link, "%s/link", folder);
    snprintf(below, sizeof below, "%s/none/fence", folder);
    assert_int_equal(lockd_fence_open(NULL, NULL, &f), LOCKD_E_INVALID);
    assert_int_equal(lockd_fence_open("", NULL, &f), LOCKD_E_INVALID);
    assert_int_equal(lockd_fence_open("/tmp/", NULL, &f), LOCKD_E_INVALID);
    assert_int_equal(lockd_fence_open(path, NULL, NULL), LOCKD_E_INVALID);
    assert_int_equal(lockd_fence_open(path, &wrong, &f), LOCKD_E_INVALID);
    errno = 0;
    assert_int_equal(lockd_fence_open(below, NULL, &f), LOCKD_E_SYSTEM);
    assert_int_equal(errno, ENOENT);

    lockd_fence_close(open_file());
    assert_int_equal(symlink("fence", link), 0);
    assert_int_equal(lockd_fence_open(link, NULL, &f), LOCKD_E_SYSTEM);
    assert_int_equal(errno, ELOOP);
    /* An empty file is one that lost everything; a missing one is a new fence. */
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(lockd_fence_open(path, NULL, &f), LOCKD_E_PROTOCOL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(lockd_fence_open(path, NULL, &f), LOCKD_E_PROTOCOL);
    assert_int_equal(rmdir(path), 0);
    assert_null(f);
    lockd_fence_close(open_file());
}

/* Another process, killed as soon as its check was accepted. */
static void test_two_processes(void **state)
{
    (void)state;
    int told[2];
    char octet;
    assert_int_equal(pipe(told), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* Also should the test fail. */
        struct lockd_fence *f = NULL;
        const bool ok = lockd_fence_open(path, NULL, &f) == LOCKD_OK &&
                        lockd_fence_check(f, "a", 5) == LOCKD_OK;
        octet = ok ? '+' : '-';
        if (write(told[1], &octet, 1) == 1) {
            pause();
        }
        _exit(1);
    }
    struct lockd_fence *f = NULL;
    assert_int_equal(read(told[0], &octet, 1), 1);
    assert_int_equal(octet, '+');
    assert_int_equal(lockd_fence_open(path, NULL, &f), LOCKD_E_LOCKED);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    f = open_file();
    assert_int_equal(lockd_fence_check(f, "a", 4), LOCKD_E_STALE);
    assert_int_equal(lockd_fence_check(f, "a", 5), LOCKD_OK);
    lockd_fence_close(f);
    close(told[0]);
    close(told[1]);
}

/* A file that can't grow: the token is not accepted, nor is any other. */
static void test_a_full_disk(void **state)
{
    (void)state;
    struct lockd_fence *f = open_file();
    struct rlimit before, little;
    struct stat about;
    assert_int_equal(lockd_fence_check(f, "a", 5), LOCKD_OK);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = (rlim_t)about.st_size + 3;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    errno = 0;
    const enum lockd_rc rc = lockd_fence_check(f, "a", 6);
    const int error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, LOCKD_E_SYSTEM);
    assert_int_equal(error, EFBIG);
    assert_int_equal(lockd_fence_check(f, "a", 7), LOCKD_E_SYSTEM);
    assert_int_equal(lockd_fence_check(f, "b", 7), LOCKD_E_SYSTEM);
    assert_int_equal(lockd_fence_mark(f, "a"), 5);
    lockd_fence_close(f);
    f = open_file();
    assert_int_equal(lockd_fence_mark(f, "a"), 5);
    assert_int_equal(lockd_fence_check(f, "a", 6), LOCKD_OK);
    lockd_fence_close(f);
}

/* From any thread, one at a time. */
struct turns {
    pthread_mutex_t one;
    struct lockd_fence *fence;
    uint64_t token;
};

static void *take_turns(void *context)
{
    struct turns *t = context;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&t->one);
        const enum lockd_rc rc = lockd_fence_check(t->fence, "a", ++t->token);
        pthread_mutex_unlock(&t->one);
        if (rc != LOCKD_OK) {
            return "refused";
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct turns t = {.one = PTHREAD_MUTEX_INITIALIZER, .fence = open_file()};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &t), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *trouble;
        assert_int_equal(pthread_join(threads[i], &trouble), 0);
        assert_null(trouble);
    }
    assert_int_equal(lockd_fence_mark(t.fence, "a"), 200);
    lockd_fence_close(t.fence);
}

#define ON_FILES(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FILES(test_a_file),        ON_FILES(test_what_is_refused),
        ON_FILES(test_two_processes), ON_FILES(test_a_full_disk),
        ON_FILES(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
