/* Scenario `shard`: one node alone with one shard, and clients (shard_life.h, shard_oracle.h, shard_clients.h). */
#ifndef SHARD_SCENARIO_H
#define SHARD_SCENARIO_H

#include "shard_clients.h"
#include "shard_life.h"
#include "shard_oracle.h"

struct shard_scenario {
    struct shard_life life;
    struct oracle oracle;
    struct clients clients;
};

static inline struct shard_scenario *shard_scenario_of(struct sim *sim)
{
    return sim->context;
}

#endif
