/* [user "NAME"] sections: checked, and in the form that doors use. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "password.h"

bool config_is_loopback(const char *address)
{
    struct in6_addr v6;
    struct in_addr v4;

    if (inet_pton(AF_INET, address, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, address, &v6) != 1) {
        return false;
    }
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static int take_hash(const struct config_user *user, const char *key, const char *hash, char *to,
                     char *message, size_t message_size)
{
    const char *problem = hash[0] == '\0' ? NULL : password_hash_problem(hash);

    if (problem != NULL) {
        snprintf(message, message_size, "user \"%s\": %s: %s", user->name, key, problem);
        return -EINVAL;
    }
    memcpy(to, hash, strlen(hash) + 1);
    return 0;
}

static int take_grants(const struct config_user *from, struct user *to, enum role role,
                       const char *key, const char *prefixes, char *message, size_t message_size)
{
    int rc = user_grant(to, role, prefixes);

    if (rc == -EMSGSIZE) {
        snprintf(message, message_size, "user \"%s\": %s: a prefix is longer than %d bytes",
                 from->name, key, USER_PREFIX_BYTES_MAX);
    } else if (rc == -E2BIG) {
        snprintf(message, message_size, "user \"%s\": more than %d prefixes", from->name,
                 USER_GRANTS_MAX);
    } else if (rc != 0) {
        snprintf(message, message_size,
                 "user \"%s\": %s: '%.100s' is not valid: prefixes in quotes, separated by blanks, "
                 "such as \"web:\" \"cart:\"",
                 from->name, key, prefixes);
    }
    return rc;
}

int config_user(const struct config_user *from, struct user *to, char *message, size_t message_size)
{
    const struct {
        enum role role;
        const char *key, *prefixes;
    } roles[] = {
        {ROLE_READ, "read", from->read},
        {ROLE_WRITE, "write", from->write},
        {ROLE_ADMIN, "admin", from->admin},
    };

    memcpy(to->name, from->name, sizeof to->name);
    if (from->password[0] == '\0') {
        snprintf(message, message_size,
                 "user \"%s\": password is missing: put there what `belayctl password` prints",
                 from->name);
        return -EINVAL;
    }
    int rc = take_hash(from, "password", from->password, to->hashes[0], message, message_size);
    if (rc == 0) {
        rc = take_hash(from, "password_next", from->password_next, to->hashes[1], message,
                       message_size);
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0] && rc == 0; i++) {
        rc = take_grants(from, to, roles[i].role, roles[i].key, roles[i].prefixes, message,
                         message_size);
    }
    return rc;
}

int config_users(const struct config *config, struct users *users, uint32_t *line, char *message,
                 size_t message_size)
{
    memset(users, 0, sizeof *users);
    for (uint32_t i = 0; i < config->user_count; i++) {
        if (config_user(&config->users[i], &users->rows[i], message, message_size) != 0) {
            *line = config->users[i].line;
            return -EINVAL;
        }
        users->count++;
    }
    return 0;
}
