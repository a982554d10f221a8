/* What runs in the simulator. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "sim.h"

/* One node alone: the shard with its log on a disk, and clients. */
extern const struct sim_scenario scenario_shard;

/* Three to seven Raft nodes. */
extern const struct sim_scenario scenario_raft;

/* Three to five nodes whose shards are copies of each other. */
extern const struct sim_scenario scenario_copies;

/* Three to seven nodes of a cluster, whole, and clients. */
extern const struct sim_scenario scenario_cluster;

/* One to three nodes of the third, and their archive. */
extern const struct sim_scenario scenario_archive;

#endif
