/* Ids of clients: unique in a cluster and over restarts, and small as varints, since each write
 * carries one and sessions remember some.
 *
 * From the low bits up: the size class of the node number (2 bits) and the number, the size class of the
 * node's run (2 bits) and the number, then a counter of this run. Each part can be told from
 * the bits before it, so different triples never make the same id; and a run is never used twice. (An
 * actor's start is: it goes on after a clean stop.) A
 * young node's first 500 clients have ids of three bytes.
 */
#ifndef CLIENT_ID_H
#define CLIENT_ID_H

#include <stdint.h>

/* Returns the id, never 0; 0 when this run has given out all it can. `counter` from 0 up. */
uint64_t client_id(uint32_t node, uint32_t run, uint64_t counter);

#endif
