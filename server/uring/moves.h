/* RENAME between two slots of a cluster, which two nodes may coordinate: who goes from step to step
 * (server/core/move.h).
 *
 * One is a task of the shard thread whose client asked. It goes on when the client has left. What is answered BUSY, or
 * by a node that was lost, is asked once more; each step may be. After MOVE_PATIENCE_MS it is not; then the client is
 * told, of what was committed MAYBE_APPLIED, and that is left to whoever finds the letter.
 *
 * A letter is found, and what is to be settled (settles.h), by the shard (shard_visit_moved()), at which each thread
 * looks every MOVES_LOOK_MS, at MOVES_VISIT_MAX positions of those that are noted; what it coordinates becomes a task,
 * MOVES_FOUND_MAX of them at a time, each in its turn. One that is refused for good is told of, and looked at again after
 * MOVES_REFUSED_MS: its session stays in it. A letter none of whose new key's owners is heard stays where it is.
 *
 * Threads: the shard's.
 */
#ifndef MOVES_H
#define MOVES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "stamp.h"
#include "status.h"

enum {
    MOVES_FOUND_MAX = 16,
    MOVES_VISIT_MAX = 512,
    MOVES_LOOK_MS = 250,
    MOVE_PATIENCE_MS = 10000,
    MOVES_REFUSED_MAX = 16,
    MOVES_REFUSED_MS = 60000,
};

struct connection;
struct shard_thread;

/* What a thread has found. */
struct moves_found {
    uint64_t begun;  /* By clients, from a random number on: their ids. */
    uint32_t count;  /* Tasks... */
    uint64_t due_us; /* ... and when it looks again. */
    struct { /* Letters that were refused for good lately: each is told, and left for a while. */
        uint64_t id, until_us;
    } refused[MOVES_REFUSED_MAX];
    uint32_t refused_at; /* The next place. */
};

/* The id of the rename that this shard of a node begins as that one of its life. Not 0. */
uint64_t moves_id(struct actor actor, uint32_t shard, uint64_t count);

/* Begin one whose end is the reply to request `number` of the connection. Returns 0 or -ENOMEM. */
int moves_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                struct bytes from, struct bytes to, bool only_new);

/* Will it never be done, however often it is asked for? */
bool moves_is_final(enum status status);

/* A letter that was found: begun, unless it is under way. Returns whether it was; it counts in moves_found until its end. */
bool moves_begin_found(struct shard_thread *thread, struct bytes letter_key);

/* The rename of that id, of that old key, was refused for good: told, and left for a while. */
void moves_refused(struct shard_thread *thread, uint64_t id, struct bytes from, enum status status);

/* Begin what was found. Returns when to come again, in us. */
uint64_t moves_turn(struct shard_thread *thread);

#endif
