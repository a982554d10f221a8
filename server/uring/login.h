/* Who a connection's client is, once it has said so; both doors ask here.
 *
 * A login that cannot be answered at once (logins.h) is put off by its door, and nothing that the connection sent after it
 * is looked at, until the answer has come; then the door serves the same request anew, and login_ask() has the answer.
 *
 * Threads: the connection's shard's.
 */
#ifndef LOGIN_H
#define LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "logins.h"

struct connection;
struct shard_thread;

/* Part of a connection: 0 but while a login is asked for. */
struct login {
    struct login_answer *answer; /* The heap's; outcome LOGIN_PENDING: it has not come. */
};

/* Log the connection in: on LOGIN_RIGHT it is that user's. LOGIN_PENDING: put the request off; all before it must have been
 * answered or put off before. `wait_ms` is set with LOGIN_LIMITED. */
enum login_outcome login_ask(struct shard_thread *thread, struct connection *connection,
                             struct bytes user, struct bytes password, uint32_t *wait_ms);

/* Must what comes from the connection wait? */
bool login_is_pending(const struct connection *connection);

/* The answer has come (plane_login_answered()). */
void login_take(struct shard_thread *thread, uint64_t token, const struct login_answer *answer);

/* The connection is gone. */
void login_drop(struct shard_thread *thread, struct connection *connection);

/* May the client do that? True for everybody where there are no users, false for who has not logged in. The key, or
 * beginning of keys, is as a client of its database names it. */
bool login_may(const struct shard_thread *thread, const struct connection *connection,
               enum role role, struct bytes start);

/* Was the client somebody who is not there any more, or not with that password? Its connection is to end. */
bool login_is_over(const struct connection *connection);

/* Must the client log in first? */
bool login_is_wanted(const struct shard_thread *thread, const struct connection *connection);

/* Requests may be so large: before a login that is wanted, LOGIN_REQUEST_BYTES_MAX. */
uint32_t login_frame_bytes(const struct shard_thread *thread, const struct connection *connection);

enum { LOGIN_REQUEST_BYTES_MAX = 16 * 1024 };

#endif
