/* How much a node takes: it is drained, and that is taken back. */
#include <stdio.h>

#include "node_admin_private.h"

/* NULL: there is none, and that was answered. */
static const struct map_member *find(struct node *node, uint64_t token, const char *name)
{
    const struct map_member *member = node_admin_member(node_admin_map(node), name);

    if (member == NULL) {
        node_admin_refuse(node, token, STATUS_NOT_FOUND,
                          "there is no such node; node list shows all");
    }
    return member;
}

static void become(struct node *node, uint64_t token, const struct map_member *member,
                   enum map_state state)
{
    const struct map_command command = {
        .type = MAP_STATE, .number = member->number, .state = state};

    node_admin_propose(node, token, &command, member);
}

static void refuse_state(struct node *node, uint64_t token, const struct map_member *member,
                         const char *text)
{
    char whole[TEXT_BYTES];

    snprintf(whole, sizeof whole, "it is %s: %s", map_page_state(member->state), text);
    node_admin_refuse(node, token, STATUS_UNSUPPORTED, whole);
}

/* ---- Drain ---- */

void node_admin_drain(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = find(node, token, argument);

    if (member == NULL) {
        return;
    }
    switch (member->state) {
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        if (node_admin_others_serve(node_admin_map(node), member->number)) {
            become(node, token, member, MAP_DRAINING);
        } else {
            node_admin_refuse(node, token, STATUS_UNSUPPORTED,
                              "no other node could take its sessions");
        }
        return;
    case MAP_DRAINING:
    case MAP_LEFT:
        node_admin_as_it_is(node, token, member);
        return;
    case MAP_JOINING:
        refuse_state(node, token, member, "it holds nothing yet; node remove takes it out");
        return;
    case MAP_DOWN:
        refuse_state(node, token, member,
                     "only a node that runs can be drained; start it, or take it out with node "
                     "remove");
        return;
    }
}

void node_admin_drain_cancel(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = find(node, token, argument);

    if (member == NULL) {
        return;
    }
    switch (member->state) {
    case MAP_DRAINING:
        become(node, token, member, MAP_ACTIVE);
        return;
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        node_admin_as_it_is(node, token, member);
        return;
    case MAP_LEFT:
        refuse_state(node, token, member, "nothing is left to be kept");
        return;
    case MAP_JOINING:
    case MAP_DOWN:
        refuse_state(node, token, member, "start it first, or wait until it is in");
        return;
    }
}
