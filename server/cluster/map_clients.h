/* What clients are told of the map: who serves, where, and whose each slot is (proto/client_map.h).
 *
 * Members that have left, and those whose place is not known, are not told. Threads: any, with their own memory.
 */
#ifndef MAP_CLIENTS_H
#define MAP_CLIENTS_H

#include "client_map.h"
#include "map.h"

/* Write all of `made`. */
void map_for_clients(const struct map *map, struct client_map *made);

#endif
