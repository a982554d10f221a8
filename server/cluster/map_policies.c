#include "map_policies.h"

#include <errno.h>
#include <string.h>

#include "map_parts.h"

/* Where the prefix is, or would be. */
static uint32_t policy_place(const struct map *map, struct bytes prefix, bool *found)
{
    uint32_t at = 0;

    while (at < map->policy_count &&
           bytes_compare(map_policy_prefix(&map->policies[at]), prefix) < 0) {
        at++;
    }
    *found = at < map->policy_count && bytes_equal(map_policy_prefix(&map->policies[at]), prefix);
    return at;
}

static bool policy_equal(const struct policy *a, const struct policy *b)
{
    return a->ack == b->ack && a->touch_on_read == b->touch_on_read &&
           a->conflict_view == b->conflict_view && a->on_no_replica == b->on_no_replica &&
           a->rules.session_bytes_max == b->rules.session_bytes_max &&
           a->rules.fields_max == b->rules.fields_max &&
           a->rules.idle_ttl_ms == b->rules.idle_ttl_ms &&
           a->rules.absolute_ttl_ms == b->rules.absolute_ttl_ms &&
           a->rules.tombstone_keep_ms == b->rules.tombstone_keep_ms &&
           a->rules.no_resurrect == b->rules.no_resurrect;
}

int map_policies_set(struct map *map, const struct policy *policy)
{
    bool found = false;

    if (!map_policy_good(policy)) {
        return -EINVAL;
    }
    uint32_t at = policy_place(map, map_policy_prefix(policy), &found);
    if (found && policy_equal(&map->policies[at], policy)) {
        return -EALREADY;
    }
    if (!found) {
        if (map->policy_count == POLICIES_MAX - 1) {
            return -E2BIG;
        }
        memmove(&map->policies[at + 1], &map->policies[at],
                (map->policy_count - at) * sizeof map->policies[0]);
        map->policy_count++;
    }
    map->policies[at] = *policy;
    return 0;
}

int map_policies_remove(struct map *map, const struct policy *policy)
{
    bool found = false;

    if (policy->prefix_size > POLICY_PREFIX_BYTES_MAX) {
        return -EINVAL;
    }
    uint32_t at = policy_place(map, map_policy_prefix(policy), &found);
    if (!found) {
        return -ENOENT;
    }
    map->policy_count--;
    memmove(&map->policies[at], &map->policies[at + 1],
            (map->policy_count - at) * sizeof map->policies[0]);
    return 0;
}
