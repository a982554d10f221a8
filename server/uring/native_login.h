/* Logins and rights at the native door (login.h).
 *
 * Threads: the connection's shard's.
 */
#ifndef NATIVE_LOGIN_H
#define NATIVE_LOGIN_H

#include "connection.h"
#include "frame.h"
#include "login.h"
#include "native_request.h"

/* Must a request that is begun whole or not at all be put off? Those before it come first: they are executed now, and where
 * one is put off this one is to be, too. */
bool native_must_follow(struct shard_thread *thread, const struct connection *connection);

/* Returns whether the client is who it says, or need not say it. Else it was answered, or the request put off. */
bool native_log_in(struct shard_thread *thread, struct connection *connection,
                   const struct frame *frame, const struct native_hello *asked, struct bytes whole);

/* What an operation on a key wants of who asks. */
enum role native_role_of(enum request_op op);

/* login_may() of a key as it is kept: a database's prefix does not count. */
bool native_may(const struct shard_thread *thread, const struct connection *connection,
                enum role role, struct bytes start);

/* May the client do what a list asks, with every key of it? */
bool native_may_all(const struct shard_thread *thread, const struct connection *connection,
                    struct native_many list);

/* Answer that it may not. */
void native_deny(struct shard_thread *thread, struct connection *connection,
                 const struct frame *frame);

#endif
