/* SPDX-License-Identifier: Apache-2.0
 *
 * words.c -- results, states and the version as text.
 */
#include "libclient/lockd.h"

const char *lockd_strerror(enum lockd_rc rc)
{
    switch (rc) {
#define RC_TEXT(name, value, text)                                                             \
    case name:                                                                                 \
        return text;
        LOCKD_RC_MAP(RC_TEXT)
#undef RC_TEXT
    }
    return "not a result of lockd";
}

const char *lockd_state_text(enum lockd_state state)
{
    switch (state) {
    case LOCKD_OPENING:
        return "opening";
    case LOCKD_SAFE:
        return "safe";
    case LOCKD_LEASE_LOW:
        return "lease low";
    case LOCKD_JEOPARDY:
        return "jeopardy";
    case LOCKD_EXPIRED:
        return "expired";
    case LOCKD_CLOSED:
        return "closed";
    }
    return "not a state of lockd";
}

const char *lockd_version(void)
{
    return LOCKD_VERSION;
}
