#include "copies.h"

#include "peer_frame.h"
#include "plane_private.h"
#include "shard_thread.h"

static const struct slot_table *table_of(const struct shard_thread *thread)
{
    return thread->table->table;
}

uint32_t copies_shards_of(const struct shard_thread *thread, uint32_t node)
{
    const struct slot_table_member *member =
        thread->table == NULL ? NULL : slot_table_member(table_of(thread), node);

    return member == NULL ? 0 : member->shards;
}

bool copies_is_member(const struct shard_thread *thread, uint32_t node)
{
    return thread->table != NULL && slot_table_member(table_of(thread), node) != NULL;
}

uint64_t copies_epoch(const struct shard_thread *thread)
{
    return thread->table == NULL ? 0 : table_of(thread)->epoch;
}

bool copies_owns(const struct shard_thread *thread, uint32_t slot)
{
    const struct slot_table *table = table_of(thread);

    return slot_owners_has(&table->owners[slot], table->self);
}

uint32_t copies_guess(struct shard_thread *thread, uint32_t slot)
{
    const struct slot_table *table = table_of(thread);
    const struct slot_owners *owners = &table->owners[slot];

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        uint32_t node = owners->nodes[rank];
        const struct link *link = node == table->self ? NULL : link_to_node(thread, node);
        if (node == table->self ||
            (link != NULL && thread->now_us - link->heard_us < FAR_SILENT_MS * 1000)) {
            return node;
        }
    }
    return owners->nodes[0];
}

bool copies_is_whole(const struct shard_thread *thread)
{
    return thread->table != NULL;
}

void copies_find(struct shard_thread *thread, uint32_t slot, bool coordinate,
                 struct copies_route *route)
{
    const struct slot_table *table = table_of(thread);
    const struct slot_owners *owners = &table->owners[slot];

    (void)coordinate;
    *route = (struct copies_route){.kind = ROUTE_NOWHERE};
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        uint32_t node = owners->nodes[rank];
        if (node == table->self) {
            route->kind = ROUTE_LOCAL;
            route->stands_in = rank > 0;
            return;
        }
        uint32_t shards = copies_shards_of(thread, node);
        if (shards > 0 && link_to(thread, node, slot % shards) != NULL) {
            *route = (struct copies_route){.kind = ROUTE_FAR, .node = node};
            return;
        }
    }
}

void copies_set_table(struct shard_thread *thread, struct plane_table *table)
{
    struct plane_table *before = thread->table;

    thread->table = table;
    thread->clustered = table->table->member_count > 1;
    pubsub_set_shared(&thread->plane->pubsub, thread->clustered);
    if (before != NULL) {
        plane_table_drop(before);
    }
    links_keep_members(thread);
}

void copies_link_up(struct shard_thread *thread, struct link *link)
{
    (void)thread;
    (void)link;
}

void copies_link_down(struct shard_thread *thread, struct link *link)
{
    (void)thread;
    (void)link;
}

void copies_writable(struct shard_thread *thread, struct link *link)
{
    (void)thread;
    (void)link;
}

void copies_receive(struct shard_thread *thread, struct link *link, const struct peer_frame *frame)
{
    (void)thread;
    (void)link;
    (void)frame;
}

uint64_t copies_turn(struct shard_thread *thread)
{
    (void)thread;
    return UINT64_MAX;
}

void copies_fini(struct shard_thread *thread)
{
    if (thread->table != NULL) {
        plane_table_drop(thread->table);
        thread->table = NULL;
    }
}
