/* The map of the cluster: from whom it comes, and what follows from a new one.
 *
 * A few nodes are asked for it, each on one link, and tell of changes there. The newest epoch counts. The map of a
 * node alone is not kept: all goes to the list of servers then, as without one. Nor is that of more nodes than there may
 * be connections.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "head.h"

/* ---- Sources ---- */

static bool has_source(const struct member *member, uint32_t number)
{
    for (uint32_t i = 0; member != NULL && i < member->link_count; i++) {
        const struct link *link = member->links[i];
        if (link != NULL && link->map_source && link->number == number) {
            return true;
        }
    }
    return false;
}

/* Does the node of that number tell the map, on whatever link there is to it? */
static bool node_tells(const struct belay_client *client, uint32_t number)
{
    return has_source(client->servers, number) ||
           has_source(member_numbered(client, number), number);
}

static void ask(struct member *member)
{
    struct belay_client *client = member->client;

    for (uint32_t i = 0; i < member->link_count && client->map_sources < MAP_SOURCES_MAX; i++) {
        struct link *link = member->links[i];
        if (link == NULL || link->state != LINK_READY || !link->map_known || link->map_source ||
            node_tells(client, link->number)) {
            continue;
        }
        if (link_ask_map(link) == 0) {
            link->map_source = true;
            client->map_sources++;
        }
    }
}

void map_seek(struct belay_client *client)
{
    if (client->closing || client->options.total == 1 || client->map_sources >= MAP_SOURCES_MAX) {
        return; /* With one connection there is nothing to choose. */
    }
    ask(client->servers);
    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        ask(client->members[i]);
    }
}

void map_lost(struct link *link)
{
    if (link->map_source) {
        link->map_source = false;
        link->client->map_sources--;
    }
    link->map_known = false;
    map_seek(link->client);
}

/* ---- A new map ---- */

static void address_set(struct member *member, const struct client_map_member *told)
{
    memcpy(member->address.host, told->host, sizeof member->address.host);
    member->address.port = told->port;
}

/* The members of a map, in its order: those that were, and new ones. NULL where there is no memory. */
static struct member **members_of(struct belay_client *client, const struct client_map *map)
{
    struct member **members = calloc(map->member_count, sizeof *members);

    for (uint32_t i = 0; members != NULL && i < map->member_count; i++) {
        members[i] = member_numbered(client, map->members[i].number);
        if (members[i] == NULL) {
            members[i] = member_create(client, map->members[i].number);
        }
        if (members[i] == NULL) {
            for (; i > 0; i--) {
                if (member_numbered(client, members[i - 1]->number) == NULL) {
                    member_free(members[i - 1]);
                }
            }
            free(members);
            return NULL;
        }
    }
    return members;
}

static bool is_among(struct member *const members[], uint32_t count, const struct member *member)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members[i] == member) {
            return true;
        }
    }
    return false;
}

/* Links of the list of servers that lead to nodes of the map become theirs. */
static void adopt_all(struct belay_client *client)
{
    for (uint32_t i = 0; i < client->servers->link_count; i++) {
        struct link *link = client->servers->links[i];
        if (link != NULL && link->state == LINK_READY) {
            member_adopt(link);
        }
    }
}

static void update_members(struct belay_client *client)
{
    const struct client_map *map = client->map;

    for (uint32_t i = 0; i < map->member_count; i++) {
        struct member *member = client->members[i];
        address_set(member, &map->members[i]);
        if (map->members[i].serves && !member->serves) {
            member_hope(member);
        }
        member->serves = map->members[i].serves;
        (void)member_shards(member, map->members[i].shards); /* Else as its HELLO says. */
    }
}

static int take_map(struct belay_client *client, struct client_map *map)
{
    uint32_t before_count = client->map == NULL ? 0 : client->map->member_count;
    struct member **before = client->members;
    struct member **members = members_of(client, map);

    if (members == NULL) {
        return -ENOMEM;
    }
    free(client->map);
    client->map = map;
    client->members = members;
    update_members(client);
    for (uint32_t i = 0; i < before_count; i++) {
        if (!is_among(members, map->member_count, before[i])) {
            member_close(before[i]);
            member_free(before[i]);
        }
    }
    free(before);
    adopt_all(client);
    map_seek(client);
    client_wake(client, uv_now(client->loop)); /* Requests that wait have more places to go to. */
    return 0;
}

int map_told(struct link *link, const struct frame *frame)
{
    struct belay_client *client = link->client;
    struct many_head
        head; /* A MapReply's fields have the same numbers, and its epoch the cursor's. */

    if (head_read_many(frame->head, &head) != 0) {
        return -EBADMSG;
    }
    if (head.status != BELAY_OK) {
        link->map_known = false; /* It will not. What was asked of it stays unanswered. */
        map_lost(link);
        return 0;
    }
    if (frame->value.size == 0 || head.cursor <= client->map_epoch) {
        return 0;
    }
    struct client_map *map = malloc(sizeof *map);
    if (map == NULL) {
        return 0; /* As if it had not been told: the next one will be. */
    }
    int rc = client_map_decode(frame->value, map);
    bool alone = rc == 0 && client->map == NULL &&
                 (map->member_count <= 1 || map->member_count > client->options.total);
    if (rc == 0) {
        client->map_epoch = map->epoch;
    }
    if (rc != 0 || alone || take_map(client, map) != 0) {
        free(map);
    }
    return rc == -EBADMSG ? rc : 0;
}

void map_close(struct belay_client *client)
{
    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        member_close(client->members[i]);
    }
}

void map_free(struct belay_client *client)
{
    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        member_free(client->members[i]);
    }
    free(client->members);
    free(client->map);
    client->members = NULL;
    client->map = NULL;
}
