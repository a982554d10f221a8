/* The end of a rank: slots change places where less moves then. */
#include <string.h>

#include "placement_state.h"

/* For how many numbers of replicas, from this rank on, the node is new to the slot. */
static uint32_t cost(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    for (uint32_t i = 0; i < work->replicas; i++) {
        if (work->before[slot][i] == node) {
            return i > work->rank ? i - work->rank : 0;
        }
    }
    return work->replicas + placement_drives_out(work, slot, node);
}

/* Those that had the slot in any rank and fit. Returns how many. */
static uint32_t former_owners(const struct placement_work *work, uint32_t slot,
                              uint16_t nodes[PLACEMENT_REPLICAS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < work->replicas; i++) {
        uint16_t node = work->before[slot][i];
        if (node != NOBODY && placement_fits(work, slot, node)) {
            nodes[count++] = node;
        }
    }
    return count;
}

/* Of each node list the slots that could go to another one and move no more than now. */
static void make_lists(struct placement_work *work)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];

    memset(work->list_heads, 0xff, sizeof work->list_heads);
    for (uint32_t slot = SLOT_COUNT; slot-- > 0;) {
        uint16_t node = work->after[slot][work->rank];
        uint32_t now = cost(work, slot, node), found = former_owners(work, slot, nodes);
        bool listed = now >= work->replicas;
        for (uint32_t i = 0; i < found && !listed; i++) {
            listed = nodes[i] != node && cost(work, slot, nodes[i]) <= now;
        }
        if (listed) {
            work->list_nexts[slot] = work->list_heads[node];
            work->list_heads[node] = (uint16_t)slot;
        }
    }
}

/* Is the slot, which is listed with `node`, still there, and would `to` move no more? */
static bool passes_on(const struct placement_work *work, uint32_t slot, uint16_t node, uint16_t to)
{
    return work->after[slot][work->rank] == node && placement_fits(work, slot, to) &&
           cost(work, slot, to) <= cost(work, slot, node);
}

/* Search from node to node, each time by a slot that the first could pass on to the second, from `from` to `to`.
 * Returns whether there is a way; it is in reached_from and reached_by. */
static bool find_way(struct placement_work *work, uint16_t from, uint16_t to)
{
    uint16_t queue[PLACEMENT_MEMBERS_MAX], nodes[PLACEMENT_REPLICAS_MAX];
    uint32_t head = 0, tail = 0;

    memset(work->reached_from, 0xff, sizeof work->reached_from);
    work->reached_from[from] = from;
    queue[tail++] = from;
    while (head < tail) {
        uint16_t node = queue[head++];
        for (uint16_t slot = work->list_heads[node]; slot != NO_SLOT;
             slot = work->list_nexts[slot]) {
            work->steps++;
            if (passes_on(work, slot, node, to)) {
                work->reached_from[to] = node;
                work->reached_by[to] = slot;
                return true;
            }
            uint32_t found = former_owners(work, slot, nodes);
            for (uint32_t i = 0; i < found; i++) {
                uint16_t next = nodes[i];
                if (work->reached_from[next] == NOBODY && passes_on(work, slot, node, next)) {
                    work->reached_from[next] = node;
                    work->reached_by[next] = slot;
                    queue[tail++] = next;
                }
            }
        }
    }
    return false;
}

/* Let the slot go to `better`, and the others along the way pass one on each: all loads stay. */
static void follow_way(struct placement_work *work, uint32_t slot, uint16_t better)
{
    uint16_t to = work->after[slot][work->rank];

    while (to != better) {
        work->after[work->reached_by[to]][work->rank] = to;
        to = work->reached_from[to];
    }
    work->after[slot][work->rank] = better;
}

/* Slots that could move less with a former owner: look for one, or a chain of them, to change places with (a cycle of
 * negative cost, as in any flow of least cost). */
void placement_move_less(struct placement_work *work)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];

    work->needed_count = 0; /* No load changes any more. */
    work->steps = 0;
    memset(work->hopeless, 0, sizeof work->hopeless);
    make_lists(work);
    for (uint32_t slot = 0; slot < SLOT_COUNT && work->steps < PLACEMENT_STEPS_MAX; slot++) {
        uint16_t node = work->after[slot][work->rank];
        uint32_t now = cost(work, slot, node);
        uint32_t found = now == 0 ? 0 : former_owners(work, slot, nodes);
        for (uint32_t i = 0; i < found; i++) {
            if (cost(work, slot, nodes[i]) >= now || work->hopeless[nodes[i]][node] != 0) {
                continue;
            }
            if (find_way(work, nodes[i], node)) {
                follow_way(work, slot, nodes[i]);
                break;
            }
            work->hopeless[nodes[i]][node] = 1;
        }
    }
}
