/* Commands on hashes: sessions that are a map. */
#include "commands.h"
#include "run.h"

#include <math.h>

static const char no_hash_integer[] = "ERR hash value is not an integer";

/* ---- Reading ---- */

static int put_field(struct run *run, const struct session_view *view, struct bytes name)
{
    struct session_field field;

    if (view == NULL || !session_find(view, name, &field)) {
        return resp_null(&run->out);
    }
    return resp_bulk(&run->out, field.value);
}

enum status command_hget(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    return status != STATUS_OK ? status : run_end(put_field(&run, view, run_next(&run)));
}

enum status command_hmget(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = resp_array(&run.out, run.rest.count);
    while (rc == 0 && run.rest.count > 0) {
        rc = put_field(&run, view, run_next(&run));
    }
    return run_end(rc);
}

static enum status put_all(struct turn *turn, bool names, bool values)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t count = view == NULL ? 0 : view->field_count;
    int rc = names && values ? resp_map(&run.out, count) : resp_array(&run.out, count);
    while (rc == 0 && view != NULL && session_next(view, false, &field)) {
        rc = names ? resp_bulk(&run.out, field.name) : 0;
        if (rc == 0 && values) {
            rc = resp_bulk(&run.out, field.value);
        }
    }
    return run_end(rc);
}

enum status command_hgetall(struct turn *turn)
{
    return put_all(turn, true, true);
}

enum status command_hkeys(struct turn *turn)
{
    return put_all(turn, true, false);
}

enum status command_hvals(struct turn *turn)
{
    return put_all(turn, false, true);
}

enum status command_hlen(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    return status != STATUS_OK ? status : run_number(&run, view == NULL ? 0 : view->field_count);
}

enum status command_hexists(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    return status != STATUS_OK
               ? status
               : run_number(&run, view != NULL && session_find(view, run_next(&run), &field));
}

enum status command_hstrlen(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    bool found = status == STATUS_OK && view != NULL && session_find(view, run_next(&run), &field);
    return status != STATUS_OK ? status : run_number(&run, found ? (int64_t)field.value.size : 0);
}

/* ---- Writing ---- */

/* Sets the pairs that follow. Returns OK with `fresh`, how many are new. */
static enum status set_pairs(struct run *run, int64_t *fresh)
{
    struct bytes results;
    uint32_t pairs = run->rest.count / 2;
    int rc = 0;

    *fresh = 0;
    run_change_begin(run);
    for (uint32_t i = 0; rc == 0 && i < pairs; i++) {
        struct bytes name = run_next(run);
        rc = run_change_set(run, name, run_next(run));
    }
    enum status status = run_write(run, rc, WRITE_UPSERT, SESSION_MAP, &results);
    if (status == STATUS_OK) {
        struct reader reader = reader_of(results);
        for (uint32_t i = 0; i < pairs; i++) {
            *fresh += run_result(&reader);
        }
    }
    return status == STATUS_DESTROYED ? STATUS_OK : status;
}

static enum status set(struct turn *turn, bool count, const char *usage)
{
    int64_t fresh;
    struct run run;

    run_begin(&run, turn);
    if (run.rest.count % 2 != 0) {
        return run_error(&run, usage);
    }
    enum status status = set_pairs(&run, &fresh);
    if (status != STATUS_OK) {
        return status;
    }
    return count ? run_number(&run, fresh) : run_ok(&run);
}

enum status command_hset(struct turn *turn)
{
    return set(turn, true, "ERR wrong number of arguments for 'hset' command");
}

enum status command_hmset(struct turn *turn)
{
    return set(turn, false, "ERR wrong number of arguments for 'hmset' command");
}

enum status command_hsetnx(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    int64_t fresh;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    struct resp_arguments pair = run.rest;
    if (view != NULL && session_find(view, run_next(&run), &field)) {
        return run_number(&run, 0);
    }
    run.rest = pair;
    status = set_pairs(&run, &fresh);
    return status != STATUS_OK ? status : run_number(&run, fresh);
}

enum status command_hdel(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    return status != STATUS_OK ? status : run_remove(&run, view);
}

enum status command_hincrby(struct turn *turn)
{
    struct session_view *view;
    struct bytes results;
    struct run run;

    run_begin(&run, turn);
    struct change change = {.operation = CHANGE_ADD, .name = run_next(&run)};
    if (!run_integer(&run, &change.delta)) {
        return run_error(&run, run_not_integer);
    }
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    run_change_begin(&run);
    int rc = run_change(&run, &change);
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, &results);
    if (status == STATUS_NOT_A_NUMBER) {
        return run_error(&run, no_hash_integer);
    }
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    return run_number(&run, run_result(&reader));
}

enum status command_hincrbyfloat(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    char text[RUN_DOUBLE_BYTES];
    double delta, present = 0;
    struct run run;

    run_begin(&run, turn);
    struct bytes name = run_next(&run);
    if (!run_parse_double(run_next(&run), &delta)) {
        return run_error(&run, run_not_float);
    }
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view != NULL && session_find(view, name, &field) &&
        !run_parse_double(field.value, &present)) {
        return run_error(&run, "ERR hash value is not a float");
    }
    if (!isfinite(present + delta)) {
        return run_error(&run, "ERR increment would produce NaN or Infinity");
    }
    struct bytes sum = bytes_of(text, run_format_double(present + delta, text));
    run_change_begin(&run);
    int rc = run_change_set(&run, name, sum);
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, NULL);
    return status != STATUS_OK && status != STATUS_DESTROYED ? status
                                                             : run_end(resp_bulk(&run.out, sum));
}

/* ---- Fields with deadlines (Redis 8) ---- */

struct field_options {
    bool fresh, known; /* FNX, FXX: of all fields. */
    bool keep_ttl, persist;
    bool has_deadline;
    uint64_t deadline_ms;
};

/* "FIELDS n" and what follows it. Returns NULL, or the error; `per_field` arguments each. */
static const char *read_fields(struct run *run, uint32_t per_field)
{
    int64_t count;

    if (run->rest.count == 0 || !run_integer(run, &count) || count < 1) {
        return "ERR Parameter `numFields` should be greater than 0";
    }
    if ((uint64_t)count * per_field != run->rest.count) {
        return "ERR The `numfields` parameter must match the number of arguments";
    }
    return NULL;
}

static const char *read_field_deadline(struct run *run, struct bytes unit,
                                       struct field_options *options)
{
    bool seconds = run_is(unit, "ex") || run_is(unit, "exat");
    bool absolute = run_is(unit, "exat") || run_is(unit, "pxat");
    int64_t number;

    if (options->has_deadline || options->keep_ttl || options->persist || run->rest.count == 0) {
        return run_syntax;
    }
    if (!run_integer(run, &number)) {
        return run_not_integer;
    }
    if (number <= 0 || run_deadline(run, number, seconds, absolute, &options->deadline_ms) != 0) {
        return run_bad_time;
    }
    options->has_deadline = true;
    return NULL;
}

/* Up to and with "FIELDS n". `set`: of HSETEX. */
static const char *read_field_options(struct run *run, bool set, struct field_options *options)
{
    while (run->rest.count > 0) {
        struct bytes word = run_next(run);
        const char *error = NULL;
        if (run_is(word, "fields")) {
            return read_fields(run, set ? 2 : 1);
        }
        if (run_is(word, "ex") || run_is(word, "px") || run_is(word, "exat") ||
            run_is(word, "pxat")) {
            error = read_field_deadline(run, word, options);
        } else if (set && run_is(word, "fnx") && !options->known) {
            options->fresh = true;
        } else if (set && run_is(word, "fxx") && !options->fresh) {
            options->known = true;
        } else if (set && run_is(word, "keepttl") && !options->has_deadline) {
            options->keep_ttl = true;
        } else if (!set && run_is(word, "persist") && !options->has_deadline) {
            options->persist = true;
        } else {
            error = run_syntax;
        }
        if (error != NULL) {
            return error;
        }
    }
    return run_syntax;
}

static enum status field_error(struct run *run, const char *error)
{
    return error == run_bad_time ? run_bad_expire(run) : run_error(run, error);
}

/* Are all of the fields there, or none? */
static bool allowed(const struct session_view *view, struct resp_arguments pairs,
                    const struct field_options *options)
{
    struct session_field field;
    struct bytes name, value;

    while (resp_next(&pairs, &name) && resp_next(&pairs, &value)) {
        bool found = view != NULL && session_find(view, name, &field);
        if ((options->fresh && found) || (options->known && !found)) {
            return false;
        }
    }
    return true;
}

static uint64_t kept_deadline(const struct session_view *view, struct bytes name)
{
    struct session_field field;

    return view != NULL && session_find(view, name, &field) ? field.deadline_ms : 0;
}

enum status command_hsetex(struct turn *turn)
{
    struct field_options options = {.fresh = false};
    struct session_view *view;
    struct run run;
    int rc = 0;

    run_begin(&run, turn);
    const char *error = read_field_options(&run, true, &options);
    if (error != NULL) {
        return field_error(&run, error);
    }
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (!allowed(view, run.rest, &options)) {
        return run_number(&run, 0);
    }
    run_change_begin(&run);
    while (rc == 0 && run.rest.count > 0) {
        struct change change = {.operation = CHANGE_SET, .name = run_next(&run)};
        change.value = run_next(&run);
        change.ms = options.keep_ttl ? kept_deadline(view, change.name) : options.deadline_ms;
        bool past = options.has_deadline && change.ms <= turn->now_ms;
        if (past) {
            change = (struct change){.operation = CHANGE_DELETE, .name = change.name};
        } else if (change.ms != 0) {
            change.operation = CHANGE_SET_UNTIL;
        }
        rc = run_change(&run, &change);
    }
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, NULL);
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    return status != STATUS_OK ? status : run_number(&run, 1);
}

enum status command_hgetex(struct turn *turn)
{
    struct field_options options = {.fresh = false};
    struct session_field field;
    struct session_view *view;
    struct run run;
    bool changes = false;
    int rc = 0;

    run_begin(&run, turn);
    const char *error = read_field_options(&run, false, &options);
    if (error != NULL) {
        return field_error(&run, error);
    }
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    rc = resp_array(&run.out, run.rest.count);
    run_change_begin(&run);
    while (rc == 0 && run.rest.count > 0) {
        struct bytes name = run_next(&run);
        rc = put_field(&run, view, name);
        if (rc != 0 || view == NULL || !session_find(view, name, &field) ||
            (!options.has_deadline && !options.persist)) {
            continue;
        }
        bool past = options.has_deadline && options.deadline_ms <= turn->now_ms;
        const struct change change = {
            .operation = past ? CHANGE_DELETE : CHANGE_UNTIL,
            .name = name,
            .ms = options.deadline_ms,
        };
        rc = run_change(&run, &change);
        changes = true;
    }
    if (rc != 0 || !changes) {
        return run_end(rc);
    }
    return run_write(&run, rc, WRITE_UPDATE, SESSION_MAP, NULL);
}
