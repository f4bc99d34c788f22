/* SPDX-License-Identifier: Apache-2.0
 *
 * siphash.h -- SipHash-2-4 (Aumasson and Bernstein, 2012): a hash under a key
 * that can't be found from what it hashed.
 *
 * For secrets.  The checksum of paxos/base/hash.h is no substitute: whoever sees
 * it of eight octets that he knows can compute its seed.
 */
#ifndef LOCKD_SIPHASH_H
#define LOCKD_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const void *data, size_t size, const uint64_t key[2]);

#endif
