/* SPDX-License-Identifier: Apache-2.0
 *
 * locate.c -- see locate.h.
 */
#include "libclient/locate.h"

#include <assert.h>
#include <string.h>

enum {
    HASTE_MS = 1500,     /* So long a search pauses only ... */
    HASTE_LOW_MS = 20,   /* ... from here ... */
    HASTE_HIGH_MS = 50,  /* ... to here; */
    PAUSE_MS_MAX = 1000, /* then twice as long each time, up to here. */
    DISTRUST_MS = 1000,  /* An address that failed is no hint for so long. */
    NOWHERE = ENGINE_ENDPOINTS_MAX,
};

#define DEFAULT_PORT ":7400"

/* ---------------------------------------------------------------- addresses */

static bool is_port(const char *text, size_t size)
{
    uint32_t port = 0;
    if (size == 0 || size > 5) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    return port > 0 && port <= 65535;
}

static bool is_host(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 127 || c == '[' || c == ']' || c == ',' || c == '/') {
            return false;
        }
    }
    return size > 0;
}

/* How much of the text is the host; 0: malformed. */
static size_t host_size(struct wire_text t)
{
    if (t.size == 0) {
        return 0;
    }
    if (t.data[0] == '[') {
        const char *close = memchr(t.data, ']', t.size);
        const size_t size = close == NULL ? 0 : (size_t)(close - t.data) + 1;
        return size > 2 && is_host(t.data + 1, size - 2) ? size : 0;
    }
    const char *colon = memchr(t.data, ':', t.size);
    const size_t size = colon == NULL ? t.size : (size_t)(colon - t.data);
    return is_host(t.data, size) ? size : 0;
}

static bool is_local(struct wire_text t)
{
    const size_t prefix = sizeof ENGINE_LOCAL - 1;
    return t.size >= prefix && memcmp(t.data, ENGINE_LOCAL, prefix) == 0;
}

/* "unix:/path", as it is. */
static bool complete_local(struct wire_text t, char ret_address[ENGINE_ADDRESS_MAX])
{
    const size_t prefix = sizeof ENGINE_LOCAL - 1;
    if (t.size <= prefix || t.data[prefix] != '/' || t.size - prefix > ENGINE_LOCAL_PATH_MAX) {
        return false;
    }
    memcpy(ret_address, t.data, t.size);
    ret_address[t.size] = 0;
    return true;
}

/* Writes "host:port" in full.  False: not of that form. */
static bool complete(struct wire_text t, char ret_address[ENGINE_ADDRESS_MAX])
{
    if (is_local(t)) {
        return complete_local(t, ret_address);
    }
    const size_t host = host_size(t);
    if (host == 0 || t.size + sizeof DEFAULT_PORT > ENGINE_ADDRESS_MAX) {
        return false;
    }
    if (host < t.size &&
        (t.data[host] != ':' || !is_port(t.data + host + 1, t.size - host - 1))) {
        return false;
    }
    memcpy(ret_address, t.data, t.size);
    ret_address[t.size] = 0;
    if (host == t.size) {
        memcpy(ret_address + host, DEFAULT_PORT, sizeof DEFAULT_PORT);
    }
    return true;
}

/* The index of an endpoint, added if it is new; NOWHERE if it is malformed or
 * there are too many. */
static uint32_t endpoint_of(struct locate *l, struct wire_text text)
{
    char address[ENGINE_ADDRESS_MAX];
    if (!complete(text, address)) {
        return NOWHERE;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        if (strcmp(l->endpoints[i].address, address) == 0) {
            return i;
        }
    }
    if (l->count == ENGINE_ENDPOINTS_MAX) {
        return NOWHERE;
    }
    l->endpoints[l->count] = (struct endpoint){.failed = false};
    memcpy(l->endpoints[l->count].address, address, sizeof address);
    return l->count++;
}

bool locate_init(struct locate *l, const char *endpoints, uint64_t seed)
{
    *l = (struct locate){.chance = seed};
    for (const char *at = endpoints;; at++) {
        const size_t size = strcspn(at, ",");
        if (endpoint_of(l, (struct wire_text){.data = at, .size = size}) == NOWHERE) {
            return false;
        }
        at += size;
        if (*at == 0) {
            break;
        }
    }
    /* Many clients with the same list shall not all begin with its first. */
    l->current = l->home = (uint32_t)locate_chance(l, 0, l->count - 1);
    return true;
}

bool locate_is_local(const struct locate *l)
{
    const char *address = locate_address(l);
    return is_local((struct wire_text){.data = address, .size = strlen(address)});
}

/* An address that somebody told us is for others too. */
static bool is_told(const struct locate *l, struct wire_text address)
{
    return address.size > 0 && !is_local(address) && !locate_is_local(l);
}

void locate_learn(struct locate *l, struct wire_text address)
{
    if (is_told(l, address)) {
        (void)endpoint_of(l, address);
    }
}

const char *locate_address(const struct locate *l)
{
    assert(l->current < l->count);
    return l->endpoints[l->current].address;
}

/* ------------------------------------------------------------------- chance */

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t locate_chance(struct locate *l, uint64_t low, uint64_t high)
{
    assert(low <= high && high - low < UINT64_MAX);
    uint64_t z = (l->chance += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return low + (z ^ (z >> 31)) % (high - low + 1);
}

uint64_t locate_pause(struct locate *l, uint64_t now_ms)
{
    if (now_ms - l->since_ms < HASTE_MS) {
        return locate_chance(l, HASTE_LOW_MS, HASTE_HIGH_MS);
    }
    l->pauses++;
    const uint64_t pause =
        l->pauses >= 5 ? (uint64_t)PAUSE_MS_MAX : (uint64_t)HASTE_HIGH_MS << l->pauses;
    return locate_chance(l, pause / 2, pause);
}

/* -------------------------------------------------------------------- search */

void locate_begin(struct locate *l, uint64_t now_ms)
{
    if (!l->searching) {
        l->searching = true;
        l->since_ms = now_ms;
        l->tried = 0;
        l->pauses = 0;
        l->home = l->current;
    }
}

void locate_heard(struct locate *l, uint64_t epoch)
{
    if (epoch > l->epoch) {
        l->epoch = epoch;
    }
}

void locate_found(struct locate *l, uint64_t epoch)
{
    locate_heard(l, epoch);
    l->endpoints[l->current].failed = false;
    l->searching = false;
}

uint64_t locate_next(struct locate *l, uint64_t now_ms, bool failed)
{
    struct endpoint *e = &l->endpoints[l->current];
    locate_begin(l, now_ms);
    if (failed) {
        e->failed = true;
        e->failed_ms = now_ms;
        e->failed_epoch = l->epoch;
    }
    l->home = (l->home + 1) % l->count;
    l->current = l->home;
    if (++l->tried < l->count) {
        return 0;
    }
    l->tried = 0;
    return locate_pause(l, now_ms);
}

bool locate_hint(struct locate *l, uint64_t now_ms, struct wire_text address)
{
    const uint32_t i = is_told(l, address) ? endpoint_of(l, address) : NOWHERE;
    if (i == NOWHERE || i == l->current) {
        return false;
    }
    const struct endpoint *e = &l->endpoints[i];
    if (e->failed && e->failed_epoch >= l->epoch && now_ms - e->failed_ms < DISTRUST_MS) {
        return false;
    }
    locate_begin(l, now_ms);
    l->current = i;
    return true;
}
