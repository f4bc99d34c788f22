/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sometimes.h"

uint32_t sometimes_met[SOMETIMES_COUNT];

static const struct {
    const char *name, *text;
} situations[] = {
#define NAME(name, text) [SOMETIMES_##name] = {#name, text},
    SOMETIMES_MAP(NAME)
#undef NAME
};

const char *sometimes_name(enum sometimes which)
{
    return situations[which].name;
}

const char *sometimes_text(enum sometimes which)
{
    return situations[which].text;
}
