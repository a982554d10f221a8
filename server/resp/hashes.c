/* Commands on hashes: sessions that are a map. */
#include "commands.h"
#include "run.h"

#include <math.h>

static const char no_hash_integer[] = "ERR hash value is not an integer";

/* ---- Reading ---- */

enum status command_hget(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view == NULL || !session_find(view, run_next(&run), &field)) {
        return run_end(resp_null(&run.out));
    }
    return run_end(resp_bulk(&run.out, field.value));
}

enum status command_hmget(struct turn *turn)
{
    struct session_view *view;
    struct finder finder;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = run_find(&run, view, 1, &finder);
    rc = rc != 0 ? rc : resp_array(&run.out, run.rest.count);
    while (rc == 0 && run.rest.count > 0) {
        rc = run_put_field(&run, &finder, run_next(&run));
    }
    finder_end(&finder);
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
    bool found = view != NULL && session_find(view, name, &field);
    if (found && !run_parse_double(field.value, &present)) {
        return run_error(&run, "ERR hash value is not a float");
    }
    if (!isfinite(present + delta)) {
        return run_error(&run, "ERR increment would produce NaN or Infinity");
    }
    struct bytes sum = bytes_of(text, run_format_double(present + delta, text));
    struct change change = {.operation = CHANGE_SET, .name = name, .value = sum};
    if (found && field.deadline_ms != 0) { /* Counting keeps it. */
        change.operation = CHANGE_SET_UNTIL;
        change.ms = field.deadline_ms;
    }
    run_change_begin(&run);
    int rc = run_change(&run, &change);
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, NULL);
    return status != STATUS_OK && status != STATUS_DESTROYED ? status
                                                             : run_end(resp_bulk(&run.out, sum));
}
