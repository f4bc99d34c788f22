/* SPDX-License-Identifier: Apache-2.0
 *
 * pure.h -- include it last in every source of the pure core.
 *
 * The core decides and never acts.  Whoever reaches for the heap, a clock, a
 * file or chance gets an error at the line that does so, rather than a
 * simulator that quietly stops being deterministic.  What slips past the
 * preprocessor is caught by tools/dev/check_purity.py, which reads symbols.
 */
#ifndef PAXOS_BASE_PURE_H
#define PAXOS_BASE_PURE_H

#pragma GCC poison malloc calloc realloc free strdup
#pragma GCC poison printf fprintf sprintf fopen fwrite fread fflush
#pragma GCC poison time clock_gettime gettimeofday rand srand random getenv
#pragma GCC poison socket send recv pthread_create

#endif
