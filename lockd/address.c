/* SPDX-License-Identifier: Apache-2.0
 *
 * address.c -- see address.h.
 */
#include "lockd/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool parse_port(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    const size_t digits = strlen(text);
    if (digits == 0 || digits >= ADDRESS_PORT_MAX) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(*text - '0');
    }
    if (port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool is_host(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || strchr("[]/\"\\", *c) != NULL) {
            return false;
        }
    }
    return *host != '\0';
}

bool address_split(const char *text, char ret_host[ADDRESS_MAX], uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strlen(text) >= ADDRESS_MAX) {
        return false;
    }
    const char *first = text;
    const char *end = colon;
    const bool bracketed = *text == '[';
    if (bracketed) {
        if (colon - text < 3 || colon[-1] != ']') {
            return false;
        }
        first++;
        end--;
    }
    char host[ADDRESS_MAX];
    const size_t size = (size_t)(end - first);
    memcpy(host, first, size);
    host[size] = '\0';

    uint16_t port = 0;
    /* Without brackets a second colon would make the port ambiguous. */
    if (!is_host(host) || (!bracketed && strchr(host, ':') != NULL) ||
        !parse_port(colon + 1, &port)) {
        return false;
    }
    memcpy(ret_host, host, size + 1);
    *ret_port = port;
    return true;
}

static int look_up(const char *text, int flags, struct address *ret_address)
{
    char host[ADDRESS_MAX];
    uint16_t port = 0;
    if (!address_split(text, host, &port)) {
        return EAI_NONAME;
    }
    char service[ADDRESS_PORT_MAX];
    snprintf(service, sizeof service, "%u", port);

    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        return rc;
    }
    assert(found != NULL && found->ai_addrlen <= sizeof ret_address->storage);
    *ret_address = (struct address){.size = found->ai_addrlen};
    memcpy(&ret_address->storage, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

bool address_numeric(const char *text, struct address *ret_address)
{
    return look_up(text, AI_NUMERICHOST, ret_address) == 0;
}

int address_lookup(const char *text, struct address *ret_address)
{
    return look_up(text, /* flags= */ 0, ret_address);
}

void address_format(const struct address *address, char ret_text[ADDRESS_MAX])
{
    static_assert(ADDRESS_MAX >= INET6_ADDRSTRLEN + ADDRESS_PORT_MAX + 3,
                  "the longest numeric address fits");
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->storage, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(ret_text, ADDRESS_MAX, "%s:%u", host, ntohs(in.sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address->storage, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        snprintf(ret_text, ADDRESS_MAX, "[%s]:%u", host, ntohs(in6.sin6_port));
    } else {
        snprintf(ret_text, ADDRESS_MAX,
                 address->storage.ss_family == AF_UNIX ? "local socket" : "?");
    }
}

bool address_is_wildcard(const char *text)
{
    struct address address;
    if (!address_numeric(text, &address)) {
        return false;
    }
    if (address.storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address.storage, sizeof in);
        return in.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, &address.storage, sizeof in6);
    return memcmp(&in6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
}
