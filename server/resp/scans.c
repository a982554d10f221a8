/* HSCAN, SSCAN, ZSCAN: all of it at once, as a session is small enough; so nothing is missed or told twice. */
#include "commands.h"
#include "glob.h"
#include "run.h"

/* What follows a name. */
static int put_value(struct run *run, enum session_type type, const struct session_field *field)
{
    char text[RUN_DOUBLE_BYTES];

    if (type == SESSION_MAP) {
        return resp_bulk(&run->out, field->value);
    }
    size_t size = run_format_double(run_score_of(field->value), text);
    return resp_bulk(&run->out,
                     bytes_of(text, size)); /* No double of RESP3: so Redis tells it here. */
}

static int put_matching(struct run *run, struct session_view *view, enum session_type type,
                        const struct scan_options *options)
{
    bool values = type != SESSION_SET && !options->no_values;
    struct session_field field;
    uint64_t count = 0;

    while (view != NULL && session_next(view, false, &field)) {
        count += glob_matches(options->pattern, field.name);
    }
    int rc = resp_array(&run->out, values ? 2 * count : count);
    if (view != NULL) {
        session_rewind(view);
    }
    while (rc == 0 && view != NULL && session_next(view, false, &field)) {
        if (!glob_matches(options->pattern, field.name)) {
            continue;
        }
        rc = resp_bulk(&run->out, field.name);
        if (rc == 0 && values) {
            rc = put_value(run, type, &field);
        }
    }
    return rc;
}

static enum status scan(struct turn *turn, enum session_type type)
{
    struct session_view *view;
    struct scan_options options;
    struct run run;

    run_begin(&run, turn);
    const char *error = scan_options_read(&run, type == SESSION_MAP, &options);
    if (error == run_bad_cursor) {
        return run_error(&run, error);
    }
    enum status status = run_view(&run, type, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (error != NULL && view != NULL) { /* Of nothing, Redis does not look at the options. */
        return run_error(&run, error);
    }
    int rc = resp_array(&run.out, 2);
    rc = rc != 0 ? rc : resp_text(&run.out, "0");
    return run_end(rc != 0 ? rc : put_matching(&run, view, type, &options));
}

enum status command_hscan(struct turn *turn)
{
    return scan(turn, SESSION_MAP);
}

enum status command_sscan(struct turn *turn)
{
    return scan(turn, SESSION_SET);
}

enum status command_zscan(struct turn *turn)
{
    return scan(turn, SESSION_ZSET);
}
