/* What is left to do about a rename (server/core/move.h): who goes from step to step.
 *
 * One is a task of the shard thread that coordinates the old key. Where a step fails it ends: what is left is found
 * again. What the target refuses for good (its policy has no room for a late write) is told, and left undone: the session
 * stays as it is under its new key.
 *
 * Threads: the shard's.
 */
#ifndef SETTLES_H
#define SETTLES_H

#include "bytes.h"

struct shard_thread;

/* Begin one. It is counted in thread->moves until it is over. Where there is no memory nothing begins. */
void settles_begin(struct shard_thread *thread, struct bytes key);

/* Is there one of this key? */
bool settles_has(const struct shard_thread *thread, struct bytes key);

#endif
