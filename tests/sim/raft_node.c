/* One Raft node: its store in a file of records, its machine, its ports. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "heap.h"
#include "raft_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

/* A record of the file: u32 size of the body, u32 CRC-32C of size and body, body: u8 kind, then by kind
 *   VOTE      u64 term, u32 node
 *   APPEND    u32 count, then each: u64 index, u64 term, u8 kind, u32 size, bytes
 *   SNAPSHOT  u64 index, u64 term, u8 alone, u32 size, bytes */
enum { RECORD_VOTE = 1, RECORD_APPEND = 2, RECORD_SNAPSHOT = 3, RECORD_HEADER_BYTES = 8 };

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

static struct sim_disk *disk_of(const struct raft_node *node)
{
    return &node->sim->nodes[node->node].disk;
}

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

/* ---- The store ---- */

static void put(struct buffer *to, uint64_t number, size_t size)
{
    uint8_t bytes[8];

    store_u64(bytes, number);
    int rc = buffer_append(to, bytes_of(bytes, size));
    assert(rc == 0);
}

static void put_string(struct buffer *to, struct bytes string)
{
    put(to, string.size, 4);
    int rc = buffer_append(to, string);
    assert(rc == 0);
}

static void begin_record(struct buffer *record, uint8_t kind)
{
    *record = (struct buffer){.memory = &heap};
    put(record, 0, RECORD_HEADER_BYTES);
    put(record, kind, 1);
}

/* Takes the record. */
static int append_record(struct raft_node *node, uint64_t sequence, struct buffer *record)
{
    struct sim_disk *disk = disk_of(node);

    SIM_CHECK("store", sequence == node->call_count + 1, "a call has not the next number");
    store_u32(record->data, (uint32_t)(record->size - RECORD_HEADER_BYTES));
    uint32_t crc = crc32c(0, bytes_of(record->data, 4));
    crc = crc32c(crc,
                 bytes_of(record->data + RECORD_HEADER_BYTES, record->size - RECORD_HEADER_BYTES));
    store_u32(record->data + 4, crc);
    int rc = sim_disk_append(disk, buffer_bytes(record));
    buffer_fini(record);
    if (rc != 0) {
        return rc;
    }
    if (node->call_count == node->call_capacity) {
        node->call_capacity = 2 * node->call_capacity + 64;
        node->ends = sim_more(node->ends, node->call_capacity * sizeof *node->ends);
    }
    node->ends[node->call_count++] = disk->size;
    sim_disk_write(node->sim, disk);
    return 0;
}

static int store_vote(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t voted)
{
    struct buffer record;

    begin_record(&record, RECORD_VOTE);
    put(&record, term, 8);
    put(&record, voted, 4);
    return append_record(OF(raft_node, store, store), sequence, &record);
}

static int store_append(struct raft_store *store, uint64_t sequence,
                        const struct raft_entry entries[], uint32_t count)
{
    struct raft_node *node = OF(raft_node, store, store);
    struct buffer record;

    begin_record(&record, RECORD_APPEND);
    put(&record, count, 4);
    for (uint32_t i = 0; i < count; i++) {
        put(&record, entries[i].index, 8);
        put(&record, entries[i].term, 8);
        put(&record, (uint64_t)entries[i].kind, 1);
        put_string(&record, entries[i].data);
    }
    int rc = append_record(node, sequence, &record);
    if (rc == 0 && (node->dirty == 0 || entries[0].index < node->dirty)) {
        node->dirty = entries[0].index;
    }
    return rc;
}

static int store_snapshot(struct raft_store *store, uint64_t sequence, uint64_t index,
                          uint64_t term, struct bytes snapshot, bool alone)
{
    struct buffer record;

    begin_record(&record, RECORD_SNAPSHOT);
    put(&record, index, 8);
    put(&record, term, 8);
    put(&record, alone, 1);
    put_string(&record, snapshot);
    return append_record(OF(raft_node, store, store), sequence, &record);
}

void raft_node_written(struct raft_node *node, bool good)
{
    const struct sim_disk *disk = disk_of(node);
    uint64_t sequence = node->told;

    if (!good) {
        return; /* It is not told of any more; its owner starts it again. */
    }
    while (sequence < node->call_count && node->ends[sequence] <= disk->durable) {
        sequence++;
    }
    sim_disk_write(node->sim, disk_of(node));
    if (sequence > node->told) {
        node->told = sequence;
        raft_stored(&node->raft, sequence);
    }
}

/* ---- What a start finds ---- */

struct saved {
    struct raft_saved saved;
    struct raft_entry *entries;
    uint32_t capacity;
};

static void read_append(struct saved *from, struct reader *body)
{
    struct raft_saved *saved = &from->saved;
    uint32_t count = read_u32(body);

    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry entry = {.index = read_u64(body)};
        entry.term = read_u64(body);
        entry.kind = read_u8(body);
        entry.data = read_bytes(body, read_u32(body));
        uint64_t after = entry.index - saved->snapshot_index;
        SIM_CHECK("store", after >= 1 && after <= saved->entry_count + 1,
                  "a gap in the stored log");
        saved->entry_count = (uint32_t)after - 1;
        if (saved->entry_count == from->capacity) {
            from->capacity = 2 * from->capacity + 64;
            from->entries = sim_more(from->entries, from->capacity * sizeof *from->entries);
        }
        from->entries[saved->entry_count++] = entry;
    }
}

static void read_snapshot(struct saved *from, struct reader *body)
{
    struct raft_saved *saved = &from->saved;
    uint64_t index = read_u64(body), term = read_u64(body);
    bool alone = read_u8(body) != 0;
    uint64_t gone = index - saved->snapshot_index;

    SIM_CHECK("store", index > saved->snapshot_index, "a snapshot older than the one before");
    if (alone || gone >= saved->entry_count) {
        saved->entry_count = 0;
    } else {
        saved->entry_count -= (uint32_t)gone;
        memmove(from->entries, from->entries + gone, saved->entry_count * sizeof *from->entries);
    }
    saved->snapshot_index = index;
    saved->snapshot_term = term;
    saved->snapshot = read_bytes(body, read_u32(body));
}

static void read_record(struct saved *from, struct reader body)
{
    switch (read_u8(&body)) {
    case RECORD_VOTE:
        from->saved.term = read_u64(&body);
        from->saved.voted_for = read_u32(&body);
        break;
    case RECORD_APPEND:
        read_append(from, &body);
        break;
    default:
        read_snapshot(from, &body);
        break;
    }
    SIM_CHECK("store", reader_done(&body), "a record cannot be read");
}

/* Returns where the good part of the file ends. */
static size_t read_file(struct saved *from, struct bytes file)
{
    size_t at = 0;

    while (file.size - at >= RECORD_HEADER_BYTES) {
        uint32_t size = load_u32(file.data + at);
        const uint8_t *body = file.data + at + RECORD_HEADER_BYTES;
        if (size == 0 || size > file.size - at - RECORD_HEADER_BYTES ||
            load_u32(file.data + at + 4) !=
                crc32c(crc32c(0, bytes_of(file.data + at, 4)), bytes_of(body, size))) {
            break;
        }
        read_record(from, reader_of(bytes_of(body, size)));
        at += RECORD_HEADER_BYTES + size;
    }
    from->saved.entries = from->entries;
    return at;
}

/* ---- The other ports ---- */

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
    struct sim_disk *disk = disk_of(node);
    size_t durable = disk->durable;
    uint8_t *copy = sim_more(NULL, disk->size + 1);
    struct saved from = {.entries = NULL};

    if (disk->size > 0) {
        memcpy(copy, disk->data, disk->size);
    }
    size_t end = read_file(&from, bytes_of(copy, disk->size));
    SIM_CHECK("store", end >= durable, "of %zu durable bytes %zu can be read", durable, end);
    sim_disk_settle(disk, end);
    node->net = (struct raft_net){.send = send_message};
    node->store =
        (struct raft_store){.vote = store_vote, .append = store_append, .snapshot = store_snapshot};
    node->machine = (struct raft_machine){.apply = apply, .save = save, .restore = restore};
    node->tracer = (struct raft_tracer){.event = trace};
    node->chain = (struct raft_chain){0, 0};
    node->call_count = node->told = node->dirty = 0;
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
        .memory = &heap,
        .net = &node->net,
        .store = &node->store,
        .machine = &node->machine,
        .tracer = &node->tracer,
    };
    int rc = raft_init(&node->raft, &options, &ports, &from.saved, raft_node_now_ms(node));
    SIM_CHECK("start", rc == 0, "what is stored is refused: %d", rc);
    free(from.entries);
    free(copy);
    node->runs = true;
    if (end == 0) {
        bootstrap(node);
    }
    sim_after(node->sim, RAFT_SIM_TICK_US, node->node, "tick", tick, 0, 0);
}

void raft_node_stop(struct raft_node *node)
{
    node->runs = false;
    raft_fini(&node->raft);
}
