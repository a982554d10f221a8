#include "session_model.h"

#include <stdio.h>

static struct model_string string_of(struct bytes bytes)
{
    struct model_string string = {.size = (uint32_t)bytes.size};

    assert_in_range(bytes.size, 0, MODEL_VALUE_MAX);
    if (bytes.size > 0) {
        memcpy(string.data, bytes.data, bytes.size);
    }
    return string;
}

static struct bytes bytes_of_model(const struct model_string *string)
{
    return bytes_of(string->data, string->size);
}

static bool strings_equal(const struct model_string *a, const struct model_string *b)
{
    return bytes_equal(bytes_of_model(a), bytes_of_model(b));
}

static bool stamps_equal(struct stamp a, struct stamp b)
{
    return stamp_compare(a, b) == 0;
}

static bool is_user(const struct model_entry *entry)
{
    return entry->kind == ENTRY_FIELD || entry->kind == ENTRY_SUM;
}

uint64_t model_seen(const struct model *model, struct actor actor)
{
    for (int i = 0; i < model->seen_count; i++) {
        if (actor_compare(model->seen[i].actor, actor) == 0) {
            return model->seen[i].hlc;
        }
    }
    return 0;
}

static void see(struct model *model, struct actor actor, uint64_t hlc)
{
    for (int i = 0; i < model->seen_count; i++) {
        if (actor_compare(model->seen[i].actor, actor) == 0) {
            model->seen[i].hlc = hlc > model->seen[i].hlc ? hlc : model->seen[i].hlc;
            return;
        }
    }
    assert_in_range(model->seen_count, 0, MODEL_ACTORS_MAX - 1);
    model->seen[model->seen_count++] = (struct version_item){actor, hlc};
}

static void add_entry(struct model *model, const struct model_entry *entry)
{
    assert_in_range(model->entry_count, 0, MODEL_ENTRIES_MAX - 1);
    model->entries[model->entry_count++] = *entry;
}

static void remove_entry(struct model *model, int index)
{
    model->entries[index] = model->entries[--model->entry_count];
}

/* Deaths and the floor take what is below them. */
static void settle(struct model *model)
{
    for (int i = model->entry_count - 1; i >= 0; i--) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->birth.hlc <= model->death.hlc ||
            (entry->blind && entry->birth.hlc <= model->death.until)) {
            remove_entry(model, i);
        }
    }
    if (model->access_ms < hlc_ms(model->death.hlc)) {
        model->access_ms = 0;
    }
}

static void settle_items(struct model *model)
{
    while (model->item_count > DEDUP_ITEMS_MAX) {
        int oldest = 0;
        for (int i = 1; i < model->item_count; i++) {
            if (stamp_compare(model->items[i].stamp, model->items[oldest].stamp) < 0) {
                oldest = i;
            }
        }
        if (model->items[oldest].stamp.hlc > model->floor) {
            model->floor = model->items[oldest].stamp.hlc;
        }
        model->items[oldest] = model->items[--model->item_count];
    }
    for (int i = model->item_count - 1; i >= 0; i--) {
        if (model->items[i].stamp.hlc <= model->floor) {
            model->items[i] = model->items[--model->item_count];
        }
    }
}

static bool same_entry(const struct model_entry *a, const struct model_entry *b)
{
    return a->kind == b->kind && strings_equal(&a->name, &b->name) &&
           stamps_equal(a->stamp, b->stamp);
}

static const struct model_entry *find_entry(const struct model *model,
                                            const struct model_entry *wanted)
{
    for (int i = 0; i < model->entry_count; i++) {
        if (same_entry(&model->entries[i], wanted)) {
            return &model->entries[i];
        }
    }
    return NULL;
}

void model_merge(const struct model *a, const struct model *b, struct model *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < a->seen_count; i++) {
        see(out, a->seen[i].actor, a->seen[i].hlc);
    }
    for (int i = 0; i < b->seen_count; i++) {
        see(out, b->seen[i].actor, b->seen[i].hlc);
    }
    out->death = death_join(a->death, b->death);
    out->access_ms = a->access_ms > b->access_ms ? a->access_ms : b->access_ms;
    out->floor = a->floor > b->floor ? a->floor : b->floor;
    for (int i = 0; i < a->entry_count; i++) {
        const struct model_entry *entry = &a->entries[i];
        if (find_entry(b, entry) != NULL || entry->stamp.hlc > model_seen(b, entry->stamp.actor)) {
            add_entry(out, entry);
        }
    }
    for (int i = 0; i < b->entry_count; i++) {
        const struct model_entry *entry = &b->entries[i];
        if (find_entry(a, entry) == NULL && entry->stamp.hlc > model_seen(a, entry->stamp.actor)) {
            add_entry(out, entry);
        }
    }
    memcpy(out->items, a->items, sizeof a->items);
    out->item_count = a->item_count;
    for (int i = 0; i < b->item_count; i++) {
        bool known = false;
        for (int j = 0; j < a->item_count; j++) {
            known |= stamps_equal(a->items[j].stamp, b->items[i].stamp);
        }
        if (!known) {
            out->items[out->item_count++] = b->items[i];
        }
    }
    settle(out);
    settle_items(out);
}

static int compare_entries(const void *left, const void *right)
{
    const struct model_entry *a = left, *b = right;
    int order = a->kind - b->kind;

    order = order != 0 ? order : bytes_compare(bytes_of_model(&a->name), bytes_of_model(&b->name));
    return order != 0 ? order : stamp_compare(a->stamp, b->stamp);
}

static bool entries_equal(const struct model_entry *a, const struct model_entry *b)
{
    return same_entry(a, b) && strings_equal(&a->value, &b->value) && a->ms == b->ms &&
           a->sum == b->sum && stamps_equal(a->base, b->base) && stamps_equal(a->birth, b->birth) &&
           a->blind == b->blind && a->deadline_ms == b->deadline_ms;
}

bool model_equal(const struct model *a, const struct model *b)
{
    if (a->seen_count != b->seen_count || a->entry_count != b->entry_count ||
        a->item_count != b->item_count || a->floor != b->floor || a->access_ms != b->access_ms ||
        a->death.hlc != b->death.hlc || a->death.until != b->death.until) {
        return false;
    }
    for (int i = 0; i < a->seen_count; i++) {
        if (model_seen(b, a->seen[i].actor) != a->seen[i].hlc) {
            return false;
        }
    }
    static struct model_entry in_a[MODEL_ENTRIES_MAX], in_b[MODEL_ENTRIES_MAX];
    memcpy(in_a, a->entries, (size_t)a->entry_count * sizeof in_a[0]);
    memcpy(in_b, b->entries, (size_t)b->entry_count * sizeof in_b[0]);
    qsort(in_a, (size_t)a->entry_count, sizeof in_a[0], compare_entries);
    qsort(in_b, (size_t)b->entry_count, sizeof in_b[0], compare_entries);
    for (int i = 0; i < a->entry_count; i++) {
        if (!entries_equal(&in_a[i], &in_b[i])) {
            return false;
        }
    }
    for (int i = 0; i < a->item_count; i++) {
        bool found = false;
        for (int j = 0; j < b->item_count; j++) {
            found |= stamps_equal(a->items[i].stamp, b->items[j].stamp) &&
                     a->items[i].client == b->items[j].client &&
                     a->items[i].sequence == b->items[j].sequence &&
                     strings_equal(&a->items[i].results, &b->items[j].results);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

void model_read(struct model *model, struct bytes record)
{
    struct record opened;
    struct version_item item;
    struct dedup dedup;
    struct entry entry;

    memset(model, 0, sizeof *model);
    if (record.size == 0) {
        return;
    }
    assert_int_equal(record_open(&opened, record, RECORD_FORMAT), 0);
    struct version_walk walk = version_walk(&opened.version);
    while (version_next(&walk, &item)) {
        see(model, item.actor, item.hlc);
    }
    model->death = opened.version.death;
    model->access_ms = opened.last_access_ms;
    for (uint32_t i = 0; i < opened.birth_count; i++) {
        struct birth birth = record_birth(&opened, i);
        struct model_entry type = {
            .kind = MODEL_TYPE,
            .ms = birth.type,
            .stamp = birth.stamp,
            .birth = birth.stamp,
            .blind = birth.blind,
        };
        if (birth.type != 0) {
            add_entry(model, &type);
        }
    }
    struct entry_walk entries = entry_walk(&opened);
    while (entry_next(&entries, &entry)) {
        struct model_entry copy = {
            .kind = entry.kind,
            .name = string_of(entry.name),
            .value = string_of(entry.value),
            .ms = entry.ms,
            .sum = entry.sum,
            .stamp = entry.stamp,
            .base = entry.base,
            .birth = entry.birth.stamp,
            .blind = entry.birth.blind,
            .deadline_ms = entry.deadline_ms,
        };
        add_entry(model, &copy);
    }
    record_dedup(&opened, &dedup);
    model->floor = dedup.floor;
    for (uint32_t i = 0; i < dedup.count; i++) {
        model->items[model->item_count++] = (struct model_item){
            .client = dedup.items[i].client,
            .sequence = dedup.items[i].sequence,
            .stamp = dedup.items[i].stamp,
            .results = string_of(dedup.items[i].results),
        };
    }
}

static void print_stamp(const char *what, struct stamp stamp)
{
    print_error(" %s %llu.%u@%u.%u", what, (unsigned long long)hlc_ms(stamp.hlc),
                (unsigned)(stamp.hlc & 0xffff), stamp.actor.node, stamp.actor.start);
}

void model_print(const struct model *model)
{
    print_error("death %llx until %llx access %llu floor %llx\n",
                (unsigned long long)model->death.hlc, (unsigned long long)model->death.until,
                (unsigned long long)model->access_ms, (unsigned long long)model->floor);
    for (int i = 0; i < model->seen_count; i++) {
        print_stamp("seen", (struct stamp){model->seen[i].hlc, model->seen[i].actor});
    }
    print_error("\n");
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        print_error("kind %d '%.*s' = '%.*s' ms %llu sum %lld until %llu%s", entry->kind,
                    (int)entry->name.size, (const char *)entry->name.data, (int)entry->value.size,
                    (const char *)entry->value.data, (unsigned long long)entry->ms,
                    (long long)entry->sum, (unsigned long long)entry->deadline_ms,
                    entry->blind ? " blind" : "");
        print_stamp("stamp", entry->stamp);
        print_stamp("base", entry->base);
        print_stamp("birth", entry->birth);
        print_error("\n");
    }
    for (int i = 0; i < model->item_count; i++) {
        print_error("item %llu %llu", (unsigned long long)model->items[i].client,
                    (unsigned long long)model->items[i].sequence);
        print_stamp("stamp", model->items[i].stamp);
        print_error("\n");
    }
}

/* ---- What is shown ---- */

/* The type that a birth began, as far as its entry still lives. */
static uint64_t type_of_birth(const struct model *model, struct stamp birth)
{
    for (int i = 0; i < model->entry_count; i++) {
        if (model->entries[i].kind == MODEL_TYPE && stamps_equal(model->entries[i].birth, birth)) {
            return model->entries[i].ms;
        }
    }
    return 0;
}

static const struct model_entry *find_lead(const struct model *model)
{
    const struct model_entry *lead = NULL;

    for (int blind = 0; blind < 2 && lead == NULL; blind++) {
        for (int i = 0; i < model->entry_count; i++) {
            const struct model_entry *entry = &model->entries[i];
            if (entry->kind == MODEL_TYPE && entry->blind == blind &&
                (lead == NULL || stamp_compare(entry->stamp, lead->stamp) > 0)) {
                lead = entry;
            }
        }
    }
    return lead;
}

static bool is_shown(const struct model *model, const struct model_entry *lead,
                     const struct model_entry *entry)
{
    if (lead == NULL) {
        return false;
    }
    if (!entry->blind) {
        return stamps_equal(entry->birth, lead->birth);
    }
    uint64_t type = type_of_birth(model, entry->birth);
    return type == 0 || type == lead->ms;
}

static const struct model_entry *newest_of(const struct model *model, int kind,
                                           const struct model_string *name)
{
    const struct model_entry *lead = find_lead(model), *found = NULL;

    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->kind == kind && (name == NULL || strings_equal(&entry->name, name)) &&
            is_shown(model, lead, entry) &&
            (found == NULL || stamp_compare(entry->stamp, found->stamp) > 0)) {
            found = entry;
        }
    }
    return found;
}

/* Does this entry make the shown value of its name? */
static bool counts(const struct model *model, const struct model_entry *entry)
{
    const struct model_entry *base = newest_of(model, ENTRY_FIELD, &entry->name);
    struct stamp wanted = base != NULL ? base->stamp : (struct stamp){0, {0, 0}};

    if (!is_shown(model, find_lead(model), entry)) {
        return false;
    }
    return stamps_equal(entry->kind == ENTRY_FIELD ? entry->stamp : entry->base, wanted);
}

static bool parse(const struct model_string *text, int64_t *number)
{
    char copy[MODEL_VALUE_MAX + 1] = {0};
    char again[32];

    memcpy(copy, text->data, text->size);
    *number = strtoll(copy, NULL, 10);
    snprintf(again, sizeof again, "%lld", (long long)*number);
    return strcmp(copy, again) == 0 && strlen(copy) == text->size;
}

static struct model_string format(int64_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)number);
    return string_of(bytes_of_string(text));
}

static bool find_name(const struct model *model, uint64_t now_ms, const struct model_string *name,
                      struct model_string *value, uint64_t *deadline_ms)
{
    const struct model_entry *base = newest_of(model, ENTRY_FIELD, name), *newest = NULL;
    int64_t total = 0;
    bool summed = false;

    if (base != NULL) {
        *value = base->value;
        parse(&base->value, &total);
    }
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (is_user(entry) && strings_equal(&entry->name, name) && counts(model, entry)) {
            if (newest == NULL || stamp_compare(entry->stamp, newest->stamp) > 0) {
                newest = entry;
            }
            if (entry->kind == ENTRY_SUM) {
                summed = true;
                total += entry->sum;
            }
        }
    }
    if (newest == NULL || (newest->deadline_ms != 0 && newest->deadline_ms <= now_ms)) {
        return false;
    }
    *deadline_ms = newest->deadline_ms;
    if (summed) {
        *value = format(total);
    }
    return true;
}

bool model_find(const struct model *model, uint64_t now_ms, struct bytes name,
                struct model_string *value)
{
    struct model_string string = string_of(name);
    uint64_t deadline_ms;

    return find_name(model, now_ms, &string, value, &deadline_ms);
}

void model_look(const struct model *model, uint64_t now_ms, struct model_view *view)
{
    const struct model_entry *lead = find_lead(model);
    const struct model_entry *absolute = newest_of(model, ENTRY_ABSOLUTE, NULL);
    const struct model_entry *idle = newest_of(model, ENTRY_IDLE, NULL);
    struct model_string value;
    uint64_t deadline_ms;

    *view = (struct model_view){0};
    if (lead == NULL) {
        return;
    }
    view->lead = lead->stamp;
    view->absolute_ms = absolute != NULL ? absolute->ms : 0;
    view->idle_ms = idle != NULL ? idle->ms : 0;
    view->deadline_ms = view->absolute_ms;
    if (idle != NULL) {
        uint64_t access_ms = hlc_ms(lead->stamp.hlc);
        access_ms = model->access_ms > access_ms ? model->access_ms : access_ms;
        if (absolute == NULL || access_ms + idle->ms < absolute->ms) {
            view->deadline_ms = access_ms + idle->ms;
        }
    }
    view->expired = view->deadline_ms != 0 && now_ms >= view->deadline_ms;
    view->live = !view->expired;
    if (!view->live) {
        return;
    }
    view->type = (enum session_type)lead->ms;
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (!is_user(entry)) {
            continue;
        }
        view->hidden += !counts(model, entry);
        bool first = true;
        for (int j = 0; j < i; j++) {
            first &= !is_user(&model->entries[j]) ||
                     !strings_equal(&model->entries[j].name, &entry->name);
        }
        view->field_count += first && find_name(model, now_ms, &entry->name, &value, &deadline_ms);
    }
}

/* ---- Writing ---- */

struct writing {
    struct model *model;
    const struct session_write *write;
    struct stamp stamp;
    struct model_entry proto; /* Of new entries: stamp and birth. */
    bool effect;
};

static bool remove_name(struct writing *writing, const struct model_string *name)
{
    struct model *model = writing->model;
    bool any = false;

    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (is_user(&model->entries[i]) && strings_equal(&model->entries[i].name, name)) {
            remove_entry(model, i);
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
    add_entry(writing->model, &entry);
    writing->effect = true;
}

static void put_attribute(struct writing *writing, int kind, uint64_t ms, struct bytes value)
{
    struct model *model = writing->model;
    struct model_entry entry = writing->proto;

    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (model->entries[i].kind == kind) {
            remove_entry(model, i);
        }
    }
    if (ms != 0 || value.size > 0) {
        entry.kind = kind;
        entry.ms = ms;
        entry.value = string_of(value);
        add_entry(model, &entry);
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
    bool there = find_name(model, writing->write->now_ms, name, &value, &deadline_ms);
    struct model_entry entry = writing->proto;

    if (there && !parse(&value, &number)) {
        return STATUS_NOT_A_NUMBER;
    }
    *result = number + delta;
    deadline_ms = keep_deadline ? deadline_ms : new_deadline_ms;
    const struct model_entry *base = newest_of(model, ENTRY_FIELD, name);
    if (there && base != NULL && stamps_equal(base->stamp, writing->stamp)) {
        put_field(writing, name, format(*result), deadline_ms);
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
        if (!is_user(other) || !strings_equal(&other->name, name)) {
            continue;
        }
        bool mine = other->kind == ENTRY_SUM &&
                    actor_compare(other->stamp.actor, writing->stamp.actor) == 0;
        gone[i] = !counts(model, other) || mine;
        own += counts(model, other) && mine ? other->sum : 0;
    }
    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (gone[i]) {
            remove_entry(model, i);
        }
    }
    entry.kind = ENTRY_SUM;
    entry.name = *name;
    entry.sum = own + delta;
    entry.deadline_ms = deadline_ms;
    add_entry(model, &entry);
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
        if (i < writing->model->entry_count && is_user(&writing->model->entries[i])) {
            struct model_string name = writing->model->entries[i].name;
            fields +=
                find_name(writing->model, writing->write->now_ms, &name, &value, &deadline_ms);
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

    *result = find_name(writing->model, writing->write->now_ms, name, &value, &deadline_ms);
    if (*result == 0) {
        return STATUS_OK;
    }
    if (ms != 0 && ms <= writing->write->now_ms) {
        remove_name(writing, name);
        return STATUS_OK;
    }
    if (parse(&value, &number)) {
        return add_number(writing, name, 0, false, ms, &number);
    }
    put_field(writing, name, value, ms);
    return STATUS_OK;
}

static enum status write_change(struct writing *writing, const struct change *change,
                                int64_t *result)
{
    struct model_string name = string_of(change->name), value = {0};
    uint64_t now_ms = writing->write->now_ms, deadline_ms = 0;
    struct bytes none = bytes_of("", 0);
    bool there;

    *result = 0;
    switch (change->operation) {
    case CHANGE_SET:
    case CHANGE_SET_UNTIL:
        *result = !find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        put_field(writing, &name, string_of(change->value), change->ms);
        if (change->ms != 0 && change->ms <= now_ms) {
            remove_name(writing, &name);
        }
        return STATUS_OK;
    case CHANGE_DELETE:
        *result = find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        remove_name(writing, &name);
        return STATUS_OK;
    case CHANGE_ADD:
        there = find_name(writing->model, now_ms, &name, &value, &deadline_ms);
        return add_number(writing, &name, change->delta, there, 0, result);
    case CHANGE_APPEND:
        there = find_name(writing->model, now_ms, &name, &value, &deadline_ms);
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
        if (hlc < oldest && hlc > model->floor) {
            model->floor = hlc;
        }
    }
    settle_items(model);
    if (write->client != 0) {
        model->items[model->item_count++] = (struct model_item){
            .client = write->client,
            .sequence = write->sequence,
            .stamp = writing->stamp,
            .results = string_of(buffer_bytes(results)),
        };
    }
    settle_items(model);
}

static enum status model_destroy(struct writing *writing, const struct model_view *view,
                                 bool *changed, struct buffer *results)
{
    const struct session_write *write = writing->write;
    struct model *model = writing->model;

    put_result(results, view->live);
    if (!view->live && !write->rules->no_resurrect &&
        (write->client == 0 || write->record.size == 0)) {
        return STATUS_OK;
    }
    *changed = true;
    see(model, writing->stamp.actor, writing->stamp.hlc);
    struct death death = {writing->stamp.hlc, writing->stamp.hlc};
    if (write->rules->no_resurrect) {
        death.until = hlc_of_ms(hlc_ms(death.hlc) + write->rules->tombstone_keep_ms);
        death.until = death.until < death.hlc ? death.hlc : death.until;
    }
    model->death = death_join(model->death, death);
    model->entry_count = 0;
    settle(model);
    remember(writing, results);
    return STATUS_OK;
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
        model->death = death_join(model->death,
                                  (struct death){writing->stamp.hlc - 1, writing->stamp.hlc - 1});
        model->entry_count = 0;
    }
    struct model_entry type = {
        .kind = MODEL_TYPE,
        .ms = write->type,
        .stamp = writing->stamp,
        .birth = writing->stamp,
        .blind = blind,
    };
    add_entry(model, &type);
    writing->proto = type;
    writing->proto.ms = 0;
    writing->effect = true;
    return STATUS_OK;
}

static void finish(struct writing *writing, bool only_touches, bool *changed,
                   const struct buffer *results)
{
    struct model *model = writing->model;
    const struct session_write *write = writing->write;
    const struct model_entry *lead = find_lead(model);
    uint64_t access_ms = write->now_ms;

    *changed = writing->effect || (write->client != 0 && !only_touches);
    if (hlc_ms(lead->stamp.hlc) > access_ms) {
        access_ms = hlc_ms(lead->stamp.hlc);
    }
    if (newest_of(model, ENTRY_IDLE, NULL) != NULL && access_ms > model->access_ms) {
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
        gone[i] = !is_shown(model, lead, &model->entries[i]);
    }
    for (int i = model->entry_count - 1; i >= 0; i--) {
        if (gone[i]) {
            remove_entry(model, i);
        }
    }
    see(model, writing->stamp.actor, writing->stamp.hlc);
    settle(model);
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
    if (!view->live) {
        enum status status = begin(writing);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        const struct model_entry *lead = find_lead(writing->model);
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
            assert_int_equal(buffer_append(results, bytes_of_model(&item->results)), 0);
            return STATUS_OK;
        }
    }
    if (write->client != 0 && write->retry_hlc != 0 && model->floor > write->retry_hlc) {
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
