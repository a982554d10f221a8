/* A coordinator's write.
 *
 * In order: has this write been done before (repeat.c); is the session there, at the wanted version, of the wanted
 * type; then the changes one by one (edit.c), and the new record and its delta (rewrite.c). The new
 * stamp is greater than every hlc in the record, so that the write is after all that it has seen.
 *
 * What is expired is absent. A birth over it buries it by a death at its newest birth. (Any later death would also end
 * what others have begun, of which nothing is known here. Where that belonged to the same life and had ended, too,
 * shown.h tells by its own deadline.) A blind birth at or below the death's `until` would be dropped by every join: it
 * is refused here.
 *
 * Where a session is on its way from here and may come back (alias.h), none begins: BUSY.
 *
 * A list of only touches is no write: nothing is stamped or remembered, the clock slides.
 */
#include <assert.h>
#include <errno.h>

#include "alias.h"
#include "limits.h"
#include "repeat.h"
#include "rewrite.h"
#include "token.h"

enum {
    BESIDE_BYTES_MAX = 4096,
    RETRY_LAG_MS =
        100, /* How far one shard's time may lag behind what another one has told a client. */
};

static enum status status_of_errno(int rc)
{
    return rc == 0 ? STATUS_OK : rc == -ENOMEM ? STATUS_NO_MEMORY : STATUS_DAMAGED;
}

void session_written_init(struct session_written *written, struct memory *memory)
{
    *written = (struct session_written){
        .record = {.memory = memory},
        .delta = {.memory = memory},
        .results = {.memory = memory},
        .scratch = {.memory = memory},
    };
}

void session_written_fini(struct session_written *written)
{
    buffer_fini(&written->record);
    buffer_fini(&written->delta);
    buffer_fini(&written->results);
    buffer_fini(&written->scratch);
}

static bool is_destroy(struct bytes changes)
{
    return changes.size > 0 && changes.data[0] == CHANGE_DESTROY;
}

/* Open the present copy; nothing at all where there is none. To end a session its cold record will do: what it
 * has not, the fields and the window, goes (shard_cold.c asks for it where there is nothing else any more). */
static enum status open_present(const struct session_write *write, struct edit *edit,
                                struct dedup *dedup)
{
    struct session_view *view = &edit->view;

    edit->write = write;
    edit->old = &view->record_;
    edit->slot_count = edit->change_count = 0;
    edit->clears = 0;
    edit->fresh = edit->effect = false;
    for (int kind = 0; kind < ENTRY_FIELD; kind++) {
        edit->attributes[kind].touched = false;
    }
    if (write->record.size != 0) {
        int rc = session_open_known(view, write->record, write->now_ms, write->known_ms, dedup);
        bool enough = !view->cold || is_destroy(write->changes);
        bool good = rc == 0 && enough && bytes_equal(view->record_.key, write->key);
        return good ? STATUS_OK : STATUS_DAMAGED;
    }
    dedup->floor = 0;
    dedup->count = 0;
    record_init(&view->record_, write->key);
    view->live = view->expired = view->faded = view->tombstone = view->renamed = false;
    view->type = SESSION_NONE;
    view->absolute_ms = view->idle_ms = 0;
    view->field_count = view->siblings_hidden = 0;
    view->fields_past_ms = 0;
    view->leader_ = (struct leader){.found = false};
    view->groups_.next_set = false;
    return STATUS_OK;
}

static struct stamp next_stamp(const struct session_write *write, const struct record *old)
{
    uint64_t newest = record_newest(old);

    return (struct stamp){
        .hlc = hlc_next(newest > write->hlc ? newest : write->hlc, write->now_ms),
        .actor = write->actor,
    };
}

/* The token of the copy as it is. */
static enum status set_token(const struct record *record, struct session_written *written)
{
    written->scratch.size = 0;
    int rc = token_put(&written->scratch, record);
    written->token = buffer_bytes(&written->scratch);
    return status_of_errno(rc);
}

/* Does the session allow this write, and does it begin one? */
static enum status check_conditions(const struct session_write *write, struct edit *edit)
{
    const struct session_view *view = &edit->view;
    bool conditional = write->if_version.size > 0;

    if (view->live) {
        if (write->mode == WRITE_CREATE) {
            return STATUS_EXISTS;
        }
        if (conditional && !token_equal(edit->old, write->if_version)) {
            return STATUS_VERSION_MISMATCH;
        }
        if (write->type != SESSION_NONE && write->type != view->type) {
            return STATUS_WRONG_TYPE;
        }
        edit->birth = view->leader_.birth;
        return STATUS_OK;
    }
    if (write->mode == WRITE_UPDATE || write->type == SESSION_NONE) {
        return STATUS_NOT_FOUND;
    }
    /* What is expired has changed since its token was given. */
    if (conditional && (view->expired || !token_equal(edit->old, write->if_version))) {
        return STATUS_VERSION_MISMATCH;
    }
    if (view->renamed && !write->takes_over && alias_may_return(write->record)) {
        return STATUS_BUSY;
    }
    edit->fresh = edit->effect = true;
    edit->birth = (struct birth){
        .stamp = edit->stamp,
        .type = (uint8_t)write->type,
        .blind = write->mode == WRITE_UPSERT,
        .fades = write->fades && write->type == SESSION_MAP,
    };
    if (edit->birth.blind && edit->stamp.hlc <= edit->old->version.death.until) {
        return STATUS_DESTROYED;
    }
    return STATUS_OK;
}

/* A session that begins without deadlines gets those of the policy. */
static void give_deadlines(struct edit *edit)
{
    const struct session_rules *rules = edit->write->rules;
    struct attribute *absolute = &edit->attributes[ENTRY_ABSOLUTE];
    struct attribute *idle = &edit->attributes[ENTRY_IDLE];
    struct bytes none = bytes_of(edit->write->key.data, 0);

    if (!absolute->touched && rules->absolute_ttl_ms != 0) {
        uint64_t ms = edit->write->now_ms + rules->absolute_ttl_ms;
        *absolute = (struct attribute){.touched = true, .present = true, .ms = ms, .value = none};
    }
    if (!idle->touched && rules->idle_ttl_ms != 0) {
        uint64_t ms = rules->idle_ttl_ms;
        *idle = (struct attribute){.touched = true, .present = true, .ms = ms, .value = none};
    }
}

static bool is_touch(struct bytes changes)
{
    for (size_t i = 0; i < changes.size; i++) {
        if (changes.data[i] != CHANGE_TOUCH) {
            return false; /* A touch has no operands. */
        }
    }
    return true;
}

static uint64_t last_access(const struct edit *edit)
{
    const struct attribute *idle = &edit->attributes[ENTRY_IDLE];
    uint64_t idle_ms = idle->touched ? idle->ms : edit->fresh ? 0 : edit->view.idle_ms;
    uint64_t before_ms = edit->old->last_access_ms;
    uint64_t now_ms = edit->write->now_ms;

    if (hlc_ms(edit->birth.stamp.hlc) > now_ms) {
        now_ms = hlc_ms(edit->birth.stamp.hlc); /* Not before its own birth: clocks go back. */
    }
    return idle_ms != 0 && now_ms > before_ms ? now_ms : before_ms;
}

size_t session_record_bytes_max(const struct session_rules *rules)
{
    size_t beside = rules->session_bytes_max / 4;

    return rules->session_bytes_max + (beside < BESIDE_BYTES_MAX ? beside : BESIDE_BYTES_MAX);
}

/* Check limits: what grows must fit, what shrinks is always let. */
static enum status check_limits(const struct edit *edit, size_t record_bytes)
{
    const struct session_rules *rules = edit->write->rules;

    if (edit->fields > (int64_t)rules->fields_max &&
        edit->fields > (int64_t)edit->view.field_count) {
        return STATUS_TOO_MANY_FIELDS;
    }
    if (record_bytes > session_record_bytes_max(rules) && record_bytes > edit->write->record.size) {
        return STATUS_SESSION_TOO_LARGE;
    }
    return STATUS_OK;
}

/* Tell of the new record in written->record. */
static enum status finish(struct session_written *written)
{
    struct record record;
    struct bytes made = buffer_bytes(&written->record);
    int rc = record_open_head(&record, made, RECORD_FORMAT);

    if (rc == 0 && !token_is_plain(&record)) {
        rc = record_open(&record, made, RECORD_FORMAT);
        written->changed = rc == 0;
        return rc == 0 ? set_token(&record, written) : status_of_errno(rc);
    }
    written->changed = rc == 0;
    written->token = record.token;
    return status_of_errno(rc);
}

/* From what was known before and what the edit sets, without a look at the new record. */
static uint64_t next_ms(const struct edit *edit, uint64_t last_access_ms)
{
    const struct attribute *absolute = &edit->attributes[ENTRY_ABSOLUTE];
    const struct attribute *idle = &edit->attributes[ENTRY_IDLE];
    uint64_t ms = edit->view.next_ms;

    if (edit->birth.fades) {
        ms = earlier_ms(ms, edit->view.fields_past_ms); /* It may have no other fields now. */
    }
    if (absolute->touched && absolute->present) {
        ms = earlier_ms(ms, absolute->ms);
    }
    if (idle->touched && idle->present) {
        ms = earlier_ms(ms, last_access_ms + idle->ms);
    }
    for (uint32_t i = 0; i < edit->slot_count; i++) {
        ms = earlier_ms(ms, edit->slots[i].deadline_ms);
    }
    return ms;
}

/* The death of what lies under a birth: it ends every birth in the record. */
static struct death death_before(const struct record *old)
{
    uint64_t hlc = record_birth(old, old->birth_count - 1).stamp.hlc; /* The newest. */

    return death_join(old->version.death, (struct death){hlc, hlc});
}

static enum status write_out(struct edit *edit, struct dedup *dedup,
                             struct session_written *written)
{
    struct record *old = edit->old;
    struct dedup news;
    struct rewrite rewrite;

    news.count = 0;
    news.floor = dedup->floor;
    rewrite.death = old->version.death;
    rewrite.last_access_ms = last_access(edit);
    rewrite.dedup = dedup;
    rewrite.dedup_delta = &news;
    written->stamp = edit->stamp;
    bool stamped = edit->effect || (edit->write->client != 0 && !is_touch(edit->write->changes));
    if (!stamped && rewrite.last_access_ms == old->last_access_ms) {
        return set_token(old, written);
    }
    version_init(&rewrite.stamped);
    if (stamped) {
        version_init_stamp(&rewrite.stamped, edit->stamp);
        repeat_remember(edit->write, edit->stamp, buffer_bytes(&written->results), dedup, &news);
    }
    if (edit->fresh && old->birth_count > 0) {
        rewrite.death = death_before(old);
    }
    int rc = rewrite_record(edit, &rewrite, &written->record);
    if (rc != 0) {
        return status_of_errno(rc);
    }
    enum status status = check_limits(edit, written->record.size);
    if (status != STATUS_OK) {
        return status;
    }
    rc = rewrite_delta(edit, &rewrite, written->record.size, &written->delta);
    if (rc != 0) {
        return status_of_errno(rc);
    }
    written->created = edit->fresh;
    written->next_ms = edit->fresh ? 0 : next_ms(edit, rewrite.last_access_ms);
    return finish(written);
}

static enum status append_result(struct session_written *written, int64_t result)
{
    uint8_t varint[VARINT_BYTES_MAX];
    size_t size = (size_t)(varint_put(varint, zigzag(result)) - varint);

    return status_of_errno(buffer_append(&written->results, bytes_of(varint, size)));
}

/* The tombstone: version, death and window, nothing else. */
static enum status write_tombstone(struct edit *edit, struct dedup *dedup,
                                   struct session_written *written)
{
    const struct session_rules *rules = edit->write->rules;
    struct record *old = edit->old;
    struct record_writer writer;
    struct version stamped;
    struct dedup news;
    struct death death = {edit->stamp.hlc, edit->stamp.hlc};

    if (rules->no_resurrect) {
        death.until = hlc_of_ms(hlc_ms(edit->stamp.hlc) + rules->tombstone_keep_ms);
        death.until = death.until < death.hlc ? death.hlc : death.until;
    }
    version_init_stamp(&stamped, edit->stamp);
    repeat_remember(edit->write, edit->stamp, buffer_bytes(&written->results), dedup, &news);
    struct record_head head = {
        .format = RECORD_FORMAT,
        .key = edit->write->key,
        .a = &old->version,
        .b = &stamped,
        .death = death_join(old->version.death, death),
        .last_access_ms = old->last_access_ms,
        .dedup = dedup,
    };
    record_write_head(&writer, &written->record, &head);
    record_write_dedup(&writer, dedup);
    int rc = record_write_end(&writer);
    return rc != 0 ? status_of_errno(rc) : finish(written);
}

static enum status destroy(struct edit *edit, struct dedup *dedup, struct session_written *written)
{
    const struct session_write *write = edit->write;
    const struct session_view *view = &edit->view;

    if (repeat_began_since(write, view, dedup)) {
        return STATUS_MAYBE_APPLIED;
    }
    if (write->if_version.size > 0 && (!view->live || !token_equal(edit->old, write->if_version))) {
        return STATUS_VERSION_MISMATCH;
    }
    if (view->live && write->type != SESSION_NONE && write->type != view->type) {
        return STATUS_WRONG_TYPE;
    }
    enum status status = append_result(written, view->live);
    if (status != STATUS_OK) {
        return status;
    }
    written->stamp = edit->stamp;
    written->destroyed = view->live;
    /* Nothing to end; but a repeated try must not end what somebody begins meanwhile, and what another node has must not
     * come back. */
    bool remembers = write->client != 0 && write->record.size != 0;
    if (view->live || write->rules->no_resurrect || remembers || write->elsewhere) {
        return write_tombstone(edit, dedup, written);
    }
    return set_token(edit->old, written);
}

static enum status change(struct edit *edit, struct dedup *dedup, struct session_written *written)
{
    enum status status = check_conditions(edit->write, edit);

    if (status == STATUS_OK) {
        status = status_of_errno(edit_prepare(edit, &written->scratch));
    }
    if (status != STATUS_OK) {
        return status;
    }
    edit->fields = edit->fresh ? 0 : edit->view.field_count;
    status = edit_run(edit, &written->results);
    if (status != STATUS_OK) {
        return status;
    }
    if (edit->fresh) {
        give_deadlines(edit);
    }
    return write_out(edit, dedup, written);
}

static enum status do_write(struct edit *edit, struct dedup *dedup, struct session_written *written)
{
    const struct session_write *write = edit->write;

    enum status status =
        write->client == 0 ? STATUS_OK : repeat_check(write, edit->old, dedup, written);
    if (status != STATUS_OK || written->repeated) {
        return status != STATUS_OK ? status : set_token(edit->old, written);
    }
    edit->stamp = next_stamp(write, edit->old);
    if (edit->stamp.hlc <= record_newest(edit->old)) {
        return STATUS_DAMAGED; /* At the end of time: from no clock. */
    }
    if (is_destroy(write->changes)) {
        return destroy(edit, dedup, written);
    }
    return change(edit, dedup, written);
}

enum status session_write(const struct session_write *write, struct session_written *written)
{
    struct edit edit;
    struct dedup dedup;

    written->changed = written->created = written->destroyed = written->repeated = false;
    written->next_ms = 0;
    written->stamp = (struct stamp){0, {0, 0}};
    written->token = bytes_of(write->key.data, 0);
    written->record.size = written->delta.size = written->results.size = 0;
    enum status status = open_present(write, &edit, &dedup);
    if (status == STATUS_OK) {
        status = do_write(&edit, &dedup, written);
    }
    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    written->changed = written->created = written->destroyed = written->repeated = false;
    written->record.size = written->delta.size = written->results.size = 0;
    if (status != STATUS_DAMAGED && status != STATUS_NO_MEMORY) {
        return set_token(edit.old, written) == STATUS_OK ? status : STATUS_NO_MEMORY;
    }
    return status;
}
