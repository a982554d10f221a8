/* Each node of a run computes the same placement from the same map: here it is computed once. The program is linked so that
 * calls of placement_make() come here (meson.build). */
#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "placement.h"

enum { KEPT = 32 };

int __wrap_placement_make(struct placement_work *work, const struct placement_member members[],
                          uint32_t count, uint32_t replicas,
                          const struct slot_owners before[SLOT_COUNT],
                          struct slot_owners after[SLOT_COUNT]);
int __real_placement_make(struct placement_work *work, const struct placement_member members[],
                          uint32_t count, uint32_t replicas,
                          const struct slot_owners before[SLOT_COUNT],
                          struct slot_owners after[SLOT_COUNT]);

struct kept {
    XXH128_hash_t of;
    struct slot_owners owners[SLOT_COUNT];
};

static struct kept kept[KEPT];
static uint32_t next;

/* Of all that the result depends on. */
static XXH128_hash_t hash_of(const struct placement_member members[], uint32_t count,
                             uint32_t replicas, const struct slot_owners before[SLOT_COUNT])
{
    const uint32_t numbers[] = {count, replicas, before != NULL};
    XXH128_hash_t parts[3] = {
        XXH3_128bits(numbers, sizeof numbers),
        XXH3_128bits(members, count * sizeof members[0]),
    };

    if (before != NULL) {
        parts[2] = XXH3_128bits(before, SLOT_COUNT * sizeof before[0]);
    }
    return XXH3_128bits(parts, sizeof parts);
}

int __wrap_placement_make(struct placement_work *work, const struct placement_member members[],
                          uint32_t count, uint32_t replicas,
                          const struct slot_owners before[SLOT_COUNT],
                          struct slot_owners after[SLOT_COUNT])
{
    static_assert(sizeof(struct placement_member) == 3 * sizeof(uint32_t), "it has no holes");
    XXH128_hash_t of = hash_of(members, count, replicas, before);

    for (uint32_t i = 0; i < KEPT; i++) {
        if (XXH128_isEqual(kept[i].of, of)) {
            memcpy(after, kept[i].owners, sizeof kept[i].owners);
            return 0;
        }
    }
    int rc = __real_placement_make(work, members, count, replicas, before, after);
    if (rc == 0) {
        memcpy(kept[next].owners, after, sizeof kept[next].owners);
        kept[next].of = of;
        next = (next + 1) % KEPT;
    }
    return rc;
}
