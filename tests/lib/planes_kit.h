/* Several data planes in one process, each a node of one cluster, joined by socketpairs in the place of connections:
 * what the control threads of real nodes would dial. (plane_kit.h has one.)
 */
#ifndef PLANES_KIT_H
#define PLANES_KIT_H

#include <sys/socket.h>

#include "plane_kit.h"
#include "slot.h"
#include "slot_table.h"

enum { PLANES_MAX = 3 };

struct planes_kit {
    uint32_t count;
    struct plane_kit nodes[PLANES_MAX];
    uint64_t epoch;
    _Atomic uint32_t tables; /* That are in use. */
    _Atomic uint32_t lost;   /* Links, as told to who dialled. */
    bool redial;             /* What is lost is not dialled again yet. */
    uint32_t hands_on;       /* The node that an operator calls degraded; 0: none. */
    uint32_t targets_shift;  /* Later than the owners by so much. */
    uint64_t lost_epoch;     /* In which all slots were lost (map.h); 0: none is. */
};

static void planes_kit_released(void *context, const struct slot_table *table)
{
    union {
        const struct slot_table *constant;
        void *plain;
    } pointer = {.constant = table};
    struct planes_kit *kit = context;

    free(pointer.plain);
    atomic_fetch_sub(&kit->tables, 1);
}

static void planes_kit_lost(void *context, uint32_t shard, uint32_t node, uint32_t node_shard,
                            bool dialled)
{
    struct planes_kit *kit = context;

    (void)shard;
    (void)node;
    (void)node_shard;
    atomic_fetch_add(&kit->lost, dialled);
}

/* Nodes 1, 2, ... with so many shards each. Options may be changed before planes_kit_start(). */
static inline void planes_kit_init(struct planes_kit *kit, uint32_t count, const uint32_t shards[])
{
    *kit = (struct planes_kit){.count = count};
    for (uint32_t i = 0; i < count; i++) {
        plane_kit_init(&kit->nodes[i], shards[i]);
        kit->nodes[i].options.actor = (struct actor){i + 1, 1};
        kit->nodes[i].policy.ack =
            ACK_MEMORY; /* With one copy of all `replica` would wait for the disk. */
        kit->nodes[i].options.has_cluster_port = true;
        kit->nodes[i].options.cluster.silence_ms = 20000; /* A busy machine is no dead node. */
        kit->nodes[i].options.link_lost = planes_kit_lost;
        kit->nodes[i].options.context = kit;
    }
}

static inline uint32_t planes_kit_gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* From one shard to another, over these two ends, which are the planes' from here on. */
static inline void planes_kit_link_over(struct planes_kit *kit, uint32_t from, uint32_t from_shard,
                                        uint32_t to, uint32_t to_shard, const int ends[2])
{
    const struct plane_link dialled = {
        .fd = ends[0],
        .dialled = true,
        .node = to + 1,
        .start = 1,
        .shard = to_shard,
        .shards = kit->nodes[to].options.shard_count,
    };
    const struct plane_link accepted = {
        .fd = ends[1],
        .node = from + 1,
        .start = 1,
        .shard = from_shard,
        .shards = kit->nodes[from].options.shard_count,
    };
    assert_int_equal(plane_link(kit->nodes[to].plane, to_shard, &accepted), 0);
    assert_int_equal(plane_link(kit->nodes[from].plane, from_shard, &dialled), 0);
}

static inline void planes_kit_link(struct planes_kit *kit, uint32_t from, uint32_t from_shard,
                                   uint32_t to, uint32_t to_shard)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    planes_kit_link_over(kit, from, from_shard, to, to_shard, ends);
}

/* All links of one node to another. */
static inline void planes_kit_dial(struct planes_kit *kit, uint32_t from, uint32_t to)
{
    uint32_t here = kit->nodes[from].options.shard_count,
             there = kit->nodes[to].options.shard_count;
    uint32_t common = planes_kit_gcd(here, there);

    for (uint32_t i = 0; i < here; i++) {
        for (uint32_t j = 0; j < there; j++) {
            if (i % common == j % common) {
                planes_kit_link(kit, from, i, to, j);
            }
        }
    }
}

/* All threads have read their mail: they go by the table that they were given. */
static inline void planes_kit_await_tables(struct planes_kit *kit)
{
    for (uint32_t i = 0; i < kit->count; i++) {
        if (kit->nodes[i].plane != NULL) {
            (void)plane_kit_stats(&kit->nodes[i]);
        }
    }
}

/* Tell all nodes who owns what: slot s has the owners s, s + 1, ... modulo the nodes, `replicas` of them, all later by
 * `shift`. */
static inline void planes_kit_tables(struct planes_kit *kit, uint32_t replicas, uint32_t shift)
{
    kit->epoch++;
    for (uint32_t i = 0; i < kit->count; i++) {
        if (kit->nodes[i].plane == NULL) {
            continue; /* The test plays it. */
        }
        struct slot_table *table = calloc(1, sizeof *table);
        assert_non_null(table);
        table->epoch = kit->epoch;
        table->self = i + 1;
        table->replicas = replicas;
        table->member_count = kit->count;
        for (uint32_t j = 0; j < kit->count; j++) {
            table->members[j] = (struct slot_table_member){
                .number = j + 1,
                .start = 1,
                .shards = kit->nodes[j].options.shard_count,
                .serves = true,
                .hands_on = j + 1 == kit->hands_on,
                .host = "127.0.0.1",
            };
            if (kit->nodes[j].plane != NULL) {
                table->members[j].ports[MAP_PORT_CLUSTER] = plane_cluster_port(kit->nodes[j].plane);
            }
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            for (uint32_t rank = 0; rank < replicas; rank++) {
                table->owners[slot].nodes[rank] = (slot + shift + rank) % kit->count + 1;
            }
            for (uint32_t rank = 0; rank < replicas; rank++) {
                table->targets[slot].nodes[rank] =
                    (slot + shift + kit->targets_shift + rank) % kit->count + 1;
            }
            table->lost[slot] = kit->lost_epoch;
            table->lost_count += kit->lost_epoch != 0;
        }
        atomic_fetch_add(&kit->tables, 1);
        assert_int_equal(plane_set_table(kit->nodes[i].plane, table, planes_kit_released, kit), 0);
    }
    planes_kit_await_tables(kit);
}

/* All threads have been given their links; what they are asked for before that may wait for one for too long. */
static inline void planes_kit_wait_links(struct planes_kit *kit)
{
    for (uint32_t i = 0; i < kit->count; i++) {
        const uint32_t here = kit->nodes[i].options.shard_count;
        uint64_t wanted = 0, links = 0;
        for (uint32_t j = 0; j < kit->count; j++) {
            const uint32_t there = kit->nodes[j].options.shard_count;
            wanted += j == i ? 0 : 2 * here * (there / planes_kit_gcd(here, there));
        }
        while (links < wanted) {
            links = 0;
            for (uint32_t shard = 0; shard < here; shard++) {
                links += plane_kit_shard_stats(&kit->nodes[i], shard).links;
            }
        }
    }
}

static inline void planes_kit_start(struct planes_kit *kit, uint32_t replicas)
{
    for (uint32_t i = 0; i < kit->count; i++) {
        plane_kit_start(&kit->nodes[i]);
    }
    planes_kit_tables(kit, replicas, 0);
    for (uint32_t i = 0; i < kit->count; i++) {
        for (uint32_t j = 0; j < kit->count; j++) {
            if (i != j) {
                planes_kit_dial(kit, i, j);
            }
        }
    }
    planes_kit_wait_links(kit);
}

static inline void planes_kit_stop(struct planes_kit *kit)
{
    for (uint32_t i = 0; i < kit->count; i++) {
        if (kit->nodes[i].plane != NULL) {
            plane_kit_stop(&kit->nodes[i]);
            kit->nodes[i].plane = NULL;
        }
    }
    assert_int_equal(atomic_load(&kit->tables), 0);
}

/* All slots are level, so that whoever owns one serves it. */
static inline void planes_kit_wait_level(struct planes_kit *kit)
{
    for (uint32_t i = 0; i < kit->count; i++) {
        for (uint32_t shard = 0; shard < kit->nodes[i].options.shard_count; shard++) {
            struct plane_shard_stats stats = {.copies.slots_not_level = 1};
            while (kit->nodes[i].plane != NULL &&
                   (stats.copies.slots_owned == 0 || stats.copies.slots_not_level > 0)) {
                stats = plane_kit_shard_stats(&kit->nodes[i], shard);
                usleep(1000);
            }
        }
    }
}

/* From nothing to nodes that serve all slots. */
static inline void planes_kit_begin(struct planes_kit *kit, uint32_t count, const uint32_t shards[],
                                    uint32_t replicas)
{
    planes_kit_init(kit, count, shards);
    planes_kit_start(kit, replicas);
    planes_kit_wait_level(kit);
}

/* A client at each of the first `count` nodes. */
static inline void planes_kit_connect(struct planes_kit *kit, struct plane_client clients[],
                                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        plane_client_connect(&clients[i], &kit->nodes[i]);
    }
}

/* They go, and all nodes. */
static inline void planes_kit_end(struct planes_kit *kit, struct plane_client clients[],
                                  uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(kit);
}

/* The node that owns a key first, by planes_kit_tables() without a shift. */
static inline uint32_t planes_kit_owner(const struct planes_kit *kit, const char *key)
{
    return slot_of_key(bytes_of_string(key)) % kit->count;
}

#endif
