#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TOMBSTONE_KEEP_MS_DEFAULT = 60 * 60 * 1000 };

static struct bytes prefix_of(const struct policy *policy)
{
    return bytes_of(policy->prefix, policy->prefix_size);
}

/* The longest first; no two are equal in a good table. */
static int compare_rows(const void *left, const void *right)
{
    const struct policy *a = left, *b = right;

    if (a->prefix_size != b->prefix_size) {
        return a->prefix_size > b->prefix_size ? -1 : 1;
    }
    return bytes_compare(prefix_of(a), prefix_of(b));
}

static void make_groups(struct policies *policies)
{
    policies->group_count = 0;
    for (uint32_t i = 0; i < policies->count; i++) {
        uint32_t size = policies->rows[i].prefix_size;
        if (i == 0 || size != policies->rows[i - 1].prefix_size) {
            policies->groups[policies->group_count++] =
                (struct policy_group){.prefix_size = size, .begin = i};
        }
        policies->groups[policies->group_count - 1].end = i + 1;
    }
}

/* Binary search among the prefixes of one size. */
static const struct policy *group_find(const struct policies *policies,
                                       const struct policy_group *group, struct bytes prefix)
{
    uint32_t low = group->begin, high = group->end;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = bytes_compare(prefix_of(&policies->rows[middle]), prefix);
        if (order == 0) {
            return &policies->rows[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

void policy_defaults(struct policy *policy)
{
    *policy = (struct policy){
        .ack = ACK_REPLICA,
        .touch_on_read = false,
        .conflict_view = CONFLICT_NEWEST,
        .on_no_replica = NO_REPLICA_DEGRADE,
        .rules =
            {
                .session_bytes_max = SESSION_BYTES_DEFAULT,
                .fields_max = SESSION_FIELDS_MAX,
                .tombstone_keep_ms = TOMBSTONE_KEEP_MS_DEFAULT,
            },
    };
}

int policies_init(struct policies *policies, const struct policy rows[], uint32_t count)
{
    bool has_empty = false;

    if (count > POLICIES_MAX) {
        return -E2BIG;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].prefix_size > POLICY_PREFIX_BYTES_MAX) {
            return -E2BIG;
        }
        has_empty = has_empty || rows[i].prefix_size == 0;
        policies->rows[i] = rows[i];
    }
    if (!has_empty) {
        if (count == POLICIES_MAX) {
            return -E2BIG;
        }
        policy_defaults(&policies->rows[count++]);
    }
    policies->count = count;
    qsort(policies->rows, count, sizeof policies->rows[0], compare_rows);
    for (uint32_t i = 1; i < count; i++) {
        if (compare_rows(&policies->rows[i - 1], &policies->rows[i]) == 0) {
            return -EEXIST;
        }
    }
    make_groups(policies);
    return 0;
}

const struct policy *policy_of_key(const struct policies *policies, struct bytes key)
{
    uint32_t last = policies->group_count - 1; /* The empty prefix, which every key has. */

    for (uint32_t i = 0; i < last; i++) {
        const struct policy_group *group = &policies->groups[i];
        if (group->prefix_size <= key.size) {
            const struct policy *found =
                group_find(policies, group, bytes_of(key.data, group->prefix_size));
            if (found != NULL) {
                return found;
            }
        }
    }
    return &policies->rows[policies->count - 1];
}
