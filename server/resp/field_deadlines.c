/* HSETEX and HGETEX of Redis 8: fields with deadlines of their own. */
#include <stdio.h>

#include "commands.h"
#include "run.h"

struct field_options {
    bool fresh, known; /* FNX, FXX: of all fields. */
    bool keep_ttl, persist;
    bool has_deadline;
    uint64_t deadline_ms;
};

static bool is_time_unit(struct bytes word)
{
    return run_is(word, "ex") || run_is(word, "px") || run_is(word, "exat") || run_is(word, "pxat");
}

/* The number after a unit. It may be 0, and the time past: then the fields go. */
static const char *read_field_deadline(struct run *run, struct bytes unit,
                                       struct field_options *options)
{
    bool seconds = run_is(unit, "ex") || run_is(unit, "exat");
    bool absolute = run_is(unit, "exat") || run_is(unit, "pxat");
    int64_t number;

    if (run->rest.count == 0) {
        return "ERR missing expire time";
    }
    if (!run_integer(run, &number)) {
        return run_not_integer;
    }
    if (number < 0) {
        return "ERR invalid expire time, must be >= 0";
    }
    if (run_deadline(run, number, seconds, absolute, &options->deadline_ms) != 0) {
        return run_bad_time;
    }
    options->has_deadline = true;
    return NULL;
}

/* "n" and what follows FIELDS, a name and a value each. */
static const char *read_pairs(struct run *run)
{
    static const char wrong_number[] = "ERR wrong number of arguments for 'hsetex' command";
    int64_t count;

    if (run->rest.count < 3) {
        return wrong_number;
    }
    if (!run_integer(run, &count) || count < 1 || count > INT32_MAX) {
        return "ERR invalid number of fields";
    }
    return (uint64_t)count * 2 != run->rest.count ? wrong_number : NULL;
}

/* HSETEX: in any order, up to FIELDS. */
static const char *read_set_options(struct run *run, struct field_options *options,
                                    struct bytes *word)
{
    bool is_timed = false;

    while (run->rest.count > 0) {
        const char *error = NULL;
        *word = run_next(run);
        if (run_is(*word, "fields")) {
            return read_pairs(run);
        }
        bool is_time = is_time_unit(*word), keeps = run_is(*word, "keepttl");
        if ((is_time || keeps) && is_timed) {
            return "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
        }
        is_timed = is_timed || is_time || keeps;
        if (is_time) {
            error = read_field_deadline(run, *word, options);
        } else if (keeps) {
            options->keep_ttl = true;
        } else if (!run_is(*word, "fnx") && !run_is(*word, "fxx")) {
            return run_syntax;
        } else if (options->fresh || options->known) {
            return "ERR Only one of FXX or FNX arguments can be specified";
        } else {
            options->fresh = run_is(*word, "fnx");
            options->known = !options->fresh;
        }
        if (error != NULL) {
            return error;
        }
    }
    return run_syntax;
}

/* HGETEX: one option at most, then FIELDS. */
static const char *read_get_options(struct run *run, struct field_options *options)
{
    struct resp_arguments before = run->rest;
    struct bytes word = run_next(run);
    const char *error = NULL;
    int64_t count;

    if (is_time_unit(word)) {
        error = read_field_deadline(run, word, options);
    } else if (run_is(word, "persist")) {
        options->persist = true;
    } else {
        run->rest = before;
    }
    if (error != NULL) {
        return error;
    }
    if (!run_is(run_next(run), "fields")) {
        return "ERR Mandatory argument FIELDS is missing or not at the right position";
    }
    if (!run_integer(run, &count) || count < 1) {
        return "ERR Number of fields must be a positive integer";
    }
    return (uint64_t)count != run->rest.count
               ? "ERR The `numfields` parameter must match the number of arguments"
               : NULL;
}

/* `word`: what it is about, where that is not known. */
static enum status field_error(struct run *run, const char *error, struct bytes word)
{
    char text[160];

    if (error == run_bad_time) {
        return run_bad_expire(run);
    }
    if (error != run_syntax || word.size == 0) {
        return run_error(run, error);
    }
    snprintf(text, sizeof text, "ERR unknown argument: %.*s",
             (int)(word.size < 128 ? word.size : 128), (const char *)word.data);
    return run_error(run, text);
}

/* Are all of the fields there, or none? */
static bool allowed(const struct finder *finder, struct resp_arguments pairs,
                    const struct field_options *options)
{
    struct session_field field;
    struct bytes name, value;

    while (resp_next(&pairs, &name) && resp_next(&pairs, &value)) {
        bool found = finder_find(finder, name, &field);
        if ((options->fresh && found) || (options->known && !found)) {
            return false;
        }
    }
    return true;
}

static uint64_t kept_deadline(const struct finder *finder, struct bytes name)
{
    struct session_field field;

    return finder_find(finder, name, &field) ? field.deadline_ms : 0;
}

/* What is named, each `step` arguments, goes; and the session with the last of its fields. */
static enum status remove_fields(struct run *run, struct session_view *view, uint32_t step)
{
    const uint32_t count = run->rest.count / step, before = view == NULL ? 0 : view->field_count;
    struct bytes results;
    int64_t removed = 0;
    int rc = 0;

    if (view == NULL) {
        return STATUS_OK;
    }
    if (turn_stage(run->turn) != 0) {
        return STATUS_NO_MEMORY; /* Removing and perhaps ending are one write. */
    }
    run_change_begin(run);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = run_change_of(run, CHANGE_DELETE, run_next(run));
        if (step == 2) {
            (void)run_next(run);
        }
    }
    enum status status = run_write(run, rc, WRITE_UPDATE, SESSION_MAP, &results);
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    for (uint32_t i = 0; i < count; i++) {
        removed += run_result(&reader);
    }
    return removed == (int64_t)before ? run_destroy(run) : STATUS_OK;
}

static bool is_past(const struct run *run, const struct field_options *options)
{
    return options->has_deadline && options->deadline_ms <= run->turn->now_ms;
}

/* The changes: a name and a value each. */
static int list_pairs(struct run *run, const struct finder *finder,
                      const struct field_options *options)
{
    int rc = 0;

    run_change_begin(run);
    while (rc == 0 && run->rest.count > 0) {
        struct change change = {.operation = CHANGE_SET, .name = run_next(run)};
        change.value = run_next(run);
        change.ms = options->keep_ttl ? kept_deadline(finder, change.name) : options->deadline_ms;
        if (change.ms != 0) {
            change.operation = CHANGE_SET_UNTIL;
        }
        rc = run_change(run, &change);
    }
    return rc;
}

enum status command_hsetex(struct turn *turn)
{
    struct field_options options = {.fresh = false};
    struct bytes word = bytes_of(NULL, 0);
    struct session_view *view;
    struct finder finder;
    struct run run;

    run_begin(&run, turn);
    const char *error = read_set_options(&run, &options, &word);
    if (error != NULL) {
        return field_error(&run, error, word);
    }
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    bool looks = options.fresh || options.known || options.keep_ttl;
    int rc = run_find(&run, looks ? view : NULL, 2, &finder);
    bool may = rc == 0 && allowed(&finder, run.rest, &options);
    bool past = is_past(&run, &options);
    if (may && !past) {
        rc = list_pairs(&run, &finder, &options);
    }
    finder_end(&finder);
    if (rc == 0 && !may) {
        return run_number(&run, 0);
    }
    if (rc == 0 && past) {
        status = remove_fields(&run, view, 2);
        return status != STATUS_OK ? status : run_number(&run, 1);
    }
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, NULL);
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    return status != STATUS_OK ? status : run_number(&run, 1);
}

/* The values of the names that are left, and the changes. */
static int list_deadlines(struct run *run, const struct finder *finder,
                          const struct field_options *options)
{
    struct session_field field;

    int rc = resp_array(&run->out, run->rest.count);
    run_change_begin(run);
    while (rc == 0 && run->rest.count > 0) {
        const struct change change = {
            .operation = CHANGE_UNTIL,
            .name = run_next(run),
            .ms = options->deadline_ms,
        };
        rc = run_put_field(run, finder, change.name);
        if (rc == 0 && (options->has_deadline || options->persist) &&
            finder_find(finder, change.name, &field)) {
            rc = run_change(run, &change);
        }
    }
    return rc;
}

enum status command_hgetex(struct turn *turn)
{
    struct field_options options = {.fresh = false};
    struct session_view *view;
    struct finder finder;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_MAP, &view);
    if (status != STATUS_OK) {
        return status;
    }
    const char *error = read_get_options(&run, &options);
    if (error != NULL) {
        return field_error(&run, error, bytes_of(NULL, 0));
    }
    struct resp_arguments names = run.rest;
    int rc = run_find(&run, view, 1, &finder);
    rc = rc != 0 ? rc : list_deadlines(&run, &finder, &options);
    finder_end(&finder);
    if (rc != 0 || turn->changes->size == 0) {
        return run_end(rc);
    }
    if (is_past(&run, &options)) {
        run.rest = names;
        return remove_fields(&run, view, 1);
    }
    return run_write(&run, rc, WRITE_UPDATE, SESSION_MAP, NULL);
}
