#include "calls.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bounds.h"
#include "heap.h"
#include "slowlog.h"

enum { TICKET_INDEX_MASK = 0xffffff };

static_assert((int)TICKETS_MAX <= (int)TICKET_INDEX_MASK, "an index fits its bits");
static_assert(SHARDS_MAX <= 255, "a shard fits its bits");

void calls_init(struct calls *calls, uint32_t shard, struct memory *memory)
{
    *calls = (struct calls){.shard = shard, .memory = memory};
}

static void held_free(struct calls *calls, struct held *held)
{
    heap_give(calls->memory, held, sizeof *held + held->capacity);
}

static void held_give(struct calls *calls, struct held *held)
{
    if (held->capacity != HELD_BYTES || calls->held_free_count >= HELD_KEPT) {
        held_free(calls, held);
        return;
    }
    held->next = calls->held_free;
    calls->held_free = held;
    calls->held_free_count++;
}

void calls_fini(struct calls *calls)
{
    for (uint32_t i = 0; i < calls->size; i++) {
        if (calls->table[i].held != NULL) {
            held_free(calls, calls->table[i].held);
        }
        if ((calls->table[i].generation & 1) != 0 && calls->table[i].slow != NULL) {
            slow_drop(calls->table[i].slow);
        }
    }
    while (calls->held_free != NULL) {
        struct held *next = calls->held_free->next;
        held_free(calls, calls->held_free);
        calls->held_free = next;
    }
    heap_give(calls->memory, calls->table, calls->capacity * sizeof *calls->table);
    *calls = (struct calls){.memory = calls->memory};
}

static bool grow(struct calls *calls)
{
    uint32_t capacity = calls->capacity == 0 ? 256 : calls->capacity * 2;

    if (calls->capacity >= TICKETS_MAX) {
        return false;
    }
    struct call *table = calls->memory->resize(
        calls->memory, calls->table, calls->capacity * sizeof *table, capacity * sizeof *table);
    if (table == NULL) {
        return false;
    }
    calls->table = table;
    calls->capacity = capacity;
    return true;
}

uint64_t calls_take(struct calls *calls, struct call **taken)
{
    uint32_t index, generation = 1;

    if (calls->free != 0) {
        index = calls->free - 1;
        calls->free = calls->table[index].next;
        generation = calls->table[index].generation + 1;
    } else {
        if (calls->size == calls->capacity && !grow(calls)) {
            return 0;
        }
        index = calls->size++;
    }
    struct call *call = &calls->table[index];
    *call = (struct call){.generation = generation};
    calls->used++;
    *taken = call;
    return (uint64_t)generation << 32 | (uint64_t)calls->shard << 24 | index;
}

struct call *calls_find(struct calls *calls, uint64_t ticket)
{
    uint32_t index = (uint32_t)ticket & TICKET_INDEX_MASK;

    if (index >= calls->size || ticket_shard(ticket) != calls->shard) {
        return NULL;
    }
    struct call *call = &calls->table[index];
    return call->generation == (uint32_t)(ticket >> 32) && (call->generation & 1) != 0 ? call
                                                                                       : NULL;
}

void calls_give(struct calls *calls, struct call *call)
{
    assert((call->generation & 1) != 0 && calls->used > 0 && call->away == NULL);
    if (call->held != NULL) {
        held_give(calls, call->held);
        call->held = NULL;
    }
    if (call->slow != NULL) {
        slow_drop(call->slow);
        call->slow = NULL;
    }
    call->generation++;
    call->next = calls->free;
    calls->free = (uint32_t)(call - calls->table) + 1;
    calls->used--;
}

int calls_hold(struct calls *calls, struct call *call, struct bytes answer)
{
    struct held *held = calls->held_free;

    assert(call->held == NULL);
    if (answer.size <= HELD_BYTES && held != NULL) {
        calls->held_free = held->next;
        calls->held_free_count--;
    } else {
        size_t capacity = answer.size > HELD_BYTES ? answer.size : HELD_BYTES;
        held = heap_take(calls->memory, sizeof *held + capacity);
        if (held == NULL) {
            return -ENOMEM;
        }
        held->capacity = (uint32_t)capacity;
    }
    held->size = (uint32_t)answer.size;
    memcpy(held->data, answer.data, answer.size);
    call->held = held;
    return 0;
}
