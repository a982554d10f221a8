#include "balance.h"

#include <assert.h>

#include "limits.h"

enum { HALVINGS = 60, LEAST_PART = 10 };

/* Of one that has none nobody knows how much more it could take. */
static const double load_least = 0.01;

static double load_of(const struct balance_node *node)
{
    return node->load > load_least ? node->load : load_least;
}

static uint64_t sum_of(const struct balance_node nodes[], uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        sum += nodes[i].weight;
    }
    return sum;
}

/* The load that all would have. */
static double level_of(const struct balance_node nodes[], uint32_t count)
{
    double wanted = 0;

    for (uint32_t i = 0; i < count; i++) {
        wanted += nodes[i].weight / load_of(&nodes[i]);
    }
    return (double)sum_of(nodes, count) / wanted;
}

static double most_of(const struct balance_node nodes[], uint32_t count)
{
    double most = 0;

    for (uint32_t i = 0; i < count; i++) {
        most = load_of(&nodes[i]) > most ? load_of(&nodes[i]) : most;
    }
    return most;
}

/* What a step may make of it. */
struct bounds {
    uint32_t least, most;
};

static struct bounds bounds_of(const struct balance_node *node, uint32_t floor)
{
    struct bounds bounds = {node->weight - node->weight / 4, node->weight + node->weight / 4};

    bounds.least = bounds.least > floor ? bounds.least : floor;
    bounds.least = bounds.least < node->weight ? bounds.least : node->weight;
    bounds.most = bounds.most < NODE_WEIGHT_MAX ? bounds.most : NODE_WEIGHT_MAX;
    return bounds;
}

/* Half of the way to where it has this load. */
static double weight_at(const struct balance_node *node, struct bounds bounds, double level)
{
    double weight = (node->weight + node->weight * level / load_of(node)) / 2;

    return weight < bounds.least ? bounds.least : weight > bounds.most ? bounds.most : weight;
}

static double sum_at(const struct balance_node nodes[], uint32_t count, uint32_t floor,
                     double level)
{
    double sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        sum += weight_at(&nodes[i], bounds_of(&nodes[i], floor), level);
    }
    return sum;
}

/* The level at which, with these bounds, the sum stays: at most what the most loaded has, as then nobody would lose. */
static double find_level(const struct balance_node nodes[], uint32_t count, uint32_t floor)
{
    const double sum = (double)sum_of(nodes, count);
    double low = 0, high = most_of(nodes, count);

    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;
        if (sum_at(nodes, count, floor, middle) < sum) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Whole numbers lack something: whose part of one is the largest gets it. */
static void give_rest(const struct balance_node nodes[], uint32_t count, uint32_t floor,
                      double level, uint64_t rest, uint32_t to[])
{
    while (rest > 0) {
        uint32_t best = count;
        double best_part = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct bounds bounds = bounds_of(&nodes[i], floor);
            double part = weight_at(&nodes[i], bounds, level) - to[i];
            if (to[i] < bounds.most && (best == count || part > best_part)) {
                best = i;
                best_part = part;
            }
        }
        assert(best < count); /* All at their most are more than the sum. */
        to[best]++;
        rest--;
    }
}

bool balance_step(const struct balance_node nodes[], uint32_t count, uint32_t to[])
{
    const uint64_t sum = sum_of(nodes, count);
    bool changes = false;
    uint64_t given = 0;

    for (uint32_t i = 0; i < count; i++) {
        to[i] = nodes[i].weight;
    }
    const double most = most_of(nodes, count);
    if (count < 2 || most < BALANCE_IDLE || most <= level_of(nodes, count) * (1 + BALANCE_SPREAD)) {
        return false;
    }
    const uint32_t floor = (uint32_t)(sum / count / LEAST_PART);
    const double level = find_level(nodes, count, floor);
    for (uint32_t i = 0; i < count; i++) {
        to[i] = (uint32_t)weight_at(&nodes[i], bounds_of(&nodes[i], floor), level);
        given += to[i];
    }
    give_rest(nodes, count, floor, level, sum - given, to);
    for (uint32_t i = 0; i < count; i++) {
        changes = changes || to[i] != nodes[i].weight;
    }
    return changes;
}
