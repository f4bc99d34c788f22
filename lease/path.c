/* SPDX-License-Identifier: Apache-2.0
 *
 * path.c -- which names a node may have.
 *
 * Strict on purpose: two spellings that look or compare alike in one program
 * and not in another are how a lock comes to have two holders.  So UTF-8 must
 * be the shortest form (Unicode 15, table 3-7), and no control character, C0,
 * DEL or C1, gets into a log, a terminal or a line of the protocol by a name.
 * Names are compared by octet; nothing is normalised or folded.
 */
#include "lease/internal.h"

#include "paxos/base/pure.h"

static bool in_range(uint8_t octet, uint8_t low, uint8_t high)
{
    return octet >= low && octet <= high;
}

/* Octets of the character that begins at `at`; 0: malformed, or a control. */
static size_t character_size(const uint8_t *at, size_t left)
{
    const uint8_t lead = at[0];
    if (lead < 0x80) {
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (left < size) {
        return 0;
    }
    /* What a second octet may be keeps out C1, overlong forms, surrogates and
     * all above U+10FFFF. */
    const uint8_t low = lead == 0xc2 || lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (!in_range(at[1], low, high)) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if (!in_range(at[i], 0x80, 0xbf)) {
            return 0;
        }
    }
    return size;
}

bool path_component_valid(struct bytes name)
{
    if (name.size == 0 || name.size > LEASE_COMPONENT_MAX) {
        return false;
    }
    if (name.data[0] == '.' && (name.size == 1 || (name.size == 2 && name.data[1] == '.'))) {
        return false;
    }
    for (size_t at = 0; at < name.size;) {
        const size_t size = character_size(name.data + at, name.size - at);
        if (size == 0 || name.data[at] == '/') {
            return false;
        }
        at += size;
    }
    return true;
}

struct bytes path_next(struct bytes *rest)
{
    assert(rest->size > 0);
    const uint8_t *slash = memchr(rest->data, '/', rest->size);
    const size_t size = slash == NULL ? rest->size : (size_t)(slash - rest->data);
    const struct bytes component = bytes_of(rest->data, size);
    const size_t skipped = slash == NULL ? size : size + 1;

    *rest = bytes_of(rest->data + skipped, rest->size - skipped);
    return component;
}

enum lease_rc lease_path_check(struct bytes path)
{
    if (path.size == 0) {
        return LEASE_OK; /* The root. */
    }
    if (path.size > LEASE_PATH_MAX || path.data[path.size - 1] == '/') {
        return LEASE_BAD_PATH;
    }
    unsigned depth = 0;
    while (path.size > 0) {
        depth++;
        if (!path_component_valid(path_next(&path)) || depth > LEASE_DEPTH_MAX) {
            return LEASE_BAD_PATH;
        }
    }
    return LEASE_OK;
}
