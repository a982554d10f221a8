/* A store for Raft in tests: calls wait in a queue, become durable in their order when the test says so, and a crash
 * keeps as many of them as the test says. */
#ifndef RAFT_DISK_H
#define RAFT_DISK_H

#include "check.h"

#include <errno.h>

#include "raft.h"

enum disk_kind { DISK_VOTE, DISK_APPEND, DISK_SNAPSHOT };

struct disk_call {
    enum disk_kind kind;
    uint64_t sequence;
    uint64_t index, term;
    uint32_t node;
    bool alone;
    struct bytes snapshot; /* Owned, as all bytes here. */
    struct raft_entry *entries;
    uint32_t count;
};

struct raft_disk {
    struct raft_store store;
    struct disk_call *calls;
    uint32_t call_count, call_capacity;
    uint64_t sequence;         /* Of the last call. */
    bool refuse;               /* Take no call. */
    uint64_t asked, refuse_at; /* Refuse the call of this number, from 1. */
    /* Durable. */
    struct raft_saved saved;
    struct raft_entry *entries;
    uint32_t entry_capacity;
};

static inline struct bytes disk_copy(struct bytes from)
{
    uint8_t *to = malloc(from.size > 0 ? from.size : 1);

    assert_non_null(to);
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    return bytes_of(to, from.size);
}

static inline void disk_free(struct bytes *owned)
{
    union {
        const uint8_t *read;
        void *block;
    } memory = {.read = owned->data};

    free(memory.block);
    *owned = bytes_of(NULL, 0);
}

static inline int disk_take(struct raft_disk *disk, uint64_t sequence, struct disk_call call)
{
    if (disk->refuse || ++disk->asked == disk->refuse_at) {
        return -ENOSPC;
    }
    assert_int_equal(sequence, disk->sequence + 1);
    disk->sequence = sequence;
    call.sequence = sequence;
    if (disk->call_count == disk->call_capacity) {
        disk->call_capacity = disk->call_capacity * 2 + 8;
        disk->calls = realloc(disk->calls, disk->call_capacity * sizeof *disk->calls);
        assert_non_null(disk->calls);
    }
    if (call.kind == DISK_SNAPSHOT) {
        call.snapshot = disk_copy(call.snapshot);
    }
    if (call.kind == DISK_APPEND) {
        struct raft_entry *copies = malloc(call.count * sizeof *copies);
        assert_non_null(copies);
        for (uint32_t i = 0; i < call.count; i++) {
            copies[i] = call.entries[i];
            copies[i].data = disk_copy(call.entries[i].data);
        }
        call.entries = copies;
    }
    disk->calls[disk->call_count++] = call;
    return 0;
}

static int disk_vote(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t node)
{
    return disk_take((struct raft_disk *)store, sequence,
                     (struct disk_call){.kind = DISK_VOTE, .term = term, .node = node});
}

static int disk_append(struct raft_store *store, uint64_t sequence,
                       const struct raft_entry entries[], uint32_t count)
{
    union {
        const struct raft_entry *read;
        struct raft_entry *list;
    } from = {.read = entries};

    assert_true(count > 0);
    return disk_take((struct raft_disk *)store, sequence,
                     (struct disk_call){.kind = DISK_APPEND, .entries = from.list, .count = count});
}

static int disk_snapshot(struct raft_store *store, uint64_t sequence, uint64_t index, uint64_t term,
                         struct bytes snapshot, bool alone)
{
    return disk_take((struct raft_disk *)store, sequence,
                     (struct disk_call){.kind = DISK_SNAPSHOT,
                                        .index = index,
                                        .term = term,
                                        .snapshot = snapshot,
                                        .alone = alone});
}

static inline void disk_init(struct raft_disk *disk)
{
    *disk = (struct raft_disk){
        .store = {.vote = disk_vote, .append = disk_append, .snapshot = disk_snapshot}};
}

/* The durable log's last index. */
static inline uint64_t disk_last(const struct raft_disk *disk)
{
    return disk->saved.snapshot_index + disk->saved.entry_count;
}

/* Is this entry durable, as itself or within the snapshot? */
static inline bool disk_has(const struct raft_disk *disk, uint64_t index, uint64_t term)
{
    if (index <= disk->saved.snapshot_index) {
        return true;
    }
    return index <= disk_last(disk) &&
           disk->entries[index - disk->saved.snapshot_index - 1].term == term;
}

static inline void disk_cut(struct raft_disk *disk, uint32_t from)
{
    while (disk->saved.entry_count > from) {
        disk->saved.entry_count--;
        disk_free(&disk->entries[disk->saved.entry_count].data);
    }
}

static inline void disk_do_append(struct raft_disk *disk, struct disk_call *call)
{
    uint64_t first = call->entries[0].index;

    assert_true(first > disk->saved.snapshot_index && first <= disk_last(disk) + 1);
    disk_cut(disk, (uint32_t)(first - disk->saved.snapshot_index - 1));
    for (uint32_t i = 0; i < call->count; i++) {
        if (disk->saved.entry_count == disk->entry_capacity) {
            disk->entry_capacity = disk->entry_capacity * 2 + 8;
            disk->entries = realloc(disk->entries, disk->entry_capacity * sizeof *disk->entries);
            assert_non_null(disk->entries);
        }
        assert_int_equal(call->entries[i].index, first + i);
        disk->entries[disk->saved.entry_count++] = call->entries[i];
    }
    free(call->entries);
}

static inline void disk_do_snapshot(struct raft_disk *disk, struct disk_call *call)
{
    struct raft_saved *saved = &disk->saved;

    assert_true(call->index > saved->snapshot_index);
    if (call->alone || call->index >= disk_last(disk)) {
        assert_true(call->alone || call->index == disk_last(disk));
        disk_cut(disk, 0);
    } else {
        uint32_t gone = (uint32_t)(call->index - saved->snapshot_index);
        for (uint32_t i = 0; i < gone; i++) {
            disk_free(&disk->entries[i].data);
        }
        saved->entry_count -= gone;
        memmove(disk->entries, disk->entries + gone, saved->entry_count * sizeof *disk->entries);
    }
    disk_free(&saved->snapshot);
    saved->snapshot = call->snapshot;
    saved->snapshot_index = call->index;
    saved->snapshot_term = call->term;
}

/* The first `count` calls become durable. Returns the number of the last one that is, or 0 for none. */
static inline uint64_t disk_do(struct raft_disk *disk, uint32_t count)
{
    uint64_t sequence = 0;

    assert_true(count <= disk->call_count);
    for (uint32_t i = 0; i < count; i++) {
        struct disk_call *call = &disk->calls[i];
        sequence = call->sequence;
        if (call->kind == DISK_VOTE) {
            disk->saved.term = call->term;
            disk->saved.voted_for = call->node;
        } else if (call->kind == DISK_APPEND) {
            disk_do_append(disk, call);
        } else {
            disk_do_snapshot(disk, call);
        }
    }
    disk->call_count -= count;
    if (count > 0) {
        memmove(disk->calls, disk->calls + count, disk->call_count * sizeof *disk->calls);
    }
    disk->saved.entries = disk->entries;
    return sequence;
}

/* What was not durable is gone; the next life counts anew. */
static inline void disk_crash(struct raft_disk *disk)
{
    for (uint32_t i = 0; i < disk->call_count; i++) {
        struct disk_call *call = &disk->calls[i];
        for (uint32_t k = 0; call->kind == DISK_APPEND && k < call->count; k++) {
            disk_free(&call->entries[k].data);
        }
        if (call->kind == DISK_APPEND) {
            free(call->entries);
        }
        disk_free(&call->snapshot);
    }
    disk->call_count = 0;
    disk->sequence = 0;
}

static inline void disk_fini(struct raft_disk *disk)
{
    disk_crash(disk);
    disk_cut(disk, 0);
    disk_free(&disk->saved.snapshot);
    free(disk->entries);
    free(disk->calls);
}

#endif
