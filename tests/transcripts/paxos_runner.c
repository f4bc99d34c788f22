/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the stories in transcripts/paxos: real replicas, an explicit disk, an
 * explicit network, a clock that we move.
 *
 *     paxos_runner DIRECTORY [--rewrite]
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxos/describe.h"
#include "tests/transcripts/paxos_commands.h"

enum { FILES_MAX = 128 };

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint32_t list_files(const char *folder, char *paths[static FILES_MAX])
{
    uint32_t count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *at = readdir(dir); at != NULL && count < FILES_MAX;
         at = readdir(dir)) {
        const char *end = strrchr(at->d_name, '.');
        if (end != NULL && strcmp(end, ".txt") == 0 &&
            asprintf(&paths[count], "%s/%s", folder, at->d_name) >= 0) {
            count++;
        }
    }
    (void)closedir(dir);
    qsort(paths, count, sizeof paths[0], by_name);
    return count;
}

/* A rule that no story tells of is a rule that nobody checks. */
static bool everything_was_met(const struct cluster *c, bool mentioned[static 10])
{
    bool all = true;
    for (int i = 0; i < PAXOS_DROPS; i++) {
        if (!c->dropped[i]) {
            printf("# never dropped: %s\n", paxos_describe_drop((enum paxos_drop)i));
            all = false;
        }
    }
    for (int i = 0; i < PAXOS_NOTES; i++) {
        if (!c->noted[i]) {
            char line[256];
            const struct paxos_note note = {.kind = (enum paxos_note_kind)i};
            printf("# never noted: %s\n", paxos_describe_note(&note, line, sizeof line));
            all = false;
        }
    }
    for (int i = PAXOS_MSG_FOUND; i < PAXOS_MSG_TYPES; i++) {
        if (!c->received[i]) {
            printf("# never received: %s\n",
                   paxos_describe_message_type((enum paxos_message_type)i));
            all = false;
        }
    }
    for (int i = 1; i < 10; i++) {
        if (!mentioned[i]) {
            printf("# never mentioned: invariant P%d\n", i);
            all = false;
        }
    }
    return all;
}

static void find_mentions(const char *path, bool mentioned[static 10])
{
    char *text = transcript_read(path);
    for (const char *at = text == NULL ? NULL : strstr(text, "(P"); at != NULL;
         at = strstr(at + 1, "(P")) {
        if (at[2] >= '1' && at[2] <= '9' && at[3] == ')') {
            mentioned[at[2] - '0'] = true;
        }
    }
    free(text);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "--rewrite") != 0)) {
        (void)fprintf(stderr, "usage: paxos_runner DIRECTORY [--rewrite]\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* A failed assertion must not swallow it. */
    static struct cluster cluster;
    const struct transcript_runner runner = {.context = &cluster, .command = cluster_command};
    char *paths[FILES_MAX];
    bool mentioned[10] = {0};
    const uint32_t count = list_files(argv[1], paths);
    bool all_ok = count > 0;
    printf("1..%u\n", count + 1);
    for (uint32_t i = 0; i < count; i++) {
        cluster.disagreed = false;
        const bool ok = transcript_run(paths[i], argc == 3, &runner) && !cluster.disagreed;
        cluster_end(&cluster);
        find_mentions(paths[i], mentioned);
        const char *name = strrchr(paths[i], '/') + 1;
        printf("%s %u - %.*s\n", ok ? "ok" : "not ok", i + 1, (int)strlen(name) - 4, name);
        all_ok &= ok;
        free(paths[i]);
    }
    const bool met = everything_was_met(&cluster, mentioned);
    printf("%s %u - every drop, note, message and invariant is told of\n",
           met ? "ok" : "not ok", count + 1);
    return all_ok && met ? 0 : 1;
}
