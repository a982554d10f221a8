#include "position_set.h"

#include <errno.h>
#include <string.h>

enum { CAPACITY_MIN = 1024 };

void position_set_init(struct position_set *set, struct memory *memory)
{
    *set = (struct position_set){.memory = memory};
}

static size_t table_bytes(size_t capacity)
{
    return capacity * sizeof(uint64_t);
}

void position_set_fini(struct position_set *set)
{
    if (set->table != NULL) {
        set->memory->resize(set->memory, set->table, table_bytes(set->capacity), 0);
    }
    position_set_init(set, set->memory);
}

/* Where a position is, or an unused place. Positions are hashes but for their slot, which comes first. */
static size_t place_of(const uint64_t table[], size_t capacity, uint64_t position)
{
    size_t at = (size_t)(position ^ position >> 50) & (capacity - 1);

    while (table[at] != 0 && table[at] != position) {
        at = (at + 1) & (capacity - 1);
    }
    return at;
}

static int grow(struct position_set *set)
{
    size_t capacity = set->capacity == 0 ? CAPACITY_MIN : set->capacity * 2;
    uint64_t *table = set->memory->resize(set->memory, NULL, 0, table_bytes(capacity));

    if (table == NULL) {
        return -ENOMEM;
    }
    memset(table, 0, table_bytes(capacity));
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->table[i] != 0) {
            table[place_of(table, capacity, set->table[i])] = set->table[i];
        }
    }
    if (set->table != NULL) {
        set->memory->resize(set->memory, set->table, table_bytes(set->capacity), 0);
    }
    set->table = table;
    set->capacity = capacity;
    return 0;
}

int position_set_add(struct position_set *set, uint64_t position)
{
    if (position == 0) {
        set->has_zero = true;
        return 0;
    }
    if ((set->count + 1) * 4 > set->capacity * 3) {
        int rc = grow(set);
        if (rc != 0) {
            return rc;
        }
    }
    size_t at = place_of(set->table, set->capacity, position);
    set->count += set->table[at] == 0;
    set->table[at] = position;
    return 0;
}

bool position_set_has(const struct position_set *set, uint64_t position)
{
    if (position == 0) {
        return set->has_zero;
    }
    return set->capacity != 0 &&
           set->table[place_of(set->table, set->capacity, position)] == position;
}

bool position_set_next(const struct position_set *set, size_t *at, uint64_t *position)
{
    for (; *at < set->capacity; (*at)++) {
        if (set->table[*at] != 0) {
            *position = set->table[(*at)++];
            return true;
        }
    }
    if (*at == set->capacity && set->has_zero) {
        *position = 0;
        (*at)++;
        return true;
    }
    return false;
}
