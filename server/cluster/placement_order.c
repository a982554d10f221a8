/* The order of each slot's copies: who has too many in a rank changes places with one in a later rank. */
#include <string.h>

#include "placement_state.h"

struct pass {
    uint32_t rank;
    enum placement_need gives, takes;
    bool by_rank; /* Only where it is right for the later rank as well. */
    bool back;    /* Only where it was so before. */
};

static void go_through(struct placement_work *work, const struct pass *pass)
{
    const uint32_t rank = pass->rank;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t later = rank + 1; later < work->replicas; later++) {
            const struct placement_node *one = &work->nodes[work->after[slot][rank]];
            const struct placement_node *other = &work->nodes[work->after[slot][later]];
            if (placement_gives(&one->ranks[rank], pass->gives) &&
                placement_takes(&other->ranks[rank], pass->takes) &&
                (!pass->by_rank || (placement_takes(&one->ranks[later], PLACEMENT_MAY) &&
                                    placement_gives(&other->ranks[later], PLACEMENT_MAY))) &&
                (!pass->back || placement_had(work, slot, rank + 1, work->after[slot][later])) &&
                placement_may_swap(work, slot, rank, later)) {
                placement_swap(work, slot, rank, later);
            }
        }
    }
}

void placement_order(struct placement_work *work)
{
    static const enum placement_need ways[][2] = {{PLACEMENT_MUST, PLACEMENT_MUST},
                                                  {PLACEMENT_MUST, PLACEMENT_MAY},
                                                  {PLACEMENT_MAY, PLACEMENT_MUST}};

    for (uint32_t rank = 1; rank + 1 < work->replicas; rank++) {
        for (int way = 0; way < 3; way++) {
            struct pass pass = {rank, ways[way][0], ways[way][1], true, true};
            go_through(work, &pass);
            pass.by_rank = false;
            go_through(work, &pass);
            pass.by_rank = true;
            pass.back = false;
            go_through(work, &pass);
            pass.by_rank = false;
            go_through(work, &pass);
        }
        for (int way = 0; way < 3; way++) {
            const struct placement_chain chain = {.order = true,
                                                  .rank = rank,
                                                  .gives = ways[way][0],
                                                  .takes = ways[way][1],
                                                  .change_max = SLOT_COUNT};
            placement_follow_chains(work, &chain);
        }
        placement_undo(work, &(struct placement_chain){.order = true, .rank = rank});
    }
}
