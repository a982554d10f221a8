#include "sweep.h"

#include <assert.h>
#include <errno.h>

#include "copies.h"
#include "heap.h"
#include "plane_private.h"
#include "plane_table.h"
#include "shard_thread.h"
#include "slot.h"

/* One shard of one node. */
struct sweep_part {
    uint32_t node, shard;
    uint64_t cursor;
    size_t offset, size; /* Of its keys in `arrived`. */
};

void sweep_init(struct sweep *sweep, struct memory *memory)
{
    *sweep = (struct sweep){
        .prefix = {.memory = memory},
        .keys = {.memory = memory},
        .arrived = {.memory = memory},
    };
}

static void let_table_go(struct sweep *sweep)
{
    if (sweep->table != NULL) {
        plane_table_drop(sweep->table);
        sweep->table = NULL;
    }
}

void sweep_fini(struct sweep *sweep)
{
    struct memory *memory = sweep->keys.memory;

    let_table_go(sweep);
    buffer_fini(&sweep->prefix);
    buffer_fini(&sweep->keys);
    buffer_fini(&sweep->arrived);
    if (sweep->parts != NULL) {
        heap_give(memory, sweep->parts, sweep->capacity * sizeof *sweep->parts);
        sweep->parts = NULL;
    }
}

/* ---- Who coordinates what ---- */

static bool is_avoided(const struct sweep *sweep, uint32_t node)
{
    for (uint32_t i = 0; i < sweep->avoided_count; i++) {
        if (sweep->avoided[i] == node) {
            return true;
        }
    }
    return false;
}

/* 0: nobody is left. One whose disk is full is the last choice. */
static uint32_t coordinator(const struct sweep *sweep, uint32_t slot)
{
    const struct slot_table *table = sweep->table->table;
    const struct slot_owners *owners = &table->owners[slot];
    uint32_t last = 0;

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        const uint32_t node = owners->nodes[rank];
        const struct slot_table_member *member = slot_table_member(table, node);
        if (is_avoided(sweep, node)) {
            continue;
        }
        if (member == NULL || !member->degraded) {
            return node;
        }
        last = last == 0 ? node : last;
    }
    return last;
}

/* Those who coordinate from the cursor on, and how far so many are enough. Returns how many; 0: of a slot nobody can be
 * asked. */
static uint32_t find_nodes(struct sweep *sweep, uint32_t nodes[SWEEP_NODES_MAX])
{
    uint32_t count = 0;

    sweep->limit = 0;
    if (sweep->only != 0) {
        nodes[0] = sweep->only;
        return 1;
    }
    for (uint32_t slot = slot_of_position(sweep->cursor); slot < SLOT_COUNT; slot++) {
        uint32_t node = coordinator(sweep, slot), i = 0;
        while (i < count && nodes[i] != node) {
            i++;
        }
        if (node == 0) {
            return 0;
        }
        if (i == SWEEP_NODES_MAX) {
            sweep->limit = (uint64_t)slot << (64 - SLOT_BITS);
            break;
        }
        if (i == count) {
            nodes[count++] = node;
        }
    }
    return count;
}

/* ---- Asking ---- */

static int add_parts(struct sweep *sweep, uint32_t node, uint32_t shards)
{
    struct memory *memory = sweep->keys.memory;
    uint32_t wanted = sweep->part_count + shards;

    if (wanted > SWEEP_PARTS_MAX) {
        return -ENOMEM;
    }
    if (wanted > sweep->capacity) {
        struct sweep_part *parts =
            memory->resize(memory, sweep->parts, sweep->capacity * sizeof *parts,
                           2 * (size_t)wanted * sizeof *parts);
        if (parts == NULL) {
            return -ENOMEM;
        }
        sweep->parts = parts;
        sweep->capacity = 2 * wanted;
    }
    for (uint32_t shard = 0; shard < shards; shard++) {
        sweep->parts[sweep->part_count++] = (struct sweep_part){.node = node, .shard = shard};
    }
    return 0;
}

static int make_parts(struct shard_thread *thread, struct sweep *sweep)
{
    uint32_t nodes[SWEEP_NODES_MAX];
    uint32_t count = find_nodes(sweep, nodes);
    int rc = 0;

    if (count == 0) {
        sweep->avoided_count = 0; /* Whoever could not say before is asked again. */
        count = find_nodes(sweep, nodes);
    }
    sweep->part_count = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = add_parts(sweep, nodes[i], copies_shards_of(thread, nodes[i]));
    }
    return rc;
}

int sweep_ask(struct shard_thread *thread, struct sweep *sweep, struct task *task)
{
    let_table_go(sweep);
    sweep->table = thread->table;
    atomic_fetch_add(&sweep->table->users, 1);
    sweep->arrived.size = sweep->keys.size = 0;
    sweep->status = STATUS_OK;
    int rc = make_parts(thread, sweep);
    if (rc != 0) {
        return rc;
    }
    struct request request = {
        .op = REQUEST_SCAN,
        .type = sweep->type,
        .flags = sweep->flags,
        .key = buffer_bytes(&sweep->prefix),
        .cursor = sweep->cursor,
        .count =
            sweep->part_count == 0 ? 1 : (sweep->count + sweep->part_count - 1) / sweep->part_count,
    };
    sweep->left = 1 + sweep->part_count;
    for (uint32_t i = 0; i < sweep->part_count; i++) {
        const struct sweep_part *part = &sweep->parts[i];
        task_ask_node(thread, task, &request, part->node, part->shard, i);
    }
    const struct task_answer none = {.part = UINT32_MAX};
    task->kind->answered(thread, task, &none); /* All are asked. */
    return 0;
}

/* ---- The page ---- */

static void avoid(struct sweep *sweep, uint32_t node)
{
    if (sweep->only == 0 && !is_avoided(sweep, node) && sweep->avoided_count < SWEEP_NODES_MAX) {
        sweep->avoided[sweep->avoided_count++] = node;
    }
}

static int keep(struct sweep *sweep, const struct task_answer *answer)
{
    struct sweep_part *part = &sweep->parts[answer->part];

    part->cursor = answer->cursor;
    part->offset = sweep->arrived.size;
    part->size = answer->bytes.size;
    return buffer_append(&sweep->arrived, answer->bytes);
}

/* Where the first of them stopped. */
static uint64_t stop_of(const struct sweep *sweep)
{
    uint64_t stop = sweep->limit;

    for (uint32_t i = 0; i < sweep->part_count; i++) {
        uint64_t cursor = sweep->parts[i].cursor;
        if (cursor != 0 && (stop == 0 || cursor < stop)) {
            stop = cursor;
        }
    }
    return stop;
}

static uint64_t position_of(struct shard_thread *thread, struct bytes key)
{
    struct request request = {.op = REQUEST_GET, .key = key};

    shard_prepare(thread->shard, &request);
    return request.position;
}

/* As who asks has to go by what it says itself of who has what (resp_cluster.c). */
static bool counts(struct shard_thread *thread, const struct sweep *sweep, uint32_t slot,
                   uint32_t node)
{
    return (sweep->only != 0 ? copies_guess(thread, slot) : coordinator(sweep, slot)) == node;
}

/* What a part has before the stop, of slots that its node coordinates. */
static int take_part(struct shard_thread *thread, struct sweep *sweep,
                     const struct sweep_part *part)
{
    if (part->size == 0) { /* Of no part there may be anything. */
        return 0;
    }
    struct reader keys = reader_of(bytes_of(sweep->arrived.data + part->offset, part->size));
    int rc = 0;

    while (rc == 0 && !keys.bad && reader_left(&keys) > 0) {
        const uint8_t *begin = keys.at;
        uint64_t position = position_of(thread, read_string(&keys));
        if ((sweep->next == 0 || position < sweep->next) &&
            counts(thread, sweep, slot_of_position(position), part->node)) {
            rc = buffer_append(&sweep->keys, bytes_of(begin, (size_t)(keys.at - begin)));
        }
    }
    return rc;
}

static enum sweep_state join(struct shard_thread *thread, struct sweep *sweep)
{
    int rc = 0;

    sweep->next = stop_of(sweep);
    for (uint32_t i = 0; i < sweep->part_count && rc == 0; i++) {
        rc = take_part(thread, sweep, &sweep->parts[i]);
    }
    if (rc != 0) {
        sweep->status = STATUS_MEMORY_FULL;
        return SWEEP_FAILED;
    }
    return SWEEP_DONE;
}

static bool may_pass(enum status status)
{
    return status == STATUS_BUSY || status == STATUS_UNAVAILABLE || status == STATUS_STOPPING;
}

enum sweep_state sweep_answered(struct shard_thread *thread, struct sweep *sweep,
                                const struct task_answer *answer)
{
    if (answer->part != UINT32_MAX && answer->status != STATUS_OK) {
        bool passes = may_pass(answer->status);
        if (sweep->status == STATUS_OK || !passes) {
            sweep->status = answer->status;
        }
        if (passes) {
            avoid(sweep, sweep->parts[answer->part].node);
        }
    } else if (answer->part != UINT32_MAX && keep(sweep, answer) != 0) {
        sweep->status = STATUS_MEMORY_FULL;
    }
    if (--sweep->left > 0) {
        return SWEEP_WAITS;
    }
    if (sweep->status == STATUS_OK && sweep->part_count > 0) {
        enum sweep_state state = join(thread, sweep);
        let_table_go(sweep);
        return state;
    }
    let_table_go(sweep);
    if (sweep->part_count == 0) {
        sweep->status = STATUS_UNAVAILABLE;
    }
    bool again = may_pass(sweep->status) && ++sweep->tries < SWEEP_TRIES_MAX;
    return again ? SWEEP_AGAIN : SWEEP_FAILED;
}
