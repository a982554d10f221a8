/* Who may have a slot in the rank at hand, and who has room for it. */
#include <assert.h>
#include <string.h>

#include "placement_state.h"

enum { FAR_LIMIT = 1 << 30 };

static bool has(const uint16_t nodes[], uint32_t count, uint16_t node)
{
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i] == node) {
            return true;
        }
    }
    return false;
}

/* What must be distinct in this rank: zones, as long as there are zones without a copy, then nodes. */
static uint16_t kind_of(const struct placement_work *work, uint16_t node)
{
    return work->rank < work->zone_count ? (uint16_t)work->nodes[node].zone : node;
}

static bool has_kind(const struct placement_work *work, uint32_t slot, uint16_t kind)
{
    for (uint32_t i = 0; i < work->rank; i++) {
        if (kind_of(work, work->after[slot][i]) == kind) {
            return true;
        }
    }
    return false;
}

/* May the node have the slot in this rank? */
bool placement_fits(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    uint16_t kind = kind_of(work, node);
    bool lacks = false;

    if (has_kind(work, slot, kind)) {
        return false;
    }
    for (uint32_t i = 0; i < work->needed_count; i++) {
        if (work->needed[i] == kind) {
            return true;
        }
        lacks = lacks || !has_kind(work, slot, work->needed[i]);
    }
    return !lacks;
}

/* Slots that the node may take without a raise of its share. */
uint32_t placement_firm_room(const struct placement_node *node)
{
    return node->share > node->load ? node->share - node->load : 0;
}

bool placement_has_room(const struct placement_work *work, uint16_t index)
{
    const struct placement_node *node = &work->nodes[index];

    return node->load < node->share ||
           (node->load == node->share && node->fraction && work->raises[node->group] > 0);
}

static uint32_t kind_count(const struct placement_work *work)
{
    return work->rank < work->zone_count ? work->zone_count : work->node_count;
}

/* Find the kinds that need every slot left that lacks them. As slots are given one by one, none can become so before
 * as many are given as the least limit says. */
static void find_needed(struct placement_work *work)
{
    work->needed_count = 0;
    work->needed_next = UINT32_MAX;
    for (uint32_t i = 0; i < kind_count(work); i++) {
        uint32_t limit = work->limits[i];
        if (limit <= work->given) {
            work->needed[work->needed_count++] = (uint16_t)i;
            work->needed_next = work->given;
        } else if (limit < work->needed_next) {
            work->needed_next = limit;
        }
    }
}

void placement_count_rooms(struct placement_work *work)
{
    uint32_t wanted[PLACEMENT_MEMBERS_MAX] = {0};

    memcpy(work->group_rooms, work->raises, sizeof work->group_rooms);
    for (uint32_t i = 0; i < work->node_count; i++) {
        const struct placement_node *node = &work->nodes[i];
        work->group_rooms[node->group] += placement_firm_room(node);
        wanted[kind_of(work, (uint16_t)i)] += node->load + placement_firm_room(node);
    }
    for (uint32_t i = 0; i < kind_count(work); i++) {
        wanted[i] += work->rank > 0 && work->rank < work->zone_count ? work->raises[i] : 0;
        bool exact = work->nodes[0].slack == 0;
        work->limits[i] = wanted[i] >= SLOT_COUNT ? 0 : exact ? SLOT_COUNT - wanted[i] : FAR_LIMIT;
    }
    work->given = 0;
    find_needed(work);
}

void placement_give(struct placement_work *work, uint32_t slot, uint16_t node)
{
    struct placement_node *owner = &work->nodes[node];

    if (owner->load == owner->share && owner->fraction && work->raises[owner->group] > 0) {
        owner->share++;
        owner->fraction = false;
        work->raises[owner->group]--;
    }
    if (owner->load < owner->share) {
        work->group_rooms[owner->group]--;
    }
    work->after[slot][work->rank] = node;
    owner->load++;
    work->given++;
    for (uint32_t i = 0; i <= work->rank; i++) {
        work->limits[kind_of(work, work->after[slot][i])]++;
    }
    if (work->given >= work->needed_next) {
        find_needed(work);
    }
}

void placement_take_back(struct placement_work *work, uint32_t slot)
{
    struct placement_node *owner = &work->nodes[work->after[slot][work->rank]];

    for (uint32_t i = 0; i <= work->rank; i++) {
        work->limits[kind_of(work, work->after[slot][i])]--;
    }
    work->given--;
    work->after[slot][work->rank] = NOBODY;
    owner->load--;
    if (owner->load < owner->share) {
        work->group_rooms[owner->group]++;
    }
    find_needed(work);
}

/* Had it this node in the ranks up to the one at hand? */
bool placement_had(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    return has(work->before[slot], work->rank + 1, node);
}

/* Those that a slot may keep in this rank. Returns how many. */
uint32_t placement_keepable(const struct placement_work *work, uint32_t slot,
                            uint16_t nodes[PLACEMENT_REPLICAS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i <= work->rank; i++) {
        uint16_t node = work->before[slot][i];
        if (node != NOBODY && !has(work->after[slot], work->rank, node) &&
            placement_fits(work, slot, node)) {
            nodes[count++] = node;
        }
    }
    return count;
}

bool placement_has_slack(const struct placement_work *work, uint16_t index)
{
    return placement_has_room(work, index) ||
           work->nodes[index].load < work->nodes[index].share + work->nodes[index].slack;
}

/* Would the node, of a slot that lost one of its owners, drive out another one because of its zone? */
bool placement_drives_out(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    const uint16_t *before = work->before[slot];
    bool found = false;
    uint32_t left = 0;

    if (work->rank >= work->zone_count) {
        return false;
    }
    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && i < work->replicas; i++) {
        left += before[i] != NOBODY;
        found =
            found || (before[i] != NOBODY && work->nodes[before[i]].zone == work->nodes[node].zone);
    }
    return found && left < work->replicas && work->replicas <= work->zone_count;
}
