/* Which link a request takes.
 *
 * A key's slot of the ring has owners in the map: the primary, then its successors. A request goes to the first of
 * them that can be reached, on a link to the slot's shard there; while the primary's link is being made, one that is
 * there takes it, and the nodes hand it on. Where no owner can be reached any other node is asked, and at last who is
 * on the list of servers. Without a map only that is asked. With no link at all requests wait in client->waiting.
 */
#include <assert.h>
#include <errno.h>

#include "client.h"

enum { FIRST_CHOICE, ANY_CHOICE, CHOICES };

/* A member that does not answer, or has said that it cannot, is asked only when nobody else can be. */
static bool is_choice(const struct member *member, const struct belay_request *request, int choice)
{
    return member->serves &&
           (choice == ANY_CHOICE || (!member->silent && member->number != request->avoid));
}

/* The owner of that rank, counted from where this request begins: a read that any copy may answer goes round. */
static struct member *owner_of(const struct belay_client *client,
                               const struct belay_request *request, uint32_t rank)
{
    const struct client_map_owners *owners = &client->map->owners[request->key_slot];
    uint32_t first = (request->flags & GET_ANY) != 0 ? request->turn : 0;

    return client->members[owners->members[(first + rank) % owners->count]];
}

static struct link *owners_link(struct belay_client *client, const struct belay_request *request,
                                int choice)
{
    uint32_t count = client->map->owners[request->key_slot].count;

    for (uint32_t rank = 0; rank < count; rank++) {
        struct member *member = owner_of(client, request, rank);
        struct link *link =
            is_choice(member, request, choice) ? member_link(member, request) : NULL;
        if (link != NULL) {
            return link;
        }
    }
    return NULL;
}

/* Anybody; who is not connected is not made to be. */
static struct link *others_link(struct belay_client *client, const struct belay_request *request,
                                int choice)
{
    uint32_t count = client->map->member_count;
    uint32_t first = request->key_slot;

    for (uint32_t i = 0; i < count; i++) {
        struct member *member = client->members[(first + i) % count];
        struct link *link = member->ready > 0 && is_choice(member, request, choice)
                                ? member_link(member, request)
                                : NULL;
        if (link != NULL) {
            return link;
        }
    }
    return NULL;
}

static bool has_key(const struct belay_request *request)
{
    return request->key_size > 0 || request->item_count > 0;
}

/* For nobody's slot, and for no slot: the nodes in turn. */
static struct link *next_link(struct belay_client *client, const struct belay_request *request)
{
    uint32_t count = client->map->member_count;

    for (uint32_t i = 0; i < count; i++) {
        struct member *member = client->members[client->rotation++ % count];
        struct link *link =
            is_choice(member, request, FIRST_CHOICE) ? member_link(member, request) : NULL;
        if (link != NULL) {
            return link;
        }
    }
    return NULL;
}

/* Who asks a server about itself means one of the list. */
static struct link *listed_link(struct belay_client *client, const struct belay_request *request)
{
    for (uint32_t i = 0; i < client->map->member_count; i++) {
        const struct member *member = client->members[i];
        for (uint32_t j = 0; j < member->link_count; j++) {
            struct link *link = member->links[j];
            if (link != NULL && link->state == LINK_READY && link->of_list && !link->silent) {
                return link;
            }
        }
    }
    return member_link(client->servers, request);
}

static struct link *pick_link(struct belay_client *client, const struct belay_request *request)
{
    struct link *link = NULL;

    if (client->map == NULL) {
        return member_link(client->servers, request);
    }
    if (request->frame_type == FRAME_ADMIN || request->frame_type == FRAME_INSPECT) {
        return listed_link(client, request);
    }
    if (!has_key(request)) {
        link = next_link(client, request);
    }
    for (int choice = 0; choice < CHOICES && link == NULL; choice++) {
        link = owners_link(client, request, choice);
        if (link == NULL) {
            link = others_link(client, request, choice);
        }
    }
    return link != NULL ? link : member_link(client->servers, request);
}

int route_request(struct belay_request *request)
{
    struct belay_client *client = request->client;
    struct link *link = pick_link(client, request);

    if (link == NULL) {
        request->state = REQUEST_WAITING;
        list_append(&client->waiting, &request->node);
        return 0;
    }
    if (list_empty(&link->queue) && link_takes(link)) {
        return link_send(link, request);
    }
    request->state = REQUEST_QUEUED;
    request->link = link;
    list_append(&link->queue, &request->node);
    return 0;
}

/* In the loop, where a request that cannot be sent may end. */
static void route_or_fail(struct belay_request *request)
{
    int rc = route_request(request);

    if (rc != 0) {
        request_fail(request, rc == -EMSGSIZE ? BELAY_FRAME_TOO_LARGE : BELAY_NO_MEMORY, NULL);
    }
}

void route_waiting(struct belay_client *client)
{
    struct list batch, *node;

    list_init(&batch);
    list_splice(&batch, &client->waiting);
    while (!client->closing && (node = list_take(&batch)) != NULL) {
        route_or_fail(LIST_OWNER(node, struct belay_request, node));
    }
    list_splice(&client->waiting, &batch);
}

void route_queue(struct link *link)
{
    while (link->state == LINK_READY && !list_empty(&link->queue) && link_takes(link)) {
        struct list *node = list_take(&link->queue);
        struct belay_request *request = LIST_OWNER(node, struct belay_request, node);
        int rc = link_send(link, request);
        if (rc != 0) {
            request->state = REQUEST_WAITING;
            request_fail(request, rc == -EMSGSIZE ? BELAY_FRAME_TOO_LARGE : BELAY_NO_MEMORY, NULL);
        }
    }
}

bool route_has_others(const struct link *link)
{
    const struct belay_client *client = link->client;

    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        if (client->members[i]->serves && client->members[i]->number != link->number) {
            return true;
        }
    }
    return false;
}

struct member *route_primary(const struct belay_client *client, uint16_t slot)
{
    const struct client_map_owners *owners;

    if (client->map == NULL) {
        return NULL;
    }
    owners = &client->map->owners[slot];
    for (uint32_t rank = 0; rank < owners->count; rank++) {
        struct member *member = client->members[owners->members[rank]];
        if (member->serves) {
            return member;
        }
    }
    return NULL;
}
