#include "users.h"

#include <errno.h>
#include <string.h>

static int add(struct user *user, enum role role, struct bytes prefix)
{
    if (prefix.size > USER_PREFIX_BYTES_MAX) {
        return -EMSGSIZE;
    }
    if (user->grant_count == USER_GRANTS_MAX) {
        return -E2BIG;
    }
    struct grant *grant = &user->grants[user->grant_count++];
    *grant = (struct grant){.role = role, .prefix_size = (uint32_t)prefix.size};
    if (prefix.size > 0) {
        memcpy(grant->prefix, prefix.data, prefix.size);
    }
    return 0;
}

int user_grant(struct user *user, enum role role, const char *prefixes)
{
    for (const char *at = prefixes + strspn(prefixes, " \t"); *at != '\0';) {
        const char *close = at[0] == '"' ? strchr(at + 1, '"') : NULL;
        if (close == NULL) {
            return -EINVAL;
        }
        int rc = add(user, role, bytes_of(at + 1, (size_t)(close - at - 1)));
        if (rc != 0) {
            return rc;
        }
        at = close + 1;
        if (*at != '\0' && *at != ' ' && *at != '\t') {
            return -EINVAL;
        }
        at += strspn(at, " \t");
    }
    return 0;
}

bool user_may(const struct user *user, enum role role, struct bytes start)
{
    for (uint32_t i = 0; i < user->grant_count; i++) {
        const struct grant *grant = &user->grants[i];
        if (grant->role >= role && grant->prefix_size <= start.size &&
            (grant->prefix_size == 0 ||
             memcmp(grant->prefix, start.data, grant->prefix_size) == 0)) {
            return true;
        }
    }
    return false;
}
