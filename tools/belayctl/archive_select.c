/* belayctl archive restore of one session or of a prefix's: as they were at a time, written anew into a cluster that
 * lives on, or to a file. (Merging old records into newer ones would change nothing.) */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive_restore.h"
#include "session.h"

enum { ATTEMPTS_MAX = 5, LAST_SLOT = SLOT_COUNT - 1 };

struct selecting {
    struct restore *restore;
    FILE *output; /* NULL: into place. */
    struct bytes wanted;
    bool exact;
    uint64_t written, same, absent, ended, expired, left, failed;
    json_t *list; /* With --json. */
};

static bool wants(void *context, struct bytes key)
{
    const struct selecting *selecting = context;

    return selecting->exact ? bytes_equal(key, selecting->wanted)
                            : bytes_starts_with(key, selecting->wanted);
}

static struct belay_bytes out(struct bytes bytes)
{
    return belay_bytes_of(bytes.data, bytes.size);
}

/* ---- Telling ---- */

static void tell(struct selecting *selecting, struct bytes key, const char *what)
{
    if (selecting->list != NULL) {
        json_t *one = json_pack("{s:s}", "what", what);
        json_set_bytes(one, "key", out(key));
        json_array_append_new(selecting->list, one);
        return;
    }
    FILE *to = selecting->output == stdout ? stderr : stdout;
    show_bytes(to, out(key));
    fprintf(to, ": %s\n", what);
}

static const char *const dry = " (nothing is written: --dry-run)";

static void tell_written(struct selecting *selecting, struct bytes key, const char *what)
{
    char text[128];

    selecting->written++;
    snprintf(text, sizeof text, "%s%s", what, selecting->restore->dry_run ? dry : "");
    tell(selecting, key, text);
}

/* ---- To a file: a line of JSON for each ---- */

static json_t *field_json(const struct session_view *view, const struct session_field *field)
{
    json_t *one = json_object();

    json_set_bytes(one, "name", out(field->name));
    if (view->type == SESSION_ZSET && field->value.size == 8) {
        uint64_t bits = load_u64(field->value.data);
        double score;
        memcpy(&score, &bits, sizeof score);
        json_object_set_new(one, "score", json_real(score));
    } else if (view->type != SESSION_SET) {
        json_set_bytes(one, "value", out(field->value));
    }
    if (field->deadline_ms != 0) {
        json_object_set_new(one, "until_ms", json_integer((json_int_t)field->deadline_ms));
    }
    return one;
}

static int write_line(struct selecting *selecting, struct bytes key, struct session_view *view)
{
    json_t *fields = json_array();
    struct session_field field;

    session_rewind(view);
    while (session_next(view, false, &field)) {
        json_array_append_new(fields, field_json(view, &field));
    }
    json_t *line = json_pack(
        "{s:s, s:I, s:I, s:I, s:o}", "type", belay_type_name((enum belay_type)view->type),
        "created_ms", (json_int_t)view->created_ms, "absolute_ms", (json_int_t)view->absolute_ms,
        "idle_ms", (json_int_t)view->idle_ms, "fields", fields);
    json_set_bytes(line, "key", out(key));
    if (view->owner.size > 0) {
        json_set_bytes(line, "owner", out(view->owner));
    }
    int rc = json_dumpf(line, selecting->output, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(line);
    return rc == 0 && fputc('\n', selecting->output) != EOF ? 0 : -EIO;
}

/* ---- Into place ---- */

static void put_field(struct belay_request *write, const struct session_view *view,
                      const struct session_field *field)
{
    double score = 0;

    if (view->type == SESSION_ZSET && field->value.size == 8) {
        uint64_t bits = load_u64(field->value.data);
        memcpy(&score, &bits, sizeof score);
        belay_write_set_score(write, out(field->name), score, 0);
    } else if (view->type == SESSION_SET) {
        belay_write_add_member(write, out(field->name));
    } else if (field->deadline_ms != 0) {
        belay_write_set_until(write, out(field->name), out(field->value), field->deadline_ms);
    } else {
        belay_write_set(write, out(field->name), out(field->value));
    }
}

/* All of it as one write; `version` is of the session that is there, else empty. */
static struct belay_request *make_write(struct selecting *selecting, struct bytes key,
                                        struct session_view *view, struct belay_bytes version)
{
    bool there = version.size > 0;
    struct belay_request *write = belay_write_begin(selecting->restore->client, out(key),
                                                    there ? BELAY_UPDATE : BELAY_CREATE);
    struct session_field field;

    belay_write_type(write, (enum belay_type)view->type);
    if (there) {
        belay_write_if_version(write, version);
        belay_write_clear(write);
    }
    session_rewind(view);
    while (session_next(view, false, &field)) {
        put_field(write, view, &field);
    }
    belay_write_owner(write, out(view->owner));
    belay_write_absolute(write, view->absolute_ms);
    belay_write_idle(write, view->idle_ms);
    return write;
}

/* Does what is there now show the same fields? */
static bool is_same(struct session_view *view, struct belay_result *now)
{
    struct session_field field;
    struct belay_field other;
    size_t position = 0, count = 0;

    if ((int)belay_result_type(now) != (int)view->type ||
        belay_result_absolute_ms(now) != view->absolute_ms ||
        belay_result_idle_ms(now) != view->idle_ms) {
        return false;
    }
    if (view->type == SESSION_BLOB) {
        struct belay_bytes value = belay_result_value(now);
        return session_find(view, bytes_of("", 0), &field) &&
               bytes_equal(field.value, bytes_of(value.data, value.size));
    }
    while (belay_result_field(now, &position, &other)) {
        count++;
        if (!session_find(view, bytes_of(other.name.data, other.name.size), &field) ||
            !bytes_equal(field.value, bytes_of(other.value.data, other.value.size))) {
            return false;
        }
    }
    return count == view->field_count;
}

static enum belay_status destroy(struct selecting *selecting, struct bytes key,
                                 struct belay_bytes version)
{
    struct belay_request *write =
        belay_write_begin(selecting->restore->client, out(key), BELAY_UPDATE);

    belay_write_if_version(write, version);
    belay_write_destroy(write);
    return belay_run(write, NULL);
}

/* One try. Returns the status; VERSION_MISMATCH, EXISTS or NOT_FOUND: it has changed meanwhile. */
static enum belay_status try_place(struct selecting *selecting, struct bytes key,
                                   struct session_view *view)
{
    struct restore *restore = selecting->restore;
    struct belay_result *now = NULL;
    struct belay_bytes none = belay_bytes_of("", 0);

    enum belay_status status = belay_run(belay_get_begin(restore->client, out(key), 0), &now);
    bool there = status == BELAY_OK;
    if (status == BELAY_NOT_FOUND && !restore->undelete) {
        selecting->ended++;
        tell(selecting, key, "ended since then, or is not here: --undelete brings it back");
        status = BELAY_OK;
    } else if (there && is_same(view, now)) {
        selecting->same++;
        tell(selecting, key, "is the same now");
    } else if (status == BELAY_OK || status == BELAY_NOT_FOUND) {
        struct belay_bytes version = there ? belay_result_version(now) : none;
        status = BELAY_OK;
        if (!restore->dry_run && there && (int)belay_result_type(now) != (int)view->type) {
            status = destroy(selecting, key, version);
            version = none; /* It has another type: a new one takes its place. */
        }
        if (!restore->dry_run && status == BELAY_OK) {
            status = belay_run(make_write(selecting, key, view, version), NULL);
        }
        if (status == BELAY_OK) {
            tell_written(selecting, key, there ? "as it was then" : "back, as it was then");
        }
    }
    belay_result_destroy(now);
    return status;
}

static int place(struct selecting *selecting, struct bytes key, struct session_view *view)
{
    enum belay_status status = BELAY_OK;

    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        status = try_place(selecting, key, view);
        if (status != BELAY_VERSION_MISMATCH && status != BELAY_EXISTS &&
            status != BELAY_NOT_FOUND) {
            break;
        }
    }
    if (status == BELAY_OK) {
        return 0;
    }
    selecting->failed++;
    tell(selecting, key, belay_status_text(status));
    bool of_session = status == BELAY_VERSION_MISMATCH || status == BELAY_EXISTS ||
                      status == BELAY_NOT_FOUND || status == BELAY_DAMAGED ||
                      status == BELAY_SESSION_TOO_LARGE || status == BELAY_TOO_MANY_FIELDS ||
                      status == BELAY_INVALID;
    return of_session ? 0 : -ECANCELED;
}

/* ---- Each session ---- */

static int take(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct selecting *selecting = context;
    struct restore *restore = selecting->restore;
    struct buffer *copy = &restore->record;
    struct session_view view;

    if (left > 0) {
        selecting->left += left;
        tell(selecting, key, "changes are left, of which what they build on is missing");
    }
    if (record.size == 0) {
        return 0;
    }
    copy->size = 0;
    if (buffer_append(copy, record) != 0) {
        return -ENOMEM;
    }
    /* Uses that move an idle deadline are not archived, so only what was buried had ended. */
    session_touch_in_place(copy->data, copy->size, restore->done.as_of_ms);
    if (session_open(&view, buffer_bytes(copy), restore->done.as_of_ms) != 0 || !view.live) {
        selecting->absent++;
        tell(selecting, key, "had ended by then");
        return 0;
    }
    if (selecting->output != NULL) {
        int rc = restore->dry_run ? 0 : write_line(selecting, key, &view);
        if (rc == 0) {
            tell_written(selecting, key, "written to the file");
        }
        return rc;
    }
    if (view.absolute_ms != 0 && view.absolute_ms <= restore->now_ms) {
        selecting->expired++;
        tell(selecting, key, "its deadline has passed since then; --output has it in a file");
        return 0;
    }
    return place(selecting, key, &view);
}

static int report(struct selecting *selecting)
{
    struct restore *restore = selecting->restore;
    bool good = restore->command.damaged == 0 && selecting->left == 0 && selecting->failed == 0;
    uint64_t found = selecting->written + selecting->same + selecting->absent + selecting->ended +
                     selecting->expired + selecting->failed;
    bool reached = selecting->exact ? selecting->written + selecting->same > 0 : found > 0;
    int code = good && reached ? CTL_OK : CTL_REFUSED;

    if (restore->command.ctl->json) {
        int rc = ctl_print_json(json_pack(
            "{s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "sessions", selecting->list,
            "written", (json_int_t)selecting->written, "same", (json_int_t)selecting->same,
            "absent", (json_int_t)selecting->absent, "ended", (json_int_t)selecting->ended,
            "expired", (json_int_t)selecting->expired, "failed", (json_int_t)selecting->failed,
            "left", (json_int_t)selecting->left, "damaged", (json_int_t)restore->command.damaged,
            "dry_run", restore->dry_run));
        return code == CTL_OK ? rc : code;
    }
    if (found == 0) {
        fprintf(stderr,
                "belayctl: archive restore: the archive has no such session of that time\n");
    } else if (!selecting->exact) {
        fprintf(selecting->output == stdout ? stderr : stdout,
                "%" PRIu64 " sessions: %s %" PRIu64 ", the same now %" PRIu64
                ", ended by then %" PRIu64 ", ended since then %" PRIu64
                ", past their deadline %" PRIu64 ", failed %" PRIu64 "\n",
                found, restore->dry_run ? "to be written" : "written", selecting->written,
                selecting->same, selecting->absent, selecting->ended, selecting->expired,
                selecting->failed);
    }
    return code;
}

/* Does the prefix decide the slot? */
static bool has_tag(struct bytes prefix)
{
    const uint8_t *open = memchr(prefix.data, '{', prefix.size);
    const uint8_t *end = prefix.data + prefix.size;

    return open != NULL && open + 1 < end && open[1] != '}' &&
           memchr(open + 1, '}', (size_t)(end - open - 1)) != NULL;
}

static int take_slots(struct selecting *selecting)
{
    struct restore *restore = selecting->restore;
    bool one = selecting->exact || has_tag(selecting->wanted);
    uint32_t first = one ? slot_of_key(selecting->wanted) : 0;
    uint32_t end = one ? first + 1 : SLOT_COUNT;
    int rc = 0;

    while (first < end && rc == 0) {
        uint16_t last =
            one ? (uint16_t)first
                : reading_range(&restore->reading, (uint16_t)first, RESTORE_RANGE_BYTES);
        rc = reading_take(&restore->reading, (uint16_t)first, last, &restore->state);
        rc = rc != 0 ? rc : archive_state_visit(&restore->state, take, selecting);
        first = (uint32_t)last + 1;
    }
    return rc;
}

static int select_all(struct selecting *selecting)
{
    struct restore *restore = selecting->restore;
    struct archive_command *command = &restore->command;
    uint64_t as_of_hlc = restore_as_of_hlc(restore);

    int rc = reading_open(&restore->reading, &command->access, &restore->catalog, as_of_hlc,
                          archive_tell_damaged, command);
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    int code = restore_tell_missing(restore);
    if (code != CTL_OK) {
        reading_close(&restore->reading);
        return code;
    }
    archive_state_init(&restore->state, command->access.memory, as_of_hlc, wants, selecting);
    rc = take_slots(selecting);
    archive_state_fini(&restore->state);
    reading_close(&restore->reading);
    if (rc == -ECANCELED) {
        return CTL_REFUSED; /* It was told. */
    }
    return rc != 0 ? archive_failed(command, rc) : report(selecting);
}

int restore_select(struct restore *restore)
{
    const char *text = restore->session != NULL ? restore->session : restore->prefix;
    struct selecting selecting = {
        .restore = restore,
        .wanted = bytes_of_string(text),
        .exact = restore->session != NULL,
        .list = restore->command.ctl->json ? json_array() : NULL,
    };
    bool to_stdout = restore->output != NULL && strcmp(restore->output, "-") == 0;

    if (restore->output != NULL) {
        selecting.output = to_stdout ? stdout : fopen(restore->output, "we");
        if (selecting.output == NULL) {
            return archive_refused(&restore->command, "%s: %s", restore->output, strerror(errno));
        }
    }
    int code = select_all(&selecting);
    if (selecting.output != NULL && !to_stdout && fclose(selecting.output) != 0) {
        code = archive_refused(&restore->command, "%s: %s", restore->output, strerror(errno));
    }
    json_decref(selecting.list);
    return code;
}
