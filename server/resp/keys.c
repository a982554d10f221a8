/* Commands on keys, whatever is there. */
#include "commands.h"
#include "rename.h"
#include "run.h"

#include <stdio.h>
#include <string.h>

#include "limits.h"

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

/* ---- RENAME ---- */

/* The new key, with the database that the old one is kept with. */
static struct bytes target_of(struct run *run, uint8_t room[KEY_BYTES_MAX])
{
    struct resp_arguments arguments = resp_arguments(run->turn->request->body);
    struct bytes kept = run->turn->request->key, old, target;

    (void)resp_next(&arguments, &old);
    (void)resp_next(&arguments, &old);
    (void)resp_next(&arguments, &target);
    size_t database = kept.size - old.size;
    if (target.size + database == 0 || target.size + database > KEY_BYTES_MAX) {
        return bytes_of(room, 0);
    }
    memcpy(room, kept.data, database);
    memcpy(room + database, target.data, target.size);
    return bytes_of(room, database + target.size);
}

static enum status rename_to(struct turn *turn, bool only_new)
{
    uint8_t room[KEY_BYTES_MAX];
    enum rename_answer answer;
    struct run run;

    run_begin(&run, turn);
    struct bytes target = target_of(&run, room);
    if (target.size == 0) {
        return STATUS_KEY_TOO_LARGE;
    }
    enum status status = turn_rename(turn, target, only_new, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    if (answer == RENAME_NONE) {
        return run_error(&run, "ERR no such key");
    }
    return only_new ? run_number(&run, answer == RENAME_DONE) : run_ok(&run);
}

enum status command_rename(struct turn *turn)
{
    return rename_to(turn, false);
}

enum status command_renamenx(struct turn *turn)
{
    return rename_to(turn, true);
}

static enum status rename_pair(struct turn *turn, bool only_new)
{
    struct request request = *turn->request;
    struct reader body = reader_of(request.body);

    for (uint64_t keys = read_varint(&body); keys > 0; keys--) {
        (void)read_string(&body);
    }
    request.body = read_bytes(&body, reader_left(&body));
    turn_to(turn, &request);
    return rename_to(turn, only_new);
}

static enum status rename_run(struct turn *turn)
{
    return rename_pair(turn, false);
}

static enum status renamenx_run(struct turn *turn)
{
    return rename_pair(turn, true);
}

bool command_rename_only_new(const struct command *command)
{
    return command->procedure.run == command_renamenx;
}

const struct procedure *command_rename_pair(const struct command *command)
{
    static const struct procedure any = {.name = "rename", .run = rename_run, .many = true};
    static const struct procedure new = {.name = "renamenx", .run = renamenx_run, .many = true};

    return command_rename_only_new(command) ? &new : &any;
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

/* ---- OBJECT, MEMORY: as their key is the third word, it is still to come after run_begin() ---- */

static struct bytes begin_with_word(struct run *run, struct turn *turn)
{
    struct resp_arguments arguments = resp_arguments(turn->request->body);
    struct bytes word;

    run_begin(run, turn);
    (void)resp_next(&arguments, &word);
    (void)resp_next(&arguments, &word);
    (void)run_next(run); /* The key. */
    return word;
}

static enum status unknown_word(struct run *run, const char *command, struct bytes word)
{
    char text[160];

    snprintf(text, sizeof text, "ERR unknown subcommand '%.*s'. Try %s HELP.",
             (int)(word.size < 96 ? word.size : 96), (const char *)word.data, command);
    return run_error(run, text);
}

/* What Redis would have chosen for it: that is what is asked for. */
static const char *encoding(struct session_view *view)
{
    enum { EMBEDDED_MAX = 44, COMPACT_FIELDS_MAX = 128, COMPACT_BYTES_MAX = 64 };
    struct session_field field;
    bool compact = view->field_count <= COMPACT_FIELDS_MAX, integers = true;
    int64_t number;

    session_rewind(view);
    while (session_next(view, false, &field)) {
        if (view->type == SESSION_BLOB) {
            return resp_integer(field.value, &number) ? "int"
                   : field.value.size <= EMBEDDED_MAX ? "embstr"
                                                      : "raw";
        }
        compact = compact && field.name.size <= COMPACT_BYTES_MAX &&
                  (view->type != SESSION_MAP || field.value.size <= COMPACT_BYTES_MAX);
        integers = integers && resp_integer(field.name, &number);
    }
    if (view->type == SESSION_SET && integers && view->field_count <= 4 * COMPACT_FIELDS_MAX) {
        return "intset";
    }
    if (view->type == SESSION_ZSET) {
        return compact ? "listpack" : "skiplist";
    }
    return compact && view->type == SESSION_MAP ? "listpack" : "hashtable";
}

enum status command_object(struct turn *turn)
{
    struct run run;
    struct bytes word = begin_with_word(&run, turn);
    struct session_view *view = turn_view(turn);

    if (run_is(word, "freq") && view != NULL) {
        return run_error(&run, "ERR An LFU maxmemory policy is not selected, access frequency not "
                               "tracked. Please note that when switching between policies at "
                               "runtime LRU and LFU data will take some time to adjust.");
    }
    if (!run_is(word, "encoding") && !run_is(word, "refcount") && !run_is(word, "idletime") &&
        !run_is(word, "freq")) {
        return unknown_word(&run, "OBJECT", word);
    }
    if (view == NULL) {
        return run_end(resp_null(&run.out));
    }
    if (run_is(word, "encoding")) {
        return run_end(resp_text(&run.out, encoding(view)));
    }
    uint64_t idle_ms = view->last_access_ms == 0 ? 0 : turn->now_ms - view->last_access_ms;
    return run_number(&run, run_is(word, "refcount") ? 1 : (int64_t)(idle_ms / 1000));
}

enum status command_memory(struct turn *turn)
{
    struct run run;
    struct bytes word = begin_with_word(&run, turn);

    if (!run_is(word, "usage")) {
        return unknown_word(&run, "MEMORY", word);
    }
    const struct session_view *view = turn_view(turn);
    return view == NULL ? run_end(resp_null(&run.out))
                        : run_number(&run, (int64_t)view->record.size);
}
