/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h -- what a cell's files should do, written as simply as possible.
 *
 * A sorted array of paths and no cleverness: it shares no code with lease/, so
 * that a mistake has to be made twice to go unseen.  Only the vocabulary
 * (results, kinds, stat) is common.
 */
#ifndef TOOLS_CHECK_MODEL_H
#define TOOLS_CHECK_MODEL_H

#include "tools/check/history.h"

struct model_node {
    struct bytes path; /* Borrowed from the requests, as is the content. */
    struct bytes content;
    enum lease_kind kind;
    uint64_t instance;
    uint64_t content_generation;
    uint64_t revision;
    uint64_t modified_wall_ms;
    uint64_t children;
};

/* Zero-initialise, then model_start(). */
struct model {
    struct model_node *nodes; /* By path; the first is the root, "". */
    uint32_t count, capacity;
    uint64_t revision;
    uint64_t instances;
    uint8_t *scratch; /* What the last list returned. */
    size_t scratch_size;
};

void model_start(struct model *m);
void model_free(struct model *m);

/* Executes a command or a read.  `ret_result` gets all but epoch and index; it
 * borrows from the model until the next call. */
void model_execute(struct model *m, const struct history_request *request, uint64_t wall_ms,
                   struct history_result *ret_result);

#endif
