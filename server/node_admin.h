/* What belayctl asks of the cluster through this node: documents of the map, and changes of it.
 *
 *   nodes, ring, policies        documents (map_page.h, config_print.h)
 *   slot NUMBER                  a document
 *   restart-check [NODE]         a document (restart_page.h)
 *   policy-set                   a policy (config_policy_change()); the answer: {epoch}
 *   policy-rm PREFIX             {epoch}
 *   cluster-replicas NUMBER      so many nodes have each session: {epoch}
 *   node-remove NODE             one step on the way out of the cluster: {number name state slots removed epoch ...}; to be
 *   node-remove-force NODE       asked again until `removed`; with force also where sessions are lost with it, then
 *                                {sessions_given_up} says about how many
 *   node-drain NODE              it gives its slots to others: {number name state slots removed epoch}; in the end it is left
 *   node-weight MS WEIGHT NODE   it has another weight: at once (MS 0), or by and by in so much time; the same answer
 *   node-activate MS WEIGHT NODE one step of bringing it in (weight 0: as before, or as the others); the same answer, to be asked
 *                                again until it is active, with the weight where it is to be or on its way there
 *   node-drain-cancel NODE       it keeps what it still has, and gets its slots back
 *   archive-give-up              refused, with how many slots are lost (map.h)
 *   archive-give-up-force        some lost slots are lost no more, with nothing but what is here: {slots left epoch}; to be asked
 *                                again until none is `left`
 *   join-token                   {token cluster addresses}
 *
 * Threads: the control thread.
 */
#ifndef NODE_ADMIN_H
#define NODE_ADMIN_H

#include "node.h"

/* Answer one of these, now or once the cluster has decided. Returns false: it is none of them. */
bool node_admin(struct node *node, uint64_t token, const char *command, const char *argument);

#endif
