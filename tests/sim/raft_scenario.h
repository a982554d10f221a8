/* Scenario `raft`: some Raft nodes on simulated disks and links, who agree on commands while all sorts of things fail.
 *
 *   raft_file.c      its store
 *   raft_node.c      one node: its machine, its ports
 *   raft_checks.c    what must hold, whatever fails (raft paper, figure 3)
 *   raft_scenario.c  proposals, changes of members, and that all settles
 */
#ifndef RAFT_SCENARIO_H
#define RAFT_SCENARIO_H

#include "raft_file.h"
#include "sim.h"
#include "sim_memory.h"

enum {
    RAFT_SIM_ELECTION_MS = 300,
    RAFT_SIM_HEARTBEAT_MS = 60,
    RAFT_SIM_TICK_US = 20000,
    RAFT_SIM_LOG_BYTES = 2048,
    RAFT_SIM_KEPT_ENTRIES = 6,
    RAFT_SIM_INDEX_MAX = 4096,
    RAFT_SIM_TERM_MAX = 4096,
    RAFT_SIM_SAME_INDEX_MAX = 24,
    RAFT_SIM_COMMAND_BYTES = 24,
    RAFT_SIM_BYTES_MAX = 10 * 1024,
};

/* What the state machine is: how many entries were applied, and a hash over all of them. */
struct raft_chain {
    uint64_t index, hash;
};

struct raft_node {
    struct raft raft;
    struct raft_net net;
    struct raft_file file;
    struct raft_machine machine;
    struct raft_tracer tracer;
    struct sim_memory memory;
    struct sim *sim;
    uint32_t node;
    bool runs;
    struct raft_chain chain;
    /* As the last check saw it, in this life. */
    enum raft_role role;
    uint64_t term, last, commit;
};

/* All that was ever in a log at an index. */
struct raft_seen {
    uint32_t count;
    struct raft_seen_entry {
        uint64_t term, hash, before_term;
    } entries[RAFT_SIM_SAME_INDEX_MAX];
};

struct raft_committed {
    uint64_t term, hash, chain_hash; /* term 0: not yet. */
    uint64_t known_term;             /* Of whoever applied it first. */
};

struct raft_scenario {
    struct raft_node nodes[1 + SIM_NODES_MAX];
    uint32_t leaders[RAFT_SIM_TERM_MAX];                  /* By term. */
    uint32_t votes[1 + SIM_NODES_MAX][RAFT_SIM_TERM_MAX]; /* Given, and said so. */
    struct raft_seen seen[RAFT_SIM_INDEX_MAX];
    struct raft_committed committed[RAFT_SIM_INDEX_MAX];
    uint64_t committed_last;
    uint64_t proposals;
    struct raft_place last_place; /* Of one proposed after all was healed. */
    bool proposed_last;
};

static inline struct raft_scenario *raft_scenario_of(struct sim *sim)
{
    return sim->context;
}

void raft_node_start(struct raft_node *node);
void raft_node_stop(struct raft_node *node);
void raft_node_written(struct raft_node *node, bool good);
uint64_t raft_node_now_ms(const struct raft_node *node);

/* A message is sent; a node becomes leader; an entry is applied, a snapshot taken. */
void raft_check_sent(struct raft_node *node, uint32_t to, struct bytes message);
void raft_check_leader(struct raft_node *node);
void raft_check_applied(struct raft_node *node, const struct raft_entry *entry);
void raft_check_restored(struct raft_node *node, uint64_t index);
/* After each event. */
void raft_check_all(struct raft_scenario *scenario);

uint64_t raft_hash(uint64_t hash, const void *data, size_t size);
uint64_t raft_entry_hash(const struct raft_entry *entry);

#endif
