/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.h -- the one checksum of the tree: XXH3, 64 bits (Debian's xxHash).
 *
 * It guards values, frames, store rows and file contents against damage, not
 * against forgery.  The value is part of our formats: the algorithm and the
 * seeds may only change together with a format version.
 */
#ifndef PAXOS_BASE_HASH_H
#define PAXOS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t size);
uint64_t hash64_seeded(const void *data, size_t size, uint64_t seed);

#endif
