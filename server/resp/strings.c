/* Commands on strings: sessions that are a blob. */
#include "commands.h"
#include "run.h"

#include <math.h>

static const struct bytes whole; /* The name of a blob's only field: empty. */

static int put_blob(struct run *run, const struct session_view *view)
{
    struct session_field field;

    if (view == NULL) {
        return resp_null(&run->out);
    }
    if (!session_find(view, whole, &field)) {
        return resp_bulk(&run->out, bytes_of(NULL, 0));
    }
    return resp_bulk(&run->out, field.value);
}

static size_t blob_size(const struct session_view *view)
{
    struct session_field field;

    return view != NULL && session_find(view, whole, &field) ? field.value.size : 0;
}

enum status command_get(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_BLOB, &view);
    return status != STATUS_OK ? status : run_end(put_blob(&run, view));
}

/* One key of MGET: what is no string is not there. */
enum status command_mget(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    struct session_view *view = turn_use(turn);
    return run_end(put_blob(&run, view != NULL && view->type == SESSION_BLOB ? view : NULL));
}

enum status command_strlen(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_BLOB, &view);
    return status != STATUS_OK ? status : run_number(&run, (int64_t)blob_size(view));
}

/* ---- SET and its like ---- */

struct set_options {
    struct bytes value;
    bool not_there, there, keep_ttl, get;
    bool has_deadline, past;
    uint64_t deadline_ms;
};

/* Store, whatever was there. `found`: of which type, SESSION_NONE where nothing was. */
static enum status store(struct run *run, const struct set_options *options,
                         enum session_type found, bool had_deadline)
{
    if (found != SESSION_NONE && (options->past || found != SESSION_BLOB)) {
        /* With what follows it is one write. */
        run->turn->replaces = !options->past;
        run->turn->expires = options->past; /* It has the new value no longer than for a moment. */
        enum status status = turn_stage(run->turn) != 0 ? STATUS_NO_MEMORY : run_destroy(run);
        run->turn->replaces = run->turn->expires = false;
        if (status != STATUS_OK) {
            return status;
        }
        found = SESSION_NONE;
    }
    if (options->past) {
        return STATUS_OK;
    }
    run_change_begin(run);
    int rc = run_change_set(run, whole, options->value);
    if (rc == 0 && options->has_deadline) {
        rc = run_change_absolute(run, options->deadline_ms);
    } else if (rc == 0 && found != SESSION_NONE && had_deadline && !options->keep_ttl) {
        uint64_t ttl_ms = run->turn->policy->rules.absolute_ttl_ms; /* As if it began anew. */
        rc = run_change_absolute(run, ttl_ms == 0 ? 0 : run->turn->now_ms + ttl_ms);
    }
    return run_write(run, rc, WRITE_UPSERT, SESSION_BLOB, NULL);
}

/* Returns OK with `stored` telling whether it was. With `get` the old value was appended. */
static enum status set(struct run *run, const struct set_options *options, bool *stored)
{
    struct session_view *view = options->get ? turn_use(run->turn) : turn_view(run->turn);
    enum session_type found = view == NULL ? SESSION_NONE : view->type;
    bool had_deadline = view != NULL && view->absolute_ms != 0;

    *stored = false;
    if (options->get) {
        if (found != SESSION_NONE && found != SESSION_BLOB) {
            return STATUS_WRONG_TYPE;
        }
        enum status status = run_end(put_blob(run, view));
        if (status != STATUS_OK) {
            return status;
        }
    }
    if ((options->not_there && view != NULL) || (options->there && view == NULL)) {
        return STATUS_OK;
    }
    enum status status = store(run, options, found, had_deadline);
    *stored = status == STATUS_OK;
    return status;
}

/* Returns 1; 0 with the error appended (in `status` whether that was possible). */
static int read_deadline(struct run *run, struct set_options *options, struct bytes unit,
                         enum status *status)
{
    bool seconds = run_is(unit, "ex") || run_is(unit, "exat");
    bool absolute = run_is(unit, "exat") || run_is(unit, "pxat");
    int64_t number;

    if (run->rest.count == 0) {
        *status = run_error(run, run_syntax);
        return 0;
    }
    if (!run_integer(run, &number)) {
        *status = run_error(run, run_not_integer);
        return 0;
    }
    if (number <= 0 || run_deadline(run, number, seconds, absolute, &options->deadline_ms) != 0) {
        *status = run_bad_expire(run);
        return 0;
    }
    options->has_deadline = true;
    options->past = options->deadline_ms <= run->turn->now_ms;
    return 1;
}

/* Is it a unit of time, and the one that was given before, if any? Redis takes one twice, and the last time counts. */
static bool is_unit(struct bytes word, struct bytes before)
{
    static const char *const units[] = {"ex", "px", "exat", "pxat"};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (run_is(word, units[i])) {
            return before.size == 0 || run_is(before, units[i]);
        }
    }
    return false;
}

/* The words after a value: all of them are looked at before the time is. Returns as read_deadline(). */
static int read_set_options(struct run *run, struct set_options *options, enum status *status)
{
    struct bytes unit = {0};
    struct resp_arguments time = {.count = 0};

    while (run->rest.count > 0) {
        struct bytes word = run_next(run);
        bool *flag = run_is(word, "nx") && !options->there       ? &options->not_there
                     : run_is(word, "xx") && !options->not_there ? &options->there
                     : run_is(word, "get")                       ? &options->get
                     : run_is(word, "keepttl") && unit.size == 0 ? &options->keep_ttl
                                                                 : NULL;
        if (flag != NULL) {
            *flag = true;
        } else if (is_unit(word, unit) && !options->keep_ttl && run->rest.count > 0) {
            unit = word;
            time = run->rest;
            (void)run_next(run);
        } else {
            *status = run_error(run, run_syntax);
            return 0;
        }
    }
    run->rest = time;
    return unit.size == 0 || read_deadline(run, options, unit, status) == 1;
}

enum status command_set(struct turn *turn)
{
    struct set_options options = {.value = {0}};
    enum status status;
    bool stored;
    struct run run;

    run_begin(&run, turn);
    options.value = run_next(&run);
    if (read_set_options(&run, &options, &status) == 0) {
        return status;
    }
    status = set(&run, &options, &stored);
    if (status == STATUS_DESTROYED && options.get) {
        return STATUS_OK;
    }
    if (status == STATUS_DESTROYED) {
        return options.not_there ? run_end(resp_null(&run.out)) : run_ok(&run);
    }
    if (status != STATUS_OK || options.get) {
        return status;
    }
    return stored ? run_ok(&run) : run_end(resp_null(&run.out));
}

static enum status set_for(struct turn *turn, const char *unit)
{
    struct set_options options = {.value = {0}};
    enum status status;
    bool stored;
    struct run run;

    run_begin(&run, turn);
    if (read_deadline(&run, &options, bytes_of_string(unit), &status) == 0) {
        return status;
    }
    options.value = run_next(&run);
    status = set(&run, &options, &stored);
    return status == STATUS_OK || status == STATUS_DESTROYED ? run_ok(&run) : status;
}

enum status command_setex(struct turn *turn)
{
    return set_for(turn, "ex");
}

enum status command_psetex(struct turn *turn)
{
    return set_for(turn, "px");
}

enum status command_setnx(struct turn *turn)
{
    struct set_options options = {.not_there = true};
    bool stored;
    struct run run;

    run_begin(&run, turn);
    options.value = run_next(&run);
    enum status status = set(&run, &options, &stored);
    return status == STATUS_OK || status == STATUS_DESTROYED ? run_number(&run, stored) : status;
}

enum status command_getset(struct turn *turn)
{
    struct set_options options = {.get = true};
    bool stored;
    struct run run;

    run_begin(&run, turn);
    options.value = run_next(&run);
    enum status status = set(&run, &options, &stored);
    return status == STATUS_DESTROYED ? STATUS_OK : status;
}

/* One key of MSET: the argument is the value alone. */
enum status command_mset(struct turn *turn)
{
    struct set_options options = {.value = {0}};
    bool stored;
    struct run run;

    run_begin(&run, turn);
    options.value = run_next(&run);
    enum status status = set(&run, &options, &stored);
    return status == STATUS_OK || status == STATUS_DESTROYED ? run_ok(&run) : status;
}

enum status command_getdel(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_BLOB, &view);
    if (status == STATUS_OK) {
        status = run_end(put_blob(&run, view));
    }
    return status == STATUS_OK && view != NULL ? run_destroy(&run) : status;
}

enum status command_getex(struct turn *turn)
{
    struct set_options options = {.value = {0}};
    struct resp_arguments deadline = {.count = 0};
    struct bytes unit = bytes_of(NULL, 0);
    struct session_view *view;
    bool persist = false;
    struct run run;

    run_begin(&run, turn);
    while (run.rest.count > 0) {
        struct bytes word = run_next(&run);
        if (unit.size == 0 && run_is(word, "persist")) {
            persist = true;
        } else if (!persist && is_unit(word, unit) && run.rest.count > 0) {
            unit = word;
            deadline = run.rest;
            (void)run_next(&run);
        } else {
            return run_error(&run, run_syntax);
        }
    }
    enum status status = run_view(&run, SESSION_BLOB, &view);
    if (status != STATUS_OK || view == NULL) {
        return status != STATUS_OK ? status : run_end(resp_null(&run.out));
    }
    run.rest = deadline;
    if (unit.size > 0 && read_deadline(&run, &options, unit, &status) == 0) {
        return status;
    }
    status = run_end(put_blob(&run, view));
    if (status != STATUS_OK || (!persist && unit.size == 0)) {
        return status;
    }
    if (options.past) {
        return run_destroy(&run);
    }
    run_change_begin(&run);
    int rc = run_change_absolute(&run, options.deadline_ms);
    return run_write(&run, rc, WRITE_UPDATE, SESSION_BLOB, NULL);
}

enum status command_append(struct turn *turn)
{
    struct session_view *view;
    struct bytes results;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_BLOB, &view);
    if (status != STATUS_OK) {
        return status;
    }
    const struct change change = {.operation = CHANGE_APPEND, .value = run_next(&run)};
    run_change_begin(&run);
    int rc = run_change(&run, &change);
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_BLOB, &results);
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    return run_number(&run, run_result(&reader));
}

/* ---- Counters ---- */

static enum status add(struct run *run, int64_t delta)
{
    const struct change change = {.operation = CHANGE_ADD, .delta = delta};
    struct bytes results;

    run_change_begin(run);
    int rc = run_change(run, &change);
    enum status status = run_write(run, rc, WRITE_UPSERT, SESSION_BLOB, &results);
    if (status == STATUS_DESTROYED) {
        return run_number(run, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    return run_number(run, run_result(&reader));
}

enum status command_incr(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    return add(&run, 1);
}

enum status command_decr(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    return add(&run, -1);
}

enum status command_incrby(struct turn *turn)
{
    int64_t delta;
    struct run run;

    run_begin(&run, turn);
    return run_integer(&run, &delta) ? add(&run, delta) : run_error(&run, run_not_integer);
}

enum status command_decrby(struct turn *turn)
{
    int64_t delta;
    struct run run;

    run_begin(&run, turn);
    if (!run_integer(&run, &delta)) {
        return run_error(&run, run_not_integer);
    }
    return delta == INT64_MIN ? run_error(&run, "ERR decrement would overflow") : add(&run, -delta);
}

enum status command_incrbyfloat(struct turn *turn)
{
    struct session_view *view;
    struct session_field field;
    char text[RUN_DOUBLE_BYTES];
    double delta, present = 0;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_BLOB, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if ((view != NULL && session_find(view, whole, &field) &&
         !run_parse_double(field.value, &present)) ||
        !run_parse_double(run_next(&run), &delta)) {
        return run_error(&run, run_not_float);
    }
    if (!isfinite(present + delta)) {
        return run_error(&run, "ERR increment would produce NaN or Infinity");
    }
    struct bytes sum = bytes_of(text, run_format_double(present + delta, text));
    run_change_begin(&run);
    int rc = run_change_set(&run, whole, sum);
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_BLOB, NULL);
    if (status != STATUS_OK && status != STATUS_DESTROYED) {
        return status;
    }
    return run_end(resp_bulk(&run.out, sum));
}
