/* What others stamped, at a node: noted, told, and archived where they do not (server/node_archive_tails.c). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "archive_scenario.h"
#include "heap.h"

enum { BEHIND_MS = 2 * ARCHIVE_SIM_FLUSH_MS + 300, TELL_US = ARCHIVE_SIM_FLUSH_MS * 1000 };

void archive_others_start(struct archive_node *node)
{
    const struct archive_tails_settings settings = {
        .shard_count = 1,
        .self = {node->copies->number, node->copies->start},
        .behind_ms = BEHIND_MS,
        .mark_ms = ARCHIVE_SIM_FLUSH_MS / 2,
    };

    archive_tails_init(&node->tails, &node->memory.memory, &settings);
    node->taken_count = 0;
    node->told_hlc = node->looked_us = node->own_hlc = node->gaps = 0;
}

void archive_others_stop(struct archive_node *node)
{
    archive_tails_fini(&node->tails);
}

/* ---- Objects ---- */

void archive_others_build(struct archive_node *node)
{
    node->own_lsn = node->from;
    node->taken_count = archive_tails_build(&node->tails, &node->from, node->taken);
    node->walked = node->own_hlc = 0;
    node->gaps_to = node->gaps;
}

void archive_others_walked(struct archive_node *node, uint64_t walked, bool settled)
{
    uint64_t size = node->sim->nodes[node->place].disk.size;

    node->walked = walked;
    node->own_hlc = settled ? node->feed.own_hlc : 0;
    if (settled &&
        size <= walked) { /* It has stamped nothing since: as server/uring/archive_gate.c. */
        uint64_t hlc = shard_hlc(node->copies->shard);
        uint64_t before = hlc_of_ms(copies_node_now_ms(node->copies)) - 1;
        node->own_hlc = hlc > before ? hlc : before;
    }
}

void archive_others_built(struct archive_node *node)
{
    const struct buffer *notes = &node->feed.notes;

    for (size_t at = 0; at < notes->size; at += sizeof(struct archive_feed_note)) {
        struct archive_feed_note note;
        memcpy(&note, notes->data + at, sizeof note);
        int rc = archive_tails_note(&node->tails, &note, archive_node_now_ms(node));
        assert(rc == 0);
    }
    archive_tails_walked(&node->tails, 0, node->walked);
}

void archive_others_stored(struct archive_node *node)
{
    archive_tails_stored(&node->tails, &node->to);
    archive_tails_own(&node->tails, 0, node->own_hlc);
    node->gaps = node->gaps_to;
    node->sim->counts[SIM_TAKEN] += node->feed.taken_records;
}

/* ---- The others ---- */

static void tell(struct archive_node *node)
{
    struct buffer message = {.memory = heap_memory()};
    uint64_t own_hlc = archive_tails_own_hlc(&node->tails);
    const uint8_t head = COPIES_MESSAGES_END;

    if (own_hlc <= node->told_hlc || !node->based) {
        return;
    }
    int rc = buffer_append(&message, bytes_of(&head, sizeof head));
    rc = rc != 0 ? rc : archive_tails_put(&node->tails, &message);
    assert(rc == 0);
    for (uint32_t i = 1; i <= node->sim->node_count; i++) {
        if (i != node->place) {
            sim_net_send(node->sim, node->place, i, buffer_bytes(&message));
        }
    }
    node->told_hlc = own_hlc;
    buffer_fini(&message);
}

bool archive_others_step(struct archive_node *node)
{
    struct archive_tails *tails = &node->tails;
    uint64_t now_us = copies_node_now_us(node->copies);

    if (now_us - node->looked_us >= TELL_US) {
        node->looked_us = now_us;
        for (uint32_t i = 0; i < tails->actor_count; i++) {
            uint32_t number = tails->actors[i].actor.node;
            archive_tails_down(tails, i, !node->sim->nodes[number].up);
        }
        tell(node);
    }
    return archive_tails_step(tails, node->archiver.away_ms != 0, archive_node_now_ms(node));
}

void archive_others_heard(struct archive_node *node, struct bytes message)
{
    copies_node_wakes(node->copies);
    int rc = archive_tails_take(&node->tails, message, archive_node_now_ms(node));
    SIM_CHECK("tails", rc == 0, "node %u does not know what another one says: %d", node->place, rc);
    node->archiver.moved = true; /* Perhaps less of the log is needed. */
    archive_node_turn(node);
}

bool archive_others_is_done(const struct archive_node *node)
{
    return archive_tails_behind_ms(&node->tails, archive_node_now_ms(node)) == 0;
}
