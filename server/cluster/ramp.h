/* Ramps: a member's weight goes to another one in even steps, so that its slots move as evenly.
 *
 * The map has where the weight goes and how much time is left (map.h); the leader proposes the next weight each second
 * (server/control/cluster_ramp.c). So another leader goes on where the map is, and time that nobody led is added.
 *
 * Even is what it holds, copies and primaries, which its weight and its zone tell (placement.h), not the weight: while a node
 * goes from 0 to many times what the others have, equal steps of its weight would move most slots in the first of them.
 * So no step moves more than twice an even part of all copies, or all primaries, that the ramp moves, where weights are
 * not so small that a whole number is a large step. But the first node of a zone has copies as a zone has, with whatever
 * weight: where there are not more zones than replicas, of each slot.
 *
 * Memory: none. Threads: any. Time in milliseconds.
 */
#ifndef RAMP_H
#define RAMP_H

#include "map_command.h"

enum { RAMP_STEP_MS = 1000 };

/* It goes to 0 and nobody else has any weight who could take what it has: it stays as it is until somebody does, and that time
 * does not count. `member` is one of the map with a ramp. */
bool ramp_waits(const struct map *map, const struct map_member *member);

/* What is to be proposed when so much time has gone since the map last said how much is left. `member` is one of the map with
 * a ramp that does not wait. Returns false: nothing yet. */
bool ramp_step(const struct map *map, const struct map_member *member, uint32_t gone_ms,
               struct map_command *step);

#endif
