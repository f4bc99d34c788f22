/* SPDX-License-Identifier: Apache-2.0 */
#include "lease/internal.h"

#include "paxos/base/pure.h"

void *memory_take(struct lease *l, size_t size)
{
    assert(size > 0);
    void *memory = l->allocator.allocate(l->allocator.context, size);
    if (memory == NULL) {
        /* Halfway through a command there is no way back, and a replica that
         * answers differently for want of memory is worse than one less. */
        l->allocator.exhausted(l->allocator.context);
    }
    l->counts.memory_bytes += size;
    return memory;
}

void memory_give(struct lease *l, void *memory, size_t size)
{
    if (memory == NULL) {
        return;
    }
    assert(l->counts.memory_bytes >= size);
    l->counts.memory_bytes -= size;
    l->allocator.release(l->allocator.context, memory, size);
}
