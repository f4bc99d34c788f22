/* SPDX-License-Identifier: Apache-2.0
 *
 * boot.c -- see boot.h.
 *
 * The order is that of service.h: the rows of the tables; the log above them up
 * to the chosen mark, replayed; then the votes above the mark, with which the
 * replica starts.  Whatever doesn't fit together stops the start: a replica that
 * guesses what it once promised is worse than none.
 */
#include "lockd/boot.h"

#include "lockd/clock.h"
#include "lockd/trace.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* The store's own sentence says more, if it has one. */
static bool fail_store(char ret_error[BOOT_ERROR_MAX], const struct config *config,
                       enum store_rc rc, const char *detail)
{
    if (*detail != '\0') {
        snprintf(ret_error, BOOT_ERROR_MAX, "%s", detail);
    } else {
        snprintf(ret_error, BOOT_ERROR_MAX, "%s: %s", config->data_dir, store_rc_text(rc));
    }
    return false;
}

/* --------------------------------------------------------------------- init */

static bool random_number(uint64_t *ret_number, char ret_error[BOOT_ERROR_MAX])
{
    uint64_t number = 0;
    /* Up to 256 octets are never cut short; 0 would mean "not known". */
    do {
        if (getrandom(&number, sizeof number, /* flags= */ 0) != (ssize_t)sizeof number) {
            snprintf(ret_error, BOOT_ERROR_MAX, "no random numbers: %s", strerror(errno));
            return false;
        }
    } while (number == 0);
    *ret_number = number;
    return true;
}

/* The founders as this replica was told: it knows no identity but its own. */
static struct paxos_members founders(const struct config *config, uint64_t identity)
{
    struct paxos_members members = {
        .number = 1,
        .settings = {.firm = config->lease_reads, .drift_ppm = config->clock_drift_ppm},
        .count = config->peers_count,
    };
    static_assert((int)CONFIG_PEERS_MAX <= (int)PAXOS_MEMBERS_MAX, "all founders have a place");
    for (uint32_t i = 0; i < config->peers_count; i++) {
        struct paxos_member *member = &members.member[i];
        member->id = config->peers[i].id;
        member->identity = member->id == config->replica ? identity : 0;
        memcpy(member->address, config->peers[i].address, ADDRESS_MAX);
    }
    return members;
}

bool boot_init(const struct config *config, struct store_identity *ret_identity,
               char ret_error[BOOT_ERROR_MAX])
{
    struct store_identity identity = {.replica = config->replica};
    memcpy(identity.cell, config->cell, STORE_CELL_MAX);
    if (!random_number(&identity.identity, ret_error)) {
        return false;
    }
    const struct paxos_hard hard = {.members = founders(config, identity.identity)};
    char detail[BOOT_DETAIL_MAX] = "";
    const enum store_rc rc =
        store_init(config->data_dir, &identity, &hard, detail, sizeof detail);
    if (rc != STORE_OK) {
        return fail_store(ret_error, config, rc, detail);
    }
    *ret_identity = identity;
    return true;
}

bool boot_make_parents(const char *data_dir, char ret_error[BOOT_ERROR_MAX])
{
    char path[CONFIG_PATH_MAX];
    snprintf(path, sizeof path, "%s", data_dir);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            snprintf(ret_error, BOOT_ERROR_MAX, "%s: %s", path, strerror(errno));
            return false;
        }
        *slash = '/';
    }
    return true;
}

/* ------------------------------------------------------------------- memory */

static void *allocate(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

/* Applying has to succeed everywhere or nowhere: a replica that left out what
 * it had no memory for would differ from the others for ever. */
__attribute__((noreturn)) static void exhausted(void *context)
{
    (void)context;
    trace_event(TRACE_ERROR, "memory.exhausted",
                trace_text("consequence", "this replica stops; the others go on"));
    _exit(1);
}

static const struct lease_allocator allocator = {
    .allocate = allocate, .release = release, .exhausted = exhausted};

/* -------------------------------------------------------------------- votes */

struct votes {
    struct paxos_entry *entries;
    uint32_t count, capacity;
};

static void free_votes(struct votes *votes)
{
    for (uint32_t i = 0; i < votes->count; i++) {
        free((void *)votes->entries[i].value.data.data);
    }
    free(votes->entries);
}

/* A vote's data is borrowed from the store, so it is copied. */
static bool keep_vote(void *context, const struct paxos_entry *entry)
{
    struct votes *votes = context;
    if (votes->count == votes->capacity) {
        const uint32_t capacity = votes->capacity == 0 ? PAXOS_WINDOW : 2 * votes->capacity;
        struct paxos_entry *entries = realloc(votes->entries, capacity * sizeof entries[0]);
        if (entries == NULL) {
            exhausted(NULL);
        }
        votes->entries = entries;
        votes->capacity = capacity;
    }
    const struct bytes data = entry->value.data;
    uint8_t *copy = malloc(data.size + 1);
    if (copy == NULL) {
        exhausted(NULL);
    }
    if (data.size > 0) {
        memcpy(copy, data.data, data.size);
    }
    votes->entries[votes->count] = *entry;
    votes->entries[votes->count++].value.data = bytes_of(copy, data.size);
    return true;
}

/* ------------------------------------------------------------------ loading */

static bool load_row(void *context, const struct lease_row *row)
{
    return service_load_row(context, row);
}

struct replay {
    struct service *service;
    uint64_t next; /* The slot that must come. */
    bool failed;
};

static bool replay_entry(void *context, const struct paxos_entry *entry)
{
    struct replay *replay = context;
    if (entry->slot != replay->next || !service_replay(replay->service, entry)) {
        replay->failed = true;
        return false;
    }
    replay->next++;
    return true;
}

static bool fail(char ret_error[BOOT_ERROR_MAX], const struct config *config, const char *what)
{
    snprintf(ret_error, BOOT_ERROR_MAX,
             "%s: %s; this replica must not go on under its identity", config->data_dir, what);
    return false;
}

static struct service_config service_config_of(const struct config *config,
                                               const struct store_boot *boot, uint64_t seed)
{
    struct service_config service = {
        .paxos =
            {
                .self = config->replica,
                .identity = boot->identity.identity,
                .incarnation = boot->incarnation,
                .seed = seed,
                .now_ms = clock_boottime_ms(),
                .heartbeat_ms = config->heartbeat_ms,
                .lease_ms = config->master_lease_ms,
                .jitter_ms_min = config->election_jitter_ms_min,
                .jitter_ms_max = config->election_jitter_ms_max,
                .disk_stall_ms = config->disk_stall_ms,
                .value_max = PAXOS_VALUE_MAX,
            },
        .limits = LEASE_LIMITS_DEFAULT,
        .queue_commands_max = config->queue_commands_max,
        .queue_bytes_max = config->queue_max_bytes,
        .reads_max = config->reads_max,
        .watches_max = BOOT_WATCHES_MAX,
        .keepalives_busy = BOOT_KEEPALIVES_BUSY,
        .cache_lease_ms = config->cache_lease_ms,
        .cached_max = config->cached_max,
    };
    memcpy(service.cell, config->cell, STORE_CELL_MAX);
    return service;
}

static bool load(const struct config *config, struct store *store, struct service *service,
                 const struct store_boot *boot, char ret_error[BOOT_ERROR_MAX])
{
    enum store_rc rc = store_rows(store, load_row, service);
    if (rc != STORE_OK) {
        return fail_store(ret_error, config, rc, store_error(store));
    }
    if (!service_loaded(service, boot->applied_slot, boot->applied_position, boot->digest)) {
        return fail(ret_error, config, "the tables and their digest contradict each other");
    }
    struct replay replay = {.service = service, .next = boot->applied_slot + 1};
    if (boot->chosen_mark > boot->applied_slot) {
        rc = store_log(store, boot->applied_slot + 1, boot->chosen_mark, UINT32_MAX,
                       replay_entry, &replay);
        if (rc != STORE_OK) {
            return fail_store(ret_error, config, rc, store_error(store));
        }
        if (replay.failed || replay.next != boot->chosen_mark + 1) {
            return fail(ret_error, config, "the log can't be replayed up to its chosen mark");
        }
    }
    return true;
}

static bool start(const struct config *config, struct store *store, struct service *service,
                  const struct store_boot *boot, char ret_error[BOOT_ERROR_MAX])
{
    struct paxos_restored restored = {
        .hard = boot->hard,
        .chosen =
            boot->chosen_mark > boot->applied_slot ? boot->chosen_mark : boot->applied_slot,
    };
    struct votes votes = {0};
    bool good = true;
    const enum store_rc rc =
        store_log(store, restored.chosen + 1, UINT64_MAX >> 1, UINT32_MAX, keep_vote, &votes);
    if (rc != STORE_OK) {
        good = fail_store(ret_error, config, rc, store_error(store));
    } else {
        restored.votes = votes.entries;
        restored.votes_count = votes.count;
        good = service_start(service, &restored) ||
               fail(ret_error, config, "promise, votes and log contradict each other");
    }
    free_votes(&votes);
    return good;
}

/* The founding entry fixed these for the whole cell; the file's are a wish that
 * came too late. */
static void warn_of_differences(const struct config *config, const struct store_boot *boot)
{
    const struct paxos_members *members = &boot->hard.members;
    if (members->settings.firm != config->lease_reads ||
        members->settings.drift_ppm != config->clock_drift_ppm) {
        trace_event(TRACE_WARN, "config.differs",
                    trace_text("fields", "lease_reads, clock_drift_percent"),
                    trace_text("consequence", "the cell keeps what it was initialised with"));
    }
    bool same = members->count == config->peers_count;
    for (uint32_t i = 0; same && i < members->count; i++) {
        same = members->member[i].id == config->peers[i].id;
    }
    if (!same) {
        trace_event(TRACE_WARN, "config.differs", trace_text("fields", "peers"),
                    trace_text("consequence", "the cell's members are those of its log"));
    }
}

static bool check_identity(const struct config *config, const struct store_boot *boot,
                           char ret_error[BOOT_ERROR_MAX])
{
    if (strcmp(boot->identity.cell, config->cell) != 0 ||
        boot->identity.replica != config->replica) {
        snprintf(ret_error, BOOT_ERROR_MAX,
                 "%s: the store belongs to replica %u of cell \"%s\", the configuration is for "
                 "replica %u of cell \"%s\"",
                 config->data_dir, boot->identity.replica, boot->identity.cell, config->replica,
                 config->cell);
        return false;
    }
    return true;
}

static bool open_service(const struct config *config, struct booted *booted,
                         char ret_error[BOOT_ERROR_MAX])
{
    struct store_boot *boot = calloc(1, sizeof *boot); /* Too large for the stack's taste. */
    if (boot == NULL) {
        exhausted(NULL);
    }
    bool good = true;
    const enum store_rc rc = store_boot(booted->store, boot);
    if (rc != STORE_OK) {
        good = fail_store(ret_error, config, rc, store_error(booted->store));
    }
    good = good && check_identity(config, boot, ret_error);
    good = good && random_number(&booted->seed, ret_error);
    if (good) {
        warn_of_differences(config, boot);
        const struct service_config service = service_config_of(config, boot, booted->seed);
        booted->identity = boot->identity;
        booted->members = boot->hard.members;
        booted->service = service_new(&service, &allocator);
        good = load(config, booted->store, booted->service, boot, ret_error) &&
               start(config, booted->store, booted->service, boot, ret_error);
    }
    if (good) {
        trace_event(TRACE_INFO, "replica.started", trace_text("cell", config->cell),
                    trace_number("replica", config->replica),
                    trace_number("incarnation", boot->incarnation),
                    trace_number("applied", boot->applied_slot),
                    trace_number("chosen", boot->chosen_mark));
    }
    free(boot);
    return good;
}

bool boot_open(const struct config *config, struct booted *ret_booted, bool *ret_missing,
               char ret_error[BOOT_ERROR_MAX])
{
    struct booted booted = {0};
    char detail[BOOT_DETAIL_MAX] = "";
    const enum store_rc rc =
        store_open(config->data_dir, STORE_SERVE, &booted.store, detail, sizeof detail);
    *ret_missing = rc == STORE_MISSING;
    if (rc != STORE_OK) {
        return fail_store(ret_error, config, rc, detail);
    }
    if (!open_service(config, &booted, ret_error)) {
        boot_close(&booted);
        return false;
    }
    *ret_booted = booted;
    return true;
}

void boot_close(struct booted *booted)
{
    service_free(booted->service);
    store_close(booted->store);
    booted->service = NULL;
    booted->store = NULL;
}
