/* What Raft's log says to the map: entries, and the state they make.
 *
 * A proposal may reach the log several times, as who proposed sends it until it comes back. So each entry names its
 * proposal, and the state has the last outcomes: what was applied once is passed over after that.
 *
 *   entry   u8 version (1), varint node and varint start of who proposed, varint number of the proposal in that life,
 *           then the command (map_command.h)
 *   state   u8 version (1), varint outcomes, for each, the oldest first: varints node, start, number, errno or 0; then
 *           the map (map.h)
 *
 * Memory: plain data but for the maps, which the caller owns. Threads: the caller's.
 */
#ifndef CLUSTER_LOG_H
#define CLUSTER_LOG_H

#include "map.h"
#include "map_command.h"
#include "memory.h"

enum {
    CLUSTER_LOG_VERSION = 1,
    CLUSTER_OUTCOMES_MAX = 256,
    CLUSTER_PROPOSAL_BYTES = 1 + 3 * VARINT_BYTES_MAX, /* What an entry has before its command. */
};

struct cluster_proposer {
    uint32_t node, start;
    uint64_t number;
};

struct cluster_applied {
    struct cluster_proposer by;
    int rc; /* Of map_apply(), or -EBADMSG, -EPROTONOSUPPORT. */
};

struct cluster_outcomes {
    uint32_t first, count;
    struct cluster_applied list[CLUSTER_OUTCOMES_MAX];
};

/* Append an entry's bytes. Returns 0 or -ENOMEM: `to` may have grown then. */
int cluster_entry_put(struct buffer *to, const struct cluster_proposer *by,
                      const struct map_command *command);

/* Take one apart. Returns 0; -EPROTONOSUPPORT; -EBADMSG. */
int cluster_entry_read(struct bytes from, struct cluster_proposer *by, struct map_command *command);

/* Apply an entry to the map, unless it was. Returns its outcome, which the state has from there; NULL where it was
 * applied before, or cannot even be told whose it is. */
const struct cluster_applied *cluster_entry_apply(struct bytes entry, struct map *map,
                                                  struct placement_work *work,
                                                  struct cluster_outcomes *outcomes);

/* The outcome of a proposal, if it is among the last. */
const struct cluster_applied *cluster_outcome_of(const struct cluster_outcomes *outcomes,
                                                 const struct cluster_proposer *by);

/* Append the state. Returns 0 or -ENOMEM: `to` may have grown then. */
int cluster_state_put(struct buffer *to, const struct map *map,
                      const struct cluster_outcomes *outcomes);

/* Read it. Returns 0; -EPROTONOSUPPORT; -EBADMSG: both are of no use then. */
int cluster_state_read(struct bytes from, struct map *map, struct cluster_outcomes *outcomes);

#endif
