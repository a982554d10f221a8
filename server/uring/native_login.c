#include "native_login.h"

#include <stdio.h>

#include "batch.h"
#include "native_door.h"
#include "plane_private.h"
#include "resp_door.h"
#include "shard_thread.h"

bool native_must_follow(struct shard_thread *thread, const struct connection *connection)
{
    if (connection->batched > 0) {
        batch_run(thread);
    }
    return connection->stalled;
}

bool native_log_in(struct shard_thread *thread, struct connection *connection,
                   const struct frame *frame, const struct native_hello *asked, struct bytes whole)
{
    uint32_t wait_ms = 0;
    char text[96];

    if (thread->plane->options.users == NULL) {
        return true;
    }
    if (native_must_follow(thread, connection)) {
        connection_put_off(thread, connection, whole);
        return false;
    }
    switch (login_ask(thread, connection, asked->user, asked->password, &wait_ms)) {
    case LOGIN_RIGHT:
        return true;
    case LOGIN_PENDING:
        connection_put_off(thread, connection, whole);
        break;
    case LOGIN_LIMITED:
        snprintf(text, sizeof text, "too many failed logins from this address; try again in %u s",
                 (wait_ms + 999) / 1000);
        native_status(thread, connection, frame->type, frame->request_id, STATUS_BUSY, text);
        break;
    case LOGIN_BUSY:
        native_status(thread, connection, frame->type, frame->request_id, STATUS_BUSY,
                      "too many logins wait to be checked");
        break;
    case LOGIN_WRONG:
        native_status(thread, connection, frame->type, frame->request_id, STATUS_DENIED,
                      asked->user.size == 0 ? "this server has users: give one, with its password"
                                            : "no such user, or not its password");
        break;
    }
    return false;
}

/* ---- Rights ---- */

bool native_may(const struct shard_thread *thread, const struct connection *connection,
                enum role role, struct bytes start)
{
    struct bytes key = start;
    uint32_t database;

    if (thread->plane->options.users == NULL) {
        return true;
    }
    return login_may(thread, connection, role, resp_find_database(&key, &database) ? key : start);
}

enum role native_role_of(enum request_op op)
{
    return op == REQUEST_WRITE ? ROLE_WRITE : op == REQUEST_INSPECT ? ROLE_ADMIN : ROLE_READ;
}

void native_deny(struct shard_thread *thread, struct connection *connection,
                 const struct frame *frame)
{
    native_status(thread, connection, frame->type, frame->request_id, STATUS_DENIED, NULL);
}

bool native_may_all(const struct shard_thread *thread, const struct connection *connection,
                    struct native_many list)
{
    struct request request;
    bool all = true;

    for (uint32_t i = 0; all && i < list.count; i++) {
        native_many_next(&list, &request);
        all = native_may(thread, connection, native_role_of(request.op), request.key);
    }
    return all;
}
