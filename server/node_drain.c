#include "node_drain.h"

#include <errno.h>
#include <string.h>

#include "node_admin_private.h"
#include "node_cluster.h"

/* ---- Draining ---- */

static void end(struct node *node, const char *cause)
{
    logger_write(node->world.logger, LOG_LEVEL_INFO, "drain-ended", LOG_TEXT("cause", cause));
    node->drain.stops = false;
    control_end(node->world.control);
}

/* DIR/DRAINED says what is not so any more: with it the next start would take an operator's drain back. */
static void forget(struct node *node)
{
    const int rc = directory_forget_drained(&node->directory);

    if (rc != 0 && !node->drain.forget_failed) {
        logger_write(
            node->world.logger, LOG_LEVEL_WARN, "drained-kept", LOG_TEXT("cause", strerror(-rc)),
            LOG_TEXT("effect", "DRAINED in the data directory is tried to be removed until "
                               "it is; a start before that takes a drain back"));
    }
    node->drain.marked = rc != 0;
    node->drain.forget_failed = rc != 0;
}

/* It has its part again, or gets it without more: what an operator says of it from here on is for good. What one said before is
 * said again once it is active: DIR/DRAINED stays until then. */
static void has_returned(struct node *node)
{
    node->drain.returns = false;
    if (!node->drain.degraded) {
        forget(node);
    }
}

/* Where it failed the next tick comes back to it. */
static void on_proposed(void *context, const struct cluster_outcome *outcome)
{
    struct node *node = context;
    const bool done = outcome->rc == 0 || outcome->rc == -EALREADY;
    const bool drains = node->drain.proposed == MAP_DRAINING;

    node->drain.proposed = (enum map_state)0;
    node->drain.drains = node->drain.drains || (drains && done);
    if (node->drain.returns && !drains && done) {
        has_returned(node); /* The next tick may come after an operator's drain. */
    }
    if (node->drain.stops && !done && outcome->rc != -ECANCELED) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "drain-waits",
                     LOG_TEXT("cause", outcome->text));
    }
}

/* Where it cannot be the next tick comes back to it, too. */
static void propose(struct node *node, enum map_state state)
{
    const struct map_command command = {
        .type = MAP_STATE, .number = node->directory.meta.actor.node, .state = state};

    if (cluster_propose(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster),
                        &command, on_proposed, node) == 0) {
        node->drain.proposed = state;
    }
}

/* One that serves is to drain, unless it did: then somebody has taken that back. */
static void begin_again(struct node *node, const struct map_member *self)
{
    if (node->drain.drains) {
        end(node, "it was taken back; the others have copies, and go on");
    } else if (!node_admin_others_serve(node_admin_map(node), self->number)) {
        end(node, "no other node could take its sessions");
    } else {
        propose(node, MAP_DRAINING);
    }
}

/* By an operator's word, which a drain ends. */
static bool is_degraded(const struct map_member *self)
{
    return self->state == MAP_DEGRADED && (self->condition & CONDITION_OPERATOR) != 0;
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
    if (self->state != MAP_DRAINING) {
        node->drain.degraded = node->drain.degraded || is_degraded(self);
        if (directory_put_drained(&node->directory, node->drain.degraded) != 0) {
            return false; /* It would not come back by itself. */
        }
        node->drain.marked = true;
    }
    logger_write(node->world.logger, LOG_LEVEL_INFO, "drain-begun",
                 LOG_NUMBER("limit_ms", limit_ms),
                 LOG_NUMBER("slots", node_admin_slots(node_admin_map(node), self->number)));
    node->drain.stops = true;
    node->drain.returns = false;
    node->drain.drains = self->state == MAP_DRAINING && node->drain.proposed == 0;
    node->drain.end_ms = cluster_host_now_ms(node->cluster) + limit_ms;
    if (self->state != MAP_DRAINING && node->drain.proposed == 0) {
        propose(node, MAP_DRAINING);
    }
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

/* Have they all that it has, as it may have taken what it was not to have any more? */
static bool is_empty(const struct node *node)
{
    const struct node_copies copies = node_admin_copies(node);

    return copies.looked && copies.stray == 0;
}

/* ---- Coming back ---- */

static void come_back(struct node *node, const struct map_member *self)
{
    switch (self->state) {
    case MAP_DRAINING:
        propose(node, MAP_ACTIVE);
        return;
    case MAP_LEFT:
        propose(node, MAP_JOINING);
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

/* It is active again, or somebody has said anything else of it since. */
static void degrade_again(struct node *node, const struct map_member *self)
{
    if (self->state == MAP_ACTIVE && node->drain.proposed == 0) {
        propose(node, MAP_DEGRADED);
    } else if (is_degraded(self) || self->state == MAP_DRAINING || self->state == MAP_LEFT) {
        node->drain.degraded = false;
    } else if (self->state == MAP_DEGRADED && node->drain.proposed == 0) {
        propose(node, MAP_DEGRADED); /* It finds that itself, too. */
    }
}

static void stop(struct node *node, const struct map_member *self)
{
    if (self->state == MAP_LEFT && is_sent(node) && is_empty(node)) {
        end(node, "drained");
    } else if (cluster_host_now_ms(node->cluster) >= node->drain.end_ms) {
        end(node, "node.drain_on_stop is over; the others have copies, and go on");
    } else if (map_state_serves(self->state) && node->drain.proposed == 0) {
        begin_again(node, self);
    }
}

void node_drain_tick(struct node *node)
{
    const struct map_member *self = node_self(node);

    if (!node->drain.looked) {
        node->drain.looked = true;
        node->drain.returns = node->drain.marked =
            directory_was_drained(&node->directory, &node->drain.degraded);
    }
    if (self == NULL) {
        return;
    }
    if (node->drain.stops) {
        stop(node, self);
    } else if (!node->drain.returns && node->drain.degraded) {
        degrade_again(node, self);
    } else if (!node->drain.returns && node->drain.marked) {
        forget(node);
    } else if (node->drain.returns && node->drain.proposed == 0 && !node->map_kept) {
        come_back(node, self);
    }
}
