/* Which node of a Redis cluster, or of belayd's port for its clients, a key is asked of: what CLUSTER SLOTS said, and
 * what MOVED said since.
 *
 * Memory: plain data. Threads: one. A new node's name may be looked up by the system, which blocks.
 */
#ifndef BENCH_RESP_ROUTE_H
#define BENCH_RESP_ROUTE_H

#include <stdint.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>

#include "slot.h"

enum { ROUTE_NODES_MAX = 32 };

struct resp_route {
    uint32_t node_count;
    struct sockaddr_storage nodes[ROUTE_NODES_MAX];
    uint8_t node_of_slot[SLOT_COUNT];
};

/* One node, which everything goes to. */
void resp_route_init(struct resp_route *route, const struct sockaddr_storage *node);

/* Take a reply to CLUSTER SLOTS that the first node gave. Returns 0, or -EBADMSG: it is no such reply, or names more nodes
 * than there is room for. */
int resp_route_take(struct resp_route *route, const redisReply *reply);

enum redirect { REDIRECT_NONE, REDIRECT_MOVED, REDIRECT_ASK };

/* Look at an error that `from` answered: does it send the request to another node? Then `node` is set, and after MOVED all of
 * the slot goes there from now on. */
enum redirect resp_route_redirect(struct resp_route *route, const char *error, uint32_t from,
                                  uint32_t *node);

#endif
