/* Transactions: what procedures on several keys write is staged, then logged in one record and stored.
 *
 * Each step can fail until the log has the record: cells for all records are taken first, and given back where the log
 * refuses; after it nothing can fail. */
#include "shard_state.h"

#include <errno.h>

/* A session that is as large as it may be, and its tombstone beside it, are one, too. */
enum { MOVED_BYTES_MAX = 16 * 1024 };

struct staged {
    uint64_t position;
    struct buffer record;
    uint32_t created, destroyed, expired;
    uint32_t ref; /* While committing. */
    struct glance before, after;
};

static struct bytes key_of(const struct staged *staged)
{
    return session_key(buffer_bytes(&staged->record));
}

int shard_begin_staging(struct turn *turn)
{
    struct memory *memory = turn->shard->memory;

    turn->staged = memory->resize(memory, NULL, 0, TURN_KEYS_MAX * sizeof *turn->staged);
    turn->staged_count = 0;
    return turn->staged == NULL ? -ENOMEM : 0;
}

void shard_abandon(struct turn *turn)
{
    struct memory *memory = turn->shard->memory;

    for (uint32_t i = 0; i < turn->staged_count; i++) {
        buffer_fini(&turn->staged[i].record);
    }
    memory->resize(memory, turn->staged, TURN_KEYS_MAX * sizeof *turn->staged, 0);
    turn->staged = NULL;
    turn->staged_count = 0;
}

static struct staged *find(const struct turn *turn, uint64_t position, struct bytes key)
{
    for (uint32_t i = 0; i < turn->staged_count; i++) {
        struct staged *staged = &turn->staged[i];
        if (staged->position == position && bytes_equal(key_of(staged), key)) {
            return staged;
        }
    }
    return NULL;
}

struct bytes shard_staged_record(const struct turn *turn, uint64_t position, struct bytes key)
{
    const struct staged *staged = find(turn, position, key);

    return staged != NULL ? buffer_bytes(&staged->record) : shard_find(turn->shard, position, key);
}

enum status shard_stage(struct turn *turn, const struct request *write)
{
    const struct session_written *written = &turn->shard->written;
    struct staged *staged = find(turn, write->position, write->key);

    if (staged == NULL) {
        if (turn->staged_count == TURN_KEYS_MAX) {
            return STATUS_INVALID;
        }
        staged = &turn->staged[turn->staged_count++];
        *staged = (struct staged){
            .position = write->position,
            .record = {.memory = turn->shard->memory},
        };
    }
    staged->record.size = 0;
    if (buffer_append(&staged->record, buffer_bytes(&written->record)) != 0) {
        return STATUS_MEMORY_FULL;
    }
    turn->moved = turn->moved || turn->moves;
    staged->created += written->created;
    if (written->destroyed && !turn->moves && !turn->replaces) {
        *(turn->expires ? &staged->expired : &staged->destroyed) += 1;
    }
    if (written->stamp.hlc > turn->shard->hlc) {
        turn->shard->hlc = written->stamp.hlc;
    }
    return STATUS_OK;
}

/* Cells for all. Returns how many there were memory for. */
static uint32_t take_cells(struct turn *turn)
{
    struct shard *shard = turn->shard;
    uint32_t taken = 0;

    for (; taken < turn->staged_count; taken++) {
        struct staged *staged = &turn->staged[taken];
        struct bytes record = keeper_find(shard->keeper, staged->position, key_of(staged));
        staged->before = shard_glance(shard, record, shard->now_ms);
        staged->after = shard_glance(shard, buffer_bytes(&staged->record), shard->now_ms);
        if (keeper_stage(shard->keeper, staged->position, buffer_bytes(&staged->record),
                         &staged->ref) != 0) {
            break;
        }
    }
    return taken;
}

static void give_cells_back(struct turn *turn, uint32_t count)
{
    while (count > 0) {
        const struct staged *staged = &turn->staged[--count];
        keeper_abandon(turn->shard->keeper, staged->position, key_of(staged), staged->ref);
    }
}

/* One record of the log for all. */
static int log_all(struct turn *turn)
{
    const struct staged *first = &turn->staged[0];
    struct buffer *batch = turn->changes;

    if (turn->staged_count == 1) {
        struct bytes part = buffer_bytes(&first->record);
        return shard_append(turn->shard, LOG_FULL, first->position, key_of(first), &part, 1);
    }
    batch->size = 0;
    for (uint32_t i = 0; i < turn->staged_count; i++) {
        const struct staged *staged = &turn->staged[i];
        uint8_t head[1 + 8 + VARINT_BYTES_MAX] = {LOG_FULL};
        store_u64(head + 1, staged->position);
        const uint8_t *end = varint_put(head + 9, staged->record.size);
        int rc = buffer_append(batch, bytes_of(head, (size_t)(end - head)));
        rc = rc != 0 ? rc : buffer_append(batch, buffer_bytes(&staged->record));
        if (rc != 0) {
            return rc;
        }
    }
    struct bytes part = buffer_bytes(batch);
    return shard_append(turn->shard, LOG_BATCH, first->position, key_of(first), &part, 1);
}

/* A record of the log is no larger than the largest session may make one. */
static bool is_too_large(const struct turn *turn)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < turn->staged_count; i++) {
        bytes += turn->staged[i].record.size;
    }
    uint64_t max = turn->policy->rules.session_bytes_max + (turn->moved ? MOVED_BYTES_MAX : 0);
    return turn->staged_count > 1 && bytes > max;
}

/* Does any of it need more of a memory that is full? As with a plain write, what ends a session never does. */
static bool passes_memory(const struct turn *turn)
{
    struct shard *shard = turn->shard;

    for (uint32_t i = 0; i < turn->staged_count; i++) {
        const struct staged *staged = &turn->staged[i];
        size_t before = keeper_find(shard->keeper, staged->position, key_of(staged)).size;
        bool begins = staged->created > 0;
        if ((begins || staged->record.size > before) && shard_memory_is_full(shard, begins) &&
            shard_glance(shard, buffer_bytes(&staged->record), shard->now_ms).counted) {
            return false;
        }
    }
    return true;
}

enum status shard_commit(struct turn *turn, const char **text)
{
    struct shard *shard = turn->shard;
    enum status status = STATUS_OK;

    if (turn->staged_count > 0 && is_too_large(turn)) {
        *text = "the transaction is larger than session_max_bytes";
        status = STATUS_SESSION_TOO_LARGE;
    } else if (!passes_memory(turn)) {
        status = shard_full_status(shard, text);
    } else if (turn->staged_count > 0) {
        uint32_t taken = take_cells(turn);
        int rc = taken == turn->staged_count ? log_all(turn) : -ENOMEM;
        status = rc == -ENOMEM ? STATUS_MEMORY_FULL : shard_append_status(rc);
        if (status != STATUS_OK) {
            give_cells_back(turn, taken);
        }
    }
    for (uint32_t i = 0; status == STATUS_OK && i < turn->staged_count; i++) {
        const struct staged *staged = &turn->staged[i];
        keeper_commit(shard->keeper, staged->position, key_of(staged), staged->ref);
        shard->cold.shrinks = true;
        struct glance before = staged->before;
        before.expired = before.expired || staged->expired > 0;
        shard_account(shard, staged->position, key_of(staged), before, staged->after,
                      staged->created > 0, staged->destroyed > 0);
    }
    shard_abandon(turn);
    return status;
}
