/* Why a member is degraded, for documents.
 *
 * Threads: any. Memory: the list is the caller's.
 */
#ifndef MAP_REASONS_H
#define MAP_REASONS_H

#include <jansson.h>
#include <stdint.h>

/* A list of names of the CONDITION bits (liveness.h); NULL where there is no memory. */
json_t *map_reasons(uint8_t condition);

#endif
