#include "node_drain.h"

#include <errno.h>

#include "node_admin_private.h"
#include "node_cluster.h"

/* ---- Draining ---- */

static void end(struct node *node, const char *cause)
{
    logger_write(node->world.logger, LOG_LEVEL_INFO, "drain-ended", LOG_TEXT("cause", cause));
    node->drain.stops = false;
    control_end(node->world.control);
}

/* It has its part again, or gets it without more: what an operator says of it from here on is for good. */
static void has_returned(struct node *node)
{
    directory_forget_drained(&node->directory);
    node->drain.returns = false;
}

static void on_proposed(void *context, const struct cluster_outcome *outcome)
{
    struct node *node = context;

    node->drain.proposed = false;
    if (node->drain.stops && outcome->rc != 0 && outcome->rc != -EALREADY &&
        outcome->rc != -ECANCELED) {
        end(node, outcome->text);
    } else if (node->drain.returns && (outcome->rc == 0 || outcome->rc == -EALREADY)) {
        has_returned(node); /* The next tick may come after an operator's drain. */
    }
}

/* Returns whether it could be: an answer comes then. */
static bool propose(struct node *node, enum map_state state)
{
    const struct map_command command = {
        .type = MAP_STATE, .number = node->directory.meta.actor.node, .state = state};
    const int rc = cluster_propose(cluster_host_cluster(node->cluster),
                                   cluster_host_now_ms(node->cluster), &command, on_proposed, node);

    node->drain.proposed = rc == 0;
    return rc == 0;
}

bool node_drain_begin(struct node *node)
{
    const struct map_member *self = node_self(node);
    const uint64_t limit_ms = node->world.config->node_drain_on_stop;

    if (limit_ms == 0 || self == NULL || !node->among_others ||
        !node_admin_others_serve(node_admin_map(node), self->number) ||
        (!map_state_serves(self->state) && self->state != MAP_DRAINING)) {
        return false;
    }
    if (self->state != MAP_DRAINING && directory_put_drained(&node->directory) != 0) {
        return false; /* It would not come back by itself. */
    }
    if (self->state != MAP_DRAINING && !propose(node, MAP_DRAINING)) {
        return false;
    }
    logger_write(node->world.logger, LOG_LEVEL_INFO, "drain-begun",
                 LOG_NUMBER("limit_ms", limit_ms),
                 LOG_NUMBER("slots", node_admin_slots(node_admin_map(node), self->number)));
    node->drain.stops = true;
    node->drain.returns = false;
    node->drain.end_ms = cluster_host_now_ms(node->cluster) + limit_ms;
    return true;
}

/* Have the others all that this node has sent them? */
static bool is_sent(const struct node *node)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map *map = node_admin_map(node);
    bool sent = true;

    node_cluster_links(node, links);
    for (uint32_t i = 0; i < map->member_count; i++) {
        sent = sent && (!links[i].up || links[i].records_behind == 0);
    }
    return sent;
}

/* ---- Coming back ---- */

static void come_back(struct node *node, const struct map_member *self)
{
    switch (self->state) {
    case MAP_DRAINING:
        (void)propose(node, MAP_ACTIVE); /* Else the next tick comes back to it. */
        return;
    case MAP_LEFT:
        (void)propose(node, MAP_JOINING);
        return;
    case MAP_DOWN: /* It is heard again first. */
    case MAP_JOINING:
        return;
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        has_returned(node);
        return;
    }
}

void node_drain_tick(struct node *node)
{
    const struct map_member *self = node_self(node);

    if (!node->drain.looked) {
        node->drain.looked = true;
        node->drain.returns = directory_was_drained(&node->directory);
    }
    if (self == NULL) {
        return;
    }
    if (node->drain.stops && self->state == MAP_LEFT && is_sent(node)) {
        end(node, "drained");
    } else if (node->drain.stops && cluster_host_now_ms(node->cluster) >= node->drain.end_ms) {
        end(node, "node.drain_on_stop is over; the others have copies, and go on");
    } else if (node->drain.returns && !node->drain.proposed && !node->map_kept) {
        come_back(node, self);
    }
}
