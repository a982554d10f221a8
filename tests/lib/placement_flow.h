/* The least number of copies that any placement must move, exactly, where placement_least.h has bounds only: the cheapest
 * flow from slots to nodes (Ahuja, Magnanti, Orlin, "Network Flows", 1993, section 9.7: successive shortest paths).
 *
 *   source -> class   slots that had the same owners are one class; each of them wants r copies
 *   class -> zone     a slot has at most one copy there; with more copies than zones, one at least
 *   zone -> node      at most one copy of a slot; costs 1 where the node had none
 *   node -> sink      its share, rounded down or up
 *
 * What a class sends into its zones can be dealt out to its slots (McNaughton's wrap-around rule), so that such a flow is a
 * placement, and each placement such a flow. Which of the copies is the primary is not asked.
 */
#ifndef PLACEMENT_FLOW_H
#define PLACEMENT_FLOW_H

#include "check.h"

#include <stdlib.h>

#include "placement_least.h"

enum {
    FLOW_NODES_MAX = 64, /* A class is a set of them. */
    FLOW_MUST =
        1
        << 20, /* What a copy gains that has to go that way; more than any number of moves costs. */
};

struct flow_edge {
    uint32_t to;
    int32_t next; /* Of the same vertex; -1: none. */
    int64_t room, cost;
};

/* Edges come in pairs: the one with an odd number takes back what the other one has sent. */
struct flow {
    struct flow_edge *edges;
    uint32_t edge_count, edge_capacity, vertex_count;
    int32_t *first; /* Edge of each vertex. */
    int64_t *distances;
    int32_t *via;    /* Edge by which it was reached. */
    uint32_t *queue; /* A ring of those to be looked at again... */
    bool *queued;    /* ... which these are in. */
};

static inline void *flow_take(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    assert_non_null(memory);
    return memory;
}

static inline void flow_init(struct flow *flow, uint32_t vertex_count)
{
    *flow = (struct flow){
        .vertex_count = vertex_count,
        .first = flow_take(vertex_count, sizeof *flow->first),
        .distances = flow_take(vertex_count, sizeof *flow->distances),
        .via = flow_take(vertex_count, sizeof *flow->via),
        .queue = flow_take(vertex_count, sizeof *flow->queue),
        .queued = flow_take(vertex_count, sizeof *flow->queued),
    };
    memset(flow->first, 0xff, vertex_count * sizeof *flow->first);
}

static inline void flow_fini(struct flow *flow)
{
    free(flow->edges);
    free(flow->first);
    free(flow->distances);
    free(flow->via);
    free(flow->queue);
    free(flow->queued);
}

static inline void flow_half(struct flow *flow, uint32_t from, uint32_t to, int64_t room,
                             int64_t cost)
{
    flow->edges[flow->edge_count] =
        (struct flow_edge){.to = to, .next = flow->first[from], .room = room, .cost = cost};
    flow->first[from] = (int32_t)flow->edge_count++;
}

static inline void flow_edge(struct flow *flow, uint32_t from, uint32_t to, int64_t room,
                             int64_t cost)
{
    if (flow->edge_count + 2 > flow->edge_capacity) {
        flow->edge_capacity = flow->edge_capacity * 2 + 1024;
        flow->edges = realloc(flow->edges, flow->edge_capacity * sizeof *flow->edges);
        assert_non_null(flow->edges);
    }
    flow_half(flow, from, to, room, cost);
    flow_half(flow, to, from, 0, -cost);
}

/* The shortest ways from a vertex to all others; costs may be negative. */
static inline void flow_search(struct flow *flow, uint32_t from)
{
    uint32_t first = 0, count = 1;

    for (uint32_t i = 0; i < flow->vertex_count; i++) {
        flow->distances[i] = INT64_MAX / 2;
        flow->via[i] = -1;
    }
    flow->distances[from] = 0;
    flow->queue[0] = from;
    flow->queued[from] = true;
    while (count > 0) {
        uint32_t at = flow->queue[first];
        first = (first + 1) % flow->vertex_count;
        count--;
        flow->queued[at] = false;
        for (int32_t e = flow->first[at]; e >= 0; e = flow->edges[e].next) {
            const struct flow_edge *edge = &flow->edges[e];
            if (edge->room == 0 || flow->distances[at] + edge->cost >= flow->distances[edge->to]) {
                continue;
            }
            flow->distances[edge->to] = flow->distances[at] + edge->cost;
            flow->via[edge->to] = e;
            if (!flow->queued[edge->to]) {
                flow->queued[edge->to] = true;
                flow->queue[(first + count++) % flow->vertex_count] = edge->to;
            }
        }
    }
}

/* Send so much as cheaply as can be. Returns the cost; INT64_MAX: there is no room for all of it. */
static inline int64_t flow_send(struct flow *flow, uint32_t from, uint32_t to, int64_t amount)
{
    int64_t cost = 0;

    while (amount > 0) {
        int64_t sent = amount;
        flow_search(flow, from);
        if (flow->via[to] < 0) {
            return INT64_MAX;
        }
        for (uint32_t at = to; at != from; at = flow->edges[flow->via[at] ^ 1].to) {
            int64_t room = flow->edges[flow->via[at]].room;
            sent = room < sent ? room : sent;
        }
        for (uint32_t at = to; at != from; at = flow->edges[flow->via[at] ^ 1].to) {
            flow->edges[flow->via[at]].room -= sent;
            flow->edges[flow->via[at] ^ 1].room += sent;
        }
        amount -= sent;
        cost += sent * flow->distances[to];
    }
    return cost;
}

/* Slots that had the same owners. */
struct flow_class {
    uint64_t owners; /* A bit for each node. */
    uint32_t slots;
};

static inline uint32_t flow_classes(const struct least_node nodes[], uint32_t count, uint32_t r,
                                    const struct slot_owners before[SLOT_COUNT],
                                    struct flow_class classes[SLOT_COUNT])
{
    uint32_t class_count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint64_t owners = 0;
        uint32_t found = 0;
        for (uint32_t i = 0; i < r; i++) {
            uint32_t index = least_index(nodes, count, before[slot].nodes[i]);
            owners |= index < count ? UINT64_C(1) << index : 0;
        }
        while (found < class_count && classes[found].owners != owners) {
            found++;
        }
        if (found == class_count) {
            classes[class_count++] = (struct flow_class){.owners = owners};
        }
        classes[found].slots++;
    }
    return class_count;
}

/* Number the zones of the nodes from 0. Returns how many there are. */
static inline uint32_t flow_zones(const struct least_node nodes[], uint32_t count, uint32_t zones[])
{
    uint32_t zone_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = 0;
        while (nodes[j].zone != nodes[i].zone) {
            j++;
        }
        zones[i] = j < i ? zones[j] : zone_count++;
    }
    return zone_count;
}

/* As placement_least(), of at most FLOW_NODES_MAX nodes. Returns 0 where no placement has these shares. */
static inline uint64_t placement_least_exactly(const struct least_node nodes[], uint32_t count,
                                               uint32_t r,
                                               const struct slot_owners before[SLOT_COUNT])
{
    static struct flow_class classes[SLOT_COUNT];
    uint32_t node_zones[FLOW_NODES_MAX];
    assert_true(count <= FLOW_NODES_MAX);
    const uint32_t zones = flow_zones(nodes, count, node_zones);
    const uint32_t class_count = flow_classes(nodes, count, r, before, classes);
    const uint32_t source = 0, sink = 1, first_class = 2, first_zone = first_class + class_count,
                   first_node = first_zone + class_count * zones;
    struct flow flow;

    flow_init(&flow, first_node + count);
    for (uint32_t i = 0; i < class_count; i++) {
        const uint32_t slots = classes[i].slots, at_zones = first_zone + i * zones;
        flow_edge(&flow, source, first_class + i, (int64_t)r * slots, 0);
        for (uint32_t zone = 0; zone < zones; zone++) {
            flow_edge(&flow, first_class + i, at_zones + zone, slots, r < zones ? 0 : -FLOW_MUST);
            if (r > zones) {
                flow_edge(&flow, first_class + i, at_zones + zone, (int64_t)(r - zones) * slots, 0);
            }
        }
        for (uint32_t node = 0; node < count; node++) {
            flow_edge(&flow, at_zones + node_zones[node], first_node + node, slots,
                      (classes[i].owners >> node & 1) == 0);
        }
    }
    for (uint32_t node = 0; node < count; node++) {
        const int64_t low = (int64_t)floor(nodes[node].part + 1e-6);
        flow_edge(&flow, first_node + node, sink, low, -FLOW_MUST);
        flow_edge(&flow, first_node + node, sink, (int64_t)ceil(nodes[node].part - 1e-6) - low, 0);
    }
    const int64_t cost = flow_send(&flow, source, sink, (int64_t)r * SLOT_COUNT);
    flow_fini(&flow);
    return cost == INT64_MAX ? 0 : (uint64_t)(cost & (FLOW_MUST - 1));
}

#endif
