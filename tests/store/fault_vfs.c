/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_vfs.c -- a disk for SQLite that fails when told.
 *
 * A write goes through to the file at once, which is what the page cache would
 * show, and into the list of its image.  A sync applies the list to `durable`,
 * which is what the disk holds.  A sync that fails empties the list without
 * applying it: the cache takes those pages for clean from then on.
 */
#include "tests/store/fault_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGES_MAX = 16, PATH_BYTES = 512, SECTOR_BYTES = 512, CALLS_MAX = 8192 };

struct op {
    bool truncate;
    int64_t at;
    size_t size;
    uint8_t *data;
};

struct image {
    char path[PATH_BYTES];
    uint8_t *durable;
    size_t size, capacity;
    struct op *ops;
    size_t ops_count, ops_capacity;
};

struct fault_file {
    sqlite3_file base;
    struct image *image;
    sqlite3_file *real;
};

static struct image images[IMAGES_MAX];
static enum fault_mode mode;
static long fail_at;
static long calls;
static bool was_write[CALLS_MAX];
static sqlite3_vfs *real_vfs;

/* ------------------------------------------------------------------- images */

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void drop_ops(struct image *image)
{
    for (size_t i = 0; i < image->ops_count; i++) {
        free(image->ops[i].data);
    }
    image->ops_count = 0;
}

static void drop_image(struct image *image)
{
    drop_ops(image);
    free(image->ops);
    free(image->durable);
    memset(image, 0, sizeof(*image));
}

static void resize(struct image *image, size_t size)
{
    if (size > image->capacity) {
        image->capacity = 2 * size;
        image->durable = must(realloc(image->durable, image->capacity));
    }
    if (size > image->size) {
        memset(image->durable + image->size, 0, size - image->size);
    }
    image->size = size;
}

static void load(struct image *image)
{
    FILE *file = fopen(image->path, "rb");
    if (file == NULL) {
        return;
    }
    fseek(file, 0, SEEK_END);
    resize(image, (size_t)ftell(file));
    rewind(file);
    if (image->size > 0 && fread(image->durable, image->size, 1, file) != 1) {
        abort();
    }
    fclose(file);
}

static struct image *image_of(const char *path)
{
    struct image *room = NULL;
    for (int i = 0; i < IMAGES_MAX; i++) {
        if (strcmp(images[i].path, path) == 0) {
            return &images[i];
        }
        if (images[i].path[0] == '\0' && room == NULL) {
            room = &images[i];
        }
    }
    must(room);
    snprintf(room->path, sizeof(room->path), "%s", path);
    load(room);
    return room;
}

static void push_op(struct image *image, bool truncate, int64_t at, const void *data,
                    size_t size)
{
    if (image->ops_count == image->ops_capacity) {
        image->ops_capacity = 2 * image->ops_capacity + 16;
        image->ops = must(realloc(image->ops, image->ops_capacity * sizeof(*image->ops)));
    }
    struct op *op = &image->ops[image->ops_count++];
    *op = (struct op){.truncate = truncate, .at = at, .size = size};
    if (size > 0) {
        op->data = must(malloc(size));
        memcpy(op->data, data, size);
    }
}

/* The sectors of a write, or some of them. */
static void apply(struct image *image, const struct op *op, struct rng *rng)
{
    if (op->truncate) {
        resize(image, (size_t)op->at);
        return;
    }
    const size_t start = (size_t)op->at;
    for (size_t done = 0; done < op->size;) {
        const size_t in_sector = SECTOR_BYTES - (start + done) % SECTOR_BYTES;
        const size_t left = op->size - done;
        const size_t piece = in_sector < left ? in_sector : left;
        if (rng == NULL || rng_below(rng, 2) == 0) {
            if (start + done + piece > image->size) {
                resize(image, start + done + piece);
            }
            memcpy(image->durable + start + done, op->data + done, piece);
        }
        done += piece;
    }
}

static void apply_all(struct image *image, struct rng *rng)
{
    for (size_t i = 0; i < image->ops_count; i++) {
        apply(image, &image->ops[i], rng);
    }
    drop_ops(image);
}

/* ------------------------------------------------------------------- faults */

static bool fails(bool writing)
{
    calls++;
    if (calls < CALLS_MAX) {
        was_write[calls] = writing;
    }
    return mode == FAULT_ONCE ? calls == fail_at : mode == FAULT_DEAD && calls >= fail_at;
}

void fault_begin(enum fault_mode new_mode, long at)
{
    for (int i = 0; i < IMAGES_MAX; i++) {
        drop_image(&images[i]);
    }
    mode = new_mode;
    fail_at = at;
    calls = 0;
}

void fault_stop(void)
{
    mode = FAULT_NONE;
}

long fault_calls(void)
{
    return calls;
}

bool fault_was_write(long at)
{
    return at < CALLS_MAX && was_write[at];
}

bool fault_hit(void)
{
    return mode != FAULT_NONE && calls >= fail_at;
}

void fault_crash(struct rng *rng, enum fault_keep keep)
{
    for (int i = 0; i < IMAGES_MAX; i++) {
        struct image *image = &images[i];
        if (image->path[0] == '\0') {
            continue;
        }
        if (keep != FAULT_KEEP_NONE) {
            apply_all(image, keep == FAULT_KEEP_SOME ? rng : NULL);
        }
        FILE *file = must(fopen(image->path, "r+b"));
        if ((image->size > 0 && fwrite(image->durable, image->size, 1, file) != 1) ||
            fflush(file) != 0 || ftruncate(fileno(file), (off_t)image->size) != 0) {
            abort();
        }
        fclose(file);
    }
    fault_begin(FAULT_NONE, 0);
}

/* -------------------------------------------------------------------- files */

static struct fault_file *of(sqlite3_file *file)
{
    return (struct fault_file *)file;
}

static int on_close(sqlite3_file *file)
{
    return of(file)->real->pMethods->xClose(of(file)->real);
}

static int on_read(sqlite3_file *file, void *data, int size, sqlite3_int64 at)
{
    return of(file)->real->pMethods->xRead(of(file)->real, data, size, at);
}

/* A write that fails may have written something: here, the whole sectors of its
 * first half.  Nothing that writes tears a sector in two. */
static int on_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    const bool failed = fails(/* writing= */ true);
    const sqlite3_int64 half = (at + size / 2) / SECTOR_BYTES * SECTOR_BYTES;
    const int written = !failed ? size : half > at ? (int)(half - at) : 0;
    if (written > 0) {
        push_op(of(file)->image, /* truncate= */ false, at, data, (size_t)written);
        const int rc = of(file)->real->pMethods->xWrite(of(file)->real, data, written, at);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }
    return !failed ? SQLITE_OK : calls % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (fails(/* writing= */ false)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    push_op(of(file)->image, /* truncate= */ true, size, NULL, 0);
    return of(file)->real->pMethods->xTruncate(of(file)->real, size);
}

static int on_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    if (fails(/* writing= */ false)) {
        if (mode == FAULT_ONCE) {
            drop_ops(of(file)->image);
        }
        return SQLITE_IOERR_FSYNC;
    }
    apply_all(of(file)->image, NULL);
    return SQLITE_OK;
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return of(file)->real->pMethods->xFileSize(of(file)->real, ret_size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return of(file)->real->pMethods->xLock(of(file)->real, level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return of(file)->real->pMethods->xUnlock(of(file)->real, level);
}

static int on_check_lock(sqlite3_file *file, int *ret_locked)
{
    return of(file)->real->pMethods->xCheckReservedLock(of(file)->real, ret_locked);
}

static int on_control(sqlite3_file *file, int op, void *argument)
{
    return of(file)->real->pMethods->xFileControl(of(file)->real, op, argument);
}

static int on_sector_size(sqlite3_file *file)
{
    return of(file)->real->pMethods->xSectorSize(of(file)->real);
}

static int on_characteristics(sqlite3_file *file)
{
    return of(file)->real->pMethods->xDeviceCharacteristics(of(file)->real);
}

static const sqlite3_io_methods methods = {
    .iVersion = 1, /* No shared memory, no mapping. */
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
};

/* ---------------------------------------------------------------------- vfs */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    (void)vfs;
    struct fault_file *fault = of(file);
    fault->base.pMethods = NULL;
    if (name == NULL || fails(/* writing= */ false)) {
        return SQLITE_CANTOPEN;
    }
    fault->image = image_of(name);
    fault->real = (sqlite3_file *)(void *)(fault + 1);
    const int rc = real_vfs->xOpen(real_vfs, name, fault->real, flags, ret_flags);
    if (rc == SQLITE_OK) {
        fault->base.pMethods = &methods;
    }
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    if (fails(/* writing= */ false)) {
        return SQLITE_IOERR_DELETE;
    }
    drop_image(image_of(name));
    return real_vfs->xDelete(real_vfs, name, sync_dir);
}

void fault_vfs_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = "fault";
    vfs.szOsFile += (int)sizeof(struct fault_file);
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    sqlite3_vfs_register(&vfs, /* makeDflt= */ 1);
}
