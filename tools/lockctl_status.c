/* SPDX-License-Identifier: Apache-2.0
 *
 * lockctl_status.c -- what a cell is and how it fares.
 *
 * Each endpoint is asked for its own view, because a cell that is broken is
 * broken differently seen from each replica.  What the master says of the cell
 * counts; of several that think they are the master, the one with the highest
 * epoch.
 */
#include "tools/lockctl.h"
#include "tools/lockctl_cell.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 100 };

/* One replica's answer. */
struct view {
    bool answered;
    bool again; /* The same replica answered at another endpoint before. */
    struct wire_buffer line;
    struct wire_memory memory; /* Of `status`. */
    const struct wire_status *status;
};

struct picture {
    struct view views[CELL_ENDPOINTS_MAX]; /* By endpoint. */
    size_t count;
    const struct wire_status *master; /* NULL: nobody serves. */
};

static void picture_free(struct picture *p)
{
    for (size_t i = 0; i < p->count; i++) {
        wire_buffer_free(&p->views[i].line);
        wire_memory_free(&p->views[i].memory);
    }
    *p = (struct picture){.count = 0};
}

static bool seen_before(const struct picture *p, const struct wire_status *status)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct view *view = &p->views[i];
        if (view->answered && view->status->replica == status->replica &&
            view->status->cell_id.size == status->cell_id.size &&
            memcmp(view->status->cell_id.data, status->cell_id.data, status->cell_id.size) ==
                0) {
            return true;
        }
    }
    return false;
}

/* Keeps the answer just given, parsed from a copy of its own. */
static bool view_keep(struct view *view, struct wire_text line)
{
    struct wire_reply reply;
    char detail[WIRE_DETAIL_MAX];
    wire_append(&view->line, line.data, line.size);
    if (view->line.failed ||
        !wire_parse_reply(&view->memory, WIRE_CELL_STATUS, line, &reply, detail)) {
        return false;
    }
    view->status = reply.status;
    return true;
}

/* Asks everyone known, those included that the others tell of meanwhile. */
static void picture_take(struct cell *cell, uint64_t deadline_ms, struct picture *ret_picture)
{
    struct picture *p = ret_picture;
    *p = (struct picture){.count = 0};
    for (size_t i = 0; i < cell_endpoints(cell); i++) {
        struct view *view = &p->views[i];
        struct wire_reply reply;
        const uint64_t share = link_now_ms() + cell_share_ms(cell);
        view->answered = cell_ask(cell, i, share < deadline_ms ? share : deadline_ms, &reply) &&
                         view_keep(view, cell_line(cell));
        if (view->answered) {
            view->again = seen_before(p, view->status);
            if (view->status->serving &&
                (p->master == NULL || view->status->epoch > p->master->epoch)) {
                p->master = view->status;
            }
        }
        p->count = i + 1;
    }
}

/* ------------------------------------------------------------------- as text */

static int width(struct wire_text text)
{
    return (int)text.size;
}

static void print_cell(const struct wire_status *s)
{
    printf("cell       %.*s, id %.*s\n", width(s->cell), s->cell.data, width(s->cell_id),
           s->cell_id.data);
    printf("master     replica %" PRIu64, s->replica);
    if (s->master_address.size > 0) {
        printf(" at %.*s", width(s->master_address), s->master_address.data);
    }
    printf(", epoch %" PRIu64 "\n", s->epoch);
    if (s->survives_known) {
        printf("survives   %" PRIu64 " more failure%s\n", s->survives,
               s->survives == 1 ? "" : "s");
    }
    printf("state      revision %" PRIu64 ", %" PRIu64 " nodes, %" PRIu64 " octets\n",
           s->revision, s->nodes, s->content_bytes);
    printf("sessions   %" PRIu64 ", %" PRIu64 " locks held, %" PRIu64 " awaited, %" PRIu64
           " in lock-delay, %" PRIu64 " ephemerals open\n",
           s->sessions, s->locks_held, s->locks_waiting, s->locks_delayed, s->opens);
    printf("events     %" PRIu64 " watches, history of %" PRIu64
           " octets, above revision %" PRIu64 "\n",
           s->watches, s->history_bytes, s->history_floor);
    printf("caches     %" PRIu64 " names kept by clients, %" PRIu64 " commands wait for them\n",
           s->cached, s->held);
    if (s->stretch_ms > 0) {
        printf("leases     stretched up to %.1f s, because the master is loaded\n",
               (double)s->stretch_ms / 1000);
    }
    printf("log        chosen %" PRIu64 ", kept from %" PRIu64 ", tables at %" PRIu64 "\n",
           s->slot_chosen, s->log_first, s->slot_tables);
    if (s->low_space) {
        printf("alarm      the disk is nearly full: what grows is refused\n");
    }
}

/* What the master knows of a replica; NULL: nothing. */
static const struct wire_member *member_of(const struct wire_status *master, uint64_t id)
{
    for (uint32_t i = 0; master != NULL && i < master->members_count; i++) {
        if (master->members[i].id == id) {
            return &master->members[i];
        }
    }
    return NULL;
}

static void print_number_or_dash(bool known, uint64_t number)
{
    if (known) {
        printf("  %10" PRIu64, number);
    } else {
        printf("  %10s", "-");
    }
}

static void print_replica(const struct wire_status *s, const char *endpoint,
                          const struct wire_member *member)
{
    printf("%7" PRIu64 "  %-21s  %-9.*s", s->replica, endpoint, width(s->role), s->role.data);
    printf("  %10" PRIu64 "  %10" PRIu64 "  %10" PRIu64, s->epoch, s->slot_chosen,
           s->slot_applied);
    print_number_or_dash(member != NULL && member->durable_slot > 0,
                         member != NULL ? member->durable_slot : 0);
    if (s->has_age) {
        printf("  %8.1f\n", (double)s->age_ms / 1000);
    } else {
        printf("  %8s\n", "-");
    }
}

static void print_silent(const char *number, const char *endpoint, const char *trouble)
{
    printf("%7s  %-21s  %-9s  %s\n", number, endpoint, "-", trouble);
}

/* A replica that the master names, and that no endpoint led to. */
static void print_unseen(const struct wire_member *member)
{
    char peer[LINK_ADDRESS_MAX], number[24];
    snprintf(peer, sizeof peer, "%.*s", width(member->peer), member->peer.data);
    snprintf(number, sizeof number, "%" PRIu64, member->id);
    print_silent(number, peer,
                 member->heard ? "its client address is not known, but the master hears it"
                               : "the master does not hear it");
}

/* The id of the member whose client address this endpoint is. */
static const struct wire_member *member_at(const struct wire_status *master,
                                           const char *endpoint)
{
    const struct wire_text text = {.data = endpoint, .size = strlen(endpoint)};
    for (uint32_t i = 0; master != NULL && i < master->members_count; i++) {
        const struct wire_text client = master->members[i].client;
        if (client.size == text.size && memcmp(client.data, text.data, text.size) == 0) {
            return &master->members[i];
        }
    }
    return NULL;
}

static bool has_row(const struct picture *p, const struct cell *cell,
                    const struct wire_member *member)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->views[i].answered ? p->views[i].status->replica == member->id
                                 : member_at(p->master, cell_endpoint(cell, i)) == member) {
            return true;
        }
    }
    return false;
}

static void print_replicas(const struct picture *p, const struct cell *cell)
{
    printf("%7s  %-21s  %-9s  %10s  %10s  %10s  %10s  %8s\n", "REPLICA", "ENDPOINT", "ROLE",
           "EPOCH", "CHOSEN", "APPLIED", "DURABLE", "AGE s");
    for (size_t i = 0; i < p->count; i++) {
        const struct view *view = &p->views[i];
        const char *endpoint = cell_endpoint(cell, i);
        if (!view->answered) {
            const struct wire_member *member = member_at(p->master, endpoint);
            char number[24];
            snprintf(number, sizeof number, member == NULL ? "?" : "%" PRIu64,
                     member == NULL ? 0 : member->id);
            print_silent(number, endpoint, cell_trouble(cell, i));
        } else if (!view->again) {
            print_replica(view->status, endpoint, member_of(p->master, view->status->replica));
        }
    }
    for (uint32_t i = 0; p->master != NULL && i < p->master->members_count; i++) {
        if (!has_row(p, cell, &p->master->members[i])) {
            print_unseen(&p->master->members[i]);
        }
    }
}

/* ------------------------------------------------------------------- as JSON */

static json_t *json_of(const struct wire_status *status, const struct picture *p)
{
    for (size_t i = 0; status != NULL && i < p->count; i++) {
        if (p->views[i].status == status) {
            json_t *root = json_loadb(p->views[i].line.data, p->views[i].line.size, 0, NULL);
            json_t *result = json_incref(json_object_get(root, "result"));
            json_decref(root);
            return result;
        }
    }
    return json_null();
}

static enum exit_code print_json(const struct picture *p, const struct cell *cell)
{
    json_t *replicas = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const struct view *view = &p->views[i];
        const char *endpoint = cell_endpoint(cell, i);
        if (!view->answered) {
            json_array_append_new(replicas, json_pack("{s:s, s:s}", "endpoint", endpoint,
                                                      "error", cell_trouble(cell, i)));
        } else if (!view->again) {
            json_array_append_new(replicas, json_pack("{s:s, s:o}", "endpoint", endpoint,
                                                      "status", json_of(view->status, p)));
        }
    }
    json_t *root = json_pack("{s:b, s:o, s:o}", "serving", p->master != NULL, "master",
                             json_of(p->master, p), "replicas", replicas);
    const int rc = json_dumpf(root, stdout, JSON_COMPACT);
    fputc('\n', stdout);
    json_decref(root);
    return rc == 0 ? EXIT_DONE : EXIT_OTHER;
}

/* ------------------------------------------------------------------- command */

static enum exit_code show(const struct lockctl *ctl, const struct cell *cell,
                           const struct picture *p)
{
    enum exit_code code = EXIT_DONE;
    if (ctl->output == OUTPUT_JSON) {
        code = print_json(p, cell);
    } else {
        if (ctl->output == OUTPUT_SIMPLE && p->master != NULL) {
            print_cell(p->master);
            printf("\n");
        }
        print_replicas(p, cell);
    }
    if (p->master == NULL) {
        fflush(stdout);
        fputs("lockctl: status: no master serves at any of these endpoints\n", stderr);
        return EXIT_UNAVAILABLE;
    }
    return code;
}

/* Looks at the cell, again and again until somebody serves or the time is over. */
static void watch(const struct lockctl *ctl, struct cell *cell, uint64_t wait_ms,
                  struct picture *ret_picture)
{
    const uint64_t until = link_now_ms() + wait_ms;
    for (;;) {
        picture_take(cell, link_now_ms() + ctl->timeout_ms, ret_picture);
        if (ret_picture->master != NULL || link_now_ms() >= until) {
            return;
        }
        picture_free(ret_picture);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static bool take_wait(const struct lockctl *ctl, int argc, char **argv, uint64_t *ret_ms)
{
    static const struct option options[] = {{"wait", required_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *ret_ms = 0;
    while (next_option(ctl, argc, argv, "h", options) == 'w') {
        if (!parse_duration(optarg, ret_ms)) {
            usage_error(ctl, "\"%s\" is not a duration such as 500ms or 10s", optarg);
            return false;
        }
    }
    if (optind != argc) {
        usage_error(ctl, "no NAME is expected");
        return false;
    }
    return true;
}

enum exit_code cmd_status(struct lockctl *ctl, int argc, char **argv)
{
    uint64_t wait_ms;
    if (!take_wait(ctl, argc, argv, &wait_ms)) {
        return EXIT_USAGE;
    }
    enum exit_code code = EXIT_OTHER;
    struct picture *picture = calloc(1, sizeof *picture);
    struct cell *cell = cell_new(ctl->endpoints, ctl->timeout_ms);
    if (picture == NULL || cell == NULL) {
        fputs("lockctl: status: out of memory\n", stderr);
    } else {
        watch(ctl, cell, wait_ms, picture);
        code = show(ctl, cell, picture);
        picture_free(picture);
    }
    cell_free(cell);
    free(picture);
    return code;
}
