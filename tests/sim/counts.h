/* What is counted in a run, and how often it has to come at least in a hundred seeds: a fault that never happens
 * shows nothing. X(NAME, text, least of scenario shard, raft, copies, cluster, archive) */
#ifndef COUNTS_H
#define COUNTS_H

/* What came at one step of a hand-off (cluster_handoff.c), in the order of enum cluster_harm. */
#define SIM_HARM_ROWS(X, STEP, text)                                                               \
    X(STEP##_SOURCE, "sources of a hand-off crashed as " text, 0, 0, 0, 3, 0)                      \
    X(STEP##_TARGET, "targets crashed as " text, 0, 0, 0, 3, 0)                                    \
    X(STEP##_SUCCESSOR, "other owners and targets crashed as " text, 0, 0, 0, 3, 0)                \
    X(STEP##_LEADER, "leaders crashed as " text, 0, 0, 0, 3, 0)                                    \
    X(STEP##_CUT, "sources cut off as " text, 0, 0, 0, 3, 0)                                       \
    X(STEP##_CANCEL, "drains taken back as " text, 0, 0, 0, 3, 0)

#define SIM_COUNT_TABLE(X)                                                                         \
    X(EVENTS, "events", 100000, 100000, 100000, 100000, 100000)                                    \
    X(STARTS, "starts", 500, 500, 500, 500, 200)                                                   \
    X(CLEAN_STOPS, "clean stops", 20, 20, 50, 50, 30)                                              \
    X(KILLS, "processes killed", 100, 100, 100, 100, 50)                                           \
    X(MACHINES, "machines crashed", 100, 100, 100, 100, 50)                                        \
    X(WIPES, "disks wiped", 10, 0, 0, 10, 0)                                                       \
    X(LOST_WRITES, "crashes that lost unsynced bytes", 50, 20, 50, 50, 30)                         \
    X(TORN_WRITES, "writes torn by a crash", 20, 10, 0, 20, 0)                                     \
    X(PAUSES, "pauses", 50, 50, 50, 50, 30)                                                        \
    X(CUTS, "cuts of links", 50, 100, 100, 100, 30)                                                \
    X(ONE_WAY_CUTS, "one-way cuts", 20, 20, 20, 20, 10)                                            \
    X(PARTITIONS, "partitions", 0, 50, 50, 50, 20)                                                 \
    X(BRIDGES, "bridges", 0, 10, 10, 10, 0)                                                        \
    X(BAD_NETS, "times of a bad network", 50, 50, 50, 50, 20)                                      \
    X(SENT, "messages", 20000, 20000, 20000, 20000, 10000)                                         \
    X(DROPPED, "messages lost", 100, 1000, 1000, 1000, 100)                                        \
    X(REPEATED, "messages repeated", 0, 100, 0, 0, 0)                                              \
    X(REORDERED, "messages overtaken", 0, 1000, 0, 0, 0)                                           \
    X(RESETS, "connections lost", 100, 100, 100, 100, 50)                                          \
    X(JUMPS, "clock jumps", 50, 50, 50, 50, 20)                                                    \
    X(DRIFTS, "clock drifts", 20, 20, 0, 20, 0)                                                    \
    X(FULL_DISKS, "full disks", 30, 20, 20, 20, 20)                                                \
    X(FAILED_WRITES, "failed device writes", 30, 20, 20, 20, 20)                                   \
    X(SLOW_DISKS, "slow disks", 30, 20, 20, 20, 20)                                                \
    X(REQUESTS, "requests executed", 20000, 0, 10000, 10000, 10000)                                \
    X(RETRIES, "requests tried again", 200, 0, 0, 1000, 0)                                         \
    X(REPEATS_KNOWN, "repeated writes recognised", 20, 0, 0, 50, 0)                                \
    X(MAYBES, "answers MAYBE_APPLIED", 5, 0, 0, 50, 0)                                             \
    X(REFUSED, "answers of a full or failed log", 20, 0, 0, 100, 0)                                \
    X(ACKS_DISK, "acknowledgements at disk", 2000, 0, 2000, 2000, 2000)                            \
    X(ACKS_REPLICA, "acknowledgements at replica", 0, 0, 2000, 2000, 500)                          \
    X(ACKS_MEMORY, "acknowledgements at memory", 2000, 0, 2000, 2000, 1000)                        \
    X(ACKS_ARCHIVE, "acknowledgements at archive", 0, 0, 0, 0, 2000)                               \
    X(ACKS_LOST, "of these lost with a machine, within the interval", 10, 0, 0, 0, 0)              \
    X(DESTROYS, "sessions destroyed", 500, 0, 100, 500, 100)                                       \
    X(EXPIRIES, "sessions expired", 500, 0, 200, 200, 100)                                         \
    X(KEPT_AWAY, "writes kept away by a tombstone", 50, 0, 0, 0, 0)                                \
    X(LOST_TOKENS, "versions refused that a crash took", 20, 0, 0, 0, 0)                           \
    X(ELECTIONS, "leaders elected", 0, 200, 0, 100, 0)                                             \
    X(PROPOSALS, "commands proposed", 0, 2000, 0, 200, 0)                                          \
    X(COMMITTED, "commands committed", 0, 1000, 0, 0, 0)                                           \
    X(TRUNCATED, "logs cut back", 0, 10, 0, 0, 0)                                                  \
    X(SNAPSHOTS, "snapshots made", 0, 20, 0, 0, 0)                                                 \
    X(INSTALLED, "snapshots installed", 0, 5, 0, 0, 0)                                             \
    X(CHANGES, "changes of members", 0, 20, 0, 0, 0)                                               \
    X(MAPS, "maps that nodes took", 0, 0, 0, 2000, 0)                                              \
    X(JOINS, "nodes that joined", 0, 0, 0, 200, 0)                                                 \
    X(REMOVALS, "nodes removed by an operator", 0, 0, 0, 20, 0)                                    \
    X(READS, "reads at who coordinates", 0, 0, 0, 2000, 0)                                         \
    X(READS_ANY, "reads of any copy", 0, 0, 0, 2000, 0)                                            \
    X(OBJECTS, "objects stored", 0, 0, 0, 0, 5000)                                                 \
    X(OBJECTS_REMOVED, "objects that nothing needed any more", 0, 0, 0, 0, 1000)                   \
    X(STORE_AWAY, "times when the store was away", 0, 0, 0, 0, 50)                                 \
    X(STORE_SLOW, "times when it was slow", 0, 0, 0, 0, 50)                                        \
    X(STORE_FAILS, "times when it failed some calls", 0, 0, 0, 0, 50)                              \
    X(ANSWERS_LOST, "objects stored, and the answer lost", 0, 0, 0, 0, 50)                         \
    X(CONFLICTS, "objects whose name a life before had given", 0, 0, 0, 0, 0)                      \
    X(GAPS, "times when log was given up before it was archived", 0, 0, 0, 0, 5)                   \
    X(CHECKPOINTS, "checkpoints stored", 0, 0, 0, 0, 100)                                          \
    X(RESTORES, "restores", 0, 0, 0, 0, 1000)                                                      \
    X(AS_OF, "sessions compared as of a time", 0, 0, 0, 0, 2000)                                   \
    X(BOUNDS_LOOKED_AT, "looks at how far nodes are behind with nothing at fault", 0, 0, 0, 0,     \
      5000)                                                                                        \
    X(TAKEN, "records archived in the place of other nodes", 0, 0, 0, 0, 200)                      \
    X(COPIES_LOOKED_AT, "writes found in the archive that a node has, and says are", 0, 0, 0, 0,   \
      5000)                                                                                        \
    X(DRAINS, "drains begun", 0, 0, 0, 0, 0)                                                       \
    X(CANCELS, "drains taken back", 0, 0, 0, 0, 0)                                                 \
    X(LEFT, "nodes that have left", 0, 0, 0, 0, 0)                                                 \
    X(ACTIVATIONS, "of these brought in again", 0, 0, 0, 0, 0)                                     \
    X(WEIGHTS, "weights changed", 0, 0, 0, 0, 0)                                                   \
    X(NOTHINGS, "of these, and of ramps, to nothing", 0, 0, 0, 0, 0)                               \
    X(RAMPS, "weights changed by and by", 0, 0, 0, 0, 0)                                           \
    X(DEGRADES, "nodes called degraded", 0, 0, 0, 0, 0)                                            \
    X(UNDEGRADES, "of these called well again", 0, 0, 0, 0, 0)                                     \
    X(HANDOFFS, "hand-offs of slots begun", 0, 0, 0, 0, 0)                                         \
    X(HANDOFFS_AT_ONCE, "of these while others were under way", 0, 0, 0, 0, 0)                     \
    X(HANDOFFS_FAILOVER, "of these while a node was down", 0, 0, 0, 0, 0)                          \
    X(HANDOFFS_SETTLED, "hand-offs settled", 0, 0, 0, 0, 0)                                        \
    X(LEVELS_LOOKED_AT, "looks at targets that are said to have all", 0, 0, 0, 0, 0)               \
    X(DROPS_LOOKED_AT, "looks at what is dropped", 0, 0, 0, 0, 0)                                  \
    X(WRONG_CLOCKS, "starts with a wrong clock", 0, 0, 0, 0, 0)                                    \
    X(APART, "times when a node learns of a clock too far off, or no more", 0, 0, 0, 0, 0)         \
    SIM_HARM_ROWS(X, BEGUN, "it begins")                                                           \
    SIM_HARM_ROWS(X, COMPARED, "its target is compared")                                           \
    SIM_HARM_ROWS(X, LEVEL, "its targets are level")                                               \
    SIM_HARM_ROWS(X, LOGGED, "the leader has its end in the log")                                  \
    SIM_HARM_ROWS(X, SETTLED, "it is settled")                                                     \
    SIM_HARM_ROWS(X, STRAY, "who gave it away knows")                                              \
    SIM_HARM_ROWS(X, DROPPED, "the old copy is dropped")                                           \
    X(GIVEN_UP, "requests given up", 0, 0, 0, 0, 0)

enum sim_count {
#define SIM_COUNT_ENUM(name, text, shard, raft, copies, cluster, archive) SIM_##name,
    SIM_COUNT_TABLE(SIM_COUNT_ENUM)
#undef SIM_COUNT_ENUM
        SIM_COUNTS
};

#endif
