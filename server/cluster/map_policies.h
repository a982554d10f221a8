/* The policies of a map: in order of prefix, each prefix once. Who changes them is map_apply().
 *
 * Memory: none but the map's. Threads: the map's.
 */
#ifndef MAP_POLICIES_H
#define MAP_POLICIES_H

#include "map.h"

/* Put one in, in the place of that of its prefix. Returns 0; -EALREADY: it is there; -EINVAL: it is not good; -E2BIG: there are
 * too many. But for 0 the map is as it was. */
int map_policies_set(struct map *map, const struct policy *policy);

/* Take that of its prefix out; nothing else of it counts. Returns 0; -ENOENT: there is none; -EINVAL: that is no prefix. */
int map_policies_remove(struct map *map, const struct policy *policy);

#endif
