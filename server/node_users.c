#include "node_users.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_private.h"

/* ---- What the threads that check passwords tell ---- */

static void on_login(void *context, uint64_t token, void *carrier,
                     const struct login_answer *answer)
{
    struct node *node = context;

    plane_login_answered(node->plane, token, carrier, answer);
}

static void on_login_failed(void *context, struct bytes name, const char *peer)
{
    struct node *node = context;

    logger_write(node->world.logger, LOG_LEVEL_WARN, "login-failed", LOG_BYTES("user", name),
                 LOG_TEXT("address", peer));
}

/* ---- Opening, and other users ---- */

/* The users of a configuration that was checked; to be freed. */
static struct users *users_of(const struct config *config)
{
    struct users *users = malloc(sizeof *users);
    char message[NODE_MESSAGE_BYTES];
    uint32_t line;

    if (users != NULL) {
        int rc = config_users(config, users, &line, message, sizeof message);
        assert(rc == 0);
    }
    return users;
}

static int make_logins(struct node *node)
{
    const struct logins_listener listener = {on_login, on_login_failed, node};
    struct users *users = users_of(node->world.config);
    int rc = users == NULL ? -ENOMEM : roster_create(users, &node->roster);

    free(users);
    return rc != 0 ? rc : logins_create(node->roster, &listener, &node->logins);
}

int node_users_open(struct node *node, char *message, size_t message_size)
{
    const struct config *config = node->world.config;

    if (config->user_count == 0) {
        bool alone = config_is_loopback(config->listen_address);
        logger_write(node->world.logger, alone ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "no-users",
                     LOG_TEXT("address", config->listen_address),
                     LOG_TEXT("effect", alone ? "whoever is on this machine may read and end every "
                                                "session; others cannot reach it"
                                              : "insecure: whoever reaches it may read and end "
                                                "every session"));
        return 0;
    }
    int rc = make_logins(node);
    if (rc != 0) {
        snprintf(message, message_size, "cannot start checking passwords: %s", strerror(-rc));
    }
    return rc;
}

int node_set_users(struct node *node, const struct config *config, char *message,
                   size_t message_size)
{
    struct roster_change change;

    if ((node->roster == NULL) != (config->user_count == 0)) {
        snprintf(message, message_size,
                 node->roster == NULL
                     ? "there were no users at the start: the first one needs a restart"
                     : "there are no users in it: to do without any needs a restart");
        return -EINVAL;
    }
    if (node->roster == NULL) {
        logger_write(node->world.logger, LOG_LEVEL_INFO, "users-reloaded", LOG_NUMBER("users", 0));
        return 0;
    }
    struct users *users = users_of(config);
    int rc = users == NULL ? -ENOMEM : roster_set(node->roster, users, &change);
    free(users);
    if (rc != 0) {
        snprintf(message, message_size,
                 rc == -ENOSPC ? "users were changed too often since the start: restart the node"
                               : "there is no memory for them");
        return rc;
    }
    plane_users_changed(node->plane);
    logger_write(node->world.logger, LOG_LEVEL_INFO, "users-reloaded",
                 LOG_NUMBER("users", config->user_count), LOG_NUMBER("added", change.added),
                 LOG_NUMBER("changed", change.changed), LOG_NUMBER("removed", change.removed));
    return 0;
}
