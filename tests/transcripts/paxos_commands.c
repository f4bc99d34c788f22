/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/transcripts/paxos_commands.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/describe.h"

enum { ARGUMENTS_MAX = 16, VALUE_MAX = 64 * 1024 };

struct arguments {
    char *word[ARGUMENTS_MAX];
    uint32_t count;
    bool wrong; /* An argument is not what it should be. */
};

static uint32_t number_at(struct arguments *a, uint32_t at)
{
    char *end = NULL;
    const unsigned long number = at < a->count ? strtoul(a->word[at], &end, 10) : 0;
    if (end == NULL || *end != 0) {
        a->wrong = true;
    }
    return (uint32_t)number;
}

static uint32_t replica_at(struct cluster *c, struct arguments *a, uint32_t at)
{
    const uint32_t id = number_at(a, at);
    if (cluster_replica(c, id) == NULL) {
        a->wrong = true;
        return 0;
    }
    return id;
}

static bool is_word(const struct arguments *a, uint32_t at, const char *word)
{
    return at < a->count && strcmp(a->word[at], word) == 0;
}

static struct link *link_at(struct cluster *c, struct arguments *a, uint32_t at,
                            uint32_t *ret_from, uint32_t *ret_to)
{
    struct link *link = NULL;
    if (at < a->count && sscanf(a->word[at], "%u->%u", ret_from, ret_to) == 2) {
        link = cluster_link(c, *ret_from, *ret_to);
    }
    a->wrong |= link == NULL;
    return link;
}

/* ---------------------------------------------------------- time and flow */

static void do_cluster(struct cluster *c, struct arguments *a)
{
    bool firm = false;
    uint32_t value_max = VALUE_MAX, differ = 0;
    const uint32_t count = number_at(a, 1);
    for (uint32_t i = 2; i < a->count; i++) {
        if (is_word(a, i, "firm")) {
            firm = true;
        } else if (is_word(a, i, "big")) {
            value_max = PAXOS_VALUE_MAX;
        } else if (is_word(a, i, "differ")) {
            differ = number_at(a, ++i);
        } else {
            a->wrong = true;
        }
    }
    if (!a->wrong && count >= 1 && count <= CELL_MAX) {
        cluster_end(c);
        cluster_begin(c, count, firm, value_max, differ);
    }
}

static bool is_serving(struct cluster *c, uint32_t id)
{
    struct paxos_status status;
    paxos_status(c->replica[id - 1].paxos, c->now_ms, &status);
    return status.serving;
}

static void elect(struct cluster *c, uint32_t id)
{
    for (unsigned turn = 0; turn < 10 && !is_serving(c, id); turn++) {
        c->now_ms += 700;
        cluster_tick(c, id);
        cluster_settle(c);
    }
}

static void do_elect(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    struct text *out = c->out;
    c->out = NULL;
    if (!a->wrong) {
        elect(c, id);
    }
    c->out = out;
    if (!a->wrong && !is_serving(c, id)) {
        text_put(out, "%u  is not elected\n", id);
    }
}

static void tick_all(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->count; id++) {
        if (cluster_replica(c, id) != NULL) {
            cluster_tick(c, id);
        }
    }
    cluster_settle(c);
}

/* Once to be pinned, and once to show whom one has pinned. */
static void do_meet(struct cluster *c, struct arguments *a)
{
    (void)a;
    struct text *out = c->out;
    c->out = NULL;
    tick_all(c);
    c->now_ms += 100;
    tick_all(c);
    c->out = out;
}

static void do_form(struct cluster *c, struct arguments *a)
{
    do_meet(c, a);
    struct text *out = c->out;
    c->out = NULL;
    elect(c, 1);
    cluster_wait(c, 300, /* settle= */ true);
    c->out = out;
}

static void do_settle(struct cluster *c, struct arguments *a)
{
    (void)a;
    cluster_settle(c);
}

static void do_run(struct cluster *c, struct arguments *a)
{
    cluster_wait(c, number_at(a, 1), /* settle= */ true);
}

static void do_wait(struct cluster *c, struct arguments *a)
{
    cluster_wait(c, number_at(a, 1), /* settle= */ false);
}

static void do_pass(struct cluster *c, struct arguments *a)
{
    c->now_ms += number_at(a, 1);
}

static void do_tick(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        cluster_tick(c, id);
    }
}

/* --------------------------------------------------------------- requests */

/* "word", or "x*70000": to be freed. */
static char *text_of(const char *word, size_t *ret_size)
{
    const char *star = strchr(word, '*');
    const size_t size = star == NULL ? strlen(word) : strtoul(star + 1, NULL, 10);
    char *text = malloc(size + 1);
    assert(text != NULL);
    if (star == NULL) {
        memcpy(text, word, size);
    } else {
        memset(text, word[0], size);
    }
    text[size] = 0;
    *ret_size = size;
    return text;
}

static void do_propose(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (a->wrong || a->count < 3) {
        a->wrong = true;
        return;
    }
    size_t size = 0;
    char *text = text_of(a->word[2], &size);
    paxos_slot slot = 0;
    const enum paxos_rc rc =
        paxos_propose(c->replica[id - 1].paxos, c->now_ms, 0, bytes_of(text, size), &slot);
    free(text);
    if (rc != PAXOS_OK && c->out != NULL) {
        text_put(c->out, "%u  refused: %s\n", id, paxos_describe_rc(rc));
    }
    cluster_drain(c, id);
}

static void do_confirm(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (a->wrong) {
        return;
    }
    uint64_t round = 0;
    const enum paxos_rc rc = paxos_confirm(c->replica[id - 1].paxos, c->now_ms,
                                           /* urgent= */ !is_word(a, 2, "lazy"), &round);
    if (c->out != NULL && rc == PAXOS_OK) {
        text_put(c->out, "%u  waits for round %" PRIu64 "\n", id, round);
    } else if (c->out != NULL) {
        text_put(c->out, "%u  refused: %s\n", id, paxos_describe_rc(rc));
    }
    cluster_drain(c, id);
}

static void do_handover(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        cluster_step(c, id, &(struct paxos_event){.type = PAXOS_HAND_OVER});
    }
}

static void do_gone(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    const uint32_t peer = number_at(a, 2);
    if (!a->wrong) {
        cluster_step(c, id,
                     &(struct paxos_event){.type = PAXOS_PEER_GONE, .peer = (paxos_id)peer});
    }
}

/* ---------------------------------------------------------------- network */

static uint32_t how_many(struct arguments *a)
{
    if (a->count < 3) {
        return 1;
    }
    return is_word(a, 2, "all") ? LINK_MAX : number_at(a, 2);
}

static void do_deliver(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    const struct link *link = link_at(c, a, 1, &from, &to);
    uint32_t left = how_many(a);
    if (a->wrong || link->count == 0) {
        a->wrong = true;
        return;
    }
    left = left < link->count ? left : link->count;
    while (left-- > 0 && cluster_deliver(c, from, to)) {
    }
}

static void do_drop(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    const struct link *link = link_at(c, a, 1, &from, &to);
    uint32_t left = how_many(a);
    if (a->wrong || link->count == 0) {
        a->wrong = true;
        return;
    }
    while (left-- > 0 && cluster_lose(c, from, to)) {
    }
}

static void do_again(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    struct link *link = link_at(c, a, 1, &from, &to);
    if (a->wrong || link->count == 0 || link->count == LINK_MAX) {
        a->wrong = true;
        return;
    }
    struct frame *newest = &link->frame[link->count++];
    *newest = newest[-1];
    newest->data = malloc(newest->size);
    assert(newest->data != NULL);
    memcpy(newest->data, newest[-1].data, newest->size);
}

static void do_last(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    struct link *link = link_at(c, a, 1, &from, &to);
    if (a->wrong || link->count == 0) {
        a->wrong = true;
        return;
    }
    const struct frame oldest = link->frame[0];
    memmove(&link->frame[0], &link->frame[1], (link->count - 1) * sizeof oldest);
    link->frame[link->count - 1] = oldest;
}

/* Between one replica and all others, or one link only. */
static void do_cut(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    if (a->count > 1 && strchr(a->word[1], '>') != NULL) {
        struct link *link = link_at(c, a, 1, &from, &to);
        if (link != NULL) {
            link->cut = true;
        }
        return;
    }
    const uint32_t id = number_at(a, 1);
    for (uint32_t i = 1; i <= c->count && cluster_link(c, id, i) != NULL; i++) {
        cluster_link(c, id, i)->cut = cluster_link(c, i, id)->cut = true;
    }
}

static void do_heal(struct cluster *c, struct arguments *a)
{
    (void)a;
    for (uint32_t from = 1; from <= c->count; from++) {
        for (uint32_t to = 1; to <= c->count; to++) {
            cluster_link(c, from, to)->cut = false;
        }
    }
}

static bool parse_ballot(const char *text, struct paxos_ballot *ret_ballot)
{
    unsigned long round = 0;
    unsigned id = 0;
    if (sscanf(text, "%lu.%u", &round, &id) != 2) {
        return false;
    }
    *ret_ballot = (struct paxos_ballot){.round = round, .id = (paxos_id)id};
    return true;
}

/* One `key=value` of a forged message; false when there is no such key. */
static bool forge_field(struct paxos_message *m, const char *key, const char *value)
{
    const uint64_t number = strtoul(value, NULL, 0);
    if (strcmp(key, "ballot") == 0) {
        return parse_ballot(value, &m->ballot);
    }
    if (strcmp(key, "released") == 0) {
        return parse_ballot(value, &m->released);
    }
    const struct {
        const char *key;
        uint64_t *field;
    } fields[] = {
        {"identity", &m->from_identity}, {"to-identity", &m->to_identity}, {"cell", &m->cell},
        {"number", &m->members_number},  {"incarnation", &m->incarnation}, {"slot", &m->slot},
        {"chosen", &m->chosen},          {"durable", &m->durable},         {"round", &m->round},
        {"checksum", &m->checksum},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(key, fields[i].key) == 0) {
            *fields[i].field = number;
            return true;
        }
    }
    if (strcmp(key, "agreed") == 0) {
        m->agreed = number != 0;
        return true;
    }
    if (strcmp(key, "parts") == 0) {
        m->parts = (uint16_t)number;
        return true;
    }
    if (strcmp(key, "part") == 0) {
        m->part = (uint16_t)number;
        return true;
    }
    return false;
}

static enum paxos_message_type type_of(const char *word)
{
    int type = PAXOS_MSG_FOUND;
    while (type < PAXOS_MSG_TYPES &&
           strcmp(word, paxos_describe_message_type((enum paxos_message_type)type)) != 0) {
        type++;
    }
    return (enum paxos_message_type)type;
}

/* "entry=SLOT@BALLOT:text" */
static bool forge_entry(struct paxos_entry *entry, char *value)
{
    char *at = strchr(value, '@'), *colon = strchr(value, ':');
    if (at == NULL || colon == NULL || !parse_ballot(at + 1, &entry->ballot)) {
        return false;
    }
    size_t size = 0;
    const char *text = text_of(colon + 1, &size);
    entry->slot = strtoul(value, NULL, 10);
    entry->value = (struct paxos_value){.kind = PAXOS_COMMANDS,
                                        .epoch = paxos_epoch(entry->ballot),
                                        .data = bytes_of(text, size)};
    entry->value.checksum = paxos_value_checksum(&entry->value);
    return true;
}

static void do_forge(struct cluster *c, struct arguments *a)
{
    uint32_t from = 0, to = 0;
    struct link *link = link_at(c, a, 1, &from, &to);
    const enum paxos_message_type type = a->count > 2 ? type_of(a->word[2]) : PAXOS_MSG_TYPES;
    if (a->wrong || type == PAXOS_MSG_TYPES || cluster_replica(c, to) == NULL) {
        a->wrong = true;
        return;
    }
    const struct replica *receiver = &c->replica[to - 1];
    struct paxos_status status;
    paxos_status(receiver->paxos, c->now_ms, &status);
    struct paxos_entry entry = {0};
    struct paxos_message m = {.type = type,
                              .from = (paxos_id)from,
                              .to = (paxos_id)to,
                              .from_identity = c->replica[from - 1].identity,
                              .to_identity = receiver->identity,
                              .cell = status.cell,
                              .members_number = 1,
                              .incarnation = c->replica[from - 1].disk.incarnation,
                              .members = type == PAXOS_MSG_FOUND ? status.members : NULL};
    for (uint32_t i = 3; i < a->count && !a->wrong; i++) {
        char *equals = strchr(a->word[i], '=');
        if (equals == NULL) {
            a->wrong = true;
        } else {
            *equals = 0;
            const bool is_entry = strcmp(a->word[i], "entry") == 0;
            a->wrong |= is_entry ? !forge_entry(&entry, equals + 1)
                                 : !forge_field(&m, a->word[i], equals + 1);
        }
    }
    if (entry.slot != 0) {
        m.entries = &entry;
        m.entries_count = 1;
    }
    if (!a->wrong) {
        cluster_send(c, &m);
        for (uint32_t behind = link->count; behind > 1; behind--) { /* It overtakes all. */
            const struct frame frame = link->frame[behind - 1];
            link->frame[behind - 1] = link->frame[behind - 2];
            link->frame[behind - 2] = frame;
        }
        cluster_deliver(c, from, to);
    }
    free((void *)(uintptr_t)entry.value.data.data);
}

/* ------------------------------------------------------ disks and crashes */

static void do_sync(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        c->replica[id - 1].disk.stalled = false;
        a->wrong = !cluster_sync(c, id);
    }
}

static void do_stall(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        c->replica[id - 1].disk.stalled = true;
    }
}

static void do_answer(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        a->wrong = !cluster_answer(c, id);
    }
}

static void do_trim(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        cluster_trim(c, id);
    }
}

static void do_crash(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (!a->wrong) {
        cluster_crash(c, id);
    }
}

static uint32_t crashed_at(struct cluster *c, struct arguments *a, uint32_t at)
{
    const uint32_t id = number_at(a, at);
    if (id == 0 || id > c->count || cluster_replica(c, id) != NULL) {
        a->wrong = true;
        return 0;
    }
    return id;
}

static void do_restart(struct cluster *c, struct arguments *a)
{
    const uint32_t id = crashed_at(c, a, 1);
    if (!a->wrong) {
        cluster_restart(c, id);
    }
}

static void do_wipe(struct cluster *c, struct arguments *a)
{
    const uint32_t id = crashed_at(c, a, 1);
    if (!a->wrong) {
        cluster_wipe(c, id, c->replica[id - 1].identity + 0x100);
    }
}

static void tell_status(struct cluster *c, uint32_t id)
{
    struct paxos_status s;
    const struct paxos *paxos = c->replica[id - 1].paxos;
    if (paxos == NULL) {
        text_put(c->out, "%u  down\n", id);
        return;
    }
    paxos_status(paxos, c->now_ms, &s);
    text_put(c->out, "%u  %s%s%s", id, paxos_describe_role(s.role),
             s.serving ? ", serving" : "", s.handing_over ? ", handing over" : "");
    text_put(c->out, "  master %u  promised %" PRIu64 ".%u", s.master, s.promised.round,
             s.promised.id);
    text_put(c->out, "  chosen %" PRIu64 "  last %" PRIu64 "  durable %" PRIu64, s.chosen,
             s.last, s.durable);
    text_put(c->out, "%s\n", paxos_lease_valid(paxos, c->now_ms) ? "  lease" : "");
}

/* "fresh ID": how old what is chosen there may be. */
static void do_fresh(struct cluster *c, struct arguments *a)
{
    const uint32_t id = replica_at(c, a, 1);
    if (a->wrong || c->out == NULL) {
        return;
    }
    uint64_t as_of_ms;
    paxos_slot slot;
    if (paxos_fresh(c->replica[id - 1].paxos, &as_of_ms, &slot)) {
        text_put(c->out,
                 "%u  has all that was acknowledged %" PRIu64 " ms ago: slot %" PRIu64 "\n", id,
                 c->now_ms - as_of_ms, slot);
    } else {
        text_put(c->out, "%u  doesn't know how old it is\n", id);
    }
}

static void do_status(struct cluster *c, struct arguments *a)
{
    if (c->out == NULL) {
        return;
    }
    const uint32_t only = a->count > 1 ? number_at(a, 1) : 0;
    for (uint32_t id = 1; id <= c->count && !a->wrong; id++) {
        if (only == 0 || id == only) {
            tell_status(c, id);
        }
    }
}

/* ---------------------------------------------------------------- commands */

static const struct {
    const char *name;
    void (*run)(struct cluster *c, struct arguments *a);
} commands[] = {
    {"cluster", do_cluster}, {"meet", do_meet},         {"form", do_form},
    {"elect", do_elect},     {"settle", do_settle},     {"run", do_run},
    {"wait", do_wait},       {"pass", do_pass},         {"tick", do_tick},
    {"propose", do_propose}, {"confirm", do_confirm},   {"deliver", do_deliver},
    {"drop", do_drop},       {"again", do_again},       {"last", do_last},
    {"cut", do_cut},         {"heal", do_heal},         {"sync", do_sync},
    {"stall", do_stall},     {"answer", do_answer},     {"trim", do_trim},
    {"crash", do_crash},     {"restart", do_restart},   {"wipe", do_wipe},
    {"gone", do_gone},       {"handover", do_handover}, {"forge", do_forge},
    {"status", do_status},   {"fresh", do_fresh},
};

void cluster_command(void *context, char *line, struct text *out)
{
    struct cluster *c = context;
    struct arguments a = {0};
    for (char *word = strtok(line, " "); word != NULL && a.count < ARGUMENTS_MAX;
         word = strtok(NULL, " ")) {
        a.word[a.count++] = word;
    }
    c->out = out;
    if (a.count > 1 && is_word(&a, 0, "quietly")) {
        c->out = NULL;
        a.count--;
        memmove(&a.word[0], &a.word[1], a.count * sizeof a.word[0]);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (a.count > 0 && strcmp(a.word[0], commands[i].name) == 0) {
            commands[i].run(c, &a);
            if (a.wrong) {
                text_put(out, "can't: %s\n", a.word[0]);
            }
            return;
        }
    }
    text_put(out, "unknown command: %s\n", a.count > 0 ? a.word[0] : "");
}
