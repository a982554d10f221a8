#include "restores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "heap.h"
#include "mailbox.h"
#include "plane_private.h"
#include "plane_table.h"
#include "recover.h"
#include "seen.h"
#include "session.h"
#include "shard_thread.h"
#include "slot.h"
#include "slot_table.h"
#include "tasks.h"

enum {
    WINDOW = 256,           /* Records under way. */
    AGAIN_US = 10 * 1000,   /* What could not be stored is tried again. */
    SLOT_HEAD_BYTES = 2 + 8 /* Of plane_restore's `slots`. */
};

const char restores_text[] = "the sessions of this slot are still being restored from the archive";

/* ---- Which slots ---- */

static struct restores_slot *slot_at(const struct shard_thread *thread, uint32_t slot)
{
    return &thread->restores.slots[slot / thread->plane->options.shard_count];
}

static size_t slots_bytes(const struct shard_thread *thread)
{
    const uint32_t shards = thread->plane->options.shard_count;

    return (SLOT_COUNT + shards - 1) / shards * sizeof(struct restores_slot);
}

/* A lost slot's vector counts nothing. Where it was given up, or another owner has brought it back, it goes on from there: with its
 * primary from nothing, which the other owners compare themselves with. */
static void hold(struct shard_thread *thread, const struct slot_table *table, uint32_t slot)
{
    const uint64_t lost = table->lost[slot];
    const bool lacks = lost != 0 && slot_at(thread, slot)->restored != lost;
    const bool ends = !lacks && seen_is_held(shard_seen(thread->shard), slot);

    shard_hold_seen(thread->shard, slot, lacks);
    if (ends && table->owners[slot].nodes[0] == table->self) {
        seen_begin(shard_seen(thread->shard), slot);
    }
}

int restores_set_table(struct shard_thread *thread, const struct slot_table *table)
{
    struct restores *restores = &thread->restores;

    if (restores->slots == NULL && table->lost_count == 0) {
        return 0;
    }
    if (restores->slots == NULL) {
        restores->slots = heap_take(thread->memory, slots_bytes(thread));
        if (restores->slots == NULL) {
            return -ENOMEM;
        }
        memset(restores->slots, 0, slots_bytes(thread));
    }
    for (uint32_t slot = thread->index; slot < SLOT_COUNT;
         slot += thread->plane->options.shard_count) {
        hold(thread, table, slot);
    }
    return 0;
}

void restores_fini(struct shard_thread *thread)
{
    if (thread->restores.slots != NULL) {
        heap_give(thread->memory, thread->restores.slots, slots_bytes(thread));
        thread->restores.slots = NULL;
    }
}

bool restores_lacks(const struct shard_thread *thread, uint32_t slot)
{
    const uint64_t lost = thread->table == NULL ? 0 : thread->table->table->lost[slot];

    return lost != 0 && slot_at(thread, slot)->restored != lost;
}

bool restores_awaits(const struct shard_thread *thread, uint32_t slot)
{
    return restores_lacks(thread, slot) &&
           slot_at(thread, slot)->asked == thread->table->table->lost[slot];
}

bool restores_lacks_any(const struct shard_thread *thread)
{
    const struct slot_table *table = thread->table == NULL ? NULL : thread->table->table;
    uint32_t slot = thread->index;

    if (table == NULL || table->lost_count == 0) {
        return false;
    }
    while (slot < SLOT_COUNT &&
           (!slot_owners_has(&table->owners[slot], table->self) || !restores_lacks(thread, slot))) {
        slot += thread->plane->options.shard_count;
    }
    return slot < SLOT_COUNT;
}

/* What it merges lies here, and not only where another one coordinates the slot. */
static bool coordinates(struct shard_thread *thread, uint32_t slot)
{
    struct copies_route route;

    copies_find(thread, slot, 0, &route);
    return route.kind == ROUTE_LOCAL;
}

bool restores_holds(struct shard_thread *thread, const struct request *request)
{
    const uint32_t slot = slot_of_position(request->position);
    const struct plane_options *options = &thread->plane->options;

    if (!restores_lacks(thread, slot) || request->procedure == &recover_merge) {
        return false;
    }
    const uint64_t lost = thread->table->table->lost[slot];
    if (slot_at(thread, slot)->asked != lost && options->restore_wanted != NULL &&
        coordinates(thread, slot)) {
        slot_at(thread, slot)->asked = lost;
        options->restore_wanted(options->context, slot);
    }
    return true;
}

/* ---- What comes ---- */

struct restore_task {
    struct task task;
    struct plane_restore restore; /* Its buffers are the task's. */
    size_t at;                    /* Behind the window. */
    struct bytes window[WINDOW];  /* Records, as plane_restore has them; an empty one is done. */
    uint32_t count, flying;
    bool asking; /* Answers may come from within it. */
    bool told;
    struct plane_restored result;
};

static struct restore_task *restore_of(struct task *task)
{
    return container_of(task, struct restore_task, task);
}

static void tell(struct restore_task *restore, int rc)
{
    if (!restore->told) {
        restore->told = true;
        restore->result.rc = rc;
        restore->restore.done(restore->restore.context, &restore->result);
    }
}

static void end(struct shard_thread *thread, struct restore_task *restore, int rc)
{
    tell(restore, rc);
    task_over(thread, &restore->task);
}

static void free_restore(struct shard_thread *thread, struct task *task)
{
    struct restore_task *restore = restore_of(task);

    tell(restore, -ECANCELED);
    buffer_fini(&restore->restore.records);
    buffer_fini(&restore->restore.slots);
    heap_give(thread->memory, restore, sizeof *restore);
}

/* The next records. Returns whether there are any. */
static bool fill(struct restore_task *restore)
{
    const struct bytes records = buffer_bytes(&restore->restore.records);
    struct reader from =
        reader_of(bytes_of(records.data + restore->at, records.size - restore->at));

    restore->count = 0;
    while (restore->count < WINDOW && reader_left(&from) > 0) {
        const uint8_t *item = from.at;
        (void)read_u64(&from);
        (void)read_string(&from);
        restore->window[restore->count++] = bytes_of(item, (size_t)(from.at - item));
    }
    restore->at = records.size - reader_left(&from);
    return restore->count > 0;
}

/* The slot is not whole by this: who waits for it here asks anew. */
static void miss(struct shard_thread *thread, struct restore_task *restore, uint32_t slot,
                 uint64_t lost)
{
    if (thread->restores.slots != NULL && slot_at(thread, slot)->asked == lost) {
        slot_at(thread, slot)->asked = 0;
    }
    restore->restore.missed(restore->restore.context, slot, lost);
}

static bool is_lost(const struct shard_thread *thread, uint32_t slot, uint64_t lost)
{
    return thread->table != NULL && thread->table->table->lost[slot] == lost;
}

/* The slots are whole now, but those that are not known as lost, or that another node coordinates. */
static void take_slots(struct shard_thread *thread, struct restore_task *restore)
{
    struct reader from = reader_of(buffer_bytes(&restore->restore.slots));

    while (reader_left(&from) >= SLOT_HEAD_BYTES) {
        const uint32_t low = read_u8(&from), slot = low | (uint32_t)read_u8(&from) << 8;
        const uint64_t lost = read_u64(&from);
        const struct bytes vector = read_string(&from);
        if (is_lost(thread, slot, lost) && !restores_lacks(thread, slot)) {
            continue; /* It was whole before. */
        }
        if (is_lost(thread, slot, lost) && coordinates(thread, slot)) {
            slot_at(thread, slot)->restored = lost;
            shard_begin_slot_seen(thread->shard, slot, vector);
        } else {
            miss(thread, restore, slot, lost);
        }
    }
}

/* What is to be asked again moves to the front. */
static uint32_t keep_undone(struct restore_task *restore)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < restore->count; i++) {
        if (restore->window[i].size > 0) {
            restore->window[kept++] = restore->window[i];
        }
    }
    restore->count = kept;
    return kept;
}

/* A record, where it is still awaited, its time has come, and this node coordinates it: elsewhere it would not help the slot here. One of a slot that
 * is whole by what came before, and has gone on since, is passed over. */
static void ask_one(struct shard_thread *thread, struct restore_task *restore, uint32_t part)
{
    struct reader item = reader_of(restore->window[part]);
    const uint64_t lost = read_u64(&item);
    const struct bytes body = bytes_of(item.at, reader_left(&item));
    const struct bytes record = read_string(&item), key = session_key(record);
    const uint32_t slot = slot_of_key(key);
    struct request request = {
        .op = REQUEST_WRITE,
        .mode = WRITE_UPSERT,
        .ack = ACK_REPLICA,
        .key = key,
        .body = body,
        .procedure = &recover_merge,
    };

    const bool known = is_lost(thread, slot, lost), lacks = restores_lacks(thread, slot);
    const bool ahead = recover_is_ahead(record, thread->now_ms);
    if (known && lacks && ahead) {
        restore->restore.ahead(restore->restore.context, key);
    } else if (known && lacks && coordinates(thread, slot)) {
        restore->flying++;
        task_ask(thread, &restore->task, &request, part);
        return;
    }
    restore->window[part] = bytes_of(NULL, 0);
    if (!known || lacks) {
        miss(thread, restore, slot, lost);
    }
}

static void begin(struct shard_thread *thread, struct task *task)
{
    struct restore_task *restore = restore_of(task);

    if (thread->stopping) {
        end(thread, restore, -ECANCELED);
        return;
    }
    if (restore->count == 0 && !fill(restore)) {
        take_slots(thread, restore);
        end(thread, restore, 0);
        return;
    }
    restore->asking = true;
    for (uint32_t i = 0; i < restore->count; i++) {
        ask_one(thread, restore, i);
    }
    restore->asking = false;
    if (restore->flying == 0) {
        task_go_on(thread, task, keep_undone(restore) > 0 ? AGAIN_US : 0);
    }
}

/* Will it never be stored? */
static bool is_final(enum status status)
{
    return status == STATUS_INVALID || status == STATUS_DAMAGED || status == STATUS_KEY_TOO_LARGE ||
           status == STATUS_SESSION_TOO_LARGE || status == STATUS_TOO_MANY_FIELDS ||
           status == STATUS_UNSUPPORTED;
}

/* It is merged, or never will be. */
static void settle(struct shard_thread *thread, struct restore_task *restore, struct bytes item,
                   enum status status)
{
    struct reader from = reader_of(item);
    const uint64_t lost = read_u64(&from);
    const struct bytes key = session_key(read_string(&from));

    restore->result.merged += status == STATUS_OK;
    restore->result.refused += status != STATUS_OK;
    if (status != STATUS_OK) {
        restore->restore.refused(restore->restore.context, key, status);
    } else if (!coordinates(thread, slot_of_key(key))) {
        miss(thread, restore, slot_of_key(key), lost); /* It may have gone elsewhere. */
    }
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct restore_task *restore = restore_of(task);

    restore->flying--;
    if (answer->status == STATUS_OK || is_final(answer->status)) {
        settle(thread, restore, restore->window[answer->part], answer->status);
        restore->window[answer->part] = bytes_of(NULL, 0);
    }
    if (!restore->asking && restore->flying == 0) {
        task_go_on(thread, task, keep_undone(restore) > 0 ? AGAIN_US : 0);
    }
}

static const struct task_kind restore_kind = {
    .begin = begin,
    .answered = answered,
    .free = free_restore,
};

void restores_take(struct shard_thread *thread, struct mail *mail)
{
    struct restore_task *restore = heap_take(thread->memory, sizeof *restore);

    if (restore == NULL) {
        return; /* The mail tells it as it goes. */
    }
    memset(restore, 0, sizeof *restore);
    restore->restore = *mail->restore;
    free(mail->restore);
    mail->restore = NULL;
    task_add(thread, &restore->task, &restore_kind);
}
