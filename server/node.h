/* The node: data directory, one shard with its store for each thread, and the data plane over them.
 *
 *   node_open()   takes the data directory, makes the shards and restores them, in parallel
 *   node_start()  opens the native port and serves
 *   node_close()  stops serving, writes the log out, marks the stop as clean
 *
 * Threads: those of the plane and the stores are inside; all calls here from the control thread.
 */
#ifndef NODE_H
#define NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "control.h"
#include "join_token.h"
#include "logger.h"
#include "status.h"
#include "wall_clock.h"

enum { NODE_MESSAGE_BYTES = 1024 };

struct node; /* private to node.c */

/* What it stands on; all of it outlives the node. */
struct node_world {
    const struct config *config;
    struct logger *logger;
    struct wall_clock *clock;
    struct control *control;
    const struct join_token *token; /* Of the cluster to join; NULL: none. */
    const char *
        lost; /* Nodes without which its cluster is founded anew (cluster_refound()); NULL: it is not. */
};

/* Return 0, or negative errno with cause and advice in `message`; -ESHUTDOWN: it was removed from its cluster. After a failure of node_start() the
 * node is still to be closed. */
int node_open(const struct node_world *world, struct node **node, char *message,
              size_t message_size);
int node_start(struct node *node, char *message, size_t message_size);

/* Returns 0, or negative errno where the log could not be written out: it has been reported then. */
int node_close(struct node *node);

/* The users of a configuration that was checked take the place of those there are, and the rest of it counts for nothing.
 * Returns 0, having logged what has changed; else negative errno with the reason in `message`, and nothing has. */
int node_set_users(struct node *node, const struct config *config, char *message,
                   size_t message_size);

/* Is it no member of its cluster any more? The loop has been told to end then. */
bool node_was_removed(const struct node *node);

uint16_t node_port(const struct node *node);

/* The name by which its cluster knows it: node.name when it entered. As long as the node. */
const char *node_name(const struct node *node);

/* Can sessions be read and written? Else `reason` says why not; otherwise what is degraded, or nothing. */
bool node_ready(struct node *node, char *reason, size_t reason_size);

/* Does every shard answer? */
bool node_alive(struct node *node);

/* Documents in memory for free(); NULL where there is none. */
char *node_metrics_text(struct node *node, size_t *size);
char *node_status_json(struct node *node, const char *native, const char *http);
char *node_config_json(struct node *node);

/* Answer an administrative request. With STATUS_OK `json` is the document. */
void node_answer(struct node *node, uint64_t token, enum status status, const char *json);

#endif
