/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/net.h"
#include "tests/sim/replica.h"
#include "tests/sim/workload.h"

uint32_t table_counts[TABLE_CELLS];

static uint64_t hurt_until_us[TABLE_CLASSES];

void table_reset(void)
{
    memset(table_counts, 0, sizeof table_counts);
    memset(hurt_until_us, 0, sizeof hurt_until_us);
}

/* ----------------------------------------------------------------------- faults */

static enum table_class class_of(enum fault fault)
{
    switch (fault) {
    case FAULT_CUT:
    case FAULT_CLOG:
    case FAULT_RESET:
    case FAULT_SLOW:
    case FAULT_GRAPH:
    case FAULT_CLIENT_CUT:
    case FAULT_DUMB:
    case FAULT_LATE_ACKS:
    case FAULT_USURP:
    case FAULT_FALSE_GONE:
    case FAULT_ORPHAN:
    case FAULT_LATE_KEEPALIVES:
        return TABLE_NETWORK;
    case FAULT_CRASH:
    case FAULT_CRASH_ALL:
    case FAULT_PAUSE:
    case FAULT_HAND_OVER:
    case FAULT_COUP:
    case FAULT_SUCCESSION:
    case FAULT_BURST:
    case FAULT_BYGONE:
        return TABLE_PROCESS;
    case FAULT_FREEZE:
    case FAULT_CLOCK_JUMP:
        return TABLE_TIME;
    case FAULT_STALL:
    case FAULT_LOW_SPACE:
        return TABLE_DISK;
    case FAULTS:
        break;
    }
    return TABLE_NONE;
}

void table_hurt(const struct world *w, enum table_class class)
{
    hurt_until_us[class] = w->now_us + WORLD_SECOND;
}

void table_struck(const struct world *w, enum fault fault)
{
    table_hurt(w, class_of(fault));
}

/* Links that are good by themselves, and those of clients. */
static bool network_is_bad(const struct world *w)
{
    const struct plan *plan = &w->plan;
    bool bad = !w->healed && (plan->loss_ppm > 0 || plan->duplicate_ppm > 0 ||
                              plan->damage_ppm > 0 || plan->misvote_ppm > 0);
    for (uint32_t from = 0; from < plan->replicas; from++) {
        bad = bad || workload_cut_until_us(w, from) > w->now_us;
        for (uint32_t to = 0; to < plan->replicas; to++) {
            const struct link *link = &w->net->links[from][to];
            bad = bad || link->cut || link->clogged_until_us > w->now_us || link->slower_us > 0;
        }
    }
    return bad;
}

/* What goes on hurts as long as it goes on, and a second longer. */
static void look_round(const struct world *w)
{
    if (network_is_bad(w)) {
        table_hurt(w, TABLE_NETWORK);
    }
    for (uint32_t i = 0; i < w->plan.replicas; i++) {
        const struct replica *r = w->replicas[i];
        const int32_t rate = r->clock.rate_ppm;
        if (r->state != REPLICA_UP) {
            table_hurt(w, TABLE_PROCESS);
        }
        if (rate > PLAN_DRIFT_PPM / 2 || rate < -PLAN_DRIFT_PPM / 2) {
            table_hurt(w, TABLE_TIME);
        }
        if (r->disk.stalled_until_us > w->now_us) {
            table_hurt(w, TABLE_DISK);
        }
    }
}

void table_ended(const struct world *w, enum table_call call, enum table_outcome outcome)
{
    bool any = false;
    look_round(w);
    for (uint32_t i = 0; i < TABLE_NONE; i++) {
        if (hurt_until_us[i] > w->now_us) {
            table_counts[table_cell(call, outcome, (enum table_class)i)]++;
            any = true;
        }
    }
    table_counts[table_cell(call, outcome, TABLE_NONE)] += !any;
}

/* ------------------------------------------------------------------------ print */

static const char *const call_texts[] = {
#define TEXT(name, text) [TABLE_##name] = text,
    TABLE_CALL_MAP(TEXT)
#undef TEXT
};
static const char *const outcome_texts[] = {
    [TABLE_OK] = "ok",
    [TABLE_REFUSED] = "refused",
    [TABLE_UNKNOWN] = "unknown",
};

/* Why it can't be; NULL: it can. */
static const char *impossible(enum table_call call, enum table_outcome outcome)
{
    const bool reads = call == TABLE_CHECK || call == TABLE_HANDLE_READ ||
                       call == TABLE_SESSION_GET || call == TABLE_WATCH || call == TABLE_READ;
    return reads && outcome == TABLE_UNKNOWN
               ? "it changes nothing: without an answer it was not executed"
               : NULL;
}

static uint32_t print_row(const uint64_t counts[TABLE_CELLS], enum table_call call,
                          enum table_outcome outcome)
{
    const char *why = impossible(call, outcome);
    uint32_t empty = 0;
    printf("| %s | %s |", call_texts[call], outcome_texts[outcome]);
    for (uint32_t i = 0; i < TABLE_CLASSES; i++) {
        const uint64_t count = counts[table_cell(call, outcome, (enum table_class)i)];
        empty += count == 0 && why == NULL;
        if (count > 0 || why == NULL) {
            printf(" %" PRIu64 " |", count);
        } else {
            printf(" - |");
        }
    }
    printf(" %s |\n", why == NULL ? "" : why);
    return empty;
}

uint32_t table_print(const uint64_t counts[TABLE_CELLS])
{
    uint32_t empty = 0;
    printf("| call | outcome | network | process | time | disk | none | |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    for (uint32_t call = 0; call < TABLE_CALLS; call++) {
        for (uint32_t outcome = 0; outcome < TABLE_OUTCOMES; outcome++) {
            empty += print_row(counts, (enum table_call)call, (enum table_outcome)outcome);
        }
    }
    return empty;
}
