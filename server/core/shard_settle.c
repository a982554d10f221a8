/* What others did to a session without knowing of its rename, and who comes by where something is left to do (move.h). */
#include "move_parts.h"

#include <errno.h>

/* ---- What is to be settled ---- */

static int put_string(struct buffer *to, struct bytes bytes)
{
    uint8_t size[VARINT_BYTES_MAX];
    int rc = buffer_append(to, bytes_of(size, (size_t)(varint_put(size, bytes.size) - size)));

    return rc != 0 ? rc : buffer_append(to, bytes);
}

static int put_stamp(struct buffer *to, struct stamp stamp)
{
    uint8_t bytes[16];

    alias_store_stamp(bytes, stamp);
    return buffer_append(to, bytes_of(bytes, sizeof bytes));
}

/* What a late entry does. Returns false where that cannot be carried on. */
static bool late_change(const struct entry *entry, struct change *change)
{
    *change = (struct change){.name = entry->name, .value = entry->value, .ms = entry->ms};
    switch (entry->kind) {
    case ENTRY_OWNER:
        change->operation = CHANGE_OWNER;
        return true;
    case ENTRY_ABSOLUTE:
        change->operation = CHANGE_ABSOLUTE;
        return true;
    case ENTRY_IDLE:
        change->operation = CHANGE_IDLE;
        return true;
    case ENTRY_FIELD:
        change->operation = entry->deadline_ms != 0 ? CHANGE_SET_UNTIL : CHANGE_SET;
        change->ms = entry->deadline_ms;
        return true;
    default:
        return false;
    }
}

/* All that was written late: stamp and change of each, in order of names and stamps. */
static int put_late(struct turn *turn, const struct record *opened)
{
    struct buffer *to = &turn->shard->scratch;
    struct entry_walk walk = entry_walk(opened);
    struct change change;
    struct entry entry;
    int rc = 0;

    to->size = 0;
    while (rc == 0 && entry_next(&walk, &entry)) {
        if (alias_is_late(&entry) && late_change(&entry, &change)) {
            rc = put_stamp(to, entry.stamp);
            rc = rc != 0 ? rc : buffer_reserve(to, change_size(&change));
            if (rc == 0) {
                to->size = (size_t)(change_put(to->data + to->size, &change) - to->data);
            }
        }
    }
    return rc;
}

static int put_job(struct turn *turn, uint8_t what, const struct alias *alias, struct bytes changes)
{
    int rc = buffer_append(turn->answer, bytes_of(&what, 1));

    rc = rc != 0 ? rc : put_stamp(turn->answer, alias->birth);
    rc = rc != 0 ? rc : put_string(turn->answer, alias->key);
    return rc != 0 ? rc : put_string(turn->answer, changes);
}

/* Returns 1: it is waited for; 0; or -ENOMEM. */
static int look_at(struct turn *turn, const struct record *opened, const struct aliases *aliases,
                   const struct entry *entry, uint16_t tag)
{
    struct alias alias;
    bool counts = stamp_compare(entry->stamp, aliases->stamp) == 0;

    if (entry->kind != ENTRY_ALIAS || !alias_read(entry->value, &alias)) {
        return 0;
    }
    bool ends = alias_is_ended(opened, entry) || (!counts && alias.id != aliases->newest.id);
    if (!ends && !(counts && aliases->late)) {
        return 0;
    }
    if (turn->shard->loading || moved_has_letter(turn, tag, alias.id)) {
        return 1;
    }
    if (alias.birth.hlc == 0) {
        return 0; /* Nobody knows which session it is. */
    }
    if (ends) {
        return put_job(turn, MOVE_END, &alias, bytes_of(NULL, 0));
    }
    int rc = put_late(turn, opened);
    return rc != 0 ? rc : put_job(turn, MOVE_LATE, &alias, buffer_bytes(&turn->shard->scratch));
}

static enum status look_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    uint16_t tag = moved_read_tag(&body);
    struct bytes record = moved_record(turn);
    struct aliases aliases;
    struct record opened;
    struct entry entry;

    if (record.size == 0 || record_is_cold(record) || alias_find(record, &aliases) != 0 ||
        !alias_is_unsettled(&aliases) || record_open(&opened, record, RECORD_FORMAT) != 0) {
        return rename_say(turn, RENAME_NONE);
    }
    enum status status = rename_say(turn, RENAME_DONE);
    int rc = status == STATUS_OK ? put_string(turn->answer, opened.token) : -ENOMEM;
    struct entry_walk walk = entry_walk(&opened);
    while (rc == 0 && entry_next(&walk, &entry)) {
        rc = look_at(turn, &opened, &aliases, &entry, tag);
    }
    if (rc == 1) {
        return rename_say(turn, RENAME_NONE);
    }
    return moved_status(rc);
}

static enum status settle_run(struct turn *turn)
{
    struct bytes record = moved_record(turn);
    struct record opened;

    if (record.size == 0 || record_is_cold(record) ||
        record_open_head(&opened, record, RECORD_FORMAT) != 0 ||
        !bytes_equal(opened.token, turn->request->body)) {
        return rename_say(turn, RENAME_NONE);
    }
    struct stamp stamp = moved_stamp(turn, record);
    int rc = alias_settle(record, stamp, &turn->shard->written.record);
    if (rc == -ENOENT) {
        return rename_say(turn, RENAME_NONE);
    }
    enum status status = rc == 0 ? moved_stage(turn, stamp, false) : moved_status(rc);
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* ---- At a target ---- */

/* Is the session in view the one born so? Where it was renamed onward, or is not here any more, that is answered. */
static bool is_still(struct turn *turn, struct stamp birth, enum status *status)
{
    const struct session_view *view = turn_view(turn);
    struct alias alias;

    if (view != NULL && stamp_compare(view->leader_.birth.stamp, birth) == 0) {
        return true;
    }
    if (!moved_find_alias(moved_record(turn), 0, birth, &alias)) {
        *status = rename_say(turn, RENAME_DONE);
    } else if (alias.birth.hlc == 0) {
        *status = rename_say(turn, RENAME_WAIT); /* It is on its way. */
    } else {
        *status = moved_say(turn, RENAME_MOVED, alias.birth);
        if (*status == STATUS_OK && buffer_append(turn->answer, alias.key) != 0) {
            *status = STATUS_NO_MEMORY;
        }
    }
    return false;
}

static enum status end_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    struct stamp birth = alias_read_stamp(&body);
    enum status status = STATUS_OK;

    if (!is_still(turn, birth, &status)) {
        return status;
    }
    status = rename_destroy(turn);
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* The newest stamp of what a change is about; hlc 0: there is nothing. */
static struct stamp newest_of(const struct session_view *view, const struct change *change)
{
    struct entry_walk walk = entry_walk(&view->record_);
    struct stamp newest = {0, {0, 0}};
    struct entry entry;

    while (entry_next(&walk, &entry)) {
        bool same = change->operation == CHANGE_OWNER      ? entry.kind == ENTRY_OWNER
                    : change->operation == CHANGE_ABSOLUTE ? entry.kind == ENTRY_ABSOLUTE
                    : change->operation == CHANGE_IDLE
                        ? entry.kind == ENTRY_IDLE
                        : entry.kind >= ENTRY_FIELD && bytes_equal(entry.name, change->name);
        if (same && leader_shows(&view->leader_, &entry.birth) &&
            stamp_compare(entry.stamp, newest) > 0) {
            newest = entry.stamp;
        }
    }
    return newest;
}

/* Was nothing newer written there since it came? Two writes of one turn are what came (rename_paste()). */
static bool may_write(const struct session_view *view, struct stamp late,
                      const struct change *change)
{
    struct stamp newest = newest_of(view, change);

    return newest.hlc <= view->leader_.birth.stamp.hlc + 1 || stamp_compare(late, newest) > 0;
}

/* As the type of the session wants it. */
static bool fit(const struct session_view *view, struct change *change)
{
    const struct session_field field = {
        .name = change->name, .value = change->value, .deadline_ms = change->ms};
    bool is_field = change->operation == CHANGE_SET || change->operation == CHANGE_SET_UNTIL;

    if (is_field && view->type == SESSION_ZSET && change->value.size != 8) {
        return false;
    }
    if (is_field) {
        rename_field_change(view->type, &field, change);
    }
    return true;
}

static enum status late_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    struct stamp birth = alias_read_stamp(&body);
    struct buffer *list = turn->changes;
    enum status status = STATUS_OK;
    struct change change;

    if (!is_still(turn, birth, &status)) {
        return status;
    }
    const struct session_view *view = turn_view(turn);
    list->size = 0;
    while (reader_left(&body) > 0) {
        struct stamp stamp = alias_read_stamp(&body);
        if (body.bad || change_next(&body, &change) != 1) {
            return STATUS_INVALID;
        }
        if (!may_write(view, stamp, &change) || !fit(view, &change)) {
            continue;
        }
        if (buffer_reserve(list, change_size(&change)) != 0) {
            return STATUS_NO_MEMORY;
        }
        list->size = (size_t)(change_put(list->data + list->size, &change) - list->data);
    }
    if (list->size > 0) {
        status = turn_write(turn, WRITE_UPDATE, SESSION_NONE, buffer_bytes(list), NULL);
    }
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* ---- What is over ---- */

static enum status forget_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    uint64_t id = read_u64(&body);
    struct bytes record = moved_record(turn);
    int rc = -ENOENT;

    if (body.bad) {
        return STATUS_INVALID;
    }
    struct stamp stamp = moved_stamp(turn, record);
    if (record.size > 0 && !record_is_cold(record)) {
        rc = receipt_remove(record, stamp, id, &turn->shard->written.record);
    }
    enum status status = STATUS_OK;
    if (rc != -ENOENT) {
        status = rc == 0 ? moved_stage(turn, stamp, false) : moved_status(rc);
    }
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* What it left is sent once more, to all: a stream that was begun anew meanwhile has nothing of what was before. */
static enum status gone_run(struct turn *turn)
{
    struct shard *shard = turn->shard;
    const struct request *request = turn->request;
    struct copies_port *copies = shard->copies;
    struct bytes record = moved_record(turn);

    if (!move_is_letter(request->key)) {
        return STATUS_INVALID;
    }
    if (copies == NULL || record.size == 0 || record_is_cold(record) || turn_view(turn) != NULL) {
        return rename_say(turn, RENAME_NONE);
    }
    shard_send(shard, LOG_FULL, request->position, request->key, &record, 1);
    const uint8_t alone = !copies->await_all(copies, request->position, shard->replicas.number);
    return rename_say_with(turn, RENAME_DONE, bytes_of(&alone, 1));
}

/* The old key does not wait for it any more. */
static enum status drop_alias(struct turn *turn, struct bytes old, uint64_t id)
{
    const struct request *whole = turn->request;
    const struct policy *policy = turn->policy;
    struct request request = *whole;

    request.key = old;
    turn_to(turn, &request);
    struct bytes record = moved_record(turn);
    struct stamp stamp = moved_stamp(turn, record);
    int rc = record.size == 0 || record_is_cold(record)
                 ? -ENOENT
                 : alias_arrive(record, stamp, id, (struct stamp){0, {0, 0}},
                                &turn->shard->written.record);
    enum status status = STATUS_OK;
    if (rc != -ENOENT) {
        status = rc == 0 ? moved_stage(turn, stamp, false) : moved_status(rc);
    }
    turn->request = whole;
    turn->policy = policy;
    turn->opened = false;
    return status;
}

static enum status drop_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    const uint8_t reserved = read_u8(&body);
    struct bytes prefix = read_bytes(&body, reader_left(&body));
    struct rename_intent intent;
    struct buffer *copy = &turn->shard->answer;

    if (body.bad) {
        return STATUS_INVALID;
    }
    struct bytes value = rename_own_value(turn_view(turn));
    if (value.size == 0 || buffer_append(copy, value) != 0 ||
        !rename_intent_read(buffer_bytes(copy), &intent)) {
        return rename_say(turn, RENAME_NONE);
    }
    struct bytes old = session_key(intent.record);
    if (old.size == 0 || !bytes_starts_with(old, prefix) ||
        (reserved != 0 && old.data[0] == reserved)) {
        return rename_say(turn, RENAME_NONE);
    }
    if (moved_is_to_come(turn, old)) {
        return STATUS_BUSY;
    }
    enum status status = moved_drop_letter(turn, turn->request->key);
    status = status == STATUS_OK ? drop_alias(turn, old, intent.id) : status;
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* ---- What the shard notices ---- */

void shard_note_moved(struct shard *shard, uint64_t position)
{
    (void)position_set_add(&shard->moved, position); /* Else the patrol will. */
}

bool shard_is_moved(const struct shard *shard, struct bytes record)
{
    const struct session_view *view = &shard->view;
    struct aliases aliases;

    if (view->record.data != record.data) {
        return false; /* It could not be opened. */
    }
    if (move_is_letter(view->record_.key)) {
        return view->live;
    }
    return view->renamed && alias_find(view->record, &aliases) == 0 && alias_is_unsettled(&aliases);
}

void shard_tell_refused(struct shard *shard, struct bytes key, enum status status)
{
    shard_trace(shard, TRACE_RENAME_REFUSED, keeper_position(shard->options.seed, key),
                bytes_of_string(status_name(status)));
}

bool shard_has_moved(const struct shard *shard)
{
    const struct position_set *round = &shard->moved_round;

    return shard->moved.count > 0 || shard->moved.has_zero || round->count > 0 || round->has_zero;
}

struct visiting {
    struct shard *shard;
    moved_visit visit;
    void *context;
    bool stopped;
};

/* Whither the letter in view goes; empty where that cannot be read. */
static struct bytes target_of(struct session_view *view)
{
    struct rename_intent intent;

    return rename_intent_read(rename_own_value(view), &intent) ? intent.key : bytes_of(NULL, 0);
}

static bool visit_record(void *context, uint64_t position, struct bytes record)
{
    struct visiting *visiting = context;
    struct shard *shard = visiting->shard;
    struct bytes key = session_key(record), target = bytes_of(NULL, 0);
    bool letter = move_is_letter(key);

    if (session_open(&shard->view, record, shard->now_ms) != 0 || !shard_is_moved(shard, record)) {
        return true;
    }
    if (letter) {
        target = target_of(&shard->view);
    }
    if ((!letter || hlc_ms(session_newest_stamp(record)) + MOVE_SETTLE_MS <= shard->now_ms) &&
        !visiting->visit(visiting->context, key, target)) {
        visiting->stopped = true;
        return false;
    }
    shard_note_moved(shard, position);
    return true;
}

/* What was noted since is the next round. */
static void begin_round(struct shard *shard)
{
    shard->moved_round = shard->moved;
    shard->moved_at = 0;
    position_set_init(&shard->moved, shard->memory);
}

bool shard_visit_moved(struct shard *shard, uint32_t positions_max, moved_visit visit,
                       void *context)
{
    struct visiting visiting = {.shard = shard, .visit = visit, .context = context};
    struct position_set *round = &shard->moved_round;
    uint64_t position;

    if (round->count == 0 && !round->has_zero) {
        begin_round(shard);
    }
    while (positions_max-- > 0) {
        size_t at = shard->moved_at;
        if (!position_set_next(round, &shard->moved_at, &position)) {
            position_set_fini(round);
            return true;
        }
        keeper_visit(shard->keeper, position, visit_record, &visiting);
        if (visiting.stopped) {
            shard->moved_at = at;
            return false;
        }
    }
    return false;
}

const struct procedure move_forget = {.name = "move-forget",
                                      .inner = true,
                                      .run = forget_run,
                                      .ends = true};
const struct procedure move_gone = {.name = "move-gone",
                                    .inner = true,
                                    .run = gone_run,
                                    .ends = true,
                                    .safe = true};
const struct procedure move_drop = {.name = "move-drop",
                                    .inner = true,
                                    .run = drop_run,
                                    .ends = true,
                                    .safe = true};
const struct procedure move_look = {.name = "move-look", .inner = true, .run = look_run};
const struct procedure move_settle = {.name = "move-settle",
                                      .inner = true,
                                      .run = settle_run,
                                      .ends = true};
const struct procedure move_end = {.name = "move-end",
                                   .inner = true,
                                   .run = end_run,
                                   .ends = true,
                                   .safe = true};
const struct procedure move_late = {.name = "move-late",
                                    .inner = true,
                                    .run = late_run,
                                    .safe = true};
