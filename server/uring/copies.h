/* What a shard's thread knows of the other nodes: the slot table, who coordinates a slot now, and the copies of its sessions.
 *
 * It stands between the thread and the shard's replication (server/cluster/replication.h), which begins with the first
 * table that has another member, and then stays: links and messages go in, messages come out, a tick ends each turn. A node
 * alone has none: `thread->clustered` is false then, and all that this costs a request is that branch.
 *
 * Memory: replication's, from the port; of the slot table one use. Threads: the shard's.
 */
#ifndef COPIES_H
#define COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "heal_share.h"
#include "link.h"
#include "plane_table.h"
#include "replication.h"
#include "replication_core.h"
#include "slot_table.h"

struct call;
struct peer_frame;
struct plane_shard_stats;
struct request;
struct shard_thread;

struct copies {
    struct replication_port port;
    struct replication_core core;
    struct replication *replication; /* NULL: there was no other node yet. */
    struct plane_table *next;        /* A table that there was no memory for yet; or NULL. */
    /* Wall time up to which other nodes may have taken writes of any slot that are not here: when this node began, or heard from
     * one that it had not heard for long. Of one slot it is when this node came to coordinate it, where that was later. */
    uint64_t taken_ms;
    bool
        settled; /* All members but those that left serve, and own what they should, by the table. */
    bool whole;  /* What copies_is_whole() found... */
    uint64_t whole_us; /* ... good until then. */
    struct heal_share heals;
};

/* ---- Routes: only where thread->clustered ---- */

struct copies_route {
    enum route kind;
    struct route_far far; /* FAR. */
    bool stands_in;       /* LOCAL: in the place of the slot's primary. */
    bool held;            /* WAIT: for a switch of the slot (replication.h). */
    bool returns;         /* FAR: to the node that asks, which is to be told so. */
};

/* Who coordinates a slot of this thread's shard? `flags`: enum route_flag. */
void copies_find(struct shard_thread *thread, uint32_t slot, uint8_t flags,
                 struct copies_route *route);

/* Where does this request go, which comes to its turn? */
void copies_find_for(struct shard_thread *thread, const struct call *call,
                     const struct request *request, struct copies_route *route);

/* Who coordinates a slot of any thread, as far as can be told: the first owner that was heard lately. 0: it has none. */
uint32_t copies_guess(struct shard_thread *thread, uint32_t slot);

/* Was any owner of a slot of any thread heard lately? */
bool copies_hears(struct shard_thread *thread, uint32_t slot);

/* Who was not heard for so long is passed over (options.cluster.silence_ms). */
uint64_t copies_silence_us(const struct shard_thread *thread);

/* For a repeated write that is executed here: up to when others may have taken it. While this node stands in, or does not
 * hear a member, which may do so too, that is at any time. */
uint64_t copies_taken_hlc(const struct shard_thread *thread, uint32_t slot, bool stands_in);

/* For a write that is executed here: may a session of the slot live at another node of which nothing is here? So it may while
 * this node stands in, while a node is away or copies move, and soon after. */
bool copies_may_miss(const struct shard_thread *thread, uint32_t slot, bool stands_in);

/* Is this node one of the slot's owners? */
bool copies_owns(const struct shard_thread *thread, uint32_t slot);

/* Does another owner of the slot not talk to this node, for its clock? */
bool copies_is_apart(const struct shard_thread *thread, uint32_t slot);

/* Has this node all sessions of the slot, which is of this thread's shard, but for what is on its way? */
bool copies_is_level(const struct shard_thread *thread, uint32_t slot);

/* Has this node all sessions of the slots of this thread that it owns, as far as can be known? */
bool copies_is_whole(struct shard_thread *thread);

/* ---- The table ---- */

/* 0 where there is none. */
uint64_t copies_epoch(const struct shard_thread *thread);

/* How many shards a member has; 0: it is none. */
uint32_t copies_shards_of(const struct shard_thread *thread, uint32_t node);
bool copies_is_member(const struct shard_thread *thread, uint32_t node);

/* A new table. It is the thread's until the next one. */
void copies_set_table(struct shard_thread *thread, struct plane_table *table);

/* ---- Links ---- */

/* Something came over a link after a silence. */
void copies_heard_again(struct shard_thread *thread);

void copies_link_up(struct shard_thread *thread, struct link *link);
void copies_link_down(struct shard_thread *thread, struct link *link);
void copies_writable(struct shard_thread *thread, struct link *link);
/* A message of replication came, or any other. */
void copies_receive(struct shard_thread *thread, struct link *link, const struct peer_frame *frame);
void copies_heard(struct shard_thread *thread, struct link *link);

/* A message that has copies in it, while the log has no room for them: it is to be given to copies_receive() later. What a
 * write would not wait for longer than `limits.queue_delay` is not waited for here either. */
bool copies_must_wait(struct shard_thread *thread, uint8_t kind, size_t bytes);

/* The thread was silent for long (pause.h): others may have taken its place. */
void copies_paused(struct shard_thread *thread);

/* End of a turn. Returns when to come again, in us. */
uint64_t copies_turn(struct shard_thread *thread);

void copies_fill_stats(const struct shard_thread *thread, struct plane_shard_stats *stats);
void copies_fini(struct shard_thread *thread);

#endif
