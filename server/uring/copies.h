/* What a shard's thread knows of the other nodes: the slot table, and who coordinates a slot now.
 *
 * It stands between the thread and the shard's replication (server/cluster/replication.h): links and frames go in, frames
 * come out. A node alone has no table, or one of itself only: `thread->clustered` is false then, and all that this costs
 * a request is that branch.
 *
 * Threads: the shard's.
 */
#ifndef COPIES_H
#define COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"
#include "plane_table.h"
#include "slot_table.h"

struct peer_frame;
struct shard_thread;

enum route {
    ROUTE_LOCAL,   /* This node. */
    ROUTE_FAR,     /* Another one. */
    ROUTE_NOWHERE, /* Nobody can be reached who could. */
};

struct copies_route {
    enum route kind;
    uint32_t node;  /* FAR... */
    bool asks;      /* ... and it is asked by one who comes before it. */
    bool stands_in; /* LOCAL: in the place of the slot's primary. */
};

/* Who coordinates a slot of this thread's shard? `coordinate`: an owner before this one cannot serve, and asks it to. */
void copies_find(struct shard_thread *thread, uint32_t slot, bool coordinate,
                 struct copies_route *route);

/* How many shards a member has; 0: it is none. */
uint32_t copies_shards_of(const struct shard_thread *thread, uint32_t node);
/* Who coordinates a slot of any thread, as far as can be told: the first owner that was heard lately. 0: it has none. */
uint32_t copies_guess(struct shard_thread *thread, uint32_t slot);

/* Is this node one of the slot's owners? */
bool copies_owns(const struct shard_thread *thread, uint32_t slot);
/* Has this node all sessions of the slots of this thread that it owns, as far as can be known? */
bool copies_is_whole(const struct shard_thread *thread);
uint64_t copies_epoch(const struct shard_thread *thread);
bool copies_is_member(const struct shard_thread *thread, uint32_t node);

/* A new table. It is the thread's until the next one. */
void copies_set_table(struct shard_thread *thread, struct plane_table *table);

void copies_link_up(struct shard_thread *thread, struct link *link);
void copies_link_down(struct shard_thread *thread, struct link *link);
void copies_writable(struct shard_thread *thread, struct link *link);
void copies_receive(struct shard_thread *thread, struct link *link, const struct peer_frame *frame);

void copies_fini(struct shard_thread *thread);

/* Returns when to come again, in us. */
uint64_t copies_turn(struct shard_thread *thread);

#endif
