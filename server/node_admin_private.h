/* What the commands of node_admin.h share: node_admin.c has documents, policies and who may come in, node_admin_nodes.c has what
 * becomes of a node and how much it takes, node_admin_lost.c gives up what is lost.
 *
 * Threads: the control thread.
 */
#ifndef NODE_ADMIN_PRIVATE_H
#define NODE_ADMIN_PRIVATE_H

#include "map_page.h"
#include "node_admin.h"
#include "node_private.h"

enum { TEXT_BYTES = 512 };

static inline const struct map *node_admin_map(const struct node *node)
{
    return cluster_map(cluster_host_cluster(node->cluster));
}

void node_admin_refuse(struct node *node, uint64_t token, enum status status, const char *text);

/* Of what cluster_propose() returns, or its outcome says. Never BUSY, after which clients ask again: all of these are final. */
enum status node_admin_status(int rc);

/* Takes the document; NULL is refused: out of memory. */
void node_admin_answer(struct node *node, uint64_t token, char *json);

/* Answer with how far a member is (map_page_step()). */
void node_admin_as_it_is(struct node *node, uint64_t token, const struct map_member *member);

/* Propose, and answer once it is decided. `member`: of the node that it is about; NULL: it is about all nodes. */
void node_admin_propose(struct node *node, uint64_t token, const struct map_command *command,
                        const struct map_member *member);

/* The same of a member that goes, with about so many sessions that nobody else has. */
void node_admin_propose_removal(struct node *node, uint64_t token,
                                const struct map_command *command, const struct map_member *member,
                                uint64_t sessions);

/* By its name or number; NULL: there is none, and that was answered. */
const struct map_member *node_admin_find(struct node *node, uint64_t token, const char *name);

/* How many slots it owns, as primary or copy; 0 where it is no member. */
uint32_t node_admin_slots(const struct map *map, uint32_t number);

/* Of all shards, as struct replication_stats has it. What does not answer in time counts as not level, and not looked at. */
struct node_copies {
    uint32_t not_level, stray;
    bool looked;
};

struct node_copies node_admin_copies(const struct node *node);

/* Is there another member that could take what this one has? */
bool node_admin_others_serve(const struct map *map, uint32_t number);

/* ---- node_admin_nodes.c ---- */

void node_admin_drain(struct node *node, uint64_t token, const char *argument);
void node_admin_drain_cancel(struct node *node, uint64_t token, const char *argument);
void node_admin_weight(struct node *node, uint64_t token, const char *argument);
void node_admin_activate(struct node *node, uint64_t token, const char *argument);
void node_admin_remove(struct node *node, uint64_t token, const char *argument);
void node_admin_remove_force(struct node *node, uint64_t token, const char *argument);
void node_admin_degrade(struct node *node, uint64_t token, const char *argument);
void node_admin_undegrade(struct node *node, uint64_t token, const char *argument);

/* ---- node_admin_lost.c ---- */

void node_admin_give_up(struct node *node, uint64_t token, const char *argument);
void node_admin_give_up_force(struct node *node, uint64_t token, const char *argument);

#endif
