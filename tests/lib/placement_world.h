/* A cluster whose slots are placed and looked at: shares, zones, and what moved (test_placement.c). */
#ifndef PLACEMENT_WORLD_H
#define PLACEMENT_WORLD_H

#include "check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "crc32c.h"
#include "placement.h"
#include "placement_flow.h"
#include "placement_least.h"
#include "random.h"

enum { REPLICAS = 3 };

struct world {
    struct placement_member members[PLACEMENT_MEMBERS_MAX];
    uint32_t count, replicas, next_number;
    uint64_t random;
};

/* The worst that was seen; ratios and shares by rank. */
struct figures {
    double share_slots,
        share_percent; /* Of primaries: the worst of nodes off by more than a slot, in %. */
    double copies_percent
        [PLACEMENT_REPLICAS_MAX]; /* The same of all copies in the ranks up to each. */
    double moved_ratio[PLACEMENT_REPLICAS_MAX];
    uint64_t moved[PLACEMENT_REPLICAS_MAX],
        least[PLACEMENT_REPLICAS_MAX]; /* Of all changes together. */
    double least_ratio
        [PLACEMENT_REPLICAS_MAX]; /* The worst single change, against what must move, ... */
    double least_sum;             /* ... and of all copies the sum over the changes. */
    uint32_t least_count;
    uint32_t zone_violations, node_violations;
    double ms_max;
};

static struct placement_work work;
static struct slot_owners before[SLOT_COUNT], after[SLOT_COUNT], other[SLOT_COUNT];

static inline uint32_t member_index(const struct world *world, uint32_t number)
{
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->members[i].number == number) {
            return i;
        }
    }
    return UINT32_MAX;
}

static inline uint32_t zone_of(const struct world *world, uint32_t number)
{
    return world->members[member_index(world, number)].zone;
}

static inline uint32_t owning_count(const struct world *world)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        count += world->members[i].weight > 0;
    }
    return count;
}

static inline uint32_t zone_count(const struct world *world)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        bool first = world->members[i].weight > 0;
        for (uint32_t j = 0; j < i; j++) {
            first = first && (world->members[j].weight == 0 ||
                              world->members[j].zone != world->members[i].zone);
        }
        count += first;
    }
    return count;
}

static double zone_weights[16];

static inline void weigh_zones(const struct world *world)
{
    memset(zone_weights, 0, sizeof zone_weights);
    for (uint32_t i = 0; i < world->count; i++) {
        zone_weights[world->members[i].zone] += world->members[i].weight;
    }
}

/* Copies that a node should have in ranks 1 to r, at this level of copies per weight. */
static inline double part_at(const struct world *world, uint32_t index, uint32_t r, uint32_t zones,
                             double level, const double part_below[])
{
    const struct placement_member *member = &world->members[index];
    double part = level * member->weight;

    if (r <= zones && member->weight > 0) {
        double zone = zone_weights[member->zone];
        return level * zone > SLOT_COUNT ? SLOT_COUNT * (member->weight / zone) : part;
    }
    return member->weight == 0 ? 0 : fmin(fmax(part, part_below[index]), SLOT_COUNT);
}

/* The level at which all copies are placed, by bisection: the test's own way to the shares. */
static inline void ideal_parts(const struct world *world, uint32_t r, double parts[])
{
    uint32_t zones = zone_count(world);
    double below[PLACEMENT_MEMBERS_MAX], low = 0, high = (double)SLOT_COUNT * 2;

    weigh_zones(world);
    memcpy(below, parts, sizeof below);
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2, sum = 0;
        for (uint32_t j = 0; j < world->count; j++) {
            sum += part_at(world, j, r, zones, middle, below);
        }
        if (sum < (double)r * SLOT_COUNT) {
            low = middle;
        } else {
            high = middle;
        }
    }
    for (uint32_t j = 0; j < world->count; j++) {
        parts[j] = part_at(world, j, r, zones, high, below);
    }
}

static inline bool holds(const struct slot_owners *owners, uint32_t ranks, uint32_t number)
{
    for (uint32_t i = 0; i < ranks; i++) {
        if (owners->nodes[i] == number) {
            return true;
        }
    }
    return false;
}

static inline void look_at_slots(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world), zones = zone_count(world);
    uint32_t copies = world->replicas < owning ? world->replicas : owning;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
            uint32_t number = after[slot].nodes[i];
            assert_int_equal(number != 0, i < copies);
            if (number == 0) {
                continue;
            }
            uint32_t index = member_index(world, number);
            assert_true(index != UINT32_MAX && world->members[index].weight > 0);
            figures->node_violations += holds(&after[slot], i, number);
            for (uint32_t j = 0; j < i && i < zones; j++) {
                figures->zone_violations +=
                    zone_of(world, after[slot].nodes[j]) == zone_of(world, number);
            }
        }
    }
}

static inline void count_loads(const struct slot_owners table[], uint32_t r, uint32_t loads[])
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < r; i++) {
            loads[table[slot].nodes[i]]++;
        }
    }
}

static inline void look_at_shares(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world);
    double parts[PLACEMENT_MEMBERS_MAX] = {0};

    for (uint32_t r = 1; r <= world->replicas && r <= owning; r++) {
        static uint32_t loads[65536];
        memset(loads, 0, sizeof loads);
        count_loads(after, r, loads);
        ideal_parts(world, r, parts);
        for (uint32_t i = 0; i < world->count; i++) {
            double off = fabs(loads[world->members[i].number] - parts[i]);
            double percent = off <= 1.0001 ? 0 : off * 100 / parts[i];
            figures->copies_percent[r - 1] = fmax(figures->copies_percent[r - 1], percent);
            if (r == 1) {
                figures->share_slots = fmax(figures->share_slots, off);
                figures->share_percent = fmax(figures->share_percent, percent);
            }
        }
    }
}

static inline void look_at_moves(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world);

    for (uint32_t r = 1; r <= world->replicas && r <= owning; r++) {
        static uint32_t loads_before[65536], loads_after[65536];
        uint64_t moved = 0, least = 0;
        memset(loads_before, 0, sizeof loads_before);
        memset(loads_after, 0, sizeof loads_after);
        count_loads(before, r, loads_before);
        count_loads(after, r, loads_after);
        for (uint32_t i = 1; i < 65536; i++) {
            least += loads_after[i] > loads_before[i] ? loads_after[i] - loads_before[i] : 0;
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            for (uint32_t i = 0; i < r; i++) {
                moved += !holds(&before[slot], r, after[slot].nodes[i]);
            }
        }
        assert_true(moved >= least);
        figures->moved[r - 1] += moved;
        figures->least[r - 1] += least;
        if (least >= SLOT_COUNT / 256) { /* A ratio of a few copies says nothing. */
            figures->moved_ratio[r - 1] =
                fmax(figures->moved_ratio[r - 1], (double)moved / (double)least);
        }
    }
}

/* The same against what any algorithm must move. */
static inline void look_at_least(const struct world *world, struct figures *figures)
{
    static struct least_node nodes[PLACEMENT_MEMBERS_MAX];
    uint32_t owning = owning_count(world), count = 0;
    uint32_t ranks = world->replicas < owning ? world->replicas : owning;
    double parts[PLACEMENT_MEMBERS_MAX] = {0};

    for (uint32_t r = 1; r <= ranks; r++) {
        uint64_t moved = 0;
        ideal_parts(world, r, parts);
        count = 0;
        for (uint32_t i = 0; i < world->count; i++) {
            if (world->members[i].weight > 0) {
                nodes[count++] = (struct least_node){.number = world->members[i].number,
                                                     .zone = world->members[i].zone,
                                                     .part = parts[i]};
            }
        }
        uint64_t least = placement_least(nodes, count, r, r <= zone_count(world), before);
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            for (uint32_t i = 0; i < r; i++) {
                moved += !holds(&before[slot], r, after[slot].nodes[i]);
            }
        }
        if (moved * 10 > least * 11 && count <= FLOW_NODES_MAX) { /* The bounds may be too low. */
            uint64_t exact = placement_least_exactly(nodes, count, r, before);
            least = exact > least ? exact : least;
        }
        if (least >= SLOT_COUNT / 256) { /* A ratio of a few copies says nothing. */
            double ratio = (double)moved / (double)least;
            figures->least_ratio[r - 1] = fmax(figures->least_ratio[r - 1], ratio);
            figures->least_sum += r == ranks ? ratio : 0;
            figures->least_count += r == ranks;
        }
    }
}

static inline double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Place, look at all of it, and let that be the owners before. */
static inline void place(struct world *world, struct figures *figures, bool first)
{
    double begin = now_ms();

    assert_int_equal(placement_make(&work, world->members, world->count, world->replicas,
                                    first ? NULL : before, after),
                     0);
    figures->ms_max = fmax(figures->ms_max, now_ms() - begin);
    look_at_slots(world, figures);
    look_at_shares(world, figures);
    if (!first) {
        look_at_moves(world, figures);
        look_at_least(world, figures);
    }
    memcpy(before, after, sizeof before);
}

#endif
