/* Slots that shards have found level with their targets, on their way to the control thread: the newest of each slot.
 *
 * Memory: about 400 KiB, whatever comes. Threads: levels_put() from any, the rest from the loop's.
 */
#ifndef LEVELS_H
#define LEVELS_H

#include <stdint.h>
#include <uv.h>

#include "placement.h"

struct levels; /* private to levels.c */

/* `level` is called on the loop, for each slot that was put. Returns 0 or negative errno. */
int levels_create(uv_loop_t *loop,
                  void (*level)(void *context, uint32_t slot, const struct slot_owners *targets),
                  void *context, struct levels **levels);

void levels_put(struct levels *levels, uint32_t slot, const struct slot_owners *targets);

/* Nobody puts any more, and nothing is called; the loop's next turns free it. NULL is fine. */
void levels_destroy(struct levels *levels);

#endif
