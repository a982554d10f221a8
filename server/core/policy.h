/* Policies: settings of sessions, chosen by the longest matching key prefix.
 *
 * The empty prefix always has one: the defaults. Threads: never changes after policies_init(); a new
 * table replaces the old one.
 */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "limits.h"
#include "session.h"
#include "status.h"

enum { POLICIES_MAX = 256, POLICY_PREFIX_BYTES_MAX = 128 };

enum conflict_view { CONFLICT_NEWEST = 0, CONFLICT_SIBLINGS = 1 };

/* A write of level `replica` where no other owner of its slot can be reached: it waits for the disk, or is refused. */
enum no_replica { NO_REPLICA_DEGRADE = 0, NO_REPLICA_REFUSE = 1 };

struct policy {
    char prefix[POLICY_PREFIX_BYTES_MAX + 1];
    uint32_t prefix_size;
    enum ack_level ack;
    bool touch_on_read;
    enum conflict_view conflict_view;
    enum no_replica on_no_replica;
    struct session_rules rules;
};

struct policies {
    uint32_t count;
    struct policy rows[POLICIES_MAX]; /* The longest prefix first, then in byte order. */
    uint32_t group_count;             /* Groups of rows with prefixes of one size. */
    struct policy_group {
        uint32_t prefix_size, begin, end;
    } groups[POLICY_PREFIX_BYTES_MAX + 1];
};

/* The built-in defaults: ack replica, no TTLs, no_resurrect off, the limits of limits.h. */
void policy_defaults(struct policy *policy);

/* Take a table, in any order; a missing empty prefix gets the defaults.
 * Returns 0; -E2BIG: too many (the empty one included) or too long a prefix; -EEXIST when one comes
 * twice. The table is of no use then. */
int policies_init(struct policies *policies, const struct policy rows[], uint32_t count);

/* The policy of a key: never NULL. */
const struct policy *policy_of_key(const struct policies *policies, struct bytes key);

#endif
