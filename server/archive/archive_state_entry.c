/* A state's sessions by their keys: a table of what was joined so far of each, and its memory. */
#include <errno.h>
#include <string.h>

#include "archive_state_private.h"
#include "keeper.h"

enum { ENTRIES_FIRST = 256 };

int state_count_bytes(struct archive_state *state, uint64_t size)
{
    state->bytes += size;
    return state->bytes_max != 0 && state->bytes > state->bytes_max ? -EFBIG : 0;
}

static void give(struct memory *memory, void *block, size_t size)
{
    if (block != NULL) {
        memory->resize(memory, block, size, 0);
    }
}

/* The place of a key in the table: its entry's, or a free one. */
static size_t place_of(const struct archive_state *state, uint64_t position, struct bytes key)
{
    /* The upper bits are the slot; a range has few of them. */
    size_t place = (size_t)(position * UINT64_C(0x9e3779b97f4a7c15)) & (state->table_size - 1);

    while (state->table[place] != 0) {
        const struct state_entry *entry = &state->entries[state->table[place] - 1];
        if (entry->position == position && bytes_equal(state_key(entry), key)) {
            break;
        }
        place = (place + 1) & (state->table_size - 1);
    }
    return place;
}

/* Room for one more entry, in the array and in the table, which is at most half full. Returns 0 or -ENOMEM. */
static int make_room(struct archive_state *state)
{
    struct memory *memory = state->memory;

    if (state->entry_count < state->entry_capacity) {
        return 0;
    }
    size_t capacity = state->entry_capacity == 0 ? ENTRIES_FIRST : state->entry_capacity * 2;
    size_t table_bytes = 2 * capacity * sizeof *state->table;
    uint32_t *table = memory->resize(memory, NULL, 0, table_bytes);
    if (table == NULL) {
        return -ENOMEM;
    }
    uint32_t *order = memory->resize(memory, NULL, 0, capacity * sizeof *order);
    struct state_entry *entries =
        order == NULL
            ? NULL
            : memory->resize(memory, state->entries, state->entry_capacity * sizeof *entries,
                             capacity * sizeof *entries);
    if (entries == NULL) {
        give(memory, order, capacity * sizeof *order);
        give(memory, table, table_bytes);
        return -ENOMEM;
    }
    memset(table, 0, table_bytes);
    give(memory, state->table, state->table_size * sizeof *state->table);
    give(memory, state->order, state->entry_capacity * sizeof *state->order);
    state->order = order;
    state->entries = entries;
    state->entry_capacity = capacity;
    state->table = table;
    state->table_size = 2 * capacity;
    for (size_t i = 0; i < state->entry_count; i++) {
        size_t place = place_of(state, entries[i].position, state_key(&entries[i]));
        table[place] = (uint32_t)i + 1;
    }
    return 0;
}

int state_take_entry(struct archive_state *state, struct bytes key, struct bytes record,
                     struct state_entry **found)
{
    const struct bytes kept = record.size > 0 ? record : key;
    uint64_t position = keeper_position(0, key);

    int rc = make_room(state);
    if (rc != 0) {
        return rc;
    }
    size_t place = place_of(state, position, key);
    bool made = state->table[place] == 0;
    if (made) {
        rc = state_count_bytes(state, kept.size);
        if (rc != 0) {
            return rc;
        }
        uint8_t *copy = archive_arena_take(&state->arena, kept.size);
        if (copy == NULL) {
            return -ENOMEM;
        }
        memcpy(copy, kept.data, kept.size);
        struct state_entry *entry = &state->entries[state->entry_count++];
        *entry = (struct state_entry){
            .position = position,
            .room = (uint32_t)kept.size,
            .held = {.memory = state->memory},
            .known = {.memory = state->memory},
        };
        if (record.size > 0) {
            entry->record = copy;
            entry->record_size = (uint32_t)record.size;
        } else {
            entry->key = copy;
            entry->key_size = (uint32_t)key.size;
        }
        state->table[place] = (uint32_t)state->entry_count;
    }
    *found = &state->entries[state->table[place] - 1];
    return made;
}

int state_set_record(struct archive_state *state, struct state_entry *entry, struct bytes record)
{
    uint8_t *room = entry->record != NULL ? entry->record : entry->key;

    if (record.size > entry->room) {
        size_t size = record.size + (entry->record != NULL ? record.size / 2 : 0);
        int rc = state_count_bytes(state, size);
        if (rc != 0) {
            return rc;
        }
        room = archive_arena_take(&state->arena, size);
        if (room == NULL) {
            return -ENOMEM;
        }
        entry->room = (uint32_t)size;
    }
    memcpy(room, record.data, record.size);
    entry->key = NULL;
    entry->key_size = 0;
    entry->record = room;
    entry->record_size = (uint32_t)record.size;
    return 0;
}

void state_put_in_order(struct archive_state *state)
{
    uint32_t places[SLOT_COUNT] = {0}, place = 0;

    for (size_t i = 0; i < state->entry_count; i++) {
        places[state_slot(&state->entries[i])]++;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const uint32_t count = places[slot];
        places[slot] = place;
        place += count;
    }
    for (size_t i = 0; i < state->entry_count; i++) {
        state->order[places[state_slot(&state->entries[i])]++] = (uint32_t)i;
    }
}

void state_clear_entries(struct archive_state *state)
{
    for (size_t i = 0; i < state->entry_count; i++) {
        buffer_fini(&state->entries[i].held);
        buffer_fini(&state->entries[i].known);
    }
    archive_arena_clear(&state->arena);
    if (state->table != NULL) {
        memset(state->table, 0, state->table_size * sizeof *state->table);
    }
    state->entry_count = 0;
    state->bytes = 0;
}

void state_free_entries(struct archive_state *state)
{
    give(state->memory, state->entries, state->entry_capacity * sizeof *state->entries);
    give(state->memory, state->table, state->table_size * sizeof *state->table);
    give(state->memory, state->order, state->entry_capacity * sizeof *state->order);
    archive_arena_fini(&state->arena);
}
