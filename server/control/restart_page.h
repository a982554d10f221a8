/* May a node go for a moment, as in a restart, without any session being away or of fewer copies than it could be? What
 * one node knows of that, as a JSON document for belayctl, which asks all of them: whether a node that came back has
 * all that others have only it knows.
 *
 *   name epoch reasons [{reason text}]    name: of the node that answers; without reasons it knows of nothing against it
 *
 * Reasons: no_leader, node_down, node_joining, node_draining, node_degraded, ramp (a weight is changing), slots_moving,
 * slots_short (fewer owners than there could be), slots_alone (nobody else has them), slots_not_level, link_down.
 *
 * Memory: a document for free(). Threads: the caller's.
 */
#ifndef RESTART_PAGE_H
#define RESTART_PAGE_H

#include "map_page.h"

/* `number`: which node is to go; 0: whichever. `not_level`: slots of the node that answers of which it may not have all yet.
 * Returns NULL where there is no memory. */
char *restart_page(const struct map_page *page, uint32_t number, uint32_t not_level);

#endif
