#include "edit.h"

#include <assert.h>
#include <string.h>

#include "number.h"

/* Which types of session an operation is for: a bit for each. */
enum {
    FOR_BLOB = 1 << SESSION_BLOB,
    FOR_MAP = 1 << SESSION_MAP,
    FOR_SET = 1 << SESSION_SET,
    FOR_ZSET = 1 << SESSION_ZSET,
    FOR_ANY = FOR_BLOB | FOR_MAP | FOR_SET | FOR_ZSET,
};

static const uint8_t types_of_operation[] = {
    [CHANGE_SET] = FOR_BLOB | FOR_MAP,
    [CHANGE_SET_UNTIL] = FOR_BLOB | FOR_MAP,
    [CHANGE_DELETE] = FOR_ANY,
    [CHANGE_ADD] = FOR_BLOB | FOR_MAP,
    [CHANGE_APPEND] = FOR_BLOB | FOR_MAP,
    [CHANGE_CLEAR] = FOR_ANY,
    [CHANGE_ABSOLUTE] = FOR_ANY,
    [CHANGE_TTL] = FOR_ANY,
    [CHANGE_IDLE] = FOR_ANY,
    [CHANGE_OWNER] = FOR_ANY,
    [CHANGE_TOUCH] = FOR_ANY,
    [CHANGE_DESTROY] = FOR_ANY,
    [CHANGE_ADD_MEMBER] = FOR_SET,
    [CHANGE_SET_SCORE] = FOR_ZSET,
    [CHANGE_ADD_SCORE] = FOR_ZSET,
    [CHANGE_UNTIL] = FOR_ANY,
};

/* What is now under the name is `value`, for good. */
static void slot_set(struct edit *edit, struct slot *slot, struct bytes value, uint64_t deadline_ms)
{
    edit->fields += !slot->present;
    edit->effect = true;
    slot->state = SLOT_VALUE;
    slot->present = true;
    slot->number = false;
    slot->value = value;
    slot->deadline_ms = deadline_ms;
}

static void slot_remove(struct edit *edit, struct slot *slot)
{
    edit->fields -= slot->present;
    edit->effect |= slot->at != NULL;
    slot->state = SLOT_ABSENT;
    slot->present = false;
}

static bool slot_number(const struct slot *slot, int64_t *number)
{
    if (!slot->present) {
        *number = 0;
        return true;
    }
    if (slot->number) {
        *number = slot->total;
        return true;
    }
    return number_parse(slot->value, number);
}

static void slot_set_number(struct edit *edit, struct slot *slot, int64_t number)
{
    size_t size = number_format(number, slot->text);

    slot_set(edit, slot, bytes_of(slot->text, size), slot->deadline_ms);
}

/* Add to a number, and give its deadline. */
static enum status slot_add(struct edit *edit, struct slot *slot, int64_t delta,
                            uint64_t deadline_ms)
{
    int64_t number;

    if (!slot_number(slot, &number)) {
        return STATUS_NOT_A_NUMBER;
    }
    if (!number_add(number, delta, &number)) {
        return STATUS_OUT_OF_RANGE;
    }
    if (slot->state == SLOT_VALUE) { /* Nobody else has seen that base. */
        slot_set_number(edit, slot, number);
        slot->deadline_ms = deadline_ms;
        return STATUS_OK;
    }
    if (!slot->present) {
        slot->alone = true;
        slot->own = 0;
        slot->base = (struct stamp){0, {0, 0}};
        edit->fields++;
    }
    if (!number_add(slot->own, delta, &slot->own)) {
        /* The number has room, its actor's sum has not: it becomes a base anew. */
        slot_set_number(edit, slot, number);
        slot->deadline_ms = deadline_ms;
        return STATUS_OK;
    }
    slot->state = SLOT_SUM;
    slot->present = slot->number = true;
    slot->total = number;
    slot->deadline_ms = deadline_ms;
    edit->effect = true;
    return STATUS_OK;
}

static enum status slot_append(struct edit *edit, struct slot *slot, struct bytes more)
{
    if (slot->present && slot->number) {
        slot_set_number(edit, slot, slot->total);
    }
    struct bytes before = slot->present ? slot->value : bytes_of(slot->name.data, 0);
    if (before.size + more.size > edit->write->rules->session_bytes_max) {
        return STATUS_SESSION_TOO_LARGE;
    }
    assert(before.size + more.size <= slot->room_bytes);
    if (before.data != slot->room && before.size > 0) {
        memcpy(slot->room, before.data, before.size);
    }
    if (more.size > 0) {
        memcpy(slot->room + before.size, more.data, more.size);
    }
    slot_set(edit, slot, bytes_of(slot->room, before.size + more.size),
             slot->present ? slot->deadline_ms : 0);
    return STATUS_OK;
}

/* A deadline for a field that is there. A number keeps its base and its sums: the deadline travels on
 * a sum of nothing more, so that concurrent adds still count. */
static void slot_until(struct edit *edit, struct slot *slot, uint64_t ms)
{
    int64_t number;

    if (ms != 0 && ms <= edit->write->now_ms) {
        slot_remove(edit, slot);
        return;
    }
    bool counts = (edit->birth.type == SESSION_BLOB || edit->birth.type == SESSION_MAP) &&
                  slot_number(slot, &number);
    if (!counts || slot_add(edit, slot, 0, ms) != STATUS_OK) {
        slot_set(edit, slot, slot->value, ms);
    }
}

/* Slots learn of it when they are used next, or at the end: lists may clear many times. */
static int64_t clear_fields(struct edit *edit)
{
    int64_t were = edit->fields;

    edit->effect |= were > 0 || (!edit->fresh && edit->view.groups_.next_set);
    edit->fields = 0;
    edit->clears++;
    return were;
}

static void slot_follow(const struct edit *edit, struct slot *slot)
{
    if (slot->clears != edit->clears) {
        slot->clears = edit->clears;
        slot->state = SLOT_ABSENT;
        slot->present = false;
    }
}

static double score_of(const struct slot *slot)
{
    double score = 0;

    if (slot->present && slot->value.size == 8) {
        uint64_t bits = load_u64(slot->value.data);
        memcpy(&score, &bits, sizeof score);
    }
    return score;
}

static void store_score(uint8_t *to, double score)
{
    uint64_t bits;

    memcpy(&bits, &score, sizeof bits);
    store_u64(to, bits);
}

static void slot_set_score(struct edit *edit, struct slot *slot, double score)
{
    store_score((uint8_t *)slot->text, score);
    slot_set(edit, slot, bytes_of(slot->text, 8), slot->present ? slot->deadline_ms : 0);
}

/* Returns 1 new, 2 changed, 0 neither. */
static int64_t run_set_score(struct edit *edit, struct slot *slot, const struct change *change)
{
    double now = score_of(slot);

    if (!slot->present) {
        if ((change->flags & SCORE_XX) != 0) {
            return 0;
        }
        slot_set_score(edit, slot, change->score);
        return 1;
    }
    bool refused = (change->flags & SCORE_NX) != 0 ||
                   ((change->flags & SCORE_GT) != 0 && !(change->score > now)) ||
                   ((change->flags & SCORE_LT) != 0 && !(change->score < now));
    if (refused || (change->score >= now && change->score <= now)) {
        return 0;
    }
    slot_set_score(edit, slot, change->score);
    return 2;
}

static void set_attribute(struct edit *edit, enum entry_kind kind, uint64_t ms, struct bytes value)
{
    edit->attributes[kind] = (struct attribute){
        .touched = true,
        .present = ms != 0 || value.size > 0,
        .ms = ms,
        .value = value,
    };
    edit->effect = true;
}

/* Changes of no name. */
static int64_t run_whole(struct edit *edit, const struct change *change)
{
    struct bytes none = bytes_of(edit->write->key.data, 0);

    switch (change->operation) {
    case CHANGE_CLEAR:
        return clear_fields(edit);
    case CHANGE_ABSOLUTE:
        set_attribute(edit, ENTRY_ABSOLUTE, change->ms, none);
        return 0;
    case CHANGE_TTL:
        set_attribute(edit, ENTRY_ABSOLUTE, edit->write->now_ms + change->ms, none);
        return 0;
    case CHANGE_IDLE:
        set_attribute(edit, ENTRY_IDLE, change->ms, none);
        return 0;
    case CHANGE_OWNER:
        set_attribute(edit, ENTRY_OWNER, 0, change->value);
        return 0;
    default: /* TOUCH: every write is an access. */
        return 0;
    }
}

/* Changes of one name. */
static enum status run_named(struct edit *edit, struct slot *slot, const struct change *change,
                             int64_t *result)
{
    enum status status = STATUS_OK;

    switch (change->operation) {
    case CHANGE_SET:
        *result = !slot->present;
        slot_set(edit, slot, change->value, 0);
        break;
    case CHANGE_SET_UNTIL:
        *result = !slot->present;
        slot_set(edit, slot, change->value, change->ms);
        if (change->ms != 0 && change->ms <= edit->write->now_ms) {
            slot_remove(edit, slot);
        }
        break;
    case CHANGE_DELETE:
        *result = slot->present;
        slot_remove(edit, slot);
        break;
    case CHANGE_ADD:
        status = slot_add(edit, slot, change->delta, slot->present ? slot->deadline_ms : 0);
        *result = 0;
        if (status == STATUS_OK) {
            slot_number(slot, result);
        }
        break;
    case CHANGE_APPEND:
        status = slot_append(edit, slot, change->value);
        *result = (int64_t)slot->value.size;
        break;
    case CHANGE_ADD_MEMBER:
        *result = !slot->present;
        if (!slot->present) {
            slot_set(edit, slot, bytes_of(slot->name.data, 0), 0);
        }
        break;
    case CHANGE_SET_SCORE:
        *result = run_set_score(edit, slot, change);
        break;
    default: /* UNTIL */
        *result = slot->present;
        if (slot->present) {
            slot_until(edit, slot, change->ms);
        }
    }
    return status;
}

static enum status run_add_score(struct edit *edit, struct slot *slot, double more,
                                 struct buffer *results)
{
    double sum = score_of(slot) + more;

    if (sum != sum) {
        return STATUS_OUT_OF_RANGE;
    }
    slot_set_score(edit, slot, sum);
    store_score(results->data + results->size, sum);
    results->size += 8;
    return STATUS_OK;
}

static bool fits_type(const struct edit *edit, const struct change *change, const struct slot *slot)
{
    uint8_t type = edit->birth.type;

    if ((types_of_operation[change->operation] >> type & 1) == 0) {
        return false;
    }
    return type != SESSION_BLOB || slot == NULL || slot->name.size == 0;
}

static enum status run_change(struct edit *edit, uint32_t number, const struct change *change,
                              struct buffer *results)
{
    uint32_t index = edit->slot_of_change[number];
    struct slot *slot = index < edit->slot_count ? &edit->slots[index] : NULL;
    enum status status = STATUS_OK;
    int64_t result = 0;

    if (!fits_type(edit, change, slot)) {
        return STATUS_WRONG_TYPE;
    }
    if (slot != NULL) {
        slot_follow(edit, slot);
    }
    if (buffer_reserve(results, VARINT_BYTES_MAX) != 0) {
        return STATUS_NO_MEMORY;
    }
    if (change->operation == CHANGE_ADD_SCORE) {
        return run_add_score(edit, slot, change->score, results);
    }
    if (slot != NULL) {
        status = run_named(edit, slot, change, &result);
    } else {
        result = run_whole(edit, change);
    }
    if (status == STATUS_OK) {
        uint8_t *end = varint_put(results->data + results->size, zigzag(result));
        results->size = (size_t)(end - results->data);
    }
    return status;
}

enum status edit_run(struct edit *edit, struct buffer *results)
{
    struct reader from = reader_of(edit->write->changes);
    struct change change;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; status == STATUS_OK && edit_next(edit, i, &from, &change); i++) {
        status = run_change(edit, i, &change, results);
    }
    for (uint32_t i = 0; i < edit->slot_count; i++) {
        slot_follow(edit, &edit->slots[i]);
    }
    return status;
}
