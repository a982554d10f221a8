/* Between a shard and its replication: the ports of each, filled in with the calls of the other.
 *
 * Whoever runs the shard embeds one: replication_core_init() with the shard, replication_create() with `port` as its
 * options' `core`, replication_core_attach() with what that made.
 *
 * Memory: plain data; owns nothing. Threads: the shard's.
 */
#ifndef REPLICATION_CORE_H
#define REPLICATION_CORE_H

#include "ports.h"
#include "replication.h"
#include "shard.h"

struct replication_core {
    struct replication_shard port; /* For replication. */
    struct copies_port copies;     /* For the shard. */
    struct shard *shard;
    struct replication *replication;
};

void replication_core_init(struct replication_core *core, struct shard *shard);

/* Then give `copies` to the shard (shard_set_copies()): from there on what it writes goes to other nodes. */
void replication_core_attach(struct replication_core *core, struct replication *replication);

#endif
