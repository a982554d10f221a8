/* The model of session_write(). */
#include "session_model_inside.h"

struct writing {
    struct model *model;
    const struct session_write *write;
    struct stamp stamp;
    struct model_entry proto; /* Of new entries: stamp and birth. */
    enum session_type type;
    uint32_t hidden; /* Before the write. */
    bool effect;
};

static bool remove_name(struct writing *writing, const struct model_string *name)
{
    struct model *model = writing->model;
    bool any = false;

    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (model_is_user(&model->entries[i]) &&
            model_strings_equal(&model->entries[i].name, name)) {
            model_remove(model, i);
            any = true;
        }
    }
    writing->effect |= any;
    return any;
}

static void put_field(struct writing *writing, const struct model_string *name,
                      struct model_string value, uint64_t deadline_ms)
{
    struct model_entry entry = writing->proto;

    remove_name(writing, name);
    entry.kind = ENTRY_FIELD;
    entry.name = *name;
    entry.value = value;
    entry.deadline_ms = deadline_ms;
    model_add(writing->model, &entry);
    writing->effect = true;
}

static void put_attribute(struct writing *writing, int kind, uint64_t ms, struct bytes value)
{
    struct model *model = writing->model;
    struct model_entry entry = writing->proto;

    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (model->entries[i].kind == kind) {
            model_remove(model, i);
        }
    }
    if (ms != 0 || value.size > 0) {
        entry.kind = kind;
        entry.ms = ms;
        entry.value = model_string_of(value);
        model_add(model, &entry);
    }
    writing->effect = true;
}

static bool has_attribute(const struct model *model, int kind)
{
    for (int i = 0; i < model->entry_count; i++) {
        if (model->entries[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static enum status add_number(struct writing *writing, const struct model_string *name,
                              int64_t delta, bool keep_deadline, uint64_t new_deadline_ms,
                              int64_t *result)
{
    struct model *model = writing->model;
    struct model_string value = {0};
    uint64_t deadline_ms = 0;
    int64_t number = 0, own = 0;
    bool there = model_find_name(model, writing->write->now_ms, name, &value, &deadline_ms);
    struct model_entry entry = writing->proto;

    if (there && !model_parse(&value, &number)) {
        return STATUS_NOT_A_NUMBER;
    }
    *result = number + delta;
    deadline_ms = keep_deadline ? deadline_ms : new_deadline_ms;
    const struct model_entry *base = model_newest(model, ENTRY_FIELD, name);
    if (there && base != NULL && model_stamps_equal(base->stamp, writing->stamp)) {
        put_field(writing, name, model_format(*result), deadline_ms);
        return STATUS_OK;
    }
    if (!there) {
        remove_name(writing, name);
    } else {
        entry.base = base != NULL ? base->stamp : entry.base;
    }
    /* Two walks: what counts is judged while all is still there. */
    bool gone[MODEL_ENTRIES_MAX] = {false};
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *other = &model->entries[i];
        if (!model_is_user(other) || !model_strings_equal(&other->name, name)) {
            continue;
        }
        bool mine = other->kind == ENTRY_SUM &&
                    actor_compare(other->stamp.actor, writing->stamp.actor) == 0;
        gone[i] = !model_counts(model, other) || mine;
        own += model_counts(model, other) && mine ? other->sum : 0;
    }
    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (gone[i]) {
            model_remove(model, i);
        }
    }
    entry.kind = ENTRY_SUM;
    entry.name = *name;
    entry.sum = own + delta;
    entry.deadline_ms = deadline_ms;
    model_add(model, &entry);
    writing->effect = true;
    return STATUS_OK;
}

static int64_t clear(struct writing *writing)
{
    struct model_view view;

    model_look(writing->model, 0, &view); /* At 0: whatever the deadline, what was is counted. */
    int64_t fields = 0;
    struct model_string value;
    uint64_t deadline_ms;
    for (int i = writing->model->entry_count - 1; i >= 0; i--) {
        if (i < writing->model->entry_count && model_is_user(&writing->model->entries[i])) {
            struct model_string name = writing->model->entries[i].name;
            fields += model_find_name(writing->model, writing->write->now_ms, &name, &value,
                                      &deadline_ms);
            remove_name(writing, &name);
            i = writing->model->entry_count;
        }
    }
    return fields;
}

static enum status write_until(struct writing *writing, const struct model_string *name,
                               uint64_t ms, int64_t *result)
{
    struct model_string value;
    uint64_t deadline_ms;
    int64_t number;

    *result = model_find_name(writing->model, writing->write->now_ms, name, &value, &deadline_ms);
    if (*result == 0) {
        return STATUS_OK;
    }
    if (ms != 0 && ms <= writing->write->now_ms) {
        remove_name(writing, name);
        return STATUS_OK;
    }
    if (model_parse(&value, &number)) {
        return add_number(writing, name, 0, false, ms, &number);
    }
    put_field(writing, name, value, ms);
    return STATUS_OK;
}

/* Does the session's type know this change? A blob has one field only. */
static bool fits(const struct writing *writing, const struct change *change)
{
    switch (change->operation) {
    case CHANGE_SET:
    case CHANGE_SET_UNTIL:
    case CHANGE_ADD:
    case CHANGE_APPEND:
        return writing->type == SESSION_MAP ||
               (writing->type == SESSION_BLOB && change->name.size == 0);
    case CHANGE_ADD_MEMBER:
        return writing->type == SESSION_SET;
    case CHANGE_DELETE:
    case CHANGE_UNTIL:
        return writing->type != SESSION_BLOB || change->name.size == 0;
    default:
        return true;
    }
}

static enum status write_change(struct writing *writing, const struct change *change,
                                int64_t *result)
{
    struct model_string name = model_string_of(change->name), value = {0};
    uint64_t now_ms = writing->write->now_ms, deadline_ms = 0;
    struct bytes none = bytes_of("", 0);
    bool there;

    *result = 0;
    if (!fits(writing, change)) {
        return STATUS_WRONG_TYPE;
    }
    switch (change->operation) {
    case CHANGE_SET:
    case CHANGE_SET_UNTIL:
        *result = !model_find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        put_field(writing, &name, model_string_of(change->value), change->ms);
        if (change->ms != 0 && change->ms <= now_ms) {
            remove_name(writing, &name);
        }
        return STATUS_OK;
    case CHANGE_DELETE:
        *result = model_find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        remove_name(writing, &name);
        return STATUS_OK;
    case CHANGE_ADD:
        there = model_find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        return add_number(writing, &name, change->delta, there, 0, result);
    case CHANGE_APPEND:
        there = model_find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        if (!there) {
            value.size = 0;
            deadline_ms = 0;
        }
        assert_in_range(value.size + change->value.size, 0, MODEL_VALUE_MAX);
        if (change->value.size > 0) {
            memcpy(value.data + value.size, change->value.data, change->value.size);
        }
        value.size += (uint32_t)change->value.size;
        put_field(writing, &name, value, deadline_ms);
        *result = value.size;
        return STATUS_OK;
    case CHANGE_CLEAR:
        *result = clear(writing);
        return STATUS_OK;
    case CHANGE_ABSOLUTE:
        put_attribute(writing, ENTRY_ABSOLUTE, change->ms, none);
        return STATUS_OK;
    case CHANGE_TTL:
        put_attribute(writing, ENTRY_ABSOLUTE, now_ms + change->ms, none);
        return STATUS_OK;
    case CHANGE_IDLE:
        put_attribute(writing, ENTRY_IDLE, change->ms, none);
        return STATUS_OK;
    case CHANGE_OWNER:
        put_attribute(writing, ENTRY_OWNER, 0, change->value);
        return STATUS_OK;
    case CHANGE_UNTIL:
        return write_until(writing, &name, change->ms, result);
    case CHANGE_ADD_MEMBER:
        *result = !model_find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        if (*result != 0) {
            put_field(writing, &name, model_string_of(none), 0);
        }
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static void put_result(struct buffer *results, int64_t result)
{
    assert_int_equal(buffer_reserve(results, VARINT_BYTES_MAX), 0);
    uint8_t *end = varint_put(results->data + results->size, zigzag(result));
    results->size = (size_t)(end - results->data);
}

static struct stamp next_stamp(const struct model *model, const struct session_write *write)
{
    uint64_t newest = write->hlc;

    for (int i = 0; i < model->seen_count; i++) {
        newest = model->seen[i].hlc > newest ? model->seen[i].hlc : newest;
    }
    if (hlc_of_ms(model->access_ms) > newest) {
        newest = hlc_of_ms(model->access_ms);
    }
    return (struct stamp){hlc_next(newest, write->now_ms), write->actor};
}

static void remember(struct writing *writing, const struct buffer *results)
{
    const struct session_write *write = writing->write;
    struct model *model = writing->model;
    uint64_t oldest = hlc_of_ms(write->now_ms - DEDUP_KEEP_MS);

    for (int i = 0; i < model->item_count; i++) {
        uint64_t hlc = model->items[i].stamp.hlc;
        if (hlc < oldest && hlc > model->floor && model->items[i].client != DEDUP_RECEIPT_CLIENT) {
            model->floor = hlc;
        }
    }
    model_settle_items(model);
    if (write->client != 0) {
        model->items[model->item_count++] = (struct model_item){
            .client = write->client,
            .sequence = write->sequence,
            .stamp = writing->stamp,
            .results = model_string_of(buffer_bytes(results)),
        };
    }
    model_settle_items(model);
}

/* May others have begun what lives after the first try of this repeated write? */
static bool began_since(const struct model *model, const struct session_write *write,
                        const struct model_view *view)
{
    bool own = false;

    for (int i = 0; i < model->item_count; i++) {
        own |= model_stamps_equal(model->items[i].stamp, view->lead) &&
               model->items[i].client == write->client;
    }
    return write->retry_hlc != 0 && view->live && view->lead.hlc > write->retry_hlc && !own;
}

static enum status model_destroy(struct writing *writing, const struct model_view *view,
                                 bool *changed, struct buffer *results)
{
    const struct session_write *write = writing->write;
    struct model *model = writing->model;

    if (began_since(model, write, view)) {
        return STATUS_MAYBE_APPLIED;
    }
    if (view->live && write->type != SESSION_NONE && write->type != view->type) {
        return STATUS_WRONG_TYPE;
    }
    put_result(results, view->live);
    if (!view->live && !write->rules->no_resurrect &&
        (write->client == 0 || write->record.size == 0)) {
        return STATUS_OK;
    }
    *changed = true;
    model_see(model, writing->stamp.actor, writing->stamp.hlc);
    struct death death = {writing->stamp.hlc, writing->stamp.hlc};
    if (write->rules->no_resurrect) {
        death.until = hlc_of_ms(hlc_ms(death.hlc) + write->rules->tombstone_keep_ms);
        death.until = death.until < death.hlc ? death.hlc : death.until;
    }
    model->death = death_join(model->death, death);
    model->entry_count = 0;
    model_settle(model);
    remember(writing, results);
    return STATUS_OK;
}

/* The death of what was before, at its newest birth. */
static void end_before(struct writing *writing)
{
    struct model *model = writing->model;
    uint64_t hlc = 0;

    for (int i = 0; i < model->entry_count; i++) {
        hlc = model->entries[i].birth.hlc > hlc ? model->entries[i].birth.hlc : hlc;
    }
    model->death = death_join(model->death, (struct death){hlc, hlc});
    model->entry_count = 0;
}

static enum status begin(struct writing *writing)
{
    const struct session_write *write = writing->write;
    struct model *model = writing->model;

    if (write->mode == WRITE_UPDATE || write->type == SESSION_NONE) {
        return STATUS_NOT_FOUND;
    }
    bool blind = write->mode == WRITE_UPSERT;
    if (blind && writing->stamp.hlc <= model->death.until) {
        return STATUS_DESTROYED;
    }
    if (model->entry_count > 0) {
        end_before(writing);
    }
    struct model_entry type = {
        .kind = MODEL_TYPE,
        .ms = write->type,
        .stamp = writing->stamp,
        .birth = writing->stamp,
        .blind = blind,
        .fades = write->fades && write->type == SESSION_MAP,
    };
    model_add(model, &type);
    writing->proto = type;
    writing->proto.ms = 0;
    writing->proto.fades = false;
    writing->effect = true;
    return STATUS_OK;
}

/* One of more than SESSION_SIBLINGS_MAX hidden entries of its name. */
static bool is_one_too_many(const struct model *model, int index)
{
    const struct model_entry *entry = &model->entries[index];
    uint32_t hidden = 0;

    if (!model_is_user(entry) || model_counts(model, entry)) {
        return false;
    }
    for (int i = 0; i < model->entry_count; i++) {
        hidden += model_is_user(&model->entries[i]) &&
                  model_strings_equal(&model->entries[i].name, &entry->name) &&
                  model_is_of_life(model, &model->entries[i]) &&
                  !model_counts(model, &model->entries[i]);
    }
    return hidden > SESSION_SIBLINGS_MAX;
}

static void finish(struct writing *writing, bool only_touches, bool *changed,
                   const struct buffer *results)
{
    struct model *model = writing->model;
    const struct session_write *write = writing->write;
    const struct model_entry *lead = model_lead(model);
    uint64_t access_ms = write->now_ms;

    *changed = writing->effect || (write->client != 0 && !only_touches);
    if (hlc_ms(lead->stamp.hlc) > access_ms) {
        access_ms = hlc_ms(lead->stamp.hlc);
    }
    if (model_newest(model, ENTRY_IDLE, NULL) != NULL && access_ms > model->access_ms) {
        model->access_ms = access_ms;
        if (!*changed) {
            *changed = true;
            return;
        }
    }
    if (!*changed) {
        return;
    }
    bool gone[MODEL_ENTRIES_MAX];
    for (int i = 0; i < model->entry_count; i++) {
        gone[i] = !model_shows(model, lead, &model->entries[i]) ||
                  (writing->hidden > SESSION_SIBLINGS_MAX && is_one_too_many(model, i));
    }
    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (gone[i]) {
            model_remove(model, i);
        }
    }
    model_see(model, writing->stamp.actor, writing->stamp.hlc);
    model_settle(model);
    remember(writing, results);
}

static enum status do_write(struct writing *writing, const struct model_view *view, bool *changed,
                            struct buffer *results)
{
    const struct session_write *write = writing->write;
    struct reader from = reader_of(write->changes);
    struct change change;
    bool only_touches = true, absolute = false, idle = false;

    if (view->live && write->mode == WRITE_CREATE) {
        return STATUS_EXISTS;
    }
    if (view->live && write->type != SESSION_NONE && write->type != view->type) {
        return STATUS_WRONG_TYPE;
    }
    writing->type = view->live ? view->type : write->type;
    writing->hidden = view->hidden;
    if (!view->live) {
        enum status status = begin(writing);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        writing->model->since = model_since(writing->model);
        writing->model->life_kept = true;
        const struct model_entry *lead = model_lead(writing->model);
        writing->proto.birth = lead->birth;
        writing->proto.blind = lead->blind;
    }
    while (change_next(&from, &change) == 1) {
        int64_t result;
        enum status status = write_change(writing, &change, &result);
        if (status != STATUS_OK) {
            return status;
        }
        only_touches &= change.operation == CHANGE_TOUCH;
        absolute |= change.operation == CHANGE_ABSOLUTE || change.operation == CHANGE_TTL;
        idle |= change.operation == CHANGE_IDLE;
        put_result(results, result);
    }
    if (!view->live && !absolute && write->rules->absolute_ttl_ms != 0) {
        put_attribute(writing, ENTRY_ABSOLUTE, write->now_ms + write->rules->absolute_ttl_ms,
                      bytes_of("", 0));
    }
    if (!view->live && !idle && write->rules->idle_ttl_ms != 0) {
        put_attribute(writing, ENTRY_IDLE, write->rules->idle_ttl_ms, bytes_of("", 0));
    }
    assert_true(has_attribute(writing->model, MODEL_TYPE));
    finish(writing, only_touches, changed, results);
    writing->model->life_kept = false;
    return STATUS_OK;
}

enum status model_write(struct model *model, const struct session_write *write, bool *changed,
                        bool *repeated, struct buffer *results)
{
    static struct model after;
    struct model_view view;
    enum status status;

    after = *model;
    struct writing writing = {.model = &after, .write = write};
    results->size = 0;
    *changed = *repeated = false;
    for (int i = 0; write->client != 0 && i < model->item_count; i++) {
        const struct model_item *item = &model->items[i];
        if (item->client == write->client && item->sequence == write->sequence) {
            *repeated = true;
            assert_int_equal(buffer_append(results, model_bytes(&item->results)), 0);
            return STATUS_OK;
        }
    }
    if (write->client != 0 && write->retry_hlc != 0 && model->floor != 0 &&
        hlc_ms(model->floor) + 100 >= hlc_ms(write->retry_hlc)) {
        return STATUS_MAYBE_APPLIED;
    }
    model_look(model, write->now_ms, &view);
    writing.stamp = next_stamp(model, write);
    writing.proto.stamp = writing.stamp;
    if (write->changes.data[0] == CHANGE_DESTROY) {
        status = model_destroy(&writing, &view, changed, results);
    } else {
        status = do_write(&writing, &view, changed, results);
    }
    if (status != STATUS_OK) {
        results->size = 0;
    } else if (*changed) {
        *model = after;
    }
    return status;
}

void model_bury(struct model *model, struct stamp stamp, uint64_t death_hlc)
{
    model_see(model, stamp.actor, stamp.hlc);
    model->death = death_join(model->death, (struct death){death_hlc, death_hlc});
    model->entry_count = 0;
    model_settle(model);
}
