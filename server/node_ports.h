/* The four ports of a node, known before the first of them is opened: other nodes are told of all.
 *
 * Where the configuration says 0 the system picks one here. It is held by a socket that is bound but does not listen, so
 * that nobody else gets it; what is to listen there may bind it as well, by SO_REUSEADDR. So are the others where a node
 * is to enter a cluster: one whose ports another program has is to find out before it is a member.
 *
 * Threads: one.
 */
#ifndef NODE_PORTS_H
#define NODE_PORTS_H

#include <stddef.h>

#include "config.h"

enum { PORTS_COUNT = 4 };

struct ports {
    int held[PORTS_COUNT]; /* -1: none. */
};

/* Put a port into each listen_*_port of the configuration that is 0. `all`: hold the others, too. Returns 0, or negative
 * errno (-EADDRINUSE: another program listens on one) with `message` set and nothing held. */
int ports_pick(struct config *config, bool all, struct ports *ports, char *message,
               size_t message_size);

/* All that is to listen does so. */
void ports_release(struct ports *ports);

#endif
