/* SPDX-License-Identifier: Apache-2.0
 *
 * fence.h -- the parts of a fence: its disk, and the text that lies on it.
 *
 * fence.c has the marks and decides; it reaches the disk through `struct
 * fence_disk` alone, so that tests and the simulator can run it over one that
 * fails, or loses what was not synced.  fence_file.c is the real one, and
 * fence_text.c knows what a line looks like.
 */
#ifndef LIBCLIENT_FENCE_H
#define LIBCLIENT_FENCE_H

#include "libclient/lockd_fence.h"

/* --------------------------------------------------------------------- disk */

/* One file.  The functions answer LOCKD_OK, LOCKD_E_NO_MEMORY or LOCKD_E_SYSTEM;
 * read() also LOCKD_E_PROTOCOL for what can't be a fence. */
struct fence_disk {
    void *context;
    /* All that is in the file, malloc'ed; the caller frees it.  NULL: there is no file. */
    enum lockd_rc (*read)(void *context, char **ret_text, size_t *ret_size);
    /* Puts it in the file's place, whole, durable, or not at all.  After a failure
     * it is either.  Called before the first append. */
    enum lockd_rc (*replace)(void *context, const char *text, size_t size);
    /* Adds octets, not durable yet.  After a failure some may be there. */
    enum lockd_rc (*append)(void *context, const char *text, size_t size);
    /* Makes durable what was appended. */
    enum lockd_rc (*sync)(void *context);
    void (*close)(void *context);
};

/* lockd_fence_open() over any disk, which is the fence's from LOCKD_OK on. */
enum lockd_rc fence_open(const struct fence_disk *disk,
                         const struct lockd_fence_options *options,
                         struct lockd_fence **ret_fence);

/* --------------------------------------------------------------------- text */

/* A fence is a text file.  Lines are fields behind each of which stands a tab, but
 * for the last:
 *
 *     lockd-fence  1  FLOOR  COUNT                CHAIN
 *     TOKEN  NAME                                 CHAIN
 *     TOKEN  NAME  FORGOTTEN                      CHAIN
 *
 * The head and COUNT lines were written at once, from the least to the most
 * recently asked for; the lines behind them one by one, each synced before the
 * next was begun.  FORGOTTEN made room for NAME.  Names are percent-encoded, so no
 * line holds a NUL, and what a disk has not written shows.  CHAIN is a checksum of
 * everything from the head to here: nothing can be changed, left out or moved but
 * at the very end. */

enum {
    FENCE_ENCODED_MAX = 3 * LOCKD_FENCE_NAME_MAX,
    FENCE_HEAD_MAX = 96,
    FENCE_LINE_MAX = 48 + 2 * FENCE_ENCODED_MAX, /* Of a record. */
};

/* No revision of a cell passes it. */
#define FENCE_TOKEN_MAX ((UINT64_C(1) << 53) - 1)

uint64_t fence_hash(uint64_t hash, const char *data, size_t size);
#define FENCE_HASH_START UINT64_C(0xcbf29ce484222325)

/* What is being written.  The caller gives the room, FENCE_..._MAX for each line. */
struct fence_text {
    char *data;
    size_t size, capacity;
    uint64_t chain;
};

void fence_put_head(struct fence_text *t, uint64_t floor, uint64_t count);
void fence_put_record(struct fence_text *t, uint64_t token, const char *name,
                      const char *forgotten); /* NULL: none. */

/* What is being read: `chain` is FENCE_HASH_START at first. */
struct fence_reader {
    const char *data;
    size_t size, at;
    uint64_t chain;
};

struct fence_record {
    uint64_t token;
    char name[LOCKD_FENCE_NAME_MAX + 1];
    char forgotten[LOCKD_FENCE_NAME_MAX + 1]; /* "": none. */
};

/* False: this is no such line, and the reader stays before it. */
bool fence_take_head(struct fence_reader *r, uint64_t *ret_floor, uint64_t *ret_count);
bool fence_take_record(struct fence_reader *r, struct fence_record *ret_record);

/* Is what is left what a crash leaves of an append that was not synced, rather than
 * a line that was once complete? */
bool fence_torn(const struct fence_reader *r);

/* Digits only, at most FENCE_TOKEN_MAX. */
bool fence_parse_number(const char *text, size_t size, uint64_t *ret_number);

#endif
