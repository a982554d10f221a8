/* SLOWLOG of the RESP door (slowlog.h). */
#include <stdio.h>

#include "plane_private.h"
#include "resp_local.h"
#include "run.h"
#include "shard_thread.h"

enum { COUNT_USUAL = 10 };

static int get(struct local *local, struct bytes sub)
{
    struct slowlog *slowlog = &local->thread->plane->slowlog;
    int64_t count = COUNT_USUAL;
    char text[160];

    if (local->rest.count > 1) {
        snprintf(
            text, sizeof text,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG HELP.",
            (int)sub.size, (const char *)sub.data);
        return resp_error(local->out, text);
    }
    if (local->rest.count == 1 && (!resp_integer(local_next(local), &count) || count < -1)) {
        return resp_error(local->out, "ERR count should be greater than or equal to -1");
    }
    return slowlog_put(slowlog, count < 0 ? UINT64_MAX : (uint64_t)count, local->out);
}

int local_slowlog(struct local *local)
{
    struct slowlog *slowlog = &local->thread->plane->slowlog;
    struct bytes sub = local_next(local);

    if (run_is(sub, "get")) {
        return get(local, sub);
    }
    if (run_is(sub, "help") && local->rest.count > 0) {
        return local_arity_error(local, "help");
    }
    if (run_is(sub, "len")) {
        return local->rest.count > 0 ? local_arity_error(local, "len")
                                     : resp_number(local->out, slowlog_count(slowlog));
    }
    if (run_is(sub, "reset")) {
        if (local->rest.count > 0) {
            return local_arity_error(local, "reset");
        }
        slowlog_reset(slowlog);
        return local_ok(local);
    }
    return local_unknown_sub(local, sub);
}
