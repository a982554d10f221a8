/* Commands on sets. */
#include "commands.h"
#include "run.h"

enum status command_sadd(struct turn *turn)
{
    struct bytes results;
    int64_t fresh = 0;
    struct run run;
    int rc = 0;

    run_begin(&run, turn);
    uint32_t count = run.rest.count;
    run_change_begin(&run);
    while (rc == 0 && run.rest.count > 0) {
        rc = run_change_of(&run, CHANGE_ADD_MEMBER, run_next(&run));
    }
    enum status status = run_write(&run, rc, WRITE_UPSERT, SESSION_SET, &results);
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    for (uint32_t i = 0; i < count; i++) {
        fresh += run_result(&reader);
    }
    return run_number(&run, fresh);
}

enum status command_srem(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_SET, &view);
    return status != STATUS_OK ? status : run_remove(&run, view);
}

enum status command_scard(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_SET, &view);
    return status != STATUS_OK ? status : run_number(&run, view == NULL ? 0 : view->field_count);
}

enum status command_sismember(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_SET, &view);
    return status != STATUS_OK
               ? status
               : run_number(&run, view != NULL && session_find(view, run_next(&run), &field));
}

enum status command_smismember(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct finder finder;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_SET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = run_find(&run, view, 1, &finder);
    rc = rc != 0 ? rc : resp_array(&run.out, run.rest.count);
    while (rc == 0 && run.rest.count > 0) {
        rc = resp_number(&run.out, finder_find(&finder, run_next(&run), &field));
    }
    finder_end(&finder);
    return run_end(rc);
}

enum status command_smembers(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_SET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = resp_set(&run.out, view == NULL ? 0 : view->field_count);
    while (rc == 0 && view != NULL && session_next(view, false, &field)) {
        rc = resp_bulk(&run.out, field.name);
    }
    return run_end(rc);
}

/* ---- Random members ---- */

/* Any member is as likely as another; who asks cannot tell which. (splitmix64, Steele et al. 2014.) */
static uint64_t draw(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t mixed = *state;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

static uint64_t draw_begin(const struct turn *turn)
{
    return turn->request->ticket ^ turn->request->received_us << 20 ^ turn->now_ms;
}

/* So many random members, each as likely as any other one, whatever came before; the last one is in `field`. */
static int put_any(struct run *run, const struct session_view *view, uint64_t count,
                   struct session_field *field)
{
    uint64_t random = draw_begin(run->turn);
    struct finder finder;

    int rc = finder_begin(&finder, view, count, run->turn->answer->memory);
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        (void)finder_at(&finder, draw(&random) % view->field_count, field);
        rc = resp_bulk(&run->out, field->name);
    }
    finder_end(&finder);
    return rc;
}

/* Walks the members; of those left each is taken so that `wanted` of `left` are in the end. */
static bool is_taken(uint64_t *random, uint64_t *wanted, uint64_t *left)
{
    bool taken = draw(random) % *left < *wanted;

    *wanted -= taken;
    (*left)--;
    return taken;
}

/* Some distinct members, as an array of the replies and, with `remove`, as a list of changes. */
static int take_some(struct run *run, struct session_view *view, uint64_t wanted, bool remove)
{
    uint64_t random = draw_begin(run->turn), left = view->field_count;
    struct session_field field;
    int rc = remove ? resp_set(&run->out, wanted) : resp_array(&run->out, wanted);

    session_rewind(view);
    run_change_begin(run);
    while (rc == 0 && session_next(view, false, &field)) {
        if (!is_taken(&random, &wanted, &left)) {
            continue;
        }
        rc = resp_bulk(&run->out, field.name);
        if (rc == 0 && remove) {
            rc = run_change_of(run, CHANGE_DELETE, field.name);
        }
    }
    return rc;
}

enum status command_spop(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    int64_t count = 1;
    struct run run;
    int rc;

    run_begin(&run, turn);
    bool many = run.rest.count > 0;
    if (many && (!run_integer(&run, &count) || count < 0)) {
        return run_error(&run, "ERR value is out of range, must be positive");
    }
    enum status status = run_view(&run, SESSION_SET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view == NULL || count == 0) {
        return run_end(many ? resp_set(&run.out, 0) : resp_null(&run.out));
    }
    uint64_t wanted = (uint64_t)count < view->field_count ? (uint64_t)count : view->field_count;
    bool all = wanted == view->field_count;
    if (many) {
        rc = take_some(&run, view, wanted, true);
    } else {
        rc = put_any(&run, view, 1, &field);
        run_change_begin(&run);
        rc = rc != 0 ? rc : run_change_of(&run, CHANGE_DELETE, field.name);
    }
    if (all && rc == 0) {
        return run_destroy(&run);
    }
    return run_write(&run, rc, WRITE_UPDATE, SESSION_SET, NULL);
}

enum status command_srandmember(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    int64_t count = 1;
    struct run run;

    run_begin(&run, turn);
    bool many = run.rest.count > 0;
    if (many && !run_integer(&run, &count)) {
        return run_error(&run, run_not_integer);
    }
    if (count < -INT32_MAX) {
        return run_error(&run, "ERR value is out of range");
    }
    enum status status = run_view(&run, SESSION_SET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view == NULL || count == 0) {
        return run_end(many ? resp_array(&run.out, 0) : resp_null(&run.out));
    }
    if (many && count > 0) {
        uint64_t all = view->field_count;
        return run_end(take_some(&run, view, (uint64_t)count < all ? (uint64_t)count : all, false));
    }
    uint64_t repeats = many ? (uint64_t)-count : 1;
    if (repeats > SESSION_FIELDS_MAX) {
        return run_error(&run, "ERR value is out of range");
    }
    int rc = many ? resp_array(&run.out, repeats) : 0;
    return run_end(rc != 0 ? rc : put_any(&run, view, repeats, &field));
}
