#include "session_model_inside.h"

#include <stdio.h>

struct model_string model_string_of(struct bytes bytes)
{
    struct model_string string = {.size = (uint32_t)bytes.size};

    assert_in_range(bytes.size, 0, MODEL_VALUE_MAX);
    if (bytes.size > 0) {
        memcpy(string.data, bytes.data, bytes.size);
    }
    return string;
}

struct bytes model_bytes(const struct model_string *string)
{
    return bytes_of(string->data, string->size);
}

bool model_strings_equal(const struct model_string *a, const struct model_string *b)
{
    return bytes_equal(model_bytes(a), model_bytes(b));
}

bool model_stamps_equal(struct stamp a, struct stamp b)
{
    return stamp_compare(a, b) == 0;
}

bool model_is_user(const struct model_entry *entry)
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

void model_see(struct model *model, struct actor actor, uint64_t hlc)
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

void model_add(struct model *model, const struct model_entry *entry)
{
    assert_in_range(model->entry_count, 0, MODEL_ENTRIES_MAX - 1);
    model->entries[model->entry_count++] = *entry;
}

void model_remove(struct model *model, int index)
{
    model->entries[index] = model->entries[--model->entry_count];
}

/* Deaths and the floor take what is below them. */
void model_settle(struct model *model)
{
    for (int i = model->entry_count - 1; i >= 0; i--) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->birth.hlc <= model->death.hlc ||
            (entry->blind && entry->birth.hlc <= model->death.until)) {
            model_remove(model, i);
        }
    }
    if (model->access_ms < hlc_ms(model->death.hlc)) {
        model->access_ms = 0;
    }
}

static bool is_receipt(const struct model_item *item)
{
    return item->client == DEDUP_RECEIPT_CLIENT;
}

int model_receipts(const struct model *model)
{
    int count = 0;

    for (int i = 0; i < model->item_count; i++) {
        count += is_receipt(&model->items[i]);
    }
    return count;
}

void model_settle_items(struct model *model)
{
    while (model->item_count - model_receipts(model) > DEDUP_ITEMS_MAX) {
        int oldest = -1;
        for (int i = 0; i < model->item_count; i++) {
            if (!is_receipt(&model->items[i]) &&
                (oldest < 0 ||
                 stamp_compare(model->items[i].stamp, model->items[oldest].stamp) < 0)) {
                oldest = i;
            }
        }
        if (model->items[oldest].stamp.hlc > model->floor) {
            model->floor = model->items[oldest].stamp.hlc;
        }
        model->items[oldest] = model->items[--model->item_count];
    }
    for (int i = model->item_count - 1; i >= 0; i--) {
        if (!is_receipt(&model->items[i]) && model->items[i].stamp.hlc <= model->floor) {
            model->items[i] = model->items[--model->item_count];
        }
    }
}

static bool same_entry(const struct model_entry *a, const struct model_entry *b)
{
    return a->kind == b->kind && model_strings_equal(&a->name, &b->name) &&
           model_stamps_equal(a->stamp, b->stamp);
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

static bool find_item(const struct model *model, const struct model_item *wanted)
{
    for (int i = 0; i < model->item_count; i++) {
        if (model_stamps_equal(model->items[i].stamp, wanted->stamp)) {
            return true;
        }
    }
    return false;
}

void model_refuse(struct model *model, struct stamp stamp, uint64_t id)
{
    model_see(model, stamp.actor, stamp.hlc);
    for (int i = 0; i < model->item_count; i++) { /* As a write does. */
        uint64_t hlc = model->items[i].stamp.hlc;
        if (!is_receipt(&model->items[i]) && hlc_ms(hlc) + DEDUP_KEEP_MS < hlc_ms(stamp.hlc) &&
            hlc > model->floor) {
            model->floor = hlc;
        }
    }
    model_settle_items(model);
    model->items[model->item_count++] = (struct model_item){
        .client = DEDUP_RECEIPT_CLIENT,
        .sequence = id,
        .stamp = stamp,
        .results = model_string_of(text("E")),
    };
}

void model_forget(struct model *model, struct stamp stamp, uint64_t id)
{
    model_see(model, stamp.actor, stamp.hlc);
    for (int i = model->item_count - 1; i >= 0; i--) {
        if (is_receipt(&model->items[i]) && model->items[i].sequence == id) {
            model->items[i] = model->items[--model->item_count];
        }
    }
}

void model_merge(const struct model *a, const struct model *b, struct model *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < a->seen_count; i++) {
        model_see(out, a->seen[i].actor, a->seen[i].hlc);
    }
    for (int i = 0; i < b->seen_count; i++) {
        model_see(out, b->seen[i].actor, b->seen[i].hlc);
    }
    out->death = death_join(a->death, b->death);
    out->access_ms = a->access_ms > b->access_ms ? a->access_ms : b->access_ms;
    out->floor = a->floor > b->floor ? a->floor : b->floor;
    for (int i = 0; i < a->entry_count; i++) {
        const struct model_entry *entry = &a->entries[i];
        if (find_entry(b, entry) != NULL || entry->stamp.hlc > model_seen(b, entry->stamp.actor)) {
            model_add(out, entry);
        }
    }
    for (int i = 0; i < b->entry_count; i++) {
        const struct model_entry *entry = &b->entries[i];
        if (find_entry(a, entry) == NULL && entry->stamp.hlc > model_seen(a, entry->stamp.actor)) {
            model_add(out, entry);
        }
    }
    for (int i = 0; i < a->item_count; i++) {
        if (find_item(b, &a->items[i]) || !is_receipt(&a->items[i]) ||
            a->items[i].stamp.hlc > model_seen(b, a->items[i].stamp.actor)) {
            out->items[out->item_count++] = a->items[i];
        }
    }
    for (int i = 0; i < b->item_count; i++) {
        if (!find_item(a, &b->items[i]) &&
            (!is_receipt(&b->items[i]) ||
             b->items[i].stamp.hlc > model_seen(a, b->items[i].stamp.actor))) {
            out->items[out->item_count++] = b->items[i];
        }
    }
    model_settle(out);
    model_settle_items(out);
}

static int compare_entries(const void *left, const void *right)
{
    const struct model_entry *a = left, *b = right;
    int order = a->kind - b->kind;

    order = order != 0 ? order : bytes_compare(model_bytes(&a->name), model_bytes(&b->name));
    return order != 0 ? order : stamp_compare(a->stamp, b->stamp);
}

static bool entries_equal(const struct model_entry *a, const struct model_entry *b)
{
    return same_entry(a, b) && model_strings_equal(&a->value, &b->value) && a->ms == b->ms &&
           a->sum == b->sum && model_stamps_equal(a->base, b->base) &&
           model_stamps_equal(a->birth, b->birth) && a->blind == b->blind && a->fades == b->fades &&
           a->deadline_ms == b->deadline_ms;
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
            found |= model_stamps_equal(a->items[i].stamp, b->items[j].stamp) &&
                     a->items[i].client == b->items[j].client &&
                     a->items[i].sequence == b->items[j].sequence &&
                     model_strings_equal(&a->items[i].results, &b->items[j].results);
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
        model_see(model, item.actor, item.hlc);
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
            .fades = birth.fades,
        };
        if (birth.type != 0) {
            model_add(model, &type);
        }
    }
    struct entry_walk entries = entry_walk(&opened);
    while (entry_next(&entries, &entry)) {
        struct model_entry copy = {
            .kind = entry.kind,
            .name = model_string_of(entry.name),
            .value = model_string_of(entry.value),
            .ms = entry.ms,
            .sum = entry.sum,
            .stamp = entry.stamp,
            .base = entry.base,
            .birth = entry.birth.stamp,
            .blind = entry.birth.blind,
            .deadline_ms = entry.deadline_ms,
        };
        model_add(model, &copy);
    }
    record_dedup(&opened, &dedup);
    model->floor = dedup.floor;
    for (uint32_t i = 0; i < dedup.count; i++) {
        model->items[model->item_count++] = (struct model_item){
            .client = dedup.items[i].client,
            .sequence = dedup.items[i].sequence,
            .stamp = dedup.items[i].stamp,
            .results = model_string_of(dedup.items[i].results),
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
        if (model->entries[i].kind == MODEL_TYPE &&
            model_stamps_equal(model->entries[i].birth, birth)) {
            return model->entries[i].ms;
        }
    }
    return 0;
}

/* Births of one life: from `since` on, and before `until`. */
struct life {
    struct stamp since, until;
};

static const struct stamp ever = {UINT64_MAX, {UINT32_MAX, UINT32_MAX}};

static bool is_in(const struct life *life, const struct model_entry *entry)
{
    return stamp_compare(entry->birth, life->since) >= 0 &&
           stamp_compare(entry->birth, life->until) < 0;
}

static const struct model_entry *lead_of(const struct model *model, const struct life *life)
{
    const struct model_entry *lead = NULL;

    for (int blind = 0; blind < 2 && lead == NULL; blind++) {
        for (int i = 0; i < model->entry_count; i++) {
            const struct model_entry *entry = &model->entries[i];
            if (entry->kind == MODEL_TYPE && entry->blind == blind && is_in(life, entry) &&
                (lead == NULL || stamp_compare(entry->stamp, lead->stamp) > 0)) {
                lead = entry;
            }
        }
    }
    return lead;
}

static bool shows_of(const struct model *model, const struct life *life,
                     const struct model_entry *lead, const struct model_entry *entry)
{
    if (lead == NULL || !is_in(life, entry)) {
        return false;
    }
    if (!entry->blind) {
        return model_stamps_equal(entry->birth, lead->birth);
    }
    return type_of_birth(model, entry->birth) == lead->ms;
}

/* Had a life ended at a time? An idle one, about which a later access tells nothing, had not. */
static bool had_ended(const struct model *model, const struct life *life, uint64_t at_ms)
{
    const struct model_entry *lead = lead_of(model, life), *absolute = NULL, *idle = NULL;

    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        const struct model_entry **newest = entry->kind == ENTRY_ABSOLUTE ? &absolute
                                            : entry->kind == ENTRY_IDLE   ? &idle
                                                                          : NULL;
        if (newest != NULL && shows_of(model, life, lead, entry) &&
            (*newest == NULL || stamp_compare(entry->stamp, (*newest)->stamp) > 0)) {
            *newest = entry;
        }
    }
    if (absolute != NULL && absolute->ms <= at_ms) {
        return true;
    }
    if (idle == NULL || model->access_ms >= at_ms) {
        return false;
    }
    uint64_t used_ms = hlc_ms(lead->stamp.hlc);
    used_ms = model->access_ms > used_ms ? model->access_ms : used_ms;
    return used_ms + idle->ms + session_idle_part_ms(idle->ms) <= at_ms;
}

/* The present life: each birth begins one where what was before it had ended by then. */
static struct life life_of(const struct model *model)
{
    struct life life = {.until = {0, {0, 0}}};

    if (model->life_kept) {
        return (struct life){.since = model->since, .until = ever};
    }
    for (;;) {
        const struct model_entry *next = NULL;
        for (int i = 0; i < model->entry_count; i++) {
            const struct model_entry *entry = &model->entries[i];
            if (entry->kind == MODEL_TYPE && stamp_compare(entry->stamp, life.until) > 0 &&
                (next == NULL || stamp_compare(entry->stamp, next->stamp) < 0)) {
                next = entry;
            }
        }
        life.until = next != NULL ? next->stamp : ever;
        if (next == NULL) {
            return life;
        }
        life.since = had_ended(model, &life, hlc_ms(next->stamp.hlc)) ? next->stamp : life.since;
    }
}

struct stamp model_since(const struct model *model)
{
    return life_of(model).since;
}

bool model_is_of_life(const struct model *model, const struct model_entry *entry)
{
    struct life life = life_of(model);

    return is_in(&life, entry);
}

const struct model_entry *model_lead(const struct model *model)
{
    struct life life = life_of(model);

    return lead_of(model, &life);
}

bool model_shows(const struct model *model, const struct model_entry *lead,
                 const struct model_entry *entry)
{
    struct life life = life_of(model);

    return shows_of(model, &life, lead, entry);
}

const struct model_entry *model_newest(const struct model *model, int kind,
                                       const struct model_string *name)
{
    struct life life = life_of(model);
    const struct model_entry *lead = lead_of(model, &life), *found = NULL;

    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->kind == kind && (name == NULL || model_strings_equal(&entry->name, name)) &&
            shows_of(model, &life, lead, entry) &&
            (found == NULL || stamp_compare(entry->stamp, found->stamp) > 0)) {
            found = entry;
        }
    }
    return found;
}

/* Does this entry make the shown value of its name? */
bool model_counts(const struct model *model, const struct model_entry *entry)
{
    const struct model_entry *base = model_newest(model, ENTRY_FIELD, &entry->name);
    struct stamp wanted = base != NULL ? base->stamp : (struct stamp){0, {0, 0}};

    if (!model_shows(model, model_lead(model), entry)) {
        return false;
    }
    return model_stamps_equal(entry->kind == ENTRY_FIELD ? entry->stamp : entry->base, wanted);
}

bool model_parse(const struct model_string *text, int64_t *number)
{
    char copy[MODEL_VALUE_MAX + 1] = {0};
    char again[32];

    memcpy(copy, text->data, text->size);
    *number = strtoll(copy, NULL, 10);
    snprintf(again, sizeof again, "%lld", (long long)*number);
    return strcmp(copy, again) == 0 && strlen(copy) == text->size;
}

struct model_string model_format(int64_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)number);
    return model_string_of(bytes_of_string(text));
}

bool model_find_name(const struct model *model, uint64_t now_ms, const struct model_string *name,
                     struct model_string *value, uint64_t *deadline_ms)
{
    const struct model_entry *base = model_newest(model, ENTRY_FIELD, name), *newest = NULL;
    int64_t total = 0;
    bool summed = false;

    if (base != NULL) {
        *value = base->value;
        model_parse(&base->value, &total);
    }
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (model_is_user(entry) && model_strings_equal(&entry->name, name) &&
            model_counts(model, entry)) {
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
        *value = model_format(total);
    }
    return true;
}

bool model_find(const struct model *model, uint64_t now_ms, struct bytes name,
                struct model_string *value)
{
    struct model_string string = model_string_of(name);
    uint64_t deadline_ms;

    return model_find_name(model, now_ms, &string, value, &deadline_ms);
}

/* Does it fade, and has fields, all past their deadlines? Then `end_ms` is the last of these. */
static bool fields_have_ended(const struct model *model, const struct model_entry *lead,
                              uint64_t now_ms, uint64_t *end_ms)
{
    struct model_string value;
    uint64_t last_ms = 0;

    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        uint64_t deadline_ms;
        if (!model_is_user(entry) ||
            !model_find_name(model, 0, &entry->name, &value, &deadline_ms)) {
            continue;
        }
        if (deadline_ms == 0 || deadline_ms > now_ms) {
            return false;
        }
        last_ms = deadline_ms > last_ms ? deadline_ms : last_ms;
    }
    *end_ms = last_ms;
    return last_ms != 0 && lead->fades;
}

void model_look(const struct model *model, uint64_t now_ms, struct model_view *view)
{
    const struct model_entry *lead = model_lead(model);
    const struct model_entry *absolute = model_newest(model, ENTRY_ABSOLUTE, NULL);
    const struct model_entry *idle = model_newest(model, ENTRY_IDLE, NULL);
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
    if (!view->expired && fields_have_ended(model, lead, now_ms, &deadline_ms)) {
        view->expired = view->faded = true;
        view->deadline_ms = deadline_ms;
    }
    view->live = !view->expired;
    if (!view->live) {
        return;
    }
    view->type = (enum session_type)lead->ms;
    for (int i = 0; i < model->entry_count; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (!model_is_user(entry)) {
            continue;
        }
        view->hidden += model_is_of_life(model, entry) && !model_counts(model, entry);
        bool first = true;
        for (int j = 0; j < i; j++) {
            first &= !model_is_user(&model->entries[j]) ||
                     !model_strings_equal(&model->entries[j].name, &entry->name);
        }
        view->field_count +=
            first && model_find_name(model, now_ms, &entry->name, &value, &deadline_ms);
    }
}
