/* What the RESP door's own commands share: private to resp_local.c (the connection, the commands, scripts), resp_server.c
 * (the server), resp_pubsub.c and resp_slowlog.c. */
#ifndef RESP_LOCAL_H
#define RESP_LOCAL_H

#include "resp_door.h"

#define REDIS_VERSION "7.2.0" /* Whose commands these are. */

/* One command. */
struct local {
    struct shard_thread *thread;
    struct connection *connection;
    struct resp_session *session;
    const struct command *command;
    struct resp_arguments rest;
    const struct resp_out *out;
    bool *ends;
};

/* The next argument; empty where there is none. */
struct bytes local_next(struct local *local);

/* Replies; each returns 0 or -ENOMEM, as the commands do. */
int local_ok(const struct local *local);
int local_arity_error(const struct local *local, const char *sub);
/* HELP is answered with it, too. */
int local_unknown_sub(const struct local *local, struct bytes sub);

/* The name in upper case. */
enum { LOCAL_NAME_BYTES = 24 };
void local_upper(const char *name, char upper[LOCAL_NAME_BYTES]);

/* HELP of a command (resp_help.c). */
bool local_has_help(const struct command *command);

enum { LOCAL_FULL_NAME_BYTES = 48 };

/* The name of a command as Redis tells it, with its sub-command: "client|reply". `arguments`: what follows the name. */
void local_name(const struct command *command, struct resp_arguments arguments,
                char name[LOCAL_FULL_NAME_BYTES]);
int local_help(const struct local *local);

int local_acl(struct local *local); /* resp_login.c */
int local_config(struct local *local);
int local_info(struct local *local);
int local_pubsub(struct local *local);
int local_role(const struct local *local);
int local_slowlog(struct local *local);

#endif
