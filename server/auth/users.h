/* Users: who may do what, by the prefix of the key.
 *
 * A user has grants: a role and a prefix. A role includes those before it. Whoever may do something with a prefix may do
 * it with every key that begins so; the empty prefix is every key, and a role with it is one for the whole node.
 *
 * Pure. Memory: plain data of about 160 KiB: keep it off the stack. Threads: any, once it is filled.
 */
#ifndef USERS_H
#define USERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    USERS_MAX = 32,
    USER_NAME_BYTES_MAX = 64,
    USER_GRANTS_MAX = 48,
    USER_PREFIX_BYTES_MAX = 64,
    USER_HASHES_MAX = 2, /* A password, and the one that is to replace it. */
    PASSWORD_HASH_BYTES_MAX = 160,
};

enum role {
    ROLE_READ = 1, /* Get sessions. */
    ROLE_WRITE,    /* Change and end them. */
    ROLE_ADMIN, /* See what is stored of them; with the empty prefix: settings, FLUSHALL and the like. */
};

struct grant {
    enum role role;
    uint32_t prefix_size;
    char prefix[USER_PREFIX_BYTES_MAX];
};

struct user {
    char name[USER_NAME_BYTES_MAX + 1];
    char hashes[USER_HASHES_MAX]
               [PASSWORD_HASH_BYTES_MAX + 1]; /* Of passwords (password.h); empty: none. */
    uint32_t grant_count;
    struct grant grants[USER_GRANTS_MAX];
    _Atomic(const struct user *)
        successor; /* In a roster (roster.h), which alone sets it. NULL: it is as it was. */
};

struct users {
    uint32_t count;
    struct user rows[USERS_MAX];
};

/* The successor of users that have none. */
extern const struct user user_nobody;

/* Who is the user now, by the roster's last change? NULL: nobody. */
static inline const struct user *user_now(const struct user *user)
{
    const struct user *next;

    while (user != NULL &&
           (next = atomic_load_explicit(&user->successor, memory_order_acquire)) != NULL) {
        user = next == &user_nobody ? NULL : next;
    }
    return user;
}

/* Add grants: prefixes in quotes, separated by blanks, such as `"web:" "cart:"`. Returns 0; -EINVAL: it is not of that form;
 * -EMSGSIZE: a prefix is longer than USER_PREFIX_BYTES_MAX; -E2BIG: more than USER_GRANTS_MAX in all. */
int user_grant(struct user *user, enum role role, const char *prefixes);

/* May the user act so on every key that begins with `start`, which is a key or the fixed beginning of a pattern? */
bool user_may(const struct user *user, enum role role, struct bytes start);

/* The same for the node as a whole. */
static inline bool user_may_all(const struct user *user, enum role role)
{
    return user_may(user, role, bytes_of(NULL, 0));
}

#endif
