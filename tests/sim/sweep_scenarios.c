/* SPDX-License-Identifier: Apache-2.0
 *
 * The scenes of the sweep.  Each is as short as what it is about allows: its points
 * are counted from SCRIPT_COUNT on, and each of them is some runs.
 */
#include "tests/sim/agents_internal.h"
#include "tests/sim/sweep.h"

enum {
    LOCK = 0,
    ELECTION = NAME_ELECTIONS,
    FILE_A = 2,
    FILE_P = 7,
    FILE_B = 8,
    LEASE_MS = 12000,
    SHORT_LEASE_MS = 1000,
};

/* clang-format off */
#define DIRECTOR(...) {.lane = SCRIPT_DIRECTOR, .verb = __VA_ARGS__}
#define AGENT(number, ...) {.lane = (number), .verb = __VA_ARGS__}
#define DIRECTOR_MEETS(at) DIRECTOR(SCRIPT_MEET, .number = (at))
#define AGENT_MEETS(who, at) AGENT(who, SCRIPT_MEET, .number = (at))
#define COUNTED_FROM(at) DIRECTOR_MEETS(at), DIRECTOR(SCRIPT_COUNT)

const struct scene sweep_scenes[SCENES] = {
    {"founding, one founder late", .clients = 1, .late_ms = 500, .steps = {
        DIRECTOR(SCRIPT_COUNT),
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 300)}},
    {"the first election", .clients = 1, .steps = {
        DIRECTOR(SCRIPT_COUNT),
        DIRECTOR(SCRIPT_SERVED),
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_PUT, .name = FILE_P)}},
    {"steady puts", .clients = 3, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 200),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 1500)}},
    {"a directory and files in it, pipelined", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        AGENT(0, SCRIPT_MAKE, .name = NAME_DIRECTORY, .wait_ms = 20, .go_on = true),
        AGENT(0, SCRIPT_PUT, .name = NAME_DIRECTORY + 1, .go_on = true),
        AGENT(0, SCRIPT_PUT, .name = NAME_DIRECTORY + 1, .go_on = true),
        AGENT(0, SCRIPT_PUT, .name = NAME_DIRECTORY + 1),
        AGENT(0, SCRIPT_GET, .name = NAME_DIRECTORY + 1),
        AGENT(0, SCRIPT_PUT, .name = NAME_DIRECTORY + 1, .wait_ms = 50)}},
    {"an election with open slots", .clients = 2, .pipeline_max = 8, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 200),
        DIRECTOR(SCRIPT_BURST),
        DIRECTOR(SCRIPT_KILL_MASTER, .wait_ms = 2, .ms = 400),
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 200)}},
    {"values carried forward over a hole", .clients = 2, .pipeline_max = 8, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 200),
        DIRECTOR(SCRIPT_BURST),
        DIRECTOR(SCRIPT_DEAFEN, .wait_ms = 1, .ms = 1),
        DIRECTOR(SCRIPT_BURST, .wait_ms = 1),
        DIRECTOR(SCRIPT_KILL_MASTER, .wait_ms = 2, .ms = 1500),
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 200)}},
    {"a follower catches up from the log", .clients = 3, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_KILL_FOLLOWER, .wait_ms = 200, .ms = 1500),
        DIRECTOR(SCRIPT_BURST, .wait_ms = 300),
        DIRECTOR(SCRIPT_BURST, .wait_ms = 300),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 850),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 500)}},
    {"rows are written while the log commits", .clients = 3, .pipeline_max = 4,
     .sync_us_max = 20000, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 800),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 1000)}},
    {"the log is trimmed", .clients = 3, .pipeline_max = 8, .sync_us_max = 4000, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 1900),
        DIRECTOR(SCRIPT_BURST, .wait_ms = 100),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 400)}},
    {"sessions open and close", .clients = 1, .steps = {
        DIRECTOR(SCRIPT_SERVED),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 100),
        DIRECTOR_MEETS(1),
        AGENT_MEETS(0, 1),
        AGENT_MEETS(1, 1),
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS, .wait_ms = 3),
        AGENT(0, SCRIPT_CLOSE, .wait_ms = 50),
        AGENT(1, SCRIPT_PUT, .name = FILE_A),
        AGENT(1, SCRIPT_CLOSE),
        AGENT(0, SCRIPT_OPEN, .ms = SHORT_LEASE_MS),
        AGENT(0, SCRIPT_CLOSE, .wait_ms = 400)}},
    {"a lock is handed over", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT_MEETS(0, 1),
        AGENT_MEETS(1, 1),
        COUNTED_FROM(1),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK, .wait_ms = 10),
        AGENT_MEETS(0, 2),
        AGENT_MEETS(1, 2),
        AGENT(1, SCRIPT_ACQUIRE, .name = LOCK),
        AGENT(0, SCRIPT_RELEASE, .wait_ms = 60),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK),
        AGENT(1, SCRIPT_RELEASE, .wait_ms = 100),
        AGENT(0, SCRIPT_RELEASE, .wait_ms = 100),
        AGENT(1, SCRIPT_CAMPAIGN, .name = ELECTION, .number = 1, .wait_ms = 150)}},
    {"a holder expires, with a lock-delay", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = SHORT_LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK, .delay_ms = 600),
        AGENT(0, SCRIPT_KILL),
        AGENT_MEETS(0, 1),
        AGENT_MEETS(1, 1),
        DIRECTOR_MEETS(1),
        AGENT(1, SCRIPT_ACQUIRE, .name = LOCK),
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 900),
        AGENT(1, SCRIPT_RELEASE)}},
    {"a waiter's time ends", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK),
        AGENT_MEETS(0, 1),
        AGENT_MEETS(1, 1),
        COUNTED_FROM(1),
        AGENT(1, SCRIPT_ACQUIRE, .name = LOCK, .ms = 400, .expect = LOCKD_E_TIMEOUT),
        AGENT_MEETS(1, 2),
        AGENT_MEETS(0, 2),
        AGENT(0, SCRIPT_RELEASE)}},
    {"an ephemeral node has two openers", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT_MEETS(0, 1),
        AGENT_MEETS(1, 1),
        COUNTED_FROM(1),
        AGENT(0, SCRIPT_GRASP, .name = NAME_DIRECTORY + 2, .wait_ms = 10),
        AGENT(1, SCRIPT_GRASP, .name = NAME_DIRECTORY + 2, .wait_ms = 12),
        AGENT(0, SCRIPT_LET_GO, .wait_ms = 30),
        AGENT(1, SCRIPT_LET_GO, .wait_ms = 60),
        AGENT(0, SCRIPT_CLOSE)}},
    {"a watch is resumed", .clients = 2, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_WATCH, .wait_ms = 10),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        AGENT(0, SCRIPT_PUT, .name = FILE_A, .wait_ms = 10),
        AGENT(0, SCRIPT_DROP),
        AGENT(0, SCRIPT_PUT, .name = FILE_B),
        AGENT(0, SCRIPT_DROP, .wait_ms = 20),
        AGENT(0, SCRIPT_PUT, .name = FILE_B, .wait_ms = 20)}},
    {"the master is shut down", .clients = 2, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        DIRECTOR(SCRIPT_LEAVE, .wait_ms = 20, .ms = 100),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 50),
        AGENT(0, SCRIPT_RELEASE, .wait_ms = 30),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 200)}},
    {"all three restart", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK, .delay_ms = 5000),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        DIRECTOR(SCRIPT_KILL_ALL, .ms = 20),
        AGENT(0, SCRIPT_PUT, .name = FILE_A, .wait_ms = 5),
        AGENT(0, SCRIPT_RELEASE)}},
    {"a deposed master returns", .clients = 2, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        DIRECTOR(SCRIPT_STOP, .ms = 1200),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 1300)}},
    {"stretched leases begin", .clients = 1, .keepalives_busy = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(1, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT(2, SCRIPT_OPEN, .ms = LEASE_MS),
        DIRECTOR(SCRIPT_SERVED),
        /* The second KeepAlives are those that show it. */
        DIRECTOR(SCRIPT_COUNT, .wait_ms = 7950),
        DIRECTOR(SCRIPT_SERVED, .wait_ms = 600),
        AGENT(0, SCRIPT_CAMPAIGN, .name = ELECTION, .wait_ms = 8000)}},
    {"a retry is answered from memory", .clients = 1, .steps = {
        AGENT(0, SCRIPT_OPEN, .ms = LEASE_MS),
        AGENT_MEETS(0, 1),
        COUNTED_FROM(1),
        AGENT(0, SCRIPT_PUT, .name = FILE_A, .wait_ms = 10, .go_on = true),
        AGENT(0, SCRIPT_DROP, .wait_ms = 2, .go_on = true),
        AGENT(0, SCRIPT_PUT, .name = FILE_A, .go_on = true),
        AGENT(0, SCRIPT_DROP, .wait_ms = 4),
        AGENT(0, SCRIPT_ACQUIRE, .name = LOCK, .go_on = true),
        AGENT(0, SCRIPT_DROP, .wait_ms = 3),
        AGENT(0, SCRIPT_RELEASE)}},
};
/* clang-format on */
