/* Commands on keys, whatever is there. */
#include "commands.h"
#include "run.h"

#include <stdio.h>

enum status command_del(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    bool there = turn_view(turn) != NULL;
    enum status status = run_destroy(&run); /* Also of nothing: the policy may want to remember. */
    return status != STATUS_OK ? status : run_number(&run, there);
}

enum status command_exists(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    return run_number(&run, turn_view(turn) != NULL);
}

enum status command_touch(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    return run_number(&run, turn_use(turn) != NULL);
}

enum status command_type(struct turn *turn)
{
    static const char *const names[] = {"none", "string", "hash", "set", "zset"};
    struct run run;

    run_begin(&run, turn);
    const struct session_view *view = turn_view(turn);
    return run_end(resp_simple(&run.out, names[view == NULL ? SESSION_NONE : view->type]));
}

/* ---- Deadlines ---- */

struct expire_options {
    bool none, some, later, earlier; /* NX, XX, GT, LT. */
};

/* Returns 1, or 0 with the error appended. */
static int read_expire_options(struct run *run, struct expire_options *options, enum status *status)
{
    while (run->rest.count > 0) {
        struct bytes word = run_next(run);
        if (run_is(word, "nx")) {
            options->none = true;
        } else if (run_is(word, "xx")) {
            options->some = true;
        } else if (run_is(word, "gt")) {
            options->later = true;
        } else if (run_is(word, "lt")) {
            options->earlier = true;
        } else {
            char text[96];
            snprintf(text, sizeof text, "ERR Unsupported option %.*s",
                     (int)(word.size < 48 ? word.size : 48), (const char *)word.data);
            *status = run_error(run, text);
            return 0;
        }
    }
    if (options->none && (options->some || options->later || options->earlier)) {
        *status =
            run_error(run, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return 0;
    }
    if (options->later && options->earlier) {
        *status = run_error(run, "ERR GT and LT options at the same time are not compatible");
        return 0;
    }
    return 1;
}

/* Without a deadline it is never. */
static bool allows(const struct expire_options *options, uint64_t present_ms, uint64_t ms)
{
    uint64_t present = present_ms == 0 ? UINT64_MAX : present_ms;

    return !(options->none && present_ms != 0) && !(options->some && present_ms == 0) &&
           !(options->later && ms <= present) && !(options->earlier && ms >= present);
}

static enum status expire(struct turn *turn, bool seconds, bool absolute)
{
    struct expire_options options = {0};
    enum status status;
    int64_t number;
    uint64_t ms;
    struct run run;

    run_begin(&run, turn);
    bool is_number = run_integer(&run, &number);
    if (read_expire_options(&run, &options, &status) == 0) {
        return status;
    }
    if (!is_number) {
        return run_error(&run, run_not_integer);
    }
    if (run_deadline(&run, number, seconds, absolute, &ms) != 0) {
        return run_bad_expire(&run);
    }
    const struct session_view *view = turn_view(turn);
    if (view == NULL || !allows(&options, view->absolute_ms, ms)) {
        return run_number(&run, 0);
    }
    if (ms <= turn->now_ms) {
        status = run_destroy(&run);
    } else {
        run_change_begin(&run);
        int rc = run_change_absolute(&run, ms);
        status = run_write(&run, rc, WRITE_UPDATE, SESSION_NONE, NULL);
    }
    return status != STATUS_OK ? status : run_number(&run, 1);
}

enum status command_expire(struct turn *turn)
{
    return expire(turn, true, false);
}

enum status command_pexpire(struct turn *turn)
{
    return expire(turn, false, false);
}

enum status command_expireat(struct turn *turn)
{
    return expire(turn, true, true);
}

enum status command_pexpireat(struct turn *turn)
{
    return expire(turn, false, true);
}

enum status command_persist(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    const struct session_view *view = turn_view(turn);
    if (view == NULL || view->absolute_ms == 0) {
        return run_number(&run, 0);
    }
    run_change_begin(&run);
    int rc = run_change_absolute(&run, 0);
    enum status status = run_write(&run, rc, WRITE_UPDATE, SESSION_NONE, NULL);
    return status != STATUS_OK ? status : run_number(&run, 1);
}

/* The earlier of the deadlines, idle or absolute: when the session will be gone. */
static enum status deadline(struct turn *turn, bool seconds, bool absolute)
{
    struct run run;

    run_begin(&run, turn);
    const struct session_view *view = turn_view(turn);
    if (view == NULL || view->deadline_ms == 0) {
        return run_number(&run, view == NULL ? -2 : -1);
    }
    int64_t ms = (int64_t)view->deadline_ms - (absolute ? 0 : (int64_t)turn->now_ms);
    return run_number(&run, seconds ? (ms + 500) / 1000 : ms);
}

enum status command_ttl(struct turn *turn)
{
    return deadline(turn, true, false);
}

enum status command_pttl(struct turn *turn)
{
    return deadline(turn, false, false);
}

enum status command_expiretime(struct turn *turn)
{
    return deadline(turn, true, true);
}

enum status command_pexpiretime(struct turn *turn)
{
    return deadline(turn, false, true);
}
