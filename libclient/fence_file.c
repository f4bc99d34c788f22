/* SPDX-License-Identifier: Apache-2.0
 *
 * fence_file.c -- a fence's disk: a file, replaced by renaming and locked.
 *
 * PATH is the fence, PATH.lock is locked while it is open, and PATH.new is what
 * will take its place.  The lock has a file of its own because PATH is another
 * file after each renaming.
 */
#include "libclient/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A fence of 65,536 names of 100 octets has 30 MB at most. */
#define FILE_SIZE_MAX ((off_t)1 << 30)

enum { MODE = 0600 };

struct file {
    int fd;     /* Appends to PATH; -1: not yet. */
    int folder; /* In which it lies. */
    int lock;   /* PATH.lock. */
    char *name; /* In the folder. */
    char *lock_name, *new_name;
};

/* Closes and keeps errno, which says why. */
static void shut(int fd)
{
    const int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
}

static void file_close(void *context)
{
    struct file *f = context;
    if (f == NULL) {
        return;
    }
    shut(f->fd);
    shut(f->folder);
    shut(f->lock); /* Last: what is unlocked is not touched any more. */
    free(f->name);
    free(f->lock_name);
    free(f->new_name);
    free(f);
}

/* ------------------------------------------------------------------ octets */

static enum lockd_rc write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t count = write(fd, text, size);
        if (count < 0 && errno != EINTR) {
            return LOCKD_E_SYSTEM;
        }
        if (count > 0) {
            text += count;
            size -= (size_t)count;
        }
    }
    return LOCKD_OK;
}

static enum lockd_rc read_from(int fd, char **ret_text, size_t *ret_size)
{
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return LOCKD_E_SYSTEM;
    }
    if (!S_ISREG(about.st_mode) || about.st_size > FILE_SIZE_MAX) {
        return LOCKD_E_PROTOCOL;
    }
    const size_t size = (size_t)about.st_size;
    char *text = malloc(size + 1); /* An empty file is not the same as none. */
    if (text == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    for (size_t at = 0; at < size;) {
        const ssize_t count = read(fd, text + at, size - at);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            errno = count == 0 ? EIO : errno; /* Somebody cuts it meanwhile. */
            free(text);
            return LOCKD_E_SYSTEM;
        }
        at += (size_t)count;
    }
    *ret_text = text;
    *ret_size = size;
    return LOCKD_OK;
}

static enum lockd_rc file_read(void *context, char **ret_text, size_t *ret_size)
{
    const struct file *f = context;
    /* Not through a symbolic link: renaming would replace it, and leave the file
     * that it names behind with old marks. */
    const int fd = openat(f->folder, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? LOCKD_OK : LOCKD_E_SYSTEM;
    }
    const enum lockd_rc rc = read_from(fd, ret_text, ret_size);
    shut(fd);
    return rc;
}

static enum lockd_rc file_replace(void *context, const char *text, size_t size)
{
    struct file *f = context;
    const int fd =
        openat(f->folder, f->new_name,
               O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, MODE);
    if (fd < 0) {
        return LOCKD_E_SYSTEM;
    }
    if (write_all(fd, text, size) != LOCKD_OK || fsync(fd) != 0 ||
        renameat(f->folder, f->new_name, f->folder, f->name) != 0 || fsync(f->folder) != 0) {
        shut(fd);
        return LOCKD_E_SYSTEM;
    }
    shut(f->fd);
    f->fd = fd;
    return LOCKD_OK;
}

static enum lockd_rc file_append(void *context, const char *text, size_t size)
{
    const struct file *f = context;
    return write_all(f->fd, text, size);
}

static enum lockd_rc file_sync(void *context)
{
    const struct file *f = context;
    return fdatasync(f->fd) == 0 ? LOCKD_OK : LOCKD_E_SYSTEM;
}

/* ------------------------------------------------------------------ opening */

static bool name_parts(struct file *f, const char *name)
{
    f->name = strdup(name);
    if (asprintf(&f->lock_name, "%s.lock", name) < 0) {
        f->lock_name = NULL;
    }
    if (asprintf(&f->new_name, "%s.new", name) < 0) {
        f->new_name = NULL;
    }
    return f->name != NULL && f->lock_name != NULL && f->new_name != NULL;
}

static int open_folder(const char *path, size_t size)
{
    char *folder = strndup(path, size);
    if (folder == NULL) {
        return -1;
    }
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int error = errno;
    free(folder);
    errno = error;
    return fd;
}

static enum lockd_rc open_parts(struct file *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    if (*name == 0) {
        return LOCKD_E_INVALID;
    }
    if (!name_parts(f, name)) {
        return LOCKD_E_NO_MEMORY;
    }
    f->folder = slash != NULL ? open_folder(path, (size_t)(name - path)) : open_folder(".", 1);
    if (f->folder < 0) {
        return LOCKD_E_SYSTEM;
    }
    f->lock = openat(f->folder, f->lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, MODE);
    if (f->lock < 0) {
        return LOCKD_E_SYSTEM;
    }
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? LOCKD_E_LOCKED : LOCKD_E_SYSTEM;
    }
    return LOCKD_OK;
}

enum lockd_rc lockd_fence_open(const char *path, const struct lockd_fence_options *options,
                               struct lockd_fence **ret_fence)
{
    if (path == NULL || *path == 0 || ret_fence == NULL ||
        (options != NULL && options->size < sizeof options->size)) {
        return LOCKD_E_INVALID;
    }
    struct file *f = malloc(sizeof *f);
    if (f == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    *f = (struct file){.fd = -1, .folder = -1, .lock = -1};
    const struct fence_disk disk = {.context = f,
                                    .read = file_read,
                                    .replace = file_replace,
                                    .append = file_append,
                                    .sync = file_sync,
                                    .close = file_close};
    enum lockd_rc rc = open_parts(f, path);
    if (rc == LOCKD_OK) {
        rc = fence_open(&disk, options, ret_fence);
    }
    if (rc != LOCKD_OK) {
        const int error = errno;
        file_close(f);
        errno = error;
    }
    return rc;
}
