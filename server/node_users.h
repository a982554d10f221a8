/* The users of a node and the threads that check their passwords: node->roster and node->logins, none where its configuration
 * has no users. node_set_users() (node.h) brings in those of another configuration.
 *
 * Threads: the control thread.
 */
#ifndef NODE_USERS_H
#define NODE_USERS_H

#include "node.h"

/* Before the plane is opened, which asks them. Returns 0, or negative errno with `message` set. */
int node_users_open(struct node *node, char *message, size_t message_size);

#endif
