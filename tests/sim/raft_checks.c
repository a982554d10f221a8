/* What must hold, whatever fails: the properties of figure 3 in Ongaro and Ousterhout's paper, and some of the rules
 * that they rest on. */
#include <inttypes.h>
#include <string.h>

#include "raft_scenario.h"

static uint64_t known_term(uint64_t term)
{
    SIM_CHECK("bounds", term < RAFT_SIM_TERM_MAX, "more terms than the simulator has room for");
    return term;
}

static uint64_t known_index(uint64_t index)
{
    SIM_CHECK("bounds", index < RAFT_SIM_INDEX_MAX, "more entries than the simulator has room for");
    return index;
}

/* A node votes for one candidate in a term, also over crashes (5.2). What it did not say does not count. */
void raft_check_sent(struct raft_node *node, uint32_t to, struct bytes bytes)
{
    struct raft_scenario *scenario = raft_scenario_of(node->sim);
    struct raft_message message;

    SIM_CHECK("message", raft_message_parse(bytes, &message) == 0, "node %u sends no message",
              node->node);
    if (message.type == RAFT_VOTE_REPLY && message.granted) {
        uint32_t *vote = &scenario->votes[node->node][known_term(message.asked_term)];
        SIM_CHECK("vote", *vote == 0 || *vote == to, "node %u votes for %u and %u in term %" PRIu64,
                  node->node, *vote, to, message.asked_term);
        *vote = to;
    }
}

/* Leader completeness: what was committed in an earlier term is in the log of every later leader. */
void raft_check_leader(struct raft_node *node)
{
    struct raft_scenario *scenario = raft_scenario_of(node->sim);
    const struct raft *raft = &node->raft;

    for (uint64_t i = raft->log.base_index + 1; i <= scenario->committed_last; i++) {
        const struct raft_committed *committed = &scenario->committed[i];
        SIM_CHECK("completeness",
                  committed->known_term >= raft->term ||
                      raft_log_term(&raft->log, i) == committed->term,
                  "node %u leads in term %" PRIu64 " without the committed entry %" PRIu64,
                  node->node, raft->term, i);
    }
}

/* State machine safety: no two nodes apply different entries at one index. */
void raft_check_applied(struct raft_node *node, const struct raft_entry *entry)
{
    struct raft_scenario *scenario = raft_scenario_of(node->sim);
    struct raft_committed *committed = &scenario->committed[known_index(entry->index)];
    uint64_t hash = raft_entry_hash(entry);

    if (committed->term == 0) {
        *committed = (struct raft_committed){
            .term = entry->term,
            .hash = hash,
            .chain_hash = node->chain.hash,
            .known_term = node->raft.term,
        };
        scenario->committed_last = entry->index;
        sim_count(node->sim, SIM_COMMITTED);
    }
    SIM_CHECK("committed",
              committed->term == entry->term && committed->hash == hash &&
                  committed->chain_hash == node->chain.hash,
              "node %u applies another entry %" PRIu64, node->node, entry->index);
}

void raft_check_restored(struct raft_node *node, uint64_t index)
{
    const struct raft_committed *committed =
        &raft_scenario_of(node->sim)->committed[known_index(index)];

    SIM_CHECK("snapshot",
              index == node->chain.index && committed->term != 0 &&
                  committed->chain_hash == node->chain.hash,
              "node %u takes a snapshot that is not the state at %" PRIu64, node->node, index);
}

/* Log matching: an index and a term stand for one entry, and for all before it. */
static void check_entry(struct raft_node *node, uint64_t index)
{
    const struct raft_entry *entry = raft_log_at(&node->raft.log, index);
    struct raft_seen *seen = &raft_scenario_of(node->sim)->seen[known_index(index)];
    uint64_t hash = raft_entry_hash(entry);
    uint64_t before_term = index == 1 ? 0 : raft_log_term(&node->raft.log, index - 1);
    uint32_t i = 0;

    while (i < seen->count && seen->entries[i].term != entry->term) {
        i++;
    }
    if (i == seen->count) {
        SIM_CHECK("bounds", i < RAFT_SIM_SAME_INDEX_MAX, "too many terms at one index");
        seen->entries[seen->count++] = (struct raft_seen_entry){entry->term, hash, before_term};
    }
    SIM_CHECK(
        "matching", seen->entries[i].hash == hash && seen->entries[i].before_term == before_term,
        "node %u has another entry %" PRIu64 " of term %" PRIu64, node->node, index, entry->term);
}

/* Election safety: at most one leader in a term. */
static void check_leaders(struct raft_node *node)
{
    struct raft_scenario *scenario = raft_scenario_of(node->sim);
    uint32_t *leader = &scenario->leaders[known_term(node->raft.term)];

    SIM_CHECK("election", *leader == 0 || *leader == node->node,
              "nodes %u and %u both lead in term %" PRIu64, *leader, node->node, node->raft.term);
    *leader = node->node;
}

static void check_node(struct raft_node *node)
{
    const struct raft *raft = &node->raft;
    uint64_t last = raft_log_last(&raft->log);
    bool leads = raft->role == RAFT_LEADER;

    sim_memory_check(&node->memory);
    if (leads) {
        check_leaders(node);
    }
    /* Leader append-only. */
    SIM_CHECK("append-only",
              !leads || node->role != RAFT_LEADER || node->term != raft->term ||
                  (last >= node->last && (node->file.dirty == 0 || node->file.dirty > node->last)),
              "node %u leads, and changes its log", node->node);
    /* Only entries of its own term are committed by counting (5.4.2, figure 8). */
    SIM_CHECK("own_term",
              !leads || raft->commit <= node->commit ||
                  raft_log_term(&raft->log, raft->commit) == raft->term,
              "node %u leads in term %" PRIu64 ", and commits an entry of an earlier one",
              node->node, raft->term);
    for (uint64_t i = node->file.dirty; i != 0 && i <= last; i++) {
        if (raft_log_at(&raft->log, i) != NULL) {
            check_entry(node, i);
        }
    }
    SIM_CHECK("order",
              raft->term >= node->term && raft->commit >= node->commit && raft->commit <= last &&
                  raft->applied <= raft->commit && node->chain.index == raft->applied,
              "node %u: term %" PRIu64 ", commit %" PRIu64 ", applied %" PRIu64 ", last %" PRIu64,
              node->node, raft->term, raft->commit, raft->applied, last);
    node->file.dirty = 0;
    node->role = raft->role;
    node->term = raft->term;
    node->last = last;
    node->commit = raft->commit;
}

void raft_check_all(struct raft_scenario *scenario)
{
    for (uint32_t i = 1; i <= SIM_NODES_MAX; i++) {
        if (scenario->nodes[i].runs) {
            check_node(&scenario->nodes[i]);
        }
    }
}
