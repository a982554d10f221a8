#include "raft_log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { CAPACITY_MIN = 16 };

void raft_log_init(struct raft_log *log, struct memory *memory)
{
    *log = (struct raft_log){.memory = memory};
}

static size_t table_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct raft_entry);
}

/* The log made the bytes, so it may free what it reads only. */
static void free_data(struct raft_log *log, struct bytes data)
{
    union {
        const uint8_t *read;
        void *block;
    } owned = {.read = data.data};

    if (data.size > 0) {
        log->memory->resize(log->memory, owned.block, data.size, 0);
    }
}

static void free_entries(struct raft_log *log, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        log->bytes -= raft_entry_bytes(&log->entries[i]);
        free_data(log, log->entries[i].data);
    }
}

void raft_log_fini(struct raft_log *log)
{
    raft_log_unstage(log);
    free_entries(log, 0, log->count);
    if (log->entries != NULL) {
        log->memory->resize(log->memory, log->entries, table_bytes(log->capacity), 0);
    }
    raft_log_init(log, log->memory);
}

const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index)
{
    if (index <= log->base_index || index > raft_log_last(log)) {
        return NULL;
    }
    return &log->entries[index - log->base_index - 1];
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index)
{
    const struct raft_entry *entry = raft_log_at(log, index);

    if (entry != NULL) {
        return entry->term;
    }
    return index == log->base_index ? log->base_term : 0;
}

static int reserve_one(struct raft_log *log)
{
    if (log->count + log->staged < log->capacity) {
        return 0;
    }
    uint32_t capacity = log->capacity == 0 ? CAPACITY_MIN : log->capacity * 2;
    struct raft_entry *entries = log->memory->resize(
        log->memory, log->entries, table_bytes(log->capacity), table_bytes(capacity));
    if (entries == NULL) {
        return -ENOMEM;
    }
    log->entries = entries;
    log->capacity = capacity;
    return 0;
}

int raft_log_stage(struct raft_log *log, const struct raft_entry *entry)
{
    struct raft_entry copy = *entry;

    if (reserve_one(log) != 0) {
        return -ENOMEM;
    }
    copy.data = bytes_of(NULL, 0);
    if (entry->data.size > 0) {
        uint8_t *data = log->memory->resize(log->memory, NULL, 0, entry->data.size);
        if (data == NULL) {
            return -ENOMEM;
        }
        memcpy(data, entry->data.data, entry->data.size);
        copy.data = bytes_of(data, entry->data.size);
    }
    log->entries[log->count + log->staged] = copy;
    log->staged++;
    return 0;
}

struct raft_entry *raft_log_staged(struct raft_log *log)
{
    return &log->entries[log->count];
}

void raft_log_adopt(struct raft_log *log, uint64_t sequence)
{
    assert(log->staged > 0);
    struct raft_entry *staged = raft_log_staged(log);
    uint64_t first = staged[0].index;
    assert(first > log->base_index && first <= raft_log_last(log) + 1);
    uint32_t kept = (uint32_t)(first - log->base_index - 1);

    for (uint32_t i = 0; i < log->staged; i++) {
        assert(staged[i].index == first + i);
        staged[i].sequence = sequence;
        log->bytes += raft_entry_bytes(&staged[i]);
    }
    free_entries(log, kept, log->count);
    memmove(&log->entries[kept], staged, table_bytes(log->staged));
    log->count = kept + log->staged;
    log->staged = 0;
}

void raft_log_unstage(struct raft_log *log)
{
    while (log->staged > 0) {
        log->staged--;
        free_data(log, raft_log_staged(log)[log->staged].data);
    }
}

void raft_log_drop_until(struct raft_log *log, uint64_t index)
{
    assert(log->staged == 0);
    if (index <= log->base_index) {
        return;
    }
    assert(index <= raft_log_last(log));
    uint32_t gone = (uint32_t)(index - log->base_index);
    log->base_term = raft_log_term(log, index);
    log->base_index = index;
    free_entries(log, 0, gone);
    log->count -= gone;
    memmove(log->entries, &log->entries[gone], table_bytes(log->count));
}

void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
    assert(log->staged == 0);
    free_entries(log, 0, log->count);
    log->count = 0;
    log->base_index = base_index;
    log->base_term = base_term;
}
