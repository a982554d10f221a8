/* The users of a node while it runs: a table that another can take the place of.
 *
 * Whoever is logged in keeps a pointer to the user, which is good as long as the roster. Users that stay as they are stay
 * where they are; one that is changed has a successor, and one that is gone, or has lost a password, has none:
 * user_now() (users.h) tells. So a change holds for everybody at once, and nobody need be told of it.
 *
 * Memory: a user is some 5 KiB; those that were changed or are gone stay until the end, ROSTER_USERS_MAX in all.
 * Threads: any.
 */
#ifndef ROSTER_H
#define ROSTER_H

#include <stdint.h>

#include "bytes.h"
#include "users.h"

enum { ROSTER_USERS_MAX = 1024 };

struct roster; /* private to roster.c */

struct roster_change {
    uint32_t added, changed, removed;
};

/* Returns 0 or -ENOMEM. */
int roster_create(const struct users *users, struct roster **created);
/* When nobody has a user of it any more. NULL: nothing. */
void roster_destroy(struct roster *roster);

/* These are the users now. Returns 0 with `change`; nothing is changed at -ENOMEM, or at -ENOSPC: users were changed so
 * often that there are ROSTER_USERS_MAX. */
int roster_set(struct roster *roster, const struct users *users, struct roster_change *change);

/* Returns NULL where there is no such user. */
const struct user *roster_find(struct roster *roster, struct bytes name);

/* All users, in the order of the configuration. Returns their number. */
uint32_t roster_list(struct roster *roster, const struct user *rows[USERS_MAX]);

#endif
