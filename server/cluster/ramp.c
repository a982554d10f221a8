#include "ramp.h"

#include <assert.h>

enum { PIECES = 64 };

/* Weights of those that are to hold slots: of the member's zone without it, and of the other zones. */
struct weights {
    double zone, all;
    uint32_t other_count;
    double others[MAP_MEMBERS_MAX];
    double replicas;
};

static bool same_zone(const struct map_member *a, const struct map_member *b)
{
    return bytes_equal(map_text_bytes(&a->zone), map_text_bytes(&b->zone));
}

static bool holds(const struct map_member *member)
{
    return map_has_homes(member) && member->weight > 0;
}

static double zone_weight(const struct map *map, const struct map_member *of, uint32_t but)
{
    double sum = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        if (member->number != but && holds(member) && same_zone(member, of)) {
            sum += member->weight;
        }
    }
    return sum;
}

static bool is_first_of_zone(const struct map *map, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (same_zone(&map->members[i], &map->members[index])) {
            return false;
        }
    }
    return true;
}

static void weigh(const struct map *map, const struct map_member *member, struct weights *weights)
{
    weights->replicas = map->replicas;
    weights->zone = weights->all = zone_weight(map, member, member->number);
    weights->other_count = 0;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *other = &map->members[i];
        if (is_first_of_zone(map, i) && !same_zone(other, member)) {
            double sum = zone_weight(map, other, 0);
            weights->all += sum;
            weights->others[weights->other_count] = sum;
            weights->other_count += sum > 0;
        }
    }
}

/* How many copies of a slot are in a zone of this weight, in the mean: in proportion, but at most one while there are others
 * without. */
static double zone_copies(const struct weights *weights, double zone)
{
    double rest = weights->replicas, sum = weights->all - weights->zone + zone;
    bool capped[MAP_MEMBERS_MAX] = {false}, more = true;

    if (weights->other_count + 1 <= weights->replicas) {
        return 1 + (weights->replicas - 1 - weights->other_count) * zone / sum;
    }
    while (more && zone * rest <= sum) {
        more = false;
        for (uint32_t i = 0; i < weights->other_count; i++) {
            if (!capped[i] && weights->others[i] * rest > sum) {
                capped[i] = more = true;
                rest -= 1;
                sum -= weights->others[i];
            }
        }
    }
    return zone * rest > sum ? 1 : zone * rest / sum;
}

/* Of how many slots a member of this weight has a copy, of each slot 1. Of how many it is the primary is its share of all
 * weights. */
static double copies_of(const struct weights *weights, double weight)
{
    double zone = weights->zone + weight;
    double copies = weight == 0 ? 0 : zone_copies(weights, zone) * weight / zone;

    return copies < 1 ? copies : 1;
}

/* The weight with this share of all. */
static double weight_of(const struct weights *weights, double share)
{
    return weights->all * share / (1 - share);
}

/* Its weight when it has gone this part of the way. That is cut into pieces with as many primaries each; a piece is as long as
 * its primaries or its copies are of all on the way, whichever is more. So neither goes faster than the whole is long,
 * which is less than twice one of them. */
static uint32_t weight_at(const struct map_member *member, const struct weights *weights,
                          double part)
{
    const double from = member->weight / (weights->all + member->weight);
    const double all = member->goal / (weights->all + member->goal) - from;
    const double copies = copies_of(weights, member->goal) - copies_of(weights, member->weight);
    double lengths[PIECES], whole = 0, before = copies_of(weights, member->weight);
    uint32_t piece = 0;

    for (uint32_t i = 0; i < PIECES; i++) {
        double after = copies_of(weights, weight_of(weights, from + all * (i + 1) / PIECES));
        double length = copies == 0 ? 0 : (after - before) / copies;
        lengths[i] = length > 1.0 / PIECES ? length : 1.0 / PIECES;
        whole += lengths[i];
        before = after;
    }
    double rest = part * whole;
    while (piece < PIECES - 1 && rest > lengths[piece]) {
        rest -= lengths[piece++];
    }
    double share = from + all * (piece + rest / lengths[piece]) / PIECES;
    return (uint32_t)(weight_of(weights, share) + 0.5);
}

bool ramp_waits(const struct map *map, const struct map_member *member)
{
    struct weights weights;

    weigh(map, member, &weights);
    return weights.all == 0 && member->goal == 0;
}

bool ramp_step(const struct map *map, const struct map_member *member, uint32_t gone_ms,
               struct map_command *step)
{
    struct weights weights;

    weigh(map, member, &weights);
    assert(weights.all > 0 || member->goal > 0);
    /* Alone it has all with any weight. */
    bool ends = gone_ms >= member->ramp_ms || weights.all == 0;

    *step = (struct map_command){
        .type = MAP_RAMP_STEP,
        .number = member->number,
        .goal = member->goal,
        .weight = member->goal,
        .ramp_ms = ends ? 0 : member->ramp_ms - gone_ms,
    };
    if (!ends) {
        step->weight = weight_at(member, &weights, (double)gone_ms / member->ramp_ms);
    }
    return ends || step->weight != member->weight;
}
