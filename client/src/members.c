/* Members: the nodes that requests can go to, each with a link to each of its shards.
 *
 * Of a shard's several links one key always takes the same, so that its requests stay in order; while that link is
 * not there any other of the member does: the server hands requests on.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

struct member *member_create(struct belay_client *client, uint32_t number)
{
    struct member *member = calloc(1, sizeof *member);

    if (member == NULL) {
        return NULL;
    }
    member->client = client;
    member->number = number;
    member->links = calloc(1, sizeof(struct link *));
    member->links_capacity = member->link_count = 1;
    if (member->links == NULL) {
        free(member);
        return NULL;
    }
    return member;
}

static void retire_links(struct member *member, uint32_t first)
{
    for (uint32_t i = first; i < member->links_capacity; i++) {
        struct link *link = member->links[i];
        member->links[i] = NULL;
        if (link != NULL) {
            link_retire(link);
        }
    }
}

void member_close(struct member *member)
{
    member->serves = false; /* Nothing that its links had comes back to them. */
    retire_links(member, 0);
}

void member_free(struct member *member)
{
    if (member != NULL) {
        free(member->links);
        free(member);
    }
}

/* ---- Shards ---- */

/* All members together have no more than the options allow. */
static uint32_t links_wanted(const struct member *member, uint32_t shards)
{
    const struct belay_client *client = member->client;
    uint64_t wanted = (uint64_t)shards * client->options.per_shard;
    uint32_t most = client->options.total;

    if (member->number != 0 && client->map != NULL && client->map->member_count > 0) {
        most /= client->map->member_count;
    }
    most = most == 0 ? 1 : most;
    return wanted < most ? (uint32_t)wanted : most;
}

int member_shards(struct member *member, uint32_t shards)
{
    uint32_t count = links_wanted(member, shards);

    if (shards == member->shards && member->link_count == count) {
        return 0;
    }
    if (count > member->links_capacity) {
        struct link **links = realloc(member->links, count * sizeof(struct link *));
        if (links == NULL) {
            return -ENOMEM;
        }
        memset(links + member->links_capacity, 0,
               (count - member->links_capacity) * sizeof(struct link *));
        member->links = links;
        member->links_capacity = count;
    }
    member->shards = shards;
    member->link_count = count;
    retire_links(member, count);
    return 0;
}

void member_landed(struct link *link)
{
    struct member *member = link->member;

    for (uint32_t i = link->shard; i < member->link_count; i += member->shards) {
        if (i == link->index) {
            return;
        }
        if (member->links[i] == NULL && link->index % member->shards != link->shard) {
            member->links[link->index] = NULL;
            member->links[i] = link;
            link->index = i;
            return;
        }
    }
}

/* ---- Picking a link ---- */

static uint32_t preferred_index(struct member *member, const struct belay_request *request)
{
    struct belay_client *client = member->client;

    if (member->link_count <= 1) {
        return 0;
    }
    if (request->key_size == 0 && request->item_count == 0) {
        return client->rotation++ % member->link_count;
    }
    uint32_t shard = request->key_slot % member->shards;
    uint32_t turn = request->key_slot / member->shards % client->options.per_shard;
    uint32_t index = shard + member->shards * turn;
    return index < member->link_count ? index : shard % member->link_count;
}

void member_want(struct member *member, uint32_t index)
{
    struct belay_client *client = member->client;
    struct link *link = member->links[index];

    if (link == NULL) {
        link = link_create(member, index);
        if (link == NULL) {
            client_wake(client, uv_now(client->loop) + BACKOFF_MS_MAX);
            return;
        }
        member->links[index] = link;
    }
    if (link->state != LINK_IDLE) {
        return;
    }
    if (uv_now(client->loop) >= link->retry_at_ms) {
        link_start(link);
    } else {
        client_wake(client, link->retry_at_ms);
    }
}

static bool takes(const struct link *link, const struct belay_request *request)
{
    /* Where it has no answer from the one it asks another. */
    return link != NULL && link->state == LINK_READY && link != request->before;
}

struct link *member_link(struct member *member, const struct belay_request *request)
{
    uint32_t index = preferred_index(member, request);

    if (takes(member->links[index], request)) {
        return member->links[index];
    }
    member_want(member, index);
    for (uint32_t i = 1; i < member->link_count && member->ready > 0; i++) {
        struct link *link = member->links[(index + i) % member->link_count];
        if (takes(link, request)) {
            return link;
        }
    }
    return NULL;
}

uint64_t member_silent_ms(const struct member *member)
{
    const struct belay_client *client = member->client;
    bool patient = uv_now(client->loop) < member->patient_until_ms;

    return (uint64_t)client->silent_ms << (patient ? member->patience : 0);
}

void member_was_slow(struct member *member)
{
    uint64_t now_ms = uv_now(member->client->loop);

    if (now_ms >= member->patient_until_ms) {
        member->patience = 0;
    }
    member->patience += member->patience < PATIENCE_MAX;
    member->patient_until_ms = now_ms + PATIENCE_MS;
}

void member_lose(struct member *member, const char *reason)
{
    for (uint32_t i = 0; i < member->link_count; i++) {
        struct link *link = member->links[i];
        if (link != NULL && link->state == LINK_READY) {
            link_lose(link, reason);
        }
    }
}

/* ---- Of the map ---- */

struct member *member_numbered(const struct belay_client *client, uint32_t number)
{
    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        if (client->members[i]->number == number) {
            return client->members[i];
        }
    }
    return NULL;
}

void member_adopt(struct link *link)
{
    struct member *from = link->member;
    struct member *to = link->number == 0 ? NULL : member_numbered(link->client, link->number);

    assert(link->state == LINK_READY);
    if (to == NULL || from->number != 0) {
        return;
    }
    for (uint32_t i = link->shard; i < to->link_count; i += to->shards) {
        if (to->links[i] == NULL) {
            from->links[link->index] = NULL;
            from->ready--;
            to->links[i] = link;
            to->ready++;
            link->member = to;
            link->index = i;
            link->tries = 0;
            return;
        }
    }
}

void member_hope(struct member *member)
{
    for (uint32_t i = 0; i < member->link_count; i++) {
        struct link *link = member->links[i];
        if (link != NULL && link->state == LINK_IDLE) {
            link->tries = 0;
            link->retry_at_ms = 0;
        }
    }
}

const char *member_name(const struct member *member, const char *other)
{
    struct belay_client *client = member->client;
    char place[HOST_BYTES_MAX + 10];
    const char *name = "", *found;

    for (uint32_t i = 0; i < client->map->member_count; i++) {
        if (client->map->members[i].number == member->number) {
            name = client->map->members[i].name;
        }
    }
    bool six = strchr(member->address.host, ':') != NULL;
    snprintf(place, sizeof place, six ? "[%s]:%u" : "%s:%u", member->address.host,
             member->address.port);
    found = client_node(client, bytes_of_string(name), place);
    return found == NULL ? other : found;
}
