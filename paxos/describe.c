/* SPDX-License-Identifier: Apache-2.0
 *
 * The one file of paxos/ that formats text; it decides nothing.
 */
#include "paxos/describe.h"

#include <inttypes.h>
#include <stdio.h>

const char *paxos_describe_rc(enum paxos_rc rc)
{
    switch (rc) {
#define CASE(name, value, text)                                                                  \
    case name:                                                                                   \
        return text;
        PAXOS_RC_MAP(CASE)
#undef CASE
    }
    return "?";
}

const char *paxos_describe_drop(enum paxos_drop drop)
{
    static const char *const texts[] = {
#define TEXT(name, text) [name] = text,
        PAXOS_DROP_MAP(TEXT)
#undef TEXT
    };
    return drop < PAXOS_DROPS ? texts[drop] : "?";
}

const char *paxos_describe_role(enum paxos_role role)
{
    switch (role) {
    case PAXOS_FORMING:
        return "forming";
    case PAXOS_FOLLOWER:
        return "follower";
    case PAXOS_PREVOTER:
        return "prevoter";
    case PAXOS_PREPARER:
        return "preparer";
    case PAXOS_MASTER:
        return "master";
    }
    return "?";
}

const char *paxos_describe_kind(enum paxos_kind kind)
{
    switch (kind) {
    case PAXOS_NOOP:
        return "noop";
    case PAXOS_FIRST:
        return "first";
    case PAXOS_FOUNDING:
        return "founding";
    case PAXOS_COMMANDS:
        return "commands";
    }
    return "?";
}

const char *paxos_describe_message_type(enum paxos_message_type type)
{
    static const char *const names[] = {
        [0] = "?",
        [PAXOS_MSG_FOUND] = "found",
        [PAXOS_MSG_PREVOTE] = "prevote",
        [PAXOS_MSG_PREVOTE_OK] = "prevote-ok",
        [PAXOS_MSG_PREPARE] = "prepare",
        [PAXOS_MSG_PROMISE] = "promise",
        [PAXOS_MSG_REJECT] = "reject",
        [PAXOS_MSG_ACCEPT] = "accept",
        [PAXOS_MSG_VOTE] = "vote",
        [PAXOS_MSG_HEARTBEAT] = "heartbeat",
        [PAXOS_MSG_HEARTBEAT_ACK] = "heartbeat-ack",
        [PAXOS_MSG_FETCH] = "fetch",
        [PAXOS_MSG_CHOSEN] = "chosen",
        [PAXOS_MSG_RELEASE] = "release",
    };
    return type < PAXOS_MSG_TYPES ? names[type] : "?";
}

/* Appends to `text`, keeping it terminated; what does not fit is cut off. */
struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    const int wrote = vsnprintf(text->at, text->left, format, arguments);
    __builtin_va_end(arguments);
    if (wrote > 0 && text->left > 0) {
        const size_t step = (size_t)wrote < text->left ? (size_t)wrote : text->left - 1;
        text->at += step;
        text->left -= step;
    }
}

static void put_ballot(struct text *text, const char *before, struct paxos_ballot ballot)
{
    put(text, "%s%" PRIu64 ".%u", before, ballot.round, ballot.id);
}

static void put_entry(struct text *text, const struct paxos_entry *entry)
{
    put(text, "%" PRIu64, entry->slot);
    put_ballot(text, "@", entry->ballot);
    put(text, " %s e%" PRIu64 ".%u", paxos_describe_kind(entry->value.kind),
        entry->value.epoch >> 16, (unsigned)(entry->value.epoch & 0xffff));
    if (entry->value.data.size > 0) {
        put(text, " %zu octets #%08" PRIx64, entry->value.data.size,
            entry->value.checksum & 0xffffffff);
    }
}

const char *paxos_describe_entry(const struct paxos_entry *entry, char *text, size_t size)
{
    struct text t = {text, size};
    put_entry(&t, entry);
    return text;
}

static void put_entries(struct text *text, const struct paxos_message *message)
{
    put(text, " [");
    for (uint32_t i = 0; i < message->entries_count; i++) {
        put(text, "%s", i == 0 ? "" : ", ");
        put_entry(text, &message->entries[i]);
    }
    put(text, "]");
}

const char *paxos_describe_message(const struct paxos_message *m, char *text, size_t size)
{
    struct text t = {text, size};
    put(&t, "%s", paxos_describe_message_type(m->type));
    if (m->agreed) {
        put(&t, " agreed");
    }
    if (m->ballot.round != 0) {
        put_ballot(&t, " ", m->ballot);
    }
    if (m->released.round != 0) {
        put_ballot(&t, " released ", m->released);
    }
    if (m->slot != 0) {
        put(&t, " slot %" PRIu64, m->slot);
    }
    if (m->round != 0) {
        put(&t, " round %" PRIu64, m->round);
    }
    if (m->chosen != 0) {
        put(&t, " chosen %" PRIu64, m->chosen);
    }
    if (m->durable != 0) {
        put(&t, " durable %" PRIu64, m->durable);
    }
    if (m->parts > 1) {
        put(&t, " part %u/%u", m->part + 1u, m->parts);
    }
    if (m->type == PAXOS_MSG_PROMISE || m->entries_count > 0) {
        put_entries(&t, m);
    }
    return text;
}

const char *paxos_describe_down(enum paxos_down reason)
{
    switch (reason) {
#define CASE(name, value, text)                                                                  \
    case name:                                                                                   \
        return text;
        PAXOS_DOWN_MAP(CASE)
#undef CASE
    }
    return "?";
}

/* Writes what the placeholder at `from` stands for; returns what is behind it. */
static const char *put_placeholder(struct text *text, const struct paxos_note *note,
                                   const char *from)
{
    const uint64_t number = from[1] == 'a' ? note->a : note->b;
    if (from[2] == '}') {
        put(text, "%" PRIu64, number);
    } else if (from[3] == 'i') {
        put(text, "%016" PRIx64, number);
    } else {
        put(text, "%s", paxos_describe_down((enum paxos_down)number));
    }
    while (*from != '}') {
        from++;
    }
    return from + 1;
}

const char *paxos_describe_note(const struct paxos_note *note, char *text, size_t size)
{
    static const char *const texts[] = {
#define TEXT(name, text) [name] = text,
        PAXOS_NOTE_MAP(TEXT)
#undef TEXT
    };
    struct text t = {text, size};
    const char *from = note->kind < PAXOS_NOTES ? texts[note->kind] : "?";
    put(&t, "%s", ""); /* Terminates it, whatever comes. */
    while (*from != 0) {
        if (*from == '{') {
            from = put_placeholder(&t, note, from);
        } else {
            put(&t, "%c", *from++);
        }
    }
    return text;
}
