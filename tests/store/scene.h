/* SPDX-License-Identifier: Apache-2.0
 *
 * scene.h -- what the store's tests share: a folder, a store in it, a scripted
 * life, and one number for all that a store says.
 */
#ifndef TESTS_STORE_SCENE_H
#define TESTS_STORE_SCENE_H

#include <sys/types.h>

#include "lockd/store.h"

enum { SCENE_STEPS = 14, SCENE_PATH = 256 };

/* A fresh folder below $TMPDIR; `path` has room for SCENE_PATH. */
void scene_make_dir(char *path);
void scene_remove_dir(const char *path);

/* `dir` with the ballast file left out, which is large and says nothing. */
void scene_copy_dir(const char *from, const char *to);

enum store_rc scene_init(const char *dir, char *ret_detail, size_t detail_size);

/* Opens to serve, or fails the test. */
struct store *scene_open(const char *dir);

/* An entry with `size` bytes made from its slot; `data` has room for them. */
struct paxos_entry scene_entry(uint64_t slot, uint64_t round, uint8_t *data, size_t size);

/* Step 0 ... SCENE_STEPS - 1 of the life: votes, promises, sets, deletions, a
 * trim, entries that make a checkpoint due. */
enum store_rc scene_step(struct store *store, unsigned step);

/* Opens, takes the first `steps` steps, closes. */
void scene_live(const char *dir, unsigned steps);

/* A file of the folder: its path (until the next call), size, an octet of it;
 * and what changes it behind the store's back. */
char *scene_path(const char *dir, const char *name);
off_t scene_size(const char *dir, const char *name);
uint8_t scene_peek(const char *dir, const char *name, off_t at);
void scene_poke(const char *dir, const char *name, off_t at, const void *data, size_t size);
void scene_flip(const char *dir, const char *name, off_t at);
void scene_sql(const char *dir, const char *name, const char *sql);

/* Of everything that store_boot(), store_log() and store_rows() give, the
 * incarnation excepted; what they return, if they fail. */
enum store_rc scene_fingerprint(struct store *store, uint64_t *ret_fingerprint);

#endif
