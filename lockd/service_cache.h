/* SPDX-License-Identifier: Apache-2.0
 *
 * service_cache.h -- what the sources of the caches share, and what the service holds
 * of it.  The essay stands at the head of service_cache.c.
 *
 *     sessions --> cacher ---> kept ---> cached_name <--- mark <--- intent <-- commands
 *                                            |                         |
 *            (those kept that are missing in it) -'                 lane, of the session
 *
 * Whatever is here lives in the memory of one mastership, except intents: these belong to
 * commands that were proposed, and live until it is known what became of them.
 */
#ifndef LOCKD_SERVICE_CACHE_H
#define LOCKD_SERVICE_CACHE_H

#include "lease/command.h"
#include "lockd/pending.h"
#include "lockd/service_chains.h"

struct service;

enum {
    CACHED_SESSION_MAX = 10 * 1000, /* Names that one session may keep. */
    CACHED_NAME_OCTETS = 128,       /* Of a name, on the average of all that may be kept. */
    CACHE_MARKS_MAX = 1000 * 1000,  /* As many, and no more commands are held. */
    CACHE_SWEEP_MAX = 16 * 1024,    /* As much is taken from those who keep it in a turn. */
};

/* A session that keeps what is at a name, be it nothing.  Once it is invalidated it leaves
 * the name's list and its bucket, and is `owed`: its cacher has yet to say that it is
 * forgotten. */
struct kept {
    struct chain_link by_both; /* Session and name. */
    struct kept *name_next;
    struct kept **name_link;
    struct kept *cacher_next;
    struct kept **cacher_link;
    struct cacher *cacher;
    struct cached_name *name;
    uint64_t number; /* Owed: of the invalidation that named it; 0: not told yet. */
};

static_assert(sizeof(struct kept) <= 64, "a million of them take 64 MB, besides names");

/* A name that somebody keeps, or that a command on its way may change. */
struct cached_name {
    struct chain_link by_path; /* Or among those that are freed later. */
    struct kept *kept;
    struct mark *marks;
    struct cached_name *directory; /* Set when its absence was kept ... */
    struct cached_name *absent;    /* ... which makes it, while it is, one of these there. */
    struct cached_name *absent_next;
    struct cached_name **absent_link; /* NULL: it is not. */
    struct cached_name *sweep_next;
    uint64_t hash;
    uint32_t uses;          /* Kept, owed, marks, and absent children: it goes with the last. */
    uint32_t awaited;       /* Owed by cachers whose leases run. */
    uint32_t awaited_below; /* The same of all whose directory it is. */
    uint32_t moves;         /* Of its marks: the node may be made by them, or end. */
    uint32_t below;         /* Of its marks: who may read what is missing in it may change. */
    bool sweeping;          /* Others who keep it are still to be told. */
    uint16_t path_size;
    uint8_t path[];
};

/* A command may change the node of a name. */
struct mark {
    struct mark *next; /* Of the same intent. */
    struct mark *name_next;
    struct mark **name_link;
    struct intent *intent;
    struct cached_name *name;
    bool moves;
    bool below;
    bool waits; /* Somebody still has to forget the name. */
};

/* Commands of one session, or without one, of one connection: they stay in order. */
struct lane {
    struct chain_link by_key;
    uint64_t key;
    bool one_shot;
    struct intent *held; /* In the order of arrival. */
    struct intent **held_end;
    uint32_t flying; /* Admitted, and not yet applied. */
};

/* A command that was admitted or is held, and what it may change. */
struct intent {
    struct intent *next; /* In its lane while held; among those of the keeper. */
    struct intent **link;
    struct intent *ready_next;
    struct lane *lane; /* NULL: the keeper's. */
    struct mark *marks;
    uint32_t waits; /* Of its marks. */
    uint8_t type;
    bool held;
    bool ready;
    bool blind; /* What it may change shows only when its session's others are applied. */
    struct pending pending; /* While held ... */
    uint8_t *octets;        /* ... the command. */
    uint64_t slot;          /* The keeper's: where it was proposed. */
};

/* A cache: a session, and the connection over which it hears of invalidations.  One that
 * moves on to another connection leaves its old self behind, until the lease is over. */
struct cacher {
    struct chain_link by_session; /* Unless it is left behind. */
    struct cacher *all_next;
    struct cacher **all_link;
    struct cacher *client_next; /* While bound: in its bucket by client. */
    struct cacher **client_link;
    struct cacher *tell_next;
    uint64_t session;
    uint64_t client;
    uint64_t until_ms; /* Its client may answer reads from memory until then. */
    uint32_t cache_ms;
    uint32_t count; /* What it keeps, and owes. */
    struct kept *kept;
    struct kept *owed; /* In the order in which they were, or will be, told. */
    struct kept **owed_end;
    struct kept *untold;   /* The first of these that was not. */
    uint64_t number;       /* Of the last invalidation that it was told. */
    uint64_t acknowledged; /* Those up to here are, whether there was time for it or not. */
    uint64_t due;          /* Those up to here must be, before its lease is renewed. */
    bool bound;            /* The connection stands. */
    bool current;          /* Not left behind. */
    bool over;             /* The lease is. */
    bool telling;
    bool everything; /* It is told to forget all. */
};

struct caches {
    bool active; /* Some session has declared a cache, or did while commands were held. */

    struct chains names; /* By path. */
    struct chains kept;  /* By session and name; not those that are owed. */
    struct chains cachers;
    struct chains lanes;
    struct cacher **by_client; /* The bound, in as many buckets as there are cachers. */
    size_t clients_buckets;
    uint32_t count; /* Kept and owed by all. */
    uint32_t marks_count;
    uint64_t names_octets;

    struct cacher *all; /* Those left behind included. */
    uint32_t all_count;
    struct cached_name
        *everything;           /* Marked by what may change who may read; `awaited` of all. */
    struct chain_link *unused; /* Names that events may still borrow. */
    uint64_t over_ms;          /* No lease that somebody waits for is over before, ... */
    uint64_t look_ms;          /* ... and none is looked for before. */

    /* Marked names that were kept by more than this turn has time for. */
    struct cached_name *sweeps;
    struct cached_name **sweeps_end;
    bool acknowledging; /* Some that was acknowledged is still owed. */
    uint32_t swept;     /* What was taken from those who keep or owe, in this turn. */

    /* What is told in this turn. */
    struct cacher *tell;
    struct cacher **tell_end;
    uint32_t untold;
    uint64_t number; /* Of the last invalidation. */
    struct bytes *told;
    size_t told_capacity;

    /* After an election: sessions that haven't said yet that they keep nothing, and until
     * when they are waited for. */
    uint64_t missing;
    uint64_t missing_ms;

    /* Commands from before the first cache was declared: nobody looked at what they change. */
    uint32_t unseen;
    uint64_t unseen_slot; /* The keeper's. */

    struct intent *ready; /* Held commands that may be admitted now, ... */
    struct intent **ready_end;
    uint32_t held; /* ... and all of them, ... */
    uint64_t held_octets;
    struct service_held *noted; /* Held since the last turn. */
    size_t noted_capacity;
    uint32_t noted_count;

    struct intent *judged; /* The keeper's: not proposed yet, ... */
    struct intent *flying; /* ... proposed, in the order of slots, ... */
    struct intent **flying_end;
    struct intent *wanted; /* ... and postponed. */
};

/* -------------------------------------------------- service_cache_index.c */

struct cached_name *cached_name_find(const struct service *s, struct bytes path);
struct cached_name *cached_name_make(struct service *s, struct bytes path); /* Or find. */
void cached_name_leave(struct service *s, struct cached_name *name);        /* One use less. */

struct cacher *cacher_find(const struct service *s, uint64_t session);
struct cacher *cacher_make(struct service *s, uint64_t session);
void cacher_bind(struct service *s, struct cacher *c, uint64_t client);
void cacher_unbind(struct cacher *c);
struct cacher *cacher_of_client(const struct service *s, uint64_t client); /* Or NULL. */
void cacher_leave_behind(struct service *s, struct cacher *c);
void cacher_free(struct service *s, struct cacher *c); /* It keeps and owes nothing. */

struct kept *kept_find(const struct service *s, const struct cacher *c,
                       const struct cached_name *name);
void kept_make(struct service *s, struct cacher *c, struct cached_name *name);

/* From what is kept to what is owed. */
void kept_invalidate(struct service *s, struct kept *k);
void kept_free(struct service *s, struct kept *k); /* Kept, or the first that is owed. */

struct lane *lane_find(const struct service *s, uint64_t key, bool one_shot);
struct lane *lane_make(struct service *s, uint64_t key, bool one_shot); /* Or find. */
void lane_leave(struct service *s, struct lane *lane); /* If nothing is in it. */
void lanes_each(struct service *s,
                void (*visit)(struct service *s, struct lane *lane, void *context),
                void *context);

void cache_index_free(struct service *s);
void cache_index_check(const struct service *s);

/* --------------------------------------------------- service_cache_look.c */

/* Marks what the command may change, as far as that can be told now, and invalidates it for
 * all who keep it.  Sets intent->waits and intent->blind.  Its old marks are gone. */
void intent_look(struct service *s, struct intent *intent, const struct lease_command *command);
void intent_unmark(struct service *s, struct intent *intent);

/* Does somebody still have to forget what is marked, or to be told to? */
bool mark_awaited(const struct service *s, const struct mark *mark);

/* Nobody has to any more who did: marks that waited for it may wait no more. */
void cached_name_heard(struct service *s, struct cached_name *name);

/* Are there commands on their way at which nobody looked? */
bool caches_unseeing(const struct service *s);

/* --------------------------------------------------- service_cache_hold.c */

/* Something that it waited for is over: may it go now? */
void intent_consider(struct service *s, struct intent *intent);
void intents_consider_all(struct service *s);

/* Those of the keeper: proposed up to `slot`, applied, and what is marked for those that
 * were postponed, until they are brought again or not. */
void intents_proposed(struct service *s, uint64_t slot);
void intents_applied(struct service *s, uint64_t slot);
struct intent *intents_take_wanted(struct service *s);
void intents_free(struct service *s, struct intent *first);

void intents_forget(struct service *s,
                    bool (*forgotten)(const struct service *s, uint64_t client));
void intents_lost(struct service *s);
void intents_check(const struct service *s);

/* -------------------------------------------------- service_cache_lease.c */

/* What it has is not there any more: all of it; what it was told to forget; what it said it
 * has forgotten, as far as there is time. */
void cacher_forget_all(struct service *s, struct cacher *c);
void cacher_forget_told(struct service *s, struct cacher *c);
void cacher_forget_acknowledged(struct service *s, struct cacher *c);

/* It is gone, with all it has: now, or left behind until there is time. */
void cacher_dismiss(struct service *s, struct cacher *c);

/* Is its lease over, and was that all it had?  Then it and what it kept are gone. */
bool cacher_gone(struct service *s, struct cacher *c);

/* Is it waited for until its lease is over?  If so, that is looked at in time. */
bool cacher_awaited(const struct cacher *c);
void cacher_wait_for(struct service *s, const struct cacher *c);

/* Leases that are over are waited for no more. */
void caches_pass_time(struct service *s);

/* -------------------------------------------------- service_cache_sweep.c */

/* Who keeps what is marked has to forget it, and is told so: in this turn, as far as it has
 * time for that, or in the next ones. */
void cache_invalidate(struct service *s, struct cached_name *name);

/* Goes on with that, and with what was acknowledged. */
void caches_sweep(struct service *s);
void caches_sweep_nothing(struct service *s); /* All are gone who kept anything. */

/* Has this turn time for taking more from somebody?  A session may be the last. */
bool caches_have_time(const struct service *s);

#endif
