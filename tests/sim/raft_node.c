/* One Raft node: its machine, its ports. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "raft_bootstrap.h"
#include "raft_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

uint64_t raft_node_now_ms(const struct raft_node *node)
{
    return sim_clock_boot_us(&node->sim->nodes[node->node].clock) / 1000;
}

uint64_t raft_hash(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t raft_entry_hash(const struct raft_entry *entry)
{
    const uint64_t numbers[] = {entry->index, entry->term, (uint64_t)entry->kind};
    uint64_t hash = raft_hash(UINT64_C(0xcbf29ce484222325), numbers, sizeof numbers);

    return raft_hash(hash, entry->data.data, entry->data.size);
}

void raft_node_written(struct raft_node *node, bool good)
{
    uint64_t sequence = raft_file_written(&node->file, good);

    if (sequence != 0) {
        raft_stored(&node->raft, sequence);
    }
}

/* ---- The ports ---- */

static void send_message(struct raft_net *net, uint32_t to, struct bytes message)
{
    struct raft_node *node = OF(raft_node, net, net);

    raft_check_sent(node, to, message);
    sim_net_send(node->sim, node->node, to, message);
}

static void apply(struct raft_machine *machine, const struct raft_entry *entry)
{
    struct raft_node *node = OF(raft_node, machine, machine);
    const uint64_t link[] = {node->chain.hash, raft_entry_hash(entry)};

    SIM_CHECK("apply", entry->index == node->chain.index + 1,
              "node %u: an entry is applied out of its turn", node->node);
    node->chain = (struct raft_chain){entry->index, raft_hash(0, link, sizeof link)};
    raft_check_applied(node, entry);
}

static int save(struct raft_machine *machine, struct buffer *to)
{
    const struct raft_node *node = OF(raft_node, machine, machine);

    return buffer_append(to, bytes_of(&node->chain, sizeof node->chain));
}

static int restore(struct raft_machine *machine, uint64_t index, struct bytes state)
{
    struct raft_node *node = OF(raft_node, machine, machine);

    SIM_CHECK("snapshot", state.size == sizeof node->chain, "a snapshot has another size");
    memcpy(&node->chain, state.data, sizeof node->chain);
    raft_check_restored(node, index);
    return 0;
}

static void trace(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b)
{
    static const char *const names[] = {
        [RAFT_EVENT_FOLLOWER] = "follower",
        [RAFT_EVENT_CANDIDATE] = "candidate",
        [RAFT_EVENT_LEADER] = "leader",
        [RAFT_EVENT_NO_QUORUM] = "no-quorum",
        [RAFT_EVENT_MEMBERS] = "members",
        [RAFT_EVENT_TRUNCATED] = "truncated",
        [RAFT_EVENT_SAVED] = "saved",
        [RAFT_EVENT_INSTALLED] = "installed",
        [RAFT_EVENT_HANDED_OVER] = "handed-over",
    };
    struct raft_node *node = OF(raft_node, tracer, tracer);
    struct sim *sim = node->sim;

    sim_note(sim, names[event], node->node, a, b);
    if (event == RAFT_EVENT_LEADER) {
        sim_count(sim, SIM_ELECTIONS);
        raft_check_leader(node);
    }
    sim->counts[SIM_TRUNCATED] += event == RAFT_EVENT_TRUNCATED;
    sim->counts[SIM_SNAPSHOTS] += event == RAFT_EVENT_SAVED;
    sim->counts[SIM_INSTALLED] += event == RAFT_EVENT_INSTALLED;
}

/* ---- Start and stop ---- */

static void tick(struct sim *sim, const struct sim_event *event)
{
    struct raft_node *node = &raft_scenario_of(sim)->nodes[event->end];

    raft_tick(&node->raft, raft_node_now_ms(node));
    sim_after(sim, RAFT_SIM_TICK_US, node->node, "tick", tick, 0, 0);
}

static void bootstrap(struct raft_node *node)
{
    uint32_t nodes[SIM_NODES_MAX];

    for (uint32_t i = 0; i < node->sim->node_count; i++) {
        nodes[i] = i + 1;
    }
    int rc = raft_bootstrap(&node->raft, nodes, node->sim->node_count);
    SIM_CHECK("start", rc == 0 || rc == -ENOSPC || rc == -EEXIST, "bootstrap: %d", rc);
}

void raft_node_start(struct raft_node *node)
{
    sim_memory_init(&node->memory, "Raft", node->node, RAFT_SIM_BYTES_MAX);
    raft_file_open(&node->file, node->sim, &node->sim->nodes[node->node].disk);
    bool empty = node->file.disk->size == 0;
    node->net = (struct raft_net){.send = send_message};
    node->machine = (struct raft_machine){.apply = apply, .save = save, .restore = restore};
    node->tracer = (struct raft_tracer){.event = trace};
    node->chain = (struct raft_chain){0, 0};
    node->role = RAFT_FOLLOWER;
    node->term = node->last = node->commit = 0;
    const struct raft_options options = {
        .node = node->node,
        .election_ms = RAFT_SIM_ELECTION_MS,
        .heartbeat_ms = RAFT_SIM_HEARTBEAT_MS,
        .log_bytes = RAFT_SIM_LOG_BYTES,
        .kept_entries = RAFT_SIM_KEPT_ENTRIES,
        .seed = sim_random(node->sim, SIM_RANDOM_NODES),
    };
    const struct raft_ports ports = {
        .memory = &node->memory.memory,
        .net = &node->net,
        .store = &node->file.store,
        .machine = &node->machine,
        .tracer = &node->tracer,
    };
    int rc = raft_init(&node->raft, &options, &ports, &node->file.saved, raft_node_now_ms(node));
    SIM_CHECK("start", rc == 0, "what is stored is refused: %d", rc);
    raft_file_forget(&node->file);
    node->runs = true;
    if (empty) {
        bootstrap(node);
    }
    sim_after(node->sim, RAFT_SIM_TICK_US, node->node, "tick", tick, 0, 0);
}

void raft_node_stop(struct raft_node *node)
{
    node->runs = false;
    raft_fini(&node->raft);
    sim_memory_check_end(&node->memory);
}
