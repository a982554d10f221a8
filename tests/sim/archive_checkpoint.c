/* A node's checkpoints for the archive: of the slots of which it is the primary, or, a base, of all that it owns, from what its
 * store's checkpoint has; that is what its durable log comes to. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "archive_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

enum { PART_KEYS = 4, COMPACTED_PERCENT = 20 };

static struct archive_node *node_at(struct sim *sim, uint32_t place)
{
    return &archive_scenario_of(sim)->nodes[place];
}

static struct sim_disk *disk_of(const struct archive_node *node)
{
    return &node->sim->nodes[node->place].disk;
}

/* ---- What slots have seen ---- */

static void base(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    const struct copies_node *copies = node->copies;

    copies_node_wakes(node->copies);
    node->missing = 0;
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        uint32_t slot = slot_of_key(copies_key(key));
        const struct slot_owners *owners = &copies->table->owners[slot];
        node->vectors[key].size = 0;
        if (node->bases ? slot_owners_has(owners, copies->number)
                        : owners->nodes[0] == copies->number) {
            int rc = seen_put(shard_seen(copies->shard), slot, &node->vectors[key]);
            assert(rc == 0 || rc == -ENOENT);
            node->missing += rc != 0;
        }
    }
    node->next_key = 0;
    node->least_hlc = node->newest_hlc = 0;
    checkpointer_based(&node->checkpointer, 0, archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_base(struct checkpointer_port *port)
{
    struct archive_node *node = OF(archive_node, side_port, port);

    node->bases = !node->based;
    archive_node_job(node, "base", base);
}

/* What came meanwhile is in it as well. */
static void seal(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);

    copies_node_wakes(node->copies);
    node->side_lsn = disk_of(node)->size;
    checkpointer_sealed(&node->checkpointer, 0, archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_seal(struct checkpointer_port *port)
{
    archive_node_job(OF(archive_node, side_port, port), "seal", seal);
}

static bool port_covers(struct checkpointer_port *port)
{
    struct archive_node *node = OF(archive_node, side_port, port);

    return disk_of(node)->durable >= node->side_lsn &&
           sim_chance(node->sim, SIM_RANDOM_STORE, COMPACTED_PERCENT);
}

/* ---- Sessions ---- */

/* A compaction of the log, record by record. */
static int compact(void *context, size_t at, const struct log_record *record)
{
    struct archive_node *node = context;
    struct buffer after = {.memory = &node->memory.memory};
    int rc = 0;

    (void)at;
    if (record->kind == LOG_MARK || record->kind == LOG_TOUCH) {
        return 0;
    }
    struct buffer *session = &node->sessions[copies_key_of(session_key(record->body))];
    switch (record->kind) {
    case LOG_FULL:
        rc = buffer_append(&after, record->body);
        break;
    case LOG_DELTA:
        rc = session_apply_delta(buffer_bytes(session), record->body, &after);
        break;
    default: /* BURY and DROP: it is here no more. */
        break;
    }
    SIM_CHECK("log", rc == 0, "node %u: the log does not come to a session: %d", node->place, rc);
    buffer_fini(session);
    *session = after;
    return 0;
}

static void read_checkpoint(struct archive_node *node)
{
    const struct sim_log *log = &node->sim->nodes[node->place].log;

    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        node->sessions[key].size = 0;
    }
    sim_log_walk(log, 0, disk_of(node)->durable, compact, node);
}

static void add_session(struct archive_node *node, uint32_t key)
{
    struct bytes session = buffer_bytes(&node->sessions[key]);
    const struct archive_record record = {
        .kind = LOG_FULL, .position = copies_position(key), .body = session};
    struct stamp newest;

    if (session.size > 0 && node->vectors[key].size > 0 && session_newest(session, &newest)) {
        int rc = archive_writer_add(&node->side_writer, &record, newest);
        assert(rc == 0);
    }
}

static void fill_part(struct archive_node *node)
{
    const struct archive_writer *writer = &node->side_writer;

    read_checkpoint(node);
    for (uint32_t i = 0; i < PART_KEYS && node->next_key < COPIES_KEYS; i++) {
        add_session(node, node->next_key++);
    }
    if (writer->records > 0) {
        uint64_t least = writer->least_hlc, newest = writer->newest_hlc;
        node->least_hlc = node->least_hlc == 0 || least < node->least_hlc ? least : node->least_hlc;
        node->newest_hlc = newest > node->newest_hlc ? newest : node->newest_hlc;
    }
}

static void fill_last(struct archive_node *node)
{
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        if (node->vectors[key].size > 0) {
            int rc = archive_writer_seen(&node->side_writer, (uint16_t)slot_of_key(copies_key(key)),
                                         buffer_bytes(&node->vectors[key]));
            assert(rc == 0);
        }
    }
    if (node->newest_hlc != 0) {
        archive_writer_reach(&node->side_writer, node->least_hlc, node->newest_hlc);
    }
}

static void fill(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    struct archive_writer_options options = {
        .level = 1,
        .made_ms = copies_node_now_ms(node->copies),
        .parts = node->side_last ? node->side_part : 0,
    };

    copies_node_wakes(node->copies);
    archive_node_name(node, node->side_last ? ARCHIVE_DONE : ARCHIVE_PART, node->side_sequence,
                      node->side_last ? 0 : node->side_part, &options.name);
    archive_writer_begin(&node->side_writer, &options);
    if (node->side_last) {
        fill_last(node);
    } else {
        fill_part(node);
    }
    int rc = archive_writer_make(&node->side_writer, &node->side_object);
    assert(rc == 0);
    checkpointer_filled(&node->checkpointer, 0, node->next_key < COPIES_KEYS,
                        archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_fill(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    struct archive_node *node = OF(archive_node, side_port, port);

    node->side_sequence = sequence;
    node->side_part = part;
    node->side_last = last;
    archive_node_job(node, "fill", fill);
}

/* ---- Objects ---- */

static void stored(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);

    if (event->b != node->side_call) {
        return; /* It has come too late. */
    }
    node->side_call = 0;
    copies_node_wakes(node->copies);
    checkpointer_stored(&node->checkpointer, (int)(int64_t)event->a, archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_store(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    struct archive_node *node = OF(archive_node, side_port, port);
    struct archive_name name;

    archive_node_name(node, last ? ARCHIVE_DONE : ARCHIVE_PART, sequence, last ? 0 : part, &name);
    node->side_call = archive_node_put(node, &name, node->side_object, stored);
}

static void port_made(struct checkpointer_port *port, uint64_t sequence)
{
    struct archive_node *node = OF(archive_node, side_port, port);

    if (node->missing > 0) {
        checkpointer_want(&node->checkpointer);
    }
    if (node->bases && !node->checkpointer.wanted) {
        node->based = true;
        shard_archive_based(node->copies->shard);
    }
    node->archiver.moved = true; /* So that it is kept. */
    archive_oracle_based(node, node->side_lsn);
    sim_note(node->sim, "checkpoint", node->place, sequence, node->side_part);
    sim_count(node->sim, SIM_CHECKPOINTS);
}

/* ---- Its steps ---- */

void archive_checkpoint_init(struct archive_node *node, uint64_t sequence)
{
    node->side_port = (struct checkpointer_port){port_base, port_seal,  port_covers,
                                                 port_fill, port_store, port_made};
    checkpointer_init(&node->checkpointer, &node->side_port, sequence);
    archive_writer_init(&node->side_writer, &node->memory.memory);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        node->sessions[key] = node->vectors[key] = (struct buffer){.memory = &node->memory.memory};
    }
    node->side_call = 0;
    if (!node->mark.based) {
        checkpointer_want(&node->checkpointer);
    }
}

void archive_checkpoint_fini(struct archive_node *node)
{
    archive_writer_fini(&node->side_writer);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        buffer_fini(&node->sessions[key]);
        buffer_fini(&node->vectors[key]);
    }
}

void archive_checkpoint_step(struct archive_node *node)
{
    if (node->checkpointer.state != CHECKPOINTER_RESTING || node->archiver.away_ms == 0) {
        (void)checkpointer_step(&node->checkpointer,
                                node->archiver.shards[0].archived - node->first_bytes,
                                ARCHIVE_SIM_DUE_BYTES, archive_node_now_ms(node));
    }
}
