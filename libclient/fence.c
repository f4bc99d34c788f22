/* SPDX-License-Identifier: Apache-2.0
 *
 * fence.c -- the marks of a fence; what it promises stands in lockd_fence.h.
 *
 *   F1  A token that was accepted is the mark of its name, or below it, or the name
 *       is unknown and the token at most the floor.  So an older one is refused.
 *   F2  F1 is true on the disk before the token is accepted, so also after a crash.
 *   F3  Marks and floor never sink.
 *
 * A change is one line appended and synced; what was not synced was not accepted,
 * so it may be there after a crash, in part or not at all.  Whoever opens a fence
 * writes its file anew before he accepts anything: after a sync that failed, the
 * page cache may show a mark that the disk does not have.
 */
#include "libclient/fence.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/list.h"
#include "paxos/base/mutant.h"

enum {
    NAMES_DEFAULT = 65536,
    NAMES_MAX = 1048576,
    APPENDED_MIN = 65536, /* Below it, the file is not worth being written anew. */
};

struct mark {
    struct list age;
    struct mark *next; /* In its bucket. */
    uint64_t token;
    uint64_t hash;
    char name[];
};

struct lockd_fence {
    struct fence_disk disk;
    bool broken; /* What is on the disk is not certain. */
    uint64_t floor;
    struct list ages; /* Of marks, the one longest not asked for first. */
    struct mark **buckets;
    size_t buckets_count; /* A power of two. */
    size_t count, names_max;
    uint64_t chain;           /* Of the file. */
    size_t written, appended; /* Octets: at once, and line by line behind them. */
};

static enum lockd_rc broken(struct lockd_fence *f, enum lockd_rc rc)
{
    assert(rc != LOCKD_OK);
    f->broken = true;
    return rc;
}

/* -------------------------------------------------------------------- marks */

static uint64_t hash_of(const char *name)
{
    return fence_hash(FENCE_HASH_START, name, strlen(name));
}

static struct mark **bucket_of(const struct lockd_fence *f, uint64_t hash)
{
    /* The low bits of FNV-1a are its weakest. */
    return &f->buckets[(hash ^ hash >> 32) & (f->buckets_count - 1)];
}

static struct mark *find(const struct lockd_fence *f, const char *name)
{
    const uint64_t hash = hash_of(name);
    struct mark *m = *bucket_of(f, hash);
    while (m != NULL && (m->hash != hash || strcmp(m->name, name) != 0)) {
        m = m->next;
    }
    return m;
}

static struct mark *mark_new(const char *name, uint64_t token)
{
    const size_t size = strlen(name) + 1;
    struct mark *m = malloc(sizeof *m + size);
    if (m != NULL) {
        *m = (struct mark){.token = token, .hash = hash_of(name)};
        memcpy(m->name, name, size);
    }
    return m;
}

static void insert(struct lockd_fence *f, struct mark *m)
{
    struct mark **bucket = bucket_of(f, m->hash);
    m->next = *bucket;
    *bucket = m;
    list_push_back(&f->ages, &m->age);
    f->count++;
}

static struct mark *oldest(const struct lockd_fence *f)
{
    assert(!list_empty(&f->ages));
    return LIST_OF(f->ages.next, struct mark, age);
}

static void touch(struct lockd_fence *f, struct mark *m)
{
    list_remove(&m->age);
    list_push_back(&f->ages, &m->age);
}

/* F1: what was accepted for the name is at most the floor from now on. */
static void forget(struct lockd_fence *f, struct mark *m)
{
    struct mark **link = bucket_of(f, m->hash);
    while (*link != m) {
        link = &(*link)->next;
    }
    *link = m->next;
    list_remove(&m->age);
    f->count--;
    if (m->token > f->floor && !mutant(fence_evicts_quietly)) {
        f->floor = m->token;
    }
    free(m);
}

/* --------------------------------------------------------------- the file */

/* Writes all marks into a new file. */
static enum lockd_rc rewrite(struct lockd_fence *f)
{
    struct fence_text t = {.capacity = FENCE_HEAD_MAX, .chain = FENCE_HASH_START};
    for (const struct list *at = f->ages.next; at != &f->ages; at = at->next) {
        const struct mark *m = LIST_OF(at, const struct mark, age);
        t.capacity += FENCE_LINE_MAX - 2 * FENCE_ENCODED_MAX + 3 * strlen(m->name);
    }
    t.data = malloc(t.capacity);
    if (t.data == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    fence_put_head(&t, f->floor, f->count);
    for (const struct list *at = f->ages.next; at != &f->ages; at = at->next) {
        const struct mark *m = LIST_OF(at, const struct mark, age);
        fence_put_record(&t, m->token, m->name, /* forgotten= */ NULL);
    }
    const enum lockd_rc rc = f->disk.replace(f->disk.context, t.data, t.size);
    free(t.data);
    if (rc != LOCKD_OK) {
        return broken(f, rc);
    }
    f->chain = t.chain;
    f->written = t.size;
    f->appended = 0;
    return LOCKD_OK;
}

/* F2: makes it durable that the name has this mark, and that another has none. */
static enum lockd_rc record(struct lockd_fence *f, uint64_t token, const char *name,
                            const char *forgotten)
{
    char line[FENCE_LINE_MAX];
    struct fence_text t = {.data = line, .capacity = sizeof line, .chain = f->chain};
    if (f->appended > f->written + APPENDED_MIN) {
        const enum lockd_rc rc = rewrite(f);
        if (rc != LOCKD_OK) {
            return rc;
        }
        t.chain = f->chain;
    }
    fence_put_record(&t, token, name, forgotten);
    enum lockd_rc rc = f->disk.append(f->disk.context, t.data, t.size);
    if (rc == LOCKD_OK) {
        rc = f->disk.sync(f->disk.context);
    }
    if (rc != LOCKD_OK) {
        return broken(f, rc);
    }
    f->chain = t.chain;
    f->appended += t.size;
    return LOCKD_OK;
}

/* ------------------------------------------------------------------ opening */

static enum lockd_rc load_record(struct lockd_fence *f, const struct fence_record *r)
{
    struct mark *m = find(f, r->name);
    struct mark *gone = r->forgotten[0] != 0 ? find(f, r->forgotten) : NULL;
    if (r->token <= (m != NULL ? m->token : 0) || (r->forgotten[0] != 0 && gone == NULL) ||
        (gone != NULL && m != NULL)) {
        return LOCKD_E_PROTOCOL; /* F3: nobody writes that. */
    }
    if (m != NULL) {
        m->token = r->token;
        touch(f, m);
        return LOCKD_OK;
    }
    if (gone != NULL) {
        forget(f, gone);
    }
    m = mark_new(r->name, r->token);
    if (m == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    insert(f, m);
    return LOCKD_OK;
}

static enum lockd_rc load(struct lockd_fence *f, const char *text, size_t size)
{
    struct fence_reader r = {.data = text, .size = size, .chain = FENCE_HASH_START};
    uint64_t count, taken = 0;
    if (!fence_take_head(&r, &f->floor, &count)) {
        return LOCKD_E_PROTOCOL;
    }
    for (struct fence_record record; r.at < r.size; taken++) {
        if (!fence_take_record(&r, &record)) {
            /* The last append may have been cut off; of no other part is that true. */
            return taken >= count && fence_torn(&r) ? LOCKD_OK : LOCKD_E_PROTOCOL;
        }
        const enum lockd_rc rc = load_record(f, &record);
        if (rc != LOCKD_OK) {
            return rc;
        }
    }
    return taken >= count ? LOCKD_OK : LOCKD_E_PROTOCOL;
}

static enum lockd_rc read_all(struct lockd_fence *f)
{
    char *text = NULL;
    size_t size = 0;
    enum lockd_rc rc = f->disk.read(f->disk.context, &text, &size);
    if (rc == LOCKD_OK && text != NULL && !mutant(fence_forgets)) {
        rc = load(f, text, size);
    }
    free(text);
    return rc;
}

static void fence_free(struct lockd_fence *f)
{
    for (struct list *at = f->ages.next; at != &f->ages;) {
        struct mark *m = LIST_OF(at, struct mark, age);
        at = at->next;
        free(m);
    }
    free(f->buckets);
    free(f);
}

static struct lockd_fence *fence_new(const struct fence_disk *disk, size_t names_max)
{
    struct lockd_fence *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    *f = (struct lockd_fence){.disk = *disk, .names_max = names_max, .buckets_count = 1};
    list_init(&f->ages);
    while (f->buckets_count < names_max) {
        f->buckets_count *= 2;
    }
    f->buckets = calloc(f->buckets_count, sizeof(struct mark *));
    if (f->buckets == NULL) {
        fence_free(f);
        return NULL;
    }
    return f;
}

enum lockd_rc fence_open(const struct fence_disk *disk,
                         const struct lockd_fence_options *options,
                         struct lockd_fence **ret_fence)
{
    struct lockd_fence_options o = {.size = sizeof o};
    if (options != NULL) {
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    }
    if (o.names_max > NAMES_MAX) {
        return LOCKD_E_INVALID;
    }
    struct lockd_fence *f = fence_new(disk, o.names_max != 0 ? o.names_max : NAMES_DEFAULT);
    if (f == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    enum lockd_rc rc = read_all(f);
    while (rc == LOCKD_OK && f->count > f->names_max) {
        forget(f, oldest(f)); /* It was opened for more of them before. */
    }
    if (rc == LOCKD_OK) {
        rc = rewrite(f);
    }
    if (rc != LOCKD_OK) {
        fence_free(f);
        return rc;
    }
    *ret_fence = f;
    return LOCKD_OK;
}

void lockd_fence_close(struct lockd_fence *fence)
{
    if (fence != NULL) {
        fence->disk.close(fence->disk.context);
        fence_free(fence);
    }
}

/* ----------------------------------------------------------------- checking */

/* A name that has no mark gets one, in the place of another if there is no room. */
static enum lockd_rc admit(struct lockd_fence *f, const char *name, uint64_t token)
{
    struct mark *gone = f->count < f->names_max ? NULL : oldest(f);
    struct mark *m = mark_new(name, token);
    if (m == NULL) {
        return LOCKD_E_NO_MEMORY;
    }
    const enum lockd_rc rc = record(f, token, name, gone != NULL ? gone->name : NULL);
    if (rc != LOCKD_OK) {
        free(m);
        return rc;
    }
    if (gone != NULL) {
        forget(f, gone);
    }
    insert(f, m);
    assert(f->count <= f->names_max);
    return LOCKD_OK;
}

static enum lockd_rc advance(struct lockd_fence *f, struct mark *m, uint64_t token)
{
    assert(token > m->token);
    const enum lockd_rc rc = record(f, token, m->name, /* forgotten= */ NULL);
    if (rc == LOCKD_OK) {
        m->token = token;
    }
    return rc;
}

static bool valid_name(const char *name)
{
    const size_t size = name == NULL ? 0 : strlen(name);
    return size > 0 && size <= LOCKD_FENCE_NAME_MAX;
}

enum lockd_rc lockd_fence_check(struct lockd_fence *fence, const char *name, uint64_t token)
{
    if (fence == NULL || !valid_name(name) || token == 0 || token > FENCE_TOKEN_MAX) {
        return LOCKD_E_INVALID;
    }
    if (fence->broken) {
        return LOCKD_E_SYSTEM;
    }
    struct mark *m = find(fence, name);
    if (m == NULL) {
        return token < fence->floor ? LOCKD_E_STALE : admit(fence, name, token);
    }
    touch(fence, m);
    if (token < m->token) {
        return LOCKD_E_STALE;
    }
    return token == m->token ? LOCKD_OK : advance(fence, m, token);
}

/* The part behind the last colon; `text` ends before that colon then. */
static const char *cut_last(char *text)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return "";
    }
    *colon = 0;
    return colon + 1;
}

enum lockd_rc lockd_fence_check_sequencer(struct lockd_fence *fence, const char *sequencer)
{
    char name[LOCKD_FENCE_NAME_MAX + sizeof ":exclusive:9007199254740991"];
    const size_t size = sequencer == NULL ? 0 : strlen(sequencer);
    uint64_t token;
    if (size >= sizeof name) {
        return LOCKD_E_INVALID;
    }
    memcpy(name, size == 0 ? "" : sequencer, size + 1);
    const char *number = cut_last(name);
    const char *mode = cut_last(name);
    if (!fence_parse_number(number, strlen(number), &token) ||
        (strcmp(mode, "exclusive") != 0 && strcmp(mode, "shared") != 0)) {
        return LOCKD_E_INVALID;
    }
    return lockd_fence_check(fence, name, token);
}

uint64_t lockd_fence_mark(const struct lockd_fence *fence, const char *name)
{
    const struct mark *m = valid_name(name) ? find(fence, name) : NULL;
    return m != NULL ? m->token : 0;
}

uint64_t lockd_fence_floor(const struct lockd_fence *fence)
{
    return fence->floor;
}
