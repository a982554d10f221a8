/* Entering a cluster: with a token (join_token.h), before the data directory is
 * made.
 *
 * Threads: the control thread.
 */
#ifndef NODE_JOIN_H
#define NODE_JOIN_H

#include "config.h"
#include "directory.h"
#include "join_token.h"
#include "node.h"

enum { NODE_JOIN_TRIES = 20, NODE_JOIN_AGAIN_MS = 500 };

/* For a directory_entrance: ask the members that node->world.token names to let
 * this node in; a SIGTERM ends it. Returns 0; -ECONNREFUSED: nobody was
 * reached; -EACCES: refused; -EINTR; another negative errno; `message` says
 * why. */
int node_join_enter(void *node, struct directory_identity *identity, char *message,
                    size_t message_size);

/* Read a token as the command line has it: itself, or @FILE. Returns 0, or
 * negative errno with `message` set. */
int node_join_token(const char *text, struct join_token *token, char *message, size_t message_size);

#endif
